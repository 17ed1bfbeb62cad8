//! The work that benchmarks time is the real one.

#[path = "../../engine/tests/reference/mod.rs"]
mod reference;

use cllm_compat::benchmark::{ForwardPass, TrainingSteps, repeat};
use cllm_engine::nn::loss::Targets;
use cllm_engine::train::Batch;
use cllm_kernels::Pool;
use reference::{Spec, random};
use std::time::Duration;

#[test]
fn last_logits_are_those_of_the_whole_pass() {
    let owned = random(&Spec::default(), 3);
    let model = owned.view();
    let pool = Pool::serial();
    let (a, b) = ([3, 1, 4, 1, 5], [2, 7, 1, 8, 2]);
    let alone: Vec<_> = [a, b]
        .iter()
        .map(|ids| ForwardPass::new(&pool, &model, 1).last_logits(ids).unwrap().to_vec())
        .collect();
    let both = ForwardPass::new(&pool, &model, 2).last_logits(&[a, b].concat()).unwrap().to_vec();
    assert_eq!(both.len(), model.vocab);
    for (both, alone) in both.iter().zip(&alone[1]) {
        assert!((both - alone).abs() < 1e-5, "the last sequence's: {both} {alone}");
    }
    assert_ne!(alone[0], alone[1]);
    let changed =
        ForwardPass::new(&pool, &model, 1).last_logits(&[4, 1, 4, 1, 5]).unwrap().to_vec();
    assert_ne!(changed, alone[0], "the first token is seen");
    let expected = reference::logits(&owned, &owned.doubled(), &a, 1);
    for (&got, want) in alone[0].iter().zip(&expected[4]) {
        assert!((f64::from(got) - want).abs() < 1e-4, "{got} {want}");
    }
}

#[test]
fn a_training_copy_learns_and_the_model_stays() {
    let owned = random(&Spec::default(), 5);
    let before = owned.params.clone();
    let model = owned.view();
    let pool = Pool::serial();
    let (tokens, targets) = ([1, 2, 3, 4, 5, 6], [2, 3, 4, 5, 6, 7]);
    let mut copy = TrainingSteps::new(&model).unwrap();
    let batch = Batch { tokens: &tokens, targets: Targets::all(&targets), sequences: 2 };
    let losses: Vec<f64> = (0..50).map(|_| f64::from(copy.step(&pool, &batch).unwrap())).collect();
    let expected = reference::loss(&owned, &owned.doubled(), &tokens, &targets, 2);
    assert!((losses[0] - expected).abs() < 1e-4, "{} {expected}", losses[0]);
    assert!(losses[49] < losses[0] - 0.01, "{losses:?}");
    before.visit(|kind, layer, t| {
        owned.params.visit(|k, l, now| {
            if (k, l) == (kind, layer) {
                assert_eq!(t, now, "{kind:?} {layer}");
            }
        });
    });
}

#[test]
fn repeat_counts_and_stops() {
    let mut calls = 0;
    let timing = repeat(5, Duration::from_secs(60), || {
        calls += 1;
        Ok(())
    });
    assert_eq!(timing.unwrap().iterations, 5);
    assert_eq!(calls, 6, "one before");
    let slow = || {
        std::thread::sleep(Duration::from_millis(2));
        Ok(())
    };
    let timing = repeat(1000, Duration::from_millis(1), slow).unwrap();
    assert_eq!(timing.iterations, 1, "the budget ends it");
    assert!(timing.milliseconds() >= 2.0);
    assert!(timing.per_second(10) <= 5000.0);
}
