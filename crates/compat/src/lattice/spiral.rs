//! Where a prime and a token lie: the golden-angle spiral, the lattice, the 12-hour clock.

use super::{GOLDEN_RATIO, f32_of, primes, squared_distance};
use cllm_engine::error::{Error, Result};
use cllm_engine::order::first_by;
use cllm_kernels::memory::{filled, reserve};
use std::f64::consts::TAU;

/// The golden angle 2π/φ² in single precision, 2.3999631.
pub fn golden_angle() -> f64 {
    f32_of(TAU / (GOLDEN_RATIO * GOLDEN_RATIO))
}

/// `angle` reduced to [0, 2π), in single precision.
fn turn(angle: f64) -> f32 {
    let reduced = angle.rem_euclid(TAU) as f32;
    // The float nearest to 2π is above it.
    if f64::from(reduced) < TAU { reduced } else { (TAU as f32).next_down() }
}

/// Angle and radius of `prime` on the spiral: with n primes below it the radius is √n and the
/// angle n golden angles. An error beyond [`cllm_engine::limits::MAX_COUNTED_BELOW`].
pub fn position(prime: u64) -> Result<(f32, f32)> {
    Ok(nth_position(primes::count_below(prime)?))
}

/// [`position`] of a prime with `n` primes below it.
pub fn nth_position(n: u64) -> (f32, f32) {
    let n = n as f64;
    (turn(f32_of(golden_angle() * n)), n.sqrt() as f32)
}

/// Coordinates of a token: its prime's spiral position with height ln(p + 1), moved a little by
/// its id.
pub fn map_token(id: u32, prime: u64) -> Result<[f32; 3]> {
    Ok(map_nth_token(id, prime, primes::count_below(prime)?))
}

/// [`map_token`] for a prime with `n` primes below it.
pub fn map_nth_token(id: u32, prime: u64, n: u64) -> [f32; 3] {
    let (angle, radius) = nth_position(n);
    place(id, prime, f64::from(angle), f64::from(radius)).map(|x| x as f32)
}

/// The same in double precision, with an angle that was not rounded on the way: for formulas that
/// take multiples of the coordinates, which multiply the rounding too.
pub fn precise_nth_token(id: u32, prime: u64, n: u64) -> [f64; 3] {
    let n = n as f64;
    place(id, prime, TAU / (GOLDEN_RATIO * GOLDEN_RATIO) * n, n.sqrt())
}

fn place(id: u32, prime: u64, angle: f64, radius: f64) -> [f64; 3] {
    let offset = f32_of(TAU * f64::from(id) / 1000.0);
    [
        radius * angle.cos() + 0.1 * offset.cos(),
        radius * angle.sin() + 0.1 * offset.sin(),
        (prime as f64 + 1.0).ln() + 0.1 * (GOLDEN_RATIO * offset).sin(),
    ]
}

/// Where a prime lies on the clock of 12 hours: coordinates, angle, radius.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClockPoint {
    /// x, y on the circle; z = ln p / ln φ.
    pub coords: [f32; 3],
    /// 2π(p mod 12)/12.
    pub angle: f32,
    /// φ^(log₂ p).
    pub radius: f32,
}

/// The clock point of `prime`; an error for 0.
pub fn clock_point(prime: u64) -> Result<ClockPoint> {
    if prime == 0 {
        return Err(Error::argument("prime", prime, "1 or more"));
    }
    let p = prime as f64;
    let angle = f32_of(TAU * (prime % 12) as f64 / 12.0);
    let radius = GOLDEN_RATIO.powf(p.log2());
    Ok(ClockPoint {
        coords: [
            (radius * angle.cos()) as f32,
            (radius * angle.sin()) as f32,
            (p.ln() / GOLDEN_RATIO.ln()) as f32,
        ],
        angle: angle as f32,
        radius: radius as f32,
    })
}

/// The ids of the `k` tokens nearest to token (`id`, `prime`), nearest first, ties in the order of
/// `ids`; tokens with the same id don't count. What is missing to min(k, number of tokens) is
/// filled with `id`.
pub fn nearest_tokens(
    (id, prime): (u32, u64),
    ids: &[u32],
    primes: &[u64],
    k: usize,
) -> Result<Vec<u32>> {
    let from = map_token(id, prime)?;
    let mut found: Vec<(f64, usize, u32)> = Vec::new();
    reserve("the distances", &mut found, ids.len())?;
    for (index, (&other, &other_prime)) in ids.iter().zip(primes).enumerate() {
        if other != id {
            let to = map_token(other, other_prime)?;
            found.push((squared_distance(&from, &to), index, other));
        }
    }
    let nearer = |a: &(f64, usize, u32), b: &(f64, usize, u32)| {
        a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1))
    };
    let wanted = k.min(ids.len());
    first_by(&mut found, wanted, nearer);
    let mut nearest = filled("the neighbours", wanted)?;
    nearest.fill(id);
    for (slot, (_, _, other)) in nearest.iter_mut().zip(found) {
        *slot = other;
    }
    Ok(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(got: &[f32], want: &[f64]) {
        assert_eq!(got.len(), want.len());
        for (g, w) in got.iter().zip(want) {
            assert!((f64::from(*g) - w).abs() <= 1.5e-6, "{got:?} {want:?}");
        }
    }

    #[test]
    fn positions_of_the_reference() {
        for (p, angle, radius) in [
            (0, 0.0, 0.0),
            (1, 0.0, 0.0),
            (2, 0.0, 0.0),
            (3, 2.399963, 1.0),
            (4, 4.799926, 2f64.sqrt()),
            (5, 4.799926, 2f64.sqrt()),
            (101, 3.450409, 5.0),
        ] {
            let (a, r) = position(p).unwrap();
            near(&[a, r], &[angle, radius]);
        }
        near(&map_token(5, 3).unwrap(), &[-0.637418, 0.678631, 1.391375]);
        near(&map_token(5, 101).unwrap(), &[-4.663519, -1.516515, 4.630054]);
        let point = clock_point(7).unwrap();
        near(&point.coords, &[-3.343745, -1.930512, 4.043770]);
        near(&[point.angle, point.radius], &[3.665191, 3.861024]);
    }

    #[test]
    fn clock_edges() {
        let one = clock_point(1).unwrap();
        assert_eq!((one.radius, one.coords[2]), (1.0, 0.0));
        assert!(clock_point(0).is_err());
        let huge = clock_point(u64::MAX).unwrap();
        assert!(huge.coords.iter().all(|x| x.is_finite()) && huge.radius > 1e13);
    }

    #[test]
    fn large_primes_end_and_stay_in_the_turn() {
        for p in [1_000_003, 2_000_000_011, 999_999_999_989] {
            let (angle, radius) = position(p).unwrap();
            assert!((0.0..TAU).contains(&f64::from(angle)), "{angle}");
            let n = primes::count_below(p).unwrap() as f64;
            assert!((f64::from(radius) / n.sqrt() - 1.0).abs() < 1e-7);
        }
        assert!(position(u64::MAX).is_err());
        for n in 0..200_000 {
            let (angle, _) = nth_position(n);
            assert!((0.0..TAU).contains(&f64::from(angle)), "{n}: {angle}");
        }
    }

    #[test]
    fn neighbours() {
        let ids = [1, 2, 3, 2, 9];
        let primes = [2, 3, 5, 7, 11];
        // Everything but the query itself, then the query for what is missing.
        let all = nearest_tokens((9, 11), &ids, &primes, 10).unwrap();
        assert_eq!(all.len(), 5);
        assert_eq!(all[4], 9);
        let mut expected: Vec<_> = (0..4)
            .map(|i| {
                let a = map_token(9, 11).unwrap();
                let b = map_token(ids[i], primes[i]).unwrap();
                (super::super::distance(&a, &b), i)
            })
            .collect();
        expected.sort_by(|a, b| a.partial_cmp(b).unwrap());
        let expected: Vec<_> = expected.iter().map(|&(_, i)| ids[i]).collect();
        assert_eq!(all[..4], expected);
        for k in 0..5 {
            assert_eq!(nearest_tokens((9, 11), &ids, &primes, k).unwrap(), all[..k]);
        }
        // Ties go to the lower index.
        assert_eq!(nearest_tokens((5, 2), &[8, 1008], &[3, 3], 1).unwrap().len(), 1);
        assert!(nearest_tokens((1, 2), &[], &[], 3).unwrap().is_empty());
        assert!(nearest_tokens((1, 2), &[2], &[u64::MAX], 3).is_err());
    }
}
