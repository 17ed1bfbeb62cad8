//! Telling what a training run has written from text to train on. A folder of texts often holds the
//! checkpoints of earlier runs as well; what they contain is nobody's prose. Files are known by
//! their content: names change, and belong to other programs too.

use crate::report::{chart, history};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// How far into a file its kind is looked for.
const PROBE: u64 = 512;
/// The first line of the record that `train_model` keeps.
const RECORD: &[u8] = b"step,epoch,train_loss,learning_rate,gradient_norm,tokens_per_second";
/// How a tokenizer.json begins, as the library writes it.
const TOKENIZER: &[u8] = br#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":["#;
/// How `train_model` begins to speak, and to complain.
const LOGS: [&[u8]; 2] = [b"Step 1: Loading training data\n", b"train_model: "];
/// The same with `--quiet`.
const LAST: &[u8] = b"Trained ";

/// What of ours the file at `path` is; `None` for anything else, and for what can't be read.
pub fn kind(path: &Path) -> Option<&'static str> {
    let mut head = Vec::new();
    File::open(path).ok()?.take(PROBE).read_to_end(&mut head).ok()?;
    kind_of(&head)
}

/// The same from the beginning of the file's content.
fn kind_of(head: &[u8]) -> Option<&'static str> {
    // An editor may have put a byte order mark before it.
    let head = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head);
    let first_line = head.split(|&b| b == b'\n').next().unwrap_or_default().trim_ascii_end();
    if head.starts_with(b"CLLM") && head.contains(&0) {
        return Some("a model or a state of this library");
    }
    if head.get(16..24) == Some(b"CLLMSTAT".as_slice()) {
        return Some("a checkpoint of this library");
    }
    if first_line.starts_with(RECORD) || first_line == history::EPOCHS_HEAD.as_bytes() {
        return Some("the record of a run");
    }
    if head.starts_with(chart::OPENING.as_bytes()) {
        return Some("the picture of a run");
    }
    if head.starts_with(TOKENIZER) {
        return Some("a tokenizer");
    }
    if is_vocabulary(head) {
        return Some("a vocabulary");
    }
    if LOGS.iter().any(|log| head.starts_with(log)) || is_last_line(first_line) {
        return Some("the messages of a run");
    }
    None
}

/// Whether the lines begin as `vocab.txt` does: the five special words with their counts.
fn is_vocabulary(head: &[u8]) -> bool {
    let mut lines = head.split(|&b| b == b'\n');
    super::SPECIALS.iter().all(|special| {
        let count = lines.next().and_then(|line| line.strip_prefix(*special));
        let count = count.and_then(|rest| rest.strip_prefix(b"\t")).map(<[u8]>::trim_ascii_end);
        count.is_some_and(|digits| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit))
    })
}

/// "Trained 60 steps in 1.25 s (…": all that a quiet run prints.
fn is_last_line(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(LAST) else { return false };
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    digits > 0 && rest[digits..].starts_with(b" steps in ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: &str = "<PAD>\t0\n<UNK>\t3\n<BOS>\t0\n<EOS>\t0\n<MASK>\t0\nthe\t7\n";

    #[test]
    fn what_runs_write_is_known() {
        for text in [
            "step,epoch,train_loss,learning_rate,gradient_norm,tokens_per_second,val_loss\n1,",
            &super::super::Bpe::bytes().unwrap().to_tokenizer_json(),
            "Step 1: Loading training data\n  x: 1 document",
            "Trained 12 steps in 0.25 s (1 tokens/s",
            "train_model: warning: left out",
            WORDS,
            &format!("\u{FEFF}{}", WORDS.replace('\n', "\r\n")),
        ] {
            assert!(kind_of(text.as_bytes()).is_some(), "{text}");
        }
        assert!(kind_of(format!("{}\n1,2\n", history::EPOCHS_HEAD).as_bytes()).is_some());
        assert!(kind_of(format!("{} width=", chart::OPENING).as_bytes()).is_some());
        assert!(kind_of(b"CLLM\x01\0\0\0").is_some());
        assert!(kind_of(b"0123456789abcdefCLLMSTAT").is_some());
    }

    #[test]
    fn other_texts_are_not() {
        for text in [
            "",
            "CLLM is a library",
            "step,epoch\n1,2\n",
            "Trained dogs do 5 steps in a row",
            "Trained 5 dogs",
            "train_model is a program",
            "<svg viewBox='0 0 1 1'/>",
            "<PAD>\t0\n<UNK>\tx\n",
            "<PAD>\t0\n<UNK>\t0\n<BOS>\t0\n<EOS>\t0\n",
            "<PAD> 0\n<UNK> 0\n<BOS> 0\n<EOS> 0\n<MASK> 0\n",
        ] {
            assert_eq!(kind_of(text.as_bytes()), None, "{text}");
        }
        assert_eq!(kind(Path::new("no such file")), None);
    }
}
