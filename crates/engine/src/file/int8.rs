//! The section `INT8`: the matrices of a model in 8 bits. A reader that does not know it must refuse the
//! file.

use super::bytes::Parser;
use super::section::Frame;
use super::{Problem, Values, sizes};
use crate::model::{ModelShape, TensorName};
use cllm_kernels::int8::{BLOCK, Matrix, blocks, scale_value};
use cllm_kernels::memory::filled;
use std::io::{self, Read, Seek, SeekFrom};

/// The length of the blocks, and the kind of their scales.
pub(super) const HEAD_BYTES: usize = 8;
/// Scales are the upper halves of floats.
const BFLOAT16: u32 = 1;
/// Bytes that are read or written at a time, about.
const CHUNK: usize = 256 * 1024;

/// The beginning of the section.
pub(super) fn head() -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[..4].copy_from_slice(&(BLOCK as u32).to_le_bytes());
    head[4..].copy_from_slice(&BFLOAT16.to_le_bytes());
    head
}

/// Whether a section is of the kind that this version reads.
pub(super) fn check_head<R: Read + Seek>(
    source: &mut R,
    offset: u64,
    frame: &Frame,
) -> Result<(), Problem> {
    let mut bytes = [0; HEAD_BYTES];
    source.seek(SeekFrom::Start(offset))?;
    let there = (frame.length.min(HEAD_BYTES as u64)) as usize;
    source.read_exact(&mut bytes[..there])?;
    let mut p = Parser::new("section INT8", &bytes[..there]);
    let [block, scales] = p.u32s()?;
    if (block, scales) != (BLOCK as u32, BFLOAT16) {
        return Err(Problem::content(format!(
            "section INT8: this version of the library does not know blocks of {block} with scales \
             of kind {scales}"
        )));
    }
    Ok(())
}

/// Bytes of a row: an integer for each column, then two for each scale.
fn row_bytes(columns: usize) -> usize {
    columns + 2 * blocks(columns)
}

/// Bytes of the section; 0 where the model has none. The sizes were checked before.
pub(super) fn length(shape: &ModelShape) -> usize {
    let bytes =
        |name| shape.matrix_size(name).map_or(0, |(rows, columns)| rows * row_bytes(columns));
    let mut matrices = sizes::matrices(shape).map(bytes).peekable();
    if matrices.peek().is_none() { 0 } else { HEAD_BYTES + matrices.sum::<usize>() }
}

/// The bytes of a matrix, some rows at a time.
pub(super) fn write(
    matrix: &Matrix,
    f: &mut impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let columns = matrix.columns();
    let (mut integers, mut scales) = (vec![0; columns], vec![0; blocks(columns)]);
    let mut bytes = Vec::with_capacity(CHUNK.max(row_bytes(columns)));
    for i in 0..matrix.rows() {
        if bytes.len() + row_bytes(columns) > bytes.capacity() {
            f(&bytes)?;
            bytes.clear();
        }
        matrix.row(i, &mut integers, &mut scales);
        bytes.extend(integers.iter().map(|&q| q as u8));
        scales.iter().for_each(|scale| bytes.extend_from_slice(&scale.to_le_bytes()));
    }
    f(&bytes)
}

/// A matrix on its way from a file, some rows at a time.
pub(super) struct Rows {
    columns: usize,
    /// Rows that are left, and those in the buffer.
    left: usize,
    first: usize,
    now: usize,
    buffer: Vec<u8>,
    integers: Vec<i8>,
    scales: Vec<u16>,
}

impl Rows {
    /// A matrix of these rows and columns; the file is long enough for it.
    pub(super) fn new((rows, columns): (usize, usize)) -> Result<Self, Problem> {
        const WHAT: &str = "a file buffer";
        let row = row_bytes(columns);
        let at_once = (CHUNK / row.max(1)).clamp(1, rows.max(1));
        Ok(Self {
            columns,
            left: rows,
            first: 0,
            now: 0,
            buffer: filled(WHAT, at_once * row)?,
            integers: filled(WHAT, columns)?,
            scales: filled(WHAT, blocks(columns))?,
        })
    }

    /// Where the next rows are to be read; `None` behind the last.
    pub(super) fn next_bytes(&mut self) -> Option<&mut [u8]> {
        let row = row_bytes(self.columns);
        self.first += self.now;
        self.now = self.left.min(self.buffer.len().checked_div(row)?);
        self.left -= self.now;
        (self.now > 0).then(|| self.buffer.get_mut(..self.now * row).unwrap_or_default())
    }

    /// Hands over the rows that were read; what is wrong with them, if anything.
    pub(super) fn take(
        &mut self,
        name: TensorName,
        mut to: Option<&mut Matrix>,
        values: Values,
    ) -> Option<String> {
        let mut problem = None;
        let rows = self.buffer.chunks_exact(row_bytes(self.columns)).take(self.now);
        for (i, row) in (self.first..).zip(rows) {
            let (integers, scales) = row.split_at(self.columns);
            self.integers.iter_mut().zip(integers).for_each(|(q, byte)| *q = *byte as i8);
            for (scale, bytes) in self.scales.iter_mut().zip(scales.as_chunks::<2>().0) {
                *scale = u16::from_le_bytes(*bytes);
            }
            let finite = self.scales.iter().all(|&scale| scale_value(scale).is_finite());
            if !finite && values == Values::Finite {
                problem.get_or_insert_with(|| {
                    format!(
                        "{name}: a scale of row {i} is not finite; weights that are not finite are \
                         refused"
                    )
                });
            }
            let wrong = self.integers.contains(&i8::MIN)
                || to.as_mut().is_some_and(|to| {
                    let fits = to.rows() > i && to.columns() == self.columns;
                    !fits || !to.set_row(i, &self.integers, &self.scales)
                });
            if wrong {
                problem.get_or_insert_with(|| {
                    format!("{name}: row {i} has the integer −128, which no weight is")
                });
            }
        }
        problem
    }
}
