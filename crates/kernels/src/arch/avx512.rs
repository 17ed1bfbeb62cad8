//! AVX-512 F, VL, DQ and BW, and AVX2 with FMA.

use super::Vector;
use super::avx2::Avx2;
use crate::tile::{Panel, Tile, Tiles, multiply, pack_panel, tiles};
use std::arch::is_x86_feature_detected as has;
use std::arch::x86_64::*;

/// Whether this processor has the instructions.
pub(super) fn found() -> bool {
    let avx512 = has!("avx512f") && has!("avx512vl") && has!("avx512dq") && has!("avx512bw");
    avx512 && super::avx2::found()
}

/// A function with the instructions enabled.
macro_rules! enable_avx512 {
    ($($function:tt)*) => {
        #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
        $($function)*
    };
}
pub(crate) use enable_avx512;

enable_avx512! {
    unsafe fn tile<const ROWS: usize, const WIDE: usize>(tile: &Tile) {
        // SAFETY: the caller's promise.
        unsafe { multiply::<Avx512, ROWS, WIDE>(tile) }
    }
}

enable_avx512! {
    unsafe fn pack<const WIDE: usize>(panel: Panel, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { pack_panel::<Avx512, WIDE>(panel, to) }
    }
}

/// Sixteen floats.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(__m512);

#[inline(always)]
fn mask16(n: usize) -> __mmask16 {
    ((1u32 << n) - 1) as __mmask16
}

impl Vector for Avx512 {
    const LANES: usize = 16;
    const FMA: bool = true;
    const TILES: &'static Tiles = tiles! { Avx512,
        1: 1 2 3 4 5 6 7 8 9 10 11 12;
        2: 1 2 3 4 5 6 7 8 9 10 11 12;
        3: 1 2 3 4 5 6 7 8;
        4: 1 2 3 4 5 6;
    };

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller's promise, here and below.
        Self(unsafe { _mm512_setzero_ps() })
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_set1_ps(x) })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_loadu_ps(from) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as above.
        unsafe { _mm512_storeu_ps(to, self.0) }
    }

    #[inline(always)]
    unsafe fn load_part(from: *const f32, n: usize) -> Self {
        // SAFETY: as above; lanes outside of the mask are not read.
        Self(unsafe { _mm512_maskz_loadu_ps(mask16(n), from) })
    }

    #[inline(always)]
    unsafe fn store_part(self, to: *mut f32, n: usize) {
        // SAFETY: as above; lanes outside of the mask are not written.
        unsafe { _mm512_mask_storeu_ps(to, mask16(n), self.0) }
    }

    #[inline(always)]
    unsafe fn mul_add(self, a: Self, b: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_fmadd_ps(self.0, a.0, b.0) })
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        // SAFETY: as above; the level includes AVX2.
        unsafe {
            let high = _mm512_extractf32x8_ps::<1>(self.0);
            Avx2(_mm256_add_ps(_mm512_castps512_ps256(self.0), high)).sum()
        }
    }

    #[inline(always)]
    unsafe fn prefetch(at: *const f32) {
        // SAFETY: a hint, which touches nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }

    #[inline(always)]
    unsafe fn transpose8(from: *const f32, from_step: usize, to: *mut f32, to_step: usize) {
        // SAFETY: the level includes AVX2.
        unsafe { Avx2::transpose8(from, from_step, to, to_step) }
    }
}
