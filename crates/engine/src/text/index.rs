//! Which id a word has. The strings themselves belong to a C program, which may edit any of them
//! between two calls; the index holds ids only, compares every hit with the string as it is now,
//! and looks through the strings before it reports a miss.

use crate::error::{Error, Result};
use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher;

/// Misses of one [`Lookup`] that are confirmed by looking through all strings. From then on it is
/// cheaper to check once that the index fits every string, after which a miss is a miss.
const SCANS: u32 = 4;

/// The strings of a vocabulary, as they are now.
pub trait Words {
    /// Number of slots.
    fn count(&self) -> usize;
    /// The string of a slot; `None` where the slot is empty or does not exist.
    fn get(&self, id: u32) -> Option<&[u8]>;
    /// Whether the slot holds `word`.
    fn is(&self, id: u32, word: &[u8]) -> bool {
        self.get(id) == Some(word)
    }
}

impl<T: AsRef<[u8]>> Words for [T] {
    fn count(&self) -> usize {
        self.len()
    }

    fn get(&self, id: u32) -> Option<&[u8]> {
        <[T]>::get(self, id as usize).map(AsRef::as_ref)
    }
}

/// The ids of `words` in order.
pub fn ids(words: &(impl Words + ?Sized)) -> std::ops::Range<u32> {
    0..u32::try_from(words.count()).unwrap_or(u32::MAX)
}

/// The first id that holds `word`, found without an index.
pub fn scan(words: &(impl Words + ?Sized), word: &[u8]) -> Option<u32> {
    ids(words).find(|&id| words.is(id, word))
}

/// Hash index over the strings of one vocabulary, kept between calls.
#[derive(Clone, Default)]
pub struct WordIndex {
    hasher: DefaultHashBuilder,
    /// The first id of each string.
    first: HashTable<u32>,
    /// What each slot held when it was indexed, as a hash.
    hashes: Vec<u64>,
}

impl WordIndex {
    fn hash(&self, word: Option<&[u8]>) -> u64 {
        self.hasher.hash_one(word)
    }

    /// The first id of `word`, for strings that nothing changed since they were indexed.
    pub(crate) fn probe(&self, words: &(impl Words + ?Sized), word: &[u8]) -> Option<u32> {
        let same = |&id: &u32| words.is(id, word);
        self.first.find(self.hash(Some(word)), same).copied()
    }

    /// Indexes the slots that are new since the last time.
    fn extend(&mut self, words: &(impl Words + ?Sized)) -> Result<()> {
        let new = words.count().saturating_sub(self.hashes.len());
        let no_memory =
            || Error::memory("the index of the words", new.saturating_mul(size_of::<u64>()));
        self.hashes.try_reserve(new).map_err(|_| no_memory())?;
        let hashes = &self.hashes;
        self.first.try_reserve(new, |&id| hashes[id as usize]).map_err(|_| no_memory())?;
        for id in ids(words).skip(self.hashes.len()) {
            let word = words.get(id);
            let hash = self.hash(word);
            self.hashes.push(hash);
            if word.is_some_and(|word| self.probe(words, word).is_none()) {
                let hashes = &self.hashes;
                self.first.insert_unique(hash, id, |&id| hashes[id as usize]);
            }
        }
        Ok(())
    }

    fn rebuild(&mut self, words: &(impl Words + ?Sized)) -> Result<()> {
        self.first.clear();
        self.hashes.clear();
        self.extend(words)
    }

    /// Whether every slot holds what it held when it was indexed.
    fn fits(&self, words: &(impl Words + ?Sized)) -> bool {
        self.hashes.len() == words.count()
            && ids(words).zip(&self.hashes).all(|(id, &hash)| self.hash(words.get(id)) == hash)
    }
}

/// Looks up words while nothing edits the strings: for the time of one call.
pub struct Lookup<'a, W: Words + ?Sized> {
    index: &'a mut WordIndex,
    words: &'a W,
    scans: u32,
    /// The index is known to fit the strings.
    exact: bool,
}

impl<'a, W: Words + ?Sized> Lookup<'a, W> {
    /// Brings `index` up to the number of `words`.
    pub fn new(index: &'a mut WordIndex, words: &'a W) -> Result<Self> {
        let exact = index.hashes.is_empty() || words.count() < index.hashes.len();
        if exact {
            index.rebuild(words)?;
        } else {
            index.extend(words)?;
        }
        Ok(Self { index, words, scans: 0, exact })
    }

    /// The strings.
    pub fn words(&self) -> &'a W {
        self.words
    }

    /// The id of `word`: the first slot that holds it, unless the program copied it into an
    /// earlier slot since the index was made.
    pub fn find(&mut self, word: &[u8]) -> Option<u32> {
        let hit = self.index.probe(self.words, word);
        if hit.is_some() || self.exact {
            return hit;
        }
        if self.scans < SCANS {
            self.scans += 1;
            let found = scan(self.words, word);
            if found.is_some() {
                self.renew();
            }
            return found;
        }
        if self.index.fits(self.words) {
            self.exact = true;
            return None;
        }
        self.renew();
        scan(self.words, word)
    }

    fn renew(&mut self) {
        // Without memory for it, lookups go on by looking through the strings.
        self.exact = self.index.rebuild(self.words).is_ok();
        self.scans = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// Counts how often a string is looked at.
    struct Counted {
        words: Vec<Vec<u8>>,
        looks: Cell<usize>,
    }

    impl Counted {
        fn new(words: impl Iterator<Item = String>) -> Self {
            Self { words: words.map(String::into_bytes).collect(), looks: Cell::new(0) }
        }
    }

    impl Words for Counted {
        fn count(&self) -> usize {
            self.words.len()
        }

        fn get(&self, id: u32) -> Option<&[u8]> {
            self.looks.set(self.looks.get() + 1);
            self.words.get(id as usize).map(Vec::as_slice)
        }
    }

    fn find(index: &mut WordIndex, words: &[&str], word: &str) -> Option<u32> {
        Lookup::new(index, words).unwrap().find(word.as_bytes())
    }

    #[test]
    fn first_of_equal_strings() {
        let mut index = WordIndex::default();
        let words = ["a", "b", "a", "", "c"];
        assert_eq!(find(&mut index, &words, "a"), Some(0));
        assert_eq!(find(&mut index, &words, ""), Some(3));
        assert_eq!(find(&mut index, &words, "d"), None);
        assert_eq!(find(&mut index, &[], "a"), None);
    }

    #[test]
    fn edits_are_noticed() {
        let mut index = WordIndex::default();
        assert_eq!(find(&mut index, &["a", "b", "b"], "b"), Some(1));
        // Changed, appended, cut short, replaced altogether.
        assert_eq!(find(&mut index, &["a", "x", "b"], "b"), Some(2));
        assert_eq!(find(&mut index, &["a", "x", "b"], "x"), Some(1));
        assert_eq!(find(&mut index, &["a", "x", "b", "c"], "c"), Some(3));
        assert_eq!(find(&mut index, &["a", "x"], "c"), None);
        assert_eq!(find(&mut index, &["q", "r"], "r"), Some(1));
        assert_eq!(find(&mut index, &["q", "r"], "a"), None);
    }

    #[test]
    fn edits_are_noticed_after_many_misses() {
        let old: Vec<String> = (0..50).map(|i| format!("w{i}")).collect();
        let mut index = WordIndex::default();
        Lookup::new(&mut index, old.as_slice()).unwrap();
        let mut new = old.clone();
        new[17] = "edited".into();
        let mut lookup = Lookup::new(&mut index, new.as_slice()).unwrap();
        for i in 0..20 {
            assert_eq!(lookup.find(format!("miss{i}").as_bytes()), None);
        }
        assert_eq!(lookup.find(b"edited"), Some(17));
        assert_eq!(lookup.find(b"w17"), None);
        assert_eq!(lookup.find(b"w18"), Some(18));
    }

    #[test]
    fn work_is_linear() {
        const V: usize = 10_000;
        const LOOKUPS: usize = 20_000;
        let words = Counted::new((0..V).map(|i| format!("w{i}")));
        let mut index = WordIndex::default();
        Lookup::new(&mut index, &words).unwrap();
        words.looks.set(0);
        let mut lookup = Lookup::new(&mut index, &words).unwrap();
        for i in 0..LOOKUPS {
            // Half of them hits, half misses.
            let expected = (i < V).then_some(i as u32);
            assert_eq!(lookup.find(format!("w{i}").as_bytes()), expected);
        }
        // Each hit looks once, a few misses look at all, one check looks at all; hash collisions
        // add a little.
        let bound = LOOKUPS + (SCANS as usize + 1) * V + 1000;
        assert!(words.looks.get() <= bound, "{} looks", words.looks.get());
    }
}
