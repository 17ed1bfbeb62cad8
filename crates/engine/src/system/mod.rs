//! What the operating system tells: the date, the memory of the process.

pub mod date;
pub mod memory;
