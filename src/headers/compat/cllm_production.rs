//! `cllm_production.h`: validation, checkpoints, early stopping, schedules, metrics.

use crate::border::ffi::zeroable;
use crate::border::registry::Registry;
use cllm_compat::metrics::Metrics;
use cllm_compat::rates::WarmupCosine;
use cllm_engine::train::EarlyStopping;

/// A text to evaluate a model on; made by `create_validation_set`.
pub struct ValidationSet {
    _private: [u8; 0],
}

/// The best loss so far and the patience left; made by `create_early_stopping`. One block of
/// malloc, to be released with `free()`.
#[derive(Clone, Copy)]
pub struct EarlyStoppingState {
    inner: EarlyStopping,
}

/// A learning rate schedule and where it stands; made by `create_lr_scheduler`. One block of
/// malloc, to be released with `free()`.
#[derive(Clone, Copy)]
pub struct LRScheduler {
    inner: WarmupCosine,
}

/// Records of epochs; made by `create_training_metrics`.
pub struct TrainingMetrics {
    _private: [u8; 0],
}

zeroable!(EarlyStoppingState, LRScheduler);

/// What a validation set keeps.
pub(crate) struct Validation {
    /// The text as it stands in the file; ids depend on the model that it is evaluated with.
    pub text: Vec<u8>,
    pub batch_size: usize,
    pub seq_len: usize,
}

static VALIDATION_SETS: Registry<Validation> = Registry::new("val_set");
static METRICS: Registry<Metrics> = Registry::new("metrics");

pub mod checkpoints;
pub mod gradients;
pub mod metrics;
pub mod stopping;
pub mod validation;
