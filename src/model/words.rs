//! The words of a model: `model->tokens` as strings, and texts to ids and back by them, or by the
//! model's subwords. Works for models that the program assembled as well as for the library's own.

use crate::border::ffi::{self, CArray};
use crate::border::registry::{Registry, lock};
use crate::headers::cllm::{CLLMModel, CLLMToken};
use crate::model::subwords::{self, Subwords};
use crate::model::view::{self, MODELS};
use cllm_engine::error::{Error, Result};
use cllm_engine::limits::{MAX_DECODED_IDS, TOKEN_STR_LEN};
use cllm_engine::log;
use cllm_engine::text::Ids;
use cllm_engine::text::encode::{byte_ids, word_ids};
use cllm_engine::text::index::{Lookup, WordIndex, Words};
use cllm_engine::text::split::{cut, is_placeholder};
use cllm_engine::text::{Utf8Stream, special};
use cllm_engine::train::checkpoint::words_checksum;
use std::collections::HashMap;
use std::ffi::{c_char, c_int};
use std::sync::{Arc, Mutex};

pub(crate) use cllm_engine::text::encode::Rule;

/// Strings too long for `token_str`, whole, by id.
type LongStrings = HashMap<u32, Vec<u8>>;

/// What is kept between calls for a model, whoever made it.
#[derive(Default)]
pub(crate) struct Kept {
    index: WordIndex,
    /// Of a model that has no `ModelRecord` to keep them.
    long_strings: Arc<LongStrings>,
    pub(super) subwords: Option<Subwords>,
}

pub(super) static KEPT: Registry<Kept> = Registry::new("model");

pub(super) fn kept(model: *const CLLMModel) -> Result<Arc<Mutex<Kept>>> {
    Ok(match KEPT.find(model)? {
        Some(kept) => kept,
        None => KEPT.insert(model, Kept::default()),
    })
}

/// Drops what is kept for a model; for its end.
pub(crate) fn forget(model: *const CLLMModel) {
    KEPT.remove(model);
}

fn long_strings(model: *const CLLMModel) -> Result<Arc<LongStrings>> {
    Ok(match MODELS.find(model)? {
        Some(record) => Arc::clone(&lock(&record).long_strings),
        None => match KEPT.find(model)? {
            Some(kept) => Arc::clone(&lock(&kept).long_strings),
            None => Arc::default(),
        },
    })
}

/// The strings of a model as they are now, by id.
pub(crate) struct Strings<'a> {
    tokens: &'a [CLLMToken],
    long: Arc<LongStrings>,
}

impl Strings<'_> {
    /// How often a token was met, as the model says.
    pub(crate) fn count_of(&self, id: u32) -> u64 {
        self.tokens.get(id as usize).map_or(0, |token| token.frequency as u64)
    }

    /// Slots up to the last one with a word of its own.
    pub(crate) fn used(&self) -> usize {
        let real = |id: &u32| {
            let word = self.get(*id).unwrap_or_default();
            !word.is_empty() && !is_placeholder(word, *id as usize)
        };
        (0..self.count() as u32).rev().find(real).map_or(0, |last| last as usize + 1)
    }
}

impl Words for Strings<'_> {
    fn count(&self) -> usize {
        self.tokens.len()
    }

    fn get(&self, id: u32) -> Option<&[u8]> {
        let field = ffi::field_bytes(&self.tokens.get(id as usize)?.token_str);
        // A whole string counts as long as the program has not changed the field.
        let whole = self.long.get(&id);
        let whole = whole.filter(|whole| cut(whole, TOKEN_STR_LEN) == field);
        Some(whole.map_or(field, Vec::as_slice))
    }

    fn is(&self, id: u32, word: &[u8]) -> bool {
        if !self.long.is_empty() {
            return self.get(id) == Some(word);
        }
        let Some(token) = self.tokens.get(id as usize) else {
            return false;
        };
        let field = token.token_str.iter().map(|&c| c as u8);
        let ends = token.token_str.get(word.len()).is_none_or(|&c| c == 0);
        ends && word.len() <= token.token_str.len()
            && word.iter().copied().eq(field.take(word.len()))
    }
}

/// The strings of a model; `None` where it has no `tokens`.
///
/// # Safety
/// `model` is NULL or a model whose `tokens` is NULL or holds as many entries as the model has
/// words; nothing writes them during `'a`.
pub(crate) unsafe fn strings<'a>(model: *const CLLMModel) -> Result<Option<Strings<'a>>> {
    let long = long_strings(model)?;
    // SAFETY: the caller's promise.
    let m = unsafe {
        view::check_sizes(model)?;
        view::live(model)?
    };
    if m.tokens.is_null() {
        return Ok(None);
    }
    // SAFETY: likewise.
    let tokens = unsafe { ffi::slice(m.tokens, view::vocab_size(m)?, "model->tokens")? };
    Ok(Some(Strings { tokens, long }))
}

/// Whether the model has a vocabulary: some string is more than the `token_<id>` of a new model.
///
/// # Safety
/// As [`strings`].
pub(crate) unsafe fn has_real_strings(model: *const CLLMModel) -> Result<bool> {
    // SAFETY: the caller's promise.
    if unsafe { subwords::of(model)? }.is_some() {
        return Ok(true);
    }
    // SAFETY: the caller's promise.
    let Some(strings) = (unsafe { strings(model)? }) else {
        return Ok(false);
    };
    let real = |(id, token): (usize, &CLLMToken)| {
        let word = ffi::field_bytes(&token.token_str);
        !word.is_empty() && !is_placeholder(word, id)
    };
    Ok(strings.tokens.iter().enumerate().any(real))
}

/// The ids that a generation leaves out; none in a model without `tokens`.
///
/// # Safety
/// As [`strings`].
pub(crate) unsafe fn never_drawn(model: *const CLLMModel) -> Result<Vec<u32>> {
    // SAFETY: the caller's promise, for both.
    let (strings, subwords) = unsafe { (strings(model)?, subwords::of(model)?) };
    let Some(strings) = strings else { return Ok(Vec::new()) };
    let met = |id: u32| strings.tokens.get(id as usize).map_or(0.0, |token| token.frequency);
    let Some(bpe) = subwords else { return Ok(special::never_drawn(&strings, met)) };
    let mut never = special::never_drawn_subwords(&bpe, met);
    never.extend(bpe.len() as u32..strings.count() as u32);
    Ok(never)
}

/// Counts the `<EOS>` of training ids, where the model's words say that it was never met: a program
/// that puts it between its texts trains it, and generation then ends at it.
///
/// # Safety
/// As [`strings`], and nothing else uses the model.
pub(crate) unsafe fn count_end(model: *mut CLLMModel, ids: Ids<'_>) -> Result<()> {
    // SAFETY: the caller's promise.
    let Some(end) = (unsafe { end(model)? }) else { return Ok(()) };
    let count = ids.count(end);
    // SAFETY: likewise.
    let token =
        unsafe { ffi::get_mut(ffi::get(model, "model")?.tokens.add(end as usize), "tokens")? };
    if count > 0 && token.frequency <= 0.0 {
        token.frequency = count as f32;
    }
    Ok(())
}

/// The ids that end a generation.
///
/// # Safety
/// As [`strings`].
pub(crate) unsafe fn end_tokens(model: *const CLLMModel) -> Result<Vec<u32>> {
    // SAFETY: the caller's promise.
    Ok(unsafe { end(model)? }.into_iter().collect())
}

/// The token that ends a text.
///
/// # Safety
/// As [`strings`].
pub(crate) unsafe fn end(model: *const CLLMModel) -> Result<Option<u32>> {
    // SAFETY: the caller's promise, for both.
    Ok(match unsafe { subwords::of(model)? } {
        Some(bpe) => bpe.end(),
        // SAFETY: as above.
        None => unsafe { strings(model)? }.and_then(|strings| special::end(&strings)),
    })
}

/// What a token adds to a text that is shown piece by piece: a space and its word, or those
/// characters of subwords that are whole now. Empty where nothing is to be shown.
///
/// # Safety
/// As [`strings`].
pub(crate) unsafe fn piece(
    model: *const CLLMModel,
    id: u32,
    stream: &mut Utf8Stream,
) -> Result<Vec<u8>> {
    // SAFETY: the caller's promise, for both.
    let Some(bpe) = (unsafe { subwords::of(model)? }) else {
        // SAFETY: as above.
        let word = unsafe { shown_word(model, id)? };
        return Ok(word.map_or_else(Vec::new, |word| [b" ", &word[..]].concat()));
    };
    let token = bpe.token(id).filter(|_| !bpe.is_special(id));
    Ok(stream.push(token.unwrap_or_default()).to_vec())
}

/// The word of a token, or `None` where it is not shown.
///
/// # Safety
/// As [`strings`].
pub(crate) unsafe fn shown_word(model: *const CLLMModel, id: u32) -> Result<Option<Vec<u8>>> {
    // SAFETY: the caller's promise.
    let strings = unsafe { strings(model)? }.ok_or_else(|| Error::null("model->tokens"))?;
    let word = strings.get(id);
    let word =
        word.ok_or_else(|| Error::argument("token id", id, "below the model's vocab_size"))?;
    Ok((!special::is_special(&strings, id)).then(|| word.to_vec()))
}

/// What each token of a model adds to a text, appended to bytes: a space and its word, or the bytes of
/// a subword; nothing for a special word or a slot without one. Of a model without `tokens` one byte, id
/// mod 128.
///
/// # Safety
/// As [`strings`].
pub(crate) unsafe fn spellings<'a>(
    model: *const CLLMModel,
) -> Result<impl Fn(u32, &mut Vec<u8>) + 'a> {
    // SAFETY: the caller's promise, for both.
    let (strings, subwords): (Option<Strings<'a>>, _) =
        unsafe { (strings(model)?, subwords::of(model)?) };
    Ok(move |id: u32, bytes: &mut Vec<u8>| {
        if let Some(bpe) = &subwords {
            let token = bpe.token(id).filter(|_| !bpe.is_special(id));
            return bytes.extend_from_slice(token.unwrap_or_default());
        }
        let Some(strings) = &strings else {
            return bytes.push((id % 128) as u8);
        };
        let word = strings.get(id).filter(|word| !word.is_empty());
        if let Some(word) = word.filter(|_| !special::is_special(strings, id)) {
            bytes.push(b' ');
            bytes.extend_from_slice(word);
        }
    })
}

/// What a checkpoint says of the words of a model; `None` for one without real ones.
///
/// # Safety
/// As [`strings`].
pub(crate) unsafe fn checksum(model: *const CLLMModel) -> Option<u32> {
    // SAFETY: the caller's promise.
    let strings = unsafe {
        if let Some(bpe) = subwords::of(model).ok()? {
            return Some(words_checksum(std::iter::once(&bpe.to_bytes()[..])));
        }
        if !has_real_strings(model).unwrap_or(false) {
            return None;
        }
        strings(model).ok()??
    };
    let ids = 0..strings.count() as u32;
    Some(words_checksum(ids.map(|id| strings.get(id).unwrap_or_default())))
}

/// The ids of `text` by a rule, at most `limit`. For a model without `tokens` the rule's form for
/// bytes; [`Rule::WithVocab`] has none, which is an error.
///
/// # Safety
/// As [`strings`].
pub(crate) unsafe fn ids_of_text(
    model: *const CLLMModel,
    text: &[u8],
    rule: Rule,
    limit: usize,
) -> Result<Vec<u32>> {
    // SAFETY: the caller's promise.
    if let Some(bpe) = unsafe { subwords::of(model)? } {
        let mut ids = bpe.encode(text)?;
        ids.truncate(limit);
        return Ok(ids);
    }
    // SAFETY: the caller's promise, here and for `vocab`.
    let strings = unsafe { strings(model)? };
    // SAFETY: likewise.
    let vocab = view::vocab_size(unsafe { view::live(model)? })?;
    let Some(strings) = strings else {
        if rule == Rule::WithVocab {
            return Err(Error::null("model->tokens"));
        }
        if rule == Rule::Inference {
            log::warn("the model has no vocabulary: every byte of the text becomes one id");
        }
        return byte_ids(text, rule, vocab, limit);
    };
    let kept = kept(model)?;
    let mut kept = lock(&kept);
    let mut lookup = Lookup::new(&mut kept.index, &strings)?;
    word_ids(text, rule, vocab, &mut lookup, limit)
}

/// The words of `ids` with single spaces between them, and whether all of them fit into a C
/// string of `room` bytes: it ends before the first that does not. Ids outside the vocabulary and
/// empty strings are left out, special words as well where `hide_specials` says so. A model
/// without `tokens` gives one byte `id mod 128` per id, one with subwords their bytes.
///
/// # Safety
/// As [`strings`].
pub(crate) unsafe fn text_of_ids(
    model: *const CLLMModel,
    ids: &[u32],
    room: usize,
    hide_specials: bool,
) -> Result<(Vec<u8>, bool)> {
    // SAFETY: the caller's promise.
    if let Some(bpe) = unsafe { subwords::of(model)? } {
        return subwords::text(&bpe, ids, room, !hide_specials);
    }
    // SAFETY: the caller's promise.
    let Some(strings) = (unsafe { strings(model)? }) else {
        log::warn("the model has no vocabulary: every id becomes one character");
        let fit = ids.len().min(room.saturating_sub(1));
        let text = ids[..fit].iter().map(|id| (id % 128) as u8).collect();
        return Ok((text, fit == ids.len()));
    };
    let mut text = Vec::new();
    for &id in ids {
        let Some(word) = strings.get(id).filter(|word| !word.is_empty()) else {
            continue;
        };
        if hide_specials && special::is_special(&strings, id) {
            continue;
        }
        let space = usize::from(!text.is_empty());
        // The bound of the original, which leaves room for a space after the word as well.
        if text.len() + space + word.len() >= room.saturating_sub(1) {
            return Ok((text, false));
        }
        text.try_reserve(word.len() + 1).map_err(|_| Error::memory("a text", text.len()))?;
        text.extend_from_slice(&b" "[..space]);
        text.extend_from_slice(word);
    }
    Ok((text, true))
}

/// [`ids_of_text`] into a C array with room for `max_ids`; the number of ids.
///
/// # Safety
/// As [`strings`]; `text` is NULL or a C string; `ids` is NULL or has room for `max_ids`.
pub(crate) unsafe fn write_ids(
    model: *const CLLMModel,
    text: *const c_char,
    rule: Rule,
    ids: *mut u32,
    max_ids: c_int,
) -> Result<c_int> {
    let limit = ffi::positive(max_ids, "max_tokens")?;
    // SAFETY: the caller's promise, for the whole body.
    unsafe {
        let text = ffi::bytes(text, "text")?;
        ffi::slice_mut(ids, 0, "tokens")?;
        let found = ids_of_text(model, text, rule, limit)?;
        ffi::slice_mut(ids, found.len(), "tokens")?.copy_from_slice(&found);
        Ok(found.len() as c_int)
    }
}

/// [`text_of_ids`] into a C buffer; an error after writing what fits.
///
/// # Safety
/// As [`strings`]; `ids` and `output` are NULL or have the sizes given.
pub(crate) unsafe fn write_text(
    model: *const CLLMModel,
    ids: *const u32,
    num_ids: c_int,
    output: *mut c_char,
    max_length: c_int,
    hide_specials: bool,
) -> Result<()> {
    let room = ffi::positive(max_length, "max_length")?;
    // SAFETY: the caller's promise, for the whole body.
    unsafe {
        let count = num_ids.max(0) as usize;
        if count > MAX_DECODED_IDS {
            return Err(Error::argument("num_tokens", count, "at most 2^28: more in parts"));
        }
        let ids = ffi::slice(ids, count, "tokens")?;
        ffi::slice_mut(output, 0, "output")?;
        let (text, complete) = text_of_ids(model, ids, room, hide_specials)?;
        // Only what is written is looked at as a slice: the rest may be uninitialised.
        let output = ffi::slice_mut(output.cast::<u8>(), text.len() + 1, "output")?;
        output[..text.len()].copy_from_slice(&text);
        output[text.len()] = 0;
        if !complete {
            return Err(Error::argument("max_length", max_length, "enough for the text"));
        }
    }
    ffi::len(num_ids, "num_tokens").map(|_| ())
}

/// What stands in the slots of a model that a vocabulary leaves over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unused {
    /// `<UNK_<id>>`.
    Unk,
    /// `token_<id>`, as in a new model.
    Placeholder,
}

/// Gives a model the words of a vocabulary, ids in their order, with their counts as frequencies.
/// `model->tokens` is replaced by a new block, all other fields of which are 0, and the old block
/// is freed; after an error nothing is changed. The number of strings that `token_str` holds only
/// the beginning of.
///
/// # Safety
/// As [`strings`]; `model->tokens` is NULL or a block of malloc's family, which nothing else uses.
pub(crate) unsafe fn set_words(
    model: *mut CLLMModel,
    words: &[(&[u8], u64)],
    unused: Unused,
) -> Result<usize> {
    let record = MODELS.find(model)?;
    // SAFETY: the caller's promise.
    let m = unsafe { ffi::get_mut(model, "model")? };
    let slots = slots(m)?;
    if words.len() > slots {
        return Err(Error::shape(format!(
            "{} words are too many for a model with {slots}",
            words.len()
        )));
    }
    let mut tokens = CArray::<CLLMToken>::zeroed("the tokens", slots)?;
    let mut long = LongStrings::new();
    for (id, token) in tokens.as_mut_slice().iter_mut().enumerate() {
        token.token_id = id as u32;
        match words.get(id) {
            Some(&(word, count)) => {
                ffi::set_field(&mut token.token_str, word);
                token.frequency = count as f32;
                if word.len() > TOKEN_STR_LEN {
                    long.insert(id as u32, word.to_vec());
                }
            }
            None => {
                let text = match unused {
                    Unused::Unk => format!("<UNK_{id}>"),
                    Unused::Placeholder => format!("token_{id}"),
                };
                ffi::set_field(&mut token.token_str, text.as_bytes());
            }
        }
    }
    let cut_strings = long.len();
    match record {
        Some(record) => lock(&record).long_strings = Arc::new(long),
        None => {
            let kept = kept(model)?;
            lock(&kept).long_strings = Arc::new(long);
        }
    }
    if let Some(kept) = KEPT.find(model)? {
        lock(&kept).subwords = None;
    }
    let old = std::mem::replace(&mut m.tokens, tokens.into_raw());
    // SAFETY: the caller's promise; the model does not refer to it any more.
    unsafe { ffi::free(old) };
    Ok(cut_strings)
}

/// Entries of `model->tokens`, for whoever makes a new block of them.
pub(crate) fn slots(model: &CLLMModel) -> Result<usize> {
    match model.vocab_size {
        0 => view::vocab_size(model),
        n => {
            usize::try_from(n).map_err(|_| Error::argument("model->vocab_size", n, "an array size"))
        }
    }
}
