//! The struct of a tokenizer.

use crate::border::ffi::zeroable;
use std::ffi::c_char;

/// A vocabulary: words, how often each was met, and the id of each, which is its place in `vocab`.
///
/// Ids 0 to 4 are the special words `<PAD>`, `<UNK>`, `<BOS>`, `<EOS>`, `<MASK>`. A program may
/// read and edit the fields: the library looks at them afresh in every call. A tokenizer that the
/// program fills itself works as well; its arrays need `max_vocab_size` places of `malloc`'s
/// memory. One tokenizer is used by one thread at a time.
///
/// Of a tokenizer of subwords (cllm_train_tokenizer(), cllm_read_tokenizer()) `vocab` shows the tokens
/// readably; what they are, the library keeps beside it, and editing `vocab` does not change it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CLLMTokenizer {
    /// `max_vocab_size` places, of which the first `vocab_size` hold a word each: a
    /// NUL-terminated block of `malloc`'s memory that the tokenizer owns, or NULL for none.
    pub vocab: *mut *mut c_char,
    /// How often each word was met; as many places, owned by the tokenizer.
    pub token_counts: *mut u32,
    /// Words in use.
    pub vocab_size: u32,
    /// Places: the most words that the tokenizer takes.
    pub max_vocab_size: u32,
}
layout!(CLLMTokenizer, 24, vocab: 0, token_counts: 8, vocab_size: 16, max_vocab_size: 20);
zeroable!(CLLMTokenizer);
