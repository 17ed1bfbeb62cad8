//! Matrices of rows, and sums over rows.

use super::products::Products;
use crate::model::Attention;
use cllm_kernels::Pool;
use cllm_kernels::attention;
use cllm_kernels::bf16::Bfloat16;
use cllm_kernels::matmul::Accumulate;
use cllm_kernels::vector::add_assign;
use ndarray::{ArrayView2, ArrayViewMut2, ShapeBuilder};

/// Rows that one task of a row-wise pass works on, and that one partial sum over rows covers.
/// Fixed, so that sums don't depend on the number of threads.
pub const TASK_ROWS: usize = 32;

/// What the functions of a pass over rows share.
#[derive(Clone, Copy)]
pub struct Pass<'a> {
    /// The threads.
    pub pool: &'a Pool,
    /// B: sequences, which don't see each other.
    pub batch: usize,
    /// Rows of each sequence.
    pub rows: usize,
    /// Positions that come before the first row of each sequence.
    pub base: usize,
    /// d: values of a row.
    pub d: usize,
    /// Its matrix products, where they are not of f32.
    pub bfloat16: Option<Bfloat16>,
}

impl<'a> Pass<'a> {
    /// A pass over one sequence from its first position on.
    pub fn one(pool: &'a Pool, rows: usize, d: usize) -> Self {
        Self { pool, batch: 1, rows, base: 0, d, bfloat16: None }
    }

    /// Its matrix products.
    pub fn products(&self) -> Products<'a> {
        Products { pool: self.pool, bfloat16: self.bfloat16 }
    }

    /// n: rows of all sequences.
    pub fn n(&self) -> usize {
        self.batch * self.rows
    }

    /// n·d: values of all rows.
    pub fn values(&self) -> usize {
        self.n() * self.d
    }

    /// The sizes of causal attention in this pass.
    pub fn attention<T>(&self, w: &Attention<T>) -> attention::Call {
        let Self { batch, rows, base, .. } = *self;
        let (heads, head_dim, scale) = (w.heads, w.head_dim, w.scale());
        attention::Call { batch, rows, base, heads, head_dim, scale, causal: true }
    }
}

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

/// Space for the partial sums of [`sum_rows`].
pub fn partials_len(rows: usize, cols: usize) -> usize {
    rows.div_ceil(TASK_ROWS) * cols
}

/// out = Σ of the rows of `data` `[n][out.len()]`, in a fixed order, or out += it. `partials` has
/// [`partials_len`] values.
pub fn sum_rows(
    pass: &Pass,
    out: &mut [f32],
    data: &[f32],
    partials: &mut [f32],
    accumulate: Accumulate,
) {
    let (n, cols) = (pass.n(), out.len());
    if cols == 0 {
        return;
    }
    let partials = &mut partials[..partials_len(n, cols)];
    pass.pool.chunks((partials, cols), |task, partial| {
        partial.fill(0.0);
        let first = task * TASK_ROWS;
        let last = n.min(first + TASK_ROWS);
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
