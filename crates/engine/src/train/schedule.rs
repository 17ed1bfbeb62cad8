//! Learning rates by step.

/// How the rate goes on after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Stays at the base rate.
    Constant,
    /// Half a cosine wave from the base rate down to the floor.
    Cosine,
    /// A straight line from the base rate down to the floor.
    Linear,
    /// Multiplied by a factor every so many steps.
    Step,
}

impl Kind {
    /// By its name in `CLLMTrainingConfig.lr_scheduler`; names that are not known mean cosine.
    pub fn named(name: &[u8]) -> Self {
        match name {
            b"" | b"none" => Self::Constant,
            b"linear" => Self::Linear,
            b"step" => Self::Step,
            _ => Self::Cosine,
        }
    }
}

/// A schedule: linear warm-up, then one of the [`Kind`]s, never below the floor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// How it goes on after the warm-up.
    pub kind: Kind,
    /// The rate at its highest.
    pub base: f32,
    /// The lowest rate.
    pub floor: f32,
    /// Steps of the warm-up.
    pub warmup: u32,
    /// The step at which cosine and linear reach the floor; up to the warm-up they stay at base.
    pub end: u32,
    /// What [`Kind::Step`] multiplies by.
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

    /// The rate at `step`.
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
        let rate = match self.kind {
            Kind::Constant => base,
            Kind::Cosine => {
                floor + (base - floor) * 0.5 * (1.0 + (std::f64::consts::PI * part).cos())
            }
            Kind::Linear => base - (base - floor) * part,
            Kind::Step => {
                let times = since / self.every.max(1);
                let rate = base * f64::from(self.factor).powf(f64::from(times));
                return (rate as f32).max(self.floor);
            }
        };
        (rate as f32).min(highest).max(self.floor)
    }
}

/// base·factor^c, c = how many of `steps` are reached.
pub fn step_decay(base: f32, step: i32, steps: &[i32], factor: f32) -> f32 {
    let reached = steps.iter().filter(|&&s| s <= step).count();
    (f64::from(base) * f64::from(factor).powf(reached as f64)) as f32
}

/// base·e^(−decay·step).
pub fn exponential(base: f32, step: u32, decay: f32) -> f32 {
    (f64::from(base) * (-f64::from(decay) * f64::from(step)).exp()) as f32
}

/// floor + (base − floor)·(1 − min(1, step/end))^power; base where `end` is 0.
pub fn polynomial(base: f32, floor: f32, step: u32, end: u32, power: f32) -> f32 {
    if end == 0 {
        return base;
    }
    let rest = 1.0 - (f64::from(step) / f64::from(end)).min(1.0);
    let (base, floor) = (f64::from(base), f64::from(floor));
    (floor + (base - floor) * rest.powf(f64::from(power))) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    const COSINE: Schedule = Schedule {
        kind: Kind::Cosine,
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
    fn the_kinds() {
        near(COSINE.rate(60), 0.505e-3);
        near(COSINE.rate(35), 1e-5 + 0.99e-3 * 0.5 * (1.0 + 0.5f64.sqrt()));
        assert_eq!(COSINE.rate(110), 1e-5);
        assert_eq!(COSINE.rate(u32::MAX), 1e-5);
        let linear = Schedule { kind: Kind::Linear, ..COSINE };
        near(linear.rate(35), 1e-3 - 0.99e-3 * 0.25);
        assert_eq!(linear.rate(500), 1e-5);
        let step = Schedule { kind: Kind::Step, ..COSINE };
        assert_eq!(step.rate(34), 1e-3);
        assert_eq!(step.rate(35), 0.5e-3);
        near(step.rate(110), 1e-3 / 16.0);
        assert_eq!(step.rate(10_000), 1e-5);
        let constant = Schedule { kind: Kind::Constant, ..COSINE };
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
        let none = Schedule { every: 0, kind: Kind::Step, ..COSINE };
        assert!(none.rate(12).is_finite());
        for (name, kind) in [
            ("", Kind::Constant),
            ("none", Kind::Constant),
            ("linear", Kind::Linear),
            ("step", Kind::Step),
            ("cosine", Kind::Cosine),
            ("Linear", Kind::Cosine),
            ("what", Kind::Cosine),
        ] {
            assert_eq!(Kind::named(name.as_bytes()), kind);
        }
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
    fn getters() {
        near(step_decay(1.0, 10, &[5, 10, 11], 0.5), 0.25);
        assert_eq!(step_decay(1.0, 10, &[], 0.5), 1.0);
        near(exponential(2.0, 3, 0.5), 2.0 * (-1.5f64).exp());
        near(polynomial(1.0, 0.2, 25, 100, 2.0), 0.2 + 0.8 * 0.5625);
        near(polynomial(1.0, 0.2, 200, 100, 2.0), 0.2);
        assert_eq!(polynomial(1.0, 0.2, 200, 0, 2.0), 1.0);
    }
}
