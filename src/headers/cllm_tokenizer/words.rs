//! The words of a `CLLMTokenizer`, for its own functions and those of the data loader. Works from
//! the public fields, which a program may have filled and may edit.

use super::types::CLLMTokenizer;
use crate::border::ffi::{self, CArray};
use crate::border::registry::{Registry, lock};
use cllm_engine::error::{Error, Result};
use cllm_engine::text::count::{Counter, Keep, WordCounts};
use cllm_engine::text::encode::id_of;
use cllm_engine::text::index::{Lookup, WordIndex, Words, scan};
use cllm_engine::text::special::spells_special;
use cllm_engine::text::split::text_words;
use cllm_engine::text::vocab::Entry;
use cllm_engine::text::{Bpe, UNK};
use cllm_kernels::memory::reserve;
use std::collections::HashSet;
use std::ffi::{CStr, c_char};

/// What a tokenizer keeps besides its public fields.
#[derive(Default)]
pub(crate) struct TokenizerState {
    index: WordIndex,
    /// Words of texts keep their case: they are looked up as they are before they are lower-cased.
    keep_case: bool,
    /// What the tokens are, where they are no words.
    pub(super) subwords: Option<Bpe>,
}

/// The tokenizers that the library made.
pub(crate) static TOKENIZERS: Registry<TokenizerState> = Registry::new("tokenizer");

/// Whether words of texts keep their case in a tokenizer.
pub(crate) fn keeps_case(tokenizer: *const CLLMTokenizer) -> Result<bool> {
    Ok(TOKENIZERS.find(tokenizer)?.is_some_and(|state| lock(&state).keep_case))
}

/// From now on words of texts keep their case in a tokenizer of the library's.
pub(crate) fn keep_case(tokenizer: *const CLLMTokenizer) -> Result<()> {
    if let Some(state) = TOKENIZERS.find(tokenizer)? {
        lock(&state).keep_case = true;
    }
    Ok(())
}

/// The strings of a tokenizer as they are now.
pub(crate) struct Strings<'a> {
    slots: &'a [*mut c_char],
}

impl Strings<'_> {
    /// The pointer in a slot, unless it is NULL.
    pub(crate) fn slot(&self, id: u32) -> Option<*mut c_char> {
        let slot = self.slots.get(id as usize).copied();
        slot.filter(|pointer| !pointer.is_null())
    }
}

impl Words for Strings<'_> {
    fn count(&self) -> usize {
        self.slots.len()
    }

    fn get(&self, id: u32) -> Option<&[u8]> {
        let pointer = self.slot(id)?;
        // SAFETY: `strings` was called with the promise that every slot is a C string.
        Some(unsafe { CStr::from_ptr(pointer) }.to_bytes())
    }

    fn is(&self, id: u32, word: &[u8]) -> bool {
        let Some(pointer) = self.slot(id) else {
            return false;
        };
        // SAFETY: likewise; a byte is read only when none before it was the NUL.
        let byte = |at: usize| unsafe { *pointer.add(at) } as u8;
        let same = |(at, &b): (usize, &u8)| b != 0 && byte(at) == b;
        word.iter().enumerate().all(same) && byte(word.len()) == 0
    }
}

/// The fields of a tokenizer, which is not one that was freed.
///
/// # Safety
/// `tokenizer` is NULL or points to a tokenizer.
pub(crate) unsafe fn fields(tokenizer: *const CLLMTokenizer) -> Result<CLLMTokenizer> {
    TOKENIZERS.find(tokenizer)?;
    Ok(*(ffi::get(tokenizer, "tokenizer")?))
}

/// The strings of a tokenizer.
///
/// # Safety
/// `tokenizer` is NULL or a tokenizer with `vocab_size` slots, each NULL or a C string that
/// nothing writes during `'a`.
pub(crate) unsafe fn strings<'a>(tokenizer: *const CLLMTokenizer) -> Result<Strings<'a>> {
    let t = fields(tokenizer)?;
    let slots = ffi::slice_or_empty(t.vocab, t.vocab_size as usize, "tokenizer->vocab")?;
    Ok(Strings { slots })
}

/// The counts of a tokenizer; none where the program's own tokenizer has no such array.
///
/// # Safety
/// As [`strings`], for the array `token_counts`; nothing else uses it during `'a`.
pub(crate) unsafe fn counts<'a>(tokenizer: *const CLLMTokenizer) -> Result<&'a mut [u32]> {
    let t = fields(tokenizer)?;
    if t.token_counts.is_null() || t.vocab_size == 0 {
        return Ok(&mut []);
    }
    ffi::slice_mut(t.token_counts, t.vocab_size as usize, "tokenizer->token_counts")
}

/// The words and counts of a tokenizer in id order; an empty slot is an empty word.
///
/// # Safety
/// As [`strings`] and [`counts`].
pub(crate) unsafe fn words_and_counts<'a>(
    tokenizer: *const CLLMTokenizer,
) -> Result<Vec<(&'a [u8], u64)>> {
    let slots = strings(tokenizer)?.slots;
    let counts = counts(tokenizer)?;
    let mut words = Vec::new();
    reserve("the words", &mut words, slots.len())?;
    for (id, &slot) in slots.iter().enumerate() {
        let word = match slot.is_null() {
            true => &[],
            false => ffi::bytes(slot, "a word")?,
        };
        words.push((word, counts.get(id).map_or(0, |&count| u64::from(count))));
    }
    Ok(words)
}

/// Runs `f` with a lookup of the tokenizer's words; nothing may change them meanwhile.
///
/// # Safety
/// As [`strings`].
pub(crate) unsafe fn with_lookup<R>(
    tokenizer: *const CLLMTokenizer,
    f: impl FnOnce(&mut Lookup<Strings>) -> Result<R>,
) -> Result<R> {
    let strings = strings(tokenizer)?;
    match TOKENIZERS.find(tokenizer)? {
        Some(state) => f(&mut Lookup::new(&mut lock(&state).index, &strings)?),
        None => f(&mut Lookup::new(&mut WordIndex::default(), &strings)?),
    }
}

/// The id of one word.
///
/// # Safety
/// As [`strings`].
pub(crate) unsafe fn find(tokenizer: *const CLLMTokenizer, word: &[u8]) -> Result<Option<u32>> {
    if TOKENIZERS.find(tokenizer)?.is_none() {
        // Without a kept index, making one costs more than looking through the words once.
        return Ok(scan(&strings(tokenizer)?, word));
    }
    with_lookup(tokenizer, |lookup| Ok(lookup.find(word)))
}

/// How many words can be added.
pub(crate) fn room(t: &CLLMTokenizer) -> usize {
    t.max_vocab_size.saturating_sub(t.vocab_size) as usize
}

/// Adds words with their counts; all of them or, after an error, none.
///
/// # Safety
/// As [`strings`]; the arrays have `max_vocab_size` places and nothing else uses them.
pub(crate) unsafe fn append<'w>(
    tokenizer: *mut CLLMTokenizer,
    new: impl Iterator<Item = (&'w [u8], u32)>,
) -> Result<()> {
    let new = new
        .map(|(word, count)| Ok((CArray::string("a word", word)?, count)))
        .collect::<Result<Vec<_>>>()?;
    let t = fields(tokenizer)?;
    let (start, end) = (t.vocab_size as usize, t.vocab_size as usize + new.len());
    if new.len() > room(&t) {
        return Err(Error::state("the vocabulary is full"));
    }
    let slots = ffi::slice_mut(t.vocab, end, "tokenizer->vocab")?;
    let counts = match t.token_counts.is_null() {
        true => &mut [],
        false => ffi::slice_mut(t.token_counts, end, "tokenizer->token_counts")?,
    };
    for (id, (word, count)) in (start..).zip(new) {
        slots[id] = word.into_raw().cast();
        if let Some(place) = counts.get_mut(id) {
            *place = count;
        }
    }
    ffi::get_mut(tokenizer, "tokenizer")?.vocab_size = end as u32;
    Ok(())
}

/// [`merge`], and the tokenizer keeps case where the words do.
///
/// # Safety
/// As [`append`].
pub(crate) unsafe fn fill(
    tokenizer: *mut CLLMTokenizer,
    entries: &[Entry],
    room: usize,
) -> Result<usize> {
    let left_out = merge(tokenizer, entries, room)?;
    keep_case_of(tokenizer, entries)?;
    Ok(left_out)
}

/// Keeps case where words of a tokenizer have capitals.
pub(crate) fn keep_case_of(tokenizer: *const CLLMTokenizer, entries: &[Entry]) -> Result<()> {
    let has_case = |entry: &Entry| {
        entry.word.iter().any(u8::is_ascii_uppercase) && !spells_special(entry.word)
    };
    if entries.iter().any(has_case) {
        keep_case(tokenizer)?;
    }
    Ok(())
}

/// Adds the entries of a file, at most `room` new ones; the number of those left out. An entry
/// whose word stood further up in the file gets a place of its own, so that ids stay line numbers.
///
/// # Safety
/// As [`append`].
unsafe fn merge(tokenizer: *mut CLLMTokenizer, entries: &[Entry], room: usize) -> Result<usize> {
    let mut seen = HashSet::new();
    let (mut known, mut new) = (Vec::new(), Vec::new());
    with_lookup(tokenizer, |lookup| {
        for entry in entries {
            let first = seen.insert(entry.word);
            match lookup.find(entry.word) {
                Some(id) if first => known.push((id, entry.count)),
                _ => new.push((entry.word, entry.count)),
            }
        }
        Ok(())
    })?;
    let taken = new.len().min(room);
    append(tokenizer, new.iter().take(taken).copied())?;
    let counts = counts(tokenizer)?;
    for (id, count) in known {
        if let Some(place) = counts.get_mut(id as usize) {
            *place = count;
        }
    }
    Ok(new.len() - taken)
}

/// Counts the words of texts and adds those that are new, as far as there is room. They are
/// lower-cased, unless `keep_case`.
///
/// # Safety
/// As [`append`].
pub(crate) unsafe fn learn<'t>(
    tokenizer: *mut CLLMTokenizer,
    texts: impl Iterator<Item = &'t [u8]>,
    keep: Keep,
    keep_case: bool,
) -> Result<()> {
    let room = room(&fields(tokenizer)?);
    let count = |lookup: &mut Lookup<Strings>| {
        let mut counter = Counter::new(lookup, room, keep, keep_case)?;
        for text in texts {
            counter.add(text)?;
        }
        counter.finish()
    };
    let (known, new) = with_lookup(tokenizer, count)?;
    take_counts(tokenizer, &known, new.iter())
}

/// [`learn`], where `count` counts, with a lookup that threads can share and the room for new words. New ones
/// that were met less than `least` times are left out.
///
/// # Safety
/// As [`append`].
pub(crate) unsafe fn learn_by(
    tokenizer: *mut CLLMTokenizer,
    least: u64,
    count: impl FnOnce(&mut Lookup<[&[u8]]>, usize) -> Result<(Vec<u64>, WordCounts)>,
) -> Result<()> {
    let room = room(&fields(tokenizer)?);
    let words: Vec<&[u8]> =
        words_and_counts(tokenizer)?.into_iter().map(|(word, _)| word).collect();
    let mut index = WordIndex::default();
    let (known, new) = count(&mut Lookup::new(&mut index, &words[..])?, room)?;
    take_counts(tokenizer, &known, new.iter().filter(|&(_, count)| count >= least))
}

/// Adds new words with their counts, and the counts of those that were known, by id.
///
/// # Safety
/// As [`append`].
unsafe fn take_counts<'w>(
    tokenizer: *mut CLLMTokenizer,
    known: &[u64],
    new: impl Iterator<Item = (&'w [u8], u64)>,
) -> Result<()> {
    let narrow = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    append(tokenizer, new.map(|(word, n)| (word, narrow(n))))?;
    for (place, &more) in counts(tokenizer)?.iter_mut().zip(known) {
        *place = place.saturating_add(narrow(more));
    }
    Ok(())
}

/// The ids of the words of texts, between `before` and `after`: lower-cased, or as they are first,
/// where the vocabulary keeps the case or `cased` asks for it. A word that the vocabulary does not
/// hold is [`UNK`]. The number of ids and the block of them.
///
/// # Safety
/// As [`strings`].
pub(crate) unsafe fn encode(
    tokenizer: *const CLLMTokenizer,
    before: &[u32],
    texts: &[&[u8]],
    after: &[u32],
    cased: bool,
) -> Result<(usize, CArray<u32>)> {
    let cased = cased || keeps_case(tokenizer)?;
    let len = texts.iter().map(|text| text_words(text).count()).sum::<usize>();
    let len = len + before.len() + after.len();
    let mut ids = CArray::<u32>::zeroed("the ids of a text", len)?;
    let fill = |lookup: &mut Lookup<Strings>| {
        let mut buffer = Vec::new();
        let find = |lookup: &mut Lookup<Strings>, word: &[u8]| lookup.find(word);
        let all = texts.iter().flat_map(|text| text_words(text));
        let body = all.map(|word| id_of(lookup, find, word, cased, &mut buffer).unwrap_or(UNK));
        let all = before.iter().copied().chain(body).chain(after.iter().copied());
        for (place, id) in ids.as_mut_slice().iter_mut().zip(all) {
            *place = id;
        }
        Ok(())
    };
    with_lookup(tokenizer, fill)?;
    Ok((len, ids))
}
