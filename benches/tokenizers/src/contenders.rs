//! This library and its yardsticks, seen in one way.

use cllm_engine::text::Bpe;
use rustc_hash::FxHashMap;
use tiktoken_rs::CoreBPE;
use tokenizers_next::pipeline::{EncodeOptions, PipelineToken, PipelineTokenizer};

/// What is wrong, in words.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A tokenizer.
pub trait Contender: Sync {
    fn name(&self) -> &'static str;
    /// Whether it takes what spells a special token for one, also where it was not asked to add any.
    fn finds_specials(&self) -> bool {
        false
    }
    /// One of how many documents it gets where there are many: the slow one would take an hour.
    fn one_of(&self) -> usize {
        1
    }
    fn encode(&self, text: &str) -> Result<Vec<u32>>;
    fn decode(&self, ids: &[u32]) -> Result<Vec<u8>>;
}

impl Contender for Bpe {
    fn name(&self) -> &'static str {
        "cllm"
    }

    fn encode(&self, text: &str) -> Result<Vec<u32>> {
        Ok(Bpe::encode(self, text.as_bytes())?)
    }

    fn decode(&self, ids: &[u32]) -> Result<Vec<u8>> {
        Ok(Bpe::decode(self, ids)?)
    }
}

struct Stable(tokenizers::Tokenizer);

impl Contender for Stable {
    fn name(&self) -> &'static str {
        "tokenizers 0.23"
    }

    fn finds_specials(&self) -> bool {
        true
    }

    fn one_of(&self) -> usize {
        8
    }

    fn encode(&self, text: &str) -> Result<Vec<u32>> {
        Ok(self.0.encode_fast(text, false)?.get_ids().to_vec())
    }

    fn decode(&self, ids: &[u32]) -> Result<Vec<u8>> {
        Ok(self.0.decode(ids, false)?.into_bytes())
    }
}

struct Next(PipelineTokenizer);

impl Contender for Next {
    fn name(&self) -> &'static str {
        "tokenizers 1.0-rc"
    }

    fn finds_specials(&self) -> bool {
        true
    }

    fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = Vec::with_capacity(text.len() / 4);
        self.0.encode_into(text, &EncodeOptions::no_specials(), &mut ids)?;
        Ok(PipelineToken::cast_slice(&ids).to_vec())
    }

    fn decode(&self, ids: &[u32]) -> Result<Vec<u8>> {
        Ok(self.0.decode(ids, false)?.into_bytes())
    }
}

struct Tiktoken(CoreBPE);

impl Contender for Tiktoken {
    fn name(&self) -> &'static str {
        "tiktoken-rs 0.12"
    }

    fn encode(&self, text: &str) -> Result<Vec<u32>> {
        Ok(self.0.encode_ordinary(text))
    }

    fn decode(&self, ids: &[u32]) -> Result<Vec<u8>> {
        Ok(self.0.decode_bytes(ids)?)
    }
}

/// All with the vocabulary and the merges of `bpe`, this library's own first.
pub fn all(bpe: &Bpe) -> Result<Vec<Box<dyn Contender>>> {
    let json = bpe.to_tokenizer_json();
    let stable = tokenizers::Tokenizer::from_bytes(json.as_bytes())?;
    let next = tokenizers_next::from_json(&tokenizers_next::canonicalize_str(&json)?)?;
    // Of tokens that merges make, the id says which merge is first.
    let tokens = (0u32..).take(bpe.len()).filter(|&id| !bpe.is_special(id));
    let ranks: FxHashMap<Vec<u8>, u32> =
        tokens.map(|id| (bpe.token(id).unwrap_or_default().to_vec(), id)).collect();
    let pattern = bpe.rule().pattern().unwrap_or_default();
    let tiktoken = CoreBPE::new(ranks, Default::default(), pattern)?;
    Ok(vec![
        Box::new(bpe.clone()),
        Box::new(Stable(stable)),
        Box::new(Next(next)),
        Box::new(Tiktoken(tiktoken)),
    ])
}
