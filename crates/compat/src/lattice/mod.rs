//! What the API itself is about: spiral, clock and prime positions, symmetry groups.
//!
//! Everything here is a closed formula of primes, ids and positions. Sums and functions are
//! evaluated in f64; where a formula of the C library rounds an intermediate to f32 and that
//! rounding can be seen in the result (arguments of sines and cosines grow large), it is kept.

pub mod embedding;
pub mod positions;
pub mod primes;
pub mod similarity;
pub mod spiral;
pub mod symmetry;

/// φ, the golden ratio, as the C library writes it.
pub const GOLDEN_RATIO: f64 = 1.618033988749895;

/// Rounds to single precision, where a formula does so.
pub(crate) fn f32_of(x: f64) -> f64 {
    f64::from(x as f32)
}

/// Scales `row` to unit length if it is longer than 1e-8.
pub fn normalize(row: &mut [f32]) {
    let norm = norm(row);
    if norm > 1e-8 {
        for x in row {
            *x = (f64::from(*x) / norm) as f32;
        }
    }
}

/// Euclidean length.
pub fn norm(v: &[f32]) -> f64 {
    v.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt()
}

/// Euclidean distance of two points.
pub fn distance(a: &[f32; 3], b: &[f32; 3]) -> f32 {
    squared_distance(a, b).sqrt() as f32
}

pub(crate) fn squared_distance(a: &[f32; 3], b: &[f32; 3]) -> f64 {
    let pairs = a.iter().zip(b);
    pairs.map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum()
}
