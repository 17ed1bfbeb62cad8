//! Tokenizers of subwords: training, files, what a model has.

use super::CLLMTokenizerCallback;
use super::tokens::text_bytes;
use crate::border::{ffi, host};
use crate::headers::cllm::CLLMModel;
use crate::headers::cllm_tokenizer::{self, CLLMTokenizer};
use crate::headers::cllm_tokenizer::{subwords as tokenizer_subwords, words as tokenizer_words};
use crate::model::{grow, subwords, words};
use cllm_engine::error::{Error, Result};
use cllm_engine::limits::MAX_TOKENIZER_WORDS;
use cllm_engine::text::bpe::{PieceCounter, Rule, Settings};
use cllm_engine::text::index::Words;
use cllm_engine::text::vocab::Entry;
use cllm_engine::text::{Bpe, files};
use cllm_macros::c_api;
use std::ffi::{c_char, c_int, c_void};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::ptr::null_mut;

/// Learns subwords from a text: byte-level byte-pair encoding. The vocabulary has the five special
/// tokens, the 256 bytes, and then what merging the most frequent neighbours makes, again and again;
/// no merge crosses the borders of words, numbers and line breaks. So every text can be spelled, byte
/// for byte, and frequent words are one token.
///
/// @param text        `[length]`, any bytes.
/// @param length      at most 2^40.
/// @param vocab_size  tokens to reach, 261 to 16777216; there are fewer where the text has no more
///                    pairs that it holds twice.
/// @param callback    is told how far it is, and can stop: merges made until then count. NULL: none.
/// @param user_data   handed to the callback.
/// @return the tokenizer, with the counts of its tokens in the text; to be released with
///         cllm_free_tokenizer(). NULL if `text` is NULL, the size is out of range, there is no
///         memory, or the callback stopped it before the first merge.
///
/// The same text gives the same tokens. From any thread.
///
/// ```c
/// const char *play = "ROMEO:\nIs the day so young?\n\nBENVOLIO:\nBut new struck nine.\n";
/// CLLMTokenizer *tokenizer = cllm_train_tokenizer(play, strlen(play), 300, NULL, NULL);
/// if (!tokenizer) fprintf(stderr, "%s\n", cllm_last_error());
/// cllm_free_tokenizer(tokenizer);
/// ```
///
/// # Safety
/// `text` is NULL or holds `length` bytes; `callback` may be called with `user_data` during this call.
#[unsafe(no_mangle)]
#[c_api(null_mut())]
pub unsafe extern "C" fn cllm_train_tokenizer(
    text: *const c_char,
    length: usize,
    vocab_size: u32,
    callback: CLLMTokenizerCallback,
    user_data: *mut c_void,
) -> *mut CLLMTokenizer {
    let text = text_bytes(text, length)?;
    let mut training = Training::new(vocab_size, callback, user_data)?;
    training.count(text)?;
    training.finish()
}

/// The same from files, each of them a text, and from directories: what
/// cllm_data_loader_load_directory() loads of one. Files are read one after the other, as
/// cllm_data_loader_load_file() reads them; only what is different of their words is kept in memory.
///
/// @param paths       `[num_paths]` files and directories.
/// @param num_paths   at least 1.
/// @param vocab_size  as cllm_train_tokenizer().
/// @param callback    as there; NULL: none.
/// @param user_data   handed to the callback.
/// @return as there; NULL also if a path can't be read, or is no text.
///
/// ```c
/// static bool watch(uint64_t bytes, uint32_t tokens, uint32_t vocab_size, void *user_data) {
///     (void)user_data;
///     fprintf(stderr, "\r%u of %u tokens from %llu bytes", tokens, vocab_size,
///             (unsigned long long)bytes);
///     return true;
/// }
/// const char *paths[] = {"texts", "more.txt"};
/// CLLMTokenizer *tokenizer = cllm_train_tokenizer_files(paths, 2, 4096, watch, NULL);
/// cllm_free_tokenizer(tokenizer);
/// ```
///
/// # Safety
/// `paths` is NULL or holds `num_paths` C strings; `callback` may be called with `user_data` during
/// this call.
#[unsafe(no_mangle)]
#[c_api(null_mut())]
pub unsafe extern "C" fn cllm_train_tokenizer_files(
    paths: *const *const c_char,
    num_paths: usize,
    vocab_size: u32,
    callback: CLLMTokenizerCallback,
    user_data: *mut c_void,
) -> *mut CLLMTokenizer {
    let paths = ffi::slice(paths, num_paths, "paths")?;
    if paths.is_empty() {
        return Err(Error::argument("num_paths", 0, "1 or more"));
    }
    let mut texts: Vec<PathBuf> = Vec::new();
    for &path in paths {
        let path = ffi::path(path, "a path")?;
        match path.is_dir() {
            true => {
                let found = files::text_files(path)?;
                files::tell_left_out(&found.left_out);
                texts.extend(found.files);
            }
            false => texts.push(path.to_path_buf()),
        }
    }
    let mut training = Training::new(vocab_size, callback, user_data)?;
    for text in texts {
        training.count(&files::read_document(&text)?)?;
    }
    training.finish()
}

/// A tokenizer in the making.
pub(super) struct Training {
    pub(super) counter: PieceCounter,
    pub(super) settings: Settings,
    callback: CLLMTokenizerCallback,
    user_data: *mut c_void,
    bytes: u64,
}

impl Training {
    pub(super) fn new(
        vocab_size: u32,
        callback: CLLMTokenizerCallback,
        user_data: *mut c_void,
    ) -> Result<Self> {
        let settings = Settings::new(vocab_size as usize);
        settings.check()?;
        let counter = PieceCounter::new(Rule::Words);
        Ok(Self { counter, settings, callback, user_data, bytes: 0 })
    }

    /// Whether to go on.
    fn tell(&self, tokens: u32) -> bool {
        let (bytes, size) = (self.bytes, self.settings.size as u32);
        self.callback.is_none_or(|callback| {
            // SAFETY: the program's promise for the callback.
            host::outside(|| unsafe { callback(bytes, tokens, size, self.user_data) })
        })
    }

    /// So many bytes were counted; whether to go on.
    pub(super) fn read(&mut self, bytes: u64) -> ControlFlow<()> {
        self.bytes = bytes;
        if self.tell(0) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    pub(super) fn count(&mut self, text: &[u8]) -> Result<()> {
        match self.settings.merges() {
            true => self.counter.add(text)?,
            false => self.counter.add_bytes(text)?,
        }
        self.bytes = self.bytes.saturating_add(text.len() as u64);
        match self.tell(0) {
            true => Ok(()),
            false => Err(Error::state("the callback stopped the training")),
        }
    }

    pub(super) fn finish(self) -> Result<*mut CLLMTokenizer> {
        let bpe = Bpe::train_from(&self.counter, self.settings, |training| {
            match self.tell(training.tokens as u32) {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        })?;
        let counts = self.counter.tokens(&bpe)?;
        tokenizer_subwords::create(bpe, |id| counts.get(id as usize).copied().unwrap_or(0))
    }
}

/// A tokenizer whose tokens are the 256 bytes and the special tokens, 261 in all: for the smallest
/// models, and for data that is no text.
///
/// @return the tokenizer, to be released with cllm_free_tokenizer(); NULL if there is no memory.
///
/// ```c
/// CLLMTokenizer *bytes = cllm_byte_tokenizer();
/// printf("%u tokens\n", cllm_get_vocab_size(bytes));   // 261
/// cllm_free_tokenizer(bytes);
/// ```
///
/// # Safety
/// May be called at any time.
#[unsafe(no_mangle)]
#[c_api(null_mut())]
pub unsafe extern "C" fn cllm_byte_tokenizer() -> *mut CLLMTokenizer {
    tokenizer_subwords::create(Bpe::bytes()?, |_| 0)
}

/// Reads a `tokenizer.json`, as of Hugging Face: byte-level BPE (GPT-2, Llama 3, Qwen and many
/// others), with its added tokens. The ids are those of the file.
///
/// @param path  the file, of at most 1 GiB.
/// @return the tokenizer, to be released with cllm_free_tokenizer(); NULL if the file can't be read, is
///         no such file or of another kind (WordPiece, Unigram), is damaged, or asks for what is not
///         supported: the error says what and where.
///
/// ```c
/// CLLMTokenizer *tokenizer = cllm_read_tokenizer("tokenizer.json");
/// if (!tokenizer) fprintf(stderr, "%s\n", cllm_last_error());
/// cllm_free_tokenizer(tokenizer);
/// ```
///
/// # Safety
/// `path` is NULL or a C string.
#[unsafe(no_mangle)]
#[c_api(null_mut())]
pub unsafe extern "C" fn cllm_read_tokenizer(path: *const c_char) -> *mut CLLMTokenizer {
    tokenizer_subwords::create(Bpe::read_tokenizer_json(ffi::path(path, "path")?)?, |_| 0)
}

/// Writes the `tokenizer.json` of a tokenizer of subwords, which other programs read as well. It appears
/// whole or not at all.
///
/// @param tokenizer  not of words: those have a vocab.txt (cllm_save_vocab()).
/// @param path       the file.
/// @return 0; -1 on failure: an old file is as it was.
///
/// ```c
/// if (cllm_write_tokenizer(tokenizer, "tokenizer.json") != 0)
///     fprintf(stderr, "%s\n", cllm_last_error());
/// ```
///
/// # Safety
/// `tokenizer` is NULL or live; `path` is NULL or a C string.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_write_tokenizer(
    tokenizer: *const CLLMTokenizer,
    path: *const c_char,
) -> c_int {
    subwords_of(tokenizer)?.write_tokenizer_json(ffi::path(path, "path")?)?;
    Ok(0)
}

/// Reads the two files of GPT-2: `vocab.json` (tokens and ids) and `merges.txt` (a merge a line).
///
/// @param vocab_path   at most 1 GiB.
/// @param merges_path  likewise.
/// @return the tokenizer, to be released with cllm_free_tokenizer(); NULL as cllm_read_tokenizer().
///
/// ```c
/// CLLMTokenizer *gpt2 = cllm_read_tokenizer_gpt2("vocab.json", "merges.txt");
/// cllm_free_tokenizer(gpt2);
/// ```
///
/// # Safety
/// The paths are NULL or C strings.
#[unsafe(no_mangle)]
#[c_api(null_mut())]
pub unsafe extern "C" fn cllm_read_tokenizer_gpt2(
    vocab_path: *const c_char,
    merges_path: *const c_char,
) -> *mut CLLMTokenizer {
    let vocab = ffi::path(vocab_path, "vocab_path")?;
    tokenizer_subwords::create(
        Bpe::read_gpt2(vocab, ffi::path(merges_path, "merges_path")?)?,
        |_| 0,
    )
}

/// Writes these two files, each whole or not at all.
///
/// @param tokenizer    one like GPT-2's: what cllm_read_tokenizer_gpt2() read, or a tokenizer.json of
///                     that kind.
/// @param vocab_path   for `vocab.json`.
/// @param merges_path  for `merges.txt`.
/// @return 0; -1 on failure, also where the tokenizer has what these files can't say.
///
/// ```c
/// if (cllm_write_tokenizer_gpt2(tokenizer, "vocab.json", "merges.txt") != 0)
///     fprintf(stderr, "%s\n", cllm_last_error());
/// ```
///
/// # Safety
/// `tokenizer` is NULL or live; the paths are NULL or C strings.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_write_tokenizer_gpt2(
    tokenizer: *const CLLMTokenizer,
    vocab_path: *const c_char,
    merges_path: *const c_char,
) -> c_int {
    let vocab = ffi::path(vocab_path, "vocab_path")?;
    subwords_of(tokenizer)?.write_gpt2(vocab, ffi::path(merges_path, "merges_path")?)?;
    Ok(0)
}

fn subwords_of(tokenizer: *const CLLMTokenizer) -> Result<Bpe> {
    let words = || Error::state("the tokenizer has words, not subwords: it has a vocab.txt");
    tokenizer_subwords::of(tokenizer)?.ok_or_else(words)
}

/// The tokenizer of a model, as a new one of its own: words or subwords, with the model's counts. With
/// it a program encodes what the model is to be trained on next.
///
/// @param model           any.
/// @param max_vocab_size  most words it will take, as cllm_create_tokenizer(); less than the model has:
///                        as many as that. Subwords take no more.
/// @return the tokenizer, to be released with cllm_free_tokenizer(); NULL if the model has none, or
///         there is no memory.
///
/// ```c
/// CLLMModel *model = cllm_read_model("model.cllm");
/// CLLMTokenizer *tokenizer = cllm_model_tokenizer(model, 0);
/// CLLMDataLoader *loader = cllm_data_loader_create(tokenizer);
/// cllm_data_loader_load_file(loader, "today.log");
/// ```
///
/// # Safety
/// `model` is NULL or live.
#[unsafe(no_mangle)]
#[c_api(null_mut())]
pub unsafe extern "C" fn cllm_model_tokenizer(
    model: *const CLLMModel,
    max_vocab_size: u32,
) -> *mut CLLMTokenizer {
    if max_vocab_size > MAX_TOKENIZER_WORDS {
        return Err(Error::argument("max_vocab_size", max_vocab_size, "at most 2^26"));
    }
    let strings = words::strings(model)?.ok_or_else(|| Error::null("model->tokens"))?;
    let count = |id: u32| strings.count_of(id);
    if let Some(bpe) = subwords::of(model)? {
        return tokenizer_subwords::create(bpe, count);
    }
    if !words::has_real_strings(model)? {
        return Err(Error::state("the model has no vocabulary"));
    }
    let used = u32::try_from(strings.used()).ok().filter(|&used| used <= MAX_TOKENIZER_WORDS);
    let used = used.ok_or_else(|| {
        Error::shape("a tokenizer of more than 2^26 words: subwords hold any text with fewer")
    })?;
    let entry = |id: u32| Entry {
        word: strings.get(id).unwrap_or_default(),
        count: u32::try_from(count(id)).unwrap_or(u32::MAX),
    };
    let entries: Vec<_> = (0..used).map(entry).collect();
    cllm_tokenizer::with_words(max_vocab_size.max(used), &entries)
}

/// Gives a model more words: cllm_model_set_vocab() for a tokenizer that has the model's words at their
/// ids, and new ones behind. The model grows by as many ids as it has too few. The embeddings of the new
/// ids are the mean of all others, which training then moves; everything else stays, bit for bit.
/// Subwords spell every word and need no more.
///
/// The weights move: `model->weights`, `model->tokens` and the pointers into them are others
/// afterwards. No other thread may use the model meanwhile, and contexts and trainings that were made for
/// it have arrays of the old size: release them before, make new ones after.
///
/// @param model      made or read by the library.
/// @param tokenizer  of words; such as cllm_model_tokenizer() made with room, and
///                   cllm_data_loader_build_vocab() filled from new texts.
/// @return how many ids are new, 0 or more; -1 on failure, with the model as before: an argument is
///         NULL, an id would mean another word (the error names it), either has subwords, the program
///         put arrays of its own into the model, or there is no memory.
///
/// ```c
/// CLLMTokenizer *tokenizer = cllm_model_tokenizer(model, 50000);
/// CLLMDataLoader *loader = cllm_data_loader_create(tokenizer);
/// cllm_data_loader_load_file(loader, "today.log");
/// cllm_data_loader_build_vocab(loader);
/// printf("%d new words\n", cllm_grow_vocab(model, tokenizer));
/// cllm_data_loader_free(loader);
/// ```
///
/// # Safety
/// Both are NULL or live.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_grow_vocab(
    model: *mut CLLMModel,
    tokenizer: *const CLLMTokenizer,
) -> c_int {
    if tokenizer_subwords::of(tokenizer)?.is_some() {
        return Err(Error::state("a vocabulary of subwords adds no words to a model"));
    }
    let added = grow::grow(model, &tokenizer_words::words_and_counts(tokenizer)?)?;
    Ok(c_int::try_from(added).unwrap_or(c_int::MAX))
}
