//! A product: both matrices are packed, then tasks compute parts of the result.

use super::pack::Lanes;
use super::tile::Tile;
use super::{DEPTH, GROUP, HIGH, Kernels, Pair, WIDE};
use crate::matmul::{Accumulate, Grid, Target, check, stride};
use crate::memory::scratch::{self, Buffer};
use crate::threads::Pool;
use ndarray::{ArrayView2, ArrayViewMut2};
use std::ops::Range;

/// Columns of a panel: what the widest tile has.
const PANEL: usize = WIDE * GROUP;

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
    let whole = left.pairs() * GROUP;
    let (left_len, right_len) = (left.groups() * whole, right.groups() * whole);
    const { assert!(size_of::<Pair>() == size_of::<f32>()) };
    scratch::with(Buffer::Panels, left_len + right_len, |packed| {
        let packed = Packed(packed.as_mut_ptr().cast());
        let all = left.groups() + right.groups();
        let step = (TASK_PAIRS / whole.max(1)).max(1);
        pool.for_each(all.div_ceil(step), |task| {
            for g in task * step..all.min((task + 1) * step) {
                let from = match g.checked_sub(left.groups()) {
                    None => left.group(g),
                    Some(g) => right.group(g),
                };
                // SAFETY: lanes of the matrices; the scratch has room for all groups.
                unsafe { (kernels.pack)(from, packed.at(g * whole)) }
            }
        });
        let grid = Grid::new((PANEL, GROUP), [m, n, k], pool.threads());
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
    /// The part is inside, begins with a group of rows and a panel, and no other task has it.
    unsafe fn part(&self, rows: Range<usize>, columns: Range<usize>) {
        let pairs = self.k.div_ceil(2);
        let (whole, add) = (pairs * GROUP, self.accumulate == Accumulate::Add);
        if pairs == 0 && !add {
            for i in rows {
                // SAFETY: the caller's promise.
                unsafe { self.out.part(i, columns.start, columns.len()) }.fill(0.0);
            }
            return;
        }
        for p in (0..pairs).step_by(DEPTH) {
            for j in columns.clone().step_by(PANEL) {
                for group in rows.clone().step_by(GROUP) {
                    let end = rows.end.min(group + GROUP);
                    for i in (group..end).step_by(HIGH) {
                        let tile = Tile {
                            pairs: DEPTH.min(pairs - p),
                            a: self.a.at(group / GROUP * whole + p * GROUP + (i - group)),
                            b: self.b.at(j / GROUP * whole + p * GROUP),
                            b_group: whole,
                            out: self.out.at(i, j),
                            out_row: self.out.row(),
                            rows: HIGH.min(end - i),
                            columns: PANEL.min(columns.end - j),
                            add: add || p > 0,
                        };
                        // SAFETY: these rows and columns are packed, their elements the caller's.
                        unsafe { (self.kernels.tile)(tile) }
                    }
                }
            }
        }
    }
}
