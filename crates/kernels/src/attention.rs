//! Scaled dot-product attention ("Attention Is All You Need", eq. 1), blocked: scores of one head
//! exist only for a block of queries, and of the causal half only the blocks on and below the
//! diagonal are computed. The softmax keeps its log-sum-exp per row, from which the backward pass
//! recomputes the probabilities.
//!
//! ```text
//! forward, for each head                  backward, for each head
//!   for each block of queries Q             for each block of queries Q
//!     S = Q·Kᵀ, as far as a row sees          P = e^(scale·Q·Kᵀ − lse)
//!     P = e^(scale·S − max of the row)        dP = dO·Vᵀ
//!     O = P·V / sum of the row of P           dS = scale·P∘(dP − sum of the row of P∘dP)
//!     lse = max + ln sum                      dV += Pᵀ·dO,  dK += dSᵀ·Q,  dQ = dS·K
//! ```

mod backward;
mod forward;
mod one_query;
mod tiles;

pub use backward::backward;
pub use forward::forward;

use super::cross_entropy::softmax;
use super::math::{REGISTER, exp, fma, fold, larger};
use super::vector::dot;
use crate::arch::{lanes_sum, simd};
use ndarray::{ArrayView2, ArrayViewMut2, ShapeBuilder};

/// Queries of one block.
const BLOCK: usize = 64;

/// The sizes of one call.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// B: sequences, which don't see each other.
    pub batch: usize,
    /// Queries of each sequence.
    pub rows: usize,
    /// Keys that come before the first query; query i is at position base + i.
    pub base: usize,
    /// H.
    pub heads: usize,
    /// h.
    pub head_dim: usize,
    /// What products of a query and a key are multiplied by.
    pub scale: f32,
    /// Position i sees positions up to i only; otherwise all of them.
    pub causal: bool,
}

impl Call {
    fn keys(&self) -> usize {
        self.base + self.rows
    }

    /// Keys that the queries first..first+count may see.
    fn visible(&self, first: usize, count: usize) -> usize {
        if self.causal { self.base + first + count } else { self.keys() }
    }
}

/// Rows of heads inside a wider buffer: component c of head a in row i of sequence b is at
/// `b*sequence + i*row + a*h + c`.
#[derive(Clone, Copy, Debug)]
pub struct Heads<'a> {
    /// The buffer, from the first component on.
    pub data: &'a [f32],
    /// Floats from one row to the next.
    pub row: usize,
    /// Floats from one sequence to the next.
    pub sequence: usize,
}

impl<'a> Heads<'a> {
    /// Rows first..first+count of one head.
    fn view(
        &self,
        s: &Call,
        b: usize,
        head: usize,
        first: usize,
        count: usize,
    ) -> ArrayView2<'a, f32> {
        let start = b * self.sequence + first * self.row + head * s.head_dim;
        let shape = (count, s.head_dim).strides((self.row, 1));
        match ArrayView2::from_shape(shape, self.data.get(start..).unwrap_or(&[])) {
            Ok(view) => view,
            Err(e) => panic!("attention rows outside their buffer: {e}"),
        }
    }
}

/// The same for results.
#[derive(Clone, Copy)]
struct HeadsMut {
    pointer: *mut f32,
    len: usize,
    row: usize,
    sequence: usize,
}

// SAFETY: every task writes the rows of its own sequence and head.
unsafe impl Sync for HeadsMut {}
// SAFETY: likewise.
unsafe impl Send for HeadsMut {}

impl HeadsMut {
    fn new(data: &mut [f32], row: usize, sequence: usize) -> Self {
        Self { pointer: data.as_mut_ptr(), len: data.len(), row, sequence }
    }

    /// # Safety
    /// No other view of these rows of this head is alive.
    unsafe fn view<'a>(
        self,
        s: &Call,
        b: usize,
        head: usize,
        first: usize,
        count: usize,
    ) -> ArrayViewMut2<'a, f32> {
        let start = b * self.sequence + first * self.row + head * s.head_dim;
        let end = start + (count.max(1) - 1) * self.row + s.head_dim;
        assert!(end <= self.len, "attention rows outside their buffer");
        let shape = (count, s.head_dim).strides((self.row, 1));
        // SAFETY: the last element is inside the buffer; exclusive by the caller's promise.
        unsafe { ArrayViewMut2::from_shape_ptr(shape, self.pointer.add(start)) }
    }
}

simd! {
    /// The scores in `x[..seen]` become e^(scale·(x_i − max)), what is behind them 0; returns
    /// scale·max and the sum. The row is whole registers long.
    fn exponentials(x: &mut [f32], seen: usize, scale: f32) -> (f32, f32) {
        let end = seen.next_multiple_of(REGISTER).min(x.len());
        x[seen..end].fill(f32::NEG_INFINITY);
        let (chunks, _) = x[..end].as_chunks_mut::<REGISTER>();
        let mut lanes = [f32::NEG_INFINITY; REGISTER];
        for chunk in &*chunks {
            for i in 0..REGISTER {
                lanes[i] = larger(chunk[i], lanes[i]);
            }
        }
        let max = fold(lanes, larger) * scale;
        let mut lanes = [0f32; REGISTER];
        for chunk in chunks {
            for i in 0..REGISTER {
                chunk[i] = exp::<FMA>(fma::<FMA>(chunk[i], scale, -max));
                lanes[i] += chunk[i];
            }
        }
        x[seen..].fill(0.0);
        // SAFETY: V is enabled here.
        (max, unsafe { lanes_sum::<V, REGISTER>(&lanes) })
    }
}

/// The probabilities of one row, for programs that look at them: `scores[j]` = q·k_j/√h and
/// `weights` = their softmax.
pub fn row_weights(
    q: &[f32],
    k: &Heads,
    head: usize,
    scale: f32,
    scores: &mut [f32],
    weights: &mut [f32],
) {
    let h = q.len();
    for (j, score) in scores.iter_mut().enumerate() {
        let key = &k.data[j * k.row + head * h..][..h];
        *score = scale * dot(q, key);
    }
    weights.copy_from_slice(scores);
    softmax(weights);
}
