//! Scaled dot-product attention ("Attention Is All You Need", eq. 1), blocked: scores of one head
//! exist only for a block of queries, and of the causal half only the blocks on and below the
//! diagonal are computed. The softmax keeps its log-sum-exp per row, from which the backward pass
//! recomputes the probabilities.

use super::cross_entropy::softmax;
use super::math::{REGISTER, exp, fma, fold_register};
use super::scratch::{self, Use};
use super::tile::{Kernels, Panel, Tile};
use super::vector::{dot, scale};
use crate::runtime::pool::Pool;
use ndarray::{ArrayView2, ArrayViewMut2, ShapeBuilder, s};

/// Queries of one block.
const BLOCK: usize = 64;

/// The shape of one call.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
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
    /// Position i sees positions up to i only; otherwise all of them.
    pub causal: bool,
}

impl Shape {
    fn keys(&self) -> usize {
        self.base + self.rows
    }

    fn scale(&self) -> f32 {
        1.0 / (self.head_dim as f32).sqrt()
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
        s: &Shape,
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
        s: &Shape,
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

/// Panels of the transposed rows of a head: what scores are products with.
///
/// # Safety
/// `panels` has room for [`panels_len`] floats, and `x` for `keys` rows of the head.
unsafe fn pack_transposed(kernels: &Kernels, x: ArrayView2<f32>, panels: &mut [f32]) {
    let (keys, h) = x.dim();
    let (width, row) = (kernels.panel(), x.strides()[0].unsigned_abs());
    let all = Panel { b: x.as_ptr(), row: 1, column: row, k: h, columns: keys };
    for (j, panel) in panels.chunks_exact_mut(width * h).enumerate() {
        let columns = width.min(keys - j * width);
        // SAFETY: columns of the view; the chunk is one panel.
        unsafe { kernels.pack(all.part(0, j * width, h, columns), panel.as_mut_ptr()) };
    }
}

/// Floats of the panels of `keys` rows of `h` values.
fn panels_len(kernels: &Kernels, keys: usize, h: usize) -> usize {
    keys.next_multiple_of(kernels.panel()) * h
}

/// scores = q · the transposed rows in `panels`, for the queries of a block. A row is computed as
/// far as its tile sees, `seen(i)` for row i, and row i starts at `i * row` of `scores`.
///
/// # Safety
/// `scores` has room for the rows, `panels` holds all keys that are seen.
unsafe fn products(
    kernels: &Kernels,
    q: ArrayView2<f32>,
    panels: &[f32],
    seen: impl Fn(usize) -> usize,
    scores: &mut [f32],
    row: usize,
) {
    let (count, h) = q.dim();
    let width = kernels.panel();
    let height = kernels.height(width);
    for i in (0..count).step_by(height) {
        let rows = height.min(count - i);
        let columns = seen(i + rows - 1);
        for (j, panel) in panels.chunks_exact(width * h).enumerate() {
            let Some(left) = columns.checked_sub(j * width).filter(|&left| left > 0) else { break };
            let a_row = q.strides()[0].unsigned_abs();
            let tile = Tile {
                k: h,
                a: q.as_ptr().wrapping_add(i * a_row),
                a_row,
                a_step: 1,
                b: panel.as_ptr(),
                b_step: width,
                out: scores[i * row + j * width..].as_mut_ptr(),
                out_row: row,
                columns: left.min(width),
                add: false,
            };
            // SAFETY: the caller's promise. The tile may be lower than a narrow one could be.
            unsafe { kernels.tile(rows, &tile) };
        }
    }
}

/// How [`weighted`] reads a block of weights: element (i, p) is at `i * row + p * step`.
#[derive(Clone, Copy)]
struct Weights<'a> {
    data: &'a [f32],
    row: usize,
    step: usize,
}

/// out_i (+)= Σ_p w_ip·x_p for the rows i of `out`, over the p in `range(first, count)`, a range
/// that holds what the rows first..first+count need.
fn weighted(
    kernels: &Kernels,
    w: Weights,
    x: &Right,
    range: impl Fn(usize, usize) -> (usize, usize),
    mut out: ArrayViewMut2<f32>,
    add: bool,
) {
    let (m, h) = out.dim();
    let width = kernels.panel();
    let out_row = out.strides()[0].unsigned_abs();
    for j in (0..h).step_by(width) {
        let columns = width.min(h - j);
        let height = kernels.height(columns);
        for i in (0..m).step_by(height) {
            let rows = height.min(m - i);
            let (from, to) = range(i, rows);
            if from >= to {
                continue;
            }
            let last = (i + rows - 1) * w.row + (to - 1) * w.step;
            assert!(last < w.data.len() && to <= x.rows, "attention weights outside their block");
            let tile = Tile {
                k: to - from,
                a: w.data[i * w.row + from * w.step..].as_ptr(),
                a_row: w.row,
                a_step: w.step,
                b: x.start.wrapping_add(from * x.row + j),
                b_step: x.row,
                out: out.as_mut_ptr().wrapping_add(i * out_row + j),
                out_row,
                columns,
                add,
            };
            // SAFETY: rows and columns of `out`; the weights were checked; `x` has rows up to `to`,
            // in whole registers.
            unsafe { kernels.tile(rows, &tile) };
        }
    }
}

/// Rows of a head that a product reads as its right matrix, in whole registers: where they lie if
/// a row fills its registers, otherwise in a copy.
struct Right {
    start: *const f32,
    row: usize,
    rows: usize,
}

impl Right {
    /// Floats of the copy.
    fn copy_len(kernels: &Kernels, rows: usize, h: usize) -> usize {
        if Self::fits(kernels, h) { 0 } else { rows * h.next_multiple_of(kernels.lanes) }
    }

    fn fits(kernels: &Kernels, h: usize) -> bool {
        h.is_multiple_of(kernels.lanes)
    }

    fn new(kernels: &Kernels, x: ArrayView2<f32>, copy: &mut [f32]) -> Self {
        let (rows, h) = x.dim();
        if Self::fits(kernels, h) {
            return Self { start: x.as_ptr(), row: x.strides()[0].unsigned_abs(), rows };
        }
        let row = h.next_multiple_of(kernels.lanes);
        for (x, copy) in x.rows().into_iter().zip(copy.chunks_exact_mut(row)) {
            for (x, copy) in x.iter().zip(&mut *copy) {
                *copy = *x;
            }
            copy[h..].fill(0.0);
        }
        Self { start: copy.as_ptr(), row, rows }
    }
}

/// out = attention, `[B·rows][H·h]`; the keys and values of each sequence are its first
/// `base + rows` rows. `lse`, where given, receives log Σ e^score, `[B·rows][H]`.
pub fn forward(
    pool: &Pool,
    s: &Shape,
    q: Heads,
    k: Heads,
    v: Heads,
    out: &mut [f32],
    lse: Option<&mut [f32]>,
) {
    let d = s.heads * s.head_dim;
    if s.rows == 1 && s.batch == 1 && lse.is_none() {
        return single(pool, s, q, k, v, out);
    }
    let out = HeadsMut::new(out, d, s.rows * d);
    let lse = lse.map(|lse| HeadsMut::new(lse, s.heads, s.rows * s.heads));
    let kernels = Kernels::get();
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
        let panels = panels_len(kernels, keys, s.head_dim);
        let copy = Right::copy_len(kernels, keys, s.head_dim);
        scratch::with(Use::Heads, panels + copy, |heads| {
            let (panels, copy) = heads.split_at_mut(panels);
            // SAFETY: the sizes above.
            unsafe { pack_transposed(kernels, k, panels) };
            let v = Right::new(kernels, v, copy);
            for first in (first..end).step_by(BLOCK) {
                let count = BLOCK.min(end - first);
                let row = s.visible(first, count).next_multiple_of(REGISTER);
                let q = q.view(s, b, head, first, count);
                let seen = |i: usize| s.visible(first + i, 1);
                scratch::with(Use::Scores, count * row, |scores| {
                    // SAFETY: a row of `scores` is as long as the last query sees.
                    unsafe { products(kernels, q, panels, seen, scores, row) };
                    let mut sums = [0f32; BLOCK];
                    for (i, scores) in scores.chunks_exact_mut(row).enumerate() {
                        let (max, sum) = exponentials(scores, seen(i), s.scale());
                        sums[i] = 1.0 / sum;
                        if let Some(lse) = lse {
                            let one = Shape { head_dim: 1, ..*s };
                            // SAFETY: one float, of this sequence, head and row.
                            unsafe { lse.view(&one, b, head, first + i, 1) }.fill(max + sum.ln());
                        }
                    }
                    // SAFETY: the rows of this block, in the columns of this head.
                    let mut out = unsafe { out.view(s, b, head, first, count) };
                    let weights = Weights { data: scores, row, step: 1 };
                    let range = |i: usize, rows: usize| (0, seen(i + rows - 1));
                    weighted(kernels, weights, &v, range, out.view_mut(), false);
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

/// One query: decoding.
fn single(pool: &Pool, s: &Shape, q: Heads, k: Heads, v: Heads, out: &mut [f32]) {
    let (h, keys) = (s.head_dim, s.keys());
    let work = |head: usize, out: &mut [f32]| {
        let from = |x: &Heads<'_>| head * h..x.data.len().min((keys - 1) * x.row + (head + 1) * h);
        let (query, k_rows, v_rows) =
            (&q.data[head * h..][..h], &k.data[from(&k)], &v.data[from(&v)]);
        scratch::with(Use::Scores, keys.next_multiple_of(REGISTER), |scores| {
            query_scores(query, k_rows, k.row, &mut scores[..keys]);
            let (_, sum) = exponentials(scores, keys, s.scale());
            query_values(&scores[..keys], 1.0 / sum, v_rows, v.row, out);
        });
    };
    if keys * h < 1 << 12 {
        out.chunks_mut(h).enumerate().for_each(|(head, out)| work(head, out));
    } else {
        pool.chunks((out, h), work);
    }
}

/// Gradients of q, k and v from that of the output. `dq`, `dk`, `dv` lie in `grad`, a buffer of
/// rows of `row` floats, at the columns `columns`; they are overwritten. `out` and `lse` are the
/// forward pass's.
pub fn backward(
    pool: &Pool,
    s: &Shape,
    [q, k, v]: [Heads; 3],
    out: &[f32],
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
    let contiguous = |data| Heads { data, row: d, sequence: s.rows * d };
    let (out, dout) = (contiguous(out), contiguous(dout));
    let kernels = Kernels::get();
    pool.for_each(s.batch * s.heads, |task| {
        let (b, head) = (task / s.heads, task % s.heads);
        let (h, all) = (s.head_dim, s.rows);
        // SAFETY: all rows of this sequence in the columns of this head, in three disjoint places.
        let (mut dk, mut dv) =
            unsafe { (dk.view(s, b, head, 0, all), dv.view(s, b, head, 0, all)) };
        let (queries, keys, values) =
            (q.view(s, b, head, 0, all), k.view(s, b, head, 0, all), v.view(s, b, head, 0, all));
        let dout = dout.view(s, b, head, 0, all);
        let out = out.view(s, b, head, 0, all);
        let panels = panels_len(kernels, all, h);
        let copy = Right::copy_len(kernels, all, h);
        scratch::with(Use::Heads, 2 * panels + 3 * copy, |heads| {
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
                scratch::with(Use::Scores, 2 * count * row, |scores| {
                    let (p, ds) = scores.split_at_mut(count * row);
                    // SAFETY: a row of the scores is as long as the last query sees.
                    unsafe {
                        products(kernels, queries.slice(block), k_panels, seen, p, row);
                        products(kernels, dout.slice(block), v_panels, seen, ds, row);
                    }
                    for i in 0..count {
                        let at = (b * s.rows + first + i) * s.heads + head;
                        let correction =
                            match (out.row(first + i).as_slice(), dout.row(first + i).as_slice()) {
                                (Some(out), Some(dout)) => dot(out, dout),
                                _ => 0.0,
                            };
                        let p = &mut p[i * row..][..row];
                        let ds = &mut ds[i * row..][..row];
                        score_gradient(p, ds, seen(i), s.scale(), lse[at], correction);
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
    /// The scores in `x[..seen]` become e^(scale·(x_i − max)), what is behind them 0; returns
    /// scale·max and the sum. The row is whole registers long.
    fn exponentials(x: &mut [f32], seen: usize, scale: f32) -> (f32, f32) {
        let end = seen.next_multiple_of(REGISTER).min(x.len());
        x[seen..end].fill(f32::NEG_INFINITY);
        let (chunks, _) = x[..end].as_chunks_mut::<REGISTER>();
        let mut lanes = [f32::NEG_INFINITY; REGISTER];
        for chunk in &*chunks {
            for i in 0..REGISTER {
                lanes[i] = if chunk[i] > lanes[i] { chunk[i] } else { lanes[i] };
            }
        }
        let max = fold_register(lanes, |a, b| if a > b { a } else { b }) * scale;
        let mut lanes = [0f32; REGISTER];
        for chunk in chunks {
            for i in 0..REGISTER {
                chunk[i] = exp::<FMA>(fma::<FMA>(chunk[i], scale, -max));
                lanes[i] += chunk[i];
            }
        }
        x[seen..].fill(0.0);
        (max, fold_register(lanes, |a, b| a + b))
    }
}

simd! {
    /// Turns scores q·k into probabilities and dp into dscore, both times the score's scale:
    /// ds = p·(dp − Σ p·dp)·scale, where the sum is do·o; behind `seen` both become 0. The rows
    /// are whole registers long.
    fn score_gradient(
        p: &mut [f32],
        ds: &mut [f32],
        seen: usize,
        scale: f32,
        lse: f32,
        correction: f32,
    ) {
        let end = seen.next_multiple_of(REGISTER).min(p.len());
        let (chunks, _) = p[..end].as_chunks_mut::<REGISTER>();
        let (ds_chunks, _) = ds[..end].as_chunks_mut::<REGISTER>();
        for (p, ds) in chunks.iter_mut().zip(ds_chunks) {
            for i in 0..REGISTER {
                p[i] = exp::<FMA>(fma::<FMA>(p[i], scale, -lse));
                ds[i] = p[i] * (ds[i] - correction) * scale;
            }
        }
        p[seen..].fill(0.0);
        ds[seen..].fill(0.0);
    }
}

simd! {
    /// scores_j = q · key j, for keys whose rows start at `j * row` of `keys`.
    fn query_scores(q: &[f32], keys: &[f32], row: usize, scores: &mut [f32]) {
        let h = q.len();
        let (q_chunks, q_rest) = q.as_chunks::<REGISTER>();
        for (j, score) in scores.iter_mut().enumerate() {
            let (chunks, rest) = keys[j * row..][..h].as_chunks::<REGISTER>();
            let mut lanes = [0f32; REGISTER];
            for (q, key) in q_chunks.iter().zip(chunks) {
                for i in 0..REGISTER {
                    lanes[i] = fma::<FMA>(q[i], key[i], lanes[i]);
                }
            }
            for (i, (q, key)) in q_rest.iter().zip(rest).enumerate() {
                lanes[i] = fma::<FMA>(*q, *key, lanes[i]);
            }
            *score = fold_register(lanes, |a, b| a + b);
        }
    }
}

simd! {
    /// out = factor · Σ_j weights_j · x_j, for rows that start at `j * row` of `x`.
    fn query_values(weights: &[f32], factor: f32, x: &[f32], row: usize, out: &mut [f32]) {
        const WIDTH: usize = 4 * REGISTER;
        for (c, out) in out.chunks_mut(WIDTH).enumerate() {
            let mut sums = [0f32; WIDTH];
            let len = out.len();
            for (j, &weight) in weights.iter().enumerate() {
                let x = &x[j * row + c * WIDTH..][..len];
                if let Ok(x) = <&[f32; WIDTH]>::try_from(x) {
                    for i in 0..WIDTH {
                        sums[i] = fma::<FMA>(weight, x[i], sums[i]);
                    }
                } else {
                    for (sum, x) in sums.iter_mut().zip(x) {
                        *sum = fma::<FMA>(weight, *x, *sum);
                    }
                }
            }
            for (out, sum) in out.iter_mut().zip(sums) {
                *out = factor * sum;
            }
        }
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
