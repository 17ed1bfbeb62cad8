//! Learning rates. These read and write public fields only, so they work on a `CLLMTraining` that
//! the program made itself.

use super::state::{TRAININGS, count};
use super::{CLLMTraining, CLLMTrainingConfig};
use crate::border::ffi;
use crate::border::registry::lock;
use crate::headers::cllm_ext::options::CLLMTrainingOptions;
use cllm_compat::rates;
use cllm_engine::error::Result;
use cllm_engine::train::{Decay, Schedule};
use cllm_macros::c_api;
use std::ffi::c_int;
use std::fmt::Write;

/// The schedule of a configuration, with the defaults for what it leaves out.
pub(crate) fn schedule(config: &CLLMTrainingConfig) -> Schedule {
    Schedule {
        decay: decay(ffi::field_bytes(&config.lr_scheduler)),
        base: config.initial_learning_rate,
        floor: floor(config),
        warmup: count(config.warmup_steps),
        end: count(config.max_steps),
        factor: if config.lr_decay_factor > 0.0 {
            config.lr_decay_factor
        } else {
            Schedule::DEFAULT_FACTOR
        },
        every: match count(config.lr_decay_steps) {
            0 => Schedule::DEFAULT_EVERY,
            n => n,
        },
    }
}

/// By its name in `lr_scheduler`; names that are not known mean cosine.
fn decay(name: &[u8]) -> Decay {
    match name {
        b"" | b"none" => Decay::Constant,
        b"linear" => Decay::Linear,
        b"step" => Decay::Step,
        _ => Decay::Cosine,
    }
}

fn floor(config: &CLLMTrainingConfig) -> f32 {
    if config.min_lr > 0.0 { config.min_lr } else { Schedule::DEFAULT_FLOOR }
}

/// The number of the current step; negative ones count as 0.
fn step(training: &CLLMTraining) -> u32 {
    count(training.current_step)
}

/// The options of a training object; none of one that the program made itself.
fn options(training: *const CLLMTraining) -> Result<CLLMTrainingOptions> {
    let known = TRAININGS.find(training)?;
    Ok(known.map_or(CLLMTrainingOptions::NONE, |state| lock(&state).options))
}

/// A training object to read; an error where it is NULL or freed.
///
/// # Safety
/// As [`ffi::get`].
unsafe fn live<'a>(training: *const CLLMTraining) -> Result<&'a CLLMTraining> {
    TRAININGS.find(training)?;
    ffi::get(training, "training")
}

/// Sets `training->config.learning_rate` from `training->current_step` by the configured schedule.
///
/// With base = `initial_learning_rate`, m = `min_lr` (1e-6 where it is not positive), w =
/// `warmup_steps` and s the step: during the warm-up, s < w, the rate is m + (base - m)(s + 1)/w.
/// After it, with p = min(1, (s - w)/(max_steps - w)), by `lr_scheduler`:
/// "none" or empty: base; "linear": base - (base - m)p; "step": base * `lr_decay_factor`
/// (0.1 where it is not positive) to the power of floor((s - w)/`lr_decay_steps`) (1000 where it is
/// not positive); "cosine" and every other name: m + (base - m)(1 + cos(pi p))/2; never below m.
/// cosine and linear stay at base where max_steps <= w.
///
/// @param training  reads `config` and `current_step`; a negative step counts as 0.
///
/// A base of 0 gives m, not 0. A rate that a program writes into `config.learning_rate` alone is
/// overwritten at the next step: write `initial_learning_rate` too. NULL: nothing happens.
///
/// # Safety
/// `training` is NULL or a `CLLMTraining`.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_update_learning_rate(training: *mut CLLMTraining) {
    let options = options(training)?;
    let training = ffi::get_mut(training, "training")?;
    let schedule = options.schedule(schedule(&training.config));
    training.config.learning_rate = schedule.rate(step(training));
    Ok(())
}

/// The rate of the last update, `training->config.learning_rate`.
///
/// @param training  not changed.
/// @return the rate; 0 for NULL.
///
/// # Safety
/// `training` is NULL or a `CLLMTraining`.
#[unsafe(no_mangle)]
#[c_api(0.0)]
pub unsafe extern "C" fn cllm_get_learning_rate(training: *mut CLLMTraining) -> f32 {
    Ok(live(training)?.config.learning_rate)
}

/// A rate that falls at given steps: initial_learning_rate * decay_factor^c, c = how many of
/// `decay_steps` are not above `current_step`.
///
/// @param training         not changed.
/// @param decay_steps      `[num_decay_steps]` step numbers, in any order; not read where there
///                         are none.
/// @param num_decay_steps  0 or more.
/// @param decay_factor     what the rate is multiplied by at each of them.
/// @return the rate; 0 for NULL or a negative count.
///
/// # Safety
/// `training` is NULL or a `CLLMTraining`; `decay_steps` has the size above.
#[unsafe(no_mangle)]
#[c_api(0.0)]
pub unsafe extern "C" fn cllm_get_learning_rate_step_decay(
    training: *mut CLLMTraining,
    decay_steps: *mut c_int,
    num_decay_steps: c_int,
    decay_factor: f32,
) -> f32 {
    let training = live(training)?;
    let count = ffi::len(num_decay_steps, "num_decay_steps")?;
    let steps = ffi::slice_or_empty(decay_steps, count, "decay_steps")?;
    let base = training.config.initial_learning_rate;
    let rate = rates::step_decay(base, training.current_step, steps, decay_factor);
    Ok(rate)
}

/// A rate that falls exponentially: initial_learning_rate * e^(-decay_rate * current_step).
///
/// @param training    not changed; a negative step counts as 0.
/// @param decay_rate  per step.
/// @return the rate; 0 for NULL.
///
/// # Safety
/// `training` is NULL or a `CLLMTraining`.
#[unsafe(no_mangle)]
#[c_api(0.0)]
pub unsafe extern "C" fn cllm_get_learning_rate_exponential(
    training: *mut CLLMTraining,
    decay_rate: f32,
) -> f32 {
    let training = live(training)?;
    let base = training.config.initial_learning_rate;
    Ok(rates::exponential(base, step(training), decay_rate))
}

/// A rate that falls by a power: m + (base - m) * (1 - min(1, current_step/max_steps))^power, base
/// = `initial_learning_rate`, m = `min_lr` (1e-6 where it is not positive).
///
/// @param training  not changed; a negative step counts as 0.
/// @param power     1 is a straight line.
/// @return the rate; base where max_steps <= 0; 0 for NULL.
///
/// # Safety
/// `training` is NULL or a `CLLMTraining`.
#[unsafe(no_mangle)]
#[c_api(0.0)]
pub unsafe extern "C" fn cllm_get_learning_rate_polynomial(
    training: *mut CLLMTraining,
    power: f32,
) -> f32 {
    let training = live(training)?;
    let config = &training.config;
    let end = count(config.max_steps);
    let base = config.initial_learning_rate;
    let (floor, step) = (floor(config), step(training));
    Ok(rates::polynomial(base, floor, step, end, power))
}

/// Prints the schedule to stdout: base rate, floor, warm-up, kind, and the rate at eleven steps from
/// 0 to max_steps. Changes nothing.
///
/// @param training  reads `config` only; NULL: nothing is printed.
///
/// # Safety
/// `training` is NULL or a `CLLMTraining`.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_print_lr_schedule(training: *mut CLLMTraining) {
    let config = live(training)?.config;
    ffi::print(describe(&options(training)?.schedule(schedule(&config))));
    Ok(())
}

fn describe(schedule: &Schedule) -> String {
    let kind = match schedule.decay {
        Decay::Constant => "constant".to_string(),
        Decay::Cosine => "cosine".to_string(),
        Decay::Linear => "linear".to_string(),
        Decay::Step => format!("step, x{} every {} steps", schedule.factor, schedule.every),
    };
    let mut text = format!(
        "Learning rate schedule: {kind}\n  base:    {:e}\n  floor:   {:e}\n  warm-up: {} steps\n",
        schedule.base, schedule.floor, schedule.warmup
    );
    let end = schedule.end.max(schedule.warmup);
    let mut steps: Vec<_> = (0..=10u64).map(|i| u64::from(end) * i / 10).collect();
    steps.dedup();
    for step in steps {
        let rate = schedule.rate(step as u32);
        // Writing to a string can't fail.
        let _ = writeln!(text, "  step {step:>8}: {rate:e}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_by_name() {
        for (name, expected) in [
            ("", Decay::Constant),
            ("none", Decay::Constant),
            ("linear", Decay::Linear),
            ("step", Decay::Step),
            ("cosine", Decay::Cosine),
            ("Linear", Decay::Cosine),
            ("what", Decay::Cosine),
        ] {
            assert_eq!(decay(name.as_bytes()), expected);
        }
    }
}
