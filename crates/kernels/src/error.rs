//! What can fail below the engine: memory and threads that the system does not give.

/// Result of everything here that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Memory that the system does not give, or a size that no memory has.
    #[error("no memory for {what} ({bytes} bytes)")]
    Memory {
        /// What it was for.
        what: &'static str,
        /// How much was asked; `usize::MAX` where the product of the sizes overflows.
        bytes: usize,
    },
    /// Threads that the system does not start.
    #[error("can't start {threads} threads: {source}")]
    Threads {
        /// How many there were to be.
        threads: usize,
        /// The system's reason.
        source: std::io::Error,
    },
}
