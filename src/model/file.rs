//! Model files and `CLLMModel`: which values of the C structs go where in the file, and back.

mod records;
mod snapshot;
#[cfg(test)]
mod tests;

use crate::border::ffi::{self, CArray, Draft};
use crate::border::registry::lock;
use crate::headers::cllm::*;
use crate::model::build::{self, Sizes};
use crate::model::view::{self, MODELS};
use cllm_engine::error::Result;
use cllm_engine::file::{
    self, Destination, Extras, Header, Part, Problem, Reader, Shape, Table, Tensor, Values,
};
use cllm_engine::limits::TOKEN_STR_LEN;
use records::{c_point, set_token};
use snapshot::Snapshot;
use std::ffi::c_char;
use std::path::Path;
use std::sync::Arc;

/// Reads a model file. NaN and infinite weights are an error unless they are allowed.
pub(crate) fn read_model(path: &Path, allow_non_finite: bool) -> Result<*mut CLLMModel> {
    let (file, len) = file::open(path)?;
    let mut reader = Reader::open(file, len).map_err(Problem::at(path))?;
    let values = if allow_non_finite { Values::Any } else { Values::Finite };
    let draft = make(reader.header(), reader.shape(), reader.has_extension())?;
    // SAFETY: the model was just made, and nothing else knows it.
    let m = unsafe { ffi::get_mut(draft.get(), "model")? };
    let extras = reader.read(&mut Slots(m), values).map_err(Problem::at(path))?;
    // SAFETY: likewise; the borrow of the slots is over.
    unsafe { set_extras(draft.get(), &extras)? };
    Ok(draft.keep())
}

/// Whether the file at `path` is a model file of this library, not of the original's.
pub(crate) fn has_extension(path: &Path) -> Result<bool> {
    let (file, len) = file::open(path)?;
    Ok(Reader::open(file, len).map_err(Problem::at(path))?.has_extension())
}

/// Whether the file at `path` is one that [`read_model`] reads.
pub(crate) fn check(path: &Path) -> Result<()> {
    let (file, len) = file::open(path)?;
    let mut reader = Reader::open(file, len).map_err(Problem::at(path))?;
    reader.read(&mut (), Values::Finite).map_err(Problem::at(path))?;
    Ok(())
}

/// Writes a model file, whole or not at all.
///
/// # Safety
/// As [`view::plan`]; `tokens` and `lattice_points` are NULL or as long as the model says.
pub(crate) unsafe fn write_model(model: *const CLLMModel, path: &Path) -> Result<()> {
    // SAFETY: the caller's promise.
    let snapshot = unsafe { Snapshot::of(model)? };
    let file = file::prepare(&snapshot.header, &snapshot.shape, &snapshot, &snapshot.extras)?;
    file::atomic::write(path, |out| file.write(out))
}

/// A model with the sizes of a file, values still to come.
fn make(header: &Header, shape: &Shape, has_extension: bool) -> Result<Draft<CLLMModel>> {
    // One width stands for layers of several: the block has room for them all.
    let all_hidden: usize = shape.layers.iter().map(|l| l.hidden).sum();
    let sizes = Sizes {
        vocab: shape.vocab,
        dim: shape.dim,
        layers: shape.layers.len(),
        heads: shape.heads(),
        hidden: all_hidden.div_ceil(shape.layers.len().max(1)),
        max_length: 0,
        layout: shape.layout,
        second_norms: shape.second_norms(),
    };
    // SAFETY: the model was just made, and nothing else knows it.
    let draft = unsafe { Draft::new(build::build(&sizes)?, build::free) };
    // SAFETY: likewise.
    let m = unsafe { ffi::get_mut(draft.get(), "model")? };
    set_header(m, header, shape);
    // SAFETY: the arrays of a model of the library's have these lengths.
    unsafe {
        set_layers(m, shape)?;
        if has_extension {
            set_presence(m, shape)?;
        }
        set_tables(m, shape)?;
    }
    Ok(draft)
}

fn set_header(m: &mut CLLMModel, header: &Header, shape: &Shape) {
    let chars = |field: &mut [c_char], bytes: &[u8]| {
        for (slot, &byte) in field.iter_mut().zip(bytes) {
            *slot = byte as c_char;
        }
    };
    let h = &mut m.header;
    chars(&mut h.magic, &header.magic);
    chars(&mut h.model_name, &header.model_name);
    chars(&mut h.description, &header.description);
    h.version = header.version;
    h.num_lattice_points = header.num_lattice_points;
    h.created_timestamp = header.created_timestamp;
    h.modified_timestamp = header.modified_timestamp;
    h.symmetry_order = header.symmetry_order;
    h.architecture = header.architecture;
    h.num_heads = shape.heads() as u32;
    h.context_length = header.context_length;
    h.golden_ratio = header.golden_ratio;
    h.timestamp = header.timestamp;
    h.total_params = if header.total_params == shape.total_params() {
        header.total_params
    } else {
        m.num_weights
    };
    m.training_meta.timestamp = header.training_timestamp;
}

/// Heads and widths of each layer; feed-forward layers of different widths lie one after the
/// other in the block.
///
/// # Safety
/// The arrays of `m` have the lengths that `shape` says, `m` being made for it.
unsafe fn set_layers(m: &mut CLLMModel, shape: &Shape) -> Result<()> {
    let (d, count) = (shape.dim, shape.layers.len());
    // SAFETY: the caller's promise.
    let (attention, ff, norms) = unsafe {
        (
            ffi::slice_mut(m.attention_layers, count, "attention_layers")?,
            ffi::slice_mut(m.ff_layers, count, "ff_layers")?,
            ffi::slice_mut(m.layer_norms, shape.norms.len(), "layer_norms")?,
        )
    };
    for (a, layer) in attention.iter_mut().zip(&shape.layers) {
        a.num_heads = layer.heads as u32;
        a.head_dim = (d / layer.heads.max(1)) as u32;
    }
    let mut next = ff.first().map_or(std::ptr::null_mut(), |f| f.w1_lattice);
    let mut take = |len: usize| {
        let pointer = next;
        next = next.wrapping_add(len);
        pointer
    };
    for (f, layer) in ff.iter_mut().zip(&shape.layers) {
        f.hidden_dim = layer.hidden as u32;
        f.w1_lattice = take(layer.hidden * d);
        f.bias1 = take(layer.hidden);
        f.w2_lattice = take(d * layer.hidden);
        f.bias2 = take(d);
    }
    for (n, norm) in norms.iter_mut().zip(&shape.norms) {
        n.epsilon = norm.epsilon;
    }
    Ok(())
}

/// NULL for what the model that was written had not.
///
/// # Safety
/// As [`set_layers`].
unsafe fn set_presence(m: &mut CLLMModel, shape: &Shape) -> Result<()> {
    let count = shape.layers.len();
    let absent = |pointer: &mut *mut f32, present: bool| {
        if !present {
            *pointer = std::ptr::null_mut();
        }
    };
    absent(&mut m.embeddings.embeddings, shape.embeddings);
    // SAFETY: the caller's promise.
    let (attention, ff, norms) = unsafe {
        (
            ffi::slice_mut(m.attention_layers, count, "attention_layers")?,
            ffi::slice_mut(m.ff_layers, count, "ff_layers")?,
            ffi::slice_mut(m.layer_norms, shape.norms.len(), "layer_norms")?,
        )
    };
    for ((a, f), layer) in attention.iter_mut().zip(ff).zip(&shape.layers) {
        absent(&mut a.query_lattice, layer.attention);
        absent(&mut a.key_lattice, layer.attention);
        absent(&mut a.value_lattice, layer.attention);
        absent(&mut f.w1_lattice, layer.feed_forward);
        absent(&mut f.w2_lattice, layer.feed_forward);
        absent(&mut f.bias1, layer.feed_forward && layer.bias1);
        absent(&mut f.bias2, layer.feed_forward && layer.bias2);
    }
    for (n, norm) in norms.iter_mut().zip(&shape.norms) {
        absent(&mut n.gamma, norm.gamma);
        absent(&mut n.beta, norm.beta);
    }
    Ok(())
}

/// Position tables and transforms, each a block of its own.
///
/// # Safety
/// The tables of `m` are blocks of malloc's family or NULL.
unsafe fn set_tables(m: &mut CLLMModel, shape: &Shape) -> Result<()> {
    let len = cllm_kernels::memory::product("a position table", &[shape.max_length, shape.dim])?;
    let p = &mut m.pos_encoding;
    p.max_length = shape.max_length as u32;
    let pointers = [
        &mut p.spiral_positions,
        &mut p.clock_positions,
        &mut p.prime_positions,
        &mut p.learned_positions,
    ];
    for (pointer, table) in pointers.into_iter().zip(shape.tables) {
        let new = match table {
            Table::Absent => std::ptr::null_mut(),
            Table::Stored | Table::Zero => CArray::zeroed("a position table", len)?.into_raw(),
        };
        // SAFETY: the caller's promise.
        unsafe { ffi::free(std::mem::replace(pointer, new)) };
    }
    let len = cllm_kernels::memory::product("a transform", &[shape.dim, shape.dim])?;
    let e = &mut m.embeddings;
    let pointers = [&mut e.lattice_transform, &mut e.inverse_transform];
    for (pointer, present) in pointers.into_iter().zip(shape.transforms) {
        if present {
            *pointer = CArray::zeroed("a transform", len)?.into_raw();
        }
    }
    Ok(())
}

/// The arrays of a model that was made for the file.
struct Slots<'m>(&'m mut CLLMModel);

impl Destination for Slots<'_> {
    fn slot(&mut self, tensor: &Tensor) -> Option<&mut [f32]> {
        let m = &mut *self.0;
        let pointer = match tensor.part {
            Part::Embeddings => m.embeddings.embeddings,
            Part::LatticeTransform => m.embeddings.lattice_transform,
            Part::InverseTransform => m.embeddings.inverse_transform,
            Part::Spiral => m.pos_encoding.spiral_positions,
            Part::Clock => m.pos_encoding.clock_positions,
            Part::Prime => m.pos_encoding.prime_positions,
            Part::Learned => m.pos_encoding.learned_positions,
            part => {
                // SAFETY: `make` gave each array an entry per layer, or norm, of the shape that
                // the tensors are listed from.
                unsafe { layer_pointer(m, part, tensor.index) }
            }
        };
        if pointer.is_null() {
            return None;
        }
        // SAFETY: `make` made every pointer that is not NULL point to the floats that the shape
        // says, in memory that only this model has.
        unsafe { ffi::slice_mut(pointer, tensor.len, "a weight array").ok() }
    }
}

/// # Safety
/// The array that `part` stands in has an entry `index`.
unsafe fn layer_pointer(m: &CLLMModel, part: Part, index: usize) -> *mut f32 {
    // SAFETY: the caller's promise, for each.
    unsafe {
        let attention = m.attention_layers.wrapping_add(index);
        let ff = m.ff_layers.wrapping_add(index);
        let norm = m.layer_norms.wrapping_add(index);
        match part {
            Part::Query => (*attention).query_lattice,
            Part::Key => (*attention).key_lattice,
            Part::Value => (*attention).value_lattice,
            Part::W1 => (*ff).w1_lattice,
            Part::Bias1 => (*ff).bias1,
            Part::W2 => (*ff).w2_lattice,
            Part::Bias2 => (*ff).bias2,
            Part::Gamma => (*norm).gamma,
            Part::Beta => (*norm).beta,
            _ => std::ptr::null_mut(),
        }
    }
}

/// # Safety
/// `model` was made by [`make`].
unsafe fn set_extras(model: *mut CLLMModel, extras: &Extras) -> Result<()> {
    // SAFETY: the caller's promise.
    let m = unsafe { ffi::get_mut(model, "model")? };
    let vocab = view::vocab_size(m)?;
    // SAFETY: a made model has one token per id.
    let tokens = unsafe { ffi::slice_mut(m.tokens, vocab, "tokens")? };
    let mut long = std::collections::HashMap::new();
    for ((id, token), word) in tokens.iter_mut().enumerate().zip(extras.words.iter()) {
        ffi::set_field(&mut token.token_str, word);
        if word.len() > TOKEN_STR_LEN {
            long.insert(id as u32, word.to_vec());
        }
    }
    for (token, record) in tokens.iter_mut().zip(&extras.tokens) {
        set_token(token, record);
    }
    if !long.is_empty() {
        let record = MODELS.get(model)?;
        lock(&record).long_strings = Arc::new(long);
    }
    if !extras.points.is_empty() {
        let mut points = CArray::zeroed("the lattice points", extras.points.len())?;
        for (slot, point) in points.as_mut_slice().iter_mut().zip(&extras.points) {
            *slot = c_point(point);
        }
        m.lattice_points = points.into_raw();
        m.num_lattice_points = extras.points.len() as u64;
    }
    let t = &mut m.training_meta;
    t.training_steps = extras.training.training_steps;
    t.learning_rate = extras.training.learning_rate;
    t.loss = extras.training.loss;
    t.optimizer = extras.training.optimizer.map(|b| b as c_char);
    t.reserved = extras.training.reserved;
    Ok(())
}
