//! Elementary functions in forms that the compiler can turn into vector code.

use crate::arch::{Vector, lanes_sum};

/// a·b + c, rounded once: an instruction where there is one, otherwise [`fused`].
#[inline(always)]
pub(super) fn fma<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { fused(a, b, c) }
}

/// a·b + c, rounded once, for processors without an instruction for it, in a form that the compiler
/// can turn into vector code.
///
/// In f64 the product is exact, and the sum is rounded to odd: towards zero, with the last bit set if
/// that lost anything. What is rounded to odd with two bits more than the result has, rounds to it as
/// the exact sum does (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums: proved
/// algorithms using rounding to odd", 2008).
#[inline(always)]
pub(super) fn fused(a: f32, b: f32, c: f32) -> f32 {
    let (product, c) = (f64::from(a) * f64::from(b), f64::from(c));
    let sum = product + c;
    // What the nearest sum lost, exactly (Knuth's two-sum); NaN where something is not finite.
    let of_c = sum - product;
    let lost = (product - (sum - of_c)) + (c - of_c);
    let inexact = u64::from(lost.abs() > 0.0);
    let beyond = ((lost.to_bits() ^ sum.to_bits()) >> 63) & inexact;
    f64::from_bits(sum.to_bits().wrapping_sub(beyond) | inexact) as f32
}

/// [`fused`] of as many values as a register has, at a half of the cost.
///
/// Rounding to f64 first is wrong only where that result lies in the middle between two floats, or
/// where the float is denormal. Few do, so that is looked for, in all at once.
#[inline(always)]
pub(super) fn fused_register<const N: usize>(a: [f32; N], b: [f32; N], c: [f32; N]) -> [f32; N] {
    /// The bits of an f64 that an f32 has no room for, and the first of them.
    const LOWER: u32 = (1 << 29) - 1;
    const MIDDLE: u32 = 1 << 28;
    /// The upper half of the smallest f32 that is not denormal, as an f64.
    const NORMAL: u32 = ((f32::MIN_POSITIVE as f64).to_bits() >> 32) as u32;
    let mut sums = [0f64; N];
    let mut risky = 0;
    for (i, sum) in sums.iter_mut().enumerate() {
        *sum = f64::from(a[i]) * f64::from(b[i]) + f64::from(c[i]);
        let (lower, upper) = (sum.to_bits() as u32, (sum.to_bits() >> 32) as u32 & !(1 << 31));
        let middle = lower & LOWER == MIDDLE;
        // Zero is exact: the upper half of no other sum is 0.
        let denormal = upper.wrapping_sub(1) < NORMAL - 1;
        risky |= u32::from(middle | denormal);
    }
    if risky != 0 { carefully(&a, &b, &c) } else { sums.map(|sum| sum as f32) }
}

#[cold]
#[inline(never)]
fn carefully<const N: usize>(a: &[f32; N], b: &[f32; N], c: &[f32; N]) -> [f32; N] {
    std::array::from_fn(|i| fused(a[i], b[i], c[i]))
}

/// The larger one; b where one is NaN, or both are zero.
#[inline(always)]
pub(super) fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// e^x to about 2 units in the last place. Arguments below -87.3 give about 1e-38, never 0 exactly;
/// above 88.3 the result is about 2e38, never infinite. NaN gives NaN.
///
/// Reduction by multiples of ln 2 in two parts, then a polynomial on [-ln2/2, ln2/2] (Cephes,
/// `expf`, S. Moshier).
#[inline(always)]
pub(super) fn exp<const FMA: bool>(x: f32) -> f32 {
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Adding 1.5·2^23 leaves the nearest integer in the low bits of the significand.
    const ROUND: f32 = 12_582_912.0;
    let x = if x < -87.3 { -87.3 } else { x };
    let x = if x > 88.3 { 88.3 } else { x };
    let shifted = fma::<FMA>(x, LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = fma::<FMA>(n, -LN2_HIGH, x);
    let r = fma::<FMA>(n, -LN2_LOW, r);
    let p = 1.987_569_1e-4;
    let p = fma::<FMA>(p, r, 1.398_199_9e-3);
    let p = fma::<FMA>(p, r, 8.333_452e-3);
    let p = fma::<FMA>(p, r, 4.166_579_6e-2);
    let p = fma::<FMA>(p, r, 1.666_666_5e-1);
    let p = fma::<FMA>(p, r, 0.5);
    let p = fma::<FMA>(p, r * r, r + 1.0);
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23;
    p * f32::from_bits(exponent)
}

/// Partial sums that a reduction keeps, enough for several vector registers.
pub(super) const LANES: usize = 64;

/// Values that a reduction takes at once where fewer than [`LANES`] are left.
pub(super) const REGISTER: usize = 16;

/// Σ f(values at i of the slices), for M functions at once, over the shortest of the slices; in a
/// fixed order that vector code can follow: [`LANES`] partial sums, then pairs of them.
///
/// # Safety
/// As for all of [`Vector`]: a body of `simd!` is a place where `V` is enabled.
#[inline(always)]
pub(super) unsafe fn sums<V: Vector, const N: usize, const M: usize>(
    slices: [&[f32]; N],
    f: impl Fn([f32; N]) -> [f32; M],
) -> [f32; M] {
    let n = slices.iter().map(|x| x.len()).min().unwrap_or(0);
    let mut lanes = [[0f32; LANES]; M];
    // Plain loops: closures that map arrays are not always inlined, and then not vectorised.
    let mut take = |from: usize, width: usize| {
        let mut parts = [&[][..]; N];
        for (part, x) in parts.iter_mut().zip(slices) {
            *part = &x[from..from + width];
        }
        for i in 0..width {
            let mut values = [0.0; N];
            for (value, part) in values.iter_mut().zip(parts) {
                *value = part[i];
            }
            for (lanes, y) in lanes.iter_mut().zip(f(values)) {
                lanes[i] += y;
            }
        }
    };
    let mut at = 0;
    while n - at >= LANES {
        take(at, LANES);
        at += LANES;
    }
    while n - at >= REGISTER {
        take(at, REGISTER);
        at += REGISTER;
    }
    take(at, n - at);
    let mut totals = [0.0; M];
    for (total, lanes) in totals.iter_mut().zip(lanes) {
        // SAFETY: the caller's promise.
        *total = unsafe { lanes_sum::<V, LANES>(&lanes) };
    }
    totals
}

/// The partial results of a reduction, combined half by half. For sums there is [`lanes_sum`].
#[inline(always)]
pub(super) fn fold<const N: usize>(mut lanes: [f32; N], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut left = N;
    while left > 1 {
        left /= 2;
        for i in 0..left {
            lanes[i] = f(lanes[i], lanes[i + left]);
        }
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Portable;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn exp_is_close_over_its_range() {
        let mut x = -87.0f32;
        while x < 88.0 {
            let want = f64::from(x).exp();
            for got in [exp::<false>(x), exp::<true>(x)] {
                assert!((f64::from(got) - want).abs() <= 3e-7 * want, "exp({x}) = {got}");
            }
            x += 0.0173;
        }
        assert!(exp::<false>(-1e30) < 1e-37);
        assert!(exp::<false>(f32::NEG_INFINITY) < 1e-37);
        assert!(exp::<false>(f32::NAN).is_nan());
        assert_eq!(exp::<false>(0.0), 1.0);
    }

    /// [`fused`] and [`fused_register`] against the instruction or the C library's function.
    fn check_fused(a: f32, b: f32, c: f32) {
        let want = a.mul_add(b, c);
        let [in_register, _] = fused_register([a, 1.0], [b, 2.0], [c, 3.0]);
        for got in [fused(a, b, c), in_register] {
            let same = got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan();
            assert!(same, "{a:e}·{b:e} + {c:e} = {got:e}, not {want:e}");
        }
    }

    #[test]
    fn fused_is_rounded_once() {
        // All of these with each other: ends of the range, denormals, halves of last bits, the cases
        // that two roundings get wrong.
        let mut hard = vec![0.0, 1.0, 2.0, 3.0, 0.5, 4097.0, 1.5, f32::MAX, f32::MIN_POSITIVE];
        hard.extend([f32::from_bits(1), f32::from_bits(0x7f_ffff), f32::from_bits(0x40_0001)]);
        hard.extend([f32::INFINITY, f32::NAN, f32::EPSILON, 1e-30, 1e-38, 16_777_215.0]);
        for power in [-149, -126, -101, -100, -75, -60, -48, -25, -24, -23, -12, 12, 23, 24, 127] {
            let x = 2f32.powi(power);
            hard.extend([x, x * (1.0 + f32::EPSILON), x * (1.0 - f32::EPSILON / 2.0), x * 1.75]);
        }
        hard.extend(hard.clone().iter().map(|x| -x));
        for &a in &hard {
            for &b in &hard {
                hard.iter().for_each(|&c| check_fused(a, b, c));
            }
        }
        // Any bits, then sums that lie a little beside the middle of two floats.
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..300_000 {
            let [a, b, c] = [0; 3].map(|_| f32::from_bits(rng.random()));
            check_fused(a, b, c);
            let near = |rng: &mut ChaCha8Rng, e: i32| {
                let e = (rng.random_range(e - 3..=e + 3) + 127) as u32;
                f32::from_bits(rng.random::<u32>() & 0x807f_ffff | e << 23)
            };
            let [a, b, c] = [near(&mut rng, 0), near(&mut rng, -26), near(&mut rng, 0)];
            check_fused(a, b, c);
            // Half of the last bit of c, or a little more or less.
            let half = c.abs().to_bits() & 0x7f80_0000;
            let half = f32::from_bits(half.saturating_sub(24 << 23));
            let tiny = 1.0 + f32::EPSILON * rng.random_range(-3..=3) as f32;
            check_fused(half, tiny, c);
            check_fused(-half, tiny, c);
        }
    }

    #[test]
    fn sums_are_complete() {
        for n in [0, 1, 63, 64, 65, 1000] {
            let x: Vec<f32> = (0..n).map(|i| i as f32).collect();
            // SAFETY: every processor has these.
            let [sum, squares] =
                unsafe { sums::<Portable, 2, 2>([&x[..], &x], |[x, y]| [x, x * y]) };
            assert_eq!(sum, (0..n).sum::<usize>() as f32);
            let want = (0..n).map(|i| i * i).sum::<usize>() as f32;
            assert!((squares - want).abs() <= 1e-6 * want, "{squares} {want}");
        }
    }
}
