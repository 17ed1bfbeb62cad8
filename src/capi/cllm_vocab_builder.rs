//! `cllm_vocab_builder.h`: a model's own vocabulary.
