//! The optimizers: AdamW (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019),
//! plain and momentum gradient descent, all with decoupled decay and clipping by global norm. How a
//! single array moves is [`super::rules`]' affair.

use super::rules::{Change, Moments, Rule, WeightDecay};
use super::slots::within;
use super::weights::{Tensor, Weights};
use crate::error::{Error, Result};
use cllm_kernels::memory::grow;
use cllm_kernels::vector::{scale, square_sum};
use cllm_kernels::{Pool, Work};
use std::ops::Range;

/// β₁ of Adam.
pub const BETA1: f32 = 0.9;
/// β₂ of Adam, where a configuration states none.
pub const BETA2: f32 = 0.999;
/// ε of Adam.
pub const EPSILON: f32 = 1e-8;

/// Elements that one task updates, and that one partial sum of the norm covers.
pub(super) const CHUNK: usize = 1 << 14;

/// How weights move.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Optimizer {
    /// Adam with decoupled decay: β₁ 0.9, β₂ of the configuration, ε 1e-8.
    #[default]
    AdamW,
    /// w ← w − lr·g.
    Descent,
    /// velocity ← μ·velocity − lr·g; w ← w + velocity.
    Momentum {
        /// μ.
        mu: f32,
    },
}

/// What one update uses besides the gradients.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Update {
    /// How weights move.
    pub optimizer: Optimizer,
    /// t of Adam's bias corrections: the updates so far, this one included.
    pub number: u64,
    /// β₂ of Adam.
    pub beta2: f32,
    /// lr.
    pub learning_rate: f32,
    /// λ, for matrices; 0 or less: none.
    pub weight_decay: f32,
    /// Largest global norm of the gradient; 0 or less: no limit.
    pub clip: f32,
}

/// L2 norm over all gradients, summed in f64 in a fixed order: the same for any number of threads.
/// `partials` is memory that is used again.
///
/// # Errors
/// Those of [`Weights::visit`], and memory for the partial sums.
pub fn gradient_norm(
    pool: &Pool,
    weights: &mut dyn Weights,
    partials: &mut Vec<f64>,
) -> Result<f64> {
    let chunks = square_sums(pool, weights, &(0..usize::MAX), partials)?;
    norm(weights, &partials[..chunks])
}

/// The sums of squares of the chunks of the gradients in `range`, which counts through all tensors and
/// cuts no chunk, one after the other; how many there are.
pub(super) fn square_sums(
    pool: &Pool,
    weights: &mut dyn Weights,
    range: &Range<usize>,
    partials: &mut Vec<f64>,
) -> Result<usize> {
    let (mut start, mut count) = (0, 0);
    weights.visit(&mut |t| {
        let gradient = &t.gradient[within(range, start, t.gradient.len())];
        let chunks = gradient.len().div_ceil(CHUNK);
        grow("the norm of a gradient", partials, count + chunks)?;
        pool.chunks((&mut partials[count..count + chunks], 1), |chunk, partial| {
            let end = gradient.len().min((chunk + 1) * CHUNK);
            partial[0] = square_sum(&gradient[chunk * CHUNK..end]);
        });
        start += t.gradient.len();
        count += chunks;
        Ok(())
    })?;
    Ok(count)
}

/// The norm, from the sums of squares of all chunks.
pub(super) fn norm(weights: &mut dyn Weights, partials: &[f64]) -> Result<f64> {
    let (mut sum, mut at) = (0.0, 0);
    weights.visit(&mut |t| {
        let chunks = t.gradient.len().div_ceil(CHUNK);
        sum += partials[at..at + chunks].iter().sum::<f64>();
        at += chunks;
        Ok(())
    })?;
    Ok(sum.sqrt())
}

/// What a gradient of this norm is multiplied by, so that it is no longer than `limit`; `None` to
/// leave it as it is: a limit of 0 or less is none, and a norm that is not finite can't be mended.
fn clipping(norm: f64, limit: f32) -> Option<f32> {
    let limit = f64::from(limit);
    (limit > 0.0 && norm.is_finite() && norm > limit).then(|| (limit / norm) as f32)
}

/// Scales all gradients so that their norm is at most `limit` (0 or less: no limit). Returns the
/// norm before.
///
/// # Errors
/// Those of [`gradient_norm`].
pub fn clip(
    pool: &Pool,
    weights: &mut dyn Weights,
    limit: f32,
    partials: &mut Vec<f64>,
) -> Result<f64> {
    pool.step(size(weights)?, |pool| {
        let norm = gradient_norm(pool, weights, partials)?;
        if let Some(factor) = clipping(norm, limit) {
            weights.visit(&mut |t| {
                scale_by(pool, t.gradient, factor);
                Ok(())
            })?;
        }
        Ok(norm)
    })
}

/// How much an update computes, about: a few operations for each weight.
pub(super) fn size(weights: &mut dyn Weights) -> Result<Work> {
    const EACH: usize = 4;
    let mut size = Work { operations: 0, loops: 0 };
    weights.visit(&mut |t| {
        let len = t.gradient.len();
        size.operations = size.operations.saturating_add(len.saturating_mul(EACH));
        size.loops += if len > CHUNK { 2 } else { 0 };
        Ok(())
    })?;
    Ok(size)
}

fn scale_by(pool: &Pool, gradient: &mut [f32], factor: f32) {
    pool.chunks((gradient, CHUNK), |_, g| scale(g, factor));
}

/// Applies one update to all tensors. Returns the norm of the gradient before clipping; where
/// that is not finite nothing has changed.
///
/// # Errors
/// Those of [`gradient_norm`], and moments that are not all here: the weights are as before then.
pub fn apply(
    pool: &Pool,
    weights: &mut dyn Weights,
    update: &Update,
    partials: &mut Vec<f64>,
) -> Result<f64> {
    weights.visit(&mut |t| match t.held.len() == t.weights.len() {
        true => Ok(()),
        false => Err(Error::state("the moments are divided among ranks")),
    })?;
    pool.step(size(weights)?, |pool| {
        let norm = gradient_norm(pool, weights, partials)?;
        apply_here(pool, weights, update, norm)?;
        Ok(norm)
    })
}

/// [`apply`] to the parameters whose moments are kept here, with a gradient of a known norm.
pub(super) fn apply_here(
    pool: &Pool,
    weights: &mut dyn Weights,
    update: &Update,
    norm: f64,
) -> Result<()> {
    if !norm.is_finite() {
        return Ok(());
    }
    let factor = clipping(norm, update.clip);
    // Visits before it have taken all memory: this one can't fail.
    weights.visit(&mut |mut t| {
        if let Some(factor) = factor {
            scale_by(pool, &mut t.gradient[t.held.clone()], factor);
        }
        step(pool, &mut t, update);
        Ok(())
    })
}

impl Update {
    /// What it does to a tensor that decays, or doesn't.
    fn change(&self, decays: bool) -> Change {
        let rule = match self.optimizer {
            Optimizer::AdamW => Rule::Adam {
                beta1: BETA1,
                beta2: self.beta2,
                epsilon: EPSILON,
                number: self.number,
            },
            Optimizer::Descent => Rule::Descent,
            Optimizer::Momentum { mu } => Rule::Velocity { mu },
        };
        let lambda = if decays { self.weight_decay } else { 0.0 };
        Change { rule, rate: self.learning_rate, decay: WeightDecay::Decoupled(lambda) }
    }
}

fn step(pool: &Pool, t: &mut Tensor, update: &Update) {
    let change = update.change(t.part.decays());
    let gradient = &t.gradient[t.held.clone()];
    let weights = &mut t.weights[t.held.clone()];
    let part = |chunk: usize, len: usize| &gradient[chunk * CHUNK..chunk * CHUNK + len];
    match update.optimizer {
        Optimizer::AdamW => pool.chunks3(
            (weights, CHUNK),
            (&mut *t.moment1, CHUNK),
            (&mut *t.moment2, CHUNK),
            |chunk, w, first, second| {
                let moments = Moments { first, second, ..Moments::default() };
                change.apply(w, part(chunk, w.len()), moments);
            },
        ),
        Optimizer::Descent => pool.chunks((weights, CHUNK), |chunk, w| {
            change.apply(w, part(chunk, w.len()), Moments::default());
        }),
        Optimizer::Momentum { .. } => {
            pool.chunks2((weights, CHUNK), (&mut *t.moment1, CHUNK), |chunk, w, first| {
                let moments = Moments { first, ..Moments::default() };
                change.apply(w, part(chunk, w.len()), moments);
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ModelRef, Params, Part};
    use crate::train::slots::Room;
    use cllm_kernels::memory::floats::Floats;

    /// One tensor as a whole model's weights.
    struct One<'a> {
        part: Part,
        weights: &'a mut [f32],
        gradient: Vec<f32>,
        moment1: Vec<f32>,
        moment2: Vec<f32>,
        accumulated: Vec<Floats>,
    }

    impl<'a> One<'a> {
        fn new(part: Part, weights: &'a mut [f32]) -> Self {
            let zeros = vec![0.0; weights.len()];
            let (moment1, moment2) = (zeros.clone(), zeros.clone());
            let accumulated = Vec::new();
            Self { part, weights, gradient: zeros, moment1, moment2, accumulated }
        }
    }

    impl Weights for One<'_> {
        fn pass(&mut self) -> Result<(ModelRef<'_>, Params<&mut [f32]>)> {
            Err(Error::shape("no model"))
        }

        fn visit(&mut self, visitor: &mut dyn FnMut(Tensor<'_>) -> Result<()>) -> Result<()> {
            visitor(Tensor {
                part: self.part,
                layer: 0,
                weights: self.weights,
                gradient: &mut self.gradient,
                held: 0..self.moment1.len(),
                moment1: &mut self.moment1,
                moment2: &mut self.moment2,
                accumulated: &mut self.accumulated,
            })
        }

        fn moments_room(&mut self, _: Range<usize>) -> Result<Room> {
            Err(Error::shape("all are kept"))
        }

        fn hold_moments(&mut self, _: Room) -> Result<()> {
            Err(Error::shape("all are kept"))
        }

        fn spiral_mut(&mut self) -> Result<Option<&mut [f32]>> {
            Ok(None)
        }
    }

    fn run(update: &Update, steps: usize, w: &mut [f32], g: &[f32], part: Part) -> Vec<f64> {
        let mut one = One::new(part, w);
        let mut step = |number| {
            one.gradient.copy_from_slice(g);
            let update = Update { number, ..*update };
            apply(&Pool::serial(), &mut one, &update, &mut Vec::new()).unwrap()
        };
        (1..=steps as u64).map(&mut step).collect()
    }

    const ADAM: Update = Update {
        optimizer: Optimizer::AdamW,
        number: 0,
        beta2: BETA2,
        learning_rate: 0.01,
        weight_decay: 0.1,
        clip: 0.0,
    };

    /// The formulas in f64.
    fn reference(steps: i32, mut w: f64, g: f64, lr: f64, decay: f64) -> f64 {
        let (mut m, mut v) = (0.0, 0.0);
        for t in 1..=steps {
            w *= 1.0 - lr * decay;
            m = 0.9 * m + 0.1 * g;
            v = 0.999 * v + 0.001 * g * g;
            let (m_hat, v_hat) = (m / (1.0 - 0.9f64.powi(t)), v / (1.0 - 0.999f64.powi(t)));
            w -= lr * m_hat / (v_hat.sqrt() + 1e-8);
        }
        w
    }

    #[test]
    fn adam_follows_its_formula() {
        let start = [0.5, -1.25, 3.0, 0.0];
        // The original's root was wrong for small values: gradients of many sizes.
        let g = [1e-8, -3e-4, 2.0, 1e4];
        for (part, decay) in [(Part::W1, 0.1), (Part::Bias1, 0.0)] {
            for steps in [1, 2, 50] {
                let mut w = start;
                run(&ADAM, steps, &mut w, &g, part);
                for i in 0..4 {
                    let want =
                        reference(steps as i32, f64::from(start[i]), f64::from(g[i]), 0.01, decay);
                    // Rounding of w adds up over the steps.
                    let tolerance = 1e-6 + 1.2e-7 * steps as f64 * want.abs().max(1.0);
                    assert!((f64::from(w[i]) - want).abs() < tolerance, "{} {want}", w[i]);
                }
            }
        }
    }

    #[test]
    fn descent_and_momentum() {
        let mut w = [1.0f32, 2.0];
        let plain = Update { optimizer: Optimizer::Descent, weight_decay: 0.0, ..ADAM };
        run(&plain, 1, &mut w, &[10.0, -10.0], Part::Beta1);
        assert_eq!(w, [0.9, 2.1]);
        let mut w = [1.0f32];
        let momentum =
            Update { optimizer: Optimizer::Momentum { mu: 0.5 }, weight_decay: 0.0, ..ADAM };
        run(&momentum, 2, &mut w, &[1.0], Part::W1);
        // Velocities −0.01, then −0.015.
        assert!((w[0] - 0.975).abs() < 1e-6);
    }

    #[test]
    fn clipping_is_by_global_norm() {
        let mut w = [0.0f32; 2];
        let clipped =
            Update { optimizer: Optimizer::Descent, clip: 1.0, learning_rate: 1.0, ..ADAM };
        let norms = run(&clipped, 1, &mut w, &[30.0, 40.0], Part::W1);
        assert_eq!(norms, [50.0]);
        assert!((w[0] + 0.6).abs() < 1e-6 && (w[1] + 0.8).abs() < 1e-6);
        let mut weights = [0.0f32; 2];
        let mut one = One::new(Part::W1, &mut weights);
        for (limit, expected) in [(0.0, [30.0, 40.0]), (50.0, [30.0, 40.0]), (5.0, [3.0, 4.0])] {
            one.gradient.copy_from_slice(&[30.0, 40.0]);
            let norm = clip(&Pool::serial(), &mut one, limit, &mut Vec::new()).unwrap();
            assert_eq!((norm, &one.gradient[..]), (50.0, &expected[..]), "limit {limit}");
        }
    }

    #[test]
    fn a_gradient_that_is_not_finite_changes_nothing() {
        for bad in [f32::NAN, f32::INFINITY] {
            let mut w = [1.0f32, 2.0];
            let norms = run(&ADAM, 1, &mut w, &[bad, 1.0], Part::W1);
            assert!(!norms[0].is_finite());
            assert_eq!(w, [1.0, 2.0]);
        }
    }
}
