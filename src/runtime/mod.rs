//! What the core runs on: the log sink, the thread pool, random numbers.

pub mod log;
pub mod pool;
pub mod rng;
