//! The weights.

use super::{BLOCK, LARGEST, STEP, blocks, largest, quantize, scale_value};
use crate::arch::simd;
use crate::error::Result;
use crate::memory::floats::ask_for_huge_pages;
use crate::memory::{filled, product, reserve};
use crate::threads::Pool;
use std::fmt;

/// Rows whose weights lie interleaved: what the widest register has sums for.
pub(super) const GROUP: usize = 16;

/// [`STEP`] weights of each of the [`GROUP`] rows, row after row; 128 is added to each, so that it is
/// a byte without a sign.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Line(pub [u8; GROUP * STEP]);

/// 128 for each weight: zeros.
impl Default for Line {
    fn default() -> Self {
        Self([ZERO; GROUP * STEP])
    }
}

/// How a weight of 0 is stored.
const ZERO: u8 = 128;

/// A matrix `[rows][columns]` in 8 bits: y = W·x.
///
/// Its scales have eight significant bits: the largest magnitude of a block divided by 127, rounded
/// upwards. The integers are the nearest ones for the rounded scale, so a value is wrong by half a
/// scale at most. A block with a value that is not finite is NaN.
#[derive(Default)]
pub struct Matrix {
    rows: usize,
    columns: usize,
    /// By group of rows, then by step of columns.
    lines: Vec<Line>,
    /// By group of rows, then by block, then by row of the group.
    scales: Vec<u16>,
}

impl Matrix {
    /// Zeros.
    ///
    /// # Errors
    /// No memory.
    pub fn zeroed(rows: usize, columns: usize) -> Result<Self> {
        const WHAT: &str = "weights of 8 bits";
        let groups = rows.div_ceil(GROUP);
        let len = product(WHAT, &[groups, columns.div_ceil(STEP)])?;
        let bytes = product(WHAT, &[len, size_of::<Line>()])?;
        let mut lines = Vec::<Line>::new();
        reserve(WHAT, &mut lines, len)?;
        ask_for_huge_pages(lines.as_ptr().cast(), bytes);
        lines.resize(len, Line::default());
        let scales = filled(WHAT, product(WHAT, &[groups, blocks(columns), GROUP])?)?;
        Ok(Self { rows, columns, lines, scales })
    }

    /// The matrix in 8 bits.
    ///
    /// # Errors
    /// No memory.
    ///
    /// # Panics
    /// If there are not `rows·columns` values.
    pub fn quantized(pool: &Pool, w: &[f32], rows: usize, columns: usize) -> Result<Self> {
        let mut matrix = Self::zeroed(rows, columns)?;
        assert!(w.len() == rows * columns, "{} weights for {rows}×{columns}", w.len());
        let (lines, scales) = (matrix.lines_of_group(), matrix.scales_of_group());
        if w.is_empty() {
            return Ok(matrix);
        }
        pool.chunks2(
            (&mut matrix.lines, lines),
            (&mut matrix.scales, scales),
            |group, lines, scales| {
                let rows = w.chunks_exact(columns).skip(group * GROUP).take(GROUP);
                for (lane, row) in rows.enumerate() {
                    quantize_row(row, lane, lines, scales);
                }
            },
        );
        Ok(matrix)
    }

    /// Outputs.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Inputs.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Bytes of the weights and scales.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.lines) + size_of_val(&*self.scales)
    }

    pub(super) fn lines(&self) -> &[Line] {
        &self.lines
    }

    pub(super) fn scales(&self) -> &[u16] {
        &self.scales
    }

    /// Lines of a group.
    pub(super) fn lines_of_group(&self) -> usize {
        self.columns.div_ceil(STEP)
    }

    /// Scales of a group.
    fn scales_of_group(&self) -> usize {
        blocks(self.columns) * GROUP
    }

    /// Where row i is: its group's lines and scales, and its place among the group's rows.
    fn place(&self, i: usize) -> (&[Line], &[u16], usize) {
        assert!(i < self.rows, "row {i} of {}", self.rows);
        let (group, lane) = (i / GROUP, i % GROUP);
        let (lines, scales) = (self.lines_of_group(), self.scales_of_group());
        (&self.lines[group * lines..][..lines], &self.scales[group * scales..][..scales], lane)
    }

    /// Copies the integers and the scales of row i: as many as there are columns and
    /// [`blocks`].
    ///
    /// # Panics
    /// If there is no such row, or the room is of another size.
    pub fn row(&self, i: usize, integers: &mut [i8], row_scales: &mut [u16]) {
        let (lines, scales, lane) = self.place(i);
        self.check(integers.len(), row_scales.len());
        for (out, line) in integers.chunks_mut(STEP).zip(lines) {
            for (out, w) in out.iter_mut().zip(&line.0[lane * STEP..]) {
                *out = (w ^ ZERO) as i8;
            }
        }
        for (out, scales) in row_scales.iter_mut().zip(scales.chunks_exact(GROUP)) {
            *out = scales[lane];
        }
    }

    /// Sets row i to integers and scales as [`row`](Self::row) gives them. Returns whether it did: a
    /// row with −128 among its integers is refused, since no row has it.
    ///
    /// # Panics
    /// If there is no such row, or as many values as it has.
    #[must_use]
    pub fn set_row(&mut self, i: usize, integers: &[i8], row_scales: &[u16]) -> bool {
        assert!(i < self.rows, "row {i} of {}", self.rows);
        self.check(integers.len(), row_scales.len());
        if integers.contains(&i8::MIN) {
            return false;
        }
        let (group, lane) = (i / GROUP, i % GROUP);
        let (lines, scales) = (self.lines_of_group(), self.scales_of_group());
        let lines = &mut self.lines[group * lines..][..lines];
        let scales = &mut self.scales[group * scales..][..scales];
        store_row(integers, lane, lines);
        for (scales, scale) in scales.chunks_exact_mut(GROUP).zip(row_scales) {
            scales[lane] = *scale;
        }
        true
    }

    fn check(&self, integers: usize, scales: usize) {
        let expected = (self.columns, blocks(self.columns));
        assert!((integers, scales) == expected, "{integers} and {scales} values of a row");
    }

    /// Gives `f` a few of the stored weights and scales, as numbers: others where the matrix is
    /// replaced as a whole.
    pub fn sample(&self, mut f: impl FnMut(u64)) {
        const AT: usize = 7;
        for line in self.lines.iter().step_by((self.lines.len() / AT).max(1)) {
            line.0.as_chunks::<8>().0.iter().for_each(|bytes| f(u64::from_le_bytes(*bytes)));
        }
        self.scales.iter().step_by((self.scales.len() / AT).max(1)).for_each(|&s| f(s.into()));
    }

    /// Row i as floats.
    ///
    /// # Panics
    /// If there is no such row, or the room is of another size.
    pub fn expand_row(&self, i: usize, out: &mut [f32]) {
        let (lines, scales, lane) = self.place(i);
        self.check(out.len(), blocks(self.columns));
        let of_block = lines.chunks(BLOCK / STEP).zip(scales.chunks_exact(GROUP));
        for (out, (lines, scales)) in out.chunks_mut(BLOCK).zip(of_block) {
            let scale = scale_value(scales[lane]);
            for (out, line) in out.chunks_mut(STEP).zip(lines) {
                for (out, w) in out.iter_mut().zip(&line.0[lane * STEP..]) {
                    *out = scale * f32::from((w ^ ZERO) as i8);
                }
            }
        }
    }
}

/// Its size; the values would be millions.
impl fmt::Debug for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Matrix({}×{})", self.rows, self.columns)
    }
}

/// The scale of a block with this largest magnitude: at least a 127th of it.
fn scale(largest: f32) -> u16 {
    let bits = (largest / LARGEST).to_bits();
    // NaN stays NaN: its bits lie far above those of infinity.
    ((bits + 0xffff) >> 16) as u16
}

simd! {
    fn quantize_row(row: &[f32], lane: usize, lines: &mut [Line], scales: &mut [u16]) {
        let mut integers = [0; BLOCK];
        let of_block = lines.chunks_mut(BLOCK / STEP).zip(scales.chunks_exact_mut(GROUP));
        for (x, (lines, scales)) in row.chunks(BLOCK).zip(of_block) {
            let integers = &mut integers[..x.len()];
            scales[lane] = scale(largest(x));
            quantize(x, scale_value(scales[lane]), integers);
            store_row(integers, lane, lines);
        }
    }
}

fn store_row(integers: &[i8], lane: usize, lines: &mut [Line]) {
    for (integers, line) in integers.chunks(STEP).zip(lines) {
        for (w, q) in line.0[lane * STEP..].iter_mut().zip(integers) {
            *w = *q as u8 ^ ZERO;
        }
    }
}
