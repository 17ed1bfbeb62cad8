//! Forward pass of a context, sampling, generation.

use super::CLLMInference;
use super::context::{self, ContextState};
use crate::border::ffi;
use crate::border::registry::lock;
use crate::model::view;
use crate::model::words::{self, Rule};
use cllm_engine::error::{Error, Result};
use cllm_engine::generate::sampler::{self, Settings};
use cllm_engine::generate::session::Session;
use cllm_engine::limits::DEFAULT_CONTEXT;
use cllm_engine::log;
use cllm_engine::nn::model::ModelRef;
use cllm_engine::rng;
use cllm_macros::c_api;
use rand::RngExt;
use std::ffi::{c_char, c_int};
use std::sync::Arc;

/// Runs `tokens` through the model: fills `inference->logits` `[V]` for the position after the last
/// token and `inference->hidden_states` `[d]` with that position's final hidden vector.
///
/// @param tokens      `[num_tokens]` ids below the vocabulary size.
/// @param num_tokens  at least 1. Positions beyond the model's tables share their last row.
///
/// On failure (NULL, a bad id, no embedding matrix, no buffers) logits and hidden_states are
/// unchanged and cllm_last_error says why. A call whose tokens begin with all those of the call
/// before, and go on, costs only the new positions. That relies on unchanged weights: changes by
/// the library are noticed, and so are tables replaced as a whole; after changing single weights
/// by hand in between call cllm_kv_cache_clear. The public KV cache is not used. Keys and values are
/// kept by the library: 8·L·d bytes a position, for all T positions at once where that is no more
/// than the weights, or 16 MiB.
///
/// # Safety
/// `inference` is NULL or live with buffers of V and d floats; `tokens` is NULL or holds
/// `num_tokens` ids.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_forward(
    inference: *mut CLLMInference,
    tokens: *mut u32,
    num_tokens: c_int,
) {
    let n = ffi::positive(num_tokens, "num_tokens")?;
    forward(inference, ffi::slice(tokens, n, "tokens")?)
}

/// # Safety
/// As [`cllm_forward`].
unsafe fn forward(inference: *mut CLLMInference, tokens: &[u32]) -> Result<()> {
    let state = context::state(inference)?;
    let state = &mut *lock(&state);
    let context = ffi::get(inference, "inference")?;
    let model = view::model(context.model)?;
    if let Some((vocab, dim)) = state.made_for.filter(|&m| m != (model.vocab, model.dim)) {
        return Err(Error::shape(format!(
            "the context was made for {vocab} tokens and width {dim}, the model now has {} and {}",
            model.vocab, model.dim
        )));
    }
    let hidden = ffi::slice_mut(context.hidden_states, model.dim, "hidden_states")?;
    let logits = ffi::slice_mut(context.logits, model.vocab, "logits")?;
    let stamp = stamp(context, &model);
    let ContextState { session, pool, .. } = state;
    session.run(&Arc::clone(pool), &model, stamp, tokens, hidden, logits)
}

/// Stands for the present state of the weights of the context's model.
pub(crate) fn stamp(context: &CLLMInference, model: &ModelRef) -> u64 {
    view::weights_version(context.model)
        ^ model.fingerprint()
        ^ (context.model.addr() as u64).rotate_left(32)
}

/// The settings of a context for one draw.
fn settings(context: &CLLMInference, state: &ContextState) -> Settings {
    let temperature = if state.greedy { 0.0 } else { context.temperature };
    Settings {
        temperature: if temperature.is_nan() { 1.0 } else { temperature },
        top_k: usize::try_from(context.top_k).unwrap_or(0),
        top_p: context.top_p,
        min_p: state.min_p,
        repetition_penalty: context.repetition_penalty,
    }
}

/// Turns `logits` in place into the probabilities that the context's temperature, top_k, top_p and
/// min-p leave, and draws a token from them. With temperature <= 0 or top_k 1 the likeliest token
/// (the lowest id of equals) is taken and the array becomes one-hot. Logits that give no distribution
/// (a NaN among them): all tokens are alike.
///
/// @param logits `[V]`.
/// @return the token; 0 on failure.
///
/// # Safety
/// `inference` is NULL or live; `logits` is NULL or holds V floats.
#[unsafe(no_mangle)]
#[c_api(0)]
pub unsafe extern "C" fn cllm_sample_token(
    inference: *mut CLLMInference,
    logits: *mut f32,
) -> c_int {
    let state = context::state(inference)?;
    let state = &mut *lock(&state);
    let context = ffi::get(inference, "inference")?;
    let vocab = view::vocab_size(ffi::get(context.model, "model")?)?;
    let logits = ffi::slice_mut(logits, vocab, "logits")?;
    let settings = settings(context, state);
    let token = sampler::choose(logits, &settings, &mut state.rng, &mut state.sampler);
    Ok(token as c_int)
}

/// One draw among the k most probable tokens (ties: the lower id first).
///
/// @param probs  `[vocab_size]`, unchanged; need not sum to 1.
/// @param k      <= 0 or above vocab_size: all.
/// @return the token; the most probable one where nothing is positive; 0 on failure.
///
/// Draws by libc's rand().
///
/// # Safety
/// `probs` is NULL or holds `vocab_size` floats.
#[unsafe(no_mangle)]
#[c_api(0)]
pub unsafe extern "C" fn cllm_sample_top_k(probs: *mut f32, vocab_size: c_int, k: c_int) -> u32 {
    let n = ffi::positive(vocab_size, "vocab_size")?;
    let probs = ffi::slice(probs, n, "probs")?;
    let k = usize::try_from(k).unwrap_or(0);
    Ok(sampler::draw_top_k(probs, k, uniform(), &mut sampler::Scratch::default()) as u32)
}

/// One draw from the smallest set of most probable tokens whose probabilities reach `p`.
///
/// @param probs  `[vocab_size]`, unchanged; need not sum to 1.
/// @param p      share of their sum; <= 0: the most probable token; >= 1: all; NaN: all.
/// @return the token; 0 on failure.
///
/// Draws by libc's rand().
///
/// # Safety
/// `probs` is NULL or holds `vocab_size` floats.
#[unsafe(no_mangle)]
#[c_api(0)]
pub unsafe extern "C" fn cllm_sample_top_p(probs: *mut f32, vocab_size: c_int, p: f32) -> u32 {
    let n = ffi::positive(vocab_size, "vocab_size")?;
    let probs = ffi::slice(probs, n, "probs")?;
    Ok(sampler::draw_top_p(probs, p, uniform(), &mut sampler::Scratch::default()) as u32)
}

/// A number in [0, 1) for the functions without a context.
fn uniform() -> f64 {
    rng::seeded(ffi::libc_seed()).random()
}

/// A generation at work: the whole sequence, and how far it may go.
pub(crate) struct Generation {
    inference: *mut CLLMInference,
    sequence: Vec<u32>,
    made: usize,
    wanted: usize,
    limit: usize,
    /// Whether the model's strings are words, so that `<EOS>` means the end.
    words: bool,
}

impl Generation {
    /// Begins with a prompt; an error if it has no tokens.
    ///
    /// # Safety
    /// `inference` is live.
    pub(crate) unsafe fn begin(inference: *mut CLLMInference, prompt: &[u8]) -> Result<Self> {
        context::check_live(inference)?;
        let context = ffi::get(inference, "inference")?;
        let sequence = words::ids_of_text(context.model, prompt, Rule::Inference, usize::MAX)?;
        if sequence.is_empty() {
            return Err(Error::argument("prompt", "empty", "at least one word"));
        }
        lock(&*context::state(inference)?).sequence.clone_from(&sequence);
        Self::over(inference, sequence)
    }

    /// Goes on with the sequence of the context's latest generation.
    ///
    /// # Safety
    /// As [`Generation::begin`].
    pub(crate) unsafe fn resume(inference: *mut CLLMInference) -> Result<Self> {
        context::check_live(inference)?;
        let sequence = lock(&*context::state(inference)?).sequence.clone();
        if sequence.is_empty() {
            return Err(Error::State("the context has no generation to go on with".into()));
        }
        Self::over(inference, sequence)
    }

    /// # Safety
    /// As [`Generation::begin`].
    unsafe fn over(inference: *mut CLLMInference, sequence: Vec<u32>) -> Result<Self> {
        let context = ffi::get(inference, "inference")?;
        let positions = ffi::get(context.model, "model")?.pos_encoding.max_length as usize;
        let mut limit = positions.max(DEFAULT_CONTEXT);
        let wanted = usize::try_from(context.max_tokens).unwrap_or(0);
        if sequence.len() + wanted.min(limit / 2) > limit {
            // A prompt longer than the limit is not cut: generation has room for half a
            // context behind it.
            limit = sequence.len() + limit / 2;
        }
        let words = words::has_real_strings(context.model)?;
        Ok(Self { inference, sequence, made: 0, wanted, limit, words })
    }

    /// Prompt and continuation.
    pub(crate) fn sequence(&self) -> &[u32] {
        &self.sequence
    }

    /// New tokens so far.
    pub(crate) fn made(&self) -> usize {
        self.made
    }

    /// The next token; `None` at the end.
    ///
    /// # Safety
    /// The context is live, with buffers as for [`cllm_forward`].
    pub(crate) unsafe fn next(&mut self) -> Result<Option<u32>> {
        if self.made >= self.wanted {
            return Ok(None);
        }
        if self.sequence.len() >= self.limit {
            log::warn(&format!(
                "generation ends after {} of {} tokens: the sequence has reached {}",
                self.made, self.wanted, self.limit
            ));
            return Ok(None);
        }
        let context = ffi::get(self.inference, "inference")?;
        let window = Session::window(&view::model(context.model)?, &self.sequence);
        forward(self.inference, window)?;
        let state = context::state(self.inference)?;
        let state = &mut *lock(&state);
        let vocab = view::vocab_size(ffi::get(context.model, "model")?)?;
        let logits = ffi::slice_mut(context.logits, vocab, "logits")?;
        let mut settings = settings(context, state);
        if settings.temperature > 0.0 {
            settings.temperature = settings.temperature.clamp(0.1, 2.0);
        }
        sampler::penalise(logits, &self.sequence, settings.repetition_penalty);
        let token = sampler::choose(logits, &settings, &mut state.rng, &mut state.sampler);
        let token = token as u32;
        if self.words && is_end(&words::word_of(context.model, token)?) {
            return Ok(None);
        }
        self.sequence.push(token);
        state.sequence.push(token);
        self.made += 1;
        Ok(Some(token))
    }
}

fn is_end(word: &[u8]) -> bool {
    word.eq_ignore_ascii_case(b"<EOS>")
}

/// Continues a prompt: `output` receives the prompt's words and the generated ones, joined by
/// spaces.
///
/// @param prompt             text; must hold at least one word.
/// @param output             `[max_output_length]` bytes, always NUL-terminated; words that don't
///                           fit are left out.
/// @param max_output_length  at least 1.
/// @return new tokens, 0 or more; -1 on NULL, a prompt without words (output then holds a sentence
///         that says so), or a failing forward pass.
///
/// Adds up to `max_tokens` tokens, chosen as in cllm_sample_token with the temperature clamped to
/// [0.1, 2.0] and the repetition penalty applied to all tokens of the sequence. Ends early at an
/// `<EOS>` token of a model with words (it is not counted), or when the sequence has reached the
/// larger of 512 and the model's context (with a warning). A sequence beyond the model's positions
/// goes on over its last part.
///
/// # Safety
/// `inference` is NULL or live; `prompt` is NULL or a C string; `output` is NULL or has room for
/// `max_output_length` bytes.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_generate(
    inference: *mut CLLMInference,
    prompt: *const c_char,
    output: *mut c_char,
    max_output_length: c_int,
) -> c_int {
    let room = ffi::positive(max_output_length, "max_output_length")?;
    let output = ffi::slice_mut(output.cast::<u8>(), room, "output")?;
    let prompt = ffi::bytes(prompt, "prompt")?;
    let mut generation = match Generation::begin(inference, prompt) {
        Ok(generation) => generation,
        Err(error) => {
            put(output, format!("Error: {error}").as_bytes());
            return Err(error);
        }
    };
    while generation.next()?.is_some() {}
    let model = ffi::get(inference, "inference")?.model;
    let (text, _) = words::text_of_ids(model, generation.sequence(), room, true)?;
    put(output, &text);
    Ok(c_int::try_from(generation.made()).unwrap_or(c_int::MAX))
}

/// Writes text and a NUL into a buffer of at least one byte, cut where it must be.
fn put(output: &mut [u8], text: &[u8]) {
    let n = text.len().min(output.len() - 1);
    output[..n].copy_from_slice(&text[..n]);
    output[n] = 0;
}
