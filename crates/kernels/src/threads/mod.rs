//! Threads: pools of them, and the team that works on one loop together.

pub mod pool;
mod team;

pub use pool::{Pool, THREAD_NAME};

/// Threads in one pool: more than any machine that this library was tried on, and few enough
/// that a wild argument can't exhaust the process's thread limit.
pub const MAX_THREADS: usize = 256;
