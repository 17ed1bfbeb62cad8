//! Benchmarks and memory figures for people: printed, or written as a report.

use crate::border::ffi;
use crate::headers::cllm::*;
use crate::headers::cllm_utils::BenchmarkResults;
use crate::headers::cllm_utils::benchmarks;
use crate::headers::cllm_utils::memory::mib;
use crate::model::view;
use cllm_compat::bench::Bench;
use cllm_engine::error::{Error, Result};
use cllm_engine::limits::MAX_PROFILE_SECONDS;
use cllm_engine::model::ModelRef;
use cllm_engine::system::atomic;
use cllm_engine::system::{date, memory};
use cllm_macros::c_api;
use std::ffi::{c_char, c_int};
use std::fmt::Write;
use std::time::Duration;

/// Time for each of the suite's benchmarks, so that all four stay within a minute.
const SUITE_BUDGET: Duration = Duration::from_secs(12);
/// Time for each of a report's benchmarks.
const REPORT_BUDGET: Duration = Duration::from_secs(3);
/// Tokens of a sequence in both.
const LENGTH: usize = 128;

/// The four benchmarks, with (batch, iterations) of each.
struct Results {
    single: BenchmarkResults,
    batch: BenchmarkResults,
    forward: BenchmarkResults,
    training: BenchmarkResults,
}

fn run_all(model: &ModelRef, plan: [(usize, c_int); 4], budget: Duration) -> Result<Results> {
    let bench = |(batch, iterations): (usize, c_int)| {
        Bench::new(model.clone(), batch, LENGTH, iterations, budget)
    };
    let [single, batch, forward, training] = plan;
    let ids = bench(single)?.sequence()?;
    Ok(Results {
        single: benchmarks::single(&bench(single)?, &ids)?,
        batch: benchmarks::batch(&bench(batch)?, &ids)?,
        forward: benchmarks::forward_pass(&bench(forward)?)?,
        training: benchmarks::training_step(&bench(training)?)?,
    })
}

/// Runs the four benchmarks and prints the model's sizes and the results to stdout: single
/// inference (128 tokens, 100 iterations), batch inference (8 sequences, 50), forward pass (4
/// sequences, 50), training step (4 sequences, 20). On models for which that would take over a
/// minute, iterations are left out.
///
/// @param model the model; only read. NULL prints a line that says so.
///
/// # Safety
/// `model` is NULL or a model whose non-NULL pointers hold what its sizes say.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_run_benchmark_suite(model: *mut CLLMModel) {
    if model.is_null() {
        ffi::print("Benchmark suite: model is NULL\n");
        return Ok(());
    }
    let view = view::model(model)?;
    ffi::print(&format!(
        "Benchmark suite\n  Vocabulary size: {}\n  Embedding dimension: {}\n  Layers: {}\n",
        view.vocab,
        view.dim,
        view.params.layers.len()
    ));
    let r = run_all(&view, [(1, 100), (8, 50), (4, 50), (4, 20)], SUITE_BUDGET)?;
    let line = |name: &str, b: &BenchmarkResults, rate: f64| {
        format!(
            "  {name} ({} x {} tokens): {:.3} ms, {rate:.1} tokens/s\n",
            b.batch_size, b.seq_length, b.inference_time_ms
        )
    };
    ffi::print(&line("Single inference", &r.single, r.single.tokens_per_second));
    ffi::print(&line("Batch inference", &r.batch, r.batch.throughput_tokens_per_sec));
    ffi::print(&line("Forward pass", &r.forward, r.forward.throughput_tokens_per_sec));
    ffi::print(&line("Training step", &r.training, r.training.throughput_tokens_per_sec));
    Ok(())
}

/// Prints the process's resident memory to stdout once a second, then the most and the least of
/// it and their difference. Returns after `duration_seconds`.
///
/// @param model            not used, and may be NULL.
/// @param duration_seconds 1 to 86400; 0 or less takes one sample. More is refused.
#[unsafe(no_mangle)]
#[c_api]
pub extern "C" fn cllm_profile_memory(model: *mut CLLMModel, duration_seconds: c_int) {
    let _ = model;

    if duration_seconds > MAX_PROFILE_SECONDS {
        let expected = "at most 86400";
        return Err(Error::argument("duration_seconds", duration_seconds, expected));
    }
    let (mut least, mut most) = (u64::MAX, 0);
    for second in 0..=duration_seconds.max(0) {
        if second > 0 {
            std::thread::sleep(Duration::from_secs(1));
        }
        let now = memory::resident()?.current;
        (least, most) = (least.min(now), most.max(now));
        ffi::print(&format!("  {second:>5} s: {}\n", mib(now)));
    }
    ffi::print(&format!(
        "Memory profile: peak {}, minimum {}, difference {}\n",
        mib(most),
        mib(least),
        mib(most - least)
    ));
    Ok(())
}

fn report(m: &CLLMModel, model: &ModelRef) -> Result<String> {
    let r = run_all(model, [(1, 20), (8, 10), (4, 10), (4, 5)], REPORT_BUDGET)?;
    let mut parameters = 0u64;
    model.params.visit(|_, _, t| parameters += t.len() as u64);
    let weights = parameters * 4;
    let tokens = if m.tokens.is_null() {
        0
    } else {
        m.vocab_size.saturating_mul(size_of::<CLLMToken>() as u64)
    };
    let mut text = format!(
        "# CLLM performance report\n\n{}\n\n## Configuration\n\n- Vocabulary size: {}\n\
         - Embedding dimension: {}\n- Layers: {}\n- Parameters: {parameters}\n\n## Memory\n\n\
         - Weights: {}\n- Tokens: {:.2} KiB\n- Total: {}\n\n## Results\n\n\
         | benchmark | batch | tokens | time (ms) | tokens/s |\n|---|---:|---:|---:|---:|\n",
        date::now(),
        model.vocab,
        model.dim,
        model.params.layers.len(),
        mib(weights),
        tokens as f64 / 1024.0,
        mib(weights.saturating_add(tokens)),
    );
    for (name, b, rate) in [
        ("single inference", &r.single, r.single.tokens_per_second),
        ("batch inference", &r.batch, r.batch.throughput_tokens_per_sec),
        ("forward pass", &r.forward, r.forward.throughput_tokens_per_sec),
        ("training step", &r.training, r.training.throughput_tokens_per_sec),
    ] {
        let (batch, length, time) = (b.batch_size, b.seq_length, b.inference_time_ms);
        let _ = writeln!(text, "| {name} | {batch} | {length} | {time:.3} | {rate:.1} |");
    }
    Ok(text)
}

/// Writes a Markdown file about a model: configuration, memory, the results of four short
/// benchmarks (a few seconds each at most), the date. A file of that name is replaced.
///
/// @param model       the model; only read.
/// @param output_file name of the file; nothing is written, and the reason recorded, if it or the
///                    model is NULL or a benchmark fails.
///
/// # Safety
/// `model` is NULL or a model whose non-NULL pointers hold what its sizes say; `output_file` is
/// NULL or a C string.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_generate_performance_report(
    model: *mut CLLMModel,
    output_file: *const c_char,
) {
    let (m, view, path) =
        (view::live(model)?, view::model(model)?, ffi::path(output_file, "output_file")?);
    let text = report(m, &view)?;
    atomic::write(path, |file| file.write_all(text.as_bytes()))
}
