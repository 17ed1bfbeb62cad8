//! Text to the ids of a model's words: the three rules of the C interface.

use super::index::{Lookup, Words, ids};
use super::special::{is_special, spells_special};
use super::split::{cut, is_mark, lower, text_words, words};
use crate::error::{Error, Result};
use crate::limits::TOKEN_STR_LEN;

/// How a text becomes ids. All rules separate words at the same white space, and none takes a word
/// of a text for a special word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// `cllm_tokenize`: a word as it is, then in lower case, then `<UNK>`, then the hash.
    Inference,
    /// `cllm_tokenize_with_vocab`: a lower-cased word whole, then its parts between `.,!?`.
    WithVocab,
    /// `cllm_load_training_data`: as [`Rule::Inference`], but the hash takes bytes as unsigned.
    Training,
}

/// 31·h + byte for each byte, bytes above 127 counting as negative where `signed`.
pub fn hash(word: &[u8], signed: bool) -> u32 {
    word.iter().fold(0u32, |h, &byte| {
        let value = if signed { i32::from(byte as i8) as u32 } else { u32::from(byte) };
        h.wrapping_mul(31).wrapping_add(value)
    })
}

/// The id that `hash` gives a word among `vocab` words, 1 or more.
pub fn hash_id(word: &[u8], signed: bool, vocab: usize) -> u32 {
    (u64::from(hash(word, signed)) % vocab.max(1) as u64) as u32
}

/// One id per byte, for models without words, at most `limit`. [`Rule::WithVocab`] has no such form:
/// no ids.
pub fn byte_ids(text: &[u8], rule: Rule, vocab: usize, limit: usize) -> Result<Vec<u32>> {
    let vocab = vocab.max(1) as u64;
    let mut out = Vec::new();
    for &byte in text {
        let value = match rule {
            Rule::Inference => i64::from(byte as i8) as u64,
            Rule::WithVocab => break,
            Rule::Training if matches!(byte, b'\n' | b'\r') => continue,
            Rule::Training => u64::from(byte),
        };
        if out.len() == limit {
            break;
        }
        push(&mut out, (value % vocab) as u32)?;
    }
    Ok(out)
}

/// The ids of the words of `text`, at most `limit`. `vocab` is the number of ids.
pub fn word_ids<W: Words + ?Sized>(
    text: &[u8],
    rule: Rule,
    vocab: usize,
    lookup: &mut Lookup<W>,
    limit: usize,
) -> Result<Vec<u32>> {
    let mut encoder =
        Encoder { lookup, vocab, unknown: None, lowered: Vec::new(), out: Vec::new() };
    for word in text_words(text) {
        if encoder.out.len() >= limit {
            break;
        }
        match rule {
            Rule::Inference => encoder.word(word, true)?,
            Rule::WithVocab => encoder.marked_word(word)?,
            Rule::Training => encoder.word(word, false)?,
        }
    }
    encoder.out.truncate(limit);
    Ok(encoder.out)
}

struct Encoder<'e, 'a, W: Words + ?Sized> {
    lookup: &'e mut Lookup<'a, W>,
    vocab: usize,
    /// The id of `<UNK>`, once it was looked for.
    unknown: Option<Option<u32>>,
    lowered: Vec<u8>,
    out: Vec<u32>,
}

impl<W: Words + ?Sized> Encoder<'_, '_, W> {
    fn word(&mut self, word: &[u8], signed: bool) -> Result<()> {
        let id = id_of(self.lookup, find, word, true, &mut self.lowered)
            .unwrap_or_else(|| self.unknown_id(word, signed));
        push(&mut self.out, id)
    }

    fn marked_word(&mut self, word: &[u8]) -> Result<()> {
        if let Some(id) = id_of(self.lookup, find, word, false, &mut self.lowered) {
            return push(&mut self.out, id);
        }
        let mut whole = std::mem::take(&mut self.lowered);
        for part in words(lower(word, &mut whole), is_mark) {
            let id = id_of(self.lookup, find, part, false, &mut self.lowered)
                .unwrap_or_else(|| self.unknown_id(part, true));
            push(&mut self.out, id)?;
        }
        self.lowered = whole;
        Ok(())
    }

    /// `<UNK>`, in whatever letter case a slot spells it; without such a slot the hash.
    fn unknown_id(&mut self, word: &[u8], signed: bool) -> u32 {
        let strings = self.lookup.words();
        let spells_unk =
            |&id: &u32| strings.get(id).is_some_and(|s| s.eq_ignore_ascii_case(b"<UNK>"));
        self.unknown
            .get_or_insert_with(|| ids(strings).find(spells_unk))
            .unwrap_or_else(|| hash_id(word, signed, self.vocab))
    }
}

/// The id of a word of a text, by `find`: as it is where `cased`, then in lower case (ASCII only).
/// A word that spells a special word is looked up in lower case, and is never the special word.
pub fn id_of<D: Dictionary>(
    dictionary: &mut D,
    find: impl Fn(&mut D, &[u8]) -> Option<u32>,
    word: &[u8],
    cased: bool,
    buffer: &mut Vec<u8>,
) -> Option<u32> {
    let special = spells_special(word);
    if cased && !special {
        let as_it_is = find(dictionary, word);
        if as_it_is.is_some() || !word.iter().any(u8::is_ascii_uppercase) {
            return as_it_is;
        }
    }
    let id = find(dictionary, lower(word, buffer))?;
    (!special || !dictionary.is_special(id)).then_some(id)
}

/// Words that can be looked up, and which of them are special.
pub trait Dictionary {
    /// Whether the slot is that of a special word, or of none.
    fn is_special(&self, id: u32) -> bool;
}

impl<W: Words + ?Sized> Dictionary for Lookup<'_, W> {
    fn is_special(&self, id: u32) -> bool {
        is_special(self.words(), id)
    }
}

/// A word's slot. A word too long for a slot may stand there cut: between characters, or by an
/// older writer just after byte 63.
fn find<W: Words + ?Sized>(lookup: &mut Lookup<W>, word: &[u8]) -> Option<u32> {
    let whole = lookup.find(word);
    if whole.is_some() || word.len() <= TOKEN_STR_LEN {
        return whole;
    }
    lookup.find(cut(word, TOKEN_STR_LEN)).or_else(|| lookup.find(word.get(..TOKEN_STR_LEN)?))
}

fn push(ids: &mut Vec<u32>, id: u32) -> Result<()> {
    ids.try_reserve(1).map_err(|_| {
        Error::memory("the ids of a text", ids.len().saturating_mul(size_of::<u32>()))
    })?;
    ids.push(id);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::index::WordIndex;
    use super::*;

    fn ids_of(text: &str, rule: Rule, vocab: &[&str]) -> Vec<u32> {
        let mut index = WordIndex::default();
        let mut lookup = Lookup::new(&mut index, vocab).unwrap();
        word_ids(text.as_bytes(), rule, vocab.len(), &mut lookup, 100).unwrap()
    }

    #[test]
    fn hashes() {
        assert_eq!(hash(b"", true), 0);
        assert_eq!(hash(b"ab", true), 97 * 31 + 98);
        assert_eq!(hash(&[0xC3, 0xA9], false), 0xC3 * 31 + 0xA9);
        // -61·31 - 87 mod 2^32
        assert_eq!(hash(&[0xC3, 0xA9], true), (-61i32 * 31 - 87) as u32);
        // Wraps: 31^7 is more than 2^32.
        let wide = b"zzzzzzzz".iter().fold(0u128, |h, &b| h * 31 + u128::from(b));
        assert_eq!(u128::from(hash(b"zzzzzzzz", true)), wide % (1 << 32));
    }

    #[test]
    fn prompt_words() {
        let vocab = ["<pad>", "<unk>", "the", "The", "a"];
        assert_eq!(ids_of("The the THE a\r\n", Rule::Inference, &vocab), [3, 2, 2, 4]);
        assert_eq!(ids_of("\u{FEFF}the\x0Ca\x0Bthe", Rule::Inference, &vocab), [2, 4, 2]);
        assert_eq!(ids_of("zebra", Rule::Inference, &vocab), [1]);
        let plain = ["the", "a", "b"];
        assert_eq!(ids_of("é", Rule::Inference, &plain), [hash_id("é".as_bytes(), true, 3)]);
    }

    #[test]
    fn marked_words_whole_first() {
        let vocab = ["<UNK>", "hello,", "world", "end"];
        assert_eq!(ids_of("Hello, world! end.", Rule::WithVocab, &vocab), [1, 2, 3]);
        assert_eq!(ids_of("hello.world ... x", Rule::WithVocab, &vocab), [0, 2, 0]);
    }

    #[test]
    fn training_words_are_those_of_prompts() {
        let vocab = ["<UNK>", "the", "b", "The"];
        for text in ["the\r\nThe b", "THE x", "\u{FEFF}the <UNK> <unk>"] {
            let training = ids_of(text, Rule::Training, &vocab);
            assert_eq!(training, ids_of(text, Rule::Inference, &vocab), "{text}");
        }
        // Only the hash differs, in a vocabulary without <UNK>.
        let plain = ["the", "a", "b"];
        assert_eq!(ids_of("é", Rule::Training, &plain), [hash_id("é".as_bytes(), false, 3)]);
    }

    #[test]
    fn no_text_spells_a_special_word() {
        let vocab = ["<PAD>", "<UNK>", "<BOS>", "<EOS>", "<MASK>", "the", "<eos>", "<UNK_7>"];
        for rule in [Rule::Inference, Rule::Training, Rule::WithVocab] {
            assert_eq!(ids_of("<EOS> <eos> <Eos> the", rule, &vocab), [6, 6, 6, 5]);
            assert_eq!(ids_of("<PAD> <bos> <MASK> <UNK_7>", rule, &vocab), [1, 1, 1, 1]);
            // A vocabulary that spells them in lower case.
            assert_eq!(ids_of("<EOS> <eos> x", rule, &["<unk>", "<eos>", "x"]), [0, 0, 2]);
        }
    }

    #[test]
    fn long_words_by_their_cut_form() {
        let long = "x".repeat(80);
        let cut_slot = "x".repeat(63);
        let accents = "é".repeat(40);
        let at_boundary = "é".repeat(31);
        let vocab = [cut_slot.as_str(), at_boundary.as_str(), "y"];
        let text = format!("{long} {accents}");
        assert_eq!(ids_of(&text, Rule::Inference, &vocab), [0, 1]);
        // A whole string is preferred.
        let vocab = [cut_slot.as_str(), long.as_str()];
        assert_eq!(ids_of(&text[..80], Rule::Inference, &vocab), [1]);
    }

    #[test]
    fn bytes_without_words() {
        let text = b"a\n\xE9\rb";
        let all = byte_ids(text, Rule::Inference, 100, 9).unwrap();
        let signed = ((-23i64) as u64 % 100) as u32;
        assert_eq!(all, [97, 10, signed, 13, 98]);
        assert_eq!(byte_ids(text, Rule::Inference, 100, 1).unwrap(), [97]);
        let training = byte_ids(text, Rule::Training, 100, 9).unwrap();
        assert_eq!(training, [97, 0xE9 % 100, 98]);
        assert_eq!(byte_ids(text, Rule::WithVocab, 100, 9).unwrap(), [0u32; 0]);
    }

    #[test]
    fn at_most_the_limit() {
        let mut index = WordIndex::default();
        let mut lookup = Lookup::new(&mut index, &["a", "b"][..]).unwrap();
        let two = word_ids(b"a.b.a", Rule::WithVocab, 2, &mut lookup, 2).unwrap();
        assert_eq!(two, [0, 1]);
    }
}
