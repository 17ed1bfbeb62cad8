//! GELU in its tanh form (Hendrycks and Gimpel, 2016):
//! ½·z·(1 + tanh u), u = √(2/π)·(z + 0.044715·z³), which is z·sigmoid(2u).

use super::math::{exp, fma};
use crate::arch::simd;

const SQRT_2_OVER_PI: f32 = 0.797_884_6;
const CUBIC: f32 = 0.044_715;

#[inline(always)]
fn gate<const FMA: bool>(z: f32) -> f32 {
    let u = SQRT_2_OVER_PI * z * fma::<FMA>(CUBIC * z, z, 1.0);
    1.0 / (1.0 + exp::<FMA>(-2.0 * u))
}

simd! {
    /// x_i = GELU(x_i).
    pub fn in_place(x: &mut [f32]) {
        for x in x {
            *x *= gate::<FMA>(*x);
        }
    }
}

simd! {
    /// x_i = GELU(x_i + bias_i).
    pub fn with_bias(x: &mut [f32], bias: &[f32]) {
        for (x, bias) in x.iter_mut().zip(bias) {
            let z = *x + bias;
            *x = z * gate::<FMA>(z);
        }
    }
}

/// GELU and its derivative at z, which share the exponential.
#[inline(always)]
fn value_and_slope<const FMA: bool>(z: f32) -> (f32, f32) {
    let s = gate::<FMA>(z);
    let inner = SQRT_2_OVER_PI * fma::<FMA>(3.0 * CUBIC * z, z, 1.0);
    // d/dz of z·s: s + z·s' with s' = 2·inner·s·(1 - s).
    (z * s, fma::<FMA>(2.0 * z * inner, s * (1.0 - s), s))
}

simd! {
    /// x_i = GELU(z), slope_i = GELU'(z) at z = x_i + bias_i; no bias is 0.
    pub fn with_slope(x: &mut [f32], bias: Option<&[f32]>, slope: &mut [f32]) {
        match bias {
            Some(bias) => {
                for ((x, bias), slope) in x.iter_mut().zip(bias).zip(slope) {
                    (*x, *slope) = value_and_slope::<FMA>(*x + bias);
                }
            }
            None => {
                for (x, slope) in x.iter_mut().zip(slope) {
                    (*x, *slope) = value_and_slope::<FMA>(*x);
                }
            }
        }
    }
}

simd! {
    /// grad_i *= GELU'(z_i).
    pub fn backward(z: &[f32], grad: &mut [f32]) {
        for (z, grad) in z.iter().zip(grad) {
            *grad *= value_and_slope::<FMA>(*z).1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(z: f64) -> f64 {
        0.5 * z * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (z + 0.044715 * z.powi(3))).tanh())
    }

    #[test]
    fn value_and_slope() {
        let z: Vec<f32> = (-600..600).map(|i| i as f32 * 0.0173).collect();
        let (mut value, mut slope) = (z.clone(), vec![0.0; z.len()]);
        with_slope(&mut value, None, &mut slope);
        let mut gradient = vec![1.0; z.len()];
        backward(&z, &mut gradient);
        assert_eq!(slope, gradient);
        for bias in [None, Some(0.25)] {
            let mut same = z.clone();
            let shifted: Vec<f32> = z.iter().map(|z| z - bias.unwrap_or(0.0)).collect();
            let biases = vec![bias.unwrap_or(0.0); z.len()];
            same.copy_from_slice(&shifted);
            with_bias(&mut same, &biases);
            let mut other = shifted;
            with_slope(&mut other, bias.map(|_| &biases[..]), &mut gradient);
            assert_eq!(same, other);
        }
        let mut same = z.clone();
        in_place(&mut same);
        assert_eq!(same, value);
        for ((z, value), slope) in z.iter().zip(&value).zip(&slope) {
            let x = f64::from(*z);
            assert!((f64::from(*value) - reference(x)).abs() < 1e-6, "GELU({z}) = {value}");
            let h = 1e-5;
            let difference = (reference(x + h) - reference(x - h)) / (2.0 * h);
            assert!((f64::from(*slope) - difference).abs() < 2e-6, "GELU'({z}) = {slope}");
        }
    }
}
