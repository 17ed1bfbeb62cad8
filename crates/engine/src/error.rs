//! The one error type of the library, and what its texts say to a C program.

use std::path::{Path, PathBuf};

/// Result of everything in the core that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed. The text names the argument, file or object at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
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
    /// `Argument` with the value formatted.
    pub fn argument(
        name: &'static str,
        value: impl std::fmt::Display,
        expected: &'static str,
    ) -> Self {
        Self::Argument { name, value: value.to_string(), expected }
    }

    /// `Shape` from any text.
    pub fn shape(text: impl Into<String>) -> Self {
        Self::Shape(text.into())
    }

    /// `Io` for a path; made for `map_err`.
    pub fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_path_buf(), source }
    }

    /// `File` for a path.
    pub fn file(path: &Path, problem: impl Into<String>) -> Self {
        Self::File { path: path.to_path_buf(), problem: problem.into() }
    }
}

impl From<cllm_kernels::Error> for Error {
    fn from(error: cllm_kernels::Error) -> Self {
        match error {
            cllm_kernels::Error::Memory { what, bytes } => Self::Memory { what, bytes },
            other => Self::State(other.to_string()),
        }
    }
}
