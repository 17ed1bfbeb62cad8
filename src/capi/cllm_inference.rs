//! `cllm_inference.h`: contexts, the layers one by one, generation.

pub mod activations;
pub mod embedding;
pub mod lattice;
pub mod positions;
pub mod symmetry;

use super::cllm::*;
use crate::capi::ffi::zeroable;
use std::ffi::c_int;

pub mod text;

/// DOC
#[repr(C)]
#[derive(Clone, Copy)]
pub struct IndexProb {
    /// DOC
    pub idx: c_int,
    /// DOC
    pub prob: f32,
}
layout!(IndexProb, 8, idx: 0, prob: 4);

/// DOC
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CLLMInference {
    /// DOC
    pub model: *mut CLLMModel,
    /// DOC
    pub temperature: f32,
    /// DOC
    pub top_p: f32,
    /// DOC
    pub top_k: c_int,
    /// DOC
    pub max_tokens: c_int,
    /// DOC
    pub repetition_penalty: f32,
    /// DOC
    pub kv_cache_size: c_int,
    /// DOC
    pub kv_cache_used: c_int,
    /// DOC
    pub key_cache: *mut f32,
    /// DOC
    pub value_cache: *mut f32,
    /// DOC
    pub hidden_states: *mut f32,
    /// DOC
    pub logits: *mut f32,
}
layout!(CLLMInference, 72, model: 0, temperature: 8, top_p: 12, top_k: 16, max_tokens: 20, repetition_penalty: 24, kv_cache_size: 28, kv_cache_used: 32, key_cache: 40, value_cache: 48, hidden_states: 56, logits: 64);
zeroable!(IndexProb, CLLMInference);
