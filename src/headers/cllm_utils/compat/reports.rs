//! Benchmarks and memory figures for people: printed, or written as a report.

use crate::border::ffi;
use crate::headers::cllm::*;
use crate::headers::cllm_utils::memory::megabytes;
use crate::model::view;
use cllm_compat::bench::{Bench, Measured};
use cllm_engine::error::{Error, Result};
use cllm_engine::limits::MAX_PROFILE_SECONDS;
use cllm_engine::model::ModelRef;
use cllm_engine::system::{atomic, memory};
use cllm_macros::c_api;
use std::ffi::{c_char, c_int};
use std::time::Duration;

/// Time for each of the suite's benchmarks, so that all four stay within a minute.
const SUITE_BUDGET: Duration = Duration::from_secs(12);
/// Time for each of a report's benchmarks.
const REPORT_BUDGET: Duration = Duration::from_secs(3);
/// Tokens of a sequence in both.
const LENGTH: usize = 128;

/// The four benchmarks.
#[derive(Clone, Copy)]
enum Kind {
    Single,
    Batch,
    Forward,
    Training,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Single, Self::Batch, Self::Forward, Self::Training];

    fn title(self) -> &'static str {
        match self {
            Self::Single => "Single Token Inference Benchmark",
            Self::Batch => "Batch Inference Benchmark",
            Self::Forward => "Forward Pass Benchmark",
            Self::Training => "Training Step Benchmark",
        }
    }

    fn run(
        self,
        model: &ModelRef,
        (batch, iterations): (usize, c_int),
        budget: Duration,
    ) -> Result<Measured> {
        let bench = Bench::new(model.clone(), batch, LENGTH, iterations, budget)?;
        match self {
            Self::Single | Self::Batch => bench.last_logits(&bench.sequence()?),
            Self::Forward => bench.all_logits(),
            Self::Training => bench.training_steps(),
        }
    }

    /// What the suite prints below the title. The iterations are those that were done.
    fn section(self, m: &Measured) -> String {
        let batch = match self {
            Self::Single => String::new(),
            _ => format!("  Batch size: {}\n", m.batch),
        };
        let time = match self {
            Self::Single => "Average time per token",
            Self::Batch => "Average time per batch",
            Self::Forward => "Average forward pass time",
            Self::Training => "Average training step time",
        };
        let rate = match self {
            Self::Single => format!("Tokens per second: {:.2}", m.timing.per_second(1)),
            _ => format!("Throughput: {:.2} tokens/sec", m.timing.per_second(m.tokens())),
        };
        let delta = match self {
            Self::Forward => String::new(),
            _ => format!("  Memory delta: {}\n", megabytes(m.grown)),
        };
        format!(
            "{batch}  Sequence length: {}\n  Iterations: {}\nResults:\n  {time}: {:.3} ms\n  \
             {rate}\n{delta}",
            m.length,
            m.timing.iterations,
            m.timing.milliseconds()
        )
    }
}

/// Floats of all weights and tables.
fn parameters(model: &ModelRef) -> u64 {
    let mut count = 0u64;
    model.params.visit(|_, _, t| count += t.len() as u64);
    count
}

/// Runs the four benchmarks and prints the model's sizes and the results to stdout: single
/// inference (128 tokens, 100 iterations), batch inference (8 sequences, 50), forward pass (4
/// sequences, 50), training step (4 sequences, 20). On models for which that would take over a
/// minute, iterations are left out; the number printed is of those that were done.
///
/// ```text
/// Model Configuration:
///   Vocabulary Size: 1000
///   Embedding Dimension: 64
///   Number of Layers: 2
///   Total Parameters: 188032
///
/// 1. Single Token Inference Benchmark
///   Sequence length: 128
///   Iterations: 100
/// Results:
///   Average time per token: 0.412 ms
///   Tokens per second: 2427.18
///   Memory delta: 0.25 MB
///
/// 2. Batch Inference Benchmark
///   Batch size: 8
///   Sequence length: 128
///   Iterations: 50
/// Results:
///   Average time per batch: 2.871 ms
///   Throughput: 356670.15 tokens/sec
///   Memory delta: 1.12 MB
/// ```
///
/// `3. Forward Pass Benchmark` has `Average forward pass time` and no memory, `4. Training Step
/// Benchmark` has `Average training step time`; otherwise they are as the second one.
///
/// @param model the model; only read. NULL prints the line `Model is NULL`.
///
/// # Safety
/// `model` is NULL or a model whose non-NULL pointers hold what its sizes say.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_run_benchmark_suite(model: *mut CLLMModel) {
    if model.is_null() {
        ffi::print("Model is NULL\n");
        return Ok(());
    }
    let view = view::model(model)?;
    ffi::print(format!(
        "Model Configuration:\n  Vocabulary Size: {}\n  Embedding Dimension: {}\n  \
             Number of Layers: {}\n  Total Parameters: {}\n",
        view.vocab,
        view.dim,
        view.params.layers.len(),
        parameters(&view)
    ));
    let plan = [(1, 100), (8, 50), (4, 50), (4, 20)];
    for (number, (kind, sizes)) in (1..).zip(Kind::ALL.into_iter().zip(plan)) {
        let measured = kind.run(&view, sizes, SUITE_BUDGET)?;
        ffi::print(format!("\n{number}. {}\n{}", kind.title(), kind.section(&measured)));
    }
    Ok(())
}

/// Prints the process's resident memory to stdout once a second, then the most and the least of
/// it and their difference. Returns after `duration_seconds`.
///
/// ```text
/// Profiling memory usage for 1 seconds...
///   [0 s] RSS: 3.91 MB
///   [1 s] RSS: 3.92 MB
///
/// Memory Profile Summary:
///   Peak RSS: 3.92 MB
///   Min RSS: 3.91 MB
///   Delta: 0.01 MB
/// ```
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
    ffi::print(format!("Profiling memory usage for {duration_seconds} seconds...\n"));
    let (mut least, mut most) = (u64::MAX, 0);
    for second in 0..=duration_seconds.max(0) {
        if second > 0 {
            std::thread::sleep(Duration::from_secs(1));
        }
        let now = memory::resident()?.current;
        (least, most) = (least.min(now), most.max(now));
        ffi::print(format!("  [{second} s] RSS: {}\n", megabytes(now)));
    }
    ffi::print(format!(
        "\nMemory Profile Summary:\n  Peak RSS: {}\n  Min RSS: {}\n  Delta: {}\n",
        megabytes(most),
        megabytes(least),
        megabytes(most - least)
    ));
    Ok(())
}

fn report(m: &CLLMModel, model: &ModelRef) -> Result<String> {
    let parameters = parameters(model);
    let weights = parameters * 4;
    let tokens = if m.tokens.is_null() {
        0
    } else {
        m.vocab_size.saturating_mul(size_of::<CLLMToken>() as u64)
    };
    let mut text = format!(
        "# CLLM Performance Report\n\n## Model Configuration\n\n- Vocabulary Size: {}\n\
         - Embedding Dimension: {}\n- Number of Layers: {}\n\
         - Total Parameters: {parameters} ({:.2} M)\n\n## Memory Footprint\n\n\
         - Model Weights: {}\n- Tokens: {:.2} KB\n- Total Estimated: {}\n\n\
         ## Benchmark Results\n",
        model.vocab,
        model.dim,
        model.params.layers.len(),
        parameters as f64 / 1e6,
        megabytes(weights),
        tokens as f64 / 1024.0,
        megabytes(weights.saturating_add(tokens)),
    );
    let plan = [(1, 20), (8, 10), (4, 10), (4, 5)];
    for (kind, sizes) in Kind::ALL.into_iter().zip(plan) {
        let m = kind.run(model, sizes, REPORT_BUDGET)?;
        let (rate, tokens) = match kind {
            Kind::Single => ("Tokens per second", m.timing.per_second(1)),
            _ => ("Throughput (tokens/sec)", m.timing.per_second(m.tokens())),
        };
        text += &format!(
            "\n### {}\n\n- Batch size: {}\n- Sequence length: {}\n- Iterations: {}\n\
             - Average time: {:.3} ms\n- {rate}: {tokens:.2}\n",
            kind.title(),
            m.batch,
            m.length,
            m.timing.iterations,
            m.timing.milliseconds(),
        );
    }
    Ok(text + &format!("\n---\n\nReport generated: {}\n", ffi::local_time()))
}

/// Writes a Markdown file about a model: configuration, memory, the results of four short
/// benchmarks (a few seconds each at most), the date. A file of that name is replaced.
///
/// ```text
/// # CLLM Performance Report
///
/// ## Model Configuration
///
/// - Vocabulary Size: 1000
/// - Embedding Dimension: 64
/// - Number of Layers: 2
/// - Total Parameters: 188032 (0.19 M)
///
/// ## Memory Footprint
///
/// - Model Weights: 0.72 MB
/// - Tokens: 132.81 KB
/// - Total Estimated: 0.85 MB
///
/// ## Benchmark Results
/// ```
///
/// Then a part for each benchmark, a rule (`---`) and `Report generated: Fri Nov 27 08:30:00 2026`.
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
