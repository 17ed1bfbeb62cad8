//! Random numbers: a named generator, so that a seed means the same in every release.

use cllm_kernels::functions::{cos, ln};
use rand::{RngExt, SeedableRng};

/// ChaCha with 8 rounds: fast, seekable, and its stream is fixed by its specification.
pub type Rng = rand_chacha::ChaCha8Rng;

/// A generator from a seed.
pub fn seeded(seed: u64) -> Rng {
    Rng::seed_from_u64(seed)
}

/// One draw from the standard normal distribution (Box and Muller, 1958).
pub fn normal(rng: &mut Rng) -> f32 {
    // 1 - u lies in (0, 1], so that the logarithm is finite.
    let radius = (-2.0 * ln(1.0 - rng.random::<f64>())).sqrt();
    (radius * cos(std::f64::consts::TAU * rng.random::<f64>())) as f32
}

/// Fills `out` with uniform draws from [−amplitude, amplitude).
pub fn fill_uniform(rng: &mut Rng, out: &mut [f32], amplitude: f32) {
    for x in out {
        *x = amplitude * (2.0 * rng.random::<f32>() - 1.0);
    }
}

/// Fills `out` with draws from N(0, sigma²).
pub fn fill_normal(rng: &mut Rng, out: &mut [f32], sigma: f32) {
    for x in out {
        *x = sigma * normal(rng);
    }
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood, 2014): every bit of the result depends on
/// every bit of x. Random numbers by place, which need no state.
pub fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}
