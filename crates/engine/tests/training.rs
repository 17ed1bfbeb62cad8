//! Training steps, runs and checkpoints by the engine's own interface.

mod reference;

use cllm_engine::error::{Error, ErrorKind};
use cllm_engine::model::{Architecture, ModelRef, Params};
use cllm_engine::nn::loss::Targets;
use cllm_engine::score::{Scorer, TokenScore, Windows};
use cllm_engine::text::{Dataset, TokenFile};
use cllm_engine::train::checkpoint::{self, Checkpoint, DataMark};
use cllm_engine::train::{
    Batch, Corpus, Optimizer, Outcome, Parameters, Progress, Schedule, ShortWindows, Trainer,
    TrainerConfig, TrainingWeights, Weights,
};
use cllm_kernels::Pool;
use reference::{Owned, Spec, random};
use std::ops::ControlFlow;

impl Parameters for Owned {
    fn view(&self) -> ModelRef<'_> {
        Owned::view(self)
    }

    fn params_mut(&mut self) -> Params<&mut [f32]> {
        reference::view_mut(&mut self.params)
    }

    fn spiral_mut(&mut self) -> Option<&mut [f32]> {
        self.spiral.as_deref_mut()
    }
}

fn ids(n: u32) -> Vec<u32> {
    (0..n).map(|i| i * i * 7 % 11).collect()
}

fn config() -> TrainerConfig {
    TrainerConfig { schedule: Schedule::cosine(1e-2, 3, 40), ..TrainerConfig::default() }
}

/// Every weight's bits, and S's.
fn bits(model: &Owned) -> Vec<u32> {
    let mut bits = Vec::new();
    model.params.visit(|_, _, t| bits.extend(t.iter().map(|x| x.to_bits())));
    bits.extend(model.spiral.iter().flatten().map(|x| x.to_bits()));
    bits
}

fn on(_: &Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Trains `steps` batches; their losses.
fn train(
    trainer: &mut Trainer,
    weights: &mut dyn Weights,
    corpus: &Corpus,
    pool: &Pool,
    steps: usize,
) -> Vec<f32> {
    let mut losses = Vec::new();
    while losses.len() < steps {
        let left = steps - losses.len();
        let watch = |p: &Progress| {
            losses.push(p.step.loss);
            ControlFlow::Continue(())
        };
        trainer.run(pool, weights, corpus, Some(left), watch).unwrap();
    }
    losses
}

#[test]
fn a_step_of_descent_goes_down_the_gradient() {
    let before = random(&Spec::default(), 1);
    let mut weights = TrainingWeights::new(random(&Spec::default(), 1));
    let mut trainer = Trainer::new(TrainerConfig {
        optimizer: Optimizer::Descent,
        weight_decay: 0.0,
        clip: 0.0,
        ..config()
    });
    let (tokens, targets) = ([1, 2, 3, 4, 5, 6], [2, 3, 4, 5, 6, 7]);
    let batch = Batch { tokens: &tokens, targets: Targets::all(&targets), sequences: 2 };
    let loss = trainer.gradients(&Pool::serial(), &mut weights, &batch).unwrap();
    let expected = reference::loss(&before, &before.doubled(), &tokens, &targets, 2);
    assert!((f64::from(loss) - expected).abs() < 1e-4, "{loss} {expected}");
    let mut gradients = Vec::new();
    weights.pass().unwrap().1.map(|_, _, g| gradients.extend_from_slice(g));
    let step = trainer.step(&Pool::serial(), &mut weights, &batch, 0.25).unwrap();
    assert_eq!((step.number, step.loss, step.learning_rate), (1, loss, 0.25));
    assert_eq!(step.outcome, Outcome::Updated);
    let norm = gradients.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
    assert!((step.gradient_norm - norm).abs() < 1e-5 * norm, "{} {norm}", step.gradient_norm);
    let (mut old, mut new) = (Vec::new(), Vec::new());
    before.params.visit(|_, _, t| old.extend_from_slice(t));
    weights.model().params.visit(|_, _, t| new.extend_from_slice(t));
    for ((new, old), g) in new.iter().zip(&old).zip(&gradients) {
        assert!((new - (old - 0.25 * g)).abs() < 1e-6, "{old} - 0.25·{g} = {new}");
    }
}

#[test]
fn a_window_of_batches_updates_by_their_mean() {
    let ids = ids(25);
    let (parts, whole) = (Corpus::new(&ids, 2, 4).unwrap(), Corpus::new(&ids, 6, 4).unwrap());
    let config = TrainerConfig { optimizer: Optimizer::Descent, clip: 0.0, ..config() };
    let pool = Pool::serial();
    let mut in_parts = TrainingWeights::new(random(&Spec::default(), 2));
    let mut trainer = Trainer::new(TrainerConfig { window: 3, ..config });
    let start = bits(in_parts.model());
    for offset in [0, 8, 16] {
        assert_eq!(bits(in_parts.model()), start, "nothing before the window is full");
        let batch = parts.batch(offset).unwrap();
        let step = trainer.step(&pool, &mut in_parts, &batch, 0.1).unwrap();
        let full = offset == 16;
        let expected = if full { Outcome::Updated } else { Outcome::Accumulated };
        assert_eq!(step.outcome, expected);
        assert_eq!(trainer.counters.accumulated, if full { 0 } else { offset as u32 / 8 + 1 });
    }
    let mut at_once = TrainingWeights::new(random(&Spec::default(), 2));
    let mut trainer = Trainer::new(config);
    trainer.step(&pool, &mut at_once, &whole.batch(0).unwrap(), 0.1).unwrap();
    let (mut a, mut b) = (Vec::new(), Vec::new());
    in_parts.model().params.visit(|_, _, t| a.extend_from_slice(t));
    at_once.model().params.visit(|_, _, t| b.extend_from_slice(t));
    assert_ne!(bits(in_parts.model()), start);
    for (a, b) in a.iter().zip(&b) {
        assert!((a - b).abs() < 1e-6, "{a} {b}");
    }
}

#[test]
fn a_gradient_that_is_not_finite_costs_its_update_only() {
    let mut model = random(&Spec::default(), 3);
    model.params.embeddings[5 * 6] = f32::INFINITY;
    let mut weights = TrainingWeights::new(model);
    let mut trainer = Trainer::new(config());
    let before = bits(weights.model());
    let bad = Batch { tokens: &[5, 1], targets: Targets::all(&[1, 2]), sequences: 1 };
    let step = trainer.step(&Pool::serial(), &mut weights, &bad, 0.1).unwrap();
    assert_eq!(step.outcome, Outcome::Skipped);
    assert!(!step.gradient_norm.is_finite());
    assert_eq!(bits(weights.model()), before);
    let c = trainer.counters;
    assert_eq!((c.step, c.updates, c.skipped), (1, 0, 1));
}

#[test]
fn batches_that_fit_nothing_are_errors_and_no_steps() {
    let mut weights = TrainingWeights::new(random(&Spec::default(), 4));
    let mut trainer = Trainer::new(config());
    let before = bits(weights.model());
    let all = Targets::all;
    for batch in [
        Batch { tokens: &[], targets: all(&[]), sequences: 1 },
        Batch { tokens: &[1, 2, 3], targets: all(&[1, 2, 3]), sequences: 2 },
        Batch { tokens: &[1, 2, 3], targets: all(&[1, 2, 3]), sequences: 0 },
        Batch { tokens: &[1, 2, 3], targets: all(&[1, 2]), sequences: 1 },
        Batch { tokens: &[1, 2], targets: all(&[1, 2, 3]), sequences: 1 },
        Batch {
            tokens: &[1, 2],
            targets: Targets { ids: &[1, 2], mask: Some(&[1.0]) },
            sequences: 1,
        },
    ] {
        let result = trainer.step(&Pool::serial(), &mut weights, &batch, 0.1);
        assert!(
            matches!(result.as_ref().map_err(Error::kind), Err(ErrorKind::Shape(_))),
            "{batch:?}"
        );
    }
    assert_eq!((bits(weights.model()), trainer.counters.step), (before, 0));
    assert!(Corpus::new(&[1, 2], 0, 4).is_err() && Corpus::new(&[1, 2], 4, 0).is_err());
    assert!(Corpus::new(&[1, 2], usize::MAX, 2).is_err());
}

#[test]
fn dynamic_evaluation_scores_each_window_and_then_learns_it() {
    let (spec, config) = modern();
    let (ids, rate) = (ids(50), 3e-3);
    for (context, stride) in [(8, 8), (8, 3), (64, 32), (1, 1)] {
        let pool = Pool::serial();
        let windows = Windows::new(context, stride).unwrap();
        let evaluated = |pool: &Pool, rate: f32| {
            let mut weights = TrainingWeights::new(random(&spec, 2));
            let (mut trainer, mut scores) = (Trainer::new(config), Vec::new());
            let all =
                trainer.dynamic_evaluation(pool, &mut weights, &ids, windows, rate, |i, s| {
                    assert_eq!(i, scores.len() + 1, "each once, in order");
                    scores.push(s.log_prob.to_bits());
                });
            assert_eq!(all.unwrap().tokens, 49);
            (scores, bits(weights.model()), trainer.counters.step)
        };

        // Without learning it is the score, and the weights stay. A pass of one window may round otherwise than
        // one of several.
        let (model, mut plain) = (random(&spec, 2), Vec::new());
        let push = |_, s: TokenScore| plain.push(s.log_prob);
        Scorer::new().score(&pool, &model.view(), &ids, windows, push).unwrap();
        let (scores, weights, steps) = evaluated(&pool, 0.0);
        assert!(weights == bits(&model) && steps == 0);
        for (&found, expected) in scores.iter().zip(plain) {
            let found = f32::from_bits(found);
            assert!((found - expected).abs() < 1e-5 * expected.abs(), "{found}, {expected}");
        }

        // The same by hand: where windows begin and what they answer for is the rule of `Windows`.
        let mut weights = TrainingWeights::new(random(&spec, 2));
        let (mut trainer, mut by_hand) = (Trainer::new(config), Vec::new());
        for start in (0..).step_by(stride) {
            let window = &ids[start..(start + context).min(49) + 1];
            let all = Windows::new(context, context).unwrap();
            let push = |i: usize, s: TokenScore| {
                if start + i > by_hand.len() {
                    by_hand.push(s.log_prob.to_bits());
                }
            };
            Scorer::new().score(&pool, &weights.model().view(), window, all, push).unwrap();
            let (tokens, targets) = (&window[..window.len() - 1], Targets::all(&window[1..]));
            let batch = Batch { tokens, targets, sequences: 1 };
            trainer.step(&pool, &mut weights, &batch, rate).unwrap();
            if start + context >= 49 {
                break;
            }
        }
        let steps = trainer.counters.step;
        let expected = (by_hand, bits(weights.model()), steps);
        for pool in [pool, Pool::start(2)] {
            assert!(evaluated(&pool, rate) == expected, "{context}, {stride}");
        }
        assert_eq!(steps as usize, 1 + 49usize.saturating_sub(context).div_ceil(stride));
    }
}

#[test]
fn dynamic_evaluation_refuses_before_it_learns() {
    let mut weights = TrainingWeights::new(random(&Spec::default(), 1));
    let before = bits(weights.model());
    let (windows, mut trainer) = (Windows::new(4, 4).unwrap(), Trainer::new(config()));
    let vocab = weights.model().vocab as u32;
    let cases = [
        (vec![1, 2, 3, 4, 5, 6], f32::NAN),
        (vec![1, 2, 3, 4, 5, 6], -1e-3),
        (vec![1, 2, 3, 4, 5, 6], f32::INFINITY),
        (vec![], 1e-3),
        (vec![1, 2, 3, 4, 5, 6, vocab], 1e-3),
    ];
    for (ids, rate) in cases {
        let refused = trainer
            .dynamic_evaluation(&Pool::serial(), &mut weights, &ids, windows, rate, |_, _| {
                panic!("nothing is scored")
            })
            .unwrap_err();
        assert!(matches!(refused.kind(), ErrorKind::Argument { .. }), "{refused}");
    }
    assert_eq!((bits(weights.model()), trainer.counters.step), (before, 0));
}

#[test]
fn runs_end_where_they_should() {
    let ids = ids(50);
    let corpus = Corpus::new(&ids, 2, 4).unwrap();
    assert_eq!(corpus.batches(), 6);
    let mut weights = TrainingWeights::new(random(&Spec::default(), 5));
    let mut trainer = Trainer::new(config());
    let pool = Pool::serial();

    let mut seen = Vec::new();
    let whole = trainer.epoch(&pool, &mut weights, &corpus, |p| {
        seen.push((p.position.epoch, p.position.batch, p.step.number, p.step.learning_rate));
        assert_eq!((p.position.batches, p.position.tokens), (6, 8));
        assert!(p.tokens_per_second > 0.0 && p.seconds_left >= 0.0);
        ControlFlow::Continue(())
    });
    let whole = whole.unwrap();
    assert_eq!((whole.steps, whole.stopped), (6, false));
    let rates = (0..6).map(|i| (0, i as usize + 1, i + 1, config().schedule.rate(i)));
    assert_eq!(seen, rates.collect::<Vec<_>>());
    assert_eq!((trainer.counters.epoch, trainer.counters.offset), (1, 0));

    // A run that is cut goes on where it was; its epoch ends when nothing is left.
    let part = trainer.run(&pool, &mut weights, &corpus, Some(4), on).unwrap();
    assert_eq!((part.steps, trainer.counters.offset), (4, 32));
    let stopped = trainer.run(&pool, &mut weights, &corpus, None, |_| ControlFlow::Break(()));
    assert_eq!(stopped.map(|run| (run.steps, run.stopped)).unwrap(), (1, true));
    let part = trainer.run(&pool, &mut weights, &corpus, Some(4), on).unwrap();
    assert_eq!((part.steps, trainer.counters.epoch), (1, 1));
    let nothing = trainer.run(&pool, &mut weights, &corpus, Some(4), on).unwrap();
    assert_eq!((nothing.steps, nothing.mean_loss(), trainer.counters.epoch), (0, 0.0, 2));

    let short = Corpus::new(&ids[..8], 2, 4).unwrap();
    let nothing = trainer.epoch(&pool, &mut weights, &short, on).unwrap();
    assert_eq!((short.batches(), nothing.steps), (0, 0));
}

#[test]
fn threads_change_no_bit() {
    let ids = ids(200);
    let corpus = Corpus::new(&ids, 4, 6).unwrap();
    let trained = |pool: &Pool| {
        let mut weights = TrainingWeights::new(random(&Spec::default(), 6));
        let mut trainer = Trainer::new(TrainerConfig { window: 2, ..config() });
        let losses = train(&mut trainer, &mut weights, &corpus, pool, 12);
        (losses, bits(&weights.into_model()))
    };
    let serial = trained(&Pool::serial());
    assert!(serial.0[11] < serial.0[0], "it learns: {:?}", serial.0);
    assert_eq!(serial, trained(&Pool::start(3)));
}

/// The modern block, windows at random offsets and dropout: what the recipe is made of.
fn modern() -> (Spec, TrainerConfig) {
    let architecture = Architecture { untied: true, ..Architecture::MODERN };
    let bare = Spec { norms: false, second_norms: false, biases: false, ..Spec::default() };
    let spec = Spec { dim: 8, architecture, spiral: false, learned: false, ..bare };
    let config = TrainerConfig {
        schedule: Schedule::linear(3e-3, 3, 60),
        window: 2,
        beta2: 0.99,
        dropout: 0.1,
        // The windows become longer behind the place where the tests below save and go on.
        short_windows: ShortWindows { positions: 2, part: 0.3 },
        seed: 11,
        ..TrainerConfig::default()
    };
    (spec, config)
}

#[test]
fn threads_change_no_bit_of_a_modern_run() {
    let ids = ids(400);
    let (spec, config) = modern();
    let corpus = Corpus::new(&ids, 4, 12).unwrap().shuffled(3);
    let trained = |pool: &Pool, config| {
        let mut weights = TrainingWeights::new(random(&spec, 6));
        let mut trainer = Trainer::new(config);
        let losses = train(&mut trainer, &mut weights, &corpus, pool, 24);
        (losses, bits(&weights.into_model()))
    };
    let serial = trained(&Pool::serial(), config);
    assert_eq!(serial, trained(&Pool::start(3), config));
    // Each of these is something that the result depends on.
    for other in [
        TrainerConfig { seed: 12, ..config },
        TrainerConfig { dropout: 0.0, ..config },
        TrainerConfig { beta2: 0.999, ..config },
        TrainerConfig { short_windows: ShortWindows::default(), ..config },
    ] {
        assert_ne!(serial.1, trained(&Pool::serial(), other).1);
    }
}

/// A run with short windows is one over a corpus of such, then one over the whole windows.
#[test]
fn short_windows_are_those_of_a_corpus_of_short_ones() {
    let (ids, pool, (spec, config)) = (ids(125), Pool::serial(), modern());
    let whole = Corpus::new(&ids, 2, 12).unwrap().shuffled(3);
    let short = Corpus::new(&ids, 12, 2).unwrap().shuffled(3);
    // So tight that whole windows could not move: of these an epoch has one batch fewer, of short ones not.
    assert_eq!((whole.batches(), short.batches()), (4, 5));
    assert_eq!(whole.cut(2).unwrap().batches(), 4);
    for none in [0, 5, 12, 24] {
        assert!(whole.cut(none).is_none());
    }
    let mut weights = TrainingWeights::new(random(&spec, 7));
    let mut trainer = Trainer::new(config);
    let losses = train(&mut trainer, &mut weights, &whole, &pool, 24);

    let plain = TrainerConfig { short_windows: ShortWindows::default(), ..config };
    let mut by_hand = TrainingWeights::new(random(&spec, 7));
    let mut other = Trainer::new(plain);
    let short = whole.cut(2).unwrap();
    let mut expected = train(&mut other, &mut by_hand, &short, &pool, 18);
    assert_eq!((other.counters.epoch, other.counters.offset), (4, 48));
    expected.extend(train(&mut other, &mut by_hand, &whole, &pool, 6));
    assert_eq!(losses, expected);
    assert_eq!(bits(&weights.into_model()), bits(&by_hand.into_model()));
}

#[test]
fn a_restored_modern_run_is_the_same_run() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.state");
    let (ids, pool, (spec, config)) = (ids(100), Pool::serial(), modern());
    let corpus = Corpus::new(&ids, 2, 4).unwrap().shuffled(3);
    let mut weights = TrainingWeights::new(random(&spec, 7));
    let mut trainer = Trainer::new(config);
    // In the middle of an epoch and of a window.
    train(&mut trainer, &mut weights, &corpus, &pool, 17);
    assert!(trainer.counters.accumulated > 0 && trainer.counters.epoch > 0);
    checkpoint::save(&path, &mut trainer, &mut weights, Some(&corpus)).unwrap();
    let expected = train(&mut trainer, &mut weights, &corpus, &pool, 20);

    let mut other = TrainingWeights::new(random(&spec, 8));
    let mut resumed = Trainer::new(config);
    let mut saved = Checkpoint::open(&path).unwrap();
    let mark = saved.notes().data.unwrap();
    assert_eq!(mark, DataMark::of(&corpus));
    let text = mark.difference(&DataMark::of(&corpus.shuffled(4))).unwrap();
    assert_eq!(text, "its batches came in the order of seed 3, these come in the order of seed 4");
    let text = mark.difference(&DataMark::of(&Corpus::new(&ids, 2, 4).unwrap())).unwrap();
    assert_eq!(text, "its batches came in the order of seed 3, these come in order");
    resumed.counters = saved.restore(&mut other).unwrap();
    assert_eq!(train(&mut resumed, &mut other, &corpus, &pool, 20), expected);
    assert_eq!(bits(other.model()), bits(weights.model()));

    // The same over a file of the ids.
    let dataset = dir.path().join("dataset.bin");
    Dataset::from_ids(ids.clone()).write(&dataset).unwrap();
    let file = TokenFile::open(&dataset).unwrap();
    let on_disk = Corpus::new(&file, 2, 4).unwrap().shuffled(3);
    assert_eq!(mark, DataMark::of(&on_disk));
    resumed.counters = saved.restore(&mut other).unwrap();
    assert_eq!(train(&mut resumed, &mut other, &on_disk, &pool, 20), expected);
    assert_eq!(bits(other.model()), bits(weights.model()));

    // Without one of its tensors it is another model.
    let architecture = Architecture::MODERN;
    let mut tied = TrainingWeights::new(random(&Spec { architecture, ..spec }, 8));
    let error = Checkpoint::open(&path).unwrap().restore(&mut tied).unwrap_err().to_string();
    assert!(error.contains("weight arrays"), "{error}");
}

#[test]
fn a_restored_run_is_the_same_run() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.state");
    let ids = ids(100);
    let corpus = Corpus::new(&ids, 2, 4).unwrap();
    let pool = Pool::serial();
    for optimizer in [Optimizer::AdamW, Optimizer::Momentum { mu: 0.9 }] {
        let config = TrainerConfig { optimizer, window: 3, ..config() };
        let mut weights = TrainingWeights::new(random(&Spec::default(), 7));
        let mut trainer = Trainer::new(config);
        // In the middle of an epoch and of a window.
        train(&mut trainer, &mut weights, &corpus, &pool, 16);
        assert!(trainer.counters.accumulated > 0 && trainer.counters.epoch > 0);
        checkpoint::save(&path, &mut trainer, &mut weights, Some(&corpus)).unwrap();
        let expected = train(&mut trainer, &mut weights, &corpus, &pool, 10);

        let mut other = TrainingWeights::new(random(&Spec::default(), 8));
        let mut resumed = Trainer::new(config);
        // What it had before must not matter.
        train(&mut resumed, &mut other, &corpus, &pool, 2);
        let mut saved = Checkpoint::open(&path).unwrap();
        assert_eq!(saved.notes().data, Some(DataMark::of(&corpus)));
        resumed.counters = saved.restore(&mut other).unwrap();
        assert_eq!(train(&mut resumed, &mut other, &corpus, &pool, 10), expected);
        assert_eq!(bits(other.model()), bits(weights.model()));
        assert_eq!(resumed.counters, trainer.counters);
    }
}

#[test]
fn another_model_is_refused_and_stays() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.state");
    let spec = Spec::default();
    let mut weights = TrainingWeights::new(random(&spec, 9));
    checkpoint::save(&path, &mut Trainer::default(), &mut weights, None).unwrap();
    for (other, reason) in [
        (Spec { vocab: 12, ..spec.clone() }, "vocab is 11, the model's is 12"),
        (Spec { heads: 3, ..spec.clone() }, "it was trained with 2 heads, the model has 3"),
        (Spec { hidden: 10, ..spec.clone() }, "w1/0"),
        (Spec { layers: 3, ..spec.clone() }, "layers is 2"),
        (Spec { spiral: false, ..spec.clone() }, "entry spiral"),
        (Spec { biases: false, ..spec.clone() }, "weight arrays"),
        (Spec { learned: false, ..spec.clone() }, "weight arrays"),
    ] {
        let mut weights = TrainingWeights::new(random(&other, 10));
        let before = bits(weights.model());
        let mut saved = Checkpoint::open(&path).unwrap();
        let error = saved.restore(&mut weights).unwrap_err().to_string();
        assert!(error.contains(reason) && error.contains("run.state"), "{error}");
        assert_eq!(bits(weights.model()), before);
    }
    let mut saved = Checkpoint::open(&path).unwrap();
    assert_eq!(saved.notes().data, None);
    saved.restore(&mut weights).unwrap();
}

#[test]
fn what_is_no_checkpoint_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.state");
    let mut weights = TrainingWeights::new(random(&Spec::default(), 9));
    let missing = Checkpoint::open(&path).unwrap_err();
    assert!(matches!(missing.kind(), ErrorKind::Io { .. }));
    checkpoint::save(&path, &mut Trainer::default(), &mut weights, None).unwrap();
    let whole = std::fs::read(&path).unwrap();
    for bytes in [&whole[..7], &whole[..16], &whole[..whole.len() - 1]] {
        std::fs::write(&path, bytes).unwrap();
        let error = Checkpoint::open(&path).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::File { .. }), "{} bytes: {error}", bytes.len());
    }
    // A folder that can't be written: an error, and no file.
    let nowhere = dir.path().join("no/folder.state");
    assert!(checkpoint::save(&nowhere, &mut Trainer::default(), &mut weights, None).is_err());
}

#[test]
fn other_data_is_noticed() {
    let (a, mut b) = (ids(60), ids(60));
    let mark = |ids: &[u32], b, s| DataMark::of(&Corpus::new(ids, b, s).unwrap());
    let first = mark(&a, 2, 4);
    assert_eq!(first.difference(&mark(&b, 2, 4)), None);
    b.swap(7, 8);
    assert_ne!(a, b);
    let text = first.difference(&mark(&b, 2, 4)).unwrap();
    assert_eq!(text, "it was trained on 60 ids, these are 60 other ones");
    let text = first.difference(&mark(&a[..50], 2, 4)).unwrap();
    assert_eq!(text, "it was trained on 60 ids, these are 50");
    let text = first.difference(&mark(&a, 4, 4)).unwrap();
    assert_eq!(text, "its batches are 2 sequences of 4 tokens, these are 4 of 4");
    let words = |words: &[&str]| {
        let words = Some(checkpoint::words_checksum(words.iter().map(|word| word.as_bytes())));
        DataMark { words, ..first }
    };
    let cat = words(&["the", "cat"]);
    assert_eq!(cat.difference(&words(&["the", "cat"])), None);
    assert_eq!(cat.difference(&first), None, "where one of them does not say");
    assert_ne!(words(&["a", "bc"]), words(&["ab", "c"]));
    let text = cat.difference(&words(&["the", "cow"])).unwrap();
    assert_eq!(text, "its vocabulary has other words");
}
