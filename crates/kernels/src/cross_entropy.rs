//! Softmax and cross-entropy over one row of logits.

use super::math::{LANES, exp, fold, larger};
use crate::arch::{Vector, lanes_sum, simd};
use crate::functions::ln_f32;

#[inline(always)]
fn maximum(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for i in 0..LANES {
            lanes[i] = larger(chunk[i], lanes[i]);
        }
    }
    for (lane, x) in lanes.iter_mut().zip(rest) {
        *lane = larger(*x, *lane);
    }
    fold(lanes, larger)
}

/// x_i = e^(x_i - shift); their sum.
///
/// # Safety
/// As for all of [`Vector`].
#[inline(always)]
unsafe fn exp_shifted<V: Vector, const FMA: bool>(x: &mut [f32], shift: f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let (chunks, rest) = x.as_chunks_mut::<LANES>();
    for chunk in chunks {
        for i in 0..LANES {
            let e = exp::<FMA>(chunk[i] - shift);
            chunk[i] = e;
            lanes[i] += e;
        }
    }
    for (lane, x) in lanes.iter_mut().zip(rest) {
        *x = exp::<FMA>(*x - shift);
        *lane += *x;
    }
    // SAFETY: the caller's promise.
    unsafe { lanes_sum::<V, LANES>(&lanes) }
}

simd! {
    /// x = softmax(x); returns log Σ e^x of the old values. NaN makes everything NaN.
    pub fn softmax(x: &mut [f32]) -> f32 {
        let shift = maximum(x);
        // SAFETY: V is enabled here.
        let sum = unsafe { exp_shifted::<V, FMA>(x, shift) };
        let inverse = 1.0 / sum;
        for x in x.iter_mut() {
            *x *= inverse;
        }
        shift + ln_f32(sum)
    }
}

simd! {
    /// log Σ e^x.
    pub fn log_sum_exp(x: &[f32]) -> f32 {
        let shift = maximum(x);
        let mut lanes = [0f32; LANES];
        let (chunks, rest) = x.as_chunks::<LANES>();
        for chunk in chunks {
            for i in 0..LANES {
                lanes[i] += exp::<FMA>(chunk[i] - shift);
            }
        }
        for (lane, x) in lanes.iter_mut().zip(rest) {
            *lane += exp::<FMA>(x - shift);
        }
        // SAFETY: V is enabled here.
        shift + ln_f32(unsafe { lanes_sum::<V, LANES>(&lanes) })
    }
}

simd! {
    /// Turns logits into scale·(softmax − onehot(target)) in place and returns the loss
    /// log Σ e^x − x_target.
    pub fn loss_gradient(x: &mut [f32], target: usize, scale: f32) -> f32 {
        let logit = x.get(target).copied().unwrap_or(0.0);
        let shift = maximum(x);
        // SAFETY: V is enabled here.
        let sum = unsafe { exp_shifted::<V, FMA>(x, shift) };
        let factor = scale / sum;
        for x in x.iter_mut() {
            *x *= factor;
        }
        if let Some(x) = x.get_mut(target) {
            *x -= scale;
        }
        shift + ln_f32(sum) - logit
    }
}
