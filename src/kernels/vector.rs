//! Vectors: products, sums, scaling.

use super::math::{LANES, REGISTER, fma, fold, sums};

/// Σ a_i·b_i over the shorter length.
#[inline(always)]
fn product_sum<const FMA: bool>(a: &[f32], b: &[f32]) -> f32 {
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
    // What is left of short rows, by registers as long as there are whole ones.
    let (a_chunks, a_rest) = a_rest.as_chunks::<REGISTER>();
    let (b_chunks, b_rest) = b_rest.as_chunks::<REGISTER>();
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for i in 0..REGISTER {
            lanes[i] = fma::<FMA>(a[i], b[i], lanes[i]);
        }
    }
    for (i, (a, b)) in a_rest.iter().zip(b_rest).enumerate() {
        lanes[i] = fma::<FMA>(*a, *b, lanes[i]);
    }
    fold(lanes, |a, b| a + b)
}

simd! {
    /// Σ a_i·b_i over the shorter length.
    pub fn dot(a: &[f32], b: &[f32]) -> f32 {
        product_sum::<FMA>(a, b)
    }
}

simd! {
    /// out_i = w_i · x for the rows w_i of `w`, which follow each other.
    pub fn dots(out: &mut [f32], w: &[f32], x: &[f32]) {
        for (out, w) in out.iter_mut().zip(w.chunks_exact(x.len().max(1))) {
            *out = product_sum::<FMA>(w, x);
        }
    }
}

simd! {
    /// Σ x_i.
    pub fn sum(x: &[f32]) -> f32 {
        let _ = FMA;
        let [sum] = sums([x], |[x]| [x]);
        sum
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
    /// out_i *= a_i.
    pub fn multiply_assign(out: &mut [f32], a: &[f32]) {
        let _ = FMA;
        for (out, a) in out.iter_mut().zip(a) {
            *out *= a;
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
