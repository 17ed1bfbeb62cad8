//! The one error type of the library, and what its texts say to a C program.

use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};

/// Result of everything in the core that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed. The text names the argument, file or object at fault; [`Error::kind`] is for
/// programs.
///
/// One word wide: most functions return one of these, and a wide one is copied at each `?` on its way
/// (with seven words that was a tenth of the C library's code).
// Empty where there was no memory even for the reason. An array of one: a boxed slice can be made of
// memory that may be refused, a box can't.
pub struct Error(Option<Box<[ErrorKind; 1]>>);

const _: () = assert!(size_of::<Error>() == size_of::<usize>());

/// The kind of an error that has none of its own.
static NO_MEMORY: ErrorKind =
    ErrorKind::Memory { what: "the text of an error", bytes: size_of::<ErrorKind>() };

/// The reasons of an [`Error`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A pointer that the call needs is NULL.
    #[error("{0} is NULL")]
    Null(&'static str),
    /// A number outside the range that the call accepts.
    #[error("{name} is {value}, must be {expected}")]
    Argument {
        /// The parameter or field.
        name: &'static str,
        /// What the caller passed.
        value: String,
        /// The range that would do.
        expected: &'static str,
    },
    /// Sizes that contradict each other, or a part of an object that is missing.
    #[error("{0}")]
    Shape(String),
    /// Memory that the system (or the limit of `limits.rs`) does not give.
    #[error("no memory for {what} ({bytes} bytes)")]
    Memory {
        /// What it was for.
        what: &'static str,
        /// How much was asked; `usize::MAX` where the product of the sizes overflows.
        bytes: usize,
    },
    /// The operating system refused an operation on a file.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file whose content is not what it should be.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and where.
        problem: String,
    },
    /// An address that is not, or no longer, an object of this library.
    #[error("{0} was not made by this library, or is already freed")]
    Stale(&'static str),
    /// A call that the state of the object does not allow now.
    #[error("{0}")]
    State(String),
}

impl Error {
    /// The reason.
    pub fn kind(&self) -> &ErrorKind {
        self.0.as_ref().map_or(&NO_MEMORY, |kind| &kind[0])
    }

    /// [`ErrorKind::Null`] of the pointer of this name.
    #[cold]
    pub fn null(name: &'static str) -> Self {
        ErrorKind::Null(name).into()
    }

    /// [`ErrorKind::Argument`] with the value formatted.
    pub fn argument(name: &'static str, value: impl Display, expected: &'static str) -> Self {
        Self::argument_of(name, &value, expected)
    }

    #[cold]
    fn argument_of(name: &'static str, value: &dyn Display, expected: &'static str) -> Self {
        ErrorKind::Argument { name, value: value.to_string(), expected }.into()
    }

    /// [`ErrorKind::Shape`] from any text.
    pub fn shape(text: impl Into<String>) -> Self {
        ErrorKind::Shape(text.into()).into()
    }

    /// [`ErrorKind::Memory`]: so many bytes, for what; `usize::MAX` where the product of the sizes overflows.
    #[cold]
    pub fn memory(what: &'static str, bytes: usize) -> Self {
        ErrorKind::Memory { what, bytes }.into()
    }

    /// [`ErrorKind::Io`] for a path; made for `map_err`.
    pub fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::io_of(path, source)
    }

    #[cold]
    fn io_of(path: &Path, source: std::io::Error) -> Self {
        ErrorKind::Io { path: path.to_path_buf(), source }.into()
    }

    /// [`ErrorKind::File`] for a path.
    pub fn file(path: &Path, problem: impl Into<String>) -> Self {
        Self::file_of(path, problem.into())
    }

    #[cold]
    fn file_of(path: &Path, problem: String) -> Self {
        ErrorKind::File { path: path.to_path_buf(), problem }.into()
    }

    /// [`ErrorKind::Stale`] for an object of this kind.
    #[cold]
    pub fn stale(kind: &'static str) -> Self {
        ErrorKind::Stale(kind).into()
    }

    /// [`ErrorKind::State`] from any text.
    pub fn state(text: impl Into<String>) -> Self {
        ErrorKind::State(text.into()).into()
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.kind().fmt(f)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        // What `main` prints of an error that it returns.
        Display::fmt(self, f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.kind().source()
    }
}

impl From<ErrorKind> for Error {
    #[cold]
    fn from(kind: ErrorKind) -> Self {
        let mut one = Vec::new();
        if one.try_reserve_exact(1).is_err() {
            return Self(None);
        }
        one.push(kind);
        Self(one.into_boxed_slice().try_into().ok())
    }
}

impl From<cllm_kernels::Error> for Error {
    #[cold]
    fn from(error: cllm_kernels::Error) -> Self {
        match error {
            cllm_kernels::Error::Memory { what, bytes } => Self::memory(what, bytes),
            other => Self::state(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_kept_and_there_is_one_without_memory() {
        let error = Error::memory("a batch", 12);
        assert!(matches!(error.kind(), ErrorKind::Memory { what: "a batch", bytes: 12 }));
        assert_eq!(error.to_string(), "no memory for a batch (12 bytes)");
        assert!(Error(None).to_string().starts_with("no memory for the text of an error"));
    }
}
