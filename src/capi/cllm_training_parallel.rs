//! `cllm_training_parallel.h`: a thread pool for training.
