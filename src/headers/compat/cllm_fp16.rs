//! `cllm_fp16.h`: half precision.

use crate::border::ffi;
use cllm_engine::error::{Error, Result};
use cllm_kernels::vector;
use cllm_macros::c_api;
use half::f16;
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use std::ffi::c_int;

/// Conversion within one buffer is not supported. Checked before any slice is made.
fn check_apart<A, B>(out: *const A, input: *const B, n: usize) -> Result<()> {
    let end = |start: usize, size: usize| start.saturating_add(n.saturating_mul(size));
    let (a, b) = (out.addr(), input.addr());
    if a != 0 && b != 0 && a < end(b, size_of::<B>()) && b < end(a, size_of::<A>()) {
        return Err(Error::shape("input and output overlap"));
    }
    Ok(())
}

/// Converts single to half precision (IEEE 754 binary16), rounding to nearest, ties to even.
/// Subnormals, signed zeros and infinities are kept; values from 65520 on become infinite; NaN
/// stays NaN and becomes quiet.
///
/// @param fp16  `[n]` half-precision bit patterns, overwritten.
/// @param fp32  `[n]` floats.
/// @param n     number of values; 0: nothing happens.
///
/// Nothing happens where a pointer is NULL or the arrays overlap; cllm_last_error() says so.
/// The C library turned 0 and everything below 2^-15 into infinity; this is fixed.
///
/// # Safety
/// The arrays have `n` elements.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn fp32_to_fp16(fp16: *mut u16, fp32: *const f32, n: usize) {
    if n == 0 {
        return Ok(());
    }
    check_apart(fp16, fp32, n)?;
    let (out, input) = (ffi::slice_mut(fp16, n, "fp16")?, ffi::slice(fp32, n, "fp32")?);
    out.reinterpret_cast_mut::<f16>().convert_from_f32_slice(input);
    Ok(())
}

/// Converts half to single precision, exactly, subnormals and infinities included. NaN stays NaN
/// with its payload and becomes quiet.
///
/// @param fp32  `[n]` floats, overwritten.
/// @param fp16  `[n]` half-precision bit patterns.
/// @param n     number of values; 0: nothing happens.
///
/// Nothing happens where a pointer is NULL or the arrays overlap; cllm_last_error() says so.
///
/// # Safety
/// The arrays have `n` elements.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn fp16_to_fp32(fp32: *mut f32, fp16: *const u16, n: usize) {
    if n == 0 {
        return Ok(());
    }
    check_apart(fp32, fp16, n)?;
    let (out, input) = (ffi::slice_mut(fp32, n, "fp32")?, ffi::slice(fp16, n, "fp16")?);
    input.reinterpret_cast::<f16>().convert_to_f32_slice(out);
    Ok(())
}

/// x_i = scale * x_i.
///
/// @param data   `[n]` floats, changed in place.
/// @param n      number of values; 0: nothing happens.
/// @param scale  any float.
///
/// Nothing happens where `data` is NULL; cllm_last_error() says so.
///
/// # Safety
/// `data` has `n` elements.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn scale_fp32_array(data: *mut f32, n: usize, scale: f32) {
    if n > 0 {
        vector::scale(ffi::slice_mut(data, n, "data")?, scale);
    }
    Ok(())
}

/// Whether some value is NaN or infinite.
///
/// @param data  `[n]` floats, not changed.
/// @param n     number of values.
/// @return 1 if some value is NaN or infinite, else 0; also 0 for NULL, where cllm_last_error()
/// says so.
///
/// The C library took finite values beyond 1e38 for infinite; this is fixed.
///
/// # Safety
/// `data` has `n` elements.
#[unsafe(no_mangle)]
#[c_api(0)]
pub unsafe extern "C" fn has_nan_or_inf(data: *const f32, n: usize) -> c_int {
    if n == 0 {
        return Ok(0);
    }
    let data = ffi::slice(data, n, "data")?;
    Ok(c_int::from(!data.iter().all(|x| x.is_finite())))
}
