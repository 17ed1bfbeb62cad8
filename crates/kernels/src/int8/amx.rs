//! The tiles of AMX, for products of many rows.
//!
//! An instruction gives the sums of a block for 16 rows and 16 outputs, a stack and a group, in a third
//! of the time of the floats that follow. So these get as little to do as there can be. Weights are
//! copied as signed bytes, which call for no shifts, and their scales as floats, for all rows of a part.
//! Tiles run some products ahead of the floats, for neither is to wait for the other.

use super::BLOCK;
use super::inputs::STACK;
use super::lanes::{Lanes, Part};
use super::matrix::{GROUP, Line};
use super::x86::Avx512Vnni;
use crate::arch::amx::{ROW_BYTES, ROWS, TILE_BYTES, Tiles, found};
use crate::memory::scratch::{self, Buffer};
use std::arch::asm;
use std::arch::x86_64::*;
use std::mem::MaybeUninit;

const _: () = assert!(STACK == ROWS && GROUP == ROWS);
const _: () = assert!(BLOCK == ROW_BYTES && size_of::<Line>() == ROW_BYTES);

/// This way, where the processor has it; [`found`] says what the first call does.
pub(super) fn way() -> Option<unsafe fn(Part)> {
    found().int8.then_some(amx as unsafe fn(Part))
}

/// Blocks and groups of which weights are copied at a time: for the second cache, in which they are
/// read again for each stack, and so many blocks that few totals go through memory.
const BLOCKS: usize = 12;
const GROUPS: usize = 4;

/// Rows of the next stack that are called into the cache with each group.
const SHARE: usize = ROWS / GROUPS;

/// Lines of a block.
const LINES: usize = ROWS;

/// Steps from a product to the use of its sums: two to their being stored, and one for the store.
const AHEAD: usize = 3;

/// Signed weights and their scales, by group, then by block.
#[repr(C, align(64))]
struct Copied {
    weights: [[u8; TILE_BYTES]; GROUPS * BLOCKS],
    scales: [[f32; GROUP]; GROUPS * BLOCKS],
}

/// The sums of a block.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Sums([[i32; GROUP]; ROWS]);

/// # Safety
/// All of the part is there, whose first row is that of a stack; [`way`] has found this one.
unsafe fn amx(of: Part) {
    const { assert!(size_of::<Copied>().is_multiple_of(size_of::<f32>())) };
    scratch::with(Buffer::Panel, size_of::<Copied>() / size_of::<f32>(), |room| {
        // SAFETY: the caller's promise. There is room for a copy, which begins on a cache line.
        unsafe { part(of, room.as_mut_ptr().cast()) }
    });
}

/// # Safety
/// As [`amx`]; there is room for a copy.
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
unsafe fn part(of: Part, copied: *mut Copied) {
    // SAFETY: the tiles were found, and the thread has none: parts don't contain each other.
    let _tiles = unsafe { Tiles::new() };
    // Runs of blocks of about the same length; one where there are none, for the zeros.
    let runs = of.blocks.div_ceil(BLOCKS).max(1);
    for run in 0..runs {
        let [first, end] = [run, run + 1].map(|run| of.blocks * run / runs);
        for at in (0..of.columns.div_ceil(GROUP)).step_by(GROUPS) {
            let part = of.behind(at);
            let groups = part.columns.div_ceil(GROUP).min(GROUPS);
            // SAFETY: these blocks and groups are there, and have room.
            unsafe {
                copy(&part, first, end, groups, copied);
                multiply(&part, first, end, groups, copied);
            }
        }
    }
}

/// # Safety
/// As [`amx`], for the blocks first..end of the first `groups` groups, of both of which there is room
/// for so many.
#[inline(always)]
unsafe fn copy(of: &Part, first: usize, end: usize, groups: usize, to: *mut Copied) {
    let mut place = 0;
    for group in 0..groups {
        for block in first..end {
            let lines = of.lines.wrapping_add(group * of.group_lines + block * LINES);
            let there = LINES.min(of.group_lines - block * LINES);
            // SAFETY: the caller's promise; no line behind those of the group is read.
            unsafe {
                let weights = (&raw mut (*to).weights[place]).cast::<__m512i>();
                for line in 0..LINES {
                    let to = weights.add(line);
                    if line < there {
                        // Without the 128 that was added.
                        let stored = _mm512_load_si512(lines.add(line).cast());
                        let signed = _mm512_xor_si512(stored, _mm512_set1_epi8(-128));
                        _mm512_store_si512(to, signed);
                    } else {
                        _mm512_store_si512(to, _mm512_setzero_si512());
                    }
                }
                let from = of.scales.add((group * of.blocks + block) * GROUP);
                let scales = (&raw mut (*to).scales[place]).cast();
                _mm512_store_ps(scales, Avx512Vnni::scales(from));
            }
            place += 1;
        }
    }
}

/// Adds what the blocks first..end give, to the first `groups` groups of outputs.
///
/// # Safety
/// As [`copy`], which has copied them.
#[inline(always)]
unsafe fn multiply(of: &Part, first: usize, end: usize, groups: usize, copied: *const Copied) {
    let mut sums = [const { MaybeUninit::<Sums>::uninit() }; 2];
    let sums = sums.as_mut_ptr().cast::<Sums>();
    let n = end - first;
    // SAFETY: the caller's promise: of a stack all inputs and scales are there, and of outputs as many
    // are touched as there are. Sums are stored before they are read.
    unsafe {
        let weights = (&raw const (*copied).weights).cast();
        let scales = (&raw const (*copied).scales).cast::<f32>();
        let inputs = of.inputs.add(first * BLOCK);
        let mut ahead = Ahead {
            a: inputs,
            b: weights,
            block: 0,
            group: 0,
            stack: 0,
            odd: false,
            inputs,
            weights,
            input_row: of.input_row,
            blocks: n,
            groups,
            stacks: of.rows.div_ceil(ROWS),
            sums,
        };
        if n > 0 {
            for _ in 0..AHEAD {
                ahead.step();
            }
        }
        let mut turn = 0;
        for top in (0..of.rows).step_by(ROWS) {
            let of = of.below(top);
            let t = of.input_scales.add(of.first_row / STACK * of.blocks + first);
            for group in 0..groups {
                let of = of.behind(group);
                let mut totals = load(&of, first == 0);
                // Into the first cache: these outputs, and a share of the next stack's inputs.
                for i in 0..ROWS {
                    let row = of.out.wrapping_add(i * of.out_row);
                    _mm_prefetch::<_MM_HINT_T0>(row.cast());
                    _mm_prefetch::<_MM_HINT_T0>(row.wrapping_add(GROUP - 1).cast());
                }
                let next =
                    of.inputs.wrapping_add((ROWS + group * SHARE) * of.input_row + first * BLOCK);
                for block in 0..n {
                    ahead.step();
                    for i in 0..SHARE {
                        let at = next.wrapping_add(i * of.input_row + block * BLOCK);
                        _mm_prefetch::<_MM_HINT_T0>(at);
                    }
                    let sums = sums.add(turn).cast::<__m512i>();
                    turn ^= 1;
                    let scales = _mm512_load_ps(scales.add((group * n + block) * GROUP));
                    let t = t.add(block).cast::<f32>();
                    for (i, total) in totals.iter_mut().enumerate() {
                        let sums = _mm512_load_si512(sums.add(i));
                        *total = Avx512Vnni::add(*total, sums, scales, *t.add(i));
                    }
                }
                store(&of, &totals);
            }
        }
    }
}

/// The outputs of the first group and stack so far: zeros at the beginning.
///
/// # Safety
/// As [`amx`].
#[inline(always)]
unsafe fn load(of: &Part, beginning: bool) -> [__m512; ROWS] {
    // SAFETY: the caller's promise; lanes outside of the mask are not read.
    unsafe {
        let mut totals = [_mm512_setzero_ps(); ROWS];
        if !beginning {
            let mask = ((1u32 << of.columns.min(GROUP)) - 1) as __mmask16;
            for (i, total) in totals.iter_mut().enumerate() {
                if i < of.rows {
                    *total = _mm512_maskz_loadu_ps(mask, of.out.add(i * of.out_row));
                }
            }
        }
        totals
    }
}

/// Writes the outputs of the first group and stack.
///
/// # Safety
/// As [`amx`].
#[inline(always)]
unsafe fn store(of: &Part, totals: &[__m512; ROWS]) {
    // SAFETY: the caller's promise.
    unsafe {
        if of.rows >= ROWS && of.columns >= GROUP {
            for (i, total) in totals.iter().enumerate() {
                _mm512_storeu_ps(of.out.add(i * of.out_row), *total);
            }
            return;
        }
        for (i, total) in totals.iter().enumerate() {
            if i < of.rows {
                Avx512Vnni::store(*total, of.out.add(i * of.out_row), of.columns.min(GROUP));
            }
        }
    }
}

/// The products of a copy of weights, in the order in which their sums are used: by stack, then by
/// group, then by block. Behind the last one the first one follows.
struct Ahead {
    /// The tiles of the next product.
    a: *const i8,
    b: *const u8,
    /// Where it is.
    block: usize,
    group: usize,
    stack: usize,
    odd: bool,
    /// The tiles of the first product, and the bytes from row to row of inputs.
    inputs: *const i8,
    weights: *const u8,
    input_row: usize,
    blocks: usize,
    groups: usize,
    stacks: usize,
    /// Room for two.
    sums: *mut Sums,
}

impl Ahead {
    /// Takes one product, and stores the sums of the one before the last one: those of even and of odd
    /// products at the same place each.
    ///
    /// # Safety
    /// There are tiles; all stacks, groups and blocks are there, and one of each at least.
    #[inline(always)]
    unsafe fn step(&mut self) {
        macro_rules! product {
            ($place:literal, $sums:tt, $a:tt, $b:tt) => {
                asm!(
                    concat!("tilestored [{sums} + {row}], ", $sums),
                    concat!("tilezero ", $sums),
                    concat!("tileloadd ", $a, ", [{a} + {input_row}]"),
                    concat!("tileloadd ", $b, ", [{b} + {row}]"),
                    concat!("tdpbssd ", $sums, ", ", $a, ", ", $b),
                    sums = in(reg) self.sums.add($place),
                    row = in(reg) ROW_BYTES,
                    a = in(reg) self.a,
                    input_row = in(reg) self.input_row,
                    b = in(reg) self.b,
                    out($sums) _,
                    out($a) _,
                    out($b) _,
                    options(nostack, preserves_flags),
                )
            };
        }
        // SAFETY: the caller's promise.
        unsafe {
            if self.odd {
                product!(1, "tmm1", "tmm4", "tmm5");
            } else {
                product!(0, "tmm0", "tmm2", "tmm3");
            }
        }
        self.odd = !self.odd;
        self.advance();
    }

    #[inline(always)]
    fn advance(&mut self) {
        self.block += 1;
        self.a = self.a.wrapping_add(BLOCK);
        self.b = self.b.wrapping_add(TILE_BYTES);
        if self.block < self.blocks {
            return;
        }
        self.block = 0;
        self.a = self.a.wrapping_sub(self.blocks * BLOCK);
        self.group += 1;
        if self.group < self.groups {
            return;
        }
        self.group = 0;
        self.a = self.a.wrapping_add(ROWS * self.input_row);
        self.b = self.weights;
        self.stack += 1;
        if self.stack == self.stacks {
            self.stack = 0;
            self.a = self.inputs;
        }
    }
}
