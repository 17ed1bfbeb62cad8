//! The backward pass: exact gradients of the mean loss with respect to every parameter, from what
//! the forward pass kept. Derivations: `docs/MODEL.md`.

use super::activations::{Activations, LayerActivations};
use super::dropout::{Dropout, Site};
use super::forward::qkv_heads;
use super::rotary::{self, Angles};
use super::rows::{Pass, TASK_ROWS, mat, mat_mut, partials_len, strided, strided_mut, sum_rows};
use super::{shift, work};
use crate::error::Result;
use crate::model::{Attention, AttentionLayout, FeedForward, Layer, ModelRef, Norm, Params};
use cllm_kernels::Pool;
use cllm_kernels::attention;
use cllm_kernels::layer_norm;
use cllm_kernels::matmul::Accumulate;
use cllm_kernels::memory::floats::Floats;
use cllm_kernels::memory::product;
use cllm_kernels::vector::{add_assign, multiply_assign};

/// Gradients of the activations, in memory that is used again from call to call.
#[derive(Debug, Default)]
pub struct ActivationGradients {
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
    /// Partial sums over rows.
    partials: Floats,
    /// What is left of `dx` for a sublayer whose result was left out in part, `[T][d]`.
    dropped: Floats,
}

impl ActivationGradients {
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

/// Gradients of everything below the output layer. `activation_grads.dnormed` holds the gradient of n, and
/// `grads.embeddings` that of the output matrix, where that is E (else it is 0), to which the input
/// embeddings' is added; `grads.head` stays; all other tensors of `grads` are overwritten.
pub fn backward(
    pool: &Pool,
    model: &ModelRef,
    tokens: &[u32],
    batch: usize,
    activations: &Activations,
    grads: &mut Params<&mut [f32]>,
    activation_grads: &mut ActivationGradients,
) -> Result<()> {
    let n = tokens.len();
    activation_grads.reserve(model, n)?;
    if activations.dropout.is_some() {
        activation_grads.dropped.grow("the backward pass", product("rows", &[n, model.dim])?)?;
    }
    let (rows, bfloat16) = (n / batch.max(1), activations.bfloat16);
    let pass = Pass { batch, bfloat16, ..Pass::one(pool, rows, model.dim) };
    pool.step(work::backward(&pass, model), |pool| {
        let pass = Pass { pool, ..pass };
        run(&pass, model, tokens, activations, grads, activation_grads);
    });
    Ok(())
}

fn run(
    pass: &Pass,
    model: &ModelRef,
    tokens: &[u32],
    activations: &Activations,
    grads: &mut Params<&mut [f32]>,
    activation_grads: &mut ActivationGradients,
) {
    let (d, len) = (pass.d, pass.values());
    let ActivationGradients { dnormed, dx, partials, .. } = activation_grads;
    let dx = &mut dx[..len];
    dx.fill(0.0);
    let norm = NormInput {
        x: &activations.output[..len],
        stats: &activations.output_stats,
        norm: &Norm::default(),
    };
    norm_backward(pass, norm, dnormed, dx, partials, &mut Norm::default(), Accumulate::Replace);
    let layers = model.params.layers.iter().zip(&mut grads.layers).zip(&activations.layers);
    for (l, ((layer, grads), a)) in layers.enumerate().rev() {
        let passed = Passed { angles: &activations.angles, dropout: activations.dropout, layer: l };
        layer_backward(pass, layer, a, &passed, grads, activation_grads, Accumulate::Replace);
    }
    let dx = &mut activation_grads.dx[..len];
    if let Some(dropout) = activations.dropout {
        dropout.apply(pass, Site::Input, dx, None);
    }
    let dx = &*dx;
    embedding_backward(pass, tokens, dx, grads.embeddings);
    if let Some(learned) = &mut grads.learned {
        // Positions beyond the table have no row in training: `Beyond::NoPosition`.
        pass.pool.chunks((learned, TASK_ROWS * d), |task, learned| {
            for (i, row) in learned.chunks_exact_mut(d).enumerate() {
                let position = task * TASK_ROWS + i;
                row.fill(0.0);
                for dx in dx.chunks_exact(pass.rows * d) {
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
fn embedding_backward(pass: &Pass, tokens: &[u32], dx: &[f32], embeddings: &mut [f32]) {
    const TASKS: usize = 16;
    let d = pass.d;
    let vocab = embeddings.len() / d;
    let owned = vocab.div_ceil(TASKS).max(1);
    pass.pool.chunks((embeddings, owned * d), |task, rows| {
        for (token, dx) in tokens.iter().zip(dx.chunks_exact(d)) {
            let row = (*token as usize).wrapping_sub(task * owned);
            if let Some(row) = rows.chunks_exact_mut(d).nth(row) {
                add_assign(row, dx);
            }
        }
    });
}

/// What the forward pass over a layer followed besides its weights.
#[derive(Clone, Copy)]
pub struct Passed<'a> {
    /// [`Activations::angles`].
    pub angles: &'a Angles,
    /// [`Activations::dropout`].
    pub dropout: Option<Dropout>,
    /// Which layer it was.
    pub layer: usize,
}

/// The gradient of what a sublayer gave: that of the stream, less what was left out.
fn result_gradient<'a>(
    pass: &Pass,
    passed: &Passed,
    site: Site,
    dx: &'a [f32],
    dropped: &'a mut [f32],
) -> &'a [f32] {
    let Some(dropout) = passed.dropout else { return dx };
    let dropped = &mut dropped[..dx.len()];
    dropped.copy_from_slice(dx);
    dropout.apply(pass, site, dropped, None);
    dropped
}

/// One layer: `activation_grads.dx` is the gradient of what leaves it and becomes that of what enters
/// it. Its parameters' gradients overwrite `grads` or are added to it.
pub fn layer_backward(
    pass: &Pass,
    layer: &Layer<&[f32]>,
    a: &LayerActivations,
    passed: &Passed,
    grads: &mut Layer<&mut [f32]>,
    activation_grads: &mut ActivationGradients,
    accumulate: Accumulate,
) {
    let (n, d, len) = (pass.n(), pass.d, pass.values());
    if let (Some(ff), Some(grads_ff)) = (&layer.feed_forward, &mut grads.feed_forward) {
        let ActivationGradients { dx, branch, hidden, partials, dropped, .. } = activation_grads;
        let site = Site::FeedForward(passed.layer);
        let dy = result_gradient(pass, passed, site, &dx[..len], dropped);
        feed_forward_backward(pass, ff, a, dy, grads_ff, branch, hidden, partials, accumulate);
        let norm = NormInput { x: &a.middle[..len], stats: &a.stats2, norm: &layer.norm2 };
        let dx = &mut dx[..len];
        norm_backward(pass, norm, branch, dx, partials, &mut grads.norm2, accumulate);
    } else if accumulate == Accumulate::Replace {
        clear(&mut grads.norm2);
    }

    if let (Some(w), Some(grads_w)) = (&layer.attention, &mut grads.attention) {
        let ActivationGradients { dx, branch, qkv, partials, dropped, .. } = activation_grads;
        let (dx, dqkv) = (&mut dx[..len], &mut qkv[..3 * len]);
        let (call, heads) = (pass.attention(w), qkv_heads(&a.qkv, pass.rows, d));
        let (lse, columns) = (&a.lse[..n * w.heads], [0, d, 2 * d]);
        let dy = result_gradient(pass, passed, Site::Attention(passed.layer), dx, dropped);
        let dattended = match (w.output, &mut grads_w.output) {
            (Some(w), Some(grad)) => {
                let (products, dy) = (pass.products(), mat(dy, n, d));
                let x = mat(&a.attended, n, d);
                products.matmul(mat_mut(grad, d, d), dy.t(), x, accumulate);
                let out = mat_mut(branch, n, d);
                products.matmul(out, dy, mat(w, d, d), Accumulate::Replace);
                &branch[..len]
            }
            _ => dy,
        };
        attention::backward(pass.pool, &call, heads, lse, dattended, dqkv, 3 * d, columns);
        rotary::backward(pass, w, passed.angles, &a.qkv, &a.qk_factors, dqkv);
        shift::backward(pass, w, dqkv);
        projection_backward(pass, w, &a.normed1, dqkv, grads_w, branch, accumulate);
        let norm = NormInput { x: &a.input[..len], stats: &a.stats1, norm: &layer.norm1 };
        norm_backward(pass, norm, branch, dx, partials, &mut grads.norm1, accumulate);
    } else if accumulate == Accumulate::Replace {
        clear(&mut grads.norm1);
    }
}

fn clear(norm: &mut Norm<&mut [f32]>) {
    for tensor in norm.gamma.iter_mut().chain(&mut norm.beta) {
        tensor.fill(0.0);
    }
}

/// y = W2·f(W1·x + b1) + b2: `dy` is the gradient of y, and `branch` receives that of x.
fn feed_forward_backward(
    pass: &Pass,
    ff: &FeedForward<&[f32]>,
    a: &LayerActivations,
    dy: &[f32],
    grads: &mut FeedForward<&mut [f32]>,
    branch: &mut [f32],
    hidden: &mut [f32],
    partials: &mut [f32],
    accumulate: Accumulate,
) {
    let (products, n, d, width) = (pass.products(), pass.n(), pass.d, ff.hidden);
    if let Some(b2) = &mut grads.b2 {
        sum_rows(pass, b2, dy, partials, accumulate);
    }
    let dy = mat(dy, n, d);
    products.matmul(mat_mut(grads.w2, d, width), dy.t(), mat(&a.hidden, n, width), accumulate);
    let dhidden = &mut hidden[..n * width];
    let through = |i: usize, j: usize, grad: &mut [f32], _: &mut [f32]| {
        multiply_assign(grad, &a.slope[i * width + j..]);
    };
    products.matmul_then(mat_mut(dhidden, n, width), None, dy, mat(ff.w2, d, width), through);
    if let Some(b1) = &mut grads.b1 {
        sum_rows(pass, b1, dhidden, partials, accumulate);
    }
    let dhidden = mat(dhidden, n, width);
    let x = mat(&a.normed2, n, d);
    products.matmul(mat_mut(grads.w1, width, d), dhidden.t(), x, accumulate);
    products.matmul(mat_mut(branch, n, d), dhidden, mat(ff.w1, width, d), Accumulate::Replace);
}

/// q, k, v = Wq·x, Wk·x, Wv·x: `branch` receives the gradient of x from that of q, k and v
/// `[n][3d]`.
pub fn projection_backward(
    pass: &Pass,
    w: &Attention<&[f32]>,
    x: &[f32],
    dqkv: &[f32],
    grads: &mut Attention<&mut [f32]>,
    branch: &mut [f32],
    accumulate: Accumulate,
) {
    let (products, n, d) = (pass.products(), pass.n(), pass.d);
    let part = |i: usize| strided(&dqkv[i * d..], n, d, 3 * d);
    match (w.layout, w.joined) {
        (AttentionLayout::Full, joined) => {
            for (i, grad) in grads.qkv.iter_mut().enumerate() {
                products.matmul(mat_mut(grad, d, d), part(i).t(), mat(x, n, d), accumulate);
            }
            if let Some(joined) = joined {
                let (dy, w) = (mat(dqkv, n, 3 * d), mat(joined, 3 * d, d));
                products.matmul(mat_mut(branch, n, d), dy, w, Accumulate::Replace);
            } else {
                for (i, w) in w.qkv.iter().enumerate() {
                    products.matmul(mat_mut(branch, n, d), part(i), mat(w, d, d), replace_first(i));
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
                    products.matmul(mat_mut(grad, h, h), dy.t(), x, accumulate);
                    let out = strided_mut(&mut branch[head * h..], n, h, d);
                    products.matmul(out, dy, mat(w, h, h), replace_first(i));
                }
            }
        }
    }
}

/// For sums of several products.
pub(super) fn replace_first(i: usize) -> Accumulate {
    if i == 0 { Accumulate::Replace } else { Accumulate::Add }
}

/// What went into a layer norm.
struct NormInput<'a> {
    /// `[n][d]`.
    x: &'a [f32],
    /// Of the rows of x.
    stats: &'a [layer_norm::Stats],
    norm: &'a Norm<&'a [f32]>,
}

/// Adds the gradient through a norm to `dx`: `dy` is that of its result.
fn norm_backward(
    pass: &Pass,
    NormInput { x, stats, norm }: NormInput,
    dy: &[f32],
    dx: &mut [f32],
    partials: &mut [f32],
    grads: &mut Norm<&mut [f32]>,
    accumulate: Accumulate,
) {
    let (n, d) = (pass.n(), pass.d);
    // One partial sum of dγ and dβ for each task's rows.
    let partials = &mut partials[..partials_len(n, 2 * d)];
    let (has_gamma, has_beta) = (grads.gamma.is_some(), grads.beta.is_some());
    pass.pool.chunks2((dx, TASK_ROWS * d), (&mut *partials, 2 * d), |task, dx, partial| {
        let (dgamma, dbeta) = partial.split_at_mut(d);
        dgamma.fill(0.0);
        dbeta.fill(0.0);
        for (i, dx) in dx.chunks_exact_mut(d).enumerate() {
            let t = task * TASK_ROWS + i;
            layer_norm::backward(
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
