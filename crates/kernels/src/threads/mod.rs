//! Threads: pools of them ([`pool`]), loops over arrays (`chunks`), and the team that works on one
//! loop together (`team`, with its model in `loom`).

mod chunks;
#[cfg(all(test, loom))]
mod loom;
pub mod pool;
mod sync;
mod team;

pub use pool::Pool;

/// Threads in one pool: more than any machine that this library was tried on, and few enough
/// that a wild argument can't exhaust the process's thread limit.
pub const MAX_THREADS: usize = 256;
