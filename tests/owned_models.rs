//! A model of a Rust program and one of a C program are the same: weights of one seed, bytes of
//! their files, logits.

#![allow(unsafe_code)]

use cllm::headers::cllm::models::{cllm_create_model, cllm_write_model};
use cllm::headers::cllm::{CLLMConfig, CLLMModel};
use cllm::headers::cllm_ext::evaluation::{cllm_evaluate, cllm_model_load_vocab};
use cllm::headers::cllm_format::files::cllm_read_model;
use cllm::headers::cllm_utils::models::cllm_free_model;
use cllm_engine::{Model, ModelConfig, Pool, Vocabulary, evaluate};
use std::ffi::CString;
use std::fs;
use std::path::Path;

const SEED: u32 = 7;

fn c(path: &Path) -> CString {
    CString::new(path.to_str().unwrap()).unwrap()
}

/// The seed that a function of the library takes after `srand(SEED)`.
fn seed() -> u64 {
    // SAFETY: no preconditions.
    let (high, low) = unsafe {
        libc::srand(SEED);
        (libc::rand(), libc::rand())
    };
    u64::from(high as u32) << 32 | u64::from(low as u32)
}

/// The file without the three times and the checksum in its header.
fn content(path: &Path) -> Vec<u8> {
    let mut bytes = fs::read(path).unwrap();
    for time in [1328..1344, 1368..1376, 1420..1424] {
        bytes[time].fill(0);
    }
    bytes
}

fn c_loss(model: *mut CLLMModel, ids: &[u32]) -> u64 {
    let mut loss = 0.0;
    // SAFETY: a live model, an array of that length.
    let done = unsafe {
        cllm_evaluate(model, ids.as_ptr(), ids.len(), 8, 1, &mut loss, std::ptr::null_mut())
    };
    assert_eq!(done, 0);
    loss.to_bits()
}

fn loss(model: &Model, ids: &[u32]) -> u64 {
    evaluate(&Pool::serial(), &model.view(), ids, 8).unwrap().mean_loss.to_bits()
}

/// One test, since `rand()` belongs to the whole process.
#[test]
fn the_same_model_in_both_languages() {
    let dir = tempfile::tempdir().unwrap();
    let [vocab, by_c, by_rust] = ["vocab.txt", "c.cllm", "rust.cllm"].map(|n| dir.path().join(n));
    let vocabulary = Vocabulary::from_text("one two three four".as_bytes(), 100, 1).unwrap();
    vocabulary.write(&vocab).unwrap();
    let ids: Vec<u32> = (0..60).map(|i| (i * i / 3) % 9).collect();
    for (layers, heads, hidden, context) in [(2, 4, 64, 16), (1, 1, 0, 8), (3, 2, 13, 0)] {
        let config = CLLMConfig {
            vocab_size: 11,
            embedding_dim: 16,
            num_layers: layers,
            num_heads: heads,
            ff_dim: hidden,
            max_seq_len: context,
            dropout: 0.0,
        };
        let sizes = ModelConfig {
            vocab: 11,
            dim: 16,
            layers: layers as usize,
            heads: heads as usize,
            hidden: hidden as usize,
            context: context as usize,
            ..ModelConfig::default()
        };
        let mut owned = Model::new(&sizes, seed()).unwrap();
        owned.set_tokenizer(vocabulary.clone()).unwrap();
        owned.write(&by_rust).unwrap();
        // SAFETY: the objects are live, the paths are C strings.
        unsafe {
            libc::srand(SEED);
            let model = cllm_create_model(&config);
            assert_eq!(cllm_model_load_vocab(model, c(&vocab).as_ptr()), 0);
            assert_eq!(cllm_write_model(model, c(&by_c).as_ptr()), 0);
            assert!(content(&by_c) == content(&by_rust), "{sizes:?}");
            assert_eq!(c_loss(model, &ids), loss(&owned, &ids), "{sizes:?}");
            cllm_free_model(model);

            // Each reads what the other wrote, and writes it again.
            let read = Model::read(&by_c).unwrap();
            assert_eq!(read.vocabulary(), Some(&vocabulary));
            let model = cllm_read_model(c(&by_rust).as_ptr());
            assert_eq!(c_loss(model, &ids), loss(&read, &ids), "{sizes:?}");
            let first = content(&by_c);
            read.write(&by_c).unwrap();
            assert_eq!(cllm_write_model(model, c(&by_rust).as_ptr()), 0);
            assert!(content(&by_c) == first && content(&by_rust) == first, "{sizes:?}");
            cllm_free_model(model);
        }
    }
    // A file of the original library.
    let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/v1/model_v100_d64_l2.cllm");
    let read = Model::read(&old).unwrap();
    // SAFETY: likewise.
    unsafe {
        let model = cllm_read_model(c(&old).as_ptr());
        assert_eq!(c_loss(model, &ids), loss(&read, &ids));
        read.write(&by_rust).unwrap();
        assert_eq!(cllm_write_model(model, c(&by_c).as_ptr()), 0);
        assert!(content(&by_c) == content(&by_rust));
        cllm_free_model(model);
    }
}
