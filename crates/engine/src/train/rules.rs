//! The update rules of all optimizers: how an array of weights moves by its gradient.
//!
//! A [`Rule`] knows nothing of models. [`super::optimizer`] applies one to all tensors of a model;
//! a program with parameters of its own applies one to a flat array:
//!
//! ```
//! use cllm_engine::train::rules::{Change, Moments, Rule, WeightDecay};
//!
//! let (mut weights, mut moment, mut square) = ([1.0f32], [0.0], [0.0]);
//! let rule = Rule::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, number: 1 };
//! let change = Change { rule, rate: 0.1, decay: WeightDecay::NONE };
//! let moments = Moments { first: &mut moment, second: &mut square, ..Moments::default() };
//! change.apply(&mut weights, &[7.0], moments);
//! assert!((weights[0] - 0.9).abs() < 1e-6); // Adam's first step is the rate, whatever the gradient
//! ```

use cllm_kernels::adam::{self, AdamStep, RootStep};
use cllm_kernels::vector::axpy;

/// How weights move by a gradient g. m is [`Moments::first`], v is [`Moments::second`], lr the rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// w ← w − lr·g.
    Descent,
    /// m ← μm − lr·g; w ← w + m: the rate is inside the velocity.
    Velocity {
        /// μ.
        mu: f32,
    },
    /// m ← μm + g; w ← w − lr·m: the rate is outside, so that a new one acts at once (Polyak, 1964).
    /// `nesterov`: w ← w − lr·(μm + g), with the new m (Sutskever et al., 2013).
    HeavyBall {
        /// μ.
        mu: f32,
        /// Whether the step looks ahead.
        nesterov: bool,
    },
    /// m ← β₁m + (1−β₁)g; v ← β₂v + (1−β₂)g²; w ← w − lr·m̂/(√v̂ + ε), with m̂ = m/(1−β₁ᵗ) and
    /// v̂ = v/(1−β₂ᵗ) (Kingma and Ba, 2015). Where [`Moments::largest`] is there, it becomes
    /// max(largest, v̂) and takes the place of v̂ (AMSGrad).
    Adam {
        /// β₁.
        beta1: f32,
        /// β₂.
        beta2: f32,
        /// ε.
        epsilon: f32,
        /// t: the updates so far, this one included.
        number: u64,
    },
    /// v ← βv + (1−β)g²; w ← w − lr·g/(√v + ε) (Tieleman and Hinton, 2012).
    RmsProp {
        /// β.
        beta: f32,
        /// ε.
        epsilon: f32,
    },
    /// v ← v + g²; w ← w − lr·g/(√v + ε) (Duchi, Hazan and Singer, 2011).
    Adagrad {
        /// ε.
        epsilon: f32,
    },
}

/// How weights decay; λ of 0 or less: not at all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum WeightDecay {
    /// w ← w − lr·λ·w beside the rule (Loshchilov and Hutter, 2019).
    Decoupled(f32),
    /// λ·w is added to the gradient, and goes through the rule with it.
    Coupled(f32),
}

impl WeightDecay {
    /// No decay.
    pub const NONE: Self = Self::Decoupled(0.0);
}

/// What a rule keeps from one update to the next, for each weight; zero before the first. Arrays
/// that the rule doesn't use may be empty.
#[derive(Debug, Default)]
pub struct Moments<'a> {
    /// m.
    pub first: &'a mut [f32],
    /// v.
    pub second: &'a mut [f32],
    /// The largest v̂ so far, for AMSGrad; empty for Adam as it is.
    pub largest: &'a mut [f32],
}

impl Moments<'_> {
    /// Those of the weights from `start` on.
    fn from(&mut self, start: usize) -> Moments<'_> {
        Moments {
            first: self.first.get_mut(start..).unwrap_or_default(),
            second: self.second.get_mut(start..).unwrap_or_default(),
            largest: self.largest.get_mut(start..).unwrap_or_default(),
        }
    }
}

/// One update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// How weights move.
    pub rule: Rule,
    /// lr.
    pub rate: f32,
    /// How they decay.
    pub decay: WeightDecay,
}

/// Elements whose gradient is put together with the decay at a time.
const PART: usize = 1024;

impl Change {
    /// Applies it to `w` with the gradient `g`, as far as both and the moments of the rule last.
    /// Each element moves by itself: an array may be cut anywhere, with the same results.
    pub fn apply(&self, w: &mut [f32], g: &[f32], mut moments: Moments<'_>) {
        let lambda = match self.decay {
            WeightDecay::Coupled(lambda) if lambda > 0.0 => lambda,
            _ => return self.plain(w, g, moments),
        };
        let mut sum = [0.0; PART];
        for (i, (w, g)) in w.chunks_mut(PART).zip(g.chunks(PART)).enumerate() {
            let sum = &mut sum[..g.len()];
            sum.copy_from_slice(g);
            axpy(sum, lambda, w);
            self.plain(w, sum, moments.from(i * PART));
        }
    }

    /// The same with a gradient that has the coupled decay in it.
    fn plain(&self, w: &mut [f32], g: &[f32], moments: Moments<'_>) {
        let rate = self.rate;
        let keep = match self.decay {
            WeightDecay::Decoupled(lambda) => 1.0 - rate * lambda.max(0.0),
            WeightDecay::Coupled(_) => 1.0,
        };
        let Moments { first: m, second: v, largest } = moments;
        match self.rule {
            Rule::Descent => adam::descend(w, g, rate, keep),
            Rule::Velocity { mu } => adam::momentum(w, g, m, rate, mu, keep),
            Rule::HeavyBall { mu, nesterov } => {
                let (ahead, now) = if nesterov { (mu, 1.0) } else { (1.0, 0.0) };
                adam::heavy_ball(w, g, m, rate, mu, ahead, now, keep);
            }
            Rule::Adam { beta1, beta2, epsilon, number } => {
                // Powers in f64: 1 − 0.999ᵗ loses half of its digits in f32.
                let t = number.min(i32::MAX as u64) as i32;
                let correction1 = 1.0 - f64::from(beta1).powi(t);
                let correction2 = 1.0 - f64::from(beta2).powi(t);
                let step = AdamStep {
                    rate: (f64::from(rate) / correction1) as f32,
                    beta1,
                    beta2,
                    root_correction: (1.0 / correction2.sqrt()) as f32,
                    epsilon,
                    keep,
                };
                if largest.is_empty() {
                    adam::adam(w, g, m, v, step);
                } else {
                    adam::amsgrad(w, g, m, v, largest, step);
                }
            }
            Rule::RmsProp { beta, epsilon } => {
                let (keep_square, add_square) = (beta, 1.0 - beta);
                adam::root(w, g, v, RootStep { rate, keep_square, add_square, epsilon, keep });
            }
            Rule::Adagrad { epsilon } => {
                let (keep_square, add_square) = (1.0, 1.0);
                adam::root(w, g, v, RootStep { rate, keep_square, add_square, epsilon, keep });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const N: usize = 2500;
    const LR: f64 = 0.01;

    /// The formulas in f64, with t the number of the update: the new (w, m, v, x).
    fn reference(c: &Change, t: i32, [w, m, v, x]: [f64; 4], g: f64) -> [f64; 4] {
        let (coupled, decoupled) = match c.decay {
            WeightDecay::Coupled(l) => (f64::from(l), 0.0),
            WeightDecay::Decoupled(l) => (0.0, f64::from(l)),
        };
        let g = g + coupled * w;
        let kept = w - LR * decoupled * w;
        match c.rule {
            Rule::Descent => [kept - LR * g, m, v, x],
            Rule::Velocity { mu } => {
                let m = f64::from(mu) * m - LR * g;
                [kept + m, m, v, x]
            }
            Rule::HeavyBall { mu, nesterov } => {
                let mu = f64::from(mu);
                let m = mu * m + g;
                let step = if nesterov { mu * m + g } else { m };
                [kept - LR * step, m, v, x]
            }
            Rule::Adam { beta1, beta2, epsilon, .. } => {
                let (b1, b2) = (f64::from(beta1), f64::from(beta2));
                let (m, v) = (b1 * m + (1.0 - b1) * g, b2 * v + (1.0 - b2) * g * g);
                let hat = v / (1.0 - b2.powi(t));
                let (x, root) = if x < 0.0 { (x, hat) } else { (x.max(hat), x.max(hat)) };
                let step = m / (1.0 - b1.powi(t)) / (root.sqrt() + f64::from(epsilon));
                [kept - LR * step, m, v, x]
            }
            Rule::RmsProp { beta, epsilon } => {
                let v = f64::from(beta) * v + (1.0 - f64::from(beta)) * g * g;
                [kept - LR * g / (v.sqrt() + f64::from(epsilon)), m, v, x]
            }
            Rule::Adagrad { epsilon } => {
                let v = v + g * g;
                [kept - LR * g / (v.sqrt() + f64::from(epsilon)), m, v, x]
            }
        }
    }

    /// Four updates over more elements than a part has, with gradients of many sizes.
    fn follows(rule: fn(u64) -> Rule, decay: WeightDecay, amsgrad: bool) {
        let value = |i: usize| ((i * 37 % 101) as f32 - 50.0) / 25.0;
        let mut w: Vec<f32> = (0..N).map(value).collect();
        let start = if amsgrad { 0.0 } else { -1.0 };
        let mut want: Vec<_> = w.iter().map(|&w| [f64::from(w), 0.0, 0.0, start]).collect();
        let (mut m, mut v) = (vec![0.0; N], vec![0.0; N]);
        let mut x = vec![0.0; if amsgrad { N } else { 0 }];
        for t in 1..=4 {
            let sizes = [1e-6f32, 1.0, 30.0, 1e-3];
            let g: Vec<_> = (0..N).map(|i| value(i + 7 * t) * sizes[(i + t) % 4]).collect();
            let change = Change { rule: rule(t as u64), rate: LR as f32, decay };
            let moments = Moments { first: &mut m, second: &mut v, largest: &mut x };
            change.apply(&mut w, &g, moments);
            for i in 0..N {
                want[i] = reference(&change, t as i32, want[i], f64::from(g[i]));
                let near = |got: f32, want: f64| {
                    let off = (f64::from(got) - want).abs();
                    assert!(off <= 2e-6 + 3e-6 * want.abs(), "{change:?} [{i}] {got} {want}");
                };
                near(w[i], want[i][0]);
                near(m[i], want[i][1]);
                near(v[i], want[i][2]);
                if amsgrad {
                    near(x[i], want[i][3]);
                }
            }
        }
    }

    #[test]
    fn each_rule_follows_its_formula() {
        for decay in [WeightDecay::NONE, WeightDecay::Coupled(0.1), WeightDecay::Decoupled(0.1)] {
            follows(|_| Rule::Descent, decay, false);
            follows(|_| Rule::Velocity { mu: 0.9 }, decay, false);
            follows(|_| Rule::HeavyBall { mu: 0.9, nesterov: false }, decay, false);
            follows(|_| Rule::HeavyBall { mu: 0.9, nesterov: true }, decay, false);
            follows(|_| Rule::RmsProp { beta: 0.99, epsilon: 1e-3 }, decay, false);
            follows(|_| Rule::Adagrad { epsilon: 1e-3 }, decay, false);
            for amsgrad in [false, true] {
                let adam = |number| Rule::Adam { beta1: 0.8, beta2: 0.9, epsilon: 1e-3, number };
                follows(adam, decay, amsgrad);
            }
        }
    }

    #[test]
    fn decay_of_zero_or_less_is_none() {
        for decay in [WeightDecay::Coupled(-1.0), WeightDecay::Decoupled(-1.0)] {
            let mut w = [2.0];
            let change = Change { rule: Rule::Descent, rate: 0.5, decay };
            change.apply(&mut w, &[1.0], Moments::default());
            assert_eq!(w, [1.5]);
        }
    }
}
