//! How alike two tokens are by their numbers: common divisors, and distance on the spiral.

use super::f32_of;

/// The golden angle, as the formula writes it.
const ANGLE: f32 = 2.399_963_2;

/// gcd(a, b)/max(a, b); 0 if either is 0.
pub fn by_divisors(a: u64, b: u64) -> f64 {
    if a == 0 || b == 0 {
        return 0.0;
    }
    let (mut divisor, mut rest) = (a, b);
    while rest != 0 {
        (divisor, rest) = (rest, divisor % rest);
    }
    divisor as f64 / a.max(b) as f64
}

/// (√i·cos θ, √i·sin θ, ln(i+1)), where θ is i golden angles in single precision.
fn place(i: u64) -> [f64; 3] {
    let n = i as f64;
    let (radius, angle) = (n.sqrt(), f32_of(f32_of(n) * f64::from(ANGLE)));
    [radius * angle.cos(), radius * angle.sin(), n.ln_1p()]
}

/// −ln of 0.7·[`by_divisors`] + 0.3/(1 + δ), where δ is the distance of the two tokens' places; both
/// counted from 1.
pub fn loss(input: u32, target: u32) -> f64 {
    let (a, b) = (u64::from(input) + 1, u64::from(target) + 1);
    let (p, q) = (place(a), place(b));
    let distance = p.iter().zip(&q).map(|(p, q)| (p - q).powi(2)).sum::<f64>().sqrt();
    let alike = 0.7 * by_divisors(a, b) + 0.3 / (1.0 + distance);
    -alike.max(1e-10).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divisors() {
        for (a, b, want) in
            [(12, 18, 1.0 / 3.0), (0, 5, 0.0), (7, 7, 1.0), (17, 34, 0.5), (100, 75, 0.25)]
        {
            assert!((by_divisors(a, b) - want).abs() < 1e-12, "{a} {b}");
        }
        assert_eq!(by_divisors(u64::MAX, 0), 0.0);
    }

    #[test]
    fn recorded_losses() {
        for (a, b, want) in [
            (0, 0, 0.0),
            (0, 1, 0.818371),
            (5, 11, 0.911405),
            (99, 199, 0.995655),
            (998, 3, 4.574248),
            (41, 42, 3.241909),
            (500, 999, 5.047432),
        ] {
            assert!((loss(a, b) - want).abs() < 1e-6 * (1.0 + want), "{a} {b}: {}", loss(a, b));
        }
        assert!(loss(u32::MAX, 0).is_finite());
    }
}
