//! What is in a model file, and how large a model is.

use crate::border::ffi::{self, CArray};
use crate::border::host;
use crate::headers::cllm::{CLLMHeader, CLLMModel, TrainingMetadata};
use crate::model::file::records::{set_header, set_training};
use crate::model::{kept, view};
use cllm_engine::error::{Error, Result};
use cllm_engine::file::{self, Description, Integrity};
use cllm_macros::c_api;
use std::ffi::{CString, c_char, c_int, c_void};
use std::ptr;

/// A part of a file has no checksum.
pub const CLLM_FILE_UNCHECKED: c_int = 0;
/// The checksum of a part is right.
pub const CLLM_FILE_WHOLE: c_int = 1;
/// The checksum of a part is wrong.
pub const CLLM_FILE_DAMAGED: c_int = 2;
/// The file ends before the part does.
pub const CLLM_FILE_CUT_SHORT: c_int = 3;

/// A part of a model file.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CLLMFilePart {
    /// "header", "body", or the four characters of a section, '?' for those that can't be printed.
    pub name: *const c_char,
    /// What such a part holds.
    pub content: *const c_char,
    /// Where it begins in the file.
    pub offset: u64,
    /// Its length, as the file states it.
    pub size: u64,
    /// CLLM_FILE_…: whether it is whole.
    pub integrity: c_int,
}

/// What is in a model file. All that it points to is valid during the callback; texts are
/// NUL-terminated and stand as in the file, whatever bytes they are.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CLLMFileInfo {
    /// `sizeof(CLLMFileInfo)` of the library; fields behind it don't exist.
    pub struct_size: usize,
    /// Bytes of the file.
    pub size: u64,
    /// Whether it has the extension of this library; files of the original have none.
    pub extended: bool,
    /// The header, right or wrong (`reserved` is zero); NULL where the file is shorter than one.
    pub header: *const CLLMHeader,
    /// How the model was trained; NULL where the file does not say.
    pub training: *const TrainingMetadata,
    /// `num_parts` parts in the order of the file, as far as they were found.
    pub parts: *const CLLMFilePart,
    /// How many.
    pub num_parts: usize,
    /// The first `words_read` words.
    pub words: *const *const c_char,
    /// How many of them could be read, at most as many as were asked for.
    pub words_read: usize,
    /// How many words there are, by what the file says.
    pub num_words: u64,
    /// `num_problems` sentences that say what is wrong with the file, and where.
    pub problems: *const *const c_char,
    /// How many; 0: cllm_read_model reads the file.
    pub num_problems: usize,
    /// CLLM_TOKENS_…: what the tokens are. Of subwords `words` are the first tokens, readably.
    pub tokens: c_int,
    /// The trained values of the model, in floats or in 8 bits; `header->total_params` is the original's
    /// count, which leaves out what its blocks had not. 0 where the file does not say its sizes any more.
    pub parameters: u64,
    /// Bytes of text that a token stands for, by how often each was met in the text it was made for: a
    /// loss in nats per token, divided by this and ln 2, is in bits per byte. 0 where the file does not say:
    /// of words, which leave out the words that they don't know; of a damaged file.
    pub bytes_per_token: f64,
}

/// Receives what is in a model file.
pub type CLLMFileCallback =
    Option<unsafe extern "C" fn(info: *const CLLMFileInfo, user_data: *mut c_void)>;

/// Describes a model file, whole or damaged: its header, its parts with their checksums, its first
/// words, its training, and what is wrong with it. Reads past the damage as far as it can; nothing
/// is made of the weights.
///
/// @param path       the file.
/// @param max_words  words to give at most.
/// @param callback   called once with the description.
/// @param user_data  handed to the callback.
/// @return 0 where the file is whole; 1 where something is wrong with it; -1, without a call of the
///         callback, where it can't be read or is no model file at all.
///
/// From any thread. Takes the time to read the file twice.
///
/// ```c
/// static void show(const CLLMFileInfo *info, void *user_data) {
///     (void)user_data;
///     for (size_t i = 0; i < info->num_problems; i++) puts(info->problems[i]);
/// }
/// if (cllm_describe_file("model.cllm", 0, show, NULL) < 0)
///     fprintf(stderr, "%s\n", cllm_last_error());
/// ```
///
/// # Safety
/// `path` is NULL or a C string; `callback` may be called with `user_data`.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_describe_file(
    path: *const c_char,
    max_words: usize,
    callback: CLLMFileCallback,
    user_data: *mut c_void,
) -> c_int {
    let callback = callback.ok_or_else(|| Error::null("callback"))?;
    let found = file::describe(ffi::path(path, "path")?, max_words)?;
    let texts = Texts::of(&found)?;
    let (words, problems) = (pointers(&texts.words), pointers(&texts.problems));
    let names = pointers(&texts.parts);
    let parts: Vec<_> = found.parts.iter().zip(names.chunks_exact(2)).map(part).collect();
    let mut header = CArray::<CLLMHeader>::zeroed("a header", 1)?;
    let mut training = CArray::<TrainingMetadata>::zeroed("the training metadata", 1)?;
    if let Some(found) = &found.header {
        set_header(&mut header.as_mut_slice()[0], found);
        training.as_mut_slice()[0].timestamp = found.training_timestamp;
    }
    if let Some(found) = &found.training {
        set_training(&mut training.as_mut_slice()[0], found);
    }
    let info = CLLMFileInfo {
        struct_size: size_of::<CLLMFileInfo>(),
        size: found.bytes,
        extended: found.extended,
        header: found.header.as_ref().map_or(ptr::null(), |_| header.as_mut_slice().as_ptr()),
        training: found.training.as_ref().map_or(ptr::null(), |_| training.as_mut_slice().as_ptr()),
        parts: parts.as_ptr(),
        num_parts: parts.len(),
        words: words.as_ptr(),
        words_read: words.len(),
        num_words: found.num_words,
        problems: problems.as_ptr(),
        num_problems: problems.len(),
        tokens: super::tokens::kind_of(found.kind),
        parameters: found.parameters.unwrap_or(0),
        bytes_per_token: found.bytes_per_token.unwrap_or(0.0),
    };
    host::outside(|| callback(&info, user_data));
    Ok(c_int::from(!found.problems.is_empty()))
}

/// How many trained values a model has, in floats or in 8 bits, in memory or in a mapped file: its weights
/// and a learnt position table. `model->num_weights` counts floats that the program can reach, and
/// `model->header.total_params` what the original had.
///
/// @param model  a model.
/// @return the number; 0 for NULL, or what is no model.
///
/// ```c
/// printf("%llu parameters\n", (unsigned long long)cllm_model_parameters(model));
/// ```
///
/// # Safety
/// `model` is NULL or live.
#[unsafe(no_mangle)]
#[c_api(0)]
pub unsafe extern "C" fn cllm_model_parameters(model: *const CLLMModel) -> u64 {
    view::live(model)?;
    if let Some(kept) = kept::kept(model)? {
        return Ok(kept.shape().trained());
    }
    let mut count = 0u64;
    view::plan(model)?.params.visit(|_, _, tensor| count += tensor.len as u64);
    Ok(count)
}

/// The texts of a description as C strings.
struct Texts {
    /// Name and content of each part.
    parts: Vec<CString>,
    words: Vec<CString>,
    problems: Vec<CString>,
}

impl Texts {
    fn of(found: &Description) -> Result<Self> {
        let parts = found.parts.iter();
        Ok(Self {
            parts: c_strings(parts.flat_map(|p| [p.name.as_bytes(), p.content.as_bytes()]))?,
            words: c_strings(found.words.iter())?,
            problems: c_strings(found.problems.iter().map(String::as_bytes))?,
        })
    }
}

/// Each text up to its first NUL.
fn c_strings<'t>(texts: impl Iterator<Item = &'t [u8]>) -> Result<Vec<CString>> {
    let text = |bytes: &[u8]| {
        let text = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
        CString::new(text).map_err(|_| Error::state("a NUL in a text"))
    };
    texts.map(text).collect()
}

fn pointers(texts: &[CString]) -> Vec<*const c_char> {
    texts.iter().map(|text| text.as_ptr()).collect()
}

fn part((part, names): (&file::FilePart, &[*const c_char])) -> CLLMFilePart {
    CLLMFilePart {
        name: names[0],
        content: names[1],
        offset: part.offset,
        size: part.bytes,
        integrity: match part.integrity {
            Integrity::Unchecked => CLLM_FILE_UNCHECKED,
            Integrity::Whole => CLLM_FILE_WHOLE,
            Integrity::Damaged => CLLM_FILE_DAMAGED,
            Integrity::CutShort => CLLM_FILE_CUT_SHORT,
        },
    }
}
