//! Learning rates of `ai/cllm_optimizer.h`, each a formula of a number of steps; a negative number
//! counts as 0. Their warm-up starts at 0, not at the floor as that of training's schedule does.

use cllm_kernels::functions;
use std::f64::consts::PI;

/// A rate that goes from `from` to `to`, after `part` of the way.
fn between(from: f32, to: f32, part: f64) -> f32 {
    (f64::from(from) + (f64::from(to) - f64::from(from)) * part) as f32
}

/// Which part of `length` steps is behind; `None` where there is no length.
fn part(step: i64, length: i64) -> Option<f64> {
    (length > 0).then(|| (step.max(0) as f64 / length as f64).min(1.0))
}

/// rate·step/warmup, up to rate.
pub fn warmup(step: i64, warmup: i64, rate: f32) -> f32 {
    part(step, warmup).map_or(rate, |part| between(0.0, rate, part))
}

/// A straight line from `rate` to `floor` over `length` steps; `rate` where there is no length.
pub fn linear(step: i64, length: i64, rate: f32, floor: f32) -> f32 {
    match part(step, length) {
        Some(1.0) => floor,
        part => between(rate, floor, part.unwrap_or(0.0)),
    }
}

/// Half a cosine wave from `rate` to `floor` over `length` steps; `rate` where there is no length.
pub fn cosine(step: i64, length: i64, rate: f32, floor: f32) -> f32 {
    match part(step, length) {
        Some(1.0) => floor,
        Some(part) => between(floor, rate, 0.5 * (1.0 + functions::cos(PI * part))),
        None => rate,
    }
}

/// rate·factor^⌊step/every⌋, not below the floor; `rate` where `every` is not positive.
pub fn stepped(step: i64, every: i64, rate: f32, factor: f32, floor: f32) -> f32 {
    if every <= 0 {
        return rate;
    }
    power(rate, factor, (step.max(0) / every) as f64, floor)
}

/// rate·factor^(step/every), not below the floor; `rate` where `every` is not positive.
pub fn exponential(step: i64, every: i64, rate: f32, factor: f32, floor: f32) -> f32 {
    if every <= 0 {
        return rate;
    }
    power(rate, factor, step.max(0) as f64 / every as f64, floor)
}

fn power(rate: f32, factor: f32, exponent: f64, floor: f32) -> f32 {
    // A broken power of a negative factor is NaN, which gives way to the floor.
    ((f64::from(rate) * functions::pow(factor.into(), exponent)) as f32).max(floor)
}

/// A triangle: from `low` to `high` and back in `length` steps; `low` where there is no length
/// (Smith, "Cyclical Learning Rates", 2017).
pub fn cyclic(step: i64, length: i64, low: f32, high: f32) -> f32 {
    if length <= 0 {
        return low;
    }
    let part = (step.max(0) % length) as f64 / length as f64;
    if part < 0.5 { between(low, high, 2.0 * part) } else { between(high, low, 2.0 * (part - 0.5)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(got: f32, want: f64) {
        assert!((f64::from(got) - want).abs() <= 1e-6 * want.abs(), "{got} {want}");
    }

    #[test]
    fn each_formula() {
        near(warmup(3, 4, 0.2), 0.15);
        near(linear(25, 100, 1.0, 0.2), 0.8);
        near(cosine(25, 100, 1.0, 0.2), 0.2 + 0.4 * (1.0 + 0.5f64.sqrt()));
        near(stepped(25, 10, 1.0, 0.5, 0.1), 0.25);
        near(exponential(200, 1000, 1.0, 0.1, 0.01), 0.630_957);
        near(cyclic(1003, 10, 0.2, 1.0), 0.2 + 0.8 * 0.6);
        near(cyclic(8, 10, 0.2, 1.0), 1.0 - 0.8 * 0.6);
    }

    #[test]
    fn ends() {
        for step in [100, i64::MAX] {
            assert_eq!((linear(step, 100, 0.1, 0.3), cosine(step, 100, 0.1, 0.3)), (0.3, 0.3));
            assert_eq!(warmup(step, 100, 0.1), 0.1);
        }
        assert_eq!(stepped(1 << 40, 1, 1.0, 0.5, 0.1), 0.1);
        assert_eq!(exponential(0, 10, 0.7, 0.0, 0.1), 0.7);
        assert_eq!(exponential(1, 10, 0.7, 0.0, 0.1), 0.1);
        assert_eq!(exponential(1, 10, 0.7, -1.0, 0.1), 0.1);
    }

    #[test]
    fn no_length_and_negative_steps() {
        for n in [0, -7] {
            assert_eq!((warmup(3, n, 0.5), linear(3, n, 0.5, 0.1)), (0.5, 0.5));
            assert_eq!((cosine(3, n, 0.5, 0.1), cyclic(3, n, 0.1, 0.5)), (0.5, 0.1));
            assert_eq!(stepped(3, n, 0.5, 0.1, 0.0), 0.5);
            assert_eq!(exponential(3, n, 0.5, 0.1, 0.0), 0.5);
        }
        for step in [-1, i64::MIN] {
            assert_eq!((warmup(step, 5, 0.5), linear(step, 5, 0.5, 0.1)), (0.0, 0.5));
            assert_eq!((cosine(step, 5, 0.5, 0.1), cyclic(step, 5, 0.1, 0.5)), (0.5, 0.1));
            assert_eq!(stepped(step, 5, 0.5, 0.1, 0.0), 0.5);
            assert_eq!(exponential(step, 5, 0.5, 0.1, 0.0), 0.5);
        }
    }
}
