//! Replacing a file so that a crash at any moment leaves the old content or the new one.

use crate::error::{Error, Result};
use crate::limits::MAX_SYMLINKS;
use std::fs::{File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::{self, BufWriter, ErrorKind, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Bytes collected before a write to the system; matrices are larger and go past the buffer.
const BUFFER: usize = 256 * 1024;

/// Makes what `write` writes the content of the file at `path`, all of it or nothing: a temporary
/// file in the same directory, flushed to the disk, renamed over the old one. After an error the
/// old file is as it was and no temporary file is left.
///
/// An existing file keeps its permissions and, as far as the process may give it away, its owner;
/// one that the process may not write is not replaced; where `path` is a symbolic link, the file
/// that it names is written. A file that is a mount point of its own can't be replaced by a rename:
/// it is overwritten in its place, see [`Pending::commit`].
pub fn write(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    prepare(path, write)?.commit()
}

/// A new content that is whole and on the disk, beside the file that it will replace. Dropped, it
/// leaves no trace.
pub struct Pending {
    path: PathBuf,
    target: PathBuf,
    file: NamedTempFile,
}

/// The first half of [`fn@write`]: everything that can run out of room. Files that belong together are
/// all prepared before the first of them is committed.
pub fn prepare(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<Pending> {
    let prepared = follow(path).and_then(|target| {
        let file = temporary(&target, write)?;
        Ok(Pending { path: path.to_path_buf(), target, file })
    });
    prepared.map_err(Error::io(path))
}

fn temporary(
    target: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<NamedTempFile> {
    let old = existing(target)?;
    // Made with the mode that fopen gives a new file, umask applied, not with a private one.
    let file = tempfile::Builder::new()
        .prefix(".cllm-")
        .suffix(".tmp")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(directory(target))?;

    let mut buffered = BufWriter::with_capacity(BUFFER, file.as_file());
    write(&mut buffered)?;
    buffered.into_inner().map_err(|e| e.into_error())?;
    if let Some(old) = old {
        let made = file.as_file().metadata()?;
        if (made.uid(), made.gid()) != (old.uid(), old.gid()) {
            // Only the superuser gives files away; without that right the file is the writer's.
            let _ = fchown(file.as_file(), Some(old.uid()), Some(old.gid()));
        }
        file.as_file().set_permissions(old.permissions())?;
    }
    file.as_file().sync_all()?;
    Ok(file)
}

impl Pending {
    /// Gives the file its new content.
    ///
    /// Where the file is a mount point of its own (a container's `-v model.cllm:/out.cllm`), the
    /// new content is copied over the old one. If that fails or is interrupted, the file is
    /// damaged, but the temporary file, which the message names, holds the new content and stays.
    pub fn commit(self) -> Result<()> {
        let Self { path, target, file } = self;
        match file.persist(&target) {
            Ok(_) => sync_directory(directory(&target)),
            Err(e) if e.error.kind() == ErrorKind::ResourceBusy => {
                return overwrite(e.file, &target).map_err(|(error, whole)| {
                    Error::file(
                        &path,
                        format!("{error}; the new content is whole in {}", whole.display()),
                    )
                });
            }
            Err(e) => Err(e.error),
        }
        .map_err(Error::io(&path))
    }
}

/// A new content that grows under a name of its own, `<target>.partial`, until it replaces the target:
/// for files so large that what an ended process leaves must not pile up. The next one for the same
/// target begins it anew. Two processes can't write the same one at once. Dropped, it is removed.
#[derive(Debug)]
pub struct Partial {
    path: PathBuf,
    target: PathBuf,
    name: PathBuf,
    file: Option<File>,
}

impl Partial {
    /// Begins a new content of the file at `path`.
    ///
    /// # Errors
    /// It can't be written, or another process writes it.
    pub fn create(path: &Path) -> Result<Self> {
        let begun = follow(path).and_then(|target| {
            existing(&target)?;
            let mut name = target.clone().into_os_string();
            name.push(".partial");
            let name = PathBuf::from(name);
            let file = locked(&name)?;
            file.set_len(0)?;
            Ok(Self { path: path.to_path_buf(), target, name, file: Some(file) })
        });
        begun.map_err(Error::io(path))
    }

    /// The file that it will replace.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the file its new content.
    ///
    /// # Errors
    /// The content can't be written to the disk, or the file not be replaced.
    pub fn commit(mut self) -> Result<()> {
        let done = self.replace();
        if done.is_ok() {
            self.file = None;
        }
        done.map_err(Error::io(&self.path))
    }

    fn replace(&self) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        if let Some(old) = existing(&self.target)? {
            file.set_permissions(old.permissions())?;
        }
        file.sync_all()?;
        std::fs::rename(&self.name, &self.target)?;
        sync_directory(directory(&self.target))
    }
}

/// A file for this process alone. One that another process has just renamed to its target is not it.
fn locked(name: &Path) -> io::Result<File> {
    loop {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(name)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::new(ErrorKind::ResourceBusy, "is being written already"));
            }
            // A file system without locks.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        let inode = |m: &Metadata| (m.dev(), m.ino());
        match std::fs::metadata(name) {
            Ok(there) if inode(&there) == inode(&file.metadata()?) => return Ok(file),
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
}

impl Write for Partial {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.as_mut().map_or(Ok(0), |file| file.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Partial {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.as_mut().map_or(Ok(0), |file| file.seek(to))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if self.file.is_some() {
            // Under the lock; harmless if it stays.
            let _ = std::fs::remove_file(&self.name);
        }
    }
}

/// Copies a temporary file over `target`. After a failure the temporary file is kept; its path
/// comes with the error.
fn overwrite(file: NamedTempFile, target: &Path) -> Result<(), (io::Error, PathBuf)> {
    // From here on the temporary file must not vanish, whatever happens.
    let (_, whole) = match file.keep() {
        Ok(kept) => kept,
        Err(e) => return Err((e.error, e.file.path().to_path_buf())),
    };
    let copied = (|| {
        let mut from = File::open(&whole)?;
        let mut to = OpenOptions::new().write(true).open(target)?;
        let length = io::copy(&mut from, &mut to)?;
        to.set_len(length)?;
        to.sync_all()
    })();
    match copied {
        Ok(()) => {
            // Harmless if it stays.
            let _ = std::fs::remove_file(&whole);
            Ok(())
        }
        Err(error) => Err((error, whole)),
    }
}

/// The directory that holds `target`.
fn directory(target: &Path) -> &Path {
    match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// What is known of the file to be replaced, if there is one. It must be an ordinary file that the
/// process could have written in place.
fn existing(target: &Path) -> io::Result<Option<Metadata>> {
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
    Ok(Some(metadata))
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
    fn what_was_prepared_changes_nothing_before_it_is_committed() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|name| dir.path().join(name));
        put(&a, "old").unwrap();
        let first = prepare(&a, |w| w.write_all(b"new")).unwrap();
        let second = prepare(&b, |w| w.write_all(b"new")).unwrap();
        assert_eq!(fs::read_to_string(&a).unwrap(), "old");
        assert!(!b.exists());
        drop(second);
        first.commit().unwrap();
        assert_eq!(fs::read_to_string(&a).unwrap(), "new");
        assert_eq!(names(dir.path()), ["a"]);
    }

    #[test]
    fn a_file_that_cannot_be_renamed_over_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let busy = |text: &str| {
            let file = temporary(&path, |w| w.write_all(text.as_bytes())).unwrap();
            overwrite(file, &path)
        };
        fs::write(&path, "a long old content").unwrap();
        let before = fs::metadata(&path).unwrap().ino();
        busy("new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::metadata(&path).unwrap().ino(), before, "in its place");
        assert_eq!(names(dir.path()), ["a"]);
        // A failure leaves the new content where its message says.
        fs::remove_file(&path).unwrap();
        let (error, whole) = busy("newer").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert_eq!(fs::read_to_string(whole).unwrap(), "newer");
    }

    /// Only the superuser can give files away: elsewhere there is nothing to see.
    #[test]
    fn the_owner_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        put(&path, "one").unwrap();
        if std::os::unix::fs::chown(&path, Some(12_345), Some(54_321)).is_err() {
            return;
        }
        put(&path, "two").unwrap();
        let after = fs::metadata(&path).unwrap();
        assert_eq!((after.uid(), after.gid()), (12_345, 54_321));
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
    }

    #[test]
    fn what_grows_replaces_the_file_when_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        put(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        // What an ended process left.
        fs::write(dir.path().join("a.partial"), "half of a longer content").unwrap();
        let mut growing = Partial::create(&path).unwrap();
        growing.write_all(b"new").unwrap();
        let error = Partial::create(&path).unwrap_err().to_string();
        assert!(error.contains("is being written already"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        growing.commit().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        let mut dropped = Partial::create(&path).unwrap();
        dropped.write_all(b"newer").unwrap();
        drop(dropped);
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(names(dir.path()), ["a"]);
        assert!(Partial::create(dir.path()).is_err());
    }

    #[test]
    fn names_of_every_length() {
        let dir = tempfile::tempdir().unwrap();
        let longest = "n".repeat(255);
        put(&dir.path().join(&longest), "x").unwrap();
        assert_eq!(names(dir.path()), [longest]);
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
