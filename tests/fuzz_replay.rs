//! The bodies of the fuzz targets over their seeds and over seeded random changes of them.

#![allow(unsafe_code)]

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::ffi::CString;
use std::fs;
use std::path::Path;

mod fuzz_bodies;

/// Files of every kind: those of the original, and small ones that the library writes now.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let original = |name: &str| fs::read(root.join("tests/data/v1/minimal").join(name)).unwrap();
    let mut seeds = Vec::new();
    if let Ok(folder) = fs::read_dir(root.join("fuzz/seeds").join(target)) {
        seeds.extend(folder.map(|entry| fs::read(entry.unwrap().path()).unwrap()));
    }
    assert!(!seeds.is_empty(), "no seeds for {target}");
    match target {
        "model" => seeds.push(original("final_model.cllm")),
        "vocab" => seeds.push(original("vocab.txt")),
        "dataset" => seeds.push(original("dataset.bin")),
        _ => {}
    }
    seeds
}

fn change(bytes: &mut Vec<u8>, rng: &mut ChaCha8Rng) {
    let at = if bytes.is_empty() { 0 } else { rng.random_range(0..bytes.len()) };
    match rng.random_range(0..6) {
        0 if !bytes.is_empty() => bytes[at] ^= 1 << rng.random_range(0..8),
        1 if !bytes.is_empty() => bytes[at] = rng.random(),
        2 => bytes.truncate(at),
        3 => bytes.insert(at, rng.random()),
        4 => {
            // A size at its limits.
            let values = [0u32, 1, 2, 255, 65_535, 1_000_000, 1 << 31, u32::MAX, 0x7FC0_0000];
            let value = values[rng.random_range(0..values.len())].to_le_bytes();
            let at = at & !3;
            for (slot, byte) in bytes.iter_mut().skip(at).zip(value) {
                *slot = byte;
            }
        }
        _ => {
            let end = (at + rng.random_range(1..64)).min(bytes.len());
            let piece = bytes[at..end].to_vec();
            bytes.splice(at..at, piece);
        }
    }
}

fn replay(target: &str) {
    let body = fuzz_bodies::TARGETS.iter().find(|t| t.0 == target).unwrap().1;
    let count = std::env::var("CLLM_MUTATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(3000);
    let seeds = seeds(target);
    seeds.iter().for_each(|seed| body(seed));
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    for _ in 0..count {
        let mut bytes = seeds[rng.random_range(0..seeds.len())].clone();
        for _ in 0..rng.random_range(1..4) {
            change(&mut bytes, &mut rng);
        }
        body(&bytes);
    }
    eprintln!("{target}: {} seeds, {count} mutations, no finding", seeds.len());
}

#[test]
fn model() {
    replay("model");
}

#[test]
fn state() {
    replay("state");
}

#[test]
fn vocab() {
    replay("vocab");
}

#[test]
fn dataset() {
    replay("dataset");
}

#[test]
fn text() {
    replay("text");
}

#[test]
fn tokenizer() {
    replay("tokenizer");
}

/// Makes the seeds that a change of a format outdates: `cargo test --test fuzz_replay -- --ignored`.
#[test]
#[ignore = "writes into fuzz/seeds"]
fn write_seeds() {
    use cllm::headers::cllm::CLLMConfig;
    use cllm::headers::cllm::models::{cllm_create_model, cllm_write_model};
    use cllm::headers::cllm_ext::evaluation::cllm_model_set_vocab;
    use cllm::headers::cllm_ext::precision::cllm_quantize_model;
    use cllm::headers::cllm_ext::state::cllm_inference_save_state;
    use cllm::headers::cllm_ext::tokenizer::cllm_read_tokenizer;
    use cllm::headers::cllm_ext::training::{cllm_create_modern_model, cllm_train_steps};
    use cllm::headers::cllm_inference::generation::cllm_generate;
    use cllm::headers::cllm_production::checkpoints::save_checkpoint;
    use cllm::headers::cllm_tokenizer::cllm_free_tokenizer;
    use cllm::headers::cllm_training::checkpoints::cllm_save_checkpoint;
    use cllm::headers::cllm_utils::models::cllm_free_model;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    let put = |name: &str, bytes: &[u8]| {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    let folder = tempfile::tempdir().unwrap();
    let name = |n: &str| CString::new(folder.path().join(n).to_str().unwrap()).unwrap();
    let read = |n: &str| fs::read(folder.path().join(n)).unwrap();
    let trainee = fuzz_bodies::Trainee::new();
    // SAFETY: live objects.
    unsafe {
        assert_eq!(cllm_write_model(trainee.model, name("m").as_ptr()), 0);
        put("model/created", &read("m"));
        let small = cllm_quantize_model(trainee.model, 1);
        assert_eq!(cllm_write_model(small, name("q").as_ptr()), 0);
        cllm_free_model(small);
        put("model/int8", &read("q"));
        // The first one without its extension, as the original wrote files.
        let mut plain = read("m");
        let end = u64::from_le_bytes(plain[1400..1408].try_into().unwrap());
        plain.truncate(end as usize);
        plain[1384..1576].fill(0);
        put("model/plain", &plain);
        assert_eq!(cllm_train_steps(trainee.training, 3, 1, std::ptr::null_mut()), 3);
        assert_eq!(cllm_save_checkpoint(trainee.training, name("c").as_ptr()), 0);
        put("state/checkpoint", &read("c.state"));
        assert_eq!(save_checkpoint(trainee.training, name("p").as_ptr()), 0);
        put("state/production", &read("p"));
        put("state/original", &read("p")[..40]);
        let mut text = [0; 99];
        let prompt = c"token_1 token_2".as_ptr();
        assert!(cllm_generate(trainee.context, prompt, text.as_mut_ptr(), 99) > 0);
        assert_eq!(cllm_inference_save_state(trainee.context, name("g").as_ptr()), 0);
        put("state/generation", &read("g"));
    }
    put("vocab/small", "<PAD>\t0\n<UNK>\t1\nna\u{ef}ve\t12\nx\t4294967295\n".as_bytes());
    put(
        "dataset/small",
        &[&3u64.to_le_bytes()[..], &[1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0]].concat(),
    );
    put(
        "text/words",
        "Some words, some m\u{f6}re: words!\n\nint main(void) { return 0; }".as_bytes(),
    );
    let bpe = cllm_engine::text::Bpe::train([&b"abab abab"[..]], 263).unwrap();
    put("tokenizer/small", bpe.to_tokenizer_json().as_bytes());
    bpe.write_tokenizer_json(folder.path().join("t")).unwrap();
    let config = CLLMConfig {
        vocab_size: 263,
        embedding_dim: 2,
        num_layers: 1,
        num_heads: 1,
        ff_dim: 2,
        max_seq_len: 4,
        dropout: 0.0,
    };
    // SAFETY: live objects.
    unsafe {
        let model = cllm_create_model(&config);
        let tokenizer = cllm_read_tokenizer(name("t").as_ptr());
        assert_eq!(cllm_model_set_vocab(model, tokenizer), 0);
        assert_eq!(cllm_write_model(model, name("s").as_ptr()), 0);
        cllm_free_tokenizer(tokenizer);
        cllm_free_model(model);
        let modern = cllm_create_modern_model(&CLLMConfig { vocab_size: 5, ..config }, 1);
        assert_eq!(cllm_write_model(modern, name("n").as_ptr()), 0);
        cllm_free_model(modern);
        // One of two heads has the keys of the token before.
        let two_heads = CLLMConfig { vocab_size: 5, embedding_dim: 4, num_heads: 2, ..config };
        let modern = cllm_create_modern_model(&two_heads, 1);
        assert_eq!(cllm_write_model(modern, name("k").as_ptr()), 0);
        cllm_free_model(modern);
    }
    put("model/subwords", &read("s"));
    put("model/modern_sharp", &read("n"));
    put("model/modern_shifted", &read("k"));
    put("text/bytes", b"\xff\xfe a\xc3 \0 \xed\xa0\x80\t\r\n<EOS> 12345");
}
