//! Vectors: products, sums, scaling.

use super::math::{fma, sums};
use crate::arch::{Vector, product_sum, simd, vector_fn};

/// Σ a_i·b_i over the shorter length.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let n = a.len().min(b.len());
    let mut sum = 0.0;
    dots(std::slice::from_mut(&mut sum), &a[..n], &b[..n]);
    sum
}

vector_fn! {
    /// out_i = w_i · x for the rows w_i of `w`, which follow each other and are as long as x.
    pub fn dots(out: &mut [f32], w: &[f32], x: &[f32]) = run_dots
}

/// # Safety
/// As for all of [`Vector`].
#[inline(always)]
unsafe fn run_dots<V: Vector>(out: &mut [f32], w: &[f32], x: &[f32]) {
    let k = x.len();
    assert!(w.len() >= out.len() * k, "fewer rows than results");
    for (i, out) in out.iter_mut().enumerate() {
        // SAFETY: the rows are inside, by the check above.
        *out = unsafe { product_sum::<V>(x, w.as_ptr().add(i * k)) };
    }
}

simd! {
    /// Σ x_i.
    pub fn sum(x: &[f32]) -> f32 {
        // SAFETY: V is enabled here.
        let [sum] = unsafe { sums::<V, 1, 1>([x], |[x]| [x]) };
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
        for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
            *out = a + b;
        }
    }
}

simd! {
    /// out_i += a_i.
    pub fn add_assign(out: &mut [f32], a: &[f32]) {
        for (out, a) in out.iter_mut().zip(a) {
            *out += a;
        }
    }
}

simd! {
    /// out_i *= a_i.
    pub fn multiply_assign(out: &mut [f32], a: &[f32]) {
        for (out, a) in out.iter_mut().zip(a) {
            *out *= a;
        }
    }
}

simd! {
    /// out_i *= s.
    pub fn scale(out: &mut [f32], s: f32) {
        for x in out {
            *x *= s;
        }
    }
}

/// Values whose squares are summed in f32 before the sum goes on in f64.
const NORM_BLOCK: usize = 4096;

simd! {
    fn block_square_sum(x: &[f32]) -> f64 {
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
