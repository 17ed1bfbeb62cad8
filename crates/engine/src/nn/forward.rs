//! The forward pass: the one that training, prompt prefill and token-by-token decoding share.
//!
//! ```text
//! x_t = E[token_t] + S[t] + P[t]
//! for each layer: x += Attention(LN1(x));  x += W2·GELU(W1·LN2(x) + b1) + b2
//! n = LN(x);  logits = E·n
//! ```
//! (pre-norm blocks as in GPT-2, Radford et al. 2019, without output matrix after attention.)

use super::activations::{Activations, Keep, LayerActivations};
use super::cache::KvCache;
use super::model::{Attention, AttentionLayout, FeedForward, ModelRef, Norm};
use super::rows::{TASK_ROWS, linear, mat, mat_mut, strided, strided_mut};
use crate::error::{Error, Result};
use cllm_kernels::Pool;
use cllm_kernels::attention::{self, Heads};
use cllm_kernels::matmul::{Accumulate, matmul, matmul_then};
use cllm_kernels::vector::add_assign;
use cllm_kernels::{gelu, norm};

/// What positions do that the tables have no row for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beyond {
    /// They get no position (training).
    NoPosition,
    /// They share the last row (`cllm_forward`).
    LastRow,
}

/// Where the keys and values of a pass live.
pub enum Past<'a> {
    /// In the activations: every sequence of the batch starts at position 0.
    None,
    /// In a cache: the one sequence continues where the cache ends, and is appended to it.
    Cache(&'a mut KvCache),
}

/// Runs `tokens`, `batch` sequences of equal length, through the model. Afterwards
/// `activations.normed` holds n for every position; with [`Keep::EveryLayer`] everything that the
/// backward pass needs is there too. A token ≥ V contributes a zero embedding row.
pub fn forward(
    pool: &Pool,
    model: &ModelRef,
    tokens: &[u32],
    batch: usize,
    activations: &mut Activations,
    keep: Keep,
    mut past: Past,
    beyond: Beyond,
) -> Result<()> {
    let rows = tokens.len();
    if rows == 0 || batch == 0 || !rows.is_multiple_of(batch) {
        return Err(Error::shape(format!("{rows} tokens can't be {batch} sequences")));
    }
    let per_sequence = rows / batch;
    activations.reserve(model, rows, keep)?;
    let base = match &mut past {
        Past::None => 0,
        Past::Cache(cache) => {
            cache.reserve(model, per_sequence)?;
            cache.len()
        }
    };
    let shape = Batch { batch, rows: per_sequence, base };
    pool.install(|| run(pool, model, tokens, shape, activations, keep, &mut past, beyond));
    if let Past::Cache(cache) = past {
        cache.advance(per_sequence);
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Batch {
    batch: usize,
    rows: usize,
    base: usize,
}

fn run(
    pool: &Pool,
    model: &ModelRef,
    tokens: &[u32],
    shape: Batch,
    activations: &mut Activations,
    keep: Keep,
    past: &mut Past,
    beyond: Beyond,
) {
    let (d, n) = (model.dim, tokens.len());
    let none = model.params.layers.is_empty();
    let first = if none { &mut activations.output } else { &mut activations.layers[0].input };
    embed(pool, model, tokens, shape, &mut first[..n * d], beyond);
    blocks(pool, model, n, shape, activations, keep, past);
}

/// The layers over one sequence whose residual stream is given, for a model of one layer; the
/// activations have room for it.
pub fn layer_forward(pool: &Pool, model: &ModelRef, x: &[f32], activations: &mut Activations) {
    let n = x.len() / model.dim;
    activations.layers[0].input[..x.len()].copy_from_slice(x);
    let shape = Batch { batch: 1, rows: n, base: 0 };
    blocks(pool, model, n, shape, activations, Keep::EveryLayer, &mut Past::None);
}

/// All layers and the output norm, from the embedded input on.
fn blocks(
    pool: &Pool,
    model: &ModelRef,
    n: usize,
    shape: Batch,
    activations: &mut Activations,
    keep: Keep,
    past: &mut Past,
) {
    let d = model.dim;
    let Activations { layers, output, output_stats, normed, delta } = activations;
    let index = |l: usize| if keep == Keep::EveryLayer { l } else { 0 };
    if let Some(layer) = model.params.layers.first() {
        let LayerActivations { input, stats1, normed1, .. } = &mut layers[0];
        normalise(pool, d, &input[..n * d], &layer.norm1, normed1, stats1);
    } else {
        normalise(pool, d, &output[..n * d], &Norm::default(), normed, output_stats);
    }

    for (l, layer) in model.params.layers.iter().enumerate() {
        let a = &mut layers[index(l)];
        if let Some(attention) = &layer.attention {
            project(pool, attention, &a.normed1, n, d, &mut a.qkv);
            attend(pool, attention, shape, l, a, &mut delta[..n * d], keep, past);
        }
        let LayerActivations { input, middle, stats2, normed2, .. } = a;
        let attended = layer.attention.as_ref().map(|_| &delta[..]);
        residual(pool, d, &input[..n * d], attended, None, middle, &layer.norm2, normed2, stats2);

        let feed_forward = layer.feed_forward.as_ref();
        if let Some(ff) = feed_forward {
            hidden(pool, ff, n, d, a, keep);
            linear(pool, delta, &a.hidden, ff.w2, n, ff.hidden, d);
        }
        let change = feed_forward.map(|_| &delta[..]);
        let bias = feed_forward.and_then(|ff| ff.b2);
        // The stream leaves this layer and is normalised for the next one, or for the output.
        let middle = std::mem::take(&mut a.middle);
        let from = &middle[..n * d];
        match model.params.layers.get(l + 1) {
            Some(next) => {
                let LayerActivations { input, normed1, stats1, .. } = &mut layers[index(l + 1)];
                residual(pool, d, from, change, bias, input, &next.norm1, normed1, stats1);
            }
            None => {
                let norm = Norm::default();
                residual(pool, d, from, change, bias, output, &norm, normed, output_stats);
            }
        }
        layers[index(l)].middle = middle;
    }
}

/// x_t = E[token] + S[pos] + P[pos].
fn embed(
    pool: &Pool,
    model: &ModelRef,
    tokens: &[u32],
    shape: Batch,
    x: &mut [f32],
    beyond: Beyond,
) {
    let d = model.dim;
    pool.chunks((x, TASK_ROWS * d), |task, x| {
        for (i, row) in x.chunks_exact_mut(d).enumerate() {
            let t = task * TASK_ROWS + i;
            match model.params.embeddings.chunks_exact(d).nth(tokens[t] as usize) {
                Some(embedding) => row.copy_from_slice(embedding),
                None => row.fill(0.0),
            }
            if let Some(position) = position_row(model, shape.base + t % shape.rows, beyond) {
                for table in model.spiral.iter().chain(&model.params.learned) {
                    add_assign(row, &table[position * d..][..d]);
                }
            }
        }
    });
}

/// The row of the position tables for a position.
pub(super) fn position_row(model: &ModelRef, position: usize, beyond: Beyond) -> Option<usize> {
    match model.max_length {
        0 => None,
        length if position < length => Some(position),
        length if beyond == Beyond::LastRow => Some(length - 1),
        _ => None,
    }
}

/// A layer norm of every row.
pub(super) fn normalise(
    pool: &Pool,
    d: usize,
    x: &[f32],
    norm: &Norm<&[f32]>,
    out: &mut [f32],
    stats: &mut [norm::Stats],
) {
    let n = x.len() / d;
    pool.chunks2(
        (&mut out[..n * d], TASK_ROWS * d),
        (&mut stats[..n], TASK_ROWS),
        |task, out, stats| {
            let x = &x[task * TASK_ROWS * d..];
            for ((x, out), stats) in x.chunks_exact(d).zip(out.chunks_exact_mut(d)).zip(stats) {
                *stats = norm::forward(x, norm.epsilon, norm.gamma, norm.beta, out);
            }
        },
    );
}

/// sum = x + delta + bias and the norm of it, row by row.
fn residual(
    pool: &Pool,
    d: usize,
    x: &[f32],
    delta: Option<&[f32]>,
    bias: Option<&[f32]>,
    sum: &mut [f32],
    norm: &Norm<&[f32]>,
    out: &mut [f32],
    stats: &mut [norm::Stats],
) {
    let n = x.len() / d;
    pool.chunks3(
        (&mut sum[..n * d], TASK_ROWS * d),
        (&mut out[..n * d], TASK_ROWS * d),
        (&mut stats[..n], TASK_ROWS),
        |task, sum, out, stats| {
            for (i, stats) in stats.iter_mut().enumerate() {
                let at = (task * TASK_ROWS + i) * d;
                let part = i * d..(i + 1) * d;
                *stats = norm::add_forward(
                    &x[at..at + d],
                    delta.map(|delta| &delta[at..at + d]),
                    bias,
                    &mut sum[part.clone()],
                    norm.epsilon,
                    norm.gamma,
                    norm.beta,
                    &mut out[part],
                );
            }
        },
    );
}

/// Queries, keys and values of n rows into `[n][3d]`.
pub fn project(
    pool: &Pool,
    attention: &Attention<&[f32]>,
    x: &[f32],
    n: usize,
    d: usize,
    qkv: &mut [f32],
) {
    match (attention.layout, attention.joined) {
        (AttentionLayout::Full, Some(w)) => linear(pool, qkv, x, w, n, d, 3 * d),
        (AttentionLayout::Full, None) => {
            for (i, w) in attention.qkv.iter().enumerate() {
                if n == 1 {
                    linear(pool, &mut qkv[i * d..], x, w, 1, d, d);
                } else {
                    let out = strided_mut(&mut qkv[i * d..], n, d, 3 * d);
                    matmul(pool, out, mat(x, n, d), mat(w, d, d).t(), Accumulate::Replace);
                }
            }
        }
        (AttentionLayout::PerHead, _) => {
            let h = attention.head_dim;
            for (i, w) in attention.qkv.iter().enumerate() {
                for (head, block) in w.chunks_exact(h * h).enumerate() {
                    let out = strided_mut(&mut qkv[i * d + head * h..], n, h, 3 * d);
                    let x = strided(&x[head * h..], n, h, d);
                    matmul(pool, out, x, mat(block, h, h).t(), Accumulate::Replace);
                }
            }
        }
    }
}

/// Causal attention over the batch, or over the cache and the new rows, `[B·rows][d]`.
fn attend(
    pool: &Pool,
    w: &Attention<&[f32]>,
    shape: Batch,
    l: usize,
    a: &mut LayerActivations,
    out: &mut [f32],
    keep: Keep,
    past: &mut Past,
) {
    let Batch { batch, rows, base } = shape;
    let n = batch * rows;
    let d = w.heads * w.head_dim;
    let shape =
        attention::Shape { batch, rows, base, heads: w.heads, head_dim: w.head_dim, causal: true };
    let lse = (keep == Keep::EveryLayer).then(|| &mut a.lse[..n * w.heads]);
    let [q, k, v] = qkv_heads(&a.qkv, rows, d);
    match past {
        Past::None => attention::forward(pool, &shape, q, k, v, out, lse),
        Past::Cache(cache) => {
            let (keys, values) = cache.append(l, &a.qkv[..n * 3 * d], d);
            let cached = |data| Heads { data, row: d, sequence: 0 };
            attention::forward(pool, &shape, q, cached(keys), cached(values), out, lse);
        }
    }
}

/// What attention added to the stream of `batch` sequences, `[B·rows][d]`, again from the queries,
/// keys and values that a forward pass kept: the same bits.
pub fn attended(
    pool: &Pool,
    w: &Attention<&[f32]>,
    qkv: &[f32],
    batch: usize,
    rows: usize,
    out: &mut [f32],
) {
    let (heads, head_dim) = (w.heads, w.head_dim);
    let shape = attention::Shape { batch, rows, base: 0, heads, head_dim, causal: true };
    let [q, k, v] = qkv_heads(qkv, rows, heads * head_dim);
    attention::forward(pool, &shape, q, k, v, out, None);
}

/// Queries, keys and values inside their common buffer `[B·rows][3d]`.
pub fn qkv_heads(qkv: &[f32], rows: usize, d: usize) -> [Heads<'_>; 3] {
    [0, d, 2 * d].map(|offset| Heads { data: &qkv[offset..], row: 3 * d, sequence: rows * 3 * d })
}

/// GELU(W1·x + b1), and its derivative where the backward pass needs it.
fn hidden(
    pool: &Pool,
    ff: &FeedForward<&[f32]>,
    n: usize,
    d: usize,
    a: &mut LayerActivations,
    keep: Keep,
) {
    let width = ff.hidden;
    let slope = (keep == Keep::EveryLayer).then(|| mat_mut(&mut a.slope, n, width));
    matmul_then(
        pool,
        mat_mut(&mut a.hidden, n, width),
        slope,
        mat(&a.normed2, n, d),
        mat(ff.w1, width, d).t(),
        |_, j, x, slope| match (ff.b1, keep) {
            (bias, Keep::EveryLayer) => gelu::with_slope(x, bias.map(|b| &b[j..]), slope),
            (Some(bias), Keep::Nothing) => gelu::with_bias(x, &bias[j..]),
            (None, Keep::Nothing) => gelu::in_place(x),
        },
    );
}

/// logits = E·n for rows of n: `out` is `[rows][V]`.
pub fn logits(pool: &Pool, model: &ModelRef, normed: &[f32], rows: usize, out: &mut [f32]) {
    linear(pool, out, normed, model.params.embeddings, rows, model.dim, model.vocab);
}
