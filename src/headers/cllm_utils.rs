//! `cllm_utils.h`: making models, validation, benchmarks.

use crate::border::ffi::zeroable;

/// What a benchmark measured; fields that it does not set are 0.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct BenchmarkResults {
    /// Mean wall-clock time of one iteration, in milliseconds.
    pub inference_time_ms: f64,
    /// Iterations per second, each of which yields the logits of one next token (single
    /// inference only).
    pub tokens_per_second: f64,
    /// Growth of the process's peak resident memory during the measurement, in MiB.
    pub memory_mb: f64,
    /// Tokens processed per second (all but single inference).
    pub throughput_tokens_per_sec: f64,
    /// Tokens over all iterations: one per iteration for single inference, all that were
    /// processed for batch inference.
    pub total_tokens: usize,
    /// Sequences per iteration.
    pub batch_size: usize,
    /// Tokens per sequence.
    pub seq_length: usize,
}
layout!(BenchmarkResults, 56, inference_time_ms: 0, tokens_per_second: 8, memory_mb: 16, throughput_tokens_per_sec: 24, total_tokens: 32, batch_size: 40, seq_length: 48);
zeroable!(BenchmarkResults);

/// The rooms of `cllm_utils.h` that only programs written for the original library ask for.
mod compat {
    pub mod benchmarks;
    pub mod memory;
    pub mod reports;
    pub mod validation;
}

pub use compat::benchmarks;
pub use compat::memory;
pub mod models;
pub use compat::reports;
pub use compat::validation;
