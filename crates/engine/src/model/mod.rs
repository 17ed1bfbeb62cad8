//! What a model is: its sizes ([`ModelConfig`], [`ModelShape`]), the list of its tensors
//! ([`Part`], [`params::Params`]), how they start ([`init`]), and the owned [`Model`].

mod config;
pub mod init;
mod owned;
pub mod params;
mod part;
mod record;
mod shape;
mod version;

pub use config::ModelConfig;
pub use owned::Model;
pub use params::{ModelRef, Network, Params};
pub use part::{Extent, Part, TensorName};
pub use record::{LatticePoint, Metadata, TokenRecord, TrainingRecord};
pub use shape::{LayerShape, ModelShape, NormShape, Table};
pub use version::WeightsVersion;
