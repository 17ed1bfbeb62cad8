//! Tables of positional encodings, `[S][D]`: row p belongs to position p. All but the learned one
//! have rows of unit length.

use super::{f32_of, normalize, primes, spiral::golden_angle};
use std::f64::consts::TAU;

/// cos for even, sin for odd components.
fn cos_sin(i: usize, angle: f64) -> f64 {
    if i.is_multiple_of(2) { angle.cos() } else { angle.sin() }
}

/// Fills each row of the table by `value(position, component)` and scales it to unit length.
fn fill(table: &mut [f32], dim: usize, mut row: impl FnMut(usize, &mut [f32])) {
    for (p, values) in table.chunks_exact_mut(dim.max(1)).enumerate() {
        row(p, values);
        normalize(values);
    }
}

/// Position p at p golden angles: cos/sin(k·a), k = ⌊i/2⌋ + 1. (The C library scales row p by
/// 1 + 0.1√p first, which its own scaling to unit length removes.)
pub fn spiral(table: &mut [f32], dim: usize) {
    fill(table, dim, |p, row| {
        let angle = f32_of(golden_angle() * p as f64);
        for (i, x) in row.iter_mut().enumerate() {
            *x = cos_sin(i, f32_of((i / 2 + 1) as f64 * angle)) as f32;
        }
    });
}

/// Position p on the clock of 12 hours, cos/sin(k·2π(p mod 12)/12)·(1 + 0.2·ln(p + 1)), with a
/// slow wave over the whole table added to the first two of every four components.
pub fn clock(table: &mut [f32], dim: usize) {
    let length = (table.len() / dim.max(1)) as f64;
    fill(table, dim, |p, row| {
        let angle = f32_of(TAU * (p % 12) as f64 / 12.0);
        let factor = 1.0 + 0.2 * (p as f64 + 1.0).ln();
        let slow = f32_of(TAU * p as f64 / length);
        let waves = row.len() / 4 * 4;
        for (i, x) in row.iter_mut().enumerate() {
            let mut value = factor * cos_sin(i, f32_of((i / 2 + 1) as f64 * angle));
            if i < waves && i % 4 < 2 {
                value += 0.1 * cos_sin(i, f32_of(slow * (i / 4 + 1) as f64));
            }
            *x = value as f32;
        }
    });
}

/// Position p by the p-th prime q: cos/sin((i + 1)·2π(q mod 1000)/1000)·(0.5 + 0.5·ln q / ln of the
/// last row's prime), plus 0.1·cos(2π(q mod 12)/12) in every third component.
pub fn prime(table: &mut [f32], dim: usize) {
    let length = (table.len() / dim.max(1)) as u64;
    let Some(last) = length.checked_sub(1).and_then(primes::nth) else {
        return;
    };
    let log_last = (last as f64).ln();
    let mut primes = primes::primes();
    fill(table, dim, |_, row| {
        // The list of primes does not end.
        let q = primes.next().unwrap_or(2);
        let angle = f32_of(TAU * (q % 1000) as f64 / 1000.0);
        let factor = 0.5 + 0.5 * (q as f64).ln() / log_last;
        let hour = 0.1 * (TAU * (q % 12) as f64 / 12.0).cos();
        for (i, x) in row.iter_mut().enumerate() {
            let mut value = factor * cos_sin(i, f32_of((i + 1) as f64 * angle));
            if i.is_multiple_of(3) {
                value += hour;
            }
            *x = value as f32;
        }
    });
}

/// The sinusoids of "Attention Is All You Need" as the starting point of learned positions: sin
/// (even i) and cos (odd i) of p·10000^(−2⌊i/2⌋/D). Rows are not scaled.
pub fn learned(table: &mut [f32], dim: usize) {
    let frequency = |i: usize| 10000f64.powf(-((i / 2 * 2) as f64) / dim as f64);
    for (p, row) in table.chunks_exact_mut(dim.max(1)).enumerate() {
        for (i, x) in row.iter_mut().enumerate() {
            let angle = p as f64 * frequency(i);
            // Sine and cosine swap places here.
            *x = cos_sin(i + 1, angle) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(fill: fn(&mut [f32], usize), length: usize, dim: usize, p: usize) -> Vec<f32> {
        let mut table = vec![0.0; length * dim];
        fill(&mut table, dim);
        table[p * dim..][..dim].to_vec()
    }

    fn near(got: &[f32], want: &[f64]) {
        assert_eq!(got.len(), want.len());
        for (g, w) in got.iter().zip(want) {
            assert!((f64::from(*g) - w).abs() < 1e-6, "{got:?} {want:?}");
        }
    }

    #[test]
    fn reference_rows() {
        near(
            &row(spiral, 16, 8, 3),
            &[0.304220, 0.396800, -0.129802, 0.482858, -0.462172, 0.190779, -0.432606, -0.250703],
        );
        near(
            &row(clock, 16, 8, 5),
            &[-0.445789, 0.283175, 0.249268, -0.431744, -0.025952, 0.472583, -0.249268, -0.431744],
        );
        near(
            &row(prime, 16, 8, 4),
            &[0.512492, 0.063872, 0.453614, 0.176581, 0.436138, 0.186764, 0.460398, 0.243441],
        );
        near(
            &row(learned, 16, 8, 1),
            &[0.841471, 0.540302, 0.099833, 0.995004, 0.010000, 0.999950, 0.001000, 1.000000],
        );
    }

    /// The four formulas once more, literally, in f64.
    fn plain(kind: usize, s: usize, d: usize) -> Vec<f64> {
        let f = |x: f64| f64::from(x as f32);
        let tau = 2.0 * std::f64::consts::PI;
        let g = f(tau / ((1.0 + 5f64.sqrt()) / 2.0).powi(2));
        let list: Vec<u64> =
            (2..).filter(|&n: &u64| (2..n).all(|m| !n.is_multiple_of(m))).take(s).collect();
        let mut all = Vec::new();
        for p in 0..s {
            let mut row = vec![0.0; d];
            for (i, x) in row.iter_mut().enumerate() {
                let k = (i / 2 + 1) as f64;
                let wave = |a: f64| if i % 2 == 0 { a.cos() } else { a.sin() };
                let q = list[p];
                *x = match kind {
                    0 => wave(f(k * f(g * p as f64))) * (1.0 + 0.1 * (p as f64).sqrt()),
                    1 => {
                        wave(f(k * f(tau * (p % 12) as f64 / 12.0)))
                            * (1.0 + 0.2 * (p as f64 + 1.0).ln())
                    }
                    2 => {
                        let psi = f(tau * (q % 1000) as f64 / 1000.0);
                        let sigma = (q as f64).ln() / (list[s - 1] as f64).ln();
                        let extra = if i % 3 == 0 {
                            0.1 * (tau * (q % 12) as f64 / 12.0).cos()
                        } else {
                            0.0
                        };
                        wave(f((i + 1) as f64 * psi)) * (0.5 + 0.5 * sigma) + extra
                    }
                    _ => {
                        let a = p as f64 * 10000f64.powf(-2.0 * (i / 2) as f64 / d as f64);
                        if i % 2 == 0 { a.sin() } else { a.cos() }
                    }
                };
            }
            if kind == 1 {
                let u = f(tau * p as f64 / s as f64);
                for j in 0..d / 4 {
                    row[4 * j] += 0.1 * f(u * (j + 1) as f64).cos();
                    row[4 * j + 1] += 0.1 * f(u * (j + 1) as f64).sin();
                }
            }
            let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt();
            if kind < 3 && norm > 1e-8 {
                row.iter_mut().for_each(|x| *x /= norm);
            }
            all.extend(row);
        }
        all
    }

    #[test]
    fn tables_agree_with_the_plain_formulas() {
        for (s, d) in [(1, 1), (1, 5), (3, 2), (17, 33), (40, 64), (200, 7)] {
            for (kind, fill) in [spiral, clock, prime, learned].into_iter().enumerate() {
                let mut table = vec![5.0; s * d];
                fill(&mut table, d);
                near(&table, &plain(kind, s, d));
            }
        }
    }

    #[test]
    fn empty_tables() {
        for fill in [spiral, clock, prime, learned] {
            fill(&mut [], 8);
            fill(&mut [], 0);
        }
    }
}
