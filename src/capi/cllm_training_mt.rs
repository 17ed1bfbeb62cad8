//! `cllm_training_mt.h`: an epoch on several threads.
