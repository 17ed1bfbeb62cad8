//! Finding and reading text files.

use super::decode::{self, Encoding};
use crate::error::{Error, Result};
use crate::limits::MAX_DOCUMENT_BYTES;
use crate::log;
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
/// those, which may never end, up to [`MAX_DOCUMENT_BYTES`].
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(Error::io(path))?;
    let metadata = file.metadata().map_err(Error::io(path))?;
    let limit = if metadata.is_file() { limit } else { limit.min(MAX_DOCUMENT_BYTES) };
    let expected = metadata.len();
    let too_long = || Error::file(path, format!("is longer than {limit} bytes"));
    if expected > limit {
        return Err(too_long());
    }
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(expected as usize + 1)
        .map_err(|_| Error::Memory { what: "a file", bytes: expected as usize })?;
    let mut limited = file.take(limit.saturating_add(1));
    limited.read_to_end(&mut bytes).map_err(Error::io(path))?;
    if bytes.len() as u64 > limit {
        return Err(too_long());
    }
    Ok(bytes)
}

/// [`read`] for text: UTF-16 and UTF-32 become UTF-8, a byte order mark is dropped.
pub fn read_decoded(path: &Path, limit: u64) -> Result<Vec<u8>> {
    decode::decode(read(path, limit)?).map_err(|problem| Error::file(path, problem))
}

/// [`read_decoded`], in which NUL bytes, which no C string can hold, become spaces.
pub fn read_text(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = read_decoded(path, limit)?;
    bytes.iter_mut().filter(|b| **b == 0).for_each(|b| *b = b' ');
    Ok(bytes)
}

/// The text files of a directory and of everything below it, in byte order of their paths. Hidden
/// directories are entered, hidden files and those that look binary are left out. Each file comes
/// once, under the first of its paths, and no directory is entered twice, whatever links there are.
pub fn text_files(directory: &Path) -> Result<Vec<PathBuf>> {
    fs::read_dir(directory).map_err(Error::io(directory))?;
    let mut entered = HashSet::new();
    let mut found = Vec::new();
    let walk =
        WalkDir::new(directory).follow_links(true).sort_by_file_name().into_iter().filter_entry(
            |entry| match entry.metadata() {
                Ok(m) if m.is_dir() => entered.insert((m.dev(), m.ino())),
                _ => true,
            },
        );
    for entry in walk {
        let entry = match entry {
            Ok(entry) => entry,
            Err(e) => {
                // A link to a directory that the walk is in: entered already.
                if e.loop_ancestor().is_none() {
                    log::warn(&format!("left out: {e}"));
                }
                continue;
            }
        };
        let is_text = !is_hidden(entry.path()) && !has_binary_extension(entry.path());
        if entry.file_type().is_file()
            && is_text
            && let Ok(m) = entry.metadata()
        {
            found.push((entry.into_path(), (m.dev(), m.ino())));
        }
    }
    found.sort_by(|(a, _), (b, _)| a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes()));
    let mut taken = HashSet::new();
    found.retain(|&(_, inode)| taken.insert(inode));
    let paths = found.into_iter().map(|(path, _)| path);
    Ok(paths.filter(|path| !begins_binary(path)).collect())
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
        text_files(root).unwrap().iter().map(relative).collect()
    }

    #[test]
    fn which_files_in_which_order() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for name in ["b.txt", "a/z.txt", "a.txt", "a-b", ".hidden/x", "noext", "UP.O", "x.o.txt"] {
            put(root, name, b"text");
        }
        for name in ["x.o", "y.pdf", ".secret", "a/lib.so", "..bin"] {
            put(root, name, b"text");
        }
        put(root, "image.dat", b"PNG\0\0");
        put(root, "empty", b"");
        // Byte order of whole paths: '-' and '.' come before '/'.
        assert_eq!(
            names(root),
            [".hidden/x", "UP.O", "a-b", "a.txt", "a/z.txt", "b.txt", "empty", "noext", "x.o.txt"]
        );
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
