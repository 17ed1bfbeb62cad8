//! Elementary functions, in f64 with the same bits everywhere.
//!
//! Those of `std` are the C library's. In f64 their last bits depend on which library that is, on its
//! version and on the processor: glibc has other code where fused multiply-add is an instruction.
//! Those in f64 here come from the crate [`libm`], plain arithmetic in a fixed order. What computes
//! weights, rates or logits uses them; kernels that need millions have a polynomial of their own.

pub use libm::{cos, exp, exp2, log as ln, log2, pow, sin};

/// ln x of the C library, which trained models had from the beginning. Since glibc 2.28, and in musl,
/// it is one algorithm that computes in f64 and rounds at the end: another order of its f64 operations
/// changes the float only where they end within some 2⁻⁵² of the middle between two floats.
pub fn ln_f32(x: f32) -> f32 {
    x.ln()
}

/// e^x in the same way.
pub fn exp_f32(x: f32) -> f32 {
    x.exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Neither the processor nor the C library may change these bits, nor a release of the crate.
    #[test]
    fn they_keep_their_bits() {
        let mut hash = 0xcbf2_9ce4_8422_2325u64;
        let mut mix = |bits: u64| hash = (hash ^ bits).wrapping_mul(0x0000_0100_0000_01b3);
        for i in 1..2000u32 {
            let x = f64::from(i) * 0.037;
            for y in [ln(x), exp(-x), exp2(x - 40.0), log2(x), cos(x), sin(x), pow(x, 1.3)] {
                mix(y.to_bits());
            }
            mix(ln_f32(x as f32).to_bits().into());
            mix(exp_f32(-x as f32).to_bits().into());
            for (y, want) in [(ln(x), x.ln()), (exp(-x), (-x).exp()), (pow(x, 1.3), x.powf(1.3))] {
                assert!((y - want).abs() <= 1e-15 * want.abs().max(1e-3), "{y} {want}");
            }
        }
        assert_eq!(hash, HASH, "{hash:#x}");
    }

    const HASH: u64 = 0xc58f_0ce4_6fe3_a30d;
}
