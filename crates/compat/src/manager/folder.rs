//! Names of models and their files.

use cllm_engine::error::{Error, Result};
use cllm_engine::order::sort_by;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Longest name in bytes.
pub const MAX_NAME: usize = 255;
/// Longest path in bytes.
pub const MAX_PATH: usize = 1023;
/// What the name of a model's file ends in.
const SUFFIX: &[u8] = b".cllm";

/// A name as messages show it.
pub(super) fn shown(name: &[u8]) -> String {
    format!("'{}'", String::from_utf8_lossy(name))
}

/// Refuses names that would lead out of the folder, or that no file can have.
///
/// # Errors
/// The name is empty, longer than [`MAX_NAME`], `.` or `..`, or has a `/` in it.
pub fn check_name(name: &[u8]) -> Result<()> {
    let fits = (1..=MAX_NAME).contains(&name.len());
    if fits && !name.contains(&b'/') && name != b"." && name != b".." {
        return Ok(());
    }
    Err(Error::argument("name", shown(name), "1 to 255 bytes without '/', not '.' or '..'"))
}

/// Refuses a path that has no place in the fields of the old structs.
///
/// # Errors
/// It is longer than [`MAX_PATH`].
pub fn check_path(path: &Path) -> Result<()> {
    let len = path.as_os_str().len();
    if len > MAX_PATH {
        return Err(Error::argument("length of the path", len, "at most 1023 bytes"));
    }
    Ok(())
}

/// The file of a model: `<folder>/<name>.cllm`.
///
/// # Errors
/// As [`check_name`] and [`check_path`].
pub fn file_of(folder: &Path, name: &[u8]) -> Result<PathBuf> {
    check_name(name)?;
    let mut file = name.to_vec();
    file.extend(SUFFIX);
    let path = folder.join(OsStr::from_bytes(&file));
    check_path(&path)?;
    Ok(path)
}

/// Makes the folder, readable for all, where there is none; not its parents.
///
/// # Errors
/// Its path is too long; it can't be made; something else is there.
pub fn make(folder: &Path) -> Result<()> {
    check_path(folder)?;
    if folder.is_dir() {
        return Ok(());
    }
    DirBuilder::new().mode(0o755).create(folder).map_err(Error::io(folder))
}

/// Names and paths of the model files in a folder, by name in the order of its bytes.
///
/// # Errors
/// The folder can't be read.
pub fn files(folder: &Path) -> Result<Vec<(Vec<u8>, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io(folder))? {
        let file = entry.map_err(Error::io(folder))?.file_name();
        if let Some(name) = file.as_bytes().strip_suffix(SUFFIX) {
            found.push((name.to_vec(), folder.join(&file)));
        }
    }
    sort_by(&mut found, Ord::cmp);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_the_folder() {
        let folder = Path::new("./models");
        assert_eq!(file_of(folder, b"a b.c").unwrap(), Path::new("./models/a b.c.cllm"));
        assert_eq!(file_of(folder, b"\xff").unwrap().as_os_str().as_bytes(), b"./models/\xff.cllm");
        assert_eq!(file_of(folder, b"...").unwrap(), Path::new("./models/....cllm"));
        for name in [&b""[..], b".", b"..", b"../x", b"a/b", b"/", &[b'x'; 256]] {
            assert!(file_of(folder, name).is_err(), "{name:?}");
        }
        assert!(check_name(&[b'x'; 255]).is_ok());
    }

    #[test]
    fn paths_are_not_cut() {
        let folder = "d".repeat(1023 - "/x.cllm".len());
        assert_eq!(file_of(Path::new(&folder), b"x").unwrap().as_os_str().len(), 1023);
        assert!(file_of(Path::new(&folder), b"xy").is_err());
        assert!(make(Path::new(&"d".repeat(1024))).is_err());
    }
}
