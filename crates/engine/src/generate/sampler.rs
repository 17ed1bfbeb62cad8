//! Choosing the next token from its logits.

use super::GeneratorConfig;
use super::allowed::Allowed;
use crate::error::Result;
use crate::rng::{self, Rng};
use cllm_kernels::cross_entropy::softmax;
use rand::RngExt;
use std::cmp::Ordering;

/// One token with its probability.
pub(crate) type Candidate = (f32, u32);

/// Draws tokens: the random numbers, and memory that is used again from call to call.
#[derive(Clone, Debug)]
pub struct Sampler {
    pub(crate) rng: Rng,
    candidates: Vec<Candidate>,
    ids: Vec<u32>,
    allowed: Allowed,
}

/// Likelier first; of equals the lower id.
pub(crate) fn order(a: &Candidate, b: &Candidate) -> Ordering {
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

impl From<Rng> for Sampler {
    /// Draws that go on where `rng` stands.
    fn from(rng: Rng) -> Self {
        Self { rng, candidates: Vec::new(), ids: Vec::new(), allowed: Allowed::default() }
    }
}

impl Sampler {
    /// The draws that belong to `seed`.
    pub fn new(seed: u64) -> Self {
        rng::seeded(seed).into()
    }

    /// The token that follows `sequence` by its logits `[V]`, which become the distribution that it
    /// is drawn from: all of [`GeneratorConfig`].
    ///
    /// # Errors
    /// [`ErrorKind::State`](crate::ErrorKind::State) where no token may be drawn; no memory.
    pub fn next(
        &mut self,
        logits: &mut [f32],
        sequence: &[u32],
        config: &GeneratorConfig,
    ) -> Result<u32> {
        self.next_among(logits, sequence, config, None)
    }

    /// [`Sampler::next`] among the tokens that are `true` in a mask; an id behind its end is not.
    ///
    /// # Errors
    /// As [`Sampler::next`].
    pub fn next_among(
        &mut self,
        logits: &mut [f32],
        sequence: &[u32],
        config: &GeneratorConfig,
        mask: Option<&[bool]>,
    ) -> Result<u32> {
        let mut allowed = std::mem::take(&mut self.allowed);
        let token = allowed.set(logits.len(), config, mask).map(|()| {
            self.penalise(logits, sequence, config.repetition_penalty);
            self.choose_among(logits, config, &allowed)
        });
        self.allowed = allowed;
        token
    }

    /// Turns `logits` in place into the distribution that temperature, top-k, top-p and min-p leave
    /// (tokens left out have probability 0; greedy: one-hot) and draws from it. 0 where there are no
    /// logits.
    pub fn choose(&mut self, logits: &mut [f32], config: &GeneratorConfig) -> u32 {
        self.choose_among(logits, config, &Allowed::default())
    }

    /// [`Sampler::choose`] among some of the tokens.
    fn choose_among(
        &mut self,
        logits: &mut [f32],
        config: &GeneratorConfig,
        allowed: &Allowed,
    ) -> u32 {
        allowed.close(logits, f32::NEG_INFINITY);
        if config.always_likeliest() || logits.len() < 2 {
            let mut best = argmax(logits);
            if logits.get(best) == Some(&f32::NEG_INFINITY) {
                // None is likely: the first that may be drawn.
                best = (0..logits.len()).find(|&id| allowed.is_open(id)).unwrap_or(0);
            }
            logits.fill(0.0);
            if let Some(x) = logits.get_mut(best) {
                *x = 1.0;
            }
            return best as u32;
        }
        if config.temperature.is_finite() {
            let inverse = 1.0 / config.temperature;
            logits.iter_mut().for_each(|x| *x *= inverse);
        }
        softmax(logits);
        allowed.close(logits, 0.0); // its exponential of −∞ is tiny, not 0
        if logits.iter().any(|p| !p.is_finite()) {
            // Logits without a usable distribution: all tokens are alike.
            logits.fill(1.0);
            allowed.close(logits, 0.0);
            let alike = 1.0 / logits.iter().filter(|&&p| p > 0.0).count() as f32;
            logits.iter_mut().for_each(|p| *p *= alike);
        }
        self.select(logits, config);
        draw(logits, self.rng.random::<f64>()) as u32
    }

    /// One draw among the k most probable (k outside 1..n: all); `probabilities` need not sum to 1.
    pub fn top_k(&mut self, probabilities: &[f32], k: usize) -> u32 {
        self.draw(probabilities, &GeneratorConfig { top_k: k, ..Default::default() })
    }

    /// One draw from the nucleus of mass `p`; p ≤ 0: the most probable; p ≥ 1: from all.
    pub fn top_p(&mut self, probabilities: &[f32], p: f32) -> u32 {
        if p <= 0.0 {
            return argmax(probabilities) as u32;
        }
        self.draw(probabilities, &GeneratorConfig { top_p: p, ..Default::default() })
    }

    fn draw(&mut self, probabilities: &[f32], config: &GeneratorConfig) -> u32 {
        let p = probabilities;
        if !p.iter().any(|&p| p > 0.0) || p.iter().any(|p| !p.is_finite()) {
            return argmax(p) as u32;
        }
        let mut kept: Vec<f32> = p.iter().map(|&p| p.max(0.0)).collect();
        self.select(&mut kept, config);
        draw(&kept, self.rng.random::<f64>()) as u32
    }

    /// Lowers the logits of tokens that the sequence already holds: positive ones are divided,
    /// negative ones multiplied (Keskar et al., "CTRL", 2019).
    fn penalise(&mut self, logits: &mut [f32], sequence: &[u32], penalty: f32) {
        if penalty.is_nan() || penalty <= 0.0 || penalty == 1.0 {
            return;
        }
        // Each once, however often it occurs.
        self.ids.clear();
        self.ids.extend_from_slice(sequence);
        self.ids.sort_unstable();
        self.ids.dedup();
        for &id in &self.ids {
            if let Some(x) = logits.get_mut(id as usize) {
                *x = if *x > 0.0 { *x / penalty } else { *x * penalty };
            }
        }
    }

    /// Keeps the tokens that the settings allow and makes their probabilities sum to 1.
    fn select(&mut self, probabilities: &mut [f32], config: &GeneratorConfig) {
        let n = probabilities.len();
        let k = if config.top_k == 0 { n } else { config.top_k.min(n) };
        let nucleus = config.top_p > 0.0 && config.top_p < 1.0;
        let floor = config.min_p > 0.0;
        if k == n && !nucleus && !floor {
            return;
        }
        let candidates = &mut self.candidates;
        candidates.clear();
        candidates.extend(probabilities.iter().zip(0..).map(|(&p, id)| (p, id)));
        if k < n {
            candidates.select_nth_unstable_by(k, order);
            candidates.truncate(k);
        }
        if nucleus {
            keep_nucleus(candidates, config.top_p);
        }
        if floor {
            let best = candidates.iter().map(|c| c.0).fold(0.0, f32::max);
            candidates.retain(|c| c.0 >= config.min_p.min(1.0) * best);
        }
        let total: f64 = candidates.iter().map(|c| f64::from(c.0)).sum();
        probabilities.fill(0.0);
        for (p, id) in candidates.iter() {
            probabilities[*id as usize] = (f64::from(*p) / total) as f32;
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain() -> GeneratorConfig {
        GeneratorConfig::default()
    }

    fn distribution(logits: &[f32], config: GeneratorConfig) -> Vec<f32> {
        let mut p = logits.to_vec();
        Sampler::new(1).choose(&mut p, &config);
        p
    }

    #[test]
    fn nucleus_takes_the_likeliest() {
        let logits: Vec<f32> = [0.1f32, 0.2, 0.3, 0.4].iter().map(|p| p.ln()).collect();
        let p = distribution(&logits, GeneratorConfig { top_p: 0.3, ..plain() });
        assert_eq!(p, [0.0, 0.0, 0.0, 1.0]);
        let p = distribution(&logits, GeneratorConfig { top_p: 0.5, ..plain() });
        assert!((p[2] - 3.0 / 7.0).abs() < 1e-5 && (p[3] - 4.0 / 7.0).abs() < 1e-5, "{p:?}");
        assert_eq!(&p[..2], [0.0, 0.0]);
    }

    #[test]
    fn top_k_then_nucleus() {
        let logits: Vec<f32> = [0.1f32, 0.2, 0.3, 0.4].iter().map(|p| p.ln()).collect();
        let p = distribution(&logits, GeneratorConfig { top_k: 2, ..plain() });
        assert_eq!(&p[..2], [0.0, 0.0]);
        // Of the two left, 4/7 reaches one half.
        let p = distribution(&logits, GeneratorConfig { top_k: 2, top_p: 0.5, ..plain() });
        assert_eq!(p, [0.0, 0.0, 0.0, 1.0]);
        let p = distribution(&logits, GeneratorConfig { min_p: 0.6, ..plain() });
        assert_eq!(&p[..2], [0.0, 0.0]);
        assert!(p[2] > 0.0);
    }

    #[test]
    fn large_nucleus_is_exact() {
        let n = 5000;
        let logits: Vec<f32> = (0..n).map(|i| ((i * 7919) % n) as f32 * 1e-4).collect();
        let p = distribution(&logits, GeneratorConfig { top_p: 0.7, ..plain() });
        let kept = p.iter().filter(|&&p| p > 0.0).count();
        let mut all = distribution(&logits, plain());
        all.sort_by(|a, b| b.total_cmp(a));
        let mass: f64 = all[..kept].iter().map(|&p| f64::from(p)).sum();
        let without: f64 = all[..kept - 1].iter().map(|&p| f64::from(p)).sum();
        assert!(mass >= 0.7 - 1e-6 && without < 0.7 + 1e-6, "{kept} {mass} {without}");
    }

    #[test]
    fn draws_follow_the_distribution() {
        let logits = [1.0f32, 2.0, 0.0, f32::NEG_INFINITY];
        let expected = distribution(&logits, plain());
        let mut sampler = Sampler::new(2);
        let mut counts = [0usize; 4];
        for _ in 0..20_000 {
            let mut l = logits;
            counts[sampler.choose(&mut l, &plain()) as usize] += 1;
        }
        for (count, p) in counts.iter().zip(expected) {
            assert!((*count as f64 / 20_000.0 - f64::from(p)).abs() < 0.015, "{counts:?}");
        }
        assert_eq!(counts[3], 0);
    }

    #[test]
    fn greedy_and_degenerate() {
        let mut sampler = Sampler::new(3);
        let greedy = GeneratorConfig { temperature: 0.0, ..plain() };
        let mut l = [1.0, 5.0, 5.0, 2.0];
        assert_eq!(sampler.choose(&mut l, &greedy), 1);
        assert_eq!(l, [0.0, 1.0, 0.0, 0.0]);
        let mut l = [f32::NAN; 3];
        assert!(sampler.choose(&mut l, &plain()) < 3);
        assert_eq!(draw(&[0.0, 0.0], 0.5), 0);
        assert_eq!(draw(&[0.0, 0.0, 0.1, 0.9], 0.999_999_9), 3);
        assert_eq!(draw(&[0.0, 1.0, 0.0], 0.0), 1);
        assert_eq!(sampler.top_k(&[0.0, 0.0, 0.1, 0.9], 1), 3);
        assert_eq!(sampler.top_p(&[0.1, 0.2, 0.3, 0.4], 0.3), 3);
    }

    #[test]
    fn repetition_penalty() {
        let mut sampler = Sampler::new(4);
        let mut l = [2.0, -2.0, 1.0];
        sampler.penalise(&mut l, &[0, 1, 0, 9], 2.0);
        assert_eq!(l, [1.0, -4.0, 1.0]);
        sampler.penalise(&mut l, &[2], 1.0);
        sampler.penalise(&mut l, &[2], 0.0);
        sampler.penalise(&mut l, &[2], f32::NAN);
        assert_eq!(l, [1.0, -4.0, 1.0]);
    }

    #[test]
    fn suppressed_tokens_are_never_drawn() {
        let none = f32::NEG_INFINITY;
        for config in [
            plain(),
            GeneratorConfig { greedy: true, ..plain() },
            GeneratorConfig { top_k: 2, top_p: 0.9, min_p: 0.1, ..plain() },
        ] {
            let config = GeneratorConfig { suppress_tokens: vec![0, 7], ..config };
            let mut expected = distribution(&[none, 1.0, 0.5], config.clone());
            expected[0] = 0.0;
            let mut sampler = Sampler::new(5);
            for _ in 0..50 {
                let mut l = [9.0, 1.0, 0.5];
                assert_ne!(sampler.next(&mut l, &[], &config).unwrap(), 0);
                assert_eq!(l[..], expected);
            }
            // Also where the logits give no distribution.
            for hopeless in [f32::NAN, none] {
                let mut seen = [0; 3];
                for _ in 0..50 {
                    let mut l = [9.0, hopeless, hopeless];
                    seen[sampler.next(&mut l, &[], &config).unwrap() as usize] += 1;
                }
                assert_eq!(seen[0], 0, "{config:?}");
                assert!(config.greedy || seen[1] > 0 && seen[2] > 0, "{config:?}");
            }
            let all = GeneratorConfig { suppress_tokens: vec![2, 1, 0], ..config };
            let error = sampler.next(&mut [1.0, 2.0, f32::NAN], &[], &all).unwrap_err();
            assert!(error.to_string().contains("suppressed"));
        }
    }

    /// A list of allowed tokens and a mask narrow each other; what is suppressed stays out.
    #[test]
    fn only_allowed_tokens_are_drawn() {
        let config = GeneratorConfig {
            allowed_tokens: Some(vec![4, 2, 0, 2, 77]),
            suppress_tokens: vec![0],
            ..plain()
        };
        let (mut sampler, mut seen) = (Sampler::new(6), [0; 6]);
        for _ in 0..200 {
            let mut l = [9.0, 8.0, 1.0, 7.0, 1.5, 6.0];
            seen[sampler.next(&mut l, &[], &config).unwrap() as usize] += 1;
            assert!((l[2] + l[4] - 1.0).abs() < 1e-6 && l[0] + l[1] + l[3] + l[5] == 0.0);
        }
        assert!(seen[2] > 0 && seen[4] > 0 && seen[2] + seen[4] == 200, "{seen:?}");

        let mask = [true, true, true, true];
        let mut l = [9.0, 8.0, 1.0, 7.0, 1.5, 6.0];
        assert_eq!(sampler.next_among(&mut l, &[], &config, Some(&mask)).unwrap(), 2);
        assert_eq!(l, [0.0, 0.0, 1.0, 0.0, 0.0, 0.0]);
        let before = [9.0, 8.0, 1.0, 7.0, 1.5, 6.0];
        let mut l = before;
        let error = sampler.next_among(&mut l, &[], &config, Some(&mask[..2])).unwrap_err();
        assert!(error.to_string().contains("not allowed"), "{error}");
        assert_eq!(l, before);
        let none = GeneratorConfig { allowed_tokens: Some(Vec::new()), ..plain() };
        assert!(sampler.next(&mut l, &[], &none).is_err());
    }

    proptest! {
        /// Whatever the logits and the settings, a token of the vocabulary comes out, never a
        /// suppressed one, and the logits have become a distribution that it has a part of.
        #[test]
        fn any_logits_and_settings_give_a_token(
            mut logits in prop::collection::vec(prop_oneof![
                8 => -30f32..30.0,
                1 => Just(f32::NAN),
                1 => Just(f32::INFINITY),
                1 => Just(f32::NEG_INFINITY),
            ], 2..40),
            sequence in prop::collection::vec(0u32..50, 0..20),
            temperature in prop_oneof![Just(0.0f32), -1f32..3.0, Just(f32::NAN)],
            (top_k, top_p, min_p) in (0usize..50, -0.5f32..1.5, -0.5f32..1.5),
            (penalty, greedy) in (prop_oneof![0f32..2.0, Just(f32::NAN)], any::<bool>()),
            seed in any::<u64>(),
        ) {
            let suppress_tokens = vec![0, 3, 99];
            let config = GeneratorConfig {
                temperature, top_k, top_p, min_p, greedy,
                repetition_penalty: penalty,
                suppress_tokens,
                ..plain()
            };
            let token = Sampler::new(seed).next(&mut logits, &sequence, &config).unwrap();
            prop_assert!((token as usize) < logits.len() && token != 0 && token != 3);
            prop_assert!(logits[token as usize] > 0.0);
            let sum: f64 = logits.iter().map(|&p| f64::from(p)).sum();
            prop_assert!((sum - 1.0).abs() < 1e-4, "{}", sum);
        }
    }
}
