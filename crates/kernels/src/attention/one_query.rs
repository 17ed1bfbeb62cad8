//! One query over all keys: decoding. What counts is to read each key and value once, in the order
//! in which they lie.

use super::{Call, Heads, exponentials};
use crate::arch::{Vector, product_sum, simd, vector_fn};
use crate::functions::exp_f32;
use crate::math::{REGISTER, fma, larger};
use crate::memory::scratch::{self, Buffer};
use crate::threads::pool::Pool;
use crate::vector::{axpy, scale};

/// Keys of a part, or more where there would be too many parts. The results of the parts are put
/// together in their order, so the bits are the same whoever computes them.
const PART: usize = 64;
const MOST_PARTS: usize = 64;

/// out = attention of one query, `[H·h]`.
///
/// The parts are computed as if their keys were all, and weighted by their share of the whole
/// softmax (Dao et al., "Flash-Decoding for long-context inference", 2023).
pub(super) fn forward(pool: &Pool, s: &Call, q: Heads, k: Heads, v: Heads, out: &mut [f32]) {
    let (h, d, keys) = (s.head_dim, out.len(), s.keys());
    let size = PART.max(keys.div_ceil(MOST_PARTS));
    // A part: its values weighted by e^(score − max), then for each head max and Σ e^(score − max).
    let len = d + 2 * s.heads;
    let serial = Pool::serial();
    let pool = if keys * d < 1 << 14 { &serial } else { pool };
    // Room for all parts, so that a context that grows asks for memory once.
    scratch::with(Buffer::Heads, MOST_PARTS * len, |all| {
        let all = &mut all[..keys.div_ceil(size) * len];
        pool.chunks((&mut *all, len), |part, result| {
            let first = part * size;
            let keys = size.min(keys - first);
            let row = keys.next_multiple_of(REGISTER);
            let (values, shares) = result.split_at_mut(d);
            scratch::with(Buffer::Scores, s.heads * row, |scores| {
                let keys_of_part = &k.data[first * k.row..];
                query_scores(&q.data[..d], keys_of_part, k.row, h, &mut *scores, row, keys);
                let rows = scores.chunks_exact_mut(row).zip(shares.chunks_exact_mut(2));
                for (scores, share) in rows {
                    let (max, sum) = exponentials(scores, keys, s.scale);
                    share.copy_from_slice(&[max, sum]);
                }
                query_values(scores, row, keys, &v.data[first * v.row..], v.row, h, values);
            });
        });
        for (head, out) in out.chunks_exact_mut(h).enumerate() {
            let share = |part: &[f32]| (part[d + 2 * head], part[d + 2 * head + 1]);
            let max =
                all.chunks_exact(len).fold(f32::NEG_INFINITY, |max, p| larger(share(p).0, max));
            let mut total = 0.0;
            out.fill(0.0);
            for part in all.chunks_exact(len) {
                let (max_of_part, sum) = share(part);
                let weight = exp_f32(max_of_part - max);
                total += weight * sum;
                axpy(out, weight, &part[head * h..][..h]);
            }
            scale(out, 1.0 / total);
        }
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
