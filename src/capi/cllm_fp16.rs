//! `cllm_fp16.h`: half precision.
