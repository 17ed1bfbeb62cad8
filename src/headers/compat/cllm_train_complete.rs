//! `cllm_train_complete.h`: a whole training run in one call.

use crate::border::ffi::zeroable;
use std::ffi::{c_char, c_int};

/// Settings of a whole run. Flags are 0 or not 0. Strings are read during the call only.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CompleteTrainingConfig {
    /// Passes over the tokens, 0 to 1000000.
    pub num_epochs: c_int,
    /// Sequences of a batch; 0 or less: that of the training object.
    pub batch_size: c_int,
    /// Tokens of a sequence; 0 or less: that of the training object.
    pub sequence_length: c_int,
    /// Learning rate, the highest one of a schedule; 0 or less: that of the training object.
    pub learning_rate: f32,
    /// Threads; 0 or less: as many as are worth it, up to one for each processor. Has no effect on the result.
    pub num_threads: c_int,
    /// Accepted without effect: a model keeps its shape.
    pub use_lll: c_int,
    /// Width that `use_lll` asks for; without effect.
    pub lll_target_dim: c_int,
    /// Accepted without effect.
    pub use_advanced_crystalline: c_int,
    /// Warm up over `warmup_epochs`, then a cosine down to 1 % at the last batch.
    pub use_lr_schedule: c_int,
    /// Epochs of the warm-up; 0 or less: none.
    pub warmup_epochs: c_int,
    /// Limit the gradient's norm to `grad_clip_norm` during the run.
    pub use_grad_clip: c_int,
    /// Largest L2 norm of the gradient over all parameters; 0 or less: no limit.
    pub grad_clip_norm: f32,
    /// Evaluate `val_data_path`; set to 0 by the run if that can't be read.
    pub use_validation: c_int,
    /// A text file; the program's.
    pub val_data_path: *const c_char,
    /// Epochs from one evaluation to the next; 0 or less: never.
    pub val_interval: c_int,
    /// End the run when the validation loss no longer falls; needs validation.
    pub use_early_stopping: c_int,
    /// Evaluations in a row without improvement after which to end.
    pub early_stop_patience: c_int,
    /// Write checkpoints into `checkpoint_dir`.
    pub use_checkpoints: c_int,
    /// A folder, made with its parents where it is missing; NULL: no checkpoints. The program's.
    pub checkpoint_dir: *const c_char,
    /// Epochs from one checkpoint to the next; 0 or less: no checkpoint.
    pub checkpoint_interval: c_int,
    /// Write the record of the run to `metrics_path`.
    pub use_metrics: c_int,
    /// A file, replaced at the end of the run; NULL: none. The program's.
    pub metrics_path: *const c_char,
}
layout!(CompleteTrainingConfig, 104, num_epochs: 0, batch_size: 4, sequence_length: 8, learning_rate: 12, num_threads: 16, use_lll: 20, lll_target_dim: 24, use_advanced_crystalline: 28, use_lr_schedule: 32, warmup_epochs: 36, use_grad_clip: 40, grad_clip_norm: 44, use_validation: 48, val_data_path: 56, val_interval: 64, use_early_stopping: 68, early_stop_patience: 72, use_checkpoints: 76, checkpoint_dir: 80, checkpoint_interval: 88, use_metrics: 92, metrics_path: 96);
zeroable!(CompleteTrainingConfig);

pub mod run;
