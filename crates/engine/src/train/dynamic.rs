//! Dynamic evaluation: a model scores a text and learns it on the way.

use super::batch::Batch;
use super::trainer::Trainer;
use super::weights::Weights;
use crate::Evaluation;
use crate::error::{Error, Result};
use crate::nn::loss::{Targets, TokenScore};
use crate::score::{self, Scorer, Windows};
use cllm_kernels::Pool;

impl Trainer {
    /// Scores `ids` as [`Scorer::score`] does, and takes a [`step`](Self::step) at `learning_rate` with each
    /// window as soon as it has been scored: every token is predicted before the model learns it
    /// (Krause et al., "Dynamic Evaluation of Neural Sequence Models", 2018). So compressors read a text, and
    /// so a program goes on learning from what its user writes. The weights are those of the end
    /// afterwards; the steps count. A rate of 0 learns nothing.
    ///
    /// A tenth of the highest rate in training does well; weight decay pulls the model away
    /// from what it knows, so none of it should be configured.
    ///
    /// ```
    /// use cllm_engine::score::Windows;
    /// use cllm_engine::train::{Trainer, TrainerConfig, TrainingWeights};
    /// use cllm_engine::{Model, ModelConfig, Pool};
    ///
    /// let config = ModelConfig { vocab: 8, dim: 16, heads: 2, hidden: 64, ..ModelConfig::default() };
    /// let mut model = Model::new(&config, 1)?;
    /// let mut weights = TrainingWeights::new(&mut model);
    /// let mut trainer = Trainer::new(TrainerConfig { weight_decay: 0.0, ..TrainerConfig::default() });
    /// let ids = [5, 6, 7].repeat(20);
    /// let (pool, windows) = (Pool::serial(), Windows::new(8, 4)?);
    /// let mut mean = || trainer.dynamic_evaluation(&pool, &mut weights, &ids, windows, 1e-2, |_, _| {});
    /// let first = mean()?.mean_loss;
    /// assert!(mean()?.mean_loss < first);
    /// # Ok::<(), cllm_engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// A rate that is not finite or below 0, no ids, an id that the model does not have: nothing has
    /// changed then. Those of a step, after which the model has learnt the windows before it.
    pub fn dynamic_evaluation(
        &mut self,
        pool: &Pool,
        weights: &mut dyn Weights,
        ids: &[u32],
        windows: Windows,
        learning_rate: f32,
        mut each: impl FnMut(usize, TokenScore),
    ) -> Result<Evaluation> {
        if !(learning_rate.is_finite() && learning_rate >= 0.0) {
            return Err(Error::argument("the learning rate", learning_rate, "finite, 0 or more"));
        }
        score::check(&weights.pass()?.0, ids)?;
        let (mut scorer, mut nats, n) = (Scorer::new(), 0.0, ids.len() - 1);
        for (window, seen) in windows.each(n) {
            let (start, ids) = (window.start, &ids[window.start..=window.end]);
            scorer.score_window(pool, &weights.pass()?.0, ids, seen, |i, score| {
                nats -= f64::from(score.log_prob);
                each(start + i, score);
            })?;
            if learning_rate > 0.0 {
                let (tokens, targets) = (&ids[..ids.len() - 1], Targets::all(&ids[1..]));
                let batch = Batch { tokens, targets, sequences: 1 };
                self.step(pool, weights, &batch, learning_rate)?;
            }
        }
        Ok(Evaluation::of(nats, n))
    }
}
