//! Model files and `CLLMModel`: which values of the C structs go where in the file, and back.

use super::cllm::*;
use super::ffi::{self, CArray};
use super::model_words;
use super::owned::{self, Sizes};
use super::registry::lock;
use super::views::{self, MODELS, Plan, Raw};
use crate::error::Result;
use crate::format::{
    self, Destination, Extras, Header, LatticePoint, LayerShape, NormShape, Part, Problem, Reader,
    Shape, Source, Table, Tensor, TokenRecord, Training, Values, Words,
};
use crate::limits::{self, TOKEN_STR_LEN};
use crate::nn::model::{AttentionLayout, Norm, Params};
use crate::text::index::Words as _;
use std::ffi::c_char;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// `context_length` of a file whose model has no positions: what the original always wrote.
const NO_CONTEXT: u32 = 512;

/// Reads a model file. NaN and infinite weights are an error unless they are allowed.
pub(crate) fn read_model(path: &Path, allow_non_finite: bool) -> Result<*mut CLLMModel> {
    let (file, len) = format::open(path)?;
    let mut reader = Reader::open(file, len).map_err(Problem::at(path))?;
    let values = if allow_non_finite { Values::Any } else { Values::Finite };
    let draft = Draft(make(reader.header(), reader.shape(), reader.has_extension())?);
    // SAFETY: the model was just made, and nothing else knows it.
    let m = unsafe { ffi::get_mut(draft.0, "model")? };
    let extras = reader.read(&mut Slots(m), values).map_err(Problem::at(path))?;
    // SAFETY: likewise; the borrow of the slots is over.
    unsafe { set_extras(draft.0, &extras)? };
    Ok(draft.keep())
}

/// Whether the file at `path` is one that [`read_model`] reads.
pub(crate) fn check(path: &Path) -> Result<()> {
    let (file, len) = format::open(path)?;
    let mut reader = Reader::open(file, len).map_err(Problem::at(path))?;
    reader.read(&mut (), Values::Finite).map_err(Problem::at(path))?;
    Ok(())
}

/// Writes a model file, whole or not at all.
///
/// # Safety
/// As [`views::plan`]; `tokens` and `lattice_points` are NULL or as long as the model says.
pub(crate) unsafe fn write_model(model: *const CLLMModel, path: &Path) -> Result<()> {
    // SAFETY: the caller's promise.
    let snapshot = unsafe { Snapshot::of(model)? };
    let file = format::prepare(&snapshot.header, &snapshot.shape, &snapshot, &snapshot.extras)?;
    format::atomic::write(path, |out| file.write(out))
}

/// A model that is freed unless it is kept.
struct Draft(*mut CLLMModel);

impl Draft {
    fn keep(self) -> *mut CLLMModel {
        let model = self.0;
        std::mem::forget(self);
        model
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // SAFETY: the library made the model, and nothing else knows it yet.
        // Freeing a model of the library's own has no way to fail.
        let _ = unsafe { owned::free(self.0) };
    }
}

/// A model with the sizes of a file, values still to come.
fn make(header: &Header, shape: &Shape, has_extension: bool) -> Result<*mut CLLMModel> {
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
    let draft = Draft(owned::build(&sizes)?);
    // SAFETY: the model was just made, and nothing else knows it.
    let m = unsafe { ffi::get_mut(draft.0, "model")? };
    set_header(m, header, shape);
    // SAFETY: the arrays of a model of the library's have these lengths.
    unsafe {
        set_layers(m, shape)?;
        if has_extension {
            set_presence(m, shape)?;
        }
        set_tables(m, shape)?;
    }
    Ok(draft.keep())
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
    let len = limits::product("a position table", &[shape.max_length, shape.dim])?;
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
    let len = limits::product("a transform", &[shape.dim, shape.dim])?;
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
    let vocab = views::vocab_size(m)?;
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

fn set_token(token: &mut CLLMToken, record: &TokenRecord) {
    token.token_id = record.token_id;
    token.prime_encoding = record.prime_encoding;
    token.lattice_coords = record.lattice_coords;
    token.angle = record.angle;
    token.radius = record.radius;
    token.frequency = record.frequency;
    token.symmetry_group = record.symmetry_group;
    token.spiral_angle = record.spiral_angle;
    token.radial_distance = record.radial_distance;
    token.reserved = record.reserved;
}

fn token_record(token: &CLLMToken) -> TokenRecord {
    TokenRecord {
        token_id: token.token_id,
        prime_encoding: token.prime_encoding,
        lattice_coords: token.lattice_coords,
        angle: token.angle,
        radius: token.radius,
        frequency: token.frequency,
        symmetry_group: token.symmetry_group,
        spiral_angle: token.spiral_angle,
        radial_distance: token.radial_distance,
        reserved: token.reserved,
    }
}

fn c_point(point: &LatticePoint) -> CLLMLatticePoint {
    CLLMLatticePoint {
        point_id: point.point_id,
        prime: point.prime,
        prime_factor: point.prime_factor,
        coords: point.coords,
        angle: point.angle,
        radius: point.radius,
        resonance: point.resonance,
        neighbors: point.neighbors,
        neighbor_ids: point.neighbor_ids,
        num_neighbors: point.num_neighbors,
        neighbor_count: point.neighbor_count,
        embedding: std::ptr::null_mut(),
        symmetry_group: point.symmetry_group,
        reserved: point.reserved,
    }
}

fn lattice_point(point: &CLLMLatticePoint) -> LatticePoint {
    LatticePoint {
        point_id: point.point_id,
        prime: point.prime,
        prime_factor: point.prime_factor,
        coords: point.coords,
        angle: point.angle,
        radius: point.radius,
        resonance: point.resonance,
        neighbors: point.neighbors,
        neighbor_ids: point.neighbor_ids,
        num_neighbors: point.num_neighbors,
        neighbor_count: point.neighbor_count,
        symmetry_group: point.symmetry_group,
        reserved: point.reserved,
    }
}

/// A model as it is to be written; the floats are borrowed.
struct Snapshot<'m> {
    header: Header,
    shape: Shape,
    params: Params<&'m [f32]>,
    spiral: Option<&'m [f32]>,
    clock: Option<&'m [f32]>,
    prime: Option<&'m [f32]>,
    transforms: [Option<&'m [f32]>; 2],
    extras: Extras,
}

impl Snapshot<'_> {
    /// # Safety
    /// As [`write_model`].
    unsafe fn of(model: *const CLLMModel) -> Result<Self> {
        // SAFETY: the caller's promise.
        let mut plan = unsafe { views::plan_incomplete(model)? };
        // SAFETY: likewise.
        let m = unsafe { ffi::get(model, "model")? };
        let second_norms = MODELS.find(model)?.is_some_and(|r| lock(&r).second_norms);
        let has_embeddings = !plan.params.embeddings.pointer.is_null();
        if !has_embeddings {
            plan.params.embeddings =
                Raw { pointer: std::ptr::NonNull::dangling().as_ptr(), len: 0 };
        }
        widen(m, &mut plan);
        let table_len = limits::product("a position table", &[plan.max_length, plan.dim])?;
        let optional = |pointer: *mut f32, len: usize| {
            if pointer.is_null() || len == 0 {
                return Ok(None);
            }
            // SAFETY: the caller's promise: tables have max_length rows, transforms are d×d.
            unsafe { ffi::slice(pointer, len, "a table") }.map(Some)
        };
        let clock = optional(m.pos_encoding.clock_positions, table_len)?;
        let prime = optional(m.pos_encoding.prime_positions, table_len)?;
        let spiral = optional(m.pos_encoding.spiral_positions, table_len)?;
        let spiral = spiral.filter(|_| plan.spiral.is_some());
        let square = limits::product("a transform", &[plan.dim, plan.dim])?;
        let transforms = [
            optional(m.embeddings.lattice_transform, square)?,
            optional(m.embeddings.inverse_transform, square)?,
        ];
        let (vocab, dim, max_length) = (plan.vocab, plan.dim, plan.max_length);
        // SAFETY: likewise.
        let params = unsafe { views::read(plan.params)? };
        // SAFETY: likewise.
        let empty = unsafe { empty_feed_forward(model)? };
        let mut shape = shape(m, vocab, dim, &params, second_norms, &empty);
        shape.max_length = max_length;
        shape.embeddings = has_embeddings;
        shape.tables = tables(&[spiral, clock, prime, params.learned]);
        shape.transforms = transforms.map(|t| t.is_some());
        Ok(Self {
            header: header(m, &shape),
            shape,
            params,
            spiral,
            clock,
            prime,
            transforms,
            // SAFETY: likewise.
            extras: unsafe { extras(model, vocab)? },
        })
    }
}

impl Source for Snapshot<'_> {
    fn data(&self, tensor: &Tensor) -> Option<&[f32]> {
        let layer = || self.params.layers.get(tensor.index);
        let attention = |i: usize| Some(*layer()?.attention.as_ref()?.qkv.get(i)?);
        let ff = || layer()?.feed_forward.as_ref();
        match tensor.part {
            Part::Embeddings => Some(self.params.embeddings),
            Part::LatticeTransform => self.transforms[0],
            Part::InverseTransform => self.transforms[1],
            Part::Query => attention(0),
            Part::Key => attention(1),
            Part::Value => attention(2),
            Part::W1 => Some(ff()?.w1),
            Part::Bias1 => ff()?.b1,
            Part::W2 => Some(ff()?.w2),
            Part::Bias2 => ff()?.b2,
            Part::Gamma => norm(&self.params, tensor.index)?.gamma,
            Part::Beta => norm(&self.params, tensor.index)?.beta,
            Part::Spiral => self.spiral,
            Part::Clock => self.clock,
            Part::Prime => self.prime,
            Part::Learned => self.params.learned,
        }
    }
}

/// Norm `index` of the array in the file: first all LN1, then all LN2.
fn norm<T>(params: &Params<T>, index: usize) -> Option<&Norm<T>> {
    let count = params.layers.len();
    match params.layers.get(index) {
        Some(layer) => Some(&layer.norm1),
        None => Some(&params.layers.get(index.checked_sub(count)?)?.norm2),
    }
}

/// Per-head matrices in the block of a model of the library's have room for d×d floats, as they
/// were read; what the layout does not use is written back too.
fn widen(m: &CLLMModel, plan: &mut Plan) {
    let bytes = (m.num_weights as usize).saturating_mul(4);
    let block = m.weights.addr()..m.weights.addr().saturating_add(bytes);
    let ours = MODELS.search(|r| (r.attention.0 == m.attention_layers.addr()).then_some(()));
    if ours.is_none() || m.weights.is_null() {
        return;
    }
    for attention in plan.params.layers.iter_mut().filter_map(|l| l.attention.as_mut()) {
        for w in &mut attention.qkv {
            let end = w.pointer.addr().saturating_add(4 * plan.dim * plan.dim);
            if block.contains(&w.pointer.addr()) && end <= block.end {
                w.len = plan.dim * plan.dim;
            }
        }
    }
}

/// Which layers of a model of the library's have a feed-forward part of width 0, as
/// `cllm_create_model` makes them: there, but without effect.
///
/// # Safety
/// As [`write_model`].
unsafe fn empty_feed_forward(model: *const CLLMModel) -> Result<Vec<bool>> {
    // SAFETY: the caller's promise.
    let m = unsafe { ffi::get(model, "model")? };
    if MODELS.find(model)?.is_none() || m.ff_layers.is_null() {
        return Ok(Vec::new());
    }
    // SAFETY: likewise.
    let ff = unsafe { ffi::slice(m.ff_layers, m.num_layers as usize, "model->ff_layers")? };
    Ok(ff.iter().map(|f| f.hidden_dim == 0 && !f.w1_lattice.is_null()).collect())
}

fn shape(
    m: &CLLMModel,
    vocab: usize,
    dim: usize,
    params: &Params<&[f32]>,
    second_norms: bool,
    empty_ff: &[bool],
) -> Shape {
    let layers = &params.layers;
    let attention = layers.iter().find_map(|l| l.attention.as_ref());
    let stated = m.header.num_heads as usize;
    let heads = match attention {
        Some(a) => a.heads,
        None if stated > 0 && dim.is_multiple_of(stated) => stated,
        None => 1,
    };
    // Where a layer has no feed-forward part, zeros of the usual width keep its place.
    let hidden = layers.iter().find_map(|l| l.feed_forward.as_ref()).map_or(4 * dim, |f| f.hidden);
    let norms = if second_norms { 2 * layers.len() } else { layers.len() };
    let norms = (0..norms).filter_map(|i| norm(params, i)).map(|n| NormShape {
        epsilon: n.epsilon,
        gamma: n.gamma.is_some(),
        beta: n.beta.is_some(),
    });
    let layer_shapes = layers.iter().enumerate().map(|(i, l)| {
        let ff = l.feed_forward.as_ref();
        let empty = empty_ff.get(i).copied().unwrap_or(false);
        LayerShape {
            heads: l.attention.as_ref().map_or(heads, |a| a.heads),
            hidden: ff.map_or(if empty { 0 } else { hidden }, |f| f.hidden),
            attention: l.attention.is_some(),
            feed_forward: empty || ff.is_some(),
            bias1: empty || ff.is_some_and(|f| f.b1.is_some()),
            bias2: empty || ff.is_some_and(|f| f.b2.is_some()),
        }
    });
    Shape {
        vocab,
        dim,
        max_length: 0,
        layout: attention.map_or(AttentionLayout::Full, |a| a.layout),
        embeddings: true,
        layers: layer_shapes.collect(),
        norms: norms.collect(),
        tables: [Table::Absent; 4],
        transforms: [false; 2],
        body_transforms: false,
    }
}

/// Tables that are zero throughout take no room, unless they would be too large to be made of
/// nothing when the file is read.
fn tables(tables: &[Option<&[f32]>; 4]) -> [Table; 4] {
    let zero = |t: &[f32]| t.iter().all(|x| x.to_bits() == 0);
    let kinds = tables.map(|table| match table {
        None => Table::Absent,
        Some(t) if zero(t) => Table::Zero,
        Some(_) => Table::Stored,
    });
    let zeros = kinds.iter().zip(tables).filter(|(kind, _)| **kind == Table::Zero);
    let bytes: usize = zeros.map(|(_, t)| 4 * t.map_or(0, <[f32]>::len)).sum();
    if bytes as u64 <= limits::MAX_ZERO_TABLE_BYTES {
        return kinds;
    }
    kinds.map(|kind| if kind == Table::Zero { Table::Stored } else { kind })
}

/// The header's fields that are not sizes.
fn header(m: &CLLMModel, shape: &Shape) -> Header {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs());
    let mut header = Header {
        created_timestamp: match m.header.created_timestamp {
            0 => now,
            created => created,
        },
        modified_timestamp: now,
        timestamp: now,
        architecture: match (shape.second_norms(), m.header.architecture) {
            (true, _) => 2,
            (false, 2) => 0,
            (false, architecture) => architecture,
        },
        context_length: match (shape.max_length as u32, m.header.context_length) {
            (0, 0) => NO_CONTEXT,
            (0, stated) => stated,
            (length, _) => length,
        },
        training_timestamp: m.training_meta.timestamp,
        ..Header::default()
    };
    let copy = |slot: &mut [u8], field: &[c_char]| {
        for (slot, &byte) in slot.iter_mut().zip(ffi::field_bytes(field)) {
            *slot = byte;
        }
    };
    copy(&mut header.model_name, &m.header.model_name);
    copy(&mut header.description, &m.header.description);
    header
}

/// # Safety
/// As [`write_model`].
unsafe fn extras(model: *const CLLMModel, vocab: usize) -> Result<Extras> {
    // SAFETY: the caller's promise.
    let m = unsafe { ffi::get(model, "model")? };
    let mut extras = Extras::default();
    if !m.tokens.is_null() {
        // SAFETY: likewise.
        let tokens = unsafe { ffi::slice(m.tokens, vocab, "model->tokens")? };
        extras.tokens = tokens.iter().map(token_record).collect();
    }
    // SAFETY: likewise.
    if let Some(strings) = unsafe { model_words::strings(model)? } {
        extras.words = words(&strings);
    }
    if !m.lattice_points.is_null() && m.num_lattice_points > 0 {
        let count = usize::try_from(m.num_lattice_points).unwrap_or(usize::MAX);
        // SAFETY: likewise.
        let points = unsafe { ffi::slice(m.lattice_points, count, "model->lattice_points")? };
        extras.points = points.iter().map(lattice_point).collect();
    }
    let t = &m.training_meta;
    extras.training = Training {
        training_steps: t.training_steps,
        learning_rate: t.learning_rate,
        loss: t.loss,
        optimizer: t.optimizer.map(|c| c as u8),
        reserved: t.reserved,
    };
    Ok(extras)
}

/// The strings of the tokens, whole; none where each is the `token_<id>` that reading gives anyway.
fn words(strings: &model_words::Strings) -> Words {
    let mut words = Words::default();
    let mut real = false;
    for id in 0..strings.count() as u32 {
        let word = strings.get(id).unwrap_or_default();
        real |= word != format!("token_{id}").as_bytes();
        words.push(word);
    }
    if real { words } else { Words::default() }
}
