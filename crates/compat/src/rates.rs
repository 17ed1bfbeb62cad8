//! Learning rates that only old headers offer; training runs by `cllm_engine::train::Schedule`.

use cllm_kernels::functions;
use std::f64::consts::PI;

/// A linear warm-up from 0, then half a cosine wave down to a hundredth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WarmupCosine {
    rate: f32,
    warmup: i32,
    total: i32,
    step: i32,
}

impl WarmupCosine {
    /// Towards `rate` over `warmup` steps, and from there down until `total` steps.
    pub fn new(rate: f32, warmup: i32, total: i32) -> Self {
        Self { rate, warmup, total, step: 0 }
    }

    /// One step on.
    pub fn advance(&mut self) {
        self.step = self.step.saturating_add(1);
    }

    /// The rate now. Before the first step it is the full one: training that starts before the
    /// schedule is stepped runs at it, and does not stand still.
    pub fn rate(&self) -> f32 {
        let (rate, step) = (f64::from(self.rate), f64::from(self.step));
        let (warmup, total) = (f64::from(self.warmup), f64::from(self.total));
        let floor = 0.01 * rate;
        let now = if self.step == 0 {
            return self.rate;
        } else if self.step < self.warmup {
            rate * step / warmup
        } else if self.step >= self.total || self.total <= self.warmup {
            floor
        } else {
            let warmup = warmup.max(0.0);
            let part = (step - warmup) / (total - warmup);
            floor + (rate - floor) * 0.5 * (1.0 + functions::cos(PI * part))
        };
        now as f32
    }
}

/// base·factor^c, c = how many of `steps` are reached.
pub fn step_decay(base: f32, step: i32, steps: &[i32], factor: f32) -> f32 {
    let reached = steps.iter().filter(|&&s| s <= step).count();
    (f64::from(base) * functions::pow(factor.into(), reached as f64)) as f32
}

/// base·e^(−decay·step).
pub fn exponential(base: f32, step: u32, decay: f32) -> f32 {
    (f64::from(base) * functions::exp(-f64::from(decay) * f64::from(step))) as f32
}

/// floor + (base − floor)·(1 − min(1, step/end))^power; base where `end` is 0.
pub fn polynomial(base: f32, floor: f32, step: u32, end: u32, power: f32) -> f32 {
    if end == 0 {
        return base;
    }
    let rest = 1.0 - (f64::from(step) / f64::from(end)).min(1.0);
    let (base, floor) = (f64::from(base), f64::from(floor));
    (floor + (base - floor) * functions::pow(rest, power.into())) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(got: f32, want: f64) {
        let got = f64::from(got);
        assert!((got - want).abs() <= 1e-6 * want.abs(), "{got} {want}");
    }

    fn rates(mut s: WarmupCosine, n: usize) -> Vec<f32> {
        let step = |_| {
            s.advance();
            s.rate()
        };
        (0..n).map(step).collect()
    }

    #[test]
    fn warm_up_then_cosine() {
        let s = WarmupCosine::new(1e-3, 10, 110);
        assert_eq!(s.rate(), 1e-3, "before the first step");
        let r = rates(s, 200);
        for (i, &rate) in r.iter().enumerate() {
            let step = i as f64 + 1.0;
            let expected = if step < 10.0 {
                1e-3 * step / 10.0
            } else if step >= 110.0 {
                1e-5
            } else {
                1e-5 + 0.99e-3 * 0.5 * (1.0 + (PI * (step - 10.0) / 100.0).cos())
            };
            assert!((f64::from(rate) - expected).abs() < 1e-9, "{step}: {rate} {expected}");
        }
    }

    #[test]
    fn odd_schedules() {
        assert_eq!(rates(WarmupCosine::new(1.0, 0, 0), 2), [0.01, 0.01]);
        assert_eq!(rates(WarmupCosine::new(1.0, 5, 3), 6)[4..], [0.01, 0.01]);
        assert!(rates(WarmupCosine::new(1.0, -5, 4), 4).windows(2).all(|w| w[1] < w[0]));
        assert_eq!(rates(WarmupCosine::new(1.0, i32::MIN, i32::MIN), 1), [0.01]);
    }

    #[test]
    fn the_three_formulas() {
        near(step_decay(1.0, 10, &[5, 10, 11], 0.5), 0.25);
        assert_eq!(step_decay(1.0, 10, &[], 0.5), 1.0);
        near(exponential(2.0, 3, 0.5), 2.0 * (-1.5f64).exp());
        near(polynomial(1.0, 0.2, 25, 100, 2.0), 0.2 + 0.8 * 0.5625);
        near(polynomial(1.0, 0.2, 200, 100, 2.0), 0.2);
        assert_eq!(polynomial(1.0, 0.2, 200, 0, 2.0), 1.0);
    }
}
