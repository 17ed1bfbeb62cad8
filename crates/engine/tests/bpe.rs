//! Ids beside those that the `tokenizers` package gave: `tests/bpe/record.py` recorded them.

use cllm_engine::text::Bpe;
use cllm_engine::text::bpe::{PieceCounter, Rule, Settings};
use serde_json::Value;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

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

/// A small file that is right; each case changes a part of it.
fn file() -> String {
    Bpe::train([&b"abab abab"[..]], 263).unwrap().to_tokenizer_json()
}

#[test]
fn damaged_files_are_refused_by_name() {
    let whole = file();
    assert!(Bpe::from_bytes(whole.as_bytes()).is_ok());
    let huge = format!(r#""{}""#, "x".repeat(1000));
    let cases: [(&str, &str, &str); 25] = [
        (r#"{"version""#, r#"["version""#, "not JSON"),
        (r#""version":"1.0""#, r#""version":"2.0""#, "version is \"2.0\""),
        (r#""type":"BPE""#, r#""type":"WordPiece""#, "model.type is \"WordPiece\""),
        (r#""type":"BPE""#, r#""type":"Unigram""#, "model.type is \"Unigram\""),
        (r#""type":"BPE""#, r#""type":7"#, "model.type is 7"),
        (r#""model":{"#, r#""model":null,"x":{"#, "x is {"),
        (r#""a":102"#, r#""a":103"#, "id 103 is that of"),
        (r#""a":102"#, r#""a":102,"a":102"#, "the key \"a\" comes twice"),
        (r#""ab":261"#, r#""ab":999"#, "id 999 of \"ab\" leaves ids before it"),
        (r#""a":102"#, r#""a":-1"#, "the id of \"a\" is -1"),
        (r#""a":102"#, r#""a":1.5"#, "the id of \"a\" is 1.5"),
        (r#""a":102"#, r#""a":"102""#, "the id of \"a\" is \"102\""),
        (r#""a":102"#, r#""a":99999999999999999999"#, "the id of \"a\" is 1"),
        (r#""a":102"#, r#""a":1e999"#, "number out of range"),
        (r#""a":102"#, r#""a b":102"#, "is not byte-level"),
        (r#"["a","b"]"#, r#"["a","q q"]"#, "merge 0: there is no token"),
        (r#"["a","b"]"#, r#"["a"]"#, "merge 0 is no pair"),
        (r#"["a","b"]"#, r#"["a","b"],["a","b"]"#, "repeats an earlier one"),
        (r#""merges":["#, r#""merges":7,"dropout":["#, "twice"),
        (r#""normalizer":null"#, r#""normalizer":{"type":"NFKC"}"#, "NFKC"),
        (r#""truncation":null"#, r#""truncation":{"max_length":5}"#, "truncation is {"),
        (r#""unk_token":"<UNK>""#, r#""unk_token":"<X>""#, "unk_token \"<X>\" is no token"),
        (r#""behavior":"Isolated""#, r#""behavior":"Removed""#, "pre_tokenizer is"),
        (r#"(?i:'s|"#, r#"(?i:'z|"#, "the regular expression \"(?i:'z|"),
        (r#""byte_fallback":false"#, r#""byte_fallback":true"#, "byte_fallback is true"),
    ];
    for (from, to, expected) in cases {
        assert!(whole.contains(from), "{from}");
        let error = Bpe::from_bytes(whole.replacen(from, to, 1).as_bytes()).unwrap_err();
        let error = error.to_string();
        assert!(error.contains(expected), "{to}: {error}");
    }
    // What is quoted is cut.
    let error = Bpe::from_bytes(whole.replacen(r#""BPE""#, &huge, 1).as_bytes()).unwrap_err();
    assert!(error.to_string().len() < 300, "{error}");
    for wrong in ["", "7", "null", "[]", "{}", "\u{feff}", "{\"model\":{}}"] {
        assert!(Bpe::from_bytes(wrong.as_bytes()).is_err(), "{wrong}");
    }
    let deep = "[".repeat(100_000);
    assert!(Bpe::from_bytes(deep.as_bytes()).unwrap_err().to_string().contains("recursion"));
    for len in 0..whole.len() {
        let error = Bpe::from_bytes(&whole.as_bytes()[..len]).unwrap_err().to_string();
        assert!(error.contains("is it cut?"), "{len}: {error}");
    }
}

#[test]
fn damaged_files_of_gpt2_are_refused_by_name() {
    for (vocab, merges, expected) in [
        ("{", "", "vocab.json is not JSON (is it cut?)"),
        ("[]", "", "vocab.json is no object"),
        (r#"{"a":0,"a":0}"#, "", "the key \"a\" comes twice"),
        (r#"{"a":0}"#, "", "no token for the byte 0x00"),
        (r#"{"a":0}"#, "#version: 0.2\na", "line 2 of merges.txt is no pair"),
        (r#"{"a":0}"#, "a b", "there is no token \"ab\""),
    ] {
        let error = Bpe::from_gpt2(vocab.as_bytes(), merges.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(expected), "{vocab} {merges}: {error}");
    }
    let error = Bpe::from_gpt2(b"{}", b"\xFF").unwrap_err().to_string();
    assert!(error.contains("not UTF-8"), "{error}");
}

#[test]
fn long_runs_take_no_square_of_time() {
    let run = b"aaaaaaaabababab01234567\n\n\n\n        ".repeat(8);
    let mut counter = PieceCounter::new(Rule::Whole);
    (0..2).for_each(|_| counter.add(&run).unwrap());
    let go_on = |_| ControlFlow::Continue(());
    let uncut = Bpe::train_from(&counter, Settings::new(400), go_on).unwrap();
    let words = Bpe::train([&run[..]; 2], 400).unwrap();
    for unit in ["a", " ", "\n", "ab", "0123456789", "\u{4f60}"] {
        let text = unit.repeat((1 << 20) / unit.len());
        for bpe in [&uncut, &words] {
            let start = Instant::now();
            let ids = bpe.encode(text.as_bytes()).unwrap();
            // n log n is a second here, the square would be an hour.
            assert!(start.elapsed().as_secs() < 60, "{unit:?}");
            assert_eq!(bpe.decode(&ids).unwrap(), text.as_bytes());
        }
    }
}
