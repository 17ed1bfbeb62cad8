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

/// A count of bytes for people.
pub(crate) fn mib(bytes: u64) -> String {
    format!("{:.2} MiB", bytes as f64 / 1_048_576.0)
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

/// Prints what a model consists of to stdout: version, sizes, number of weights, heads and
/// feed-forward widths of the first layer, memory in MiB.
///
/// @param model the model; NULL prints a line that says so.
///
/// # Safety
/// `model` is NULL or a model whose layer arrays, where not NULL, have `num_layers` entries.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_print_model_info(model: *const CLLMModel) {
    if model.is_null() {
        ffi::print("Model: NULL\n");
        return Ok(());
    }
    let m = view::live(model)?;
    let mut text = format!(
        "Model information:\n  Version: {}\n  Vocabulary size: {}\n  Embedding dimension: {}\n  \
             Layers: {}\n  Weights: {}\n",
        m.header.version, m.vocab_size, m.embedding_dim, m.num_layers, m.num_weights
    );
    if m.num_layers > 0 && !m.attention_layers.is_null() {
        let a = ffi::get(m.attention_layers, "attention_layers")?;
        let _ = writeln!(text, "  Attention heads: {} of {} dimensions", a.num_heads, a.head_dim);
    }
    if m.num_layers > 0 && !m.ff_layers.is_null() {
        let f = ffi::get(m.ff_layers, "ff_layers")?;
        let _ = writeln!(text, "  Feed-forward: {} -> {}", f.input_dim, f.hidden_dim);
    }
    let _ = writeln!(text, "  Memory: {}", mib(model_bytes(m)));
    ffi::print(&text);
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
/// released since the start or the last `cllm_reset_memory_stats`, and whether they balance.
///
/// Counted are the blocks that C can see (models, contexts, batches, strings); what the library
/// keeps for itself is not. A block that the program released with `free()` shows as outstanding,
/// and so do the last few freed structs that the library keeps back to recognise double frees.
/// Threads: any; the four numbers are read one after the other.
#[unsafe(no_mangle)]
#[c_api]
pub extern "C" fn cllm_print_memory_stats() {
    let [allocations, releases, allocated, released] =
        [&MEMORY.allocations, &MEMORY.releases, &MEMORY.bytes_allocated, &MEMORY.bytes_released]
            .map(|counter| counter.load(Ordering::Relaxed));
    let verdict = if allocations == releases && allocated == released {
        "balanced".to_string()
    } else {
        format!(
            "outstanding: {} blocks, {} bytes",
            allocations as i64 - releases as i64,
            allocated as i64 - released as i64
        )
    };
    ffi::print(&format!(
        "Memory statistics:\n  Allocations: {allocations} ({allocated} bytes)\n  \
             Deallocations: {releases} ({released} bytes)\n  {verdict}\n"
    ));
    Ok(())
}
