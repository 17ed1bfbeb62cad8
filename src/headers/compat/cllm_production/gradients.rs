//! Clipping by hand.

use crate::headers::cllm_training::CLLMTraining;
use crate::headers::cllm_training::state::{TrainingState, with_training};
use cllm_kernels::Pool;
use cllm_macros::c_api;

/// Limits the L2 norm over all gradients of a training object, those of its public buffers and
/// the private ones of second norms and learned positions: if it exceeds max_norm, all are scaled
/// by max_norm/norm. For programs that run the steps of training themselves; the training loops
/// clip by `config.gradient_clip`.
///
/// @param training from cllm_training_init; nothing happens for NULL or another object.
/// @param max_norm above 0; nothing happens otherwise, nor if the norm is not finite.
///
/// # Safety
/// `training` is NULL or live and used by one thread; its model's arrays hold what its sizes say.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn clip_gradients(training: *mut CLLMTraining, max_norm: f32) {
    with_training(training, |t, state| {
        let TrainingState { trainer, buffers, .. } = state;
        trainer.clip(&Pool::automatic(), &mut buffers.view(t)?, max_norm).map(drop)
    })
}
