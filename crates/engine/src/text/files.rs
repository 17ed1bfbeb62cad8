//! Finding and reading text files.

use super::decode::{self, Encoding};
use crate::error::{Error, Result};
use crate::limits::{MAX_TEXT_BYTES, max_document_bytes};
use crate::log::{self, Level};
use crate::order::sort_by;
use crate::text::outputs;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use walkdir::WalkDir;

/// Endings of files that are no text.
const BINARY_EXTENSIONS: [&[u8]; 10] =
    [b"o", b"so", b"a", b"bin", b"exe", b"dll", b"png", b"jpg", b"gif", b"pdf"];
/// How far into a file a NUL byte is looked for.
const BINARY_PROBE: u64 = 8192;

/// The whole file, if it has at most `limit` bytes. Reads until the end, so that pipes work too;
/// those, which may never end, up to [`MAX_TEXT_BYTES`].
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    read_up_to(path, limit, "")
}

/// [`read`]; `way` says behind the error of a file that is too long what can be done.
fn read_up_to(path: &Path, limit: u64, way: &str) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(Error::io(path))?;
    let metadata = file.metadata().map_err(Error::io(path))?;
    let limit = if metadata.is_file() { limit } else { limit.min(MAX_TEXT_BYTES) };
    let expected = metadata.len();
    let too_long = || Error::file(path, format!("is longer than {limit} bytes{way}"));
    if expected > limit {
        return Err(too_long());
    }
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(expected as usize + 1)
        .map_err(|_| Error::memory("a file", expected as usize))?;
    let mut limited = file.take(limit.saturating_add(1));
    limited.read_to_end(&mut bytes).map_err(Error::io(path))?;
    if bytes.len() as u64 > limit {
        return Err(too_long());
    }
    Ok(bytes)
}

/// [`read`] for a text: UTF-16 and UTF-32 become UTF-8, a byte order mark is dropped.
pub fn read_decoded(path: &Path, limit: u64) -> Result<Vec<u8>> {
    decode::decode(read(path, limit)?).map_err(|problem| Error::file(path, problem))
}

/// [`read_decoded`], in which NUL bytes, which no C string can hold, become spaces.
pub fn read_text(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let way = ": a collection of texts, as train_model makes one, takes any length";
    let bytes = read_up_to(path, limit, way)?;
    let mut bytes = decode::decode(bytes).map_err(|problem| Error::file(path, problem))?;
    bytes.iter_mut().filter(|b| **b == 0).for_each(|b| *b = b' ');
    Ok(bytes)
}

/// The whole file as the text of one document.
pub fn read_document(path: &Path) -> Result<Vec<u8>> {
    read_text(path, max_document_bytes())
}

/// What a directory holds.
#[derive(Debug, Default)]
pub struct Found {
    /// Its text files, in byte order of their paths.
    pub files: Vec<PathBuf>,
    /// What is no text to train on, in the same order. Of a directory that is left out nothing else
    /// is listed.
    pub left_out: Vec<LeftOut>,
}

/// A file or directory that is no text to train on.
#[derive(Debug)]
pub struct LeftOut {
    /// Where it is.
    pub path: PathBuf,
    /// Why; where a rule says so, it begins with "is ".
    pub reason: String,
    /// Whether a rule says so; else it could not be read.
    pub by_rule: bool,
}

impl LeftOut {
    fn rule(path: PathBuf, reason: impl Into<String>) -> Self {
        Self { path, reason: reason.into(), by_rule: true }
    }
}

/// The text files of a directory and of everything below it. Left out are hidden files and hidden
/// directories, files that look binary, what training runs wrote ([`outputs`]), and directories
/// that can't be read; a file that can't be read is left to its reader. Each file comes once, under
/// the first of its paths, and no directory is entered twice, whatever links there are.
pub fn text_files(directory: &Path) -> Result<Found> {
    fs::read_dir(directory).map_err(Error::io(directory))?;
    let mut entered = HashSet::new();
    let (mut found, mut left_out) = (Vec::new(), Vec::new());
    let mut walk = WalkDir::new(directory).follow_links(true).sort_by_file_name().into_iter();
    while let Some(entry) = walk.next() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(e) => {
                // A link to a directory that the walk is in: entered already.
                if e.loop_ancestor().is_none() {
                    let path = e.path().unwrap_or(directory).to_path_buf();
                    left_out.push(LeftOut { path, reason: reason(&e), by_rule: false });
                }
                continue;
            }
        };
        // The directory itself may have any name.
        let hidden = entry.depth() > 0 && is_hidden(entry.path());
        if entry.file_type().is_dir() {
            let twice = entry.metadata().is_ok_and(|m| !entered.insert((m.dev(), m.ino())));
            if hidden {
                left_out.push(LeftOut::rule(entry.path().to_path_buf(), "is hidden"));
            }
            if hidden || twice {
                walk.skip_current_dir();
            }
        } else if entry.file_type().is_file()
            && let Ok(m) = entry.metadata()
        {
            found.push((entry.into_path(), (m.dev(), m.ino()), hidden));
        } else {
            left_out.push(LeftOut::rule(entry.into_path(), "is not an ordinary file"));
        }
    }
    let order = |a: &Path, b: &Path| a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes());
    sort_by(&mut found, |(a, ..), (b, ..)| order(a, b));
    let mut taken = HashSet::new();
    let mut files = Vec::new();
    for (path, inode, hidden) in found {
        match why_not(&path, hidden) {
            Some(reason) => left_out.push(LeftOut::rule(path, reason)),
            None if taken.insert(inode) => files.push(path),
            None => {}
        }
    }
    sort_by(&mut left_out, |a, b| order(&a.path, &b.path));
    Ok(Found { files, left_out })
}

/// Why an ordinary file is no text to train on; `None` if it is.
fn why_not(path: &Path, hidden: bool) -> Option<String> {
    if hidden {
        return Some("is hidden".into());
    }
    if let Some(kind) = outputs::kind(path) {
        return Some(format!("is {kind}"));
    }
    (has_binary_extension(path) || begins_binary(path)).then(|| "is binary".into())
}

/// Why a directory could not be listed or a link not be followed.
fn reason(error: &walkdir::Error) -> String {
    error.io_error().map_or_else(|| error.to_string(), ToString::to_string)
}

/// Says what was left out: a line each of the first few, then how many there are besides. What
/// could not be read is a warning, the rest worth knowing.
pub fn tell_left_out(left_out: &[LeftOut]) {
    const LINES: usize = 8;
    for (by_rule, level) in [(false, Level::Warning), (true, Level::Info)] {
        let those = left_out.iter().filter(|entry| entry.by_rule == by_rule);
        for LeftOut { path, reason, .. } in those.clone().take(LINES) {
            log::message(level, &format!("left out: {}: {reason}", path.display()));
        }
        if let Some(more @ 1..) = those.count().checked_sub(LINES) {
            log::message(level, &format!("left out: {more} more"));
        }
    }
}

fn name(path: &Path) -> &[u8] {
    path.file_name().map_or(b"", OsStrExt::as_bytes)
}

fn is_hidden(path: &Path) -> bool {
    name(path).starts_with(b".")
}

fn has_binary_extension(path: &Path) -> bool {
    let name = name(path);
    name.iter()
        .rposition(|&b| b == b'.')
        .is_some_and(|dot| BINARY_EXTENSIONS.contains(&&name[dot + 1..]))
}

/// Whether the file begins as no text does: with a NUL byte that is not half of a UTF-16 character.
/// One that can't be read is left to its reader.
fn begins_binary(path: &Path) -> bool {
    let mut head = Vec::new();
    File::open(path)
        .and_then(|file| file.take(BINARY_PROBE).read_to_end(&mut head))
        .is_ok_and(|_| head.contains(&0) && decode::encoding(&head) == Encoding::Bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn put(root: &Path, name: &str, content: &[u8]) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn names(root: &Path) -> Vec<String> {
        let relative = |p: &PathBuf| p.strip_prefix(root).unwrap().to_str().unwrap().to_string();
        text_files(root).unwrap().files.iter().map(relative).collect()
    }

    fn left_out(root: &Path) -> Vec<(String, String)> {
        let relative = |p: &Path| p.strip_prefix(root).unwrap().to_str().unwrap().to_string();
        let left_out = text_files(root).unwrap().left_out;
        left_out.iter().map(|l| (relative(&l.path), l.reason.clone())).collect()
    }

    #[test]
    fn which_files_in_which_order() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for name in ["b.txt", "a/z.txt", "a.txt", "a-b", "noext", "UP.O", "x.o.txt"] {
            put(root, name, b"text");
        }
        for name in ["x.o", "y.pdf", ".secret", "a/lib.so", "..bin", ".git/config", ".git/a/b"] {
            put(root, name, b"text");
        }
        put(root, "image.dat", b"PNG\0\0");
        put(root, "empty", b"");
        // Byte order of whole paths: '-' and '.' come before '/'.
        assert_eq!(
            names(root),
            ["UP.O", "a-b", "a.txt", "a/z.txt", "b.txt", "empty", "noext", "x.o.txt"]
        );
        let names: Vec<_> = left_out(root).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["..bin", ".git", ".secret", "a/lib.so", "image.dat", "x.o", "y.pdf"]);
        // A hidden directory that is asked for by its name is read.
        let hidden = text_files(&root.join(".git")).unwrap();
        assert_eq!(hidden.files, [root.join(".git/a/b"), root.join(".git/config")]);
    }

    #[test]
    fn what_was_left_out_is_told_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        put(root, "run/vocab.txt", b"<PAD>\t0\n<UNK>\t0\n<BOS>\t0\n<EOS>\t0\n<MASK>\t0\na\t1\n");
        put(root, "run/final_model.cllm", b"CLLM\x01\0\0\0");
        put(root, "text", b"text");
        symlink("nowhere", root.join("link")).unwrap();
        let told = left_out(root);
        assert_eq!(told[0].0, "link");
        assert!(told[0].1.contains("No such file"), "{}", told[0].1);
        assert!(told[1].1.starts_with("is a model"), "{}", told[1].1);
        assert_eq!(told[2], ("run/vocab.txt".into(), "is a vocabulary".into()));
        assert_eq!(told.len(), 3);
        assert_eq!(names(root), ["text"]);
    }

    #[test]
    fn texts_of_windows_editors() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        put(root, "a.txt", b"\xEF\xBB\xBFthe cat");
        put(root, "b.txt", b"\xFF\xFEt\0h\0e\0\r\0\n\0");
        put(root, "c.txt", b"t\0h\0e\0 \0c\0a\0t\0");
        assert_eq!(names(root), ["a.txt", "b.txt", "c.txt"]);
        let text = |name| String::from_utf8(read_text(&root.join(name), 99).unwrap()).unwrap();
        assert_eq!(["a.txt", "b.txt", "c.txt"].map(text), ["the cat", "the\r\n", "the cat"]);
        put(root, "d.txt", &[0; 40]);
        let error = read_text(&root.join("d.txt"), 99).unwrap_err().to_string();
        assert!(error.contains("d.txt: is no text: 40 of 40 bytes are NUL"), "{error}");
    }

    #[test]
    fn links_are_followed_once() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        put(root, "d/file", b"text");
        symlink("..", root.join("d/up")).unwrap();
        symlink("d", root.join("again")).unwrap();
        symlink("d/file", root.join("c")).unwrap();
        symlink("nowhere", root.join("dangling")).unwrap();
        fs::hard_link(root.join("d/file"), root.join("z")).unwrap();
        assert_eq!(names(root).len(), 1);
        assert_eq!(names(root), ["again/file"]);
    }

    #[test]
    fn not_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "file", b"");
        assert!(text_files(&dir.path().join("file")).is_err());
        assert!(text_files(&dir.path().join("missing")).is_err());
    }

    #[test]
    fn reading_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "f", b"ab\0cd");
        let path = dir.path().join("f");
        assert_eq!(read(&path, 5).unwrap(), b"ab\0cd");
        assert_eq!(read_text(&path, 5).unwrap(), b"ab cd");
        assert!(read(&path, 4).unwrap_err().to_string().contains("longer than 4"));
        // A file that claims to be empty and never ends.
        assert!(read(Path::new("/dev/zero"), 100).is_err());
        assert!(read(dir.path(), 100).is_err());
    }
}
