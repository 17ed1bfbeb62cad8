//! Scores, next tokens, next words and vectors of texts, against plain f64 arithmetic.

mod reference;

use cllm_engine::generate::{Generator, GeneratorConfig};
use cllm_engine::model::ModelRef;
use cllm_engine::score::{
    NextWord, Pooling, Scorer, TokenScore, Windows, WordSearch, white_space_ends,
};
use cllm_engine::{Pool, evaluate};
use reference::{Owned, Spec, logits, random};
use std::collections::BTreeMap;

fn text(n: usize, vocab: usize) -> Vec<u32> {
    let mut x = 12345u32;
    let mut next = || {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (x >> 16) % vocab as u32
    };
    (0..n).map(|_| next()).collect()
}

/// ln softmax of the logits after `tokens`, in f64.
fn after(model: &Owned, tokens: &[u32]) -> Vec<f64> {
    let row = logits(model, &model.doubled(), tokens, 1).pop().unwrap();
    let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = row.iter().map(|x| (x - max).exp()).sum();
    row.iter().map(|x| x - max - total.ln()).collect()
}

/// Where the window begins that answers for a token, by the documented rule.
fn window_start(token: usize, context: usize, stride: usize) -> usize {
    (0..).map(|k| k * stride).find(|start| token < start + context).unwrap()
}

fn scores(pool: &Pool, model: &ModelRef, ids: &[u32], windows: Windows) -> (f64, Vec<TokenScore>) {
    let mut all = Vec::new();
    let sum = Scorer::new().score(pool, model, ids, windows, |i, score| {
        assert_eq!(i, all.len() + 1, "each once, in order");
        all.push(score);
    });
    let sum = sum.unwrap();
    assert_eq!((sum.tokens, all.len()), (ids.len() - 1, ids.len() - 1));
    (sum.nats(), all)
}

#[test]
fn every_token_as_in_f64() {
    let model = random(&Spec { max_length: 16, ..Spec::default() }, 4);
    let pool = Pool::serial();
    for n in [1, 2, 3, 16, 17, 18, 50] {
        let ids = text(n, model.vocab);
        for (context, stride) in [(16, 16), (16, 8), (16, 5), (16, 1), (7, 3), (1, 1), (2, 1)] {
            let windows = Windows::new(context, stride).unwrap();
            let (nats, got) = scores(&pool, &model.view(), &ids, windows);
            let mut sum = 0.0;
            for (i, score) in got.iter().enumerate() {
                // Token i + 1, which follows what window holds token i.
                let start = window_start(i, context, stride);
                assert!(i + 1 - start > (context - stride).min(i));
                let expected = after(&model, &ids[start..=i]);
                let target = ids[i + 1] as usize;
                let difference = f64::from(score.log_prob) - expected[target];
                assert!(difference.abs() < 1e-4, "{n} {context} {stride} {i}: {difference}");
                let rank = 1 + expected.iter().filter(|&&x| x > expected[target]).count();
                assert_eq!(score.rank as usize, rank);
                sum -= expected[target];
            }
            assert!((nats - sum).abs() < 1e-3 * n as f64);
        }
    }
}

/// The rank is exact also where tokens are alike: the lower id comes first.
#[test]
fn equals_in_the_order_of_their_ids() {
    let mut model = random(&Spec { vocab: 6, ..Spec::default() }, 2);
    let d = model.dim;
    let row = model.params.embeddings[..d].to_vec();
    model.params.embeddings.chunks_exact_mut(d).for_each(|e| e.copy_from_slice(&row));
    let windows = Windows::of(&model.view());
    let (nats, got) = scores(&Pool::serial(), &model.view(), &[0, 3, 0, 5, 2], windows);
    assert_eq!(got.iter().map(|score| score.rank).collect::<Vec<_>>(), [4, 1, 6, 3]);
    assert!((nats - 4.0 * 6f64.ln()).abs() < 1e-5);
    let config = GeneratorConfig { suppress_tokens: vec![1], ..GeneratorConfig::default() };
    let next = Scorer::new().next_tokens(&Pool::serial(), &model.view(), &[2], &config, 3);
    let next = next.unwrap();
    assert_eq!(next.iter().map(|token| token.id).collect::<Vec<_>>(), [0, 2, 3]);
    assert!(next.iter().all(|token| (token.probability - 0.2).abs() < 1e-6));
}

#[test]
fn threads_and_history_change_no_bit() {
    let spec =
        Spec { vocab: 700, dim: 64, heads: 4, hidden: 256, max_length: 48, ..Spec::default() };
    let model = random(&spec, 7);
    let view = model.view();
    let ids = text(1777, 700);
    let (one, two) = (Pool::serial(), Pool::shared(2));
    let config = GeneratorConfig::default();
    let mut used = Scorer::new();
    for (context, stride) in [(48, 48), (48, 24), (48, 7), (31, 13)] {
        let windows = Windows::new(context, stride).unwrap();
        let expected = scores(&one, &view, &ids, windows);
        let got = scores(&two, &view, &ids, windows);
        assert_eq!(expected.0.to_bits(), got.0.to_bits());
        let bits = |all: &[TokenScore]| -> Vec<_> {
            all.iter().map(|s| (s.log_prob.to_bits(), s.rank)).collect()
        };
        assert_eq!(bits(&expected.1), bits(&got.1));

        for pooling in [Pooling::Mean, Pooling::Last] {
            let (mut a, mut b) = ([0.0; 64], [0.0; 64]);
            Scorer::new().embed(&one, &view, &ids, windows, pooling, &mut a).unwrap();
            used.embed(&two, &view, &ids, windows, pooling, &mut b).unwrap();
            assert_eq!(a, b);
        }
    }
    for n in [3, 47, 48, 49, 200] {
        let fresh = Scorer::new().next_tokens(&one, &view, &ids[..n], &config, 9).unwrap();
        assert_eq!(fresh, used.next_tokens(&two, &view, &ids[..n], &config, 9).unwrap());
        let spell = |id: u32, bytes: &mut Vec<u8>| bytes.extend(id.to_string().into_bytes());
        let ends = |_: &[u8], next: &[u8]| next[0] < b'4';
        let search = WordSearch::new(5);
        let words = |pool: &Pool, scorer: &mut Scorer| {
            scorer.next_words(pool, &view, &ids[..n], &config, search, spell, ends).unwrap()
        };
        assert_eq!(words(&one, &mut Scorer::new()), words(&two, &mut used));
    }
}

/// Windows that stand one behind the other are those of `evaluate`.
#[test]
fn the_sum_is_the_loss() {
    let model = random(&Spec { vocab: 50, max_length: 40, ..Spec::default() }, 3);
    let ids = text(3000, 50);
    let pool = Pool::serial();
    for window in [1, 9, 40] {
        let windows = Windows::new(window, window).unwrap();
        let (nats, _) = scores(&pool, &model.view(), &ids, windows);
        let whole = evaluate(&pool, &model.view(), &ids, window).unwrap();
        assert!((nats - whole.nats()).abs() < 1e-6 * nats, "{nats} {}", whole.nats());
        let bits = whole.nats() / 2f64.ln() / 7000.0;
        assert!((whole.bits_per_byte(7000) - bits).abs() < 1e-12);
    }
    assert!(evaluate(&pool, &model.view(), &ids, 40).unwrap().bits_per_byte(0).is_nan());
}

#[test]
fn next_tokens_are_the_softmax_of_those_that_may_come() {
    let model = random(&Spec { max_length: 12, ..Spec::default() }, 5);
    let pool = Pool::serial();
    let ids = text(30, model.vocab);
    let config = GeneratorConfig {
        suppress_tokens: vec![0, 7, 99],
        allowed_tokens: Some((0..9).collect()),
        // No part is taken by these.
        temperature: 0.3,
        top_k: 1,
        repetition_penalty: 2.0,
        ..GeneratorConfig::default()
    };
    for n in 1..=30 {
        // A generation's window: half of the positions is dropped at a time.
        let dropped = if n <= 12 { 0 } else { (n - 12usize).div_ceil(6) * 6 };
        let mut expected: Vec<_> =
            after(&model, &ids[dropped..n]).into_iter().enumerate().collect();
        expected.retain(|(id, _)| ![0, 7, 9, 10].contains(id));
        let total: f64 = expected.iter().map(|(_, p)| p.exp()).sum();
        expected.sort_by(|a, b| b.1.total_cmp(&a.1));
        let got = Scorer::new().next_tokens(&pool, &model.view(), &ids[..n], &config, 100).unwrap();
        assert_eq!(got.len(), 7);
        for (got, (id, p)) in got.iter().zip(&expected) {
            assert_eq!(got.id as usize, *id);
            assert!((f64::from(got.probability) - p.exp() / total).abs() < 1e-5);
        }
        let three = Scorer::new().next_tokens(&pool, &model.view(), &ids[..n], &config, 3).unwrap();
        assert_eq!(three, got[..3]);
    }
}

const TOKENS: [&str; 9] = ["", " the", " th", "e", " cat", "s", "\n", "re", " a"];

fn spell(id: u32, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(TOKENS[id as usize].as_bytes());
}

/// Every word of up to `max` tokens with its probability, by trying all.
fn all_words(model: &Owned, prompt: &[u32], max: usize, suppressed: u32) -> BTreeMap<Vec<u8>, f64> {
    let mut found = BTreeMap::new();
    let mut open = vec![(prompt.to_vec(), Vec::new(), 1.0)];
    for length in 0..=max {
        let mut longer = Vec::new();
        for (tokens, word, p) in open {
            let mut next: Vec<f64> = after(model, &tokens).iter().map(|x| x.exp()).collect();
            next[suppressed as usize] = 0.0;
            let total: f64 = next.iter().sum();
            for (id, q) in next.into_iter().enumerate() {
                let bytes = TOKENS[id].as_bytes();
                let p = p * q / total;
                if length > 0 && (bytes.is_empty() || white_space_ends(&word, bytes)) {
                    *found.entry(word.clone()).or_default() += p;
                } else if !bytes.is_empty() && id != suppressed as usize {
                    let tokens = [&tokens[..], &[id as u32]].concat();
                    longer.push((tokens, [&word[..], bytes].concat(), p));
                }
            }
        }
        open = longer;
    }
    found
}

#[test]
fn next_words_as_by_trying_all() {
    let spec = Spec { vocab: 9, dim: 8, hidden: 16, max_length: 24, ..Spec::default() };
    for seed in 0..6 {
        let model = random(&spec, seed);
        let prompt = text(5, 9);
        let expected = all_words(&model, &prompt, 3, 5);
        let mut order: Vec<_> = expected.iter().collect();
        order.sort_by(|a, b| b.1.total_cmp(a.1));
        let config = GeneratorConfig { suppress_tokens: vec![5], ..GeneratorConfig::default() };
        let words = |search: WordSearch| -> Vec<NextWord> {
            let (pool, view) = (Pool::serial(), model.view());
            let mut scorer = Scorer::new();
            let found =
                scorer.next_words(&pool, &view, &prompt, &config, search, spell, white_space_ends);
            found.unwrap()
        };
        let fine = WordSearch { max_tokens: 3, ..WordSearch::new(3) };
        // As many as there are, so that nothing is cut: all of them with their exact probabilities.
        let all = words(WordSearch { words: 256, width: 1024, ..fine });
        assert_eq!(all.len(), order.len().min(256), "seed {seed}");
        for word in &all {
            let p = expected[&word.text];
            assert!((f64::from(word.probability) - p).abs() < 1e-5, "{word:?} {p}");
        }
        assert!(all.windows(2).all(|w| w[0].probability >= w[1].probability));
        // A narrow search finds what is likely, and never promises too much.
        let three = words(WordSearch { width: 16, ..fine });
        assert_eq!(three.len(), 3);
        for (word, (text, p)) in three.iter().zip(&order) {
            assert_eq!(&word.text, *text, "seed {seed}");
            assert!(f64::from(word.probability) < **p + 1e-5);
        }
        // Behind a space that was typed: what begins with it, without it, given that it is there.
        let begun = words(WordSearch { words: 256, width: 1024, begun: Some(b' '), ..fine });
        let spaced = |text: &[u8]| text.first() == Some(&b' ');
        assert_eq!(
            begun.len(),
            expected.keys().filter(|t| spaced(t) && t.len() > 1).count().min(256)
        );
        let (pool, view) = (Pool::serial(), model.view());
        let tokens = Scorer::new().next_tokens(&pool, &view, &prompt, &config, 9).unwrap();
        let space: f64 = tokens
            .iter()
            .filter(|token| {
                let mut bytes = Vec::new();
                spell(token.id, &mut bytes);
                spaced(&bytes)
            })
            .map(|token| f64::from(token.probability))
            .sum();
        assert!(space > 0.0 && space < 1.0);
        for word in &begun {
            let p = expected[&[b" ", &word.text[..]].concat()] / space;
            assert!((f64::from(word.probability) - p).abs() < 1e-5, "{word:?} {p}");
        }
    }
}

/// Whole words, each of which ends the one before it: the same as tokens.
#[test]
fn words_of_one_token() {
    let model = random(&Spec { max_length: 4, ..Spec::default() }, 9);
    let (pool, view, config) = (Pool::serial(), model.view(), GeneratorConfig::default());
    let mut scorer = Scorer::new();
    let whole = |id: u32, bytes: &mut Vec<u8>| bytes.extend([b' ', b'a' + id as u8]);
    let search = WordSearch { width: 5, max_tokens: 1, ..WordSearch::new(5) };
    let words = scorer.next_words(&pool, &view, &[3, 1], &config, search, whole, white_space_ends);
    let tokens = scorer.next_tokens(&pool, &view, &[3, 1], &config, 5).unwrap();
    for (word, token) in words.unwrap().iter().zip(&tokens) {
        assert_eq!(word.text, [b' ', b'a' + token.id as u8]);
        assert_eq!(word.probability, token.probability);
    }
}

#[test]
fn hidden_states_are_what_logits_are_made_of() {
    let model = random(&Spec { max_length: 8, ..Spec::default() }, 6);
    let (d, view, pool) = (model.dim, model.view(), Pool::serial());
    let ids = text(29, model.vocab);
    for (context, stride) in [(8, 8), (8, 3), (5, 4)] {
        let windows = Windows::new(context, stride).unwrap();
        let mut scorer = Scorer::new();
        let mut rows = vec![0.0; ids.len() * d];
        scorer.hidden_states(&pool, &view, &ids, windows, &mut rows).unwrap();
        for (i, row) in rows.chunks_exact(d).enumerate() {
            let start = window_start(i, context, stride);
            let (mut hidden, mut logits) = (vec![0.0; d], vec![0.0; model.vocab]);
            let mut generator = Generator::new(GeneratorConfig::default(), 1).unwrap();
            generator.forward(&view, &ids[start..=i], &mut hidden, &mut logits).unwrap();
            for (a, b) in row.iter().zip(&hidden) {
                assert!((a - b).abs() < 1e-5, "{context} {stride} {i}: {a} {b}");
            }
        }
        for n in [1, 7, 8, 9, 29] {
            let mut vector = vec![0.0; d];
            scorer.embed(&pool, &view, &ids[..n], windows, Pooling::Last, &mut vector).unwrap();
            let last = &rows[(n - 1) * d..n * d];
            assert!(vector.iter().zip(last).all(|(a, b)| (a - b).abs() < 1e-5));
            scorer.embed(&pool, &view, &ids[..n], windows, Pooling::Mean, &mut vector).unwrap();
            for (c, x) in vector.iter().enumerate() {
                let mean: f64 =
                    rows[..n * d].chunks(d).map(|row| f64::from(row[c])).sum::<f64>() / n as f64;
                assert!((f64::from(*x) - mean).abs() < 1e-5);
            }
        }
    }
}

#[test]
fn what_is_wrong_is_an_error() {
    let model = random(&Spec::default(), 1);
    let (view, pool, config) = (model.view(), Pool::serial(), GeneratorConfig::default());
    let windows = Windows::of(&view);
    assert_eq!((windows.context(), windows.stride()), (7, 4));
    assert!(Windows::with_stride(&view, 8).is_err());
    let mut scorer = Scorer::new();
    let mut called = false;
    for ids in [&[][..], &[11], &[1, 2, 99, 3]] {
        assert!(scorer.score(&pool, &view, ids, windows, |_, _| called = true).is_err());
        assert!(scorer.next_tokens(&pool, &view, ids, &config, 1).is_err());
        let mut out = vec![0.0; ids.len() * 6];
        assert!(scorer.hidden_states(&pool, &view, ids, windows, &mut out).is_err());
        let mut out = [0.0; 6];
        assert!(scorer.embed(&pool, &view, ids, windows, Pooling::Mean, &mut out).is_err());
    }
    assert!(!called);
    assert!(scorer.hidden_states(&pool, &view, &[1, 2], windows, &mut [0.0; 13]).is_err());
    assert!(scorer.embed(&pool, &view, &[1], windows, Pooling::Last, &mut [0.0; 5]).is_err());
    let none = GeneratorConfig { allowed_tokens: Some(vec![11]), ..config.clone() };
    let error = scorer.next_tokens(&pool, &view, &[1], &none, 1).unwrap_err().to_string();
    assert!(error.contains("not allowed"), "{error}");
    let fine = WordSearch { width: 3, max_tokens: 3, ..WordSearch::new(3) };
    for (name, search) in [
        ("num_words", WordSearch { words: 0, ..fine }),
        ("num_words", WordSearch { words: 257, width: 1024, ..fine }),
        ("width", WordSearch { width: 2, ..fine }),
        ("width", WordSearch { width: 1025, ..fine }),
        ("max_tokens", WordSearch { max_tokens: 0, ..fine }),
        ("max_tokens", WordSearch { max_tokens: 65, ..fine }),
    ] {
        let found = scorer.next_words(&pool, &view, &[1], &config, search, |_, _| (), |_, _| true);
        assert!(found.unwrap_err().to_string().starts_with(name));
    }
    // No token is text: there are no words.
    let found = scorer.next_words(&pool, &view, &[1], &config, fine, |_, _| (), |_, _| true);
    assert_eq!(found.unwrap(), []);
    assert_eq!(scorer.score(&pool, &view, &[3], windows, |_, _| ()).unwrap().tokens, 0);
    let mut broken = random(&Spec::default(), 1);
    broken.params.embeddings[7] = f32::NAN;
    assert!(scorer.next_tokens(&pool, &broken.view(), &[1], &config, 1).is_err());
}
