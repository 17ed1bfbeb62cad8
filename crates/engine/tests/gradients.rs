//! Every gradient against central finite differences of the f64 reference, and the forward pass
//! against the same reference, by every path.

mod reference;

use cllm_engine::model::{Activation, Architecture, AttentionLayout};
use cllm_engine::nn::activations::{Activations, Save};
use cllm_engine::nn::cache::KvCache;
use cllm_engine::nn::dropout::{Dropout, Site};
use cllm_engine::nn::forward::{self, Beyond};
use cllm_engine::nn::products::Products;
use cllm_engine::nn::rows::Pass;
use cllm_engine::nn::{backward, loss};
use cllm_kernels::Pool;
use rand::{RngExt, SeedableRng};
use reference::{Owned, Spec};
use std::collections::HashMap;

fn tokens(n: usize, vocab: usize, seed: u64) -> Vec<u32> {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    (0..n).map(|_| rng.random_range(0..vocab as u32)).collect()
}

/// Loss and gradients by the library.
fn gradients(
    pool: &Pool,
    model: &Owned,
    input: &[u32],
    targets: loss::Targets,
    batch: usize,
) -> (f64, cllm_engine::model::Params<Vec<f32>>) {
    gradients_of(pool, model, input, targets, batch, None)
}

fn gradients_of(
    pool: &Pool,
    model: &Owned,
    input: &[u32],
    targets: loss::Targets,
    batch: usize,
    dropout: Option<Dropout>,
) -> (f64, cllm_engine::model::Params<Vec<f32>>) {
    let view = model.view();
    // Memory as a larger batch leaves it.
    let room = input.len() + 37;
    let mut activations = Activations { dropout, ..Activations::default() };
    activations.reserve(&view, room, Save::ForBackward).unwrap();
    forward::forward(
        pool,
        &view,
        input,
        batch,
        &mut activations,
        Save::ForBackward,
        None,
        Beyond::NoPosition,
    )
    .unwrap();
    let mut scratch = backward::ActivationGradients::default();
    scratch.reserve(&view, room).unwrap();
    let mut grads = model.zeros();
    // Gradients are set, not added to: what the buffers held must not matter.
    grads = grads.map(|_, _, t| vec![7.0; t.len()]);
    let mut grads_view = reference::view_mut(&mut grads);
    let mut loss_scratch = loss::LossBuffers::default();
    let doutput = match &mut grads_view.head {
        Some(head) => {
            grads_view.embeddings.fill(0.0);
            head
        }
        None => &mut *grads_view.embeddings,
    };
    let mean = loss::gradient(
        Products::f32(pool),
        &view,
        &activations.normed,
        targets,
        &mut loss_scratch,
        &mut scratch.dnormed,
        doutput,
    )
    .unwrap();
    backward::backward(pool, &view, input, batch, &activations, &mut grads_view, &mut scratch)
        .unwrap();
    drop(grads_view);
    (mean, grads)
}

fn check(spec: Spec, batch: usize, s: usize, seed: u64) {
    check_with(spec, batch, s, seed, None);
}

fn check_with(spec: Spec, batch: usize, s: usize, seed: u64, dropout: Option<Dropout>) {
    let model = reference::random(&spec, seed);
    model.view().check().unwrap();
    let mut input = tokens(batch * s, spec.vocab, seed + 1);
    let mut target = tokens(batch * s, spec.vocab, seed + 2);
    if input.len() > 4 {
        // Ids outside the vocabulary: a zero embedding row, and a position that doesn't count.
        input[2] = spec.vocab as u32 + 3;
        target[3] = u32::MAX;
    }
    let (mean, grads) =
        gradients_of(&Pool::serial(), &model, &input, loss::Targets::all(&target), batch, dropout);
    let mut doubled = model.doubled();
    // What the library leaves out, for the same sums in f64.
    let pool = Pool::serial();
    let pass = Pass { batch, ..Pass::one(&pool, s, spec.dim) };
    let mut masks: HashMap<Site, Vec<f32>> = HashMap::new();
    for site in (0..spec.layers).flat_map(|l| [Site::Attention(l), Site::FeedForward(l)]) {
        masks.insert(site, vec![1.0; pass.values()]);
    }
    masks.insert(Site::Input, vec![1.0; pass.values()]);
    if let Some(dropout) = dropout {
        for (site, mask) in &mut masks {
            dropout.apply(&pass, *site, mask, None);
            assert!(mask.contains(&0.0) && mask.iter().any(|&x| x > 1.0), "{site:?}");
        }
    }
    let loss_of = |params: &_| {
        let mask = |site, i: usize| f64::from(masks[&site][i]);
        reference::masked_loss(&model, params, &input, &target, batch, &mask)
    };
    let expected = loss_of(&doubled);
    assert!((mean - expected).abs() < 1e-5, "loss {mean}, expected {expected}");

    let kinds: Vec<_> = {
        let mut kinds = Vec::new();
        grads.visit(|kind, layer, t| kinds.push((kind, layer, t.clone())));
        kinds
    };
    for (index, (kind, layer, got)) in kinds.iter().enumerate() {
        let mut want = Vec::new();
        for i in 0..got.len() {
            let mut at = |delta: f64| {
                let mut n = 0;
                doubled.by_mut().map(|_, _, t| {
                    if n == index {
                        t[i] += delta;
                    }
                    n += 1;
                });
                loss_of(&doubled)
            };
            let h = 1e-5;
            let up = at(h);
            let down = at(-2.0 * h);
            at(h);
            want.push((up - down) / (2.0 * h));
        }
        let scale = want.iter().fold(0.0f64, |m, w| m.max(w.abs()));
        for (i, (got, want)) in got.iter().zip(&want).enumerate() {
            let error = (f64::from(*got) - want).abs();
            assert!(
                error <= 2e-4 * scale + 2e-6,
                "{kind:?} of layer {layer}, [{i}]: {got}, expected {want} (largest {scale})"
            );
        }
        let whole = spec.attention && spec.feed_forward && spec.layers > 0 && s > 1;
        if whole && got.len() > 4 {
            assert!(scale > 1e-6, "{kind:?} of layer {layer} is not tested: all gradients are 0");
        }
    }
}

#[test]
fn full_matrices() {
    check(Spec::default(), 2, 5, 1);
}

#[test]
fn one_head_odd_sizes() {
    check(Spec { dim: 7, heads: 1, hidden: 3, vocab: 5, layers: 1, ..Spec::default() }, 3, 3, 2);
}

#[test]
fn many_heads_longer_than_the_tables() {
    check(Spec { dim: 8, heads: 4, max_length: 4, layers: 3, ..Spec::default() }, 1, 9, 3);
}

#[test]
fn per_head_matrices_without_second_norms() {
    let spec =
        Spec { layout: AttentionLayout::PerHead, second_norms: false, dim: 8, ..Spec::default() };
    check(spec, 2, 4, 4);
}

#[test]
fn missing_parts() {
    let none = Spec { norms: false, second_norms: false, biases: false, ..Spec::default() };
    check(none.clone(), 2, 4, 5);
    check(Spec { attention: false, ..none.clone() }, 2, 4, 6);
    check(Spec { feed_forward: false, learned: false, ..Spec::default() }, 2, 4, 7);
    check(Spec { spiral: false, learned: false, max_length: 0, ..Spec::default() }, 1, 4, 8);
    check(Spec { layers: 0, ..none }, 2, 4, 9);
}

/// The modern block, each of its parts alone, and the original one without one of them.
#[test]
fn every_part_of_the_modern_block() {
    let (original, modern) = (Architecture::ORIGINAL, Architecture::MODERN);
    for (case, architecture) in [
        modern,
        Architecture { untied: true, ..modern },
        Architecture { rotary: true, ..original },
        Architecture { qk_norm: true, ..original },
        Architecture { sharp: true, ..original },
        Architecture { sharp: false, ..modern },
        Architecture { shifted_keys: true, ..original },
        Architecture { shifted_keys: false, ..modern },
        Architecture { output: true, ..original },
        Architecture { activation: Activation::SquaredRelu, ..original },
        Architecture { untied: true, ..original },
        Architecture { rotary: false, ..modern },
    ]
    .into_iter()
    .enumerate()
    {
        let learned = !architecture.rotary;
        let spec = Spec { dim: 12, heads: 3, architecture, learned, ..Spec::default() };
        check(spec.clone(), 2, 5, 30 + case as u64);
        let bare = Spec { norms: false, second_norms: false, biases: false, ..spec };
        check(Spec { spiral: false, ..bare }, 1, 4, 50 + case as u64);
    }
}

#[test]
fn what_is_left_out_is_left_out_of_the_gradient() {
    for (seed, architecture) in [(70, Architecture::ORIGINAL), (71, Architecture::MODERN)] {
        let dropout = Dropout::new(0.3, Dropout::key(5, seed));
        let learned = !architecture.rotary;
        let spec = Spec { dim: 8, architecture, learned, ..Spec::default() };
        check_with(spec.clone(), 2, 5, seed, dropout);
        // Only passes for training leave something out.
        let model = reference::random(&spec, seed);
        let (input, view, pool) = (tokens(6, 11, 1), model.view(), Pool::serial());
        let run = |dropout, save| {
            let mut a = Activations { dropout, ..Activations::default() };
            forward::forward(&pool, &view, &input, 1, &mut a, save, None, Beyond::LastRow).unwrap();
            a.normed.to_vec()
        };
        let all = run(None, Save::Nothing);
        assert_eq!(run(dropout, Save::Nothing), all);
        assert_ne!(run(dropout, Save::ForBackward), all);
    }
}

/// More rows than a task has, sequences whose positions begin anew in the middle of one.
#[test]
fn a_modern_block_over_more_rows_than_a_task() {
    let architecture = Architecture { untied: true, ..Architecture::MODERN };
    let spec = Spec { vocab: 4, dim: 4, hidden: 4, layers: 1, architecture, ..Spec::default() };
    check(Spec { learned: false, spiral: false, ..spec }, 2, 41, 60);
}

#[test]
fn heads_that_positions_cannot_turn_are_refused() {
    let architecture = Architecture { rotary: true, ..Architecture::ORIGINAL };
    let spec = Spec { dim: 6, heads: 2, architecture, ..Spec::default() };
    let mut model = reference::random(&spec, 1);
    let refused = |model: &Owned| {
        let view = model.view();
        let error = view.check().unwrap_err().to_string();
        let mut activations = Activations::default();
        let (pool, save, beyond) = (Pool::serial(), Save::Nothing, Beyond::NoPosition);
        let run = forward::forward(&pool, &view, &[1, 2], 1, &mut activations, save, None, beyond);
        assert_eq!(run.unwrap_err().to_string(), error);
        error
    };
    assert!(refused(&model).contains("embedding_dim / num_heads is 3"));
    let spec = Spec { dim: 8, ..spec };
    model = reference::random(&spec, 1);
    let attention = model.params.layers[1].attention.as_mut().unwrap();
    (attention.heads, attention.head_dim) = (4, 2);
    assert!(refused(&model).contains("the same num_heads in every layer"));
}

#[test]
fn one_position() {
    check(Spec { vocab: 2, ..Spec::default() }, 1, 1, 10);
}

#[test]
fn more_rows_than_a_block() {
    let spec = Spec { vocab: 4, dim: 4, hidden: 4, layers: 1, max_length: 80, ..Spec::default() };
    check(spec, 1, 80, 11);
}

#[test]
fn masked_positions_do_not_count() {
    let model = reference::random(&Spec::default(), 12);
    let input = tokens(8, 11, 13);
    let mut target = tokens(8, 11, 14);
    let mask = [1.0, 0.0, 1.0, 1.0, 0.5, 1.0, 0.2, 1.0];
    let masked = loss::Targets { ids: &target, mask: Some(&mask) };
    let (mean, grads) = gradients(&Pool::serial(), &model, &input, masked, 2);
    for (target, mask) in target.iter_mut().zip(mask) {
        if mask <= 0.5 {
            *target = u32::MAX;
        }
    }
    let (expected, same) =
        gradients(&Pool::serial(), &model, &input, loss::Targets::all(&target), 2);
    assert_eq!(mean, expected);
    assert_eq!(grads.embeddings, same.embeddings);
}

#[test]
fn no_position_counts() {
    let model = reference::random(&Spec::default(), 15);
    let input = tokens(4, 11, 16);
    let (mean, grads) =
        gradients(&Pool::serial(), &model, &input, loss::Targets::all(&[u32::MAX; 4]), 1);
    assert_eq!(mean, 0.0);
    grads.visit(|_, _, t| assert!(t.iter().all(|&g| g == 0.0)));
}

#[test]
fn threads_do_not_change_a_bit() {
    for architecture in [Architecture::ORIGINAL, Architecture::MODERN] {
        threads_do_not_change_a_bit_of(architecture);
    }
}

fn threads_do_not_change_a_bit_of(architecture: Architecture) {
    let spec = Spec {
        vocab: 300,
        dim: 64,
        heads: 4,
        hidden: 200,
        layers: 2,
        max_length: 96,
        architecture,
        ..Spec::default()
    };
    let model = reference::random(&spec, 17);
    let input = tokens(6 * 96, 300, 18);
    let target = tokens(6 * 96, 300, 19);
    let run = |threads: usize| {
        // Not the shared pool: that has no more threads than there are processors.
        let pool = Pool::start(threads);
        gradients(&pool, &model, &input, loss::Targets::all(&target), 6)
    };
    let (loss, grads) = run(1);
    for threads in [2, 3, 5] {
        let (other_loss, other) = run(threads);
        assert_eq!(loss.to_bits(), other_loss.to_bits());
        let mut tensors = Vec::new();
        other.visit(|_, _, t| tensors.push(t));
        let mut n = 0;
        grads.visit(|kind, layer, t| {
            let same = t.iter().zip(tensors[n]).all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(same, "{kind:?} of layer {layer} differs with {threads} threads");
            n += 1;
        });
    }
}

/// Logits of the last position by a pass over all tokens, cached in pieces as given.
fn incremental(pool: &Pool, model: &Owned, tokens: &[u32], pieces: &[usize]) -> Vec<f32> {
    let view = model.view();
    let mut cache = KvCache::default();
    let mut activations = Activations::default();
    let mut at = 0;
    let mut n = 0;
    for &piece in pieces {
        n = piece;
        let piece = &tokens[at..at + piece];
        at += piece.len();
        let (save, cache) = (Save::Nothing, Some(&mut cache));
        forward::forward(pool, &view, piece, 1, &mut activations, save, cache, Beyond::LastRow)
            .unwrap();
    }
    assert_eq!(at, tokens.len());
    let mut logits = vec![0.0; model.vocab];
    let last = &activations.normed[(n - 1) * model.dim..n * model.dim];
    forward::logits(pool, &view, last, 1, &mut logits);
    logits
}

#[test]
fn every_path_gives_the_same_logits() {
    let (original, modern) = (Architecture::ORIGINAL, Architecture::MODERN);
    let untied = Architecture { untied: true, ..modern };
    for (seed, layout, architecture) in [
        (20, AttentionLayout::Full, original),
        (21, AttentionLayout::PerHead, original),
        (22, AttentionLayout::Full, modern),
        (23, AttentionLayout::Full, untied),
    ] {
        let learned = !architecture.rotary;
        let sizes = Spec { dim: 12, heads: 3, max_length: 150, ..Spec::default() };
        let spec = Spec { layout, architecture, learned, ..sizes };
        let model = reference::random(&spec, seed);
        let input = tokens(150, spec.vocab, seed + 1);
        let expected = reference::logits(&model, &model.doubled(), &input, 1);
        let close = |got: &[f32], position: usize, path: &str| {
            for (got, want) in got.iter().zip(&expected[position]) {
                let error = (f64::from(*got) - want).abs();
                assert!(error < 2e-4, "{path}, position {position}: {got}, expected {want}");
            }
        };

        let view = model.view();
        let mut activations = Activations::default();
        let (save, cache) = (Save::ForBackward, None);
        let pool = Pool::serial();
        forward::forward(&pool, &view, &input, 1, &mut activations, save, cache, Beyond::LastRow)
            .unwrap();
        let mut all = vec![0.0; 150 * model.vocab];
        forward::logits(&pool, &view, &activations.normed, 150, &mut all);
        for (position, row) in all.chunks_exact(model.vocab).enumerate() {
            close(row, position, "batched");
        }
        let incremental = |pieces| incremental(&pool, &model, &input, pieces);
        close(&incremental(&[150]), 149, "prefill");
        close(&incremental(&[1; 150]), 149, "token by token");
        close(&incremental(&[30, 1, 1, 118]), 149, "in pieces");
    }
}

#[test]
fn threads_do_not_change_a_bit_of_decoding() {
    let spec = Spec { vocab: 500, dim: 128, heads: 4, max_length: 200, ..Spec::default() };
    let model = reference::random(&spec, 24);
    let input = tokens(200, 500, 25);
    let run = |threads: usize| {
        let logits = incremental(&Pool::start(threads), &model, &input, &[1; 200]);
        logits.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
    };
    let alone = run(1);
    for threads in [2, 3, 5] {
        assert_eq!(run(threads), alone, "{threads} threads");
    }
}

#[test]
fn later_tokens_do_not_change_earlier_logits() {
    let model = reference::random(&Spec { max_length: 80, ..Spec::default() }, 22);
    let view = model.view();
    let run = |input: &[u32]| {
        let mut activations = Activations::default();
        let pool = Pool::serial();
        let (save, cache) = (Save::ForBackward, None);
        forward::forward(&pool, &view, input, 1, &mut activations, save, cache, Beyond::NoPosition)
            .unwrap();
        activations.normed[..input.len() * model.dim].to_vec()
    };
    let mut input = tokens(75, 11, 23);
    let before = run(&input);
    for changed in [74, 40, 1] {
        input[changed] = (input[changed] + 1) % 11;
        let after = run(&input);
        let earlier = changed * model.dim;
        let same = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits());
        assert!(same(&before[..earlier], &after[..earlier]), "token {changed} changed the past");
        assert!(!same(&before[earlier..], &after[earlier..]), "token {changed} changed nothing");
        input[changed] = (input[changed] + 10) % 11;
    }
}
