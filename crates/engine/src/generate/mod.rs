//! Generating text: the key/value cache, sampling, the loop.

pub mod sampler;
pub mod session;
pub mod state;
