//! Updates of the optimizers, element by element.

use super::math::fma;
use crate::arch::simd;

/// The numbers of one AdamW update (Loshchilov and Hutter, 2019) that all elements share.
#[derive(Clone, Copy, Debug)]
pub struct AdamStep {
    /// Learning rate divided by 1 − β₁ᵗ.
    pub rate: f32,
    /// β₁.
    pub beta1: f32,
    /// β₂.
    pub beta2: f32,
    /// 1/√(1 − β₂ᵗ).
    pub root_correction: f32,
    /// ε.
    pub epsilon: f32,
    /// 1 − lr·λ for decayed tensors, else 1.
    pub keep: f32,
}

simd! {
    /// m ← β₁m + (1−β₁)g; v ← β₂v + (1−β₂)g²; w ← keep·w − rate·m / (√v·root_correction + ε).
    pub fn adam(w: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], s: AdamStep) {
        let n = w.len().min(g.len()).min(m.len()).min(v.len());
        let (w, g, m, v) = (&mut w[..n], &g[..n], &mut m[..n], &mut v[..n]);
        for i in 0..n {
            m[i] = fma::<FMA>(s.beta1, m[i], (1.0 - s.beta1) * g[i]);
            v[i] = fma::<FMA>(s.beta2, v[i], (1.0 - s.beta2) * g[i] * g[i]);
            let step = m[i] / (v[i].sqrt() * s.root_correction + s.epsilon);
            w[i] = fma::<FMA>(-s.rate, step, s.keep * w[i]);
        }
    }
}

simd! {
    /// w ← keep·w − rate·g.
    pub fn descend(w: &mut [f32], g: &[f32], rate: f32, keep: f32) {
        for (w, g) in w.iter_mut().zip(g) {
            *w = fma::<FMA>(-rate, *g, keep * *w);
        }
    }
}

simd! {
    /// velocity ← μ·velocity − rate·g; w ← keep·w + velocity.
    pub fn momentum(
        w: &mut [f32],
        g: &[f32],
        velocity: &mut [f32],
        rate: f32,
        mu: f32,
        keep: f32,
    ) {
        for ((w, g), velocity) in w.iter_mut().zip(g).zip(velocity) {
            *velocity = fma::<FMA>(-rate, *g, mu * *velocity);
            *w = fma::<FMA>(keep, *w, *velocity);
        }
    }
}

/// The numbers of an RMSprop or Adagrad update that all elements share.
#[derive(Clone, Copy, Debug)]
pub struct RootStep {
    /// Learning rate.
    pub rate: f32,
    /// What v is multiplied by.
    pub keep_square: f32,
    /// What g² is multiplied by before it is added to v.
    pub add_square: f32,
    /// ε.
    pub epsilon: f32,
    /// 1 − lr·λ for decayed tensors, else 1.
    pub keep: f32,
}

simd! {
    /// v ← keep_square·v + add_square·g²; w ← keep·w − rate·g/(√v + ε).
    pub fn root(w: &mut [f32], g: &[f32], v: &mut [f32], s: RootStep) {
        for ((w, g), v) in w.iter_mut().zip(g).zip(v) {
            *v = fma::<FMA>(s.keep_square, *v, s.add_square * *g * *g);
            *w = fma::<FMA>(-s.rate, *g / (v.sqrt() + s.epsilon), s.keep * *w);
        }
    }
}

simd! {
    /// [`adam`] with the largest second moment so far in the place of the present one ("On the
    /// Convergence of Adam and Beyond", Reddi, Kale and Kumar, 2018): x ← max(x, v̂), where
    /// v̂ = v/(1 − β₂ᵗ) is corrected before it is compared; w ← keep·w − rate·m/(√x + ε).
    pub fn amsgrad(
        w: &mut [f32],
        g: &[f32],
        m: &mut [f32],
        v: &mut [f32],
        x: &mut [f32],
        s: AdamStep,
    ) {
        let n = w.len().min(g.len()).min(m.len()).min(v.len()).min(x.len());
        let (w, g, m, v, x) = (&mut w[..n], &g[..n], &mut m[..n], &mut v[..n], &mut x[..n]);
        let correction = s.root_correction * s.root_correction;
        for i in 0..n {
            m[i] = fma::<FMA>(s.beta1, m[i], (1.0 - s.beta1) * g[i]);
            v[i] = fma::<FMA>(s.beta2, v[i], (1.0 - s.beta2) * g[i] * g[i]);
            x[i] = x[i].max(v[i] * correction);
            let step = m[i] / (x[i].sqrt() + s.epsilon);
            w[i] = fma::<FMA>(-s.rate, step, s.keep * w[i]);
        }
    }
}

simd! {
    /// m ← μm + g; w ← keep·w − rate·(ahead·m + now·g). With `ahead` 1 and `now` 0 that is heavy-ball
    /// momentum whose rate stands outside, with μ and 1 Nesterov's.
    pub fn heavy_ball(
        w: &mut [f32],
        g: &[f32],
        m: &mut [f32],
        rate: f32,
        mu: f32,
        ahead: f32,
        now: f32,
        keep: f32,
    ) {
        for ((w, g), m) in w.iter_mut().zip(g).zip(m) {
            *m = fma::<FMA>(mu, *m, *g);
            *w = fma::<FMA>(-rate, fma::<FMA>(ahead, *m, now * *g), keep * *w);
        }
    }
}
