//! A product: both matrices are packed, then tasks compute parts of the result.

use super::pack::Lanes;
use super::tile::Tile;
use super::{GROUP, Kernels, Pair};
use crate::matmul::{Accumulate, Grid, Target, check, stride};
use crate::memory::scratch::{self, Buffer};
use crate::threads::Pool;
use ndarray::{ArrayView2, ArrayViewMut2};
use std::ops::Range;

/// Pairs that one task packs, about.
const TASK_PAIRS: usize = 1 << 14;

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
    let whole = left.pairs().next_multiple_of(kernels.step) * GROUP;
    let (left_len, right_len) = (left.groups() * whole, right.groups() * whole);
    const { assert!(size_of::<Pair>() == size_of::<f32>()) };
    scratch::with(Buffer::Panels, left_len + right_len, |packed| {
        let packed = Packed(packed.as_mut_ptr().cast());
        let all = left.groups() + right.groups();
        let step = (TASK_PAIRS / whole.max(1)).max(1);
        pool.for_each(all.div_ceil(step), |task| {
            for g in task * step..all.min((task + 1) * step) {
                let (pack, from) = match g.checked_sub(left.groups()) {
                    None => (kernels.pack_left, left.group(g)),
                    Some(g) => (kernels.pack_right, right.group(g)),
                };
                // SAFETY: lanes of the matrices; the scratch has room for all groups.
                unsafe { pack(from, packed.at(g * whole)) }
            }
        });
        let grid = Grid::new((kernels.wide * GROUP, kernels.band), [m, n, k], pool.threads());
        let (a, b) = (packed.at(0), packed.at(left_len));
        let product = Product { kernels, out: target, a: Packed(a), b: Packed(b), k, accumulate };
        pool.for_each(grid.down() * grid.across(), |task| {
            let (rows, columns) = grid.part(task);
            // SAFETY: parts of a grid are inside its matrices and disjoint.
            unsafe { product.part(rows.clone(), columns.clone()) };
            for i in rows {
                let (j, len) = (columns.start, columns.len());
                // SAFETY: likewise; the second matrix has the shape of the first.
                let (part, also) = unsafe {
                    (target.part(i, j, len), second.map(|second| second.part(i, j, len)))
                };
                finish(i, j, part, also.unwrap_or_default());
            }
        });
    });
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
