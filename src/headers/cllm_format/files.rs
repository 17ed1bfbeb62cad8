//! The part of `cllm_format.h` about files: reading, writing and checking models.

use crate::border::ffi;
use crate::headers::cllm::*;
use crate::model::file;
use crate::model::kept;
use crate::model::view::{self, MODELS};
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
    if kept::kept(model)?.is_some() {
        return Ok(());
    }
    let count = m.num_layers as usize;
    if count == 0 {
        return Err(Error::argument("model->num_layers", 0, "1 or more"));
    }
    let need = |pointer: *mut f32, name: &'static str| {
        if pointer.is_null() { Err(Error::null(name)) } else { Ok(()) }
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
