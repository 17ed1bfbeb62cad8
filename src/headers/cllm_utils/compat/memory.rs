//! How much memory a model takes, what one consists of, and what the library has allocated.

use crate::border::ffi::{self, MEMORY};
use crate::headers::cllm::*;
use crate::headers::cllm_utils::models;
use crate::model::view;
use cllm_macros::c_api;
use std::fmt::Write;
use std::sync::atomic::Ordering;

/// Bytes of the structs that one layer has: attention, feed-forward, two norms.
pub(crate) const LAYER_BYTES: u64 = (size_of::<AttentionLayer>()
    + size_of::<FeedForwardLayer>()
    + 2 * size_of::<CLLMLayerNorm>()) as u64;

/// A count of bytes as printed: `MB` are 2^20 bytes there, as scripts that read it expect.
pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{:.2} MB", bytes as f64 / 1_048_576.0)
}

/// Bytes of a model as `cllm_print_model_info` counts them: struct, tokens, weights, layers.
fn model_bytes(m: &CLLMModel) -> u64 {
    let tokens = m.vocab_size.saturating_mul(size_of::<CLLMToken>() as u64);
    let layers = u64::from(m.num_layers) * LAYER_BYTES;
    (size_of::<CLLMModel>() as u64)
        .saturating_add(tokens)
        .saturating_add(m.num_weights.saturating_mul(4))
        .saturating_add(layers)
}

/// How many bytes `cllm_create_model` would allocate for a configuration:
/// `1952 + 136*V + 4*(V*D + L*(3*D*D + 2*D*F + 5*D + F)) + 152*L + 16*S*D`.
///
/// Training needs more: gradients, optimizer moments and activations.
///
/// @param config sizes; they need not be valid together.
/// @return bytes; SIZE_MAX where the sum does not fit; 0 if config is NULL.
///
/// # Safety
/// `config` is NULL or points to a `CLLMConfig`.
#[unsafe(no_mangle)]
#[c_api(0)]
pub unsafe extern "C" fn cllm_estimate_memory(config: *const CLLMConfig) -> usize {
    let sizes = models::sizes(ffi::get(config, "config")?);
    let [v, d, l, f, s] =
        [sizes.vocab, sizes.dim, sizes.layers, sizes.hidden, sizes.context].map(|n| n as u128);
    // Every factor is below 2^32 and a term has at most three of them and a small constant:
    // 128 bits hold the sum.
    let weights = v * d + l * (3 * d * d + 2 * d * f + 5 * d + f);
    let total = size_of::<CLLMModel>() as u128
        + v * size_of::<CLLMToken>() as u128
        + 4 * weights
        + l * u128::from(LAYER_BYTES)
        + 16 * s * d;
    Ok(usize::try_from(total).unwrap_or(usize::MAX))
}

/// Prints what a model consists of to stdout:
///
/// ```text
/// === CLLM Model Information ===
/// Version: 1
/// Vocabulary Size: 1000
/// Embedding Dimension: 64
/// Number of Layers: 2
/// Total Weights: 155264
///
/// Attention Configuration:
///   Number of Heads: 4
///   Head Dimension: 16
///
/// Feed-Forward Configuration:
///   Input Dimension: 64
///   Hidden Dimension: 256
///
/// Memory Usage: 0.72 MB
/// ==============================
/// ```
///
/// The two blocks are those of layer 0, each with an empty line before it, and are left out where it
/// has no such part. Memory is that of the struct, the tokens, the weights and the layers; a megabyte
/// has 2^20 bytes.
///
/// @param model the model; NULL prints the line `Model is NULL`.
///
/// # Safety
/// `model` is NULL or a model whose layer arrays, where not NULL, have `num_layers` entries.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_print_model_info(model: *const CLLMModel) {
    if model.is_null() {
        ffi::print("Model is NULL\n");
        return Ok(());
    }
    let m = view::live(model)?;
    let mut text = format!(
        "=== CLLM Model Information ===\nVersion: {}\nVocabulary Size: {}\n\
         Embedding Dimension: {}\nNumber of Layers: {}\nTotal Weights: {}\n",
        m.header.version, m.vocab_size, m.embedding_dim, m.num_layers, m.num_weights
    );
    if m.num_layers > 0 && !m.attention_layers.is_null() {
        let a = ffi::get(m.attention_layers, "attention_layers")?;
        let _ = write!(
            text,
            "\nAttention Configuration:\n  Number of Heads: {}\n  Head Dimension: {}\n",
            a.num_heads, a.head_dim
        );
    }
    if m.num_layers > 0 && !m.ff_layers.is_null() {
        let f = ffi::get(m.ff_layers, "ff_layers")?;
        let _ = write!(
            text,
            "\nFeed-Forward Configuration:\n  Input Dimension: {}\n  Hidden Dimension: {}\n",
            f.input_dim, f.hidden_dim
        );
    }
    let rule = "=".repeat(30);
    let _ = write!(text, "\nMemory Usage: {}\n{rule}\n", megabytes(model_bytes(m)));
    ffi::print(text);
    Ok(())
}

/// Sets the four counters of `cllm_print_memory_stats` to zero. Memory that was allocated before
/// and is freed afterwards then counts as released only.
#[unsafe(no_mangle)]
#[c_api]
pub extern "C" fn cllm_reset_memory_stats() {
    for counter in
        [&MEMORY.allocations, &MEMORY.releases, &MEMORY.bytes_allocated, &MEMORY.bytes_released]
    {
        counter.store(0, Ordering::Relaxed);
    }
    Ok(())
}

/// Prints to stdout how many blocks, and how many bytes, the library has allocated for C and
/// released since the start or the last `cllm_reset_memory_stats`, and whether they balance:
///
/// ```text
///
/// === Memory Statistics ===
/// Allocations: 7
/// Deallocations: 6
/// Bytes allocated: 787152 (0.75 MB)
/// Bytes freed: 784400 (0.75 MB)
/// ⚠ Warning: Allocation/deallocation mismatch!
///   Difference: 1
/// ⚠ Warning: Memory leak detected!
///   Leaked bytes: 2752
/// ========================
///
/// ```
///
/// Instead of each warning and its number stands `✓ All allocations properly freed` or
/// `✓ No memory leaks detected` where the two counts are equal. A megabyte has 2^20 bytes.
///
/// Counted are the blocks that C can see (models, contexts, batches, strings); what the library
/// keeps for itself is not. A block that the program released with `free()` shows as leaked, and so
/// do the last few freed structs that the library keeps back to recognise double frees.
/// Threads: any; the four numbers are read one after the other.
#[unsafe(no_mangle)]
#[c_api]
pub extern "C" fn cllm_print_memory_stats() {
    let [allocations, releases, allocated, released] =
        [&MEMORY.allocations, &MEMORY.releases, &MEMORY.bytes_allocated, &MEMORY.bytes_released]
            .map(|counter| counter.load(Ordering::Relaxed));
    let verdict = |made: u64, freed: u64, good: &str, bad: &str, number: &str| {
        if made == freed {
            return format!("✓ {good}\n");
        }
        // Negative where more was freed than made since the counters were set to zero.
        format!("⚠ Warning: {bad}!\n  {number}: {}\n", made.wrapping_sub(freed) as i64)
    };
    ffi::print(format!(
        "\n=== Memory Statistics ===\nAllocations: {allocations}\nDeallocations: {releases}\n\
         Bytes allocated: {allocated} ({})\nBytes freed: {released} ({})\n{}{}{}\n\n",
        megabytes(allocated),
        megabytes(released),
        verdict(
            allocations,
            releases,
            "All allocations properly freed",
            "Allocation/deallocation mismatch",
            "Difference"
        ),
        verdict(
            allocated,
            released,
            "No memory leaks detected",
            "Memory leak detected",
            "Leaked bytes"
        ),
        "=".repeat(24),
    ));
    Ok(())
}
