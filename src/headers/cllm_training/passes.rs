//! Forward pass, loss and gradients of one batch, step by step.

use super::state::{TrainingState, batch_shape, with_training};
use super::{CLLMTraining, buffers};
use crate::border::ffi;
use crate::model::view::model_of;
use cllm_engine::error::{Error, Result};
use cllm_engine::model::ModelRef;
use cllm_engine::nn::loss::Targets;
use cllm_engine::train::Weights;
use cllm_kernels::cross_entropy::log_sum_exp;
use cllm_kernels::{Pool, Work};
use cllm_macros::c_api;
use std::ffi::c_int;

/// Forward pass of B sequences of S tokens (B, S of `training->config`). Fills the public
/// activation buffers, the attention cache if `store_attention_weights` is set, and `logits`.
///
/// @param input_tokens `[B*S]` ids; one that is not below the vocabulary size contributes a zero
///                     embedding.
/// @return 0.0 always, also on failure (buffers then unchanged, cllm_last_error says why).
///
/// If B or S grew since init the buffers grow first, and the public pointers change.
///
/// # Safety
/// `training` is NULL or live and used by one thread; `input_tokens` is NULL or holds B*S ids.
#[unsafe(no_mangle)]
#[c_api(0.0)]
pub unsafe extern "C" fn cllm_forward_training(
    training: *mut CLLMTraining,
    input_tokens: *mut u32,
) -> f32 {
    with_training(training, |t, state| {
        let (batch, positions) = batch_shape(&t.config)?;
        let rows = cllm_kernels::memory::product("the batch", &[batch, positions])?;
        let tokens = ffi::slice(input_tokens, rows, "input_tokens")?;
        forward(t, state, tokens, batch, positions)
    })?;
    Ok(0.0)
}

/// # Safety
/// As [`Buffers::view`](super::weights::Buffers::view).
unsafe fn forward(
    t: &mut CLLMTraining,
    state: &mut TrainingState,
    tokens: &[u32],
    batch: usize,
    positions: usize,
) -> Result<()> {
    let plan = state.buffers.plan(t)?;
    let model = model_of(&plan)?;
    buffers::resize(t, state, tokens.len(), positions)?;
    state.input.clear();
    let pool = Pool::automatic();
    state.trainer.workspace.forward(&pool, &model, tokens, batch, None, None)?;
    // Its products are those of the second half of each layer, and of the logits.
    let operations = tokens.len().saturating_mul(model.weights());
    let size = Work { operations, loops: 4 * model.params.layers.len() };
    pool.step(size, |pool| buffers::publish(pool, t, state, &model, batch, positions))?;
    state.input.extend_from_slice(tokens);
    Ok(())
}

/// Mean loss `−ln softmax(logits)[target]` of `training->logits`, over the targets below the
/// vocabulary size; 0 if there are none.
///
/// @param target_tokens `[B*S]` ids.
/// @return the loss in nats per token; 0.0 on failure. Before any forward pass the logits are
///         zero and the loss is ln V.
///
/// # Safety
/// `training` is NULL or live; `target_tokens` is NULL or holds B*S ids.
#[unsafe(no_mangle)]
#[c_api(0.0)]
pub unsafe extern "C" fn cllm_compute_loss_training(
    training: *mut CLLMTraining,
    target_tokens: *mut u32,
) -> f32 {
    with_training(training, |t, state| {
        let (batch, positions) = batch_shape(&t.config)?;
        let rows = cllm_kernels::memory::product("the batch", &[batch, positions])?;
        let targets = ffi::slice(target_tokens, rows, "target_tokens")?;
        state.buffers.plan(t)?;
        buffers::resize(t, state, rows, positions)?;
        let logits = ffi::slice(t.logits, rows * state.buffers.vocab, "logits")?;
        let (mut sum, mut counted) = (0.0, 0usize);
        for (row, &target) in logits.chunks_exact(state.buffers.vocab).zip(targets) {
            if let Some(logit) = row.get(target as usize) {
                sum += f64::from(log_sum_exp(row) - logit);
                counted += 1;
            }
        }
        Ok(if counted == 0 { 0.0 } else { (sum / counted as f64) as f32 })
    })
}

/// Exact gradients of the mean loss of the latest cllm_forward_training, for every parameter.
/// The public gradient buffers (and the private ones of second norms and learned positions) are
/// set, whatever they held. `backward_grad_output` receives the gradient of the input embeddings.
///
/// @param target_tokens `[B*S]` ids; one that is not below the vocabulary size does not count.
///
/// Without a forward pass over a batch of this size since the last update or epoch, the gradients
/// become zero and a message is recorded.
///
/// # Safety
/// `training` is NULL or live; `target_tokens` is NULL or holds B*S ids.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_backward_training(
    training: *mut CLLMTraining,
    target_tokens: *mut u32,
) {
    with_training(training, |t, state| {
        let (batch, positions) = batch_shape(&t.config)?;
        let rows = cllm_kernels::memory::product("the batch", &[batch, positions])?;
        let targets = ffi::slice(target_tokens, rows, "target_tokens")?;
        backward(t, state, targets, batch)
    })
}

/// # Safety
/// As [`Buffers::view`](super::weights::Buffers::view).
unsafe fn backward(
    t: &mut CLLMTraining,
    state: &mut TrainingState,
    targets: &[u32],
    batch: usize,
) -> Result<()> {
    let TrainingState { trainer, buffers, input, .. } = state;
    let grad_output = t.backward_grad_output;
    let mut weights = buffers.view(t)?;
    if input.len() != targets.len() {
        weights.zero_gradients()?;
        return Err(Error::state(format!(
            "no forward pass over {} tokens to go back through: the gradients are zero",
            targets.len()
        )));
    }
    let (model, mut gradients) = weights.pass()?;
    let (workspace, targets) = (&mut trainer.workspace, Targets::all(targets));
    workspace.backward(&Pool::automatic(), &model, input, targets, batch, &mut gradients)?;
    let dx = &workspace.backward.dx[..input.len() * model.dim];
    ffi::slice_mut(grad_output, dx.len(), "backward_grad_output")?.copy_from_slice(dx);
    Ok(())
}

/// Mean loss of the model over `num_tokens` positions, cut into sequences of
/// `config.sequence_length` (the last may be shorter). Also copies the embedding rows of the first
/// positions into `cached_input_embeddings` and `cached_target_embeddings`. Weights, logits and
/// gradients are not touched.
///
/// @return nats per token; 0.0 on failure or for `num_tokens` <= 0.
///
/// # Safety
/// `training` is NULL or live; the arrays are NULL or hold `num_tokens` ids.
#[unsafe(no_mangle)]
#[c_api(0.0)]
pub unsafe extern "C" fn cllm_compute_loss(
    training: *mut CLLMTraining,
    input_tokens: *mut u32,
    target_tokens: *mut u32,
    num_tokens: c_int,
) -> f32 {
    with_training(training, |t, state| {
        let n = ffi::positive(num_tokens, "num_tokens")?;
        let input = ffi::slice(input_tokens, n, "input_tokens")?;
        let targets = ffi::slice(target_tokens, n, "target_tokens")?;
        let length = ffi::positive(t.config.sequence_length, "config.sequence_length")?;
        let plan = state.buffers.plan(t)?;
        let model = model_of(&plan)?;
        state.input.clear();
        let loss =
            state.trainer.workspace.evaluate(&Pool::automatic(), &model, input, targets, length)?;
        let cached = n.min(state.rows);
        copy_rows(&model, &input[..cached], t.cached_input_embeddings)?;
        copy_rows(&model, &targets[..cached], t.cached_target_embeddings)?;
        Ok(loss as f32)
    })
}

/// # Safety
/// `out` holds a row for each id.
unsafe fn copy_rows(model: &ModelRef, ids: &[u32], out: *mut f32) -> Result<()> {
    let d = model.dim;
    let out = ffi::slice_mut(out, ids.len() * d, "cached embeddings")?;
    for (row, &id) in out.chunks_exact_mut(d).zip(ids) {
        match model.params.embeddings.chunks_exact(d).nth(id as usize) {
            Some(embedding) => row.copy_from_slice(embedding),
            None => row.fill(0.0),
        }
    }
    Ok(())
}

/// cllm_forward_training and cllm_backward_training of the first B*S tokens. With fewer tokens
/// all gradients become zero.
///
/// # Safety
/// `training` is NULL or live; the arrays are NULL or hold `num_tokens` ids.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_backward(
    training: *mut CLLMTraining,
    input_tokens: *mut u32,
    target_tokens: *mut u32,
    num_tokens: c_int,
) {
    with_training(training, |t, state| {
        let (batch, positions) = batch_shape(&t.config)?;
        let rows = cllm_kernels::memory::product("the batch", &[batch, positions])?;
        let n = ffi::len(num_tokens, "num_tokens")?;
        let input = ffi::slice(input_tokens, n.min(rows), "input_tokens")?;
        let targets = ffi::slice(target_tokens, n.min(rows), "target_tokens")?;
        if n < rows {
            return state.buffers.view(t)?.zero_gradients();
        }
        forward(t, state, input, batch, positions)?;
        backward(t, state, targets, batch)
    })
}

/// Zeroes every gradient, public and private. Moments, open accumulators and `accumulation_step`
/// stay.
///
/// @param training  may be NULL.
///
/// # Safety
/// `training` is NULL or live.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_zero_all_gradients(training: *mut CLLMTraining) {
    if training.is_null() {
        return Ok(());
    }
    with_training(training, |t, state| state.buffers.view(t)?.zero_gradients())
}
