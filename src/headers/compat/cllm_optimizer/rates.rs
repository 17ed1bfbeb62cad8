//! Learning rates: the optimizer's, and the schedules as functions of a number of steps.

use super::{OptimizerState, check, scheduled};
use cllm_compat::decays;
use cllm_engine::error::Error;
use cllm_macros::c_api;
use std::ffi::c_int;

/// Sets `current_lr` to the rate of the next step. With k = `step` + 1 and w = `warmup_steps` that is
/// lr·k/w while k < w, and then, with s = k − w and T = `total_steps` − w:
/// `optimizer_linear_decay_lr` (also for the polynomial scheduler, whose power is 1) and
/// `optimizer_cosine_annealing_lr` of s and T; `optimizer_step_decay_lr`,
/// `optimizer_exponential_decay_lr` and `optimizer_cyclic_lr` of k; the configuration's rate for the
/// other schedulers.
///
/// @return the rate; 0 for NULL.
///
/// # Safety
/// `state` is NULL or live, and nothing else uses it meanwhile.
#[unsafe(no_mangle)]
#[c_api(0.0)]
pub unsafe extern "C" fn optimizer_update_learning_rate(state: *mut OptimizerState) -> f32 {
    check(state)?;
    let rate = scheduled(&(*state).config, (*state).step);
    (*state).current_lr = rate;
    Ok(rate)
}

/// The rate of the latest step, or the one that was set since.
///
/// @return `current_lr`; 0 for NULL.
///
/// # Safety
/// `state` is NULL or live.
#[unsafe(no_mangle)]
#[c_api(0.0)]
pub unsafe extern "C" fn optimizer_get_learning_rate(state: *const OptimizerState) -> f32 {
    check(state)?;
    Ok((*state).current_lr)
}

/// Sets the rate: `current_lr`, and `config.learning_rate`, from which the next step computes it.
///
/// @param learning_rate above 0 and finite; others change nothing.
///
/// # Safety
/// `state` is NULL or live, and nothing else uses it meanwhile.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn optimizer_set_learning_rate(
    state: *mut OptimizerState,
    learning_rate: f32,
) {
    check(state)?;
    if !(learning_rate > 0.0 && learning_rate.is_finite()) {
        return Err(Error::argument("learning_rate", learning_rate, "above 0 and finite"));
    }
    (*state).current_lr = learning_rate;
    (*state).config.learning_rate = learning_rate;
    Ok(())
}

/// A linear warm-up: initial_lr·step/warmup_steps.
///
/// @param step a negative one counts as 0, here and in the functions below.
/// @return the rate; initial_lr from warmup_steps on, and where that is 0 or less.
#[unsafe(no_mangle)]
#[c_api(0.0)]
pub extern "C" fn optimizer_warmup_lr(step: c_int, warmup_steps: c_int, initial_lr: f32) -> f32 {
    Ok(decays::warmup(step.into(), warmup_steps.into(), initial_lr))
}

/// A straight line: initial_lr − (initial_lr − min_lr)·step/total_steps.
///
/// @return the rate; min_lr from total_steps on; initial_lr where that is 0 or less.
#[unsafe(no_mangle)]
#[c_api(0.0)]
pub extern "C" fn optimizer_linear_decay_lr(
    step: c_int,
    total_steps: c_int,
    initial_lr: f32,
    min_lr: f32,
) -> f32 {
    Ok(decays::linear(step.into(), total_steps.into(), initial_lr, min_lr))
}

/// Half a cosine wave: min_lr + (initial_lr − min_lr)·(1 + cos(π·step/total_steps))/2.
///
/// @return as optimizer_linear_decay_lr.
#[unsafe(no_mangle)]
#[c_api(0.0)]
pub extern "C" fn optimizer_cosine_annealing_lr(
    step: c_int,
    total_steps: c_int,
    initial_lr: f32,
    min_lr: f32,
) -> f32 {
    Ok(decays::cosine(step.into(), total_steps.into(), initial_lr, min_lr))
}

/// Steps down: initial_lr·decay_rate^c, where c is the whole part of step/decay_steps.
///
/// @return the rate, at least min_lr; initial_lr where decay_steps is 0 or less.
#[unsafe(no_mangle)]
#[c_api(0.0)]
pub extern "C" fn optimizer_step_decay_lr(
    step: c_int,
    decay_steps: c_int,
    initial_lr: f32,
    decay_rate: f32,
    min_lr: f32,
) -> f32 {
    Ok(decays::stepped(step.into(), decay_steps.into(), initial_lr, decay_rate, min_lr))
}

/// A smooth decay: initial_lr·decay_rate^(step/decay_steps).
///
/// @return as optimizer_step_decay_lr.
#[unsafe(no_mangle)]
#[c_api(0.0)]
pub extern "C" fn optimizer_exponential_decay_lr(
    step: c_int,
    decay_steps: c_int,
    initial_lr: f32,
    decay_rate: f32,
    min_lr: f32,
) -> f32 {
    Ok(decays::exponential(step.into(), decay_steps.into(), initial_lr, decay_rate, min_lr))
}

/// A triangle: up from min_lr to max_lr in half a cycle, and down again.
///
/// @return the rate; min_lr where cycle_steps is 0 or less.
#[unsafe(no_mangle)]
#[c_api(0.0)]
pub extern "C" fn optimizer_cyclic_lr(
    step: c_int,
    cycle_steps: c_int,
    min_lr: f32,
    max_lr: f32,
) -> f32 {
    Ok(decays::cyclic(step.into(), cycle_steps.into(), min_lr, max_lr))
}
