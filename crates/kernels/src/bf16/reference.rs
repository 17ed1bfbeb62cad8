//! The same functions one value after the other, as the manual defines the instructions: what the others
//! are tested against, and what the rest is tested with where a processor has no others.

use super::pack::Lanes;
use super::tile::Tile;
use super::{GROUP, Kernels, Pair, Registers, Sums, nearest};
use std::ops::Range;

/// Sums of pairs, whose tiles have other sizes than those of the processor.
pub(super) static PAIRS: Kernels = Kernels {
    sums: Sums::Pairs,
    pack_left: pack,
    pack_right: pack,
    tile: tile_of_pairs,
    registers: || Registers::Vectors,
    step: 1,
    depth: RUN,
    high: 5,
    band: GROUP,
    wide: 3,
};

/// Sums of tiles.
pub(super) static TILES: Kernels = Kernels {
    sums: Sums::Tiles,
    pack_left: pack_steps,
    pack_right: pack_steps,
    tile: tile_of_tiles,
    step: STEP,
    depth: 2 * STEP,
    ..PAIRS
};

/// Pairs of a run.
const RUN: usize = 96;

/// Pairs that `tdpbf16ps` adds up.
const STEP: usize = 16;

/// What is below the smallest normal number becomes 0, of the same sign.
fn flushed(x: f32) -> f32 {
    if x.is_subnormal() { 0f32.copysign(x) } else { x }
}

/// The nearest bfloat16.
pub(super) fn rounded(x: f32) -> u16 {
    (nearest(flushed(x)) >> 16) as u16
}

fn value(half: u16) -> f32 {
    flushed(f32::from_bits(u32::from(half) << 16))
}

/// sum + a·b, rounded once.
fn add(sum: f32, a: u16, b: u16) -> f32 {
    flushed(value(a).mul_add(value(b), flushed(sum)))
}

/// `vdpbf16ps` of one lane.
pub(super) fn add_pair(sum: f32, a: Pair, b: Pair) -> f32 {
    let sum = add(sum, (a >> 16) as u16, (b >> 16) as u16);
    add(sum, a as u16, b as u16)
}

/// `tdpbf16ps` of one element.
pub(super) fn add_step(sum: f32, pairs: impl Iterator<Item = (Pair, Pair)>) -> f32 {
    let (mut even, mut odd) = (0.0, 0.0);
    for (a, b) in pairs {
        even = add(even, a as u16, b as u16);
        odd = add(odd, (a >> 16) as u16, (b >> 16) as u16);
    }
    flushed(flushed(sum) + flushed(even + odd))
}

unsafe fn pack(from: Lanes, to: *mut Pair) {
    for p in 0..from.pairs() {
        for i in 0..GROUP {
            let half = |p: usize| {
                if i >= from.count || p >= from.k {
                    return 0;
                }
                // SAFETY: the caller's promise: the lanes are there.
                rounded(unsafe { *from.start.add(i * from.lane + p * from.step) })
            };
            let pair = Pair::from(half(2 * p)) | Pair::from(half(2 * p + 1)) << 16;
            // SAFETY: the caller's promise: there is room for a group.
            unsafe { to.add(p * GROUP + i).write(pair) }
        }
    }
}

/// Packs pairs, and zeros up to whole steps.
unsafe fn pack_steps(from: Lanes, to: *mut Pair) {
    let whole = from.pairs().next_multiple_of(STEP) * GROUP;
    // SAFETY: the caller's promise: there is room for whole steps.
    unsafe {
        std::slice::from_raw_parts_mut(to, whole).fill(0);
        pack(from, to);
    }
}

/// Pairs of element (i, j) of a tile.
///
/// # Safety
/// They are there.
unsafe fn pairs(
    t: &Tile,
    i: usize,
    j: usize,
    range: Range<usize>,
) -> impl Iterator<Item = (Pair, Pair)> {
    let (a, b, b_group) = (t.a, t.b, t.b_group);
    range.map(move |p| {
        // SAFETY: the caller's promise.
        unsafe {
            let b = b.add(j / GROUP * b_group + p * GROUP + j % GROUP);
            (*a.add(p * GROUP + i), *b)
        }
    })
}

unsafe fn tile_of_pairs(t: Tile) {
    for i in 0..t.rows {
        for j in 0..t.columns {
            // SAFETY: the caller's promise: all of these are packed.
            let pairs = unsafe { pairs(&t, i, j, 0..t.pairs) };
            let sum = pairs.fold(0.0, |sum, (a, b)| add_pair(sum, a, b));
            // SAFETY: likewise, this element is the tile's.
            let out = unsafe { &mut *t.out.add(i * t.out_row + j) };
            *out = if t.add { *out + sum } else { sum };
        }
    }
}

unsafe fn tile_of_tiles(t: Tile) {
    for i in 0..t.rows {
        for j in 0..t.columns {
            // SAFETY: the caller's promise: this element is the tile's.
            let out = unsafe { &mut *t.out.add(i * t.out_row + j) };
            let mut sum = if t.add { *out } else { 0.0 };
            for p in (0..t.pairs).step_by(STEP) {
                // SAFETY: likewise: whole steps are packed.
                sum = add_step(sum, unsafe { pairs(&t, i, j, p..p + STEP) });
            }
            *out = sum;
        }
    }
}
