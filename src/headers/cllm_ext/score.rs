//! What a model says of a text: how likely each token is, and a vector.

use super::training::pool_of;
use crate::border::ffi;
use crate::border::registry::lock;
use crate::headers::cllm::CLLMModel;
use crate::headers::cllm_inference::CLLMInference;
use crate::headers::cllm_inference::context::{self, ContextState};
use crate::headers::cllm_training::{CLLMTraining, loops};
use crate::model::kept;
use crate::model::words::{self, Rule};
use cllm_engine::Evaluation;
use cllm_engine::error::{Error, Result};
use cllm_engine::limits::MAX_TEXT_BYTES;
use cllm_engine::model::InferenceRef;
use cllm_engine::score::{Pooling, Windows};
use cllm_macros::c_api;
use std::ffi::{c_char, c_int};

/// An embedding is the mean of the vectors of all tokens.
pub const CLLM_POOLING_MEAN: c_int = 0;
/// An embedding is the vector of the last token.
pub const CLLM_POOLING_LAST: c_int = 1;

/// How well a model predicts a text, all in all.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CLLMScore {
    /// `sizeof(CLLMScore)`, which the program sets before the call: the fields that it knows of.
    pub struct_size: usize,
    /// Tokens that were predicted.
    pub tokens: u64,
    /// Bytes of the text, as the program said, or of the text that was given.
    pub bytes: u64,
    /// −ln of the probability of all predicted tokens together.
    pub nats: f64,
    /// nats / tokens, the mean loss; 0 where none was predicted. Perplexity is e^nats_per_token.
    pub nats_per_token: f64,
    /// nats / ln 2 / bytes. It compares models whatever their tokens are. NaN where `bytes` is 0.
    pub bits_per_byte: f64,
}

/// Refuses a struct of a program that knows of fewer fields than there ever were.
///
/// # Safety
/// `score` is NULL or points to a struct as large as its first field says.
unsafe fn check_score(score: *const CLLMScore) -> Result<()> {
    let size = *ffi::get(score.cast::<usize>(), "score")?;
    if size < size_of::<CLLMScore>() {
        return Err(Error::argument("score->struct_size", size, "sizeof(CLLMScore)"));
    }
    Ok(())
}

/// # Safety
/// [`check_score`] has found no fault.
unsafe fn set_score(score: *mut CLLMScore, found: &Evaluation, bytes: usize) -> Result<()> {
    let bytes = bytes as u64;
    let value = CLLMScore {
        struct_size: size_of::<CLLMScore>(),
        tokens: found.tokens as u64,
        bytes,
        nats: found.nats(),
        nats_per_token: found.mean_loss,
        bits_per_byte: found.bits_per_byte(bytes),
    };
    ffi::set_out(score, value, "score")
}

/// The windows for a stride from C.
fn windows(model: &InferenceRef, stride: c_int) -> Result<Windows> {
    match ffi::len(stride, "stride")? {
        0 => Ok(Windows::of(model)),
        stride => Windows::with_stride(model, stride),
    }
}

/// How likely each token of a text is, given the tokens before it. The first one has nothing before it
/// and is not scored; to have it scored, put a token in front that texts begin behind, such as `<EOS>`
/// if the model was trained with it.
///
/// Texts of any length: the model sees windows of as many tokens as it has positions (512 if it has
/// none), each `stride` tokens after the one before it. Every token is scored once, with at least
/// positions − stride tokens before it, where the text has them. A small stride shows each token more
/// of the text; stride s costs positions / s times the text. All of it runs as a prompt does, many
/// tokens at once, on the threads of the context (cllm_inference_set_threads), on whose number no bit
/// depends. Memory does not grow with the text. The context's generation and its keys and values are
/// not touched.
///
/// @param tokens      `[num_tokens]` ids below the vocabulary size.
/// @param num_tokens  at least 1.
/// @param stride      from 1 to the model's positions; 0: half of them.
/// @param bytes       of the text that the tokens stand for, for bits_per_byte; 0: not known.
/// @param log_probs   `[num_tokens]`, receives the natural logarithm of each token's probability; 0 for
///                    the first; may be NULL.
/// @param ranks       `[num_tokens]`, receives the place of each token among all tokens of the model by
///                    their probability: 1 for the likeliest, of equals the lower id first; 0 for the
///                    first token; may be NULL.
/// @param score       receives the sum, its `struct_size` set before; may be NULL.
/// @return 0; -1 on failure. The arrays may then hold a part of the scores where memory was
///         missing; otherwise all is unchanged.
///
/// ```c
/// uint32_t tokens[256];
/// float log_probs[256];
/// CLLMScore score = {.struct_size = sizeof score};
/// int n = cllm_tokenize(inference, line, tokens, 256);
/// if (cllm_score_tokens(inference, tokens, (size_t)n, 0, strlen(line), log_probs, NULL, &score) == 0)
///     printf("%.3f bits per byte\n", score.bits_per_byte);
/// ```
///
/// # Safety
/// `inference` is NULL or live; the arrays are NULL or hold `num_tokens` values; `score` is NULL or of
/// the size that it says.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_score_tokens(
    inference: *mut CLLMInference,
    tokens: *const u32,
    num_tokens: usize,
    stride: c_int,
    bytes: usize,
    log_probs: *mut f32,
    ranks: *mut u32,
    score: *mut CLLMScore,
) -> c_int {
    let tokens = ffi::input(tokens, num_tokens, "tokens", (ranks, num_tokens))?;
    let log_probs = ffi::slice_mut_opt(log_probs, num_tokens, "log_probs")?;
    let ranks = ffi::slice_mut_opt(ranks, num_tokens, "ranks")?;
    if !score.is_null() {
        check_score(score)?;
    }
    let found = run(inference, &tokens, stride, log_probs, ranks)?;
    set_score(score, &found, bytes)?;
    Ok(0)
}

/// Scores a text as cllm_score_tokens does its tokens; `bytes` is the length of the text. A model of
/// whole words is asked for its words: white space costs nothing, and unknown words what `<UNK>` costs.
///
/// @param text    `[length]` bytes with at least one token.
/// @param length  bytes of the text, at most 2^30; none of them ends it.
/// @param stride  as for cllm_score_tokens; 0: half of the model's positions.
/// @param score   receives the sum, its `struct_size` set before.
/// @return 0; -1 on failure, with `score` unchanged.
///
/// ```c
/// CLLMScore score = {.struct_size = sizeof score};
/// if (cllm_score_text(inference, line, strlen(line), 0, &score) == 0)
///     printf("%.3f bits per byte: %s\n", score.bits_per_byte, line);
/// ```
///
/// # Safety
/// `inference` is NULL or live; `text` is NULL or holds `length` bytes; `score` is NULL or of the size
/// that it says.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_score_text(
    inference: *mut CLLMInference,
    text: *const c_char,
    length: usize,
    stride: c_int,
    score: *mut CLLMScore,
) -> c_int {
    check_score(score)?;
    let ids = ids_of(inference, text, length)?;
    let found = run(inference, &ids, stride, None, None)?;
    set_score(score, &found, length)?;
    Ok(0)
}

/// # Safety
/// `inference` is NULL or live.
unsafe fn run(
    inference: *mut CLLMInference,
    ids: &[u32],
    stride: c_int,
    mut log_probs: Option<&mut [f32]>,
    mut ranks: Option<&mut [u32]>,
) -> Result<Evaluation> {
    let state = context::state(inference)?;
    let ContextState { generator, scorer, .. } = &mut *lock(&state);
    let running = kept::running(ffi::get(inference, "inference")?.model)?;
    let model = running.view();
    let windows = windows(&model, stride)?;
    let pool = generator.pool();
    let found = scorer.score(pool, &model, ids, windows, |i, token| {
        if let Some(log_probs) = &mut log_probs {
            log_probs[i] = token.log_prob;
        }
        if let Some(ranks) = &mut ranks {
            ranks[i] = token.rank;
        }
    })?;
    if let Some(log_probs) = log_probs {
        log_probs[0] = 0.0;
    }
    if let Some(ranks) = ranks {
        ranks[0] = 0;
    }
    Ok(found)
}

/// The ids of a text by the words of a context's model; an error where there are none.
///
/// # Safety
/// `inference` is NULL or live; `text` is NULL or holds `length` bytes.
unsafe fn ids_of(
    inference: *mut CLLMInference,
    text: *const c_char,
    length: usize,
) -> Result<Vec<u32>> {
    if length as u64 > MAX_TEXT_BYTES {
        return Err(Error::argument("length", length, "at most 2^30: longer text in parts"));
    }
    let text = ffi::slice(text.cast::<u8>(), length, "text")?;
    let model = context::live(inference)?.model;
    let ids = words::ids_of_text(model, text, Rule::Inference, usize::MAX)?;
    if ids.is_empty() {
        return Err(Error::argument("text", "empty", "at least one token"));
    }
    Ok(ids)
}

/// Dynamic evaluation (Krause et al., 2018): scores tokens as cllm_score_tokens does, by a model that goes on
/// learning: it takes a training step with each window as soon as that has been scored, so every token is
/// predicted before it is learnt. Compressors read a text so, and a program that adapts to what its user
/// writes. Texts that say things of their own again and again cost much less by it. Nothing else of
/// the training object is needed but its configuration, where `weight_decay` is 0, or the model
/// forgets: its tokens may be NULL. Afterwards the model is what it has become; save it before, if that
/// is to be kept.
///
/// Windows are those of cllm_score_tokens, but of `config.sequence_length` tokens.
///
/// @param training       made by cllm_training_init.
/// @param tokens         `[num_tokens]` ids below the vocabulary size.
/// @param num_tokens     at least 1.
/// @param bytes          of the text that the tokens stand for, for bits_per_byte; 0: not known.
/// @param stride         from 1 to the window; 0: half of it. Smaller ones learn more often.
/// @param learning_rate  0 or more, the same for all steps; 2e-4 is good for a small model. 0 learns nothing.
/// @param threads        0: as cllm_set_threads() says. The result is the same for any number.
/// @param log_probs      `[num_tokens]`, receives the natural logarithm of each token's probability; 0 for
///                       the first; may be NULL.
/// @param score          receives the sum, its `struct_size` set before; may be NULL.
/// @return 0; -1 on failure. Where memory was missing, a part may have been learnt and its scores
///         written; otherwise all is unchanged.
///
/// ```c
/// CLLMTrainingConfig config = {.batch_size = 1, .sequence_length = 128, .gradient_clip = 1};
/// CLLMTraining *training = cllm_training_init(model, &config);
/// CLLMScore score = {.struct_size = sizeof score};
/// if (cllm_dynamic_evaluation(training, ids, count, strlen(text), 0, 2e-4f, 0, NULL, &score) == 0)
///     printf("%.3f bits per byte, learnt on the way\n", score.bits_per_byte);
/// cllm_training_free(training);
/// ```
///
/// # Safety
/// `training` is NULL or live; one thread at a time. The arrays are NULL or hold `num_tokens` values;
/// `score` is NULL or of the size that it says.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_dynamic_evaluation(
    training: *mut CLLMTraining,
    tokens: *const u32,
    num_tokens: usize,
    bytes: usize,
    stride: c_int,
    learning_rate: f32,
    threads: c_int,
    log_probs: *mut f32,
    score: *mut CLLMScore,
) -> c_int {
    let tokens = ffi::slice(tokens, num_tokens, "tokens")?;
    let mut log_probs = ffi::slice_mut_opt(log_probs, num_tokens, "log_probs")?;
    if !score.is_null() {
        check_score(score)?;
    }
    let stride = ffi::len(stride, "stride")?;
    let pool = pool_of(threads)?;
    let found =
        loops::dynamic_evaluation(training, &pool, tokens, stride, learning_rate, |i, token| {
            if let Some(log_probs) = &mut log_probs {
                log_probs[i] = token.log_prob;
            }
        })?;
    if let Some(log_probs) = log_probs {
        log_probs[0] = 0.0;
    }
    set_score(score, &found, bytes)?;
    Ok(0)
}

/// cllm_evaluate with a result that also compares models of different tokens: windows of `seq_len`
/// tokens that don't see each other, in each of which token i+1 is predicted from those up to i.
///
/// @param tokens      `[num_tokens]`, at least 2.
/// @param bytes       of the text that the tokens stand for: 0 if that is not known.
/// @param seq_len     window, at least 1.
/// @param threads     0: as cllm_set_threads() says. The result is the same for any number.
/// @param score       receives the result, its `struct_size` set before.
/// @return 0; -1 on failure, with `score` unchanged. Ids that are not below the vocabulary size are left
///         out with a warning; where there are no others, that is a failure.
///
/// ```c
/// CLLMScore score = {.struct_size = sizeof score};
/// if (cllm_evaluate_bytes(model, ids, count, strlen(text), 128, 0, &score) == 0)
///     printf("%.3f nats a token, %.3f bits per byte\n", score.nats_per_token, score.bits_per_byte);
/// ```
///
/// # Safety
/// `model` is NULL or live and not trained meanwhile; `tokens` is NULL or holds `num_tokens` ids;
/// `score` is NULL or of the size that it says.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_evaluate_bytes(
    model: *mut CLLMModel,
    tokens: *const u32,
    num_tokens: usize,
    bytes: usize,
    seq_len: c_int,
    threads: c_int,
    score: *mut CLLMScore,
) -> c_int {
    check_score(score)?;
    let length = ffi::positive(seq_len, "seq_len")?;
    let pool = pool_of(threads)?;
    let tokens = ffi::slice(tokens, num_tokens, "tokens")?;
    let count = tokens.len();
    let found = super::evaluation::evaluate_ids(model, tokens.into(), count, length, &pool)?;
    set_score(score, &found, bytes)?;
    Ok(0)
}

/// The final hidden vector of each token: the stream after the last layer and the norm before the
/// logits, which are its products with the embeddings. The windows are those of cllm_score_tokens with
/// stride 0.
///
/// @param tokens      `[num_tokens]` ids below the vocabulary size.
/// @param num_tokens  at least 1.
/// @param hidden      `[num_tokens][d]`, receives the vectors.
/// @return 0; -1 on failure.
///
/// ```c
/// float *hidden = malloc(count * model->embedding_dim * sizeof *hidden);
/// if (cllm_hidden_states(inference, ids, count, hidden) != 0)
///     fprintf(stderr, "%s\n", cllm_last_error());
/// ```
///
/// # Safety
/// `inference` is NULL or live; `tokens` is NULL or holds `num_tokens` ids; `hidden` is NULL or has
/// room as said.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_hidden_states(
    inference: *mut CLLMInference,
    tokens: *const u32,
    num_tokens: usize,
    hidden: *mut f32,
) -> c_int {
    let tokens = ffi::slice(tokens, num_tokens, "tokens")?;
    let state = context::state(inference)?;
    let ContextState { generator, scorer, .. } = &mut *lock(&state);
    let running = kept::running(ffi::get(inference, "inference")?.model)?;
    let model = running.view();
    let len = cllm_kernels::memory::product("the hidden vectors", &[num_tokens, model.dim])?;
    let hidden = ffi::slice_mut(hidden, len, "hidden")?;
    let windows = Windows::of(&model);
    scorer.hidden_states(generator.pool(), &model, tokens, windows, hidden)?;
    Ok(0)
}

/// One vector for a text, made of its cllm_hidden_states: for search, for grouping, as input of another
/// program. Texts that the model goes on alike after have similar ones: compare them by the cosine of
/// the angle between them.
///
/// @param tokens      `[num_tokens]` ids below the vocabulary size.
/// @param num_tokens  at least 1.
/// @param pooling     CLLM_POOLING_MEAN, or CLLM_POOLING_LAST, for which only the last window of a long
///                    text is computed.
/// @param embedding   `[d]`, receives the vector.
/// @return 0; -1 on failure, with `embedding` unchanged.
///
/// ```c
/// float embedding[256];   // model->embedding_dim
/// cllm_embed_tokens(inference, ids, count, CLLM_POOLING_MEAN, embedding);
/// ```
///
/// # Safety
/// `inference` is NULL or live; `tokens` is NULL or holds `num_tokens` ids; `embedding` is NULL or has
/// room for d floats.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_embed_tokens(
    inference: *mut CLLMInference,
    tokens: *const u32,
    num_tokens: usize,
    pooling: c_int,
    embedding: *mut f32,
) -> c_int {
    let tokens = ffi::slice(tokens, num_tokens, "tokens")?;
    embed(inference, tokens, pooling, embedding)?;
    Ok(0)
}

/// cllm_embed_tokens for the tokens of a text.
///
/// @param text       `[length]` bytes with at least one token.
/// @param length     bytes of the text, at most 2^30; none of them ends it.
/// @param pooling    CLLM_POOLING_MEAN or CLLM_POOLING_LAST.
/// @param embedding  `[d]`, receives the vector.
/// @return 0; -1 on failure, with `embedding` unchanged.
///
/// ```c
/// float embedding[256];   // model->embedding_dim
/// cllm_embed_text(inference, line, strlen(line), CLLM_POOLING_MEAN, embedding);
/// ```
///
/// # Safety
/// `inference` is NULL or live; `text` is NULL or holds `length` bytes; `embedding` is NULL or has room
/// for d floats.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_embed_text(
    inference: *mut CLLMInference,
    text: *const c_char,
    length: usize,
    pooling: c_int,
    embedding: *mut f32,
) -> c_int {
    let ids = ids_of(inference, text, length)?;
    embed(inference, &ids, pooling, embedding)?;
    Ok(0)
}

/// # Safety
/// `inference` is NULL or live; `embedding` is NULL or has room for d floats.
unsafe fn embed(
    inference: *mut CLLMInference,
    ids: &[u32],
    pooling: c_int,
    embedding: *mut f32,
) -> Result<()> {
    let pooling = match pooling {
        CLLM_POOLING_MEAN => Pooling::Mean,
        CLLM_POOLING_LAST => Pooling::Last,
        other => return Err(Error::argument("pooling", other, "a CLLM_POOLING_… value")),
    };
    let state = context::state(inference)?;
    let ContextState { generator, scorer, .. } = &mut *lock(&state);
    let running = kept::running(ffi::get(inference, "inference")?.model)?;
    let model = running.view();
    let out = ffi::slice_mut(embedding, model.dim, "embedding")?;
    scorer.embed(generator.pool(), &model, ids, Windows::of(&model), pooling, out)
}
