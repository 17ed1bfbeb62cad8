//! Timing the real work: forward passes and training steps, on a model that is only read.

use cllm_engine::error::Result;
use cllm_engine::model::{ModelRef, Params};
use cllm_engine::nn::activations::{Activations, Save};
use cllm_engine::nn::forward::{self, Beyond};
use cllm_engine::train::{Batch, Parameters, Schedule, Trainer, TrainerConfig, TrainingWeights};
use cllm_kernels::Pool;
use cllm_kernels::memory::{copied, filled, product};
use std::time::{Duration, Instant};

/// Rows whose logits are computed at once.
const LOGIT_ROWS: usize = 256;

/// How long some work took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timing {
    /// How often it was done.
    pub iterations: usize,
    /// All of them together.
    pub seconds: f64,
}

impl Timing {
    /// Mean time of one iteration in milliseconds.
    pub fn milliseconds(&self) -> f64 {
        self.seconds * 1e3 / self.iterations.max(1) as f64
    }

    /// How many per second, where one iteration does `items`.
    pub fn per_second(&self, items: usize) -> f64 {
        // A clock that did not move must not make an infinity.
        items as f64 * self.iterations as f64 / self.seconds.max(1e-9)
    }
}

/// Times `work`, done `iterations` times, or until `budget` is used up, but at least once. One
/// round before, in which memory is allocated, is not timed.
pub fn repeat(
    iterations: usize,
    budget: Duration,
    mut work: impl FnMut() -> Result<()>,
) -> Result<Timing> {
    work()?;
    let start = Instant::now();
    let mut done = 0;
    while done < iterations.max(1) {
        work()?;
        done += 1;
        if start.elapsed() >= budget {
            break;
        }
    }
    Ok(Timing { iterations: done, seconds: start.elapsed().as_secs_f64() })
}

/// Forward passes of `batch` sequences.
pub struct ForwardPass<'a, 'm> {
    pool: &'a Pool,
    model: &'a ModelRef<'m>,
    batch: usize,
    activations: Activations,
    logits: Vec<f32>,
}

impl<'a, 'm> ForwardPass<'a, 'm> {
    /// For a model.
    pub fn new(pool: &'a Pool, model: &'a ModelRef<'m>, batch: usize) -> Self {
        Self { pool, model, batch, activations: Activations::default(), logits: Vec::new() }
    }

    fn run(&mut self, tokens: &[u32], rows_at_once: usize) -> Result<()> {
        let (a, save) = (&mut self.activations, Save::Nothing);
        let (pool, model, beyond) = (self.pool, self.model, Beyond::LastRow);
        forward::forward(pool, model, tokens, self.batch, a, save, None, beyond)?;
        if self.logits.is_empty() {
            let len = product("the logits", &[rows_at_once, self.model.vocab])?;
            self.logits = filled("the logits", len)?;
        }
        Ok(())
    }

    /// The logits that follow each sequence: what generation needs. The returned ones are the
    /// last sequence's.
    pub fn last_logits(&mut self, tokens: &[u32]) -> Result<&[f32]> {
        self.run(tokens, 1)?;
        let (d, length) = (self.model.dim, tokens.len() / self.batch.max(1));
        for sequence in self.activations.normed[..tokens.len() * d].chunks_exact(length * d) {
            let last = &sequence[(length - 1) * d..];
            forward::logits(self.pool, self.model, last, 1, &mut self.logits);
        }
        Ok(&self.logits)
    }

    /// The logits of every position: what training needs. They are not kept.
    pub fn all_logits(&mut self, tokens: &[u32]) -> Result<()> {
        let rows_at_once = tokens.len().clamp(1, LOGIT_ROWS);
        self.run(tokens, rows_at_once)?;
        let (d, vocab) = (self.model.dim, self.model.vocab);
        for normed in self.activations.normed[..tokens.len() * d].chunks(rows_at_once * d) {
            let rows = normed.len() / d;
            let out = &mut self.logits[..rows * vocab];
            forward::logits(self.pool, self.model, normed, rows, out);
        }
        Ok(())
    }
}

/// A model whose values are copies; the one that they are of stays as it is.
struct Copied<'a, 'm> {
    model: &'a ModelRef<'m>,
    params: Params<Vec<f32>>,
    spiral: Option<Vec<f32>>,
}

impl Parameters for Copied<'_, '_> {
    fn view(&self) -> ModelRef<'_> {
        let params = self.params.by_ref().map(|_, _, t| t.as_slice());
        ModelRef { params, spiral: self.spiral.as_deref(), ..*self.model }
    }

    fn params_mut(&mut self) -> Params<&mut [f32]> {
        self.params.by_mut().map(|_, _, t| t.as_mut_slice())
    }

    fn spiral_mut(&mut self) -> Option<&mut [f32]> {
        self.spiral.as_deref_mut()
    }
}

/// Training steps on a copy of a model's parameters.
pub struct TrainingSteps<'a, 'm> {
    trainer: Trainer,
    weights: TrainingWeights<Copied<'a, 'm>>,
}

impl<'a, 'm> TrainingSteps<'a, 'm> {
    /// Copies the parameters; the model stays as it is.
    pub fn new(model: &'a ModelRef<'m>) -> Result<Self> {
        let copy = |t: &[f32]| copied("a copy of the weights", t);
        let params = model.params.by_ref().try_map(|_, _, t| copy(t))?;
        let spiral = model.spiral.map(copy).transpose()?;
        let config =
            TrainerConfig { schedule: Schedule::constant(1e-4), ..TrainerConfig::default() };
        let weights = TrainingWeights::new(Copied { model, params, spiral });
        Ok(Self { trainer: Trainer::new(config), weights })
    }

    /// One step of AdamW. The mean loss before the update.
    pub fn step(&mut self, pool: &Pool, batch: &Batch) -> Result<f32> {
        let rate = self.trainer.scheduled_rate();
        Ok(self.trainer.step(pool, &mut self.weights, batch, rate)?.loss)
    }
}
