//! One benchmark of a model: passes or training steps of a given size, timed.

use crate::benchmark::{ForwardPass, Timing, TrainingSteps, repeat};
use crate::check;
use cllm_engine::error::{Error, Result};
use cllm_engine::limits::{DEFAULT_CONTEXT, MAX_ITERATIONS};
use cllm_engine::model::ModelRef;
use cllm_engine::nn::loss::Targets;
use cllm_engine::system::memory;
use cllm_engine::train::batch::{self, Batch};
use cllm_engine::{log, rng};
use cllm_kernels::Pool;
use cllm_kernels::memory::filled;
use rand::RngExt;
use std::sync::Arc;
use std::time::Duration;

/// What a benchmark measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// The iterations that were done, and their time.
    pub timing: Timing,
    /// By how many bytes the process's peak resident memory grew.
    pub grown: u64,
    /// Sequences of an iteration.
    pub batch: usize,
    /// Tokens of a sequence.
    pub length: usize,
}

impl Measured {
    /// Tokens of an iteration.
    pub fn tokens(&self) -> usize {
        self.batch * self.length
    }
}

/// One benchmark to be run.
pub struct Bench<'a> {
    model: ModelRef<'a>,
    pool: Arc<Pool>,
    batch: usize,
    length: usize,
    iterations: usize,
    budget: Duration,
}

impl<'a> Bench<'a> {
    /// Checks the sizes: 1 to 1000000 iterations, sequences as long as the model has positions, or
    /// 512.
    pub fn new(
        model: ModelRef<'a>,
        batch: usize,
        length: usize,
        iterations: i32,
        budget: Duration,
    ) -> Result<Self> {
        batch::positions(batch, length)?;
        if length > model.max_length.max(DEFAULT_CONTEXT) {
            let expected = "at most 512, or the model's positions where those are more";
            return Err(Error::argument("seq_length", length, expected));
        }
        if !(1..=MAX_ITERATIONS).contains(&iterations) {
            return Err(Error::argument("num_iterations", iterations, "1 to 1000000"));
        }
        let pool = Pool::shared(0);
        Ok(Self { model, pool, batch, length, iterations: iterations as usize, budget })
    }

    /// Token ids for `rows` positions; the same sizes give the same ids.
    fn random_ids(&self, rows: usize) -> Result<Vec<u32>> {
        let vocab = u32::try_from(self.model.vocab).unwrap_or(u32::MAX);
        let mut rng = rng::seeded(rows as u64);
        let mut ids = filled("token ids", rows)?;
        ids.fill_with(|| rng.random_range(0..vocab));
        Ok(ids)
    }

    fn time(&self, work: impl FnMut() -> Result<()>) -> Result<Measured> {
        let peak = || memory::resident().map_or(0, |resident| resident.peak);
        let before = peak();
        let timing = repeat(self.iterations, self.budget, work)?;
        if timing.iterations < self.iterations {
            let (done, all) = (timing.iterations, self.iterations);
            log::warn(&format!("benchmark ended after {done} of {all} iterations: time is up"));
        }
        let grown = peak().saturating_sub(before);
        Ok(Measured { timing, grown, batch: self.batch, length: self.length })
    }

    /// One sequence in every row of a batch, each to its last logits.
    ///
    /// # Errors
    /// An id that the model does not have.
    pub fn last_logits(&self, ids: &[u32]) -> Result<Measured> {
        check::ids("input_ids", ids, u32::try_from(self.model.vocab).unwrap_or(u32::MAX))?;
        let rows = ids.repeat(self.batch);
        let mut pass = ForwardPass::new(&self.pool, &self.model, self.batch);
        self.time(|| pass.last_logits(&rows).map(drop))
    }

    /// Random sequences to the logits of every position.
    pub fn all_logits(&self) -> Result<Measured> {
        let ids = self.random_ids(self.batch * self.length)?;
        let mut pass = ForwardPass::new(&self.pool, &self.model, self.batch);
        self.time(|| pass.all_logits(&ids))
    }

    /// Training steps on a copy.
    pub fn training_steps(&self) -> Result<Measured> {
        let rows = self.batch * self.length;
        let ids = self.random_ids(rows + 1)?;
        let mut steps = TrainingSteps::new(&self.model)?;
        let targets = Targets::all(&ids[1..]);
        let batch = Batch { tokens: &ids[..rows], targets, sequences: self.batch };
        self.time(|| steps.step(&self.pool, &batch).map(drop))
    }

    /// Random ids of one sequence; the same length gives the same ids.
    pub fn sequence(&self) -> Result<Vec<u32>> {
        self.random_ids(self.length)
    }
}
