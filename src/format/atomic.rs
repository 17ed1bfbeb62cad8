//! Replacing a file so that a crash at any moment leaves the old content or the new one.

use crate::error::{Error, Result};
use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Makes what `write` writes the content of the file at `path`, all of it or nothing: a temporary
/// neighbour, flushed to the disk and renamed over the old file.
pub fn write(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let replace = || {
        // Made with the mode that fopen gives a new file, umask applied, not with a private one.
        let file = tempfile::Builder::new()
            .prefix(".cllm-")
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(directory)?;
        let mut buffered = BufWriter::new(file.as_file());
        write(&mut buffered)?;
        buffered.into_inner().map_err(|e| e.into_error())?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|e| e.error)?;
        File::open(directory)?.sync_all()
    };
    replace().map_err(Error::io(path))
}
