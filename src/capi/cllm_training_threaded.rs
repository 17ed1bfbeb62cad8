//! `cllm_training_threaded.h`: epochs over a batch iterator, on several threads.
