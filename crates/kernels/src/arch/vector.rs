//! Vector registers under one interface, for the kernels that lay out registers by hand. What
//! the compiler vectorises by itself goes through `simd!` instead.

use crate::tile::Tiles;

/// A register of floats.
///
/// # Safety of its functions
/// They may run only where the type's instructions were found on this processor, and only inlined
/// into a function that enables them. Pointers need no alignment.
pub(crate) trait Vector: Copy {
    /// Floats of a register.
    const LANES: usize;
    /// Whether fused multiply-add is an instruction.
    const FMA: bool;
    /// The tiles of matrix products.
    const TILES: &'static Tiles;
    unsafe fn zero() -> Self;
    unsafe fn splat(x: f32) -> Self;
    /// The `LANES` floats at `from`.
    unsafe fn load(from: *const f32) -> Self;
    /// Writes `LANES` floats.
    unsafe fn store(self, to: *mut f32);
    /// The first `n` floats at `from`, n < `LANES`; the others are 0 and not touched in memory.
    unsafe fn load_part(from: *const f32, n: usize) -> Self;
    /// Writes the first `n` floats, n < `LANES`.
    unsafe fn store_part(self, to: *mut f32, n: usize);
    /// self·a + b.
    unsafe fn mul_add(self, a: Self, b: Self) -> Self;
    unsafe fn add(self, other: Self) -> Self;
    /// The sum of the lanes, half by half.
    unsafe fn sum(self) -> f32;
    /// Turns the 8 columns of 8 rows, `from_step` floats apart, into 8 rows, `to_step` apart.
    unsafe fn transpose8(from: *const f32, from_step: usize, to: *mut f32, to_step: usize);
}

/// Σ a_i·b_i over the length of `a`, which `b` has too: four sums of registers, then their pairs.
///
/// # Safety
/// As for all of [`Vector`]; `b` holds as many values as `a`.
#[inline(always)]
pub(crate) unsafe fn product_sum<V: Vector>(a: &[f32], b: *const f32) -> f32 {
    const UNROLLED: usize = 4;
    let (n, a) = (a.len(), a.as_ptr());
    // SAFETY: all reads are below n; the rest is the caller's promise.
    unsafe {
        let mut sums = [V::zero(); UNROLLED];
        let mut i = 0;
        while n - i >= UNROLLED * V::LANES {
            for (v, sum) in sums.iter_mut().enumerate() {
                let at = i + v * V::LANES;
                *sum = V::load(a.add(at)).mul_add(V::load(b.add(at)), *sum);
            }
            i += UNROLLED * V::LANES;
        }
        while n - i >= V::LANES {
            sums[0] = V::load(a.add(i)).mul_add(V::load(b.add(i)), sums[0]);
            i += V::LANES;
        }
        if i < n {
            let (a, b) = (V::load_part(a.add(i), n - i), V::load_part(b.add(i), n - i));
            sums[1] = a.mul_add(b, sums[1]);
        }
        let [a, b, c, d] = sums;
        a.add(b).add(c.add(d)).sum()
    }
}
