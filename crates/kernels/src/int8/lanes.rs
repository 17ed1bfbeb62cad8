//! What the instructions of a processor do with one line of weights, and the tile of a product that
//! is written over it once for all of them.

use super::inputs::STACK;
use super::matrix::{GROUP, Line};
use super::{BLOCK, STEP, scale_value};

/// Lines of a block.
const BLOCK_LINES: usize = BLOCK / STEP;

/// Rows of the highest tile of all.
pub(super) const HIGHEST: usize = 6;

/// Sums of one group of outputs, in registers.
///
/// # Safety of its functions
/// They may run only where the type's instructions were found on this processor, and only inlined
/// into a function that enables them. Pointers are good for what is read or written there.
pub(super) trait Lanes {
    /// Rows of the highest tile, at most [`HIGHEST`].
    const ROWS: usize;
    /// Groups of the widest tile.
    const WIDE: usize;
    /// An i32 for each output.
    type Sums: Copy;
    /// A line of weights.
    type Weights: Copy;
    /// [`STEP`] inputs, the same for all outputs.
    type Inputs: Copy;
    /// An f32 for each output.
    type Floats: Copy;
    /// What sums start with, where `shift` is what the 128 that was added to the weights calls for.
    unsafe fn start(shift: i32) -> Self::Sums;
    unsafe fn weights(from: *const Line) -> Self::Weights;
    unsafe fn inputs(from: *const i8) -> Self::Inputs;
    /// Adds the products of the line.
    unsafe fn dot(sums: Self::Sums, w: Self::Weights, x: Self::Inputs) -> Self::Sums;
    unsafe fn zero() -> Self::Floats;
    /// The scales of the outputs.
    unsafe fn scales(from: *const u16) -> Self::Floats;
    /// total + f32(sums)·(scales·t), each step rounded.
    unsafe fn add(
        total: Self::Floats,
        sums: Self::Sums,
        scales: Self::Floats,
        t: f32,
    ) -> Self::Floats;
    /// Writes the first `n` of them, n ≤ [`GROUP`].
    unsafe fn store(floats: Self::Floats, to: *mut f32, n: usize);
}

/// A part of a product: some rows of inputs by some groups of outputs.
#[derive(Clone, Copy)]
pub(super) struct Part {
    /// The integers of the first row, and the bytes from row to row. Where the first row is that of a
    /// stack, all rows of the last stack are there.
    pub inputs: *const i8,
    pub input_row: usize,
    /// The scales and shifts of a stack, by block, and of those behind it; the first row's place in
    /// them.
    pub input_scales: *const [f32; STACK],
    pub shifts: *const [i32; STACK],
    pub first_row: usize,
    /// The first group's weights and scales.
    pub lines: *const Line,
    pub scales: *const u16,
    /// Lines of a group; blocks of a row.
    pub group_lines: usize,
    pub blocks: usize,
    /// Rows, and outputs: all of the last group but those that are not there.
    pub rows: usize,
    pub columns: usize,
    /// Output (i, j) is at `out + i*out_row + j`.
    pub out: *mut f32,
    pub out_row: usize,
}

impl Part {
    pub fn below(self, rows: usize) -> Self {
        Self {
            inputs: self.inputs.wrapping_add(rows * self.input_row),
            first_row: self.first_row + rows,
            out: self.out.wrapping_add(rows * self.out_row),
            rows: self.rows - rows,
            ..self
        }
    }

    pub fn behind(self, groups: usize) -> Self {
        Self {
            lines: self.lines.wrapping_add(groups * self.group_lines),
            scales: self.scales.wrapping_add(groups * self.blocks * GROUP),
            out: self.out.wrapping_add(groups * GROUP),
            columns: self.columns - groups * GROUP,
            ..self
        }
    }
}

/// Computes a part. `WIDE` is `L::WIDE`.
///
/// # Safety
/// As the functions of [`Lanes`]; all of the part is there.
#[inline(always)]
pub(super) unsafe fn part<L: Lanes, const WIDE: usize>(mut part: Part) {
    // SAFETY: the caller's promise: no more rows and groups than the part has.
    unsafe {
        while part.columns > (WIDE - 1) * GROUP {
            rows::<L, WIDE>(Part { columns: part.columns.min(WIDE * GROUP), ..part });
            if part.columns <= WIDE * GROUP {
                return;
            }
            part = part.behind(WIDE);
        }
        while part.columns > 0 {
            rows::<L, 1>(Part { columns: part.columns.min(GROUP), ..part });
            if part.columns <= GROUP {
                return;
            }
            part = part.behind(1);
        }
    }
}

/// # Safety
/// As [`part`], which is `WIDE` groups wide.
#[inline(always)]
unsafe fn rows<L: Lanes, const WIDE: usize>(mut part: Part) {
    while part.rows > 0 {
        // As many rows at once as leave no single one for the end.
        let now = if part.rows == L::ROWS + 1 { part.rows.div_ceil(2) } else { L::ROWS };
        let now = now.min(part.rows);
        // SAFETY: the caller's promise.
        unsafe {
            match now {
                6 if L::ROWS >= 6 => tile::<L, 6, WIDE>(&part),
                5 if L::ROWS >= 5 => tile::<L, 5, WIDE>(&part),
                4 if L::ROWS >= 4 => tile::<L, 4, WIDE>(&part),
                3 if L::ROWS >= 3 => tile::<L, 3, WIDE>(&part),
                2 if L::ROWS >= 2 => tile::<L, 2, WIDE>(&part),
                _ => tile::<L, 1, WIDE>(&part),
            }
        }
        part = part.below(now);
    }
}

/// # Safety
/// As [`part`], which has `ROWS` rows or more and is `WIDE` groups wide.
#[inline(always)]
unsafe fn tile<L: Lanes, const ROWS: usize, const WIDE: usize>(t: &Part) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut totals = [[L::zero(); WIDE]; ROWS];
        // Where the scale and the shift of the first block are, for each row.
        let factors: [usize; ROWS] = std::array::from_fn(|i| {
            let row = t.first_row + i;
            row / STACK * t.blocks * STACK + row % STACK
        });
        let (input_scales, shifts) = (t.input_scales.cast::<f32>(), t.shifts.cast::<i32>());
        for block in 0..t.blocks {
            let first = block * BLOCK_LINES;
            let mut sums = [[L::start(0); WIDE]; ROWS];
            for (sums, at) in sums.iter_mut().zip(factors) {
                sums.fill(L::start(*shifts.add(at + block * STACK)));
            }
            for line in first..t.group_lines.min(first + BLOCK_LINES) {
                let mut w = [L::weights(t.lines.add(line)); WIDE];
                for (g, w) in w.iter_mut().enumerate().skip(1) {
                    *w = L::weights(t.lines.add(g * t.group_lines + line));
                }
                for (i, sums) in sums.iter_mut().enumerate() {
                    let x = L::inputs(t.inputs.add(i * t.input_row + line * STEP));
                    for (sum, w) in sums.iter_mut().zip(w) {
                        *sum = L::dot(*sum, w, x);
                    }
                }
            }
            let mut scales = [L::zero(); WIDE];
            for (g, scales) in scales.iter_mut().enumerate() {
                *scales = L::scales(t.scales.add((g * t.blocks + block) * GROUP));
            }
            for ((totals, sums), at) in totals.iter_mut().zip(sums).zip(factors) {
                let scale = *input_scales.add(at + block * STACK);
                for ((total, sum), scales) in totals.iter_mut().zip(sums).zip(scales) {
                    *total = L::add(*total, sum, scales, scale);
                }
            }
        }
        for (i, totals) in totals.iter().enumerate() {
            for (g, total) in totals.iter().enumerate() {
                let n = (t.columns - g * GROUP).min(GROUP);
                L::store(*total, t.out.add(i * t.out_row + g * GROUP), n);
            }
        }
    }
}

/// What every processor has.
pub(super) struct Portable;

impl Lanes for Portable {
    const ROWS: usize = 2;
    const WIDE: usize = 1;
    type Sums = [i32; GROUP];
    type Weights = Line;
    type Inputs = [i8; STEP];
    type Floats = [f32; GROUP];

    #[inline(always)]
    unsafe fn start(shift: i32) -> Self::Sums {
        [shift; GROUP]
    }

    #[inline(always)]
    unsafe fn weights(from: *const Line) -> Line {
        // SAFETY: the caller's promise, here and below.
        unsafe { *from }
    }

    #[inline(always)]
    unsafe fn inputs(from: *const i8) -> Self::Inputs {
        // SAFETY: as above.
        unsafe { from.cast::<[i8; STEP]>().read() }
    }

    #[inline(always)]
    unsafe fn dot(mut sums: Self::Sums, w: Line, x: Self::Inputs) -> Self::Sums {
        for (sum, w) in sums.iter_mut().zip(w.0.as_chunks::<STEP>().0) {
            for (w, x) in w.iter().zip(x) {
                *sum += i32::from(*w) * i32::from(x);
            }
        }
        sums
    }

    #[inline(always)]
    unsafe fn zero() -> Self::Floats {
        [0.0; GROUP]
    }

    #[inline(always)]
    unsafe fn scales(from: *const u16) -> Self::Floats {
        // SAFETY: as above.
        unsafe { from.cast::<[u16; GROUP]>().read() }.map(scale_value)
    }

    #[inline(always)]
    unsafe fn add(
        mut total: Self::Floats,
        sums: Self::Sums,
        scales: Self::Floats,
        t: f32,
    ) -> Self::Floats {
        for ((total, sum), scale) in total.iter_mut().zip(sums).zip(scales) {
            *total += sum as f32 * (scale * t);
        }
        total
    }

    #[inline(always)]
    unsafe fn store(floats: Self::Floats, to: *mut f32, n: usize) {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(to, n) }.copy_from_slice(&floats[..n]);
    }
}
