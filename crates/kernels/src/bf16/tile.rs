//! A tile of the result, which stays in registers while pairs of the packed matrices are multiplied and
//! added to it.

use super::Pair;

/// out (+)= a·b for some rows, of one group or whole ones, and some groups of columns.
#[derive(Clone, Copy)]
#[cfg_attr(
    not(target_arch = "x86_64"),
    allow(dead_code, reason = "read by instructions of x86-64")
)]
pub(super) struct Tile {
    /// Pairs that each element sums up.
    pub pairs: usize,
    /// The first pair of the first row.
    pub a: *const Pair,
    /// Pairs from one group of rows to the next.
    pub a_group: usize,
    /// The first pair of the first column.
    pub b: *const Pair,
    /// Pairs from one group of columns to the next.
    pub b_group: usize,
    /// Row i of the result is at `out + i*out_row`.
    pub out: *mut f32,
    pub out_row: usize,
    /// Rows: 1 to [`high`](super::Kernels::high).
    pub rows: usize,
    /// Columns: 1 to [`wide`](super::Kernels::wide) groups.
    pub columns: usize,
    /// Whether the products are added to what is there.
    pub add: bool,
}
