//! The part of `cllm_format.h` about files: reading, writing and checking models.

use crate::border::ffi;
use crate::headers::cllm::*;
use crate::model::view::{self, MODELS};
use crate::model::{build, file};
use cllm_engine::error::{Error, Result};
use cllm_macros::c_api;
use std::ffi::{c_char, c_int, c_void};
use std::ptr;

pub(crate) use crate::model::file::{read_model, write_model};

/// Reads a model file: one that this library wrote, or one in the layout of the original library.
///
/// A file of this library comes back as it was written: every value bit for bit, words of any
/// length, norms, position tables, transforms, lattice points, training metadata, the header's
/// name, description and times. What the written model lacked (a NULL matrix, bias or table) is
/// NULL again. A file of the original holds matrices only: its attention matrices are used per
/// head, its words are `token_<id>`, its norms gamma 1 and beta 0, its position tables zero.
///
/// @param filename  the file's path; not NULL.
/// @return a new model, to be released with cllm_free() or cllm_free_model(); NULL if the file
///         can't be read, is cut short, damaged, or no model file, if there is no memory, or if a
///         weight is NaN or infinite: cllm_last_error() says what is wrong, and where in the file.
///
/// Nothing is allocated that the length of the file does not justify. May be called from several
/// threads at once, also while another process replaces the file.
/// Source: docs/FORMAT.md.
///
/// # Safety
/// `filename` is NULL or a NUL-terminated string.
#[unsafe(no_mangle)]
#[c_api(ptr::null_mut())]
pub unsafe extern "C" fn cllm_read_model(filename: *const c_char) -> *mut CLLMModel {
    read_model(ffi::path(filename, "filename")?, false)
}

/// Writes a model file, whole or not at all: the content goes to a temporary file in the same
/// directory, which is flushed to the disk and then takes the place of the old file. After an
/// error the old file is as it was.
///
/// The file starts as a file of the original library, which can read it where every feed-forward
/// layer is 4 * embedding_dim wide; what that layout has no room for follows it. Missing matrices
/// are written as zeros and noted as missing. Per-head matrices of a model that the program
/// assembled are num_heads * head_dim * head_dim floats each.
///
/// @param model     the model, made by the library or by the program; not NULL, not changed. At
///                  most 1000000 words, 100 layers, and a width of 10000.
/// @param filepath  the file's path; not NULL. A symbolic link is followed.
/// @return 0; -1 if the model has no sizes or sizes that contradict each other, or if the file
///         can't be written: cllm_last_error() says why.
///
/// The times in the file's header are set to now (created_timestamp only where it is 0); all
/// bytes after the header depend on the model alone. NaN and infinite weights are written, but
/// cllm_read_model() refuses them.
///
/// # Safety
/// Every non-NULL pointer of the model holds what its sizes say, and nothing changes it meanwhile.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_write_model(
    model: *const CLLMModel,
    filepath: *const c_char,
) -> c_int {
    write_model(model, ffi::path(filepath, "filepath")?)?;
    Ok(0)
}

/// Says whether a model in memory is complete: embeddings, sizes, the three arrays of layers, and
/// in each layer query, key, value, w1 and w2. Looks neither at values nor at biases and norms.
///
/// @param model  a `CLLMModel`; NULL is not complete.
/// @return 1; 0 if something is missing: cllm_last_error() names it.
///
/// # Safety
/// `model` is NULL or a `CLLMModel` whose non-NULL arrays hold num_layers entries.
#[unsafe(no_mangle)]
#[c_api(0)]
pub unsafe extern "C" fn cllm_validate_model(model: *mut c_void) -> c_int {
    complete(model.cast())?;
    Ok(1)
}

/// Whether the parts that a complete model has are there.
///
/// # Safety
/// As [`cllm_validate_model`].
pub(crate) unsafe fn complete(model: *const CLLMModel) -> Result<()> {
    MODELS.find(model)?;
    let m = view::live(model)?;
    view::vocab_size(m)?;
    view::embedding_dim(m)?;
    let count = m.num_layers as usize;
    if count == 0 {
        return Err(Error::argument("model->num_layers", 0, "1 or more"));
    }
    let need = |pointer: *mut f32, name: &'static str| {
        if pointer.is_null() { Err(Error::Null(name)) } else { Ok(()) }
    };
    need(m.embeddings.embeddings, "model->embeddings.embeddings")?;
    need(m.layer_norms.cast(), "model->layer_norms")?;
    let (attention, ff) = (
        ffi::slice(m.attention_layers, count, "model->attention_layers")?,
        ffi::slice(m.ff_layers, count, "model->ff_layers")?,
    );
    for a in attention {
        need(a.query_lattice, "a layer's query_lattice")?;
        need(a.key_lattice, "a layer's key_lattice")?;
        need(a.value_lattice, "a layer's value_lattice")?;
    }
    for f in ff {
        need(f.w1_lattice, "a layer's w1_lattice")?;
        need(f.w2_lattice, "a layer's w2_lattice")?;
    }
    Ok(())
}

/// Writes a model file: cllm_write_model() with its arguments in the other order.
///
/// @param filename  the file's path; not NULL.
/// @param model     the model; not NULL.
/// @return 0; -1 as cllm_write_model().
///
/// The state of a training, with its optimizer, is written by cllm_save_checkpoint().
///
/// # Safety
/// As cllm_write_model().
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_write_checkpoint(
    filename: *const c_char,
    model: *mut CLLMModel,
) -> c_int {
    write_model(model, ffi::path(filename, "filename")?)?;
    Ok(0)
}

/// Reads a model file: cllm_read_model() under its other name.
///
/// @param filename  the file's path; not NULL.
/// @return a new model, to be released with cllm_free(); NULL as cllm_read_model().
///
/// # Safety
/// As cllm_read_model().
#[unsafe(no_mangle)]
#[c_api(ptr::null_mut())]
pub unsafe extern "C" fn cllm_read_checkpoint(filename: *const c_char) -> *mut CLLMModel {
    read_model(ffi::path(filename, "filename")?, false)
}

/// Says whether a file is a model file that cllm_read_model() would read: the whole file is read
/// and checked, none of it is kept.
///
/// @param filename  the file's path; NULL is not a model file.
/// @return true, or false with the reason in cllm_last_error().
///
/// # Safety
/// As cllm_read_model().
#[unsafe(no_mangle)]
#[c_api(false)]
pub unsafe extern "C" fn cllm_validate(filename: *const c_char) -> bool {
    file::check(ffi::path(filename, "filename")?)?;
    Ok(true)
}

/// Releases a model, whoever made it: the same as cllm_free_model().
///
/// @param model  a model of the library, or one that the program assembled, in which the model
///               itself, `tokens`, `lattice_points`, the arrays of layers, `weights`, and every
///               matrix outside `weights` is a block of malloc's family; a block that several
///               pointers share is freed once. NULL is fine. The embeddings of lattice points
///               belong to the program.
///
/// Freeing a model of the library twice is reported, not done. A model whose matrices lie inside
/// one private block of the program can't be freed by the library.
///
/// # Safety
/// `model` is as above, and nothing uses it any more.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_free(model: *mut CLLMModel) {
    build::free(model)
}
