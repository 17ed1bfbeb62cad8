//! The inner loop of all matrix products: a tile of the result that stays in registers, a few
//! rows high and a few registers wide, while products of a column of the left matrix with a row
//! of the right one are added to it ("Anatomy of High-Performance Matrix Multiplication", Goto
//! and van de Geijn, 2008). The left matrix is read where it lies, one broadcast value at a time;
//! the right one comes in panels of [`Tiles::panel`] columns.

use crate::arch::{Vector, dispatch};

/// Registers across the widest tile of all.
pub(crate) const WIDEST: usize = 4;
/// Rows of the highest tile of all.
pub(crate) const HIGHEST: usize = 12;

/// Products that an element of a result sums up before the sum is added to the result, so that what
/// is in use of a panel stays in the first cache: 32 KiB at most. It is the same for all instruction
/// sets, since it decides about bits.
pub(crate) const DEPTH: usize = 128;

/// out (+)= a·b for one tile.
#[derive(Clone, Copy)]
pub(crate) struct Tile {
    /// k: how many products each element sums up.
    pub k: usize,
    /// Element (i, p) of the left matrix is at `a + i*a_row + p*a_step`.
    pub a: *const f32,
    pub a_row: usize,
    pub a_step: usize,
    /// Row p of the right matrix is at `b + p*b_step`: whole registers, also where `columns` ends
    /// earlier.
    pub b: *const f32,
    pub b_step: usize,
    /// Row i of the result is at `out + i*out_row`.
    pub out: *mut f32,
    pub out_row: usize,
    /// Columns of the result that are written.
    pub columns: usize,
    /// Whether the products are added to what is there, otherwise to 0.
    pub add: bool,
    /// Whether the result may lie outside of the caches.
    pub far: bool,
}

/// A function that computes a tile of one size.
pub(crate) type Run = unsafe fn(&Tile);

/// The tiles of one instruction set and the sizes that go with them.
pub(crate) struct Tiles {
    /// Floats of a register.
    pub lanes: usize,
    /// Registers across the widest tile.
    pub widest: usize,
    /// Rows of the highest tile that is 1, 2, … registers wide: as many as leave registers for the
    /// operands.
    pub highest: [usize; WIDEST],
    /// The functions, by width and height.
    pub run: [[Run; HIGHEST]; WIDEST],
    /// Copies a panel.
    pub pack: unsafe fn(Panel, *mut f32),
}

impl Tiles {
    /// Those of the instruction set in use.
    pub fn in_use() -> &'static Self {
        unsafe fn tiles<V: Vector>() -> &'static Tiles {
            V::TILES
        }
        dispatch!(tiles() -> &'static Tiles)
    }

    /// Columns of a panel.
    pub fn panel(&self) -> usize {
        self.widest * self.lanes
    }

    /// Rows of the highest tile for a part of a panel that is `columns` wide.
    pub fn height(&self, columns: usize) -> usize {
        self.highest[self.registers(columns) - 1]
    }

    fn registers(&self, columns: usize) -> usize {
        columns.div_ceil(self.lanes).clamp(1, self.widest)
    }

    /// Computes a tile of `rows` rows.
    ///
    /// # Safety
    /// The pointers of `tile` are good for its sizes; 1 ≤ `rows` ≤ [`Self::height`] and
    /// 1 ≤ `columns` ≤ [`Self::panel`].
    #[inline]
    pub unsafe fn tile(&self, rows: usize, tile: &Tile) {
        debug_assert!(rows <= self.height(tile.columns));
        // SAFETY: these instructions were found on this processor; the rest is the caller's promise.
        unsafe { self.run[self.registers(tile.columns) - 1][rows - 1](tile) }
    }

    /// `rows` rows of a result below each other, tile after tile; `tile` is the first.
    ///
    /// # Safety
    /// As [`Self::tile`], for all of the rows.
    #[inline]
    pub unsafe fn rows(&self, rows: usize, mut tile: Tile) {
        let height = self.height(tile.columns);
        let mut left = rows;
        while left > 0 {
            let now = left.min(height);
            // SAFETY: the caller's promise; pointers move by the rows done.
            unsafe {
                self.tile(now, &tile);
                tile.a = tile.a.wrapping_add(now * tile.a_row);
                tile.out = tile.out.wrapping_add(now * tile.out_row);
            }
            left -= now;
        }
    }

    /// Copies a panel to `to`, row after row of [`Self::panel`] floats; zeros behind its columns.
    ///
    /// # Safety
    /// `panel` is inside its matrix and `to` has room for `panel.k` rows.
    pub unsafe fn pack(&self, panel: Panel, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { (self.pack)(panel, to) }
    }
}

/// Rows and columns of a right matrix: element (p, j) is at `b + p*row + j*column`.
#[derive(Clone, Copy)]
pub(crate) struct Panel {
    pub b: *const f32,
    pub row: usize,
    pub column: usize,
    pub k: usize,
    pub columns: usize,
}

// SAFETY: read only.
unsafe impl Sync for Panel {}

impl Panel {
    /// `k` rows from `p` on, of these `columns` columns from `j` on.
    pub fn part(&self, p: usize, j: usize, k: usize, columns: usize) -> Self {
        let b = self.b.wrapping_add(p * self.row + j * self.column);
        Self { b, k, columns, ..*self }
    }
}

/// Computes a tile of `ROWS` rows that is `WIDE` registers wide.
///
/// An element is a chain of fused multiply-adds over k that begins with 0, and is added to what is
/// there, or to 0. So products with a weight of 0 at either end of the chain change nothing, not even
/// the sign of a zero: a tile may compute more of them than another would, which is lower.
///
/// # Safety
/// As the functions of `V`; the pointers of the tile are good for its sizes.
#[inline(always)]
pub(crate) unsafe fn multiply<V: Vector, const ROWS: usize, const WIDE: usize>(t: &Tile) {
    // SAFETY: the caller's promise: all rows and, of `b`, whole registers are there; of the result
    // only `columns` are touched.
    unsafe {
        let mut sums = [[V::zero(); WIDE]; ROWS];
        if t.far {
            // Its lines come while the sums are computed.
            for i in 0..ROWS {
                let out = t.out.wrapping_add(i * t.out_row);
                for v in 0..WIDE {
                    V::prefetch(out.wrapping_add(v * V::LANES));
                }
                V::prefetch(out.wrapping_add(WIDE * V::LANES - 1));
            }
        }
        let (mut a, mut b) = (t.a, t.b);
        for _ in 0..t.k {
            let mut right = [V::zero(); WIDE];
            for (v, right) in right.iter_mut().enumerate() {
                *right = V::load(b.add(v * V::LANES));
            }
            for (i, sums) in sums.iter_mut().enumerate() {
                let left = V::splat(*a.add(i * t.a_row));
                for (sum, right) in sums.iter_mut().zip(right) {
                    *sum = left.mul_add(right, *sum);
                }
            }
            a = a.wrapping_add(t.a_step);
            b = b.wrapping_add(t.b_step);
        }
        let last = t.columns - (WIDE - 1) * V::LANES;
        for (i, sums) in sums.iter().enumerate() {
            for (v, sum) in sums.iter().enumerate() {
                let out = t.out.add(i * t.out_row + v * V::LANES);
                if v + 1 < WIDE || last == V::LANES {
                    let before = if t.add { V::load(out) } else { V::zero() };
                    before.add(*sum).store(out);
                } else {
                    let before = if t.add { V::load_part(out, last) } else { V::zero() };
                    before.add(*sum).store_part(out, last);
                }
            }
        }
    }
}

/// [`Tiles::pack`] for panels that are `WIDE` registers wide.
///
/// # Safety
/// As the functions of `V`, and of [`Tiles::pack`].
#[inline(always)]
pub(crate) unsafe fn pack_panel<V: Vector, const WIDE: usize>(from: Panel, to: *mut f32) {
    let width = WIDE * V::LANES;
    let Panel { b, row, column, k, columns } = from;
    // SAFETY: the caller's promise: k rows of `columns` values, k rows of `width` at `to`.
    unsafe {
        if column == 1 && columns == width {
            for p in 0..k {
                for v in 0..WIDE {
                    let at = v * V::LANES;
                    V::load(b.add(p * row + at)).store(to.add(p * width + at));
                }
            }
            return;
        }
        // Blocks of 8×8 where the matrix is transposed, single values at the edges.
        let (blocks_p, blocks_j) = if row == 1 { (k / 8 * 8, columns / 8 * 8) } else { (0, 0) };
        for j in (0..blocks_j).step_by(8) {
            for p in (0..blocks_p).step_by(8) {
                V::transpose8(b.add(j * column + p), column, to.add(p * width + j), width);
            }
        }
        for p in 0..k {
            let first = if p < blocks_p { blocks_j } else { 0 };
            for j in first..columns {
                *to.add(p * width + j) = *b.add(p * row + j * column);
            }
            for j in columns..width {
                *to.add(p * width + j) = 0.0;
            }
        }
    }
}

/// Never called: stands where no tile of that size exists.
pub(crate) unsafe fn none(_: &Tile) {
    debug_assert!(false, "no tile of this size");
}

/// The [`Tiles`] of an instruction set, of the functions `tile` and `pack` beside it: for each width in registers the heights that there are, 1 to
/// the highest that leaves registers for the operands.
macro_rules! tiles {
    ($v:ty, $($wide:literal: $($rows:literal)*;)*) => {{
        use $crate::tile::{HIGHEST, Run, WIDEST, none};
        const WIDE: usize = [$($wide),*].len();
        &Tiles {
            lanes: <$v as Vector>::LANES,
            widest: WIDE,
            highest: {
                let mut highest = [0; WIDEST];
                $(highest[$wide - 1] = [$($rows),*].len();)*
                highest
            },
            run: {
                let mut all: [[Run; HIGHEST]; WIDEST] = [[none; HIGHEST]; WIDEST];
                $($(all[$wide - 1][$rows - 1] = tile::<$rows, $wide>;)*)*
                all
            },
            pack: pack::<WIDE>,
        }
    }};
}
pub(crate) use tiles;
