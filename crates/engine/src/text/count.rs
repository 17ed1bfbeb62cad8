//! Counting the words of texts: what a vocabulary is built from.

use super::index::{Lookup, Words};
use super::special::{is_special, spells_special};
use super::split::{lower, text_words};
use crate::error::{Error, Result};
use cllm_kernels::memory::filled;
use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher;

/// Which new words are kept when there is not room for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Those that come first.
    FirstCome,
    /// The most frequent ones; of equally frequent words the one that comes first.
    MostFrequent,
}

/// Different words and how often each was met, in order of first appearance.
#[derive(Default)]
pub struct WordCounts {
    bytes: Vec<u8>,
    /// Where each word ends in `bytes`; it begins where the one before ends.
    ends: Vec<usize>,
    counts: Vec<u64>,
}

impl WordCounts {
    /// Number of words.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    fn word(&self, at: usize) -> &[u8] {
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.bytes[start..self.ends[at]]
    }

    /// Words and counts in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], u64)> {
        (0..self.len()).map(|at| (self.word(at), self.counts[at]))
    }

    fn push(&mut self, word: &[u8], count: u64) -> Result<()> {
        let no_memory = |bytes| Error::Memory { what: "the words", bytes };
        let len = self.bytes.len() + word.len();
        self.bytes
            .try_reserve(word.len())
            .and_then(|()| self.ends.try_reserve(1))
            .and_then(|()| self.counts.try_reserve(1))
            .map_err(|_| no_memory(len))?;
        self.bytes.extend_from_slice(word);
        self.ends.push(len);
        self.counts.push(count);
        Ok(())
    }
}

/// Counts words against a vocabulary that exists already and has room for some more.
pub struct Counter<'e, 'a, W: Words + ?Sized> {
    lookup: &'e mut Lookup<'a, W>,
    room: usize,
    keep: Keep,
    keep_case: bool,
    known: Vec<u64>,
    new: WordCounts,
    hasher: DefaultHashBuilder,
    /// Places of the words in `new`.
    table: HashTable<usize>,
    lowered: Vec<u8>,
}

impl<'e, 'a, W: Words + ?Sized> Counter<'e, 'a, W> {
    /// `room`: how many new words the vocabulary can take. ASCII letters become lower-case, unless
    /// `keep_case`; those of a word that spells a special word do in any case.
    pub fn new(
        lookup: &'e mut Lookup<'a, W>,
        room: usize,
        keep: Keep,
        keep_case: bool,
    ) -> Result<Self> {
        Ok(Self {
            known: filled("the counts", lookup.words().count())?,
            lookup,
            room,
            keep,
            keep_case,
            new: WordCounts::default(),
            hasher: DefaultHashBuilder::default(),
            table: HashTable::new(),
            lowered: Vec::new(),
        })
    }

    /// Counts the words of one text.
    pub fn add(&mut self, text: &[u8]) -> Result<()> {
        let mut buffer = std::mem::take(&mut self.lowered);
        for word in text_words(text) {
            let special = spells_special(word);
            let as_it_is = self.keep_case && !special;
            self.add_word(if as_it_is { word } else { lower(word, &mut buffer) }, special)?;
        }
        self.lowered = buffer;
        Ok(())
    }

    fn add_word(&mut self, word: &[u8], spells_special: bool) -> Result<()> {
        if let Some(id) = self.lookup.find(word) {
            if spells_special && is_special(self.lookup.words(), id) {
                return Ok(()); // a vocabulary that spells its special words in lower case
            }
            if let Some(count) = self.known.get_mut(id as usize) {
                *count += 1;
            }
            return Ok(());
        }
        let hash = self.hasher.hash_one(word);
        let new = &self.new;
        if let Some(&at) = self.table.find(hash, |&at| new.word(at) == word) {
            self.new.counts[at] += 1;
            return Ok(());
        }
        if self.keep == Keep::FirstCome && self.new.len() >= self.room {
            return Ok(());
        }
        self.new.push(word, 1)?;
        let (new, hasher) = (&self.new, &self.hasher);
        let rehash = |&at: &usize| hasher.hash_one(new.word(at));
        self.table.try_reserve(1, rehash).map_err(|_| Error::Memory {
            what: "the words",
            bytes: new.len().saturating_mul(size_of::<usize>()),
        })?;
        self.table.insert_unique(hash, new.len() - 1, rehash);
        Ok(())
    }

    /// How often each word of the vocabulary was met, by id; and the new words to add.
    pub fn finish(self) -> Result<(Vec<u64>, WordCounts)> {
        if self.new.len() <= self.room {
            return Ok((self.known, self.new));
        }
        let counts = &self.new.counts;
        let mut places: Vec<usize> = (0..self.new.len()).collect();
        if self.room > 0 {
            places.select_nth_unstable_by(self.room - 1, |&a, &b| {
                counts[b].cmp(&counts[a]).then(a.cmp(&b))
            });
        }
        places.truncate(self.room);
        places.sort_unstable();
        let mut kept = WordCounts::default();
        for at in places {
            kept.push(self.new.word(at), counts[at])?;
        }
        Ok((self.known, kept))
    }
}

#[cfg(test)]
mod tests {
    use super::super::index::WordIndex;
    use super::*;

    fn count(
        vocab: &[&str],
        text: &str,
        room: usize,
        keep: Keep,
    ) -> (Vec<u64>, Vec<(String, u64)>) {
        let mut index = WordIndex::default();
        let mut lookup = Lookup::new(&mut index, vocab).unwrap();
        let mut counter = Counter::new(&mut lookup, room, keep, false).unwrap();
        // In two texts, so that counting goes on over texts.
        let (one, two) = text.split_once('|').unwrap_or((text, ""));
        counter.add(one.as_bytes()).unwrap();
        counter.add(two.as_bytes()).unwrap();
        let (known, new) = counter.finish().unwrap();
        let text = |word: &[u8]| String::from_utf8(word.to_vec()).unwrap();
        (known, new.iter().map(|(w, n)| (text(w), n)).collect())
    }

    fn pairs(list: &[(&str, u64)]) -> Vec<(String, u64)> {
        list.iter().map(|&(w, n)| (w.to_string(), n)).collect()
    }

    #[test]
    fn everything_when_it_fits() {
        for keep in [Keep::FirstCome, Keep::MostFrequent] {
            let (known, new) = count(&["the", "x"], "The cat | the\r\nCAT sat", 9, keep);
            assert_eq!(known, [2, 0]);
            assert_eq!(new, pairs(&[("cat", 2), ("sat", 1)]));
        }
    }

    #[test]
    fn case_is_kept_where_it_is_asked_for() {
        let mut index = WordIndex::default();
        let words = ["<EOS>", "Cat"];
        let mut lookup = Lookup::new(&mut index, &words[..]).unwrap();
        let mut counter = Counter::new(&mut lookup, 9, Keep::FirstCome, true).unwrap();
        counter.add(b"Cat cat The the <EOS> <Eos> <HTML>").unwrap();
        let (known, new) = counter.finish().unwrap();
        assert_eq!(known, [0, 1]);
        let new: Vec<_> = new.iter().collect();
        let expected: [(&[u8], u64); 5] =
            [(b"cat", 1), (b"The", 1), (b"the", 1), (b"<eos>", 2), (b"<HTML>", 1)];
        assert_eq!(new, expected);
    }

    #[test]
    fn texts_spell_no_special_words() {
        let (known, new) = count(&["<PAD>", "<eos>"], "<EOS> <pad> <eos>", 9, Keep::FirstCome);
        assert_eq!((known, new), (vec![0, 0], pairs(&[("<pad>", 1)])));
    }

    #[test]
    fn first_come_or_most_frequent() {
        let text = "a b c c | d b e e e";
        let (_, first) = count(&[], text, 3, Keep::FirstCome);
        assert_eq!(first, pairs(&[("a", 1), ("b", 2), ("c", 2)]));
        let (_, most) = count(&[], text, 3, Keep::MostFrequent);
        assert_eq!(most, pairs(&[("b", 2), ("c", 2), ("e", 3)]));
        // Equally frequent: the earlier one.
        let (_, two) = count(&[], text, 2, Keep::MostFrequent);
        assert_eq!(two, pairs(&[("b", 2), ("e", 3)]));
        let (_, none) = count(&[], text, 0, Keep::MostFrequent);
        assert_eq!(none, []);
    }

    #[test]
    fn a_megabyte_takes_a_bounded_number_of_looks() {
        // Zipf-like words; the lookup of the five specials must not be scanned for each.
        let mut text = String::new();
        let mut i = 0u32;
        while text.len() < 1 << 20 {
            i = i.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            text += &format!("w{} ", (i >> 16) % (1 + (i & 0x3FFF)));
        }
        let specials = ["<PAD>", "<UNK>", "<BOS>", "<EOS>", "<MASK>"];
        let (known, new) = count(&specials, &text, 8000, Keep::MostFrequent);
        assert_eq!(known, [0; 5]);
        assert_eq!(new.len(), 8000);
        let least = new.iter().map(|(_, n)| *n).min().unwrap();
        assert!(least >= 1);
        // The order is that of first appearance.
        let places: Vec<_> = new
            .iter()
            .take(200)
            .map(|(w, _)| {
                let word = format!("{w} ");
                if text.starts_with(&word) {
                    0
                } else {
                    text.find(&format!(" {word}")).unwrap() + 1
                }
            })
            .collect();
        assert!(places.is_sorted());
    }
}
