//! `prime_float_math.h`: elementary functions.
//!
//! The values are those of a correct libm; the C library's conventions outside a function's domain
//! are kept. Functions of floats are computed in double precision and rounded once.

use cllm_macros::c_api;
use std::ffi::c_int;

/// x^y where it is a real number, else 0.
fn real(x: f64, y: f64) -> f64 {
    if x < 0.0 && y.is_finite() && y.fract() != 0.0 { 0.0 } else { x.powf(y) }
}

/// tan x, or `pole` where x is too close to one for the quotient to mean anything.
fn tangent(x: f64, pole: f64) -> f64 {
    if x.cos().abs() < 1e-10 { pole } else { x.tan() }
}

/// Square root; 0 for x < 0.
#[unsafe(no_mangle)]
#[c_api(f32::NAN)]
pub extern "C" fn prime_sqrtf(x: f32) -> f32 {
    Ok(if x < 0.0 { 0.0 } else { x.sqrt() })
}

/// e^x.
#[unsafe(no_mangle)]
#[c_api(f32::NAN)]
pub extern "C" fn prime_expf(x: f32) -> f32 {
    Ok(f64::from(x).exp() as f32)
}

/// Natural logarithm; -1e10 for x <= 0.
#[unsafe(no_mangle)]
#[c_api(f32::NAN)]
pub extern "C" fn prime_logf(x: f32) -> f32 {
    Ok(if x <= 0.0 { -1e10 } else { f64::from(x).ln() as f32 })
}

/// x^y; 0 for x = 0, whatever y, and for a negative x with a y that is not an integer.
#[unsafe(no_mangle)]
#[c_api(f32::NAN)]
pub extern "C" fn prime_powf(x: f32, y: f32) -> f32 {
    Ok(if x == 0.0 { 0.0 } else { real(f64::from(x), f64::from(y)) as f32 })
}

/// Sine of an angle in radians, of any size; NaN for an infinite one.
#[unsafe(no_mangle)]
#[c_api(f32::NAN)]
pub extern "C" fn prime_sinf(x: f32) -> f32 {
    Ok(f64::from(x).sin() as f32)
}

/// Cosine of an angle in radians, of any size; NaN for an infinite one.
#[unsafe(no_mangle)]
#[c_api(f32::NAN)]
pub extern "C" fn prime_cosf(x: f32) -> f32 {
    Ok(f64::from(x).cos() as f32)
}

/// Tangent of an angle in radians; 1e10 where its cosine is below 1e-10 (no float is that near to
/// a pole).
#[unsafe(no_mangle)]
#[c_api(f32::NAN)]
pub extern "C" fn prime_tanf(x: f32) -> f32 {
    Ok(tangent(f64::from(x), 1e10) as f32)
}

/// Hyperbolic tangent.
#[unsafe(no_mangle)]
#[c_api(f32::NAN)]
pub extern "C" fn prime_tanhf(x: f32) -> f32 {
    Ok(f64::from(x).tanh() as f32)
}

/// |x|.
#[unsafe(no_mangle)]
#[c_api(f32::NAN)]
pub extern "C" fn prime_fabsf(x: f32) -> f32 {
    Ok(x.abs())
}

/// e^x.
#[unsafe(no_mangle)]
#[c_api(f64::NAN)]
pub extern "C" fn prime_exp(x: f64) -> f64 {
    Ok(x.exp())
}

/// Square root; 0 for x < 0.
#[unsafe(no_mangle)]
#[c_api(f64::NAN)]
pub extern "C" fn prime_sqrt(x: f64) -> f64 {
    Ok(if x < 0.0 { 0.0 } else { x.sqrt() })
}

/// Natural logarithm; -1.7976931348623157e308 for x <= 0.
#[unsafe(no_mangle)]
#[c_api(f64::NAN)]
pub extern "C" fn prime_log(x: f64) -> f64 {
    Ok(if x <= 0.0 { -f64::MAX } else { x.ln() })
}

/// Cosine of an angle in radians, of any size; NaN for an infinite one.
#[unsafe(no_mangle)]
#[c_api(f64::NAN)]
pub extern "C" fn prime_cos(x: f64) -> f64 {
    Ok(x.cos())
}

/// Sine of an angle in radians, of any size; NaN for an infinite one.
#[unsafe(no_mangle)]
#[c_api(f64::NAN)]
pub extern "C" fn prime_sin(x: f64) -> f64 {
    Ok(x.sin())
}

/// Tangent of an angle in radians; 0 where its cosine is below 1e-10 (near a pole).
#[unsafe(no_mangle)]
#[c_api(f64::NAN)]
pub extern "C" fn prime_tan(x: f64) -> f64 {
    Ok(tangent(x, 0.0))
}

/// Hyperbolic tangent.
#[unsafe(no_mangle)]
#[c_api(f64::NAN)]
pub extern "C" fn prime_tanh(x: f64) -> f64 {
    Ok(x.tanh())
}

/// x^y; 0 for x = 0 with y <= 0 and for a negative x with a y that is not an integer.
#[unsafe(no_mangle)]
#[c_api(f64::NAN)]
pub extern "C" fn prime_pow(x: f64, y: f64) -> f64 {
    Ok(if x == 0.0 && y <= 0.0 { 0.0 } else { real(x, y) })
}

/// Arc tangent, -pi/2 to pi/2.
#[unsafe(no_mangle)]
#[c_api(f64::NAN)]
pub extern "C" fn prime_atan(x: f64) -> f64 {
    Ok(x.atan())
}

/// Angle of the point (x, y), -pi to pi; 0 for (0, 0).
#[unsafe(no_mangle)]
#[c_api(f64::NAN)]
pub extern "C" fn prime_atan2(y: f64, x: f64) -> f64 {
    Ok(if x == 0.0 && y == 0.0 { 0.0 } else { y.atan2(x) })
}

/// Arc tangent, -pi/2 to pi/2. (Declared but missing in the C library.)
#[unsafe(no_mangle)]
#[c_api(f32::NAN)]
pub extern "C" fn prime_atanf(x: f32) -> f32 {
    Ok(f64::from(x).atan() as f32)
}

/// Angle of the point (x, y), -pi to pi; 0 for (0, 0). (Declared but missing in the C library.)
#[unsafe(no_mangle)]
#[c_api(f32::NAN)]
pub extern "C" fn prime_atan2f(y: f32, x: f32) -> f32 {
    Ok(if x == 0.0 && y == 0.0 { 0.0 } else { f64::from(y).atan2(f64::from(x)) as f32 })
}

/// Largest integer that is not above x.
#[unsafe(no_mangle)]
#[c_api(f64::NAN)]
pub extern "C" fn prime_floor(x: f64) -> f64 {
    Ok(x.floor())
}

/// Smallest integer that is not below x.
#[unsafe(no_mangle)]
#[c_api(f64::NAN)]
pub extern "C" fn prime_ceil(x: f64) -> f64 {
    Ok(x.ceil())
}

/// Nearest integer, halves away from zero.
#[unsafe(no_mangle)]
#[c_api(f64::NAN)]
pub extern "C" fn prime_round(x: f64) -> f64 {
    Ok(x.round())
}

/// Remainder of x / y with the sign of x; 0 for y = 0.
#[unsafe(no_mangle)]
#[c_api(f64::NAN)]
pub extern "C" fn prime_fmod(x: f64, y: f64) -> f64 {
    Ok(if y == 0.0 { 0.0 } else { x % y })
}

/// Arc cosine, 0 to pi; NaN outside -1..1.
#[unsafe(no_mangle)]
#[c_api(f64::NAN)]
pub extern "C" fn prime_acos(x: f64) -> f64 {
    Ok(x.acos())
}

/// Binary logarithm; -1e308 for x <= 0.
#[unsafe(no_mangle)]
#[c_api(f64::NAN)]
pub extern "C" fn prime_log2(x: f64) -> f64 {
    Ok(if x <= 0.0 { -1e308 } else { x.log2() })
}

/// The larger one; of a number and NaN the number.
#[unsafe(no_mangle)]
#[c_api(f32::NAN)]
pub extern "C" fn prime_fmaxf(x: f32, y: f32) -> f32 {
    Ok(x.max(y))
}

/// The larger one; of a number and NaN the number.
#[unsafe(no_mangle)]
#[c_api(f64::NAN)]
pub extern "C" fn prime_fmax(x: f64, y: f64) -> f64 {
    Ok(x.max(y))
}

/// The smaller one; of a number and NaN the number.
#[unsafe(no_mangle)]
#[c_api(f32::NAN)]
pub extern "C" fn prime_fminf(x: f32, y: f32) -> f32 {
    Ok(x.min(y))
}

/// The smaller one; of a number and NaN the number.
#[unsafe(no_mangle)]
#[c_api(f64::NAN)]
pub extern "C" fn prime_fmin(x: f64, y: f64) -> f64 {
    Ok(x.min(y))
}

/// 1 for NaN, else 0.
#[unsafe(no_mangle)]
#[c_api(0)]
pub extern "C" fn prime_isnanf(x: f32) -> c_int {
    Ok(c_int::from(x.is_nan()))
}

/// 1 for NaN, else 0.
#[unsafe(no_mangle)]
#[c_api(0)]
pub extern "C" fn prime_isnan(x: f64) -> c_int {
    Ok(c_int::from(x.is_nan()))
}

/// 1 for the two infinities, else 0.
#[unsafe(no_mangle)]
#[c_api(0)]
pub extern "C" fn prime_isinff(x: f32) -> c_int {
    Ok(c_int::from(x.is_infinite()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::{FRAC_PI_2, PI};

    #[test]
    fn conventions_outside_the_domain() {
        assert_eq!(prime_sqrt(-4.0), 0.0);
        assert_eq!(prime_sqrtf(-4.0), 0.0);
        assert!(prime_sqrt(f64::NAN).is_nan());
        for x in [0.0, -0.0, -3.0, f64::NEG_INFINITY] {
            assert_eq!(prime_log(x), -1.7976931348623157e308);
            assert_eq!(prime_log2(x), -1e308);
            assert_eq!(prime_logf(x as f32), -1e10);
        }
        for y in [0.0, -1.0, -0.5, f64::NEG_INFINITY] {
            assert_eq!(prime_pow(0.0, y), 0.0);
            assert_eq!(prime_powf(0.0, y as f32), 0.0);
        }
        assert_eq!(prime_pow(0.0, 2.0), 0.0);
        assert_eq!(prime_pow(-8.0, 1.0 / 3.0), 0.0);
        assert_eq!(prime_powf(-8.0, 0.5), 0.0);
        assert_eq!(prime_pow(-2.0, 3.0), -8.0);
        assert_eq!(prime_powf(-2.0, -2.0), 0.25);
        assert_eq!(prime_tan(FRAC_PI_2), 0.0);
        assert!(prime_tan(1.57) > 1000.0);
        assert!(prime_tanf(1.570_796_4) < -1e7);
        assert_eq!(prime_fmod(3.0, 0.0), 0.0);
        assert_eq!(prime_fmod(-7.5, 2.0), -1.5);
        assert_eq!(prime_atan2(0.0, 0.0), 0.0);
        assert_eq!(prime_atan2(0.0, -0.0), 0.0);
        assert_eq!(prime_atan2f(0.0, 0.0), 0.0);
        assert_eq!(prime_atan2(0.0, -1.0), PI);
        assert_eq!(prime_isinff(3e38), 0);
        assert_eq!(prime_isinff(f32::NEG_INFINITY), 1);
        assert_eq!(prime_isinff(f32::NAN), 0);
        assert_eq!(prime_isnanf(f32::NAN), 1);
        assert_eq!(prime_isnanf(f32::INFINITY), 0);
        assert_eq!(prime_isnan(-f64::NAN), 1);
        assert_eq!(prime_isnan(f64::NEG_INFINITY), 0);
        assert_eq!(prime_isnan(1e308), 0);
    }

    #[test]
    fn what_the_c_library_got_wrong() {
        let near = |got: f64, want: f64| assert!((got / want - 1.0).abs() < 1e-12, "{got} {want}");
        near(prime_exp(-5.0), 0.006737946999085467);
        near(prime_exp(20.0), 485165195.4097903);
        near(prime_log(1e-8), -18.420680743952367);
        near(prime_sqrt(1e-8), 1e-4);
        near(prime_pow(10000.0, 0.5), 100.0);
        near(prime_acos(0.5), PI / 3.0);
        near(prime_atan(1.0), PI / 4.0);
        near(prime_tanh(-1.0), -0.7615941559557649);
        near(prime_floor(-1e300), -1e300);
        near(prime_round(1e19), 1e19);
        assert!((prime_expf(-8.0) / 3.3546263e-4 - 1.0).abs() < 1e-6);
        // Endless there.
        assert!(prime_sin(1e300).abs() <= 1.0);
        assert!(prime_cosf(f32::INFINITY).is_nan());
        assert_eq!(prime_logf(f32::INFINITY), f32::INFINITY);
        assert_eq!(prime_round(-2.5), -3.0);
    }
}
