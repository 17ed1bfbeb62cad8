//! Layer norm (Ba, Kiros and Hinton, 2016): y = γ·(x − μ)·r + β, r = 1/√(σ² + ε), with the biased
//! variance. Rows are independent.

use super::math::{fma, sums};
use crate::arch::{Vector, simd};

/// What the backward pass needs of one row.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    /// μ.
    pub mean: f32,
    /// r.
    pub rstd: f32,
}

/// # Safety
/// As for all of [`Vector`].
#[inline(always)]
unsafe fn row_stats<V: Vector>(x: &[f32], epsilon: f32) -> Stats {
    let n = x.len() as f32;
    // SAFETY: the caller's promise, here and below.
    let [sum] = unsafe { sums::<V, 1, 1>([x], |[x]| [x]) };
    let mean = sum / n;
    // SAFETY: as above.
    let [squares] = unsafe { sums::<V, 1, 1>([x], |[x]| [(x - mean) * (x - mean)]) };
    let variance = squares / n;
    Stats { mean, rstd: 1.0 / (variance + epsilon).sqrt() }
}

#[inline(always)]
fn apply<const FMA: bool>(
    x: &[f32],
    Stats { mean, rstd }: Stats,
    gamma: Option<&[f32]>,
    beta: Option<&[f32]>,
    out: &mut [f32],
) {
    match (gamma, beta) {
        (Some(gamma), Some(beta)) => {
            for (((x, out), g), b) in x.iter().zip(out).zip(gamma).zip(beta) {
                *out = fma::<FMA>((x - mean) * rstd, *g, *b);
            }
        }
        _ => {
            for (x, out) in x.iter().zip(out.iter_mut()) {
                *out = (x - mean) * rstd;
            }
            for (out, g) in out.iter_mut().zip(gamma.unwrap_or_default()) {
                *out *= g;
            }
            for (out, b) in out.iter_mut().zip(beta.unwrap_or_default()) {
                *out += b;
            }
        }
    }
}

simd! {
    /// Mean and 1/√(variance + epsilon) of one row.
    pub fn stats(x: &[f32], epsilon: f32) -> Stats {
        // SAFETY: V is enabled here.
        unsafe { row_stats::<V>(x, epsilon) }
    }
}

simd! {
    /// Normalises one row into `out`.
    pub fn forward(
        x: &[f32],
        epsilon: f32,
        gamma: Option<&[f32]>,
        beta: Option<&[f32]>,
        out: &mut [f32],
    ) -> Stats {
        // SAFETY: V is enabled here.
        let stats = unsafe { row_stats::<V>(x, epsilon) };
        apply::<FMA>(x, stats, gamma, beta, out);
        stats
    }
}

simd! {
    /// sum = x + delta + bias, then its norm into `out`: the residual add and the norm after it in
    /// one pass over a row.
    pub fn add_forward(
        x: &[f32],
        delta: Option<&[f32]>,
        bias: Option<&[f32]>,
        sum: &mut [f32],
        epsilon: f32,
        gamma: Option<&[f32]>,
        beta: Option<&[f32]>,
        out: &mut [f32],
    ) -> Stats {
        match (delta, bias) {
            (Some(delta), Some(bias)) => {
                for (((sum, x), d), b) in sum.iter_mut().zip(x).zip(delta).zip(bias) {
                    *sum = x + d + b;
                }
            }
            (Some(part), None) | (None, Some(part)) => {
                for ((sum, x), d) in sum.iter_mut().zip(x).zip(part) {
                    *sum = x + d;
                }
            }
            (None, None) => sum.copy_from_slice(x),
        }
        // SAFETY: V is enabled here.
        let stats = unsafe { row_stats::<V>(sum, epsilon) };
        apply::<FMA>(sum, stats, gamma, beta, out);
        stats
    }
}

simd! {
    /// Backward for one row: adds r·(ĝ − mean(ĝ) − x̂·mean(ĝ·x̂)) with ĝ = dy·γ to `dx`; adds dy·x̂
    /// to `dgamma` and dy to `dbeta` where given.
    pub fn backward(
        x: &[f32],
        stats: Stats,
        gamma: Option<&[f32]>,
        dy: &[f32],
        dx: &mut [f32],
        dgamma: Option<&mut [f32]>,
        dbeta: Option<&mut [f32]>,
    ) {
        let n = x.len().min(dy.len()).min(dx.len());
        let (x, dy, dx) = (&x[..n], &dy[..n], &mut dx[..n]);
        let Stats { mean, rstd } = stats;
        let inverse = 1.0 / n as f32;
        // SAFETY: V is enabled here.
        let [sum, product] = unsafe {
            match gamma {
                Some(gamma) => sums::<V, 3, 2>([x, dy, gamma], |[x, dy, g]| {
                    let dy = dy * g;
                    [dy, dy * ((x - mean) * rstd)]
                }),
                None => sums::<V, 2, 2>([x, dy], |[x, dy]| [dy, dy * ((x - mean) * rstd)]),
            }
        };
        let (mean_g, mean_gx) = (sum * inverse, product * inverse);
        match gamma {
            Some(g) => {
                for i in 0..n {
                    let hat = (x[i] - mean) * rstd;
                    dx[i] += rstd * fma::<FMA>(-hat, mean_gx, dy[i] * g[i] - mean_g);
                }
            }
            None => {
                for i in 0..n {
                    let hat = (x[i] - mean) * rstd;
                    dx[i] += rstd * fma::<FMA>(-hat, mean_gx, dy[i] - mean_g);
                }
            }
        }
        if let Some(dgamma) = dgamma {
            for ((dgamma, x), dy) in dgamma.iter_mut().zip(x).zip(dy) {
                *dgamma = fma::<FMA>(*dy, (x - mean) * rstd, *dgamma);
            }
        }
        if let Some(dbeta) = dbeta {
            for (dbeta, dy) in dbeta.iter_mut().zip(dy) {
                *dbeta += dy;
            }
        }
    }
}
