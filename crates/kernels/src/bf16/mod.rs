//! Matrix products of bfloat16 with sums in f32, for training.
//!
//! bfloat16 is the upper half of an f32: its sign and exponent, and 8 significant bits. A product takes
//! matrices of f32, rounds their values to it (to nearest, ties to even; what is below the smallest
//! normal number becomes 0, NaN stays NaN), and sums up the products with the instruction `vdpbf16ps`,
//! which takes two at a time:
//!
//! ```text
//! sum ← f32(sum + a_1·b_1);  sum ← f32(sum + a_0·b_0)
//! ```
//!
//! each step rounded once, to nearest, with results below the smallest normal number becoming 0 (Intel,
//! "Architectures Software Developer's Manual", volume 2, VDPBF16PS; the product of two such numbers is
//! exact in f32; processors of other makers may differ in last bits). The pairs follow each other in the order of k, in runs of `DEPTH` whose sums are
//! added to the result in turn. So the order depends on k alone, and every element has the same bits
//! however the work is cut and however many threads share it.
//!
//! There are no other ways to compute it: a processor without the instruction has f32. AMX, whose tiles
//! do the same on some processors, is left out: its sums are of another order, its intrinsics are not
//! stable, and there was no processor to test it on.

mod pack;
mod product;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;
mod tile;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::matmul::Accumulate;
use crate::threads::Pool;
use ndarray::{ArrayView2, ArrayViewMut2};
use pack::Lanes;
use std::fmt;
use tile::Tile;

/// Rows or columns of a matrix that lie side by side when it is packed: what a register has sums for.
const GROUP: usize = 16;

/// Groups of columns of the widest tile.
const WIDE: usize = 4;

/// Rows of the highest tile.
const HIGH: usize = 6;

/// Pairs after which a product goes on with the next rows: those of the widest tile's columns, and of a
/// group of rows, stay in a first cache of 32 KiB.
const DEPTH: usize = 96;

/// Two neighbours in k, in bfloat16: the first one in the lower half.
type Pair = u32;

/// The functions that a product is made of.
#[derive(Clone, Copy)]
struct Kernels {
    /// Packs a group.
    pack: unsafe fn(Lanes, *mut Pair),
    /// Computes a tile.
    tile: unsafe fn(Tile),
}

/// Matrix products of bfloat16: there is one where the processor has the instructions for it.
///
/// ```
/// use cllm_kernels::bf16::Bfloat16;
/// use cllm_kernels::{Pool, matmul::Accumulate};
/// use ndarray::{Array2, array};
///
/// let (a, b) = (array![[1.0, 1.001]], array![[2.0], [4.0]]);
/// let mut out = Array2::zeros((1, 1));
/// if let Some(bfloat16) = Bfloat16::found() {
///     let pool = Pool::serial();
///     bfloat16.matmul(&pool, out.view_mut(), a.view(), b.view(), Accumulate::Replace);
///     assert_eq!(out[[0, 0]], 6.0); // 1.001 became 1
/// }
/// ```
#[derive(Clone, Copy)]
pub struct Bfloat16 {
    kernels: &'static Kernels,
}

impl fmt::Debug for Bfloat16 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bfloat16")
    }
}

/// There is one kind only.
impl PartialEq for Bfloat16 {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Bfloat16 {
    /// Those of this processor, if it has AVX512_BF16 and `CLLM_SIMD` does not forbid AVX-512.
    pub fn found() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        return x86::found().map(|kernels| Self { kernels });
        #[cfg(not(target_arch = "x86_64"))]
        None
    }

    /// Whether this processor multiplies bfloat16 faster than f32. `vdpbf16ps` does twice the work of a
    /// fused multiply-add; some processors take as long for both, others four times as long. It is
    /// measured, in less than a millisecond, once in a process.
    pub fn is_faster(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return x86::is_faster();
        #[cfg(not(target_arch = "x86_64"))]
        false
    }

    /// out = a·b, or out += a·b, as [`matmul`](crate::matmul::matmul).
    ///
    /// # Panics
    /// As there; where there is no memory.
    pub fn matmul(
        self,
        pool: &Pool,
        out: ArrayViewMut2<f32>,
        a: ArrayView2<f32>,
        b: ArrayView2<f32>,
        accumulate: Accumulate,
    ) {
        product::multiply(self.kernels, pool, out, None, a, b, accumulate, &|_, _, _, _| ());
    }

    /// out = a·b, then `finish`, as [`matmul_then`](crate::matmul::matmul_then).
    ///
    /// # Panics
    /// As there; where there is no memory.
    pub fn matmul_then(
        self,
        pool: &Pool,
        out: ArrayViewMut2<f32>,
        also: Option<ArrayViewMut2<f32>>,
        a: ArrayView2<f32>,
        b: ArrayView2<f32>,
        finish: impl Fn(usize, usize, &mut [f32], &mut [f32]) + Sync,
    ) {
        product::multiply(self.kernels, pool, out, also, a, b, Accumulate::Replace, &finish);
    }
}

/// The bits of the nearest bfloat16, the even one at ties, whose lower half is zero. What is not a number
/// stays none.
#[inline(always)]
fn nearest(x: f32) -> u32 {
    let bits = x.to_bits();
    let up = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    (if x.is_nan() { bits | 0x40_0000 } else { up }) & 0xffff_0000
}

/// Rounds values to bfloat16: to nearest, ties to even, NaN to NaN. Unlike in a product, what is below the
/// smallest normal number stays.
///
/// ```
/// let mut values = [1.001, -3.0, 1e-40];
/// cllm_kernels::bf16::round(&mut values);
/// assert_eq!(values[..2], [1.0, -3.0]);
/// assert!(values[2] > 0.0);
/// ```
pub fn round(values: &mut [f32]) {
    for value in values {
        *value = f32::from_bits(nearest(*value));
    }
}
