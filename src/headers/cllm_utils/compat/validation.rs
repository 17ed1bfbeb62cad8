//! Checks of models, gradients, logits and batches. Each returns whether all is well; what is
//! not stands in the error message.

use crate::border::ffi;
use crate::border::registry::lock;
use crate::headers::cllm::*;
use crate::headers::cllm_format::files::complete;
use crate::model::kept;
use crate::model::view::{self, MODELS};
use cllm_compat::check;
use cllm_engine::error::{Error, Result};
use cllm_engine::limits::MAX_EPSILON;
use cllm_engine::log;
use cllm_engine::model::{Part, TensorName};
use cllm_kernels::memory::product;
use cllm_macros::c_api;
use std::ffi::c_char;

/// Whether the widths of every layer fit the model's.
///
/// # Safety
/// Non-NULL layer arrays of the model have `num_layers` entries.
unsafe fn consistency(m: &CLLMModel) -> Result<()> {
    let d = view::embedding_dim(m)? as u64;
    let count = m.num_layers as usize;
    let attention = ffi::slice(m.attention_layers, count, "model->attention_layers")?;
    let ff = ffi::slice(m.ff_layers, count, "model->ff_layers")?;
    for (l, (a, f)) in attention.iter().zip(ff).enumerate() {
        if u64::from(a.num_heads) * u64::from(a.head_dim) != d {
            return Err(Error::shape(format!(
                "layer {l} has {} heads of {} dimensions, the model {d} dimensions",
                a.num_heads, a.head_dim
            )));
        }
        if u64::from(f.input_dim) != d || u64::from(f.output_dim) != d {
            return Err(Error::shape(format!(
                "feed-forward layer {l} maps {} to {} dimensions, the model has {d}",
                f.input_dim, f.output_dim
            )));
        }
    }
    Ok(())
}

/// Whether the block of weights and every matrix and bias is finite.
///
/// # Safety
/// As [`view::plan`]; a non-NULL `weights` has `num_weights` floats.
unsafe fn weights(model: *const CLLMModel) -> Result<()> {
    let m = view::live(model)?;
    let params = view::read(view::plan(model)?.params)?;
    if !m.weights.is_null() && m.num_weights > 0 {
        let len = usize::try_from(m.num_weights).unwrap_or(usize::MAX);
        check::finite("weights", ffi::slice(m.weights, len, "model->weights")?)?;
    }
    let mut outcome = Ok(());
    params.visit(|part, layer, t| {
        use Part::{Beta1, Beta2, Gamma1, Gamma2, Learned};
        let elsewhere = matches!(part, Gamma1 | Gamma2 | Beta1 | Beta2 | Learned);
        if outcome.is_ok() && !elsewhere {
            outcome = check::finite(TensorName { part, layer }, t);
        }
    });
    outcome
}

/// Whether every layer norm has finite parameters and a sensible epsilon.
///
/// # Safety
/// As [`view::plan`].
unsafe fn layer_norms(model: *const CLLMModel) -> Result<()> {
    let record = MODELS.find(model)?;
    let second_norms = record.is_some_and(|record| lock(&record).second_norms);
    let m = view::live(model)?;
    let d = view::embedding_dim(m)?;
    let count = m.num_layers as usize * if second_norms { 2 } else { 1 };
    // The library's record says how many norms there are; without one it is L.
    let norms = ffi::slice(m.layer_norms, count, "model->layer_norms")?;
    for (i, n) in norms.iter().enumerate() {
        if n.dim as usize != d {
            return Err(Error::shape(format!(
                "layer norm {i} has {} dimensions, the model {d}",
                n.dim
            )));
        }
        // A NaN must not pass.
        if !(n.epsilon > 0.0 && n.epsilon <= MAX_EPSILON) {
            return Err(Error::state(format!(
                "epsilon of layer norm {i} is {}, must be above 0 and at most {MAX_EPSILON}",
                n.epsilon
            )));
        }
        let gamma = ffi::slice(n.gamma, d, "gamma of a layer norm")?;
        let beta = ffi::slice(n.beta, d, "beta of a layer norm")?;
        check::finite(format_args!("gamma of layer norm {i}"), gamma)?;
        check::finite(format_args!("beta of layer norm {i}"), beta)?;
    }
    Ok(())
}

/// Whether every position table that is there is finite.
///
/// # Safety
/// Non-NULL tables have max_length rows of the encoding's width.
unsafe fn positions(m: &CLLMModel) -> Result<()> {
    let p = &m.pos_encoding;
    let tables = [
        ("spiral positions", p.spiral_positions),
        ("clock positions", p.clock_positions),
        ("prime positions", p.prime_positions),
        ("learned positions", p.learned_positions),
    ];
    for (name, table) in tables {
        if table.is_null() {
            continue;
        }
        let width = match p.embedding_dim as usize {
            0 => view::embedding_dim(m)?,
            width => width,
        };
        let len = product("a position table", &[p.max_length as usize, width])?;
        check::finite(name, ffi::slice(table, len, "a position table")?)?;
    }
    Ok(())
}

/// Checks that an array has no NaN and no infinite value.
///
/// @param array values.
/// @param size  how many; 0 passes.
/// @param name  what the message calls them; NULL stands for "array".
/// @return true if all are finite; false if array is NULL or some are not: the message counts
///         both kinds.
///
/// Large finite values pass: the original took everything beyond 1e38 for infinite.
///
/// # Safety
/// `array` is NULL or has `size` floats; `name` is NULL or a C string.
#[unsafe(no_mangle)]
#[c_api(false)]
pub unsafe extern "C" fn cllm_check_numerical_stability(
    array: *const f32,
    size: usize,
    name: *const c_char,
) -> bool {
    let name = if name.is_null() {
        "array".into()
    } else {
        String::from_utf8_lossy(ffi::bytes(name, "name")?)
    };
    check::finite(name, ffi::slice(array, size, "array")?)?;
    Ok(true)
}

/// Checks that all weights are finite: the block `weights` where there is one, the embeddings,
/// and query, key, value, w1, w2 and biases of each layer. Missing layers are no fault.
///
/// @return true if they are; false if model or its embeddings are NULL, or a value is not finite:
///         the message names the first array at fault.
///
/// # Safety
/// `model` is NULL or a model whose non-NULL pointers hold what its sizes say.
#[unsafe(no_mangle)]
#[c_api(false)]
pub unsafe extern "C" fn cllm_validate_weights(model: *const CLLMModel) -> bool {
    weights(model)?;
    Ok(true)
}

/// Checks every layer norm: gamma and beta present and finite, 0 < epsilon <= 1e-3, the model's
/// width. Models that the library made have 2*L norms, others L.
///
/// @return true if all pass; false if model, its norms, a gamma or a beta is NULL (a model without
///         them runs, with norms that only normalise), or a norm fails.
///
/// # Safety
/// As `cllm_validate_weights`.
#[unsafe(no_mangle)]
#[c_api(false)]
pub unsafe extern "C" fn cllm_validate_layer_norms(model: *const CLLMModel) -> bool {
    layer_norms(model)?;
    Ok(true)
}

/// Checks that every position table that the model has is finite.
///
/// @return true if so, also without any table; false if model is NULL or a value is not finite.
///
/// # Safety
/// `model` is NULL or a model whose non-NULL tables have `pos_encoding.max_length` rows of
/// `pos_encoding.embedding_dim` floats.
#[unsafe(no_mangle)]
#[c_api(false)]
pub unsafe extern "C" fn cllm_validate_positional_encodings(model: *const CLLMModel) -> bool {
    positions(view::live(model)?)?;
    Ok(true)
}

/// Runs all checks of a model, in this order: its structure (as `cllm_validate_model`), the
/// widths of its layers, weights, layer norms, position tables. The first failure ends it.
///
/// @return true if all pass; false otherwise, also if model is NULL.
///
/// # Safety
/// As `cllm_validate_weights`.
#[unsafe(no_mangle)]
#[c_api(false)]
pub unsafe extern "C" fn cllm_comprehensive_validation(model: *const CLLMModel) -> bool {
    let m = view::live(model)?;
    complete(model)?;
    consistency(m)?;
    weights(model)?;
    layer_norms(model)?;
    positions(m)?;
    Ok(true)
}

/// Checks one value of the block `weights`.
///
/// @param weight_idx index into the block, below num_weights.
/// @param epsilon    not used: no gradient is computed.
/// @return true if the weight is finite; false if it is not, if model or its block is NULL, or if
///         the index is out of range.
///
/// # Safety
/// `model` is NULL or a model whose block `weights`, where not NULL, has `num_weights` floats.
#[unsafe(no_mangle)]
#[c_api(false)]
pub unsafe extern "C" fn cllm_gradient_check_weight(
    model: *mut CLLMModel,
    weight_idx: usize,
    epsilon: f32,
) -> bool {
    let _ = epsilon;

    let m = view::live(model)?;
    let len = usize::try_from(m.num_weights).unwrap_or(usize::MAX);
    let weights = ffi::slice(m.weights, len, "model->weights")?;
    let weight = weights
        .get(weight_idx)
        .ok_or_else(|| Error::argument("weight_idx", weight_idx, "below num_weights"))?;
    check::finite(format_args!("weight {weight_idx}"), &[*weight])?;
    Ok(true)
}

/// Checks an array of gradients: finite, the largest magnitude at most 100, the mean magnitude at
/// least 1e-7.
///
/// @param model     must not be NULL; not used otherwise.
/// @param gradients values.
/// @param num_gradients how many, 1 or more.
/// @return true if all hold; false otherwise, and for none.
///
/// # Safety
/// `gradients` is NULL or has `num_gradients` floats.
#[unsafe(no_mangle)]
#[c_api(false)]
pub unsafe extern "C" fn cllm_validate_gradients(
    model: *mut CLLMModel,
    gradients: *const f32,
    num_gradients: usize,
) -> bool {
    kept::floats(model)?;
    check::gradients(ffi::slice(gradients, num_gradients, "gradients")?)?;
    Ok(true)
}

/// Checks that logits are finite; a spread above 100 only makes a warning.
///
/// @param logits     values.
/// @param vocab_size how many, 1 or more.
/// @return true if all are finite; false if not, or if there are none.
///
/// # Safety
/// `logits` is NULL or has `vocab_size` floats.
#[unsafe(no_mangle)]
#[c_api(false)]
pub unsafe extern "C" fn cllm_validate_inference_output(
    logits: *const f32,
    vocab_size: usize,
) -> bool {
    let logits = ffi::slice(logits, vocab_size, "logits")?;
    if logits.is_empty() {
        return Err(Error::argument("vocab_size", 0, "1 or more"));
    }
    check::finite("the logits", logits)?;
    let range = check::range(logits);
    if range > check::MAX_LOGIT_RANGE {
        log::warn(&format!("cllm_validate_inference_output: the logits spread over {range}"));
    }
    Ok(true)
}

/// Checks that every id of a batch is one of the vocabulary.
///
/// @param input_ids  `[batch_size * seq_length]` token ids.
/// @param target_ids the same number of ids.
/// @param batch_size sequences, 1 or more.
/// @param seq_length tokens of each, 1 or more.
/// @param vocab_size ids must lie below it.
/// @return true if all do; false if not, if a pointer is NULL, or if the batch is empty or its
///         size overflows.
///
/// # Safety
/// The arrays are NULL or have `batch_size * seq_length` ids.
#[unsafe(no_mangle)]
#[c_api(false)]
pub unsafe extern "C" fn cllm_validate_training_batch(
    input_ids: *const u32,
    target_ids: *const u32,
    batch_size: usize,
    seq_length: usize,
    vocab_size: u32,
) -> bool {
    let len = product("the batch", &[batch_size, seq_length])?;
    if len == 0 {
        return Err(Error::state("the batch is empty"));
    }
    let (inputs, targets) =
        (ffi::slice(input_ids, len, "input_ids")?, ffi::slice(target_ids, len, "target_ids")?);
    check::ids("input_ids", inputs, vocab_size)?;
    check::ids("target_ids", targets, vocab_size)?;
    Ok(true)
}

/// Checks the widths of every layer: `num_heads * head_dim`, `input_dim` and `output_dim` all
/// equal the model's embedding_dim.
///
/// @return true if they do; false if not, or if model or one of the two layer arrays is NULL.
///
/// # Safety
/// `model` is NULL or a model whose non-NULL layer arrays have `num_layers` entries.
#[unsafe(no_mangle)]
#[c_api(false)]
pub unsafe extern "C" fn cllm_validate_model_consistency(model: *const CLLMModel) -> bool {
    consistency(view::live(model)?)?;
    Ok(true)
}
