//! Training: what a step is, in one sequence. Batch, forward pass, loss, backward pass, learning
//! rate, accumulation, clipping, update.

use super::batch::{Batch, Corpus, Windows};
use super::optimizer::{self, BETA2, Optimizer, Update};
use super::run::{self, Position, Progress, Run};
use super::schedule::Schedule;
use super::shared::Shared;
use super::short_windows::ShortWindows;
use super::weights::Weights;
use super::workspace::Workspace;
use super::{tokens, tree};
use crate::error::{Error, Result};
use crate::nn::dropout::Dropout;
use crate::nn::products::TrainingPrecision;
use cllm_kernels::Pool;
use cllm_kernels::vector::scale;
use std::cell::RefCell;
use std::ops::ControlFlow;

/// How to train.
///
/// ```
/// use cllm_engine::train::{Schedule, TrainerConfig};
///
/// let config = TrainerConfig {
///     schedule: Schedule::cosine(3e-3, 20, 500),
///     window: 4,
///     ..TrainerConfig::default()
/// };
/// assert_eq!(config.clip, 1.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrainerConfig {
    /// How weights move.
    pub optimizer: Optimizer,
    /// Learning rates by step.
    pub schedule: Schedule,
    /// λ of decoupled decay, for matrices; 0 or less: none.
    pub weight_decay: f32,
    /// Largest global norm of the gradient; 0 or less: no limit.
    pub clip: f32,
    /// Batches whose mean gradient makes one update; 0 counts as 1.
    pub window: u32,
    /// β₂ of Adam, 0 to below 1: how much of the mean square of the gradients each update keeps. Small
    /// batches want more of it.
    pub beta2: f32,
    /// The share of the values that a step leaves out of the embedded input and of what the
    /// sublayers add (Srivastava et al., "Dropout", 2014), 0 to below 1; 0: none.
    pub dropout: f32,
    /// Shorter windows in the first part of the schedule, of a corpus of longer ones.
    pub short_windows: ShortWindows,
    /// What the choices of dropout follow from, with the number of the batch: a run that goes on
    /// from a checkpoint makes the same.
    pub seed: u64,
    /// What the matrix products of a step take. A step refuses one that the processor lacks.
    pub precision: TrainingPrecision,
    /// Whether the gradient of each batch, and each sum of two along the tree, is rounded to bfloat16 (to
    /// nearest, ties to even; the mean is f32): what ranks exchange of them takes half of the bytes. It
    /// is so with one rank, too, so that the result is a function of this and not of the ranks.
    pub bfloat16_sums: bool,
}

impl Default for TrainerConfig {
    /// AdamW with β₂ 0.999 at a constant 1e-3, decay 0.01, clipping at 1, an update for every batch, no
    /// dropout, in f32.
    fn default() -> Self {
        Self {
            optimizer: Optimizer::AdamW,
            schedule: Schedule::default(),
            weight_decay: 0.01,
            clip: 1.0,
            window: 1,
            beta2: BETA2,
            dropout: 0.0,
            short_windows: ShortWindows::default(),
            seed: 0,
            precision: TrainingPrecision::F32,
            bfloat16_sums: false,
        }
    }
}

/// How far training is: the numbers that a checkpoint keeps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Counters {
    /// Epochs completed.
    pub epoch: u32,
    /// Batches trained.
    pub step: u32,
    /// Where the next batch begins in the training ids.
    pub offset: usize,
    /// Batches in the open accumulation window.
    pub accumulated: u32,
    /// Updates applied: t of Adam's bias corrections.
    pub updates: u64,
    /// Updates left out because a gradient was not finite.
    pub skipped: u64,
    /// Norm of the latest update's gradient, before clipping; also that of an update that was
    /// left out.
    pub gradient_norm: f64,
    /// Learning rate of the latest step.
    pub learning_rate: f32,
    /// Loss of the latest batch, in nats per token.
    pub loss: f32,
    /// Smallest loss of any batch; 1e9 before the first.
    pub best_loss: f32,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            epoch: 0,
            step: 0,
            offset: 0,
            accumulated: 0,
            updates: 0,
            skipped: 0,
            gradient_norm: 0.0,
            learning_rate: 0.0,
            loss: 0.0,
            best_loss: 1e9,
        }
    }
}

impl Counters {
    /// The epoch counts as completed; the next one begins at the first batch.
    pub fn end_epoch(&mut self) {
        self.offset = 0;
        self.epoch = self.epoch.saturating_add(1);
    }
}

/// What became of a step's gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The weights were updated.
    Updated,
    /// It was added to an open window; the weights are as before.
    Accumulated,
    /// It was not finite: the weights and moments are as before, and a window begins anew.
    Skipped,
}

/// The record of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Its number, the first one being 1.
    pub number: u32,
    /// Mean loss of the batch in nats per token, before the update.
    pub loss: f32,
    /// Learning rate.
    pub learning_rate: f32,
    /// Norm of the latest update's gradient, before clipping: this step's own unless its gradient
    /// was accumulated.
    pub gradient_norm: f64,
    /// What became of the gradient.
    pub outcome: Outcome,
}

/// Trains weights, step by step. It holds what steps need beside them: the memory of a pass, and
/// counters. Every result is a function of weights, batches and settings alone: the same bits for
/// any number of threads.
///
/// `Send` and `Sync`; a step takes the trainer and the weights for itself.
///
/// ```
/// use cllm_engine::train::{Corpus, Trainer, TrainerConfig, TrainingWeights};
/// use cllm_engine::{Model, ModelConfig, Pool};
/// use std::ops::ControlFlow;
///
/// let config =
///     ModelConfig { vocab: 4, dim: 8, layers: 1, heads: 2, hidden: 16, ..Default::default() };
/// let mut model = Model::new(&config, 1)?;
/// let mut weights = TrainingWeights::new(&mut model);
/// let mut trainer = Trainer::new(TrainerConfig::default());
/// let ids: Vec<u32> = (0..65).map(|i| i % 4).collect();
/// let corpus = Corpus::new(&ids, 2, 8)?;
/// let mut losses = Vec::new();
/// for _ in 0..5 {
///     let epoch = trainer.epoch(&Pool::serial(), &mut weights, &corpus, |progress| {
///         assert_eq!(progress.position.batches, 4);
///         ControlFlow::Continue(())
///     })?;
///     losses.push(epoch.mean_loss());
/// }
/// assert!(losses[4] < losses[0]);
/// assert_eq!(trainer.counters.step, 20);
/// # Ok::<(), cllm_engine::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Trainer {
    /// How to train; may be changed between steps.
    pub config: TrainerConfig,
    /// How far training is; a program that goes on elsewhere may set it.
    pub counters: Counters,
    /// Memory of passes. After a step it holds what the forward pass computed.
    pub workspace: Workspace,
    partials: Vec<f64>,
    windows: Windows,
    pub(super) shared: Option<Box<Shared>>,
}

impl Trainer {
    /// At the beginning of a run.
    pub fn new(config: TrainerConfig) -> Self {
        Self { config, ..Self::default() }
    }

    /// The rate of the next step by the schedule.
    pub fn scheduled_rate(&self) -> f32 {
        self.config.schedule.rate(self.counters.step)
    }

    /// One step: forward pass, loss, backward pass, accumulation, and, when the window is full,
    /// the update at `learning_rate`. A gradient that is not finite costs its update, not the
    /// run: [`Outcome::Skipped`].
    ///
    /// # Errors
    /// A batch of no tokens or with other numbers of targets; a precision that this processor lacks;
    /// memory; those of the weights. The step does not count then, and the weights are as before.
    pub fn step(
        &mut self,
        pool: &Pool,
        weights: &mut dyn Weights,
        batch: &Batch,
        learning_rate: f32,
    ) -> Result<Step> {
        let loss = self.gradients(pool, weights, batch)?;
        let outcome = self.accumulate(pool, weights, learning_rate)?;
        Ok(self.count_step(loss, learning_rate, outcome))
    }

    /// A step that was made, in the counters.
    pub(super) fn count_step(&mut self, loss: f32, learning_rate: f32, outcome: Outcome) -> Step {
        let c = &mut self.counters;
        c.step = c.step.saturating_add(1);
        c.learning_rate = learning_rate;
        c.loss = loss;
        if loss < c.best_loss {
            c.best_loss = loss;
        }
        let (number, gradient_norm) = (c.step, c.gradient_norm);
        Step { number, loss, learning_rate, gradient_norm, outcome }
    }

    /// Mean loss of a batch and its exact gradients, which overwrite those that were there; with
    /// dropout, those of what the next step leaves.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn gradients(
        &mut self,
        pool: &Pool,
        weights: &mut dyn Weights,
        batch: &Batch,
    ) -> Result<f32> {
        self.pass(pool, weights, batch, self.counters.step)
    }

    /// [`gradients`](Self::gradients) of the batch that step `number` trains, counted from 0.
    fn pass(
        &mut self,
        pool: &Pool,
        weights: &mut dyn Weights,
        batch: &Batch,
        number: u32,
    ) -> Result<f32> {
        let Batch { tokens, targets, sequences } = *batch;
        if targets.ids.len() != tokens.len() {
            let (n, m) = (tokens.len(), targets.ids.len());
            return Err(Error::shape(format!("{m} targets for {n} tokens")));
        }
        let bfloat16 = self.config.precision.bfloat16()?;
        let (model, mut gradients) = weights.pass()?;
        let key = Dropout::key(self.config.seed, u64::from(number));
        let dropout = Dropout::new(self.config.dropout, key);
        self.workspace.forward(pool, &model, tokens, sequences, dropout, bfloat16)?;
        let loss =
            self.workspace.backward(pool, &model, tokens, targets, sequences, &mut gradients)?;
        Ok(loss as f32)
    }

    /// Adds the gradients to the open window; when it is full, leaves their mean in their place
    /// and applies the update from it.
    ///
    /// # Errors
    /// Memory, or those of the weights, which are as before then.
    pub fn accumulate(
        &mut self,
        pool: &Pool,
        weights: &mut dyn Weights,
        learning_rate: f32,
    ) -> Result<Outcome> {
        self.check_undivided()?;
        let (window, leaf) = (self.config.window.max(1), self.counters.accumulated);
        let rounded = self.config.bfloat16_sums;
        if rounded {
            tree::round_gradient(weights)?;
        }
        if window > 1 || leaf > 0 {
            let batches = leaf.saturating_add(1);
            let (full, open) = (batches >= window, tree::open_sums(leaf));
            if leaf == 0 {
                tree::reserve(weights, tree::most_open_sums(window))?;
            }
            let merged = if full { open } else { leaf.trailing_ones() as usize };
            // A checkpoint of an open window brought no more sums than there were.
            tree::reserve(weights, open + usize::from(merged == 0))?;
            tree::add_gradient(weights, open, merged, rounded)?;
            self.counters.accumulated = if full { 0 } else { batches };
            if !full {
                return Ok(Outcome::Accumulated);
            }
            let mean = 1.0 / window as f32;
            weights.visit(&mut |t| {
                t.gradient.copy_from_slice(&t.accumulated[0][..t.gradient.len()]);
                scale(t.gradient, mean);
                Ok(())
            })?;
        }
        self.update(pool, weights, self.config.optimizer, learning_rate)
    }

    /// One update now, from the gradients as they are: clipping, then the step of `optimizer`.
    /// Where they are not finite nothing changes but the count of those.
    ///
    /// # Errors
    /// As [`accumulate`](Self::accumulate).
    pub fn update(
        &mut self,
        pool: &Pool,
        weights: &mut dyn Weights,
        optimizer: Optimizer,
        learning_rate: f32,
    ) -> Result<Outcome> {
        self.check_undivided()?;
        self.update_by(optimizer, learning_rate, |update, partials| {
            optimizer::apply(pool, weights, update, partials)
        })
    }

    /// That one rank's weights are updated is an error where the moments are divided among several.
    fn check_undivided(&self) -> Result<()> {
        match self.divides_moments() {
            false => Ok(()),
            true => Err(Error::state(
                "the moments are divided among the ranks, which update their weights together",
            )),
        }
    }

    /// An update that `apply` applies, which returns the gradient's norm.
    pub(super) fn update_by(
        &mut self,
        optimizer: Optimizer,
        learning_rate: f32,
        apply: impl FnOnce(&Update, &mut Vec<f64>) -> Result<f64>,
    ) -> Result<Outcome> {
        let TrainerConfig { weight_decay, clip, beta2, .. } = self.config;
        let number = self.counters.updates + 1;
        let update = Update { optimizer, number, beta2, learning_rate, weight_decay, clip };
        let norm = apply(&update, &mut self.partials)?;
        self.counters.gradient_norm = norm;
        if !norm.is_finite() {
            self.counters.skipped += 1;
            return Ok(Outcome::Skipped);
        }
        if optimizer == Optimizer::AdamW {
            self.counters.updates = number;
        }
        Ok(Outcome::Updated)
    }

    /// Scales the gradients so that their norm is at most `limit`; the norm before.
    ///
    /// # Errors
    /// Memory, or those of the weights.
    pub fn clip(&mut self, pool: &Pool, weights: &mut dyn Weights, limit: f32) -> Result<f64> {
        optimizer::clip(pool, weights, limit, &mut self.partials)
    }

    /// The next batch of `corpus` as a step, at the counters' offset; `None` at the end of the
    /// epoch, which then counts as completed.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn next_step(
        &mut self,
        pool: &Pool,
        weights: &mut dyn Weights,
        corpus: &Corpus,
        learning_rate: f32,
    ) -> Result<Option<(Step, Position)>> {
        self.next_step_of(pool, weights, corpus, learning_rate, usize::MAX)
    }

    /// [`next_step`](Self::next_step) of a caller that takes no more than `most` steps, this one included,
    /// before it looks at gradients or open sums, or writes a checkpoint. It matters with a
    /// [communicator](Self::set_communicator) alone: the ranks compute so many steps of a window at once.
    ///
    /// # Errors
    /// As [`step`](Self::step), and those of the communicator.
    pub fn next_step_of(
        &mut self,
        pool: &Pool,
        weights: &mut dyn Weights,
        corpus: &Corpus,
        learning_rate: f32,
        most: usize,
    ) -> Result<Option<(Step, Position)>> {
        let next = if let Some(mut shared) = self.shared.take() {
            let next =
                self.next_shared_step(&mut shared, pool, weights, corpus, learning_rate, most);
            self.shared = Some(shared);
            next?
        } else {
            // Taken out for the time of the step, which has the trainer for itself.
            let mut windows = std::mem::take(&mut self.windows);
            let (epoch, offset) = (self.counters.epoch, self.counters.offset);
            let step = match self.cut(corpus, self.counters.step).draw(epoch, offset, &mut windows)
            {
                Ok(Some(batch)) => self.step(pool, weights, &batch, learning_rate).map(Some),
                Ok(None) => Ok(None),
                Err(error) => Err(error),
            };
            self.windows = windows;
            step?.map(|step| (step, self.advance(corpus)))
        };
        if next.is_none() {
            self.counters.end_epoch();
        }
        Ok(next)
    }

    /// The windows of step `number`, counted from 0.
    fn cut<'a>(&self, corpus: &Corpus<'a>, number: u32) -> Corpus<'a> {
        self.config.short_windows.of(corpus, &self.config.schedule, number)
    }

    /// The gradients of a batch that comes `ahead` of the next one, and its loss.
    pub(super) fn pass_ahead(
        &mut self,
        pool: &Pool,
        weights: &mut dyn Weights,
        corpus: &Corpus,
        ahead: usize,
    ) -> Result<f32> {
        let offset = self.counters.offset + ahead * corpus.rows();
        let number = self.counters.step.saturating_add(ahead as u32);
        let mut windows = std::mem::take(&mut self.windows);
        let corpus = self.cut(corpus, number);
        let loss = match corpus.draw(self.counters.epoch, offset, &mut windows) {
            Ok(Some(batch)) => self.pass(pool, weights, &batch, number),
            Ok(None) => Err(Error::state("a batch beyond the end of the epoch")),
            Err(error) => Err(error),
        };
        self.windows = windows;
        loss
    }

    /// Moves on to the next batch; where the one before stood.
    pub(super) fn advance(&mut self, corpus: &Corpus) -> Position {
        let offset = self.counters.offset;
        self.counters.offset = offset + corpus.rows();
        Position {
            epoch: self.counters.epoch,
            batch: offset / corpus.rows() + 1,
            batches: corpus.batches(),
            tokens: corpus.rows(),
        }
    }

    /// Trains batches of `corpus` in its order, from the counters' offset on, at the rates of the
    /// schedule: to the end of the epoch, or `limit` of them, or until `watch` breaks. With a
    /// limit the epoch ends only in a call that finds no batch left.
    ///
    /// # Errors
    /// With a limit, a corpus without a batch; at the beginning of an epoch, no id to learn that the model
    /// has; as [`step`](Self::step). The steps before are done.
    pub fn run(
        &mut self,
        pool: &Pool,
        weights: &mut dyn Weights,
        corpus: &Corpus,
        limit: Option<usize>,
        watch: impl FnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<Run> {
        // A whole epoch without a batch is over at once. A program that asks for steps until it has enough of
        // them would ask for ever.
        if limit.is_some() && corpus.batches() == 0 {
            return Err(Error::shape(format!(
                "{} ids hold no batch of {} x {} and the id after it",
                corpus.ids().len(),
                corpus.sequences(),
                corpus.positions()
            )));
        }
        if self.counters.offset == 0 {
            tokens::foreign(corpus.ids(), weights.pass()?.0.vocab)?;
        }
        let trainer = RefCell::new(self);
        let next = |done: usize| {
            let trainer = &mut **trainer.borrow_mut();
            if limit.is_some() && done > 0 && !corpus.has_batch(trainer.counters.offset) {
                return Ok(None);
            }
            let (rate, most) = (trainer.scheduled_rate(), limit.map_or(usize::MAX, |n| n - done));
            trainer.next_step_of(pool, weights, corpus, rate, most)
        };
        let settle = |stop: bool| trainer.borrow_mut().settle(stop);
        run::run(limit, next, watch, settle)
    }

    /// A whole epoch: [`run`](Self::run) from offset 0 to the end.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn epoch(
        &mut self,
        pool: &Pool,
        weights: &mut dyn Weights,
        corpus: &Corpus,
        watch: impl FnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<Run> {
        self.counters.offset = 0;
        self.run(pool, weights, corpus, None, watch)
    }
}
