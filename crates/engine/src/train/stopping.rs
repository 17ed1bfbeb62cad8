//! When to stop a run.

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
}
