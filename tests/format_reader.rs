//! Checkpoints, states of generations, vocabularies, data sets, and models with subwords and in 8 bits, read by the reader in Python that
//! was written from docs/FORMAT.md (other model files: `tests/model_files.rs`).

#![allow(unsafe_code)]

use cllm::headers::cllm::CLLMConfig;
use cllm::headers::cllm::models::cllm_create_model;
use cllm::headers::cllm_data_loader::*;
use cllm::headers::cllm_ext::generation::cllm_set_seed;
use cllm::headers::cllm_ext::state::cllm_inference_save_state;
use cllm::headers::cllm_ext::training::cllm_train_steps;
use cllm::headers::cllm_inference::context::{cllm_inference_cleanup, cllm_inference_init};
use cllm::headers::cllm_inference::generation::cllm_generate;
use cllm::headers::cllm_production::checkpoints::save_checkpoint;
use cllm::headers::cllm_tokenizer::*;
use cllm::headers::cllm_training::CLLMTrainingConfig;
use cllm::headers::cllm_training::checkpoints::cllm_save_checkpoint;
use cllm::headers::cllm_training::lifecycle::{cllm_training_free, cllm_training_init};
use cllm::headers::cllm_utils::models::cllm_free_model;
use cllm_engine::model::{Architecture, Part};
use cllm_engine::text::Bpe;
use cllm_engine::{Model, ModelConfig, Pool};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::ffi::CString;
use std::path::Path;
use std::process::Command;
use std::ptr::null_mut;

const CONFIG: CLLMConfig = CLLMConfig {
    vocab_size: 9,
    embedding_dim: 6,
    num_layers: 2,
    num_heads: 3,
    ff_dim: 10,
    max_seq_len: 8,
    dropout: 0.0,
};

/// `None` without python3.
fn dump(path: &Path) -> Option<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/format_reader.py");
    let Ok(output) = Command::new("python3").arg(script).arg(path).output() else {
        eprintln!("no python3: not tested");
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn checkpoints_hold_what_the_document_says() {
    let dir = tempfile::tempdir().unwrap();
    let name = |n: &str| CString::new(dir.path().join(n).to_str().unwrap()).unwrap();
    let tokens: Vec<u32> = (0..80).map(|i| i * i % 9).collect();
    // SAFETY: live objects, freed at the end; all-zero is a configuration.
    let (e, steps) = unsafe {
        let model = cllm_create_model(&CONFIG);
        let mut config: CLLMTrainingConfig = std::mem::zeroed();
        config.learning_rate = 0.01;
        config.batch_size = 2;
        config.sequence_length = 4;
        config.gradient_accumulation_steps = 3;
        let training = cllm_training_init(model, &mut config);
        (*training).tokens = tokens.as_ptr().cast_mut();
        (*training).num_tokens = tokens.len();
        assert_eq!(cllm_train_steps(training, 5, 1, null_mut()), 5);
        assert_eq!(cllm_save_checkpoint(training, name("run").as_ptr()), 0);
        assert_eq!(save_checkpoint(training, name("production").as_ptr()), 0);
        let e = std::slice::from_raw_parts((*model).embeddings.embeddings, 9 * 6).to_vec();
        let steps = (*training).current_step;
        cllm_training_free(training);
        cllm_free_model(model);
        (e, steps)
    };
    let mut expected: BTreeSet<String> = [
        "vocab",
        "dim",
        "layers",
        "heads",
        "max_length",
        "ids",
        "ids_crc32",
        "batch_size",
        "sequence_length",
        "updates",
        "skipped",
        "gradient_norm",
        "accumulation_step",
        "current_batch_offset",
        "total_batches",
        "current_loss",
        "learning_rate",
        "loss_scale",
        "loss_scale_steps",
        "config",
        "spiral",
    ]
    .map(String::from)
    .into();
    for part in ["w", "m1", "m2", "acc"] {
        expected.insert(format!("{part}/embeddings/0"));
        expected.insert(format!("{part}/learned/0"));
        for kind in [
            "query", "key", "value", "w1", "bias1", "w2", "bias2", "gamma1", "beta1", "gamma2",
            "beta2",
        ] {
            expected.extend([0, 1].map(|layer| format!("{part}/{kind}/{layer}")));
        }
    }
    for (file, prefix) in [("run.state", 16), ("production", 40)] {
        let Some(read) = dump(&dir.path().join(file)) else { return };
        assert_eq!(read["crc"], "ok");
        let entries = read["entries"].as_object().unwrap();
        let keys: BTreeSet<String> = entries.keys().cloned().collect();
        assert_eq!(keys, expected, "{file}");
        let prefix_bytes = read["prefix"].as_str().unwrap();
        assert_eq!(prefix_bytes.len(), 2 * prefix);
        assert_eq!(&prefix_bytes[8..16], format!("{:02x}000000", steps));
        assert_eq!(entries["vocab"], 9);
        assert_eq!(entries["max_length"], 8);
        assert_eq!(entries["config"].as_str().unwrap().len(), 2 * 148);
        assert_eq!(entries["updates"], 1);
        assert_eq!(entries["accumulation_step"], 2);
        assert_eq!(entries["w/w1/1"]["length"], 60);
        assert_eq!(entries["acc/embeddings/0"]["length"], 54);
        let sum: f64 = e.iter().map(|&x| f64::from(x)).sum();
        let theirs = entries["w/embeddings/0"]["sum"].as_f64().unwrap();
        assert!((sum - theirs).abs() < 1e-9, "{sum} {theirs}");
    }
}

#[test]
fn states_of_generations() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("chat");
    let name = CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: live objects, freed at the end.
    unsafe {
        let model = cllm_create_model(&CONFIG);
        let context = cllm_inference_init(model);
        (*context).temperature = 0.5;
        (*context).top_k = 7;
        (*context).max_tokens = 3;
        assert_eq!(cllm_set_seed(context, 11), 0);
        let mut out = [0; 200];
        assert_eq!(cllm_generate(context, c"token_1 token_2".as_ptr(), out.as_mut_ptr(), 200), 3);
        assert_eq!(cllm_inference_save_state(context, name.as_ptr()), 0);
        cllm_inference_cleanup(context);
        cllm_free_model(model);
    }
    let Some(read) = dump(&path) else { return };
    assert_eq!(read["crc"], "ok");
    assert_eq!(read["temperature"], 0.5);
    assert_eq!((&read["top_k"], &read["max_tokens"]), (&json!(7), &json!(3)));
    assert_eq!((&read["vocab"], &read["dim"], &read["layers"]), (&json!(9), &json!(6), &json!(2)));
    let sequence = read["sequence"].as_array().unwrap();
    assert_eq!(sequence.len(), 5);
    assert_eq!(sequence[..2], [json!(1), json!(2)]);
    let cached = read["cached"].as_array().unwrap();
    assert!(!cached.is_empty());
    assert_eq!(cached[..], sequence[..cached.len()]);
    assert_eq!(read["tensors"]["values 1"]["length"], 6 * cached.len());
    // Three numbers of 64 bits were drawn at most, and one at least.
    assert!((1..=6).contains(&read["position"].as_u64().unwrap()), "{}", read["position"]);
}

#[test]
fn vocabularies_and_data_sets() {
    let dir = tempfile::tempdir().unwrap();
    let (words, ids) = (dir.path().join("vocab.txt"), dir.path().join("dataset.bin"));
    let c = |path: &Path| CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: live objects, freed at the end.
    unsafe {
        let tokenizer = cllm_create_tokenizer(50);
        cllm_build_vocab(tokenizer, c"one two na\xc3\xafve two".as_ptr());
        assert_eq!(cllm_save_vocab(tokenizer, c(&words).as_ptr()), 1);
        cllm_free_tokenizer(tokenizer);
        let mut tokens = [5, 6, u32::MAX];
        let mut set: TokenDataset = std::mem::zeroed();
        (set.tokens, set.num_tokens) = (tokens.as_mut_ptr(), 3);
        assert_eq!(cllm_token_dataset_save(&mut set, c(&ids).as_ptr()), 1);
    }
    let Some(read) = dump(&words) else { return };
    let read = read.as_array().unwrap();
    assert_eq!(read.len(), 8);
    assert_eq!((&read[0][0], &read[4][0]), (&json!("<PAD>"), &json!("<MASK>")));
    assert!(read.contains(&json!(["two", 2])) && read.contains(&json!(["naïve", 1])), "{read:?}");
    assert_eq!(dump(&ids).unwrap(), json!([5, 6, u32::MAX]));
}

/// Rows of one block, of several, and of a part of one.
fn modern(architecture: Architecture) -> Model {
    let parts = architecture == Architecture::ORIGINAL;
    let config = ModelConfig {
        vocab: 300,
        dim: 72,
        layers: 2,
        heads: 6,
        hidden: 150,
        context: 8,
        architecture,
        norm_parameters: parts,
        biases: parts,
    };
    let mut model = Model::new(&config, 3).unwrap();
    let mut next = 1u32;
    model.params_mut().map(|_, _, values| {
        for x in values {
            next = next.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *x += (next >> 8) as f32 / (1 << 25) as f32 - 0.25;
        }
    });
    model
}

#[test]
fn models_in_8_bits() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("small.cllm");
    let untied = Architecture { untied: true, ..Architecture::MODERN };
    for architecture in [Architecture::ORIGINAL, Architecture::MODERN, untied] {
        let small = modern(architecture).quantize(&Pool::serial()).unwrap();
        small.write(&path).unwrap();
        let Some(read) = dump(&path) else { return };
        for section in read["sections"].as_array().unwrap() {
            assert_eq!(section["crc"], "ok");
        }
        assert_eq!((&read["header_crc"], &read["body_crc"]), (&json!("ok"), &json!("ok")));
        let mut matrices = 0;
        small.expand().unwrap().view().params.visit(|part, layer, values| {
            let name = match part {
                Part::Embeddings | Part::Head => part.name().to_string(),
                _ => format!("{} {layer}", part.name()),
            };
            let theirs = &read["tensors"][&name];
            // A table of positions that is zero throughout is not stored.
            if theirs.is_null() {
                return;
            }
            let sum: f64 = values.iter().map(|&x| f64::from(x)).sum();
            assert_eq!(theirs["length"], values.len(), "{name}");
            let found = theirs["sum"].as_f64().unwrap();
            assert!((found - sum).abs() < 1e-6, "{name}: {found} {sum}");
            matrices += usize::from(values.len() >= 72 * 72);
        });
        let more = 2 * usize::from(architecture.output) + usize::from(architecture.untied);
        assert_eq!(matrices, 1 + 2 * 5 + more);
    }
}

#[test]
fn models_with_subwords() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("subwords.cllm");
    let text = b"the cat sat on the mat; the dog sat on the cat. ".as_slice();
    let subwords = Bpe::train([text], 270).unwrap();
    let mut model = modern(Architecture::MODERN);
    model.set_tokenizer(subwords.clone()).unwrap();
    model.write(&path).unwrap();
    let Some(read) = dump(&path) else { return };
    assert!(read["words"].is_null());
    assert_eq!(read["subwords"]["merges"], subwords.merges());
    let ids = read["subwords"]["ids"].as_object().unwrap();
    assert_eq!(ids.len(), subwords.len());
    for (token, name) in [(" the", "Ġthe"), ("a", "a"), ("<EOS>", "<EOS>")] {
        assert_eq!(ids[name], subwords.id(token.as_bytes()).unwrap(), "{name}");
    }
}
