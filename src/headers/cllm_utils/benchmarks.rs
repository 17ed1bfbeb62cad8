//! Benchmarks: the time of real forward passes and training steps.

use super::BenchmarkResults;
use crate::border::ffi;
use crate::headers::cllm::*;
use crate::model::view;
use cllm_compat::benchmark::{ForwardPass, Timing, TrainingSteps, repeat};
use cllm_compat::check;
use cllm_engine::error::{Error, Result};
use cllm_engine::limits::{DEFAULT_CONTEXT, MAX_ITERATIONS};
use cllm_engine::model::ModelRef;
use cllm_engine::nn::loss::Targets;
use cllm_engine::system::memory;
use cllm_engine::train::batch::{self, Batch};
use cllm_engine::{log, rng};
use cllm_kernels::Pool;
use cllm_kernels::memory::filled;
use cllm_macros::c_api;
use rand::RngExt;
use std::ffi::c_int;
use std::sync::Arc;
use std::time::Duration;

/// Longest time of one benchmark; what it did not get to is not counted.
const BUDGET: Duration = Duration::from_secs(30);

const NOTHING: BenchmarkResults = BenchmarkResults {
    inference_time_ms: 0.0,
    tokens_per_second: 0.0,
    memory_mb: 0.0,
    throughput_tokens_per_sec: 0.0,
    total_tokens: 0,
    batch_size: 0,
    seq_length: 0,
};

/// One benchmark to be run.
pub(crate) struct Bench<'a> {
    model: ModelRef<'a>,
    pool: Arc<Pool>,
    batch: usize,
    length: usize,
    iterations: usize,
    budget: Duration,
}

impl<'a> Bench<'a> {
    /// Checks the sizes.
    pub(crate) fn new(
        model: ModelRef<'a>,
        batch: usize,
        length: usize,
        iterations: c_int,
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
        let pool = Pool::shared(Pool::online());
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

    /// Times `work`; the results carry mean time, growth of the peak memory, and the sizes.
    fn time(&self, work: impl FnMut() -> Result<()>) -> Result<(Timing, BenchmarkResults)> {
        let peak = || memory::resident().map_or(0, |resident| resident.peak);
        let before = peak();
        let timing = repeat(self.iterations, self.budget, work)?;
        if timing.iterations < self.iterations {
            let (done, all) = (timing.iterations, self.iterations);
            log::warn(&format!("benchmark ended after {done} of {all} iterations: time is up"));
        }
        let results = BenchmarkResults {
            inference_time_ms: timing.milliseconds(),
            memory_mb: peak().saturating_sub(before) as f64 / 1_048_576.0,
            batch_size: self.batch,
            seq_length: self.length,
            ..NOTHING
        };
        Ok((timing, results))
    }

    /// One sequence to its last logits.
    pub(crate) fn single(&self, ids: &[u32]) -> Result<BenchmarkResults> {
        let mut pass = ForwardPass::new(&self.pool, &self.model, 1);
        let (timing, results) = self.time(|| pass.last_logits(ids).map(|_| ()))?;
        let tokens_per_second = timing.per_second(1);
        Ok(BenchmarkResults { tokens_per_second, total_tokens: timing.iterations, ..results })
    }

    /// The same sequence in every row of a batch, each to its last logits.
    pub(crate) fn inference_batch(&self, ids: &[u32]) -> Result<BenchmarkResults> {
        let rows = ids.repeat(self.batch);
        let mut pass = ForwardPass::new(&self.pool, &self.model, self.batch);
        let (timing, results) = self.time(|| pass.last_logits(&rows).map(|_| ()))?;
        Ok(BenchmarkResults {
            throughput_tokens_per_sec: timing.per_second(rows.len()),
            total_tokens: timing.iterations * rows.len(),
            ..results
        })
    }

    /// Random sequences to the logits of every position.
    pub(crate) fn forward_pass(&self) -> Result<BenchmarkResults> {
        let ids = self.random_ids(self.batch * self.length)?;
        let mut pass = ForwardPass::new(&self.pool, &self.model, self.batch);
        let (timing, results) = self.time(|| pass.all_logits(&ids))?;
        let throughput_tokens_per_sec = timing.per_second(ids.len());
        Ok(BenchmarkResults { throughput_tokens_per_sec, memory_mb: 0.0, ..results })
    }

    /// Training steps on a copy.
    pub(crate) fn training_step(&self) -> Result<BenchmarkResults> {
        let rows = self.batch * self.length;
        let ids = self.random_ids(rows + 1)?;
        let mut steps = TrainingSteps::new(&self.model)?;
        let targets = Targets::all(&ids[1..]);
        let batch = Batch { tokens: &ids[..rows], targets, sequences: self.batch };
        let step = || steps.step(&self.pool, &batch).map(drop);
        let (timing, results) = self.time(step)?;
        Ok(BenchmarkResults { throughput_tokens_per_sec: timing.per_second(rows), ..results })
    }

    /// Random ids of one sequence, for the reports.
    pub(crate) fn sequence(&self) -> Result<Vec<u32>> {
        self.random_ids(self.length)
    }
}

/// The program's ids, all within the vocabulary.
///
/// # Safety
/// `ids` is NULL or has `length` ids.
unsafe fn checked_ids<'a>(ids: *const u32, bench: &Bench) -> Result<&'a [u32]> {
    let ids = ffi::slice(ids, bench.length, "input_ids")?;
    check::ids("input_ids", ids, u32::try_from(bench.model.vocab).unwrap_or(u32::MAX))?;
    Ok(ids)
}

/// Times the forward pass of one sequence up to the logits of its last position, on all
/// processors. One untimed pass goes before; after half a minute the benchmark ends with the
/// iterations done by then.
///
/// @param model          the model; only read.
/// @param input_ids      `[seq_length]` token ids below the vocabulary's size.
/// @param seq_length     tokens, 1 to 512 (or to the model's positions where those are more).
/// @param num_iterations 1 to 1000000.
/// @return inference_time_ms, tokens_per_second (= 1000 / time), memory_mb, total_tokens (=
///         iterations), batch_size 1, seq_length; all zero on a NULL pointer, a size out of range
///         or an id that is none.
///
/// # Safety
/// `model` is NULL or a model whose non-NULL pointers hold what its sizes say; `input_ids` is NULL
/// or has `seq_length` ids.
#[unsafe(no_mangle)]
#[c_api(NOTHING)]
pub unsafe extern "C" fn cllm_benchmark_inference_single(
    model: *mut CLLMModel,
    input_ids: *mut u32,
    seq_length: usize,
    num_iterations: c_int,
) -> BenchmarkResults {
    let model = view::model(model)?;
    let bench = Bench::new(model, 1, seq_length, num_iterations, BUDGET)?;
    bench.single(checked_ids(input_ids, &bench)?)
}

/// Times the forward passes of a batch, each sequence up to the logits of its last position;
/// otherwise as `cllm_benchmark_inference_single`.
///
/// @param model          the model; only read.
/// @param input_ids      `[seq_length]` token ids (not batch_size times as many): every sequence
///                       of the batch is this one.
/// @param batch_size     sequences, 1 or more.
/// @param seq_length     tokens, 1 to 512 (or to the model's positions where those are more).
/// @param num_iterations 1 to 1000000.
/// @return inference_time_ms (of the whole batch), throughput_tokens_per_sec, memory_mb,
///         total_tokens (= iterations * batch_size * seq_length), batch_size, seq_length; all
///         zero on errors.
///
/// # Safety
/// As `cllm_benchmark_inference_single`.
#[unsafe(no_mangle)]
#[c_api(NOTHING)]
pub unsafe extern "C" fn cllm_benchmark_inference_batch(
    model: *mut CLLMModel,
    input_ids: *mut u32,
    batch_size: usize,
    seq_length: usize,
    num_iterations: c_int,
) -> BenchmarkResults {
    let model = view::model(model)?;
    let bench = Bench::new(model, batch_size, seq_length, num_iterations, BUDGET)?;
    bench.inference_batch(checked_ids(input_ids, &bench)?)
}

/// Times the forward pass of a batch of random tokens up to the logits of every position, as
/// training needs them; otherwise as `cllm_benchmark_inference_single`.
///
/// @param model          the model; only read.
/// @param batch_size     sequences, 1 or more.
/// @param seq_length     tokens of each, 1 to 512 (or to the model's positions).
/// @param num_iterations 1 to 1000000.
/// @return inference_time_ms, throughput_tokens_per_sec, batch_size, seq_length; all zero on
///         errors.
///
/// # Safety
/// `model` is NULL or a model whose non-NULL pointers hold what its sizes say.
#[unsafe(no_mangle)]
#[c_api(NOTHING)]
pub unsafe extern "C" fn cllm_benchmark_forward_pass(
    model: *mut CLLMModel,
    batch_size: usize,
    seq_length: usize,
    num_iterations: c_int,
) -> BenchmarkResults {
    let model = view::model(model)?;
    Bench::new(model, batch_size, seq_length, num_iterations, BUDGET)?.forward_pass()
}

/// Times training steps (forward, loss, backward, AdamW) on a private copy of the parameters and
/// random tokens: the model's own do not change. Otherwise as
/// `cllm_benchmark_inference_single`. Takes four times the memory of the parameters, and that of
/// the activations.
///
/// @param model          the model; only read.
/// @param batch_size     sequences, 1 or more.
/// @param seq_length     tokens of each, 1 to 512 (or to the model's positions).
/// @param num_iterations 1 to 1000000.
/// @return inference_time_ms (of one step), throughput_tokens_per_sec, memory_mb, batch_size,
///         seq_length; all zero on errors.
///
/// # Safety
/// As `cllm_benchmark_forward_pass`.
#[unsafe(no_mangle)]
#[c_api(NOTHING)]
pub unsafe extern "C" fn cllm_benchmark_training_step(
    model: *mut CLLMModel,
    batch_size: usize,
    seq_length: usize,
    num_iterations: c_int,
) -> BenchmarkResults {
    let model = view::model(model)?;
    Bench::new(model, batch_size, seq_length, num_iterations, BUDGET)?.training_step()
}
