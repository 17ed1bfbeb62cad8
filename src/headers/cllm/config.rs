//! Configurations, and what the library is.

use crate::border::ffi::{self, CArray};
use crate::headers::cllm::CLLMConfig;
use cllm_engine::error::{Error, Result};
use cllm_engine::limits::DEFAULT_CONTEXT;
use cllm_macros::c_api;
use std::ffi::{c_char, c_int};
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
pub unsafe extern "C" fn cllm_validate_config(config: *mut CLLMConfig) -> c_int {
    check(ffi::get(config, "config")?)?;
    Ok(1)
}

/// Prints the seven values of a configuration, and the width of a head (0 without heads), to stdout:
///
/// ```text
/// CLLM Configuration:
///   Vocabulary Size:  1000
///   Embedding Dim:    64
///   Number of Layers: 2
///   Number of Heads:  4
///   Head Dimension:   16
///   FF Dimension:     256
///   Max Seq Length:   512
///   Dropout:          0.10
/// ```
///
/// NULL prints the line `Configuration: NULL`.
///
/// # Safety
/// `config` is NULL or points to a `CLLMConfig`.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_print_config(config: *mut CLLMConfig) {
    if config.is_null() {
        ffi::print("Configuration: NULL\n");
        return Ok(());
    }
    let c = ffi::get(config, "config")?;
    let head = c.embedding_dim.checked_div(c.num_heads).unwrap_or(0);
    ffi::print(format!(
        "CLLM Configuration:\n  Vocabulary Size:  {}\n  Embedding Dim:    {}\n  \
             Number of Layers: {}\n  Number of Heads:  {}\n  Head Dimension:   {head}\n  \
             FF Dimension:     {}\n  Max Seq Length:   {}\n  Dropout:          {}\n",
        c.vocab_size,
        c.embedding_dim,
        c.num_layers,
        c.num_heads,
        c.ff_dim,
        c.max_seq_len,
        ffi::fixed(c.dropout.into(), 2)
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
pub unsafe extern "C" fn cllm_compare_configs(a: *mut CLLMConfig, b: *mut CLLMConfig) -> c_int {
    let (a, b) = (ffi::get(a, "a")?, ffi::get(b, "b")?);
    let sizes = |c: &CLLMConfig| {
        [c.vocab_size, c.embedding_dim, c.num_layers, c.num_heads, c.ff_dim, c.max_seq_len]
    };
    Ok(c_int::from(sizes(a) == sizes(b) && a.dropout == b.dropout))
}

/// The library's name and version, as `CLLM v1.0.0 - Crystalline Lattice Language Model`.
///
/// @return a static string; not to be freed.
#[unsafe(no_mangle)]
#[c_api(c"".as_ptr())]
pub extern "C" fn cllm_get_version() -> *const c_char {
    const VERSION: &str =
        concat!("CLLM v", env!("CARGO_PKG_VERSION"), " - Crystalline Lattice Language Model\0");
    Ok(VERSION.as_ptr().cast())
}

/// When the library was built, in UTC, as `Built: Nov 27 2026 08:30:00`: a day below 10 has a blank
/// before it, as `__DATE__` has. A build with SOURCE_DATE_EPOCH in its environment has that time.
///
/// @return a static string; not to be freed.
#[unsafe(no_mangle)]
#[c_api(c"CLLM".as_ptr())]
pub extern "C" fn cllm_get_build_info() -> *const c_char {
    Ok(concat!("Built: ", env!("CLLM_BUILT"), "\0").as_ptr().cast())
}
