//! Learning rates by step.

use cllm_kernels::functions;

/// How the rate goes on after the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Decay {
    /// Stays at the base rate.
    #[default]
    Constant,
    /// Half a cosine wave from the base rate down to the floor.
    Cosine,
    /// A straight line from the base rate down to the floor.
    Linear,
    /// Multiplied by a factor every so many steps.
    Step,
}

/// A schedule: linear warm-up, then one of the [`Decay`]s, never below the floor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// How it goes on after the warm-up.
    pub decay: Decay,
    /// The rate at its highest.
    pub base: f32,
    /// The lowest rate.
    pub floor: f32,
    /// Steps of the warm-up.
    pub warmup: u32,
    /// The step at which cosine and linear reach the floor; up to the warm-up they stay at base.
    pub end: u32,
    /// What [`Decay::Step`] multiplies by.
    pub factor: f32,
    /// Steps between two multiplications.
    pub every: u32,
}

impl Schedule {
    /// The floor where a configuration states none.
    pub const DEFAULT_FLOOR: f32 = 1e-6;
    /// The factor where a configuration states none.
    pub const DEFAULT_FACTOR: f32 = 0.1;
    /// The steps between two multiplications where a configuration states none.
    pub const DEFAULT_EVERY: u32 = 1000;

    /// The same rate at every step.
    pub fn constant(base: f32) -> Self {
        Self { base, ..Self::default() }
    }

    /// A linear warm-up of `warmup` steps to `base`, then half a cosine wave down to the floor at
    /// step `end`.
    pub fn cosine(base: f32, warmup: u32, end: u32) -> Self {
        Self { decay: Decay::Cosine, base, warmup, end, ..Self::default() }
    }

    /// A linear warm-up of `warmup` steps to `base`, then a straight line down to 0 at step `end`.
    pub fn linear(base: f32, warmup: u32, end: u32) -> Self {
        Self { decay: Decay::Linear, base, floor: 0.0, warmup, end, ..Self::default() }
    }

    /// The same schedule with its end moved to `end`, for a run at `step` that learns how many steps
    /// it will have: the rate goes on from where it is, and meets the floor at the new end. Other
    /// decays than [`Decay::Linear`], and those that have not begun or are over, take the end as if
    /// they had always had it.
    ///
    /// ```
    /// use cllm_engine::train::Schedule;
    ///
    /// let planned = Schedule::linear(1e-3, 100, 1100);
    /// let longer = planned.ending(600, 1600);
    /// assert!((longer.rate(600) - planned.rate(600)).abs() < 1e-9);
    /// assert!((longer.rate(1100) - 0.25e-3).abs() < 1e-9);
    /// assert_eq!(longer.rate(1600), 0.0);
    /// ```
    pub fn ending(&self, step: u32, end: u32) -> Self {
        let moved = Self { end, ..*self };
        if self.decay != Decay::Linear || step <= self.warmup || step >= self.end.min(end) {
            return moved;
        }
        // The line through (step, rate) and (end, floor), as it would have begun at the warm-up.
        let (rate, floor) = (f64::from(self.rate(step)), f64::from(self.floor));
        let stretch = f64::from(end - self.warmup) / f64::from(end - step);
        let mut line = Self { base: (floor + (rate - floor) * stretch) as f32, ..moved };
        // Rounding must not make the rate rise here; it is off by less than one place of the base.
        if line.rate(step) > self.rate(step) {
            line.base = line.base.next_down();
        }
        line
    }

    /// The rate at `step`, the first one being 0.
    pub fn rate(&self, step: u32) -> f32 {
        let (base, floor) = (f64::from(self.base), f64::from(self.floor));
        let highest = self.base.max(self.floor);
        if step < self.warmup {
            let part = (f64::from(step) + 1.0) / f64::from(self.warmup);
            return ((floor + (base - floor) * part) as f32).min(highest);
        }
        let since = step - self.warmup;
        let part = match self.end.checked_sub(self.warmup) {
            None | Some(0) => 0.0,
            Some(length) => (f64::from(since) / f64::from(length)).min(1.0),
        };
        let rate = match self.decay {
            Decay::Constant => base,
            Decay::Cosine => {
                floor + (base - floor) * 0.5 * (1.0 + functions::cos(std::f64::consts::PI * part))
            }
            Decay::Linear => base - (base - floor) * part,
            Decay::Step => {
                let times = since / self.every.max(1);
                let rate = base * functions::pow(self.factor.into(), times.into());
                return (rate as f32).max(self.floor);
            }
        };
        (rate as f32).min(highest).max(self.floor)
    }
}

impl Default for Schedule {
    /// A constant rate of 1e-3.
    fn default() -> Self {
        Self {
            decay: Decay::Constant,
            base: 1e-3,
            floor: Self::DEFAULT_FLOOR,
            warmup: 0,
            end: 0,
            factor: Self::DEFAULT_FACTOR,
            every: Self::DEFAULT_EVERY,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COSINE: Schedule = Schedule {
        decay: Decay::Cosine,
        base: 1e-3,
        floor: 1e-5,
        warmup: 10,
        end: 110,
        factor: 0.5,
        every: 25,
    };

    fn near(got: f32, want: f64) {
        let got = f64::from(got);
        assert!((got - want).abs() <= 1e-6 * want.abs(), "{got} {want}");
    }

    #[test]
    fn warm_up_rises_to_the_base() {
        let rates: Vec<_> = (0..10).map(|s| COSINE.rate(s)).collect();
        assert!(rates.windows(2).all(|w| w[0] < w[1]));
        near(rates[0], 1e-5 + 0.99e-3 * 0.1);
        assert_eq!(rates[9], 1e-3);
        assert_eq!(COSINE.rate(10), 1e-3);
    }

    #[test]
    fn the_decays() {
        near(COSINE.rate(60), 0.505e-3);
        near(COSINE.rate(35), 1e-5 + 0.99e-3 * 0.5 * (1.0 + 0.5f64.sqrt()));
        assert_eq!(COSINE.rate(110), 1e-5);
        assert_eq!(COSINE.rate(u32::MAX), 1e-5);
        let linear = Schedule { decay: Decay::Linear, ..COSINE };
        near(linear.rate(35), 1e-3 - 0.99e-3 * 0.25);
        assert_eq!(linear.rate(500), 1e-5);
        let step = Schedule { decay: Decay::Step, ..COSINE };
        assert_eq!(step.rate(34), 1e-3);
        assert_eq!(step.rate(35), 0.5e-3);
        near(step.rate(110), 1e-3 / 16.0);
        assert_eq!(step.rate(10_000), 1e-5);
        let constant = Schedule { decay: Decay::Constant, ..COSINE };
        assert_eq!(constant.rate(10_000), 1e-3);
    }

    #[test]
    fn odd_configurations() {
        // No room after the warm-up: stays at base.
        for end in [0, 5, 10] {
            assert_eq!(Schedule { end, ..COSINE }.rate(50), 1e-3);
        }
        // A base of 0 trains at the floor.
        let zero = Schedule { base: 0.0, warmup: 0, ..COSINE };
        for step in [0, 50, 500] {
            assert_eq!(zero.rate(step), 1e-5);
        }
        let none = Schedule { every: 0, decay: Decay::Step, ..COSINE };
        assert!(none.rate(12).is_finite());
    }

    #[test]
    fn never_above_the_base_by_rounding() {
        for i in 1..2000u32 {
            let base = 1e-3 + i as f32 * 1.37e-7;
            let schedule = Schedule { base, warmup: 7, end: 1000, ..COSINE };
            for step in 0..40 {
                assert!(schedule.rate(step) <= base);
            }
        }
    }

    #[test]
    fn an_end_that_moves_never_raises_the_rate() {
        for seed in 1..400u32 {
            let mut line = Schedule::linear(1e-3 + seed as f32 * 1.37e-7, seed % 9, 10_000_000);
            let mut last = f32::MAX;
            for step in seed % 9..60 {
                // Now further off, now nearer, by much or by little.
                let end = 70 + (step * 7919 + seed * 104_729) % (1 << (3 + step % 20));
                line = if step % 3 == 0 { line.ending(step, end) } else { line };
                let rate = line.rate(step);
                assert!(rate <= last, "{seed} {step}: {rate} after {last}");
                last = rate;
            }
        }
    }

    #[test]
    fn shorthands() {
        assert_eq!(Schedule::constant(0.5).rate(1_000_000), 0.5);
        let cosine = Schedule::cosine(1e-3, 10, 110);
        assert_eq!(cosine.rate(9), 1e-3);
        near(cosine.rate(60), 0.5005e-3);
        assert_eq!(cosine.rate(110), 1e-6);
        let linear = Schedule::linear(1e-3, 10, 110);
        near(linear.rate(0), 1e-4);
        near(linear.rate(60), 0.5e-3);
        assert_eq!((linear.rate(9), linear.rate(110), linear.rate(500)), (1e-3, 0.0, 0.0));
    }
}
