//! A vocabulary of whole words that a program owns.

use super::count::{Counter, Keep};
use super::encode::{Dictionary, hash_id, id_of};
use super::index::{Lookup, WordIndex, Words};
use super::special;
use super::split::text_words;
use super::{SPECIALS, WordList, files, vocab};
use crate::error::{Error, Result};
use crate::limits::MAX_TEXT_BYTES;
use cllm_kernels::memory::reserve;
use std::fmt;
use std::path::Path;

/// Whole words and their ids, with how often each was met. Text is bytes; words are its longest
/// runs without white space. A text is text: no word of it stands for a special word.
///
/// A vocabulary is not changed once it is made, so threads may share it.
///
/// ```
/// use cllm_engine::Vocabulary;
///
/// let vocabulary = Vocabulary::from_text(b"The cat sat on the mat .", 10_000, 1)?;
/// // Five special words, then those of the text in order of appearance, in lower case.
/// assert_eq!(vocabulary.len(), 5 + 6);
/// assert_eq!(vocabulary.encode(b"the CAT flew")?, [5, 6, Vocabulary::UNKNOWN]);
/// assert_eq!(vocabulary.decode(&[5, 6, 7])?, b"the cat sat");
/// # Ok::<(), cllm_engine::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Vocabulary {
    words: WordList,
    counts: Vec<u64>,
    index: WordIndex,
    /// The id of `<UNK>`, in whatever letter case it is spelled.
    unknown: Option<u32>,
}

impl Vocabulary {
    /// The id of `<UNK>` in a vocabulary made from text.
    pub const UNKNOWN: u32 = super::UNK;

    /// From one text: see [`from_texts`](Self::from_texts).
    ///
    /// # Errors
    /// As [`from_texts`](Self::from_texts).
    pub fn from_text(text: &[u8], max_size: usize, min_count: u64) -> Result<Self> {
        Self::from_texts([text], max_size, min_count)
    }

    /// The special words `<PAD> <UNK> <BOS> <EOS> <MASK>` (ids 0 to 4), then the words of the texts
    /// in lower case (ASCII) that are met `min_count` times or more, in order of first appearance.
    /// Of more than `max_size` words in all, the most frequent ones are kept; of equally frequent
    /// ones those that come first.
    ///
    /// # Errors
    /// `max_size` below 5 or above 2^32 - 1; no memory.
    pub fn from_texts<'t>(
        texts: impl IntoIterator<Item = &'t [u8]>,
        max_size: usize,
        min_count: u64,
    ) -> Result<Self> {
        let room = max_size.checked_sub(SPECIALS.len());
        let Some(room) = room.filter(|_| u32::try_from(max_size).is_ok()) else {
            return Err(Error::argument("max_size", max_size, "5 to 2^32 - 1"));
        };
        let mut index = WordIndex::default();
        let mut lookup = Lookup::new(&mut index, &SPECIALS[..])?;
        let mut counter = Counter::new(&mut lookup, room, Keep::MostFrequent, false)?;
        for text in texts {
            counter.add(text)?;
        }
        let (known, new) = counter.finish()?;
        let specials = SPECIALS.iter().copied().zip(known);
        Self::from_words(specials.chain(new.iter().filter(|&(_, count)| count >= min_count)))
    }

    /// From the words of text files.
    ///
    /// # Errors
    /// As [`from_texts`](Self::from_texts); a file that can't be read or is longer than 1 GiB.
    pub fn from_files<P: AsRef<Path>>(
        paths: impl IntoIterator<Item = P>,
        max_size: usize,
        min_count: u64,
    ) -> Result<Self> {
        let mut texts = Vec::new();
        for path in paths {
            texts.push(files::read_text(path.as_ref(), MAX_TEXT_BYTES)?);
        }
        Self::from_texts(texts.iter().map(Vec::as_slice), max_size, min_count)
    }

    /// From words and their counts, ids in this order. Where a word comes twice, text gets the
    /// first of its ids.
    ///
    /// # Errors
    /// More than 2^32 - 1 words; no memory.
    pub fn from_words<'w>(words: impl IntoIterator<Item = (&'w [u8], u64)>) -> Result<Self> {
        let mut list = WordList::default();
        let mut counts = Vec::new();
        for (word, count) in words {
            list.push(word)?;
            counts.try_reserve(1).map_err(|_| Error::Memory {
                what: "the counts",
                bytes: list.len().saturating_mul(size_of::<u64>()),
            })?;
            counts.push(count);
        }
        if u32::try_from(list.len()).is_err() {
            return Err(Error::argument("the number of words", list.len(), "below 2^32"));
        }
        let mut index = WordIndex::default();
        Lookup::new(&mut index, &list)?;
        let unknown = list.iter().position(|word| word.eq_ignore_ascii_case(SPECIALS[1]));
        let unknown = unknown.map(|id| id as u32);
        Ok(Self { words: list, counts, index, unknown })
    }

    /// Reads a vocab.txt: a line `word<TAB>count` for each id.
    ///
    /// # Errors
    /// The file can't be read or is longer than 1 GiB; a line that is no `word<TAB>count`, or repeats
    /// a word. The error names the line.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = vocab::read(path)?;
        let entries = vocab::parse_unique(path, &text)?;
        Self::from_words(entries.iter().map(|entry| (entry.word, u64::from(entry.count))))
    }

    /// Writes a vocab.txt, whole or not at all.
    ///
    /// # Errors
    /// The file can't be written; a word holds a tab, a line feed or a NUL byte, or stands twice, which
    /// [`read`](Self::read) would refuse.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        for (id, (word, _)) in self.iter().enumerate() {
            if let Some(first) = self.id(word).filter(|&first| first as usize != id) {
                return Err(vocab::repeats(path, id, word, first as usize));
            }
        }
        vocab::write(path, self.iter(), None)
    }

    /// Number of words, the special ones included.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether there are no words.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The words with their counts, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], u64)> + Clone {
        (0..self.len()).map(|id| {
            let word = self.words.get(id as u32).unwrap_or_default();
            (word, self.counts.get(id).copied().unwrap_or(0))
        })
    }

    /// The word of an id.
    pub fn word(&self, id: u32) -> Option<&[u8]> {
        self.words.get(id)
    }

    /// How often a word was met when the vocabulary was made.
    pub fn count(&self, id: u32) -> Option<u64> {
        self.counts.get(id as usize).copied()
    }

    /// The words by id, for what looks at all of them.
    pub(crate) fn words(&self) -> &WordList {
        &self.words
    }

    /// The id of a word as it stands.
    pub fn id(&self, word: &[u8]) -> Option<u32> {
        self.index.probe(&self.words, word)
    }

    /// The ids of the words of `text`. Each is looked up as it stands, then in lower case (ASCII);
    /// one that is not there, or that spells a special word, is `<UNK>`. Without that word in the vocabulary its id is that of the
    /// C library: h mod `len`, where h is 31 h + byte for each signed byte, modulo 2^32.
    ///
    /// # Errors
    /// No memory. An empty vocabulary.
    pub fn encode(&self, text: &[u8]) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        self.encode_onto(text, &mut ids)?;
        Ok(ids)
    }

    /// [`encode`](Self::encode), appended to `ids`.
    ///
    /// # Errors
    /// As [`encode`](Self::encode); `ids` may have grown.
    pub fn encode_onto(&self, text: &[u8], ids: &mut Vec<u32>) -> Result<()> {
        if self.is_empty() {
            return Err(Error::State("the vocabulary has no words".into()));
        }
        let unknown = |word: &[u8]| self.unknown.unwrap_or_else(|| hash_id(word, true, self.len()));
        self.look_up(text, true, unknown, ids)
    }

    /// The ids of the words of `text` to train on, as the data loader of the C interface makes them:
    /// looked up in lower case (ASCII) or, where `cased`, first as they stand; 1 (`<UNK>`) for one that
    /// is not there, whatever stands in that place.
    ///
    /// # Errors
    /// No memory.
    pub fn encode_for_training(&self, text: &[u8], cased: bool) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        self.look_up(text, cased, |_| Self::UNKNOWN, &mut ids)?;
        Ok(ids)
    }

    fn look_up(
        &self,
        text: &[u8],
        cased: bool,
        unknown: impl Fn(&[u8]) -> u32,
        ids: &mut Vec<u32>,
    ) -> Result<()> {
        let mut buffer = Vec::new();
        let mut dictionary = self;
        for word in text_words(text) {
            let id = id_of(&mut dictionary, |words, word| words.id(word), word, cased, &mut buffer)
                .unwrap_or_else(|| unknown(word));
            ids.try_reserve(1).map_err(|_| Error::Memory {
                what: "the ids of a text",
                bytes: ids.len().saturating_mul(size_of::<u32>()),
            })?;
            ids.push(id);
        }
        Ok(())
    }

    /// The words of `ids`, special ones too, joined by single spaces. Ids that are not in the
    /// vocabulary are left out, and so are words without a byte.
    ///
    /// # Errors
    /// No memory.
    pub fn decode(&self, ids: &[u32]) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        for word in ids.iter().filter_map(|&id| self.word(id)).filter(|word| !word.is_empty()) {
            let len = text.len() + word.len() + 1;
            if text.capacity() < len {
                reserve("a text", &mut text, len.saturating_mul(2))?;
            }
            if !text.is_empty() {
                text.push(b' ');
            }
            text.extend_from_slice(word);
        }
        Ok(text)
    }
}

impl Dictionary for &Vocabulary {
    fn is_special(&self, id: u32) -> bool {
        special::is_special(&self.words, id)
    }
}

/// The number of words; there may be millions.
impl fmt::Debug for Vocabulary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vocabulary").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// Two vocabularies are equal if ids mean the same words, met equally often.
impl PartialEq for Vocabulary {
    fn eq(&self, other: &Self) -> bool {
        self.words == other.words && self.counts == other.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, max: usize, min: u64) -> Vec<String> {
        let vocabulary = Vocabulary::from_text(text.as_bytes(), max, min).unwrap();
        let text = |(word, _): (&[u8], u64)| String::from_utf8(word.to_vec()).unwrap();
        vocabulary.iter().skip(SPECIALS.len()).map(text).collect()
    }

    #[test]
    fn most_frequent_words_in_order_of_appearance() {
        let text = "b a A c\tc\r\nc d";
        assert_eq!(of(text, 100, 0), ["b", "a", "c", "d"]);
        assert_eq!(of(text, 7, 0), ["a", "c"]);
        assert_eq!(of(text, 100, 2), ["a", "c"]);
        assert_eq!(of(text, 5, 0), [""; 0]);
        for wrong in [0, 4, 1 << 32] {
            let error = Vocabulary::from_text(b"a", wrong, 0).unwrap_err().to_string();
            assert!(error.starts_with("max_size is "), "{error}");
        }
    }

    #[test]
    fn unknown_words() {
        let vocabulary = Vocabulary::from_text(b"one two", 100, 1).unwrap();
        let ids = vocabulary.encode(b"Two  three <EOS>\n").unwrap();
        // A text that spells a special word does not give orders.
        assert_eq!(ids, [6, Vocabulary::UNKNOWN, Vocabulary::UNKNOWN]);
        assert_eq!(vocabulary.decode(&ids).unwrap(), b"two <UNK> <UNK>");
        assert_eq!(vocabulary.decode(&[5, super::super::EOS]).unwrap(), b"one <EOS>");
        assert_eq!(vocabulary.decode(&[5, 99, 6]).unwrap(), b"one two");
        // Without <UNK> the C library's hash.
        let plain = Vocabulary::from_words([(&b"the"[..], 1), (b"a", 1), (b"The", 1)]).unwrap();
        let hash = hash_id("é".as_bytes(), true, 3);
        assert_eq!(plain.encode("The the THE é".as_bytes()).unwrap(), [2, 0, 0, hash]);
        assert!(Vocabulary::default().encode(b"a").is_err());
        assert_eq!(Vocabulary::default().decode(&[0]).unwrap(), b"");
    }

    #[test]
    fn files_and_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vocab.txt");
        let vocabulary = Vocabulary::from_text("a b a größe".as_bytes(), 100, 1).unwrap();
        vocabulary.write(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            text,
            "<PAD>\t0\n<UNK>\t0\n<BOS>\t0\n<EOS>\t0\n<MASK>\t0\na\t2\nb\t1\ngröße\t1\n"
        );
        let read = Vocabulary::read(&path).unwrap();
        assert_eq!(read, vocabulary);
        assert_eq!((read.id(b"b"), read.count(5), read.word(8)), (Some(6), Some(2), None));
        std::fs::write(dir.path().join("text"), "b c").unwrap();
        let texts = [dir.path().join("text"), path];
        let both = Vocabulary::from_files(&texts, 100, 1).unwrap();
        assert_eq!(both.id(b"c"), Some(6));
        assert!(Vocabulary::from_files([dir.path()], 100, 1).is_err());
        // What could not be read back is not written.
        let twice = Vocabulary::from_words([(&b"a"[..], 1), (b"b", 1), (b"a", 1)]).unwrap();
        let path = dir.path().join("twice.txt");
        let error = twice.write(&path).unwrap_err().to_string();
        assert!(error.contains("line 3 repeats 'a' of line 1"), "{error}");
        assert!(!path.exists());
    }

    #[test]
    fn the_first_of_equal_words() {
        let twice = Vocabulary::from_words([(&b"x"[..], 1), (b"y", 2), (b"x", 3)]).unwrap();
        assert_eq!(twice.encode(b"x y").unwrap(), [0, 1]);
        assert_eq!(twice.decode(&[2, 1]).unwrap(), b"x y");
    }
}
