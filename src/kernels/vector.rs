//! Vectors: products, sums, scaling.

use super::math::{LANES, fma, fold, sum_by};

simd! {
    /// Σ a_i·b_i over the shorter length.
    pub fn dot(a: &[f32], b: &[f32]) -> f32 {
        let n = a.len().min(b.len());
        let (a, b) = (&a[..n], &b[..n]);
        let mut lanes = [0f32; LANES];
        let (a_chunks, a_rest) = a.as_chunks::<LANES>();
        let (b_chunks, b_rest) = b.as_chunks::<LANES>();
        for (a, b) in a_chunks.iter().zip(b_chunks) {
            for i in 0..LANES {
                lanes[i] = fma::<FMA>(a[i], b[i], lanes[i]);
            }
        }
        for (i, (a, b)) in a_rest.iter().zip(b_rest).enumerate() {
            lanes[i] = fma::<FMA>(*a, *b, lanes[i]);
        }
        fold(lanes, |a, b| a + b)
    }
}

/// Partial sums for each of the rows that [`rows_dot`] reads at once.
const ROW_LANES: usize = 32;

simd! {
    /// out_o = w_o·x for the rows w_o, each as long as x. Four rows at a time: more streams keep
    /// more of the memory's bandwidth busy.
    pub fn rows_dot(out: &mut [f32], w: &[f32], x: &[f32]) {
        let n = x.len();
        if n == 0 {
            return out.fill(0.0);
        }
        let whole = n / ROW_LANES * ROW_LANES;
        let (quads, single) = out.as_chunks_mut::<4>();
        let (w_quads, w_single) = w.split_at(4 * n * quads.len());
        for (out, w) in quads.iter_mut().zip(w_quads.chunks_exact(4 * n)) {
            let rows: [&[f32]; 4] = std::array::from_fn(|r| &w[r * n..(r + 1) * n]);
            let mut lanes = [[0f32; ROW_LANES]; 4];
            let mut i = 0;
            while i < whole {
                let x = &x[i..i + ROW_LANES];
                for (lanes, row) in lanes.iter_mut().zip(rows) {
                    let row = &row[i..i + ROW_LANES];
                    for c in 0..ROW_LANES {
                        lanes[c] = fma::<FMA>(row[c], x[c], lanes[c]);
                    }
                }
                i += ROW_LANES;
            }
            for ((out, mut lanes), row) in out.iter_mut().zip(lanes).zip(rows) {
                for (lane, (w, x)) in lanes.iter_mut().zip(row[whole..].iter().zip(&x[whole..])) {
                    *lane = fma::<FMA>(*w, *x, *lane);
                }
                let mut width = ROW_LANES / 2;
                while width > 0 {
                    for c in 0..width {
                        lanes[c] += lanes[c + width];
                    }
                    width /= 2;
                }
                *out = lanes[0];
            }
        }
        for (out, row) in single.iter_mut().zip(w_single.chunks_exact(n)) {
            *out = sum_by(n, |i| row[i] * x[i]);
        }
    }
}

simd! {
    /// Σ x_i.
    pub fn sum(x: &[f32]) -> f32 {
        let _ = FMA;
        sum_by(x.len(), |i| x[i])
    }
}

simd! {
    /// out_i += s·a_i.
    pub fn axpy(out: &mut [f32], s: f32, a: &[f32]) {
        for (out, a) in out.iter_mut().zip(a) {
            *out = fma::<FMA>(s, *a, *out);
        }
    }
}

simd! {
    /// out_i += a_i·b_i.
    pub fn multiply_accumulate(out: &mut [f32], a: &[f32], b: &[f32]) {
        for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
            *out = fma::<FMA>(*a, *b, *out);
        }
    }
}

simd! {
    /// out_i = a_i + b_i.
    pub fn add(out: &mut [f32], a: &[f32], b: &[f32]) {
        let _ = FMA;
        for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
            *out = a + b;
        }
    }
}

simd! {
    /// out_i += a_i.
    pub fn add_assign(out: &mut [f32], a: &[f32]) {
        let _ = FMA;
        for (out, a) in out.iter_mut().zip(a) {
            *out += a;
        }
    }
}

simd! {
    /// out_i *= s.
    pub fn scale(out: &mut [f32], s: f32) {
        let _ = FMA;
        for x in out {
            *x *= s;
        }
    }
}

/// Values whose squares are summed in f32 before the sum goes on in f64.
const NORM_BLOCK: usize = 4096;

simd! {
    fn block_square_sum(x: &[f32]) -> f64 {
        let _ = FMA;
        let mut lanes = [0f64; 16];
        let (chunks, rest) = x.as_chunks::<16>();
        for chunk in chunks {
            for i in 0..16 {
                lanes[i] += f64::from(chunk[i]) * f64::from(chunk[i]);
            }
        }
        for (i, x) in rest.iter().enumerate() {
            lanes[i] += f64::from(*x) * f64::from(*x);
        }
        lanes.iter().sum()
    }
}

/// Σ x_i² in f64.
pub fn square_sum(x: &[f32]) -> f64 {
    x.chunks(NORM_BLOCK).map(block_square_sum).sum()
}
