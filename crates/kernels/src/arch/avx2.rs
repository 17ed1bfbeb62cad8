//! AVX2 and FMA.

use super::Vector;
use crate::tile::{Panel, Tile, Tiles, multiply, pack_panel, tiles};
use std::arch::is_x86_feature_detected as has;
use std::arch::x86_64::*;

/// Whether this processor has the instructions.
pub(super) fn found() -> bool {
    has!("avx2") && has!("fma")
}

/// A function with the instructions enabled.
macro_rules! enable_avx2 {
    ($($function:tt)*) => {
        #[target_feature(enable = "avx2,fma")]
        $($function)*
    };
}
pub(crate) use enable_avx2;

enable_avx2! {
    unsafe fn tile<const ROWS: usize, const WIDE: usize>(tile: &Tile) {
        // SAFETY: the caller's promise.
        unsafe { multiply::<Avx2, ROWS, WIDE>(tile) }
    }
}

enable_avx2! {
    unsafe fn pack<const WIDE: usize>(panel: Panel, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { pack_panel::<Avx2, WIDE>(panel, to) }
    }
}

/// Eight floats.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(pub(super) __m256);

/// All bits set in the first `n` lanes.
#[inline(always)]
unsafe fn mask8(n: usize) -> __m256i {
    // SAFETY: the caller's promise.
    unsafe {
        let lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        _mm256_cmpgt_epi32(_mm256_set1_epi32(n as i32), lane)
    }
}

impl Vector for Avx2 {
    const LANES: usize = 8;
    const FMA: bool = true;
    const TILES: &'static Tiles = tiles! { Avx2,
        1: 1 2 3 4 5 6;
        2: 1 2 3 4 5 6;
    };

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller's promise, here and below.
        Self(unsafe { _mm256_setzero_ps() })
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_set1_ps(x) })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_loadu_ps(from) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as above.
        unsafe { _mm256_storeu_ps(to, self.0) }
    }

    #[inline(always)]
    unsafe fn load_part(from: *const f32, n: usize) -> Self {
        // SAFETY: as above; lanes outside of the mask are not read.
        Self(unsafe { _mm256_maskload_ps(from, mask8(n)) })
    }

    #[inline(always)]
    unsafe fn store_part(self, to: *mut f32, n: usize) {
        // SAFETY: as above; lanes outside of the mask are not written.
        unsafe { _mm256_maskstore_ps(to, mask8(n), self.0) }
    }

    #[inline(always)]
    unsafe fn mul_add(self, a: Self, b: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_fmadd_ps(self.0, a.0, b.0) })
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        // SAFETY: as above.
        unsafe {
            let high = _mm256_extractf128_ps::<1>(self.0);
            let x = _mm_add_ps(_mm256_castps256_ps128(self.0), high);
            let x = _mm_add_ps(x, _mm_movehl_ps(x, x));
            _mm_cvtss_f32(_mm_add_ss(x, _mm_shuffle_ps::<1>(x, x)))
        }
    }

    #[inline(always)]
    unsafe fn prefetch(at: *const f32) {
        // SAFETY: a hint, which touches nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }

    #[inline(always)]
    unsafe fn transpose8(from: *const f32, from_step: usize, to: *mut f32, to_step: usize) {
        // SAFETY: as above.
        unsafe {
            let row = |i: usize| _mm256_loadu_ps(from.add(i * from_step));
            // Pairs of rows interleaved, then pairs of pairs, then halves exchanged.
            let pair = |i: usize| {
                let (a, b) = (row(i), row(i + 1));
                (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b))
            };
            let quad = |i: usize| {
                let ((a, b), (c, d)) = (pair(i), pair(i + 2));
                [
                    _mm256_shuffle_ps::<0x44>(a, c),
                    _mm256_shuffle_ps::<0xee>(a, c),
                    _mm256_shuffle_ps::<0x44>(b, d),
                    _mm256_shuffle_ps::<0xee>(b, d),
                ]
            };
            let (low, high) = (quad(0), quad(4));
            for i in 0..4 {
                let first = _mm256_permute2f128_ps::<0x20>(low[i], high[i]);
                let second = _mm256_permute2f128_ps::<0x31>(low[i], high[i]);
                _mm256_storeu_ps(to.add(i * to_step), first);
                _mm256_storeu_ps(to.add((i + 4) * to_step), second);
            }
        }
    }
}
