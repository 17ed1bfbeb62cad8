//! When to stop a run, and the learning rates of one.

use std::f64::consts::PI;

/// Stops a run whose validation loss no longer falls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EarlyStopping {
    best: f32,
    patience: i32,
    without: i32,
}

impl EarlyStopping {
    /// With a loss to beat, infinite for none.
    pub fn new(initial: f32, patience: i32) -> Self {
        Self { best: initial, patience, without: 0 }
    }

    /// The smallest loss so far.
    pub fn best(&self) -> f32 {
        self.best
    }

    /// Takes note of a loss; whether to stop: `patience` losses in a row did not improve.
    pub fn check(&mut self, loss: f32) -> bool {
        if self.improves(loss) {
            self.best = loss;
            self.without = 0;
            return false;
        }
        self.without = self.without.saturating_add(1);
        self.without >= self.patience
    }

    /// By more than a thousandth of the best loss.
    fn improves(&self, loss: f32) -> bool {
        let (best, loss) = (f64::from(self.best), f64::from(loss));
        if loss.is_nan() || best == f64::NEG_INFINITY {
            false
        } else if !best.is_finite() {
            loss.is_finite()
        } else {
            loss < best - 1e-3 * best.abs()
        }
    }
}

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
            floor + (rate - floor) * 0.5 * (1.0 + (PI * part).cos())
        };
        now as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stops_after_patience_without_improvement() {
        let mut s = EarlyStopping::new(1.0, 2);
        assert!(!s.check(0.9));
        assert_eq!(s.best(), 0.9);
        assert!(!s.check(0.95));
        assert!(s.check(0.9));
        assert!(s.check(0.8995), "less than a thousandth better, and still over");
        assert!(!s.check(0.898), "improved");
        assert!(!s.check(f32::NAN));
        assert!(s.check(f32::NAN));
        assert_eq!(s.best(), 0.898);
    }

    #[test]
    fn an_infinite_start_is_beaten_by_any_loss() {
        // The original's ratio was NaN then: nothing ever improved.
        let mut s = EarlyStopping::new(f32::INFINITY, 1);
        assert!(!s.check(1e30));
        assert!(!s.check(5.0));
        assert!(s.check(5.0));
        let mut s = EarlyStopping::new(f32::INFINITY, 2);
        assert!(!s.check(f32::INFINITY));
        assert!(s.check(f32::NAN));
        let mut s = EarlyStopping::new(f32::NAN, 1);
        assert!(!s.check(3.0));
    }

    #[test]
    fn losses_below_zero() {
        let mut s = EarlyStopping::new(0.0, 1);
        assert!(s.check(0.0), "strictly");
        assert!(!s.check(-1e-6));
        let mut s = EarlyStopping::new(-2.0, 1);
        assert!(s.check(-2.001));
        assert!(!s.check(-2.003));
        let mut s = EarlyStopping::new(f32::NEG_INFINITY, 1);
        assert!(s.check(-1e30));
    }

    #[test]
    fn patience_of_nothing_stops_at_once() {
        for patience in [0, -5, i32::MIN] {
            let mut s = EarlyStopping::new(1.0, patience);
            assert!(!s.check(0.5));
            assert!(s.check(0.5));
        }
        let mut s = EarlyStopping { without: i32::MAX, ..EarlyStopping::new(1.0, i32::MAX) };
        assert!(s.check(2.0));
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
}
