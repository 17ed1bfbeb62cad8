//! Headers in the folder `ai/`.

pub mod cllm_hierarchical_training;
