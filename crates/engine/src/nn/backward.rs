//! The backward pass: exact gradients of the mean loss with respect to every parameter, from what
//! the forward pass kept. Derivations: `docs/MODEL.md`.

use super::activations::{Activations, LayerActivations};
use super::forward::qkv_heads;
use super::model::{Attention, AttentionLayout, FeedForward, Layer, ModelRef, Norm, Params};
use super::rows::{TASK_ROWS, mat, mat_mut, partials_len, strided, strided_mut, sum_rows};
use crate::error::Result;
use cllm_kernels::Pool;
use cllm_kernels::attention;
use cllm_kernels::matmul::{Accumulate, matmul, matmul_then};
use cllm_kernels::memory::floats::Floats;
use cllm_kernels::memory::product;
use cllm_kernels::norm;
use cllm_kernels::vector::{add_assign, multiply_assign};

/// Memory of the backward pass, used again from call to call.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Gradient of n, `[T][d]`: what the loss leaves for [`backward`].
    pub dnormed: Floats,
    /// Gradient of the residual stream, `[T][d]`; after [`backward`] that of the input embeddings.
    pub dx: Floats,
    /// Gradient of a sublayer's normalised input, `[T][d]`.
    branch: Floats,
    /// Gradient of the hidden units, `[T][F]`.
    hidden: Floats,
    /// Gradient of queries, keys and values, `[T][3d]`.
    qkv: Floats,
    partials: Floats,
}

impl Scratch {
    /// Makes room for `rows` rows of `model`.
    pub fn reserve(&mut self, model: &ModelRef, rows: usize) -> Result<()> {
        const WHAT: &str = "the backward pass";
        let width = product(WHAT, &[rows, model.dim])?;
        for buffer in [&mut self.dnormed, &mut self.dx, &mut self.branch] {
            buffer.grow(WHAT, width)?;
        }
        self.hidden.grow(WHAT, product(WHAT, &[rows, model.max_hidden()])?)?;
        if model.max_heads() > 0 {
            self.qkv.grow(WHAT, product(WHAT, &[3, width])?)?;
        }
        let columns = model.max_hidden().max(2 * model.dim);
        self.partials.grow(WHAT, partials_len(rows, columns))?;
        Ok(())
    }
}

/// Gradients of everything below the output layer. `scratch.dnormed` holds the gradient of n, and
/// `grads.embeddings` that of the output matrix, to which the input embeddings' is added; all
/// other tensors of `grads` are overwritten.
pub fn backward(
    pool: &Pool,
    model: &ModelRef,
    tokens: &[u32],
    batch: usize,
    activations: &Activations,
    grads: &mut Params<&mut [f32]>,
    scratch: &mut Scratch,
) -> Result<()> {
    let rows = tokens.len();
    scratch.reserve(model, rows)?;
    pool.install(|| run(pool, model, tokens, batch, activations, grads, scratch));
    Ok(())
}

fn run(
    pool: &Pool,
    model: &ModelRef,
    tokens: &[u32],
    batch: usize,
    activations: &Activations,
    grads: &mut Params<&mut [f32]>,
    scratch: &mut Scratch,
) {
    let (d, n) = (model.dim, tokens.len());
    let per_sequence = n / batch.max(1);
    scratch.dx[..n * d].fill(0.0);
    let Scratch { dnormed, dx, partials, .. } = scratch;
    norm_backward(
        pool,
        d,
        &activations.output[..n * d],
        &activations.output_stats,
        &Norm::default(),
        dnormed,
        dx,
        &mut Norm::default(),
        partials,
        Accumulate::Replace,
    );
    let layers = model.params.layers.iter().zip(&mut grads.layers).zip(&activations.layers);
    for ((layer, grads), a) in layers.rev() {
        layer_backward(pool, layer, a, d, batch, per_sequence, grads, scratch, Accumulate::Replace);
    }
    let dx = &scratch.dx[..n * d];
    embedding_backward(pool, d, tokens, dx, grads.embeddings);
    if let Some(learned) = &mut grads.learned {
        // Positions beyond the table have no row in training: `Beyond::NoPosition`.
        pool.chunks((learned, TASK_ROWS * d), |task, learned| {
            for (i, row) in learned.chunks_exact_mut(d).enumerate() {
                let position = task * TASK_ROWS + i;
                row.fill(0.0);
                for dx in dx.chunks_exact(per_sequence * d) {
                    if let Some(dx) = dx.chunks_exact(d).nth(position) {
                        add_assign(row, dx);
                    }
                }
            }
        });
    }
}

/// Adds the rows of `dx` to the rows of their tokens. Each task owns some of the vocabulary, so
/// that rows are added in the order of the batch.
fn embedding_backward(pool: &Pool, d: usize, tokens: &[u32], dx: &[f32], embeddings: &mut [f32]) {
    const TASKS: usize = 16;
    let vocab = embeddings.len() / d;
    let owned = vocab.div_ceil(TASKS).max(1);
    pool.chunks((embeddings, owned * d), |task, rows| {
        for (token, dx) in tokens.iter().zip(dx.chunks_exact(d)) {
            let row = (*token as usize).wrapping_sub(task * owned);
            if let Some(row) = rows.chunks_exact_mut(d).nth(row) {
                add_assign(row, dx);
            }
        }
    });
}

/// One layer: `scratch.dx` is the gradient of what leaves it and becomes that of what enters it.
/// Its parameters' gradients overwrite `grads` or are added to it.
pub fn layer_backward(
    pool: &Pool,
    layer: &Layer<&[f32]>,
    a: &LayerActivations,
    d: usize,
    batch: usize,
    rows: usize,
    grads: &mut Layer<&mut [f32]>,
    scratch: &mut Scratch,
    accumulate: Accumulate,
) {
    let n = batch * rows;
    let Scratch { dx, branch, hidden, qkv, partials, .. } = scratch;
    let dx = &mut dx[..n * d];

    if let (Some(ff), Some(grad)) = (&layer.feed_forward, &mut grads.feed_forward) {
        feed_forward_backward(pool, ff, a, n, d, dx, grad, hidden, branch, partials, accumulate);
        let (norm, grad) = (&layer.norm2, &mut grads.norm2);
        norm_backward(
            pool,
            d,
            &a.middle[..n * d],
            &a.stats2,
            norm,
            branch,
            dx,
            grad,
            partials,
            accumulate,
        );
    } else if accumulate == Accumulate::Replace {
        clear(&mut grads.norm2);
    }

    if let (Some(w), Some(grad)) = (&layer.attention, &mut grads.attention) {
        let shape = attention::Shape {
            batch,
            rows,
            base: 0,
            heads: w.heads,
            head_dim: w.head_dim,
            causal: true,
        };
        let heads = qkv_heads(&a.qkv, rows, d);
        let dqkv = &mut qkv[..n * 3 * d];
        let lse = &a.lse[..n * w.heads];
        attention::backward(pool, &shape, heads, lse, dx, dqkv, 3 * d, [0, d, 2 * d]);
        projection_backward(pool, w, &a.normed1, n, d, dqkv, grad, branch, accumulate);
        let (norm, grad) = (&layer.norm1, &mut grads.norm1);
        norm_backward(
            pool,
            d,
            &a.input[..n * d],
            &a.stats1,
            norm,
            branch,
            dx,
            grad,
            partials,
            accumulate,
        );
    } else if accumulate == Accumulate::Replace {
        clear(&mut grads.norm1);
    }
}

fn clear(norm: &mut Norm<&mut [f32]>) {
    for tensor in norm.gamma.iter_mut().chain(&mut norm.beta) {
        tensor.fill(0.0);
    }
}

/// y = W2·GELU(W1·x + b1) + b2: `dx` is the gradient of y, `branch` receives that of x.
fn feed_forward_backward(
    pool: &Pool,
    ff: &FeedForward<&[f32]>,
    a: &LayerActivations,
    n: usize,
    d: usize,
    dx: &[f32],
    grads: &mut FeedForward<&mut [f32]>,
    hidden: &mut [f32],
    branch: &mut [f32],
    partials: &mut [f32],
    accumulate: Accumulate,
) {
    let width = ff.hidden;
    let dy = mat(dx, n, d);
    matmul(pool, mat_mut(grads.w2, d, width), dy.t(), mat(&a.hidden, n, width), accumulate);
    if let Some(b2) = &mut grads.b2 {
        sum_rows(pool, b2, dx, n, partials, accumulate);
    }
    let dhidden = &mut hidden[..n * width];
    let through = |i: usize, j: usize, grad: &mut [f32], _: &mut [f32]| {
        multiply_assign(grad, &a.slope[i * width + j..]);
    };
    matmul_then(pool, mat_mut(dhidden, n, width), None, dy, mat(ff.w2, d, width), through);
    if let Some(b1) = &mut grads.b1 {
        sum_rows(pool, b1, dhidden, n, partials, accumulate);
    }
    let dhidden = mat(dhidden, n, width);
    let x = mat(&a.normed2, n, d);
    matmul(pool, mat_mut(grads.w1, width, d), dhidden.t(), x, accumulate);
    matmul(pool, mat_mut(branch, n, d), dhidden, mat(ff.w1, width, d), Accumulate::Replace);
}

/// q, k, v = Wq·x, Wk·x, Wv·x: `branch` receives the gradient of x.
pub fn projection_backward(
    pool: &Pool,
    w: &Attention<&[f32]>,
    x: &[f32],
    n: usize,
    d: usize,
    dqkv: &[f32],
    grads: &mut Attention<&mut [f32]>,
    branch: &mut [f32],
    accumulate: Accumulate,
) {
    let part = |i: usize| strided(&dqkv[i * d..], n, d, 3 * d);
    match (w.layout, w.joined) {
        (AttentionLayout::Full, joined) => {
            for (i, grad) in grads.qkv.iter_mut().enumerate() {
                matmul(pool, mat_mut(grad, d, d), part(i).t(), mat(x, n, d), accumulate);
            }
            if let Some(joined) = joined {
                let all = mat(dqkv, n, 3 * d);
                matmul(
                    pool,
                    mat_mut(branch, n, d),
                    all,
                    mat(joined, 3 * d, d),
                    Accumulate::Replace,
                );
            } else {
                for (i, w) in w.qkv.iter().enumerate() {
                    let accumulate = if i == 0 { Accumulate::Replace } else { Accumulate::Add };
                    matmul(pool, mat_mut(branch, n, d), part(i), mat(w, d, d), accumulate);
                }
            }
        }
        (AttentionLayout::PerHead, _) => {
            let h = w.head_dim;
            for (i, (w, grad)) in w.qkv.iter().zip(&mut grads.qkv).enumerate() {
                let blocks = w.chunks_exact(h * h).zip(grad.chunks_exact_mut(h * h));
                for (head, (w, grad)) in blocks.enumerate() {
                    let dy = strided(&dqkv[i * d + head * h..], n, h, 3 * d);
                    let x = strided(&x[head * h..], n, h, d);
                    matmul(pool, mat_mut(grad, h, h), dy.t(), x, accumulate);
                    let out = strided_mut(&mut branch[head * h..], n, h, d);
                    matmul(
                        pool,
                        out,
                        dy,
                        mat(w, h, h),
                        if i == 0 { Accumulate::Replace } else { Accumulate::Add },
                    );
                }
            }
        }
    }
}

/// Adds the gradient through a norm to `dx`: `dy` is that of its result, `x` its input.
fn norm_backward(
    pool: &Pool,
    d: usize,
    x: &[f32],
    stats: &[norm::Stats],
    norm: &Norm<&[f32]>,
    dy: &[f32],
    dx: &mut [f32],
    grads: &mut Norm<&mut [f32]>,
    partials: &mut [f32],
    accumulate: Accumulate,
) {
    let n = x.len() / d;
    // One partial sum of dγ and dβ for each task's rows.
    let partials = &mut partials[..partials_len(n, 2 * d)];
    let (has_gamma, has_beta) = (grads.gamma.is_some(), grads.beta.is_some());
    pool.chunks2((dx, TASK_ROWS * d), (&mut *partials, 2 * d), |task, dx, partial| {
        let (dgamma, dbeta) = partial.split_at_mut(d);
        dgamma.fill(0.0);
        dbeta.fill(0.0);
        for (i, dx) in dx.chunks_exact_mut(d).enumerate() {
            let t = task * TASK_ROWS + i;
            norm::backward(
                &x[t * d..][..d],
                stats[t],
                norm.gamma,
                &dy[t * d..][..d],
                dx,
                has_gamma.then_some(&mut *dgamma),
                has_beta.then_some(&mut *dbeta),
            );
        }
    });
    for (grad, offset) in [(&mut grads.gamma, 0), (&mut grads.beta, d)] {
        if let Some(grad) = grad {
            if accumulate == Accumulate::Replace {
                grad.fill(0.0);
            }
            for partial in partials.chunks_exact(2 * d) {
                add_assign(grad, &partial[offset..][..d]);
            }
        }
    }
}
