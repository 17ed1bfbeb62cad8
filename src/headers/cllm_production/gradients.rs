//! Clipping by hand.

use crate::headers::cllm_training::CLLMTraining;
use crate::headers::cllm_training::state::with;
use cllm_engine::train::optimizer;
use cllm_kernels::vector::scale;
use cllm_macros::c_api;
use std::sync::Arc;

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
    with(training, |t, state| {
        let plan = state.plan(t)?;
        let grads = state.gradients(t, &plan.params)?;
        let mut arrays: Vec<&mut [f32]> = Vec::new();
        grads.map(|_, _, g| arrays.push(g));
        let pool = Arc::clone(&state.pool);
        let all = arrays.iter().map(|g| &**g);
        let norm = optimizer::norm(&pool, all, &mut state.partials);
        let max = f64::from(max_norm);
        if max > 0.0 && norm.is_finite() && norm > max {
            let factor = (max / norm) as f32;
            arrays.into_iter().for_each(|g| scale(g, factor));
        }
        Ok(())
    })
}
