//! `cllm_inference.h`: contexts, the layers one by one, generation.

/// The rooms of `cllm_inference.h` that only programs written for the original library ask for:
/// single layers, lattice geometry.
mod compat {
    pub mod activations;
    pub mod attention;
    pub mod embedding;
    pub mod feed_forward;
    pub mod lattice;
    pub mod layer_norm;
    pub mod positions;
    pub mod symmetry;
}

pub use compat::activations;
pub use compat::attention;
pub mod context;
pub use compat::embedding;
pub use compat::feed_forward;
pub mod generation;
pub use compat::lattice;
pub use compat::layer_norm;
pub use compat::positions;
pub use compat::symmetry;
pub mod text;

use super::cllm::*;
use crate::border::ffi::zeroable;
use std::ffi::c_int;

/// A token and its probability.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct IndexProb {
    /// Token id.
    pub idx: c_int,
    /// Probability.
    pub prob: f32,
}
layout!(IndexProb, 8, idx: 0, prob: 4);

/// A context for generating with a model: made by cllm_inference_init, freed by
/// cllm_inference_cleanup. One thread at a time; many contexts may share a model. Generator and
/// cache of earlier positions are private.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CLLMInference {
    /// Borrowed; must outlive the context.
    pub model: *mut CLLMModel,
    /// Divides the logits; 0 or less: greedy. 1.0 after init.
    pub temperature: f32,
    /// Mass of the nucleus; outside (0, 1): no limit. 0.9 after init.
    pub top_p: f32,
    /// The k likeliest tokens only; 0 or less: no limit. 50 after init.
    pub top_k: c_int,
    /// Tokens that cllm_generate adds. 50 after init.
    pub max_tokens: c_int,
    /// Above 1: tokens of the sequence become less likely; 0 or 1: off. 0 after init.
    pub repetition_penalty: f32,
    /// Positions of a cache that the program installed for cllm_multi_head_attention; 0 without.
    pub kv_cache_size: c_int,
    /// Positions in use; 0 begins a new sequence.
    pub kv_cache_used: c_int,
    /// `[L][kv_cache_size][d]`, the program's, or NULL.
    pub key_cache: *mut f32,
    /// `[L][kv_cache_size][d]`, the program's, or NULL.
    pub value_cache: *mut f32,
    /// `[d]`: final hidden vector of the latest cllm_forward.
    pub hidden_states: *mut f32,
    /// `[V]`: logits of the latest cllm_forward.
    pub logits: *mut f32,
}
layout!(CLLMInference, 72, model: 0, temperature: 8, top_p: 12, top_k: 16, max_tokens: 20, repetition_penalty: 24, kv_cache_size: 28, kv_cache_used: 32, key_cache: 40, value_cache: 48, hidden_states: 56, logits: 64);
zeroable!(IndexProb, CLLMInference);
