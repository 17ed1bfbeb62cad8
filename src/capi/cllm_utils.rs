//! `cllm_utils.h`: making models, validation, benchmarks.

use crate::capi::ffi::zeroable;

/// DOC
#[repr(C)]
#[derive(Clone, Copy)]
pub struct BenchmarkResults {
    /// DOC
    pub inference_time_ms: f64,
    /// DOC
    pub tokens_per_second: f64,
    /// DOC
    pub memory_mb: f64,
    /// DOC
    pub throughput_tokens_per_sec: f64,
    /// DOC
    pub total_tokens: usize,
    /// DOC
    pub batch_size: usize,
    /// DOC
    pub seq_length: usize,
}
layout!(BenchmarkResults, 56, inference_time_ms: 0, tokens_per_second: 8, memory_mb: 16, throughput_tokens_per_sec: 24, total_tokens: 32, batch_size: 40, seq_length: 48);
zeroable!(BenchmarkResults);

pub mod models;
