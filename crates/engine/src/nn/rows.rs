//! Matrices of rows: linear maps and sums over rows.

use cllm_kernels::Pool;
use cllm_kernels::matmul::{Accumulate, matmul};
use cllm_kernels::vector::add_assign;
use ndarray::{ArrayView2, ArrayViewMut2, ShapeBuilder};

/// Rows that one task of a row-wise pass works on, and that one partial sum over rows covers.
/// Fixed, so that sums don't depend on the number of threads.
pub const TASK_ROWS: usize = 32;

/// `rows`×`cols` values, row by row. `data` may be longer.
pub fn mat(data: &[f32], rows: usize, cols: usize) -> ArrayView2<'_, f32> {
    strided(data, rows, cols, cols)
}

/// The same with `stride` values from one row to the next.
pub fn strided(data: &[f32], rows: usize, cols: usize, stride: usize) -> ArrayView2<'_, f32> {
    let shape = (rows, cols).strides((stride, 1));
    match ArrayView2::from_shape(shape, data) {
        Ok(view) => view,
        Err(e) => panic!("{rows}×{cols} rows in {} values: {e}", data.len()),
    }
}

/// `rows`×`cols` values to be written.
pub fn mat_mut(data: &mut [f32], rows: usize, cols: usize) -> ArrayViewMut2<'_, f32> {
    strided_mut(data, rows, cols, cols)
}

/// The same with `stride` values from one row to the next.
pub fn strided_mut(
    data: &mut [f32],
    rows: usize,
    cols: usize,
    stride: usize,
) -> ArrayViewMut2<'_, f32> {
    let len = data.len();
    let shape = (rows, cols).strides((stride, 1));
    match ArrayViewMut2::from_shape(shape, data) {
        Ok(view) => view,
        Err(e) => panic!("{rows}×{cols} rows in {len} values: {e}"),
    }
}

/// out = x·Wᵀ for n rows: out `[n][outputs]`, x `[n][inputs]`, W `[outputs][inputs]`.
pub fn linear(
    pool: &Pool,
    out: &mut [f32],
    x: &[f32],
    w: &[f32],
    n: usize,
    inputs: usize,
    outputs: usize,
) {
    let out = mat_mut(out, n, outputs);
    matmul(pool, out, mat(x, n, inputs), mat(w, outputs, inputs).t(), Accumulate::Replace);
}

/// Space for the partial sums of [`sum_rows`].
pub fn partials_len(rows: usize, cols: usize) -> usize {
    rows.div_ceil(TASK_ROWS) * cols
}

/// out = Σ of the rows of `data`, in a fixed order, or out += it.
pub fn sum_rows(
    pool: &Pool,
    out: &mut [f32],
    data: &[f32],
    rows: usize,
    partials: &mut [f32],
    accumulate: Accumulate,
) {
    let cols = out.len();
    if cols == 0 {
        return;
    }
    let partials = &mut partials[..partials_len(rows, cols)];
    pool.chunks((partials, cols), |task, partial| {
        partial.fill(0.0);
        let first = task * TASK_ROWS;
        let last = rows.min(first + TASK_ROWS);
        for row in data[first * cols..last * cols].chunks_exact(cols) {
            add_assign(partial, row);
        }
    });
    if accumulate == Accumulate::Replace {
        out.fill(0.0);
    }
    for partial in partials.chunks_exact(cols) {
        add_assign(out, partial);
    }
}
