//! The same functions one value after the other, as the manual defines the instructions: what the others
//! are tested against, and what the rest is tested with where a processor has no others.

use super::pack::Lanes;
use super::tile::Tile;
use super::{GROUP, Kernels, Pair, nearest};

pub(super) const KERNELS: Kernels = Kernels { pack, tile };

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

unsafe fn tile(t: Tile) {
    for i in 0..t.rows {
        for j in 0..t.columns {
            let mut sum = 0.0;
            for p in 0..t.pairs {
                // SAFETY: the caller's promise: all of these are packed.
                let (a, b) = unsafe {
                    let b = t.b.add(j / GROUP * t.b_group + p * GROUP + j % GROUP);
                    (*t.a.add(p * GROUP + i), *b)
                };
                sum = add_pair(sum, a, b);
            }
            // SAFETY: likewise, this element is the tile's.
            let out = unsafe { &mut *t.out.add(i * t.out_row + j) };
            *out = if t.add { *out + sum } else { sum };
        }
    }
}
