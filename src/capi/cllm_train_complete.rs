//! `cllm_train_complete.h`: a whole training run in one call.

use crate::capi::ffi::zeroable;
use std::ffi::{c_char, c_int};

/// DOC
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CompleteTrainingConfig {
    /// DOC
    pub num_epochs: c_int,
    /// DOC
    pub batch_size: c_int,
    /// DOC
    pub sequence_length: c_int,
    /// DOC
    pub learning_rate: f32,
    /// DOC
    pub num_threads: c_int,
    /// DOC
    pub use_lll: c_int,
    /// DOC
    pub lll_target_dim: c_int,
    /// DOC
    pub use_advanced_crystalline: c_int,
    /// DOC
    pub use_lr_schedule: c_int,
    /// DOC
    pub warmup_epochs: c_int,
    /// DOC
    pub use_grad_clip: c_int,
    /// DOC
    pub grad_clip_norm: f32,
    /// DOC
    pub use_validation: c_int,
    /// DOC
    pub val_data_path: *const c_char,
    /// DOC
    pub val_interval: c_int,
    /// DOC
    pub use_early_stopping: c_int,
    /// DOC
    pub early_stop_patience: c_int,
    /// DOC
    pub use_checkpoints: c_int,
    /// DOC
    pub checkpoint_dir: *const c_char,
    /// DOC
    pub checkpoint_interval: c_int,
    /// DOC
    pub use_metrics: c_int,
    /// DOC
    pub metrics_path: *const c_char,
}
layout!(CompleteTrainingConfig, 104, num_epochs: 0, batch_size: 4, sequence_length: 8, learning_rate: 12, num_threads: 16, use_lll: 20, lll_target_dim: 24, use_advanced_crystalline: 28, use_lr_schedule: 32, warmup_epochs: 36, use_grad_clip: 40, grad_clip_norm: 44, use_validation: 48, val_data_path: 56, val_interval: 64, use_early_stopping: 68, early_stop_patience: 72, use_checkpoints: 76, checkpoint_dir: 80, checkpoint_interval: 88, use_metrics: 92, metrics_path: 96);
zeroable!(CompleteTrainingConfig);
