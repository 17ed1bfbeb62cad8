//! Layer norms.

use crate::border::ffi::{self, CArray};
use crate::headers::cllm::CLLMLayerNorm;
use crate::model::build::free_blocks;
use cllm_engine::error::{Error, Result};
use cllm_engine::model::{DEFAULT_EPSILON, Norm};
use cllm_kernels::layer_norm;
use cllm_kernels::memory::product;
use cllm_macros::c_api;
use std::ffi::c_int;
/// The parameters of a norm and its width.
///
/// # Safety
/// Non-NULL gamma and beta hold `dim` floats.
pub(crate) unsafe fn norm_view<'a>(ln: *const CLLMLayerNorm) -> Result<(Norm<&'a [f32]>, usize)> {
    let n = ffi::get(ln, "ln")?;
    let dim = n.dim as usize;
    if dim == 0 {
        return Err(Error::argument("ln->dim", 0, "1 or more"));
    }
    let norm = Norm {
        epsilon: if n.epsilon > 0.0 { n.epsilon } else { DEFAULT_EPSILON },
        gamma: ffi::slice_opt(n.gamma, dim, "ln->gamma")?,
        beta: ffi::slice_opt(n.beta, dim, "ln->beta")?,
    };
    Ok((norm, dim))
}

/// # Safety
/// `input` and `output` are NULL or hold `n` rows of the norm's width.
unsafe fn layer_norm(
    ln: *const CLLMLayerNorm,
    input: *const f32,
    output: *mut f32,
    n: usize,
) -> Result<()> {
    // Input and output are not viewed at the same time.
    let (norm, dim) = norm_view(ln)?;
    let len = product("the rows", &[n, dim])?;
    if output.is_null() {
        return Err(Error::null("output"));
    }
    ffi::slice(input, len, "input")?;
    let mut row = cllm_kernels::memory::filled("a row", dim)?;
    for i in 0..n {
        let x = ffi::slice(input.add(i * dim), dim, "input")?;
        layer_norm::forward(x, norm.epsilon, norm.gamma, norm.beta, &mut row);
        ffi::slice_mut(output.add(i * dim), dim, "output")?.copy_from_slice(&row);
    }
    Ok(())
}

/// out_i = gamma_i·(x_i − mean)/√(variance + epsilon) + beta_i over `dim` values, with the
/// population variance. epsilon <= 0 counts as 1e-5, NULL gamma as 1, NULL beta as 0.
///
/// @param input, output  `[dim]`; may be the same.
///
/// # Safety
/// The arrays and the norm's parameters hold `dim` floats.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_layer_norm(
    ln: *mut CLLMLayerNorm,
    input: *mut f32,
    output: *mut f32,
) {
    layer_norm(ln, input, output, 1)
}

/// cllm_layer_norm of `data` into itself.
///
/// # Safety
/// As cllm_layer_norm.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_layer_norm_inplace(ln: *mut CLLMLayerNorm, data: *mut f32) {
    layer_norm(ln, data, data, 1)
}

/// cllm_layer_norm of `batch_size` rows of `dim` values.
///
/// # Safety
/// As cllm_layer_norm, for that many rows.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_layer_norm_batch(
    ln: *mut CLLMLayerNorm,
    input: *mut f32,
    output: *mut f32,
    batch_size: c_int,
) {
    let n = ffi::positive(batch_size, "batch_size")?;
    layer_norm(ln, input, output, n)
}

/// Makes a norm with gamma 1 and beta 0. What the struct held is not looked at, `layer_id` is left
/// alone. Free with cllm_layer_norm_free. `dim` 0: nothing happens.
///
/// # Safety
/// `ln` is NULL or writable.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_layer_norm_init(ln: *mut CLLMLayerNorm, dim: u32, epsilon: f32) {
    if ln.is_null() || dim == 0 {
        return Err(Error::shape("cllm_layer_norm_init needs a norm and a width"));
    }
    // Plain fields, written without reading them.
    (*ln).dim = dim;
    (*ln).epsilon = epsilon;
    (*ln).gamma = std::ptr::null_mut();
    (*ln).beta = std::ptr::null_mut();
    let mut gamma = CArray::<f32>::zeroed("a norm", dim as usize)?;
    let beta = CArray::<f32>::zeroed("a norm", dim as usize)?;
    gamma.as_mut_slice().fill(1.0);
    (*ln).gamma = gamma.into_raw();
    (*ln).beta = beta.into_raw();
    Ok(())
}

/// Frees gamma and beta of a norm from cllm_layer_norm_init and sets them NULL. A norm of a model
/// that the library made is left alone.
///
/// @param ln  may be NULL.
///
/// # Safety
/// `ln` is NULL or such a norm.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_layer_norm_free(ln: *mut CLLMLayerNorm) {
    if ln.is_null() {
        return Ok(());
    }
    let n = ffi::get_mut(ln, "ln")?;
    free_blocks([&mut n.gamma, &mut n.beta])
}

/// Mean and population variance of `dim` values. NULL or `dim` 0: the outputs are unchanged.
///
/// # Safety
/// `input` is NULL or holds `dim` floats; the outputs are NULL or writable.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_layer_norm_stats(
    input: *mut f32,
    dim: u32,
    mean: *mut f32,
    variance: *mut f32,
) {
    if dim == 0 {
        return Err(Error::argument("dim", 0, "1 or more"));
    }
    let x = ffi::slice(input, dim as usize, "input")?;
    let n = x.len() as f64;
    let m = x.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
    let v = x.iter().map(|&x| (f64::from(x) - m).powi(2)).sum::<f64>() / n;
    let (mean, variance) = (ffi::get_mut(mean, "mean")?, ffi::get_mut(variance, "variance")?);
    *mean = m as f32;
    *variance = v as f32;
    Ok(())
}
