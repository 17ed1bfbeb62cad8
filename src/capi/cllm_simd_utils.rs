//! `cllm_simd_utils.h`: vector and matrix products.
