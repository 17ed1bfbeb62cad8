//! How the matrices of a product lie when they are packed: groups of [`GROUP`] rows of the left one, or
//! columns of the right one. A group is, pair after pair in the order of k, the pair of each of its lanes.
//! For the tiles of AMX groups of the left matrix are blocks of [`GROUP`] pairs of each of the lanes in turn:
//! the transpose of the same block.

use super::GROUP;

/// Some rows of a left matrix, or columns of a right one: element p of lane i is at
/// `start + i*lane + p*step`.
#[derive(Clone, Copy)]
#[cfg_attr(
    not(target_arch = "x86_64"),
    allow(dead_code, reason = "read by instructions of x86-64")
)]
pub(super) struct Lanes {
    pub start: *const f32,
    pub lane: usize,
    pub step: usize,
    /// Lanes that are there.
    pub count: usize,
    /// Elements of each.
    pub k: usize,
}

// SAFETY: read only.
unsafe impl Sync for Lanes {}

impl Lanes {
    /// Pairs of a lane; the second of the last one is 0 where k is odd.
    pub fn pairs(&self) -> usize {
        self.k.div_ceil(2)
    }

    /// Groups of all lanes.
    pub fn groups(&self) -> usize {
        self.count.div_ceil(GROUP)
    }

    /// A group: as many lanes of it as there are.
    pub fn group(&self, g: usize) -> Self {
        let start = self.start.wrapping_add(g * GROUP * self.lane);
        Self { start, count: (self.count - g * GROUP).min(GROUP), ..*self }
    }
}
