//! The instructions of x86-64 that multiply bytes: AVX-512 VNNI, AVX-VNNI, AVX2.

use super::lanes::{Lanes, Part, part};
use super::matrix::{GROUP, Line};
use crate::arch::InstructionSet;
use std::arch::is_x86_feature_detected as has;
use std::arch::x86_64::*;

/// What this processor multiplies bytes with, best first, of what the instruction set in use allows.
pub(super) fn found(allowed: InstructionSet) -> impl Iterator<Item = unsafe fn(Part)> {
    let wide = allowed == InstructionSet::Avx512;
    let narrow = wide || allowed == InstructionSet::Avx2;
    let run: [(bool, unsafe fn(Part)); 3] = [
        (wide && has!("avx512vnni"), avx512_vnni),
        (narrow && has!("avxvnni"), avx_vnni),
        (narrow, avx2),
    ];
    run.into_iter().filter_map(|(found, run)| found.then_some(run))
}

#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx512vnni,avx2,fma")]
unsafe fn avx512_vnni(of: Part) {
    // SAFETY: the caller's promise.
    unsafe { part::<Avx512Vnni, { Avx512Vnni::WIDE }>(of) }
}

#[target_feature(enable = "avx2,fma,avxvnni")]
unsafe fn avx_vnni(of: Part) {
    // SAFETY: the caller's promise.
    unsafe { part::<Narrow<true>, { Narrow::<true>::WIDE }>(of) }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(of: Part) {
    // SAFETY: the caller's promise.
    unsafe { part::<Narrow<false>, { Narrow::<false>::WIDE }>(of) }
}

/// One instruction for a line.
pub(super) struct Avx512Vnni;

impl Lanes for Avx512Vnni {
    const ROWS: usize = 6;
    const WIDE: usize = 4;
    type Sums = __m512i;
    type Weights = __m512i;
    type Inputs = __m512i;
    type Floats = __m512;

    #[inline(always)]
    unsafe fn start(shift: i32) -> __m512i {
        // SAFETY: the caller's promise, here and below.
        unsafe { _mm512_set1_epi32(shift) }
    }

    #[inline(always)]
    unsafe fn weights(from: *const Line) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_load_si512(from.cast()) }
    }

    #[inline(always)]
    unsafe fn inputs(from: *const i8) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_set1_epi32(from.cast::<i32>().read_unaligned()) }
    }

    #[inline(always)]
    unsafe fn dot(sums: __m512i, w: __m512i, x: __m512i) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_dpbusd_epi32(sums, w, x) }
    }

    #[inline(always)]
    unsafe fn zero() -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_setzero_ps() }
    }

    #[inline(always)]
    unsafe fn scales(from: *const u16) -> __m512 {
        // SAFETY: as above.
        unsafe {
            let halves = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(halves))
        }
    }

    #[inline(always)]
    unsafe fn add(total: __m512, sums: __m512i, scales: __m512, t: f32) -> __m512 {
        // SAFETY: as above.
        unsafe {
            let scale = _mm512_mul_ps(scales, _mm512_set1_ps(t));
            _mm512_add_ps(total, _mm512_mul_ps(_mm512_cvtepi32_ps(sums), scale))
        }
    }

    #[inline(always)]
    unsafe fn store(floats: __m512, to: *mut f32, n: usize) {
        let mask = ((1u32 << n) - 1) as __mmask16;
        // SAFETY: as above; lanes outside of the mask are not written.
        unsafe { _mm512_mask_storeu_ps(to, mask, floats) }
    }
}

/// Two registers for a line, with AVX-VNNI or without.
///
/// Without, two products are added in 16 bits. A weight with its 128 times an input would not fit
/// twice; the weight without it, of the input's sign, times the input's magnitude does: 2·127·127 is
/// below 2^15.
struct Narrow<const VNNI: bool>;

/// What is done with each of the two registers of a [`Narrow`] line. Functions, for a closure is not
/// inlined for certain, and then its instructions are calls.
mod half {
    use std::arch::x86_64::*;

    /// # Safety
    /// As the functions of `Lanes`, here and below.
    #[inline(always)]
    pub unsafe fn dot<const VNNI: bool>(
        sum: __m256i,
        w: __m256i,
        [x, magnitude]: [__m256i; 2],
    ) -> __m256i {
        // SAFETY: the caller's promise, here and below.
        unsafe {
            if VNNI {
                return _mm256_dpbusd_avx_epi32(sum, w, x);
            }
            let pairs = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(w, x));
            _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
        }
    }

    #[inline(always)]
    pub unsafe fn scales(from: *const u16) -> __m256 {
        // SAFETY: as above.
        unsafe {
            let halves = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(halves))
        }
    }

    #[inline(always)]
    pub unsafe fn add(total: __m256, sums: __m256i, scales: __m256, t: f32) -> __m256 {
        // SAFETY: as above.
        unsafe {
            let scale = _mm256_mul_ps(scales, _mm256_set1_ps(t));
            _mm256_add_ps(total, _mm256_mul_ps(_mm256_cvtepi32_ps(sums), scale))
        }
    }
}

impl<const VNNI: bool> Lanes for Narrow<VNNI> {
    const ROWS: usize = 2;
    const WIDE: usize = 2;
    type Sums = [__m256i; 2];
    type Weights = [__m256i; 2];
    /// The inputs, and their magnitudes.
    type Inputs = [__m256i; 2];
    type Floats = [__m256; 2];

    #[inline(always)]
    unsafe fn start(shift: i32) -> Self::Sums {
        // SAFETY: the caller's promise, here and below.
        [unsafe { _mm256_set1_epi32(if VNNI { shift } else { 0 }) }; 2]
    }

    #[inline(always)]
    unsafe fn weights(from: *const Line) -> Self::Weights {
        // SAFETY: as above.
        unsafe {
            let from = from.cast::<__m256i>();
            let [low, high] = [_mm256_load_si256(from), _mm256_load_si256(from.add(1))];
            if VNNI {
                return [low, high];
            }
            let sign = _mm256_set1_epi8(-128);
            [_mm256_xor_si256(low, sign), _mm256_xor_si256(high, sign)]
        }
    }

    #[inline(always)]
    unsafe fn inputs(from: *const i8) -> Self::Inputs {
        // SAFETY: as above.
        unsafe {
            let x = _mm256_set1_epi32(from.cast::<i32>().read_unaligned());
            [x, _mm256_abs_epi8(x)]
        }
    }

    #[inline(always)]
    unsafe fn dot(sums: Self::Sums, w: Self::Weights, x: Self::Inputs) -> Self::Sums {
        // SAFETY: as above.
        unsafe { [half::dot::<VNNI>(sums[0], w[0], x), half::dot::<VNNI>(sums[1], w[1], x)] }
    }

    #[inline(always)]
    unsafe fn zero() -> Self::Floats {
        // SAFETY: as above.
        [unsafe { _mm256_setzero_ps() }; 2]
    }

    #[inline(always)]
    unsafe fn scales(from: *const u16) -> Self::Floats {
        // SAFETY: as above.
        unsafe { [half::scales(from), half::scales(from.add(GROUP / 2))] }
    }

    #[inline(always)]
    unsafe fn add(
        total: Self::Floats,
        sums: Self::Sums,
        scales: Self::Floats,
        t: f32,
    ) -> Self::Floats {
        // SAFETY: as above.
        unsafe {
            [half::add(total[0], sums[0], scales[0], t), half::add(total[1], sums[1], scales[1], t)]
        }
    }

    #[inline(always)]
    unsafe fn store(floats: Self::Floats, to: *mut f32, n: usize) {
        // SAFETY: as above; a part of a group goes through memory.
        unsafe {
            let mut all = [0f32; GROUP];
            let place = if n == GROUP { to } else { all.as_mut_ptr() };
            _mm256_storeu_ps(place, floats[0]);
            _mm256_storeu_ps(place.add(GROUP / 2), floats[1]);
            if n < GROUP {
                to.copy_from_nonoverlapping(place, n);
            }
        }
    }
}
