//! Positional encodings: filling the four tables, adding them to a vector.

use crate::border::ffi::{self, CArray};
use crate::headers::cllm::{CLLMModel, PositionalEncoding};
use crate::headers::cllm_inference::CLLMInference;
use crate::headers::cllm_inference::embedding::model_of;
use crate::model::kept;
use crate::model::view;
use cllm_compat::lattice::positions;
use cllm_engine::error::{Error, Result};
use cllm_kernels::memory::product;
use cllm_kernels::vector;
use cllm_macros::c_api;
use std::ffi::c_int;

type Fill = fn(&mut [f32], usize);

/// The four tables' formulas, in the order of their fields.
const FORMULAS: [Fill; 4] =
    [positions::spiral, positions::clock, positions::prime, positions::learned];

fn tables(pe: &PositionalEncoding) -> [*mut f32; 4] {
    [pe.spiral_positions, pe.clock_positions, pe.prime_positions, pe.learned_positions]
}

/// Fills one table by its formula.
///
/// # Safety
/// `pos_enc` is NULL or a `PositionalEncoding` whose tables have the sizes that it states.
unsafe fn generate(pos_enc: *const PositionalEncoding, kind: usize) -> Result<()> {
    let pe = ffi::get(pos_enc, "pos_enc")?;
    let (length, dim) = (pe.max_length as usize, pe.embedding_dim as usize);
    let len = product("a position table", &[length, dim])?;
    let table = tables(pe)[kind];
    let table = ffi::slice_mut(table, len, "the table of pos_enc")?;
    FORMULAS[kind](table, dim);
    Ok(())
}

/// Fills `spiral_positions`: row p is cos/sin(k a) for even/odd i, with k = i/2 + 1 and a = p golden
/// angles (2.3999631), scaled to unit length.
///
/// @param pos_enc  reads `max_length` and `embedding_dim`, writes the table
///                 `[max_length][embedding_dim]`. NULL, or no table: nothing happens.
///
/// A model adds this table to its embeddings once it is there; call
/// cllm_generate_all_positional_encodings() or set it before training, not after.
///
/// # Safety
/// The table has the size above.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_generate_spiral_encoding(pos_enc: *mut PositionalEncoding) {
    generate(pos_enc, 0)
}

/// Fills `clock_positions`: row p is cos/sin(k a)(1 + 0.2 ln(p + 1)) with k = i/2 + 1,
/// a = 2 pi (p mod 12)/12, plus 0.1 cos and 0.1 sin of 2 pi p (j + 1)/max_length in components 4j and
/// 4j + 1 (for j below embedding_dim/4), scaled to unit length.
///
/// @param pos_enc  reads `max_length` and `embedding_dim`, writes the table
///                 `[max_length][embedding_dim]`. NULL, or no table: nothing happens.
///
/// # Safety
/// The table has the size above.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_generate_clock_encoding(pos_enc: *mut PositionalEncoding) {
    generate(pos_enc, 1)
}

/// Fills `prime_positions`: with q the p-th prime (2 for row 0) row p is
/// cos/sin((i + 1) 2 pi (q mod 1000)/1000)(0.5 + 0.5 ln q/ln(the last row's prime)), plus
/// 0.1 cos(2 pi (q mod 12)/12) in every third component, scaled to unit length.
///
/// @param pos_enc  reads `max_length` and `embedding_dim`, writes the table
///                 `[max_length][embedding_dim]`. NULL, or no table: nothing happens.
///
/// # Safety
/// The table has the size above.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_generate_prime_encoding(pos_enc: *mut PositionalEncoding) {
    generate(pos_enc, 2)
}

/// Fills `learned_positions` with sinusoids to start from: sin (even i) and cos (odd i) of
/// p * 10000^(-2 (i/2)/embedding_dim), not scaled.
///
/// @param pos_enc  reads `max_length` and `embedding_dim`, writes the table
///                 `[max_length][embedding_dim]`. NULL, or no table: nothing happens.
///
/// Source: "Attention Is All You Need", section 3.5. The C library's base was near 71, not 10000.
///
/// # Safety
/// The table has the size above.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_initialize_learned_encoding(pos_enc: *mut PositionalEncoding) {
    generate(pos_enc, 3)
}

/// Allocates the tables of `model->pos_encoding` that are missing, and fills all four by their
/// formulas (what learned_positions held is lost).
///
/// @param model  `pos_encoding.max_length` and `.embedding_dim` say how large; where one is 0
///               nothing happens. NULL: nothing happens.
///
/// The forward pass adds the rows of two of them, spiral (length 1) and learned (length
/// sqrt(embedding_dim/2)), to the embeddings: next to embeddings of the usual size, about
/// 0.02 sqrt(embedding_dim), positions then dominate. A model must be trained with them; filling
/// them in a trained model changes what it computes.
///
/// New tables are malloc blocks that belong to the model: cllm_free_positional_encoding() or
/// cllm_free_model() frees them. Without memory the model is as it was.
///
/// # Safety
/// The tables of the model have the size that it states; nothing else uses it during the call.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_generate_all_positional_encodings(model: *mut CLLMModel) {
    kept::floats(model)?;
    let pe = &mut ffi::get_mut(model, "model")?.pos_encoding;
    let (length, dim) = (pe.max_length as usize, pe.embedding_dim as usize);
    let len = product("a position table", &[length, dim])?;
    if len == 0 {
        return Ok(());
    }
    let mut made = [const { None }; 4];
    for (slot, table) in made.iter_mut().zip(tables(pe)) {
        if table.is_null() {
            *slot = Some(CArray::<f32>::zeroed("a position table", len)?);
        }
    }
    let fields = [
        &mut pe.spiral_positions,
        &mut pe.clock_positions,
        &mut pe.prime_positions,
        &mut pe.learned_positions,
    ];
    for ((field, made), formula) in fields.into_iter().zip(made).zip(FORMULAS) {
        if let Some(table) = made {
            *field = table.into_raw();
        }
        // Or the block just made.
        formula(ffi::slice_mut(*field, len, "a table")?, dim);
    }
    view::weights_changed(model);
    Ok(())
}

/// Frees the four tables and sets their pointers to NULL. The two sizes stay.
///
/// @param pos_enc  NULL: nothing happens; NULL tables are fine.
///
/// # Safety
/// Each table is NULL or a malloc block that nothing uses any more; the same block may stand in
/// several fields.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_free_positional_encoding(pos_enc: *mut PositionalEncoding) {
    let pe = ffi::get_mut(pos_enc, "pos_enc")?;
    let old = tables(pe);
    pe.spiral_positions = std::ptr::null_mut();
    pe.clock_positions = std::ptr::null_mut();
    pe.prime_positions = std::ptr::null_mut();
    pe.learned_positions = std::ptr::null_mut();
    for (i, table) in old.into_iter().enumerate() {
        if !old[..i].contains(&table) {
            // SAFETY: a block of malloc, freed once.
            unsafe { ffi::free(table) };
        }
    }
    Ok(())
}

/// The table sizes of a context's model, where they fit its embeddings; none otherwise.
///
/// # Safety
/// `inference` is NULL or a `CLLMInference` with a valid model.
unsafe fn fitting<'a>(
    inference: *const CLLMInference,
) -> Result<(&'a PositionalEncoding, usize, usize)> {
    let model = model_of(inference)?;
    let dim = view::embedding_dim(model)?;
    let pe = &model.pos_encoding;
    let width = pe.embedding_dim as usize;
    let length = if width == dim || width == 0 { pe.max_length as usize } else { 0 };
    product("a position table", &[length, dim])?;
    Ok((pe, length, dim))
}

/// Row `p` of a table of rows of `dim` floats.
///
/// # Safety
/// A non-NULL table has more than `p` rows.
unsafe fn table_row<'a>(table: *const f32, p: usize, dim: usize) -> Result<&'a [f32]> {
    // SAFETY: the row lies inside the table, whose size is known to fit in memory.
    unsafe { ffi::slice(table.add(p * dim), dim, "a position table") }
}

/// embedding += the spiral row of a position, where the model has `spiral_positions`. The other
/// tables are not used.
///
/// @param inference  a context; only its `model` is used.
/// @param embedding  `[embedding_dim]` floats, changed in place.
/// @param position   0 or more; beyond the table its last row is used. Negative: an error, nothing
///                   happens.
///
/// Nothing happens without a table, with max_length 0, or where the table's width is not the
/// model's.
///
/// # Safety
/// The arrays have the sizes that the model states.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_apply_positional_encoding(
    inference: *mut CLLMInference,
    embedding: *mut f32,
    position: c_int,
) {
    let position = ffi::len(position, "position")?;
    // The row lies inside the table.
    let (pe, length, dim) = fitting(inference)?;
    let x = ffi::slice_mut(embedding, dim, "embedding")?;
    if length > 0 && !pe.spiral_positions.is_null() {
        let row = table_row(pe.spiral_positions, position.min(length - 1), dim)?;
        vector::add_assign(x, row);
    }
    Ok(())
}

/// embedding += (spiral + clock + prime + learned)/4 of a position. A missing table counts as zeros.
///
/// @param inf        a context; only its `model` is used.
/// @param embedding  `[embedding_dim]` floats, changed in place.
/// @param position   0 or more; beyond the tables it is taken modulo max_length (while
///                   cllm_apply_positional_encoding() uses the last row). Negative: nothing
///                   happens.
///
/// Nothing happens with max_length 0 or where the tables' width is not the model's.
///
/// # Safety
/// The arrays have the sizes that the model states.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_apply_positional_encoding_complete(
    inf: *mut CLLMInference,
    embedding: *mut f32,
    position: c_int,
) {
    let position = ffi::len(position, "position")?;
    // The rows lie inside the tables.
    let (pe, length, dim) = fitting(inf)?;
    let x = ffi::slice_mut(embedding, dim, "embedding")?;
    let row = position
        .checked_rem(length)
        .ok_or_else(|| Error::shape("the model has no position tables of its width"))?;
    for table in tables(pe).into_iter().filter(|table| !table.is_null()) {
        vector::axpy(x, 0.25, table_row(table, row, dim)?);
    }
    Ok(())
}
