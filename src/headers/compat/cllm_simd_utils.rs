//! `cllm_simd_utils.h`: vector and matrix products.

use crate::border::ffi;
use cllm_engine::error::Result;
use cllm_kernels::Pool;
use cllm_kernels::matmul::{self, Accumulate};
use cllm_kernels::memory::product;
use cllm_kernels::vector;
use cllm_macros::c_api;
use ndarray::{ArrayView2, ArrayViewMut2};
use std::ffi::c_int;

/// Two vectors for a dot product; both empty where there is nothing to add up.
///
/// # Safety
/// As [`ffi::slice`] for both.
unsafe fn pair<'a>(a: *const f32, b: *const f32, n: c_int) -> Result<(&'a [f32], &'a [f32])> {
    let n = ffi::len(n, "n")?;
    if n == 0 {
        return Ok((&[], &[]));
    }
    Ok((ffi::slice(a, n, "a")?, ffi::slice(b, n, "b")?))
}

/// The sum of a_i * b_i, with the widest vector instructions that the processor has.
///
/// @param a, b  `[n]` floats; may be the same array.
/// @param n     number of elements.
/// @return the sum; 0 for n <= 0 or a NULL pointer.
///
/// Added up in 64 partial sums in single precision: within 1e-5 of the exact sum, relative to the
/// sum of |a_i * b_i|. The same bits on every call on one machine. Any thread.
///
/// # Safety
/// The arrays have `n` elements.
#[unsafe(no_mangle)]
#[c_api(0.0)]
pub unsafe extern "C" fn dot_product(a: *const f32, b: *const f32, n: c_int) -> f32 {
    let (a, b) = pair(a, b, n)?;
    Ok(vector::dot(a, b))
}

/// The same as dot_product(), for any n, on any processor: the name promises AVX2, but without it
/// other instructions are used. (The C library read past the end unless n was a multiple of 8.)
///
/// @param a, b  `[n]` floats.
/// @param n     number of elements.
/// @return the sum; 0 for n <= 0 or a NULL pointer.
///
/// # Safety
/// The arrays have `n` elements.
#[unsafe(no_mangle)]
#[c_api(0.0)]
pub unsafe extern "C" fn dot_product_avx2(a: *const f32, b: *const f32, n: c_int) -> f32 {
    let (a, b) = pair(a, b, n)?;
    Ok(vector::dot(a, b))
}

/// The sum of a_i * b_i, one after the other, kept in double precision: a reference to compare the
/// fast ones with.
///
/// @param a, b  `[n]` floats.
/// @param n     number of elements.
/// @return the sum; 0 for n <= 0 or a NULL pointer.
///
/// # Safety
/// The arrays have `n` elements.
#[unsafe(no_mangle)]
#[c_api(0.0)]
pub unsafe extern "C" fn dot_product_scalar(a: *const f32, b: *const f32, n: c_int) -> f32 {
    let (a, b) = pair(a, b, n)?;
    let terms = a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b));
    Ok(terms.sum::<f64>() as f32)
}

/// result_i += a_i * b_i.
///
/// @param result  `[n]` floats, changed; may be or overlap `a` or `b`, which are read first.
/// @param a, b    `[n]` floats.
/// @param n       number of elements; n <= 0: nothing happens.
///
/// Nothing happens where a pointer is NULL.
///
/// # Safety
/// The arrays have `n` elements.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn vector_multiply_accumulate(
    result: *mut f32,
    a: *const f32,
    b: *const f32,
    n: c_int,
) {
    let n = ffi::len(n, "n")?;
    if n == 0 {
        return Ok(());
    }
    // Inputs that overlap the result are copies.
    let a = ffi::input(a, n, "a", (result, n))?;
    let b = ffi::input(b, n, "b", (result, n))?;
    vector::multiply_accumulate(ffi::slice_mut(result, n, "result")?, &a, &b);
    Ok(())
}

/// result_i = a_i + b_i.
///
/// @param result  `[n]` floats, overwritten; may be or overlap `a` or `b`, which are read first.
/// @param a, b    `[n]` floats.
/// @param n       number of elements; n <= 0: nothing happens.
///
/// Nothing happens where a pointer is NULL.
///
/// # Safety
/// The arrays have `n` elements.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn vector_add(result: *mut f32, a: *const f32, b: *const f32, n: c_int) {
    let n = ffi::len(n, "n")?;
    if n == 0 {
        return Ok(());
    }
    // Inputs that overlap the result are copies.
    let a = ffi::input(a, n, "a", (result, n))?;
    let b = ffi::input(b, n, "b", (result, n))?;
    vector::add(ffi::slice_mut(result, n, "result")?, &a, &b);
    Ok(())
}

/// result_i = scalar * a_i.
///
/// @param result  `[n]` floats, overwritten; may be or overlap `a`, which is read first.
/// @param a       `[n]` floats.
/// @param scalar  any float.
/// @param n       number of elements; n <= 0: nothing happens.
///
/// Nothing happens where a pointer is NULL.
///
/// # Safety
/// The arrays have `n` elements.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn vector_scale(result: *mut f32, a: *const f32, scalar: f32, n: c_int) {
    let n = ffi::len(n, "n")?;
    if n == 0 {
        return Ok(());
    }
    // An input that overlaps the result is a copy.
    let same = std::ptr::eq(result, a);
    let a = if same { None } else { Some(ffi::input(a, n, "a", (result, n))?) };
    let result = ffi::slice_mut(result, n, "result")?;
    if let Some(a) = a {
        result.copy_from_slice(&a);
    }
    vector::scale(result, scalar);
    Ok(())
}

/// result = A * x.
///
/// @param result  `[m]` floats, overwritten.
/// @param A       `[m][n]` floats, row-major.
/// @param x       `[n]` floats.
/// @param m, n    sizes; m <= 0 or n < 0: nothing happens; n = 0: `result` is zeroed.
///
/// Nothing happens where a pointer is NULL. `result` may overlap the inputs, which then are
/// copied first.
///
/// # Safety
/// The arrays have the sizes above.
#[unsafe(no_mangle)]
#[c_api]
#[allow(non_snake_case)]
pub unsafe extern "C" fn simd_matrix_vector_multiply(
    result: *mut f32,
    A: *const f32,
    x: *const f32,
    m: c_int,
    n: c_int,
) {
    let (m, n) = (ffi::positive(m, "m")?, ffi::len(n, "n")?);
    // Inputs that overlap the result are copies.
    if n == 0 {
        ffi::slice_mut(result, m, "result")?.fill(0.0);
        return Ok(());
    }
    let a = ffi::input(A, product("A", &[m, n])?, "A", (result, m))?;
    let x = ffi::input(x, n, "x", (result, m))?;
    matmul::matvec(&Pool::serial(), ffi::slice_mut(result, m, "result")?, &a, &x);
    Ok(())
}

/// One matrix product with a `[rows][columns]` left operand, taken as it is or transposed.
///
/// # Safety
/// The arrays have the sizes that the callers document.
unsafe fn multiply(
    (c, a, b): (*mut f32, *const f32, *const f32),
    (m, n, p): (c_int, c_int, c_int),
    transposed: bool,
) -> Result<()> {
    let (m, p) = (ffi::positive(m, "m")?, ffi::positive(p, "p")?);
    let n = ffi::len(n, "n")?;
    let size = product("C", &[m, p])?;
    // Inputs that overlap the result are copies.
    if n == 0 {
        ffi::slice_mut(c, size, "C")?.fill(0.0);
        return Ok(());
    }
    let a = ffi::input(a, product("A", &[m, n])?, "A", (c, size))?;
    let b = ffi::input(b, product("B", &[n, p])?, "B", (c, size))?;
    let c = ffi::slice_mut(c, size, "C")?;
    let shape = |e: ndarray::ShapeError| cllm_engine::error::Error::shape(e.to_string());
    let left = if transposed {
        ArrayView2::from_shape((n, m), &a).map_err(shape)?.reversed_axes()
    } else {
        ArrayView2::from_shape((m, n), &a).map_err(shape)?
    };
    let right = ArrayView2::from_shape((n, p), &b).map_err(shape)?;
    let out = ArrayViewMut2::from_shape((m, p), c).map_err(shape)?;
    matmul::matmul(&Pool::serial(), out, left, right, Accumulate::Replace);
    Ok(())
}

/// C = A * B.
///
/// @param C        `[m][p]` floats, row-major, overwritten.
/// @param A        `[m][n]` floats.
/// @param B        `[n][p]` floats.
/// @param m, n, p  sizes; m, p <= 0 or n < 0: nothing happens; n = 0: C is zeroed.
///
/// Nothing happens where a pointer is NULL. Runs on the calling thread. C may overlap the inputs,
/// which then are copied first.
///
/// # Safety
/// The arrays have the sizes above.
#[unsafe(no_mangle)]
#[c_api]
#[allow(non_snake_case)]
pub unsafe extern "C" fn simd_matrix_multiply(
    C: *mut f32,
    A: *const f32,
    B: *const f32,
    m: c_int,
    n: c_int,
    p: c_int,
) {
    multiply((C, A, B), (m, n, p), false)
}

/// C = transpose(A) * B.
///
/// @param C        `[m][p]` floats, row-major, overwritten.
/// @param A        `[n][m]` floats.
/// @param B        `[n][p]` floats.
/// @param m, n, p  sizes; m, p <= 0 or n < 0: nothing happens; n = 0: C is zeroed.
///
/// Nothing happens where a pointer is NULL. Runs on the calling thread. C may overlap the inputs,
/// which then are copied first.
///
/// # Safety
/// The arrays have the sizes above.
#[unsafe(no_mangle)]
#[c_api]
#[allow(non_snake_case)]
pub unsafe extern "C" fn simd_matrix_multiply_transposed(
    C: *mut f32,
    A: *const f32,
    B: *const f32,
    m: c_int,
    n: c_int,
    p: c_int,
) {
    multiply((C, A, B), (m, n, p), true)
}
