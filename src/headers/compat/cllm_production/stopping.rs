//! Early stopping and the schedule object.

use super::{EarlyStoppingState, LRScheduler};
use crate::border::ffi::{self, CArray};
use crate::headers::cllm_training::CLLMTraining;
use crate::headers::cllm_training::state::TRAININGS;
use cllm_compat::rates::WarmupCosine;
use cllm_engine::train::EarlyStopping;
use cllm_macros::c_api;
use std::ffi::c_int;
use std::ptr;

/// get_learning_rate(NULL): the original's.
const DEFAULT_RATE: f32 = 0.001;

/// Starts watching a loss.
///
/// @param initial_loss the loss to beat; infinite for none.
/// @param patience     checks in a row without improvement after which to stop.
/// @return the state, one block that the program releases with `free()`; NULL without memory.
#[unsafe(no_mangle)]
#[c_api(ptr::null_mut())]
pub extern "C" fn create_early_stopping(
    initial_loss: f32,
    patience: c_int,
) -> *mut EarlyStoppingState {
    let inner = EarlyStopping::new(initial_loss, patience);
    Ok(CArray::copy_of("early stopping", &[EarlyStoppingState { inner }])?.into_raw())
}

/// Takes note of a validation loss. It improves if it is below the best one by more than a
/// thousandth of that one's magnitude (any finite loss, where the best is infinite); NaN never
/// does. An improvement becomes the best loss and starts the count anew.
///
/// @return 1 if `patience` checks in a row did not improve, and at every later one that does not;
///         otherwise 0, also if state is NULL.
///
/// # Safety
/// `state` is NULL or from create_early_stopping and not freed.
#[unsafe(no_mangle)]
#[c_api(0)]
pub unsafe extern "C" fn check_early_stopping(
    state: *mut EarlyStoppingState,
    val_loss: f32,
) -> c_int {
    let state = ffi::get_mut(state, "state")?;
    Ok(c_int::from(state.inner.check(val_loss)))
}

/// Makes a schedule: with lr = initial_lr and step s, s < warmup_steps gives
/// `lr * s / warmup_steps`; from there half a cosine wave
/// `0.01*lr + 0.99*lr * (1 + cos(pi * (s - warmup_steps) / (total_steps - warmup_steps))) / 2`
/// down to `0.01*lr` at total_steps, where it stays; also `0.01*lr` after the warm-up where
/// total_steps <= warmup_steps.
///
/// @param initial_lr   the highest rate.
/// @param warmup_steps steps of the warm-up; 0 or less: none.
/// @param total_steps  steps of the whole schedule.
/// @return the scheduler, one block that the program releases with `free()`; NULL without memory.
#[unsafe(no_mangle)]
#[c_api(ptr::null_mut())]
pub extern "C" fn create_lr_scheduler(
    initial_lr: f32,
    warmup_steps: c_int,
    total_steps: c_int,
) -> *mut LRScheduler {
    let inner = WarmupCosine::new(initial_lr, warmup_steps, total_steps);
    Ok(CArray::copy_of("a scheduler", &[LRScheduler { inner }])?.into_raw())
}

/// The learning rate at the scheduler's step; before the first `step_lr_scheduler` initial_lr.
///
/// @return the rate; 0.001 if scheduler is NULL.
///
/// # Safety
/// `scheduler` is NULL or from create_lr_scheduler and not freed.
#[unsafe(no_mangle)]
#[c_api(DEFAULT_RATE)]
pub unsafe extern "C" fn get_learning_rate(scheduler: *mut LRScheduler) -> f32 {
    Ok(ffi::get(scheduler, "scheduler")?.inner.rate())
}

/// Takes a step and sets `training->config.learning_rate` to the new rate; also
/// `config.initial_learning_rate`, from which the training loops compute theirs, so that they keep
/// it (a schedule named in `config.lr_scheduler` then works on top of it).
///
/// @param scheduler the scheduler; NULL: nothing happens.
/// @param training  any training object, also one that the program made; NULL: nothing happens.
///
/// # Safety
/// `scheduler` is NULL or from create_lr_scheduler and not freed; `training` is NULL or points to a
/// `CLLMTraining` that no other thread uses.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn step_lr_scheduler(
    scheduler: *mut LRScheduler,
    training: *mut CLLMTraining,
) {
    TRAININGS.find(training)?;
    let (scheduler, training) =
        (ffi::get_mut(scheduler, "scheduler")?, ffi::get_mut(training, "training")?);
    scheduler.inner.advance();
    let rate = scheduler.inner.rate();
    training.config.learning_rate = rate;
    training.config.initial_learning_rate = rate;
    Ok(())
}
