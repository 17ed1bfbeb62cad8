//! What a model is: its sizes ([`ModelConfig`], [`ModelShape`]), the list of its tensors
//! ([`Part`], [`Params`]), how they start ([`init`]), and the owned [`Model`].

mod architecture;
mod config;
mod grow;
pub mod init;
mod mapped;
mod owned;
mod params;
mod part;
mod quantized;
mod record;
mod shape;
mod tensor;
mod version;

pub use architecture::{Activation, Architecture, SHARPNESS};
pub use config::ModelConfig;
pub use grow::{check_growth, mean_row};
pub use mapped::MappedModel;
pub use owned::Model;
pub use params::{
    Attention, AttentionLayout, DEFAULT_EPSILON, FeedForward, Layer, Layers, ModelRef, Network,
    Norm, Params, Scores,
};
pub use part::{Extent, Part, TensorName};
pub use quantized::QuantizedModel;
pub use record::{LatticePoint, Metadata, TokenRecord, TrainingRecord};
pub use shape::{LayerShape, ModelShape, NormShape, Precision, Table};
pub use tensor::{InferenceRef, Tensor, Weight, is_matrix};
pub use version::WeightsVersion;
