//! Configurations, and what the library is.

use crate::border::ffi::{self, CArray};
use crate::headers::cllm::CLLMConfig;
use cllm_engine::error::{Error, Result};
use cllm_engine::limits::DEFAULT_CONTEXT;
use cllm_macros::c_api;
use once_cell::sync::Lazy;
use std::ffi::{CString, c_char, c_int};
use std::ptr;

/// dropout of a configuration that states none.
const DEFAULT_DROPOUT: f32 = 0.1;

fn check(c: &CLLMConfig) -> Result<()> {
    for (name, value) in [
        ("vocab_size", c.vocab_size),
        ("embedding_dim", c.embedding_dim),
        ("num_layers", c.num_layers),
        ("num_heads", c.num_heads),
    ] {
        if value == 0 {
            return Err(Error::argument(name, 0, "1 or more"));
        }
    }
    if !c.embedding_dim.is_multiple_of(c.num_heads) {
        return Err(Error::shape(format!(
            "embedding_dim {} is not a multiple of num_heads {}",
            c.embedding_dim, c.num_heads
        )));
    }
    if !(0.0..=1.0).contains(&c.dropout) {
        return Err(Error::argument("dropout", c.dropout, "0 to 1"));
    }
    Ok(())
}

fn boxed(config: CLLMConfig) -> Result<*mut CLLMConfig> {
    Ok(CArray::copy_of("a configuration", &[config])?.into_raw())
}

/// Makes a configuration with the given sizes, max_seq_len 512 and dropout 0.1. The sizes are
/// not checked: see `cllm_validate_config`.
///
/// @param vocab_size    tokens of the vocabulary.
/// @param embedding_dim width of the model.
/// @param num_layers    blocks.
/// @param num_heads     attention heads of each block.
/// @param ff_dim        width of the feed-forward sublayers.
/// @return the configuration, to be freed with `cllm_free_config` or `free()`; NULL without
///         memory.
#[unsafe(no_mangle)]
#[c_api(ptr::null_mut())]
pub extern "C" fn cllm_create_config(
    vocab_size: u32,
    embedding_dim: u32,
    num_layers: u32,
    num_heads: u32,
    ff_dim: u32,
) -> *mut CLLMConfig {
    boxed(CLLMConfig {
        vocab_size,
        embedding_dim,
        num_layers,
        num_heads,
        ff_dim,
        max_seq_len: DEFAULT_CONTEXT as u32,
        dropout: DEFAULT_DROPOUT,
    })
}

/// Frees a configuration from `cllm_create_config` or `cllm_clone_config`; NULL is fine.
///
/// # Safety
/// `config` is NULL or such a configuration (or another block of malloc's family), and nothing
/// uses it any more.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_free_config(config: *mut CLLMConfig) {
    ffi::free(config);
    Ok(())
}

/// Checks a configuration: vocab_size, embedding_dim, num_layers and num_heads above 0,
/// embedding_dim a multiple of num_heads, dropout between 0 and 1.
///
/// @return 1 if all hold; 0 if not, or if config is NULL: `cllm_last_error` says which.
///
/// # Safety
/// `config` is NULL or points to a `CLLMConfig`.
#[unsafe(no_mangle)]
#[c_api(0)]
pub unsafe extern "C" fn cllm_validate_config(config: *const CLLMConfig) -> c_int {
    check(ffi::get(config, "config")?)?;
    Ok(1)
}

/// Prints the seven values of a configuration, and the width of a head, to stdout. NULL prints
/// nothing.
///
/// # Safety
/// `config` is NULL or points to a `CLLMConfig`.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_print_config(config: *const CLLMConfig) {
    let c = ffi::get(config, "config")?;
    // Without heads there is no such width; the original divided by zero.
    let head = c.embedding_dim.checked_div(c.num_heads);
    let head = head.map_or("none".to_string(), |dim| dim.to_string());
    ffi::print(&format!(
        "Model configuration:\n  Vocabulary size: {}\n  Embedding dimension: {}\n  \
             Layers: {}\n  Attention heads: {}\n  Head dimension: {head}\n  \
             Feed-forward dimension: {}\n  Maximum sequence length: {}\n  Dropout: {:.2}\n",
        c.vocab_size,
        c.embedding_dim,
        c.num_layers,
        c.num_heads,
        c.ff_dim,
        c.max_seq_len,
        c.dropout
    ));
    Ok(())
}

/// Copies a configuration.
///
/// @return the copy, to be freed with `cllm_free_config` or `free()`; NULL if config is NULL or
///         there is no memory.
///
/// # Safety
/// `config` is NULL or points to a `CLLMConfig`.
#[unsafe(no_mangle)]
#[c_api(ptr::null_mut())]
pub unsafe extern "C" fn cllm_clone_config(config: *const CLLMConfig) -> *mut CLLMConfig {
    boxed(*(ffi::get(config, "config")?))
}

/// Compares two configurations.
///
/// @return 1 if all seven values are equal; 0 if not, or if one is NULL.
///
/// # Safety
/// `a` and `b` are NULL or point to a `CLLMConfig`.
#[unsafe(no_mangle)]
#[c_api(0)]
pub unsafe extern "C" fn cllm_compare_configs(a: *const CLLMConfig, b: *const CLLMConfig) -> c_int {
    let (a, b) = (ffi::get(a, "a")?, ffi::get(b, "b")?);
    let sizes = |c: &CLLMConfig| {
        [c.vocab_size, c.embedding_dim, c.num_layers, c.num_heads, c.ff_dim, c.max_seq_len]
    };
    Ok(c_int::from(sizes(a) == sizes(b) && a.dropout == b.dropout))
}

/// The library's version, as "1.0.0".
///
/// @return a static string; not to be freed.
#[unsafe(no_mangle)]
#[c_api(c"".as_ptr())]
pub extern "C" fn cllm_get_version() -> *const c_char {
    Ok(concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast())
}

/// Version, processor, system and kind of build in one line.
///
/// @return a static string; not to be freed.
#[unsafe(no_mangle)]
#[c_api(c"CLLM".as_ptr())]
pub extern "C" fn cllm_get_build_info() -> *const c_char {
    static INFO: Lazy<CString> = Lazy::new(|| {
        let kind = if cfg!(debug_assertions) { "debug" } else { "release" };
        let text = format!(
            "CLLM {} for {}-{}, {kind} build",
            env!("CARGO_PKG_VERSION"),
            std::env::consts::ARCH,
            std::env::consts::OS
        );
        CString::new(text).unwrap_or_default()
    });
    Ok(INFO.as_ptr())
}
