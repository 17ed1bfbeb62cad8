//! Sines and cosines of multiples of a coordinate, as the lattice embedding adds them up. Nothing
//! but that embedding uses them, which only the old headers ask for (`cllm-compat`, `lattice`); they
//! stand here because they are compiled for each instruction set.

use crate::arch::simd;

/// Elements computed at a time, so that every step runs over whole vector registers.
const BLOCK: usize = 64;

/// sin(x + π·`half`) for `half` 0 (sine) or ½ (cosine), to 1e-11 for |x| up to 1e8.
///
/// Reduction by multiples of π in three parts (those of Cephes, `sin`, S. Moshier), then the
/// Taylor polynomial on [-π/2, π/2].
#[inline(always)]
fn sine(x: f64, half: f64) -> f64 {
    const PI_HIGH: f64 = 4.0 * 7.853_981_256_484_985e-1;
    const PI_MIDDLE: f64 = 4.0 * 3.774_894_707_930_798e-8;
    const PI_LOW: f64 = 4.0 * 2.695_151_429_079_059_5e-15;
    // Adding 1.5·2^52 leaves the nearest integer in the low bits of the significand.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    let shifted = x.mul_add(std::f64::consts::FRAC_1_PI, half) + ROUND;
    let n = (shifted - ROUND) - half;
    let r = x - n * PI_HIGH;
    let r = r - n * PI_MIDDLE;
    let r = r - n * PI_LOW;
    let s = r * r;
    let p: f64 = -1.0 / 1_307_674_368_000.0;
    let p = p.mul_add(s, 1.0 / 6_227_020_800.0);
    let p = p.mul_add(s, -1.0 / 39_916_800.0);
    let p = p.mul_add(s, 1.0 / 362_880.0);
    let p = p.mul_add(s, -1.0 / 5_040.0);
    let p = p.mul_add(s, 1.0 / 120.0);
    let p = p.mul_add(s, -1.0 / 6.0);
    let p = (p * s).mul_add(r, r);
    f64::from_bits(p.to_bits() ^ (shifted.to_bits() << 63))
}

simd! {
    /// out_i = base_i + 0.3·sin(k·x) + 0.3·cos(k·y) + 0.3·sin(k·z) with k = i + 1, each argument
    /// rounded to f32. For arguments up to 1e8.
    pub fn add_waves(out: &mut [f32], base: &[f32], point: [f64; 3]) {
        let [x, y, z] = point;
        for (b, (out, base)) in out.chunks_mut(BLOCK).zip(base.chunks(BLOCK)).enumerate() {
            let first = (b * BLOCK + 1) as f64;
            let mut sums = [0f64; BLOCK];
            for (i, sum) in sums.iter_mut().enumerate() {
                let k = first + f64::from(i as i32);
                let sin_x = sine(f64::from((k * x) as f32), 0.0);
                let cos_y = sine(f64::from((k * y) as f32), 0.5);
                let sin_z = sine(f64::from((k * z) as f32), 0.0);
                *sum = 0.3 * (sin_x + cos_y + sin_z);
            }
            for ((out, base), sum) in out.iter_mut().zip(base).zip(sums) {
                *out = (f64::from(*base) + sum) as f32;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sine_and_cosine_are_close() {
        let mut x = 1e-3;
        while x < 1e8 {
            for x in [x, -x] {
                let (sin, cos) = (sine(x, 0.0), sine(x, 0.5));
                assert!((sin - x.sin()).abs() < 1e-10, "sin({x}) = {sin}");
                assert!((cos - x.cos()).abs() < 1e-10, "cos({x}) = {cos}");
            }
            x *= 1.000_37;
        }
        assert_eq!(sine(0.0, 0.0), 0.0);
        assert!((sine(0.0, 0.5) - 1.0).abs() < 1e-10);
    }
}
