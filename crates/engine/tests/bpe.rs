//! Ids beside those that the `tokenizers` package gave: `tests/bpe/record.py` recorded them.

use cllm_engine::text::Bpe;
use serde_json::Value;
use std::fs;
use std::path::Path;

#[test]
fn ids_of_the_tokenizers_package() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bpe");
    let recorded = fs::read(folder.join("ids.json")).unwrap();
    let recorded: Value = serde_json::from_slice(&recorded).unwrap();
    let lines = recorded["lines"].as_array().unwrap();
    let mut wrong = Vec::new();
    for name in ["gpt2", "gpt2_space", "llama3", "qwen2", "words"] {
        let bpe = Bpe::read_tokenizer_json(folder.join(format!("{name}.json"))).unwrap();
        let again = Bpe::from_bytes(&bpe.to_bytes()).unwrap();
        assert_eq!(again, bpe);
        for (line, ids) in lines.iter().zip(recorded["ids"][name].as_array().unwrap()) {
            let line = line.as_str().unwrap();
            let expected: Vec<u32> =
                ids.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
            let found = bpe.encode_with_specials(line.as_bytes()).unwrap();
            if found != expected {
                wrong.push(format!("{name} {line:?}\n  {found:?}\n  {expected:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} lines differ:\n{}", wrong.len(), wrong.join("\n"));
}
