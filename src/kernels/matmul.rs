//! Matrix products: the one door to the product library.

use super::vector::dot;
use crate::runtime::pool::Pool;
use gemm::{Parallelism, gemm};
use ndarray::{ArrayView2, ArrayViewMut2};

/// Columns of the result that the product library computes at once.
const PANEL: usize = 64;

/// Tasks that a large product is cut into.
const TASKS: usize = 8;

/// Work below which a product is not worth handing to other threads, in multiply-adds.
const TASK_WORK: usize = 1 << 18;

struct Shared(*mut f32);
// SAFETY: tasks write disjoint parts of the matrix behind the pointer.
unsafe impl Sync for Shared {}

impl Shared {
    fn at(&self, offset: isize) -> *mut f32 {
        self.0.wrapping_offset(offset)
    }
}

/// out = beta·out + a·b for out `[m][n]`, a `[m][k]`, b `[k][n]`, each with any strides; beta is 0
/// or 1 (with 0 the old content is not read). Shapes that don't fit together leave `out` alone
/// and are a programming error (checked in debug builds).
pub fn matmul(
    pool: &Pool,
    mut out: ArrayViewMut2<f32>,
    a: ArrayView2<f32>,
    b: ArrayView2<f32>,
    beta: f32,
) {
    let (m, k) = a.dim();
    let n = b.dim().1;
    let fits = b.dim().0 == k && out.dim() == (m, n);
    debug_assert!(fits, "{:?} = {:?} · {:?}", out.dim(), a.dim(), b.dim());
    if !fits || m == 0 || n == 0 {
        return;
    }
    if k == 0 {
        if beta == 0.0 {
            out.fill(0.0);
        }
        return;
    }
    let out_strides = strides(out.strides());
    let (a_strides, b_strides) = (strides(a.strides()), strides(b.strides()));
    let target = Shared(out.as_mut_ptr());
    let part = |first: usize, rows: usize, column: usize, columns: usize| {
        let (first, column) = (first as isize, column as isize);
        // SAFETY: the rows of `out` and `a` and the columns of `out` and `b` lie inside their
        // views, whose strides these are; no other task touches this part of `out`.
        unsafe {
            gemm(
                rows,
                columns,
                k,
                target.at(first * out_strides.0 + column * out_strides.1),
                out_strides.1,
                out_strides.0,
                beta != 0.0,
                a.as_ptr().wrapping_offset(first * a_strides.0),
                a_strides.1,
                a_strides.0,
                b.as_ptr().wrapping_offset(column * b_strides.1),
                b_strides.1,
                b_strides.0,
                1.0,
                1.0,
                false,
                false,
                false,
                Parallelism::None,
            );
        }
    };
    if m.saturating_mul(n).saturating_mul(k) < TASK_WORK {
        part(0, m, 0, n);
        return;
    }
    let (row_parts, column_parts) = cut(m, n, a_strides.1 != 1);
    let rows = m.div_ceil(row_parts).next_multiple_of(6);
    let panels = n.div_ceil(PANEL);
    pool.for_each(row_parts * column_parts, |task| {
        let (i, j) = (task / column_parts, task % column_parts);
        let first = (i * rows).min(m);
        let column = j * panels / column_parts * PANEL;
        let end = n.min((j + 1) * panels / column_parts * PANEL);
        if first < m && column < end {
            part(first, rows.min(m - first), column, end - column);
        }
    });
}

/// Into how many parts the rows and the columns of a product are cut. It depends on the shape
/// alone, and with it every bit of the result. Cutting columns shares the packing of the right
/// matrix among the tasks, while the left one is read where it lies; cutting rows would pack the
/// right one once for each task. `benches/README.md` has the measurements.
fn cut(m: usize, n: usize, a_is_transposed: bool) -> (usize, usize) {
    let panels = n.div_ceil(PANEL);
    match (a_is_transposed, panels) {
        (true, _) if m > 2 * n => (if m >= 2048 { TASKS } else { 4 }, 1),
        (true, 4..) => (1, 4),
        (false, 4..) => (1, panels.min(TASKS)),
        _ => (4 / panels.max(1), panels),
    }
}

fn strides(strides: &[isize]) -> (isize, isize) {
    match strides {
        [row, column] => (*row, *column),
        _ => (0, 0),
    }
}

/// out_o = w_o · x for the rows w_o of a row-major matrix `[out.len()][x.len()]`.
pub fn matvec(pool: &Pool, out: &mut [f32], w: &[f32], x: &[f32]) {
    /// Floats of the rows of one task, about: 128 KiB.
    const TASK: usize = 1 << 15;
    let n = x.len();
    if n == 0 {
        out.fill(0.0);
        return;
    }
    let rows = |out: &mut [f32], w: &[f32]| {
        for (o, row) in out.iter_mut().zip(w.chunks_exact(n)) {
            *o = dot(row, x);
        }
    };
    if out.len() * n < TASK_WORK / 4 {
        return rows(out, w);
    }
    let count = (TASK / n).max(1);
    pool.chunks((out, count), |task, out| rows(out, &w[task * count * n..]));
}
