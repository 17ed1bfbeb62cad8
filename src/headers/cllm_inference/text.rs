//! Text to ids and ids to text, by the words of a context's model.

use super::{CLLMInference, context};
use crate::model::words::{self, Rule};
use cllm_macros::c_api;
use std::ffi::{c_char, c_int};

/// The ids of a text's words, one id per word. Words are separated by white space: space, tab, line
/// feed, vertical tab, form feed, carriage return. A byte order mark at the beginning is dropped.
///
/// A word is looked up in `model->tokens` as it is, then in lower case (ASCII letters only). A text is
/// text: one that spells a special word (`<EOS>`, `<eos>`) is looked up in lower case only, and is
/// never the special word, but an ordinary one that happens to be spelled so. A word that the model
/// does not hold is the id of the slot that spells `<UNK>` (in any letter case).
/// Without such a slot it is h mod vocab_size, where h starts at 0 and becomes 31 h + byte for each
/// (signed) byte, modulo 2^32. Words over 63 bytes also match their cut form. A model without
/// `tokens` gives one id per byte, the (signed) byte as a 64-bit number mod vocab_size, and a
/// warning.
///
/// @param inference   the context.
/// @param text        the text.
/// @param tokens      receives at most `max_tokens` ids.
/// @param max_tokens  room in `tokens`.
/// @return the number of ids written; 0 if an argument is NULL, `max_tokens` is not positive, or the
///         model has no ids.
///
/// Takes time in proportion to the text: the words are indexed, and edits of `token_str` by the
/// program are noticed. Several contexts may use one model at once.
///
/// # Safety
/// `inference` is NULL or a context whose model lives; `text` is NULL or a C string; `tokens` has
/// room as said.
#[unsafe(no_mangle)]
#[c_api(0)]
pub unsafe extern "C" fn cllm_tokenize(
    inference: *mut CLLMInference,
    text: *const c_char,
    tokens: *mut u32,
    max_tokens: c_int,
) -> c_int {
    let model = context::live(inference)?.model;
    words::write_ids(model, text, Rule::Inference, tokens, max_tokens)
}

/// The words of ids, joined by single spaces. Left out are ids out of range, the special words (the
/// first entry that spells `<PAD>`, `<UNK>`, `<BOS>`, `<EOS>` or `<MASK>`, in any letter case) and
/// `<UNK_digits>`; other words in angle brackets are shown. The text ends before the first word that does not fit (recorded as an
/// error). A model without `tokens` gives one character, id mod 128, per id, and a warning.
///
/// @param inference   the context.
/// @param tokens      `num_tokens` ids.
/// @param num_tokens  how many, at most 2^28; 0 gives an empty string.
/// @param output      receives the text, always NUL-terminated.
/// @param max_length  size of `output` in bytes. A word fits if it leaves two bytes free.
///
/// If an argument is NULL or `max_length` is not positive, `output` is untouched.
///
/// # Safety
/// `inference` is NULL or a context whose model lives; `tokens` and `output` are NULL or have the
/// sizes given.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_detokenize(
    inference: *mut CLLMInference,
    tokens: *mut u32,
    num_tokens: c_int,
    output: *mut c_char,
    max_length: c_int,
) {
    let model = context::live(inference)?.model;
    words::write_text(model, tokens, num_tokens, output, max_length, true)
}
