//! Feed-forward layers.

use crate::border::ffi::{self, CArray};
use crate::headers::cllm::FeedForwardLayer;
use crate::model::build::free_blocks;
use crate::model::view;
use cllm_compat::sublayers::Dense;
use cllm_engine::error::{Error, Result};
use cllm_kernels::memory::product;
use cllm_macros::c_api;
use std::ffi::c_int;
/// The matrices of a feed-forward layer.
///
/// # Safety
/// Non-NULL pointers of `layer` hold what its widths say.
pub(crate) unsafe fn dense_view<'a>(layer: *const FeedForwardLayer) -> Result<Dense<'a>> {
    let f = ffi::get(layer, "layer")?;
    view::check_single(f.w1_lattice)?;
    let widths = [f.input_dim as usize, f.hidden_dim as usize, f.output_dim as usize];
    let [inputs, hidden, outputs] = widths;
    if widths.contains(&0) {
        return Err(Error::shape("the feed-forward layer has a width of 0"));
    }
    Ok(Dense {
        inputs,
        hidden,
        outputs,
        w1: ffi::slice(f.w1_lattice, product("W1", &[hidden, inputs])?, "layer->w1_lattice")?,
        b1: ffi::slice_opt(f.bias1, hidden, "layer->bias1")?,
        w2: ffi::slice(f.w2_lattice, product("W2", &[outputs, hidden])?, "layer->w2_lattice")?,
        b2: ffi::slice_opt(f.bias2, outputs, "layer->bias2")?,
    })
}

/// # Safety
/// `input` and `output` are NULL or hold `n` rows of the layer's widths.
unsafe fn feed_forward(
    layer: *const FeedForwardLayer,
    input: *const f32,
    output: *mut f32,
    n: usize,
) -> Result<()> {
    // Input and output are not viewed at the same time.
    let dense = dense_view(layer)?;
    let len = product("the rows", &[n, dense.outputs])?;
    if output.is_null() {
        return Err(Error::null("output"));
    }
    let rows = product("the rows", &[n, dense.inputs])?;
    let y = dense.forward(ffi::slice(input, rows, "input")?, n)?;
    ffi::slice_mut(output, len, "output")?.copy_from_slice(&y);
    Ok(())
}

/// output = W2·GELU(W1·input + bias1) + bias2, for one vector. A NULL bias counts as 0.
///
/// @param input   `[input_dim]`.
/// @param output  `[output_dim]`, overwritten; may be `input` where the widths agree.
///
/// # Safety
/// The arrays have the sizes above, the layer's matrices those of its widths.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_feedforward(
    layer: *mut FeedForwardLayer,
    input: *mut f32,
    output: *mut f32,
) {
    feed_forward(layer, input, output, 1)
}

/// cllm_feedforward of `data` into itself. Widths that differ: nothing happens.
///
/// # Safety
/// As cllm_feedforward.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_feedforward_inplace(layer: *mut FeedForwardLayer, data: *mut f32) {
    let f = ffi::get(layer, "layer")?;
    if f.input_dim != f.output_dim {
        return Err(Error::shape(format!(
            "the layer turns {} values into {}: not possible in place",
            f.input_dim, f.output_dim
        )));
    }
    feed_forward(layer, data, data, 1)
}

/// cllm_feedforward of `batch_size` rows.
///
/// @param input   `[batch_size * input_dim]`.
/// @param output  `[batch_size * output_dim]`, overwritten; must not overlap `input`.
///
/// # Safety
/// As cllm_feedforward.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_feedforward_batch(
    layer: *mut FeedForwardLayer,
    input: *mut f32,
    output: *mut f32,
    batch_size: c_int,
) {
    let n = ffi::positive(batch_size, "batch_size")?;
    feed_forward(layer, input, output, n)
}

/// Makes a feed-forward layer with zeroed matrices `w1 [hidden_dim * input_dim]`,
/// `w2 [output_dim * hidden_dim]` and biases. What the struct held is not looked at, `layer_id` is
/// left alone. Free with cllm_feedforward_free. A width of 0: nothing happens. Without memory all
/// pointers are NULL.
///
/// # Safety
/// `layer` is NULL or writable.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_feedforward_init(
    layer: *mut FeedForwardLayer,
    input_dim: u32,
    hidden_dim: u32,
    output_dim: u32,
) {
    if layer.is_null() || [input_dim, hidden_dim, output_dim].contains(&0) {
        return Err(Error::shape("cllm_feedforward_init needs a layer and three widths"));
    }
    // Plain fields, written without reading them.
    (*layer).input_dim = input_dim;
    (*layer).hidden_dim = hidden_dim;
    (*layer).output_dim = output_dim;
    (*layer).w1_lattice = std::ptr::null_mut();
    (*layer).w2_lattice = std::ptr::null_mut();
    (*layer).bias1 = std::ptr::null_mut();
    (*layer).bias2 = std::ptr::null_mut();
    let [i, h, o] = [input_dim, hidden_dim, output_dim].map(|n| n as usize);
    let block =
        |sizes: &[usize]| CArray::<f32>::zeroed("a feed-forward layer", product("a layer", sizes)?);
    let (w1, w2) = (block(&[h, i])?, block(&[o, h])?);
    let (b1, b2) = (block(&[h])?, block(&[o])?);
    (*layer).w1_lattice = w1.into_raw();
    (*layer).w2_lattice = w2.into_raw();
    (*layer).bias1 = b1.into_raw();
    (*layer).bias2 = b2.into_raw();
    Ok(())
}

/// Frees the four blocks of a layer from cllm_feedforward_init and sets them NULL. A layer of a
/// model that the library made is left alone.
///
/// @param layer  may be NULL.
///
/// # Safety
/// `layer` is NULL or such a layer.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_feedforward_free(layer: *mut FeedForwardLayer) {
    if layer.is_null() {
        return Ok(());
    }
    let f = ffi::get_mut(layer, "layer")?;
    free_blocks([&mut f.w1_lattice, &mut f.w2_lattice, &mut f.bias1, &mut f.bias2])
}
