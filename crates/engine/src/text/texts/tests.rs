use super::*;
use crate::text::bpe::{PieceCounter, Rule, Settings};
use crate::text::{Bpe, TokenFile, Tokenizer, files};
use cllm_kernels::Pool;
use std::fs;

fn on(_: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Four texts: plain, UTF-16, with a mark and NUL bytes, empty. No piece of 64 bytes has a cut
/// everywhere.
fn some(dir: &Path) -> (Vec<PathBuf>, Vec<Vec<u8>>) {
    let story = "The cat's 1234 cats sat,\n\n  and “日本” said: don't!\t".repeat(30);
    let long = format!("{}日本、日本。{} end", "x".repeat(300), "日本、".repeat(200));
    let utf16: Vec<u8> = "\u{FEFF}"
        .chars()
        .chain(long.chars())
        .collect::<String>()
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let marked = [b"\xEF\xBB\xBF", story.as_bytes(), b"\0 nul \xFF byte"].concat();
    let contents = [story.into_bytes(), utf16, marked, Vec::new()];
    let paths: Vec<PathBuf> = (0..4).map(|i| dir.join(format!("{i}.txt"))).collect();
    paths.iter().zip(&contents).for_each(|(path, content)| fs::write(path, content).unwrap());
    let texts = paths.iter().map(|path| files::read_document(path).unwrap()).collect();
    (paths, texts)
}

fn added(dir: &Path, paths: &[PathBuf], piece: usize) -> Texts {
    let mut texts = Texts::new(dir).by_pieces_of(piece);
    paths.iter().for_each(|path| assert!(texts.add(path, &mut on).is_ok()));
    texts
}

fn ids(file: &TokenFile) -> Vec<u32> {
    let mut ids = vec![0; file.len()];
    file.read(0, &mut ids).unwrap();
    ids
}

/// As a program does it that holds everything in memory.
fn expected(texts: &[Vec<u8>], range: Range<usize>, tokenizer: &Tokenizer) -> Vec<u32> {
    let (mut ids, mut begin) = (Vec::new(), 0);
    for text in texts {
        let border = |at: usize| {
            let mut at = at.clamp(begin, begin + text.len()) - begin;
            while at > 0 && text.get(at).is_some_and(|byte| byte & 0xC0 == 0x80) {
                at -= 1;
            }
            at
        };
        let part = &text[border(range.start)..border(range.end)];
        if !part.is_empty() {
            if !ids.is_empty() {
                ids.extend(tokenizer.end().filter(|_| matches!(tokenizer, Tokenizer::Subwords(_))));
            }
            ids.extend(tokenizer.encode(part).unwrap());
        }
        begin += text.len();
    }
    ids
}

#[test]
fn ids_do_not_depend_on_pieces_nor_threads() {
    let dir = tempfile::tempdir().unwrap();
    let (paths, contents) = some(dir.path());
    let all: Vec<u8> = contents.concat();
    let bpe = Bpe::train([&all[..]], 400).unwrap();
    let words = crate::Vocabulary::from_text(&all, 50, 1).unwrap();
    for tokenizer in [bpe.into(), Bpe::bytes().unwrap().into(), Tokenizer::from(words)] {
        for range in [0..all.len(), 0..1700, 1701..all.len(), 300..301, 1500..4000, 5..5] {
            let whole = expected(&contents, range.clone(), &tokenizer);
            for (piece, threads) in [(64, 1), (100, 2), (1000, 3), (1 << 20, 1)] {
                let texts = added(dir.path(), &paths, piece);
                assert_eq!(texts.bytes(), all.len() as u64);
                let begin = texts.character_at(range.start as u64).unwrap() as usize;
                assert!(begin <= range.start && range.start - begin < 4);
                assert!(all.get(begin).is_none_or(|byte| byte & 0xC0 != 0x80));
                let path = dir.path().join("dataset.bin");
                let _ = fs::remove_file(&path);
                let bytes = range.start as u64..range.end as u64;
                let (file, old) =
                    texts.encode(bytes, &tokenizer, &Pool::start(threads), &path, &mut on).unwrap();
                assert_eq!(ids(&file), whole, "{range:?} by {piece}");
                assert!(!old);
            }
        }
    }
}

#[test]
fn what_is_learnt_does_not_depend_on_pieces() {
    let dir = tempfile::tempdir().unwrap();
    let (paths, contents) = some(dir.path());
    let filled: Vec<&[u8]> = contents.iter().map(|c| &c[..]).filter(|c| !c.is_empty()).collect();
    let joined = filled.join(&b'\n');
    for (paths, text) in [(&paths[..], &joined), (&paths[1..2], &contents[1])] {
        let whole = Bpe::train([&text[..]], 350).unwrap();
        for piece in [64, 333, 1 << 20] {
            let texts = added(dir.path(), paths, piece);
            let mut counter = PieceCounter::new(Rule::Words);
            let (mut bytes, all) = (0, 0..texts.bytes());
            let mut watch = |done| {
                bytes = done;
                ControlFlow::Continue(())
            };
            texts.count_pieces(all, &mut counter, &Pool::start(2), &mut watch).unwrap();
            assert_eq!(bytes, text.len() as u64);
            let settings = Settings::new(350);
            let learnt =
                Bpe::train_from(&counter, settings, |_| ControlFlow::Continue(())).unwrap();
            assert_eq!(learnt, whole);
        }
    }
}

#[test]
fn bytes_are_counted_each_one() {
    let dir = tempfile::tempdir().unwrap();
    let (paths, contents) = some(dir.path());
    let filled: Vec<&[u8]> = contents.iter().map(|c| &c[..]).filter(|c| !c.is_empty()).collect();
    let joined = filled.join(&b'\n');
    let mut expected = [0; 256];
    joined.iter().for_each(|&byte| expected[usize::from(byte)] += 1);
    for (piece, threads) in [(64, 1), (333, 3), (1 << 20, 2)] {
        let texts = added(dir.path(), &paths, piece);
        let mut counter = PieceCounter::new(Rule::Words);
        texts.count_bytes(0..texts.bytes(), &mut counter, &Pool::start(threads), &mut on).unwrap();
        let mut counts = [0; 256];
        for (bytes, count) in counter.iter() {
            assert_eq!(bytes.len(), 1);
            counts[usize::from(bytes[0])] = count;
        }
        assert_eq!(counts, expected, "by {piece}");
    }
}

/// As the data loader cleans a text.
fn cleaned(text: &[u8], lowercase: bool) -> Vec<u8> {
    use crate::text::document::{Cleaning, clean};
    clean(text, Cleaning { lowercase, ..Cleaning::default() }).unwrap()
}

#[test]
fn words_do_not_depend_on_pieces_nor_threads() {
    use crate::Vocabulary;
    use crate::text::count::{Counter, Keep};
    use crate::text::index::{Lookup, WordIndex};
    use crate::text::split::text_words;
    let dir = tempfile::tempdir().unwrap();
    let (paths, contents) = some(dir.path());
    let documents: Vec<Vec<u8>> = contents.iter().map(|text| cleaned(text, false)).collect();
    let all: Vec<&[u8]> = documents.iter().flat_map(|text| text_words(text)).collect();
    let learnt = [&b"<PAD>"[..], b"<UNK>", b"the", b"The"];
    for (piece, threads) in [(64, 1), (100, 2), (1 << 20, 3)] {
        let (texts, pool) = (added(dir.path(), &paths, piece), Pool::start(threads));
        let everything = 0..texts.bytes();
        let measure = texts.measure_words(everything.clone(), &pool, &mut on).unwrap();
        assert_eq!(measure.words, all.len() as u64);
        let characters: usize = documents.iter().map(Vec::len).sum();
        assert_eq!(measure.characters, characters as u64, "by {piece}");
        let mut bytes = [0; 256];
        let spaced = all.iter().flat_map(|word| word.iter().chain(b" "));
        spaced.for_each(|&byte| bytes[usize::from(byte)] += 1);
        assert_eq!(measure.bytes, bytes);

        for cut in [1, 40, all.len() - 2, all.len()] {
            let place = texts.word_at(cut as u64, &mut on).unwrap();
            let [before, after] = [&all[..cut], &all[cut..]];
            for keep_case in [false, true] {
                let mut index = WordIndex::default();
                let mut lookup = Lookup::new(&mut index, &learnt[..]).unwrap();
                let mut counter =
                    Counter::new(&mut lookup, 20, Keep::MostFrequent, keep_case).unwrap();
                before.iter().for_each(|word| counter.add(word).unwrap());
                let (known, new) = counter.finish().unwrap();
                let (mut again, range) = (WordIndex::default(), 0..place);
                let mut lookup = Lookup::new(&mut again, &learnt[..]).unwrap();
                let counted =
                    texts.count_words(range, &mut lookup, 20, keep_case, &pool, &mut on).unwrap();
                assert_eq!(counted.0, known);
                assert_eq!(counted.1.iter().collect::<Vec<_>>(), new.iter().collect::<Vec<_>>());

                let words = learnt.iter().map(|word| (*word, 0)).chain(new.iter());
                let words = Vocabulary::from_words(words).unwrap();
                for (range, expected) in [(0..place, before), (place..texts.bytes(), after)] {
                    let path = dir.path().join("words.bin");
                    let _ = fs::remove_file(&path);
                    let encoded =
                        texts.encode_words(range, &words, keep_case, &pool, &path, &mut on);
                    let ids_of = |word: &&[u8]| words.encode_for_training(word, keep_case).unwrap();
                    let expected: Vec<u32> = expected.iter().flat_map(ids_of).collect();
                    assert_eq!(ids(&encoded.unwrap().0), expected);
                }
            }
        }
        assert_eq!(texts.word_at(all.len() as u64, &mut on).unwrap(), texts.bytes());
    }
}

#[test]
fn a_file_is_taken_as_it_is_only_if_it_was_made_of_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (paths, _) = some(dir.path());
    let path = dir.path().join("dataset.bin");
    let (one, other) = (Bpe::bytes().unwrap(), Bpe::train([&b"the the the"[..]], 270).unwrap());
    let encode = |texts: &Texts, to: u64, bpe: &Bpe| {
        texts.encode(0..to, &bpe.clone().into(), &Pool::serial(), &path, &mut on).unwrap().1
    };
    let texts = added(dir.path(), &paths, 999);
    assert!(!encode(&texts, 100, &one) && encode(&texts, 100, &one));
    assert!(!encode(&texts, 101, &one) && !encode(&texts, 101, &other));
    // The same length, other letters; other borders; a file that is damaged.
    fs::write(&paths[0], fs::read_to_string(&paths[0]).unwrap().replace("sat", "cat")).unwrap();
    assert!(!encode(&added(dir.path(), &paths, 999), 101, &other));
    assert!(!encode(&added(dir.path(), &paths[..3], 999), 101, &other));
    assert!(encode(&added(dir.path(), &paths[..3], 64), 101, &other));
    let mut bytes = fs::read(&path).unwrap();
    bytes[9] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert!(!encode(&added(dir.path(), &paths[..3], 64), 101, &other));
}

#[test]
fn stopped_or_failed_nothing_has_changed() {
    let dir = tempfile::tempdir().unwrap();
    let (paths, _) = some(dir.path());
    let texts = added(dir.path(), &paths, 64);
    let path = dir.path().join("dataset.bin");
    let bytes = Tokenizer::from(Bpe::bytes().unwrap());
    let stop: Watch<'_> = &mut |done| match done {
        0..500 => ControlFlow::Continue(()),
        _ => ControlFlow::Break(()),
    };
    let stopped = texts.encode(0..texts.bytes(), &bytes, &Pool::serial(), &path, stop);
    assert!(stopped.unwrap_err().to_string().contains("stopped"));
    fs::write(&paths[2], "shorter").unwrap();
    let changed = texts.encode(0..texts.bytes(), &bytes, &Pool::serial(), &path, &mut on);
    let error = changed.unwrap_err().to_string();
    assert!(error.contains("it was changed") && error.contains("2.txt"), "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 4);
}

#[test]
fn what_is_no_text_is_not_added() {
    let dir = tempfile::tempdir().unwrap();
    let mut texts = Texts::new(dir.path());
    let path = dir.path().join("nuls");
    fs::write(&path, [0; 100]).unwrap();
    assert!(texts.add(&path, &mut on).unwrap_err().to_string().contains("is no text"));
    assert!(texts.add(dir.path(), &mut on).is_err());
    assert!(texts.add(dir.path().join("missing"), &mut on).is_err());
    assert_eq!((texts.documents(), texts.bytes()), (0, 0));
}

#[test]
fn a_pipe_is_read_once_and_used_twice() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let text = "some text to be read twice. ".repeat(5000);
    let writer = std::thread::spawn({
        let (pipe, text) = (pipe.clone(), text.clone());
        move || fs::write(pipe, text).unwrap()
    });
    let mut texts = Texts::new(dir.path());
    assert_eq!(texts.add(&pipe, &mut on).unwrap(), text.len() as u64);
    writer.join().unwrap();
    let bytes = Tokenizer::from(Bpe::bytes().unwrap());
    for name in ["a", "b"] {
        let path = dir.path().join(name);
        let all = 0..texts.bytes();
        let (file, _) = texts.encode(all, &bytes, &Pool::serial(), &path, &mut on).unwrap();
        assert_eq!(bytes.decode(&ids(&file)).unwrap(), text.as_bytes());
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3, "the copy has no name");
}

#[test]
fn old_ids_among_new_ones() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, ids: Vec<u32>| {
        let path = dir.path().join(name);
        crate::text::dataset::write(&path, &ids).unwrap();
        TokenFile::open(&path).unwrap()
    };
    let (new, old) = (file("new", (0..100).collect()), file("old", (1000..1050).collect()));
    let path = dir.path().join("mixed");
    let (mixed, count) = mix(&new, &old, 0.25, 10, &path).unwrap();
    assert_eq!((mixed.len(), count), (130, 30));
    let all = ids(&mixed);
    assert_eq!(all[25..35], (1000..1010).collect::<Vec<u32>>());
    assert_eq!(all[95..105], (1040..1050).collect::<Vec<u32>>());
    let kept: Vec<u32> = all.into_iter().filter(|&id| id < 1000).collect();
    assert_eq!(kept, (0..100).collect::<Vec<u32>>());
    // More than there is.
    assert_eq!(mix(&new, &old, 0.9, 20, &path).unwrap().1, 40);
    assert!(mix(&new, &old, 1.0, 10, &path).is_err() && mix(&new, &old, 0.5, 0, &path).is_err());
}
