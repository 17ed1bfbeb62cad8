//! What may happen to queries and keys before their products: each head is divided by its root mean
//! square (Henry et al., "Query-Key Normalization for Transformers", 2020; here without a parameter),
//! then turned by its position (Su et al., "RoFormer", 2021).
//!
//! A head of h components is h/2 pairs (i, i + h/2). At position t pair i turns by the angle
//! t·base^(−2i/h): the product of a query and a key depends on how far they are apart, not on where
//! they are. A turn keeps lengths, so the gradient needs the results and the factors only:
//!
//! ```text
//! forward                              backward
//!   r = 1/√(mean(x²) + ε)                g = dy − y·mean(dy·y)
//!   y = turn(x·r)                        dx = r·turn back(g)
//! ```

use super::math::{fma, sums};
use crate::arch::simd;
use crate::functions::{self, pow};

/// The base of the angles: RoFormer's.
pub const BASE: f64 = 10_000.0;

/// Fills `out` with the cosines, then the sines, of the h/2 angles of `position`; `out` is h long.
pub fn angles(position: usize, out: &mut [f32]) {
    let h = out.len();
    let (cos, sin) = out.split_at_mut(h / 2);
    for (i, (cos, sin)) in cos.iter_mut().zip(sin).enumerate() {
        let angle = position as f64 * pow(BASE, -2.0 * i as f64 / h as f64);
        (*cos, *sin) = (functions::cos(angle) as f32, functions::sin(angle) as f32);
    }
}

/// The pair (a, b) turned by an angle.
#[inline(always)]
fn turn<const FMA: bool>(a: f32, b: f32, cos: f32, sin: f32) -> (f32, f32) {
    (fma::<FMA>(a, cos, -b * sin), fma::<FMA>(b, cos, a * sin))
}

/// The heads of `h` components in `x` turned by `angles`, or back, for a `sign` of −1.
#[inline(always)]
fn turn_heads<const FMA: bool>(x: &mut [f32], h: usize, angles: &[f32], sign: f32) {
    /// Pairs at once. The loops are short, and the compiler makes better ones of a length that it knows,
    /// of copies that nothing else refers to.
    const AT_ONCE: usize = 8;
    let (cos, sin) = angles.split_at(h / 2);
    let ((cos, cos_rest), (sin, sin_rest)) =
        (cos.as_chunks::<AT_ONCE>(), sin.as_chunks::<AT_ONCE>());
    for x in x.chunks_exact_mut(h) {
        let (a, b) = x.split_at_mut(h / 2);
        let ((a, a_rest), (b, b_rest)) =
            (a.as_chunks_mut::<AT_ONCE>(), b.as_chunks_mut::<AT_ONCE>());
        for (((a, b), cos), sin) in a.iter_mut().zip(b).zip(cos).zip(sin) {
            let (mut x, mut y, cos, sin) = (*a, *b, *cos, *sin);
            for i in 0..AT_ONCE {
                (x[i], y[i]) = turn::<FMA>(x[i], y[i], cos[i], sign * sin[i]);
            }
            (*a, *b) = (x, y);
        }
        if a_rest.is_empty() {
            continue;
        }
        for (((a, b), cos), sin) in a_rest.iter_mut().zip(b_rest).zip(cos_rest).zip(sin_rest) {
            (*a, *b) = turn::<FMA>(*a, *b, *cos, sign * sin);
        }
    }
}

simd! {
    /// In place, for the heads of `h` components that `x` holds side by side, all of one position:
    /// `angles` are those of [`angles`], `None` for no turn, and turn the heads in the first `turned`
    /// components; `factors` receives r of each head, `None` for no division.
    pub fn forward(
        x: &mut [f32],
        h: usize,
        angles: Option<&[f32]>,
        turned: usize,
        epsilon: f32,
        factors: Option<&mut [f32]>,
    ) {
        if let Some(factors) = factors {
            for (x, r) in x.chunks_exact(h).zip(&mut *factors) {
                // SAFETY: V is enabled here.
                [*r] = unsafe { sums::<V, 1, 1>([x], |[x]| [x * x]) };
            }
            // All at once, for roots and quotients take long.
            for r in &mut *factors {
                *r = 1.0 / (*r / h as f32 + epsilon).sqrt();
            }
            for (x, r) in x.chunks_exact_mut(h).zip(factors) {
                for x in x {
                    *x *= *r;
                }
            }
        }
        if let Some(angles) = angles {
            turn_heads::<FMA>(&mut x[..turned], h, angles, 1.0);
        }
    }
}

simd! {
    /// The gradient of what [`forward`] was given, in the place of that of its result: `y` and
    /// `factors` are what it left.
    pub fn backward(
        dy: &mut [f32],
        y: &[f32],
        h: usize,
        angles: Option<&[f32]>,
        turned: usize,
        factors: Option<&[f32]>,
    ) {
        if let Some(factors) = factors {
            for ((dy, y), r) in dy.chunks_exact_mut(h).zip(y.chunks_exact(h)).zip(factors) {
                // SAFETY: V is enabled here.
                let [product] = unsafe { sums::<V, 2, 1>([&*dy, y], |[dy, y]| [dy * y]) };
                let mean = product / h as f32;
                for (dy, y) in dy.iter_mut().zip(y) {
                    *dy = r * fma::<FMA>(-mean, *y, *dy);
                }
            }
        }
        if let Some(angles) = angles {
            turn_heads::<FMA>(&mut dy[..turned], h, angles, -1.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn random(n: usize, seed: u64) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..n).map(|_| rng.random_range(-1.7..1.7)).collect()
    }

    /// The definition, in f64, of one head.
    fn reference(x: &[f64], position: Option<usize>, norm: bool) -> Vec<f64> {
        let h = x.len();
        let mean = x.iter().map(|x| x * x).sum::<f64>() / h as f64;
        let r = if norm { 1.0 / (mean + 1e-5).sqrt() } else { 1.0 };
        let mut y: Vec<f64> = x.iter().map(|x| x * r).collect();
        let Some(position) = position else { return y };
        for i in 0..h / 2 {
            let angle = position as f64 / 10_000f64.powf(2.0 * i as f64 / h as f64);
            let (a, b) = (y[i], y[i + h / 2]);
            y[i] = a * angle.cos() - b * angle.sin();
            y[i + h / 2] = a * angle.sin() + b * angle.cos();
        }
        y
    }

    fn table(position: Option<usize>, h: usize) -> Option<Vec<f32>> {
        position.map(|position| {
            let mut table = vec![0.0; h];
            angles(position, &mut table);
            table
        })
    }

    #[test]
    fn values_and_gradients() {
        for (h, heads) in [(2, 3), (6, 1), (32, 4), (64, 2), (98, 1)] {
            for position in [None, Some(0), Some(1), Some(777)] {
                for norm in [false, true] {
                    let x = random(h * heads, 1 + h as u64);
                    let dy = random(h * heads, 2 + h as u64);
                    let table = table(position, h);
                    let mut y = x.clone();
                    let mut factors = vec![9.0; heads];
                    let kept = norm.then_some(&mut factors[..]);
                    // The second half of the heads is not turned.
                    let turned = heads.div_ceil(2);
                    forward(&mut y, h, table.as_deref(), turned * h, 1e-5, kept);
                    let mut dx = dy.clone();
                    let kept = norm.then_some(&factors[..]);
                    backward(&mut dx, &y, h, table.as_deref(), turned * h, kept);
                    for head in 0..heads {
                        let position = position.filter(|_| head < turned);
                        let at = head * h..(head + 1) * h;
                        let double = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect();
                        let (x, dy): (Vec<f64>, Vec<f64>) =
                            (double(&x[at.clone()]), double(&dy[at.clone()]));
                        let want = reference(&x, position, norm);
                        for (got, want) in y[at.clone()].iter().zip(&want) {
                            assert!((f64::from(*got) - want).abs() < 2e-6, "{got} {want}");
                        }
                        for i in 0..h {
                            let loss = |delta: f64| {
                                let mut x = x.clone();
                                x[i] += delta;
                                let y = reference(&x, position, norm);
                                y.iter().zip(&dy).map(|(y, dy)| y * dy).sum::<f64>()
                            };
                            let want = (loss(1e-5) - loss(-1e-5)) / 2e-5;
                            let got = f64::from(dx[head * h + i]);
                            assert!(
                                (got - want).abs() < 1e-5 * want.abs().max(1.0),
                                "{got} {want}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn products_depend_on_the_distance_alone() {
        let h = 32;
        let product = |a: usize, b: usize| {
            let (mut q, mut k) = (random(h, 5), random(h, 6));
            forward(&mut q, h, table(Some(a), h).as_deref(), h, 0.0, None);
            forward(&mut k, h, table(Some(b), h).as_deref(), h, 0.0, None);
            q.iter().zip(&k).map(|(q, k)| f64::from(q * k)).sum::<f64>()
        };
        for (a, b) in [(3, 0), (60, 57), (1003, 1000)] {
            assert!((product(a, b) - product(13, 10)).abs() < 1e-4);
        }
        assert!((product(13, 10) - product(13, 4)).abs() > 1e-2);
    }
}
