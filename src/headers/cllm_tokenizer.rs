//! `cllm_tokenizer.h`: words or subwords to ids and back.

pub(crate) mod subwords;
mod types;
pub(crate) mod words;

pub use types::CLLMTokenizer;

use crate::border::ffi::{self, CArray, Draft};
use cllm_engine::error::{Error, Result};
use cllm_engine::limits::{MAX_DECODED_IDS, MAX_TOKENIZER_WORDS};
use cllm_engine::log;
use cllm_engine::order::first_by;
use cllm_engine::text::count::Keep;
use cllm_engine::text::index::Words;
use cllm_engine::text::vocab::{self, Entry};
use cllm_engine::text::{BOS, Bpe, EOS, MASK, PAD, SPECIALS, UNK};
use cllm_macros::c_api;
use std::ffi::{c_char, c_int};
use std::ptr::null_mut;
use words::TOKENIZERS;

/// Makes a tokenizer that holds the five special words, each with count 0.
///
/// @param max_vocab_size  most words it will take, the special ones included; below 5 it is
///                        raised to 5.
/// @return the tokenizer, to be released with cllm_free_tokenizer(); NULL if there is no memory
///         or more than 2^26 words are asked for.
///
/// # Safety
/// May be called at any time.
#[unsafe(no_mangle)]
#[c_api(null_mut())]
pub unsafe extern "C" fn cllm_create_tokenizer(max_vocab_size: u32) -> *mut CLLMTokenizer {
    if max_vocab_size > MAX_TOKENIZER_WORDS {
        return Err(Error::argument("max_vocab_size", max_vocab_size, "at most 2^26"));
    }
    Ok(create(max_vocab_size)?.keep())
}

/// A tokenizer that holds the five special words.
fn create(max_vocab_size: u32) -> Result<Draft<CLLMTokenizer>> {
    let draft = empty(max_vocab_size.max(SPECIALS.len() as u32))?;
    // SAFETY: the tokenizer was just made, with room for at least five words.
    unsafe { words::append(draft.get(), SPECIALS.iter().map(|&s| (s, 0)))? };
    Ok(draft)
}

/// A tokenizer without words.
fn empty(max: u32) -> Result<Draft<CLLMTokenizer>> {
    let vocab = CArray::<*mut c_char>::zeroed("the vocabulary", max as usize)?;
    let counts = CArray::<u32>::zeroed("the vocabulary", max as usize)?;
    let mut t = CArray::<CLLMTokenizer>::zeroed("the tokenizer", 1)?;
    t.as_mut_slice()[0] = CLLMTokenizer {
        vocab: vocab.into_raw(),
        token_counts: counts.into_raw(),
        vocab_size: 0,
        max_vocab_size: max,
    };
    // SAFETY: the tokenizer was just made.
    let draft = unsafe { Draft::new(t.into_raw(), release) };
    TOKENIZERS.insert(draft.get(), Default::default());
    Ok(draft)
}

/// A new tokenizer with the words of a file, the special ones included.
pub(crate) fn with_entries(room: u32, entries: &[Entry]) -> Result<*mut CLLMTokenizer> {
    let draft = create(room)?;
    // SAFETY: it was just made, with room for all entries.
    unsafe { words::fill(draft.get(), entries, entries.len())? };
    Ok(draft.keep())
}

/// A new tokenizer with the words of a model, ids in their order, which keeps case where they do.
pub(crate) fn with_words(room: u32, entries: &[Entry]) -> Result<*mut CLLMTokenizer> {
    let draft = empty(room)?;
    // SAFETY: it was just made, with room for all entries.
    unsafe {
        words::append(draft.get(), entries.iter().map(|entry| (entry.word, entry.count)))?;
        words::keep_case_of(draft.get(), entries)?;
    }
    Ok(draft.keep())
}

/// Releases a tokenizer with its words and arrays.
///
/// @param tokenizer  the tokenizer; NULL is fine. A second call for the same one does nothing but
///                   record an error.
///
/// # Safety
/// The tokenizer was made by the library or is as CLLMTokenizer says, and is not used any more.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_free_tokenizer(tokenizer: *mut CLLMTokenizer) {
    if tokenizer.is_null() {
        return Ok(());
    }
    release(tokenizer)
}

/// # Safety
/// As [`cllm_free_tokenizer`], not NULL.
unsafe fn release(tokenizer: *mut CLLMTokenizer) -> Result<()> {
    let t = words::fields(tokenizer)?;
    if !t.vocab.is_null() {
        for &word in ffi::slice(t.vocab.cast_const(), t.vocab_size as usize, "vocab")? {
            ffi::free(word);
        }
    }
    ffi::free(t.vocab);
    ffi::free(t.token_counts);
    TOKENIZERS.free_struct(tokenizer);
    Ok(())
}

/// The id of a word.
///
/// @param tokenizer  the vocabulary.
/// @param token      the word, compared byte by byte (upper and lower case differ).
/// @return the first id that holds exactly this word; 1 (`<UNK>`) if none does or an argument is
///         NULL.
///
/// Costs the same for any size of the vocabulary; a word that it does not hold is searched for
/// among all words, since the program may have put it there. Of subwords the token is found that is
/// shown so (cllm_get_token_string()), else the one of these bytes: `␣the` and ` the` are the same.
/// Where there is no `<UNK>` and no such token, that is recorded as an error.
///
/// # Safety
/// The tokenizer was made by the library or is as CLLMTokenizer says; `token` is a C string.
#[unsafe(no_mangle)]
#[c_api(UNK)]
pub unsafe extern "C" fn cllm_find_token(
    tokenizer: *mut CLLMTokenizer,
    token: *const c_char,
) -> u32 {
    let token = ffi::bytes(token, "token")?;
    if let Some(bpe) = subwords::of(tokenizer)? {
        return subwords::find(&bpe, token);
    }
    Ok(words::find(tokenizer, token)?.unwrap_or(UNK))
}

/// Adds a word, or counts one more occurrence of a word that the vocabulary holds already.
///
/// @param tokenizer  the vocabulary.
/// @param token      the word; copied as it is, not lower-cased.
/// @return the word's id; 1 (`<UNK>`) if the vocabulary is full or one of subwords, there is no memory,
///         or an argument is NULL. The word `<UNK>` itself has id 1.
///
/// # Safety
/// As cllm_find_token().
#[unsafe(no_mangle)]
#[c_api(UNK)]
pub unsafe extern "C" fn cllm_add_token(
    tokenizer: *mut CLLMTokenizer,
    token: *const c_char,
) -> u32 {
    let word = ffi::bytes(token, "token")?;
    if subwords::of(tokenizer)?.is_some() {
        let problem = "a vocabulary of subwords takes no words: it is trained as a whole";
        return Err(Error::state(problem));
    }
    if let Some(id) = words::find(tokenizer, word)? {
        if let Some(count) = words::counts(tokenizer)?.get_mut(id as usize) {
            *count = count.saturating_add(1);
        }
        return Ok(id);
    }
    let id = words::fields(tokenizer)?.vocab_size;
    words::append(tokenizer, std::iter::once((word, 1)))?;
    Ok(id)
}

/// The ids of a text's words. Words are separated by white space (space, tab, line feed, vertical
/// tab, form feed, carriage return) and lower-cased (ASCII letters only) before they are looked up;
/// in a vocabulary that keeps case (see cllm_data_loader_build_vocab() and cllm_load_vocab()) they are
/// looked up as they are first. A byte order mark at the beginning of the text is dropped. Subwords
/// spell the text as it is, and cllm_tokenizer_decode() gives it back byte for byte.
///
/// @param tokenizer   the vocabulary; not changed.
/// @param text        the text.
/// @param num_tokens  receives the number of ids; 0 after a failure.
/// @return the ids, a block for the caller to free(), not NULL even for a text without words;
///         NULL if an argument is NULL or there is no memory. A word that the vocabulary does not
///         hold is 1 (`<UNK>`). A text is text: `<EOS>` in it is the ordinary word `<eos>`, never the
///         special word of id 3.
///
/// # Safety
/// As cllm_find_token(), for `text`; `num_tokens` points to a number.
#[unsafe(no_mangle)]
#[c_api(null_mut())]
pub unsafe extern "C" fn cllm_tokenizer_encode(
    tokenizer: *mut CLLMTokenizer,
    text: *const c_char,
    num_tokens: *mut u32,
) -> *mut u32 {
    encode(tokenizer, false, text, num_tokens)
}

/// # Safety
/// As [`cllm_tokenizer_encode`].
unsafe fn encode(
    tokenizer: *mut CLLMTokenizer,
    framed: bool,
    text: *const c_char,
    num_tokens: *mut u32,
) -> Result<*mut u32> {
    let num_tokens = ffi::get_mut(num_tokens, "num_tokens")?;
    *num_tokens = 0;
    let text = ffi::bytes(text, "text")?;
    let (len, ids) = match subwords::of(tokenizer)? {
        Some(bpe) => subwords::encode(&bpe, text, framed)?,
        None if framed => words::encode(tokenizer, &[BOS], &[text], &[EOS], false)?,
        None => words::encode(tokenizer, &[], &[text], &[], false)?,
    };
    *num_tokens = u32::try_from(len)
        .map_err(|_| Error::argument("the number of words", len, "below 2^32"))?;
    Ok(ids.into_raw())
}

/// The words of some ids, joined by single spaces; of subwords their bytes, without special tokens and
/// ids that there are not (cllm_tokens_to_text() also tells how many bytes, which may be 0).
///
/// @param tokenizer   the vocabulary; not changed.
/// @param tokens      `num_tokens` ids.
/// @param num_tokens  how many, at most 2^28.
/// @return a string for the caller to free(). Of words `<PAD>`, `<BOS>`, `<EOS>` and `<MASK>` (ids 0, 2, 3,
///         4) are left out; id 1 and ids that the vocabulary does not have are `<UNK>`. The string
///         is empty if an argument is NULL or `num_tokens` is 0 or too large; NULL only if there is no memory.
///
/// # Safety
/// As cllm_find_token(); `tokens` is NULL or holds `num_tokens` ids.
#[unsafe(no_mangle)]
#[c_api(null_mut())]
pub unsafe extern "C" fn cllm_tokenizer_decode(
    tokenizer: *mut CLLMTokenizer,
    tokens: *mut u32,
    num_tokens: u32,
) -> *mut c_char {
    let text = match decode(tokenizer, tokens, num_tokens) {
        Ok(text) => text,
        Err(error) => {
            ffi::report(error);
            CArray::zeroed("a string", 1)?
        }
    };
    Ok(text.into_raw().cast())
}

/// The text of ids as a C string, made at its exact length.
///
/// # Safety
/// As [`cllm_tokenizer_decode`].
unsafe fn decode(
    tokenizer: *mut CLLMTokenizer,
    tokens: *const u32,
    count: u32,
) -> Result<CArray<u8>> {
    if count == 0 {
        return CArray::zeroed("a string", 1);
    }
    if count as usize > MAX_DECODED_IDS {
        return Err(Error::argument("num_tokens", count, "at most 2^28: more in parts"));
    }
    let ids = ffi::slice(tokens, count as usize, "tokens")?;
    if let Some(bpe) = subwords::of(tokenizer)? {
        return CArray::string("a string", &bpe.decode(ids)?);
    }
    let strings = words::strings(tokenizer)?;
    let shown = |&&id: &&u32| ![PAD, BOS, EOS, MASK].contains(&id);
    let word = |&id: &u32| match id {
        UNK => SPECIALS[UNK as usize],
        _ => strings.get(id).unwrap_or(SPECIALS[UNK as usize]),
    };
    let words = ids.iter().filter(shown).map(word);
    // Each word is followed by a space or, the last one, by the NUL.
    let len = words
        .clone()
        .try_fold(0usize, |len, word| len.checked_add(word.len() + 1))
        .ok_or_else(|| Error::memory("a string", usize::MAX))?;
    let mut text = CArray::<u8>::zeroed("a string", len.max(1))?;
    let mut rest = text.as_mut_slice();
    for word in words {
        let (place, after) = rest.split_at_mut(word.len() + 1);
        place[..word.len()].copy_from_slice(word);
        place[word.len()] = if after.is_empty() { 0 } else { b' ' };
        rest = after;
    }
    Ok(text)
}

/// Adds the words of a text: each occurrence is counted, new words get ids in order of appearance
/// until the vocabulary is full. Words are separated as by cllm_tokenizer_encode() and lower-cased
/// (ASCII letters only).
///
/// @param tokenizer  the vocabulary. After a failure (NULL, no memory) it is as before.
/// @param text       the text.
///
/// Takes time in proportion to the text, not to the vocabulary. Of subwords the tokens of the text are
/// counted, and none is added.
///
/// # Safety
/// As cllm_find_token(), for `text`.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_build_vocab(tokenizer: *mut CLLMTokenizer, text: *const c_char) {
    let text = ffi::bytes(text, "text")?;
    if let Some(bpe) = subwords::of(tokenizer)? {
        return subwords::count(tokenizer, &bpe, &[text]);
    }
    words::learn(tokenizer, std::iter::once(text), Keep::FirstCome, false)
}

/// Writes the vocabulary to a text file: for each id in order the word, a TAB, its count, a line
/// feed. An empty slot is written as an empty word, so that ids stay line numbers. Subwords are
/// written as cllm_get_token_string() shows them. What their list does not say (the merges and rules of a
/// tokenizer.json of others) stands in a last line, behind an empty one, so that they can be read back.
///
/// @param tokenizer  the vocabulary.
/// @param filename   the file; it is replaced when all is written, so it is whole or as before.
/// @return 1; 0 if an argument is NULL, a word contains a TAB or line feed, or writing fails.
///
/// # Safety
/// As cllm_find_token(), for `filename`.
#[unsafe(no_mangle)]
#[c_api(0)]
pub unsafe extern "C" fn cllm_save_vocab(
    tokenizer: *mut CLLMTokenizer,
    filename: *const c_char,
) -> c_int {
    let path = ffi::path(filename, "filename")?;
    let counts: &[u32] = words::counts(tokenizer)?;
    let strings = words::strings(tokenizer)?;
    let line = |id: u32| {
        let count = counts.get(id as usize).copied().unwrap_or(0);
        (strings.get(id).unwrap_or(b""), u64::from(count))
    };
    let more = subwords::of(tokenizer)?.map(|bpe| bpe.unlisted()).transpose()?.flatten();
    vocab::write(path, (0..strings.count() as u32).map(line), more.as_deref())?;
    Ok(1)
}

/// Adds the words of a file of cllm_save_vocab() as they stand there (not lower-cased) and sets
/// their counts. Into a new tokenizer this reproduces the saved ids exactly: ids are line numbers,
/// counted from 0. The last TAB of a line separates. A byte order mark, UTF-16, CR LF and empty lines
/// at the end, which editors leave, are no part of the words.
///
/// @param tokenizer  the vocabulary; what it holds stays, with new counts for the words that the
///                   file has as well. It keeps case from now on if a word of the file has capitals
///                   (ASCII) that is none of the special words.
/// @param filename   the file, of at most 1 GiB; lines may have any length.
/// @return 1, also if the vocabulary got full and the rest of the file was left out (recorded as
///         an error); 0 with nothing changed if an argument is NULL, the file can't be read, or a line
///         would move the ids of others: one that is empty or without a TAB or count, or holds a NUL
///         byte or a special word at another place than its own. The error names the line.
///
/// A file of subwords (the special tokens, the 256 bytes, then tokens that are each made of two above
/// them; or any, with a last line that says the rest) makes a new tokenizer one of subwords. It fails, with
/// the line, where a token is not made so, and where the tokenizer has other words already or not enough
/// room.
///
/// A word that occurs twice gets two ids, of which texts have the first (a warning). The words of a
/// file without the special words follow those of the tokenizer (a warning where it is new).
///
/// # Safety
/// As cllm_find_token(), for `filename`.
#[unsafe(no_mangle)]
#[c_api(0)]
pub unsafe extern "C" fn cllm_load_vocab(
    tokenizer: *mut CLLMTokenizer,
    filename: *const c_char,
) -> c_int {
    let t = words::fields(tokenizer)?;
    let path = ffi::path(filename, "filename")?;
    let text = vocab::read(path)?;
    let (list, more) = vocab::parts(&text);
    let entries = vocab::parse(path, list)?;
    if let Some(bpe) = Bpe::from_listed(path, &entries, more)? {
        subwords::load(tokenizer, bpe, &entries)?;
        return Ok(1);
    }
    if subwords::of(tokenizer)?.is_some() {
        return Err(Error::file(path, "holds words, and the tokenizer has subwords"));
    }
    vocab::check_specials(path, &entries)?;
    let name = path.display();
    if let Some((first, second)) = vocab::repeated(&entries)? {
        let (first, second) = (first + 1, second + 1);
        log::warn(&format!("{name}: line {second} repeats the word of line {first}"));
    }
    let new = t.vocab_size as usize == SPECIALS.len();
    if new && entries.first().is_some_and(|entry| entry.word != SPECIALS[0]) {
        log::warn(&format!("{name}: without the special words: the word of line 1 has id 5"));
    }
    let left_out = words::fill(tokenizer, &entries, words::room(&t))?;
    if left_out > 0 {
        ffi::report(format_args!("the vocabulary is full: {left_out} words left out"));
    }
    Ok(1)
}

/// The number of words.
///
/// @param tokenizer  the vocabulary.
/// @return its `vocab_size`; 0 for NULL.
///
/// # Safety
/// As cllm_find_token().
#[unsafe(no_mangle)]
#[c_api(0)]
pub unsafe extern "C" fn cllm_get_vocab_size(tokenizer: *mut CLLMTokenizer) -> u32 {
    Ok(words::fields(tokenizer)?.vocab_size)
}

/// The word of an id. A subword is shown readably: a space as `␣`, line feed, carriage return, tab and
/// backslash as `\n`, `\r`, `\t`, `\\`, bytes that are no printable characters as `\xHH`
/// (cllm_token_text() gives the bytes themselves).
///
/// @param tokenizer  the vocabulary.
/// @param token_id   the id.
/// @return the word, borrowed: valid until the tokenizer is freed or the slot replaced. A constant
///         `<UNK>` if the id is out of range, its slot is empty, or `tokenizer` is NULL.
///
/// # Safety
/// As cllm_find_token().
#[unsafe(no_mangle)]
#[c_api(c"<UNK>".as_ptr())]
pub unsafe extern "C" fn cllm_get_token_string(
    tokenizer: *mut CLLMTokenizer,
    token_id: u32,
) -> *const c_char {
    let strings = words::strings(tokenizer)?;
    Ok(strings.slot(token_id).map_or(c"<UNK>".as_ptr(), <*mut c_char>::cast_const))
}

/// Prints to stdout the size of the vocabulary and its room, the sum of its counts, the largest count,
/// and the ten most frequent words that are not special, of equally frequent ones those with lower ids
/// first. Words that were never counted are left out.
///
/// ```text
/// Vocabulary Statistics:
///   Size: 7 / 100
///   Total tokens seen: 9
///   Most frequent count: 6
///
///   Top 10 tokens:
///      1. the                  6
///      2. cat                  3
/// ```
///
/// @param tokenizer  the vocabulary; NULL: nothing is printed.
///
/// # Safety
/// As cllm_find_token().
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_print_vocab_stats(tokenizer: *mut CLLMTokenizer) {
    let counts: &[u32] = words::counts(tokenizer)?;
    let t = words::fields(tokenizer)?;
    let strings = words::strings(tokenizer)?;
    let total: u64 = counts.iter().map(|&n| u64::from(n)).sum();
    let largest = counts.iter().max().copied().unwrap_or(0);
    let mut text = format!(
        "Vocabulary Statistics:\n  Size: {} / {}\n  Total tokens seen: {total}\n  \
             Most frequent count: {largest}\n\n  Top 10 tokens:\n",
        t.vocab_size, t.max_vocab_size
    )
    .into_bytes();
    let ordinary = counts.iter().copied().enumerate().skip(SPECIALS.len());
    let mut ranked: Vec<(usize, u32)> = ordinary.filter(|&(_, count)| count > 0).collect();
    first_by(&mut ranked, 10, |a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    for (rank, (id, count)) in (1..).zip(ranked.iter().take(10)) {
        let word = strings.get(*id as u32).unwrap_or(b"");
        // Padded as C does it: by bytes, whatever the word is.
        let pad = 20usize.saturating_sub(word.len());
        text.extend(format!("    {rank:2}. ").bytes());
        text.extend_from_slice(word);
        text.extend(format!("{:pad$} {count}\n", "").bytes());
    }
    ffi::print(text);
    Ok(())
}

/// As cllm_tokenizer_encode(), with `<BOS>` (2) before the words and `<EOS>` (3) after them; with
/// subwords the `<BOS>` and the end token of the tokenizer, as far as it has them.
///
/// @param tokenizer   the vocabulary; not changed.
/// @param text        the text.
/// @param num_tokens  receives the number of ids, words + 2; 0 after a failure.
/// @return the ids, a block for the caller to free(); NULL if an argument is NULL or there is no
///         memory.
///
/// # Safety
/// As cllm_tokenizer_encode().
#[unsafe(no_mangle)]
#[c_api(null_mut())]
pub unsafe extern "C" fn cllm_encode_with_special(
    tokenizer: *mut CLLMTokenizer,
    text: *const c_char,
    num_tokens: *mut u32,
) -> *mut u32 {
    encode(tokenizer, true, text, num_tokens)
}
