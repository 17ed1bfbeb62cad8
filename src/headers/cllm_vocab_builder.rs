//! `cllm_vocab_builder.h`: a model's own vocabulary.

use super::cllm::CLLMModel;
use crate::border::ffi;
use crate::model::view;
use crate::model::words::{self, Rule, Unused};
use cllm_engine::error::{Error, Result};
use cllm_engine::limits::MAX_TEXT_BYTES;
use cllm_engine::text::count::{Counter, Keep};
use cllm_engine::text::index::{Lookup, WordIndex};
use cllm_engine::text::{SPECIALS, files};
use cllm_macros::c_api;
use std::ffi::{c_char, c_int};

/// Gives a model the words of a text file: `<PAD>`, `<UNK>`, `<BOS>`, `<EOS>`, `<MASK>`, then the
/// lower-cased words (ASCII letters only) between white space in order of appearance, until the
/// model has no more ids. The encoding is found as by cllm_data_loader_load_file.
/// `model->tokens` is replaced by a new block and the old one freed; `frequency` is how often a
/// word was met; slots left over hold `<UNK_<id>>`. Strings over 63 bytes are cut between two
/// characters in `token_str` (recorded as an error), but the library goes on knowing them whole.
///
/// The embeddings stay, although the ids mean other words now: build the vocabulary first.
///
/// @param model     the model; `tokens` is NULL or a block of `malloc`'s memory.
/// @param filename  the file, of at most 1 GiB.
/// @return the number of words, the special ones included; -1 if an argument is NULL, the model
///         has no ids, the file can't be read, or there is no memory: `tokens` is then as before.
///
/// # Safety
/// `model` is NULL or a model that no other thread uses now; `filename` is NULL or a C string.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_build_vocabulary_from_file(
    model: *mut CLLMModel,
    filename: *const c_char,
) -> c_int {
    let slots = words::slots(view::live(model)?)?;
    let path = ffi::path(filename, "filename")?;
    let text = files::read_text(path, MAX_TEXT_BYTES)?;
    let (placed, cut) = set_vocabulary(model, &text, slots)?;
    if cut > 0 {
        ffi::report(format_args!("{cut} words over 63 bytes are cut in token_str"));
    }
    Ok(c_int::try_from(placed).unwrap_or(c_int::MAX))
}

/// The numbers of words placed and of those cut.
///
/// # Safety
/// As [`cllm_build_vocabulary_from_file`].
unsafe fn set_vocabulary(
    model: *mut CLLMModel,
    text: &[u8],
    slots: usize,
) -> Result<(usize, usize)> {
    let mut index = WordIndex::default();
    let mut lookup = Lookup::new(&mut index, &SPECIALS[..])?;
    let room = slots.saturating_sub(SPECIALS.len());
    let mut counter = Counter::new(&mut lookup, room, Keep::FirstCome, false)?;
    counter.add(text)?;
    let (known, new) = counter.finish()?;
    let specials = SPECIALS.iter().copied().zip(known);
    let words: Vec<_> = specials.take(slots).chain(new.iter()).collect();
    let cut = words::set_words(model, &words, Unused::Unk)?;
    Ok((words.len(), cut))
}

/// The ids of a text by the model's words. The text is split at white space; a lower-cased word that
/// the model holds as it stands is one id. Otherwise it is split at
/// `.` `,` `!` `?`, which are dropped, and each part is looked up.
///
/// A part that the model does not hold is the id of the slot that spells `<UNK>` (in any letter
/// case). Without such a slot it is h mod vocab_size, where h starts at 0 and becomes 31 h + byte
/// for each (signed) byte, modulo 2^32. Words over 63 bytes also match their cut form.
///
/// @param model       the model.
/// @param text        the text.
/// @param tokens      receives at most `max_tokens` ids.
/// @param max_tokens  room in `tokens`.
/// @return the number of ids written; 0 if an argument is NULL, `max_tokens` is not positive, or
///         the model has no `tokens`.
///
/// # Safety
/// `model` is NULL or a model; `text` is NULL or a C string; `tokens` has room as said.
#[unsafe(no_mangle)]
#[c_api(0)]
pub unsafe extern "C" fn cllm_tokenize_with_vocab(
    model: *mut CLLMModel,
    text: *const c_char,
    tokens: *mut u32,
    max_tokens: c_int,
) -> c_int {
    words::write_ids(model, text, Rule::WithVocab, tokens, max_tokens)
}

/// The words of ids, special ones included, joined by single spaces. Ids out of range are left
/// out. The text ends before the first word that does not fit (recorded as an error).
///
/// @param model       the model.
/// @param tokens      `num_tokens` ids.
/// @param num_tokens  how many, at most 2^28; 0 gives an empty string.
/// @param output      receives the text, always NUL-terminated.
/// @param max_length  size of `output` in bytes. A word fits if it leaves two bytes free.
///
/// If an argument is NULL, `max_length` is not positive, or the model has no `tokens`, `output` is
/// untouched.
///
/// # Safety
/// `model` is NULL or a model; `tokens` and `output` are NULL or have the sizes given.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_detokenize_with_vocab(
    model: *mut CLLMModel,
    tokens: *mut u32,
    num_tokens: c_int,
    output: *mut c_char,
    max_length: c_int,
) {
    if words::strings(model)?.is_none() {
        return Err(Error::null("model->tokens"));
    }
    words::write_text(model, tokens, num_tokens, output, max_length, false)
}
