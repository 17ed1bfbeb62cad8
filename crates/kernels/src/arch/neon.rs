//! NEON of 64-bit ARM.

use super::Vector;
use crate::tile::{Panel, Tile, Tiles, multiply, pack_panel, tiles};
use std::arch::aarch64::*;
use std::arch::is_aarch64_feature_detected as has;

/// Whether this processor has the instructions.
pub(super) fn found() -> bool {
    has!("neon")
}

/// A function with the instructions enabled.
macro_rules! enable_neon {
    ($($function:tt)*) => {
        #[target_feature(enable = "neon")]
        $($function)*
    };
}
pub(crate) use enable_neon;

enable_neon! {
    unsafe fn tile<const ROWS: usize, const WIDE: usize>(tile: &Tile) {
        // SAFETY: the caller's promise.
        unsafe { multiply::<Neon, ROWS, WIDE>(tile) }
    }
}

enable_neon! {
    unsafe fn pack<const WIDE: usize>(panel: Panel, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { pack_panel::<Neon, WIDE>(panel, to) }
    }
}

/// Four floats.
#[derive(Clone, Copy)]
pub(crate) struct Neon(float32x4_t);

/// Turns the 4 columns of 4 rows into rows.
///
/// # Safety
/// As for all of [`Vector`].
#[inline(always)]
unsafe fn transpose4(from: *const f32, from_step: usize, to: *mut f32, to_step: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let row = |i: usize| vld1q_f32(from.add(i * from_step));
        // Pairs of rows interleaved, then pairs of pairs.
        let (low, high) = (vtrnq_f32(row(0), row(1)), vtrnq_f32(row(2), row(3)));
        let column = |i: usize, x: float32x4_t| vst1q_f32(to.add(i * to_step), x);
        let double = |x| vreinterpretq_f64_f32(x);
        let join = |a, b| vreinterpretq_f32_f64(vtrn1q_f64(double(a), double(b)));
        let join_second = |a, b| vreinterpretq_f32_f64(vtrn2q_f64(double(a), double(b)));
        column(0, join(low.0, high.0));
        column(1, join(low.1, high.1));
        column(2, join_second(low.0, high.0));
        column(3, join_second(low.1, high.1));
    }
}

impl Vector for Neon {
    const LANES: usize = 4;
    const FMA: bool = true;
    const TILES: &'static Tiles = tiles! { Neon,
        1: 1 2 3 4 5 6 7 8 9 10 11 12;
        2: 1 2 3 4 5 6 7 8 9 10 11 12;
        3: 1 2 3 4 5 6 7 8;
        4: 1 2 3 4 5 6;
    };

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller's promise, here and below.
        Self(unsafe { vdupq_n_f32(0.0) })
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: as above.
        Self(unsafe { vdupq_n_f32(x) })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: as above.
        Self(unsafe { vld1q_f32(from) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as above.
        unsafe { vst1q_f32(to, self.0) }
    }

    #[inline(always)]
    unsafe fn load_part(from: *const f32, n: usize) -> Self {
        let mut all = [0f32; 4];
        // SAFETY: as above; n < 4.
        unsafe {
            all.as_mut_ptr().copy_from_nonoverlapping(from, n);
            Self::load(all.as_ptr())
        }
    }

    #[inline(always)]
    unsafe fn store_part(self, to: *mut f32, n: usize) {
        let mut all = [0f32; 4];
        // SAFETY: as above; n < 4.
        unsafe {
            self.store(all.as_mut_ptr());
            to.copy_from_nonoverlapping(all.as_ptr(), n);
        }
    }

    #[inline(always)]
    unsafe fn mul_add(self, a: Self, b: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { vfmaq_f32(b.0, self.0, a.0) })
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { vaddq_f32(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        // SAFETY: as above.
        unsafe {
            let halves = vadd_f32(vget_low_f32(self.0), vget_high_f32(self.0));
            vget_lane_f32::<0>(halves) + vget_lane_f32::<1>(halves)
        }
    }

    #[inline(always)]
    unsafe fn transpose8(from: *const f32, from_step: usize, to: *mut f32, to_step: usize) {
        for (i, j) in [(0, 0), (0, 4), (4, 0), (4, 4)] {
            // SAFETY: as above; the four quarters of the block.
            unsafe {
                transpose4(from.add(i * from_step + j), from_step, to.add(j * to_step + i), to_step)
            };
        }
    }
}
