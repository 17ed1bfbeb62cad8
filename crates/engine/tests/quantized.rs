//! Models in 8 bits: what they compute beside models in floats, and their files.

use cllm_engine::generate::session::Session;
use cllm_engine::generate::{Generator, GeneratorConfig};
use cllm_engine::model::{Architecture, AttentionLayout, Part};
use cllm_engine::train::{Corpus, Trainer, TrainerConfig, TrainingWeights};
use cllm_engine::{Model, ModelConfig, Pool, QuantizedModel, Vocabulary, evaluate};
use std::fs;
use std::ops::ControlFlow;

const SIZES: ModelConfig = ModelConfig {
    vocab: 60,
    dim: 72,
    layers: 2,
    heads: 6,
    hidden: 150,
    context: 40,
    architecture: Architecture::ORIGINAL,
    norm_parameters: true,
    biases: true,
};

fn architectures() -> [ModelConfig; 3] {
    let untied = Architecture { untied: true, ..Architecture::MODERN };
    let modern = ModelConfig { norm_parameters: false, biases: false, ..SIZES };
    [
        SIZES,
        ModelConfig { architecture: Architecture::MODERN, ..modern },
        ModelConfig { architecture: untied, biases: true, ..modern },
    ]
}

/// A model whose every tensor takes part.
fn model(config: &ModelConfig, seed: u64) -> Model {
    let mut model = Model::new(config, seed).unwrap();
    let mut next = seed;
    model.params_mut().map(|part, _, values| {
        for x in values {
            next = next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let noise = (next >> 40) as f32 / (1 << 24) as f32 - 0.5;
            *x += noise * if matches!(part, Part::Embeddings | Part::Head) { 0.5 } else { 0.2 };
        }
    });
    model
}

fn tokens(vocab: usize, n: usize) -> Vec<u32> {
    (0..n).map(|i| (i * i * 7 + 3 * i) as u32 % vocab as u32).collect()
}

/// The logits after all of `tokens`, run in pieces of so many.
fn logits(model: &QuantizedModel, tokens: &[u32], piece: usize, pool: &Pool) -> Vec<f32> {
    let (mut session, view) = (Session::default(), model.view());
    let (mut hidden, mut logits) = (vec![0.0; view.dim], vec![0.0; view.vocab]);
    let mut end = 0;
    while end < tokens.len() {
        end = tokens.len().min(end + piece);
        session.run(pool, &view, &tokens[..end], &mut hidden, &mut logits).unwrap();
    }
    logits
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn prompts_and_decoding_agree_for_any_number_of_threads() {
    for config in architectures() {
        let small = model(&config, 3).quantize(&Pool::serial()).unwrap();
        small.view().check().unwrap();
        let tokens = tokens(config.vocab, 33);
        let whole = logits(&small, &tokens, 33, &Pool::serial());
        assert!(whole.iter().all(|x| x.is_finite()) && whole.iter().any(|x| x.abs() > 0.1));
        for piece in [1, 5] {
            let other = logits(&small, &tokens, piece, &Pool::serial());
            for (a, b) in whole.iter().zip(&other) {
                // Attention sums in another order, and an input of a block may round to the next
                // integer then.
                assert!((a - b).abs() < 0.02 * a.abs().max(1.0), "{piece}: {a} {b}");
            }
            assert_eq!(bits(&other), bits(&logits(&small, &tokens, piece, &Pool::start(3))));
        }
    }
}

#[test]
fn what_is_computed_is_close_to_floats() {
    for config in architectures() {
        let full = model(&config, 5);
        let small = full.quantize(&Pool::start(2)).unwrap();
        assert_eq!((small.config(), small.view().weights()), (config, full.view().weights()));
        let ids = tokens(config.vocab, 400);
        let pool = Pool::serial();
        let exact = evaluate(&pool, &full.view(), &ids, 40).unwrap().mean_loss;
        let loss = evaluate(&pool, &small.view(), &ids, 40).unwrap().mean_loss;
        assert!((loss / exact - 1.0).abs() < 0.01, "{loss} {exact}");
        // The floats of the 8-bit weights differ from it by what rounding activations costs.
        let expanded = small.expand().unwrap();
        let again = evaluate(&pool, &expanded.view(), &ids, 40).unwrap().mean_loss;
        assert!((loss / again - 1.0).abs() < 0.01 && loss != again, "{loss} {again}");
        // What is not a matrix is unchanged; a weight is wrong by half a scale at most, which is a 127th,
        // rounded upwards.
        full.view().params.visit(|part, layer, x| {
            let y = *expanded.view().params.get(part, layer).unwrap();
            let largest = x.iter().fold(0f32, |m, x| m.max(x.abs()));
            let rest = matches!(part, Part::Learned | Part::Bias1 | Part::Gamma2);
            let bound = if rest { 0.0 } else { largest / 251.0 };
            assert!(x.iter().zip(y).all(|(x, y)| (x - y).abs() <= bound), "{part:?}");
        });
    }
}

#[test]
fn files_hold_every_bit_and_refuse_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.cllm");
    for config in architectures() {
        let mut full = model(&config, 7);
        full.set_tokenizer(Vocabulary::from_text(b"to be or not to be", 50, 1).unwrap()).unwrap();
        full.metadata_mut().name = b"small".to_vec();
        let small = full.quantize(&Pool::serial()).unwrap();
        small.write(&path).unwrap();
        let again = QuantizedModel::read(&path).unwrap();
        let tokens = tokens(config.vocab, 30);
        let run = |model| bits(&logits(model, &tokens, 30, &Pool::serial()));
        assert_eq!(run(&again), run(&small));
        assert_eq!(
            again.view().weights_version().portable(),
            small.view().weights_version().portable()
        );
        assert_eq!(again.vocabulary().unwrap().word(5), full.vocabulary().unwrap().word(5));
        assert_eq!(again.metadata().name, b"small");
        let text = Model::read(&path).unwrap_err().to_string();
        assert!(text.contains("8-bit") && text.contains("expand"), "{text}");

        // Every byte is under a checksum.
        let file = fs::read(&path).unwrap();
        for i in (0..file.len()).step_by(file.len() / 97) {
            let mut damaged = file.clone();
            damaged[i] ^= 4;
            fs::write(&path, &damaged).unwrap();
            assert!(QuantizedModel::read(&path).is_err(), "byte {i}");
            fs::write(&path, &file[..i]).unwrap();
            assert!(QuantizedModel::read(&path).is_err(), "cut at {i}");
        }
        full.write(&path).unwrap();
        let text = QuantizedModel::read(&path).unwrap_err().to_string();
        assert!(text.contains("Model::read"), "{text}");
    }
}

/// The payload of section INT8 in a file: where it begins, and its length.
fn section(file: &[u8]) -> (usize, usize) {
    let frame = file.windows(4).position(|tag| tag == b"INT8").unwrap();
    let length = u64::from_le_bytes(file[frame + 8..frame + 16].try_into().unwrap());
    (frame + 24, length as usize)
}

#[test]
fn wrong_values_with_true_checksums_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.cllm");
    model(&SIZES, 9).quantize(&Pool::serial()).unwrap().write(&path).unwrap();
    let file = fs::read(&path).unwrap();
    let (start, length) = section(&file);
    // A row of E has 72 integers and two scales.
    for (at, bytes, problem) in [
        (0, &[32][..], "blocks of 32"),
        (4, &[2], "kind 2"),
        (8 + 76 * 3 + 5, &[0x80], "row 3 has the integer −128"),
        (8 + 76 * 2 + 72, &[0xc0, 0x7f], "scale of row 2 is not finite"),
    ] {
        let mut wrong = file.clone();
        wrong[start + at..][..bytes.len()].copy_from_slice(bytes);
        let crc = crc32fast::hash(&wrong[start..start + length]).to_le_bytes();
        wrong[start - 8..start - 4].copy_from_slice(&crc);
        let crc = crc32fast::hash(&wrong[start - 24..start - 4]).to_le_bytes();
        wrong[start - 4..start].copy_from_slice(&crc);
        fs::write(&path, &wrong).unwrap();
        let text = QuantizedModel::read(&path).unwrap_err().to_string();
        assert!(text.contains(problem), "{text}");
    }
}

#[test]
fn generates_and_keeps_its_state() {
    let small = model(&SIZES, 11).quantize(&Pool::serial()).unwrap();
    let config = GeneratorConfig { max_tokens: 20, ..GeneratorConfig::default() };
    let mut generator = Generator::new(config.clone(), 4).unwrap();
    generator.prompt(&[1, 2, 3]).unwrap();
    let all: Vec<u32> = generator.tokens(&small).map(Result::unwrap).collect();
    let mut generator = Generator::new(config, 4).unwrap();
    generator.prompt(&[1, 2, 3]).unwrap();
    let mut first: Vec<u32> = generator.tokens(&small).take(8).map(Result::unwrap).collect();
    let state = generator.save_state(&small.view()).unwrap();
    let mut other = Generator::new(GeneratorConfig::default(), 1).unwrap();
    other.restore_state(&state, &small.view()).unwrap();
    other.config_mut().max_tokens = 12;
    other.resume().unwrap();
    first.extend(other.tokens(&small).map(Result::unwrap));
    assert_eq!(first, all);
    // Other weights: the state is refused.
    let others = model(&SIZES, 12).quantize(&Pool::serial()).unwrap();
    assert!(other.restore_state(&state, &others.view()).is_err());
}

#[test]
fn a_quarter_of_the_memory() {
    let config = ModelConfig { vocab: 2000, dim: 256, hidden: 1024, layers: 3, ..SIZES };
    let full = Model::new(&ModelConfig { heads: 4, ..config }, 1).unwrap();
    let small = full.quantize(&Pool::serial()).unwrap();
    let tables = 4 * 40 * 256 * 4;
    let (bytes, floats) = (small.bytes() - tables, 4 * full.view().weights());
    assert!(bytes * 100 < floats * 27, "{bytes} of {floats}");
    let folder = tempfile::tempdir().unwrap();
    let size = |name: &str| fs::metadata(folder.path().join(name)).unwrap().len();
    full.write(folder.path().join("full")).unwrap();
    small.write(folder.path().join("small")).unwrap();
    assert!(size("small") * 100 < size("full") * 27);
}

#[test]
fn matrices_by_head_stay_floats() {
    let mut shape = Model::new(&SIZES, 1).unwrap().shape().clone();
    shape.layout = AttentionLayout::PerHead;
    let model = Model::zeroed(shape).unwrap();
    assert!(model.quantize(&Pool::serial()).unwrap_err().to_string().contains("by head"));
}

/// Text that people wrote: this project's documentation.
const TEXT: &str = include_str!("../../../docs/FORMAT.md");

#[test]
fn a_trained_model_predicts_held_out_text_as_well() {
    let ids: Vec<u32> = TEXT.bytes().map(u32::from).collect();
    let (training, held_out) = ids.split_at(ids.len() * 7 / 8);
    for architecture in [Architecture::ORIGINAL, Architecture::MODERN] {
        let config = ModelConfig {
            vocab: 256,
            dim: 64,
            layers: 2,
            heads: 4,
            hidden: 256,
            context: 64,
            architecture,
            norm_parameters: true,
            biases: true,
        };
        let mut model = Model::new(&config, 1).unwrap();
        let pool = Pool::shared(2);
        let corpus = Corpus::new(training, 8, 64).unwrap();
        let mut trainer = Trainer::new(TrainerConfig::default());
        trainer.config.schedule.base = 3e-3;
        let mut weights = TrainingWeights::new(&mut model);
        for _ in 0..8 {
            let watch = |_: &_| ControlFlow::Continue(());
            trainer.epoch(&pool, &mut weights, &corpus, watch).unwrap();
        }
        let exact = evaluate(&pool, &model.view(), held_out, 64).unwrap().mean_loss;
        let small = model.quantize(&pool).unwrap();
        let quantized = evaluate(&pool, &small.view(), held_out, 64).unwrap().mean_loss;
        eprintln!("{architecture:?}: {exact} in f32, {quantized} in 8 bits: {}", quantized / exact);
        // Of ln 256 = 5.5; it has learned.
        assert!(exact < 2.8, "{exact}");
        assert!(quantized < exact * 1.002, "{quantized} {exact}");
    }
}
