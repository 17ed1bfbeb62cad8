//! Settings of a context, and generation piece by piece.

use super::CLLMTokenCallback;
use crate::border::ffi;
use crate::border::host;
use crate::border::registry::lock;
use crate::headers::cllm_inference::CLLMInference;
use crate::headers::cllm_inference::context;
use crate::headers::cllm_inference::generation::Generation;
use crate::model::{subwords, words};
use cllm_engine::error::{Error, Result};
use cllm_engine::text::Utf8Stream;
use cllm_macros::c_api;
use std::ffi::{c_char, c_int, c_void};

/// Seeds the context's generator: the same seed, model, prompt and settings give the same text, also
/// in a context that generated before. For that the keys and values of earlier calls are forgotten:
/// computed one by one and in one pass they may differ in their last bits.
///
/// @return 0, or -1.
///
/// ```c
/// cllm_set_seed(inference, 42);
/// ```
///
/// # Safety
/// `inference` is NULL or live.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_set_seed(inference: *mut CLLMInference, seed: u64) -> c_int {
    lock(&*context::state(inference)?).generator.seed(seed);
    Ok(0)
}

/// Makes tokens that the sequence already holds less likely: positive logits are divided by
/// `penalty`, negative ones multiplied. 1 or 0: off. The same as writing `repetition_penalty`.
///
/// @return 0; -1 for NULL, a negative number or NaN.
///
/// ```c
/// cllm_set_repetition_penalty(inference, 1.2f);
/// ```
///
/// # Safety
/// `inference` is NULL or live.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_set_repetition_penalty(
    inference: *mut CLLMInference,
    penalty: f32,
) -> c_int {
    if !(penalty >= 0.0 && penalty.is_finite()) {
        return Err(Error::argument("penalty", penalty, "0 or more, and finite"));
    }
    context::live(inference)?.repetition_penalty = penalty;
    Ok(0)
}

/// Leaves out tokens less than `min_p` times as likely as the likeliest one, after top_k and top_p.
///
/// @param min_p  in [0, 1]; 0: off.
/// @return 0, or -1.
///
/// ```c
/// cllm_set_min_p(inference, 0.05f);
/// ```
///
/// # Safety
/// `inference` is NULL or live.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_set_min_p(inference: *mut CLLMInference, min_p: f32) -> c_int {
    let state = context::state(inference)?;
    if !(0.0..=1.0).contains(&min_p) {
        return Err(Error::argument("min_p", min_p, "from 0 to 1"));
    }
    lock(&state).generator.config_mut().min_p = min_p;
    Ok(0)
}

/// Always takes the likeliest token (the lowest id of equals), whatever the temperature.
///
/// @return 0, or -1.
///
/// ```c
/// cllm_set_greedy(inference, true);
/// ```
///
/// # Safety
/// `inference` is NULL or live.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_set_greedy(inference: *mut CLLMInference, greedy: bool) -> c_int {
    lock(&*context::state(inference)?).generator.config_mut().greedy = greedy;
    Ok(0)
}

/// Lets a generation draw what is no word of a text: `<PAD>`, `<UNK>`, `<BOS>`, `<MASK>`, an `<EOS>`
/// that training never met, and slots without a word. By default it does not, in a model with words:
/// they would not be shown, and texts would be shorter than was asked for. An `<EOS>` that training
/// met ends a generation either way; cllm_sample_token draws from all that it is given.
///
/// Whether training met it is what the model's counts say: those of the vocabulary that it got, and
/// the training loops count the `<EOS>` of their ids. Without any counts it may have been met.
///
/// @return 0, or -1.
///
/// ```c
/// cllm_set_allow_special(inference, true);   // the model's plain distribution
/// ```
///
/// # Safety
/// `inference` is NULL or live.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_set_allow_special(
    inference: *mut CLLMInference,
    allow: bool,
) -> c_int {
    lock(&*context::state(inference)?).allow_special = allow;
    Ok(0)
}

/// Threads for this context's forward passes, at most: a step too small to gain by more is computed by the
/// calling thread alone. A new context has 0. The text does not depend on their number.
///
/// @param threads  0: as cllm_set_threads() says.
/// @return 0, or -1.
///
/// ```c
/// cllm_inference_set_threads(inference, 0);
/// ```
///
/// # Safety
/// `inference` is NULL or live.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_inference_set_threads(
    inference: *mut CLLMInference,
    threads: c_int,
) -> c_int {
    let state = context::state(inference)?;
    lock(&state).generator.set_threads(ffi::len(threads, "the number of threads")?);
    Ok(0)
}

/// Forgets the keys and values of earlier calls. To be called after weights were changed by hand
/// between two calls of cllm_forward of which the second continues the first.
///
/// @return 0, or -1.
///
/// ```c
/// model->embeddings.embeddings[7] = 0.5f;
/// cllm_kv_cache_clear(inference);
/// ```
///
/// # Safety
/// `inference` is NULL or live.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_kv_cache_clear(inference: *mut CLLMInference) -> c_int {
    lock(&*context::state(inference)?).generator.clear_cache();
    Ok(0)
}

/// Continues a prompt and hands each new word to `callback` as soon as it is there; otherwise as
/// cllm_generate, but without its bound: `max_tokens` is all that limits the text, unless it ends
/// itself. Only the continuation is handed over, special tokens are not, and no lock is held
/// meanwhile.
///
/// Subwords come as whole UTF-8 characters: what a token begins waits for the token that ends it. A
/// character that is unfinished after `max_tokens` comes with cllm_continue_stream.
///
/// @param prompt    at least one word.
/// @param callback  gets each piece; returns false to stop.
/// @return new tokens, the hidden and the last one included; -1 on failure, also where the callback
///         has begun another generation in the context.
///
/// ```c
/// static bool show(const char *piece, size_t length, uint32_t token, void *file) {
///     (void)token;
///     return fwrite(piece, 1, length, (FILE *)file) == length;
/// }
/// cllm_generate_stream(inference, "to be or", show, stdout);
/// ```
///
/// # Safety
/// `inference` is NULL or live; `prompt` is NULL or a C string; `callback` may be called with
/// `user_data`.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_generate_stream(
    inference: *mut CLLMInference,
    prompt: *const c_char,
    callback: CLLMTokenCallback,
    user_data: *mut c_void,
) -> c_int {
    let generation = Generation::begin(inference, ffi::bytes(prompt, "prompt")?)?;
    stream(inference, generation, Utf8Stream::default(), callback, user_data)
}

/// Goes on with the sequence of the context's latest generation by up to `max_tokens` tokens,
/// handed over as by cllm_generate_stream: n tokens and then m are the same text as n + m at once.
/// The latest generation is that of the latest cllm_generate, cllm_generate_stream or
/// cllm_continue_stream, or the one of a restored state.
///
/// @param callback  gets each piece; returns false to stop.
/// @return new tokens, the hidden and the last one included; -1 on failure, also where nothing was
///         generated yet.
///
/// ```c
/// static bool show(const char *piece, size_t length, uint32_t token, void *file) {
///     (void)token;
///     return fwrite(piece, 1, length, (FILE *)file) == length;
/// }
/// cllm_generate_stream(inference, "to be or", show, stdout);
/// cllm_continue_stream(inference, show, stdout);
/// ```
///
/// # Safety
/// `inference` is NULL or live; `callback` may be called with `user_data`.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_continue_stream(
    inference: *mut CLLMInference,
    callback: CLLMTokenCallback,
    user_data: *mut c_void,
) -> c_int {
    let generation = Generation::resume(inference)?;
    let begun = match subwords::of(context::live(inference)?.model)? {
        Some(bpe) => {
            let state = context::state(inference)?;
            subwords::stream_behind(&bpe, lock(&state).generator.sequence())?
        }
        None => Utf8Stream::default(),
    };
    stream(inference, generation, begun, callback, user_data)
}

/// # Safety
/// As [`cllm_generate_stream`].
unsafe fn stream(
    inference: *mut CLLMInference,
    mut generation: Generation,
    mut characters: Utf8Stream,
    callback: CLLMTokenCallback,
    user_data: *mut c_void,
) -> Result<c_int> {
    let callback = callback.ok_or_else(|| Error::null("callback"))?;
    let give = |piece: &[u8], token: u32| {
        let (text, length) = (piece.as_ptr().cast(), piece.len());
        length == 0 || host::outside(|| callback(text, length, token, user_data))
    };
    let mut last = 0;
    while let Some(token) = generation.next()? {
        last = token;
        let piece = words::piece(context::live(inference)?.model, token, &mut characters)?;
        if !give(&piece, token) {
            return Ok(generation.made());
        }
    }
    if generation.ended() {
        give(&characters.finish(), last);
    }
    Ok(generation.made())
}
