//! `cllm_data_loader.h`: text files to documents to id arrays.

use super::cllm_tokenizer::CLLMTokenizer;
use crate::capi::ffi::zeroable;
use std::ffi::{c_char, c_int};

/// DOC
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CLLMDataLoader {
    /// DOC
    pub tokenizer: *mut CLLMTokenizer,
    /// DOC
    pub documents: *mut *mut c_char,
    /// DOC
    pub num_documents: usize,
    /// DOC
    pub capacity: usize,
    /// DOC
    pub total_chars: usize,
    /// DOC
    pub total_tokens: usize,
    /// DOC
    pub total_lines: usize,
    /// DOC
    pub min_token_length: c_int,
    /// DOC
    pub max_token_length: c_int,
    /// DOC
    pub lowercase: c_int,
    /// DOC
    pub remove_punctuation: c_int,
    /// DOC
    pub remove_numbers: c_int,
}
layout!(CLLMDataLoader, 80, tokenizer: 0, documents: 8, num_documents: 16, capacity: 24, total_chars: 32, total_tokens: 40, total_lines: 48, min_token_length: 56, max_token_length: 60, lowercase: 64, remove_punctuation: 68, remove_numbers: 72);

/// DOC
#[repr(C)]
#[derive(Clone, Copy)]
pub struct TokenDataset {
    /// DOC
    pub tokens: *mut u32,
    /// DOC
    pub num_tokens: usize,
    /// DOC
    pub capacity: usize,
}
layout!(TokenDataset, 24, tokens: 0, num_tokens: 8, capacity: 16);
zeroable!(CLLMDataLoader, TokenDataset);
