//! Attention layers.

use crate::border::ffi::{self, CArray};
use crate::headers::cllm::AttentionLayer;
use crate::headers::cllm_inference::CLLMInference;
use crate::headers::cllm_inference::context::check_live;
use crate::model::build::free_blocks;
use crate::model::kept;
use crate::model::view;
use cllm_compat::sublayers::{self, Attended};
use cllm_engine::error::{Error, Result};
use cllm_engine::model::{Attention, AttentionLayout, Scores};
use cllm_kernels::memory::product;
use cllm_macros::c_api;
use std::ffi::c_int;

/// The matrices of a layer, by the layout of the model it belongs to.
///
/// # Safety
/// Non-NULL matrices of `layer` hold H·hd² floats, or (H·hd)² in a model that the library made.
pub(crate) unsafe fn attention_view<'a>(
    layer: *const AttentionLayer,
) -> Result<Attention<&'a [f32]>> {
    let layout = view::attention_layout(layer);
    let a = ffi::get(layer, "layer")?;
    view::check_single(a.query_lattice)?;
    let (heads, head_dim) = (a.num_heads as usize, a.head_dim as usize);
    if heads == 0 || head_dim == 0 {
        return Err(Error::shape("the attention layer has no heads or heads of width 0"));
    }
    let d = product("the attention width", &[heads, head_dim])?;
    let rows = match layout {
        AttentionLayout::Full => d,
        AttentionLayout::PerHead => head_dim,
    };
    let len = product("an attention matrix", &[d, rows])?;
    let qkv = [
        ffi::slice(a.query_lattice, len, "layer->query_lattice")?,
        ffi::slice(a.key_lattice, len, "layer->key_lattice")?,
        ffi::slice(a.value_lattice, len, "layer->value_lattice")?,
    ];
    Ok(Attention {
        heads,
        head_dim,
        layout,
        qkv,
        joined: None,
        output: None,
        scores: Scores::default(),
    })
}

/// Attention over `seq_len` rows in which every row sees every row: out = softmax(q·kᵀ/√hd)·v per
/// head, heads side by side, no output matrix. q = Wq·x and so on.
///
/// @param input        `[seq_len * H*hd]`, rows of positions.
/// @param output       the same size, overwritten; may be `input`.
/// @param key_cache    `[seq_len * H*hd]`, receives this call's keys; may be NULL.
/// @param value_cache  likewise the values; may be NULL.
///
/// The matrices are H*hd × H*hd in layers of models that the library made or read; in all other
/// layers one hd×hd block per head. NULL, missing matrices, `seq_len` <= 0: nothing happens.
///
/// # Safety
/// The arrays have the sizes above; the layer's matrices those of its layout.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_attention_forward(
    layer: *mut AttentionLayer,
    input: *mut f32,
    output: *mut f32,
    key_cache: *mut f32,
    value_cache: *mut f32,
    seq_len: c_int,
) {
    // Input and output are not viewed at the same time.
    let n = ffi::positive(seq_len, "seq_len")?;
    let w = attention_view(layer)?;
    let d = w.heads * w.head_dim;
    let len = product("the rows", &[n, d])?;
    if output.is_null() {
        return Err(Error::null("output"));
    }
    let Attended { qkv, out, .. } =
        sublayers::attend(&w, ffi::slice(input, len, "input")?, n, false)?;
    ffi::slice_mut(output, len, "output")?.copy_from_slice(&out);
    for (cache, part) in [(key_cache, 1), (value_cache, 2)] {
        if !cache.is_null() {
            copy_part(ffi::slice_mut(cache, len, "a cache")?, &qkv, part, d);
        }
    }
    Ok(())
}

/// Queries (part 0), keys (1) or values (2) out of rows of all three.
fn copy_part(out: &mut [f32], qkv: &[f32], part: usize, d: usize) {
    for (out, row) in out.chunks_exact_mut(d).zip(qkv.chunks_exact(3 * d)) {
        out.copy_from_slice(&row[part * d..(part + 1) * d]);
    }
}

/// Causal attention of layer `layer_idx` of the context's model over `seq_len` rows.
///
/// @param input, output  `[seq_len * d]`; may be the same.
///
/// Without a KV cache the rows are the whole sequence. With one that the program installed
/// (`key_cache`, `value_cache`: `[L][kv_cache_size][d]`) the rows continue at `kv_cache_used`:
/// their keys and values are stored there, and row i sees everything up to itself;
/// `kv_cache_used` grows by `seq_len` after the call for the last layer. Set it to 0 to begin a new
/// sequence. A full cache, a bad index or NULL: nothing changes.
///
/// # Safety
/// `inference` is NULL or live; arrays and caches have the sizes above.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_multi_head_attention(
    inf: *mut CLLMInference,
    layer_idx: c_int,
    input: *mut f32,
    output: *mut f32,
    seq_len: c_int,
) {
    check_live(inf)?;
    // Input and output are not viewed at the same time.
    let n = ffi::positive(seq_len, "seq_len")?;
    let context = ffi::get_mut(inf, "inf")?;
    kept::floats(context.model)?;
    let model = ffi::get(context.model, "inf->model")?;
    let layers = model.num_layers as usize;
    let l = ffi::len(layer_idx, "layer_idx")?;
    if l >= layers {
        return Err(Error::argument("layer_idx", l, "below the model's num_layers"));
    }
    if model.attention_layers.is_null() {
        return Err(Error::null("model->attention_layers"));
    }
    let w = attention_view(model.attention_layers.add(l))?;
    let d = w.heads * w.head_dim;
    if d != view::embedding_dim(model)? {
        return Err(Error::shape("the layer's width is not the model's embedding_dim"));
    }
    let len = product("the rows", &[n, d])?;
    if output.is_null() {
        return Err(Error::null("output"));
    }
    let x = ffi::slice(input, len, "input")?;
    let capacity = usize::try_from(context.kv_cache_size).unwrap_or(0);
    let cached = capacity > 0 && !context.key_cache.is_null() && !context.value_cache.is_null();
    let out = if cached {
        let base = ffi::len(context.kv_cache_used, "kv_cache_used")?;
        let total = base.saturating_add(n);
        if total > capacity {
            return Err(Error::shape(format!(
                "the KV cache holds {capacity} positions: {base} are used, {n} more don't fit"
            )));
        }
        let all = product("the KV cache", &[layers, capacity, d])?;
        let slot = l * capacity * d;
        let qkv = sublayers::projections(&w, x, n)?;
        let keys = &mut ffi::slice_mut(context.key_cache, all, "key_cache")?[slot..];
        let values = &mut ffi::slice_mut(context.value_cache, all, "value_cache")?[slot..];
        copy_part(&mut keys[base * d..total * d], &qkv, 1, d);
        copy_part(&mut values[base * d..total * d], &qkv, 2, d);
        let out =
            sublayers::attend_cached(&w, &qkv, &keys[..total * d], &values[..total * d], base, n)?;
        if l + 1 == layers {
            context.kv_cache_used = c_int::try_from(total).unwrap_or(c_int::MAX);
        }
        out
    } else {
        sublayers::attend(&w, x, n, true)?.out
    };
    ffi::slice_mut(output, len, "output")?.copy_from_slice(&out);
    Ok(())
}

/// Makes an attention layer with zeroed matrices of one head_dim×head_dim block per head. What the
/// struct held is not looked at, `layer_id` is left alone. Free with cllm_attention_free.
///
/// @param num_heads, head_dim  at least 1; else nothing happens. Without memory the matrices are
///                             NULL.
///
/// # Safety
/// `layer` is NULL or writable.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_attention_init(
    layer: *mut AttentionLayer,
    num_heads: u32,
    head_dim: u32,
) {
    if layer.is_null() || num_heads == 0 || head_dim == 0 {
        return Err(Error::shape("cllm_attention_init needs a layer, heads and a head width"));
    }
    // Plain fields, written without reading them.
    (*layer).num_heads = num_heads;
    (*layer).head_dim = head_dim;
    (*layer).query_lattice = std::ptr::null_mut();
    (*layer).key_lattice = std::ptr::null_mut();
    (*layer).value_lattice = std::ptr::null_mut();
    let (heads, h) = (num_heads as usize, head_dim as usize);
    let len = product("an attention matrix", &[heads, h, h])?;
    let matrix = || CArray::<f32>::zeroed("an attention matrix", len);
    let [q, k, v] = [matrix()?, matrix()?, matrix()?];
    (*layer).query_lattice = q.into_raw();
    (*layer).key_lattice = k.into_raw();
    (*layer).value_lattice = v.into_raw();
    Ok(())
}

/// Frees the matrices of a layer from cllm_attention_init (or with matrices from malloc) and sets
/// them NULL; the sizes stay. A layer of a model that the library made is left alone.
///
/// @param layer  may be NULL.
///
/// # Safety
/// `layer` is NULL or such a layer.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_attention_free(layer: *mut AttentionLayer) {
    if layer.is_null() {
        return Ok(());
    }
    let a = ffi::get_mut(layer, "layer")?;
    let matrices = [&mut a.query_lattice, &mut a.key_lattice, &mut a.value_lattice];
    free_blocks(matrices)
}
