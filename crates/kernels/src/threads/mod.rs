//! Threads: pools of them ([`pool`]), how many a step is worth ([`choice`]), loops over arrays
//! (`chunks`), and the team that works on one loop together (`team`, with its model in `loom`).

pub mod choice;
mod chunks;
#[cfg(all(test, loom))]
mod loom;
pub mod pool;
mod processors;
mod sync;
mod team;

pub use choice::{Work, default_threads, set_default_threads};
pub use pool::Pool;
pub use processors::processors;

/// Threads in one pool: more than any machine that this library was tried on, and few enough
/// that a wild argument can't exhaust the process's thread limit.
pub const MAX_THREADS: usize = 256;
