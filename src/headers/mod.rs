//! The C interface: the only place that meets raw pointers from C. One file per header; each
//! exported function checks its arguments, makes views of them, calls the core and translates
//! the result.
//!
//! An exported function is `#[c_api(what it returns after a failure)]`, which guards its body.
//!
//! # Safety
//! Every unsafe function here hands on a promise: what its `# Safety` asks of the C program, of
//! which no line of the body can check more than `border::ffi` does (NULL, alignment, sizes). So
//! the whole body rests on it, without an `unsafe` block for each line. A block with its reason
//! stands where there is another one: in a safe function, for memory of the library's own.
#![allow(unsafe_op_in_unsafe_fn)]

/// Asserts the size of a C struct and the offset of each field at compile time.
macro_rules! layout {
    ($t:ty, $size:expr, $($field:ident: $offset:expr),* $(,)?) => {
        const _: () = assert!(size_of::<$t>() == $size);
        $(const _: () = assert!(std::mem::offset_of!($t, $field) == $offset);)*
    };
}

#[cfg(feature = "fault-injection")]
pub mod fault_points;

pub mod cllm;
pub mod cllm_data_loader;
pub mod cllm_ext;
pub mod cllm_format;
pub mod cllm_inference;
pub mod cllm_tokenizer;
pub mod cllm_training;
pub mod cllm_utils;
pub mod cllm_vocab_builder;
mod compat;

pub use compat::*;

/// Blocks that the library gave to C and that are not freed, for the test of injected faults.
#[cfg(feature = "fault-injection")]
pub fn blocks_of_c() -> i64 {
    use std::sync::atomic::Ordering::SeqCst;
    let memory = &crate::border::ffi::MEMORY;
    memory.allocations.load(SeqCst) as i64 - memory.releases.load(SeqCst) as i64
}
