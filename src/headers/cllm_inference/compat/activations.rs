//! Activation functions, softmax and temperature on arrays of the program.

use crate::border::ffi;
use cllm_compat::{elementwise, losses};
use cllm_engine::error::Result;
use cllm_macros::c_api;
use std::ffi::c_int;

/// An array of `n` floats to change; empty where `n` is 0.
///
/// # Safety
/// As [`ffi::slice_mut`].
unsafe fn array<'a>(x: *mut f32, n: c_int, name: &'static str) -> Result<&'a mut [f32]> {
    match ffi::len(n, "the number of values")? {
        0 => Ok(&mut []),
        n => ffi::slice_mut(x, n, name),
    }
}

/// GELU in its tanh form, in place: x = x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3))).
///
/// @param x     `[size]` floats, changed in place.
/// @param size  number of values; size <= 0: nothing happens.
///
/// NaN stays NaN. NULL: nothing happens. The C library was wrong for all x below 0.
///
/// Source: "Gaussian Error Linear Units".
///
/// # Safety
/// `x` has `size` elements.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_activation_gelu(x: *mut f32, size: c_int) {
    elementwise::gelu(array(x, size, "x")?);
    Ok(())
}

/// ReLU in place: negative values become 0; NaN and -0 stay.
///
/// @param x     `[size]` floats, changed in place.
/// @param size  number of values; size <= 0: nothing happens.
///
/// # Safety
/// `x` has `size` elements.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_activation_relu(x: *mut f32, size: c_int) {
    elementwise::relu(array(x, size, "x")?);
    Ok(())
}

/// Divides logits by a temperature: below 1 the distribution gets sharper, above 1 flatter.
///
/// @param logits       `[vocab_size]` floats, changed in place.
/// @param vocab_size   number of logits; <= 0: nothing happens.
/// @param temperature  held to 0.1..2; NaN: nothing happens.
///
/// # Safety
/// `logits` has `vocab_size` elements.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_apply_temperature(
    logits: *mut f32,
    vocab_size: c_int,
    temperature: f32,
) {
    let logits = array(logits, vocab_size, "logits")?;
    losses::apply_temperature(logits, temperature);
    Ok(())
}

/// Softmax in place: e^(x - max) / sum.
///
/// @param logits      `[vocab_size]` floats, turned into probabilities that sum to 1.
/// @param vocab_size  number of logits; <= 0: nothing happens.
///
/// All -infinity: the uniform distribution. +infinity: shared by the infinite ones. A NaN: nothing
/// happens and cllm_last_error() says so. The C library was useless where logits differ by more
/// than 6.
///
/// # Safety
/// `logits` has `vocab_size` elements.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_softmax(logits: *mut f32, vocab_size: c_int) {
    losses::softmax(array(logits, vocab_size, "logits")?)
}
