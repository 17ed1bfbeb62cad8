//! What the operating system does and tells: files replaced whole, the date, the memory of the
//! process.

pub mod atomic;
pub mod date;
pub mod memory;
