//! Replacing a file so that a crash at any moment leaves the old content or the new one.

use crate::error::{Error, Result};
use crate::limits::MAX_SYMLINKS;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Bytes collected before a write to the system; matrices are larger and go past the buffer.
const BUFFER: usize = 256 * 1024;

/// Makes what `write` writes the content of the file at `path`, all of it or nothing: a temporary
/// file in the same directory, flushed to the disk, renamed over the old one. After an error the
/// old file is as it was and no temporary file is left.
///
/// An existing file keeps its permissions, and one that the process may not write is not
/// replaced; where `path` is a symbolic link, the file that it names is written.
pub fn write(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    replace(path, write).map_err(Error::io(path))
}

fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let target = follow(path)?;
    let directory = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let old = existing_permissions(&target)?;
    // Made with the mode that fopen gives a new file, umask applied, not with a private one.
    let file = tempfile::Builder::new()
        .prefix(".cllm-")
        .suffix(".tmp")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(directory)?;

    let mut buffered = BufWriter::with_capacity(BUFFER, file.as_file());
    write(&mut buffered)?;
    buffered.into_inner().map_err(|e| e.into_error())?;
    if let Some(permissions) = old {
        file.as_file().set_permissions(permissions)?;
    }
    file.as_file().sync_all()?;
    file.persist(&target).map_err(|e| e.error)?;
    sync_directory(directory)
}

/// The permissions of the file to be replaced, if there is one. It must be an ordinary file that
/// the process could have written in place.
fn existing_permissions(target: &Path) -> io::Result<Option<Permissions>> {
    let metadata = match std::fs::metadata(target) {
        Ok(metadata) => metadata,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    if metadata.is_dir() {
        return Err(io::Error::new(ErrorKind::IsADirectory, "is a directory, not a file"));
    }
    if !metadata.is_file() {
        return Err(io::Error::new(
            ErrorKind::InvalidInput,
            "is not an ordinary file, which alone can be replaced",
        ));
    }
    OpenOptions::new().write(true).open(target)?;
    Ok(Some(metadata.permissions()))
}

/// The path at the end of the symbolic links that start at `path`; it need not exist.
fn follow(path: &Path) -> io::Result<PathBuf> {
    if path.file_name().is_none() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "is not the name of a file"));
    }
    let mut target = path.to_path_buf();
    for _ in 0..MAX_SYMLINKS {
        match std::fs::read_link(&target) {
            // A relative link counts from its own directory; `join` takes an absolute one as is.
            Ok(next) => target = target.parent().unwrap_or(Path::new("")).join(next),
            // EINVAL: not a link.
            Err(e) if matches!(e.kind(), ErrorKind::InvalidInput | ErrorKind::NotFound) => {
                return Ok(target);
            }
            Err(e) => return Err(e),
        }
    }
    Err(io::Error::new(ErrorKind::InvalidInput, "is a chain of too many symbolic links"))
}

/// Makes the rename durable. File systems that know no such thing, and directories that may be
/// written but not read, are no failure: the file itself is complete.
fn sync_directory(directory: &Path) -> io::Result<()> {
    let synced = File::open(directory).and_then(|d| d.sync_all());
    match synced {
        Err(e)
            if !matches!(
                e.kind(),
                ErrorKind::InvalidInput | ErrorKind::Unsupported | ErrorKind::PermissionDenied
            ) =>
        {
            Err(e)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn put(path: &Path, text: &str) -> Result<()> {
        write(path, |w| w.write_all(text.as_bytes()))
    }

    #[test]
    fn a_new_file_and_its_replacement() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        put(&path, "one").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        put(&path, "two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(names(dir.path()), ["a"]);
    }

    #[test]
    fn permissions_are_those_of_fopen_or_of_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        put(&path, "one").unwrap();
        let plain = dir.path().join("b");
        File::create(&plain).unwrap();
        let mode = |p: &Path| fs::metadata(p).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&path), mode(&plain));
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        put(&path, "two").unwrap();
        assert_eq!(mode(&path), 0o640);
    }

    #[test]
    fn after_an_error_the_old_file_stands_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        put(&path, "one").unwrap();
        let error = write(&path, |w| {
            w.write_all(b"half")?;
            Err(io::Error::from_raw_os_error(libc::ENOSPC))
        })
        .unwrap_err();
        assert!(error.to_string().contains("No space left"), "{error}");
        assert!(error.to_string().contains("/a"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        assert_eq!(names(dir.path()), ["a"]);
        let panicked = std::panic::catch_unwind(|| write(&path, |_| panic!("in the writer")));
        assert!(panicked.is_err());
        assert_eq!(names(dir.path()), ["a"]);
    }

    #[test]
    fn links_are_followed() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        let file = dir.path().join("sub/real");
        let link = dir.path().join("link");
        symlink("sub/real", &link).unwrap();
        // Once to a file that is not there yet, once to the one that the first made.
        for text in ["one", "two"] {
            put(&link, text).unwrap();
            assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
        }
        let ring = dir.path().join("ring");
        symlink("ring", &ring).unwrap();
        assert!(put(&ring, "x").is_err());
    }

    #[test]
    fn what_is_not_a_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(put(dir.path(), "x").is_err());
        assert!(put(Path::new("/dev/full"), "x").is_err());
        assert!(put(&dir.path().join("no/such/directory"), "x").is_err());
        assert!(put(Path::new("/"), "x").is_err());
        assert!(put(Path::new(".."), "x").is_err());
        assert!(names(dir.path()).is_empty());
    }
}
