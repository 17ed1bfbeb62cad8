//! `cllm_data_loader.h`: text files to documents to id arrays.

use super::cllm_tokenizer::{CLLMTokenizer, subwords, words};
use crate::border::ffi::{self, CArray, zeroable};
use crate::border::registry::Registry;
use cllm_engine::error::Result;
use cllm_engine::text::count::Keep;
use cllm_engine::text::document::{self, Cleaning};
use cllm_engine::text::{dataset, files};
use cllm_macros::c_api;
use std::borrow::Cow;
use std::ffi::{c_char, c_int};
use std::ptr::null_mut;

/// Places for documents in a new loader.
const FIRST_CAPACITY: usize = 1000;

/// Texts on their way to a vocabulary and a dataset. Each document is kept as a cleaned copy; where the
/// tokenizer has subwords, as it is: `lowercase`, `remove_punctuation` and `remove_numbers` are not
/// used.
///
/// A loader that the program fills itself works as well; `documents` and what it points to must
/// then be blocks of `malloc`'s memory. One loader is used by one thread at a time.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CLLMDataLoader {
    /// The vocabulary to build and use; borrowed, must outlive the loader.
    pub tokenizer: *mut CLLMTokenizer,
    /// `capacity` places, of which the first `num_documents` hold a NUL-terminated text each;
    /// owned by the loader.
    pub documents: *mut *mut c_char,
    /// Documents in use.
    pub num_documents: usize,
    /// Places in `documents`; grows as needed.
    pub capacity: usize,
    /// Bytes of all documents after cleaning.
    pub total_chars: usize,
    /// Sum of the tokenizer's counts; set by cllm_data_loader_build_vocab().
    pub total_tokens: usize,
    /// Line feeds in the texts before cleaning.
    pub total_lines: usize,
    /// 1 in a new loader; not used.
    pub min_token_length: c_int,
    /// 50 in a new loader; not used.
    pub max_token_length: c_int,
    /// Not 0: ASCII letters of documents become lower-case, others (É, Ж) stay as they are. 1 in a
    /// new loader. 0: words keep their case, in the documents, the vocabulary and the dataset. This
    /// and the next two fields may be set by the program before documents are added.
    pub lowercase: c_int,
    /// Not 0: ASCII punctuation is dropped from documents. 0 in a new loader.
    pub remove_punctuation: c_int,
    /// Not 0: ASCII digits are dropped from documents. 0 in a new loader.
    pub remove_numbers: c_int,
}
layout!(CLLMDataLoader, 80, tokenizer: 0, documents: 8, num_documents: 16, capacity: 24, total_chars: 32, total_tokens: 40, total_lines: 48, min_token_length: 56, max_token_length: 60, lowercase: 64, remove_punctuation: 68, remove_numbers: 72);

/// The ids of a text, in order.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct TokenDataset {
    /// The ids: a block of `malloc`'s memory, not NULL where the library made the dataset. A program
    /// may lend it to a training, or take it away and set it NULL.
    pub tokens: *mut u32,
    /// How many ids there are.
    pub num_tokens: usize,
    /// How many there is room for.
    pub capacity: usize,
}
layout!(TokenDataset, 24, tokens: 0, num_tokens: 8, capacity: 16);
zeroable!(CLLMDataLoader, TokenDataset);

static LOADERS: Registry<()> = Registry::new("data loader");
static DATASETS: Registry<()> = Registry::new("dataset");

/// Makes a loader without documents.
///
/// @param tokenizer  the vocabulary that it will build and use; borrowed.
/// @return the loader, to be released with cllm_data_loader_free(); NULL if `tokenizer` is NULL or
///         there is no memory.
///
/// # Safety
/// `tokenizer` is NULL or a tokenizer.
#[unsafe(no_mangle)]
#[c_api(null_mut())]
pub unsafe extern "C" fn cllm_data_loader_create(
    tokenizer: *mut CLLMTokenizer,
) -> *mut CLLMDataLoader {
    words::fields(tokenizer)?;
    let documents = CArray::<*mut c_char>::zeroed("the documents", FIRST_CAPACITY)?;
    let mut loader = CArray::<CLLMDataLoader>::zeroed("the data loader", 1)?;
    let fields = &mut loader.as_mut_slice()[0];
    fields.tokenizer = tokenizer;
    fields.documents = documents.into_raw();
    fields.capacity = FIRST_CAPACITY;
    fields.min_token_length = 1;
    fields.max_token_length = 50;
    fields.lowercase = 1;
    let loader = loader.into_raw();
    LOADERS.insert(loader, ());
    Ok(loader)
}

/// Releases a loader and its documents, not the tokenizer.
///
/// @param loader  the loader; NULL is fine. A second call for the same one does nothing but record
///                an error.
///
/// # Safety
/// The loader was made by the library or is as CLLMDataLoader says, and is not used any more.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_data_loader_free(loader: *mut CLLMDataLoader) {
    if loader.is_null() {
        return Ok(());
    }
    let l = *fields(loader)?;
    if !l.documents.is_null() {
        for &text in ffi::slice(l.documents.cast_const(), l.num_documents, "documents")? {
            ffi::free(text);
        }
    }
    ffi::free(l.documents);
    LOADERS.free_struct(loader);
    Ok(())
}

/// # Safety
/// `loader` is NULL or a loader that nothing else uses during `'a`.
unsafe fn fields<'a>(loader: *mut CLLMDataLoader) -> Result<&'a mut CLLMDataLoader> {
    LOADERS.find(loader)?;
    ffi::get_mut(loader, "loader")
}

/// The texts of a loader; empty slots are left out.
///
/// # Safety
/// The loader is as CLLMDataLoader says; nothing writes the documents during `'a`.
unsafe fn documents<'a>(l: &CLLMDataLoader) -> Result<Vec<&'a [u8]>> {
    let slots = ffi::slice_or_empty(l.documents, l.num_documents, "documents")?;
    let texts = slots.iter().filter(|text| !text.is_null());
    texts.map(|&text| ffi::bytes(text, "a document")).collect()
}

/// Adds a cleaned copy of a text.
///
/// # Safety
/// As [`cllm_data_loader_add_document`].
unsafe fn add(loader: *mut CLLMDataLoader, text: &[u8]) -> Result<()> {
    let l = fields(loader)?;
    let cleaning = Cleaning {
        lowercase: l.lowercase != 0,
        remove_punctuation: l.remove_punctuation != 0,
        remove_numbers: l.remove_numbers != 0,
    };
    // Subwords spell a text as it is.
    let exact = matches!(subwords::of(l.tokenizer), Ok(Some(_)));
    let cleaned = match exact {
        true => Cow::Borrowed(text),
        false => Cow::Owned(document::clean(text, cleaning)?),
    };
    let copy = CArray::string("a document", &cleaned)?;
    if l.num_documents >= l.capacity || l.documents.is_null() {
        grow(l)?;
    }
    let slots = ffi::slice_mut(l.documents, l.num_documents + 1, "documents")?;
    slots[l.num_documents] = copy.into_raw().cast();
    l.num_documents += 1;
    l.total_chars = l.total_chars.saturating_add(cleaned.len());
    l.total_lines = l.total_lines.saturating_add(document::lines(text));
    Ok(())
}

/// Gives a loader a larger array of documents.
///
/// # Safety
/// The loader is as CLLMDataLoader says.
unsafe fn grow(l: &mut CLLMDataLoader) -> Result<()> {
    let used = if l.documents.is_null() { 0 } else { l.num_documents };
    let capacity = used.saturating_mul(2).max(FIRST_CAPACITY);
    let mut larger = CArray::<*mut c_char>::zeroed("the documents", capacity)?;
    if used > 0 {
        let old = ffi::slice(l.documents.cast_const(), used, "documents")?;
        larger.as_mut_slice()[..used].copy_from_slice(old);
    }
    // The texts themselves now belong to the larger array.
    ffi::free(l.documents);
    l.documents = larger.into_raw();
    l.num_documents = used;
    l.capacity = capacity;
    Ok(())
}

/// Adds a text as one document. A cleaned copy is kept: every run of white space becomes one
/// space, letters, punctuation and digits as the fields of the loader say; bytes above 127 stay, but
/// for a byte order mark at the beginning, which is dropped. For a tokenizer of subwords the text is
/// kept as it is.
///
/// @param loader  the loader.
/// @param text    the text; not kept.
/// @return 1; 0 if an argument is NULL or there is no memory.
///
/// # Safety
/// The loader was made by the library or is as CLLMDataLoader says; `text` is a C string.
#[unsafe(no_mangle)]
#[c_api(0)]
pub unsafe extern "C" fn cllm_data_loader_add_document(
    loader: *mut CLLMDataLoader,
    text: *const c_char,
) -> c_int {
    add(loader, ffi::bytes(text, "text")?)?;
    Ok(1)
}

/// Adds a whole file as one document, whatever it contains; NUL bytes count as spaces. An empty
/// file is an empty document. UTF-16 and UTF-32 become UTF-8: with a byte order mark, and without one
/// where the file is clearly such a text.
///
/// @param loader    the loader.
/// @param filename  the file: as large as half of the machine's memory; of a pipe or a device at
///                  most 1 GiB is read, for it may never end.
/// @return 1; 0 if an argument is NULL, the file can't be read or is too long, it is damaged UTF-16
///         or UTF-32 or a quarter of it are NUL bytes, or there is no memory.
///
/// # Safety
/// As cllm_data_loader_add_document(), for `filename`.
#[unsafe(no_mangle)]
#[c_api(0)]
pub unsafe extern "C" fn cllm_data_loader_load_file(
    loader: *mut CLLMDataLoader,
    filename: *const c_char,
) -> c_int {
    fields(loader)?;
    let path = ffi::path(filename, "filename")?;
    add(loader, &files::read_document(path)?)?;
    Ok(1)
}

/// Adds every text file of a directory and of all directories below it, one document per file, in
/// byte order of their paths.
///
/// Left out are files and directories below it whose name begins with a dot; files with the
/// extensions o, so, a, bin, exe, dll, png, jpg, gif, pdf (lower case), and those with a NUL byte
/// in their first 8192 bytes, unless they are UTF-16 or UTF-32; and what training runs wrote, known
/// by its content: model files, checkpoints, vocabularies with the special words at their head,
/// records of runs and their pictures, what train_model printed. A file that has several names or is
/// reached over symbolic links is loaded once. The first few that were left out are named in messages
/// of the level CLLM_LOG_INFO (what could not be read, in warnings), the others counted:
/// cllm_text_files() tells of each.
///
/// @param loader   the loader.
/// @param dirname  the directory.
/// @return the number of files loaded; 0 if an argument is NULL or the directory can't be read. A
///         file that can't be read or is too large (cllm_data_loader_load_file()) is recorded as an
///         error and not counted.
///
/// # Safety
/// As cllm_data_loader_add_document(), for `dirname`.
#[unsafe(no_mangle)]
#[c_api(0)]
pub unsafe extern "C" fn cllm_data_loader_load_directory(
    loader: *mut CLLMDataLoader,
    dirname: *const c_char,
) -> c_int {
    fields(loader)?;
    let directory = ffi::path(dirname, "dirname")?;
    let mut loaded: c_int = 0;
    let found = files::text_files(directory)?;
    files::tell_left_out(&found.left_out);
    for file in found.files {
        let text = files::read_document(&file);
        match text.and_then(|text| add(loader, &text)) {
            Ok(()) => loaded = loaded.saturating_add(1),
            Err(error) => ffi::report(error),
        }
    }
    Ok(loaded)
}

/// Builds the vocabulary from all documents: counts every word, lower-cased (ASCII letters only) unless
/// `lowercase` is 0, and adds the new ones to the loader's tokenizer, ids in order of first appearance. Where not all fit, the most frequent
/// ones are added (of equally frequent words those that come first). Sets `total_tokens` to the
/// sum of all counts of the tokenizer.
///
/// @param loader  the loader. After a failure (NULL, no memory) the vocabulary is as before.
///
/// With `lowercase` 0 the tokenizer keeps case from now on: cllm_tokenizer_encode() then looks a word
/// up as it is before it lower-cases it. A word that spells a special word (`<EOS>`, `<eos>`) is the
/// ordinary word `<eos>` in any case, with an id of its own.
///
/// A tokenizer of subwords is not built here: the tokens of the documents are counted.
///
/// Takes time in proportion to the text: milliseconds for a megabyte.
///
/// # Safety
/// As cllm_data_loader_add_document(); the same holds for the loader's tokenizer.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_data_loader_build_vocab(loader: *mut CLLMDataLoader) {
    let l = fields(loader)?;
    let texts = documents(l)?;
    let keep_case = l.lowercase == 0;
    match subwords::of(l.tokenizer)? {
        Some(bpe) => subwords::count(l.tokenizer, &bpe, &texts)?,
        None => {
            words::learn(l.tokenizer, texts.into_iter(), Keep::MostFrequent, keep_case)?;
            if keep_case {
                words::keep_case(l.tokenizer)?;
            }
        }
    }
    let counts = words::counts(l.tokenizer)?;
    l.total_tokens = counts.iter().map(|&count| count as usize).sum();
    Ok(())
}

/// The ids of all documents in order, words one after the other with nothing between the documents. A word is looked
/// up in lower case; with `lowercase` 0 as it is, then in lower case. One that the tokenizer does not
/// hold is 1 (`<UNK>`).
///
/// @param loader  the loader; not changed.
/// @return the dataset, to be released with cllm_token_dataset_free(), without ids if there are no
///         documents; NULL if `loader` or its tokenizer is NULL or there is no memory.
///
/// # Safety
/// As cllm_data_loader_build_vocab().
#[unsafe(no_mangle)]
#[c_api(null_mut())]
pub unsafe extern "C" fn cllm_data_loader_create_dataset(
    loader: *mut CLLMDataLoader,
) -> *mut TokenDataset {
    let l = fields(loader)?;
    let texts = documents(l)?;
    let (len, ids) = match subwords::of(l.tokenizer)? {
        Some(bpe) => subwords::dataset(&bpe, &texts)?,
        None => words::encode(l.tokenizer, &[], &texts, &[], l.lowercase == 0)?,
    };
    new_dataset(len, ids)
}

fn new_dataset(len: usize, ids: CArray<u32>) -> Result<*mut TokenDataset> {
    let mut dataset = CArray::<TokenDataset>::zeroed("the dataset", 1)?;
    dataset.as_mut_slice()[0] =
        TokenDataset { tokens: ids.into_raw(), num_tokens: len, capacity: len };
    let dataset = dataset.into_raw();
    DATASETS.insert(dataset, ());
    Ok(dataset)
}

/// Releases a dataset and its ids, unless the program took them and set `tokens` to NULL.
///
/// @param dataset  the dataset; NULL is fine. A second call for the same one does nothing but
///                 record an error.
///
/// # Safety
/// `tokens` and the struct itself are NULL or blocks of `malloc`'s memory, not used any more.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_token_dataset_free(dataset: *mut TokenDataset) {
    if dataset.is_null() {
        return Ok(());
    }
    DATASETS.find(dataset)?;
    ffi::free(ffi::get(dataset, "dataset")?.tokens);
    DATASETS.free_struct(dataset);
    Ok(())
}

/// Writes a dataset: the number of ids in 8 bytes, then 4 bytes for each id, little-endian.
///
/// @param dataset   the dataset.
/// @param filename  the file; it is replaced when all is written, so it is whole or as before.
/// @return 1; 0 if an argument is NULL or writing fails.
///
/// # Safety
/// `dataset` is NULL or a dataset with `num_tokens` ids; `filename` is NULL or a C string.
#[unsafe(no_mangle)]
#[c_api(0)]
pub unsafe extern "C" fn cllm_token_dataset_save(
    dataset: *mut TokenDataset,
    filename: *const c_char,
) -> c_int {
    DATASETS.find(dataset)?;
    let d = ffi::get(dataset, "dataset")?;
    let ids = ffi::slice_or_empty(d.tokens, d.num_tokens, "dataset->tokens")?;
    let path = ffi::path(filename, "filename")?;
    dataset::write(path, ids)?;
    Ok(1)
}

/// Reads a file of cllm_token_dataset_save(). Bytes after the ids are ignored.
///
/// @param filename  the file.
/// @return the dataset, to be released with cllm_token_dataset_free(); NULL if `filename` is NULL,
///         the file can't be read or is shorter than it says, or there is no memory.
///
/// # Safety
/// `filename` is NULL or a C string.
#[unsafe(no_mangle)]
#[c_api(null_mut())]
pub unsafe extern "C" fn cllm_token_dataset_load(filename: *const c_char) -> *mut TokenDataset {
    let reader = dataset::open(ffi::path(filename, "filename")?)?;
    let len = reader.len();
    let mut ids = CArray::<u32>::zeroed("the ids of a dataset", len)?;
    reader.read(ids.as_mut_slice())?;
    new_dataset(len, ids)
}

/// Prints to stdout the numbers of documents, characters, lines and tokens, the mean number of
/// characters per document (where there are documents), and the size of the vocabulary (where there
/// is a tokenizer):
///
/// ```text
///
/// === Data Loader Statistics ===
/// Documents: 2
/// Total characters: 61
/// Total lines: 3
/// Total tokens: 12
/// Avg chars per document: 30.5
/// Vocabulary size: 14
/// ==============================
///
/// ```
///
/// @param loader  the loader; NULL: nothing is printed.
///
/// # Safety
/// As cllm_data_loader_build_vocab().
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_data_loader_print_stats(loader: *mut CLLMDataLoader) {
    let l = *fields(loader)?;
    let mut text = format!(
        "\n=== Data Loader Statistics ===\nDocuments: {}\nTotal characters: {}\n\
         Total lines: {}\nTotal tokens: {}\n",
        l.num_documents, l.total_chars, l.total_lines, l.total_tokens
    );
    if l.num_documents > 0 {
        let mean = l.total_chars as f64 / l.num_documents as f64;
        text += &format!("Avg chars per document: {mean:.1}\n");
    }
    if !l.tokenizer.is_null() {
        text += &format!("Vocabulary size: {}\n", words::fields(l.tokenizer)?.vocab_size);
    }
    ffi::print(format!("{text}{}\n\n", "=".repeat(30)));
    Ok(())
}
