//! Writing `tokenizer.json`.

use super::chars::of_bytes;
use super::{Bpe, Rule};
use crate::error::Result;
use crate::system::atomic;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::Path;

/// A JSON string.
pub(super) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

impl Bpe {
    /// The text of a `tokenizer.json` of Hugging Face, in one line.
    pub fn to_tokenizer_json(&self) -> String {
        self.json_with(&self.vocab_json())
    }

    /// The same with another object of tokens and ids.
    pub(super) fn json_with(&self, vocab: &str) -> String {
        let parts = &self.0.parts;
        let mut text = String::from(r#"{"version":"1.0","truncation":null,"padding":null"#);
        let added: Vec<Value> = parts
            .added
            .iter()
            .map(|a| {
                json!({
                    "id": a.id, "content": a.content, "single_word": a.single_word,
                    "lstrip": a.lstrip, "rstrip": a.rstrip, "normalized": a.normalized,
                    "special": a.special,
                })
            })
            .collect();
        let normalizer = if parts.nfc { json!({"type": "NFC"}) } else { Value::Null };
        let byte_level = |space: bool, regex: bool| {
            json!({
                "type": "ByteLevel", "add_prefix_space": space, "trim_offsets": true,
                "use_regex": regex,
            })
        };
        let pre = match (parts.rule, parts.rule.pattern()) {
            (Rule::Gpt2, _) => byte_level(parts.add_prefix_space, true),
            (_, None) => byte_level(parts.add_prefix_space, false),
            (_, Some(pattern)) => json!({
                "type": "Sequence",
                "pretokenizers": [
                    {
                        "type": "Split", "pattern": {"Regex": pattern},
                        "behavior": "Isolated", "invert": false,
                    },
                    byte_level(false, false),
                ],
            }),
        };
        let post = parts.post.as_deref().unwrap_or("null");
        // Writing to a string does not fail.
        let _ = write!(
            text,
            r#","added_tokens":{},"normalizer":{normalizer},"pre_tokenizer":{pre},"post_processor":{post},"decoder":{}"#,
            Value::from(added),
            byte_level(true, true),
        );
        let unknown = parts.unknown.as_deref().map_or("null".into(), quoted);
        let _ = write!(
            text,
            r#","model":{{"type":"BPE","dropout":null,"unk_token":{unknown},"continuing_subword_prefix":null,"end_of_word_suffix":null,"fuse_unk":false,"byte_fallback":false,"ignore_merges":{},"vocab":{vocab}"#,
            parts.ignore_merges,
        );
        text.push_str(r#","merges":["#);
        for (i, (left, right)) in self.merge_names().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            let _ = write!(text, "{comma}[{},{}]", quoted(&left), quoted(&right));
        }
        text.push_str("]}}");
        text
    }

    /// The two halves of each merge, in the characters of the file.
    pub(super) fn merge_names(&self) -> impl Iterator<Item = (String, String)> {
        let name = |id: u32| of_bytes(self.token(id).unwrap_or_default());
        self.0.parts.merges.iter().map(move |&(left, right, _)| (name(left), name(right)))
    }

    /// The object of tokens and ids, added tokens included.
    pub(super) fn vocab_json(&self) -> String {
        let mut text = String::from("{");
        for (id, token) in (0u32..).zip(self.0.tokens.iter()) {
            let at = self.added().binary_search_by_key(&id, |added| added.id);
            let name = at.map_or_else(|_| of_bytes(token), |at| self.added()[at].content.clone());
            let comma = if id > 0 { "," } else { "" };
            let _ = write!(text, "{comma}{}:{id}", quoted(&name));
        }
        text.push('}');
        text
    }

    /// Writes a `tokenizer.json`, whole or not at all.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn write_tokenizer_json(&self, path: impl AsRef<Path>) -> Result<()> {
        put(path.as_ref(), &self.to_tokenizer_json())
    }
}

pub(super) fn put(path: &Path, text: &str) -> Result<()> {
    atomic::write(path, |file| file.write_all(text.as_bytes()))
}
