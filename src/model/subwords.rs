//! The subwords of a model: their bytes and merges are kept beside it, for `token_str` has room for
//! readable spellings only.

use super::words::{self, KEPT, Unused};
use crate::border::ffi;
use crate::border::registry::lock;
use crate::headers::cllm::CLLMModel;
use crate::model::view;
use cllm_engine::error::{Error, Result};
use cllm_engine::limits::TOKEN_STR_LEN;
use cllm_engine::text::split::cut;
use cllm_engine::text::{Bpe, Tokenizer, Utf8Stream};

/// What is kept of a model with subwords.
#[derive(Clone)]
pub(crate) struct Subwords {
    bpe: Bpe,
    /// Address of the block of spellings. A model whose program put another block there has the
    /// words of that one.
    tokens: usize,
}

/// The subwords of a model; `None` where its tokens are words, or it has none.
///
/// # Safety
/// As [`words::strings`].
pub(crate) unsafe fn of(model: *const CLLMModel) -> Result<Option<Bpe>> {
    let kept = KEPT.find(model)?;
    let Some(Subwords { bpe, tokens }) = kept.and_then(|kept| lock(&kept).subwords.clone()) else {
        return Ok(None);
    };
    // SAFETY: the caller's promise.
    let m = unsafe {
        view::check_sizes(model)?;
        view::live(model)?
    };
    let vocab = view::vocab_size(m)?;
    if m.tokens.addr() != tokens {
        return Ok(None);
    }
    check_len(bpe.len(), vocab)?;
    let last = bpe.len() - 1;
    // SAFETY: likewise; the block has an entry for each of the model's ids.
    let slots = unsafe { ffi::slice(m.tokens, vocab, "model->tokens")? };
    // A program may have freed its own model, and made another at both addresses.
    let same = slots.get(last).map(|slot| ffi::field_bytes(&slot.token_str));
    Ok((same == Some(spelling(&bpe, last as u32).as_bytes())).then_some(bpe))
}

fn check_len(tokens: usize, vocab: usize) -> Result<()> {
    if tokens <= vocab {
        return Ok(());
    }
    Err(Error::shape(format!("the vocabulary has {tokens} entries, the model {vocab}")))
}

/// A token as `token_str` holds it.
pub(crate) fn spelling(bpe: &Bpe, id: u32) -> String {
    let mut shown = shown(bpe, id);
    shown.truncate(cut(shown.as_bytes(), TOKEN_STR_LEN).len());
    shown
}

/// A token readably, as the whole of its spelling.
pub(crate) fn shown(bpe: &Bpe, id: u32) -> String {
    Tokenizer::from(bpe.clone()).shown(id).map_or_else(String::new, |shown| shown.into_owned())
}

/// Gives a model subwords, as [`words::set_words`] gives it words; `count` says how often each was
/// met.
///
/// # Safety
/// As [`words::set_words`].
pub(crate) unsafe fn set(
    model: *mut CLLMModel,
    bpe: Bpe,
    count: impl Fn(u32) -> u64,
) -> Result<()> {
    // SAFETY: the caller's promise, for the whole body.
    unsafe {
        check_len(bpe.len(), view::vocab_size(view::live(model)?)?)?;
        let spellings: Vec<_> = (0..bpe.len() as u32).map(|id| spelling(&bpe, id)).collect();
        let entries = (0u32..).zip(&spellings).map(|(id, text)| (text.as_bytes(), count(id)));
        words::set_words(model, &entries.collect::<Vec<_>>(), Unused::Placeholder)?;
        keep(model, bpe)
    }
}

/// Keeps the subwords whose spellings stand in `model->tokens`.
///
/// # Safety
/// As [`words::strings`].
pub(crate) unsafe fn keep(model: *const CLLMModel, bpe: Bpe) -> Result<()> {
    // SAFETY: the caller's promise.
    let tokens = unsafe { view::live(model)? }.tokens.addr();
    lock(&*words::kept(model)?).subwords = Some(Subwords { bpe, tokens });
    Ok(())
}

/// The text of ids, and whether all of it fits into a C string of `room` bytes: it is cut between
/// two characters.
pub(crate) fn text(bpe: &Bpe, ids: &[u32], room: usize, specials: bool) -> Result<(Vec<u8>, bool)> {
    let mut text = bpe.decode_with(ids, specials)?;
    let all = text.len();
    text.truncate(cut(&text, room.saturating_sub(1)).len());
    let fits = text.len() == all;
    Ok((text, fits))
}

/// A stream that goes on behind `ids`: it holds the bytes of the character that they leave unfinished.
pub(crate) fn stream_behind(bpe: &Bpe, ids: &[u32]) -> Result<Utf8Stream> {
    let mut stream = Utf8Stream::default();
    // Three tokens have the three bytes that can be unfinished, unless some are special.
    let tail = ids.iter().copied().rev().filter(|&id| !bpe.is_special(id)).take(3);
    let mut tail: Vec<u32> = tail.collect();
    tail.reverse();
    stream.push(&bpe.decode(&tail)?);
    Ok(stream)
}
