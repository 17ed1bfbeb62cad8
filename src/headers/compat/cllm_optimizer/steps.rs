//! Steps: of the whole optimizer, and of one rule by itself.

use super::{
    ADAGRAD, ADAM, ADAMW, Locked, OptimizerState, RMSPROP, SGD, SGD_MOMENTUM, SGD_NESTEROV, check,
    scheduled,
};
use crate::border::ctypes::OptimizerType;
use crate::border::ffi;
use cllm_compat::gradients;
use cllm_engine::error::{Error, Result};
use cllm_engine::train::rules::{Change, Moments, Rule, WeightDecay};
use cllm_macros::c_api;
use std::ffi::c_int;

/// The rule of a type, for the step after those that the state has taken.
///
/// # Safety
/// `state` is live.
unsafe fn rule(state: *const OptimizerState, kind: OptimizerType) -> Result<Change> {
    let c = (*state).config;
    let number = match u64::try_from((*state).step) {
        Ok(steps) => steps + 1,
        Err(_) => return Err(Error::argument("state->step", (*state).step, "0 or more")),
    };
    let fraction = |x: f32, name| match x {
        0.0..1.0 => Ok(x),
        _ => Err(Error::argument(name, x, "at least 0 and below 1")),
    };
    let epsilon = finite(c.epsilon, "config.epsilon")?;
    let rule = match kind {
        SGD => Rule::Descent,
        SGD_MOMENTUM | SGD_NESTEROV => {
            let mu = finite(c.momentum, "config.momentum")?;
            Rule::HeavyBall { mu, nesterov: kind == SGD_NESTEROV }
        }
        ADAM | ADAMW => Rule::Adam {
            beta1: fraction(c.beta1, "config.beta1")?,
            beta2: fraction(c.beta2, "config.beta2")?,
            epsilon,
            number,
        },
        RMSPROP => Rule::RmsProp { beta: fraction(c.beta2, "config.beta2")?, epsilon },
        ADAGRAD => Rule::Adagrad { epsilon },
        _ => return Err(Error::argument("config.type", kind, "0 to 6")),
    };
    let lambda = finite(c.weight_decay, "config.weight_decay")?;
    let decoupled = kind == ADAMW || kind == ADAM && c.decoupled_weight_decay.get();
    let decay =
        if decoupled { WeightDecay::Decoupled(lambda) } else { WeightDecay::Coupled(lambda) };
    Ok(Change { rule, rate: (*state).current_lr, decay })
}

fn finite(x: f32, name: &'static str) -> Result<f32> {
    if x.is_finite() { Ok(x) } else { Err(Error::argument(name, x, "finite")) }
}

/// The parameters and the moments of a rule.
///
/// # Safety
/// `state` is live, and no two of its arrays overlap.
unsafe fn arrays<'a>(
    state: *const OptimizerState,
    rule: Rule,
) -> Result<(&'a mut [f32], Moments<'a>)> {
    let n = (*state).num_parameters;
    let parameters = ffi::slice_mut((*state).parameters, n, "state->parameters")?;
    let mut moments = Moments::default();
    if matches!(rule, Rule::HeavyBall { .. } | Rule::Adam { .. }) {
        moments.first = ffi::slice_mut((*state).momentum_buffer, n, "state->momentum_buffer")?;
    }
    if matches!(rule, Rule::Adam { .. } | Rule::RmsProp { .. } | Rule::Adagrad { .. }) {
        moments.second = ffi::slice_mut((*state).variance_buffer, n, "state->variance_buffer")?;
    }
    if matches!(rule, Rule::Adam { .. }) && (*state).config.amsgrad.get() {
        let largest = (*state).max_variance_buffer;
        let largest = ffi::slice_mut_opt(largest, n, "state->max_variance_buffer")?;
        moments.largest = largest.unwrap_or_default();
    }
    Ok((parameters, moments))
}

/// A NaN or an infinite number would stay in parameters and moments for good.
fn check_gradient(g: &[f32]) -> Result<()> {
    match g.iter().position(|x| !x.is_finite()) {
        Some(i) => Err(Error::state(format!("gradients[{i}] is {}: no step was taken", g[i]))),
        None => Ok(()),
    }
}

/// One rule by itself.
///
/// # Safety
/// `state` is NULL or live; `gradients` is NULL or holds as many floats.
unsafe fn single(
    state: *mut OptimizerState,
    gradients: *const f32,
    kind: OptimizerType,
) -> Result<c_int> {
    check(state)?;
    let change = rule(state, kind)?;
    finite(change.rate, "state->current_lr")?;
    let n = (*state).num_parameters;
    let gradient = ffi::input(gradients, n, "gradients", ((*state).parameters, n))?;
    check_gradient(&gradient)?;
    let (parameters, moments) = arrays(state, change.rule)?;
    change.apply(parameters, &gradient, moments);
    Ok(0)
}

/// Takes a step, under the mutex: copies the gradient to `state->gradients` and clips that copy
/// where the configuration says so, by value and then by norm; sets `current_lr` for this step, as
/// `optimizer_update_learning_rate` does; applies the rule of `config.type`; counts the step, and
/// sets the two norms.
///
/// @param gradients `[num_parameters]`, not changed; it may be `state->gradients`.
/// @return 0; -1 on NULL, an unknown type, a buffer that is missing, or a gradient, a rate or a
///         setting that is not finite: nothing has changed then.
///
/// Threads: may be called from several at once. A program may hold `mutex` to read a state that is
/// whole.
///
/// # Safety
/// `state` is NULL or live, and no two of its arrays overlap; the thread does not hold its mutex.
/// `gradients` is NULL or holds as many floats as the state has parameters.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn optimizer_step(
    state: *mut OptimizerState,
    gradients: *const f32,
) -> c_int {
    check(state)?;
    if gradients.is_null() {
        return Err(Error::null("gradients"));
    }
    let _locked = Locked::new(state)?;
    let c = (*state).config;
    let rate = finite(scheduled(&c, (*state).step), "the learning rate")?;
    let change = Change { rate, ..rule(state, c.r#type)? };
    let n = (*state).num_parameters;
    let copy = ffi::slice_mut((*state).gradients, n, "state->gradients")?;
    // Only whether they are there: the program's gradient may lie among them until it is copied.
    arrays(state, change.rule)?;
    if gradients == (*state).gradients.cast_const() {
        check_gradient(copy)?;
    } else {
        let gradient = ffi::input(gradients, n, "gradients", (copy.as_ptr(), n))?;
        check_gradient(&gradient)?;
        copy.copy_from_slice(&gradient);
    }
    (*state).current_lr = rate;
    let clips = c.use_gradient_clipping.get();
    if clips {
        gradients::clip_value(copy, c.clip_value);
    }
    (*state).gradient_norm = gradients::norm(copy) as f32;
    if clips {
        gradients::clip_norm(copy, c.clip_norm);
    }
    let (parameters, moments) = arrays(state, change.rule)?;
    change.apply(parameters, copy, moments);
    (*state).parameter_norm = gradients::norm(parameters) as f32;
    (*state).step = (*state).step.saturating_add(1);
    (*state).updates_applied = (*state).updates_applied.saturating_add(1);
    Ok(0)
}

/// Gradient descent: g ← g + λw; w ← w − lr·g, with lr = `current_lr`.
///
/// This and the other single rules take everything as it is: they don't clip, lock, copy the
/// gradient, set a rate or count the step, so that t = `step` + 1 is the program's affair.
///
/// @param gradients `[num_parameters]`, not changed; it may be `state->gradients`.
/// @return 0; -1 on NULL, a buffer that is missing, a negative `step`, or a gradient, a rate or a
///         setting that is not finite: nothing has changed then.
///
/// # Safety
/// `state` is NULL or live, no two of its arrays overlap, and nothing else uses it meanwhile.
/// `gradients` is NULL or holds as many floats as the state has parameters, not those of m or v.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn optimizer_sgd_step(
    state: *mut OptimizerState,
    gradients: *const f32,
) -> c_int {
    single(state, gradients, SGD)
}

/// Momentum: g ← g + λw; m ← μm + g; w ← w − lr·m. See `optimizer_sgd_step`.
///
/// @return as optimizer_sgd_step.
///
/// # Safety
/// As optimizer_sgd_step.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn optimizer_sgd_momentum_step(
    state: *mut OptimizerState,
    gradients: *const f32,
) -> c_int {
    single(state, gradients, SGD_MOMENTUM)
}

/// Nesterov's momentum: g ← g + λw; m ← μm + g; w ← w − lr·(μm + g). See `optimizer_sgd_step`.
///
/// @return as optimizer_sgd_step.
///
/// # Safety
/// As optimizer_sgd_step.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn optimizer_sgd_nesterov_step(
    state: *mut OptimizerState,
    gradients: *const f32,
) -> c_int {
    single(state, gradients, SGD_NESTEROV)
}

/// Adam: g ← g + λw; m ← β1·m + (1−β1)·g; v ← β2·v + (1−β2)·g²; w ← w − lr·m̂/(√v̂ + ε), with
/// m̂ = m/(1−β1^t), v̂ = v/(1−β2^t). With `decoupled_weight_decay` it is AdamW. With `amsgrad`, and its
/// buffer, the largest v̂ so far takes the place of v̂. See `optimizer_sgd_step`.
///
/// @return as optimizer_sgd_step.
///
/// # Safety
/// As optimizer_sgd_step.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn optimizer_adam_step(
    state: *mut OptimizerState,
    gradients: *const f32,
) -> c_int {
    single(state, gradients, ADAM)
}

/// AdamW: Adam on the plain gradient, and w ← w − lr·(m̂/(√v̂ + ε) + λw), whatever
/// `decoupled_weight_decay` says. See `optimizer_sgd_step`, `optimizer_adam_step`.
///
/// @return as optimizer_sgd_step.
///
/// # Safety
/// As optimizer_sgd_step.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn optimizer_adamw_step(
    state: *mut OptimizerState,
    gradients: *const f32,
) -> c_int {
    single(state, gradients, ADAMW)
}

/// RMSprop: g ← g + λw; v ← β2·v + (1−β2)·g²; w ← w − lr·g/(√v + ε). See `optimizer_sgd_step`.
///
/// @return as optimizer_sgd_step.
///
/// # Safety
/// As optimizer_sgd_step.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn optimizer_rmsprop_step(
    state: *mut OptimizerState,
    gradients: *const f32,
) -> c_int {
    single(state, gradients, RMSPROP)
}

/// Adagrad: g ← g + λw; v ← v + g²; w ← w − lr·g/(√v + ε). See `optimizer_sgd_step`.
///
/// @return as optimizer_sgd_step.
///
/// # Safety
/// As optimizer_sgd_step.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn optimizer_adagrad_step(
    state: *mut OptimizerState,
    gradients: *const f32,
) -> c_int {
    single(state, gradients, ADAGRAD)
}
