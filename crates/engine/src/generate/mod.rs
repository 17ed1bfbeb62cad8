//! Generating text: the key/value cache, sampling, the loop.

mod allowed;
mod config;
mod generator;
pub mod sampler;
pub mod session;
mod state;
mod text;

pub(crate) use allowed::Allowed;
pub use allowed::Filter;
pub use config::GeneratorConfig;
pub use generator::{Generator, Tokens};
pub use sampler::Sampler;
pub use text::{Text, TextModel};
