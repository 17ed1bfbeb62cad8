//! Generators: what they give does not depend on how they are asked, on threads, or on stops in
//! between; and nothing that is wrong ends in a panic or in a half-changed state.

mod reference;

use cllm_engine::Pool;
use cllm_engine::generate::{Generator, GeneratorConfig};
use cllm_engine::model::{Architecture, ModelRef};
use proptest::prelude::*;
use reference::{Owned, Spec};
use std::ops::ControlFlow::{Break, Continue};
use std::sync::Arc;

const VOCAB: usize = 40;

fn model(max_length: usize, seed: u64) -> Owned {
    let spec = Spec { vocab: VOCAB, dim: 16, heads: 2, hidden: 24, max_length, ..Spec::default() };
    reference::random(&spec, seed)
}

fn config(max_tokens: usize) -> GeneratorConfig {
    GeneratorConfig { max_tokens, ..GeneratorConfig::default() }
}

fn generator(config: GeneratorConfig, seed: u64) -> Generator {
    Generator::new(config, seed).unwrap()
}

fn all(generator: &mut Generator, model: &ModelRef) -> Vec<u32> {
    generator.tokens(model.clone()).map(Result::unwrap).collect()
}

/// Logits after `tokens`, by a cache that holds nothing.
fn fresh(model: &ModelRef, tokens: &[u32]) -> Vec<f32> {
    let (mut hidden, mut logits) = (vec![0.0; model.dim], vec![0.0; model.vocab]);
    let mut generator = generator(config(1), 0);
    generator.forward(model, tokens, &mut hidden, &mut logits).unwrap();
    logits
}

fn likeliest(logits: &[f32]) -> u32 {
    (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap() as u32
}

#[test]
fn generators_can_be_sent_and_shared() {
    fn check<T: Send + Sync>() {}
    check::<Generator>();
}

/// n tokens and then m are n + m at once, also where the sequence leaves the positions; threads and
/// the way of asking change nothing.
#[test]
fn in_parts_or_at_once() {
    for positions in [0, 12, 24] {
        let model = model(positions, 3);
        let view = model.view();
        let penalty = |n| GeneratorConfig { repetition_penalty: 1.3, ..config(n) };
        let mut whole = generator(penalty(60), 5);
        whole.prompt(&[7, 9]).unwrap();
        let expected = all(&mut whole, &view);
        assert_eq!(expected.len(), 60);
        assert_eq!(whole.continuation(), expected);
        assert_eq!(whole.sequence(), [&[7, 9][..], &expected].concat());

        let mut parts = generator(penalty(20), 5);
        parts.set_pool(Arc::new(Pool::start(2)));
        parts.prompt(&[7, 9]).unwrap();
        let mut got = all(&mut parts, &view);
        assert_eq!(parts.next(&view).unwrap(), None);
        parts.resume().unwrap();
        let made = parts.stream(&view, |token| {
            got.push(token);
            if got.len() == 31 { Break(()) } else { Continue(()) }
        });
        assert_eq!(made.unwrap(), 11);
        parts.config_mut().max_tokens = 29;
        parts.resume().unwrap();
        while let Some(token) = parts.next(&view).unwrap() {
            got.push(token);
        }
        assert_eq!(got, expected, "{positions} positions");
        assert_eq!(parts.continuation(), &expected[31..]);
    }
}

/// What the loop takes is the likeliest token after all that the model can see.
#[test]
fn greedy_follows_the_logits() {
    let model = model(16, 8);
    let view = model.view();
    let mut generator = generator(GeneratorConfig { greedy: true, ..config(40) }, 1);
    generator.prompt(&[3]).unwrap();
    let (mut hidden, mut logits) = (vec![0.0; 16], vec![0.0; VOCAB]);
    let mut sequence = vec![3];
    while let Some(token) = generator.next_into(&view, &mut hidden, &mut logits).unwrap() {
        let dropped = if sequence.len() <= 16 { 0 } else { (sequence.len() - 16).div_ceil(8) * 8 };
        assert_eq!(token, likeliest(&fresh(&view, &sequence[dropped..])), "{sequence:?}");
        assert_eq!((logits[token as usize], logits.iter().sum::<f32>()), (1.0, 1.0));
        assert!(hidden.iter().any(|&x| x != 0.0));
        sequence.push(token);
    }
    assert_eq!(sequence.len(), 41);
}

#[test]
fn one_seed_one_text_whatever_came_before() {
    let model = model(64, 4);
    let view = model.view();
    let mut used = generator(config(30), 1);
    used.prompt(&[1, 2, 3]).unwrap();
    let mut prompt = used.sequence().to_vec();
    prompt.extend(all(&mut used, &view));
    let mut fresh = generator(config(30), 99);
    used.seed(99);
    for generator in [&mut used, &mut fresh] {
        generator.prompt(&prompt).unwrap();
    }
    assert_eq!(all(&mut used, &view), all(&mut fresh, &view));
}

#[test]
fn stop_and_suppressed_tokens() {
    let model = model(64, 4);
    let view = model.view();
    let mut free = generator(config(200), 2);
    free.prompt(&[1]).unwrap();
    let tokens = all(&mut free, &view);
    let stop = tokens[6];
    let first = tokens.iter().position(|&t| t == stop).unwrap();

    let mut stopped = generator(GeneratorConfig { stop_tokens: vec![stop], ..config(200) }, 2);
    stopped.prompt(&[1]).unwrap();
    assert_eq!(all(&mut stopped, &view), tokens[..first]);
    assert!(stopped.ended() && stopped.next(&view).unwrap().is_none());
    assert_eq!(stopped.sequence().len(), 1 + first);
    stopped.resume().unwrap();
    assert!(!stopped.ended());

    let suppress_tokens: Vec<u32> = (0..VOCAB as u32 + 5).filter(|id| id % 3 != 1).collect();
    let mut some = generator(GeneratorConfig { suppress_tokens, ..config(200) }, 2);
    some.prompt(&[1]).unwrap();
    let tokens = all(&mut some, &view);
    assert_eq!(tokens.len(), 200);
    assert!(tokens.iter().all(|t| t % 3 == 1));
    some.config_mut().suppress_tokens = (0..VOCAB as u32).collect();
    some.resume().unwrap();
    assert!(some.next(&view).unwrap_err().to_string().contains("suppressed"));
    assert_eq!(some.sequence().len(), 201);
}

/// A list, a filter and a mask of allowed tokens: what is drawn, what ends the text, what is an error.
#[test]
fn allowed_tokens() {
    let model = model(64, 4);
    let view = model.view();
    let allowed_tokens = Some(vec![3, 6, 9, 12, 99]);
    let mut some = generator(GeneratorConfig { allowed_tokens, ..config(60) }, 2);
    some.prompt(&[1]).unwrap();
    assert!(all(&mut some, &view).iter().all(|t| [3, 6, 9, 12].contains(t)));

    // The filter sees the sequence as it grows, and narrows the list.
    let state = some.save_state(&view).unwrap();
    some.set_filter(Some(Box::new(|sequence, allowed| {
        assert_eq!(allowed, [true; VOCAB]);
        allowed[3..=6].fill(sequence.len() % 2 == 0);
        if sequence.len() < 90 { Continue(()) } else { Break(()) }
    })));
    some.resume().unwrap();
    let more = all(&mut some, &view);
    assert!(some.ended() && some.sequence().len() == 90 && more.len() == 29);
    assert!(more.iter().zip(61..).all(|(t, n)| n % 2 == 0 || [9, 12].contains(t)));
    // A restored state brings neither.
    some.restore_state(&state, &view).unwrap();
    some.config_mut().max_tokens = 29;
    some.resume().unwrap();
    assert_eq!(all(&mut some, &view), more);

    some.set_filter(Some(Box::new(|_, allowed| {
        allowed[9] = false;
        allowed[12..].fill(false);
        allowed[..9].fill(false);
        Continue(())
    })));
    some.resume().unwrap();
    let before = some.sequence().to_vec();
    assert!(some.next(&view).unwrap_err().to_string().contains("not allowed"));
    assert_eq!((some.sequence(), some.ended()), (&before[..], false));
    let (mut hidden, mut logits) = ([0.0; 16], [0.0; VOCAB]);
    let mask = [false, false, false, true];
    assert_eq!(some.next_among(&view, &mut hidden, &mut logits, &mask).unwrap(), Some(3));
    assert_eq!(logits[3], 1.0);
    some.set_filter(None);
    assert!(some.next(&view).unwrap().is_some());
}

/// Cached keys and values are used as long as the weights are those that they were made with.
#[test]
fn changed_weights_are_noticed() {
    let mut model = model(32, 6);
    let (mut hidden, mut logits) = (vec![0.0; 16], vec![0.0; VOCAB]);
    let tokens = [3, 1, 4, 1, 5, 9, 2, 6];
    let mut cached = generator(config(1), 0);
    let mut run = |view: &ModelRef, n: usize, cached: &mut Generator| {
        cached.forward(view, &tokens[..n], &mut hidden, &mut logits).unwrap();
        logits.clone()
    };
    let before = run(&model.view(), 4, &mut cached);
    assert_eq!(before, fresh(&model.view(), &tokens[..4]));

    // One value of the word at position 1, which no sample of the weights looks at.
    model.params.embeddings[16 + 1] += 0.5;
    let stale = run(&model.view(), 5, &mut cached);
    assert_ne!(stale, fresh(&model.view(), &tokens[..5]));
    cached.clear_cache();
    assert_eq!(run(&model.view(), 5, &mut cached), fresh(&model.view(), &tokens[..5]));
    // The owner counts.
    model.params.embeddings[16 + 1] -= 0.5;
    let counted = ModelRef { version: 1, ..model.view() };
    assert_eq!(run(&counted, 6, &mut cached), fresh(&counted, &tokens[..6]));
    drop(counted);
    // All weights, without counting; then other heads.
    model.params = model.params.map(|_, _, t| t.iter().map(|x| x * 1.01).collect());
    assert_eq!(run(&model.view(), 7, &mut cached), fresh(&model.view(), &tokens[..7]));
    for layer in &mut model.params.layers {
        let attention = layer.attention.as_mut().unwrap();
        (attention.heads, attention.head_dim) = (4, 4);
    }
    assert_eq!(run(&model.view(), 8, &mut cached), fresh(&model.view(), &tokens[..8]));
}

/// What a token leaves for the next one survives another continuation and a state.
#[test]
fn keys_of_the_token_before_are_cached() {
    for heads in [2, 4] {
        let architecture = Architecture::MODERN;
        let spec =
            Spec { vocab: VOCAB, dim: 16, heads, max_length: 24, architecture, ..Spec::default() };
        let model = reference::random(&Spec { spiral: false, learned: false, ..spec }, 12);
        let (view, mut hidden, mut logits) = (model.view(), vec![0.0; 16], vec![0.0; VOCAB]);
        let mut cached = generator(config(1), 0);
        for tokens in
            [&[3, 1, 4, 1, 5, 9][..], &[3, 1, 4, 8], &[3, 1, 4, 8, 2, 7, 1, 8], &[5], &[3, 1, 4]]
        {
            cached.forward(&view, tokens, &mut hidden, &mut logits).unwrap();
            assert_eq!(logits, fresh(&view, tokens), "{heads} heads, {tokens:?}");
        }
        let mut whole = generator(config(12), 7);
        whole.prompt(&[3, 4, 5]).unwrap();
        let expected = all(&mut whole, &view);
        let mut one = generator(config(12), 7);
        one.prompt(&[3, 4, 5]).unwrap();
        let first: Vec<u32> = one.tokens(view.clone()).take(5).map(Result::unwrap).collect();
        let state = one.save_state(&view).unwrap();
        let mut other = generator(config(1), 1);
        other.restore_state(&state, &view).unwrap();
        assert_eq!([first, all(&mut other, &view)].concat()[..expected.len()], expected[..]);
    }
}

#[test]
fn a_state_belongs_to_its_model() {
    let model = model(24, 9);
    let view = model.view();
    let mut one = generator(config(17), 7);
    one.prompt(&[3, 4]).unwrap();
    all(&mut one, &view);
    let state = one.save_state(&view).unwrap();
    // Two layers, keys and values of 16 floats for each of 18 cached positions.
    assert_eq!(state.len(), 136 + 4 * 19 + 8 + 4 * 18 + 2 * 2 * 16 * 4 * 18);

    let mut other = generator(config(5), 1);
    other.prompt(&[30]).unwrap();
    let refused = |other: &mut Generator, state: &[u8], view: &ModelRef, why: &str| {
        let error = other.restore_state(state, view).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
        assert_eq!((other.sequence(), other.config().max_tokens), (&[30][..], 5));
    };
    let mut heads = reference::random(
        &Spec { vocab: VOCAB, dim: 16, heads: 4, hidden: 24, max_length: 24, ..Spec::default() },
        9,
    );
    heads.params.embeddings.clone_from(&model.params.embeddings);
    refused(&mut other, &state, &heads.view(), "other heads");
    for (spec, why) in [
        (Spec { vocab: 41, ..Spec::default() }, "vocabulary was 40, this one's is 41"),
        (Spec { vocab: VOCAB, dim: 8, ..Spec::default() }, "width"),
        (Spec { vocab: VOCAB, dim: 16, layers: 3, ..Spec::default() }, "number of layers"),
        (Spec { vocab: VOCAB, dim: 16, hidden: 24, ..Spec::default() }, "other weights"),
    ] {
        refused(&mut other, &state, &reference::random(&spec, 9).view(), why);
    }
    for cut in 0..state.len() {
        assert!(other.restore_state(&state[..cut], &view).is_err());
    }
    for at in 0..state.len() {
        let mut damaged = state.clone();
        damaged[at] ^= 0x10;
        assert!(other.restore_state(&damaged, &view).is_err(), "byte {at}");
    }
    refused(&mut other, &[], &view, "ends early");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    one.write_state(&path, &view).unwrap();
    other.read_state(&path, &view).unwrap();
    assert_eq!(other.sequence(), one.sequence());
    for generator in [&mut one, &mut other] {
        generator.resume().unwrap();
    }
    assert_eq!(all(&mut one, &view), all(&mut other, &view));
    let missing = other.read_state(&folder.path().join("none"), &view).unwrap_err();
    assert!(missing.to_string().contains("none"), "{missing}");
}

#[test]
fn what_is_wrong_is_an_error() {
    let model = model(24, 9);
    let view = model.view();
    assert!(Generator::new(GeneratorConfig { top_p: -1.0, ..config(1) }, 1).is_err());
    let mut generator = generator(config(5), 1);
    assert!(generator.resume().is_err() && generator.prompt(&[]).is_err());
    assert!(generator.next(&view).is_err(), "no sequence");
    generator.prompt(&[VOCAB as u32]).unwrap();
    assert!(generator.next(&view).unwrap_err().to_string().contains("token id"));
    let errors: Vec<_> = generator.tokens(view.clone()).collect();
    assert!(errors.len() == 1 && errors[0].is_err(), "an iterator ends at its first error");
    generator.prompt(&[1]).unwrap();
    assert!(generator.next_into(&view, &mut [0.0; 15], &mut [0.0; VOCAB]).is_err());
    assert!(generator.forward(&view, &[1], &mut [0.0; 16], &mut [0.0; 3]).is_err());
    assert!(generator.forward(&view, &[], &mut [0.0; 16], &mut [0.0; VOCAB]).is_err());
    assert_eq!((generator.sequence(), generator.continuation().len()), (&[1][..], 0));
    generator.config_mut().max_tokens = 0;
    assert_eq!(generator.next(&view).unwrap(), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Saved anywhere and restored elsewhere, a generation goes on as if nothing had been.
    #[test]
    fn saving_changes_nothing(
        seed in any::<u64>(),
        (before, after) in (0usize..40, 1usize..40),
        (temperature, top_k, top_p) in (0f32..2.0, 0usize..50, 0f32..1.0),
        (min_p, repetition_penalty) in (0f32..0.3, 0.5f32..1.5),
        prompt in prop::collection::vec(0..VOCAB as u32, 1..30),
    ) {
        let model = model(12, 1);
        let view = model.view();
        let config = GeneratorConfig {
            temperature, top_k, top_p, min_p, repetition_penalty, ..config(before)
        };
        let mut one = generator(config.clone(), seed);
        one.prompt(&prompt).unwrap();
        all(&mut one, &view);
        let state = one.save_state(&view).unwrap();
        let mut other = generator(GeneratorConfig::default(), 0);
        other.restore_state(&state, &view).unwrap();
        prop_assert_eq!(other.config(), &config);
        prop_assert_eq!(&other.save_state(&view).unwrap(), &state);
        for generator in [&mut one, &mut other] {
            generator.config_mut().max_tokens = after;
            generator.resume().unwrap();
        }
        prop_assert_eq!(all(&mut one, &view), all(&mut other, &view));
    }
}
