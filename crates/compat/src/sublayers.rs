//! Attention and feed-forward on their own, forward and backward, as the C functions of single
//! layers offer them: any widths, no norm, no residual.

use cllm_engine::error::Result;
use cllm_engine::model::Attention;
use cllm_engine::nn::backward::projection_backward;
use cllm_engine::nn::forward::{project, qkv_heads};
use cllm_engine::nn::products::Products;
use cllm_engine::nn::rows::{Pass, mat, mat_mut};
use cllm_kernels::Pool;
use cllm_kernels::attention::{self, Call, Heads};
use cllm_kernels::gelu;
use cllm_kernels::matmul::{Accumulate, matmul};
use cllm_kernels::memory::{filled, product};
use cllm_kernels::vector::add_assign;

const WHAT: &str = "a layer's intermediate results";

/// What attention computed over some rows.
pub struct Attended {
    /// Queries, keys and values of the rows, `[n][3d]`.
    pub qkv: Vec<f32>,
    /// The result, `[n][d]`.
    pub out: Vec<f32>,
    /// log Σ e^score, `[n][H]`.
    pub lse: Vec<f32>,
}

/// Attention of n rows among themselves; with `causal` a row sees only itself and earlier ones.
pub fn attend(w: &Attention<&[f32]>, x: &[f32], n: usize, causal: bool) -> Result<Attended> {
    let pool = Pool::serial();
    let d = w.heads * w.head_dim;
    let mut qkv = filled(WHAT, product(WHAT, &[n, 3, d])?)?;
    let mut out = filled(WHAT, product(WHAT, &[n, d])?)?;
    let mut lse = filled(WHAT, product(WHAT, &[n, w.heads])?)?;
    let pass = Pass::one(&pool, n, d);
    project(&pass, w, x, &mut qkv);
    let call = Call { causal, ..pass.attention(w) };
    let [q, k, v] = qkv_heads(&qkv, n, d);
    attention::forward(&pool, &call, q, k, v, &mut out, Some(&mut lse));
    Ok(Attended { qkv, out, lse })
}

/// The projections of n rows, `[n][3d]`.
pub fn projections(w: &Attention<&[f32]>, x: &[f32], n: usize) -> Result<Vec<f32>> {
    let d = w.heads * w.head_dim;
    let mut qkv = filled(WHAT, product(WHAT, &[n, 3, d])?)?;
    project(&Pass::one(&Pool::serial(), n, d), w, x, &mut qkv);
    Ok(qkv)
}

/// Causal attention of the n rows behind `qkv` over `base` earlier positions and themselves;
/// `keys` and `values` `[base + n][d]` hold all of them.
pub fn attend_cached(
    w: &Attention<&[f32]>,
    qkv: &[f32],
    keys: &[f32],
    values: &[f32],
    base: usize,
    n: usize,
) -> Result<Vec<f32>> {
    let d = w.heads * w.head_dim;
    let mut out = filled(WHAT, product(WHAT, &[n, d])?)?;
    let pool = Pool::serial();
    let call = Pass { base, ..Pass::one(&pool, n, d) }.attention(w);
    let [q, ..] = qkv_heads(qkv, n, d);
    let cached = |data| Heads { data, row: d, sequence: 0 };
    attention::forward(&pool, &call, q, cached(keys), cached(values), &mut out, None);
    Ok(out)
}

/// Gradients of causal attention over n rows: returns that of the input; adds those of the three
/// matrices to `grads`. Activations are recomputed.
pub fn attend_backward(
    w: &Attention<&[f32]>,
    x: &[f32],
    dout: &[f32],
    n: usize,
    grads: &mut Attention<&mut [f32]>,
) -> Result<Vec<f32>> {
    let pool = Pool::serial();
    let d = w.heads * w.head_dim;
    let Attended { qkv, out, lse } = attend(w, x, n, true)?;
    let mut dqkv = filled(WHAT, qkv.len())?;
    let mut dx = filled(WHAT, out.len())?;
    let pass = Pass::one(&pool, n, d);
    let (heads, columns) = (qkv_heads(&qkv, n, d), [0, d, 2 * d]);
    attention::backward(&pool, &pass.attention(w), heads, &lse, dout, &mut dqkv, 3 * d, columns);
    projection_backward(&pass, w, x, &dqkv, grads, &mut dx, Accumulate::Add);
    Ok(dx)
}

/// y = W2·GELU(W1·x + b1) + b2 with any widths.
#[derive(Clone, Copy, Debug)]
pub struct Dense<'a> {
    /// Width of x.
    pub inputs: usize,
    /// Hidden units.
    pub hidden: usize,
    /// Width of y.
    pub outputs: usize,
    /// `[hidden][inputs]`.
    pub w1: &'a [f32],
    /// `[hidden]`; absent = 0.
    pub b1: Option<&'a [f32]>,
    /// `[outputs][hidden]`.
    pub w2: &'a [f32],
    /// `[outputs]`; absent = 0.
    pub b2: Option<&'a [f32]>,
}

/// Where the gradients of a [`Dense`] are added; each may be absent.
#[derive(Debug, Default)]
pub struct DenseGradients<'a> {
    /// Of W1.
    pub w1: Option<&'a mut [f32]>,
    /// Of b1.
    pub b1: Option<&'a mut [f32]>,
    /// Of W2.
    pub w2: Option<&'a mut [f32]>,
    /// Of b2.
    pub b2: Option<&'a mut [f32]>,
}

impl Dense<'_> {
    /// Hidden units before GELU, for n rows.
    fn pre_activation(&self, x: &[f32], n: usize) -> Result<Vec<f32>> {
        let mut z = filled(WHAT, product(WHAT, &[n, self.hidden])?)?;
        let pool = Pool::serial();
        let products = Products::f32(&pool);
        products.linear(&mut z, x, self.w1, n, self.inputs, self.hidden);
        if let Some(b1) = self.b1 {
            z.chunks_exact_mut(self.hidden).for_each(|row| add_assign(row, b1));
        }
        Ok(z)
    }

    /// y for n rows of x.
    pub fn forward(&self, x: &[f32], n: usize) -> Result<Vec<f32>> {
        let mut hidden = self.pre_activation(x, n)?;
        gelu::in_place(&mut hidden);
        let mut y = filled(WHAT, product(WHAT, &[n, self.outputs])?)?;
        let pool = Pool::serial();
        let products = Products::f32(&pool);
        products.linear(&mut y, &hidden, self.w2, n, self.hidden, self.outputs);
        if let Some(b2) = self.b2 {
            y.chunks_exact_mut(self.outputs).for_each(|row| add_assign(row, b2));
        }
        Ok(y)
    }

    /// Gradients for one row: returns that of x. `hidden` is GELU's result where the caller has it.
    pub fn backward(
        &self,
        x: &[f32],
        hidden: Option<&[f32]>,
        dy: &[f32],
        grads: DenseGradients,
    ) -> Result<Vec<f32>> {
        let pool = Pool::serial();
        let z = self.pre_activation(x, 1)?;
        let mut dz = filled(WHAT, self.hidden)?;
        let (dy_row, w2) = (mat(dy, 1, self.outputs), mat(self.w2, self.outputs, self.hidden));
        matmul(&pool, mat_mut(&mut dz, 1, self.hidden), dy_row, w2, Accumulate::Replace);
        gelu::backward(&z, &mut dz);
        let mut recomputed;
        let hidden = match hidden {
            Some(hidden) => hidden,
            None => {
                recomputed = z;
                gelu::in_place(&mut recomputed);
                &recomputed
            }
        };
        let outer = |out: &mut [f32], column: &[f32], row: &[f32]| {
            let (m, n) = (column.len(), row.len());
            matmul(&pool, mat_mut(out, m, n), mat(column, m, 1), mat(row, 1, n), Accumulate::Add);
        };
        if let Some(w2) = grads.w2 {
            outer(w2, dy, hidden);
        }
        if let Some(b2) = grads.b2 {
            add_assign(b2, dy);
        }
        if let Some(w1) = grads.w1 {
            outer(w1, &dz, x);
        }
        if let Some(b1) = grads.b1 {
            add_assign(b1, &dz);
        }
        let mut dx = filled(WHAT, self.inputs)?;
        let (dz, w1) = (mat(&dz, 1, self.hidden), mat(self.w1, self.hidden, self.inputs));
        matmul(&pool, mat_mut(&mut dx, 1, self.inputs), dz, w1, Accumulate::Replace);
        Ok(dx)
    }
}
