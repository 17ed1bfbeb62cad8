//! The public buffers of a training object: made at init, grown when the program raises the batch
//! size or the sequence length, filled by `cllm_forward_training`.

use super::state::TrainingState;
use super::weights::LayerRoom;
use super::*;
use crate::border::ffi::{self, CArray};
use crate::headers::cllm::{AttentionLayer, CLLMLayerNorm, CLLMModel, FeedForwardLayer};
use cllm_engine::error::{Error, Result};
use cllm_engine::model::{Attention, ModelRef};
use cllm_engine::nn::forward;
use cllm_engine::nn::rows::Pass;
use cllm_kernels::Pool;
use cllm_kernels::attention::row_weights;
use cllm_kernels::memory::product;
use cllm_kernels::vector::add_assign;

const WHAT: &str = "the training buffers";

/// What each layer of the model needs, from its own sizes.
///
/// # Safety
/// Non-NULL layer arrays have an entry for each layer.
pub(super) unsafe fn layer_rooms(m: &CLLMModel) -> Result<Vec<LayerRoom>> {
    let count = m.num_layers as usize;
    let mut rooms = cllm_kernels::memory::filled::<LayerRoom>(WHAT, count)?;
    if !m.attention_layers.is_null() {
        let layers: &[AttentionLayer] = ffi::slice(m.attention_layers, count, "attention_layers")?;
        for (room, a) in rooms.iter_mut().zip(layers) {
            let width = product(WHAT, &[a.num_heads as usize, a.head_dim as usize])?;
            room.attention = product(WHAT, &[width, width])?;
            room.heads = a.num_heads as usize;
        }
    }
    if !m.ff_layers.is_null() {
        let layers: &[FeedForwardLayer] = ffi::slice(m.ff_layers, count, "ff_layers")?;
        for (room, f) in rooms.iter_mut().zip(layers) {
            room.hidden = f.hidden_dim as usize;
            room.bias1 = room.hidden;
            room.bias2 = f.output_dim as usize;
            room.w1 = product(WHAT, &[room.hidden, f.input_dim as usize])?;
            room.w2 = product(WHAT, &[room.hidden, room.bias2])?;
        }
    }
    if !m.layer_norms.is_null() {
        let norms: &[CLLMLayerNorm] = ffi::slice(m.layer_norms, count, "layer_norms")?;
        for (room, n) in rooms.iter_mut().zip(norms) {
            room.gamma = n.dim as usize;
        }
    }
    Ok(rooms)
}

/// A gradient, a moment or a copy of weights: always in use.
fn block(len: usize) -> Result<*mut f32> {
    Ok(CArray::<f32>::aligned(WHAT, len)?.into_raw())
}

/// Activations, which only some programs ask for: no memory before that.
fn lazy_block(len: usize) -> Result<*mut f32> {
    Ok(CArray::<f32>::zeroed(WHAT, len)?.into_raw())
}

/// Everything that init allocates.
///
/// # Safety
/// `t` is new; the model's arrays are as for [`layer_rooms`].
pub(super) unsafe fn make(
    t: &mut CLLMTraining,
    m: &CLLMModel,
    state: &mut TrainingState,
    rows: usize,
    positions: usize,
) -> Result<()> {
    let (count, d) = (state.buffers.layers.len(), state.buffers.dim);
    let embeddings = product(WHAT, &[state.buffers.vocab, d])?;
    t.gradients = block(embeddings)?;
    t.optimizer_state = block(product(WHAT, &[2, embeddings])?)?;
    t.attention_grads = CArray::zeroed(WHAT, count)?.into_raw();
    t.ff_grads = CArray::zeroed(WHAT, count)?.into_raw();
    t.ln_grads = CArray::zeroed(WHAT, count)?.into_raw();
    for (l, room) in state.buffers.layers.iter().enumerate() {
        // SAFETY: the tables were just made with an entry for each layer.
        unsafe {
            if !m.attention_layers.is_null() {
                let grads = &mut *t.attention_grads.add(l);
                grads.query_lattice = block(room.attention)?;
                grads.key_lattice = block(room.attention)?;
                grads.value_lattice = block(room.attention)?;
            }
            if !m.ff_layers.is_null() {
                let grads = &mut *t.ff_grads.add(l);
                grads.w1_lattice = block(room.w1)?;
                grads.w2_lattice = block(room.w2)?;
                grads.bias1 = block(room.bias1)?;
                grads.bias2 = block(room.bias2)?;
            }
            if !m.layer_norms.is_null() {
                let grads = &mut *t.ln_grads.add(l);
                grads.gamma = block(room.gamma)?;
                grads.beta = block(room.gamma)?;
            }
        }
    }
    t.backward_layer_input = block(d)?;
    t.backward_layer_grad = block(d)?;
    t.backward_temp_grad = block(d)?;
    for table in per_layer_tables(t) {
        *table = CArray::<*mut f32>::zeroed(WHAT, count)?.into_raw();
    }
    if !m.attention_layers.is_null() {
        t.attention_cache = CArray::zeroed(WHAT, count)?.into_raw();
    }
    if t.config.use_mixed_precision != 0 && !m.weights.is_null() {
        t.master_weights = block(m.num_weights as usize)?;
        copy_master_weights(t, m);
    }
    // SAFETY: the tables are there, their entries NULL.
    unsafe { resize(t, state, rows, positions) }
}

/// `master_weights` follows the weights.
pub(super) fn copy_master_weights(t: &mut CLLMTraining, m: &CLLMModel) {
    if !t.master_weights.is_null() && !m.weights.is_null() {
        // SAFETY: both blocks hold `num_weights` floats.
        unsafe { std::ptr::copy(m.weights, t.master_weights, m.num_weights as usize) };
    }
}

fn per_layer_tables(t: &mut CLLMTraining) -> [&mut *mut *mut f32; 5] {
    [
        &mut t.layer_inputs,
        &mut t.attention_outputs,
        &mut t.ff_outputs,
        &mut t.layer_outputs,
        &mut t.ff_hidden,
    ]
}

/// Where a table keeps the buffer of a layer; an error where the program took the table away.
///
/// # Safety
/// A non-NULL table has more than `layer` entries.
unsafe fn entry(table: *mut *mut f32, layer: usize) -> Result<*mut *mut f32> {
    if table.is_null() {
        return Err(Error::null("a table of activations"));
    }
    Ok(table.add(layer))
}

fn row_buffers(t: &mut CLLMTraining) -> [&mut *mut f32; 6] {
    [
        &mut t.backward_embeddings,
        &mut t.backward_grad_output,
        &mut t.cached_input_embeddings,
        &mut t.cached_target_embeddings,
        &mut t.input_embeddings,
        &mut t.final_hidden,
    ]
}

/// Makes the buffers that depend on the batch hold `rows` rows and sequences of `positions`,
/// where they hold less. The old blocks are freed.
///
/// # Safety
/// The tables have an entry for each layer; every buffer is NULL or a block of malloc.
pub(super) unsafe fn resize(
    t: &mut CLLMTraining,
    state: &mut TrainingState,
    rows: usize,
    positions: usize,
) -> Result<()> {
    let made = !t.logits.is_null();
    if made && rows <= state.rows && positions <= state.positions {
        return Ok(());
    }
    let (rows, positions) = (rows.max(state.rows), positions.max(state.positions));
    let (d, count) = (state.buffers.dim, state.buffers.layers.len());
    let width = product(WHAT, &[rows, d])?;
    let renew = |buffer: &mut *mut f32, len: usize| -> Result<()> {
        let new = lazy_block(len)?;
        // A block of malloc, or NULL.
        ffi::free(std::mem::replace(buffer, new));
        Ok(())
    };
    for buffer in row_buffers(t) {
        renew(buffer, width)?;
    }
    renew(&mut t.logits, product(WHAT, &[rows, state.buffers.vocab])?)?;
    for l in 0..count {
        // SAFETY: the tables have an entry for each layer.
        unsafe {
            for table in [t.layer_inputs, t.attention_outputs, t.ff_outputs, t.layer_outputs] {
                renew(&mut *entry(table, l)?, width)?;
            }
            let hidden = product(WHAT, &[rows, state.buffers.layers[l].hidden])?;
            renew(&mut *entry(t.ff_hidden, l)?, hidden)?;
            if !t.attention_cache.is_null() {
                let cache = &mut *t.attention_cache.add(l);
                let each = product(WHAT, &[positions, d])?;
                let square = product(WHAT, &[state.buffers.layers[l].heads, positions, positions])?;
                for buffer in [&mut cache.queries, &mut cache.keys, &mut cache.values] {
                    renew(buffer, each)?;
                }
                for buffer in [&mut cache.attention_weights, &mut cache.scores] {
                    renew(buffer, square)?;
                }
            }
        }
    }
    state.rows = rows;
    state.positions = positions;
    t.backward_buffer_size = width;
    t.cached_batch_size = i32::try_from(rows).unwrap_or(i32::MAX);
    t.cached_seq_len = i32::try_from(positions).unwrap_or(i32::MAX);
    Ok(())
}

/// Frees every buffer.
///
/// # Safety
/// As [`resize`], and nothing uses the buffers any more.
pub(super) unsafe fn release(t: &mut CLLMTraining, layers: usize) {
    // The tables have an entry for each layer.
    for l in 0..layers {
        if !t.attention_grads.is_null() {
            let g = &*t.attention_grads.add(l);
            [g.query_lattice, g.key_lattice, g.value_lattice]
                .into_iter()
                .for_each(|block| ffi::free(block));
        }
        if !t.ff_grads.is_null() {
            let g = &*t.ff_grads.add(l);
            [g.w1_lattice, g.w2_lattice, g.bias1, g.bias2]
                .into_iter()
                .for_each(|block| ffi::free(block));
        }
        if !t.ln_grads.is_null() {
            let g = &*t.ln_grads.add(l);
            [g.gamma, g.beta].into_iter().for_each(|block| ffi::free(block));
        }
        if !t.attention_cache.is_null() {
            let c = &*t.attention_cache.add(l);
            [c.attention_weights, c.queries, c.keys, c.values, c.scores]
                .into_iter()
                .for_each(|block| ffi::free(block));
        }
        for table in per_layer_tables(t) {
            if !table.is_null() {
                ffi::free(*table.add(l));
            }
        }
    }
    for table in per_layer_tables(t) {
        ffi::free(std::mem::replace(table, std::ptr::null_mut()));
    }
    for buffer in row_buffers(t) {
        ffi::free(std::mem::replace(buffer, std::ptr::null_mut()));
    }
    ffi::free(t.attention_grads);
    ffi::free(t.ff_grads);
    ffi::free(t.ln_grads);
    ffi::free(t.attention_cache);
    let floats = [
        t.gradients,
        t.optimizer_state,
        t.master_weights,
        t.backward_layer_input,
        t.backward_layer_grad,
        t.backward_temp_grad,
        t.logits,
    ];
    floats.into_iter().for_each(|block| ffi::free(block));
    ffi::free(t.fp16_activations);
    ffi::free(t.fp16_gradients);
}

/// Copies what the latest forward pass computed into the public buffers, logits included.
///
/// # Safety
/// As [`resize`], after it was called for this batch.
pub(super) unsafe fn publish(
    pool: &Pool,
    t: &mut CLLMTraining,
    state: &mut TrainingState,
    model: &ModelRef,
    batch: usize,
    positions: usize,
) -> Result<()> {
    let (d, n) = (model.dim, batch * positions);
    let activations = &state.trainer.workspace.activations;
    let pass = Pass { batch, ..Pass::one(pool, positions, d) };
    // SAFETY: every buffer has room for `state.rows` rows, at least n.
    unsafe {
        let fill = |buffer: *mut f32, from: &[f32]| -> Result<()> {
            ffi::slice_mut(buffer, from.len(), "a public buffer")?.copy_from_slice(from);
            Ok(())
        };
        let stream = |l: usize| match activations.layers.get(l) {
            Some(a) if l < model.params.layers.len() => &a.input[..n * d],
            _ => &activations.output[..n * d],
        };
        fill(t.input_embeddings, stream(0))?;
        fill(t.final_hidden, &activations.normed[..n * d])?;
        for (l, layer) in model.params.layers.iter().enumerate() {
            let a = &activations.layers[l];
            fill(*entry(t.layer_inputs, l)?, stream(l))?;
            fill(*entry(t.layer_outputs, l)?, stream(l + 1))?;
            let attended = *entry(t.attention_outputs, l)?;
            let attended = ffi::slice_mut(attended, n * d, "attention_outputs")?;
            match &layer.attention {
                Some(Attention { output: Some(output), .. }) => {
                    pass.products().linear(attended, &a.attended, *output, n, d, d);
                }
                Some(w) => forward::attended(&pass, w, &a.qkv[..n * 3 * d], attended),
                None => attended.fill(0.0),
            }
            let out = ffi::slice_mut(*entry(t.ff_outputs, l)?, n * d, "ff_outputs")?;
            match &layer.feed_forward {
                Some(ff) if ff.hidden <= state.buffers.layers[l].hidden => {
                    fill(*entry(t.ff_hidden, l)?, &a.hidden[..n * ff.hidden])?;
                    pass.products().linear(out, &a.hidden, ff.w2, n, ff.hidden, d);
                    if let Some(b2) = ff.b2 {
                        out.chunks_exact_mut(d).for_each(|row| add_assign(row, b2));
                    }
                }
                _ => out.fill(0.0),
            }
            let cache = t.store_attention_weights != 0 && !t.attention_cache.is_null();
            if let (true, Some(w)) = (cache, &layer.attention) {
                let last = &a.qkv[(n - positions) * 3 * d..n * 3 * d];
                if w.heads <= state.buffers.layers[l].heads {
                    publish_attention(&*t.attention_cache.add(l), last, w.heads, positions, d)?;
                }
            }
        }
        let logits = ffi::slice_mut(t.logits, n * model.vocab, "logits")?;
        cllm_engine::nn::forward::logits(pool, model, &activations.normed, n, logits);
    }
    Ok(())
}

/// Queries, keys, values, scores and weights of one sequence; masked entries are 0 in both.
///
/// # Safety
/// The cache has room for `positions` positions of `heads` heads.
unsafe fn publish_attention(
    cache: &CLLMAttentionCache,
    qkv: &[f32],
    heads: usize,
    positions: usize,
    d: usize,
) -> Result<()> {
    let h = d / heads.max(1);
    let scale = 1.0 / (h as f32).sqrt();
    let keys = cllm_kernels::attention::Heads { data: &qkv[d..], row: 3 * d, sequence: 0 };
    let square = positions * positions;
    for (i, buffer) in [cache.queries, cache.keys, cache.values].into_iter().enumerate() {
        let out = ffi::slice_mut(buffer, positions * d, "attention_cache")?;
        for (out, row) in out.chunks_exact_mut(d).zip(qkv.chunks_exact(3 * d)) {
            out.copy_from_slice(&row[i * d..(i + 1) * d]);
        }
    }
    let scores = ffi::slice_mut(cache.scores, heads * square, "attention_cache scores")?;
    let weights =
        ffi::slice_mut(cache.attention_weights, heads * square, "attention_cache weights")?;
    scores.fill(0.0);
    weights.fill(0.0);
    for head in 0..heads {
        for i in 0..positions {
            let at = head * square + i * positions;
            let query = &qkv[i * 3 * d + head * h..][..h];
            let seen = at..at + i + 1;
            let (scores, weights) = (&mut scores[seen.clone()], &mut weights[seen]);
            row_weights(query, &keys, head, scale, scores, weights);
        }
    }
    Ok(())
}
