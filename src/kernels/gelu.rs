//! GELU in its tanh form (Hendrycks and Gimpel, 2016):
//! ½·z·(1 + tanh u), u = √(2/π)·(z + 0.044715·z³), which is z·sigmoid(2u).

use super::math::{exp, fma};

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
    /// z_i += bias_i, out_i = GELU(z_i), for one row.
    pub fn with_bias(z: &mut [f32], bias: &[f32], out: &mut [f32]) {
        for ((z, bias), out) in z.iter_mut().zip(bias).zip(out) {
            *z += bias;
            *out = *z * gate::<FMA>(*z);
        }
    }
}

simd! {
    /// out_i = GELU(z_i).
    pub fn forward(z: &[f32], out: &mut [f32]) {
        for (z, out) in z.iter().zip(out) {
            *out = z * gate::<FMA>(*z);
        }
    }
}

simd! {
    /// grad_i *= GELU'(z_i).
    pub fn backward(z: &[f32], grad: &mut [f32]) {
        for (z, grad) in z.iter().zip(grad) {
            let s = gate::<FMA>(*z);
            let slope = SQRT_2_OVER_PI * fma::<FMA>(3.0 * CUBIC * z, *z, 1.0);
            // d/dz of z·s: s + z·s' with s' = 2·slope·s·(1 - s).
            *grad *= fma::<FMA>(2.0 * z * slope, s * (1.0 - s), s);
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
        let mut value = vec![0.0; z.len()];
        forward(&z, &mut value);
        let mut slope = vec![1.0; z.len()];
        backward(&z, &mut slope);
        for ((z, value), slope) in z.iter().zip(&value).zip(&slope) {
            let x = f64::from(*z);
            assert!((f64::from(*value) - reference(x)).abs() < 1e-6, "GELU({z}) = {value}");
            let h = 1e-5;
            let difference = (reference(x + h) - reference(x - h)) / (2.0 * h);
            assert!((f64::from(*slope) - difference).abs() < 2e-6, "GELU'({z}) = {slope}");
        }
    }
}
