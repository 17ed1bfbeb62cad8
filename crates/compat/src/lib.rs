//! What exists only because an old header of CLLM declares it. The engine needs none of this.
//!
//! | module | which headers ask for it |
//! |---|---|
//! | [`lattice`] | `cllm.h`, `cllm_inference.h`, `cllm_format.h`, `cllm_crystalline_training.h`: spiral, clock and prime positions, symmetry groups |
//! | [`sublayers`] | `cllm_inference.h`, `cllm_training.h`: one attention or feed-forward layer by itself |
//! | [`losses`] | `cllm_training.h`: losses over public arrays of logits |
//! | [`elementwise`] | `cllm_training.h`, `cllm_inference.h`: operations on single arrays |
//! | [`gradients`] | `cllm_training.h`, `cllm_production.h`: arithmetic on public gradient buffers |
//! | [`check`] | `cllm_utils.h`, `cllm.h`: reports on the numbers in a model |
//! | [`rates`] | `cllm_production.h`, `cllm_training.h`: learning rates beside those of the training loops |
//! | [`decays`] | `ai/cllm_optimizer.h`: learning rates by the number of steps |
//! | [`metrics`] | `cllm_production.h`, `cllm_train_complete.h`: records of epochs |
//! | [`manager`] | `cllm_model_manager.h`: models under their names, shared by threads |
//! | [`benchmark`], [`mod@bench`] | `cllm_utils.h`: timings of passes and steps |

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod bench;
pub mod benchmark;
pub mod check;
pub mod decays;
pub mod elementwise;
pub mod gradients;
pub mod lattice;
pub mod losses;
pub mod manager;
pub mod metrics;
pub mod rates;
pub mod sublayers;
