//! Matrix products: the one door to the product library.

use super::vector::dot;
use crate::runtime::pool::Pool;
use gemm::{Parallelism, gemm};
use ndarray::{ArrayView2, ArrayViewMut2};

/// Rows of the result that one task computes. Fixed, so that the cut, and with it every bit of
/// the result, depends on the shape alone.
const TASK_ROWS: usize = 256;

/// Work below which a product is not worth handing to other threads, in multiply-adds.
const TASK_WORK: usize = 1 << 18;

struct Shared(*mut f32);
// SAFETY: tasks write disjoint rows of the matrix behind the pointer.
unsafe impl Sync for Shared {}

impl Shared {
    fn row(&self, offset: isize) -> *mut f32 {
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
    let product = |first: usize, rows: usize| {
        // SAFETY: rows first..first+rows of `out` and `a` and all of `b` lie inside their views,
        // whose strides these are; no other task touches these rows of `out`.
        unsafe {
            gemm(
                rows,
                n,
                k,
                target.row(first as isize * out_strides.0),
                out_strides.1,
                out_strides.0,
                beta != 0.0,
                a.as_ptr().wrapping_offset(first as isize * a_strides.0),
                a_strides.1,
                a_strides.0,
                b.as_ptr(),
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
    let work = m.saturating_mul(n).saturating_mul(k);
    if work < TASK_WORK {
        product(0, m);
        return;
    }
    let rows = if m >= 2 * TASK_ROWS { TASK_ROWS } else { m.div_ceil(2).next_multiple_of(8) };
    pool.for_each(m.div_ceil(rows), |task| product(task * rows, rows.min(m - task * rows)));
}

fn strides(strides: &[isize]) -> (isize, isize) {
    match strides {
        [row, column] => (*row, *column),
        _ => (0, 0),
    }
}

/// out_o = w_o · x for the rows w_o of a row-major matrix `[out.len()][x.len()]`.
pub fn matvec(pool: &Pool, out: &mut [f32], w: &[f32], x: &[f32]) {
    /// Rows of one task: about 64 KiB of weights at 512 columns.
    const ROWS: usize = 32;
    let n = x.len();
    if n == 0 {
        out.fill(0.0);
        return;
    }
    let rows = |first: usize, out: &mut [f32]| {
        for (o, row) in out.iter_mut().zip(w[first * n..].chunks_exact(n)) {
            *o = dot(row, x);
        }
    };
    if out.len() * n < TASK_WORK {
        rows(0, out);
    } else {
        pool.chunks((out, ROWS), |task, out| rows(task * ROWS, out));
    }
}
