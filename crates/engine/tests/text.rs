//! Texts, vocabularies and datasets as other parts of a program see them: properties over random
//! inputs.

use cllm_engine::text::count::{Counter, Keep};
use cllm_engine::text::encode::{Rule, hash_id, word_ids};
use cllm_engine::text::index::{Lookup, WordIndex, Words};
use cllm_engine::text::{dataset, decode, document, split, vocab};
use proptest::prelude::*;
use std::cell::Cell;
use std::collections::HashMap;

/// Words as a vocabulary file can hold them: any bytes but NUL, TAB and line feed.
fn word() -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_filter("", |b| !matches!(b, 0 | b'\t' | b'\n'));
    prop::collection::vec(byte, 0..80)
}

/// Texts of few different words, so that they repeat.
fn text() -> impl Strategy<Value = String> {
    let word = prop_oneof!["[a-cA-C]{1,2}", "[a-z.,!?]{1,5}", "é|ß|日本"];
    let blank =
        prop_oneof![Just(" "), Just("\n"), Just("\t"), Just("\r\n"), Just("\u{c}"), Just("  ")];
    prop::collection::vec((word, blank), 0..60)
        .prop_map(|pairs| pairs.into_iter().map(|(w, b)| w + b).collect())
}

fn encode(text: &str, rule: Rule, vocab: &[String]) -> Vec<u32> {
    let mut index = WordIndex::default();
    let mut lookup = Lookup::new(&mut index, vocab).unwrap();
    word_ids(text.as_bytes(), rule, vocab.len(), &mut lookup, usize::MAX).unwrap()
}

fn learn(text: &str, room: usize, keep: Keep) -> Vec<(String, u64)> {
    let mut index = WordIndex::default();
    let none: [&str; 0] = [];
    let mut lookup = Lookup::new(&mut index, &none[..]).unwrap();
    let mut counter = Counter::new(&mut lookup, room, keep, false).unwrap();
    counter.add(text.as_bytes()).unwrap();
    let (_, words) = counter.finish().unwrap();
    let text = |word: &[u8]| String::from_utf8(word.to_vec()).unwrap();
    words.iter().map(|(word, count)| (text(word), count)).collect()
}

proptest! {
    #[test]
    fn words_of_the_text_come_back(text in text()) {
        let words: Vec<String> = text.split_ascii_whitespace().map(str::to_ascii_lowercase).collect();
        let vocab: Vec<String> = learn(&text, 1000, Keep::FirstCome).into_iter().map(|(w, _)| w).collect();
        for rule in [Rule::Training, Rule::Inference, Rule::WithVocab] {
            let ids = encode(&words.join(" "), rule, &vocab);
            let back: Vec<&String> = ids.iter().map(|&id| &vocab[id as usize]).collect();
            prop_assert_eq!(back, words.iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn counts_are_those_of_a_plain_count(text in text(), room in 0usize..12) {
        let mut plain: Vec<(String, u64)> = Vec::new();
        for word in text.split_ascii_whitespace().map(str::to_ascii_lowercase) {
            match plain.iter_mut().find(|(w, _)| *w == word) {
                Some((_, count)) => *count += 1,
                None => plain.push((word, 1)),
            }
        }
        prop_assert_eq!(&learn(&text, usize::MAX, Keep::MostFrequent), &plain);
        let first: Vec<_> = plain.iter().take(room).cloned().collect();
        prop_assert_eq!(learn(&text, room, Keep::FirstCome), first);
        let mut order: Vec<usize> = (0..plain.len()).collect();
        order.sort_by_key(|&at| (std::cmp::Reverse(plain[at].1), at));
        order.truncate(room);
        order.sort_unstable();
        let most: Vec<_> = order.into_iter().map(|at| plain[at].clone()).collect();
        prop_assert_eq!(learn(&text, room, Keep::MostFrequent), most);
    }

    #[test]
    fn ids_are_those_of_a_plain_search(text in text(), vocab in prop::collection::vec("[a-cA-C]{1,2}|<UNK>", 1..12)) {
        let position = |word: &str| vocab.iter().position(|w| w == word).map(|at| at as u32);
        // Prompts and training texts by one rule, down to the hash of a word without an id.
        for (rule, signed) in [(Rule::Inference, true), (Rule::Training, false)] {
            let hash = |word: &str| hash_id(word.as_bytes(), signed, vocab.len());
            let unknown = |word: &str| position("<UNK>").unwrap_or_else(|| hash(word));
            let plain: Vec<u32> = text
                .split_ascii_whitespace()
                .map(|w| position(w).or_else(|| position(&w.to_ascii_lowercase())).unwrap_or_else(|| unknown(w)))
                .collect();
            prop_assert_eq!(encode(&text, rule, &vocab), plain);
        }
    }

    /// Whatever a program does to the strings between two calls, the index gives what a search
    /// would give, except that of two equal strings it may give the later one.
    #[test]
    fn an_index_is_as_good_as_a_search(steps in prop::collection::vec((any::<u8>(), 0usize..12, "[ab]{1,2}"), 0..60)) {
        let mut words: Vec<String> = vec!["a".into(), "b".into(), "ab".into()];
        let mut index = WordIndex::default();
        for (what, at, word) in steps {
            match what % 4 {
                0 => words.push(word.clone()),
                1 if !words.is_empty() => { let at = at % words.len(); words[at] = word.clone(); }
                2 => words.truncate(at),
                _ => {}
            }
            let found = Lookup::new(&mut index, words.as_slice()).unwrap().find(word.as_bytes());
            let first = words.iter().position(|w| *w == word);
            prop_assert_eq!(found.is_some(), first.is_some());
            if let Some(id) = found {
                prop_assert_eq!(&words[id as usize], &word);
            }
        }
    }

    #[test]
    fn a_vocabulary_file_holds_any_words(words in prop::collection::vec((word(), any::<u32>()), 0..20)) {
        // Bytes at the beginning of a file that say how it is encoded.
        let marked = words.first().is_some_and(|(w, _)| [&b"\xFF\xFE"[..], b"\xFE\xFF", b"\xEF\xBB\xBF"].iter().any(|m| w.starts_with(m)));
        prop_assume!(!marked);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vocab.txt");
        vocab::write(&path, words.iter().map(|(w, n)| (&w[..], u64::from(*n))), None).unwrap();
        let bytes = vocab::read(&path).unwrap();
        let entries = vocab::parse(&path, &bytes).unwrap();
        let back: Vec<_> = entries.iter().map(|e| (e.word.to_vec(), e.count)).collect();
        prop_assert_eq!(back, words);
    }

    #[test]
    fn a_dataset_file_holds_any_ids(ids in prop::collection::vec(any::<u32>(), 0..10_000), extra in 0usize..9) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dataset.bin");
        dataset::write(&path, &ids).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        prop_assert_eq!(bytes.len(), 8 + 4 * ids.len());
        bytes.extend(std::iter::repeat_n(7u8, extra));
        std::fs::write(&path, bytes).unwrap();
        let reader = dataset::open(&path).unwrap();
        let mut back = vec![0; reader.len()];
        reader.read(&mut back).unwrap();
        prop_assert_eq!(back, ids);
    }

    /// Files that others made, or damaged: an error or entries, never a panic.
    #[test]
    fn any_bytes_may_be_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, &bytes).unwrap();
        if let Ok(text) = vocab::read(&path) {
            let _ = vocab::parse_unique(&path, &text);
        }
        let _ = decode::decode(bytes.clone());
        if let Ok(reader) = dataset::open(&path) {
            prop_assert!(8 + 4 * reader.len() <= bytes.len());
        }
    }

    #[test]
    fn cleaning_keeps_the_words(text in text()) {
        let cleaned = document::clean(text.as_bytes(), document::Cleaning::default()).unwrap();
        let words = |t: &[u8]| split::text_words(t).map(<[u8]>::to_vec).collect::<Vec<_>>();
        prop_assert_eq!(words(&cleaned), words(text.as_bytes()));
        prop_assert!(!cleaned.windows(2).any(|pair| pair == b"  "));
    }

    #[test]
    fn a_cut_is_text_again(text in "\\PC{0,40}", room in 0usize..70) {
        let cut = split::cut(text.as_bytes(), room);
        prop_assert!(cut.len() <= room.max(text.len().min(room)));
        prop_assert!(text.as_bytes().starts_with(cut));
        prop_assert!(std::str::from_utf8(cut).is_ok());
        prop_assert!(cut.len() + 3 >= room.min(text.len()));
    }
}

/// Counts how often a string is looked at.
struct Watched {
    words: Vec<String>,
    looks: Cell<usize>,
}

impl Words for Watched {
    fn count(&self) -> usize {
        self.words.len()
    }

    fn get(&self, id: u32) -> Option<&[u8]> {
        self.looks.set(self.looks.get() + 1);
        self.words.get(id as usize).map(String::as_bytes)
    }
}

/// A text ten times as long must not look at the words more than about ten times as often,
/// whatever part of it the vocabulary lacks.
#[test]
fn encoding_is_linear_in_the_text() {
    const V: usize = 5000;
    let words: Vec<String> = (0..V).map(|i| format!("w{i}")).collect();
    let watched = Watched { words, looks: Cell::new(0) };
    let mut index = WordIndex::default();
    for rule in [Rule::Inference, Rule::WithVocab, Rule::Training] {
        for len in [2_000, 20_000, 200_000] {
            // A third of the words are unknown.
            let text: String = (0..len).map(|i| format!("w{} ", i * 7919 % (V * 3 / 2))).collect();
            Lookup::new(&mut index, &watched).unwrap();
            watched.looks.set(0);
            let mut lookup = Lookup::new(&mut index, &watched).unwrap();
            let ids = word_ids(text.as_bytes(), rule, V, &mut lookup, usize::MAX).unwrap();
            assert_eq!(ids.len(), len);
            // A look per word that is there, a few passes over the vocabulary for all the others.
            let bound = len + 10 * V;
            assert!(watched.looks.get() < bound, "{rule:?}, {len}: {} looks", watched.looks.get());
        }
    }
}

#[test]
fn hashes_spread_over_the_vocabulary() {
    let mut met = HashMap::new();
    for i in 0..10_000 {
        *met.entry(hash_id(format!("word{i}").as_bytes(), true, 97)).or_insert(0) += 1;
    }
    assert_eq!(met.len(), 97);
    assert!(met.values().all(|&n| n > 50));
}
