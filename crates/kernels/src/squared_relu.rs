//! Squared ReLU (So et al., "Primer: Searching for Efficient Transformers", 2021): max(0, z)².

use crate::arch::simd;

#[inline(always)]
fn positive(z: f32) -> f32 {
    // A NaN stays one.
    if z < 0.0 { 0.0 } else { z }
}

simd! {
    /// x_i = max(0, z)² at z = x_i + bias_i; no bias is 0.
    pub fn in_place(x: &mut [f32], bias: Option<&[f32]>) {
        match bias {
            Some(bias) => {
                for (x, bias) in x.iter_mut().zip(bias) {
                    let z = positive(*x + bias);
                    *x = z * z;
                }
            }
            None => {
                for x in x {
                    let z = positive(*x);
                    *x = z * z;
                }
            }
        }
    }
}

simd! {
    /// The same, and slope_i = 2·max(0, z), the derivative.
    pub fn with_slope(x: &mut [f32], bias: Option<&[f32]>, slope: &mut [f32]) {
        match bias {
            Some(bias) => {
                for ((x, bias), slope) in x.iter_mut().zip(bias).zip(slope) {
                    let z = positive(*x + bias);
                    (*x, *slope) = (z * z, z + z);
                }
            }
            None => {
                for (x, slope) in x.iter_mut().zip(slope) {
                    let z = positive(*x);
                    (*x, *slope) = (z * z, z + z);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_and_slope() {
        let z: Vec<f32> = (-50..50).map(|i| i as f32 * 0.25).collect();
        let half = vec![0.5; z.len()];
        for bias in [None, Some(&half[..])] {
            let (mut value, mut slope) = (z.clone(), vec![9.0; z.len()]);
            with_slope(&mut value, bias, &mut slope);
            let mut same = z.clone();
            in_place(&mut same, bias);
            assert_eq!(same, value);
            for (i, z) in z.iter().enumerate() {
                let z = z + bias.map_or(0.0, |b| b[i]);
                let want = if z > 0.0 { (z * z, 2.0 * z) } else { (0.0, 0.0) };
                assert_eq!((value[i], slope[i]), want, "{z}");
            }
        }
    }

    #[test]
    fn a_nan_is_not_lost() {
        let (mut x, mut slope) = ([f32::NAN], [0.0]);
        with_slope(&mut x, None, &mut slope);
        assert!(x[0].is_nan() && slope[0].is_nan());
    }
}
