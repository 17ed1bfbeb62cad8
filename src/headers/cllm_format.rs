//! `cllm_format.h`: model files, tokens and lattice points.

pub mod files;
pub mod lattice;
