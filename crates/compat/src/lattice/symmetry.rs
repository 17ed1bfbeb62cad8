//! The twelve symmetry groups: rotations of coordinate pairs, some with a reflection or a scale.

use super::{f32_of, norm};
use std::f64::consts::TAU;

/// The symmetry group of a prime: its hour on the clock.
pub fn group(prime: u64) -> u32 {
    (prime % 12) as u32
}

/// What groups 3 and 9 scale by.
const SCALE: f64 = 1.1;

/// Rotates the pairs (x₀, x₁), (x₂, x₃), …; an odd last component stays.
fn rotate(x: &mut [f32], angle: f64) {
    let (sin, cos) = angle.sin_cos();
    for pair in x.as_chunks_mut::<2>().0 {
        let [a, b] = pair.map(f64::from);
        *pair = [(a * cos - b * sin) as f32, (a * sin + b * cos) as f32];
    }
}

fn negate(x: &mut [f32], count: usize) {
    x.iter_mut().take(count).for_each(|x| *x = -*x);
}

fn scale(x: &mut [f32], factor: f64) {
    x.iter_mut().for_each(|x| *x = (f64::from(*x) * factor) as f32);
}

fn angle(group: u32) -> f64 {
    f32_of(TAU * f64::from(group) / 12.0)
}

/// Applies the transform of `group` (0 to 11; others change nothing): 0 nothing; 1, 5, 7, 11 a
/// rotation by 2π·group/12; 2, 4, 8, 10 that and x₀ → −x₀; 3, 9 that and a scale of 1.1; 6
/// negates x₀ and x₁ only.
pub fn apply(x: &mut [f32], group: u32) {
    match group {
        1 | 5 | 7 | 11 => rotate(x, angle(group)),
        2 | 4 | 8 | 10 => {
            rotate(x, angle(group));
            negate(x, 1);
        }
        3 | 9 => {
            rotate(x, angle(group));
            scale(x, SCALE);
        }
        6 => negate(x, 2),
        _ => {}
    }
}

/// Undoes [`apply`].
pub fn apply_inverse(x: &mut [f32], group: u32) {
    match group {
        1 | 5 | 7 | 11 => rotate(x, -angle(group)),
        2 | 4 | 8 | 10 => {
            negate(x, 1);
            rotate(x, -angle(group));
        }
        3 | 9 => {
            scale(x, 1.0 / SCALE);
            rotate(x, -angle(group));
        }
        6 => negate(x, 2),
        _ => {}
    }
}

/// Length, Σ|x|, parity of the negative components (±1), max|x|, Σx², Σx³, Σx⁴, Σx⁵.
pub fn invariants(x: &[f32]) -> [f32; 8] {
    let power = |n: i32| x.iter().map(|&x| f64::from(x).powi(n)).sum::<f64>() as f32;
    let negative = x.iter().filter(|&&x| x < 0.0).count();
    let sum: f64 = x.iter().map(|&x| f64::from(x).abs()).sum();
    [
        norm(x) as f32,
        sum as f32,
        if negative % 2 == 0 { 1.0 } else { -1.0 },
        x.iter().fold(0.0, |m, &x| x.abs().max(m)),
        power(2),
        power(3),
        power(4),
        power(5),
    ]
}

/// How well two vectors agree after the transforms of their groups: (cosine + 1)/2, or 0 where one
/// is shorter than 1e-8.
pub fn compatibility(a: (&[f32], u32), b: (&[f32], u32)) -> cllm_engine::error::Result<f32> {
    let transformed = |(x, group): (&[f32], u32)| {
        let mut copy = cllm_kernels::memory::copied("a copy of a vector", x)?;
        apply(&mut copy, group);
        Ok::<_, cllm_kernels::Error>(copy)
    };
    Ok(super::embedding::similarity(&transformed(a)?, &transformed(b)?))
}

/// The attention weight between two groups, taken mod 12: 1/(1 + d/2) with d the hours between
/// them, at most 6.
pub fn attention(a: i32, b: i32) -> f32 {
    let distance = a.rem_euclid(12).abs_diff(b.rem_euclid(12));
    let distance = distance.min(12 - distance);
    (1.0 / (1.0 + 0.5 * f64::from(distance))) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(got: &[f32], want: &[f64]) {
        assert_eq!(got.len(), want.len());
        for (g, w) in got.iter().zip(want) {
            assert!((f64::from(*g) - w).abs() <= 1e-6 * w.abs().max(1.0), "{got:?} {want:?}");
        }
    }

    #[test]
    fn the_reference() {
        for (group, want) in [
            (0, [1.0, 2.0, 3.0]),
            (1, [-0.133975, 2.232051, 3.0]),
            (2, [1.232051, 1.866025, 3.0]),
            (3, [-2.2, 1.1, 3.3]),
            (6, [-1.0, -2.0, 3.0]),
            (12, [1.0, 2.0, 3.0]),
        ] {
            let mut x = [1.0, 2.0, 3.0];
            apply(&mut x, group);
            near(&x, &want);
        }
        near(
            &invariants(&[1.0, -2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]),
            &[14.28286, 36.0, -1.0, 8.0, 204.0, 1280.0, 8772.0, 61712.0],
        );
    }

    #[test]
    fn inverses_undo() {
        for group in 0..14 {
            for dim in 0..7 {
                let x: Vec<f32> = (0..dim).map(|i| (i as f32 - 2.3) * 1.7).collect();
                let mut y = x.clone();
                apply(&mut y, group);
                if dim > 1 && (1..12).contains(&group) {
                    assert_ne!(x, y);
                }
                apply_inverse(&mut y, group);
                near(&y, &x.iter().map(|&x| f64::from(x)).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn one_component_is_reflected_and_scaled_but_not_rotated() {
        for (group, want) in [(1, 2.0), (2, -2.0), (3, 2.2), (6, -2.0)] {
            let mut x = [2.0];
            apply(&mut x, group);
            near(&x, &[want]);
        }
    }

    #[test]
    fn attention_weights() {
        assert_eq!(attention(3, 3), 1.0);
        assert_eq!(attention(0, 6), 0.25);
        assert_eq!(attention(0, 11), attention(0, 1));
        assert_eq!(attention(0, 14), attention(0, 2));
        assert_eq!(attention(-1, 11), 1.0);
        assert_eq!(attention(i32::MIN, i32::MAX), attention(4, 7));
        assert!((attention(1, 4) - 0.4).abs() < 1e-7);
    }
}
