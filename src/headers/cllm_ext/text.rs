//! Texts and vocabularies as they come from files and pipes.

use crate::border::ffi::{self, CArray};
use crate::headers::cllm_tokenizer::{self, CLLMTokenizer, subwords};
use cllm_engine::error::Error;
use cllm_engine::limits::{MAX_TEXT_BYTES, MAX_TOKENIZER_WORDS};
use cllm_engine::text::{Bpe, SPECIALS, decode, vocab};
use cllm_macros::c_api;
use std::ffi::c_char;
use std::ptr::null_mut;

/// The text of some bytes that came from a file or a pipe, as the library's own functions read
/// files: UTF-16 and UTF-32 become UTF-8 (with a byte order mark, and without one where the bytes are
/// clearly such a text), a byte order mark is dropped, NUL bytes become spaces. Everything else stays
/// as it is, bytes that are not UTF-8 too.
///
/// @param bytes   `[length]`, at most 1 GiB.
/// @param length  0 gives an empty text.
/// @return a string for the caller to free(); NULL if `bytes` is NULL, they are damaged UTF-16 or
///         UTF-32 or a quarter of them are NUL (no text), or there is no memory.
///
/// ```c
/// char bytes[4096];
/// char *text = cllm_decode_text(bytes, fread(bytes, 1, sizeof bytes, stdin));
/// if (text) cllm_build_vocab(tokenizer, text);
/// free(text);
/// ```
///
/// # Safety
/// `bytes` is NULL or holds `length` bytes.
#[unsafe(no_mangle)]
#[c_api(null_mut())]
pub unsafe extern "C" fn cllm_decode_text(bytes: *const c_char, length: usize) -> *mut c_char {
    if length as u64 > MAX_TEXT_BYTES {
        return Err(Error::argument("length", length, "at most 2^30: longer text in parts"));
    }
    let bytes = ffi::slice(bytes.cast::<u8>(), length, "bytes")?;
    let copy = cllm_kernels::memory::copied("a text", bytes)?;
    let text = decode::decode(copy).map_err(|what| Error::shape(format!("the text {what}")))?;
    let mut out = CArray::<u8>::zeroed("a text", text.len() + 1)?;
    for (place, &byte) in out.as_mut_slice().iter_mut().zip(&text) {
        *place = if byte == 0 { b' ' } else { byte };
    }
    Ok(out.into_raw().cast())
}

/// Makes a tokenizer of a vocab.txt, with room for its words and no more. Ids are line numbers,
/// counted from 0. The file is read once, so it may be a pipe. What editors leave is no part of
/// the words, as in cllm_load_vocab. A file of subwords makes a tokenizer of subwords.
///
/// @param path  the file, of at most 1 GiB.
/// @return the tokenizer, to be released with cllm_free_tokenizer(); NULL if the file can't be read,
///         does not begin with the five special words, has a line that is empty, without a TAB or
///         count, or repeats a word, or there is no memory. The error names the line.
///
/// ```c
/// CLLMTokenizer *tokenizer = cllm_read_vocab("checkpoints/vocab.txt");
/// if (!tokenizer) fprintf(stderr, "%s\n", cllm_last_error());
/// cllm_free_tokenizer(tokenizer);
/// ```
///
/// # Safety
/// `path` is NULL or a C string.
#[unsafe(no_mangle)]
#[c_api(null_mut())]
pub unsafe extern "C" fn cllm_read_vocab(path: *const c_char) -> *mut CLLMTokenizer {
    let path = ffi::path(path, "path")?;
    let text = vocab::read(path)?;
    let (list, more) = vocab::parts(&text);
    let entries = vocab::parse(path, list)?;
    if let Some(bpe) = Bpe::from_listed(path, &entries, more)? {
        let count = |id: u32| entries.get(id as usize).map_or(0, |entry| u64::from(entry.count));
        return subwords::create(bpe, count);
    }
    vocab::check_unique(path, &entries)?;
    if entries.first().is_none_or(|entry| entry.word != SPECIALS[0]) {
        let problem = "line 1 does not hold <PAD>: not a vocabulary";
        return Err(Error::file(path, problem));
    }
    vocab::check_specials(path, &entries)?;
    let room = u32::try_from(entries.len()).ok().filter(|&n| n <= MAX_TOKENIZER_WORDS);
    let room =
        room.ok_or_else(|| Error::file(path, "has more than 2^26 words: leave out the rare ones"))?;
    cllm_tokenizer::with_entries(room, &entries)
}
