//! Activation functions over a slice.

/// x = GELU(x) in its tanh form.
pub fn gelu(x: &mut [f32]) {
    for x in x.iter_mut() {
        // The limit; the formula would multiply −∞ by 0.
        if *x == f32::NEG_INFINITY {
            *x = -0.0;
        }
    }
    cllm_kernels::gelu::in_place(x);
}

/// Negative values become 0; NaN and −0 stay.
pub fn relu(x: &mut [f32]) {
    for x in x {
        if *x < 0.0 {
            *x = 0.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gelu_of_the_reference() {
        let mut x = [-3.0, -1.0, -0.5, 0.5, 1.0, 2.0, 3.0, 5.0];
        gelu(&mut x);
        let want =
            [-0.0036374, -0.158808, -0.154286, 0.345714, 0.841192, 1.954598, 2.996363, 5.0f32];
        for (got, want) in x.iter().zip(want) {
            assert!((got - want).abs() < 1e-6, "{x:?}");
        }
    }

    #[test]
    fn extremes() {
        let mut x = [f32::NEG_INFINITY, f32::INFINITY, -1e30, 1e30, f32::NAN, 0.0];
        gelu(&mut x);
        assert_eq!(x[..2], [0.0, f32::INFINITY]);
        assert!(x[2].abs() < 1e-6 && x[3] == 1e30 && x[4].is_nan() && x[5] == 0.0);
        let mut x = [f32::NEG_INFINITY, -1e-30, -0.0, 2.0, f32::NAN];
        relu(&mut x);
        assert_eq!(x[..4], [0.0, 0.0, 0.0, 2.0]);
        assert!(x[2].is_sign_negative() && x[4].is_nan());
    }
}
