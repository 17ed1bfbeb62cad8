//! A product: both matrices are packed, then tasks compute parts of the result.

use super::pack::Lanes;
use super::tile::Tile;
use super::{GROUP, Kernels, Pair};
use crate::matmul::{Accumulate, Grid, Target, check, stride};
use crate::memory::{
    self,
    scratch::{self, Buffer},
};
use crate::threads::Pool;
use ndarray::{ArrayView2, ArrayViewMut2};
use std::ops::Range;

/// Pairs that one task packs, about.
const TASK_PAIRS: usize = 1 << 14;

/// Rows of a block that a task packs and multiplies: they and their part of the result stay in a second
/// cache.
const BLOCK_ROWS: usize = 64;

#[expect(clippy::too_many_arguments, reason = "those of a product, and what computes it")]
pub(super) fn multiply(
    kernels: &Kernels,
    pool: &Pool,
    mut out: ArrayViewMut2<f32>,
    mut also: Option<ArrayViewMut2<f32>>,
    a: ArrayView2<f32>,
    b: ArrayView2<f32>,
    accumulate: Accumulate,
    finish: &(impl Fn(usize, usize, &mut [f32], &mut [f32]) + Sync),
) {
    let [m, n, k] = check(&out, also.as_ref(), &a, &b);
    if m == 0 || n == 0 {
        return;
    }
    let target = Target::new(&mut out);
    let second = also.as_mut().map(Target::new);
    let lanes = |x: &ArrayView2<f32>, lane: usize, count: usize| Lanes {
        start: x.as_ptr(),
        lane: stride(x.strides(), lane),
        step: stride(x.strides(), 1 - lane),
        count,
        k,
    };
    let (left, right) = (lanes(&a, 0, m), lanes(&b, 1, n));
    let size = |sizes: &[usize]| match memory::product("the matrices of a product", sizes) {
        Ok(size) => size,
        Err(error) => panic!("{error}"),
    };
    let whole = size(&[left.pairs().next_multiple_of(kernels.step), GROUP]);
    let grid = Grid::new((kernels.wide * GROUP, kernels.band), [m, n, k], pool.threads());
    // Rows that one task has for all columns are packed by it, just before they are multiplied.
    let apart = if grid.across() == 1 { 0 } else { left.groups() };
    const { assert!(size_of::<Pair>() == size_of::<f32>()) };
    scratch::with(Buffer::Panels, size(&[apart + right.groups(), whole]), |packed| {
        let packed = Packed(packed.as_mut_ptr().cast());
        let all = apart + right.groups();
        let step = (TASK_PAIRS / whole.max(1)).max(1);
        pool.for_each(all.div_ceil(step), |task| {
            for g in task * step..all.min((task + 1) * step) {
                let (pack, from) = match g.checked_sub(apart) {
                    None => (kernels.pack_left, left.group(g)),
                    Some(g) => (kernels.pack_right, right.group(g)),
                };
                // SAFETY: lanes of the matrices; the scratch has room for all groups.
                unsafe { pack(from, packed.at(g * whole)) }
            }
        });
        let b = Packed(packed.at(apart * whole));
        let product = Product { kernels, out: target, a: packed, b, k, accumulate };
        pool.for_each(grid.down() * grid.across(), |task| {
            let (rows, columns) = grid.part(task);
            let (j, len) = (columns.start, columns.len());
            let own = apart == 0;
            let block = if own { BLOCK_ROWS.next_multiple_of(kernels.band) } else { rows.len() };
            let room = if own { size(&[block.div_ceil(GROUP), whole]) } else { 0 };
            scratch::with(Buffer::Panel, room, |room| {
                for top in rows.clone().step_by(block) {
                    let rows = top..rows.end.min(top + block);
                    let mut product = product;
                    if own {
                        // SAFETY: the scratch has room for the groups of a block.
                        product.a = unsafe { pack_rows(kernels, left, rows.clone(), whole, room) };
                    }
                    // SAFETY: parts of a grid, and parts of their rows in whole bands, are inside its
                    // matrices and disjoint.
                    unsafe { product.part(rows.clone(), columns.clone()) };
                    for i in rows {
                        // SAFETY: likewise; the second matrix has the shape of the first.
                        let (part, also) = unsafe {
                            (target.part(i, j, len), second.map(|second| second.part(i, j, len)))
                        };
                        finish(i, j, part, also.unwrap_or_default());
                    }
                }
            });
        });
    });
}

/// Packs rows of the left matrix, the first of which begins a group, and returns where the first group of
/// all would be.
///
/// # Safety
/// The rows are there, and there is room for their groups of `whole` pairs.
#[inline(never)] // For many callers have a function `finish` of their own.
unsafe fn pack_rows(
    kernels: &Kernels,
    left: Lanes,
    rows: Range<usize>,
    whole: usize,
    room: &mut [f32],
) -> Packed {
    let packed = Packed(room.as_mut_ptr().cast());
    let groups = rows.start / GROUP..rows.end.div_ceil(GROUP);
    for (i, g) in groups.clone().enumerate() {
        // SAFETY: the caller's promise.
        unsafe { (kernels.pack_left)(left.group(g), packed.at(i * whole)) }
    }
    Packed(packed.0.wrapping_sub(groups.start * whole))
}

/// Packed groups.
#[derive(Clone, Copy)]
struct Packed(*mut Pair);

// SAFETY: tasks write disjoint groups, and read them when all are written.
unsafe impl Sync for Packed {}

impl Packed {
    fn at(&self, pair: usize) -> *mut Pair {
        self.0.wrapping_add(pair)
    }
}

/// What the tasks of a product share.
#[derive(Clone, Copy)]
struct Product<'a> {
    kernels: &'a Kernels,
    out: Target,
    a: Packed,
    b: Packed,
    k: usize,
    accumulate: Accumulate,
}

impl Product<'_> {
    /// Computes a part of the result: run after run of pairs, in each panel after panel.
    ///
    /// # Safety
    /// The part is inside, begins with a band of rows and a panel, and no other task has it.
    unsafe fn part(&self, rows: Range<usize>, columns: Range<usize>) {
        let Kernels { step, depth, high, band, wide, .. } = *self.kernels;
        let panel = wide * GROUP;
        let pairs = self.k.div_ceil(2).next_multiple_of(step);
        let (whole, add) = (pairs * GROUP, self.accumulate == Accumulate::Add);
        if pairs == 0 && !add {
            for i in rows {
                // SAFETY: the caller's promise.
                unsafe { self.out.part(i, columns.start, columns.len()) }.fill(0.0);
            }
            return;
        }
        let _registers = (self.kernels.registers)();
        for p in (0..pairs).step_by(depth) {
            for j in columns.clone().step_by(panel) {
                for top in rows.clone().step_by(band) {
                    let end = rows.end.min(top + band);
                    for i in (top..end).step_by(high) {
                        let tile = Tile {
                            pairs: depth.min(pairs - p),
                            a: self.a.at(i / GROUP * whole + p * GROUP + i % GROUP),
                            a_group: whole,
                            b: self.b.at(j / GROUP * whole + p * GROUP),
                            b_group: whole,
                            out: self.out.at(i, j),
                            out_row: self.out.row(),
                            rows: high.min(end - i),
                            columns: panel.min(columns.end - j),
                            add: add || p > 0,
                        };
                        // SAFETY: these rows and columns are packed, their elements the caller's; the
                        // thread has the registers.
                        unsafe { (self.kernels.tile)(tile) }
                    }
                }
            }
        }
    }
}
