//! Matrices of 8-bit weights, and their products with rows of floats.
//!
//! A row of weights is cut into blocks of [`BLOCK`] inputs. A block is a scale s and integers q from
//! −127 to 127, standing for s·q ([`Matrix`]). Rows of floats are cut in the same way when a product
//! needs them. Then
//!
//! ```text
//! out = Σ_b f32(Σ_i q_bi·p_bi)·(s_b·t_b)      q, s: the weights; p, t: the inputs
//! ```
//!
//! The inner sums are integers and exact. The outer one runs over the blocks from the first to the
//! last in f32, with every product and every sum rounded by itself (no fused multiply-add). So the
//! result has the same bits on every instruction set, for any number of threads, and however many
//! rows are computed at once. There are implementations of `Lanes` for few rows and many, and the tiles
//! of AMX for many rows alone.

#[cfg(target_arch = "x86_64")]
mod amx;
mod inputs;
mod lanes;
mod matrix;
#[cfg(target_arch = "aarch64")]
mod neon;
mod product;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use matrix::Matrix;
pub use product::{linear, linear_then};

/// Inputs of a block.
pub const BLOCK: usize = 64;

/// The largest integer of a block; −128 does not occur.
const LARGEST: f32 = 127.0;

/// Blocks whose largest magnitude is below this (2^-100) are zero: the inverse of their scale would
/// not be finite, and no product would notice them.
const SMALLEST: f32 = f32::from_bits((127 - 100) << 23);

/// Inputs that lie next to each other for one output: what one instruction multiplies and sums up.
const STEP: usize = 4;

/// The blocks of a row of `columns` values.
pub fn blocks(columns: usize) -> usize {
    columns.div_ceil(BLOCK)
}

/// The value of a scale as it is stored: the upper half of an f32 (bfloat16).
pub fn scale_value(scale: u16) -> f32 {
    f32::from_bits(u32::from(scale) << 16)
}

// What is inlined here is compiled for each instruction set, inside of functions of `simd!`.

/// The largest magnitude, as the bits of a float: not below those of infinity where a value is infinite
/// or NaN.
#[inline(always)]
fn largest_bits(x: &[f32]) -> u32 {
    let mut largest = 0;
    for x in x {
        largest = largest.max(x.to_bits() & !(1 << 31));
    }
    largest
}

/// The largest magnitude of a block: 0 where it is below [`SMALLEST`], NaN where a value is not
/// finite.
#[inline(always)]
fn largest(x: &[f32]) -> f32 {
    match f32::from_bits(largest_bits(x)) {
        largest if !largest.is_finite() => f32::NAN,
        largest if largest < SMALLEST => 0.0,
        largest => largest,
    }
}

/// The nearest integers to x·`inverse`, even ones at ties, for magnitudes up to 127. Returns their
/// sum.
#[inline(always)]
fn round(x: &[f32], inverse: f32, out: &mut [i8]) -> i32 {
    // 1.5·2^23: the sum's last bit is worth 1, so the bits are those of MAGIC and the integer added up.
    const MAGIC: f32 = 12_582_912.0;
    let mut sum = 0u32;
    for (out, x) in out.iter_mut().zip(x) {
        let bits = (x * inverse + MAGIC).to_bits();
        *out = bits as i8;
        sum = sum.wrapping_add(bits);
    }
    sum.wrapping_sub(MAGIC.to_bits().wrapping_mul(x.len() as u32)) as i32
}

/// Writes the integers of a block whose scale is `scale`: zeros where that is 0 or NaN. Returns their
/// sum.
#[inline(always)]
fn quantize(x: &[f32], scale: f32, out: &mut [i8]) -> i32 {
    if scale > 0.0 {
        return round(x, scale.recip(), out);
    }
    out.fill(0);
    0
}
