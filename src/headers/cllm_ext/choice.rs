//! What may come next: the likeliest tokens and words, and the choice that a program leaves.

use super::{CLLMAllowedCallback, CLLMWordCallback};
use crate::border::ffi;
use crate::border::host;
use crate::border::registry::lock;
use crate::headers::cllm_inference::context::{self, ContextState};
use crate::headers::cllm_inference::generation::special_tokens;
use crate::headers::cllm_inference::{CLLMInference, IndexProb};
use crate::headers::cllm_training::state::UserData;
use crate::model::kept;
use crate::model::subwords;
use crate::model::view;
use crate::model::words::{self, Rule};
use cllm_engine::error::{Error, Result};
use cllm_engine::generate::GeneratorConfig;
use cllm_engine::score::{WordSearch, typed_white_space, white_space_ends};
use cllm_kernels::memory::copied;
use cllm_macros::c_api;
use std::ffi::{c_char, c_int, c_void};

/// The likeliest tokens after a sequence, with their probabilities, without drawing any: likeliest
/// first, of equals the lower id. Left out is what a generation would not draw: special words (see
/// cllm_set_allow_special) and what cllm_set_allowed_tokens does not allow; an `<EOS>` that training met
/// is among them. The probabilities of all others sum to 1: temperature, top_k, top_p, min-p, repetition
/// penalty and the callback of cllm_set_allowed_callback take no part. A sequence beyond the model's
/// positions is seen as a generation sees it, by its last part.
///
/// The result depends on the sequence and the model alone; the context's generation and its keys and
/// values are not touched.
///
/// @param tokens      `[num_tokens]` ids below the vocabulary size.
/// @param num_tokens  at least 1.
/// @param next        `[count]`, receives ids and probabilities.
/// @param count       how many are wanted, at least 1.
/// @return how many there are: `count`, or fewer where the model has no more; -1 on failure.
///
/// ```c
/// IndexProb next[3];
/// int found = cllm_next_tokens(inference, ids, count, next, 3);
/// for (int i = 0; i < found; i++) printf("%d: %.3f\n", next[i].idx, next[i].prob);
/// ```
///
/// # Safety
/// `inference` is NULL or live; `tokens` is NULL or holds `num_tokens` ids; `next` is NULL or has room
/// for `count`.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_next_tokens(
    inference: *mut CLLMInference,
    tokens: *const u32,
    num_tokens: usize,
    next: *mut IndexProb,
    count: c_int,
) -> c_int {
    let count = ffi::positive(count, "count")?;
    let tokens = ffi::slice(tokens, num_tokens, "tokens")?;
    if next.is_null() {
        return Err(Error::null("next"));
    }
    let model = context::live(inference)?.model;
    let state = context::state(inference)?;
    let ContextState { generator, scorer, allow_special, .. } = &mut *lock(&state);
    let config = choice(model, generator.config(), *allow_special)?;
    let running = kept::running(model)?;
    let model = running.view();
    // Room for more than the model has need not be there.
    let count = count.min(model.vocab);
    let found = scorer.next_tokens(generator.pool(), &model, tokens, &config, count)?;
    let out = ffi::slice_mut(next, found.len(), "next")?;
    for (out, token) in out.iter_mut().zip(&found) {
        *out = IndexProb { idx: token.id as c_int, prob: token.probability };
    }
    Ok(found.len() as c_int)
}

/// The likeliest words after a text, likeliest first, as a keyboard or a search box suggests them. A
/// word may be several tokens: it ends before white space, and where the text ends; it is found by a
/// beam search as wide as four times `num_words` (16 at least, 1,024 at most), and has up to 8 tokens.
/// Its probability is that of its tokens and of an end behind them; ways to spell it that the search met
/// are added up. Where the tokens of the model are not whole words and the prompt ends inside of a word,
/// what is found goes on with it; where it ends in white space, what is found is given without that white
/// space, and given that it is there.
///
/// Left out is what cllm_next_tokens leaves out. Of a prompt beyond the model's positions the last part
/// is seen. The result depends on prompt and model alone.
///
/// @param prompt     at least one word.
/// @param num_words  how many are wanted, 1 to 256.
/// @param callback   gets each word; returns false to end the list. No lock is held meanwhile.
/// @return how many words `callback` got; -1 on failure.
///
/// ```c
/// static bool show(const char *word, size_t length, float probability, void *file) {
///     return fprintf(file, "%.3f%.*s\n", probability, (int)length, word) > 0;
/// }
/// cllm_next_words(inference, "connection refused", 3, show, stdout);
/// ```
///
/// # Safety
/// `inference` is NULL or live; `prompt` is NULL or a C string; `callback` may be called with
/// `user_data`.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_next_words(
    inference: *mut CLLMInference,
    prompt: *const c_char,
    num_words: c_int,
    callback: CLLMWordCallback,
    user_data: *mut c_void,
) -> c_int {
    let search = WordSearch::new(ffi::positive(num_words, "num_words")?);
    let callback = callback.ok_or_else(|| Error::null("callback"))?;
    let prompt = ffi::bytes(prompt, "prompt")?;
    let model = context::live(inference)?.model;
    let (prompt, begun) = match subwords::of(model)? {
        Some(_) => typed_white_space(prompt),
        // White space stands between whole words, and is none of them.
        None => (prompt, None),
    };
    let search = WordSearch { begun, ..search };
    let ids = words::ids_of_text(model, prompt, Rule::Inference, usize::MAX)?;
    if ids.is_empty() {
        return Err(Error::argument("prompt", "empty", "at least one word"));
    }
    let found = {
        let state = context::state(inference)?;
        let ContextState { generator, scorer, allow_special, .. } = &mut *lock(&state);
        let config = choice(model, generator.config(), *allow_special)?;
        let spell = words::spellings(model)?;
        let (pool, running) = (generator.pool(), kept::running(model)?);
        scorer.next_words(pool, &running.view(), &ids, &config, search, spell, white_space_ends)?
    };
    let mut given = 0;
    for word in &found {
        given += 1;
        let (text, length) = (word.text.as_ptr().cast(), word.text.len());
        if !host::outside(|| callback(text, length, word.probability, user_data)) {
            break;
        }
    }
    Ok(given)
}

/// Which tokens a generation of the context could draw now.
///
/// # Safety
/// `model` is NULL or live.
unsafe fn choice(
    model: *mut crate::headers::cllm::CLLMModel,
    config: &GeneratorConfig,
    allow_special: bool,
) -> Result<GeneratorConfig> {
    let (_, suppress_tokens) = special_tokens(model, allow_special)?;
    let allowed_tokens = match &config.allowed_tokens {
        Some(ids) => Some(copied("the allowed tokens", ids)?),
        None => None,
    };
    Ok(GeneratorConfig { suppress_tokens, allowed_tokens, ..GeneratorConfig::default() })
}

/// Lets the context's generations draw these tokens only: the words of an enumeration, digits, the
/// letters of a file name. `<EOS>` ends a generation only if it is one of them, and special words that
/// are not drawn (cllm_set_allow_special) stay out. Where nothing is left, a generation is an error.
/// cllm_sample_token draws from all that it is given; a saved state does not hold the list.
///
/// @param tokens      `[num_tokens]` ids below the vocabulary size, copied; NULL: all tokens.
/// @param num_tokens  how many.
/// @return 0; -1 on failure, with the list as before.
///
/// ```c
/// char output[256];
/// uint32_t answers[2] = {cllm_find_token(tokenizer, "yes"), cllm_find_token(tokenizer, "no")};
/// cllm_set_allowed_tokens(inference, answers, 2);
/// cllm_set_max_tokens(inference, 1);
/// cllm_generate(inference, "is the sky blue", output, 256);
/// cllm_set_allowed_tokens(inference, NULL, 0);
/// ```
///
/// # Safety
/// `inference` is NULL or live; `tokens` is NULL or holds `num_tokens` ids.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_set_allowed_tokens(
    inference: *mut CLLMInference,
    tokens: *const u32,
    num_tokens: usize,
) -> c_int {
    let vocab = view::vocab_size(view::live(context::live(inference)?.model)?)?;
    let tokens = ffi::slice_opt(tokens, num_tokens, "tokens")?;
    if let Some(id) = tokens.unwrap_or_default().iter().find(|&&id| id as usize >= vocab) {
        return Err(Error::argument("a token id", id, "below the model's vocabulary size"));
    }
    let allowed = match tokens {
        Some(tokens) => Some(copied("the allowed tokens", tokens)?),
        None => None,
    };
    lock(&*context::state(inference)?).generator.config_mut().allowed_tokens = allowed;
    Ok(0)
}

/// Has `callback` asked before each token of the context's generations which ones may come: for what
/// depends on the text so far, such as a grammar. It narrows what cllm_set_allowed_tokens and
/// cllm_set_allow_special leave. Where nothing is left, the generation is an error; what it made until
/// then stays its sequence.
///
/// @param callback   NULL: none.
/// @param user_data  handed to the callback.
/// @return 0, or -1.
///
/// ```c
/// static bool no_repeats(const uint32_t *tokens, size_t num_tokens, unsigned char *allowed,
///                        size_t vocab_size, void *user_data) {
///     (void)vocab_size, (void)user_data;
///     for (size_t i = 0; i < num_tokens; i++) allowed[tokens[i]] = 0;
///     return num_tokens < 20;
/// }
/// cllm_set_allowed_callback(inference, no_repeats, NULL);
/// ```
///
/// # Safety
/// `inference` is NULL or live; `callback` may be called with `user_data` until another one is set or
/// the context is freed.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_set_allowed_callback(
    inference: *mut CLLMInference,
    callback: CLLMAllowedCallback,
    user_data: *mut c_void,
) -> c_int {
    let state = context::state(inference)?;
    lock(&state).allowed = callback.map(|_| (callback, UserData(user_data)));
    Ok(0)
}
