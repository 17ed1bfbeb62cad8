//! `ai/cllm_optimizer.h`: optimizers over a flat array of parameters.
//!
//! All that the functions know of an optimizer stands in its public struct, so one that a program
//! put together works like one of `optimizer_create`. The rules are the engine's.

pub mod steps;

pub mod rates;

pub mod arrays;

use crate::border::ctypes::{CBool, LRSchedulerType, OptimizerType, pthread_mutex_t};
use crate::border::ffi::{self, CArray, zeroable};
use cllm_compat::decays;
use cllm_engine::error::{Error, Result};
use cllm_macros::c_api;
use std::ffi::c_int;
use std::ptr;

/// What an optimizer is to do. `optimizer_default_config` fills all of it in.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct OptimizerConfig {
    /// The rule by which parameters move.
    pub r#type: OptimizerType,
    /// The rate, before warm-up and schedule.
    pub learning_rate: f32,
    /// Floor of the schedules; low end of the cyclic one.
    pub min_lr: f32,
    /// High end of the cyclic schedule.
    pub max_lr: f32,
    /// μ of the two rules with momentum, in [0, 1).
    pub momentum: f32,
    /// Not used: `type` says it.
    pub use_nesterov: CBool,
    /// β1 of Adam and AdamW, in [0, 1).
    pub beta1: f32,
    /// β2 of Adam and AdamW; what RMSprop keeps of v. In [0, 1).
    pub beta2: f32,
    /// ε, above 0.
    pub epsilon: f32,
    /// Adam and AdamW: divide by the largest second moment so far (AMSGrad).
    pub amsgrad: CBool,
    /// λ; 0 or less: none.
    pub weight_decay: f32,
    /// ADAM: decay beside the gradient, as ADAMW has it.
    pub decoupled_weight_decay: CBool,
    /// Whether `optimizer_step` clips.
    pub use_gradient_clipping: CBool,
    /// Largest absolute value of a gradient's element; 0 or less: no limit.
    pub clip_value: f32,
    /// Largest norm of a gradient; 0 or less: no limit.
    pub clip_norm: f32,
    /// How the rate goes on after the warm-up.
    pub scheduler: LRSchedulerType,
    /// Steps of linear warm-up, whatever the scheduler.
    pub warmup_steps: c_int,
    /// Step at which linear, cosine and polynomial reach the floor.
    pub total_steps: c_int,
    /// What the step and exponential schedules multiply by.
    pub decay_rate: f32,
    /// Steps between two multiplications; 0 or less: none.
    pub decay_steps: c_int,
    /// Steps of a cycle; 0 or less: the rate is `min_lr`.
    pub cycle_steps: c_int,
}
layout!(OptimizerConfig, 80, r#type: 0, learning_rate: 4, min_lr: 8, max_lr: 12, momentum: 16, use_nesterov: 20, beta1: 24, beta2: 28, epsilon: 32, amsgrad: 36, weight_decay: 40, decoupled_weight_decay: 44, use_gradient_clipping: 45, clip_value: 48, clip_norm: 52, scheduler: 56, warmup_steps: 60, total_steps: 64, decay_rate: 68, decay_steps: 72, cycle_steps: 76);

/// An optimizer: made by `optimizer_create`, or zeroed and filled in by the program. Buffers have
/// `num_parameters` floats each, are malloc blocks of their own and may be replaced by such; NULL is
/// one that the rule does not use.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct OptimizerState {
    /// May be edited between calls.
    pub config: OptimizerConfig,
    /// Steps taken.
    pub step: c_int,
    /// The rate of the latest step.
    pub current_lr: f32,
    /// The program's parameters, changed in place; never freed.
    pub parameters: *mut f32,
    /// The gradient of the latest step, clipped.
    pub gradients: *mut f32,
    /// n.
    pub num_parameters: usize,
    /// m.
    pub momentum_buffer: *mut f32,
    /// v.
    pub variance_buffer: *mut f32,
    /// The largest corrected v so far, for AMSGrad; without it Adam is as usual.
    pub max_variance_buffer: *mut f32,
    /// Norm of the latest gradient, clipped by value but not by norm.
    pub gradient_norm: f32,
    /// Norm of the parameters after the latest step.
    pub parameter_norm: f32,
    /// Steps since `optimizer_create` or `optimizer_reset`.
    pub updates_applied: u64,
    /// Held by `optimizer_step` and `optimizer_reset`, which a program that holds it must not call.
    pub mutex: pthread_mutex_t,
}
layout!(OptimizerState, 152 + size_of::<pthread_mutex_t>(), config: 0, step: 80, current_lr: 84, parameters: 88, gradients: 96, num_parameters: 104, momentum_buffer: 112, variance_buffer: 120, max_variance_buffer: 128, gradient_norm: 136, parameter_norm: 140, updates_applied: 144, mutex: 152);
zeroable!(OptimizerState);

// The values of the enumerations, which stand in `build.rs` as C writes them.
pub(crate) const SGD: OptimizerType = 0;
pub(crate) const SGD_MOMENTUM: OptimizerType = 1;
pub(crate) const SGD_NESTEROV: OptimizerType = 2;
pub(crate) const ADAM: OptimizerType = 3;
pub(crate) const ADAMW: OptimizerType = 4;
pub(crate) const RMSPROP: OptimizerType = 5;
pub(crate) const ADAGRAD: OptimizerType = 6;
pub(crate) const CYCLIC: LRSchedulerType = 7;

/// The optimizer's mutex, held until it goes.
struct Locked(*mut pthread_mutex_t);

impl Locked {
    /// # Safety
    /// `state` is NULL or live, and the thread does not hold its mutex.
    unsafe fn new(state: *mut OptimizerState) -> Result<Self> {
        check(state)?;
        let mutex = &raw mut (*state).mutex;
        match libc::pthread_mutex_lock(mutex) {
            0 => Ok(Self(mutex)),
            error => Err(Error::state(format!("state->mutex can't be locked (error {error})"))),
        }
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // SAFETY: `new` locked it, and the state outlives the call.
        unsafe { libc::pthread_mutex_unlock(self.0) };
    }
}

/// Refuses NULL. There is never a reference to a whole state: other threads may wait at its mutex.
///
/// # Safety
/// `state` is NULL or live.
unsafe fn check(state: *const OptimizerState) -> Result<()> {
    ffi::get(state.cast::<OptimizerConfig>(), "state").map(|_| ())
}

/// Makes an optimizer over an array of parameters.
///
/// Its buffers are separate zeroed malloc blocks: the gradient always; momentum for types 1 to 4;
/// variance for types 3 to 6; the largest variance where `amsgrad` is set.
///
/// @param config         copied.
/// @param parameters     `[num_parameters]`, borrowed: it must outlive the optimizer, and steps
///                       change it.
/// @param num_parameters n, 1 or more.
/// @return the optimizer, to be freed with `optimizer_free`; NULL on NULL, for n = 0, a
///         configuration that `optimizer_validate_config` refuses, or without memory.
///
/// # Safety
/// `config` is NULL or a configuration, `parameters` is NULL or holds n floats.
#[unsafe(no_mangle)]
#[c_api(ptr::null_mut())]
pub unsafe extern "C" fn optimizer_create(
    config: *const OptimizerConfig,
    parameters: *mut f32,
    num_parameters: usize,
) -> *mut OptimizerState {
    let config = *ffi::get(config, "config")?;
    let n = num_parameters;
    ffi::slice_mut(parameters, n, "parameters")?;
    if n == 0 {
        return Err(Error::argument("num_parameters", 0, "1 or more"));
    }
    validate(&config)?;
    let buffer = |needed: bool| {
        let block = || CArray::<f32>::zeroed("an optimizer", n);
        needed.then(block).transpose()
    };
    let gradients = CArray::<f32>::zeroed("an optimizer", n)?;
    let momentum = buffer((SGD_MOMENTUM..=ADAMW).contains(&config.r#type))?;
    let variance = buffer((ADAM..=ADAGRAD).contains(&config.r#type))?;
    let largest = buffer(config.amsgrad.get())?;
    let raw = |buffer: Option<CArray<f32>>| buffer.map_or(ptr::null_mut(), CArray::into_raw);
    // The mutex stays as calloc left it, which is what PTHREAD_MUTEX_INITIALIZER says on Linux;
    // pthread_mutex_init makes sure.
    let mut block = CArray::<OptimizerState>::zeroed("an optimizer", 1)?;
    if let [state] = block.as_mut_slice() {
        match libc::pthread_mutex_init(&raw mut state.mutex, ptr::null()) {
            0 => {}
            error => return Err(Error::state(format!("no mutex (error {error})"))),
        }
        state.config = config;
        state.current_lr = config.learning_rate;
        state.parameters = parameters;
        state.num_parameters = n;
        state.gradients = gradients.into_raw();
        state.momentum_buffer = raw(momentum);
        state.variance_buffer = raw(variance);
        state.max_variance_buffer = raw(largest);
    }
    Ok(block.into_raw())
}

/// Frees an optimizer with its four buffers, not the parameters.
///
/// @param state the optimizer; NULL is fine.
///
/// # Safety
/// `state` is NULL or an optimizer that nothing uses any more; it and its buffers that are not NULL
/// are separate blocks of malloc's family.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn optimizer_free(state: *mut OptimizerState) {
    if state.is_null() {
        return Ok(());
    }
    check(state)?;
    for buffer in buffers(state) {
        ffi::free(buffer);
    }
    libc::pthread_mutex_destroy(&raw mut (*state).mutex);
    ffi::free(state);
    Ok(())
}

/// Gradient, m, v and the largest v of an optimizer.
///
/// # Safety
/// `state` is live.
unsafe fn buffers(state: *mut OptimizerState) -> [*mut f32; 4] {
    let s = state;
    [(*s).gradients, (*s).momentum_buffer, (*s).variance_buffer, (*s).max_variance_buffer]
}

/// Back to before the first step, under the mutex: `step`, both norms and `updates_applied` are 0,
/// the rate is the configuration's, the buffers are zeroed. The parameters stay.
///
/// @param state the optimizer; NULL changes nothing.
///
/// # Safety
/// `state` is NULL or live; the thread does not hold its mutex.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn optimizer_reset(state: *mut OptimizerState) {
    let _locked = Locked::new(state)?;
    for buffer in buffers(state) {
        zero(state, buffer)?;
    }
    (*state).step = 0;
    (*state).current_lr = (*state).config.learning_rate;
    (*state).gradient_norm = 0.0;
    (*state).parameter_norm = 0.0;
    (*state).updates_applied = 0;
    Ok(())
}

/// # Safety
/// `state` is live, `buffer` NULL or one of its.
unsafe fn zero(state: *mut OptimizerState, buffer: *mut f32) -> Result<()> {
    if let Some(buffer) = ffi::slice_mut_opt(buffer, (*state).num_parameters, "a buffer")? {
        buffer.fill(0.0);
    }
    Ok(())
}

/// Zeroes `state->gradients`, the optimizer's copy of the gradient; the program's own array is not
/// touched.
///
/// @param state the optimizer; NULL changes nothing.
///
/// # Safety
/// `state` is NULL or live.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn optimizer_zero_grad(state: *mut OptimizerState) {
    check(state)?;
    zero(state, (*state).gradients)
}

/// The usual settings of a type: rate 1e-3, between 1e-6 and 0.01; momentum 0.9; β1 0.9, β2 0.999, ε
/// 1e-8; no AMSGrad, decay, clipping, schedule or warm-up; 10000 steps; decay by 0.1 every 1000
/// steps; cycles of 1000 steps. ADAMW decays beside the gradient.
///
/// @param type any number: it is not looked at.
/// @return the settings.
#[unsafe(no_mangle)]
#[c_api(defaults(r#type))]
pub extern "C" fn optimizer_default_config(r#type: OptimizerType) -> OptimizerConfig {
    Ok(defaults(r#type))
}

fn defaults(kind: OptimizerType) -> OptimizerConfig {
    OptimizerConfig {
        r#type: kind,
        learning_rate: 1e-3,
        min_lr: 1e-6,
        max_lr: 0.01,
        momentum: 0.9,
        use_nesterov: false.into(),
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        amsgrad: false.into(),
        weight_decay: 0.0,
        decoupled_weight_decay: (kind == ADAMW).into(),
        use_gradient_clipping: false.into(),
        clip_value: 0.0,
        clip_norm: 0.0,
        scheduler: 0,
        warmup_steps: 0,
        total_steps: 10_000,
        decay_rate: 0.1,
        decay_steps: 1000,
        cycle_steps: 1000,
    }
}

/// Whether `optimizer_create` takes a configuration: `learning_rate` and `epsilon` above 0;
/// `min_lr` and `weight_decay` 0 or more; `max_lr` not below `min_lr`; `momentum`, `beta1` and
/// `beta2` in [0, 1); with clipping, both limits 0 or more; `warmup_steps` 0 or more, `total_steps`
/// above 0; all numbers finite; a type and a scheduler that exist.
///
/// @return true if all hold; false otherwise (`cllm_last_error` names the first that does not), and
///         for NULL.
///
/// # Safety
/// `config` is NULL or a configuration.
#[unsafe(no_mangle)]
#[c_api(false)]
pub unsafe extern "C" fn optimizer_validate_config(config: *const OptimizerConfig) -> bool {
    validate(ffi::get(config, "config")?)?;
    Ok(true)
}

fn validate(c: &OptimizerConfig) -> Result<()> {
    const FRACTION: &str = "at least 0 and below 1";
    let clips = c.use_gradient_clipping.get();
    let fraction = |x: f32| (0.0..1.0).contains(&x);
    let limit = |x: f32| !clips || x >= 0.0;
    let finite = "finite";
    let numbers: [(&'static str, f32, bool, &'static str); 14] = [
        ("learning_rate", c.learning_rate, c.learning_rate > 0.0, "above 0"),
        ("min_lr", c.min_lr, c.min_lr >= 0.0, "0 or more"),
        ("max_lr", c.max_lr, c.max_lr >= c.min_lr, "min_lr or more"),
        ("momentum", c.momentum, fraction(c.momentum), FRACTION),
        ("beta1", c.beta1, fraction(c.beta1), FRACTION),
        ("beta2", c.beta2, fraction(c.beta2), FRACTION),
        ("epsilon", c.epsilon, c.epsilon > 0.0, "above 0"),
        ("weight_decay", c.weight_decay, c.weight_decay >= 0.0, "0 or more"),
        ("clip_value", c.clip_value, limit(c.clip_value), "0 or more"),
        ("clip_norm", c.clip_norm, limit(c.clip_norm), "0 or more"),
        ("warmup_steps", c.warmup_steps as f32, c.warmup_steps >= 0, "0 or more"),
        ("total_steps", c.total_steps as f32, c.total_steps > 0, "1 or more"),
        ("decay_rate", c.decay_rate, true, finite),
        ("type", c.r#type as f32, c.r#type <= ADAGRAD, "0 to 6"),
    ];
    for (name, value, holds, expected) in numbers {
        if !holds {
            return Err(Error::argument(name, value, expected));
        }
        if !value.is_finite() {
            return Err(Error::argument(name, value, finite));
        }
    }
    if c.scheduler > CYCLIC {
        return Err(Error::argument("scheduler", c.scheduler, "0 to 7"));
    }
    Ok(())
}

/// The rate of the step after `steps` steps.
pub(crate) fn scheduled(c: &OptimizerConfig, steps: c_int) -> f32 {
    let (k, warmup, rate) = (i64::from(steps) + 1, i64::from(c.warmup_steps), c.learning_rate);
    if k < warmup {
        return decays::warmup(k, warmup, rate);
    }
    let (since, length) = (k - warmup, i64::from(c.total_steps) - warmup);
    let every = i64::from(c.decay_steps);
    match c.scheduler {
        2 | 6 => decays::linear(since, length, rate, c.min_lr), // polynomial: of power 1
        3 => decays::cosine(since, length, rate, c.min_lr),
        4 => decays::stepped(k, every, rate, c.decay_rate, c.min_lr),
        5 => decays::exponential(k, every, rate, c.decay_rate, c.min_lr),
        CYCLIC => decays::cyclic(k, c.cycle_steps.into(), c.min_lr, c.max_lr),
        _ => rate,
    }
}
