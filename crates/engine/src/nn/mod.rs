//! The model: one forward pass for training, prefill and cached decoding, and its backward pass.
//!
//! Letters as in the field: B sequences of S positions, T = B·S rows, d embedding width, H heads
//! of h components, F feed-forward width, V vocabulary. Every matrix is row-major `[out][in]`.

pub mod activations;
pub mod backward;
pub mod cache;
pub mod dropout;
pub mod forward;
pub mod loss;
pub mod products;
pub mod rotary;
pub mod rows;
mod shift;
pub mod windows;
mod work;
