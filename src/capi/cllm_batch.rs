//! `cllm_batch.h`: padded batches and an iterator over them.

use crate::capi::ffi::zeroable;

/// DOC
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CLLMBatch {
    /// DOC
    pub input_ids: *mut u32,
    /// DOC
    pub target_ids: *mut u32,
    /// DOC
    pub attention_mask: *mut f32,
    /// DOC
    pub batch_size: u32,
    /// DOC
    pub seq_len: u32,
    /// DOC
    pub num_valid_tokens: u32,
}
layout!(CLLMBatch, 40, input_ids: 0, target_ids: 8, attention_mask: 16, batch_size: 24, seq_len: 28, num_valid_tokens: 32);
zeroable!(CLLMBatch);
