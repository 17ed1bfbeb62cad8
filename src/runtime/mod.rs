//! What the core runs on: the log sink, the thread pool, random numbers, the system's figures.

pub mod date;
pub mod fault;
pub mod log;
pub mod memory;
pub mod pool;
pub mod rng;
