//! Gradients of single layers.

use crate::border::ffi;
use crate::headers::cllm::{AttentionLayer, CLLMLayerNorm, Embeddings, FeedForwardLayer};
use crate::headers::cllm_inference::attention::attention_view;
use crate::headers::cllm_inference::feed_forward::dense_view;
use crate::headers::cllm_inference::layer_norm::norm_view;
use crate::headers::cllm_training::CLLMTraining;
use crate::headers::cllm_training::state::with_training;
use cllm_compat::sublayers::{self, DenseGradients};
use cllm_engine::error::Error;
use cllm_engine::model::{Attention, Layers, ModelRef, Params, Scores};
use cllm_engine::nn::activations::{Activations, Save};
use cllm_engine::nn::backward::{ActivationGradients, Passed, layer_backward};
use cllm_engine::nn::forward::layer_forward;
use cllm_engine::nn::rows::Pass;
use cllm_engine::train::Weights;
use cllm_kernels::Pool;
use cllm_kernels::layer_norm;
use cllm_kernels::matmul::Accumulate;
use cllm_kernels::memory::{filled, product};
use cllm_kernels::vector::add_assign;
use cllm_macros::c_api;
use std::ffi::c_int;

/// Gradient of cllm_layer_norm for one vector of `dim` values.
///
/// @param input        `[dim]`, what the norm was given.
/// @param grad_output  `[dim]`.
/// @param grad_input   `[dim]`, overwritten; may be `grad_output`.
/// @param grad_gamma, grad_beta  `[dim]`, added to; each may be NULL.
///
/// # Safety
/// The arrays have the sizes above.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_layer_norm_backward(
    ln: *mut CLLMLayerNorm,
    input: *mut f32,
    grad_output: *mut f32,
    grad_input: *mut f32,
    grad_gamma: *mut f32,
    grad_beta: *mut f32,
) {
    // `grad_output` and `grad_input` are not viewed together.
    let (n, dim) = norm_view(ln)?;
    let mut dx = filled("a gradient", dim)?;
    if grad_input.is_null() {
        return Err(Error::null("grad_input"));
    }
    let x = ffi::slice(input, dim, "input")?;
    let dy = ffi::slice(grad_output, dim, "grad_output")?;
    let dgamma = ffi::slice_mut_opt(grad_gamma, dim, "grad_gamma")?;
    let dbeta = ffi::slice_mut_opt(grad_beta, dim, "grad_beta")?;
    let stats = layer_norm::stats(x, n.epsilon);
    layer_norm::backward(x, stats, n.gamma, dy, &mut dx, dgamma, dbeta);
    ffi::slice_mut(grad_input, dim, "grad_input")?.copy_from_slice(&dx);
    Ok(())
}

/// Gradient of cllm_feedforward for one vector.
///
/// @param input        `[input_dim]`.
/// @param hidden       `[hidden_dim]`, GELU(W1·input + bias1), or NULL to have it computed.
/// @param grad_output  `[output_dim]`.
/// @param grad_input   `[input_dim]`, overwritten; may be NULL.
/// @param grad_w1, grad_w2, grad_b1, grad_b2  in the shapes of the parameters, added to; each may
///                     be NULL.
///
/// # Safety
/// The arrays have the sizes above and don't overlap.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_feedforward_backward(
    layer: *mut FeedForwardLayer,
    input: *mut f32,
    hidden: *mut f32,
    grad_output: *mut f32,
    grad_input: *mut f32,
    grad_w1: *mut f32,
    grad_w2: *mut f32,
    grad_b1: *mut f32,
    grad_b2: *mut f32,
) {
    let dense = dense_view(layer)?;
    let x = ffi::slice(input, dense.inputs, "input")?;
    let dy = ffi::slice(grad_output, dense.outputs, "grad_output")?;
    let hidden = ffi::slice_mut_opt(hidden, dense.hidden, "hidden")?;
    let grads = DenseGradients {
        w1: ffi::slice_mut_opt(grad_w1, dense.w1.len(), "grad_w1")?,
        b1: ffi::slice_mut_opt(grad_b1, dense.hidden, "grad_b1")?,
        w2: ffi::slice_mut_opt(grad_w2, dense.w2.len(), "grad_w2")?,
        b2: ffi::slice_mut_opt(grad_b2, dense.outputs, "grad_b2")?,
    };
    let dx = dense.backward(x, hidden.as_deref(), dy, grads)?;
    if let Some(out) = ffi::slice_mut_opt(grad_input, dense.inputs, "grad_input")? {
        out.copy_from_slice(&dx);
    }
    Ok(())
}

/// Gradient of causal attention (without norm and residual) over `seq_len` rows.
///
/// @param input, grad_output  `[seq_len * H*hd]`.
/// @param grad_input          the same size, overwritten; may be NULL.
/// @param grad_query_weights, grad_key_weights, grad_value_weights
///                            in the shape of the layer's matrices, added to; each may be NULL.
///
/// # Safety
/// The arrays have the sizes above and don't overlap.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_attention_backward(
    layer: *mut AttentionLayer,
    input: *mut f32,
    grad_output: *mut f32,
    grad_input: *mut f32,
    grad_query_weights: *mut f32,
    grad_key_weights: *mut f32,
    grad_value_weights: *mut f32,
    seq_len: c_int,
) {
    let n = ffi::positive(seq_len, "seq_len")?;
    let w = attention_view(layer)?;
    let rows = product("the rows", &[n, w.heads, w.head_dim])?;
    let x = ffi::slice(input, rows, "input")?;
    let dout = ffi::slice(grad_output, rows, "grad_output")?;
    let len = w.qkv[0].len();
    let given = [grad_query_weights, grad_key_weights, grad_value_weights];
    let mut own =
        [filled("a gradient", len)?, filled("a gradient", len)?, filled("a gradient", len)?];
    let mut grads = Attention {
        heads: w.heads,
        head_dim: w.head_dim,
        layout: w.layout,
        qkv: own.each_mut().map(Vec::as_mut_slice),
        joined: None,
        output: None,
        scores: Scores::default(),
    };
    let dx = sublayers::attend_backward(&w, x, dout, n, &mut grads)?;
    for (pointer, own) in given.into_iter().zip(&own) {
        if let Some(out) = ffi::slice_mut_opt(pointer, len, "a weight gradient")? {
            add_assign(out, own);
        }
    }
    if let Some(out) = ffi::slice_mut_opt(grad_input, rows, "grad_input")? {
        out.copy_from_slice(&dx);
    }
    Ok(())
}

/// `grad_embeddings[ids[i]] += grad_output[i]` for `batch_size` rows; ids that are not below
/// `embeddings->vocab_size` are skipped.
///
/// @param token_ids        `[batch_size]`.
/// @param grad_output      `[batch_size * embedding_dim]`.
/// @param grad_embeddings  `[vocab_size * embedding_dim]`.
///
/// # Safety
/// The arrays have the sizes above and don't overlap.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_embedding_backward(
    embeddings: *mut Embeddings,
    token_ids: *mut u32,
    grad_output: *mut f32,
    grad_embeddings: *mut f32,
    batch_size: c_int,
) {
    let n = ffi::positive(batch_size, "batch_size")?;
    let e = ffi::get(embeddings, "embeddings")?;
    let (vocab, d) = (e.vocab_size as usize, e.embedding_dim as usize);
    if d == 0 {
        return Err(Error::argument("embeddings->embedding_dim", 0, "1 or more"));
    }
    let ids = ffi::slice(token_ids, n, "token_ids")?;
    let dy = ffi::slice(grad_output, product("the rows", &[n, d])?, "grad_output")?;
    let len = product("the embedding matrix", &[vocab, d])?;
    let grads = ffi::slice_mut(grad_embeddings, len, "grad_embeddings")?;
    for (&id, row) in ids.iter().zip(dy.chunks_exact(d)) {
        if let Some(out) = grads.chunks_exact_mut(d).nth(id as usize) {
            add_assign(out, row);
        }
    }
    Ok(())
}

/// Gradient through one whole layer (norms, attention, feed-forward, residuals) over one sequence.
///
/// @param input        `[seq_len * d]`, the residual stream entering the layer.
/// @param grad_output  `[seq_len * d]`, gradient of what leaves it.
/// @param grad_input   the same size, overwritten; may be `grad_output`.
///
/// The gradients of the layer's parameters are added to the training object's buffers, public and
/// private. Activations are recomputed; those of the latest forward pass stay.
///
/// # Safety
/// `training` is NULL or live; the arrays have the sizes above.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_transformer_layer_backward(
    training: *mut CLLMTraining,
    layer_idx: c_int,
    input: *mut f32,
    grad_output: *mut f32,
    grad_input: *mut f32,
    seq_len: c_int,
) {
    let n = ffi::positive(seq_len, "seq_len")?;
    let l = ffi::len(layer_idx, "layer_idx")?;
    // `grad_output` and `grad_input` are not viewed together.
    with_training(training, |t, state| {
        let mut weights = state.buffers.view(t)?;
        let (model, mut grads) = weights.pass()?;
        let (d, layers) = (model.dim, model.params.layers.len());
        if l >= layers {
            return Err(Error::argument("layer_idx", l, "below the model's num_layers"));
        }
        let len = product("the rows", &[n, d])?;
        if grad_input.is_null() {
            return Err(Error::null("grad_input"));
        }
        let x = ffi::slice(input, len, "input")?;
        let mut activation_grads = ActivationGradients::default();
        activation_grads.reserve(&model, n)?;
        activation_grads.dx[..len].copy_from_slice(ffi::slice(grad_output, len, "grad_output")?);
        let one = one_layer(&model, l);
        let mut activations = Activations::default();
        activations.reserve(&one, n, Save::ForBackward)?;
        let pool = &Pool::serial();
        layer_forward(pool, &one, x, &mut activations)?;
        let (layer, a) = (&model.params.layers[l], &activations.layers[0]);
        let pass = Pass::one(pool, n, d);
        let grads = &mut grads.layers[l];
        let passed = Passed { angles: &activations.angles, dropout: None, layer: l };
        layer_backward(&pass, layer, a, &passed, grads, &mut activation_grads, Accumulate::Add);
        ffi::slice_mut(grad_input, len, "grad_input")?.copy_from_slice(&activation_grads.dx[..len]);
        Ok(())
    })
}

/// The model reduced to one of its layers.
fn one_layer<'a>(model: &ModelRef<'a>, l: usize) -> ModelRef<'a> {
    let params = Params {
        embeddings: model.params.embeddings,
        layers: Layers::from_iter([model.params.layers[l].clone()]),
        learned: None,
        head: None,
    };
    ModelRef { spiral: None, params, ..*model }
}
