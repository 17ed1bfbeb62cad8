//! Layer norm (Ba, Kiros and Hinton, 2016): y = γ·(x − μ)·r + β, r = 1/√(σ² + ε), with the biased
//! variance. Rows are independent.

use super::math::{fma, sum_by};

/// What the backward pass needs of one row.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    /// μ.
    pub mean: f32,
    /// r.
    pub rstd: f32,
}

#[inline(always)]
fn row_stats<const FMA: bool>(x: &[f32], epsilon: f32) -> Stats {
    let n = x.len() as f32;
    let mean = sum_by(x.len(), |i| x[i]) / n;
    let variance = sum_by(x.len(), |i| (x[i] - mean) * (x[i] - mean)) / n;
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
    for (x, out) in x.iter().zip(out.iter_mut()) {
        *out = (x - mean) * rstd;
    }
    if let Some(gamma) = gamma {
        for (out, g) in out.iter_mut().zip(gamma) {
            *out *= g;
        }
    }
    if let Some(beta) = beta {
        for (out, b) in out.iter_mut().zip(beta) {
            *out += b;
        }
    }
}

simd! {
    /// Mean and 1/√(variance + epsilon) of one row.
    pub fn stats(x: &[f32], epsilon: f32) -> Stats {
        row_stats::<FMA>(x, epsilon)
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
        let stats = row_stats::<FMA>(x, epsilon);
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
        sum.copy_from_slice(x);
        for part in [delta, bias].into_iter().flatten() {
            for (x, d) in sum.iter_mut().zip(part) {
                *x += d;
            }
        }
        let stats = row_stats::<FMA>(sum, epsilon);
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
        let (sum, product) = match gamma {
            Some(g) => {
                let g = &g[..n];
                (
                    sum_by(n, |i| dy[i] * g[i]),
                    sum_by(n, |i| dy[i] * g[i] * ((x[i] - mean) * rstd)),
                )
            }
            None => (sum_by(n, |i| dy[i]), sum_by(n, |i| dy[i] * ((x[i] - mean) * rstd))),
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
