//! A tokenizer from its parts, which are checked here.

use super::added::{Added, Matcher};
use super::decode::Spellings;
use super::whole::WholeChars;
use super::{Bpe, Inner, Rule, no_memory, quote, wrong};
use crate::error::{Error, Result};
use crate::text::index::Words;
use crate::text::{SPECIALS, WordList};
use cllm_kernels::merge::{Pairs, pair};
use hashbrown::{DefaultHashBuilder, HashMap, HashTable};
use std::hash::BuildHasher;
use std::sync::Arc;

/// Names of tokens that end a text, those that count first in front.
const ENDS: [&str; 7] =
    ["<EOS>", "<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<|im_end|>", "<|eot_id|>"];

/// What a tokenizer is made of, besides the bytes of its tokens.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Parts {
    /// Pairs of ids and what they become, lowest rank first.
    pub(super) merges: Vec<(u32, u32, u32)>,
    pub(super) rule: Rule,
    /// In the order of ids.
    pub(super) added: Vec<Added>,
    pub(super) add_prefix_space: bool,
    /// A piece that is a token stays whole, whatever the merges say.
    pub(super) ignore_merges: bool,
    pub(super) nfc: bool,
    pub(super) unknown: Option<String>,
    /// The post-processor of a tokenizer.json, which texts do not pass through.
    pub(super) post: Option<String>,
}

impl Parts {
    pub(super) fn new(rule: Rule) -> Self {
        Self {
            merges: Vec::new(),
            rule,
            added: Vec::new(),
            add_prefix_space: false,
            ignore_merges: false,
            nfc: false,
            unknown: None,
            post: None,
        }
    }
}

impl Bpe {
    /// Special tokens, bytes and what the merges of `pairs` make: see [`Bpe`].
    pub(super) fn of_merges(merges: &[(u32, u32)], rule: Rule) -> Result<Self> {
        let mut tokens = WordList::default();
        let mut parts = Parts::new(rule);
        for special in SPECIALS {
            let content = String::from_utf8_lossy(special).into_owned();
            parts.added.push(Added::special(tokens.len() as u32, content));
            tokens.push(special)?;
        }
        parts.unknown = Some(parts.added[1].content.clone());
        for byte in 0..=u8::MAX {
            tokens.push(&[byte])?;
        }
        // Two merges may make the same bytes; they are one token.
        let mut made: HashMap<Vec<u8>, u32> = HashMap::new();
        made.try_reserve(merges.len())
            .map_err(|_| no_memory::<(Vec<u8>, u32)>("the merges", merges.len()))?;
        cllm_kernels::memory::reserve("the merges", &mut parts.merges, merges.len())?;
        for &(left, right) in merges {
            let both = [left, right].map(|id| tokens.get(id).unwrap_or_default());
            let bytes = both.concat();
            let next = tokens.len() as u32;
            let id = *made.entry_ref(&bytes[..]).or_insert(next);
            if id == next {
                tokens.push(&bytes)?;
            }
            parts.merges.push((left, right, id));
        }
        Self::of_parts(tokens, parts)
    }

    /// From tokens and parts. The ids of added tokens are below the number of tokens.
    pub(super) fn of_parts(tokens: WordList, mut parts: Parts) -> Result<Self> {
        if u32::try_from(tokens.len()).is_err() {
            return Err(Error::argument("the number of tokens", tokens.len(), "below 2^32"));
        }
        parts.added.sort_by_key(|added| added.id);
        let is_added = |id: u32| parts.added.binary_search_by_key(&id, |added| added.id).is_ok();
        let hasher = DefaultHashBuilder::default();
        let mut index: HashTable<u32> = HashTable::new();
        let hash = |id: &u32| hasher.hash_one(tokens.get(*id).unwrap_or_default());
        let room = index.try_reserve(tokens.len(), hash);
        room.map_err(|_| no_memory::<u32>("the tokens", tokens.len()))?;
        let mut bytes = [u32::MAX; 256];
        for (id, token) in (0..).zip(tokens.iter()) {
            if is_added(id) {
                continue;
            }
            if token.is_empty() {
                return Err(wrong(format_args!("token {id} has no bytes")));
            }
            let same = |&other: &u32| tokens.get(other) == Some(token);
            if let Some(&other) = index.find(hasher.hash_one(token), same) {
                return Err(wrong(format_args!("tokens {other} and {id} have the same bytes")));
            }
            index.insert_unique(hasher.hash_one(token), id, hash);
            if let [byte] = token {
                bytes[usize::from(*byte)] = id;
            }
        }
        if let Some(byte) = bytes.iter().position(|&id| id == u32::MAX) {
            return Err(wrong(format_args!("there is no token for the byte 0x{byte:02X}")));
        }
        // No rank is u32::MAX, which stands for none.
        if parts.merges.len() >= u32::MAX as usize {
            return Err(wrong("it has 2^32 merges or more"));
        }
        let mut pairs = Pairs::with_room(parts.merges.len())?;
        for (rank, &(left, right, id)) in (0u32..).zip(&parts.merges) {
            let [left_bytes, right_bytes, made] = [left, right, id].map(|id| tokens.get(id));
            let rest = made.and_then(|made| made.strip_prefix(left_bytes?));
            if rest.is_none() || rest != right_bytes {
                let problem =
                    format_args!("merge {rank} makes token {id}, which is not its halves");
                return Err(wrong(problem));
            }
            if !pairs.insert(pair(left, right), rank, id) {
                return Err(wrong(format_args!("merge {rank} repeats an earlier one")));
            }
        }
        let named = |name: &str| parts.added.iter().find(|a| a.content == name).map(|a| a.id);
        let end = ENDS.iter().find_map(|name| named(name));
        let find = |token: &[u8]| {
            index.find(hasher.hash_one(token), |&id| tokens.get(id) == Some(token)).copied()
        };
        let unknown = match &parts.unknown {
            Some(name) => match named(name).or_else(|| find(name.as_bytes())) {
                None => {
                    return Err(wrong(format_args!("its unk_token {} is no token", quote(name))));
                }
                id => id,
            },
            None => None,
        };
        let matcher = Matcher::new(&parts.added, parts.nfc)?;
        let chars = WholeChars::new(&tokens, &bytes, &parts.merges, &pairs)?;
        let spellings = Spellings::new(&tokens, &parts.added)?;
        let caches = Default::default();
        let inner = Inner {
            tokens,
            spellings,
            index,
            hasher,
            bytes,
            pairs,
            chars,
            matcher,
            end,
            unknown,
            parts,
            caches,
        };
        Ok(Self(Arc::new(inner)))
    }
}
