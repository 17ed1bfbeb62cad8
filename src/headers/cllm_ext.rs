//! `cllm_ext.h`: what this library adds to the original interface.

use std::ffi::{c_char, c_int, c_void};

pub mod best;
pub mod choice;
pub mod describe;
pub mod evaluation;
pub mod files;
pub mod generation;
pub mod library;
pub mod mapping;
pub mod options;
pub mod precision;
pub mod ranks;
pub mod recipe;
pub mod report;
pub mod score;
pub mod state;
pub mod text;
pub mod texts;
pub mod token_files;
pub mod tokenizer;
pub mod tokens;
pub mod training;

/// Level of a message: a call failed.
pub const CLLM_LOG_ERROR: c_int = 0;
/// Level of a message: a call went on, but not quite as asked.
pub const CLLM_LOG_WARNING: c_int = 1;
/// Level of a message: worth knowing.
pub const CLLM_LOG_INFO: c_int = 2;

/// Receives a message of the library: its level (CLLM_LOG_…), its text (valid during the call),
/// and the pointer that was given with the callback. Called on the thread that the message comes
/// from, without any lock held; it may call the library. It may not throw a C++ exception, nor leave
/// by longjmp: it returns.
pub type CLLMLogCallback =
    Option<unsafe extern "C" fn(level: c_int, message: *const c_char, user_data: *mut c_void)>;

/// Receives a piece of generated text: `length` bytes at `piece` (no NUL behind them; valid during
/// the call), and the token that they spell. A piece is a space and a whole word, so it holds whole
/// UTF-8 characters wherever the vocabulary does; of a model with subwords it is the text itself, in
/// whole UTF-8 characters, and the token is the latest one. Returns false to stop. It may not throw a C++
/// exception, nor leave by longjmp, which ends the process: cllm.hpp keeps exceptions and throws them
/// again after the call.
pub type CLLMTokenCallback = Option<
    unsafe extern "C" fn(
        piece: *const c_char,
        length: usize,
        token: u32,
        user_data: *mut c_void,
    ) -> bool,
>;

/// Receives a word that may come next: `length` bytes at `word` (no NUL behind them; valid during the
/// call), with the white space that stands before it, and its probability. Returns false to end the
/// list. It may not throw a C++ exception, nor leave by longjmp.
pub type CLLMWordCallback = Option<
    unsafe extern "C" fn(
        word: *const c_char,
        length: usize,
        probability: f32,
        user_data: *mut c_void,
    ) -> bool,
>;

/// Says which tokens may come after the `num_tokens` of a sequence, prompt and continuation:
/// `allowed[id]` is 1 for each of the `vocab_size` tokens of the model, and is to be 0 for one that may
/// not come. Both arrays are valid during the call. Returns false to end the text here. Called on
/// the thread of the generation, without any lock held; it may use the context, but begin no other
/// generation in it. It may not throw a C++ exception, nor leave by longjmp.
pub type CLLMAllowedCallback = Option<
    unsafe extern "C" fn(
        tokens: *const u32,
        num_tokens: usize,
        allowed: *mut u8,
        vocab_size: usize,
        user_data: *mut c_void,
    ) -> bool,
>;

/// Receives a file that cllm_text_files() found (its path, valid during the call) and the reason
/// why it is left out, NULL for one that is not. Returns false to end the list.
pub type CLLMPathCallback = Option<
    unsafe extern "C" fn(
        path: *const c_char,
        left_out: *const c_char,
        user_data: *mut c_void,
    ) -> bool,
>;

/// Told how far the training of a tokenizer is: first, after each text, the bytes that were read, with
/// `tokens` 0; then, after each merge, the tokens that there are, of `vocab_size` to come. Returns false
/// to stop. It may not throw a C++ exception, nor leave by longjmp: it returns.
pub type CLLMTokenizerCallback = Option<
    unsafe extern "C" fn(bytes: u64, tokens: u32, vocab_size: u32, user_data: *mut c_void) -> bool,
>;

/// Told how many bytes of a text are done, of `all` (0 where that is not known). Returns false to stop. It
/// may not throw a C++ exception, nor leave by longjmp: it returns.
pub type CLLMBytesCallback =
    Option<unsafe extern "C" fn(bytes: u64, all: u64, user_data: *mut c_void) -> bool>;

/// How far training is, after a batch.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CLLMProgress {
    /// `sizeof(CLLMProgress)` of the library; fields behind it don't exist.
    pub struct_size: usize,
    /// `current_epoch`: epochs completed before this one.
    pub epoch: c_int,
    /// `current_step`: batches trained so far, this one included.
    pub step: c_int,
    /// Batches of this epoch done, this one included.
    pub batch: c_int,
    /// Batches in an epoch.
    pub batches_per_epoch: c_int,
    /// Loss of this batch, before its update, in nats per token.
    pub loss: f32,
    /// Learning rate of this batch.
    pub learning_rate: f32,
    /// L2 norm of the latest update's gradient over all parameters, before clipping.
    pub gradient_norm: f32,
    /// Since the loop began.
    pub tokens_per_second: f64,
    /// To the end of this epoch, estimated.
    pub seconds_left: f64,
}

/// Called after each batch of the training loops, without any lock held: it may save a checkpoint
/// of the training object. Returns false to stop the loop at this clean point. It may not throw a C++
/// exception, nor leave by longjmp, which ends the process: cllm.hpp keeps exceptions and throws them
/// again after the call.
pub type CLLMProgressCallback =
    Option<unsafe extern "C" fn(progress: *const CLLMProgress, user_data: *mut c_void) -> bool>;
