//! A `CLLMModel` and the engine: views of its arrays, building one, its words, its files.

pub(crate) mod build;
pub(crate) mod file;
pub(crate) mod grow;
pub(crate) mod kept;
mod parts;
pub(crate) mod subwords;
pub(crate) mod view;
pub(crate) mod words;
