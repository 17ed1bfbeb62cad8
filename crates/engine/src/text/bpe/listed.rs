//! `vocab.txt` of subwords: the tokens of a vocabulary that this library trained, a readable one a
//! line. The merges follow from the tokens: at the time of its merge the bytes of a token were two
//! tokens.

use super::merge::{Merger, Pairs, pair};
use super::{Bpe, PieceCounter, Rule, read_shown, shown};
use crate::error::{Error, Result};
use crate::text::SPECIALS;
use crate::text::vocab::Entry;
use cllm_kernels::memory::filled;
use std::collections::HashSet;
use std::path::Path;

/// Id of the byte 0.
const BYTES: usize = SPECIALS.len();
/// Tokens before the first merge.
const FIRST: usize = BYTES + 256;

impl Bpe {
    /// The vocabulary that is listed in a `vocab.txt`: the special tokens, the 256 bytes in their
    /// order, then what the merges make, each as [`shown`]. `None` where the list does not begin
    /// so: its entries are words. Counts are not looked at. Texts are cut by [`Rule::Words`].
    ///
    /// # Errors
    /// A line that is not readable, or is not made of two tokens above it: the error names it. The
    /// tokens of a vocabulary of another layout, which came from a `tokenizer.json`: a list says
    /// neither where that cuts texts nor what it merges. No memory.
    pub fn from_listed(path: &Path, entries: &[Entry]) -> Result<Option<Self>> {
        let (first, rest) = entries.split_at_checked(FIRST).unwrap_or((&[], &[]));
        let (specials, bytes) = first.split_at(BYTES.min(first.len()));
        let is_byte = |(byte, entry): (u8, &Entry)| entry.word == shown(&[byte]).as_bytes();
        if !specials.iter().map(|entry| entry.word).eq(SPECIALS)
            || !(0..=255).zip(bytes).all(is_byte)
        {
            // Nobody's words are all of the bytes.
            let short: HashSet<&[u8]> =
                entries.iter().map(|entry| entry.word).filter(|word| word.len() <= 4).collect();
            if (0..=255).all(|byte| short.contains(shown(&[byte]).as_bytes())) {
                let problem = "lists subwords of a tokenizer.json, which says how they are merged: \
                               read that instead";
                return Err(Error::file(path, problem));
            }
            return Ok(None);
        }
        let mut pairs = Pairs::with_room(rest.len())?;
        let mut merges = Vec::new();
        let mut merger = Merger::default();
        let mut parts = Vec::new();
        for (rank, entry) in (0u32..).zip(rest) {
            let line = FIRST + rank as usize + 1;
            let fail = |problem: &str| Error::file(path, format!("line {line} {problem}"));
            let text = std::str::from_utf8(entry.word).ok().and_then(read_shown);
            let token = text.ok_or_else(|| fail("is no readable token"))?;
            parts.clear();
            merger.symbols.clear();
            merger.symbols.extend(token.iter().map(|&byte| BYTES as u32 + u32::from(byte)));
            merger.merge(&pairs, &mut parts)?;
            let &[left, right] = &parts[..] else {
                return Err(match parts.len() {
                    0 => fail("is empty"),
                    1 => fail("repeats a token of a line above"),
                    n => fail(&format!("is made of {n} tokens of the lines above, not of two")),
                });
            };
            pairs.insert(pair(left, right), rank, FIRST as u32 + rank);
            merges.push((left, right));
        }
        Self::of_merges(&merges, Rule::Words).map(Some)
    }
}

impl PieceCounter {
    /// How often each token of a vocabulary is met in the counted pieces.
    ///
    /// # Errors
    /// No memory.
    pub fn tokens(&self, bpe: &Bpe) -> Result<Vec<u64>> {
        let mut counts = filled::<u64>("the counts of the tokens", bpe.len())?;
        for (piece, count) in self.iter() {
            for id in bpe.encode(piece)? {
                if let Some(total) = counts.get_mut(id as usize) {
                    *total = total.saturating_add(count);
                }
            }
        }
        Ok(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{Tokenizer, vocab};

    fn listing(bpe: &Bpe) -> Vec<String> {
        let tokenizer = Tokenizer::from(bpe.clone());
        let shown = |id| tokenizer.shown(id).unwrap().into_owned();
        (0..bpe.len() as u32).map(shown).collect()
    }

    fn read(lines: &[String]) -> Result<Option<Bpe>> {
        let text: String = lines.iter().map(|line| format!("{line}\t7\n")).collect();
        let path = Path::new("v");
        Bpe::from_listed(path, &vocab::parse(path, text.as_bytes())?)
    }

    #[test]
    fn merges_follow_from_the_tokens() {
        let text =
            "aaaaa aaa aa banana bandana ananas <EOS> \\n tab\there caf\u{e9} caf\u{e8}\n\n\n";
        let text = text.repeat(9) + &"the other mother's \u{2423} thermometer ".repeat(7);
        for size in [261, 270, 300, 400] {
            let bpe = Bpe::train([text.as_bytes()], size).unwrap();
            assert_eq!(read(&listing(&bpe)).unwrap(), Some(bpe));
        }
    }

    #[test]
    fn a_list_of_words_is_none() {
        let lines = listing(&Bpe::bytes().unwrap());
        assert!(read(&lines).unwrap().is_some());
        assert_eq!(read(&lines[..260]).unwrap(), None);
        assert_eq!(read(&[]).unwrap(), None);
        let mut other = lines.clone();
        other.swap(70, 71);
        for other in [&other[..], &lines[5..]] {
            let error = read(other).unwrap_err().to_string();
            assert!(error.contains("v: lists subwords of a tokenizer.json"), "{error}");
        }
    }

    #[test]
    fn damage_is_named_by_its_line() {
        let bpe = Bpe::train([&b"abcabcabc abcd abcd"[..]], 264).unwrap();
        let lines = listing(&bpe);
        let wrong = |at: usize, line: &str| {
            let mut lines = lines.clone();
            lines[at] = line.to_string();
            read(&lines).unwrap_err().to_string()
        };
        assert_eq!(
            wrong(261, "xyz"),
            "v: line 262 is made of 3 tokens of the lines above, not of two"
        );
        assert_eq!(wrong(262, &lines[261]), "v: line 263 repeats a token of a line above");
        assert_eq!(wrong(263, "\\q"), "v: line 264 is no readable token");
        assert_eq!(wrong(263, ""), "v: line 264 is empty");
    }

    #[test]
    fn tokens_of_the_pieces() {
        let mut counter = PieceCounter::new(Rule::Words);
        counter.add(b"ab ab ab c").unwrap();
        let bytes = Bpe::bytes().unwrap();
        let counts = counter.tokens(&bytes).unwrap();
        let count = |byte: u8| counts[BYTES + usize::from(byte)];
        assert_eq!([b'a', b'b', b'c', b' ', b'd'].map(count), [3, 3, 1, 3, 0]);
        assert_eq!(counts.iter().sum::<u64>(), 10);
    }
}
