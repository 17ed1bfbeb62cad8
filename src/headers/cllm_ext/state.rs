//! Saving and restoring where a generation stands.

use crate::border::ffi::{self, CArray};
use crate::border::registry::lock;
use crate::headers::cllm_inference::CLLMInference;
use crate::headers::cllm_inference::context;
use crate::model::kept;
use cllm_engine::error::Result;
use cllm_engine::generate::Generator;
use cllm_engine::model::InferenceRef;
use cllm_macros::c_api;
use std::ffi::{c_char, c_int};

/// Saves where a context stands, in memory: settings, generator, the sequence of the latest
/// generation, and the cached keys and values. A context of the same model that gets it goes on
/// exactly as this one would. Not part of it: threads, what cllm_set_allow_special says, the fields
/// `logits` and `hidden_states`, and a cache that the program installed.
///
/// @param state  receives a block of `*size` bytes, the caller's to free().
/// @param size   receives its size: about 8 L d bytes for each cached token.
/// @return 0; -1 on failure, with the outputs unchanged.
///
/// ```c
/// uint8_t *state;
/// size_t size;
/// if (cllm_inference_get_state(inference, &state, &size) == 0) {
///     cllm_inference_set_state(other, state, size);   // both go on alike from here
///     free(state);
/// }
/// ```
///
/// # Safety
/// `inference` is NULL or live; `state` and `size` are NULL or writable.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_inference_get_state(
    inference: *mut CLLMInference,
    state: *mut *mut u8,
    size: *mut usize,
) -> c_int {
    let state = ffi::get_mut(state, "state")?;
    let size = ffi::get_mut(size, "size")?;
    let bytes = saved(inference, |generator, model| generator.save_state(model))?;
    *state = CArray::copy_of("the state", &bytes)?.into_raw();
    *size = bytes.len();
    Ok(0)
}

/// Restores what cllm_inference_get_state saved, in any context of the same model, also in another
/// process: the model may have been written and read in between.
///
/// @param state  `[size]` bytes, not kept.
/// @return 0; -1 where the bytes are damaged, or were saved with other weights or another number of
///         heads: nothing has changed then.
///
/// ```c
/// if (cllm_inference_set_state(inference, state, size) != 0)
///     fprintf(stderr, "%s\n", cllm_last_error());
/// ```
///
/// # Safety
/// `inference` is NULL or live; `state` is NULL or holds `size` bytes.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_inference_set_state(
    inference: *mut CLLMInference,
    state: *const u8,
    size: usize,
) -> c_int {
    let bytes = ffi::slice(state, size, "state")?;
    restored(inference, |generator, model| generator.restore_state(bytes, model))
}

/// cllm_inference_get_state into a file, which appears whole or not at all.
///
/// @return 0, or -1.
///
/// ```c
/// cllm_inference_save_state(inference, "chat.state");
/// ```
///
/// # Safety
/// `inference` is NULL or live; `path` is NULL or a C string.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_inference_save_state(
    inference: *mut CLLMInference,
    path: *const c_char,
) -> c_int {
    let path = ffi::path(path, "path")?;
    saved(inference, |generator, model| generator.write_state(path, model))?;
    Ok(0)
}

/// cllm_inference_set_state from a file of cllm_inference_save_state.
///
/// @return 0; -1 where the file can't be read, is damaged, or was saved with other weights or another
///         number of heads: nothing has changed then.
///
/// ```c
/// if (cllm_inference_load_state(inference, "chat.state") == 0)
///     cllm_continue_stream(inference, show, stdout);
/// ```
///
/// # Safety
/// `inference` is NULL or live; `path` is NULL or a C string.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_inference_load_state(
    inference: *mut CLLMInference,
    path: *const c_char,
) -> c_int {
    let path = ffi::path(path, "path")?;
    restored(inference, |generator, model| generator.read_state(path, model))
}

/// What `save` makes of the context's generator, whose settings are those of the public fields.
///
/// # Safety
/// `inference` is NULL or live.
unsafe fn saved<R>(
    inference: *mut CLLMInference,
    save: impl FnOnce(&Generator, &InferenceRef) -> Result<R>,
) -> Result<R> {
    let state = context::state(inference)?;
    let generator = &mut lock(&state).generator;
    let context = ffi::get(inference, "inference")?;
    let running = kept::running(context.model)?;
    let model = running.view();
    context::read_settings(context, generator.config_mut());
    save(generator, &model)
}

/// Lets `restore` change the context's generator, and the public fields follow.
///
/// # Safety
/// `inference` is NULL or live.
unsafe fn restored(
    inference: *mut CLLMInference,
    restore: impl FnOnce(&mut Generator, &InferenceRef) -> Result<()>,
) -> Result<c_int> {
    let state = context::state(inference)?;
    let state = &mut *lock(&state);
    let context = ffi::get_mut(inference, "inference")?;
    let running = kept::running(context.model)?;
    let model = running.view();
    restore(&mut state.generator, &model)?;
    state.generations += 1;
    context::write_settings(state.generator.config(), context);
    Ok(0)
}
