//! The products of attention: their matrices are parts of rows of wider buffers, and of each only
//! what a causal pass needs is computed.

use crate::tile::{Panel, Tile, Tiles};
use ndarray::{ArrayView2, ArrayViewMut2};

/// Panels of the transposed rows of a head: what scores are products with.
///
/// # Safety
/// `panels` has room for [`panels_len`] floats, and `x` for `keys` rows of the head.
pub(super) unsafe fn pack_transposed(tiles: &Tiles, x: ArrayView2<f32>, panels: &mut [f32]) {
    let (keys, h) = x.dim();
    let (width, row) = (tiles.panel(), x.strides()[0].unsigned_abs());
    let all = Panel { b: x.as_ptr(), row: 1, column: row, k: h, columns: keys };
    for (j, panel) in panels.chunks_exact_mut(width * h).enumerate() {
        let columns = width.min(keys - j * width);
        // SAFETY: columns of the view; the chunk is one panel.
        unsafe { tiles.pack(all.part(0, j * width, h, columns), panel.as_mut_ptr()) };
    }
}

/// Floats of the panels of `keys` rows of `h` values.
pub(super) fn panels_len(tiles: &Tiles, keys: usize, h: usize) -> usize {
    keys.next_multiple_of(tiles.panel()) * h
}

/// scores = q · the transposed rows in `panels`, for the queries of a block. A row is computed as
/// far as its tile sees, `seen(i)` for row i, and row i starts at `i * row` of `scores`.
///
/// # Safety
/// `scores` has room for the rows, `panels` holds all keys that are seen.
pub(super) unsafe fn products(
    tiles: &Tiles,
    q: ArrayView2<f32>,
    panels: &[f32],
    seen: impl Fn(usize) -> usize,
    scores: &mut [f32],
    row: usize,
) {
    let (count, h) = q.dim();
    let width = tiles.panel();
    let height = tiles.height(width);
    for i in (0..count).step_by(height) {
        let rows = height.min(count - i);
        let columns = seen(i + rows - 1);
        for (j, panel) in panels.chunks_exact(width * h).enumerate() {
            let Some(left) = columns.checked_sub(j * width).filter(|&left| left > 0) else { break };
            let a_row = q.strides()[0].unsigned_abs();
            let tile = Tile {
                k: h,
                a: q.as_ptr().wrapping_add(i * a_row),
                a_row,
                a_step: 1,
                b: panel.as_ptr(),
                b_step: width,
                out: scores[i * row + j * width..].as_mut_ptr(),
                out_row: row,
                columns: left.min(width),
                add: false,
                far: false,
            };
            // SAFETY: the caller's promise. The tile may be lower than a narrow one could be.
            unsafe { tiles.tile(rows, &tile) };
        }
    }
}

/// How [`weighted`] reads a block of weights: element (i, p) is at `i * row + p * step`.
#[derive(Clone, Copy)]
pub(super) struct Weights<'a> {
    pub data: &'a [f32],
    pub row: usize,
    pub step: usize,
}

/// out_i (+)= Σ_p w_ip·x_p for the rows i of `out`, over the p in `range(first, count)`, a range
/// that holds what the rows first..first+count need.
pub(super) fn weighted(
    tiles: &Tiles,
    w: Weights,
    x: &Right,
    range: impl Fn(usize, usize) -> (usize, usize),
    mut out: ArrayViewMut2<f32>,
    add: bool,
) {
    let (m, h) = out.dim();
    let width = tiles.panel();
    let out_row = out.strides()[0].unsigned_abs();
    for j in (0..h).step_by(width) {
        let columns = width.min(h - j);
        let height = tiles.height(columns);
        for i in (0..m).step_by(height) {
            let rows = height.min(m - i);
            let (from, to) = range(i, rows);
            if from >= to {
                continue;
            }
            let last = (i + rows - 1) * w.row + (to - 1) * w.step;
            assert!(last < w.data.len() && to <= x.rows, "attention weights outside their block");
            let tile = Tile {
                k: to - from,
                a: w.data[i * w.row + from * w.step..].as_ptr(),
                a_row: w.row,
                a_step: w.step,
                b: x.start.wrapping_add(from * x.row + j),
                b_step: x.row,
                out: out.as_mut_ptr().wrapping_add(i * out_row + j),
                out_row,
                columns,
                add,
                far: false,
            };
            // SAFETY: rows and columns of `out`; the weights were checked; `x` has rows up to `to`,
            // in whole registers.
            unsafe { tiles.tile(rows, &tile) };
        }
    }
}

/// Rows of a head that a product reads as its right matrix, in whole registers: where they lie if
/// a row fills its registers, otherwise in a copy.
pub(super) struct Right {
    pub start: *const f32,
    pub row: usize,
    pub rows: usize,
}

impl Right {
    /// Floats of the copy.
    pub fn copy_len(tiles: &Tiles, rows: usize, h: usize) -> usize {
        if Self::fits(tiles, h) { 0 } else { rows * h.next_multiple_of(tiles.lanes) }
    }

    fn fits(tiles: &Tiles, h: usize) -> bool {
        h.is_multiple_of(tiles.lanes)
    }

    pub fn new(tiles: &Tiles, x: ArrayView2<f32>, copy: &mut [f32]) -> Self {
        let (rows, h) = x.dim();
        if Self::fits(tiles, h) {
            return Self { start: x.as_ptr(), row: x.strides()[0].unsigned_abs(), rows };
        }
        let row = h.next_multiple_of(tiles.lanes);
        for (x, copy) in x.rows().into_iter().zip(copy.chunks_exact_mut(row)) {
            for (x, copy) in x.iter().zip(&mut *copy) {
                *copy = *x;
            }
            copy[h..].fill(0.0);
        }
        Self { start: copy.as_ptr(), row, rows }
    }
}
