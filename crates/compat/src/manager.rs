//! Models of one process under their names, each kept as a file in one folder, and shared by
//! threads that read or write them. What a model is, [`Shelf`] leaves to its caller.

pub mod access;
pub mod folder;
pub mod shelf;

pub use access::Mode;
pub use shelf::{Item, Shelf};
