//! The optimizers: AdamW (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019),
//! plain and momentum gradient descent, all with decoupled decay and clipping by global norm.

use crate::nn::model::Kind;
use cllm_kernels::Pool;
use cllm_kernels::adam::{self, AdamStep};
use cllm_kernels::vector::{scale, square_sum};

/// β₁ of Adam.
pub const BETA1: f32 = 0.9;
/// β₂ of Adam.
pub const BETA2: f32 = 0.999;
/// ε of Adam.
pub const EPSILON: f32 = 1e-8;

/// Elements that one task updates, and that one partial sum of the norm covers.
const CHUNK: usize = 1 << 14;

/// One tensor with its gradient and its moments.
#[derive(Debug)]
pub struct Tensor<'a> {
    /// What it is: whether it decays.
    pub kind: Kind,
    /// The parameters.
    pub weights: &'a mut [f32],
    /// Their gradient; scaled in place where it is clipped.
    pub gradient: &'a mut [f32],
    /// First moments, or the velocity of momentum descent.
    pub moment1: &'a mut [f32],
    /// Second moments.
    pub moment2: &'a mut [f32],
}

/// How weights move.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// Adam; `updates` counts this one too.
    Adam {
        /// t of the bias corrections.
        updates: u64,
    },
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
    /// Optimizer.
    pub rule: Rule,
    /// lr.
    pub learning_rate: f32,
    /// λ, for matrices; 0 or less: none.
    pub weight_decay: f32,
    /// Largest global norm of the gradient; 0 or less: no limit.
    pub clip: f32,
}

/// L2 norm over all gradients, summed in f64 in a fixed order.
pub fn gradient_norm(pool: &Pool, tensors: &[Tensor], partials: &mut Vec<f64>) -> f64 {
    norm(pool, tensors.iter().map(|t| &*t.gradient), partials)
}

/// The same over any arrays.
pub fn norm<'a>(
    pool: &Pool,
    arrays: impl Iterator<Item = &'a [f32]>,
    partials: &mut Vec<f64>,
) -> f64 {
    let mut sum = 0.0;
    for array in arrays {
        partials.clear();
        partials.resize(array.len().div_ceil(CHUNK), 0.0);
        pool.chunks((partials.as_mut_slice(), 1), |chunk, partial| {
            let end = array.len().min((chunk + 1) * CHUNK);
            partial[0] = square_sum(&array[chunk * CHUNK..end]);
        });
        sum += partials.iter().sum::<f64>();
    }
    sum.sqrt()
}

/// Applies one update to all tensors. Returns the norm of the gradient before clipping; where
/// that is not finite nothing has changed.
pub fn apply(pool: &Pool, tensors: &mut [Tensor], update: &Update, partials: &mut Vec<f64>) -> f64 {
    pool.install(|| {
        let norm = gradient_norm(pool, tensors, partials);
        if !norm.is_finite() {
            return norm;
        }
        if update.clip > 0.0 && norm > f64::from(update.clip) {
            let factor = (f64::from(update.clip) / norm) as f32;
            for t in tensors.iter_mut() {
                pool.chunks((&mut *t.gradient, CHUNK), |_, g| scale(g, factor));
            }
        }
        for t in tensors.iter_mut() {
            step(pool, t, update);
        }
        norm
    })
}

fn step(pool: &Pool, t: &mut Tensor, update: &Update) {
    let lr = update.learning_rate;
    let decay = if t.kind.decays() { update.weight_decay.max(0.0) } else { 0.0 };
    let keep = 1.0 - lr * decay;
    let gradient = &*t.gradient;
    let part = |chunk: usize, len: usize| &gradient[chunk * CHUNK..chunk * CHUNK + len];
    match update.rule {
        Rule::Adam { updates } => {
            // Powers in f64: 1 − 0.999ᵗ loses half of its digits in f32.
            let t_power = updates.min(i32::MAX as u64) as i32;
            let correction1 = 1.0 - f64::from(BETA1).powi(t_power);
            let correction2 = 1.0 - f64::from(BETA2).powi(t_power);
            let step = AdamStep {
                rate: (f64::from(lr) / correction1) as f32,
                beta1: BETA1,
                beta2: BETA2,
                root_correction: (1.0 / correction2.sqrt()) as f32,
                epsilon: EPSILON,
                keep,
            };
            pool.chunks3(
                (&mut *t.weights, CHUNK),
                (&mut *t.moment1, CHUNK),
                (&mut *t.moment2, CHUNK),
                |chunk, w, m, v| adam::adam(w, part(chunk, w.len()), m, v, step),
            );
        }
        Rule::Descent => pool.chunks((&mut *t.weights, CHUNK), |chunk, w| {
            adam::descend(w, part(chunk, w.len()), lr, keep);
        }),
        Rule::Momentum { mu } => pool.chunks2(
            (&mut *t.weights, CHUNK),
            (&mut *t.moment1, CHUNK),
            |chunk, w, velocity| {
                adam::momentum(w, part(chunk, w.len()), velocity, lr, mu, keep);
            },
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(update: &Update, steps: usize, w: &mut [f32], g: &[f32], kind: Kind) -> Vec<f64> {
        let (mut m, mut v) = (vec![0.0; w.len()], vec![0.0; w.len()]);
        let mut norms = Vec::new();
        for t in 1..=steps as u64 {
            let mut update = *update;
            if let Rule::Adam { updates } = &mut update.rule {
                *updates = t;
            }
            let mut gradient = g.to_vec();
            let mut tensors = [Tensor {
                kind,
                weights: w,
                gradient: &mut gradient,
                moment1: &mut m,
                moment2: &mut v,
            }];
            norms.push(apply(&Pool::serial(), &mut tensors, &update, &mut Vec::new()));
        }
        norms
    }

    const ADAM: Update = Update {
        rule: Rule::Adam { updates: 0 },
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
        for (kind, decay) in [(Kind::W1, 0.1), (Kind::Bias1, 0.0)] {
            for steps in [1, 2, 50] {
                let mut w = start;
                run(&ADAM, steps, &mut w, &g, kind);
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
        let plain = Update { rule: Rule::Descent, weight_decay: 0.0, ..ADAM };
        run(&plain, 1, &mut w, &[10.0, -10.0], Kind::Beta1);
        assert_eq!(w, [0.9, 2.1]);
        let mut w = [1.0f32];
        let momentum = Update { rule: Rule::Momentum { mu: 0.5 }, weight_decay: 0.0, ..ADAM };
        run(&momentum, 2, &mut w, &[1.0], Kind::W1);
        // Velocities −0.01, then −0.015.
        assert!((w[0] - 0.975).abs() < 1e-6);
    }

    #[test]
    fn clipping_is_by_global_norm() {
        let mut w = [0.0f32; 2];
        let clipped = Update { rule: Rule::Descent, clip: 1.0, learning_rate: 1.0, ..ADAM };
        let norms = run(&clipped, 1, &mut w, &[30.0, 40.0], Kind::W1);
        assert_eq!(norms, [50.0]);
        assert!((w[0] + 0.6).abs() < 1e-6 && (w[1] + 0.8).abs() < 1e-6);
    }

    #[test]
    fn a_gradient_that_is_not_finite_changes_nothing() {
        for bad in [f32::NAN, f32::INFINITY] {
            let mut w = [1.0f32, 2.0];
            let norms = run(&ADAM, 1, &mut w, &[bad, 1.0], Kind::W1);
            assert!(!norms[0].is_finite());
            assert_eq!(w, [1.0, 2.0]);
        }
    }
}
