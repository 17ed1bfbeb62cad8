//! What is computed from rows of logits: probabilities, losses, accuracy. Sums run in f64. These
//! serve single calls; training's fused loss is in `kernels::cross_entropy`.

use cllm_engine::error::{Error, Result};

/// Added to a probability before its logarithm is taken.
const TINY: f64 = 1e-8;

/// The softmax of one row, without storing it.
struct Softmax {
    max: f64,
    sum: f64,
}

impl Softmax {
    /// Without any finite logit every one counts the same; infinite logits share all of the
    /// probability. NaN makes every probability NaN.
    fn new(logits: &[f32]) -> Self {
        let max = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let mut softmax = Self { max, sum: 0.0 };
        softmax.sum = logits.iter().map(|&x| softmax.weight(x)).sum();
        softmax
    }

    fn weight(&self, x: f32) -> f64 {
        if self.max.is_finite() || x.is_nan() {
            (f64::from(x) - self.max).exp()
        } else {
            f64::from(f64::from(x) == self.max)
        }
    }

    fn probability(&self, x: f32) -> f64 {
        self.weight(x) / self.sum
    }
}

/// x = softmax(x): e^(x−max)/Σ. An error, with `x` untouched, where a logit is NaN.
pub fn softmax(x: &mut [f32]) -> Result<()> {
    if x.iter().any(|x| x.is_nan()) {
        return Err(Error::shape("a logit is NaN"));
    }
    let softmax = Softmax::new(x);
    for x in x {
        *x = softmax.probability(*x) as f32;
    }
    Ok(())
}

/// Divides by the temperature, held to 0.1..2; NaN changes nothing.
pub fn apply_temperature(logits: &mut [f32], temperature: f32) {
    if temperature.is_nan() {
        return;
    }
    let temperature = temperature.clamp(0.1, 2.0);
    for x in logits {
        *x /= temperature;
    }
}

fn bad_target(target: usize, vocab: usize) -> Error {
    Error::shape(format!("target is {target} but there are {vocab} logits"))
}

/// −ln(p_target + 1e-8).
pub fn cross_entropy(logits: &[f32], target: usize) -> Result<f64> {
    let &logit = logits.get(target).ok_or_else(|| bad_target(target, logits.len()))?;
    Ok(-(Softmax::new(logits).probability(logit) + TINY).ln())
}

/// Turns logits into softmax − onehot(target).
pub fn loss_gradient(logits: &mut [f32], target: usize) -> Result<()> {
    if target >= logits.len() {
        return Err(bad_target(target, logits.len()));
    }
    let softmax = Softmax::new(logits);
    for (i, x) in logits.iter_mut().enumerate() {
        let hit = f64::from(i == target);
        *x = (softmax.probability(*x) - hit) as f32;
    }
    Ok(())
}

/// The mean cross-entropy over all rows of `vocab` logits; a row whose target is out of range adds
/// 0 but counts.
pub fn mean_cross_entropy(logits: &[f32], vocab: usize, targets: &[u32]) -> f64 {
    let rows = logits.chunks_exact(vocab.max(1)).zip(targets);
    let losses = rows.map(|(row, &target)| cross_entropy(row, target as usize).unwrap_or(0.0));
    losses.sum::<f64>() / targets.len().max(1) as f64
}

/// Cross-entropy against the target mixed with the uniform distribution:
/// −Σ q·ln(p + 1e-8) with q = s/V, plus 1 − s at the target.
pub fn label_smoothing(logits: &[f32], target: usize, smoothing: f32) -> Result<f64> {
    if target >= logits.len() {
        return Err(bad_target(target, logits.len()));
    }
    let softmax = Softmax::new(logits);
    let smoothing = f64::from(smoothing);
    let share = smoothing / logits.len() as f64;
    let loss = |(i, &x): (usize, &f32)| {
        let q = if i == target { share + (1.0 - smoothing) } else { share };
        -q * (softmax.probability(x) + TINY).ln()
    };
    Ok(logits.iter().enumerate().map(loss).sum())
}

/// KL(q ‖ softmax) = Σ over q > 1e-8 of q·ln((q + 1e-8)/(p + 1e-8)).
pub fn kl_divergence(logits: &[f32], distribution: &[f32]) -> f64 {
    let softmax = Softmax::new(logits);
    let term = |(&x, &q): (&f32, &f32)| {
        let q = f64::from(q);
        // NaN stays visible in the sum.
        if q <= TINY { 0.0 } else { q * ((q + TINY) / (softmax.probability(x) + TINY)).ln() }
    };
    logits.iter().zip(distribution).map(term).sum()
}

/// The fraction of rows whose target is among the `k` largest logits (ties: lower index first).
/// Targets out of range are misses.
pub fn top_k_accuracy(logits: &[f32], vocab: usize, targets: &[u32], k: usize) -> f64 {
    let hit = |row: &[f32], target: usize| {
        let Some(&logit) = row.get(target) else {
            return false;
        };
        let ahead = |&(i, &x): &(usize, &f32)| x > logit || (x == logit && i < target);
        k >= vocab || (!logit.is_nan() && row.iter().enumerate().filter(ahead).count() < k)
    };
    let rows = logits.chunks_exact(vocab.max(1)).zip(targets);
    let hits = rows.filter(|&(row, &target)| hit(row, target as usize));
    hits.count() as f64 / targets.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use cllm_engine::rng;

    fn plain(logits: &[f32]) -> Vec<f64> {
        let e: Vec<f64> = logits.iter().map(|&x| f64::from(x).exp()).collect();
        let sum: f64 = e.iter().sum();
        e.iter().map(|e| e / sum).collect()
    }

    fn random(n: usize, seed: u64) -> Vec<f32> {
        let mut out = vec![0.0; n];
        rng::fill_normal(&mut rng::seeded(seed), &mut out, 4.0);
        out
    }

    #[test]
    fn softmax_agrees_with_the_plain_formula() {
        for n in [1, 2, 7, 300] {
            let logits = random(n, n as u64);
            let mut x = logits.clone();
            softmax(&mut x).unwrap();
            for (got, want) in x.iter().zip(plain(&logits)) {
                assert!((f64::from(*got) - want).abs() < 1e-7);
            }
        }
        let mut x = [0.0, -1.0, -20.0];
        softmax(&mut x).unwrap();
        assert!((x[0] - 0.7310586).abs() < 1e-6 && x[2] > 0.0 && x[2] < 2e-9);
    }

    #[test]
    fn softmax_without_finite_logits() {
        const INF: f32 = f32::INFINITY;
        let mut x = [-INF; 4];
        softmax(&mut x).unwrap();
        assert_eq!(x, [0.25; 4]);
        let mut x = [1.0, -INF, 1.0];
        softmax(&mut x).unwrap();
        assert_eq!(x, [0.5, 0.0, 0.5]);
        let mut x = [1.0, INF, -INF, INF];
        softmax(&mut x).unwrap();
        assert_eq!(x, [0.0, 0.5, 0.0, 0.5]);
        let mut x = [1.0, f32::NAN];
        assert!(softmax(&mut x).is_err());
        assert_eq!(x[0], 1.0);
        let mut x = [1000.0, 999.0, -1000.0];
        softmax(&mut x).unwrap();
        assert!((x[0] - 0.7310586).abs() < 1e-6 && x[2] == 0.0);
        softmax(&mut []).unwrap();
    }

    #[test]
    fn losses_agree_with_the_plain_formulas() {
        for n in [1usize, 2, 9, 200] {
            let logits = random(n, 77 + n as u64);
            let p = plain(&logits);
            let mut q: Vec<f32> = random(n, 5).iter().map(|x| x.abs()).collect();
            let total: f32 = q.iter().sum();
            q.iter_mut().for_each(|q| *q /= total);
            let kl: f64 = (q.iter().map(|&q| f64::from(q)).zip(&p))
                .filter(|(q, _)| *q > 1e-8)
                .map(|(q, p)| q * ((q + 1e-8) / (p + 1e-8)).ln())
                .sum();
            assert!((kl_divergence(&logits, &q) - kl).abs() < 1e-9);
            for t in [0, n / 2, n - 1] {
                let loss = -(p[t] + 1e-8).ln();
                assert!((cross_entropy(&logits, t).unwrap() - loss).abs() < 1e-9);
                let mut gradient = logits.clone();
                loss_gradient(&mut gradient, t).unwrap();
                for i in 0..n {
                    let want = p[i] - f64::from(i == t);
                    assert!((f64::from(gradient[i]) - want).abs() < 1e-7);
                }
                let s = 0.1f32;
                let smooth: f64 = (0..n)
                    .map(|i| {
                        let q =
                            f64::from(s) / n as f64 + if i == t { 1.0 - f64::from(s) } else { 0.0 };
                        -q * (p[i] + 1e-8).ln()
                    })
                    .sum();
                assert!((label_smoothing(&logits, t, s).unwrap() - smooth).abs() < 1e-9);
            }
        }
        // The defect of the C library: losses capped near 4.27 and infinite ones.
        let loss = cross_entropy(&[0.0, 10.0], 0).unwrap();
        assert!((loss - 10.0000454).abs() < 3e-4, "{loss}");
        let loss = cross_entropy(&[-1000.0, 1000.0], 0).unwrap();
        assert!((loss - 18.420681).abs() < 1e-5, "{loss}");
        assert!(cross_entropy(&[1.0], 1).is_err());
        assert!(loss_gradient(&mut [1.0], 1).is_err());
        assert!(label_smoothing(&[], 0, 0.1).is_err());
        assert!(cross_entropy(&[f32::NAN, 1.0], 1).unwrap().is_nan());
    }

    #[test]
    fn means_and_accuracy() {
        let logits = [1.0, 2.0, 2.0, 5.0, 5.0, 4.0];
        let loss = mean_cross_entropy(&logits, 3, &[1, 9]);
        assert!((loss - cross_entropy(&logits[..3], 1).unwrap() / 2.0).abs() < 1e-12);
        assert_eq!(mean_cross_entropy(&[], 3, &[]), 0.0);
        let accuracy = |targets: &[u32], k| top_k_accuracy(&logits, 3, targets, k);
        assert_eq!(accuracy(&[1, 0], 1), 1.0);
        assert_eq!(accuracy(&[2, 1], 1), 0.0);
        assert_eq!(accuracy(&[2, 1], 2), 1.0);
        assert_eq!(accuracy(&[0, 2], 2), 0.0);
        assert_eq!(accuracy(&[0, 3], 50), 0.5);
        assert_eq!(top_k_accuracy(&[-1e20, -2e20], 2, &[0], 1), 1.0);
        assert_eq!(top_k_accuracy(&[f32::NAN, 0.0], 2, &[0], 1), 0.0);
    }

    #[test]
    fn temperatures_are_held() {
        for (t, divisor) in [(0.0, 0.1), (-3.0, 0.1), (0.5, 0.5), (7.0, 2.0)] {
            let mut x = [3.0];
            apply_temperature(&mut x, t);
            assert_eq!(x, [3.0 / divisor]);
        }
        let mut x = [3.0];
        apply_temperature(&mut x, f32::NAN);
        assert_eq!(x, [3.0]);
    }
}
