//! `vocab.txt` of subwords: the tokens, a readable one a line. Of a vocabulary that this library trained
//! the merges follow from the tokens: at the time of its merge the bytes of a token were two tokens. Of
//! others a line of JSON behind the list says them: the `tokenizer.json` without its tokens.

use super::chars::of_bytes;
use super::json::at_path;
use super::unique::parse;
use super::{Bpe, PieceCounter, Rule, read_shown, shown, wrong};
use crate::error::{Error, Result};
use crate::text::SPECIALS;
use crate::text::vocab::Entry;
use cllm_kernels::memory::{filled, reserve};
use cllm_kernels::merge::{Merger, Pairs, pair};
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// Id of the byte 0.
const BYTES: usize = SPECIALS.len();
/// Tokens before the first merge.
const FIRST: usize = BYTES + 256;

impl Bpe {
    /// What a list of the tokens, in the order of their ids and each as [`shown`], does not say of the
    /// tokenizer: a line of JSON, a `tokenizer.json` without the tokens. `None` where the list says all.
    ///
    /// # Errors
    /// No memory.
    pub fn unlisted(&self) -> Result<Option<String>> {
        let of_list = || -> Result<Option<Self>> {
            if self.rule() != Rule::Words || self.added().len() != BYTES || self.len() < FIRST {
                return Ok(None);
            }
            let mut spelled = Vec::new();
            reserve("the tokens", &mut spelled, self.len())?;
            spelled.extend((0..self.len() as u32).map(|id| match self.is_special(id) {
                true => String::from_utf8_lossy(self.token(id).unwrap_or_default()).into_owned(),
                false => shown(self.token(id).unwrap_or_default()),
            }));
            let words = spelled.iter().map(String::as_bytes);
            let entries: Vec<Entry> = words.map(|word| Entry { word, count: 0 }).collect();
            // A list with an error says less than all.
            Ok(Self::trained(Path::new(""), &entries).unwrap_or(None))
        };
        let whole = of_list()?.is_some_and(|listed| listed == *self);
        Ok((!whole).then(|| self.json_with("{}")))
    }

    /// The vocabulary that is listed in a `vocab.txt`, as far as [`vocab::parts`] is the list; `more` is
    /// what [`unlisted`](Self::unlisted) said. Without it: the special tokens, the 256 bytes in their
    /// order, then what the merges make, each as [`shown`]. `None` where the list does not begin so: its
    /// entries are words. Counts are not looked at. Texts are cut by [`Rule::Words`] then.
    ///
    /// [`vocab::parts`]: crate::text::vocab::parts
    ///
    /// # Errors
    /// A line that is not readable, repeats a token or, where nothing says the merges, is not made of two
    /// tokens above it: the error names it. With `more`, as
    /// [`from_tokenizer_json`](Self::from_tokenizer_json); without, tokens of a vocabulary of another
    /// layout. No memory.
    pub fn from_listed(
        path: &Path,
        entries: &[Entry],
        more: Option<&[u8]>,
    ) -> Result<Option<Self>> {
        match more {
            Some(more) => Self::of_others(path, entries, more).map(Some),
            None => Self::trained(path, entries),
        }
    }

    /// A tokenizer of the tokens of a list and of what the list does not say.
    fn of_others(path: &Path, entries: &[Entry], more: &[u8]) -> Result<Self> {
        let json = parse(more, "the last line").map_err(|error| at_path(path, error))?;
        let Value::Object(mut file) = json else {
            return Err(Error::file(path, "the last line is no JSON object"));
        };
        // Added tokens stand in the list for eyes only: a name can look like another token.
        let id_and_name = |token: &Value| {
            let id = usize::try_from(token.get("id")?.as_u64()?).ok()?;
            Some((id, token.get("content")?.as_str()?.to_owned()))
        };
        let added = file.get("added_tokens").and_then(Value::as_array);
        let added: HashMap<usize, String> =
            added.into_iter().flatten().filter_map(id_and_name).collect();
        let mut vocab = Map::new();
        for (id, entry) in entries.iter().enumerate() {
            let fail = |problem| Error::file(path, format!("line {} {problem}", id + 1));
            let name = match added.get(&id) {
                Some(name) => name.clone(),
                None => {
                    let token = bytes_of(entry)?;
                    of_bytes(&token.ok_or_else(|| fail("is no readable token"))?)
                }
            };
            if vocab.insert(name, id.into()).is_some() {
                return Err(fail("repeats a token of a line above"));
            }
        }
        match file.get_mut("model").and_then(|model| model.get_mut("vocab")) {
            Some(Value::Object(none)) if none.is_empty() => *none = vocab,
            _ => {
                return Err(at_path(path, wrong("the last line has no model with an empty vocab")));
            }
        }
        Self::of_file(&file).map_err(|error| at_path(path, error))
    }

    /// A tokenizer of this library, of which the list says all.
    fn trained(path: &Path, entries: &[Entry]) -> Result<Option<Self>> {
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
                let problem = "lists subwords of others without the last line, which says how they are \
                               merged: read their tokenizer.json instead";
                return Err(Error::file(path, problem));
            }
            return Ok(None);
        }
        let mut pairs = Pairs::with_room(rest.len())?;
        let mut merges = Vec::new();
        reserve("the merges", &mut merges, rest.len())?;
        let mut merger = Merger::default();
        let mut parts = Vec::new();
        for (rank, entry) in (0u32..).zip(rest) {
            let line = FIRST + rank as usize + 1;
            let fail = |problem: &str| Error::file(path, format!("line {line} {problem}"));
            let token = bytes_of(entry)?.ok_or_else(|| fail("is no readable token"))?;
            parts.clear();
            merger.symbols.clear();
            // A line may be as long as the file.
            reserve("a token", &mut parts, token.len())?;
            reserve("a token", &mut merger.symbols, token.len())?;
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

/// The bytes of an entry that is [`shown`]; `None` if it is not.
fn bytes_of(entry: &Entry) -> Result<Option<Vec<u8>>> {
    std::str::from_utf8(entry.word).map_or(Ok(None), read_shown)
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
        Bpe::from_listed(path, &vocab::parse(path, text.as_bytes())?, None)
    }

    #[test]
    fn merges_follow_from_the_tokens() {
        let text =
            "aaaaa aaa aa banana bandana ananas <EOS> \\n tab\there caf\u{e9} caf\u{e8}\n\n\n";
        let text = text.repeat(9) + &"the other mother's \u{2423} thermometer ".repeat(7);
        for size in [261, 270, 300, 400] {
            let bpe = Bpe::train([text.as_bytes()], size).unwrap();
            assert_eq!(bpe.unlisted().unwrap(), None);
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
            assert!(error.contains("v: lists subwords of others"), "{error}");
        }
    }

    /// Those of other layouts and rules, and of the merges that make a token in two ways.
    #[test]
    fn what_a_list_does_not_say_is_behind_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vocab.txt");
        let mut counter = PieceCounter::new(Rule::Gpt2);
        counter.add(&b"banana bandana 12 ".repeat(5)).unwrap();
        let go_on = |_| std::ops::ControlFlow::Continue(());
        let settings = super::super::Settings::new(280);
        let other_rule = Bpe::train_from(&counter, settings, go_on).unwrap();
        let twice =
            Bpe::of_merges(&[(102, 103), (103, 102), (261, 102), (102, 262)], Rule::Words).unwrap();
        assert_eq!(twice.len(), 264);
        let mut all = vec![other_rule, twice];
        for name in ["gpt2", "gpt2_space", "llama3", "qwen2", "words"] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bpe");
            all.push(Bpe::read_tokenizer_json(folder.join(format!("{name}.json"))).unwrap());
        }
        let mut with_more = 0;
        for bpe in all {
            let lines = listing(&bpe);
            let more = bpe.unlisted().unwrap();
            with_more += usize::from(more.is_some());
            let entries = lines.iter().map(|line| (line.as_bytes(), 7));
            vocab::write(&path, entries, more.as_deref()).unwrap();
            let text = vocab::read(&path).unwrap();
            let (list, more) = vocab::parts(&text);
            let entries = vocab::parse(&path, list).unwrap();
            assert_eq!(entries.len(), bpe.len());
            let again = Bpe::from_listed(&path, &entries, more).unwrap().unwrap();
            assert_eq!(again, bpe);
            let words = crate::text::Vocabulary::read(&path);
            assert!(more.is_none() || words.unwrap_err().to_string().contains("is empty"));
            let Some(more) = more else { continue };
            for (entries, more, problem) in [
                (&entries[..entries.len() / 2], more, "there is no token"),
                (&entries[..], &more[..more.len() - 1], "the last line is not JSON (is it cut?)"),
                (&entries[..], b"{}", "no model with an empty vocab"),
            ] {
                let error = Bpe::from_listed(&path, entries, Some(more)).unwrap_err().to_string();
                assert!(error.contains("vocab.txt: "), "{error}");
                assert!(error.contains(problem) || error.contains("id"), "{error}");
            }
            let mut twice = entries.clone();
            let plain: Vec<usize> = (0..twice.len())
                .filter(|&id| !bpe.added().iter().any(|a| a.id as usize == id))
                .collect();
            twice[plain[1]] = twice[plain[0]];
            let error = Bpe::from_listed(&path, &twice, Some(more)).unwrap_err().to_string();
            assert!(error.contains(&format!("line {} repeats", plain[1] + 1)), "{error}");
        }
        assert_eq!(with_more, 7);
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
