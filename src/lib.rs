//! The C library: the border between C programs and the engine (`cllm-engine`).
//!
//! | module | what |
//! |---|---|
//! | [`headers`] | the exported functions, a room for each C header |
//! | `border` | entering from C: guard, pointers, handles, memory that C may free |
//! | `model` | a `CLLMModel` seen as the engine's model: views, building, words, files |
//!
//! Rust programs use the engine itself.

#![warn(missing_docs)]
#![allow(unsafe_code)]

pub mod border;
pub mod headers;
pub(crate) mod model;
