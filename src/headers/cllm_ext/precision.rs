//! Models in 8 bits.

use super::training::pool_of;
use crate::headers::cllm::CLLMModel;
use crate::model::kept::{self, Kept};
use crate::model::{file, view};
use cllm_macros::c_api;
use std::ffi::c_int;

/// Makes a model for generation whose matrices are held in 8 bits: a quarter of the memory and of the
/// file, and faster where memory limits. The given model stays as it is.
///
/// Of blocks of 64 weights each has a scale; docs/MODEL.md says the arithmetic. The new model generates,
/// scores and evaluates like any other, is written by cllm_write_model() and read by
/// cllm_read_model(). The library keeps its weights: in the CLLMModel the pointers to weights, norms and
/// positions are NULL and num_weights is 0. Functions that read or change weights one by one, training
/// among them, refuse it; cllm_expand_model() makes a model of floats of it again.
///
/// @param model    a model of floats; not NULL. Its attention matrices are d*d, as in every model that
///                 cllm_create_model() makes; files of the original library have others.
/// @param threads  1 or more; 0: as cllm_set_threads() says. No bit depends on it.
/// @return a new model, to be freed with cllm_free_model(); NULL for another model, or if there is no
///         memory.
///
/// ```c
/// CLLMModel *small = cllm_quantize_model(model, 0);
/// if (!small || cllm_write_model(small, "small.cllm") != 0)
///     fprintf(stderr, "%s\n", cllm_last_error());
/// cllm_free_model(small);
/// ```
///
/// # Safety
/// `model` is NULL or live and not trained meanwhile.
#[unsafe(no_mangle)]
#[c_api(std::ptr::null_mut())]
pub unsafe extern "C" fn cllm_quantize_model(
    model: *const CLLMModel,
    threads: c_int,
) -> *mut CLLMModel {
    file::quantize(model, &*pool_of(threads)?)
}

/// Makes a model of floats of one that holds 8-bit weights, for training and for everything else that
/// needs them one by one. Each weight is its integer times the scale of its block; what was rounded away
/// does not come back. The given model stays as it is.
///
/// @param model  a model that cllm_quantize_model() made, or one that was read from its file; not NULL.
/// @return a new model, to be freed with cllm_free_model(); NULL for a model of floats, or if there is
///         no memory.
///
/// ```c
/// CLLMModel *small = cllm_read_model("small.cllm");
/// if (small && cllm_model_is_quantized(small)) {
///     CLLMModel *full = cllm_expand_model(small);
///     cllm_free_model(full);
/// }
/// cllm_free_model(small);
/// ```
///
/// # Safety
/// `model` is NULL or live.
#[unsafe(no_mangle)]
#[c_api(std::ptr::null_mut())]
pub unsafe extern "C" fn cllm_expand_model(model: *const CLLMModel) -> *mut CLLMModel {
    view::live(model)?;
    file::expand(model)
}

/// Says whether a model holds 8-bit weights.
///
/// @param model  a model; not NULL.
/// @return 1 if it does, 0 if it holds floats; -1 for NULL.
///
/// ```c
/// printf("%s\n", cllm_model_is_quantized(model) == 1 ? "8-bit weights" : "floats");
/// ```
///
/// # Safety
/// `model` is NULL or live.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_model_is_quantized(model: *const CLLMModel) -> c_int {
    view::live(model)?;
    Ok(c_int::from(matches!(kept::kept(model)?, Some(Kept::Int8(_)))))
}
