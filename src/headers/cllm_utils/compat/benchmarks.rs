//! Benchmarks: the time of real forward passes and training steps.

use crate::border::ffi;
use crate::headers::cllm::*;
use crate::headers::cllm_utils::BenchmarkResults;
use crate::model::view;
use cllm_compat::bench::{Bench, Measured};
use cllm_macros::c_api;
use std::ffi::c_int;
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

/// Time, memory and sizes.
fn results(m: &Measured) -> BenchmarkResults {
    BenchmarkResults {
        inference_time_ms: m.timing.milliseconds(),
        memory_mb: m.grown as f64 / 1_048_576.0,
        batch_size: m.batch,
        seq_length: m.length,
        ..NOTHING
    }
}

/// As [`results`], with the tokens of a second.
fn throughput(m: &Measured) -> BenchmarkResults {
    let throughput_tokens_per_sec = m.timing.per_second(m.tokens());
    BenchmarkResults { throughput_tokens_per_sec, ..results(m) }
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
    let m = bench.last_logits(ffi::slice(input_ids, seq_length, "input_ids")?)?;
    Ok(BenchmarkResults {
        tokens_per_second: m.timing.per_second(1),
        total_tokens: m.timing.iterations,
        ..results(&m)
    })
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
    let m = bench.last_logits(ffi::slice(input_ids, seq_length, "input_ids")?)?;
    Ok(BenchmarkResults { total_tokens: m.timing.iterations * m.tokens(), ..throughput(&m) })
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
    let bench = Bench::new(model, batch_size, seq_length, num_iterations, BUDGET)?;
    Ok(BenchmarkResults { memory_mb: 0.0, ..throughput(&bench.all_logits()?) })
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
    let bench = Bench::new(model, batch_size, seq_length, num_iterations, BUDGET)?;
    Ok(throughput(&bench.training_steps()?))
}
