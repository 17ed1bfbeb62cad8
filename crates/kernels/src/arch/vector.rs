//! Vector registers under one interface, for the kernels that lay out registers by hand. What
//! the compiler vectorises by itself goes through `simd!` instead.

use crate::tile::Tiles;

/// Lanes of a sum, whatever the registers are: one of AVX-512, two of AVX2, four of others.
pub(crate) const LANES: usize = 16;

/// Registers that [`LANES`] lanes take at most.
const MOST_PARTS: usize = 4;

/// Lanes of [`lanes_sum`] at most.
const MOST_LANES: usize = 64;

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
    /// Registers of [`LANES`] floats.
    const PARTS: usize = LANES / Self::LANES;
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
    /// As many of the `n` floats at `from` as there are lanes, zeros behind them.
    #[inline(always)]
    unsafe fn load_most(from: *const f32, n: usize) -> Self {
        // SAFETY: the caller's promise.
        unsafe { if n < Self::LANES { Self::load_part(from, n) } else { Self::load(from) } }
    }
    /// Writes the first `n` floats, n < `LANES`.
    unsafe fn store_part(self, to: *mut f32, n: usize);
    /// self·a + b.
    unsafe fn mul_add(self, a: Self, b: Self) -> Self;
    unsafe fn add(self, other: Self) -> Self;
    /// The sum of the lanes, half by half: a lane of the lower half and the one of its place in the
    /// upper half, until one is left.
    unsafe fn sum(self) -> f32;
    /// A hint that what is at `at` will be needed soon. Nothing need be there.
    #[inline(always)]
    unsafe fn prefetch(_at: *const f32) {}
    /// Turns the 8 columns of 8 rows, `from_step` floats apart, into 8 rows, `to_step` apart.
    unsafe fn transpose8(from: *const f32, from_step: usize, to: *mut f32, to_step: usize);
}

/// The sum of N lanes, half by half as [`Vector::sum`]. The compiler, left to itself, adds them one by one.
///
/// # Safety
/// As for all of [`Vector`]; N is a power of two, and `V::LANES` at least.
#[inline(always)]
pub(crate) unsafe fn lanes_sum<V: Vector, const N: usize>(lanes: &[f32; N]) -> f32 {
    const { assert!(N.is_power_of_two() && N >= V::LANES && N <= MOST_LANES) };
    let parts = N / V::LANES;
    // SAFETY: the caller's promise; all parts are inside.
    unsafe {
        let mut sums = [V::zero(); MOST_LANES / LANES * MOST_PARTS];
        for (p, sum) in sums.iter_mut().enumerate().take(parts) {
            *sum = V::load(lanes.as_ptr().add(p * V::LANES));
        }
        total(&mut sums, parts)
    }
}

/// The sum of the lanes of the first `parts` registers, half by half; `parts` is a power of two.
///
/// # Safety
/// As for all of [`Vector`].
#[inline(always)]
unsafe fn total<V: Vector>(sums: &mut [V], parts: usize) -> f32 {
    // SAFETY: the caller's promise.
    unsafe {
        let mut half = parts / 2;
        while half > 0 {
            for p in 0..half {
                sums[p] = sums[p].add(sums[p + half]);
            }
            half /= 2;
        }
        sums[0].sum()
    }
}

/// Σ a_i·b_i over the length of `a`, which `b` has too, in the same order for all instruction sets.
///
/// There are four sums of [`LANES`] lanes. As long as four times as many products are left, each sum
/// takes its quarter of them, then the first sum as many as a sum has lanes, and the second one the
/// rest, with zeros behind it. Lane by lane (first + second) + (third + fourth), then half by half.
///
/// # Safety
/// As for all of [`Vector`]; `b` holds as many values as `a`.
#[inline(always)]
pub(crate) unsafe fn product_sum<V: Vector>(a: &[f32], b: *const f32) -> f32 {
    const UNROLLED: usize = 4;
    let (n, a) = (a.len(), a.as_ptr());
    // SAFETY: all reads are below n; the rest is the caller's promise.
    unsafe {
        let mut sums = [[V::zero(); MOST_PARTS]; UNROLLED];
        let mut i = 0;
        while n - i >= UNROLLED * LANES {
            for (v, sum) in sums.iter_mut().enumerate() {
                for (p, sum) in sum.iter_mut().enumerate().take(V::PARTS) {
                    let at = i + v * LANES + p * V::LANES;
                    *sum = V::load(a.add(at)).mul_add(V::load(b.add(at)), *sum);
                }
            }
            i += UNROLLED * LANES;
        }
        let [first, second, third, fourth] = &mut sums;
        while n - i >= LANES {
            for (p, sum) in first.iter_mut().enumerate().take(V::PARTS) {
                let at = i + p * V::LANES;
                *sum = V::load(a.add(at)).mul_add(V::load(b.add(at)), *sum);
            }
            i += LANES;
        }
        if i < n {
            for (p, sum) in second.iter_mut().enumerate().take(V::PARTS) {
                // Nothing is left for some registers: they add zeros, as lanes without a value do.
                let at = n.min(i + p * V::LANES);
                let (a, b) = (V::load_most(a.add(at), n - at), V::load_most(b.add(at), n - at));
                *sum = a.mul_add(b, *sum);
            }
        }
        for p in 0..V::PARTS {
            first[p] = first[p].add(second[p]).add(third[p].add(fourth[p]));
        }
        total(first, V::PARTS)
    }
}
