//! The backward pass, which computes the probabilities again from their log-sum-exp.

use super::tiles::{Right, Weights, pack_transposed, panels_len, products, weighted};
use super::{BLOCK, Call, Heads, HeadsMut};
use crate::arch::{lanes_sum, simd};
use crate::math::{REGISTER, exp, fma};
use crate::memory::scratch::{self, Buffer};
use crate::threads::pool::Pool;
use crate::tile::Tiles;
use ndarray::{ArrayView2, ArrayViewMut2, s};

/// Gradients of q, k and v from that of the output. `dq`, `dk`, `dv` lie in `grad`, a buffer of
/// rows of `row` floats, at the columns `columns`; they are overwritten. `lse` is the forward
/// pass's.
pub fn backward(
    pool: &Pool,
    s: &Call,
    [q, k, v]: [Heads; 3],
    lse: &[f32],
    dout: &[f32],
    grad: &mut [f32],
    row: usize,
    columns: [usize; 3],
) {
    let d = s.heads * s.head_dim;
    let part = |grad: &mut [f32], column: usize| HeadsMut {
        // A column beyond a row would be caught by the length check of each view.
        len: grad.len() - column,
        ..HeadsMut::new(&mut grad[column..], row, s.rows * row)
    };
    let [dq, dk, dv] = columns.map(|column| part(grad, column));
    let dout = Heads { data: dout, row: d, sequence: s.rows * d };
    let (tiles, scale) = (Tiles::in_use(), s.scale);
    pool.for_each(s.batch * s.heads, |task| {
        let (b, head) = (task / s.heads, task % s.heads);
        let (h, all) = (s.head_dim, s.rows);
        // SAFETY: all rows of this sequence in the columns of this head, in three disjoint places.
        let (mut dk, mut dv) =
            unsafe { (dk.view(s, b, head, 0, all), dv.view(s, b, head, 0, all)) };
        let [queries, keys, values, dout] = [q, k, v, dout].map(|x| x.view(s, b, head, 0, all));
        let panels = panels_len(tiles, all, h);
        let copy = Right::copy_len(tiles, all, h);
        scratch::with(Buffer::Heads, 2 * panels + 3 * copy, |heads| {
            let (k_panels, rest) = heads.split_at_mut(panels);
            let (v_panels, rest) = rest.split_at_mut(panels);
            let (k_copy, rest) = rest.split_at_mut(copy);
            let (q_copy, dout_copy) = rest.split_at_mut(copy);
            // SAFETY: the sizes above.
            unsafe {
                pack_transposed(tiles, keys, k_panels);
                pack_transposed(tiles, values, v_panels);
            }
            let keys = Right::new(tiles, keys, k_copy);
            let right_queries = Right::new(tiles, queries, q_copy);
            let right_dout = Right::new(tiles, dout, dout_copy);
            // Keys that some block has seen: their gradients have a first part.
            let mut begun = 0;
            for first in (0..all).step_by(BLOCK) {
                let block = Block { tiles, s, first, count: BLOCK.min(all - first) };
                let row = block.row();
                scratch::with(Buffer::Scores, 2 * block.count * row, |scores| {
                    let (p, ds) = scores.split_at_mut(block.count * row);
                    // SAFETY: a row of the scores is as long as the last query sees, and the panels
                    // hold all keys.
                    unsafe {
                        block.products(queries, k_panels, p);
                        block.products(dout, v_panels, ds);
                    }
                    let rows = p.chunks_exact_mut(row).zip(ds.chunks_exact_mut(row));
                    for (i, (p, ds)) in rows.enumerate() {
                        let lse = lse[(b * s.rows + first + i) * s.heads + head];
                        score_gradient(p, ds, block.seen(i), scale, lse);
                    }
                    block.add_by_key(p, &right_dout, &mut dv, begun);
                    block.add_by_key(ds, &right_queries, &mut dk, begun);
                    let weights = Weights { data: ds, row, step: 1 };
                    // SAFETY: as for dk and dv; these rows are written once.
                    let dq = unsafe { dq.view(s, b, head, first, block.count) };
                    let range = |i: usize, rows: usize| (0, block.seen(i + rows - 1));
                    weighted(tiles, weights, &keys, range, dq, false);
                });
                begun = block.visible();
            }
        });
    });
}

/// Some queries of a head.
#[derive(Clone, Copy)]
struct Block<'a> {
    tiles: &'a Tiles,
    s: &'a Call,
    first: usize,
    count: usize,
}

impl Block<'_> {
    /// Keys that its last query sees.
    fn visible(&self) -> usize {
        self.s.visible(self.first, self.count)
    }

    /// Keys that query i of the block sees.
    fn seen(&self, i: usize) -> usize {
        self.s.visible(self.first + i, 1)
    }

    /// Floats from one row of scores to the next.
    fn row(&self) -> usize {
        self.visible().next_multiple_of(REGISTER)
    }

    /// scores = the block's rows of x · the transposed rows in `panels`.
    ///
    /// # Safety
    /// `scores` has room for the rows, `panels` holds all keys that are seen.
    unsafe fn products(&self, x: ArrayView2<f32>, panels: &[f32], scores: &mut [f32]) {
        let x = x.slice(s![self.first..self.first + self.count, ..]);
        // SAFETY: the caller's promise.
        unsafe { products(self.tiles, x, panels, |i| self.seen(i), scores, self.row()) };
    }

    /// grad_j += Σ_i w_ij·x_i over the queries i of the block that see key j. The gradients of the
    /// keys from `begun` on are overwritten, for they are seen for the first time.
    fn add_by_key(&self, w: &[f32], x: &Right, grad: &mut ArrayViewMut2<f32>, begun: usize) {
        let Self { tiles, s, first, count } = *self;
        let x = Right { start: x.start.wrapping_add(first * x.row), row: x.row, rows: count };
        // In a causal pass key j is seen by the queries from j on.
        let from = |j: usize| if s.causal { j.saturating_sub(s.base + first) } else { 0 };
        for (keys, add) in [(0..begun, true), (begun..self.visible(), false)] {
            let weights = Weights { data: &w[keys.start..], row: 1, step: self.row() };
            let grad = grad.slice_mut(s![keys.clone(), ..]);
            weighted(tiles, weights, &x, |j, _| (from(keys.start + j), count), grad, add);
        }
    }
}

simd! {
    /// Turns scores q·k into probabilities and dp into dscore, both times the score's scale:
    /// ds = p·(dp − Σ p·dp)·scale; behind `seen` both become 0. The rows are whole registers long.
    fn score_gradient(p: &mut [f32], ds: &mut [f32], seen: usize, scale: f32, lse: f32) {
        let end = seen.next_multiple_of(REGISTER).min(p.len());
        p[seen..end].fill(f32::NEG_INFINITY);
        ds[seen..end].fill(0.0);
        let (p_chunks, _) = p[..end].as_chunks_mut::<REGISTER>();
        let (ds_chunks, _) = ds[..end].as_chunks::<REGISTER>();
        // The sum is also do·o, but these rows are in the cache and o is not.
        let mut lanes = [0f32; REGISTER];
        for (p, ds) in p_chunks.iter_mut().zip(ds_chunks) {
            for i in 0..REGISTER {
                p[i] = exp::<FMA>(fma::<FMA>(p[i], scale, -lse));
                lanes[i] = fma::<FMA>(p[i], ds[i], lanes[i]);
            }
        }
        // SAFETY: V is enabled here.
        let sum = unsafe { lanes_sum::<V, REGISTER>(&lanes) };
        // Not in chunks: of these the compiler gathers single values.
        for (ds, p) in ds[..end].iter_mut().zip(&p[..end]) {
            *ds = p * (*ds - sum) * scale;
        }
        p[seen..].fill(0.0);
        ds[seen..].fill(0.0);
    }
}
