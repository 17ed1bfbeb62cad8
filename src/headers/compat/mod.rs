//! Headers that stand here only because programs written for the original library include them:
//! half precision, vectors, mathematics, optimizers of flat arrays, older ways to train, models under
//! names. What they declare works as the original documents it; new programs have no use for it.

pub mod cllm_batch;
pub mod cllm_crystalline_training;
pub mod cllm_fp16;
pub mod cllm_hierarchical_training;
pub mod cllm_metrics;
pub mod cllm_model_manager;
pub mod cllm_optimizer;
pub mod cllm_production;
pub mod cllm_simd_utils;
pub mod cllm_train_complete;
pub mod cllm_training_mt;
pub mod cllm_training_parallel;
pub mod cllm_training_threaded;
pub mod prime_float_math;
pub mod prime_types;
