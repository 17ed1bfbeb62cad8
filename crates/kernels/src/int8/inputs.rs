//! The rows that are multiplied with the weights.

use super::{BLOCK, LARGEST, blocks, largest, quantize};
use crate::arch::simd;
use crate::error::Result;
use crate::memory::{grow, product};
use crate::threads::Pool;

/// Rows whose scales lie next to each other: those of a tile of AMX. Also the rows of a task.
pub(super) const STACK: usize = 16;

/// The integers of a block of a row.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Integers(pub [i8; BLOCK]);

impl Default for Integers {
    fn default() -> Self {
        Self([0; BLOCK])
    }
}

/// Rows of floats in 8 bits, in memory that is used again.
///
/// The scale of a block is its largest magnitude divided by 127. A block with a value that is not
/// finite is NaN, and so is every product with its row; one without a magnitude of 2^-100 is zero.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    rows: usize,
    columns: usize,
    /// Row after row, with zeros to the end of the last block; whole stacks, whose last rows may be
    /// those of another time.
    integers: Vec<Integers>,
    /// By stack of rows, then by block, then by row of the stack.
    scales: Vec<[f32; STACK]>,
    /// Likewise −128 times the sum of the integers of each block: the weights are stored with 128
    /// added.
    shifts: Vec<[i32; STACK]>,
}

impl Inputs {
    /// Makes room for `rows` rows of `columns` values, or for what is smaller.
    ///
    /// # Errors
    /// No memory.
    pub fn reserve(&mut self, rows: usize, columns: usize) -> Result<()> {
        const WHAT: &str = "rows of 8 bits";
        let stacks = product(WHAT, &[rows.div_ceil(STACK), blocks(columns)])?;
        grow(WHAT, &mut self.scales, stacks)?;
        grow(WHAT, &mut self.shifts, stacks)?;
        grow(WHAT, &mut self.integers, product(WHAT, &[stacks, STACK])?)
    }

    /// Takes `rows` rows of `columns` values.
    ///
    /// # Panics
    /// If there are fewer values, or no room was made.
    pub fn quantize(&mut self, pool: &Pool, x: &[f32], rows: usize, columns: usize) {
        (self.rows, self.columns) = (rows, columns);
        let (blocks, stacks) = (blocks(columns), rows.div_ceil(STACK));
        let x = &x[..rows * columns];
        pool.chunks3(
            (&mut self.integers[..rows * blocks], STACK * blocks),
            (&mut self.scales[..stacks * blocks], blocks),
            (&mut self.shifts[..stacks * blocks], blocks),
            |stack, integers, scales, shifts| {
                let x = x[stack * STACK * columns..].chunks_exact(columns);
                for (i, (integers, x)) in integers.chunks_exact_mut(blocks).zip(x).enumerate() {
                    quantize_row(x, i, integers, scales, shifts);
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
        blocks(self.columns) * BLOCK
    }

    /// The integers of a stack and those behind it.
    pub(super) fn integers(&self, stack: usize) -> &[Integers] {
        &self.integers[stack * STACK * blocks(self.columns)..]
    }

    /// The scales of a stack and those behind it.
    pub(super) fn scales(&self, stack: usize) -> &[[f32; STACK]] {
        &self.scales[stack * blocks(self.columns)..]
    }

    /// The shifts of a stack and those behind it.
    pub(super) fn shifts(&self, stack: usize) -> &[[i32; STACK]] {
        &self.shifts[stack * blocks(self.columns)..]
    }
}

simd! {
    /// Takes row i of a stack, whose scales and shifts these are.
    fn quantize_row(
        x: &[f32],
        i: usize,
        integers: &mut [Integers],
        scales: &mut [[f32; STACK]],
        shifts: &mut [[i32; STACK]],
    ) {
        let factors = scales.iter_mut().zip(shifts);
        for ((x, integers), (scales, shifts)) in x.chunks(BLOCK).zip(integers).zip(factors) {
            let padded;
            let x = if let Ok(x) = x.try_into() {
                x
            } else {
                let mut all = [0.0; BLOCK];
                all[..x.len()].copy_from_slice(x);
                padded = all;
                &padded
            };
            let x: &[f32; BLOCK] = x;
            scales[i] = largest(x) / LARGEST;
            shifts[i] = -128 * quantize(x, scales[i], &mut integers.0);
        }
    }
}
