//! `cllm_training.h`: losses, gradients, optimizers, training loops, checkpoints.

/// The rooms of `cllm_training.h` that only programs written for the original library ask for:
/// losses, gradients and layers one at a time.
mod compat {
    pub mod gradients;
    pub mod layers;
    pub mod losses;
}

pub(crate) mod buffers;
pub mod checkpoints;
pub mod data;
pub use compat::gradients;
pub use compat::layers;
pub mod lifecycle;
pub mod loops;
pub use compat::losses;
pub mod passes;
pub mod schedule;
pub(crate) mod state;
pub mod updates;
pub(crate) mod weights;

use super::cllm::*;
use crate::border::ctypes::time_t;
use crate::border::ffi::zeroable;
use std::ffi::{c_char, c_int};

/// How to train; copied by cllm_training_init, after which the copy may be edited.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CLLMTrainingConfig {
    /// Current learning rate; the schedule overwrites it before each update.
    pub learning_rate: f32,
    /// B: sequences in a batch.
    pub batch_size: c_int,
    /// Epochs of cllm_train.
    pub num_epochs: c_int,
    /// Step at which the cosine and linear schedules reach the floor; stops no loop.
    pub max_steps: c_int,
    /// λ of decoupled decay, for matrices; 0 or less: none.
    pub weight_decay: f32,
    /// Largest global norm of the gradient; 0 or less: no limit.
    pub gradient_clip: f32,
    /// Steps of linear warm-up; 0 or less: none.
    pub warmup_steps: c_int,
    /// Not used.
    pub save_interval: c_int,
    /// cllm_train writes the model every so many epochs; 0 or less: never.
    pub save_every: c_int,
    /// Not used.
    pub eval_interval: c_int,
    /// S: tokens in a sequence.
    pub sequence_length: c_int,
    /// "adam" or "adamw" (the same), "sgd"; any letter case; empty or unknown: adam.
    pub optimizer: [c_char; 32],
    /// "none" or empty, "cosine", "linear", "step"; others count as cosine.
    pub lr_scheduler: [c_char; 32],
    /// Of the step schedule; 0 or less: 0.1.
    pub lr_decay_factor: f32,
    /// Of the step schedule; 0 or less: 1000.
    pub lr_decay_steps: c_int,
    /// Floor of the schedules; 0 or less: 1e-6.
    pub min_lr: f32,
    /// Base of the schedules; init sets it to `learning_rate`.
    pub initial_learning_rate: f32,
    /// Batches whose mean gradient makes one update; 0 or less: 1.
    pub gradient_accumulation_steps: c_int,
    /// Not 0: `master_weights` is kept. Arithmetic stays binary32; cllm_training_set_options() of
    /// cllm_ext.h can ask for another.
    pub use_mixed_precision: c_int,
    /// Initial `current_loss_scale`; 0 or less: 1024.
    pub loss_scale: f32,
    /// Not used.
    pub loss_scale_growth: f32,
    /// Not used.
    pub loss_scale_backoff: f32,
    /// Not used.
    pub loss_scale_window: c_int,
}
layout!(CLLMTrainingConfig, 148, learning_rate: 0, batch_size: 4, num_epochs: 8, max_steps: 12, weight_decay: 16, gradient_clip: 20, warmup_steps: 24, save_interval: 28, save_every: 32, eval_interval: 36, sequence_length: 40, optimizer: 44, lr_scheduler: 76, lr_decay_factor: 108, lr_decay_steps: 112, min_lr: 116, initial_learning_rate: 120, gradient_accumulation_steps: 124, use_mixed_precision: 128, loss_scale: 132, loss_scale_growth: 136, loss_scale_backoff: 140, loss_scale_window: 144);

/// Gradients of the attention matrices of one layer, `[H*hd][H*hd]` floats each.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CLLMAttentionGradients {
    /// Of Wq.
    pub query_lattice: *mut f32,
    /// Of Wk.
    pub key_lattice: *mut f32,
    /// Of Wv.
    pub value_lattice: *mut f32,
}
layout!(CLLMAttentionGradients, 24, query_lattice: 0, key_lattice: 8, value_lattice: 16);

/// Gradients of a feed-forward layer.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CLLMFeedForwardGradients {
    /// Of W1, `[F][in]`.
    pub w1_lattice: *mut f32,
    /// Of W2, `[out][F]`.
    pub w2_lattice: *mut f32,
    /// Of b1, `[F]`.
    pub bias1: *mut f32,
    /// Of b2, `[out]`.
    pub bias2: *mut f32,
}
layout!(CLLMFeedForwardGradients, 32, w1_lattice: 0, w2_lattice: 8, bias1: 16, bias2: 24);

/// Gradients of the norm before attention of one layer, `[dim]` each.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CLLMLayerNormGradients {
    /// Of gamma.
    pub gamma: *mut f32,
    /// Of beta.
    pub beta: *mut f32,
}
layout!(CLLMLayerNormGradients, 16, gamma: 0, beta: 8);

/// What attention computed for the last sequence of the latest cllm_forward_training.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CLLMAttentionCache {
    /// `[H][S][S]`, masked entries 0.
    pub attention_weights: *mut f32,
    /// `[S][d]`.
    pub queries: *mut f32,
    /// `[S][d]`.
    pub keys: *mut f32,
    /// `[S][d]`.
    pub values: *mut f32,
    /// `[H][S][S]`, masked entries 0.
    pub scores: *mut f32,
}
layout!(CLLMAttentionCache, 40, attention_weights: 0, queries: 8, keys: 16, values: 24, scores: 32);

/// A training run over a model: made by cllm_training_init, freed by cllm_training_free. T = B*S.
/// Every buffer is a block of malloc of its own, which a program may free and replace by its own.
/// Moments of all parameters but the embeddings are private. One thread at a time.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CLLMTraining {
    /// Borrowed.
    pub model: *mut CLLMModel,
    /// Copy of the configuration.
    pub config: CLLMTrainingConfig,
    /// Training text; the program's, never freed by the library.
    pub tokens: *mut u32,
    /// Length of `tokens`.
    pub num_tokens: usize,
    /// Epochs completed.
    pub current_epoch: c_int,
    /// Batches trained by the loops.
    pub current_step: c_int,
    /// Smallest batch loss so far; 1e9 at first.
    pub best_loss: f32,
    /// Loss of the latest batch.
    pub current_loss: f32,
    /// Time of init.
    pub start_time: time_t,
    /// Batches in the open accumulation window.
    pub accumulation_step: c_int,
    /// Copy of `model->weights` after each update, or NULL.
    pub master_weights: *mut f32,
    /// NULL.
    pub fp16_activations: *mut u16,
    /// NULL.
    pub fp16_gradients: *mut u16,
    /// As configured; constant.
    pub current_loss_scale: f32,
    /// 0.
    pub loss_scale_steps: c_int,
    /// Set by cllm_load_training_data, or by the program.
    pub total_batches: c_int,
    /// Where the next batch begins in `tokens`. From 2147483647 on it stays there, and an object of
    /// the library's keeps the place by itself.
    pub current_batch_offset: c_int,
    /// `[V][d]`: gradient of the embeddings.
    pub gradients: *mut f32,
    /// `[2][V][d]`: first, then second moments of the embeddings.
    pub optimizer_state: *mut f32,
    /// One for each layer; their pointers are NULL where the model had no attention at init.
    pub attention_grads: *mut CLLMAttentionGradients,
    /// One for each layer; their pointers are NULL where the model had no feed-forward at init.
    pub ff_grads: *mut CLLMFeedForwardGradients,
    /// One for each layer; their pointers are NULL where the model had no norms at init.
    pub ln_grads: *mut CLLMLayerNormGradients,
    /// `[T][d]` scratch.
    pub backward_embeddings: *mut f32,
    /// `[T][d]`: after a backward pass the gradient of the input embeddings.
    pub backward_grad_output: *mut f32,
    /// `[d]` scratch.
    pub backward_layer_input: *mut f32,
    /// `[d]` scratch.
    pub backward_layer_grad: *mut f32,
    /// `[d]` scratch.
    pub backward_temp_grad: *mut f32,
    /// T*d.
    pub backward_buffer_size: usize,
    /// `[T][d]`, written by cllm_compute_loss.
    pub cached_input_embeddings: *mut f32,
    /// `[T][d]`, written by cllm_compute_loss.
    pub cached_target_embeddings: *mut f32,
    /// T that the buffers hold.
    pub cached_batch_size: c_int,
    /// `[T][d]`: residual stream before layer 0.
    pub input_embeddings: *mut f32,
    /// `[L]` of `[T][d]`: residual stream entering each layer.
    pub layer_inputs: *mut *mut f32,
    /// `[L]` of `[T][d]`: attention before its residual add.
    pub attention_outputs: *mut *mut f32,
    /// `[L]` of `[T][d]`: feed-forward before its residual add.
    pub ff_outputs: *mut *mut f32,
    /// `[L]` of `[T][d]`: residual stream leaving each layer.
    pub layer_outputs: *mut *mut f32,
    /// `[L]` of `[T][F]`: GELU's results.
    pub ff_hidden: *mut *mut f32,
    /// `[T][d]`: what multiplies the embedding matrix.
    pub final_hidden: *mut f32,
    /// `[T][V]`.
    pub logits: *mut f32,
    /// One for each layer, or NULL in a model without attention.
    pub attention_cache: *mut CLLMAttentionCache,
    /// S that the buffers hold.
    pub cached_seq_len: c_int,
    /// 0: cllm_forward_training leaves `attention_cache` alone. 1 at first.
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
