//! Generating text: the key/value cache, sampling, the loop.

mod config;
mod generator;
pub mod sampler;
pub mod session;
mod state;
mod text;

pub use config::GeneratorConfig;
pub use generator::{Generator, Tokens};
pub use sampler::Sampler;
pub use text::Text;
