//! Instruction sets: which one is in use, and vector registers under one interface.

#[macro_use]
mod dispatch;
pub(crate) mod vector;

pub use dispatch::{Level, level};
