//! Embedding vectors and the transform made from lattice coordinates.

use super::{GOLDEN_RATIO, f32_of, norm, primes, spiral};
use cllm_engine::error::Result;
use cllm_kernels::memory::product;
use cllm_kernels::waves::add_waves;
use std::f64::consts::TAU;

/// The 12 rows 0.1·cos(k·2πs/12), k = 1.., one for each symmetry group s.
pub struct Clock {
    rows: Vec<f32>,
    dim: usize,
}

impl Clock {
    /// The rows for embeddings of `dim` components.
    pub fn new(dim: usize) -> Result<Self> {
        let mut rows = cllm_kernels::memory::filled(
            "the clock terms",
            product("the clock terms", &[12, dim])?,
        )?;
        for (s, row) in rows.chunks_exact_mut(dim.max(1)).enumerate() {
            fill_clock(row, s as u64);
        }
        Ok(Self { rows, dim })
    }

    fn row(&self, prime: u64) -> &[f32] {
        let start = (prime % 12) as usize * self.dim;
        self.rows.get(start..start + self.dim).unwrap_or(&[])
    }
}

fn fill_clock(row: &mut [f32], s: u64) {
    let angle = f32_of(TAU * s as f64 / 12.0);
    for (i, x) in row.iter_mut().enumerate() {
        *x = (0.1 * ((i as f64 + 1.0) * angle).cos()) as f32;
    }
}

/// The embedding of a point of symmetry s = prime mod 12, from the sum over k = i + 1 of
/// 0.3·(sin(kx/10) + cos(ky/10) + sin(kz/10)) + 0.1·cos(2πks/12), scaled to unit length.
fn fill(out: &mut [f32], clock: &[f32], coords: [f64; 3]) {
    let point = coords.map(|x| x / 10.0);
    let largest = point.iter().fold(0f64, |m, x| m.max(x.abs())) * out.len() as f64;
    if largest < 1e8 {
        add_waves(out, clock, point);
    } else {
        for (i, (out, clock)) in out.iter_mut().zip(clock).enumerate() {
            let [x, y, z] = point.map(|x| f32_of((i as f64 + 1.0) * x));
            *out = (f64::from(*clock) + 0.3 * (x.sin() + y.cos() + z.sin())) as f32;
        }
    }
    let length = cllm_kernels::vector::square_sum(out).sqrt();
    if length > 1e-8 {
        cllm_kernels::vector::scale(out, (1.0 / length) as f32);
    }
}

/// Writes the lattice embedding of token (`id`, `prime`) to `out`. An error, with `out`
/// untouched, where the prime can't be counted.
pub fn token(out: &mut [f32], id: u32, prime: u64) -> Result<()> {
    let coords = spiral::precise_nth_token(id, prime, primes::count_below(prime)?);
    let mut clock = cllm_kernels::memory::filled("the clock terms", out.len())?;
    fill_clock(&mut clock, prime % 12);
    fill(out, &clock, coords);
    Ok(())
}

/// Where the token of one row lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Placed {
    /// The row's prime: the t-th one for row t.
    pub prime: u64,
    /// Its lattice coordinates.
    pub coords: [f32; 3],
}

/// Fills `table` with the embeddings of tokens 0, 1, … of `dim` components, the t-th token on the
/// t-th prime, and tells `placed` where each lies.
pub fn table(table: &mut [f32], dim: usize, mut placed: impl FnMut(usize, Placed)) -> Result<()> {
    let clock = Clock::new(dim)?;
    let rows = table.chunks_exact_mut(dim.max(1)).enumerate();
    for ((t, row), prime) in rows.zip(primes::primes()) {
        // The t-th prime has t primes below it.
        fill(row, clock.row(prime), spiral::precise_nth_token(t as u32, prime, t as u64));
        let coords = spiral::map_nth_token(t as u32, prime, t as u64);
        placed(t, Placed { prime, coords });
    }
    Ok(())
}

/// The tridiagonal lattice transform, `[dim][dim]`, of the angles a_i = 2πφi/dim. A former product
/// of plane rotations of which only the 2×2 blocks were kept: not orthogonal.
pub fn transform(out: &mut [f32], dim: usize) {
    out.fill(0.0);
    let angle = |i: usize| f32_of(TAU * GOLDEN_RATIO * i as f64 / dim as f64);
    let mut previous = 1.0;
    let mut set = |row: usize, column: usize, value: f64| {
        if let Some(slot) = out.get_mut(row * dim + column) {
            *slot = value as f32;
        }
    };
    for i in 0..dim.saturating_sub(1) {
        let (s, c) = angle(i).sin_cos();
        set(i, i, c * previous);
        set(i, i + 1, -s);
        set(i + 1, i, s * previous);
        previous = c;
    }
    if dim > 0 {
        set(dim - 1, dim - 1, previous);
    }
}

/// M·x for a row-major `[x.len()][x.len()]` matrix, summed in f64.
pub fn apply(out: &mut [f32], matrix: &[f32], x: &[f32]) {
    let n = x.len().max(1);
    for (out, row) in out.iter_mut().zip(matrix.chunks_exact(n)) {
        let terms = row.iter().zip(x).map(|(m, x)| f64::from(*m) * f64::from(*x));
        *out = terms.sum::<f64>() as f32;
    }
}

/// x = M·x.
pub fn apply_in_place(matrix: &[f32], x: &mut [f32]) -> Result<()> {
    let mut product = cllm_kernels::memory::filled("a transformed vector", x.len())?;
    apply(&mut product, matrix, x);
    x.copy_from_slice(&product);
    Ok(())
}

/// (cosine of the angle between two vectors + 1) / 2; 0 where one is shorter than 1e-8.
pub fn similarity(a: &[f32], b: &[f32]) -> f32 {
    let (norm_a, norm_b) = (norm(a), norm(b));
    if norm_a < 1e-8 || norm_b < 1e-8 {
        return 0.0;
    }
    let dot: f64 = a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
    ((dot / (norm_a * norm_b) + 1.0) / 2.0) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The formula as the contract has it, in f64.
    fn plain(id: u32, prime: u64, dim: usize) -> Vec<f64> {
        let n = primes::count_below(prime).unwrap() as f64;
        let angle = TAU / GOLDEN_RATIO.powi(2) * n;
        let theta = f64::from((TAU * f64::from(id) / 1000.0) as f32);
        let coords = [
            n.sqrt() * angle.cos() + 0.1 * theta.cos(),
            n.sqrt() * angle.sin() + 0.1 * theta.sin(),
            (prime as f64 + 1.0).ln() + 0.1 * (GOLDEN_RATIO * theta).sin(),
        ];
        let s = (prime % 12) as f64;
        let mut out: Vec<f64> = (1..=dim)
            .map(|k| {
                let k = k as f64;
                let [x, y, z] = coords.map(|x| f64::from((k * x / 10.0) as f32));
                let clock = (k * f64::from((TAU * s / 12.0) as f32)).cos();
                0.3 * x.sin() + 0.3 * y.cos() + 0.3 * z.sin() + 0.1 * clock
            })
            .collect();
        let norm = out.iter().map(|x| x * x).sum::<f64>().sqrt();
        out.iter_mut().for_each(|x| *x /= norm);
        out
    }

    #[test]
    fn agrees_with_the_plain_formula() {
        for (id, prime, dim) in [
            (0, 0, 1),
            (5, 11, 8),
            (999, 7919, 65),
            (4_000_000_000, 999_983, 200),
            (7, 10_000_019, 513),
        ] {
            let mut out = vec![9.0; dim];
            token(&mut out, id, prime).unwrap();
            for (got, want) in out.iter().zip(plain(id, prime, dim)) {
                assert!((f64::from(*got) - want).abs() < 1e-6, "{id} {prime} {dim}");
            }
        }
        let mut out = [3.0; 4];
        assert!(token(&mut out, 1, u64::MAX).is_err());
        assert_eq!(out, [3.0; 4]);
        token(&mut [], 1, 2).unwrap();
    }

    #[test]
    fn the_reference_embedding() {
        let mut out = [0.0; 8];
        token(&mut out, 5, 11).unwrap();
        let want = [0.477658, 0.452176, 0.404530, 0.348186, 0.297299, 0.262623, 0.248505, 0.251771];
        for (got, want) in out.iter().zip(want) {
            assert!((got - want).abs() < 1e-6f32, "{out:?}");
        }
    }

    #[test]
    fn a_table_is_its_rows() {
        let mut all = vec![0.0; 300 * 20];
        let mut places = Vec::new();
        table(&mut all, 20, |t, placed| places.push((t, placed))).unwrap();
        assert_eq!(places.len(), 300);
        assert_eq!(places[299].1.prime, 1987);
        for (t, placed) in places {
            let mut row = [0.0; 20];
            token(&mut row, t as u32, placed.prime).unwrap();
            assert_eq!(row, all[t * 20..][..20]);
            let coords = spiral::map_token(t as u32, placed.prime).unwrap();
            assert_eq!(coords, placed.coords);
        }
    }

    #[test]
    fn large_arguments_take_the_slow_path_to_the_same_values() {
        // 2e6 components at radius > 500 pass 1e8; compare a few with the plain formula before
        // scaling, by ratios.
        let dim = 2_000_000;
        let mut out = vec![0.0; dim];
        let clock = vec![0.0; dim];
        fill(&mut out, &clock, [900.0, -800.0, 16.0]);
        let value = |i: usize| {
            let k = i as f64 + 1.0;
            let [x, y, z] = [900.0, -800.0, 16.0].map(|x| f64::from((k * (x / 10.0)) as f32));
            x.sin() + y.cos() + z.sin()
        };
        for i in [5, 1000, dim - 1] {
            let ratio = f64::from(out[i]) / f64::from(out[0]);
            assert!((ratio - value(i) / value(0)).abs() < 1e-5, "{i}");
        }
    }

    #[test]
    fn the_reference_transform() {
        let mut out = [7.0; 16];
        transform(&mut out, 4);
        let want = [
            1.0, 0.0, 0.0, 0.0, 0.0, -0.825341, -0.564635, 0.0, 0.0, 0.564635, -0.299083, 0.932032,
            0.0, 0.0, 0.769244, 0.362375,
        ];
        for (got, want) in out.iter().zip(want) {
            assert!((got - want).abs() < 1e-6f32, "{out:?}");
        }
        let mut one = [7.0];
        transform(&mut one, 1);
        assert_eq!(one, [1.0]);
        transform(&mut [], 0);
    }

    #[test]
    fn products_and_similarity() {
        let mut x = [1.0, 2.0];
        apply_in_place(&[1.0, 10.0, -1.0, 0.5], &mut x).unwrap();
        assert_eq!(x, [21.0, 0.0]);
        assert_eq!(similarity(&[1.0, 0.0], &[2.0, 0.0]), 1.0);
        assert_eq!(similarity(&[1.0, 0.0], &[-2.0, 0.0]), 0.0);
        assert_eq!(similarity(&[1.0, 0.0], &[0.0, 3.0]), 0.5);
        assert_eq!(similarity(&[0.0, 0.0], &[0.0, 3.0]), 0.0);
    }
}
