//! CLLM: small transformer language models for C programs.
//!
//! A C program loads text, builds a vocabulary, trains a GPT-like model on the CPU, saves it,
//! loads it and generates text. The C interface is [`capi`]; everything else is the safe core
//! that it calls, usable from Rust as well.
//!
//! | module | what |
//! |---|---|
//! | [`capi`] | the exported functions, one file per C header |
//! | [`nn`] | the model: one forward pass, its backward beside it |
//! | [`train`] | optimizer, schedules, training steps, checkpoints |
//! | [`generate`] | key/value cache, sampling, generation |
//! | [`text`] | tokenising, vocabularies, documents |
//! | [`lattice`] | spiral, clock and prime positions, symmetry groups |
//! | [`mod@format`] | model files |
//! | [`report`] | the record of a run and its picture |
//! | [`runtime`] | log sink, thread pool, random numbers |

#![warn(missing_docs)]

#[allow(unsafe_code)]
pub mod capi;
pub mod error;
pub mod format;
pub mod generate;
#[allow(unsafe_code)]
pub mod kernels;
pub mod lattice;
pub mod limits;
pub mod nn;
pub mod report;
pub mod runtime;
pub mod text;
pub mod train;
