//! The instructions of 64-bit ARM that multiply bytes: those of the dot-product extension, or NEON's.

use super::lanes::{Lanes, Part, part};
use super::matrix::{GROUP, Line};
use crate::arch::InstructionSet;
use std::arch::aarch64::*;
use std::arch::is_aarch64_feature_detected as has;

/// What this processor multiplies bytes with, best first, of what the instruction set in use allows.
pub(super) fn found(allowed: InstructionSet) -> impl Iterator<Item = unsafe fn(Part)> {
    let allowed = allowed == InstructionSet::Neon;
    let run: [(bool, unsafe fn(Part)); 2] =
        [(allowed && has!("dotprod"), dot_product), (allowed, neon)];
    run.into_iter().filter_map(|(found, run)| found.then_some(run))
}

#[target_feature(enable = "neon,dotprod")]
unsafe fn dot_product(of: Part) {
    // SAFETY: the caller's promise.
    unsafe { part::<Neon<true>, { Neon::<true>::WIDE }>(of) }
}

#[target_feature(enable = "neon")]
unsafe fn neon(of: Part) {
    // SAFETY: the caller's promise.
    unsafe { part::<Neon<false>, { Neon::<false>::WIDE }>(of) }
}

/// Registers of a line: four outputs each.
const PARTS: usize = GROUP / 4;

/// Four registers for a line, with the dot-product extension (`DOT`) or without.
///
/// Without, two products are added in 16 bits, where they fit: 2·127·127 is below 2^15.
struct Neon<const DOT: bool>;

/// sum_i + Σ w_4i+j·x_4i+j over j from 0 to 3.
///
/// # Safety
/// The processor has the dot-product extension.
#[inline(always)]
unsafe fn sdot(mut sum: int32x4_t, w: int8x16_t, x: int8x16_t) -> int32x4_t {
    // The function of the standard library is not stable in the oldest Rust that builds this.
    // SAFETY: the caller's promise; registers only.
    unsafe {
        std::arch::asm!(
            ".arch_extension dotprod",
            "sdot {sum:v}.4s, {w:v}.16b, {x:v}.16b",
            sum = inout(vreg) sum, w = in(vreg) w, x = in(vreg) x,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

impl<const DOT: bool> Lanes for Neon<DOT> {
    const ROWS: usize = 4;
    const WIDE: usize = 1;
    type Sums = [int32x4_t; PARTS];
    type Weights = [int8x16_t; PARTS];
    type Inputs = int8x16_t;
    type Floats = [float32x4_t; PARTS];

    #[inline(always)]
    unsafe fn start(_: i32) -> Self::Sums {
        // SAFETY: the caller's promise, here and below. The weights are taken without their 128.
        [unsafe { vdupq_n_s32(0) }; PARTS]
    }

    #[inline(always)]
    unsafe fn weights(from: *const Line) -> Self::Weights {
        // SAFETY: as above.
        unsafe {
            let mut weights = [vdupq_n_s8(0); PARTS];
            for (p, w) in weights.iter_mut().enumerate() {
                let stored = vld1q_u8(from.cast::<u8>().add(16 * p));
                *w = vreinterpretq_s8_u8(veorq_u8(stored, vdupq_n_u8(128)));
            }
            weights
        }
    }

    #[inline(always)]
    unsafe fn inputs(from: *const i8) -> int8x16_t {
        // SAFETY: as above.
        unsafe { vreinterpretq_s8_s32(vdupq_n_s32(from.cast::<i32>().read_unaligned())) }
    }

    #[inline(always)]
    unsafe fn dot(mut sums: Self::Sums, w: Self::Weights, x: int8x16_t) -> Self::Sums {
        for (sum, w) in sums.iter_mut().zip(w) {
            // SAFETY: as above.
            *sum = unsafe {
                if DOT {
                    sdot(*sum, w, x)
                } else {
                    let low = vmull_s8(vget_low_s8(w), vget_low_s8(x));
                    let high = vmull_high_s8(w, x);
                    vpadalq_s16(*sum, vpaddq_s16(low, high))
                }
            };
        }
        sums
    }

    #[inline(always)]
    unsafe fn zero() -> Self::Floats {
        // SAFETY: as above.
        [unsafe { vdupq_n_f32(0.0) }; PARTS]
    }

    #[inline(always)]
    unsafe fn scales(from: *const u16) -> Self::Floats {
        // SAFETY: as above.
        unsafe {
            let mut scales = Self::zero();
            for (p, scale) in scales.iter_mut().enumerate() {
                let halves = vld1_u16(from.add(4 * p));
                *scale = vreinterpretq_f32_u32(vshll_n_u16::<16>(halves));
            }
            scales
        }
    }

    #[inline(always)]
    unsafe fn add(
        mut total: Self::Floats,
        sums: Self::Sums,
        scales: Self::Floats,
        t: f32,
    ) -> Self::Floats {
        for ((total, sum), scale) in total.iter_mut().zip(sums).zip(scales) {
            // SAFETY: as above.
            *total = unsafe {
                let scale = vmulq_f32(scale, vdupq_n_f32(t));
                vaddq_f32(*total, vmulq_f32(vcvtq_f32_s32(sum), scale))
            };
        }
        total
    }

    #[inline(always)]
    unsafe fn store(floats: Self::Floats, to: *mut f32, n: usize) {
        // SAFETY: as above; a part of a group goes through memory.
        unsafe {
            let mut all = [0f32; GROUP];
            let place = if n == GROUP { to } else { all.as_mut_ptr() };
            for (p, x) in floats.into_iter().enumerate() {
                vst1q_f32(place.add(4 * p), x);
            }
            if n < GROUP {
                to.copy_from_nonoverlapping(place, n);
            }
        }
    }
}
