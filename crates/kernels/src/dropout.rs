//! Dropout (Srivastava et al., 2014) whose choices are a function of a key and of the place of a
//! value alone: the same for any number of threads, and made again instead of kept.

use crate::arch::simd;

/// The finaliser of MurmurHash3 (Appleby, 2008): every bit of the result depends on every bit of x.
#[inline(always)]
fn mix(x: u32) -> u32 {
    let x = (x ^ (x >> 16)).wrapping_mul(0x85EB_CA6B);
    let x = (x ^ (x >> 13)).wrapping_mul(0xC2B2_AE35);
    x ^ (x >> 16)
}

/// A number from the whole range for a place, fixed by the key.
#[inline(always)]
fn number(place: u32, key: u64) -> u32 {
    // The second half comes in between, so that the orders of two keys are not each other's shifted.
    mix(mix(place ^ key as u32).wrapping_add((key >> 32) as u32))
}

/// Which of 2³² numbers mean that a value is left out, and what the others are multiplied by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    below: u32,
    keep: f32,
}

impl Rate {
    /// For a share of 0 to below 1 that is left out; `None` for any other number, and for 0.
    pub fn new(share: f32) -> Option<Self> {
        if !(share > 0.0 && share < 1.0) {
            return None;
        }
        let below = (f64::from(share) * 4_294_967_296.0) as u32;
        Some(Self { below, keep: (1.0 / (1.0 - f64::from(share))) as f32 })
    }
}

simd! {
    /// x_i becomes 0 or x_i/(1 − share); its place is `first` + i, modulo 2³².
    pub fn apply(x: &mut [f32], first: usize, key: u64, rate: Rate) {
        for (i, x) in x.iter_mut().enumerate() {
            let place = (first as u32).wrapping_add(i as u32);
            let factor = if number(place, key) < rate.below { 0.0 } else { rate.keep };
            *x *= factor;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(n: usize, first: usize, key: u64, share: f32) -> Vec<f32> {
        let mut x = vec![1.0; n];
        apply(&mut x, first, key, Rate::new(share).unwrap());
        x
    }

    #[test]
    fn the_share_and_the_mean_are_right() {
        for share in [0.1, 0.5, 0.9] {
            let x = mask(100_000, 0, 77, share);
            let zeros = x.iter().filter(|&&x| x == 0.0).count() as f64 / 1e5;
            assert!((zeros - f64::from(share)).abs() < 0.006, "{zeros}");
            let kept = x.iter().find(|&&x| x != 0.0).unwrap();
            assert!((kept * (1.0 - share) - 1.0).abs() < 1e-6);
        }
        for share in [0.0, -1.0, 1.0, 2.0, f32::NAN] {
            assert_eq!(Rate::new(share), None);
        }
    }

    #[test]
    fn pieces_are_parts_of_the_whole() {
        let whole = mask(1000, 5, 3, 0.3);
        for cut in [1, 17, 999] {
            let mut pieces = mask(cut, 5, 3, 0.3);
            pieces.extend(mask(1000 - cut, 5 + cut, 3, 0.3));
            assert_eq!(pieces, whole);
        }
    }

    #[test]
    fn keys_and_places_are_independent() {
        let share = 0.5;
        let agree = |a: &[f32], b: &[f32]| {
            a.iter().zip(b).filter(|(a, b)| a == b).count() as f64 / a.len() as f64
        };
        let one = mask(40_000, 0, 1, share);
        for key in [2, 3, 1 << 32 | 1, 1 << 63, u64::MAX] {
            let other = mask(40_000, 0, key, share);
            assert!((agree(&one, &other) - 0.5).abs() < 0.015, "key {key}");
        }
        for step in [1, 2, 128, 4096] {
            assert!((agree(&one[step..], &one[..40_000 - step]) - 0.5).abs() < 0.015, "{step}");
        }
    }
}
