//! Model files: the v1 layout, the extension after it; and the container of
//! training checkpoints. `docs/FORMAT.md` specifies all of it byte by byte.
//!
//! A file is described by its [`Header`] and the [`ModelShape`](crate::model::ModelShape); each
//! array of floats in it is an [`Entry`]. Values go straight between the file and the memory that [`Source`] or
//! [`Destination`] names, so that neither saving nor loading needs a second copy of a model.

mod architecture;
pub(crate) mod bytes;
pub mod container;
pub(crate) mod crc;
mod describe;
mod extras;
mod header;
mod int8;
mod mapped;
mod model;
mod read;
mod section;
mod sizes;
#[cfg(test)]
mod tests;
mod v1;
mod write;

pub use describe::{Description, FilePart, Integrity, describe};
pub use extras::Extras;
pub use header::{HEADER_BYTES, Header};
pub use read::{Destination, Reader, Values};
pub use sizes::Entry;
pub use write::{Prepared, Source, model as prepare};

use crate::error::Error;
use std::io;
use std::path::Path;

/// What is wrong with a file, before its name is known.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The system failed to read it.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Its content is not what it should be; says what and where.
    #[error("{0}")]
    Content(String),
    /// The memory, or the destination, for its content is not there.
    #[error("{0}")]
    Other(#[from] Error),
}

impl From<cllm_kernels::Error> for Problem {
    fn from(error: cllm_kernels::Error) -> Self {
        Self::Other(error.into())
    }
}

impl Problem {
    /// A problem with the content.
    pub fn content(text: impl Into<String>) -> Self {
        Self::Content(text.into())
    }

    /// The error for the file at `path`; made for `map_err`.
    pub fn at(path: &Path) -> impl FnOnce(Self) -> Error + '_ {
        move |problem| match problem {
            Self::Io(source) => Error::io(path)(source),
            Self::Content(text) => Error::file(path, text),
            Self::Other(error) => error,
        }
    }
}

/// Opens an ordinary file for reading; its length is then a bound for what it can hold.
pub fn open(path: &Path) -> crate::error::Result<(std::fs::File, u64)> {
    let metadata = std::fs::metadata(path).map_err(Error::io(path))?;
    // Checked before opening: to open a pipe waits for a writer.
    if !metadata.is_file() {
        return Err(Error::file(path, "is not an ordinary file"));
    }
    let file = std::fs::File::open(path).map_err(Error::io(path))?;
    let len = file.metadata().map_err(Error::io(path))?.len();
    Ok((file, len))
}
