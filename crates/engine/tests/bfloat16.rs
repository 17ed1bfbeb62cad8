//! Training in bfloat16, beside training in f32. Where the processor lacks it, only that it is refused.

use cllm_engine::train::checkpoint::{self, Checkpoint};
use cllm_engine::train::{
    Corpus, Outcome, Trainer, TrainerConfig, TrainingPrecision, TrainingWeights, Weights,
};
use cllm_engine::{ErrorKind, Model, ModelConfig, Pool};
use std::process::Command;

const BF16: TrainingPrecision = TrainingPrecision::Bf16;

/// The original block and the modern one, of sizes around those of the kernels' tiles.
fn blocks() -> [ModelConfig; 2] {
    let sizes = |config| ModelConfig {
        vocab: 70,
        dim: 40,
        layers: 2,
        heads: 4,
        hidden: 96,
        context: 24,
        ..config
    };
    [sizes(ModelConfig::default()), sizes(ModelConfig::modern())]
}

fn config(precision: TrainingPrecision) -> TrainerConfig {
    TrainerConfig { precision, ..TrainerConfig::default() }
}

/// A text with something to learn: each id follows from the two before it.
fn ids(n: usize) -> Vec<u32> {
    let mut ids = vec![1, 2];
    while ids.len() < n {
        let last = &ids[ids.len() - 2..];
        ids.push((last[0] * 3 + last[1] + ids.len() as u32 % 2) % 70);
    }
    ids
}

fn bits(model: &Model) -> Vec<u32> {
    let mut bits = Vec::new();
    model.view().params.visit(|_, _, t| bits.extend(t.iter().map(|x| x.to_bits())));
    bits
}

/// Trains `steps` steps from `trainer`'s counters on; the losses.
fn train(
    trainer: &mut Trainer,
    weights: &mut TrainingWeights<Model>,
    pool: &Pool,
    steps: usize,
) -> Vec<f32> {
    let ids = ids(2000);
    let corpus = Corpus::new(&ids, 4, 24).unwrap();
    let mut losses = Vec::new();
    while losses.len() < steps {
        if let Some((step, _)) = trainer.next_step(pool, weights, &corpus, 3e-3).unwrap() {
            losses.push(step.loss);
        }
    }
    losses
}

/// Loss and gradients, tensor by tensor, of a model that has learnt a little.
fn gradients(block: &ModelConfig, precision: TrainingPrecision) -> (f32, Vec<(String, Vec<f32>)>) {
    let pool = Pool::serial();
    let mut weights = TrainingWeights::new(Model::new(block, 3).unwrap());
    let mut trainer = Trainer::new(config(TrainingPrecision::F32));
    train(&mut trainer, &mut weights, &pool, 5);
    trainer.config.precision = precision;
    let ids = ids(97);
    let corpus = Corpus::new(&ids, 4, 24).unwrap();
    let mut windows = Default::default();
    let batch = corpus.draw(0, 0, &mut windows).unwrap().unwrap();
    let loss = trainer.gradients(&pool, &mut weights, &batch).unwrap();
    let mut all = Vec::new();
    weights
        .visit(&mut |t| {
            all.push((format!("{:?} of layer {}", t.part, t.layer), t.gradient.to_vec()));
            Ok(())
        })
        .unwrap();
    (loss, all)
}

#[test]
fn gradients_stay_near_those_of_f32() {
    if !BF16.is_available() {
        return;
    }
    for block in blocks() {
        let (loss, exact) = gradients(&block, TrainingPrecision::F32);
        let (rounded_loss, rounded) = gradients(&block, BF16);
        assert!((loss - rounded_loss).abs() < 2e-3 * loss, "{loss} {rounded_loss}");
        for ((name, exact), (_, rounded)) in exact.iter().zip(&rounded) {
            let norm = |x: &mut dyn Iterator<Item = f32>| {
                x.map(|x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt()
            };
            let size = norm(&mut exact.iter().copied());
            let error = norm(&mut exact.iter().zip(rounded).map(|(a, b)| a - b));
            // An operand is wrong by 2^-9 at most.
            assert!(size > 0.0 && error < 0.02 * size, "{name}: {error} of {size}");
            // They are others, for each product of weights has rounded factors.
            assert!(error > 1e-5 * size, "{name}: {error} of {size}");
        }
    }
}

#[test]
fn learns_like_f32_with_any_number_of_threads() {
    if !BF16.is_available() {
        return;
    }
    for block in blocks() {
        let run = |pool: &Pool, precision| {
            let mut weights = TrainingWeights::new(Model::new(&block, 3).unwrap());
            let mut trainer = Trainer::new(config(precision));
            let losses = train(&mut trainer, &mut weights, pool, 120);
            (losses, bits(weights.model()))
        };
        let serial = run(&Pool::serial(), BF16);
        for threads in [2, 5] {
            assert!(run(&Pool::start(threads), BF16) == serial, "{threads} threads");
        }
        let end = |losses: &[f32]| losses[100..].iter().sum::<f32>() / 20.0;
        let exact = run(&Pool::serial(), TrainingPrecision::F32);
        let (ours, theirs) = (end(&serial.0), end(&exact.0));
        assert!(ours < 0.6 * serial.0[0], "{:?}", serial.0);
        assert!((ours - theirs).abs() < 0.05 * theirs, "{ours} {theirs}");
        assert_ne!(serial.1, exact.1);
    }
}

#[test]
fn a_restored_run_is_the_same_run() {
    if !BF16.is_available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.state");
    let pool = Pool::serial();
    let [_, block] = blocks();
    let mut weights = TrainingWeights::new(Model::new(&block, 3).unwrap());
    let mut trainer = Trainer::new(TrainerConfig { window: 2, dropout: 0.1, ..config(BF16) });
    train(&mut trainer, &mut weights, &pool, 9);
    checkpoint::save(&path, &mut trainer, &mut weights, None).unwrap();
    let expected = train(&mut trainer, &mut weights, &pool, 10);

    let mut saved = Checkpoint::open(&path).unwrap();
    let precision = saved.notes().precision;
    assert_eq!(precision, BF16);
    let arithmetic = &saved.notes().arithmetic;
    assert!(["bf16 by AMX", "bf16 by AVX512_BF16"].contains(&arithmetic.as_str()), "{arithmetic}");
    assert_eq!(*arithmetic, BF16.arithmetic());
    let mut other = TrainingWeights::new(Model::new(&block, 4).unwrap());
    let mut resumed = Trainer::new(TrainerConfig { precision, ..trainer.config });
    resumed.counters = saved.restore(&mut other).unwrap();
    assert_eq!(train(&mut resumed, &mut other, &pool, 10), expected);
    assert_eq!(bits(other.model()), bits(weights.model()));
    // With f32 it goes on differently.
    let mut third = TrainingWeights::new(Model::new(&block, 4).unwrap());
    resumed.config.precision = TrainingPrecision::F32;
    resumed.counters = saved.restore(&mut third).unwrap();
    assert_ne!(train(&mut resumed, &mut third, &pool, 10), expected);
}

#[test]
fn a_gradient_that_is_not_finite_costs_its_update() {
    if !BF16.is_available() {
        return;
    }
    let ids = ids(200);
    let corpus = Corpus::new(&ids, 4, 24).unwrap();
    for (scale, outcome) in [(1.0, Outcome::Updated), (f32::INFINITY, Outcome::Skipped)] {
        let mut weights = TrainingWeights::new(Model::new(&blocks()[0], 3).unwrap());
        weights
            .visit(&mut |t| {
                t.weights[0] *= scale;
                Ok(())
            })
            .unwrap();
        let before = bits(weights.model());
        let mut trainer = Trainer::new(TrainerConfig { clip: 1e-3, ..config(BF16) });
        let step = trainer.next_step(&Pool::serial(), &mut weights, &corpus, 1e-3).unwrap();
        let step = step.unwrap().0;
        assert_eq!((step.outcome, step.loss.is_finite()), (outcome, scale == 1.0));
        assert_eq!(bits(weights.model()) == before, outcome == Outcome::Skipped);
        assert_eq!(trainer.counters.skipped, u64::from(outcome == Outcome::Skipped));
    }
}

/// The test begins itself anew with instructions forbidden: they are looked for once in a process.
#[test]
fn it_is_refused_where_the_processor_lacks_it() {
    const CHILD: &str = "BFLOAT16_TEST_CHILD";
    const NAME: &str = "it_is_refused_where_the_processor_lacks_it";
    if std::env::var_os(CHILD).is_none() {
        for level in ["avx2", "portable"] {
            let mut child = Command::new(std::env::current_exe().unwrap());
            child.args(["--exact", NAME]).env(CHILD, "1").env("CLLM_SIMD", level);
            assert!(child.status().unwrap().success(), "{level}");
        }
        return;
    }
    assert!(!BF16.is_available());
    assert_eq!(TrainingPrecision::fastest(), TrainingPrecision::F32);
    let ids = ids(200);
    let corpus = Corpus::new(&ids, 4, 24).unwrap();
    let mut weights = TrainingWeights::new(Model::new(&blocks()[0], 3).unwrap());
    let before = bits(weights.model());
    let mut trainer = Trainer::new(config(BF16));
    let error = trainer.next_step(&Pool::serial(), &mut weights, &corpus, 1e-3).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::State(text) if text.contains("AVX512_BF16")),
        "{error}"
    );
    assert_eq!((trainer.counters.step, trainer.counters.offset), (0, 0));
    assert_eq!(bits(weights.model()), before);
    // In f32 it goes on.
    trainer.config.precision = TrainingPrecision::F32;
    trainer.next_step(&Pool::serial(), &mut weights, &corpus, 1e-3).unwrap().unwrap();
    assert_ne!(bits(weights.model()), before);
}

#[test]
fn names_are_unique() {
    for precision in [TrainingPrecision::F32, BF16] {
        assert_eq!(TrainingPrecision::named(precision.name().as_bytes()), Some(precision));
    }
    assert_eq!(TrainingPrecision::named(b"fp16"), None);
    assert!(TrainingPrecision::F32.is_available());
}
