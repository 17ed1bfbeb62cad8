//! Scaled dot-product attention ("Attention Is All You Need", eq. 1), blocked: scores of one head
//! exist only for a block of queries, and of the causal half only the blocks on and below the
//! diagonal are computed. The softmax keeps its log-sum-exp per row, from which the backward pass
//! recomputes the probabilities.

use super::cross_entropy::softmax;
use super::math::{exp, sum_by};
use super::matmul::matmul;
use super::vector::{axpy, dot};
use crate::runtime::pool::Pool;
use ndarray::{ArrayView2, ArrayViewMut2, ShapeBuilder};
use std::cell::RefCell;

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

thread_local! {
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Runs `work` on `len` floats of this thread's scratch memory, whose content is arbitrary.
fn with_scratch(len: usize, work: impl FnOnce(&mut [f32])) {
    SCRATCH.with_borrow_mut(|scratch| {
        if let Some(more) = len.checked_sub(scratch.len()) {
            // A panic becomes an error of the call; growing without asking would end the process.
            if scratch.try_reserve_exact(more).is_err() {
                panic!("no memory for {len} attention scores");
            }
            scratch.resize(len, 0.0);
        }
        work(&mut scratch[..len]);
    });
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
    let blocks = s.rows.div_ceil(BLOCK);
    pool.for_each(s.batch * s.heads * blocks, |task| {
        let (b, rest) = (task / (s.heads * blocks), task % (s.heads * blocks));
        let (head, block) = (rest / blocks, rest % blocks);
        let first = block * BLOCK;
        let count = BLOCK.min(s.rows - first);
        let keys = s.visible(first, count);
        with_scratch(count * keys, |scores| {
            let q = q.view(s, b, head, first, count);
            product(scores, (count, keys), q, k.view(s, b, head, 0, keys).t());
            for (i, row) in scores.chunks_exact_mut(keys).enumerate() {
                let seen = s.visible(first + i, 1);
                let (row, hidden) = row.split_at_mut(seen);
                super::vector::scale(row, s.scale());
                let sum = softmax(row);
                hidden.fill(0.0);
                if let Some(lse) = lse {
                    let one = Shape { head_dim: 1, ..*s };
                    // SAFETY: one float, of this sequence, head and row.
                    unsafe { lse.view(&one, b, head, first + i, 1) }.fill(sum);
                }
            }
            // SAFETY: the rows of this block, in the columns of this head.
            let out = unsafe { out.view(s, b, head, first, count) };
            matmul(
                &Pool::serial(),
                out,
                view(scores, (count, keys)),
                v.view(s, b, head, 0, keys),
                0.0,
            );
        });
    });
}

/// One query: decoding.
fn single(pool: &Pool, s: &Shape, q: Heads, k: Heads, v: Heads, out: &mut [f32]) {
    let (h, keys) = (s.head_dim, s.keys());
    let work = |head: usize, out: &mut [f32]| {
        with_scratch(keys, |scores| {
            let row = |x: &Heads, i: usize| {
                let start = i * x.row + head * h;
                start..start + h
            };
            let query = &q.data[row(&q, 0)];
            for (j, score) in scores.iter_mut().enumerate() {
                *score = s.scale() * dot(query, &k.data[row(&k, j)]);
            }
            softmax(scores);
            out.fill(0.0);
            for (j, p) in scores.iter().enumerate() {
                axpy(out, *p, &v.data[row(&v, j)]);
            }
        });
    };
    if keys * h < 1 << 14 {
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
    pool.for_each(s.batch * s.heads, |task| {
        let (b, head) = (task / s.heads, task % s.heads);
        // SAFETY: all rows of this sequence in the columns of this head, in three disjoint places.
        let (mut dk, mut dv) =
            unsafe { (dk.view(s, b, head, 0, s.rows), dv.view(s, b, head, 0, s.rows)) };
        dk.fill(0.0);
        dv.fill(0.0);
        for first in (0..s.rows).step_by(BLOCK) {
            let count = BLOCK.min(s.rows - first);
            let keys = s.visible(first, count);
            with_scratch(2 * count * keys, |scratch| {
                let (p, ds) = scratch.split_at_mut(count * keys);
                let queries = q.view(s, b, head, first, count);
                let (k, v) = (k.view(s, b, head, 0, keys), v.view(s, b, head, 0, keys));
                let dout = dout.view(s, b, head, first, count);
                let out = out.view(s, b, head, first, count);
                product(p, (count, keys), queries, k.t());
                product(ds, (count, keys), dout, v.t());
                for i in 0..count {
                    let at = (b * s.rows + first + i) * s.heads + head;
                    let correction = out.row(i).dot(&dout.row(i));
                    let seen = s.visible(first + i, 1);
                    let p = &mut p[i * keys..][..keys];
                    let ds = &mut ds[i * keys..][..keys];
                    score_gradient(&mut p[..seen], &mut ds[..seen], s.scale(), lse[at], correction);
                    p[seen..].fill(0.0);
                    ds[seen..].fill(0.0);
                }
                let serial = Pool::serial();
                let (p, ds) = (view(p, (count, keys)), view(ds, (count, keys)));
                let upto = ndarray::s![..keys, ..];
                matmul(&serial, dv.slice_mut(upto), p.t(), dout, 1.0);
                matmul(&serial, dk.slice_mut(upto), ds.t(), queries, 1.0);
                // SAFETY: as for dk and dv; these rows are written once.
                let dq = unsafe { dq.view(s, b, head, first, count) };
                matmul(&serial, dq, ds, k, 0.0);
            });
        }
    });
}

simd! {
    /// Turns scores q·k into probabilities and dp into dscore, both times the score's scale:
    /// ds = p·(dp − Σ p·dp)·scale, where the sum is do·o.
    fn score_gradient(p: &mut [f32], ds: &mut [f32], scale: f32, lse: f32, correction: f32) {
        for (p, ds) in p.iter_mut().zip(ds) {
            *p = exp::<FMA>(*p * scale - lse);
            *ds = *p * (*ds - correction) * scale;
        }
    }
}

fn view(data: &[f32], shape: (usize, usize)) -> ArrayView2<'_, f32> {
    match ArrayView2::from_shape(shape, data) {
        Ok(view) => view,
        Err(e) => panic!("scratch smaller than its view: {e}"),
    }
}

fn product(out: &mut [f32], shape: (usize, usize), a: ArrayView2<f32>, b: ArrayView2<f32>) {
    match ArrayViewMut2::from_shape(shape, out) {
        Ok(out) => matmul(&Pool::serial(), out, a, b, 0.0),
        Err(e) => panic!("scratch smaller than its view: {e}"),
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
        *score = scale * sum_by(h, |c| q[c] * key[c]);
    }
    weights.copy_from_slice(scores);
    softmax(weights);
}
