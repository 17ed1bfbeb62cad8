//! `cllm_training.h`: losses, gradients, optimizers, training loops, checkpoints.

pub mod gradients;
pub mod losses;
pub mod schedule;

use super::cllm::*;
use crate::capi::ctypes::time_t;
use crate::capi::ffi::zeroable;
use std::ffi::{c_char, c_int};

/// DOC
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CLLMTrainingConfig {
    /// DOC
    pub learning_rate: f32,
    /// DOC
    pub batch_size: c_int,
    /// DOC
    pub num_epochs: c_int,
    /// DOC
    pub max_steps: c_int,
    /// DOC
    pub weight_decay: f32,
    /// DOC
    pub gradient_clip: f32,
    /// DOC
    pub warmup_steps: c_int,
    /// DOC
    pub save_interval: c_int,
    /// DOC
    pub save_every: c_int,
    /// DOC
    pub eval_interval: c_int,
    /// DOC
    pub sequence_length: c_int,
    /// DOC
    pub optimizer: [c_char; 32],
    /// DOC
    pub lr_scheduler: [c_char; 32],
    /// DOC
    pub lr_decay_factor: f32,
    /// DOC
    pub lr_decay_steps: c_int,
    /// DOC
    pub min_lr: f32,
    /// DOC
    pub initial_learning_rate: f32,
    /// DOC
    pub gradient_accumulation_steps: c_int,
    /// DOC
    pub use_mixed_precision: c_int,
    /// DOC
    pub loss_scale: f32,
    /// DOC
    pub loss_scale_growth: f32,
    /// DOC
    pub loss_scale_backoff: f32,
    /// DOC
    pub loss_scale_window: c_int,
}
layout!(CLLMTrainingConfig, 148, learning_rate: 0, batch_size: 4, num_epochs: 8, max_steps: 12, weight_decay: 16, gradient_clip: 20, warmup_steps: 24, save_interval: 28, save_every: 32, eval_interval: 36, sequence_length: 40, optimizer: 44, lr_scheduler: 76, lr_decay_factor: 108, lr_decay_steps: 112, min_lr: 116, initial_learning_rate: 120, gradient_accumulation_steps: 124, use_mixed_precision: 128, loss_scale: 132, loss_scale_growth: 136, loss_scale_backoff: 140, loss_scale_window: 144);

/// DOC
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CLLMAttentionGradients {
    /// DOC
    pub query_lattice: *mut f32,
    /// DOC
    pub key_lattice: *mut f32,
    /// DOC
    pub value_lattice: *mut f32,
}
layout!(CLLMAttentionGradients, 24, query_lattice: 0, key_lattice: 8, value_lattice: 16);

/// DOC
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CLLMFeedForwardGradients {
    /// DOC
    pub w1_lattice: *mut f32,
    /// DOC
    pub w2_lattice: *mut f32,
    /// DOC
    pub bias1: *mut f32,
    /// DOC
    pub bias2: *mut f32,
}
layout!(CLLMFeedForwardGradients, 32, w1_lattice: 0, w2_lattice: 8, bias1: 16, bias2: 24);

/// DOC
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CLLMLayerNormGradients {
    /// DOC
    pub gamma: *mut f32,
    /// DOC
    pub beta: *mut f32,
}
layout!(CLLMLayerNormGradients, 16, gamma: 0, beta: 8);

/// DOC
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CLLMAttentionCache {
    /// DOC
    pub attention_weights: *mut f32,
    /// DOC
    pub queries: *mut f32,
    /// DOC
    pub keys: *mut f32,
    /// DOC
    pub values: *mut f32,
    /// DOC
    pub scores: *mut f32,
}
layout!(CLLMAttentionCache, 40, attention_weights: 0, queries: 8, keys: 16, values: 24, scores: 32);

/// DOC
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CLLMTraining {
    /// DOC
    pub model: *mut CLLMModel,
    /// DOC
    pub config: CLLMTrainingConfig,
    /// DOC
    pub tokens: *mut u32,
    /// DOC
    pub num_tokens: usize,
    /// DOC
    pub current_epoch: c_int,
    /// DOC
    pub current_step: c_int,
    /// DOC
    pub best_loss: f32,
    /// DOC
    pub current_loss: f32,
    /// DOC
    pub start_time: time_t,
    /// DOC
    pub accumulation_step: c_int,
    /// DOC
    pub master_weights: *mut f32,
    /// DOC
    pub fp16_activations: *mut u16,
    /// DOC
    pub fp16_gradients: *mut u16,
    /// DOC
    pub current_loss_scale: f32,
    /// DOC
    pub loss_scale_steps: c_int,
    /// DOC
    pub total_batches: c_int,
    /// DOC
    pub current_batch_offset: c_int,
    /// DOC
    pub gradients: *mut f32,
    /// DOC
    pub optimizer_state: *mut f32,
    /// DOC
    pub attention_grads: *mut CLLMAttentionGradients,
    /// DOC
    pub ff_grads: *mut CLLMFeedForwardGradients,
    /// DOC
    pub ln_grads: *mut CLLMLayerNormGradients,
    /// DOC
    pub backward_embeddings: *mut f32,
    /// DOC
    pub backward_grad_output: *mut f32,
    /// DOC
    pub backward_layer_input: *mut f32,
    /// DOC
    pub backward_layer_grad: *mut f32,
    /// DOC
    pub backward_temp_grad: *mut f32,
    /// DOC
    pub backward_buffer_size: usize,
    /// DOC
    pub cached_input_embeddings: *mut f32,
    /// DOC
    pub cached_target_embeddings: *mut f32,
    /// DOC
    pub cached_batch_size: c_int,
    /// DOC
    pub input_embeddings: *mut f32,
    /// DOC
    pub layer_inputs: *mut *mut f32,
    /// DOC
    pub attention_outputs: *mut *mut f32,
    /// DOC
    pub ff_outputs: *mut *mut f32,
    /// DOC
    pub layer_outputs: *mut *mut f32,
    /// DOC
    pub ff_hidden: *mut *mut f32,
    /// DOC
    pub final_hidden: *mut f32,
    /// DOC
    pub logits: *mut f32,
    /// DOC
    pub attention_cache: *mut CLLMAttentionCache,
    /// DOC
    pub cached_seq_len: c_int,
    /// DOC
    pub store_attention_weights: c_int,
}
layout!(CLLMTraining, 440, model: 0, config: 8, tokens: 160, num_tokens: 168, current_epoch: 176, current_step: 180, best_loss: 184, current_loss: 188, start_time: 192, accumulation_step: 200, master_weights: 208, fp16_activations: 216, fp16_gradients: 224, current_loss_scale: 232, loss_scale_steps: 236, total_batches: 240, current_batch_offset: 244, gradients: 248, optimizer_state: 256, attention_grads: 264, ff_grads: 272, ln_grads: 280, backward_embeddings: 288, backward_grad_output: 296, backward_layer_input: 304, backward_layer_grad: 312, backward_temp_grad: 320, backward_buffer_size: 328, cached_input_embeddings: 336, cached_target_embeddings: 344, cached_batch_size: 352, input_embeddings: 360, layer_inputs: 368, attention_outputs: 376, ff_outputs: 384, layer_outputs: 392, ff_hidden: 400, final_hidden: 408, logits: 416, attention_cache: 424, cached_seq_len: 432, store_attention_weights: 436);
zeroable!(
    CLLMTrainingConfig,
    CLLMAttentionGradients,
    CLLMFeedForwardGradients,
    CLLMLayerNormGradients,
    CLLMAttentionCache,
    CLLMTraining
);
