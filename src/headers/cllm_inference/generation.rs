//! Forward pass of a context, sampling, generation.

use super::CLLMInference;
use super::context::{self, ContextState};
use crate::border::registry::lock;
use crate::border::{ffi, host};
use crate::headers::cllm::CLLMModel;
use crate::model::kept;
use crate::model::view;
use crate::model::words::{self, Rule};
use cllm_engine::error::{Error, Result};
use cllm_engine::generate::{Generator, Sampler};
use cllm_engine::limits::DEFAULT_CONTEXT;
use cllm_engine::log;
use cllm_engine::model::InferenceRef;
use cllm_kernels::memory::{copied, filled, reserve};
use cllm_macros::c_api;
use std::ffi::{c_char, c_int};
use std::ops::ControlFlow;
use std::sync::Mutex;

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
    let tokens = ffi::slice(tokens, n, "tokens")?;
    let state = context::state(inference)?;
    let state = &mut *lock(&state);
    let context = ffi::get(inference, "inference")?;
    let running = kept::running(context.model)?;
    let model = running.view();
    let (hidden, logits) = buffers(context, state.made_for, &model)?;
    state.generator.forward(&model, tokens, hidden, logits)
}

/// The hidden vector and the logits of a context whose model is still of the sizes that they were
/// made for.
///
/// # Safety
/// The fields are NULL or buffers of d and V floats that nothing else uses during `'a`.
unsafe fn buffers<'a>(
    context: &CLLMInference,
    made_for: Option<(usize, usize)>,
    model: &InferenceRef,
) -> Result<(&'a mut [f32], &'a mut [f32])> {
    if let Some((vocab, dim)) = made_for.filter(|&m| m != (model.vocab, model.dim)) {
        return Err(Error::shape(format!(
            "the context was made for {vocab} tokens and width {dim}, the model now has {} and {}",
            model.vocab, model.dim
        )));
    }
    Ok((
        ffi::slice_mut(context.hidden_states, model.dim, "hidden_states")?,
        ffi::slice_mut(context.logits, model.vocab, "logits")?,
    ))
}

/// Turns `logits` in place into the probabilities that the context's temperature, top_k, top_p and
/// min-p leave, and draws a token from them: any of them, special words too (see
/// cllm_set_allow_special). With temperature <= 0 or top_k 1 the likeliest token (the lowest id of
/// equals) is taken and the array becomes one-hot. Logits that give no distribution
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
    context::read_settings(context, state.generator.config_mut());
    Ok(state.generator.sample(logits) as c_int)
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
    Ok(Sampler::new(ffi::libc_seed()).top_k(probs, k))
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
    Ok(Sampler::new(ffi::libc_seed()).top_p(probs, p))
}

/// A loop over the tokens of a context's generation. No lock is held between two of them: the program
/// may do with the context what it likes.
pub(crate) struct Generation {
    inference: *mut CLLMInference,
    /// Which of the context's generations this is.
    number: u64,
    made: usize,
    wanted: usize,
    /// Tokens of the sequence at the beginning, and at most.
    length: usize,
    limit: usize,
}

impl Generation {
    /// Begins with a prompt; an error if it has no tokens.
    ///
    /// # Safety
    /// `inference` is NULL or live.
    pub(crate) unsafe fn begin(inference: *mut CLLMInference, prompt: &[u8]) -> Result<Self> {
        let model = context::live(inference)?.model;
        let prompt = words::ids_of_text(model, prompt, Rule::Inference, usize::MAX)?;
        if prompt.is_empty() {
            return Err(Error::argument("prompt", "empty", "at least one word"));
        }
        Self::over(inference, |generator| generator.prompt(&prompt))
    }

    /// Goes on with the sequence of the context's latest generation.
    ///
    /// # Safety
    /// As [`Generation::begin`].
    pub(crate) unsafe fn resume(inference: *mut CLLMInference) -> Result<Self> {
        Self::over(inference, Generator::resume)
    }

    /// # Safety
    /// As [`Generation::begin`].
    unsafe fn over(
        inference: *mut CLLMInference,
        start: impl FnOnce(&mut Generator) -> Result<()>,
    ) -> Result<Self> {
        let context = context::live(inference)?;
        let state = context::state(inference)?;
        let ContextState { generator, generations, allow_special, .. } = &mut *lock(&state);
        let (ends, never) = special_tokens(context.model, *allow_special)?;
        start(generator)?;
        *generations += 1;
        let config = generator.config_mut();
        (config.stop_tokens, config.suppress_tokens) = (ends, never);
        let wanted = usize::try_from(context.max_tokens).unwrap_or(0);
        let length = generator.sequence().len();
        Ok(Self { inference, number: *generations, made: 0, wanted, length, limit: usize::MAX })
    }

    /// Lets the sequence grow to 512 tokens or the model's context, whichever is more.
    ///
    /// # Safety
    /// As [`Generation::begin`].
    unsafe fn limited(mut self) -> Result<Self> {
        let context = context::live(self.inference)?;
        let positions = ffi::get(context.model, "model")?.pos_encoding.max_length as usize;
        self.limit = positions.max(DEFAULT_CONTEXT);
        if self.length + self.wanted.min(self.limit / 2) > self.limit {
            // A prompt longer than the limit is not cut: generation has room for half a context
            // behind it.
            self.limit = self.length + self.limit / 2;
        }
        Ok(self)
    }

    /// New tokens so far.
    pub(crate) fn made(&self) -> c_int {
        c_int::try_from(self.made).unwrap_or(c_int::MAX)
    }

    /// Whether the text has ended before as many tokens as were wanted.
    pub(crate) fn ended(&self) -> bool {
        self.made < self.wanted
    }

    /// The next token; `None` at the end.
    ///
    /// # Safety
    /// The context is live, with buffers as for [`cllm_forward`].
    pub(crate) unsafe fn next(&mut self) -> Result<Option<u32>> {
        if self.made == self.wanted {
            return Ok(None);
        }
        if self.length + self.made == self.limit {
            log::warn(&format!(
                "generation ends after {} of {} tokens: the sequence has reached {}",
                self.made, self.wanted, self.limit
            ));
            return Ok(None);
        }
        let state = context::state(self.inference)?;
        let mask = match self.mask(&state)? {
            ControlFlow::Continue(mask) => mask,
            ControlFlow::Break(()) => return Ok(None),
        };
        let ContextState { generator, generations, made_for, .. } = &mut *lock(&state);
        if *generations != self.number {
            return Err(Error::state("another generation of the context began meanwhile"));
        }
        let context = ffi::get(self.inference, "inference")?;
        let running = kept::running(context.model)?;
        let model = running.view();
        let (hidden, logits) = buffers(context, *made_for, &model)?;
        let config = generator.config_mut();
        context::read_settings(context, config);
        if config.temperature > 0.0 {
            config.temperature = config.temperature.clamp(0.1, 2.0);
        }
        config.max_tokens = self.wanted;
        let token = match mask {
            Some(mask) => generator.next_among(&model, hidden, logits, &mask)?,
            None => generator.next_into(&model, hidden, logits)?,
        };
        self.made += usize::from(token.is_some());
        Ok(token)
    }

    /// What the program's callback says of the tokens that may come next, if it has one; breaks where the
    /// text is to end.
    ///
    /// # Safety
    /// As [`Generation::next`].
    unsafe fn mask(
        &self,
        state: &Mutex<ContextState>,
    ) -> Result<ControlFlow<(), Option<Vec<bool>>>> {
        let (callback, user_data, sequence) = {
            let state = lock(state);
            let Some((Some(callback), user_data)) = state.allowed else {
                return Ok(ControlFlow::Continue(None));
            };
            (callback, user_data, copied("the sequence", state.generator.sequence())?)
        };
        let vocab = view::vocab_size(view::live(context::live(self.inference)?.model)?)?;
        let mut allowed = filled::<u8>("the tokens that may be drawn", vocab)?;
        allowed.fill(1);
        let (tokens, n, mask) = (sequence.as_ptr(), sequence.len(), allowed.as_mut_ptr());
        if !host::outside(|| callback(tokens, n, mask, vocab, user_data.0)) {
            return Ok(ControlFlow::Break(()));
        }
        let mut mask = Vec::new();
        reserve("the tokens that may be drawn", &mut mask, vocab)?;
        mask.extend(allowed.iter().map(|&allowed| allowed != 0));
        Ok(ControlFlow::Continue(Some(mask)))
    }
}

/// The tokens that end a text of a model, and those that are never drawn; none where it has no words.
///
/// # Safety
/// `model` is NULL or live.
pub(crate) unsafe fn special_tokens(
    model: *mut CLLMModel,
    allow_special: bool,
) -> Result<(Vec<u32>, Vec<u32>)> {
    if !words::has_real_strings(model)? {
        return Ok(Default::default());
    }
    let never = if allow_special { Vec::new() } else { words::never_drawn(model)? };
    Ok((words::end_tokens(model)?, never))
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
/// [0.1, 2.0] and the repetition penalty applied to all tokens of the sequence. Of a model with words
/// the special words are left out, unless cllm_set_allow_special lets them in; so is an `<EOS>` that
/// training never met (as the model's counts say, if it has any). Ends early at any other `<EOS>` (it
/// is not counted), or when the sequence has reached the larger of 512 and the model's context (with
/// a warning; cllm_generate_stream has no such bound). A sequence beyond the model's positions goes on
/// over its last part.
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
    let begun = Generation::begin(inference, prompt);
    let mut generation = match begun.and_then(|generation| generation.limited()) {
        Ok(generation) => generation,
        Err(error) => {
            put(output, format!("Error: {error}").as_bytes());
            return Err(error);
        }
    };
    while generation.next()?.is_some() {}
    let model = ffi::get(inference, "inference")?.model;
    let state = context::state(inference)?;
    let (text, _) = words::text_of_ids(model, lock(&state).generator.sequence(), room, true)?;
    put(output, &text);
    Ok(generation.made())
}

/// Writes text and a NUL into a buffer of at least one byte, cut where it must be.
fn put(output: &mut [u8], text: &[u8]) {
    let n = text.len().min(output.len() - 1);
    output[..n].copy_from_slice(&text[..n]);
    output[n] = 0;
}
