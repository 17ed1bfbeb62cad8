//! Byte-level byte-pair encoding: every text is made of the 256 bytes, and frequent neighbours are
//! merged into tokens (P. Gage 1994; R. Sennrich et al. 2016; byte-level: A. Radford et al. 2019).

mod added;
mod blocks;
mod build;
mod cache;
mod chars;
mod counter;
mod cut;
mod decode;
mod encode;
mod gpt2;
mod json;
mod listed;
mod normal;
mod scan;
mod shown;
mod train;
mod unique;
mod whole;
mod write;

pub use added::Added;
pub use counter::PieceCounter;
pub use cut::last_cut;
pub use scan::Rule;
pub use shown::{read_shown, shown};
pub use train::{Settings, Training};

use added::Matcher;
use build::Parts;
use cache::Caches;
use cllm_kernels::merge::Pairs;
use decode::Spellings;
use hashbrown::{DefaultHashBuilder, HashTable};
use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;
use whole::WholeChars;

use super::WordList;
use super::index::Words;
use crate::error::{Error, Result};

/// A byte-level BPE tokenizer. Cheap to clone: clones share one vocabulary, which is not changed
/// once it is made, and what they remember of the pieces of texts: up to 6 MiB for each thread that
/// encodes at the same time, of at most eight.
///
/// A vocabulary that this library makes has the special tokens `<PAD> <UNK> <BOS> <EOS> <MASK>`
/// (ids 0 to 4), then the 256 bytes in their order (5 to 260), then what the merges make, in their
/// order. One that was read from a file keeps the ids of the file.
///
/// ```
/// use cllm_engine::text::Bpe;
///
/// let text = b"low lower lowest, slow slower slowest\n".repeat(10);
/// let bpe = Bpe::train([&text[..]], 270)?;
/// let ids = bpe.encode(b"slowest \xFF\n")?;
/// assert_eq!(bpe.decode(&ids)?, b"slowest \xFF\n");
/// assert!(ids.len() < 10);
/// let again = Bpe::from_tokenizer_json(bpe.to_tokenizer_json().as_bytes())?;
/// assert_eq!(again.encode(b"slowest \xFF\n")?, ids);
/// # Ok::<(), cllm_engine::Error>(())
/// ```
#[derive(Clone)]
pub struct Bpe(Arc<Inner>);

struct Inner {
    tokens: WordList,
    spellings: Spellings,
    /// Ids of the tokens of the model by their bytes; added tokens are in `added`.
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
    bytes: [u32; 256],
    pairs: Pairs,
    chars: WholeChars,
    matcher: Matcher,
    end: Option<u32>,
    unknown: Option<u32>,
    parts: Parts,
    caches: Caches,
}

impl Bpe {
    /// The 256 bytes and the special tokens, without merges: 261 tokens.
    ///
    /// # Errors
    /// No memory.
    pub fn bytes() -> Result<Self> {
        Self::of_merges(&[], Rule::Words)
    }

    /// Number of tokens: ids are below it.
    pub fn len(&self) -> usize {
        self.0.tokens.len()
    }

    /// Never: there are always the 256 bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of merges; without any the tokens are the bytes.
    pub fn merges(&self) -> usize {
        self.0.parts.merges.len()
    }

    /// Where a text is cut before merging.
    pub fn rule(&self) -> Rule {
        self.0.parts.rule
    }

    /// The special and other added tokens, in the order of their ids.
    pub fn added(&self) -> &[Added] {
        &self.0.parts.added
    }

    /// Whether decoding gives back every text byte for byte. Not so where the file asks to normalise
    /// texts (NFC, as Qwen does), to put a space before them, or to strip white space beside added
    /// tokens.
    pub fn is_exact(&self) -> bool {
        let parts = &self.0.parts;
        !parts.nfc && !parts.add_prefix_space && !parts.added.iter().any(|a| a.lstrip || a.rstrip)
    }

    /// The bytes of a token; those of a special one are its name.
    pub fn token(&self, id: u32) -> Option<&[u8]> {
        self.0.tokens.get(id)
    }

    /// The id of the special or added token with this name, else of the token of these bytes.
    pub fn id(&self, token: &[u8]) -> Option<u32> {
        let added = self.added().iter().find(|added| added.content.as_bytes() == token);
        added.map(|added| added.id).or_else(|| self.0.find(token))
    }

    /// Whether the token is a special one: no text, unless the caller asks for it.
    pub fn is_special(&self, id: u32) -> bool {
        let added = self.added();
        added.binary_search_by_key(&id, |a| a.id).is_ok_and(|at| added[at].special)
    }

    /// The token that ends a text: `<EOS>`, or the first in a file of `<|endoftext|>`,
    /// `<|end_of_text|>`, `</s>`, `<eos>`, `<|im_end|>`, `<|eot_id|>`.
    pub fn end(&self) -> Option<u32> {
        self.0.end
    }

    /// The token for what is not known: `<UNK>`, or the one that a file names. No text needs it.
    pub fn unknown(&self) -> Option<u32> {
        self.0.unknown
    }

    /// The bytes of the tokens, one after the other. Special tokens, and ids that are not in the
    /// vocabulary, are left out.
    ///
    /// # Errors
    /// No memory.
    pub fn decode(&self, ids: &[u32]) -> Result<Vec<u8>> {
        self.decode_with(ids, false)
    }

    /// [`decode`](Self::decode), with the names of special tokens where `specials`.
    ///
    /// # Errors
    /// No memory.
    pub fn decode_with(&self, ids: &[u32], specials: bool) -> Result<Vec<u8>> {
        let shown = |id: u32| specials || !self.is_special(id);
        self.0.spellings.join(ids, |id| self.token(id).filter(|_| shown(id)))
    }

    /// The whole tokenizer as bytes, for a section of a model file: its `tokenizer.json`, without
    /// white space.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.to_tokenizer_json().into_bytes()
    }

    /// What [`to_bytes`](Self::to_bytes) gave.
    ///
    /// # Errors
    /// As [`from_tokenizer_json`](Self::from_tokenizer_json).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::from_tokenizer_json(bytes)
    }
}

impl Inner {
    fn find(&self, token: &[u8]) -> Option<u32> {
        let hash = self.hasher.hash_one(token);
        self.index.find(hash, |&id| self.tokens.get(id) == Some(token)).copied()
    }
}

/// Longest part of a text that an error quotes, in characters.
const QUOTED: usize = 80;

/// A text in quotation marks, cut where it is long.
fn quote(text: &str) -> String {
    match text.char_indices().nth(QUOTED) {
        Some((at, _)) => format!("{:?}…", &text[..at]),
        None => format!("{text:?}"),
    }
}

/// Memory that outside data sized and the system does not give.
fn no_memory<T>(what: &'static str, count: usize) -> Error {
    Error::memory(what, count.saturating_mul(size_of::<T>()))
}

/// An error in the content of a tokenizer.
fn wrong(problem: impl fmt::Display) -> Error {
    Error::shape(format!("tokenizer: {problem}"))
}

/// The numbers; there may be many tokens.
impl fmt::Debug for Bpe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Bpe");
        shown.field("len", &self.len()).field("merges", &self.merges());
        shown.field("rule", &self.rule()).finish_non_exhaustive()
    }
}

/// Two tokenizers are equal if they give the same ids to every text, and the same text to all ids.
impl PartialEq for Bpe {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || (self.0.tokens == other.0.tokens && self.0.parts == other.0.parts)
    }
}

#[cfg(test)]
mod tests;
