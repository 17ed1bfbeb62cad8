//! Texts of any length, read in pieces.

use super::tokenizer::Training;
use super::training::pool_of;
use super::{CLLMBytesCallback, CLLMTokenizerCallback};
use crate::border::registry::{Registry, lock};
use crate::border::{ffi, host};
use crate::headers::cllm_tokenizer::{CLLMTokenizer, subwords, words};
use cllm_engine::error::{Error, Result};
use cllm_engine::limits::{LEARNT_PIECES, LEARNT_WHOLE_BYTES};
use cllm_engine::text::bpe::{PieceCounter, Rule};
use cllm_engine::text::{Texts, Vocabulary};
use cllm_macros::c_api;
use std::ffi::{c_char, c_int, c_void};
use std::ops::{ControlFlow, Range};
use std::ptr::null_mut;

/// Texts in files, of any length together: read in pieces as often as they are needed, never held in
/// memory. One thread at a time.
pub struct CLLMTexts {
    _opaque: [u8; 0],
}

static TEXTS: Registry<Texts> = Registry::new("texts");

/// A program's callback as the engine calls it: what it is told are bytes of `all`.
fn watch(
    callback: CLLMBytesCallback,
    all: u64,
    user_data: *mut c_void,
) -> impl FnMut(u64) -> ControlFlow<()> {
    move |bytes| {
        let go_on = callback.is_none_or(|callback| {
            // SAFETY: the program's promise for the callback.
            host::outside(|| unsafe { callback(bytes, all, user_data) })
        });
        if go_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

/// Makes a list of texts without any.
///
/// @param scratch  a folder for a copy of what can be read only once, such as standard input. The copy
///                 has no name and vanishes with the texts.
/// @return the texts, to be released with cllm_texts_free(); NULL if `scratch` is NULL or there is no
///         memory.
///
/// ```c
/// CLLMTexts *texts = cllm_texts_create(".");
/// if (cllm_texts_add(texts, "/dev/stdin", NULL, NULL) != 0) fprintf(stderr, "%s\n", cllm_last_error());
/// cllm_texts_free(texts);
/// ```
///
/// # Safety
/// `scratch` is NULL or a C string.
#[unsafe(no_mangle)]
#[c_api(null_mut())]
pub unsafe extern "C" fn cllm_texts_create(scratch: *const c_char) -> *mut CLLMTexts {
    TEXTS.new_handle("texts", Texts::new(ffi::path(scratch, "scratch")?))
}

/// Releases texts, not their files.
///
/// @param texts  NULL is fine. A second call for the same ones does nothing but record an error.
///
/// ```c
/// cllm_texts_free(texts);
/// ```
///
/// # Safety
/// `texts` is NULL or was made by cllm_texts_create(), and is not used any more.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_texts_free(texts: *mut CLLMTexts) {
    TEXTS.free_handle(texts)
}

/// Adds a file as a text, of any length. It is read through once, to learn its length; what it holds is
/// taken as cllm_data_loader_load_file() takes it for a tokenizer of subwords. It must stay as it is as
/// long as the texts are used. Pipes are read to their end, other devices up to 1 GiB.
///
/// @param texts      made by cllm_texts_create().
/// @param path       the file.
/// @param callback   is told how many bytes of it were read, with 0 for all of them, and can stop; NULL:
///                   none. Called on this thread.
/// @param user_data  handed to the callback.
/// @return 0; -1 if an argument is NULL, the file can't be read, is damaged UTF-16 or UTF-32 or a quarter
///         of it are NUL bytes, or the callback stopped it: the texts are as before.
///
/// ```c
/// if (cllm_texts_add(texts, "large.txt", NULL, NULL) != 0)
///     fprintf(stderr, "%s\n", cllm_last_error());
/// ```
///
/// # Safety
/// `path` is NULL or a C string; `callback` may be called with `user_data` during this call, and does not
/// use the texts.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_texts_add(
    texts: *mut CLLMTexts,
    path: *const c_char,
    callback: CLLMBytesCallback,
    user_data: *mut c_void,
) -> c_int {
    let texts = TEXTS.get(texts)?;
    let path = ffi::path(path, "path")?;
    lock(&texts).add(path, &mut watch(callback, 0, user_data))?;
    Ok(0)
}

/// How many bytes the texts have together, as UTF-8.
///
/// @param texts  made by cllm_texts_create().
/// @return the bytes; 0 for anything else than such texts.
///
/// ```c
/// printf("%llu bytes\n", (unsigned long long)cllm_texts_bytes(texts));
/// ```
///
/// # Safety
/// `texts` is NULL or was made by cllm_texts_create().
#[unsafe(no_mangle)]
#[c_api(0)]
pub unsafe extern "C" fn cllm_texts_bytes(texts: *const CLLMTexts) -> u64 {
    Ok(lock(&*TEXTS.get(texts)?).bytes())
}

/// How many texts there are.
///
/// @param texts  made by cllm_texts_create().
/// @return their number; 0 for anything else than such texts.
///
/// ```c
/// printf("%llu texts\n", (unsigned long long)cllm_texts_count(texts));
/// ```
///
/// # Safety
/// `texts` is NULL or was made by cllm_texts_create().
#[unsafe(no_mangle)]
#[c_api(0)]
pub unsafe extern "C" fn cllm_texts_count(texts: *const CLLMTexts) -> u64 {
    Ok(lock(&*TEXTS.get(texts)?).documents())
}

/// Where the character begins that holds a byte of all texts, one behind the other: a place to divide them.
///
/// @param texts  made by cllm_texts_create().
/// @param at     the byte; behind the last one: the bytes of the texts.
/// @return the place; -1 on failure.
///
/// ```c
/// int64_t half = cllm_texts_character(texts, cllm_texts_bytes(texts) / 2);
/// if (half > 0) printf("the second half begins at byte %lld\n", (long long)half);
/// ```
///
/// # Safety
/// `texts` is NULL or was made by cllm_texts_create().
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_texts_character(texts: *const CLLMTexts, at: u64) -> i64 {
    let place = lock(&*TEXTS.get(texts)?).character_at(at)?;
    Ok(i64::try_from(place).unwrap_or(i64::MAX))
}

/// A range of the bytes of texts.
fn range(texts: &Texts, from: u64, to: u64) -> Result<Range<u64>> {
    let to = to.min(texts.bytes());
    if from >= to {
        return Err(Error::argument("from", from, "less than `to` and the bytes of the texts"));
    }
    Ok(from..to)
}

/// cllm_train_tokenizer() for texts of any length: learns subwords from a range of the bytes of all texts,
/// one behind the other, with a line end between two of them. Held in memory are the different pieces of
/// words and how often each is met: at most 4,194,304 while they are counted, and where the range is longer
/// than 128 MiB, the 1,048,576 most frequent to learn from. What is left out then are pieces that are met
/// a few times only. A `vocab_size` of 261, the 256 bytes and five special tokens, needs no pieces: nothing
/// is left out of the count of each byte. The same texts give the same tokens, by as many threads as
/// cllm_set_threads() says.
///
/// @param texts       made by cllm_texts_create().
/// @param from        the first byte; one inside of a character moves to its beginning.
/// @param to          the byte behind the last one; UINT64_MAX: to the end.
/// @param vocab_size  as cllm_train_tokenizer().
/// @param callback    as there; told after every 8 MiB or so. NULL: none.
/// @param user_data   handed to the callback.
/// @return as there; NULL also if there are no such bytes or a text can't be read.
///
/// ```c
/// CLLMTokenizer *tokenizer = cllm_texts_train_tokenizer(texts, 0, UINT64_MAX, 4096, NULL, NULL);
/// if (!tokenizer) fprintf(stderr, "%s\n", cllm_last_error());
/// cllm_free_tokenizer(tokenizer);
/// ```
///
/// # Safety
/// `texts` is NULL or was made by cllm_texts_create(); `callback` may be called with `user_data` during
/// this call, and does not use the texts.
#[unsafe(no_mangle)]
#[c_api(null_mut())]
pub unsafe extern "C" fn cllm_texts_train_tokenizer(
    texts: *const CLLMTexts,
    from: u64,
    to: u64,
    vocab_size: u32,
    callback: CLLMTokenizerCallback,
    user_data: *mut c_void,
) -> *mut CLLMTokenizer {
    let texts = TEXTS.get(texts)?;
    let texts = lock(&texts);
    let range = range(&texts, from, to)?;
    let mut training = Training::new(vocab_size, callback, user_data)?;
    let settings = training.settings;
    let range_bytes = range.end - range.start;
    let (mut counter, pool) = (PieceCounter::new(Rule::Words), pool_of(0)?);
    let mut watch = |bytes| training.read(bytes);
    match settings.merges() {
        true => texts.count_pieces(range, &mut counter, &pool, &mut watch)?,
        false => texts.count_bytes(range, &mut counter, &pool, &mut watch)?,
    }
    if range_bytes > LEARNT_WHOLE_BYTES {
        counter.keep(LEARNT_PIECES)?;
    }
    training.counter = counter;
    training.finish()
}

/// What a range of the bytes of all texts is as words, which are separated by white space.
///
/// @param texts       made by cllm_texts_create().
/// @param from        the first byte.
/// @param to          the byte behind the last one; UINT64_MAX: to the end.
/// @param threads     0: one for each processor.
/// @param callback    is told after every 8 MiB or so how many bytes of how many are done, and can stop;
///                    NULL: none. Called on this thread.
/// @param user_data   handed to the callback.
/// @param characters  gets the bytes, where every run of white space is one; may be NULL.
/// @param bytes       256 counts: how often each byte is met in the words, and in the place of the space how
///                    many words there are; may be NULL.
/// @return the number of words; -1 on failure.
///
/// ```c
/// int64_t words = cllm_texts_words(texts, 0, UINT64_MAX, 0, NULL, NULL, NULL, NULL);
/// if (words < 0) fprintf(stderr, "%s\n", cllm_last_error());
/// ```
///
/// # Safety
/// `texts` is NULL or was made by cllm_texts_create(); `characters` is NULL or writable, `bytes` NULL or 256
/// writable counts; `callback` may be called with `user_data` during this call, and does not use the texts.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_texts_words(
    texts: *const CLLMTexts,
    from: u64,
    to: u64,
    threads: c_int,
    callback: CLLMBytesCallback,
    user_data: *mut c_void,
    characters: *mut u64,
    bytes: *mut u64,
) -> i64 {
    let texts = TEXTS.get(texts)?;
    let texts = lock(&texts);
    let pool = pool_of(threads)?;
    let range = range(&texts, from, to)?;
    let mut watch = watch(callback, range.end - range.start, user_data);
    let measure = texts.measure_words(range, &pool, &mut watch)?;
    ffi::set_out(characters, measure.characters, "characters")?;
    if let Some(bytes) = ffi::slice_mut_opt(bytes, measure.bytes.len(), "bytes")? {
        bytes.copy_from_slice(&measure.bytes);
    }
    Ok(i64::try_from(measure.words).unwrap_or(i64::MAX))
}

/// Where a word of all texts begins, one text behind the other: a place to divide them by words.
///
/// @param texts      made by cllm_texts_create().
/// @param number     the word, counted from 0; behind the last one: the bytes of the texts.
/// @param callback   is told after every 8 MiB or so how many bytes of how many were read, and can stop;
///                   NULL: none. Called on this thread.
/// @param user_data  handed to the callback.
/// @return the byte; -1 on failure.
///
/// ```c
/// int64_t place = cllm_texts_word(texts, 1000, NULL, NULL);
/// if (place >= 0) printf("the first thousand words are %lld bytes\n", (long long)place);
/// ```
///
/// # Safety
/// `texts` is NULL or was made by cllm_texts_create(); `callback` may be called with `user_data` during
/// this call, and does not use the texts.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_texts_word(
    texts: *const CLLMTexts,
    number: u64,
    callback: CLLMBytesCallback,
    user_data: *mut c_void,
) -> i64 {
    let texts = TEXTS.get(texts)?;
    let texts = lock(&texts);
    let mut watch = watch(callback, texts.bytes(), user_data);
    let place = texts.word_at(number, &mut watch)?;
    Ok(i64::try_from(place).unwrap_or(i64::MAX))
}

/// cllm_data_loader_build_vocab() for texts of any length: counts the words of a range of the bytes of all
/// texts, and adds the new ones to a vocabulary, ids in order of first appearance. Where not all fit, the
/// most frequent ones are added (of equally frequent words those that come first). Held in memory are at
/// most 4,194,304 different new words, and 128 MiB of them: of more, the more frequent half is kept and the
/// counting goes on; what a dropped word had counted is lost, as in lossy counting. Up to there the result is
/// that of cllm_data_loader_build_vocab(). The same texts give the same words, for any number of threads.
///
/// @param texts      made by cllm_texts_create().
/// @param from       the first byte.
/// @param to         the byte behind the last one; UINT64_MAX: to the end.
/// @param tokenizer  of words; after a failure it is as before.
/// @param least      new words that are met less often are not added; 0 and 1: all are.
/// @param keep_case  false: words become lower-case (ASCII letters only); true: the tokenizer keeps case from
///                   now on, as with a data loader whose `lowercase` is 0.
/// @param threads    0: one for each processor.
/// @param callback   is told after every 8 MiB or so how many bytes of how many are done, and can stop;
///                   NULL: none. Called on this thread.
/// @param user_data  handed to the callback.
/// @return 0; -1 on failure.
///
/// ```c
/// if (cllm_texts_count_words(texts, 0, UINT64_MAX, tokenizer, 2, false, 0, NULL, NULL) != 0)
///     fprintf(stderr, "%s\n", cllm_last_error());
/// ```
///
/// # Safety
/// `texts` is NULL or was made by cllm_texts_create(), `tokenizer` is NULL or live; `callback` may be called
/// with `user_data` during this call, and uses neither the texts nor the tokenizer.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_texts_count_words(
    texts: *const CLLMTexts,
    from: u64,
    to: u64,
    tokenizer: *mut CLLMTokenizer,
    least: u32,
    keep_case: bool,
    threads: c_int,
    callback: CLLMBytesCallback,
    user_data: *mut c_void,
) -> c_int {
    let texts = TEXTS.get(texts)?;
    let texts = lock(&texts);
    let pool = pool_of(threads)?;
    words::fields(tokenizer)?;
    if subwords::of(tokenizer)?.is_some() {
        let way = "cllm_texts_train_tokenizer() learns them";
        return Err(Error::state(format!("the tokenizer is of subwords: {way}")));
    }
    let range = range(&texts, from, to)?;
    let mut watch = watch(callback, range.end - range.start, user_data);
    words::learn_by(tokenizer, u64::from(least), |lookup, room| {
        texts.count_words(range, lookup, room, keep_case, &pool, &mut watch)
    })?;
    if keep_case {
        words::keep_case(tokenizer)?;
    }
    Ok(0)
}

/// Writes the ids of a range of the bytes of all texts to a file in the form of cllm_token_dataset_save(),
/// text by text, with the end token between two of them where the tokens are subwords. Texts are read and
/// encoded in pieces; the ids are those of cllm_text_to_tokens(), of words those of
/// cllm_data_loader_create_dataset(), for any number of threads. The file grows
/// as `<path>.partial` and appears at `path` when it is whole: what an ended program leaves is begun anew.
///
/// A file at `path` that was made of the same bytes of the same texts by the same tokenizer is read
/// through and left as it is.
///
/// @param texts      made by cllm_texts_create().
/// @param from       the first byte; one inside of a character moves to its beginning.
/// @param to         the byte behind the last one; UINT64_MAX: to the end.
/// @param tokenizer  of any kind.
/// @param threads    0: one for each processor.
/// @param path       the file; cllm_token_file_open() opens it.
/// @param callback   is told after every 8 MiB or so how many bytes of how many are done, and can stop;
///                   NULL: none. Called on this thread.
/// @param user_data  handed to the callback.
/// @return 0; 1 where the file was there already; -1 on failure: one that was there is as before.
///
/// ```c
/// if (cllm_texts_encode(texts, 0, UINT64_MAX, tokenizer, 0, "dataset.bin", NULL, NULL) < 0)
///     fprintf(stderr, "%s\n", cllm_last_error());
/// ```
///
/// # Safety
/// `texts` is NULL or was made by cllm_texts_create(), `tokenizer` is NULL or live, `path` is NULL or a C
/// string; `callback` may be called with `user_data` during this call, and does not use the texts.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_texts_encode(
    texts: *const CLLMTexts,
    from: u64,
    to: u64,
    tokenizer: *const CLLMTokenizer,
    threads: c_int,
    path: *const c_char,
    callback: CLLMBytesCallback,
    user_data: *mut c_void,
) -> c_int {
    let texts = TEXTS.get(texts)?;
    let texts = lock(&texts);
    let (pool, path) = (pool_of(threads)?, ffi::path(path, "path")?);
    words::fields(tokenizer)?;
    let range = range(&texts, from, to)?;
    let mut watch = watch(callback, range.end - range.start, user_data);
    let (_, there) = match subwords::of(tokenizer)? {
        Some(bpe) => texts.encode(range, &bpe.into(), &pool, path, &mut watch)?,
        None => {
            let vocabulary = Vocabulary::from_words(words::words_and_counts(tokenizer)?)?;
            let cased = words::keeps_case(tokenizer)?;
            texts.encode_words(range, &vocabulary, cased, &pool, path, &mut watch)?
        }
    };
    Ok(c_int::from(there))
}
