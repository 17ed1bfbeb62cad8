//! The forward pass over blocks of queries.

use super::tiles::{Right, Weights, pack_transposed, panels_len, products, weighted};
use super::{BLOCK, Call, Heads, HeadsMut, exponentials, one_query};
use crate::functions::ln_f32;
use crate::math::REGISTER;
use crate::memory::scratch::{self, Buffer};
use crate::threads::pool::Pool;
use crate::tile::Tiles;
use crate::vector::scale;

/// out = attention, `[B·rows][H·h]`; the keys and values of each sequence are its first
/// `base + rows` rows. `lse`, where given, receives log Σ e^score, `[B·rows][H]`.
pub fn forward(
    pool: &Pool,
    s: &Call,
    q: Heads,
    k: Heads,
    v: Heads,
    out: &mut [f32],
    lse: Option<&mut [f32]>,
) {
    let d = s.heads * s.head_dim;
    if s.rows == 1 && s.batch == 1 && lse.is_none() {
        return one_query::forward(pool, s, q, k, v, out);
    }
    let out = HeadsMut::new(out, d, s.rows * d);
    let lse = lse.map(|lse| HeadsMut::new(lse, s.heads, s.rows * s.heads));
    let tiles = Tiles::in_use();
    // A task is some blocks of queries of one head, so that its panels serve more than one block.
    let parts = if s.batch * s.heads >= 2 * pool.threads() { 1 } else { s.rows.div_ceil(BLOCK) };
    let step = s.rows.div_ceil(parts).next_multiple_of(BLOCK);
    pool.for_each(s.batch * s.heads * parts, |task| {
        let (b, rest) = (task / (s.heads * parts), task % (s.heads * parts));
        let (head, part) = (rest / parts, rest % parts);
        let (first, end) = (part * step, s.rows.min((part + 1) * step));
        if first >= end {
            return;
        }
        let keys = s.visible(first, end - first);
        let (k, v) = (k.view(s, b, head, 0, keys), v.view(s, b, head, 0, keys));
        let panels = panels_len(tiles, keys, s.head_dim);
        let copy = Right::copy_len(tiles, keys, s.head_dim);
        scratch::with(Buffer::Heads, panels + copy, |heads| {
            let (panels, copy) = heads.split_at_mut(panels);
            // SAFETY: the sizes above.
            unsafe { pack_transposed(tiles, k, panels) };
            let v = Right::new(tiles, v, copy);
            for first in (first..end).step_by(BLOCK) {
                let count = BLOCK.min(end - first);
                let row = s.visible(first, count).next_multiple_of(REGISTER);
                let q = q.view(s, b, head, first, count);
                let seen = |i: usize| s.visible(first + i, 1);
                scratch::with(Buffer::Scores, count * row, |scores| {
                    // SAFETY: a row of `scores` is as long as the last query sees.
                    unsafe { products(tiles, q, panels, seen, scores, row) };
                    let mut sums = [0f32; BLOCK];
                    for (i, scores) in scores.chunks_exact_mut(row).enumerate() {
                        let (max, sum) = exponentials(scores, seen(i), s.scale);
                        sums[i] = 1.0 / sum;
                        if let Some(lse) = lse {
                            let one = Call { head_dim: 1, ..*s };
                            // SAFETY: one float, of this sequence, head and row.
                            unsafe { lse.view(&one, b, head, first + i, 1) }
                                .fill(max + ln_f32(sum));
                        }
                    }
                    // SAFETY: the rows of this block, in the columns of this head.
                    let mut out = unsafe { out.view(s, b, head, first, count) };
                    let weights = Weights { data: scores, row, step: 1 };
                    let range = |i: usize, rows: usize| (0, seen(i + rows - 1));
                    weighted(tiles, weights, &v, range, out.view_mut(), false);
                    for (mut row, factor) in out.rows_mut().into_iter().zip(sums) {
                        if let Some(row) = row.as_slice_mut() {
                            scale(row, factor);
                        }
                    }
                });
            }
        });
    });
}
