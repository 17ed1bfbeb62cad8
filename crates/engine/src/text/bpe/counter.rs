//! How often each different piece of the training texts is met.

use super::scan::{Rule, piece_end};
use crate::error::{Error, Result};
use crate::text::WordList;
use crate::text::index::Words;
use cllm_kernels::memory::copied;
use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher;

/// A longer piece is learnt in parts of this many bytes.
pub(super) const LONGEST: usize = 256;
const COUNTS: &str = "the counts of the pieces";
/// Most different pieces that are kept.
const MOST: usize = 1 << 22;

/// Counts the different pieces of texts, fed one by one; what [`Bpe::train`](super::Bpe::train)
/// learns from. Its memory grows with the number of different pieces, up to 4,194,304 of them: when
/// there are more, the rarest are dropped, those met once first, until half of that number is left.
/// What such a piece counted is lost, as in lossy counting.
pub struct PieceCounter {
    rule: Rule,
    most: usize,
    pieces: WordList,
    counts: Vec<u64>,
    table: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl PieceCounter {
    /// Without a piece. Texts are cut by `rule`.
    pub fn new(rule: Rule) -> Self {
        Self::with_limit(rule, MOST)
    }

    fn with_limit(rule: Rule, most: usize) -> Self {
        Self {
            rule,
            most,
            pieces: WordList::default(),
            counts: Vec::new(),
            table: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
        }
    }

    /// Where texts are cut.
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// Number of different pieces.
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Pieces and counts, in order of first appearance.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], u64)> {
        self.pieces.iter().zip(self.counts.iter().copied())
    }

    /// Counts the pieces of a whole text: its start and end are cuts.
    ///
    /// # Errors
    /// No memory.
    pub fn add(&mut self, text: &[u8]) -> Result<()> {
        let mut at = 0;
        while at < text.len() {
            let end = piece_end(self.rule, text, at);
            for part in text[at..end].chunks(LONGEST) {
                self.count(part, 1)?;
            }
            at = end;
        }
        Ok(())
    }

    /// Counts each byte of a text as a piece of its own: all that a vocabulary without merges needs, and
    /// exact for any text, for there are no more than 256 of them.
    ///
    /// # Errors
    /// No memory.
    pub fn add_bytes(&mut self, text: &[u8]) -> Result<()> {
        let mut counts = [0u64; 256];
        text.iter().for_each(|&byte| counts[usize::from(byte)] += 1);
        let mut met = (0..=u8::MAX).zip(counts).filter(|&(_, count)| count > 0);
        met.try_for_each(|(byte, count)| self.count(&[byte], count))
    }

    /// Adds what another counter of the same rule has counted.
    ///
    /// # Errors
    /// Another rule; no memory.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        if other.rule != self.rule {
            return Err(Error::shape("counters of pieces with different rules"));
        }
        other.iter().try_for_each(|(piece, count)| self.count(piece, count))
    }

    /// Keeps the most frequent `most` pieces or fewer: of equally frequent ones none or all.
    ///
    /// # Errors
    /// No memory.
    pub fn keep(&mut self, most: usize) -> Result<()> {
        if self.len() <= most {
            return Ok(());
        }
        let mut sorted = copied(COUNTS, &self.counts)?;
        let from_below = self.len() - 1 - most;
        let (_, &mut first_dropped, _) = sorted.select_nth_unstable(from_below);
        self.drop_up_to(first_dropped)
    }

    #[inline]
    fn count(&mut self, piece: &[u8], count: u64) -> Result<()> {
        let hash = self.hasher.hash_one(piece);
        let same = |&id: &u32| self.pieces.get(id) == Some(piece);
        if let Some(&id) = self.table.find(hash, same) {
            let total = &mut self.counts[id as usize];
            *total = total.saturating_add(count);
            return Ok(());
        }
        if self.len() >= self.most {
            self.drop_rarest()?;
        }
        self.insert(hash, piece, count)
    }

    fn insert(&mut self, hash: u64, piece: &[u8], count: u64) -> Result<()> {
        let no_memory = |len: usize| {
            Error::memory("the pieces of the text", len.saturating_mul(size_of::<u64>()))
        };
        let len = self.len();
        let hash_of = |id: &u32| self.hasher.hash_one(self.pieces.get(*id).unwrap_or_default());
        self.table.try_reserve(1, hash_of).map_err(|_| no_memory(len))?;
        self.counts.try_reserve(1).map_err(|_| no_memory(len))?;
        self.table.insert_unique(hash, len as u32, hash_of);
        self.pieces.push(piece)?;
        self.counts.push(count);
        Ok(())
    }

    /// Keeps the more frequent half; of equally frequent ones none or all, but never all.
    fn drop_rarest(&mut self) -> Result<()> {
        let mut sorted = copied(COUNTS, &self.counts)?;
        let (_, &mut middle, _) = sorted.select_nth_unstable(self.len() / 2);
        self.drop_up_to(middle)
    }

    /// Drops the pieces that were met `count` times or less.
    fn drop_up_to(&mut self, most: u64) -> Result<()> {
        // With the same hashes: the caller may have one at hand.
        let hasher = self.hasher.clone();
        let mut kept = Self { hasher, ..Self::with_limit(self.rule, self.most) };
        for (piece, count) in self.iter().filter(|&(_, count)| count > most) {
            kept.insert(kept.hasher.hash_one(piece), piece, count)?;
        }
        *self = kept;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_and_their_counts() {
        let mut counter = PieceCounter::new(Rule::Words);
        counter.add(b"a b a b").unwrap();
        counter.add(b"a\xFF").unwrap();
        let mut other = PieceCounter::new(Rule::Words);
        other.add(&[b'x'; 2 * LONGEST + 1]).unwrap();
        counter.merge(&other).unwrap();
        let long = [b'x'; LONGEST];
        let expected: [(&[u8], u64); 6] =
            [(b"a", 2), (b" b", 2), (b" a", 1), (b"\xFF", 1), (&long, 2), (b"x", 1)];
        assert_eq!(counter.iter().collect::<Vec<_>>(), expected);
        assert!(counter.merge(&PieceCounter::new(Rule::Gpt2)).is_err());
    }

    #[test]
    fn bytes_are_counted_whatever_they_make() {
        let mut counter = PieceCounter::new(Rule::Words);
        counter.add_bytes(b"a b\xFFab").unwrap();
        counter.add_bytes(b"").unwrap();
        counter.add_bytes(b"b").unwrap();
        let expected: [(&[u8], u64); 4] = [(b" ", 1), (b"a", 2), (b"b", 3), (b"\xFF", 1)];
        assert_eq!(counter.iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_rarest_are_dropped() {
        let mut counter = PieceCounter::with_limit(Rule::Words, 4);
        counter.add(b"a\na\nb\nb\nc\nd").unwrap();
        let left: Vec<(&[u8], u64)> = counter.iter().collect();
        assert_eq!(left, [(&b"\n"[..], 5), (b"d", 1)]);
        counter.keep(2).unwrap();
        assert_eq!(counter.len(), 2);
        counter.add(b"d e").unwrap();
        counter.keep(2).unwrap();
        assert_eq!(counter.iter().collect::<Vec<_>>(), [(&b"\n"[..], 5), (b"d", 2)]);
        counter.add(b"f").unwrap();
        counter.keep(3).unwrap();
        assert_eq!(counter.len(), 3);
    }
}
