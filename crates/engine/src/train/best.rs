//! The best weights of a run: those that predicted a held-out text best.

use super::weights::Weights;
use crate::error::{Error, Result};
use crate::model::Part;
use cllm_kernels::memory::floats::Floats;

const WHAT: &str = "the best weights";

/// Keeps a copy of the weights that had the lowest loss on a held-out text, for a run that learns its
/// training text by heart at the end. One copy, 4 bytes a weight, taken when the first is kept; the
/// table of spiral positions, which is not trained, is not part of it.
///
/// ```
/// use cllm_engine::train::{Best, TrainingWeights};
/// use cllm_engine::{Model, ModelConfig, Pool, evaluate};
///
/// let config =
///     ModelConfig { vocab: 4, dim: 8, layers: 1, heads: 2, hidden: 16, ..Default::default() };
/// let mut model = Model::new(&config, 1)?;
/// let mut weights = TrainingWeights::new(&mut model);
/// let mut best = Best::default();
/// let held_out = [0, 1, 2, 3, 0, 1, 2, 3];
/// let loss = evaluate(&Pool::serial(), &weights.model().view(), &held_out, 8)?.mean_loss;
/// assert!(best.offer(&mut weights, 100, loss)?);
/// assert!(!best.offer(&mut weights, 200, loss + 0.1)?);
/// assert_eq!(best.record(), Some((100, loss)));
/// best.copy_to(&mut weights)?;
/// # Ok::<(), cllm_engine::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Best {
    record: Option<(u32, f64)>,
    arrays: Vec<Array>,
}

/// The weights of one tensor.
#[derive(Debug)]
pub(super) struct Array {
    pub part: Part,
    pub layer: usize,
    pub values: Floats,
}

impl Best {
    /// The step after which the weights were kept and their held-out loss; `None` before the first.
    pub fn record(&self) -> Option<(u32, f64)> {
        self.record
    }

    /// Keeps the weights of now, after `step` steps, if `loss` is lower than that of those kept, or
    /// if these are the first; whether they were. A loss that is not finite is never the best.
    ///
    /// # Errors
    /// Memory, or those of the weights: what was kept stays.
    pub fn offer(&mut self, weights: &mut dyn Weights, step: u32, loss: f64) -> Result<bool> {
        if !loss.is_finite() || self.record.is_some_and(|(_, best)| loss >= best) {
            return Ok(false);
        }
        let (model, _) = weights.pass()?;
        let tensors = model.params.tensors();
        let same = self.arrays.len() == tensors.len()
            && self.arrays.iter().zip(&tensors).all(|(array, (part, layer, t))| {
                (array.part, array.layer, array.values.len()) == (*part, *layer, t.len())
            });
        if !same {
            self.arrays = tensors
                .iter()
                .map(|&(part, layer, t)| Array::new(part, layer, t.len()))
                .collect::<Result<_>>()?;
        }
        for (array, (.., t)) in self.arrays.iter_mut().zip(tensors) {
            array.values.copy_from_slice(t);
        }
        self.record = Some((step, loss));
        Ok(true)
    }

    /// Puts a copy of the kept weights into `weights`, whose gradients and moments stay as they are:
    /// for use, not to train on.
    ///
    /// # Errors
    /// None are kept, or those of other tensors: `weights` are then as before.
    pub fn copy_to(&self, weights: &mut dyn Weights) -> Result<()> {
        self.check(weights)?;
        let mut arrays = self.arrays.iter();
        weights.visit(&mut |t| {
            if let Some(array) = arrays.next() {
                t.weights.copy_from_slice(&array.values);
            }
            Ok(())
        })
    }

    /// Exchanges the kept weights for those of `weights`; a second call exchanges them back.
    ///
    /// # Errors
    /// As [`copy_to`](Self::copy_to).
    pub fn swap(&mut self, weights: &mut dyn Weights) -> Result<()> {
        self.check(weights)?;
        let mut arrays = self.arrays.iter_mut();
        weights.visit(&mut |t| {
            if let Some(array) = arrays.next() {
                t.weights.swap_with_slice(&mut array.values);
            }
            Ok(())
        })
    }

    /// Whether weights are kept, and of the same tensors.
    fn check(&self, weights: &mut dyn Weights) -> Result<()> {
        if self.record.is_none() {
            return Err(Error::state("no best weights are kept"));
        }
        let (mut arrays, mut same) = (self.arrays.iter(), true);
        weights.visit(&mut |t| {
            same &= arrays.next().is_some_and(|array| {
                (array.part, array.layer, array.values.len()) == (t.part, t.layer, t.weights.len())
            });
            Ok(())
        })?;
        match same && arrays.next().is_none() {
            true => Ok(()),
            false => Err(Error::shape("the best weights are those of another model")),
        }
    }

    pub(super) fn arrays(&self) -> &[Array] {
        &self.arrays
    }

    /// Weights that a checkpoint kept.
    pub(super) fn kept(step: u32, loss: f64, arrays: Vec<Array>) -> Self {
        Self { record: Some((step, loss)), arrays }
    }
}

impl Array {
    pub(super) fn new(part: Part, layer: usize, len: usize) -> Result<Self> {
        let mut values = Floats::new();
        values.grow(WHAT, len)?;
        Ok(Self { part, layer, values })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::{TrainingWeights, Weights};
    use crate::{Model, ModelConfig};

    fn model(layers: usize, seed: u64) -> Model {
        let config =
            ModelConfig { vocab: 5, dim: 8, layers, heads: 2, hidden: 16, ..Default::default() };
        Model::new(&config, seed).unwrap()
    }

    fn values(weights: &mut dyn Weights) -> Vec<f32> {
        let mut all = Vec::new();
        weights.pass().unwrap().0.params.visit(|_, _, t| all.extend_from_slice(t));
        all
    }

    #[test]
    fn the_lowest_loss_is_kept_and_only_finite_ones() {
        let mut weights = TrainingWeights::new(model(2, 1));
        let mut best = Best::default();
        assert!(best.copy_to(&mut weights).is_err());
        assert!(!best.offer(&mut weights, 1, f64::NAN).unwrap());
        assert!(!best.offer(&mut weights, 1, f64::INFINITY).unwrap());
        assert!(best.offer(&mut weights, 1, 3.0).unwrap());
        let first = values(&mut weights);
        let change = |weights: &mut TrainingWeights<Model>| {
            weights.visit(&mut |t| {
                t.weights.iter_mut().for_each(|w| *w += 1.0);
                Ok(())
            })
        };
        change(&mut weights).unwrap();
        assert!(!best.offer(&mut weights, 2, 3.0).unwrap());
        let second = values(&mut weights);
        best.swap(&mut weights).unwrap();
        assert_eq!(values(&mut weights), first);
        best.swap(&mut weights).unwrap();
        assert_eq!(values(&mut weights), second);
        assert!(best.offer(&mut weights, 3, 2.5).unwrap());
        assert_eq!(best.record(), Some((3, 2.5)));
        change(&mut weights).unwrap();
        best.copy_to(&mut weights).unwrap();
        assert_eq!(values(&mut weights), second);
    }

    #[test]
    fn other_models_are_refused_untouched() {
        let mut best = Best::default();
        best.offer(&mut TrainingWeights::new(model(2, 1)), 1, 1.0).unwrap();
        for layers in [1, 3] {
            let mut other = TrainingWeights::new(model(layers, 2));
            let before = values(&mut other);
            assert!(best.copy_to(&mut other).is_err() && best.swap(&mut other).is_err());
            assert_eq!(values(&mut other), before);
        }
    }
}
