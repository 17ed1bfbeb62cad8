//! Training: a [`Trainer`] takes [steps](Trainer::step) over weights that lie anywhere
//! ([`Weights`]); a [`Corpus`] gives it batches, a [`Schedule`] learning rates, a [`Checkpoint`]
//! keeps all that it needs to go on.

pub mod batch;
pub mod best;
pub mod checkpoint;
mod division;
mod dynamic;
mod notes;
pub mod optimizer;
mod prefix;
pub mod ranks;
mod reduction;
pub mod rules;
pub mod run;
pub mod schedule;
mod shared;
pub mod short_windows;
pub mod slots;
pub mod stopping;
pub mod tokens;
pub mod trainer;
mod tree;
pub mod weights;
pub mod workspace;

pub use crate::nn::products::TrainingPrecision;
pub use batch::{Batch, Corpus};
pub use best::Best;
pub use checkpoint::Checkpoint;
pub use optimizer::Optimizer;
pub use ranks::Communicator;
pub use run::{Position, Progress, Run};
pub use schedule::{Decay, Schedule};
pub use short_windows::ShortWindows;
pub use stopping::EarlyStopping;
pub use trainer::{Counters, Outcome, Step, Trainer, TrainerConfig};
pub use weights::{Parameters, TrainingWeights, Weights};
