//! One query over all keys: decoding. What counts is to read each key and value once, in the order
//! in which they lie.

use super::{Heads, Shape, exponentials};
use crate::kernels::math::{REGISTER, fma};
use crate::kernels::scratch::{self, Use};
use crate::kernels::simd::{Vector, product_sum, vector_fn};
use crate::kernels::vector::scale;
use crate::runtime::pool::Pool;

/// out = attention of one query, `[H·h]`.
pub(super) fn forward(pool: &Pool, s: &Shape, q: Heads, k: Heads, v: Heads, out: &mut [f32]) {
    let (h, keys) = (s.head_dim, s.keys());
    let row = keys.next_multiple_of(REGISTER);
    // Heads of a task: neighbours, so that their parts of a row are one long read.
    let few = keys * s.heads * h < 1 << 14;
    let group = if few { s.heads } else { s.heads.div_ceil(pool.threads()) };
    pool.chunks((out, group * h), |task, out| {
        let at = task * group * h;
        let heads = out.len() / h;
        let query = &q.data[at..at + out.len()];
        scratch::with(Use::Scores, heads * row, |scores| {
            query_scores(query, &k.data[at..], k.row, h, &mut *scores, row, keys);
            for scores in scores.chunks_exact_mut(row) {
                let (_, sum) = exponentials(scores, keys, s.scale());
                scale(&mut scores[..keys], 1.0 / sum);
            }
            query_values(scores, row, keys, &v.data[at..], v.row, h, out);
        });
    });
}

vector_fn! {
    /// `scores[a*row + j]` = query · key j of head a, for the heads of `h` components that `q`
    /// holds and `keys` keys, whose rows start at `j * k_row` of `k`.
    fn query_scores(
        q: &[f32],
        k: &[f32],
        k_row: usize,
        h: usize,
        scores: &mut [f32],
        row: usize,
        keys: usize,
    ) = run_query_scores
}

/// # Safety
/// As for all of [`Vector`].
#[inline(always)]
unsafe fn run_query_scores<V: Vector>(
    q: &[f32],
    k: &[f32],
    k_row: usize,
    h: usize,
    scores: &mut [f32],
    row: usize,
    keys: usize,
) {
    assert!(keys <= row && (keys - 1) * k_row + q.len() <= k.len(), "fewer keys than scores");
    for j in 0..keys {
        for (a, (q, scores)) in q.chunks_exact(h).zip(scores.chunks_exact_mut(row)).enumerate() {
            // SAFETY: the part of the row is inside, by the check above.
            scores[j] = unsafe { product_sum::<V>(q, k.as_ptr().add(j * k_row + a * h)) };
        }
    }
}

simd! {
    /// out = Σ_j weight_aj · value j of head a, for the heads of `h` components that `out` holds;
    /// the weights of a head are a row of `row` floats, value j starts at `j * v_row` of `v`.
    fn query_values(
        weights: &[f32],
        row: usize,
        keys: usize,
        v: &[f32],
        v_row: usize,
        h: usize,
        out: &mut [f32],
    ) {
        /// Values that are added at once: the sums are read and written once for so many.
        const AT_ONCE: usize = 4;
        let width = out.len();
        out.fill(0.0);
        let whole = keys / AT_ONCE * AT_ONCE;
        for j in (0..whole).step_by(AT_ONCE) {
            let [v0, v1, v2, v3] =
                [0, 1, 2, 3].map(|i| v[(j + i) * v_row..][..width].chunks_exact(h));
            let values = v0.zip(v1).zip(v2).zip(v3);
            let heads = out.chunks_exact_mut(h).zip(weights.chunks_exact(row));
            for ((out, w), (((v0, v1), v2), v3)) in heads.zip(values) {
                let [w0, w1, w2, w3] = [w[j], w[j + 1], w[j + 2], w[j + 3]];
                for ((((out, v0), v1), v2), v3) in out.iter_mut().zip(v0).zip(v1).zip(v2).zip(v3) {
                    let sum = fma::<FMA>(w1, *v1, fma::<FMA>(w0, *v0, *out));
                    *out = fma::<FMA>(w3, *v3, fma::<FMA>(w2, *v2, sum));
                }
            }
        }
        for j in whole..keys {
            let values = v[j * v_row..][..width].chunks_exact(h);
            let heads = out.chunks_exact_mut(h).zip(weights.chunks_exact(row));
            for ((out, w), v) in heads.zip(values) {
                for (out, v) in out.iter_mut().zip(v) {
                    *out = fma::<FMA>(w[j], *v, *out);
                }
            }
        }
    }
}
