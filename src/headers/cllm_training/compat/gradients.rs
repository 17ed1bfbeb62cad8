//! Operations on one array of gradients or weights, without a training object.

use crate::border::ffi;
use cllm_compat::gradients;
use cllm_engine::error::Result;
use cllm_kernels::vector;
use cllm_macros::c_api;
use std::ffi::c_int;

/// An array to change; empty where there is nothing.
///
/// # Safety
/// As [`ffi::slice_mut`].
unsafe fn array<'a>(pointer: *mut f32, size: usize, name: &'static str) -> Result<&'a mut [f32]> {
    if size == 0 {
        return Ok(&mut []);
    }
    ffi::slice_mut(pointer, size, name)
}

/// Scales the gradients to length `max_norm` if their Euclidean norm exceeds it.
///
/// @param gradients  `[size]` floats, changed in place.
/// @param size       number of values; 0: nothing happens.
/// @param max_norm   the limit; nothing happens unless it is positive.
///
/// Nothing happens either where the norm is not finite or `gradients` is NULL. The norm is summed
/// in double precision.
///
/// # Safety
/// `gradients` has `size` elements.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_apply_gradient_clipping(
    gradients: *mut f32,
    size: usize,
    max_norm: f32,
) {
    gradients::clip_norm(array(gradients, size, "gradients")?, max_norm);
    Ok(())
}

/// Holds every gradient to -clip_value..clip_value. NaN stays NaN.
///
/// @param gradients   `[size]` floats, changed in place.
/// @param size        number of values; 0: nothing happens.
/// @param clip_value  the limit; nothing happens unless it is positive.
///
/// # Safety
/// `gradients` has `size` elements.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_clip_gradients_by_value(
    gradients: *mut f32,
    size: usize,
    clip_value: f32,
) {
    gradients::clip_value(array(gradients, size, "gradients")?, clip_value);
    Ok(())
}

/// Decoupled weight decay: w_i *= 1 - learning_rate * weight_decay.
///
/// @param weights        `[size]` floats, changed in place.
/// @param size           number of values; 0: nothing happens.
/// @param weight_decay   nothing happens unless it is positive.
/// @param learning_rate  the rate of this step.
///
/// Source: "Decoupled Weight Decay Regularization".
///
/// # Safety
/// `weights` has `size` elements.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_apply_weight_decay(
    weights: *mut f32,
    size: usize,
    weight_decay: f32,
    learning_rate: f32,
) {
    let weights = array(weights, size, "weights")?;
    gradients::decay(weights, weight_decay, learning_rate);
    Ok(())
}

/// Sets every gradient to 0.
///
/// @param gradients  `[size]` floats, overwritten.
/// @param size       number of values; 0: nothing happens.
///
/// # Safety
/// `gradients` has `size` elements.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_zero_gradients(gradients: *mut f32, size: usize) {
    array(gradients, size, "gradients")?.fill(0.0);
    Ok(())
}

/// Euclidean norm of the gradients, summed in double precision.
///
/// @param gradients  `[size]` floats, not changed.
/// @param size       number of values.
/// @return the norm; 0 for NULL or size 0.
///
/// # Safety
/// `gradients` has `size` elements.
#[unsafe(no_mangle)]
#[c_api(0.0)]
pub unsafe extern "C" fn cllm_compute_gradient_norm(gradients: *mut f32, size: usize) -> f32 {
    let gradients = array(gradients, size, "gradients")?;
    Ok(gradients::norm(gradients) as f32)
}

/// accumulated_grads_i += current_grads_i.
///
/// @param accumulated_grads  `[size]` floats, changed in place.
/// @param current_grads      `[size]` floats; may be or overlap `accumulated_grads`.
/// @param size               number of values; 0: nothing happens.
///
/// # Safety
/// The arrays have `size` elements.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_accumulate_gradients(
    accumulated_grads: *mut f32,
    current_grads: *mut f32,
    size: usize,
) {
    if size == 0 {
        return Ok(());
    }
    // An input that overlaps the sum is a copy.
    let out = (accumulated_grads.cast_const(), size);
    let current = ffi::input(current_grads, size, "current_grads", out)?;
    let sum = ffi::slice_mut(accumulated_grads, size, "accumulated_grads")?;
    vector::add_assign(sum, &current);
    Ok(())
}

/// gradients_i *= scale.
///
/// @param gradients  `[size]` floats, changed in place.
/// @param size       number of values; 0: nothing happens.
/// @param scale      any float.
///
/// # Safety
/// `gradients` has `size` elements.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_scale_gradients(gradients: *mut f32, size: usize, scale: f32) {
    vector::scale(array(gradients, size, "gradients")?, scale);
    Ok(())
}

/// Whether the gradients are unusable. Despite its name 1 is the bad answer, as in the C library.
///
/// @param gradients  `[size]` floats, not changed.
/// @param size       number of values.
/// @return 1 if some value is NaN, infinite or beyond +-1e38; else 0, also for NULL or size 0.
///
/// # Safety
/// `gradients` has `size` elements.
#[unsafe(no_mangle)]
#[c_api(0)]
pub unsafe extern "C" fn cllm_check_gradients_valid(gradients: *mut f32, size: usize) -> c_int {
    let gradients = array(gradients, size, "gradients")?;
    Ok(c_int::from(gradients::out_of_range(gradients)))
}

/// Exponential moving average: ema_i = decay * ema_i + (1 - decay) * current_i.
///
/// @param ema_weights      `[size]` floats, changed in place.
/// @param current_weights  `[size]` floats; may be or overlap `ema_weights`.
/// @param size             number of values; 0: nothing happens.
/// @param decay            weight of the past, usually 0.99 to 0.9999.
///
/// # Safety
/// The arrays have `size` elements.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_update_ema_weights(
    ema_weights: *mut f32,
    current_weights: *mut f32,
    size: usize,
    decay: f32,
) {
    if size == 0 {
        return Ok(());
    }
    // An input that overlaps the average is a copy.
    let out = (ema_weights.cast_const(), size);
    let current = ffi::input(current_weights, size, "current_weights", out)?;
    let average = ffi::slice_mut(ema_weights, size, "ema_weights")?;
    gradients::moving_average(average, &current, decay);
    Ok(())
}
