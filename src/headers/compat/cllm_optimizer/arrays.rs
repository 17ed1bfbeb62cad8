//! Clipping and norms of arrays, and what an optimizer says of itself.

use super::{OptimizerState, check};
use crate::border::ffi;
use cllm_compat::gradients as arithmetic;
use cllm_macros::c_api;
use std::ffi::c_int;

/// Holds each value to −clip_value..clip_value; NaN stays.
///
/// @param gradients  `[num_parameters]`, changed in place.
/// @param clip_value 0 or less changes nothing.
///
/// # Safety
/// `gradients` is NULL or holds `num_parameters` floats.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn optimizer_clip_gradients_by_value(
    gradients: *mut f32,
    num_parameters: usize,
    clip_value: f32,
) {
    arithmetic::clip_value(ffi::slice_mut(gradients, num_parameters, "gradients")?, clip_value);
    Ok(())
}

/// Scales an array so that its norm is at most max_norm.
///
/// @param gradients `[num_parameters]`, changed in place; not where its norm is not finite.
/// @param max_norm  0 or less changes nothing.
/// @return the norm before; 0 if max_norm is 0 or less, and on NULL.
///
/// # Safety
/// `gradients` is NULL or holds `num_parameters` floats.
#[unsafe(no_mangle)]
#[c_api(0.0)]
pub unsafe extern "C" fn optimizer_clip_gradients_by_norm(
    gradients: *mut f32,
    num_parameters: usize,
    max_norm: f32,
) -> f32 {
    let gradients = ffi::slice_mut(gradients, num_parameters, "gradients")?;
    if max_norm.is_nan() || max_norm <= 0.0 {
        return Ok(0.0);
    }
    let norm = arithmetic::norm(gradients);
    arithmetic::clip_norm(gradients, max_norm);
    Ok(norm as f32)
}

/// The square root of the sum of squares, which is taken in double precision.
///
/// @return the norm; 0 on NULL, and of no elements.
///
/// # Safety
/// `gradients` is NULL or holds `num_parameters` floats.
#[unsafe(no_mangle)]
#[c_api(0.0)]
pub unsafe extern "C" fn optimizer_compute_gradient_norm(
    gradients: *const f32,
    num_parameters: usize,
) -> f32 {
    let gradients = ffi::slice(gradients, num_parameters, "gradients")?;
    Ok(arithmetic::norm(gradients) as f32)
}

/// As optimizer_compute_gradient_norm.
///
/// @return as optimizer_compute_gradient_norm.
///
/// # Safety
/// `parameters` is NULL or holds `num_parameters` floats.
#[unsafe(no_mangle)]
#[c_api(0.0)]
pub unsafe extern "C" fn optimizer_compute_parameter_norm(
    parameters: *const f32,
    num_parameters: usize,
) -> f32 {
    let parameters = ffi::slice(parameters, num_parameters, "parameters")?;
    Ok(arithmetic::norm(parameters) as f32)
}

/// Copies what the latest step left.
///
/// @param state              NULL leaves the results as they are.
/// @param out_gradient_norm  `gradient_norm`; may be NULL.
/// @param out_parameter_norm `parameter_norm`; may be NULL.
/// @param out_learning_rate  `current_lr`; may be NULL.
/// @param out_step           `step`; may be NULL.
///
/// # Safety
/// `state` is NULL or live; the results are NULL or have room for one value.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn optimizer_get_statistics(
    state: *const OptimizerState,
    out_gradient_norm: *mut f32,
    out_parameter_norm: *mut f32,
    out_learning_rate: *mut f32,
    out_step: *mut c_int,
) {
    check(state)?;
    ffi::set_out(out_gradient_norm, (*state).gradient_norm, "out_gradient_norm")?;
    ffi::set_out(out_parameter_norm, (*state).parameter_norm, "out_parameter_norm")?;
    ffi::set_out(out_learning_rate, (*state).current_lr, "out_learning_rate")?;
    ffi::set_out(out_step, (*state).step, "out_step")
}

/// Names of the types, in their order.
const NAMES: [&str; 7] = [
    "SGD",
    "SGD with Momentum",
    "SGD with Nesterov Momentum",
    "Adam",
    "AdamW",
    "RMSProp",
    "Adagrad",
];

/// Prints an optimizer's type, step, rate, norms and count of updates to stdout. NULL prints nothing.
///
/// # Safety
/// `state` is NULL or live.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn optimizer_print_state(state: *const OptimizerState) {
    check(state)?;
    let name = NAMES.get((*state).config.r#type as usize).copied().unwrap_or("Unknown");
    // As printf writes them: nan and inf are in lower case.
    let number = |x: f32| format!("{x:.6}").to_lowercase();
    ffi::print(format!(
        "\n=== OPTIMIZER STATE ===\nType: {name}\nStep: {}\nLearning Rate: {}\n\
         Gradient Norm: {}\nParameter Norm: {}\nUpdates Applied: {}\n\
         ======================\n\n",
        (*state).step,
        number((*state).current_lr),
        number((*state).gradient_norm),
        number((*state).parameter_norm),
        (*state).updates_applied,
    ));
    Ok(())
}
