//! Counting the words of texts: what a vocabulary is built from.

use super::index::{Lookup, Words};
use super::special::{is_special, spells_special};
use super::split::{lower, text_words};
use crate::error::{Error, Result};
use crate::order;
use cllm_kernels::memory::{copied, filled};
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

    /// Leaves out the words that were met `most` times or less, in place.
    fn drop_up_to(&mut self, most: u64) {
        let (mut kept, mut start, mut end) = (0, 0, 0);
        for at in 0..self.len() {
            let from = std::mem::replace(&mut start, self.ends[at]);
            if self.counts[at] > most {
                self.bytes.copy_within(from..start, end);
                end += start - from;
                (self.ends[kept], self.counts[kept]) = (end, self.counts[at]);
                kept += 1;
            }
        }
        self.bytes.truncate(end);
        self.ends.truncate(kept);
        self.counts.truncate(kept);
    }

    fn push(&mut self, word: &[u8], count: u64) -> Result<()> {
        let no_memory = |bytes| Error::memory("the words", bytes);
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

/// Words that are found again.
#[derive(Default)]
struct Table {
    words: WordCounts,
    hasher: DefaultHashBuilder,
    /// Places of the words.
    places: HashTable<usize>,
}

impl Table {
    fn hash(&self, word: &[u8]) -> u64 {
        self.hasher.hash_one(word)
    }

    /// Adds to the count of a word, if it is there.
    fn add(&mut self, hash: u64, word: &[u8], count: u64) -> bool {
        let place = self.places.find(hash, |&at| self.words.word(at) == word);
        if let Some(&at) = place {
            self.words.counts[at] = self.words.counts[at].saturating_add(count);
        }
        place.is_some()
    }

    fn insert(&mut self, hash: u64, word: &[u8], count: u64) -> Result<()> {
        self.words.push(word, count)?;
        self.place(hash, self.words.len() - 1)
    }

    fn place(&mut self, hash: u64, at: usize) -> Result<()> {
        let (words, hasher) = (&self.words, &self.hasher);
        let rehash = |&at: &usize| hasher.hash_one(words.word(at));
        self.places.try_reserve(1, rehash).map_err(|_| {
            Error::memory("the words", words.len().saturating_mul(size_of::<usize>()))
        })?;
        self.places.insert_unique(hash, at, rehash);
        Ok(())
    }

    /// Keeps the more frequent half of the words; of equally frequent ones none or all.
    fn drop_rarest(&mut self) -> Result<()> {
        let mut sorted = copied("the counts of the words", &self.words.counts)?;
        let (_, &mut middle, _) = sorted.select_nth_unstable(self.words.len() / 2);
        self.words.drop_up_to(middle);
        self.places.clear();
        (0..self.words.len()).try_for_each(|at| self.place(self.hash(self.words.word(at)), at))
    }
}

/// How words of texts are counted: ASCII letters become lower-case, unless `keep_case`; those of a word
/// that spells a special word do in any case.
fn each_word(
    text: &[u8],
    keep_case: bool,
    mut each: impl FnMut(&[u8], bool) -> Result<()>,
) -> Result<()> {
    let mut buffer = Vec::new();
    for word in text_words(text) {
        let special = spells_special(word);
        let as_it_is = keep_case && !special;
        each(if as_it_is { word } else { lower(word, &mut buffer) }, special)?;
    }
    Ok(())
}

/// Counts the words of some texts by themselves, for [`Counter::merge`]: several threads can do so at
/// once.
#[derive(Default)]
pub struct SomeWords {
    table: Table,
    keep_case: bool,
}

impl SomeWords {
    /// Without a word. `keep_case` is that of the counter.
    pub fn new(keep_case: bool) -> Self {
        Self { keep_case, ..Self::default() }
    }

    /// Counts the words of one text.
    ///
    /// # Errors
    /// No memory.
    pub fn add(&mut self, text: &[u8]) -> Result<()> {
        let table = &mut self.table;
        each_word(text, self.keep_case, |word, _| {
            let hash = table.hash(word);
            if table.add(hash, word, 1) { Ok(()) } else { table.insert(hash, word, 1) }
        })
    }
}

/// Counts words against a vocabulary that exists already and has room for some more.
pub struct Counter<'e, 'a, W: Words + ?Sized> {
    lookup: &'e mut Lookup<'a, W>,
    room: usize,
    keep: Keep,
    keep_case: bool,
    known: Vec<u64>,
    new: Table,
    /// Most new words that are kept meanwhile, and most bytes of them.
    most: (usize, usize),
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
            new: Table::default(),
            most: (usize::MAX, usize::MAX),
        })
    }

    /// The same with bounded memory: where there are more than `words` new words, or `bytes` bytes of
    /// them, the more frequent half is kept, of equally frequent ones none or all. What a dropped word
    /// had counted is lost, as in lossy counting, and when it comes again it comes later in the order.
    pub fn bounded(self, words: usize, bytes: usize) -> Self {
        Self { most: (words, bytes), ..self }
    }

    /// Counts the words of one text.
    pub fn add(&mut self, text: &[u8]) -> Result<()> {
        each_word(text, self.keep_case, |word, special| self.add_word(word, 1, special))
    }

    /// Adds what was counted by itself, as if its texts were added here.
    pub fn merge(&mut self, some: &SomeWords) -> Result<()> {
        let mut words = some.table.words.iter();
        words.try_for_each(|(word, count)| self.add_word(word, count, spells_special(word)))
    }

    fn add_word(&mut self, word: &[u8], count: u64, spells_special: bool) -> Result<()> {
        if let Some(id) = self.lookup.find(word) {
            if spells_special && is_special(self.lookup.words(), id) {
                return Ok(()); // a vocabulary that spells its special words in lower case
            }
            if let Some(known) = self.known.get_mut(id as usize) {
                *known = known.saturating_add(count);
            }
            return Ok(());
        }
        let hash = self.new.hash(word);
        if self.new.add(hash, word, count) {
            return Ok(());
        }
        if self.keep == Keep::FirstCome && self.new.words.len() >= self.room {
            return Ok(());
        }
        let full = |words: &WordCounts| {
            words.len() >= self.most.0 || words.bytes.len().saturating_add(word.len()) > self.most.1
        };
        while !self.new.words.is_empty() && full(&self.new.words) {
            self.new.drop_rarest()?;
        }
        self.new.insert(hash, word, count)
    }

    /// How often each word of the vocabulary was met, by id; and the new words to add.
    pub fn finish(self) -> Result<(Vec<u64>, WordCounts)> {
        let new = self.new.words;
        if new.len() <= self.room {
            return Ok((self.known, new));
        }
        let counts = &new.counts;
        let mut places: Vec<usize> = (0..new.len()).collect();
        if self.room > 0 {
            order::first_by(&mut places, self.room, |&a, &b| {
                counts[b].cmp(&counts[a]).then(a.cmp(&b))
            });
        }
        places.truncate(self.room);
        order::sort_by(&mut places, |a, b| a.cmp(b));
        let mut kept = WordCounts::default();
        for at in places {
            kept.push(new.word(at), counts[at])?;
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
    fn parts_that_were_counted_by_themselves() {
        let vocab = ["<EOS>", "the"];
        let texts = ["a B the <eos> c", "c b The a d <EOS>"];
        for keep_case in [false, true] {
            let result = |apart: bool| {
                let mut index = WordIndex::default();
                let mut lookup = Lookup::new(&mut index, &vocab[..]).unwrap();
                let mut counter =
                    Counter::new(&mut lookup, 4, Keep::MostFrequent, keep_case).unwrap();
                for text in texts {
                    let mut some = SomeWords::new(keep_case);
                    some.add(text.as_bytes()).unwrap();
                    match apart {
                        true => counter.merge(&some).unwrap(),
                        false => counter.add(text.as_bytes()).unwrap(),
                    }
                }
                let (known, new) = counter.finish().unwrap();
                (known, new.iter().map(|(w, n)| (w.to_vec(), n)).collect::<Vec<_>>())
            };
            assert_eq!(result(true), result(false));
        }
    }

    #[test]
    fn bounded_counts_keep_the_frequent_words() {
        let bounded = |words, bytes, text: &str| {
            let (mut index, vocab) = (WordIndex::default(), ["x"]);
            let mut lookup = Lookup::new(&mut index, &vocab[..]).unwrap();
            let counter = Counter::new(&mut lookup, 100, Keep::MostFrequent, false).unwrap();
            let mut counter = counter.bounded(words, bytes);
            counter.add(text.as_bytes()).unwrap();
            let (_, new) = counter.finish().unwrap();
            new.iter().map(|(w, n)| (String::from_utf8(w.to_vec()).unwrap(), n)).collect::<Vec<_>>()
        };
        // Room for all: as without a bound.
        assert_eq!(bounded(4, 9, "aa b aa c d"), pairs(&[("aa", 2), ("b", 1), ("c", 1), ("d", 1)]));
        // The fifth word drives out those met once; the counts of the others are whole.
        assert_eq!(bounded(4, 99, "aa b aa c d e b"), pairs(&[("aa", 2), ("e", 1), ("b", 1)]));
        assert_eq!(bounded(4, 99, "a b c d a b c d e"), pairs(&[("e", 1)]));
        assert_eq!(bounded(99, 4, "aa b aa c dd"), pairs(&[("aa", 2), ("dd", 1)]));
        // A word that is longer than the bound has it for itself.
        assert_eq!(bounded(99, 4, "a a a longer"), pairs(&[("longer", 1)]));
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
