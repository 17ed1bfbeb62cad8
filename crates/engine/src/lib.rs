//! CLLM: small transformer language models on the CPU.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod error;
mod evaluate;
pub mod file;
pub mod generate;
pub mod limits;
pub mod log;
pub mod model;
pub mod nn;
pub mod report;
pub mod rng;
pub mod system;
pub mod text;
pub mod train;

pub use cllm_kernels::Pool;
pub use error::{Error, Result};
pub use evaluate::{Evaluation, evaluate};
pub use model::{Model, ModelConfig, ModelRef};
pub use text::{Dataset, Vocabulary};
