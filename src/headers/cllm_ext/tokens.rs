//! Texts to tokens and back, with lengths; what a token is.

use super::training::pool_of;
use crate::border::ffi::{self, CArray};
use crate::headers::cllm::CLLMModel;
use crate::headers::cllm_tokenizer::{CLLMTokenizer, subwords, words};
use crate::model::words as model_words;
use cllm_engine::error::{Error, Result};
use cllm_engine::text::index::Words;
use cllm_engine::text::split::text_words;
use cllm_engine::text::{Kind, SPECIALS, Tokenizer, special};
use cllm_macros::c_api;
use std::ffi::{c_char, c_int};
use std::ptr::{null, null_mut};

/// There is no tokenizer, or it is not known what its tokens are.
pub const CLLM_TOKENS_NONE: c_int = 0;
/// Tokens are whole words: texts are taken apart, and do not come back as they were.
pub const CLLM_TOKENS_WORDS: c_int = 1;
/// Tokens are pieces of words, down to bytes: texts come back byte for byte.
pub const CLLM_TOKENS_SUBWORDS: c_int = 2;
/// Tokens are the 256 bytes.
pub const CLLM_TOKENS_BYTES: c_int = 3;

/// The constant for a kind.
pub(super) fn kind_of(kind: Option<Kind>) -> c_int {
    match kind {
        Some(Kind::Words) => CLLM_TOKENS_WORDS,
        Some(Kind::Subwords) => CLLM_TOKENS_SUBWORDS,
        Some(Kind::Bytes) => CLLM_TOKENS_BYTES,
        _ => CLLM_TOKENS_NONE,
    }
}

/// What the tokens of a tokenizer are.
///
/// @return CLLM_TOKENS_WORDS, CLLM_TOKENS_SUBWORDS or CLLM_TOKENS_BYTES; 0 (CLLM_TOKENS_NONE) for NULL
///         and for one that was freed.
///
/// ```c
/// if (cllm_tokenizer_kind(tokenizer) == CLLM_TOKENS_WORDS)
///     puts("text comes back in words, with single spaces");
/// ```
///
/// # Safety
/// `tokenizer` is NULL or live.
#[unsafe(no_mangle)]
#[c_api(0)]
pub unsafe extern "C" fn cllm_tokenizer_kind(tokenizer: *const CLLMTokenizer) -> c_int {
    words::fields(tokenizer)?;
    let subwords = subwords::of(tokenizer)?.map(|bpe| Tokenizer::from(bpe).kind());
    Ok(kind_of(Some(subwords.unwrap_or(Kind::Words))))
}

/// The tokens of a text. A text is text: what spells a special token (`<EOS>`) is ordinary text, unless
/// the caller asks for it, who then trusts the text. Otherwise as cllm_tokenizer_encode(), but the text
/// may hold NUL bytes.
///
/// @param tokenizer   the vocabulary; not changed.
/// @param text        `[length]`, any bytes.
/// @param length      how many, at most 2^40.
/// @param specials    what spells a special token becomes that token; with words, a whole word that
///                    does.
/// @param threads     for long texts and subwords; 0: as cllm_set_threads() says. The tokens do not depend on
///                    it.
/// @param num_tokens  receives how many tokens; 0 after a failure.
/// @return the ids, a block for the caller to free(), not NULL even for an empty text; NULL if an
///         argument is NULL or there is no memory.
///
/// ```c
/// size_t count;
/// uint32_t *ids = cllm_text_to_tokens(tokenizer, "Is the day\nso young?", 20, false, 1, &count);
/// free(ids);
/// ```
///
/// # Safety
/// `tokenizer` is NULL or live; `text` is NULL or holds `length` bytes; `num_tokens` is NULL or
/// writable.
#[unsafe(no_mangle)]
#[c_api(null_mut())]
pub unsafe extern "C" fn cllm_text_to_tokens(
    tokenizer: *const CLLMTokenizer,
    text: *const c_char,
    length: usize,
    specials: bool,
    threads: c_int,
    num_tokens: *mut usize,
) -> *mut u32 {
    let num_tokens = ffi::get_mut(num_tokens, "num_tokens")?;
    *num_tokens = 0;
    let text = text_bytes(text, length)?;
    let pool = pool_of(threads)?;
    let (len, ids) = match subwords::of(tokenizer)? {
        Some(bpe) => {
            let ids = bpe.encode_in(text, specials, &pool)?;
            (ids.len(), CArray::copy_of("the ids of a text", &ids)?)
        }
        None => {
            let (len, mut ids) = words::encode(tokenizer, &[], &[text], &[], false)?;
            if specials {
                set_specials(tokenizer, text, ids.as_mut_slice())?;
            }
            (len, ids)
        }
    };
    *num_tokens = len;
    Ok(ids.into_raw())
}

/// Longest text, in bytes: more than any machine's memory, and far less than an address can say.
const LONGEST: usize = 1 << 40;

/// The bytes of a text with a length.
///
/// # Safety
/// As [`ffi::slice`].
pub(super) unsafe fn text_bytes<'a>(text: *const c_char, length: usize) -> Result<&'a [u8]> {
    if length > LONGEST {
        return Err(Error::argument("length", length, "at most 2^40"));
    }
    ffi::slice(text.cast::<u8>(), length, "text")
}

/// The ids of words that spell a special word, where a text stands for them.
///
/// # Safety
/// As [`words::strings`].
unsafe fn set_specials(
    tokenizer: *const CLLMTokenizer,
    text: &[u8],
    ids: &mut [u32],
) -> Result<()> {
    for (id, word) in ids.iter_mut().zip(text_words(text)) {
        if SPECIALS.contains(&word) {
            *id = words::find(tokenizer, word)?.unwrap_or(*id);
        }
    }
    Ok(())
}

/// The text of some tokens: of subwords their bytes, which may hold 0; of words the words, joined by
/// single spaces. Ids that the vocabulary does not have are left out.
///
/// @param tokenizer   the vocabulary; not changed.
/// @param tokens      `[num_tokens]` ids; may be NULL where there are none.
/// @param num_tokens  how many.
/// @param specials    the names of special tokens are part of the text; else they are left out.
/// @param length      receives the bytes of the text; may be NULL.
/// @return the text, with a NUL behind it, for the caller to free(); NULL if the tokenizer is NULL,
///         there are ids but no array, or there is no memory.
///
/// ```c
/// size_t length;
/// char *text = cllm_tokens_to_text(tokenizer, ids, count, false, &length);
/// if (text) fwrite(text, 1, length, stdout);
/// free(text);
/// ```
///
/// # Safety
/// `tokenizer` is NULL or live; `tokens` is NULL or holds `num_tokens` ids; `length` is NULL or
/// writable.
#[unsafe(no_mangle)]
#[c_api(null_mut())]
pub unsafe extern "C" fn cllm_tokens_to_text(
    tokenizer: *const CLLMTokenizer,
    tokens: *const u32,
    num_tokens: usize,
    specials: bool,
    length: *mut usize,
) -> *mut c_char {
    words::fields(tokenizer)?;
    let ids = ffi::slice_or_empty(tokens, num_tokens, "tokens")?;
    let text = match subwords::of(tokenizer)? {
        Some(bpe) => bpe.decode_with(ids, specials)?,
        None => {
            let strings = words::strings(tokenizer)?;
            let shown = |&&id: &&u32| specials || !special::is_special(&strings, id);
            let words = ids.iter().filter(shown).filter_map(|&id| strings.get(id));
            joined(words.filter(|word| !word.is_empty()))?
        }
    };
    let block = CArray::string("a text", &text)?;
    ffi::set_out(length, text.len(), "length")?;
    Ok(block.into_raw().cast())
}

/// Words with single spaces between them.
fn joined<'w>(words: impl Iterator<Item = &'w [u8]> + Clone) -> Result<Vec<u8>> {
    let len = words.clone().try_fold(0usize, |sum, word| sum.checked_add(word.len() + 1));
    let mut text = Vec::new();
    cllm_kernels::memory::reserve("a text", &mut text, len.unwrap_or(usize::MAX))?;
    for word in words {
        if !text.is_empty() {
            text.push(b' ');
        }
        text.extend_from_slice(word);
    }
    Ok(text)
}

/// The bytes of one token: of a subword what it adds to a text, of a word its letters, of a special token
/// its name.
///
/// @param tokenizer  the vocabulary.
/// @param token      the id.
/// @param length     receives how many bytes; may be NULL.
/// @return the bytes, borrowed: valid until the tokenizer is freed or changed. No NUL ends those of a
///         subword. NULL where the vocabulary has no such token.
///
/// ```c
/// size_t length;
/// const char *bytes = cllm_token_text(tokenizer, 100, &length);
/// if (bytes) fwrite(bytes, 1, length, stdout);
/// ```
///
/// # Safety
/// `tokenizer` is NULL or live; `length` is NULL or writable.
#[unsafe(no_mangle)]
#[c_api(null())]
pub unsafe extern "C" fn cllm_token_text(
    tokenizer: *const CLLMTokenizer,
    token: u32,
    length: *mut usize,
) -> *const c_char {
    let none = || Error::argument("token", token, "in the vocabulary");
    // The registry keeps the bytes where they are, whatever becomes of this clone.
    let subwords = subwords::of(tokenizer)?;
    let (bytes, len) = match &subwords {
        Some(bpe) => bpe.token(token).map(|bytes| (bytes.as_ptr().cast(), bytes.len())),
        None => {
            let strings = words::strings(tokenizer)?;
            let slot = strings.slot(token);
            slot.map(|slot| (slot.cast_const(), strings.get(token).unwrap_or_default().len()))
        }
    }
    .ok_or_else(none)?;
    ffi::set_out(length, len, "length")?;
    Ok(bytes)
}

/// Whether a token is a special one, which stands for no text.
///
/// @return false also for a token that the vocabulary does not have, and for NULL.
///
/// ```c
/// if (!cllm_token_is_special(tokenizer, id)) count_of_text++;
/// ```
///
/// # Safety
/// `tokenizer` is NULL or live.
#[unsafe(no_mangle)]
#[c_api(false)]
pub unsafe extern "C" fn cllm_token_is_special(
    tokenizer: *const CLLMTokenizer,
    token: u32,
) -> bool {
    Ok(match subwords::of(tokenizer)? {
        Some(bpe) => bpe.is_special(token),
        None => special::is_special(&words::strings(tokenizer)?, token),
    })
}

/// The token that ends a text: `<EOS>`, or that of a tokenizer.json (`<|endoftext|>`, `</s>` and others).
/// A program puts it between the texts that it trains on; generation stops there.
///
/// @return the id; -1 where there is none, and for NULL.
///
/// ```c
/// int end = cllm_end_token(tokenizer);
/// if (end >= 0) ids[count++] = (uint32_t)end;
/// ```
///
/// # Safety
/// `tokenizer` is NULL or live.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_end_token(tokenizer: *const CLLMTokenizer) -> c_int {
    let end = match subwords::of(tokenizer)? {
        Some(bpe) => bpe.end(),
        None => special::end(&words::strings(tokenizer)?),
    };
    Ok(end.and_then(|id| c_int::try_from(id).ok()).unwrap_or(-1))
}

/// The same of a model.
///
/// @return the id; -1 where there is none, and for NULL.
///
/// ```c
/// if (cllm_model_end_token(model) < 0) puts("its texts have no end of their own");
/// ```
///
/// # Safety
/// `model` is NULL or live.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_model_end_token(model: *const CLLMModel) -> c_int {
    let end = model_words::end(model)?;
    Ok(end.and_then(|id| c_int::try_from(id).ok()).unwrap_or(-1))
}
