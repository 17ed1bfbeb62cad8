//! The twelve symmetry groups.

use crate::border::ffi;
use cllm_compat::lattice::{embedding, symmetry};
use cllm_engine::error::{Error, Result};
use cllm_kernels::memory::product;
use cllm_macros::c_api;
use std::ffi::c_int;

/// A group for the transforms, which ignore those from 12 on.
fn group(symmetry_group: c_int) -> u32 {
    u32::try_from(symmetry_group).unwrap_or(0)
}

/// A group that there is.
fn known_group(symmetry_group: c_int) -> Result<u32> {
    match symmetry_group {
        0..12 => Ok(group(symmetry_group)),
        _ => Err(Error::argument("symmetry_group", symmetry_group, "0 to 11")),
    }
}

/// A vector to transform.
///
/// # Safety
/// As [`ffi::slice_mut`].
unsafe fn vector<'a>(x: *mut f32, dim: c_int) -> Result<&'a mut [f32]> {
    let n = ffi::positive(dim, "dim")?;
    ffi::slice_mut(x, n, "embedding")
}

/// Symmetry group of a prime: prime mod 12.
///
/// @param prime  any number.
/// @return 0..11.
#[unsafe(no_mangle)]
#[c_api(0)]
pub extern "C" fn cllm_compute_symmetry_group(prime: u64) -> u32 {
    Ok(symmetry::group(prime))
}

/// Applies the transform of a symmetry group g, in place. R rotates each pair of components
/// (2j, 2j + 1) by 2 pi g/12; an odd last component stays.
///
/// g = 0: nothing; 1, 5, 7, 11: R; 2, 4, 8, 10: R, then the first component changes its sign;
/// 3, 9: R, then a scale of 1.1; 6: the first two components change their signs.
///
/// @param embedding       `[dim]` floats, changed in place.
/// @param symmetry_group  0..11; others: nothing happens, and a message.
/// @param dim             NULL or dim <= 0: nothing happens.
///
/// # Safety
/// `embedding` has `dim` elements.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_apply_symmetry_transform(
    embedding: *mut f32,
    symmetry_group: c_int,
    dim: c_int,
) {
    symmetry::apply(vector(embedding, dim)?, known_group(symmetry_group)?);
    Ok(())
}

/// Undoes cllm_apply_symmetry_transform().
///
/// @param embedding       `[dim]` floats, changed in place.
/// @param symmetry_group  0..11; others: nothing happens, and a message.
/// @param dim             NULL or dim <= 0: nothing happens.
///
/// # Safety
/// `embedding` has `dim` elements.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_apply_inverse_symmetry_transform(
    embedding: *mut f32,
    symmetry_group: c_int,
    dim: c_int,
) {
    symmetry::apply_inverse(vector(embedding, dim)?, known_group(symmetry_group)?);
    Ok(())
}

/// Eight features of a vector x: length; sum of |x_i|; +1 or -1 for an even or odd number of
/// negative components; largest |x_i|; sums of x_i^2, x_i^3, x_i^4, x_i^5.
///
/// @param embedding     `[dim]` floats, not changed.
/// @param dim           NULL or dim <= 0: nothing happens.
/// @param features      the first min(num_features, 8) are overwritten.
/// @param num_features  <= 0: nothing happens.
///
/// Despite the name only the length and the sum of squares are invariant, and only under the
/// groups without scale. Formulas kept from the C library.
///
/// # Safety
/// The arrays have the sizes above.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_compute_symmetry_invariants(
    embedding: *mut f32,
    dim: c_int,
    features: *mut f32,
    num_features: c_int,
) {
    let n = ffi::positive(dim, "dim")?;
    let count = ffi::positive(num_features, "num_features")?.min(8);
    // The input is done with before the output is borrowed.
    let all = symmetry::invariants(ffi::slice(embedding, n, "embedding")?);
    let out = ffi::slice_mut(features, count, "features")?;
    out.copy_from_slice(&all[..count]);
    Ok(())
}

/// cllm_apply_symmetry_transform(), then embedding = transform_matrix * embedding.
///
/// @param embedding         `[dim]` floats, changed in place.
/// @param symmetry_group    0..11; others: only the matrix is applied.
/// @param transform_matrix  `[dim][dim]` floats, row-major; may not overlap `embedding`.
/// @param dim               NULL or dim <= 0: nothing happens.
///
/// # Safety
/// The arrays have the sizes above.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_apply_equivariant_transform(
    embedding: *mut f32,
    symmetry_group: c_int,
    transform_matrix: *mut f32,
    dim: c_int,
) {
    let n = ffi::positive(dim, "dim")?;
    let square = product("transform_matrix", &[n, n])?;
    // A matrix that overlaps the vector is a copy.
    let matrix = ffi::input(transform_matrix, square, "transform_matrix", (embedding, n))?;
    let x = ffi::slice_mut(embedding, n, "embedding")?;
    symmetry::apply(x, group(symmetry_group));
    embedding::apply_in_place(&matrix, x)
}

/// How well two vectors agree after the transforms of their groups: (cosine + 1)/2.
///
/// @param embedding1, embedding2  `[dim]` floats, not changed; may be the same.
/// @param symmetry1, symmetry2    their groups, as for cllm_apply_symmetry_transform().
/// @param dim                     number of components.
/// @return 0..1; 0 for NULL, dim <= 0 or a vector shorter than 1e-8.
///
/// # Safety
/// The arrays have `dim` elements.
#[unsafe(no_mangle)]
#[c_api(0.0)]
pub unsafe extern "C" fn cllm_symmetry_compatibility(
    embedding1: *mut f32,
    symmetry1: c_int,
    embedding2: *mut f32,
    symmetry2: c_int,
    dim: c_int,
) -> f32 {
    let n = ffi::positive(dim, "dim")?;
    let (a, b) =
        (ffi::slice(embedding1, n, "embedding1")?, ffi::slice(embedding2, n, "embedding2")?);
    symmetry::compatibility((a, group(symmetry1)), (b, group(symmetry2)))
}

/// Attention weights between symmetry groups: `mask[i][j]` = 1/(1 + d/2), d = the distance of the two
/// groups on a clock of 12 hours, 0..6.
///
/// @param symmetry_groups  `[seq_len]` groups, taken modulo 12 (also negative ones).
/// @param seq_len          NULL or seq_len <= 0: nothing happens.
/// @param mask             `[seq_len][seq_len]` floats, overwritten.
///
/// # Safety
/// The arrays have the sizes above.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_generate_symmetry_attention_mask(
    symmetry_groups: *mut c_int,
    seq_len: c_int,
    mask: *mut f32,
) {
    let n = ffi::positive(seq_len, "seq_len")?;
    let len = product("mask", &[n, n])?;
    let (groups, mask) =
        (ffi::slice(symmetry_groups, n, "symmetry_groups")?, ffi::slice_mut(mask, len, "mask")?);
    for (&a, row) in groups.iter().zip(mask.chunks_exact_mut(n)) {
        for (&b, weight) in groups.iter().zip(row) {
            *weight = symmetry::attention(a, b);
        }
    }
    Ok(())
}
