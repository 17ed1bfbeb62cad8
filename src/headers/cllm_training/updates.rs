//! Optimizer steps.

use super::buffers::copy_master_weights;
use super::state::{TrainingState, with_training};
use super::weights::TrainingView;
use super::{CLLMTraining, CLLMTrainingConfig};
use crate::border::ffi;
use crate::model::view::weights_changed;
use cllm_engine::error::{Error, Result};
use cllm_engine::train::{Counters, Optimizer, Outcome, Weights};
use cllm_kernels::Pool;
use cllm_macros::c_api;
use std::ffi::c_int;

/// Which optimizer a configuration names; `None` for a name that is not known.
pub(super) fn named_optimizer(config: &CLLMTrainingConfig) -> Option<Optimizer> {
    let name = ffi::field_bytes(&config.optimizer);
    let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
    if is(b"") || is(b"adam") || is(b"adamw") {
        Some(Optimizer::AdamW)
    } else {
        is(b"sgd").then_some(Optimizer::Descent)
    }
}

/// The configured optimizer; adam where the name says nothing.
pub(super) fn configured_optimizer(config: &CLLMTrainingConfig) -> Optimizer {
    named_optimizer(config).unwrap_or_default()
}

/// What follows an update, or one that was left out: an error then.
///
/// # Safety
/// `t.model` is live.
pub(super) unsafe fn finish(
    t: &mut CLLMTraining,
    counters: &Counters,
    outcome: Outcome,
) -> Result<()> {
    match outcome {
        Outcome::Accumulated => Ok(()),
        Outcome::Updated => {
            copy_master_weights(t, ffi::get(t.model, "model")?);
            weights_changed(t.model);
            Ok(())
        }
        Outcome::Skipped => Err(Error::state(format!(
            "the gradient is not finite: update left out ({} so far)",
            counters.skipped
        ))),
    }
}

/// One update now, from the gradients as they are, with the clipping and decay of the
/// configuration.
///
/// # Safety
/// As [`TrainingState::train`].
unsafe fn update(
    t: &mut CLLMTraining,
    state: &mut TrainingState,
    optimizer: Optimizer,
    learning_rate: f32,
) -> Result<()> {
    let outcome = state.train(t, |trainer, weights| {
        trainer.update(&Pool::automatic(), weights, optimizer, learning_rate)
    })?;
    finish(t, &state.trainer.counters, outcome)
}

/// Adds the gradients to the window; when it is full, the update from their mean at
/// `config.learning_rate`, and `after`.
///
/// # Safety
/// As [`TrainingState::train`].
unsafe fn accumulate(
    t: &mut CLLMTraining,
    state: &mut TrainingState,
    optimizer: Option<Optimizer>,
    after: impl FnOnce(&mut TrainingView) -> Result<()>,
) -> Result<()> {
    let rate = t.config.learning_rate;
    let outcome = state.train(t, |trainer, weights| {
        trainer.config.optimizer = optimizer.unwrap_or(trainer.config.optimizer);
        let outcome = trainer.accumulate(&Pool::automatic(), weights, rate)?;
        if outcome == Outcome::Updated {
            after(weights)?;
        }
        Ok(outcome)
    })?;
    finish(t, &state.trainer.counters, outcome)
}

/// Zeroes all moments and the update count; allocates `optimizer_state` where it is NULL.
///
/// @return 0, or -1.
///
/// # Safety
/// `training` is NULL or live.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_adam_init(training: *mut CLLMTraining) -> c_int {
    with_training(training, |t, state| {
        state.train(t, |trainer, weights| {
            weights.visit(&mut |tensor| {
                tensor.moment1.fill(0.0);
                tensor.moment2.fill(0.0);
                Ok(())
            })?;
            trainer.counters.updates = 0;
            Ok(0)
        })
    })
}

/// One AdamW update now, from the gradients as they are (β₁ 0.9, β₂ 0.999, ε 1e-8, decoupled
/// decay of matrices by `config.weight_decay`, clipping by `config.gradient_clip`). Gradients are
/// not cleared, `current_step` is not changed, accumulation is not looked at.
///
/// @param learning_rate the rate of this update.
///
/// # Safety
/// `training` is NULL or live.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_adam_step(training: *mut CLLMTraining, learning_rate: f32) {
    finite(learning_rate, "learning_rate")?;
    with_training(training, |t, state| update(t, state, Optimizer::AdamW, learning_rate))
}

/// One step of momentum descent: velocity ← μ·velocity − lr·g; w ← w + velocity, for all
/// parameters, with decay and clipping as in cllm_adam_step. The velocity of the embeddings is the
/// first half of `optimizer_state`.
///
/// # Safety
/// `training` is NULL or live.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_sgd_momentum_step(
    training: *mut CLLMTraining,
    learning_rate: f32,
    momentum: f32,
) {
    finite(learning_rate, "learning_rate")?;
    finite(momentum, "momentum")?;
    let optimizer = Optimizer::Momentum { mu: momentum };
    with_training(training, |t, state| update(t, state, optimizer, learning_rate))
}

fn finite(value: f32, name: &'static str) -> Result<()> {
    if value.is_finite() { Ok(()) } else { Err(Error::argument(name, value, "finite")) }
}

/// Adds the gradients to the accumulation window of `config.gradient_accumulation_steps` calls;
/// when it is full, applies the update of `config.optimizer` at `config.learning_rate` from their
/// mean, and zeroes all gradient buffers.
///
/// # Safety
/// `training` is NULL or live.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_optimizer_step(training: *mut CLLMTraining) {
    with_training(training, |t, state| {
        accumulate(t, state, None, |weights| weights.zero_gradients())
    })
}

/// As cllm_optimizer_step, but always Adam, and the gradients stay as applied.
///
/// # Safety
/// `training` is NULL or live.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_optimizer_step_adam(training: *mut CLLMTraining) {
    with_training(training, |t, state| accumulate(t, state, Some(Optimizer::AdamW), |_| Ok(())))
}
