//! Optimizer steps.

use super::buffers::copy_master_weights;
use super::state::{TrainingState, emptied, with};
use super::{CLLMTraining, CLLMTrainingConfig};
use crate::border::ffi;
use crate::model::view::weights_changed;
use cllm_engine::error::{Error, Result};
use cllm_engine::train::optimizer::{self, Rule, Update};
use cllm_macros::c_api;
use std::ffi::c_int;
use std::sync::Arc;

/// Which optimizer a configuration names; `None` for a name that is not known.
pub(super) fn named_rule(config: &CLLMTrainingConfig) -> Option<Rule> {
    let name = ffi::field_bytes(&config.optimizer).to_ascii_lowercase();
    match name.as_slice() {
        b"" | b"adam" | b"adamw" => Some(Rule::Adam { updates: 0 }),
        b"sgd" => Some(Rule::Descent),
        _ => None,
    }
}

/// The configured optimizer; adam where the name says nothing.
pub(crate) fn configured_rule(config: &CLLMTrainingConfig) -> Rule {
    named_rule(config).unwrap_or(Rule::Adam { updates: 0 })
}

/// Applies one update from the gradients as they are. A gradient that is not finite changes
/// nothing and is counted.
///
/// # Safety
/// As [`with`], and the model's arrays hold what its sizes say.
pub(crate) unsafe fn apply(
    t: &mut CLLMTraining,
    state: &mut TrainingState,
    rule: Rule,
    learning_rate: f32,
) -> Result<()> {
    let rule = match rule {
        Rule::Adam { .. } => Rule::Adam { updates: state.updates + 1 },
        other => other,
    };
    let update = Update {
        rule,
        learning_rate,
        weight_decay: t.config.weight_decay,
        clip: t.config.gradient_clip,
    };
    let pool = Arc::clone(&state.pool);
    let mut partials = std::mem::take(&mut state.partials);
    let list = std::mem::take(&mut state.tensors);
    let plan = state.plan(t)?;
    let mut tensors = state.tensors(t, plan.params, list)?;
    let norm = optimizer::apply(&pool, &mut tensors, &update, &mut partials);
    let list = emptied(tensors);
    (state.partials, state.tensors) = (partials, list);
    state.gradient_norm = norm;
    if !norm.is_finite() {
        state.skipped += 1;
        return Err(Error::State(format!(
            "the gradient is not finite: update left out ({} so far)",
            state.skipped
        )));
    }
    if matches!(rule, Rule::Adam { .. }) {
        state.updates += 1;
    }
    copy_master_weights(t, ffi::get(t.model, "model")?);
    weights_changed(t.model);
    Ok(())
}

/// Adds the current gradients to the open window; when it is full, leaves their mean in the
/// gradient buffers and returns true.
///
/// # Safety
/// As [`apply`].
unsafe fn accumulate(t: &mut CLLMTraining, state: &mut TrainingState) -> Result<bool> {
    let window = t.config.gradient_accumulation_steps.max(1);
    if window == 1 && t.accumulation_step == 0 {
        return Ok(true);
    }
    let plan = state.plan(t)?;
    let grads = state.gradients(t, &plan.params)?;
    t.accumulation_step = t.accumulation_step.saturating_add(1);
    let full = t.accumulation_step >= window;
    let mean = 1.0 / window as f32;
    let mut slots = state.slots.iter_mut();
    grads.try_map(|_, _, gradient| {
        let slot = slots.next().ok_or_else(|| Error::shape("a tensor without state"))?;
        slot.accumulated.grow("the accumulated gradients", slot.len)?;
        for (sum, g) in slot.accumulated.iter_mut().zip(gradient.iter_mut()) {
            *sum += *g;
            if full {
                *g = *sum * mean;
                *sum = 0.0;
            }
        }
        Ok::<(), Error>(())
    })?;
    if full {
        t.accumulation_step = 0;
    }
    Ok(full)
}

/// Accumulation, then the update when the window is full: what the loops do after each batch.
/// Returns whether an update was applied.
///
/// # Safety
/// As [`apply`].
pub(crate) unsafe fn accumulate_and_apply(
    t: &mut CLLMTraining,
    state: &mut TrainingState,
    rule: Rule,
) -> Result<bool> {
    if !accumulate(t, state)? {
        return Ok(false);
    }
    apply(t, state, rule, t.config.learning_rate)?;
    Ok(true)
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
    with(training, |t, state| {
        let plan = state.plan(t)?;
        for tensor in state.tensors(t, plan.params, Vec::new())? {
            tensor.moment1.fill(0.0);
            tensor.moment2.fill(0.0);
        }
        state.updates = 0;
        Ok(0)
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
    with(training, |t, state| apply(t, state, Rule::Adam { updates: 0 }, learning_rate))
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
    let rule = Rule::Momentum { mu: momentum };
    with(training, |t, state| apply(t, state, rule, learning_rate))
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
    with(training, |t, state| {
        let rule = configured_rule(&t.config);
        if accumulate_and_apply(t, state, rule)? {
            let plan = state.plan(t)?;
            state.gradients(t, &plan.params)?.map(|_, _, g| g.fill(0.0));
        }
        Ok(())
    })
}

/// As cllm_optimizer_step, but always Adam, and the gradients stay as applied.
///
/// # Safety
/// `training` is NULL or live.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_optimizer_step_adam(training: *mut CLLMTraining) {
    with(training, |t, state| accumulate_and_apply(t, state, Rule::Adam { updates: 0 }).map(|_| ()))
}
