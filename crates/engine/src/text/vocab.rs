//! `vocab.txt`: one `word<TAB>count<LF>` line per id, in id order. No escaping, no header. Behind a list
//! of subwords an empty line and a line of JSON may stand, which say what a list does not. What an
//! editor may have added is taken (a byte order mark, UTF-16, CR LF, empty lines at the end); what
//! would move an id is an error that names the line.

use crate::error::{Error, Result};
use crate::limits::MAX_TEXT_BYTES;
use crate::system::atomic;
use crate::text::{SPECIALS, files};
use std::collections::HashMap;
use std::path::Path;

/// One line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The word's bytes.
    pub word: &'a [u8],
    /// How often the text held it; larger counts than fit are the largest, negative ones 0.
    pub count: u32,
}

/// Reads a file, to be taken apart by [`parse`].
pub fn read(path: &Path) -> Result<Vec<u8>> {
    files::read_decoded(path, MAX_TEXT_BYTES)
}

/// A file in two: the list, and the line of JSON behind it, if there is one.
pub fn parts(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    let whole = text.trim_ascii_end();
    let start = whole.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
    let (list, last) = whole.split_at(start);
    let empty_before = list.ends_with(b"\n\n") || list.ends_with(b"\n\r\n");
    if empty_before && last.starts_with(b"{") { (list, Some(last)) } else { (text, None) }
}

/// Takes a list apart: entry i stands on line i + 1. The last TAB of a line separates, so that any
/// word without a line feed can be read. A NUL byte can't stand in a C string: such a file is
/// refused.
pub fn parse<'a>(path: &Path, text: &'a [u8]) -> Result<Vec<Entry<'a>>> {
    let mut entries = Vec::new();
    let mut empty = None;
    for (number, line) in (1..).zip(text.split(|&b| b == b'\n')) {
        let fail = |problem| Err(Error::file(path, format!("line {number} {problem}")));
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            empty = empty.or(Some(number));
            continue;
        }
        if let Some(empty) = empty {
            let problem = format!("line {empty} is empty: every line of a vocabulary is an id");
            return Err(Error::file(path, problem));
        }
        if line.contains(&0) {
            return fail("holds a NUL byte: not a vocabulary".to_string());
        }
        let Some(tab) = line.iter().rposition(|&b| b == b'\t') else {
            return fail("has no TAB: not of the form word<TAB>count".to_string());
        };
        let Some(count) = parse_count(&line[tab + 1..]) else {
            let count: String =
                String::from_utf8_lossy(&line[tab + 1..]).chars().take(40).collect();
            return fail(format!("has '{count}' for a count: not of the form word<TAB>count"));
        };
        entries
            .try_reserve(1)
            .map_err(|_| Error::Memory { what: "the vocabulary", bytes: text.len() })?;
        entries.push(Entry { word: &line[..tab], count });
    }
    Ok(entries)
}

/// The first entry whose word stands further up, and its place there. Empty words, which are slots
/// without a word, may repeat.
pub fn repeated(entries: &[Entry]) -> Result<Option<(usize, usize)>> {
    let mut places: HashMap<&[u8], usize> = HashMap::new();
    places
        .try_reserve(entries.len())
        .map_err(|_| Error::Memory { what: "the vocabulary", bytes: size_of_val(entries) })?;
    for (place, entry) in entries.iter().enumerate().filter(|(_, entry)| !entry.word.is_empty()) {
        if let Some(first) = places.insert(entry.word, place) {
            return Ok(Some((first, place)));
        }
    }
    Ok(None)
}

/// The first special word that does not stand at its place: the word and its entry, `None` where
/// it is missing. `None` for a list that has no special words at all.
pub fn misplaced_special(entries: &[Entry]) -> Option<(&'static [u8], Option<usize>)> {
    let place = |special: &[u8]| entries.iter().position(|entry| entry.word == special);
    let places = SPECIALS.map(place);
    if places.iter().all(Option::is_none) {
        return None;
    }
    (0..)
        .zip(places)
        .find(|&(id, place)| place != Some(id))
        .map(|(id, place)| (SPECIALS[id], place))
}

/// The error of [`misplaced_special`], if there is one.
pub fn check_specials(path: &Path, entries: &[Entry]) -> Result<()> {
    let Some((special, place)) = misplaced_special(entries) else { return Ok(()) };
    let special = String::from_utf8_lossy(special);
    let problem = match place {
        Some(place) => format!("line {} holds {special}, which is no place of it", place + 1),
        None => format!("lacks {special}"),
    };
    Err(Error::file(path, format!("{problem}: the special words stand on lines 1 to 5")))
}

/// The words and counts of a file that was read, in id order. A word that occurs twice would have
/// one id only: such a file is refused.
pub fn parse_unique<'a>(path: &Path, text: &'a [u8]) -> Result<Vec<Entry<'a>>> {
    let entries = parse(path, text)?;
    check_unique(path, &entries)?;
    Ok(entries)
}

/// The error of [`parse_unique`], if a word stands twice.
pub fn check_unique(path: &Path, entries: &[Entry]) -> Result<()> {
    match repeated(entries)? {
        Some((first, second)) => Err(repeats(path, second, entries[second].word, first)),
        None => Ok(()),
    }
}

/// That the word of an id is that of an earlier one.
pub fn repeats(path: &Path, id: usize, word: &[u8], earlier: usize) -> Error {
    let word: String = String::from_utf8_lossy(word).chars().take(40).collect();
    Error::file(path, format!("line {} repeats '{word}' of line {}", id + 1, earlier + 1))
}

/// A decimal number between blanks; larger ones than fit are the largest, negative ones 0.
fn parse_count(text: &[u8]) -> Option<u32> {
    let text = text.trim_ascii();
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |n: u32, b: &u8| n.saturating_mul(10).saturating_add(u32::from(b - b'0'));
    Some(if digits.len() < text.len() { 0 } else { digits.iter().fold(0, add) })
}

/// Writes a file, whole or not at all: the list and, where it does not say all, the line of JSON behind it.
///
/// # Errors
/// The file can't be written; a word holds a tab, a line feed or a NUL byte.
pub fn write<'a, I>(path: &Path, entries: I, more: Option<&str>) -> Result<()>
where
    I: Iterator<Item = (&'a [u8], u64)> + Clone,
{
    for (id, (word, _)) in entries.clone().enumerate() {
        let name = word.iter().find_map(|byte| match byte {
            b'\t' => Some("tab"),
            b'\n' => Some("line feed"),
            0 => Some("NUL byte"),
            _ => None,
        });
        if let Some(name) = name {
            let problem =
                format!("the word of id {id} contains a {name}, which the format can't hold");
            return Err(Error::file(path, problem));
        }
    }
    atomic::write(path, |out| {
        for (word, count) in entries {
            out.write_all(word)?;
            writeln!(out, "\t{count}")?;
        }
        match more {
            Some(more) => writeln!(out, "\n{more}"),
            None => Ok(()),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &[u8]) -> Vec<(&[u8], u32)> {
        let entries = parse(Path::new("v"), text).unwrap();
        entries.iter().map(|e| (e.word, e.count)).collect()
    }

    fn refused(text: &str) -> String {
        parse_unique(Path::new("v"), text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn lines() {
        assert_eq!(parsed(b""), []);
        assert_eq!(parsed(b"<PAD>\t0\nint\t7"), [(&b"<PAD>"[..], 0), (b"int", 7)]);
        assert_eq!(parsed(b"a\tb\t3\n\t4\n"), [(&b"a\tb"[..], 3), (b"", 4)]);
        assert_eq!(parsed(b"a\t3\r\nb\t4\r\n\r\n\n"), [(&b"a"[..], 3), (b"b", 4)]);
    }

    #[test]
    fn lines_that_would_move_ids_are_named() {
        assert!(refused("a\t1\nno tab\nx\t1\n").starts_with("v: line 2 has no TAB"));
        assert!(refused("a\t1\n\nx\t1\n").starts_with("v: line 2 is empty"));
        assert!(refused("a\t1\r\n\r\nx\t1\r\n").starts_with("v: line 2 is empty"));
        assert!(refused("a\tb\n").starts_with("v: line 1 has 'b' for a count"));
        assert!(refused("a\t\n").starts_with("v: line 1 has '' for a count"));
        assert_eq!(refused("a\t1\nb\t1\na\t2\n"), "v: line 3 repeats 'a' of line 1");
        assert!(parse_unique(Path::new("v"), b"\t0\n\t0\n").is_ok());
    }

    #[test]
    fn special_words_have_their_places() {
        let check = |text: &str| {
            let entries = parse(Path::new("v"), text.as_bytes()).unwrap();
            check_specials(Path::new("v"), &entries).map_err(|e| e.to_string())
        };
        let all = "<PAD>\t0\n<UNK>\t0\n<BOS>\t0\n<EOS>\t0\n<MASK>\t0\n";
        assert_eq!(check(all), Ok(()));
        assert_eq!(check("a\t1\nb\t1\n"), Ok(()));
        let lost = check(&all.replace("<BOS>\t0\n", "")).unwrap_err();
        assert!(lost.starts_with("v: lacks <BOS>"), "{lost}");
        let moved = check(&format!("a\t1\n{all}")).unwrap_err();
        assert!(moved.starts_with("v: line 2 holds <PAD>"), "{moved}");
    }

    #[test]
    fn counts() {
        for (text, count) in
            [("12", 12), (" 12 ", 12), ("-3", 0), ("99999999999999999999", u32::MAX)]
        {
            assert_eq!(parsed(format!("w\t{text}\n").as_bytes())[0].1, count, "{text:?}");
        }
    }

    #[test]
    fn binary_files_are_refused() {
        let error = parse(Path::new("v"), b"a\t1\nb\0\t1\n").unwrap_err();
        assert_eq!(error.to_string(), "v: line 2 holds a NUL byte: not a vocabulary");
    }

    #[test]
    fn what_could_not_be_read_back_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vocab.txt");
        for (word, name) in [(b"a\tb", "tab"), (b"a\nb", "line feed"), (b"a\0b", "NUL byte")] {
            let words = [(&b"a"[..], 3), (word, 1)].into_iter();
            let error = write(&path, words, None).unwrap_err().to_string();
            assert!(error.contains(&format!("the word of id 1 contains a {name}")), "{error}");
            assert!(!path.exists());
        }
    }

    #[test]
    fn whole_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vocab.txt");
        write(&path, [(&b"a"[..], 3), (b"", u64::from(u32::MAX))].into_iter(), None).unwrap();
        let text = read(&path).unwrap();
        let words = [Entry { word: b"a", count: 3 }, Entry { word: b"", count: u32::MAX }];
        assert_eq!(parse_unique(&path, &text).unwrap(), words);
        // As an editor of Windows writes it.
        let wide = String::from_utf8(text).unwrap().replace('\n', "\r\n");
        let wide: Vec<u8> = "\u{FEFF}"
            .encode_utf16()
            .chain(wide.encode_utf16())
            .flat_map(u16::to_le_bytes)
            .collect();
        std::fs::write(&path, wide).unwrap();
        assert_eq!(parse_unique(&path, &read(&path).unwrap()).unwrap(), words);
    }

    #[test]
    fn more_than_a_list() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vocab.txt");
        write(&path, [(&b"a"[..], 3)].into_iter(), Some(r#"{"b":"c"}"#)).unwrap();
        let text = String::from_utf8(read(&path).unwrap()).unwrap();
        assert_eq!(text, "a\t3\n\n{\"b\":\"c\"}\n");
        for text in [text.clone(), text.replace('\n', "\r\n") + "\r\n"] {
            let (list, more) = parts(text.as_bytes());
            assert_eq!(more, Some(&br#"{"b":"c"}"#[..]), "{text:?}");
            assert_eq!(parsed(list), [(&b"a"[..], 3)]);
            assert!(refused(&text).starts_with("v: line 2 is empty"));
        }
        // Words may begin so, too.
        for text in ["{\t3\n", "a\t3\n{\t4\n", "", "\n", "{"] {
            assert_eq!(parts(text.as_bytes()), (text.as_bytes(), None));
        }
    }

    #[test]
    fn words_that_the_format_cannot_hold() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vocab.txt");
        for word in ["a\tb", "a\nb"] {
            let words = [("fine", 1), (word, 2)];
            let entries = words.iter().map(|(w, n)| (w.as_bytes(), *n));
            let error = write(&path, entries, None).unwrap_err().to_string();
            assert!(error.contains("the word of id 1 contains a"), "{error}");
            assert!(!path.exists());
        }
    }
}
