//! Models that stay in their files.

use crate::border::ffi;
use crate::headers::cllm::CLLMModel;
use crate::model::kept::{self, Kept};
use crate::model::{file, view};
use cllm_engine::error::Error;
use cllm_macros::c_api;
use std::ffi::{c_char, c_int};

/// Maps a model file: the model is there at once, its weights are read from the file as they are needed,
/// and all processes that map the file share one copy of them in memory.
///
/// The model generates, scores and evaluates, with the same results as that of cllm_read_model(), and
/// can be written and quantized. In the CLLMModel the pointers to weights, norms and positions are NULL
/// and num_weights is 0. Functions that read or change weights one by one, training among them, refuse
/// it: cllm_read_model() makes a model for them.
///
/// Sizes and structure of the file are checked as cllm_read_model() does; checksums and values of the
/// weights only by cllm_verify_model(). A file of 8-bit weights, whose order in memory is another, or of
/// the original library is read instead: cllm_model_is_mapped() tells.
///
/// Decoding from it is some percent slower than from memory, where weights begin on cache lines and lie in
/// huge pages.
///
/// The file may be replaced or removed while it is mapped, as cllm_write_model() and rename() do: the
/// model stays what it was, until it is freed. It must not be written to or cut in its place. Where it
/// was cut the next call fails; in the middle of a call the system ends the process (SIGBUS).
///
/// @param filename  the file's path; not NULL.
/// @return a new model, to be freed with cllm_free_model(); NULL as cllm_read_model().
///
/// ```c
/// CLLMModel *model = cllm_map_model("model.cllm");
/// CLLMInference *inference = cllm_inference_init(model);
/// if (!inference) fprintf(stderr, "%s\n", cllm_last_error());
/// cllm_inference_cleanup(inference);
/// cllm_free_model(model);
/// ```
///
/// # Safety
/// `filename` is NULL or a NUL-terminated string.
#[unsafe(no_mangle)]
#[c_api(std::ptr::null_mut())]
pub unsafe extern "C" fn cllm_map_model(filename: *const c_char) -> *mut CLLMModel {
    file::map_model(ffi::path(filename, "filename")?)
}

/// Says whether a model's weights stay in a mapped file.
///
/// @param model  a model; not NULL.
/// @return 1 if they do, 0 if they are in memory; -1 for NULL.
///
/// ```c
/// printf("%s\n", cllm_model_is_mapped(model) == 1 ? "mapped" : "in memory");
/// ```
///
/// # Safety
/// `model` is NULL or live.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_model_is_mapped(model: *const CLLMModel) -> c_int {
    view::live(model)?;
    Ok(c_int::from(matches!(kept::kept(model)?, Some(Kept::Mapped(_)))))
}

/// Reads the whole file of a mapped model, and checks what cllm_read_model() checks: every checksum, and
/// that no weight is NaN or infinite.
///
/// @param model  a model that cllm_map_model() mapped; not NULL.
/// @return 0 if the file is whole; -1 if it is damaged, which cllm_last_error() says with the place, or
///         if the model is in memory.
///
/// ```c
/// if (cllm_model_is_mapped(model) == 1 && cllm_verify_model(model) != 0)
///     fprintf(stderr, "%s\n", cllm_last_error());
/// ```
///
/// # Safety
/// `model` is NULL or live.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_verify_model(model: *const CLLMModel) -> c_int {
    view::live(model)?;
    match kept::kept(model)? {
        Some(Kept::Mapped(mapped)) => mapped.verify().map(|()| 0),
        _ => Err(Error::state("the model is in memory: it was checked when it was read")),
    }
}
