//! The two files of GPT-2: `vocab.json` (tokens and ids) and `merges.txt` (a merge a line).

use super::added::Added;
use super::build::Parts;
use super::json::at_path;
use super::unique::parse;
use super::write::put;
use super::{Bpe, Rule, wrong};
use crate::error::{Error, Result};
use crate::limits::MAX_TEXT_BYTES;
use crate::text::files;
use serde_json::Value;
use std::path::Path;

/// Its special token.
const END: &str = "<|endoftext|>";

impl Bpe {
    /// Reads the contents of a `vocab.json` and a `merges.txt`. Texts are cut as GPT-2 does;
    /// `<|endoftext|>`, if it is there, is a special token.
    ///
    /// # Errors
    /// As [`from_tokenizer_json`](Self::from_tokenizer_json).
    pub fn from_gpt2(vocab: &[u8], merges: &[u8]) -> Result<Self> {
        let Value::Object(vocab) = parse(vocab, "vocab.json")? else {
            return Err(wrong("vocab.json is no object of tokens and ids"));
        };
        let text = std::str::from_utf8(merges)
            .map_err(|error| wrong(format_args!("merges.txt is not UTF-8: {error}")))?;
        let mut pairs = Vec::new();
        for (at, line) in text.lines().enumerate() {
            if line.is_empty() || at == 0 && line.starts_with("#version") {
                continue;
            }
            let halves = line.split_once(' ').filter(|(_, right)| !right.contains(' '));
            let problem = || wrong(format_args!("line {} of merges.txt is no pair", at + 1));
            pairs.push(halves.ok_or_else(problem)?);
        }
        let mut parts = Parts::new(Rule::Gpt2);
        let end = vocab.get(END).and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok());
        parts.added = end.map(|id| Added::special(id, END.into())).into_iter().collect();
        Self::of_names(&vocab, pairs, parts)
    }

    /// Reads both files.
    ///
    /// # Errors
    /// A file can't be read or is longer than 1 GiB; as [`from_gpt2`](Self::from_gpt2).
    pub fn read_gpt2(vocab: impl AsRef<Path>, merges: impl AsRef<Path>) -> Result<Self> {
        let vocab = vocab.as_ref();
        let json = files::read(vocab, MAX_TEXT_BYTES)?;
        let lines = files::read(merges.as_ref(), MAX_TEXT_BYTES)?;
        Self::from_gpt2(&json, &lines).map_err(|error| at_path(vocab, error))
    }

    /// Writes both files, each whole or not at all.
    ///
    /// # Errors
    /// The tokenizer has what they can't say: a rule other than GPT-2's, added tokens other than
    /// `<|endoftext|>`, a normaliser. A file can't be written.
    pub fn write_gpt2(&self, vocab: impl AsRef<Path>, merges: impl AsRef<Path>) -> Result<()> {
        let parts = &self.0.parts;
        let plain = |added: &Added| *added == Added::special(added.id, END.into());
        let fits = parts.rule == Rule::Gpt2
            && parts.added.iter().all(plain)
            && !(parts.nfc || parts.add_prefix_space || parts.ignore_merges);
        if !fits {
            let text = "only a tokenizer like GPT-2's can be a vocab.json and a merges.txt";
            return Err(Error::state(text));
        }
        let mut lines = String::from("#version: 0.2\n");
        for (left, right) in self.merge_names() {
            lines.extend([&left, " ", &right, "\n"]);
        }
        put(vocab.as_ref(), &self.vocab_json())?;
        put(merges.as_ref(), &lines)
    }
}
