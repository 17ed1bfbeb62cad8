//! Choosing the next token from its logits.

use crate::rng::Rng;
use cllm_kernels::cross_entropy::softmax;
use rand::RngExt;
use std::cmp::Ordering;

/// How a token is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Divides the logits; 0 or less: always the likeliest token.
    pub temperature: f32,
    /// Only the k likeliest tokens; 0: all. 1: always the likeliest.
    pub top_k: usize,
    /// Nucleus: the likeliest tokens whose probabilities reach this sum; outside (0, 1): all.
    pub top_p: f32,
    /// Only tokens at least this fraction as likely as the likeliest; 0 or less: all.
    pub min_p: f32,
    /// Above 1: tokens already in the sequence become less likely; 0 or 1: off.
    pub repetition_penalty: f32,
}

impl Settings {
    fn greedy(&self) -> bool {
        self.temperature <= 0.0 || self.top_k == 1
    }
}

/// One token with its probability.
type Candidate = (f32, u32);

/// Memory of [`choose`], used again from call to call.
#[derive(Debug, Default)]
pub struct Scratch {
    candidates: Vec<Candidate>,
}

/// Likelier first; of equals the lower id.
fn order(a: &Candidate, b: &Candidate) -> Ordering {
    b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
}

/// Index of the largest value, the first of equals; NaN never wins. 0 where there is none.
pub fn argmax(values: &[f32]) -> usize {
    let mut best = (f32::NEG_INFINITY, 0);
    for (i, &value) in values.iter().enumerate() {
        if value > best.0 {
            best = (value, i);
        }
    }
    best.1
}

/// Lowers the logits of tokens that the sequence already holds: positive ones are divided,
/// negative ones multiplied (Keskar et al., "CTRL", 2019).
pub fn penalise(logits: &mut [f32], sequence: &[u32], penalty: f32) {
    if penalty.is_nan() || penalty <= 0.0 || penalty == 1.0 {
        return;
    }
    for (i, &id) in sequence.iter().enumerate() {
        if sequence[..i].contains(&id) {
            continue;
        }
        if let Some(x) = logits.get_mut(id as usize) {
            *x = if *x > 0.0 { *x / penalty } else { *x * penalty };
        }
    }
}

/// Turns `logits` in place into the distribution that is drawn from (tokens left out have
/// probability 0; greedy: one-hot) and draws from it.
pub fn choose(
    logits: &mut [f32],
    settings: &Settings,
    rng: &mut Rng,
    scratch: &mut Scratch,
) -> usize {
    if settings.greedy() || logits.len() < 2 {
        let best = argmax(logits);
        logits.fill(0.0);
        if let Some(x) = logits.get_mut(best) {
            *x = 1.0;
        }
        return best;
    }
    if settings.temperature.is_finite() {
        let inverse = 1.0 / settings.temperature;
        logits.iter_mut().for_each(|x| *x *= inverse);
    }
    softmax(logits);
    if logits.iter().any(|p| !p.is_finite()) {
        // Logits without a usable distribution: all tokens are alike.
        logits.fill(1.0 / logits.len() as f32);
    }
    select(logits, settings, scratch);
    draw(logits, rng.random::<f64>())
}

/// Keeps the tokens that the settings allow and makes their probabilities sum to 1.
fn select(probabilities: &mut [f32], settings: &Settings, scratch: &mut Scratch) {
    let n = probabilities.len();
    let k = if settings.top_k == 0 { n } else { settings.top_k.min(n) };
    let nucleus = settings.top_p > 0.0 && settings.top_p < 1.0;
    let floor = settings.min_p > 0.0;
    if k == n && !nucleus && !floor {
        return;
    }
    let candidates = &mut scratch.candidates;
    candidates.clear();
    candidates.extend(probabilities.iter().zip(0..).map(|(&p, id)| (p, id)));
    if k < n {
        candidates.select_nth_unstable_by(k, order);
        candidates.truncate(k);
    }
    if nucleus {
        keep_nucleus(candidates, settings.top_p);
    }
    if floor {
        let best = candidates.iter().map(|c| c.0).fold(0.0, f32::max);
        candidates.retain(|c| c.0 >= settings.min_p.min(1.0) * best);
    }
    let total: f64 = candidates.iter().map(|c| f64::from(c.0)).sum();
    probabilities.fill(0.0);
    for (p, id) in candidates.iter() {
        probabilities[*id as usize] = (f64::from(*p) / total) as f32;
    }
}

/// The smallest set of likeliest candidates whose share of the candidates' total reaches `top_p`
/// (Holtzman et al., "The Curious Case of Neural Text Degeneration", 2020).
fn keep_nucleus(candidates: &mut Vec<Candidate>, top_p: f32) {
    let total: f64 = candidates.iter().map(|c| f64::from(c.0)).sum();
    let wanted = f64::from(top_p) * total;
    // Mostly a few tokens hold the mass: sort growing heads instead of everything.
    let mut head = 64;
    loop {
        let n = candidates.len();
        if head < n {
            candidates.select_nth_unstable_by(head, order);
        } else {
            head = n;
        }
        candidates[..head].sort_unstable_by(order);
        let mut sum = 0.0;
        let reached = candidates[..head].iter().position(|c| {
            sum += f64::from(c.0);
            sum >= wanted
        });
        if let Some(last) = reached {
            candidates.truncate(last + 1);
            return;
        }
        if head == n {
            return;
        }
        head *= 4;
    }
}

/// The index at which the running sum of `weights` passes `u` (0 ≤ u < 1) of their total; never
/// one whose weight is 0. The likeliest where nothing is positive.
pub fn draw(weights: &[f32], u: f64) -> usize {
    let positive = |w: f32| if w > 0.0 { f64::from(w) } else { 0.0 };
    let total: f64 = weights.iter().map(|&w| positive(w)).sum();
    if !(total > 0.0 && total.is_finite()) {
        return argmax(weights);
    }
    let target = u * total;
    let (mut sum, mut last) = (0.0, 0);
    for (i, &w) in weights.iter().enumerate() {
        if w > 0.0 {
            sum += f64::from(w);
            last = i;
            if sum > target {
                return i;
            }
        }
    }
    last
}

/// One draw among the k most probable (k outside 1..n: all); `probabilities` need not sum to 1.
pub fn draw_top_k(probabilities: &[f32], k: usize, u: f64, scratch: &mut Scratch) -> usize {
    let settings = Settings { top_k: k, ..Settings::plain() };
    draw_selected(probabilities, &settings, u, scratch)
}

/// One draw from the nucleus of mass `p`; p ≤ 0: the most probable; p ≥ 1: from all.
pub fn draw_top_p(probabilities: &[f32], p: f32, u: f64, scratch: &mut Scratch) -> usize {
    if p <= 0.0 {
        return argmax(probabilities);
    }
    let settings = Settings { top_p: p, ..Settings::plain() };
    draw_selected(probabilities, &settings, u, scratch)
}

fn draw_selected(p: &[f32], settings: &Settings, u: f64, scratch: &mut Scratch) -> usize {
    if !p.iter().any(|&p| p > 0.0) || p.iter().any(|p| !p.is_finite()) {
        return argmax(p);
    }
    let mut kept: Vec<f32> = p.iter().map(|&p| p.max(0.0)).collect();
    select(&mut kept, settings, scratch);
    draw(&kept, u)
}

impl Settings {
    /// The whole distribution at temperature 1.
    pub const fn plain() -> Self {
        Self { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0, repetition_penalty: 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::seeded;

    fn distribution(logits: &[f32], settings: Settings) -> Vec<f32> {
        let mut p = logits.to_vec();
        choose(&mut p, &settings, &mut seeded(1), &mut Scratch::default());
        p
    }

    #[test]
    fn nucleus_takes_the_likeliest() {
        let logits: Vec<f32> = [0.1f32, 0.2, 0.3, 0.4].iter().map(|p| p.ln()).collect();
        let p = distribution(&logits, Settings { top_p: 0.3, ..Settings::plain() });
        assert_eq!(p, [0.0, 0.0, 0.0, 1.0]);
        let p = distribution(&logits, Settings { top_p: 0.5, ..Settings::plain() });
        assert!((p[2] - 3.0 / 7.0).abs() < 1e-5 && (p[3] - 4.0 / 7.0).abs() < 1e-5, "{p:?}");
        assert_eq!(&p[..2], [0.0, 0.0]);
    }

    #[test]
    fn top_k_then_nucleus() {
        let logits: Vec<f32> = [0.1f32, 0.2, 0.3, 0.4].iter().map(|p| p.ln()).collect();
        let p = distribution(&logits, Settings { top_k: 2, ..Settings::plain() });
        assert_eq!(&p[..2], [0.0, 0.0]);
        // Of the two left, 4/7 reaches one half.
        let p = distribution(&logits, Settings { top_k: 2, top_p: 0.5, ..Settings::plain() });
        assert_eq!(p, [0.0, 0.0, 0.0, 1.0]);
        let p = distribution(&logits, Settings { min_p: 0.6, ..Settings::plain() });
        assert_eq!(&p[..2], [0.0, 0.0]);
        assert!(p[2] > 0.0);
    }

    #[test]
    fn large_nucleus_is_exact() {
        let n = 5000;
        let logits: Vec<f32> = (0..n).map(|i| ((i * 7919) % n) as f32 * 1e-4).collect();
        let p = distribution(&logits, Settings { top_p: 0.7, ..Settings::plain() });
        let kept = p.iter().filter(|&&p| p > 0.0).count();
        let mut all = distribution(&logits, Settings::plain());
        all.sort_by(|a, b| b.total_cmp(a));
        let mass: f64 = all[..kept].iter().map(|&p| f64::from(p)).sum();
        let without: f64 = all[..kept - 1].iter().map(|&p| f64::from(p)).sum();
        assert!(mass >= 0.7 - 1e-6 && without < 0.7 + 1e-6, "{kept} {mass} {without}");
    }

    #[test]
    fn draws_follow_the_distribution() {
        let logits = [1.0f32, 2.0, 0.0, f32::NEG_INFINITY];
        let expected = distribution(&logits, Settings::plain());
        let mut rng = seeded(2);
        let mut counts = [0usize; 4];
        for _ in 0..20_000 {
            let mut l = logits;
            counts[choose(&mut l, &Settings::plain(), &mut rng, &mut Scratch::default())] += 1;
        }
        for (count, p) in counts.iter().zip(expected) {
            assert!((*count as f64 / 20_000.0 - f64::from(p)).abs() < 0.015, "{counts:?}");
        }
        assert_eq!(counts[3], 0);
    }

    #[test]
    fn greedy_and_degenerate() {
        let mut rng = seeded(3);
        let scratch = &mut Scratch::default();
        let greedy = Settings { temperature: 0.0, ..Settings::plain() };
        let mut l = [1.0, 5.0, 5.0, 2.0];
        assert_eq!(choose(&mut l, &greedy, &mut rng, scratch), 1);
        assert_eq!(l, [0.0, 1.0, 0.0, 0.0]);
        let mut l = [f32::NAN; 3];
        assert!(choose(&mut l, &Settings::plain(), &mut rng, scratch) < 3);
        assert_eq!(draw(&[0.0, 0.0], 0.5), 0);
        assert_eq!(draw(&[0.0, 0.0, 0.1, 0.9], 0.999_999_9), 3);
        assert_eq!(draw(&[0.0, 1.0, 0.0], 0.0), 1);
        assert_eq!(draw_top_k(&[0.0, 0.0, 0.1, 0.9], 1, 0.3, scratch), 3);
        assert_eq!(draw_top_p(&[0.1, 0.2, 0.3, 0.4], 0.3, 0.99, scratch), 3);
    }

    #[test]
    fn repetition_penalty() {
        let mut l = [2.0, -2.0, 1.0];
        penalise(&mut l, &[0, 1, 0, 9], 2.0);
        assert_eq!(l, [1.0, -4.0, 1.0]);
        penalise(&mut l, &[2], 1.0);
        penalise(&mut l, &[2], 0.0);
        penalise(&mut l, &[2], f32::NAN);
        assert_eq!(l, [1.0, -4.0, 1.0]);
    }
}
