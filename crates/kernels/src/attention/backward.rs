//! The backward pass, which computes the probabilities again from their log-sum-exp.

use super::tiles::{Right, Weights, pack_transposed, panels_len, products, weighted};
use super::{BLOCK, Heads, HeadsMut, Shape};
use crate::arch::simd;
use crate::math::{REGISTER, exp, fma, fold_register};
use crate::memory::scratch::{self, Buffer};
use crate::threads::pool::Pool;
use crate::tile::Tiles;
use ndarray::s;

/// Gradients of q, k and v from that of the output. `dq`, `dk`, `dv` lie in `grad`, a buffer of
/// rows of `row` floats, at the columns `columns`; they are overwritten. `lse` is the forward
/// pass's.
pub fn backward(
    pool: &Pool,
    s: &Shape,
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
    let kernels = Tiles::in_use();
    pool.for_each(s.batch * s.heads, |task| {
        let (b, head) = (task / s.heads, task % s.heads);
        let (h, all) = (s.head_dim, s.rows);
        // SAFETY: all rows of this sequence in the columns of this head, in three disjoint places.
        let (mut dk, mut dv) =
            unsafe { (dk.view(s, b, head, 0, all), dv.view(s, b, head, 0, all)) };
        let (queries, keys, values) =
            (q.view(s, b, head, 0, all), k.view(s, b, head, 0, all), v.view(s, b, head, 0, all));
        let dout = dout.view(s, b, head, 0, all);
        let panels = panels_len(kernels, all, h);
        let copy = Right::copy_len(kernels, all, h);
        scratch::with(Buffer::Heads, 2 * panels + 3 * copy, |heads| {
            let (k_panels, rest) = heads.split_at_mut(panels);
            let (v_panels, rest) = rest.split_at_mut(panels);
            let (k_copy, rest) = rest.split_at_mut(copy);
            let (q_copy, dout_copy) = rest.split_at_mut(copy);
            // SAFETY: the sizes above.
            unsafe {
                pack_transposed(kernels, keys, k_panels);
                pack_transposed(kernels, values, v_panels);
            }
            let keys = Right::new(kernels, keys, k_copy);
            let right_queries = Right::new(kernels, queries, q_copy);
            let right_dout = Right::new(kernels, dout, dout_copy);
            let mut done = 0;
            for first in (0..all).step_by(BLOCK) {
                let count = BLOCK.min(all - first);
                let visible = s.visible(first, count);
                let row = visible.next_multiple_of(REGISTER);
                let block = s![first..first + count, ..];
                let seen = |i: usize| s.visible(first + i, 1);
                scratch::with(Buffer::Scores, 2 * count * row, |scores| {
                    let (p, ds) = scores.split_at_mut(count * row);
                    // SAFETY: a row of the scores is as long as the last query sees.
                    unsafe {
                        products(kernels, queries.slice(block), k_panels, seen, p, row);
                        products(kernels, dout.slice(block), v_panels, seen, ds, row);
                    }
                    for i in 0..count {
                        let at = (b * s.rows + first + i) * s.heads + head;
                        let p = &mut p[i * row..][..row];
                        let ds = &mut ds[i * row..][..row];
                        score_gradient(p, ds, seen(i), s.scale(), lse[at]);
                    }
                    // Key j is seen by the queries from j on, in a causal pass.
                    let from =
                        |j: usize| if s.causal { j.saturating_sub(s.base + first) } else { 0 };
                    for (weights, x, grad) in
                        [(&*p, &right_dout, &mut dv), (&*ds, &right_queries, &mut dk)]
                    {
                        let x = Right {
                            start: x.start.wrapping_add(first * x.row),
                            row: x.row,
                            rows: count,
                        };
                        for (keys, add) in [(0..done, true), (done..visible, false)] {
                            let weights =
                                Weights { data: &weights[keys.start..], row: 1, step: row };
                            let grad = grad.slice_mut(s![keys.clone(), ..]);
                            weighted(
                                kernels,
                                weights,
                                &x,
                                |j, _| (from(keys.start + j), count),
                                grad,
                                add,
                            );
                        }
                    }
                    let weights = Weights { data: ds, row, step: 1 };
                    // SAFETY: as for dk and dv; these rows are written once.
                    let dq = unsafe { dq.view(s, b, head, first, count) };
                    weighted(kernels, weights, &keys, |i, rows| (0, seen(i + rows - 1)), dq, false);
                });
                done = visible;
            }
        });
    });
}

simd! {
    /// Turns scores q·k into probabilities and dp into dscore, both times the score's scale:
    /// ds = p·(dp − Σ p·dp)·scale; behind `seen` both become 0. The rows are whole registers long.
    fn score_gradient(p: &mut [f32], ds: &mut [f32], seen: usize, scale: f32, lse: f32) {
        let end = seen.next_multiple_of(REGISTER).min(p.len());
        p[seen..end].fill(f32::NEG_INFINITY);
        ds[seen..end].fill(0.0);
        let (p_chunks, _) = p[..end].as_chunks_mut::<REGISTER>();
        let (ds_chunks, _) = ds[..end].as_chunks_mut::<REGISTER>();
        // The sum is also do·o, but these rows are in the cache and o is not.
        let mut lanes = [0f32; REGISTER];
        for (p, ds) in p_chunks.iter_mut().zip(&*ds_chunks) {
            for i in 0..REGISTER {
                p[i] = exp::<FMA>(fma::<FMA>(p[i], scale, -lse));
                lanes[i] = fma::<FMA>(p[i], ds[i], lanes[i]);
            }
        }
        let sum = fold_register(lanes, |a, b| a + b);
        for (p, ds) in p_chunks.iter().zip(ds_chunks) {
            for i in 0..REGISTER {
                ds[i] = p[i] * (ds[i] - sum) * scale;
            }
        }
        p[seen..].fill(0.0);
        ds[seen..].fill(0.0);
    }
}
