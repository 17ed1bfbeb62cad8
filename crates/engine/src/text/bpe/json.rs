//! Reading `tokenizer.json` of Hugging Face: byte-level BPE. What the file asks for and is not
//! supported is named in the error.

use super::added::Added;
use super::build::Parts;
use super::unique::parse;
use super::{Bpe, QUOTED, Rule, chars, no_memory, quote, wrong};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::MAX_TEXT_BYTES;
use crate::text::{WordList, files};
use hashbrown::HashMap;
use serde_json::{Map, Value};
use std::path::Path;

impl Bpe {
    /// Reads the content of a `tokenizer.json`: byte-level BPE as of GPT-2, Llama 3 or Qwen, with
    /// added tokens. Texts are cut by the regular expressions that [`Rule`] knows, and by no
    /// other. The template of a post-processor (which puts tokens before and behind texts) is kept
    /// and written again, but [`encode`](Self::encode) does not apply it.
    ///
    /// # Errors
    /// The content is not JSON (the error names line and column); it is a tokenizer of another kind
    /// (WordPiece, Unigram…); it asks for something that is not supported; ids that come twice or
    /// are left out; merges of unknown tokens; no token for some byte.
    pub fn from_tokenizer_json(json: &[u8]) -> Result<Self> {
        let file = match parse(json, "tokenizer.json")? {
            Value::Object(file) => file,
            _ => return Err(wrong("not a JSON object")),
        };
        Self::of_file(&file)
    }

    /// [`from_tokenizer_json`](Self::from_tokenizer_json) of the object that the content is.
    pub(super) fn of_file(file: &Map<String, Value>) -> Result<Self> {
        only(
            file,
            "",
            &[
                "version",
                "truncation",
                "padding",
                "added_tokens",
                "normalizer",
                "pre_tokenizer",
                "post_processor",
                "decoder",
                "model",
            ],
        )?;
        let other = |version: &&Value| !version.is_null() && version.as_str() != Some("1.0");
        if let Some(version) = file.get("version").filter(other) {
            return Err(unsupported("version", version));
        }
        for key in ["truncation", "padding"] {
            if !is_null(file.get(key)) {
                return Err(unsupported(key, &file[key]));
            }
        }
        let model = match file.get("model") {
            Some(Value::Object(model)) => model,
            _ => return Err(wrong("there is no model")),
        };
        check_model(model)?;
        let mut parts = Parts::new(Rule::Whole);
        parts.nfc = normalizer(file.get("normalizer"))?;
        (parts.rule, parts.add_prefix_space) = pre_tokenizer(file.get("pre_tokenizer"))?;
        check_decoder(file.get("decoder"))?;
        check_post(file.get("post_processor"))?;
        parts.post = file.get("post_processor").filter(|p| !p.is_null()).map(Value::to_string);
        parts.ignore_merges = flag(model, "ignore_merges")?;
        parts.unknown = match model.get("unk_token") {
            None | Some(Value::Null) => None,
            Some(Value::String(name)) => Some(name.clone()),
            Some(other) => return Err(unsupported("model.unk_token", other)),
        };
        parts.added = added_tokens(file.get("added_tokens"))?;
        let Some(Value::Object(vocab)) = model.get("vocab") else {
            return Err(wrong("model.vocab is no object of tokens and ids"));
        };
        let merges = match model.get("merges") {
            Some(Value::Array(merges)) => merges,
            _ => return Err(wrong("model.merges is no list")),
        };
        let merges = merges.iter().enumerate().map(|(at, merge)| {
            halves(merge).ok_or_else(|| {
                wrong(format_args!("merge {at} is no pair of tokens: {}", brief(merge)))
            })
        });
        Self::of_names(vocab, merges.collect::<Result<Vec<_>>>()?, parts)
    }

    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// The file can't be read or is longer than 1 GiB; as
    /// [`from_tokenizer_json`](Self::from_tokenizer_json).
    pub fn read_tokenizer_json(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let json = files::read(path, MAX_TEXT_BYTES)?;
        Self::from_tokenizer_json(&json).map_err(|error| at_path(path, error))
    }

    /// From the names of tokens, in the characters of the file, and the halves of merges.
    pub(super) fn of_names(
        vocab: &Map<String, Value>,
        merges: Vec<(&str, &str)>,
        mut parts: Parts,
    ) -> Result<Self> {
        let mut names: Vec<Option<&str>> = Vec::new();
        let count = vocab.len().saturating_add(parts.added.len());
        cllm_kernels::memory::reserve("the tokens", &mut names, count)?;
        names.resize(count, None);
        let mut set = |id: u64, name| match usize::try_from(id).ok().and_then(|i| names.get_mut(i))
        {
            None => {
                let name = quote(name);
                Err(wrong(format_args!("id {id} of {name} leaves ids before it without a token")))
            }
            Some(Some(other)) if *other != name => {
                let (other, name) = (quote(other), quote(name));
                Err(wrong(format_args!("id {id} is that of {other} and of {name}")))
            }
            Some(slot) => {
                *slot = Some(name);
                Ok(())
            }
        };
        let mut ids: HashMap<&str, u32> = HashMap::new();
        let mut added: HashMap<&str, u32> = HashMap::new();
        ids.try_reserve(vocab.len())
            .and_then(|()| added.try_reserve(parts.added.len()))
            .map_err(|_| no_memory::<(&str, u32)>("the tokens", count))?;
        for (name, id) in vocab {
            let number = id.as_u64().and_then(|id| Some((id, u32::try_from(id).ok()?)));
            let Some((number, id)) = number else {
                return Err(wrong(format_args!("the id of {} is {}", quote(name), brief(id))));
            };
            set(number, name)?;
            ids.insert(name, id);
        }
        for token in &parts.added {
            let name = || quote(&token.content);
            if let Some(&id) = ids.get(&token.content[..]).filter(|&&id| id != token.id) {
                let both = format_args!("{id} and {}", token.id);
                return Err(wrong(format_args!("the added token {} has the ids {both}", name())));
            }
            if added.insert(&token.content, token.id).is_some() {
                return Err(wrong(format_args!("the added token {} comes twice", name())));
            }
            set(u64::from(token.id), &token.content)?;
        }
        while names.last() == Some(&None) {
            names.pop();
        }
        let mut tokens = WordList::default();
        for (id, name) in names.iter().enumerate() {
            let Some(name) = name else {
                return Err(wrong(format_args!("id {id} has no token, but later ids have")));
            };
            if added.contains_key(name) {
                tokens.push(name.as_bytes())?;
                continue;
            }
            match chars::to_bytes(name) {
                Some(bytes) => tokens.push(&bytes)?,
                None => {
                    return Err(wrong(format_args!(
                        "token {id}, {}, is not byte-level: a character of it stands for no byte",
                        quote(name)
                    )));
                }
            }
        }
        cllm_kernels::memory::reserve("the merges", &mut parts.merges, merges.len())?;
        for (rank, (left, right)) in merges.into_iter().enumerate() {
            let id = |name: &str| {
                let problem =
                    || wrong(format_args!("merge {rank}: there is no token {}", quote(name)));
                ids.get(name).copied().ok_or_else(problem)
            };
            let made = id(&[left, right].concat())?;
            parts.merges.push((id(left)?, id(right)?, made));
        }
        drop((names, added));
        Self::of_parts(tokens, parts)
    }
}

/// An error of a tokenizer as one of the file that holds it.
pub(super) fn at_path(path: &Path, error: Error) -> Error {
    match error.kind() {
        ErrorKind::Shape(problem) => Error::file(path, problem.as_str()),
        _ => error,
    }
}

fn halves(merge: &Value) -> Option<(&str, &str)> {
    match merge {
        Value::String(both) => both.split_once(' ').filter(|(_, right)| !right.contains(' ')),
        Value::Array(both) => match &both[..] {
            [left, right] => Some((left.as_str()?, right.as_str()?)),
            _ => None,
        },
        _ => None,
    }
}

fn is_null(value: Option<&Value>) -> bool {
    value.is_none_or(Value::is_null)
}

/// The start of a value's JSON.
fn brief(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(QUOTED) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

fn unsupported(what: impl std::fmt::Display, value: &Value) -> Error {
    wrong(format_args!("{what} is {}, which is not supported", brief(value)))
}

/// Refuses keys that are not known.
fn only(object: &Map<String, Value>, place: &str, known: &[&str]) -> Result<()> {
    match object.iter().find(|(key, _)| !known.contains(&&key[..])) {
        Some((key, value)) => Err(unsupported(format_args!("{place}{key}"), value)),
        None => Ok(()),
    }
}

/// A flag that is off where it is not there.
fn flag(object: &Map<String, Value>, key: &str) -> Result<bool> {
    flag_or(object, key, false)
}

fn flag_or(object: &Map<String, Value>, key: &str, default: bool) -> Result<bool> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(default),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(other) => Err(unsupported(key, other)),
    }
}

fn check_model(model: &Map<String, Value>) -> Result<()> {
    match model.get("type") {
        None => {}
        Some(Value::String(kind)) if kind == "BPE" => {}
        Some(other) => return Err(unsupported("model.type", other)),
    }
    only(
        model,
        "model.",
        &[
            "type",
            "dropout",
            "unk_token",
            "continuing_subword_prefix",
            "end_of_word_suffix",
            "fuse_unk",
            "byte_fallback",
            "ignore_merges",
            "vocab",
            "merges",
        ],
    )?;
    for key in ["continuing_subword_prefix", "end_of_word_suffix"] {
        if let Some(value) = model.get(key).filter(|v| !v.is_null() && v.as_str() != Some("")) {
            return Err(unsupported(format_args!("model.{key}"), value));
        }
    }
    if let Some(value) = model.get("dropout").filter(|v| !v.is_null() && v.as_f64() != Some(0.0)) {
        return Err(unsupported("model.dropout", value));
    }
    if flag(model, "byte_fallback")? {
        return Err(unsupported("model.byte_fallback", &Value::Bool(true)));
    }
    // Unknown tokens never come, as every byte is known.
    flag(model, "fuse_unk").map(|_| ())
}

/// The members of a part: of a "Sequence" those in its list, else the part itself.
fn members<'v>(
    place: &str,
    value: &'v Value,
    list: &str,
) -> Result<Vec<(&'v str, &'v Map<String, Value>)>> {
    let named = |value: &'v Value| match (value, value.get("type").and_then(Value::as_str)) {
        (Value::Object(part), Some(kind)) => Ok((kind, part)),
        _ => Err(unsupported(place, value)),
    };
    let (kind, part) = named(value)?;
    if kind != "Sequence" {
        return Ok(vec![(kind, part)]);
    }
    only(part, place, &["type", list])?;
    match part.get(list) {
        Some(Value::Array(parts)) => parts.iter().map(named).collect(),
        _ => Err(unsupported(place, value)),
    }
}

/// Whether texts are normalised (NFC).
fn normalizer(value: Option<&Value>) -> Result<bool> {
    let Some(value) = value.filter(|v| !v.is_null()) else {
        return Ok(false);
    };
    let parts = members("normalizer", value, "normalizers")?;
    match parts.iter().find(|(kind, _)| *kind != "NFC") {
        Some((_, part)) => Err(unsupported("normalizer", &Value::Object((*part).clone()))),
        None => Ok(!parts.is_empty()),
    }
}

/// The rule, and whether a space goes before texts.
fn pre_tokenizer(value: Option<&Value>) -> Result<(Rule, bool)> {
    let Some(value) = value.filter(|v| !v.is_null()) else {
        return Err(wrong("pre_tokenizer is null: this is not byte-level"));
    };
    let parts = members("pre_tokenizer", value, "pretokenizers")?;
    let (split, bytes) = match &parts[..] {
        [("ByteLevel", bytes)] => (None, bytes),
        [("Split", split), ("ByteLevel", bytes)] => (Some(split), bytes),
        _ => return Err(unsupported("pre_tokenizer", value)),
    };
    only(bytes, "pre_tokenizer.", &["type", "add_prefix_space", "trim_offsets", "use_regex"])?;
    let space = flag_or(bytes, "add_prefix_space", true)?;
    let regex = flag_or(bytes, "use_regex", true)?;
    let Some(split) = split else {
        return Ok((if regex { Rule::Gpt2 } else { Rule::Whole }, space));
    };
    if space || regex {
        return Err(unsupported("pre_tokenizer", value));
    }
    only(split, "pre_tokenizer.", &["type", "pattern", "behavior", "invert"])?;
    // Every part of a text is matched, so what is not matched may be dropped or kept.
    match (split.get("behavior").and_then(Value::as_str), flag(split, "invert")?) {
        (Some("Isolated"), false) | (Some("Removed"), true) => {}
        _ => return Err(unsupported("pre_tokenizer", value)),
    }
    let pattern = split.get("pattern").and_then(|p| p.get("Regex")).and_then(Value::as_str);
    match pattern.map(|pattern| (Rule::of_pattern(pattern), pattern)) {
        Some((Some(rule), _)) => Ok((rule, false)),
        Some((None, pattern)) => {
            Err(wrong(format_args!("the regular expression {pattern:?} is not supported")))
        }
        None => Err(unsupported("pre_tokenizer", value)),
    }
}

fn check_decoder(value: Option<&Value>) -> Result<()> {
    let Some(value) = value.filter(|v| !v.is_null()) else {
        return Ok(());
    };
    match &members("decoder", value, "decoders")?[..] {
        [("ByteLevel", _)] => Ok(()),
        _ => Err(unsupported("decoder", value)),
    }
}

fn check_post(value: Option<&Value>) -> Result<()> {
    let Some(value) = value.filter(|v| !v.is_null()) else {
        return Ok(());
    };
    let parts = members("post_processor", value, "processors")?;
    let known = ["ByteLevel", "TemplateProcessing"];
    match parts.iter().find(|(kind, _)| !known.contains(kind)) {
        Some((_, part)) => Err(unsupported("post_processor", &Value::Object((*part).clone()))),
        None => Ok(()),
    }
}

fn added_tokens(value: Option<&Value>) -> Result<Vec<Added>> {
    let list = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(other) => return Err(unsupported("added_tokens", other)),
    };
    let read = |(at, value): (usize, &Value)| {
        let place = format!("added_tokens[{at}]");
        let Value::Object(token) = value else {
            return Err(unsupported(place, value));
        };
        only(
            token,
            &format!("{place}."),
            &["id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"],
        )?;
        let id = token.get("id").and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok());
        let content = token.get("content").and_then(Value::as_str);
        let (Some(id), Some(content)) = (id, content) else {
            return Err(wrong(format_args!("{place} has no id or no content")));
        };
        let special = flag(token, "special")?;
        Ok(Added {
            id,
            content: content.to_owned(),
            special,
            lstrip: flag(token, "lstrip")?,
            rstrip: flag(token, "rstrip")?,
            single_word: flag(token, "single_word")?,
            normalized: flag_or(token, "normalized", !special)?,
        })
    };
    list.iter().enumerate().map(read).collect()
}
