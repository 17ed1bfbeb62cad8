//! Operations on one array of gradients or weights.

use cllm_kernels::vector;

/// ‖g‖₂, summed in f64.
pub fn norm(g: &[f32]) -> f64 {
    vector::square_sum(g).sqrt()
}

/// Scales `g` to length `max` if it is longer. A limit that is not positive, or gradients that are
/// not finite, change nothing.
pub fn clip_norm(g: &mut [f32], max: f32) {
    let norm = norm(g);
    let max = f64::from(max);
    if max > 0.0 && norm.is_finite() && norm > max {
        // Scaling in two steps would round twice; huge norms need the factor in f64.
        let factor = max / norm;
        for x in g {
            *x = (f64::from(*x) * factor) as f32;
        }
    }
}

/// Holds every value to −c..c; NaN stays, and a limit that is not positive changes nothing.
pub fn clip_value(g: &mut [f32], c: f32) {
    if c > 0.0 {
        for x in g {
            *x = x.clamp(-c, c);
        }
    }
}

/// w *= 1 − rate·decay, where decay is positive.
pub fn decay(w: &mut [f32], decay: f32, rate: f32) {
    if decay > 0.0 {
        vector::scale(w, (1.0 - f64::from(rate) * f64::from(decay)) as f32);
    }
}

/// Whether some value is NaN, infinite or beyond ±1e38.
pub fn out_of_range(g: &[f32]) -> bool {
    !g.iter().all(|x| x.abs() <= 1e38)
}

/// average = decay·average + (1 − decay)·w.
pub fn moving_average(average: &mut [f32], w: &[f32], decay: f32) {
    let decay = f64::from(decay);
    for (average, w) in average.iter_mut().zip(w) {
        *average = (decay * f64::from(*average) + (1.0 - decay) * f64::from(*w)) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clipping() {
        let mut g = [3.0, 4.0];
        clip_norm(&mut g, 5.0);
        assert_eq!(g, [3.0, 4.0]);
        clip_norm(&mut g, 1.0);
        assert_eq!(g, [0.6, 0.8]);
        for limit in [0.0, -1.0, f32::NAN] {
            clip_norm(&mut g, limit);
            clip_value(&mut g, limit);
            assert_eq!(g, [0.6, 0.8]);
        }
        let mut g = [f32::INFINITY, 1.0];
        clip_norm(&mut g, 1.0);
        assert_eq!(g, [f32::INFINITY, 1.0]);
        clip_value(&mut g, 0.5);
        assert_eq!(g, [0.5, 0.5]);
        // The square of 1e30 does not fit in f32.
        let mut g = [1e30, 0.0];
        clip_norm(&mut g, 2.0);
        assert_eq!(g, [2.0, 0.0]);
        let mut g = [f32::NAN, -9.0];
        clip_value(&mut g, 1.0);
        assert!(g[0].is_nan() && g[1] == -1.0);
    }

    #[test]
    fn the_rest() {
        assert_eq!(norm(&[]), 0.0);
        assert!((norm(&[1e-4; 100]) - 1e-3).abs() < 1e-10);
        let mut w = [2.0, -4.0];
        decay(&mut w, 0.5, 0.5);
        assert_eq!(w, [1.5, -3.0]);
        decay(&mut w, 0.0, 0.5);
        decay(&mut w, -1.0, 0.5);
        assert_eq!(w, [1.5, -3.0]);
        moving_average(&mut w, &[0.5, 1.0], 0.75);
        assert_eq!(w, [1.25, -2.0]);
        assert!(!out_of_range(&[1e38, -1e38, 0.0]));
        for bad in [1.1e38, -2e38, f32::INFINITY, f32::NAN] {
            assert!(out_of_range(&[0.0, bad]));
        }
    }
}
