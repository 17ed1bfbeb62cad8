//! The rows that are multiplied with the weights.

use super::{BLOCK, LARGEST, STEP, blocks, largest, quantize};
use crate::error::Result;
use crate::memory::{grow, product};
use crate::threads::Pool;

/// Rows of a task.
const TASK_ROWS: usize = 8;

/// Rows of floats in 8 bits, in memory that is used again.
///
/// The scale of a block is its largest magnitude divided by 127. A block with a value that is not
/// finite is NaN, and so is every product with its row; one without a magnitude of 2^-100 is zero.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    rows: usize,
    columns: usize,
    /// Row after row, with zeros up to a multiple of [`STEP`].
    integers: Vec<i8>,
    /// By row, then by block.
    scales: Vec<f32>,
    /// −128 times the sum of the integers of each block: the weights are stored with 128 added.
    shifts: Vec<i32>,
}

impl Inputs {
    /// Makes room for `rows` rows of `columns` values, or for what is smaller.
    ///
    /// # Errors
    /// No memory.
    pub fn reserve(&mut self, rows: usize, columns: usize) -> Result<()> {
        const WHAT: &str = "rows of 8 bits";
        let len = product(WHAT, &[rows, blocks(columns)])?;
        grow(WHAT, &mut self.scales, len)?;
        grow(WHAT, &mut self.shifts, len)?;
        grow(WHAT, &mut self.integers, product(WHAT, &[rows, columns.next_multiple_of(STEP)])?)
    }

    /// Takes `rows` rows of `columns` values.
    ///
    /// # Panics
    /// If there are fewer values, or no room was made.
    pub fn quantize(&mut self, pool: &Pool, x: &[f32], rows: usize, columns: usize) {
        let (width, blocks) = (columns.next_multiple_of(STEP), blocks(columns));
        (self.rows, self.columns) = (rows, columns);
        let x = &x[..rows * columns];
        pool.chunks3(
            (&mut self.integers[..rows * width], TASK_ROWS * width),
            (&mut self.scales[..rows * blocks], TASK_ROWS * blocks),
            (&mut self.shifts[..rows * blocks], TASK_ROWS * blocks),
            |task, integers, scales, shifts| {
                let x = x[task * TASK_ROWS * columns..].chunks_exact(columns);
                let of_row = integers.chunks_exact_mut(width).zip(x);
                let factors = scales.chunks_exact_mut(blocks).zip(shifts.chunks_exact_mut(blocks));
                for ((integers, x), (scales, shifts)) in of_row.zip(factors) {
                    quantize_row(x, integers, scales, shifts);
                }
            },
        );
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Values of a row.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Bytes from one row to the next.
    pub(super) fn width(&self) -> usize {
        self.columns.next_multiple_of(STEP)
    }

    /// The integers from row i on.
    pub(super) fn integers(&self, i: usize) -> &[i8] {
        &self.integers[i * self.width()..self.rows * self.width()]
    }

    /// The scales from row i on.
    pub(super) fn scales(&self, i: usize) -> &[f32] {
        let blocks = blocks(self.columns);
        &self.scales[i * blocks..self.rows * blocks]
    }

    /// The shifts from row i on.
    pub(super) fn shifts(&self, i: usize) -> &[i32] {
        let blocks = blocks(self.columns);
        &self.shifts[i * blocks..self.rows * blocks]
    }
}

fn quantize_row(x: &[f32], integers: &mut [i8], scales: &mut [f32], shifts: &mut [i32]) {
    let of_block = x.chunks(BLOCK).zip(integers.chunks_mut(BLOCK));
    for (((x, integers), scale), shift) in of_block.zip(scales).zip(shifts) {
        let (integers, padding) = integers.split_at_mut(x.len());
        padding.fill(0);
        *scale = largest(x) / LARGEST;
        quantize(x, *scale, integers);
        *shift = -128 * integers.iter().map(|&q| i32::from(q)).sum::<i32>();
    }
}
