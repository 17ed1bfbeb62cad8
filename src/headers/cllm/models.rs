//! A model made, written, freed: what programs call with `cllm.h` alone.

use crate::border::ffi;
use crate::headers::cllm::{CLLMConfig, CLLMModel};
use crate::headers::cllm_utils::models;
use crate::model::build;
use crate::model::file::write_model;
use cllm_macros::c_api;
use std::ffi::{c_char, c_int};
use std::ptr;

/// Makes a model of the given sizes, ready to be trained.
///
/// The weights are one block, `model->weights`, of
/// `V*D + L*(3*D*D + 2*D*F + D + F + 4*D)` floats in the order: embeddings; for each layer
/// query, key, value; for each layer w1, bias1, w2, bias2; then the 2*L layer norms, gamma before
/// beta (norms 0 to L-1 stand before attention, L to 2L-1 before the feed-forward products). All
/// other weight pointers of the model point into it. With σ = 0.02*sqrt(768/D), matrices are
/// drawn from N(0, σ²), those that write to the residual stream (value, w2) from N(0, σ²/2L);
/// biases are 0, gamma 1, beta 0. Learned positions are drawn from N(0, 0.02²); spiral, clock and
/// prime positions are 0 until `cllm_generate_all_positional_encodings`. Token i has the string
/// `token_<i>`.
///
/// @param config sizes: vocab_size (V), embedding_dim (D), num_layers (L) and num_heads are 1 or
///               more, D is a multiple of num_heads; ff_dim (F) and max_seq_len may be 0 (no
///               feed-forward sublayer, no positions); dropout is ignored. Not kept.
/// @return the model; free it with `cllm_free_model` or `cllm_free`. NULL if config is NULL, a
///         size is out of range or there is no memory; `cllm_last_error` says which.
///
/// The draws start from two values of libc's `rand()`, so `srand` makes the model reproducible.
/// Threads: any, apart from what `rand()` shares.
///
/// # Safety
/// `config` is NULL or points to a `CLLMConfig`.
#[unsafe(no_mangle)]
#[c_api(ptr::null_mut())]
pub unsafe extern "C" fn cllm_create_model(config: *const CLLMConfig) -> *mut CLLMModel {
    models::create(ffi::get(config, "config")?)
}

/// Writes a model file, whole or not at all: the content goes to a temporary file in the same
/// directory, which is flushed to the disk and then takes the place of the old file. After an
/// error the old file is as it was.
///
/// The file starts as a file of the original library, which can read it where every feed-forward
/// layer is 4 * embedding_dim wide; what that layout has no room for follows it. Missing matrices
/// are written as zeros and noted as missing. Per-head matrices of a model that the program
/// assembled are num_heads * head_dim * head_dim floats each.
///
/// @param model     the model, made by the library or by the program; not NULL, not changed. At
///                  most 1000000 words, 100 layers, and a width of 10000.
/// @param filepath  the file's path; not NULL. A symbolic link is followed.
/// @return 0; -1 if the model has no sizes or sizes that contradict each other, or if the file
///         can't be written: cllm_last_error() says why.
///
/// The times in the file's header are set to now (created_timestamp only where it is 0); all
/// bytes after the header depend on the model alone. NaN and infinite weights are written, but
/// cllm_read_model() refuses them.
///
/// # Safety
/// Every non-NULL pointer of the model holds what its sizes say, and nothing changes it meanwhile.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_write_model(
    model: *const CLLMModel,
    filepath: *const c_char,
) -> c_int {
    write_model(model, ffi::path(filepath, "filepath")?)?;
    Ok(0)
}

/// Releases a model, whoever made it: the same as cllm_free_model().
///
/// @param model  a model of the library, or one that the program assembled, in which the model
///               itself, `tokens`, `lattice_points`, the arrays of layers, `weights`, and every
///               matrix outside `weights` is a block of malloc's family; a block that several
///               pointers share is freed once. NULL is fine. The embeddings of lattice points
///               belong to the program.
///
/// Freeing a model of the library twice is reported, not done. A model whose matrices lie inside
/// one private block of the program can't be freed by the library.
///
/// # Safety
/// `model` is as above, and nothing uses it any more.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_free(model: *mut CLLMModel) {
    build::free(model)
}
