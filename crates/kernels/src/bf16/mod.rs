//! Matrix products of bfloat16 with sums in f32, for training.
//!
//! bfloat16 is the upper half of an f32: its sign and exponent, and 8 significant bits. A product takes
//! matrices of f32, rounds their values to it (to nearest, ties to even; what is below the smallest
//! normal number becomes 0, NaN stays NaN), and sums up the products in f32 with an instruction of the
//! processor, of which there are two ([`Sums`]). Each of their steps is rounded once, to nearest, with
//! results below the smallest normal number becoming 0; the product of two bfloat16 is exact in f32.
//! (Intel, "Architectures Software Developer's Manual", volume 2.)
//!
//! [`Sums::Tiles`], the instruction `tdpbf16ps` of AMX, adds up the even and the odd elements of 32 at a
//! time, then both to the sum:
//!
//! ```text
//! e ← f32(e + a_{2i}·b_{2i}),  o ← f32(o + a_{2i+1}·b_{2i+1})  from 0, for i = 0 to 15
//! sum ← f32(sum + f32(e + o))
//! ```
//!
//! [`Sums::Pairs`], the instruction `vdpbf16ps` of AVX512_BF16, takes two at a time, in runs of 192
//! elements from 0 on, whose sums are added up in turn:
//!
//! ```text
//! sum ← f32(sum + a_{2i+1}·b_{2i+1});  sum ← f32(sum + a_{2i}·b_{2i})
//! ```
//!
//! (Processors of other makers may differ in last bits.) In both the order depends on k alone, so every
//! element has the same bits however the work is cut and however many threads share it. There are no
//! other ways to compute it: a processor without these instructions has f32.

#[cfg(target_arch = "x86_64")]
mod amx;
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

/// Two neighbours in k, in bfloat16: the first one in the lower half.
type Pair = u32;

/// In which order products are added up: which instruction of the processor does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sums {
    /// `vdpbf16ps` of AVX512_BF16.
    Pairs,
    /// `tdpbf16ps` of AMX.
    Tiles,
}

/// The functions that a product is made of, and the sizes that suit them.
#[derive(Clone, Copy)]
struct Kernels {
    sums: Sums,
    /// Pack a group of rows of the left matrix, or of columns of the right one.
    pack_left: unsafe fn(Lanes, *mut Pair),
    pack_right: unsafe fn(Lanes, *mut Pair),
    /// Computes a tile.
    tile: unsafe fn(Tile),
    /// What a thread has to have for tiles, while it computes some.
    registers: fn() -> Registers,
    /// Pairs that are added up at once: packed lanes are filled up with zeros to whole ones.
    step: usize,
    /// Pairs after which a product goes on with the next rows: those of the widest tile's columns stay
    /// in a first cache. Of [`Sums::Pairs`] it is the run, which decides about bits.
    depth: usize,
    /// Rows of the highest tile, and rows after which tiles begin again: whole groups.
    high: usize,
    band: usize,
    /// Groups of columns of the widest tile.
    wide: usize,
}

/// Registers that a thread has for a while.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "made where there are kernels"))]
enum Registers {
    /// Those that it always has.
    Vectors,
    #[cfg(target_arch = "x86_64")]
    Tiles { _until_dropped: crate::arch::amx::Tiles },
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
        write!(f, "Bfloat16({:?})", self.sums())
    }
}

impl PartialEq for Bfloat16 {
    fn eq(&self, other: &Self) -> bool {
        self.sums() == other.sums()
    }
}

impl Bfloat16 {
    /// Those of this processor, AMX before AVX512_BF16, if it has one and `CLLM_SIMD` does not forbid
    /// AVX-512. The first call asks the system for AMX, which it gives to the whole process: from then on
    /// Linux refuses an alternate signal stack (`sigaltstack`) of less than about 12 KB.
    pub fn found() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        return amx::found().or_else(x86::found).map(|kernels| Self { kernels });
        #[cfg(not(target_arch = "x86_64"))]
        None
    }

    /// In which order it adds up.
    pub fn sums(self) -> Sums {
        self.kernels.sums
    }

    /// Whether this processor multiplies bfloat16 faster than f32. AMX does. `vdpbf16ps` does twice the work
    /// of a fused multiply-add; some processors take as long for both, others four times as long. It is
    /// measured, in less than a millisecond, once in a process.
    pub fn is_faster(self) -> bool {
        match self.sums() {
            Sums::Tiles => true,
            #[cfg(target_arch = "x86_64")]
            Sums::Pairs => x86::is_faster(),
            #[cfg(not(target_arch = "x86_64"))]
            Sums::Pairs => false,
        }
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

    /// out = a·b, then `finish`, as [`matmul_then`](crate::matmul::matmul_then). It multiplies no
    /// matrices itself.
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
