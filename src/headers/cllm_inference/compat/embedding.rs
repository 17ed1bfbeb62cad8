//! Embedding vectors of tokens and logits of hidden vectors.

use crate::border::ffi;
use crate::headers::cllm::CLLMModel;
use crate::headers::cllm_inference::CLLMInference;
use crate::headers::cllm_inference::context::check_live;
use crate::model::kept;
use crate::model::view;
use cllm_compat::lattice;
use cllm_engine::error::{Error, Result};
use cllm_kernels::Pool;
use cllm_kernels::memory::product;
use cllm_kernels::{matmul, vector};
use cllm_macros::c_api;
use std::ffi::c_int;

/// E of a model and its transforms.
struct Matrix<'a> {
    vocab: usize,
    dim: usize,
    rows: &'a [f32],
    transform: Option<&'a [f32]>,
    inverse: Option<&'a [f32]>,
}

impl Matrix<'_> {
    fn row(&self, id: u32) -> Result<&[f32]> {
        let rows = self.rows.chunks_exact(self.dim);
        rows.into_iter().nth(id as usize).ok_or_else(|| {
            Error::shape(format!("token {id} is not below the {} of the model", self.vocab))
        })
    }
}

/// The model of a context; an error where either is NULL or freed.
///
/// # Safety
/// `inference` is NULL or a `CLLMInference` whose model is NULL or a `CLLMModel`.
pub(super) unsafe fn model_of<'a>(inference: *const CLLMInference) -> Result<&'a CLLMModel> {
    check_live(inference)?;
    // Freed objects of the library are found out before.
    let model = ffi::get(inference, "inference")?.model;
    kept::floats(model)?;
    view::live(model)
}

/// The matrix of a context's model. Only the public field `model` is used, so the context may be
/// the program's own.
///
/// # Safety
/// `inference` is NULL or a `CLLMInference` whose model's non-NULL pointers hold what its sizes
/// say.
unsafe fn matrix<'a>(inference: *const CLLMInference) -> Result<Matrix<'a>> {
    let model = model_of(inference)?;
    let (vocab, dim) = (view::vocab_size(model)?, view::embedding_dim(model)?);
    let e = &model.embeddings;
    let square = product("a lattice transform", &[dim, dim])?;
    let len = product("the embedding matrix", &[vocab, dim])?;
    Ok(Matrix {
        vocab,
        dim,
        rows: ffi::slice(e.embeddings, len, "model->embeddings.embeddings")?,
        transform: ffi::slice_opt(e.lattice_transform, square, "lattice_transform")?,
        inverse: ffi::slice_opt(e.inverse_transform, square, "inverse_transform")?,
    })
}

/// Copies row `id` to `out`, or zeros and an error where there is no such row.
fn copy_row(matrix: &Matrix, id: u32, out: &mut [f32]) -> Result<()> {
    match matrix.row(id) {
        Ok(row) => {
            out.copy_from_slice(row);
            Ok(())
        }
        Err(error) => {
            out.fill(0.0);
            Err(error)
        }
    }
}

/// The row of `id` after the lattice transform, where the model has one.
fn transformed_row(matrix: &Matrix, id: u32, out: &mut [f32]) -> Result<()> {
    match (matrix.transform, matrix.row(id)) {
        (Some(transform), Ok(row)) => {
            lattice::embedding::apply(out, transform, row);
            Ok(())
        }
        _ => copy_row(matrix, id, out),
    }
}

/// Copies the embedding of a token.
///
/// @param inference  a context; only its `model` is used.
/// @param token_id   row of the embedding matrix.
/// @param embedding  `[embedding_dim]` floats, overwritten; with zeros where `token_id` is out of
///                   range, which is an error for cllm_last_error().
///
/// A NULL pointer or a model without embeddings: nothing happens.
///
/// # Safety
/// The arrays of the model have the sizes that it states; `embedding` has room.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_get_embedding(
    inference: *mut CLLMInference,
    token_id: u32,
    embedding: *mut f32,
) {
    let matrix = matrix(inference)?;
    let out = ffi::slice_mut(embedding, matrix.dim, "embedding")?;
    copy_row(&matrix, token_id, out)
}

/// The same as cllm_get_embedding().
///
/// @param inf       a context; only its `model` is used.
/// @param token_id  row of the embedding matrix.
/// @param output    `[embedding_dim]` floats, overwritten; with zeros where `token_id` is out of
///                  range.
///
/// # Safety
/// As for cllm_get_embedding().
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_embed_token(
    inf: *mut CLLMInference,
    token_id: u32,
    output: *mut f32,
) {
    let matrix = matrix(inf)?;
    let out = ffi::slice_mut(output, matrix.dim, "output")?;
    copy_row(&matrix, token_id, out)
}

/// embedding = transform * embedding.
///
/// @param embedding  `[dim]` floats, changed in place.
/// @param transform  `[dim][dim]` floats, row-major: `transform[i][j]` multiplies `embedding[j]`;
///                   may not overlap `embedding`.
/// @param dim        NULL or dim <= 0: nothing happens.
///
/// # Safety
/// The arrays have the sizes above.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_apply_lattice_transform(
    embedding: *mut f32,
    transform: *mut f32,
    dim: c_int,
) {
    let n = ffi::positive(dim, "dim")?;
    let square = product("transform", &[n, n])?;
    // A transform that overlaps the vector is a copy.
    let transform = ffi::input(transform, square, "transform", (embedding, n))?;
    let x = ffi::slice_mut(embedding, n, "embedding")?;
    lattice::embedding::apply_in_place(&transform, x)
}

/// The embedding of a token after `model->embeddings.lattice_transform`, where the model has one.
///
/// @param inf       a context; only its `model` is used.
/// @param token_id  row of the embedding matrix.
/// @param output    `[embedding_dim]` floats, overwritten; with zeros where `token_id` is out of
///                  range.
///
/// The model's forward pass uses the plain embedding.
///
/// # Safety
/// As for cllm_get_embedding().
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_get_embedding_transformed(
    inf: *mut CLLMInference,
    token_id: u32,
    output: *mut f32,
) {
    let matrix = matrix(inf)?;
    let out = ffi::slice_mut(output, matrix.dim, "output")?;
    transformed_row(&matrix, token_id, out)
}

/// cllm_get_embedding_transformed() for several tokens.
///
/// @param inf         a context; only its `model` is used.
/// @param token_ids   `[num_tokens]` rows of the embedding matrix.
/// @param num_tokens  n <= 0: nothing happens.
/// @param output      `[num_tokens][embedding_dim]` floats, overwritten; a row of zeros for each
///                    id out of range.
///
/// # Safety
/// As for cllm_get_embedding().
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_embed_tokens_batch(
    inf: *mut CLLMInference,
    token_ids: *mut u32,
    num_tokens: c_int,
    output: *mut f32,
) {
    let n = ffi::positive(num_tokens, "num_tokens")?;
    let matrix = matrix(inf)?;
    let ids = ffi::slice(token_ids, n, "token_ids")?;
    let len = product("output", &[n, matrix.dim])?;
    let out = ffi::slice_mut(output, len, "output")?;
    let rows = ids.iter().zip(out.chunks_exact_mut(matrix.dim));
    let outcomes = rows.map(|(&id, row)| transformed_row(&matrix, id, row));
    // Every row is written; the first bad id is the error.
    outcomes.fold(Ok(()), Result::and)
}

/// Logits of a hidden vector: h' = inverse_transform * h where the model has that transform, else
/// h; logits_i = h' . E_i for every token i.
///
/// @param inf           a context; only its `model` is used.
/// @param hidden_state  `[embedding_dim]` floats, not changed.
/// @param logits        `[vocab_size]` floats, overwritten; may not overlap `hidden_state`.
///
/// NULL or a model without embeddings: nothing happens. The model's forward pass uses no transform:
/// cllm_compute_logits() is the one that agrees with it.
///
/// # Safety
/// The arrays of the model have the sizes that it states; the others those above.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_project_to_vocab(
    inf: *mut CLLMInference,
    hidden_state: *mut f32,
    logits: *mut f32,
) {
    let matrix = matrix(inf)?;
    let hidden = ffi::slice(hidden_state, matrix.dim, "hidden_state")?;
    let mut x = cllm_kernels::memory::filled("a hidden vector", matrix.dim)?;
    match matrix.inverse {
        Some(inverse) => lattice::embedding::apply(&mut x, inverse, hidden),
        None => x.copy_from_slice(hidden),
    }
    let out = ffi::slice_mut(logits, matrix.vocab, "logits")?;
    matmul::matvec(&Pool::serial(), out, matrix.rows, &x);
    Ok(())
}

/// Logits of a hidden vector, as the forward pass computes them: inf->logits_i = hidden . E_i.
///
/// @param inf           a context; uses its `model` and writes its `logits` (`[vocab_size]`).
/// @param hidden_state  `[embedding_dim]` floats, not changed; may be inf->hidden_states.
///
/// NULL, a model without embeddings or a context without `logits`: nothing happens.
/// (Declared but missing in the C library.)
///
/// # Safety
/// The arrays of the model and of the context have the sizes that the model states.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_compute_logits(inf: *mut CLLMInference, hidden_state: *mut f32) {
    // A hidden vector inside the logits is a copy.
    let matrix = matrix(inf)?;
    let logits = ffi::get(inf, "inf")?.logits;
    let x = ffi::input(hidden_state, matrix.dim, "hidden_state", (logits, matrix.vocab))?;
    let out = ffi::slice_mut(logits, matrix.vocab, "inf->logits")?;
    matmul::matvec(&Pool::serial(), out, matrix.rows, &x);
    Ok(())
}

/// Euclidean length of a vector, summed in double precision.
///
/// @param embedding  `[dim]` floats, not changed.
/// @param dim        number of components.
/// @return the length; 0 for NULL or dim <= 0.
///
/// # Safety
/// `embedding` has `dim` elements.
#[unsafe(no_mangle)]
#[c_api(0.0)]
pub unsafe extern "C" fn cllm_embedding_norm(embedding: *mut f32, dim: c_int) -> f32 {
    let n = ffi::positive(dim, "dim")?;
    let x = ffi::slice(embedding, n, "embedding")?;
    Ok(vector::square_sum(x).sqrt() as f32)
}

/// Scales a vector to unit length if it is longer than 1e-8.
///
/// @param embedding  `[dim]` floats, changed in place.
/// @param dim        NULL or dim <= 0: nothing happens.
///
/// # Safety
/// `embedding` has `dim` elements.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_normalize_embedding(embedding: *mut f32, dim: c_int) {
    let n = ffi::positive(dim, "dim")?;
    lattice::normalize(ffi::slice_mut(embedding, n, "embedding")?);
    Ok(())
}
