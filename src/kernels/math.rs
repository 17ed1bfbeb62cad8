//! Elementary functions in forms that the compiler can turn into vector code.

/// a·b + c, fused where that is one instruction.
#[inline(always)]
pub(super) fn fma<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
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

/// Σ f(i) over `n` indices in a fixed order that vector code can follow: [`LANES`] partial sums,
/// then pairs of them.
#[inline(always)]
pub(super) fn sum_by(n: usize, f: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let whole = n / LANES * LANES;
    let mut i = 0;
    while i < whole {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum += f(i + lane);
        }
        i += LANES;
    }
    while i + REGISTER <= n {
        for (lane, sum) in lanes.iter_mut().enumerate().take(REGISTER) {
            *sum += f(i + lane);
        }
        i += REGISTER;
    }
    for (lane, sum) in lanes.iter_mut().enumerate().take(n - i) {
        *sum += f(i + lane);
    }
    fold(lanes, |a, b| a + b)
}

/// The partial results of a reduction, combined in pairs.
#[inline(always)]
pub(super) fn fold(mut lanes: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] = f(lanes[i], lanes[i + width]);
        }
        width /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn sums_are_complete() {
        for n in [0, 1, 63, 64, 65, 1000] {
            assert_eq!(sum_by(n, |i| i as f32), (0..n).sum::<usize>() as f32);
        }
    }
}
