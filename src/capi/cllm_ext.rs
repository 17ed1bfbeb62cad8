//! `cllm_ext.h`: what this library adds to the original interface.
