//! A model whose blocks have more parts than a `CLLMModel` has fields: a C program reads it, runs it,
//! trains it and writes it as a Rust program does, to the bit.

#![allow(unsafe_code)]

use cllm::headers::cllm::CLLMModel;
use cllm::headers::cllm::models::cllm_write_model;
use cllm::headers::cllm_ext::evaluation::cllm_evaluate;
use cllm::headers::cllm_ext::tokenizer::{cllm_grow_vocab, cllm_model_tokenizer};
use cllm::headers::cllm_ext::training::cllm_train_steps;
use cllm::headers::cllm_format::files::cllm_read_model;
use cllm::headers::cllm_inference::attention::cllm_attention_forward;
use cllm::headers::cllm_inference::context::{cllm_inference_cleanup, cllm_inference_init};
use cllm::headers::cllm_inference::feed_forward::cllm_feedforward;
use cllm::headers::cllm_inference::generation::cllm_forward;
use cllm::headers::cllm_tokenizer::{cllm_build_vocab, cllm_free_tokenizer};
use cllm::headers::cllm_training::checkpoints::{cllm_load_checkpoint, cllm_save_checkpoint};
use cllm::headers::cllm_training::lifecycle::{cllm_training_free, cllm_training_init};
use cllm::headers::cllm_training::{CLLMTraining, CLLMTrainingConfig};
use cllm::headers::cllm_utils::models::cllm_free_model;
use cllm_engine::generate::{Generator, GeneratorConfig};
use cllm_engine::model::{Architecture, Part};
use cllm_engine::train::{Corpus, Schedule, Trainer, TrainerConfig, TrainingWeights};
use cllm_engine::{Model, ModelConfig, Pool, Vocabulary, evaluate};
use serde_json::{Value, json};
use std::ffi::CString;
use std::fs;
use std::path::Path;
use std::process::Command;

fn c(path: &Path) -> CString {
    CString::new(path.to_str().unwrap()).unwrap()
}

/// A model that is not at its start, where Wo and W2 are zero.
fn model(architecture: Architecture) -> Model {
    let config = ModelConfig {
        vocab: 23,
        dim: 16,
        layers: 3,
        heads: 2,
        hidden: 40,
        context: 12,
        architecture,
        ..ModelConfig::modern()
    };
    let mut model = Model::new(&config, 5).unwrap();
    let mut next = 1u32;
    model.params_mut().map(|_, _, t| {
        for x in t {
            next = next.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *x += (next >> 8) as f32 / (1 << 25) as f32 - 0.25;
        }
    });
    model
}

fn architectures() -> [Architecture; 3] {
    let modern = Architecture::MODERN;
    [
        modern,
        Architecture { untied: true, ..modern },
        Architecture { output: false, untied: true, ..modern },
    ]
}

fn ids() -> Vec<u32> {
    (0..200u32).map(|i| i * i / 3 % 23).collect()
}

/// The file without the three times and the checksum in its header.
fn content(path: &Path) -> Vec<u8> {
    let mut bytes = fs::read(path).unwrap();
    for time in [1328..1344, 1368..1376, 1420..1424] {
        bytes[time].fill(0);
    }
    bytes
}

/// All trained values.
fn values(model: &Model) -> Vec<u32> {
    let mut values = Vec::new();
    model.view().params.visit(|_, _, t| values.extend(t.iter().map(|x| x.to_bits())));
    values
}

/// The reader in Python was written from docs/FORMAT.md alone.
#[test]
fn an_independent_reader_agrees() {
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("no python3: not tested");
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/format_reader.py");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("modern.cllm");
    let model = model(Architecture { untied: true, ..Architecture::MODERN });
    model.write(&path).unwrap();
    let output = Command::new("python3").arg(script).arg(&path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let dump: Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected = json!({
        "rotary": 1, "qk_norm": 1, "output": 1, "untied": 1, "sharp": 1, "shifted_keys": 1,
        "activation": "squared relu"
    });
    assert_eq!(dump["architecture"], expected);
    let mut tensors = 0;
    model.view().params.visit(|part, layer, t| {
        let name = match part {
            Part::Embeddings | Part::Head => part.name().to_string(),
            _ => format!("{} {layer}", part.name()),
        };
        let sum: f64 = t.iter().map(|&x| f64::from(x)).sum();
        let theirs = dump["tensors"][&name]["sum"].as_f64();
        assert!((theirs.unwrap_or(f64::NAN) - sum).abs() < 1e-9, "{name}: {theirs:?} {sum}");
        tensors += 1;
    });
    assert_eq!(dump["tensors"].as_object().unwrap().len(), tensors);
}

/// Has `work` done with what a C program reads of a Rust program's file.
fn in_c(model: &Model, dir: &Path, work: impl FnOnce(*mut CLLMModel)) {
    let path = dir.join("rust.cllm");
    model.write(&path).unwrap();
    // SAFETY: a C string; the model lives until it is freed.
    unsafe {
        let read = cllm_read_model(c(&path).as_ptr());
        assert!(!read.is_null());
        work(read);
        cllm_free_model(read);
    }
}

#[test]
fn the_same_file_and_the_same_numbers() {
    let dir = tempfile::tempdir().unwrap();
    for architecture in architectures() {
        let (model, ids) = (model(architecture), ids());
        in_c(&model, dir.path(), |read| {
            let mut loss = 0.0;
            // SAFETY: live objects; arrays of their lengths.
            unsafe {
                let done = cllm_evaluate(
                    read,
                    ids.as_ptr(),
                    ids.len(),
                    12,
                    1,
                    &mut loss,
                    std::ptr::null_mut(),
                );
                assert_eq!(done, 0);
                let expected = evaluate(&Pool::serial(), &model.view(), &ids, 12).unwrap();
                assert_eq!(loss.to_bits(), expected.mean_loss.to_bits());

                // Token by token, beyond the window of training: positions have no end.
                let inference = cllm_inference_init(read);
                let mut generator = Generator::new(GeneratorConfig::default(), 1).unwrap();
                for n in 1..=40 {
                    cllm_forward(inference, ids.as_ptr().cast_mut(), n);
                    let logits = std::slice::from_raw_parts((*inference).logits, 23);
                    let (mut hidden, mut expected) = ([0.0; 16], [0.0; 23]);
                    let (view, ids) = (model.view(), &ids[..n as usize]);
                    generator.forward(&view, ids, &mut hidden, &mut expected).unwrap();
                    assert_eq!(logits, expected, "{n} tokens");
                }
                cllm_inference_cleanup(inference);

                let written = dir.path().join("c.cllm");
                assert_eq!(cllm_write_model(read, c(&written).as_ptr()), 0);
                assert!(content(&written) == content(&dir.path().join("rust.cllm")));
            }
        });
    }
}

/// # Safety
/// `model` is live.
unsafe fn training(model: *mut CLLMModel, ids: &mut [u32]) -> *mut CLLMTraining {
    // SAFETY: plain numbers; zero is one of them. The ids are lent.
    unsafe {
        let mut config: CLLMTrainingConfig = std::mem::zeroed();
        config.learning_rate = 3e-3;
        config.batch_size = 2;
        config.sequence_length = 12;
        config.weight_decay = 0.01;
        config.gradient_clip = 1.0;
        let training = cllm_training_init(model, &mut config);
        (*training).tokens = ids.as_mut_ptr();
        (*training).num_tokens = ids.len();
        training
    }
}

/// # Safety
/// `training` is one of [`training`].
unsafe fn end(training: *mut CLLMTraining) {
    // SAFETY: the ids are the caller's again.
    unsafe {
        (*training).tokens = std::ptr::null_mut();
        cllm_training_free(training);
    }
}

#[test]
fn the_same_training() {
    let dir = tempfile::tempdir().unwrap();
    let (state, file) = (c(&dir.path().join("run.cllm")), dir.path().join("trained.cllm"));
    for architecture in architectures() {
        let mut ids = ids();
        let mut weights = TrainingWeights::new(model(architecture));
        let config = TrainerConfig { schedule: Schedule::constant(3e-3), ..Default::default() };
        let mut trainer = Trainer::new(config);
        let corpus = Corpus::new(&ids, 2, 12).unwrap();
        let next = |trainer: &mut Trainer, weights: &mut TrainingWeights<Model>| {
            trainer.next_step(&Pool::serial(), weights, &corpus, 3e-3).unwrap().unwrap().0.loss
        };
        let losses: Vec<f32> = (0..6).map(|_| next(&mut trainer, &mut weights)).collect();
        let expected = values(weights.model());
        let start = model(architecture);
        in_c(&start, dir.path(), |read| {
            // SAFETY: live objects; the ids outlive the training.
            unsafe {
                let run = training(read, &mut ids);
                let mut loss = 0.0;
                for expected in &losses[..3] {
                    assert_eq!(cllm_train_steps(run, 1, 2, &mut loss), 1);
                    assert_eq!(loss, *expected);
                }
                assert_eq!(cllm_save_checkpoint(run, state.as_ptr()), 0);
                for expected in &losses[3..] {
                    assert_eq!(cllm_train_steps(run, 1, 2, &mut loss), 1);
                    assert_eq!(loss, *expected);
                }
                assert_eq!(cllm_write_model(read, c(&file).as_ptr()), 0);
                assert!(values(&Model::read(&file).unwrap()) == expected);
                end(run);
            }
        });
        // From the checkpoint on, in another model.
        in_c(&start, dir.path(), |read| {
            // SAFETY: likewise.
            unsafe {
                let run = training(read, &mut ids);
                assert_eq!(cllm_load_checkpoint(run, state.as_ptr()), 0);
                let mut loss = 0.0;
                for expected in &losses[3..] {
                    assert_eq!(cllm_train_steps(run, 1, 1, &mut loss), 1);
                    assert_eq!(loss, *expected);
                }
                end(run);
            }
        });
    }
}

/// New words shift what lies behind the embeddings; what they are stays.
#[test]
fn new_words_leave_all_other_weights() {
    let dir = tempfile::tempdir().unwrap();
    let [first, file] = ["first.cllm", "more.cllm"].map(|name| dir.path().join(name));
    for architecture in architectures() {
        let mut model = model(architecture);
        let words = |n: u8| (b'a'..).take(n.into()).map(char::from).map(String::from);
        let vocabulary = |n| {
            let text = words(n).collect::<Vec<_>>().join(" ");
            Vocabulary::from_text(text.as_bytes(), 40, 1).unwrap()
        };
        // With the special tokens all 23 ids.
        let known = 23 - (vocabulary(1).len() - 1) as u8;
        model.set_tokenizer(vocabulary(known)).unwrap();
        model.write(&first).unwrap();
        // SAFETY: live objects, each freed once.
        unsafe {
            let read = cllm_read_model(c(&first).as_ptr());
            let tokenizer = cllm_model_tokenizer(read, 40);
            let text = c(Path::new(&words(known + 3).collect::<Vec<_>>().join(" ")));
            cllm_build_vocab(tokenizer, text.as_ptr());
            assert_eq!(cllm_grow_vocab(read, tokenizer), 3);
            assert_eq!(cllm_write_model(read, c(&file).as_ptr()), 0);
            cllm_free_tokenizer(tokenizer);
            cllm_free_model(read);
        }
        let (grown, mut expected) = (Model::read(&file).unwrap(), model);
        expected.grow(26).unwrap();
        assert!(values(&grown) == values(&expected), "{architecture}");
    }
}

/// What the structs can't say is refused, not computed without it.
#[test]
fn parts_of_it_are_no_original_blocks() {
    let dir = tempfile::tempdir().unwrap();
    in_c(&model(Architecture::MODERN), dir.path(), |read| {
        let mut out = [7.0f32; 32];
        let mut x = [0.5f32; 32];
        // SAFETY: live objects; arrays of their lengths; the fields are put back before the end.
        unsafe {
            let none = std::ptr::null_mut();
            let layer = (*read).attention_layers;
            cllm_attention_forward(layer, x.as_mut_ptr(), out.as_mut_ptr(), none, none, 2);
            cllm_feedforward((*read).ff_layers, x.as_mut_ptr(), out.as_mut_ptr());
            assert_eq!(out, [7.0; 32]);
            let (weights, mut other) = ((*read).weights, vec![0.0f32; 50_000]);
            (*read).weights = other.as_mut_ptr();
            let ids = ids();
            let evaluate = |model| {
                cllm_evaluate(model, ids.as_ptr(), 50, 12, 1, &mut 0.0, std::ptr::null_mut())
            };
            assert_eq!(evaluate(read), -1);
            (*read).weights = weights;
            assert_eq!(evaluate(read), 0);
        }
    });
}
