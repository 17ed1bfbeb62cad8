//! The default text: what lies on a Unix machine anyway, beside texts that are made. Two machines
//! have different files, so only the ratios of one run can be compared.

use crate::contenders::Result;
use crate::texts;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A document is a part of a text, of this many bytes.
const DOCUMENT: usize = 64 << 10;
/// Kinds and their shares in percent.
const KINDS: [(&str, usize); 9] = [
    ("Python", 26),
    ("manuals", 18),
    ("documentation", 10),
    ("Rust", 10),
    ("logs", 12),
    ("Chinese", 12),
    ("chat", 7),
    ("binary", 3),
    ("prose", 2),
];

/// Documents of one kind.
pub struct Kind {
    pub name: &'static str,
    pub documents: Vec<Vec<u8>>,
}

/// About `bytes` of texts. Where the machine has too little of a kind, there is more made prose.
pub fn mixed(bytes: usize) -> Result<Vec<Kind>> {
    let mut left = bytes;
    let kind = |(name, share): (&'static str, usize)| {
        let size = if name == "prose" { left } else { bytes / 100 * share };
        let tree = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
        let text = match name {
            "Python" => files(&["/usr/lib/python3", "/usr/lib"], "py", size)?,
            "manuals" => manuals(size)?,
            "documentation" => files(&[tree, "/usr/share/doc"], "md", size)?,
            "Rust" => files(&[&format!("{tree}/crates"), &format!("{tree}/src")], "rs", size)?,
            "binary" => {
                let mut program = std::fs::read(std::env::current_exe()?)?;
                program.truncate(size);
                program
            }
            _ => texts::made(name, size),
        };
        left = left.saturating_sub(text.len());
        let documents = text.chunks(DOCUMENT).map(<[u8]>::to_vec).collect();
        Ok(Kind { name, documents })
    };
    KINDS.into_iter().map(kind).collect()
}

/// Files below a directory whose names end so, in the order of their paths.
fn below(directory: &Path, end: &str, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return;
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "target" && name != "build") {
                below(&path, end, found);
            }
        } else if path.extension().is_some_and(|extension| extension == end) {
            found.push(path);
        }
    }
}

/// `bytes` of the files of some directories, or all there are.
fn files(directories: &[&str], end: &str, bytes: usize) -> Result<Vec<u8>> {
    let mut found = Vec::new();
    directories.iter().for_each(|directory| below(Path::new(directory), end, &mut found));
    let mut text = Vec::new();
    for path in found {
        if text.len() >= bytes {
            break;
        }
        text.extend(std::fs::read(path)?);
    }
    text.truncate(bytes);
    Ok(text)
}

/// `bytes` of the manual's first section, as its authors wrote it.
fn manuals(bytes: usize) -> Result<Vec<u8>> {
    let mut found = Vec::new();
    below(Path::new("/usr/share/man/man1"), "gz", &mut found);
    let mut text = Vec::new();
    for paths in found.chunks(64) {
        if text.len() >= bytes {
            break;
        }
        let mut command = Command::new("gzip");
        let made = command.arg("-dcq").args(paths).stderr(Stdio::null()).output();
        text.extend(made.map(|made| made.stdout).unwrap_or_default());
    }
    text.truncate(bytes);
    Ok(text)
}
