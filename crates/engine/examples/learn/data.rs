//! The text of a run.

use super::options::Options;
use cllm_engine::Dataset;
use cllm_engine::text::split::text_words;
use cllm_engine::text::{Bpe, Vocabulary};
use std::collections::BTreeSet;
use std::error::Error;
use std::path::Path;

/// A text as tokens.
pub struct Data {
    /// Training ids.
    pub train: Vec<u32>,
    /// Held-out ids.
    pub held: Vec<u32>,
    /// V.
    pub vocab: usize,
    /// Bytes that the held-out ids stand for.
    pub held_bytes: usize,
    /// Nats that the held-out text costs besides the losses of its ids: the spelling of words that are
    /// not in the vocabulary.
    pub spelling: f64,
}

pub fn data(text: &str, options: &Options) -> Result<Data, Box<dyn Error>> {
    if let Some((train, held, held_bytes)) = &options.ids {
        let read = |path: &str| -> Result<Vec<u32>, Box<dyn Error>> {
            Ok(Dataset::read(Path::new(path))?.ids().to_vec())
        };
        let (train, held) = (read(train)?, read(held)?);
        let vocab = train.iter().chain(&held).max().map_or(0, |&id| id as usize + 1);
        return Ok(Data { train, held, vocab, held_bytes: *held_bytes, spelling: 0.0 });
    }
    let bytes = std::fs::read(text)?;
    if let Ok(size) = options.tokens.parse() {
        let (train, held) = bytes.split_at(bytes.len() - bytes.len() / 10);
        let bpe = Bpe::train([train], size)?;
        let (vocab, held_bytes) = (bpe.len(), held.len());
        let (train, held) = (bpe.encode(train)?, bpe.encode(held)?);
        return Ok(Data { train, held, vocab, held_bytes, spelling: 0.0 });
    }
    if options.tokens == "words" {
        return words(&bytes);
    }
    let all: Vec<u8> = match options.tokens.as_str() {
        "bytes" => (0..=255).collect(),
        "chars" => bytes.iter().copied().collect::<BTreeSet<u8>>().into_iter().collect(),
        _ => return Err("tokens: bytes, chars or a number".into()),
    };
    let mut id = [0; 256];
    (0..).zip(&all).for_each(|(i, &byte)| id[usize::from(byte)] = i);
    let ids: Vec<u32> = bytes.iter().map(|&byte| id[usize::from(byte)]).collect();
    let cut = ids.len() - ids.len() / 10;
    let (train, held) = ids.split_at(cut);
    Ok(Data {
        train: train.to_vec(),
        held: held.to_vec(),
        vocab: all.len(),
        held_bytes: held.len(),
        spelling: 0.0,
    })
}

/// Words between blanks, in lower case, as `train_model --tokens words` has them. A word that is not in
/// the vocabulary costs its loss as the unknown one, then 8 bits for each of its bytes and for a byte
/// that ends it. Which blanks stood between the words and which letters were capitals costs nothing: the
/// true figure is higher.
fn words(bytes: &[u8]) -> Result<Data, Box<dyn Error>> {
    let lower = bytes.to_ascii_lowercase();
    let (train, held) = lower.split_at(lower.len() - lower.len() / 10);
    let vocabulary = Vocabulary::from_text(train, 10_000, 1)?;
    let unknown = text_words(held).filter(|word| vocabulary.id(word).is_none());
    let letters: usize = unknown.map(|word| word.len() + 1).sum();
    Ok(Data {
        train: vocabulary.encode(train)?,
        held: vocabulary.encode(held)?,
        vocab: vocabulary.len(),
        held_bytes: held.len(),
        spelling: letters as f64 * 8.0 * std::f64::consts::LN_2,
    })
}
