//! Saving and restoring where a generation stands.

use crate::border::ffi::{self, CArray};
use crate::border::registry::lock;
use crate::headers::cllm_inference::CLLMInference;
use crate::headers::cllm_inference::context::{self, ContextState};
use crate::headers::cllm_inference::generation::stamp;
use crate::model::view;
use cllm_engine::error::{Error, Result};
use cllm_engine::file::{self, Problem, atomic};
use cllm_engine::generate::sampler::Settings;
use cllm_engine::generate::state::{self, Saved};
use cllm_macros::c_api;
use std::ffi::{c_char, c_int};
use std::io::Read;
use std::path::Path;

/// Saves where a context stands, in memory: settings, generator, the sequence of the latest
/// generation, and the cached keys and values. A context of the same model that gets it goes on
/// exactly as this one would. Not part of it: threads, the fields `logits` and `hidden_states`,
/// and a cache that the program installed.
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
    let bytes = encode(inference)?;
    *state = CArray::copy_of("the state", &bytes)?.into_raw();
    *size = bytes.len();
    Ok(0)
}

/// Restores what cllm_inference_get_state saved, in any context of the same model, also in another
/// process: the model may have been written and read in between.
///
/// @param state  `[size]` bytes, not kept.
/// @return 0; -1 where the bytes are damaged or were saved with other weights: nothing has changed
///         then.
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
    decode(inference, ffi::slice(state, size, "state")?).map_err(|e| match e {
        Problem::Other(error) => error,
        problem => Error::shape(problem.to_string()),
    })?;
    Ok(0)
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
    let (path, bytes) = (ffi::path(path, "path")?, encode(inference)?);
    atomic::write(path, |file| file.write_all(&bytes))?;
    Ok(0)
}

/// cllm_inference_set_state from a file of cllm_inference_save_state.
///
/// @return 0; -1 where the file can't be read, is damaged, or was saved with other weights:
///         nothing has changed then.
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
    decode(inference, &read(path)?).map_err(Problem::at(path))?;
    Ok(0)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let (file, len) = file::open(path)?;
    let size = usize::try_from(len).unwrap_or(usize::MAX);
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(size).map_err(|_| Error::Memory { what: "the state", bytes: size })?;
    file.take(len).read_to_end(&mut bytes).map_err(Error::io(path))?;
    Ok(bytes)
}

/// # Safety
/// `inference` is NULL or live.
unsafe fn encode(inference: *mut CLLMInference) -> Result<Vec<u8>> {
    let state = context::state(inference)?;
    let state = &*lock(&state);
    let context = ffi::get(inference, "inference")?;
    let model = view::model(context.model)?;
    let saved = Saved {
        settings: Settings {
            temperature: context.temperature,
            top_k: usize::try_from(context.top_k).unwrap_or(0),
            top_p: context.top_p,
            min_p: state.min_p,
            repetition_penalty: context.repetition_penalty,
        },
        greedy: state.greedy,
        max_tokens: context.max_tokens,
        rng: state.rng.clone(),
        sequence: state.sequence.clone(),
    };
    state::encode(&saved, &state.session, &model, stamp(context, &model))
}

/// # Safety
/// `inference` is NULL or live.
unsafe fn decode(inference: *mut CLLMInference, bytes: &[u8]) -> Result<(), Problem> {
    let state = context::state(inference)?;
    let state = &mut *lock(&state);
    let context = ffi::get_mut(inference, "inference")?;
    let model = view::model(context.model)?;
    let (saved, session) = state::decode(bytes, &model, stamp(context, &model))?;
    let Settings { temperature, top_k, top_p, min_p, repetition_penalty } = saved.settings;
    context.temperature = temperature;
    context.top_k = c_int::try_from(top_k).unwrap_or(c_int::MAX);
    context.top_p = top_p;
    context.repetition_penalty = repetition_penalty;
    context.max_tokens = saved.max_tokens;
    let ContextState { rng, session: old, sequence, .. } = state;
    (*rng, *old, *sequence) = (saved.rng, session, saved.sequence);
    (state.min_p, state.greedy) = (min_p, saved.greedy);
    Ok(())
}
