//! Contexts: making, configuring, freeing them.

use super::CLLMInference;
use crate::border::ffi::{self, CArray};
use crate::border::registry::{Registry, lock};
use crate::headers::cllm::CLLMModel;
use crate::headers::cllm_ext::CLLMAllowedCallback;
use crate::headers::cllm_training::state::UserData;
use crate::model::view;
use cllm_engine::error::{Error, Result};
use cllm_engine::generate::{Generator, GeneratorConfig};
use cllm_engine::score::Scorer;
use cllm_macros::c_api;
use std::ffi::c_int;
use std::sync::{Arc, Mutex};

/// What a context keeps besides its public fields.
pub(crate) struct ContextState {
    /// Sequence, random numbers, cache, settings; those that are public fields are read before use.
    pub generator: Generator,
    /// Generations that were begun, continued or restored: a loop that calls the program in between
    /// sees whether the sequence is still its own.
    pub generations: u64,
    /// Special words may be drawn in a generation.
    pub allow_special: bool,
    /// What the program says before each token of a generation.
    pub allowed: Option<(CLLMAllowedCallback, UserData)>,
    /// Works apart from the generation.
    pub scorer: Scorer,
    /// V and d that the context's own buffers were made for; `None` in a context that the program
    /// made itself.
    pub made_for: Option<(usize, usize)>,
}

static CONTEXTS: Registry<ContextState> = Registry::new("inference");

fn new_state(made_for: Option<(usize, usize)>) -> Result<ContextState> {
    let generator = Generator::new(GeneratorConfig::default(), ffi::libc_seed())?;
    Ok(ContextState {
        generator,
        generations: 0,
        allow_special: false,
        allowed: None,
        scorer: Scorer::new(),
        made_for,
    })
}

/// The state of a context; one that the program made itself gets it when it is first needed.
pub(crate) fn state(inference: *const CLLMInference) -> Result<Arc<Mutex<ContextState>>> {
    match CONTEXTS.find(inference)? {
        Some(state) => Ok(state),
        None => Ok(CONTEXTS.insert(inference, new_state(None)?)),
    }
}

/// The public fields of a context that was not freed.
///
/// # Safety
/// `inference` is NULL, live or freed, and nothing else uses it during `'a`.
pub(crate) unsafe fn live<'a>(inference: *mut CLLMInference) -> Result<&'a mut CLLMInference> {
    check_live(inference)?;
    ffi::get_mut(inference, "inference")
}

/// Refuses a context that was freed.
pub(crate) fn check_live(inference: *const CLLMInference) -> Result<()> {
    CONTEXTS.find(inference).map(|_| ())
}

/// The settings that are public fields, as they are now.
pub(crate) fn read_settings(context: &CLLMInference, config: &mut GeneratorConfig) {
    let count = |n: c_int| usize::try_from(n).unwrap_or(0);
    config.temperature = context.temperature;
    config.top_k = count(context.top_k);
    config.top_p = context.top_p;
    config.repetition_penalty = context.repetition_penalty;
    config.max_tokens = count(context.max_tokens);
}

/// The way back, for a state that was restored.
pub(crate) fn write_settings(config: &GeneratorConfig, context: &mut CLLMInference) {
    let count = |n: usize| c_int::try_from(n).unwrap_or(c_int::MAX);
    context.temperature = config.temperature;
    context.top_k = count(config.top_k);
    context.top_p = config.top_p;
    context.repetition_penalty = config.repetition_penalty;
    context.max_tokens = count(config.max_tokens);
}

/// Makes a context for generating with a model.
///
/// @param model  borrowed: must outlive the context. Many contexts may share a model that nobody
///               trains.
/// @return the context, to be freed with cllm_inference_cleanup; NULL for NULL, a model without
///         sizes, or no memory. Missing matrices are reported later, by cllm_forward.
///
/// Fields afterwards: temperature 1.0, top_p 0.9, top_k 50, max_tokens 50, repetition_penalty 0
/// (off), no KV cache, `hidden_states` `[d]` and `logits` `[V]` zeroed. The generator is seeded by
/// two draws of rand(): call srand for another sequence, or cllm_set_seed.
///
/// # Safety
/// `model` is NULL or live.
#[unsafe(no_mangle)]
#[c_api(std::ptr::null_mut())]
pub unsafe extern "C" fn cllm_inference_init(model: *mut CLLMModel) -> *mut CLLMInference {
    view::MODELS.find(model)?;
    let m = view::live(model)?;
    let (vocab, dim) = (view::vocab_size(m)?, view::embedding_dim(m)?);
    let mut context = CArray::<CLLMInference>::zeroed("the context", 1)?;
    let hidden_states = CArray::<f32>::zeroed("the hidden vector", dim)?;
    let logits = CArray::<f32>::zeroed("the logits", vocab)?;
    let state = new_state(Some((vocab, dim)))?;
    let inference = &mut context.as_mut_slice()[0];
    inference.model = model;
    inference.temperature = 1.0;
    inference.top_p = 0.9;
    inference.top_k = 50;
    inference.max_tokens = 50;
    inference.hidden_states = hidden_states.into_raw();
    inference.logits = logits.into_raw();
    let context = context.into_raw();
    CONTEXTS.insert(context, state);
    Ok(context)
}

/// Frees a context with its `hidden_states` and `logits`. The model is not touched; caches that the
/// program installed stay the program's. NULL is fine; a context that is freed already is
/// reported. Of a context that the program made itself only the private state is dropped: its
/// memory stays the program's.
///
/// # Safety
/// `inference` is NULL or a context that nothing uses any more.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_inference_cleanup(inference: *mut CLLMInference) {
    if inference.is_null() {
        return Ok(());
    }
    CONTEXTS.find(inference)?;
    let Some(state) = CONTEXTS.remove(inference) else { return Ok(()) };
    if lock(&state).made_for.is_none() {
        return Ok(());
    }
    // SAFETY: cllm_inference_init made it; the buffers are blocks of malloc, the program's
    // replacements likewise.
    unsafe {
        let context = ffi::get_mut(inference, "inference")?;
        ffi::free(std::mem::replace(&mut context.hidden_states, std::ptr::null_mut()));
        ffi::free(std::mem::replace(&mut context.logits, std::ptr::null_mut()));
        CONTEXTS.retire(inference);
    }
    Ok(())
}

fn number(value: f32, name: &'static str) -> Result<f32> {
    if value.is_nan() { Err(Error::argument(name, value, "a number")) } else { Ok(value) }
}

/// Sets the temperature, clamped to [0.1, 2.0]. For greedy generation set top_k to 1, or write 0
/// into the field, or call cllm_set_greedy. NaN: nothing changes.
///
/// # Safety
/// `inference` is NULL or live.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_set_temperature(inference: *mut CLLMInference, temperature: f32) {
    live(inference)?.temperature = number(temperature, "temperature")?.clamp(0.1, 2.0);
    Ok(())
}

/// Sets the mass of the nucleus, clamped to [0, 1]; 0 and 1: no limit. NaN: nothing changes.
///
/// # Safety
/// `inference` is NULL or live.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_set_top_p(inference: *mut CLLMInference, top_p: f32) {
    live(inference)?.top_p = number(top_p, "top_p")?.clamp(0.0, 1.0);
    Ok(())
}

/// Sets how many of the likeliest tokens may be drawn; 0 or less: all of them.
///
/// # Safety
/// `inference` is NULL or live.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_set_top_k(inference: *mut CLLMInference, top_k: c_int) {
    live(inference)?.top_k = top_k.max(0);
    Ok(())
}

/// Sets how many tokens cllm_generate adds; 0 or less: 512.
///
/// # Safety
/// `inference` is NULL or live.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_set_max_tokens(inference: *mut CLLMInference, max_tokens: c_int) {
    live(inference)?.max_tokens = if max_tokens > 0 { max_tokens } else { 512 };
    Ok(())
}
