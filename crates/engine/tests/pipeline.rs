//! The whole way as a Rust program goes it: text, vocabulary, training, file, generation.

use cllm_engine::generate::{Generator, GeneratorConfig};
use cllm_engine::train::{Corpus, Trainer, TrainerConfig, TrainingWeights};
use cllm_engine::{Dataset, Model, ModelConfig, Pool, Vocabulary, evaluate};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread;

const TEXT: &str = "the cat sat on the mat and the dog sat on the log by the door . ";
const CONTEXT: usize = 8;

/// A model of the words of `TEXT`, not trained, and their ids, again and again.
fn start(seed: u64) -> (Model, Dataset) {
    let text = TEXT.repeat(12);
    let vocabulary = Vocabulary::from_text(text.as_bytes(), 100, 1).unwrap();
    let dataset = Dataset::from_text(text.as_bytes(), &vocabulary).unwrap();
    let config = ModelConfig {
        vocab: vocabulary.len(),
        dim: 32,
        layers: 2,
        heads: 4,
        hidden: 64,
        context: CONTEXT,
        ..ModelConfig::default()
    };
    let mut model = Model::new(&config, seed).unwrap();
    model.set_tokenizer(vocabulary).unwrap();
    (model, dataset)
}

/// Trains for some epochs; the mean loss of each.
fn train(model: &mut Model, dataset: &Dataset, epochs: usize, threads: usize) -> Vec<f32> {
    let pool = Pool::shared(threads);
    let corpus = Corpus::new(dataset.ids(), 3, CONTEXT).unwrap();
    let mut weights = TrainingWeights::new(model);
    let mut trainer = Trainer::new(TrainerConfig::default());
    trainer.config.schedule.base = 0.01;
    let mut epoch = || {
        let watch = |_: &_| ControlFlow::Continue(());
        trainer.epoch(&pool, &mut weights, &corpus, watch).unwrap().mean_loss()
    };
    (0..epochs).map(|_| epoch()).collect()
}

fn values(model: &Model) -> Vec<u32> {
    let mut list = Vec::new();
    model.view().params.visit(|_, _, t| list.extend(t.iter().map(|x| x.to_bits())));
    list
}

/// What a model says after a prompt.
fn say(model: &Model, prompt: &str, greedy: bool, threads: usize) -> String {
    let words = model.vocabulary().unwrap();
    let config = GeneratorConfig { greedy, max_tokens: 12, ..GeneratorConfig::default() };
    let mut generator = Generator::new(config, 9).unwrap();
    generator.set_pool(Arc::new(Pool::start(threads)));
    generator.prompt(&words.encode(prompt.as_bytes()).unwrap()).unwrap();
    let ids: Vec<u32> = generator.tokens(model).map(Result::unwrap).collect();
    assert_eq!(ids.len(), 12);
    String::from_utf8(words.decode(&ids).unwrap()).unwrap()
}

#[test]
fn overfits_a_small_text_and_says_it() {
    let (mut model, dataset) = start(1);
    let losses = train(&mut model, &dataset, 40, 1);
    assert!(losses[0] > 1.5 && losses[39] < 0.4, "{losses:?}");
    let perplexity =
        evaluate(&Pool::serial(), &model.view(), dataset.ids(), CONTEXT).unwrap().perplexity();
    assert!(perplexity < 1.6, "{perplexity}");
    assert!(TEXT.repeat(2).contains(&say(&model, "the cat sat", true, 1)));
}

#[test]
fn threads_give_the_same_bits() {
    let trained = |threads| {
        let (mut model, dataset) = start(2);
        let losses = train(&mut model, &dataset, 3, threads);
        (values(&model), losses.iter().map(|x| x.to_bits()).collect::<Vec<_>>())
    };
    let one = trained(1);
    for threads in [2, 3, 5] {
        assert!(trained(threads) == one, "{threads} threads");
    }
}

#[test]
fn a_saved_model_says_what_it_did() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.cllm");
    let (mut model, dataset) = start(3);
    train(&mut model, &dataset, 5, 2);
    model.training_mut().training_steps = 5;
    model.write(&path).unwrap();
    let loaded = Model::read(&path).unwrap();
    assert_eq!(values(&loaded), values(&model));
    assert_eq!(loaded.training().training_steps, 5);
    for greedy in [true, false] {
        assert_eq!(say(&loaded, "the dog", greedy, 1), say(&model, "the dog", greedy, 1));
    }
    // And goes on learning as it would have.
    let mut loaded = loaded;
    let more = |model: &mut Model| train(model, &dataset, 2, 1);
    assert_eq!(more(&mut loaded), more(&mut model));
    assert_eq!(values(&loaded), values(&model));
}

#[test]
fn threads_share_a_model_and_train_side_by_side() {
    let (mut model, dataset) = start(4);
    train(&mut model, &dataset, 4, 2);
    let expected = say(&model, "the cat", false, 1);
    let trained = {
        let (mut other, dataset) = start(5);
        train(&mut other, &dataset, 2, 1);
        values(&other)
    };
    thread::scope(|scope| {
        for i in 0..6 {
            let (model, expected, trained) = (&model, &expected, &trained);
            scope.spawn(move || {
                for round in 0..4 {
                    assert_eq!(&say(model, "the cat", false, 1 + (i + round) % 3), expected);
                }
                let (mut other, dataset) = start(5);
                train(&mut other, &dataset, 2, 1 + i % 3);
                assert!(&values(&other) == trained, "thread {i}");
            });
        }
    });
}

/// What is computed from changed weights is computed anew.
#[test]
fn a_generator_notices_training() {
    let (mut model, dataset) = start(6);
    let prompt = dataset.ids()[..5].to_vec();
    let greedy = GeneratorConfig { greedy: true, max_tokens: 4, ..GeneratorConfig::default() };
    let mut kept = Generator::new(greedy.clone(), 1).unwrap();
    for _ in 0..3 {
        train(&mut model, &dataset, 1, 1);
        let mut fresh = Generator::new(greedy.clone(), 1).unwrap();
        let all = |generator: &mut Generator| -> Vec<u32> {
            generator.prompt(&prompt).unwrap();
            generator.tokens(&model).map(Result::unwrap).collect()
        };
        assert_eq!(all(&mut kept), all(&mut fresh));
    }
}

/// Errors name sizes by words that fit the fields of Rust programs as well as those of C ones.
#[test]
fn errors_name_no_fields_of_the_other_language() {
    let model = Model::new(&ModelConfig { vocab: 9, dim: 8, ..ModelConfig::modern() }, 1).unwrap();
    let text = |error: cllm_engine::Error| error.to_string();
    let corpus = |b, s| text(Corpus::new(&[1, 2, 3][..], b, s).unwrap_err());
    let measured = |ids: &[u32], window| {
        text(evaluate(&Pool::serial(), &model.view(), ids, window).unwrap_err())
    };
    for (text, start) in [
        (corpus(0, 2), "the number of sequences in a batch is 0"),
        (corpus(2, 0), "the length of a sequence is 0"),
        (measured(&[1], 4), "the number of tokens is 1"),
        (measured(&[1, 2, 3], 0), "the window is 0"),
    ] {
        assert!(text.starts_with(start), "{text}");
    }
}

/// A text too short for a batch, or one of another tokenizer, is an error, not a perfect model.
#[test]
fn nothing_to_learn_or_to_measure_is_an_error() {
    let mut model =
        Model::new(&ModelConfig { vocab: 9, dim: 8, ..ModelConfig::modern() }, 1).unwrap();
    let pool = Pool::serial();
    let foreign = [9_999; 600];
    let error = evaluate(&pool, &model.view(), &foreign, 64).unwrap_err();
    assert!(error.to_string().starts_with("no id to measure"), "{error}");
    // As a text whose model has some of its ids is measured by those.
    let mixed: Vec<u32> = (0..600).map(|i| if i % 3 == 0 { 9_999 } else { i % 9 }).collect();
    assert_eq!(evaluate(&pool, &model.view(), &mixed, 64).unwrap().tokens, 400);

    let mut weights = TrainingWeights::new(&mut model);
    let mut trainer = Trainer::new(TrainerConfig::default());
    let mut run = |ids: &[u32]| {
        let corpus = Corpus::new(ids, 4, 64).unwrap();
        trainer.run(&pool, &mut weights, &corpus, Some(1), |_| ControlFlow::Continue(()))
    };
    let error = run(&[1, 2, 3]).unwrap_err();
    assert_eq!(error.to_string(), "3 ids hold no batch of 4 x 64 and the id after it");
    // What `main` prints of it.
    assert_eq!(format!("{error:?}"), error.to_string());
    let error = run(&foreign).unwrap_err();
    assert!(error.to_string().starts_with("no id to learn"), "{error}");
    assert_eq!(run(&mixed).unwrap().steps, 1);
}
