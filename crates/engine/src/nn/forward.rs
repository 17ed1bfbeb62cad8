//! The forward pass: the one that training, prompt prefill and token-by-token decoding share.
//!
//! ```text
//! x_t = E[token_t] + S[t] + P[t]
//! for each layer: x += Wo·Attention(LN1(x));  x += W2·f(W1·LN2(x) + b1) + b2
//! n = LN(x);  logits = E·n
//! ```
//! (pre-norm blocks as in GPT-2, Radford et al. 2019. What a model has of it, and what f is, is its
//! [`Architecture`](crate::model::Architecture).)

use super::activations::{Activations, LayerActivations, Save};
use super::cache::KvCache;
use super::dropout::Site;
use super::products::Products;
use super::rotary;
use super::rows::{Pass, TASK_ROWS, mat, mat_mut, strided, strided_mut};
use super::shift;
use super::work;
use crate::error::{Error, Result};
use crate::model::{
    Activation, Attention, AttentionLayout, DEFAULT_EPSILON, FeedForward, Network, Norm, Tensor,
    Weight,
};
use cllm_kernels::Pool;
use cllm_kernels::attention::{self, Heads};
use cllm_kernels::matmul::Accumulate;
use cllm_kernels::vector::add_assign;
use cllm_kernels::{gelu, int8, layer_norm, squared_relu};

/// What positions do that the tables have no row for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beyond {
    /// They get no position (training).
    NoPosition,
    /// They share the last row (`cllm_forward`).
    LastRow,
}

/// Runs `tokens`, `batch` sequences of equal length, through the model. Afterwards
/// `activations.normed` holds n for every position; with [`Save::ForBackward`] everything that the
/// backward pass needs is there too. A token ≥ V contributes a zero embedding row.
///
/// Without a `cache` every sequence starts at position 0. With one the one sequence continues where
/// the cache ends, and is appended to it.
///
/// # Errors
/// If the tokens are not `batch` sequences, positions can't turn the heads that they are to, or memory
/// is missing.
pub fn forward(
    pool: &Pool,
    model: &Network<impl Weight>,
    tokens: &[u32],
    batch: usize,
    activations: &mut Activations,
    save: Save,
    mut cache: Option<&mut KvCache>,
    beyond: Beyond,
) -> Result<()> {
    let n = tokens.len();
    if n == 0 || batch == 0 || !n.is_multiple_of(batch) || (batch > 1 && cache.is_some()) {
        return Err(Error::shape(format!("{n} tokens can't be {batch} sequences")));
    }
    let (rows, d) = (n / batch, model.dim);
    activations.reserve(model, n, save)?;
    let mut base = 0;
    if let Some(cache) = &mut cache {
        cache.reserve(model, rows)?;
        base = cache.len();
    }
    if let Some(head_dim) = model.rotary_head_dim()? {
        let positions = base.saturating_add(rows);
        activations.angles.reserve(head_dim, positions, model.max_length)?;
    }
    let bfloat16 = activations.bfloat16.filter(|_| save == Save::ForBackward);
    let pass = Pass { pool, batch, rows, base, d, bfloat16 };
    pool.step(work::layers(&pass, model), |pool| {
        let pass = Pass { pool, ..pass };
        let none = model.params.layers.is_empty();
        let x = if none { &mut activations.output } else { &mut activations.layers[0].input };
        embed(&pass, model, tokens, &mut x[..n * d], beyond);
        if let Some(dropout) = activations.dropout.filter(|_| save == Save::ForBackward) {
            dropout.apply(&pass, Site::Input, x, None);
        }
        blocks(&pass, model, activations, save, cache.as_deref_mut());
    });
    if let Some(cache) = cache {
        cache.advance(tokens);
    }
    Ok(())
}

/// The layers over one sequence whose residual stream is given, for a model of one layer; the
/// activations have room for it.
///
/// # Errors
/// Heads that positions can't turn; memory.
pub fn layer_forward(
    pool: &Pool,
    model: &Network<impl Weight>,
    x: &[f32],
    activations: &mut Activations,
) -> Result<()> {
    let pass = Pass::one(pool, x.len() / model.dim, model.dim);
    if let Some(head_dim) = model.rotary_head_dim()? {
        activations.angles.reserve(head_dim, pass.rows, 0)?;
    }
    activations.layers[0].input[..x.len()].copy_from_slice(x);
    blocks(&pass, model, activations, Save::ForBackward, None);
    Ok(())
}

/// All layers and the output norm, from the embedded input on.
fn blocks(
    pass: &Pass,
    model: &Network<impl Weight>,
    activations: &mut Activations,
    save: Save,
    mut cache: Option<&mut KvCache>,
) {
    let (n, d, len) = (pass.n(), pass.d, pass.values());
    let Activations { layers, output, output_stats, normed, delta, angles, dropout, .. } =
        activations;
    let dropout = dropout.filter(|_| save == Save::ForBackward);
    let index = |l: usize| if save == Save::ForBackward { l } else { 0 };
    if let Some(layer) = model.params.layers.first() {
        let LayerActivations { input, stats1, normed1, .. } = &mut layers[0];
        normalise(pass, &input[..len], &layer.norm1, normed1, stats1);
    } else {
        normalise(pass, &output[..len], &PLAIN, normed, output_stats);
    }

    for (l, layer) in model.params.layers.iter().enumerate() {
        let a = &mut layers[index(l)];
        if let Some(attention) = &layer.attention {
            project(pass, attention, &a.normed1, &mut a.qkv);
            if cache.is_none() {
                shift::forward(pass, attention, &mut a.qkv);
            }
            rotary::forward(pass, attention, angles, &mut a.qkv, &mut a.qk_factors);
            let cache = cache.as_deref_mut().map(|cache| (cache, l));
            attend(pass, attention, a, &mut delta[..len], save, cache);
            if let Some(dropout) = dropout {
                dropout.apply(pass, Site::Attention(l), delta, None);
            }
        }
        let LayerActivations { input, middle, stats2, normed2, .. } = a;
        let attended = layer.attention.as_ref().map(|_| &delta[..]);
        residual(pass, &input[..len], attended, None, middle, &layer.norm2, normed2, stats2);

        let feed_forward = layer.feed_forward.as_ref();
        if let Some(ff) = feed_forward {
            hidden(pass, ff, a, save);
            pass.products().linear(delta, &a.hidden, ff.w2, n, ff.hidden, d);
        }
        let mut bias = feed_forward.and_then(|ff| ff.b2.as_ref().map(Weight::floats));
        if let (Some(dropout), Some(_)) = (dropout, feed_forward) {
            dropout.apply(pass, Site::FeedForward(l), delta, bias.take());
        }
        let change = feed_forward.map(|_| &delta[..]);
        // The stream leaves this layer and is normalised for the next one, or for the output.
        let middle = std::mem::take(&mut a.middle);
        let from = &middle[..len];
        match model.params.layers.get(l + 1) {
            Some(next) => {
                let LayerActivations { input, normed1, stats1, .. } = &mut layers[index(l + 1)];
                residual(pass, from, change, bias, input, &next.norm1, normed1, stats1);
            }
            None => {
                residual(pass, from, change, bias, output, &PLAIN, normed, output_stats);
            }
        }
        layers[index(l)].middle = middle;
    }
}

/// x_t = E[token] + S[pos] + P[pos].
fn embed(pass: &Pass, model: &Network<impl Weight>, tokens: &[u32], x: &mut [f32], beyond: Beyond) {
    let d = pass.d;
    pass.pool.chunks((x, TASK_ROWS * d), |task, x| {
        for (i, row) in x.chunks_exact_mut(d).enumerate() {
            let t = task * TASK_ROWS + i;
            let token = tokens[t] as usize;
            match model.params.embeddings.tensor() {
                _ if token >= model.vocab => row.fill(0.0),
                Tensor::F32(table) => row.copy_from_slice(&table[token * d..][..d]),
                Tensor::Int8(table) => table.expand_row(token, row),
            }
            if let Some(position) = position_row(model, pass.base + t % pass.rows, beyond) {
                for table in model.spiral.iter().chain(&model.params.learned) {
                    add_assign(row, &table.floats()[position * d..][..d]);
                }
            }
        }
    });
}

/// The row of the position tables for a position.
pub(super) fn position_row(
    model: &Network<impl Weight>,
    position: usize,
    beyond: Beyond,
) -> Option<usize> {
    match model.max_length {
        0 => None,
        length if position < length => Some(position),
        length if beyond == Beyond::LastRow => Some(length - 1),
        _ => None,
    }
}

/// Gamma and beta of a norm.
fn parameters(norm: &Norm<impl Weight>) -> (Option<&[f32]>, Option<&[f32]>) {
    (norm.gamma.as_ref().map(Weight::floats), norm.beta.as_ref().map(Weight::floats))
}

/// The norm without parameters.
const PLAIN: Norm<&[f32]> = Norm { epsilon: DEFAULT_EPSILON, gamma: None, beta: None };

/// A layer norm of every row.
pub(super) fn normalise(
    pass: &Pass,
    x: &[f32],
    norm: &Norm<impl Weight>,
    out: &mut [f32],
    stats: &mut [layer_norm::Stats],
) {
    let (n, d) = (pass.n(), pass.d);
    let (gamma, beta) = parameters(norm);
    pass.pool.chunks2(
        (&mut out[..n * d], TASK_ROWS * d),
        (&mut stats[..n], TASK_ROWS),
        |task, out, stats| {
            let x = &x[task * TASK_ROWS * d..];
            for ((x, out), stats) in x.chunks_exact(d).zip(out.chunks_exact_mut(d)).zip(stats) {
                *stats = layer_norm::forward(x, norm.epsilon, gamma, beta, out);
            }
        },
    );
}

/// sum = x + delta + bias and the norm of it, row by row.
fn residual(
    pass: &Pass,
    x: &[f32],
    delta: Option<&[f32]>,
    bias: Option<&[f32]>,
    sum: &mut [f32],
    norm: &Norm<impl Weight>,
    out: &mut [f32],
    stats: &mut [layer_norm::Stats],
) {
    let (n, d) = (pass.n(), pass.d);
    let (gamma, beta) = parameters(norm);
    pass.pool.chunks3(
        (&mut sum[..n * d], TASK_ROWS * d),
        (&mut out[..n * d], TASK_ROWS * d),
        (&mut stats[..n], TASK_ROWS),
        |task, sum, out, stats| {
            for (i, stats) in stats.iter_mut().enumerate() {
                let at = (task * TASK_ROWS + i) * d;
                let part = i * d..(i + 1) * d;
                *stats = layer_norm::add_forward(
                    &x[at..at + d],
                    delta.map(|delta| &delta[at..at + d]),
                    bias,
                    &mut sum[part.clone()],
                    norm.epsilon,
                    gamma,
                    beta,
                    &mut out[part],
                );
            }
        },
    );
}

/// Queries, keys and values of n rows into `[n][3d]`.
pub fn project(pass: &Pass, attention: &Attention<impl Weight>, x: &[f32], qkv: &mut [f32]) {
    let (products, n, d) = (pass.products(), pass.n(), pass.d);
    let [query, key, value] = attention.qkv.each_ref().map(Weight::tensor);
    if let (Tensor::Int8(query), Tensor::Int8(key), Tensor::Int8(value)) = (query, key, value) {
        return int8::linear(pass.pool, &mut qkv[..n * 3 * d], x, n, &[query, key, value]);
    }
    match (attention.layout, &attention.joined) {
        (AttentionLayout::Full, Some(w)) => products.linear(qkv, x, *w, n, d, 3 * d),
        (AttentionLayout::Full, None) => {
            for (i, w) in attention.qkv.iter().enumerate() {
                if n == 1 {
                    products.linear(&mut qkv[i * d..], x, *w, 1, d, d);
                } else {
                    let out = strided_mut(&mut qkv[i * d..], n, d, 3 * d);
                    let w = mat(w.floats(), d, d);
                    products.matmul(out, mat(x, n, d), w.t(), Accumulate::Replace);
                }
            }
        }
        (AttentionLayout::PerHead, _) => {
            let h = attention.head_dim;
            for (i, w) in attention.qkv.iter().enumerate() {
                for (head, block) in w.floats().chunks_exact(h * h).enumerate() {
                    let out = strided_mut(&mut qkv[i * d + head * h..], n, h, 3 * d);
                    let x = strided(&x[head * h..], n, h, d);
                    products.matmul(out, x, mat(block, h, h).t(), Accumulate::Replace);
                }
            }
        }
    }
}

/// Causal attention over the batch, or over a layer of the cache and the new rows, and Wo after it,
/// `[B·rows][d]`.
fn attend(
    pass: &Pass,
    w: &Attention<impl Weight>,
    a: &mut LayerActivations,
    out: &mut [f32],
    save: Save,
    cache: Option<(&mut KvCache, usize)>,
) {
    let (pool, n, d) = (pass.pool, pass.n(), pass.d);
    let call = pass.attention(w);
    let lse = (save == Save::ForBackward).then(|| &mut a.lse[..n * w.heads]);
    let [q, k, v] = qkv_heads(&a.qkv, pass.rows, d);
    let attended = if w.output.is_some() { &mut a.attended[..n * d] } else { &mut *out };
    match cache {
        None => attention::forward(pool, &call, q, k, v, attended, lse),
        Some((cache, layer)) => {
            let (keys, values) = cache.append(layer, &a.qkv[..n * 3 * d]);
            let cached = |data| Heads { data, row: d, sequence: 0 };
            attention::forward(pool, &call, q, cached(keys), cached(values), attended, lse);
        }
    }
    if let Some(w) = w.output {
        pass.products().linear(out, &a.attended, w, n, d, d);
    }
}

/// What attention gave, before Wo, `[B·rows][d]`, again from the queries, keys and values that a
/// forward pass kept: the same bits.
pub fn attended(pass: &Pass, w: &Attention<impl Weight>, qkv: &[f32], out: &mut [f32]) {
    let [q, k, v] = qkv_heads(qkv, pass.rows, pass.d);
    attention::forward(pass.pool, &pass.attention(w), q, k, v, out, None);
}

/// Queries, keys and values inside their common buffer `[B·rows][3d]`.
pub fn qkv_heads(qkv: &[f32], rows: usize, d: usize) -> [Heads<'_>; 3] {
    [0, d, 2 * d].map(|offset| Heads { data: &qkv[offset..], row: 3 * d, sequence: rows * 3 * d })
}

/// The activation of W1·x + b1, and its derivative where the backward pass needs it.
fn hidden(pass: &Pass, ff: &FeedForward<impl Weight>, a: &mut LayerActivations, save: Save) {
    let (pool, n, d, width) = (pass.pool, pass.n(), pass.d, ff.hidden);
    let bias = ff.b1.as_ref().map(Weight::floats);
    let finish = |j: usize, x: &mut [f32], slope: &mut [f32]| {
        let bias = bias.map(|b| &b[j..]);
        match (ff.activation, save, bias) {
            (Activation::Gelu, Save::ForBackward, bias) => gelu::with_slope(x, bias, slope),
            (Activation::Gelu, Save::Nothing, Some(bias)) => gelu::with_bias(x, bias),
            (Activation::Gelu, Save::Nothing, None) => gelu::in_place(x),
            (Activation::SquaredRelu, Save::ForBackward, bias) => {
                squared_relu::with_slope(x, bias, slope);
            }
            (Activation::SquaredRelu, Save::Nothing, bias) => squared_relu::in_place(x, bias),
        }
    };
    match ff.w1.tensor() {
        Tensor::F32(w) => {
            let slope = (save == Save::ForBackward).then(|| mat_mut(&mut a.slope, n, width));
            let (out, x) = (mat_mut(&mut a.hidden, n, width), mat(&a.normed2, n, d));
            let w = mat(w, width, d);
            pass.products().matmul_then(out, slope, x, w.t(), |_, j, x, slope| {
                finish(j, x, slope);
            });
        }
        Tensor::Int8(w) => {
            let out = &mut a.hidden[..n * width];
            int8::linear_then(pool, out, &a.normed2, n, &[w], |j, x| finish(j, x, &mut []));
        }
    }
}

/// logits = E·n for rows of n, or those of the model's own output matrix: `out` is `[rows][V]`. A step
/// of its own.
pub fn logits(
    pool: &Pool,
    model: &Network<impl Weight>,
    normed: &[f32],
    rows: usize,
    out: &mut [f32],
) {
    pool.step(work::logits(model, rows, rows, 1), |pool| {
        let (products, w) = (Products::f32(pool), model.output_matrix());
        products.linear(out, normed, w, rows, model.dim, model.vocab);
    });
}
