//! `vocab.txt`: one `word<TAB>count<LF>` line per id, in id order. No escaping, no header.

use crate::error::{Error, Result};
use crate::limits::MAX_TEXT_BYTES;
use crate::system::atomic;
use crate::text::files;
use std::path::Path;

/// One line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The word's bytes.
    pub word: &'a [u8],
    /// How often the text held it; larger counts than fit are the largest.
    pub count: u32,
}

/// A file's entries.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct VocabFile<'a> {
    /// In the order of the file: the ids.
    pub entries: Vec<Entry<'a>>,
    /// Lines without a TAB, which are no entries. Empty lines are not counted.
    pub skipped: usize,
}

/// Takes a file apart. The last TAB of a line separates, so that any word without a line feed can
/// be read. A NUL byte can't stand in a C string: such a file is refused.
pub fn parse<'a>(path: &Path, text: &'a [u8]) -> Result<VocabFile<'a>> {
    let mut file = VocabFile::default();
    for (number, line) in text.split(|&b| b == b'\n').enumerate() {
        if line.contains(&0) {
            let problem = format!("line {} holds a NUL byte: not a vocabulary", number + 1);
            return Err(Error::file(path, problem));
        }
        let Some(tab) = line.iter().rposition(|&b| b == b'\t') else {
            file.skipped += usize::from(!line.is_empty());
            continue;
        };
        file.entries
            .try_reserve(1)
            .map_err(|_| Error::Memory { what: "the vocabulary", bytes: text.len() })?;
        file.entries.push(Entry { word: &line[..tab], count: parse_count(&line[tab + 1..]) });
    }
    Ok(file)
}

/// The words and counts of a file, in id order. A line without a TAB would shift every id after it:
/// such a file is refused.
pub fn read_file(path: &Path) -> Result<Vec<(Vec<u8>, u32)>> {
    let text = files::read(path, MAX_TEXT_BYTES)?;
    let file = parse(path, &text)?;
    if file.skipped > 0 {
        let problem = format!("{} lines without a TAB: not a vocabulary", file.skipped);
        return Err(Error::file(path, problem));
    }
    let mut words = Vec::new();
    let count = file.entries.len();
    words
        .try_reserve_exact(count)
        .map_err(|_| Error::Memory { what: "the vocabulary", bytes: text.len() })?;
    words.extend(file.entries.iter().map(|e| (e.word.to_vec(), e.count)));
    Ok(words)
}

/// The number at the beginning of `text`: 0 where there is none or it is negative.
fn parse_count(text: &[u8]) -> u32 {
    text.trim_ascii_start()
        .iter()
        .map_while(|b| b.is_ascii_digit().then(|| u32::from(b - b'0')))
        .fold(0u32, |n, digit| n.saturating_mul(10).saturating_add(digit))
}

/// Writes a file, whole or not at all.
pub fn write<'a, I>(path: &Path, entries: I) -> Result<()>
where
    I: Iterator<Item = (&'a [u8], u64)> + Clone,
{
    for (id, (word, _)) in entries.clone().enumerate() {
        if let Some(byte) = word.iter().find(|b| matches!(b, b'\t' | b'\n')) {
            let name = if *byte == b'\t' { "tab" } else { "line feed" };
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
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &[u8]) -> (Vec<(&[u8], u32)>, usize) {
        let file = parse(Path::new("v"), text).unwrap();
        let entries = file.entries.iter().map(|e| (e.word, e.count)).collect();
        (entries, file.skipped)
    }

    #[test]
    fn lines() {
        assert_eq!(parsed(b"").0, []);
        assert_eq!(parsed(b"<PAD>\t0\nint\t7").0, [(&b"<PAD>"[..], 0), (b"int", 7)]);
        assert_eq!(parsed(b"a\tb\t3\n\t4\n").0, [(&b"a\tb"[..], 3), (b"", 4)]);
        assert_eq!(parsed(b"a\t3\r\n").0, [(&b"a"[..], 3)]);
        assert_eq!(parsed(b"no tab\n\nx\t1\n"), (vec![(&b"x"[..], 1)], 1));
    }

    #[test]
    fn counts() {
        for (text, count) in [
            ("12", 12),
            (" 12", 12),
            ("-3", 0),
            ("", 0),
            ("x", 0),
            ("99999999999999999999", u32::MAX),
        ] {
            assert_eq!(parsed(format!("w\t{text}\n").as_bytes()).0[0].1, count, "{text:?}");
        }
    }

    #[test]
    fn binary_files_are_refused() {
        let error = parse(Path::new("v"), b"a\t1\nb\0\t1\n").unwrap_err();
        assert_eq!(error.to_string(), "v: line 2 holds a NUL byte: not a vocabulary");
    }

    #[test]
    fn whole_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vocab.txt");
        write(&path, [(&b"a"[..], 3), (b"", u64::from(u32::MAX))].into_iter()).unwrap();
        let words = read_file(&path).unwrap();
        assert_eq!(words, [(b"a".to_vec(), 3), (Vec::new(), u32::MAX)]);
        std::fs::write(&path, "a\t3\nno tab\n").unwrap();
        assert!(read_file(&path).is_err());
    }

    #[test]
    fn words_that_the_format_cannot_hold() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vocab.txt");
        for word in ["a\tb", "a\nb"] {
            let words = [("fine", 1), (word, 2)];
            let entries = words.iter().map(|(w, n)| (w.as_bytes(), *n));
            let error = write(&path, entries).unwrap_err().to_string();
            assert!(error.contains("the word of id 1 contains a"), "{error}");
            assert!(!path.exists());
        }
    }
}
