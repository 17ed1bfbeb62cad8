//! Sizes and health of a model; the lattice transform under its second name.

use crate::border::ffi;
use crate::headers::cllm::CLLMModel;
use crate::headers::cllm_utils::memory::{LAYER_BYTES, megabytes};
use crate::model::view;
use cllm_compat::check;
use cllm_compat::lattice;
use cllm_engine::error::Result;
use cllm_engine::model::TensorName;
use cllm_kernels::memory::product;
use cllm_macros::c_api;
use std::ffi::c_int;
use std::fmt::Write;

/// # Safety
/// Non-NULL `ff_layers` have `num_layers` entries.
unsafe fn parameter_count(m: &CLLMModel) -> Result<u64> {
    let v = view::vocab_size(m)? as u64;
    let d = view::embedding_dim(m)? as u64;
    let mut parts = vec![v.saturating_mul(d)];
    let square = d.saturating_mul(d);
    let transforms = [m.embeddings.lattice_transform, m.embeddings.inverse_transform];
    parts.extend(transforms.iter().filter(|t| !t.is_null()).map(|_| square));
    if !m.pos_encoding.learned_positions.is_null() {
        parts.push(u64::from(m.pos_encoding.max_length).saturating_mul(d));
    }
    let layers = u64::from(m.num_layers);
    let per_layer = square.saturating_mul(4).saturating_add(4 * d);
    parts.push(layers.saturating_mul(per_layer));
    if !m.ff_layers.is_null() {
        for f in ffi::slice(m.ff_layers, m.num_layers as usize, "ff_layers")? {
            let [i, h, o] = [f.input_dim, f.hidden_dim, f.output_dim].map(u64::from);
            parts.extend([i.saturating_mul(h), h.saturating_mul(o), h, o]);
        }
    }
    Ok(parts.into_iter().fold(0, u64::saturating_add))
}

fn memory_usage(m: &CLLMModel, parameters: u64) -> u64 {
    parameters
        .saturating_mul(4)
        .saturating_add(size_of::<CLLMModel>() as u64)
        .saturating_add(u64::from(m.num_layers) * LAYER_BYTES)
}

/// Whether every parameter, trained or constant, is finite.
///
/// # Safety
/// As [`view::plan`].
unsafe fn health(model: *const CLLMModel) -> Result<()> {
    let view = view::model(model)?;
    let mut outcome = Ok(());
    view.params.visit(|part, layer, t| {
        if outcome.is_ok() {
            outcome = check::finite(TensorName { part, layer }, t);
        }
    });
    outcome?;
    view.spiral.map_or(Ok(()), |t| check::finite("spiral positions", t))
}

/// How many parameters a model has, for display: `V*D`, `D*D` for each embedding transform that
/// is there, `S*D` for a learned position table, and for each layer
/// `4*D*D + in*F + F*out + F + out + 4*D`.
///
/// The `4*D*D` counts an output projection that attention does not have, as the original did;
/// `model->num_weights` is the exact size of the weight block.
///
/// @return the count; 0 if model is NULL or states no sizes.
///
/// # Safety
/// `model` is NULL or a model whose `ff_layers`, where not NULL, have `num_layers` entries.
#[unsafe(no_mangle)]
#[c_api(0)]
pub unsafe extern "C" fn cllm_get_parameter_count(model: *mut CLLMModel) -> u64 {
    parameter_count(view::live(model)?)
}

/// Bytes of a model's parameters and structs, for display: 4 times `cllm_get_parameter_count`,
/// plus 1952, plus 152 for each layer. Tokens and constant tables are not counted.
///
/// @return bytes; 0 if model is NULL or states no sizes.
///
/// # Safety
/// As `cllm_get_parameter_count`.
#[unsafe(no_mangle)]
#[c_api(0)]
pub unsafe extern "C" fn cllm_get_memory_usage(model: *mut CLLMModel) -> u64 {
    let m = view::live(model)?;
    Ok(memory_usage(m, parameter_count(m)?))
}

/// Prints a model's sizes, its number of parameters (`cllm_get_parameter_count`) and its memory
/// (`cllm_get_memory_usage`) to stdout:
///
/// ```text
/// CLLM Model Statistics:
///   Vocabulary Size:    1000
///   Embedding Dim:      64
///   Number of Layers:   2
///   Total Parameters:   196224 (0.20 M)
///   Memory Usage:       787152 bytes (0.75 MB)
///   Attention Heads:    4
///   Head Dimension:     16
///   FF Hidden Dim:      256
/// ```
///
/// The last three lines are those of layer 0, and are left out where it has no such part. A megabyte
/// has 2^20 bytes. NULL prints the line `Model: NULL`.
///
/// # Safety
/// `model` is NULL or a model whose layer arrays, where not NULL, have `num_layers` entries.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_print_model_stats(model: *mut CLLMModel) {
    if model.is_null() {
        ffi::print("Model: NULL\n");
        return Ok(());
    }
    let m = view::live(model)?;
    let parameters = parameter_count(m).unwrap_or(0);
    let bytes = memory_usage(m, parameters);
    let mut text = format!(
        "CLLM Model Statistics:\n  Vocabulary Size:    {}\n  Embedding Dim:      {}\n  \
             Number of Layers:   {}\n  Total Parameters:   {parameters} ({:.2} M)\n  \
             Memory Usage:       {bytes} bytes ({})\n",
        m.embeddings.vocab_size,
        m.embeddings.embedding_dim,
        m.num_layers,
        parameters as f64 / 1e6,
        megabytes(bytes)
    );
    if m.num_layers > 0 && !m.attention_layers.is_null() {
        let a = ffi::get(m.attention_layers, "attention_layers")?;
        let _ = writeln!(text, "  Attention Heads:    {}", a.num_heads);
        let _ = writeln!(text, "  Head Dimension:     {}", a.head_dim);
    }
    if m.num_layers > 0 && !m.ff_layers.is_null() {
        let f = ffi::get(m.ff_layers, "ff_layers")?;
        let _ = writeln!(text, "  FF Hidden Dim:      {}", f.hidden_dim);
    }
    ffi::print(text);
    Ok(())
}

/// Looks for NaN and infinite values in all parameters of a model: embeddings, attention,
/// feed-forward, biases, norms, learned and spiral positions. Missing parts are no fault.
///
/// @return 1 if there are none; 0 if there are, or if model or its embeddings are NULL: the
///         message names the first array at fault.
///
/// # Safety
/// `model` is NULL or a model whose non-NULL pointers hold what its sizes say.
#[unsafe(no_mangle)]
#[c_api(0)]
pub unsafe extern "C" fn cllm_check_model_health(model: *mut CLLMModel) -> c_int {
    health(model)?;
    Ok(1)
}

/// Applies a lattice transform: `vector <- T * vector`. The same as
/// `cllm_apply_lattice_transform`: nothing is inverted, the inverse has to be passed.
///
/// @param vector           `[dim]`, changed.
/// @param inverse_transform T, `[dim][dim]`, row-major; must not overlap `vector`.
/// @param dim              1 or more; a smaller one, or a NULL pointer, has no effect.
///
/// # Safety
/// The arrays are NULL or have the sizes above.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_apply_inverse_lattice_transform(
    vector: *mut f32,
    inverse_transform: *mut f32,
    dim: c_int,
) {
    let n = ffi::positive(dim, "dim")?;
    let square = product("inverse_transform", &[n, n])?;
    // A transform that overlaps the vector is a copy.
    let transform = ffi::input(inverse_transform, square, "inverse_transform", (vector, n))?;
    let x = ffi::slice_mut(vector, n, "vector")?;
    lattice::embedding::apply_in_place(&transform, x)
}
