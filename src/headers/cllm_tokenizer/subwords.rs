//! Tokenizers of subwords: what the public fields show of them, and texts to ids and back.

use super::words::{self, TOKENIZERS};
use super::{CLLMTokenizer, empty};
use crate::border::ffi::CArray;
use crate::border::registry::lock;
use crate::model::subwords::shown;
use cllm_engine::error::{Error, Result};
use cllm_engine::limits::MAX_TOKENIZER_WORDS;
use cllm_engine::text::bpe::read_shown;
use cllm_engine::text::vocab::Entry;
use cllm_engine::text::{Bpe, SPECIALS};
use cllm_kernels::Pool;

/// The subwords of a tokenizer; `None` where it has words.
pub(crate) fn of(tokenizer: *const CLLMTokenizer) -> Result<Option<Bpe>> {
    let state = TOKENIZERS.find(tokenizer)?;
    Ok(state.and_then(|state| lock(&state).subwords.clone()))
}

/// A new tokenizer; `count` says how often each token was met.
pub(crate) fn create(bpe: Bpe, count: impl Fn(u32) -> u64) -> Result<*mut CLLMTokenizer> {
    let len = u32::try_from(bpe.len()).ok().filter(|&len| len <= MAX_TOKENIZER_WORDS);
    let len = len.ok_or_else(|| Error::shape("a tokenizer of more than 2^26 tokens"))?;
    let draft = empty(len)?;
    // SAFETY: it was just made, with room for all tokens.
    unsafe { fill(draft.get(), bpe, count)? };
    Ok(draft.keep())
}

/// Shows the tokens in a tokenizer without any, and keeps what they are.
///
/// # Safety
/// As [`words::append`].
unsafe fn fill(tokenizer: *mut CLLMTokenizer, bpe: Bpe, count: impl Fn(u32) -> u64) -> Result<()> {
    let state = TOKENIZERS.get(tokenizer)?;
    let tokens: Vec<String> = (0..bpe.len() as u32).map(|id| shown(&bpe, id)).collect();
    let narrow = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    let entries = (0u32..).zip(&tokens).map(|(id, text)| (text.as_bytes(), narrow(count(id))));
    words::append(tokenizer, entries)?;
    lock(&state).subwords = Some(bpe);
    Ok(())
}

/// The tokens and counts of a vocab.txt, for a tokenizer that holds nothing but the special words, or
/// the same tokens.
///
/// # Safety
/// As [`words::append`].
pub(super) unsafe fn load(
    tokenizer: *mut CLLMTokenizer,
    bpe: Bpe,
    entries: &[Entry],
) -> Result<()> {
    let t = words::fields(tokenizer)?;
    match of(tokenizer)? {
        Some(old) if old == bpe => {
            for (place, entry) in words::counts(tokenizer)?.iter_mut().zip(entries) {
                *place = entry.count;
            }
            return Ok(());
        }
        None if t.vocab_size as usize == SPECIALS.len() => {}
        _ => return Err(Error::state("the tokenizer has another vocabulary already")),
    }
    if bpe.len() > t.max_vocab_size as usize {
        let (tokens, room) = (bpe.len(), t.max_vocab_size);
        return Err(Error::shape(format!("{tokens} subwords, and room for {room}")));
    }
    TOKENIZERS.get(tokenizer)?;
    // The special tokens are first in either.
    let rest = (SPECIALS.len() as u32..).zip(&entries[SPECIALS.len()..]);
    words::append(tokenizer, rest.map(|(_, entry)| (entry.word, entry.count)))?;
    for (place, entry) in words::counts(tokenizer)?.iter_mut().zip(entries) {
        *place = entry.count;
    }
    lock(&*TOKENIZERS.get(tokenizer)?).subwords = Some(bpe);
    Ok(())
}

/// The id of a token that is shown so, else of the token of these bytes, else of `<UNK>`.
pub(super) fn find(bpe: &Bpe, token: &[u8]) -> Result<u32> {
    let text = std::str::from_utf8(token).map_or(Ok(None), read_shown)?;
    let readable = text.and_then(|bytes| bpe.id(&bytes));
    // `\x41` can be read, but the token is not shown so.
    let readable = readable.filter(|&id| shown(bpe, id).as_bytes() == token);
    let found = readable.or_else(|| bpe.id(token)).or(bpe.unknown());
    found.ok_or_else(|| {
        Error::argument("token", String::from_utf8_lossy(token).into_owned(), "in the vocabulary")
    })
}

/// The ids of a text, `framed` by the tokens for its beginning and end that there are.
pub(super) fn encode(bpe: &Bpe, text: &[u8], framed: bool) -> Result<(usize, CArray<u32>)> {
    let mut ids = bpe.encode(text)?;
    if framed {
        let begin = bpe.id(SPECIALS[2]).filter(|&id| bpe.is_special(id));
        ids.splice(0..0, begin);
        ids.extend(bpe.end());
    }
    Ok((ids.len(), CArray::copy_of("the ids of a text", &ids)?))
}

/// The ids of texts, with the end token between two of them.
pub(crate) fn dataset(bpe: &Bpe, texts: &[&[u8]]) -> Result<(usize, CArray<u32>)> {
    let pool = Pool::automatic();
    let texts = texts.iter().map(|text| bpe.encode_in(text, false, &pool));
    let texts = texts.collect::<Result<Vec<_>>>()?;
    let ends = if bpe.end().is_some() { texts.len().saturating_sub(1) } else { 0 };
    let len = texts.iter().map(Vec::len).sum::<usize>() + ends;
    let mut ids = CArray::<u32>::zeroed("the ids of a dataset", len)?;
    let all = texts
        .iter()
        .enumerate()
        .flat_map(|(i, text)| bpe.end().filter(|_| i > 0).into_iter().chain(text.iter().copied()));
    ids.as_mut_slice().iter_mut().zip(all).for_each(|(place, id)| *place = id);
    Ok((len, ids))
}

/// Counts the tokens of texts.
///
/// # Safety
/// As [`words::counts`].
pub(crate) unsafe fn count(
    tokenizer: *mut CLLMTokenizer,
    bpe: &Bpe,
    texts: &[&[u8]],
) -> Result<()> {
    let counts = words::counts(tokenizer)?;
    for text in texts {
        for id in bpe.encode(text)? {
            if let Some(count) = counts.get_mut(id as usize) {
                *count = count.saturating_add(1);
            }
        }
    }
    Ok(())
}
