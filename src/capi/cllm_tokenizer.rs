//! `cllm_tokenizer.h`: words to ids and back.

use crate::capi::ffi::zeroable;
use std::ffi::c_char;

/// DOC
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CLLMTokenizer {
    /// DOC
    pub vocab: *mut *mut c_char,
    /// DOC
    pub token_counts: *mut u32,
    /// DOC
    pub vocab_size: u32,
    /// DOC
    pub max_vocab_size: u32,
}
layout!(CLLMTokenizer, 24, vocab: 0, token_counts: 8, vocab_size: 16, max_vocab_size: 20);
zeroable!(CLLMTokenizer);
