//! Models that the library makes: one block of weights, plain C structs around it; and the one
//! way to free a model, whoever made it.

use crate::border::ffi::{self, CArray, zeroable};
use crate::border::registry::lock;
use crate::headers::cllm::*;
use crate::model::kept::Kept;
use crate::model::parts::Structs;
use crate::model::view::{self, MODELS, ModelRecord};
use crate::model::words;
use cllm_engine::error::{Error, Result};
use cllm_engine::model::{ModelShape, Part, Table};
use cllm_kernels::memory::product;
use std::collections::HashSet;
use std::ffi::c_char;
use std::sync::Arc;

/// A model with zeroed weights and position tables, norms at gamma 1 and beta 0, and
/// `token_<id>` strings. Every matrix has d×d floats, whatever the layout uses of them, and a part
/// that the shape has not keeps its place in the block, its pointer being NULL.
pub(crate) fn build(shape: &ModelShape) -> Result<*mut CLLMModel> {
    shape.check()?;
    let mut blocks = Blocks::zeroed(shape, true)?;
    blocks.set_sizes(shape)?;
    blocks.place_weights(shape);
    Ok(blocks.publish(shape, None))
}

/// The C structs of a model whose weights the library keeps: all sizes, the strings of the tokens, and
/// NULL for every array of weights and positions.
pub(crate) fn build_around(kept: Kept) -> Result<*mut CLLMModel> {
    let shape =
        ModelShape { tables: [Table::Absent; 4], transforms: [false; 2], ..kept.shape().clone() };
    shape.check()?;
    let mut blocks = Blocks::zeroed(&shape, false)?;
    blocks.set_sizes(&shape)?;
    Ok(blocks.publish(&shape, Some(kept)))
}

/// A model with room for the fields behind it that programs with CLLM_MODEL_EXTENDED have. They are
/// zero, and nothing here looks at them again: a model that a program made may end before them.
#[repr(C)]
#[derive(Clone, Copy)]
struct Room {
    model: CLLMModel,
    tail: [u8; EXTENDED_MODEL - size_of::<CLLMModel>()],
}

/// Bytes of the longer `CLLMModel`.
const EXTENDED_MODEL: usize = 2752;
const _: () = assert!(size_of::<Room>() == EXTENDED_MODEL);
zeroable!(Room);

/// The memory of a model, freed unless it is published.
struct Blocks {
    model: CArray<Room>,
    tokens: CArray<CLLMToken>,
    /// `None` where the library keeps them.
    weights: Option<CArray<f32>>,
    attention: CArray<AttentionLayer>,
    feed_forward: CArray<FeedForwardLayer>,
    norms: CArray<CLLMLayerNorm>,
    /// In the order of [`Part::TABLES`].
    tables: [Option<CArray<f32>>; 4],
    /// In the order of [`Part::TRANSFORMS`].
    transforms: [Option<CArray<f32>>; 2],
}

impl Blocks {
    /// `weighty`: with room for the weights.
    fn zeroed(shape: &ModelShape, weighty: bool) -> Result<Self> {
        let layers = shape.layers.len();
        // The largest first: what there is no memory for is not begun.
        let mut blocks = Self {
            weights: match weighty {
                true => Some(CArray::aligned("the weights", shape.num_weights()?)?),
                false => None,
            },
            model: CArray::zeroed("the model", 1)?,
            tokens: CArray::zeroed("the tokens", shape.vocab)?,
            attention: CArray::zeroed("the attention layers", layers)?,
            feed_forward: CArray::zeroed("the feed-forward layers", layers)?,
            norms: CArray::zeroed("the layer norms", shape.norms.len())?,
            tables: [const { None }; 4],
            transforms: [const { None }; 2],
        };
        let table = shape.table_floats()?;
        let tables = blocks.tables.iter_mut().zip(Part::TABLES).zip(shape.tables);
        for ((slot, part), _) in tables.filter(|(_, kind)| *kind != Table::Absent) {
            *slot = Some(match part {
                Part::Learned => CArray::aligned("the learned positions", table)?,
                _ => CArray::zeroed("a position table", table)?,
            });
        }
        let square = product("a transform", &[shape.dim, shape.dim])?;
        let transforms = blocks.transforms.iter_mut().zip(shape.transforms);
        for (slot, _) in transforms.filter(|(_, present)| *present) {
            *slot = Some(CArray::zeroed("a transform", square)?);
        }
        Ok(blocks)
    }

    /// The numbers in the structs, and the strings of the tokens.
    fn set_sizes(&mut self, shape: &ModelShape) -> Result<()> {
        let narrow = |value: usize, name: &'static str| {
            u32::try_from(value).map_err(|_| Error::argument(name, value, "below 2^32"))
        };
        let vocab = narrow(shape.vocab, "vocab_size")?;
        let dim = narrow(shape.dim, "embedding_dim")?;
        let layers = narrow(shape.layers.len(), "num_layers")?;
        let positions = narrow(shape.max_length, "max_seq_len")?;
        for (id, token) in (0..).zip(self.tokens.as_mut_slice()) {
            token.token_id = id;
            ffi::set_field(&mut token.token_str, format!("token_{id}").as_bytes());
        }
        let attention = self.attention.as_mut_slice().iter_mut();
        for (l, (a, layer)) in (0..).zip(attention.zip(&shape.layers)) {
            a.layer_id = l;
            a.num_heads = narrow(layer.heads, "num_heads")?;
            a.head_dim = dim / a.num_heads.max(1);
        }
        let feed_forward = self.feed_forward.as_mut_slice().iter_mut();
        for (l, (f, layer)) in (0..).zip(feed_forward.zip(&shape.layers)) {
            f.layer_id = l;
            f.hidden_dim = narrow(layer.hidden, "ff_dim")?;
            (f.input_dim, f.output_dim) = (dim, dim);
        }
        for (i, (n, norm)) in (0..).zip(self.norms.as_mut_slice().iter_mut().zip(&shape.norms)) {
            (n.layer_id, n.dim, n.epsilon) = (i, dim, norm.epsilon);
        }

        let m = &mut self.model.as_mut_slice()[0].model;
        for (slot, byte) in m.header.magic.iter_mut().zip(b"CLLM") {
            *slot = *byte as c_char;
        }
        m.header.version = CLLM_VERSION;
        m.header.vocab_size = u64::from(vocab);
        m.header.embedding_dim = u64::from(dim);
        m.header.num_layers = u64::from(layers);
        m.header.num_heads = shape.heads() as u32;
        m.header.context_length = positions;
        m.header.architecture = if shape.second_norms() { 2 } else { 0 };
        m.header.total_params = shape.num_weights()? as u64;
        m.num_weights = self.weights.as_ref().map_or(0, |_| m.header.total_params);
        m.vocab_size = u64::from(vocab);
        m.embedding_dim = u64::from(dim);
        m.num_layers = layers;
        m.embeddings.vocab_size = vocab;
        m.embeddings.embedding_dim = dim;
        m.pos_encoding.max_length = positions;
        m.pos_encoding.embedding_dim = dim;
        Ok(())
    }

    /// The pointers into the block of weights. Every one is derived from the block's own, so that
    /// neighbours may be viewed as one.
    fn place_weights(&mut self, shape: &ModelShape) {
        let Some(weights) = &mut self.weights else { return };
        let weights = weights.as_mut_slice();
        let (base, mut used) = (weights.as_mut_ptr(), 0);
        let mut structs = Structs {
            model: &mut self.model.as_mut_slice()[0].model,
            attention: self.attention.as_mut_slice(),
            feed_forward: self.feed_forward.as_mut_slice(),
            norms: self.norms.as_mut_slice(),
            layers: shape.layers.len(),
        };
        for name in shape.block() {
            let start = used;
            used += shape.room(name);
            if matches!(name.part, Part::Gamma1 | Part::Gamma2) {
                // SAFETY: `used` is at most the length of the block, to which nothing else refers.
                unsafe { std::slice::from_raw_parts_mut(base.add(start), used - start) }.fill(1.0);
            }
            if let Some(field) = structs.field(name).filter(|_| shape.has(name)) {
                *field = base.wrapping_add(start);
            }
        }
    }

    /// Hands all of it over to the program, and the registry a record of it.
    fn publish(mut self, shape: &ModelShape, kept: Option<Kept>) -> *mut CLLMModel {
        fn raw(array: Option<CArray<f32>>) -> *mut f32 {
            array.map_or(std::ptr::null_mut(), CArray::into_raw)
        }
        let m = &mut self.model.as_mut_slice()[0].model;
        m.weights = raw(self.weights);
        m.tokens = self.tokens.into_raw();
        m.attention_layers = self.attention.into_raw();
        m.ff_layers = self.feed_forward.into_raw();
        m.layer_norms = self.norms.into_raw();
        let [spiral, clock, prime, learned] = self.tables.map(raw);
        let p = &mut m.pos_encoding;
        p.spiral_positions = spiral;
        p.clock_positions = clock;
        p.prime_positions = prime;
        p.learned_positions = learned;
        let [transform, inverse] = self.transforms.map(raw);
        m.embeddings.lattice_transform = transform;
        m.embeddings.inverse_transform = inverse;
        let record = ModelRecord {
            layout: shape.layout,
            architecture: shape.architecture,
            later: later(shape),
            second_norms: shape.second_norms(),
            vocab: shape.vocab,
            dim: shape.dim,
            layers: shape.layers.len(),
            max_length: shape.max_length,
            attention: m.attention_layers.addr(),
            weights: (m.weights.addr(), m.num_weights as usize),
            tables: [spiral.addr(), learned.addr()],
            version: view::new_version(),
            kept,
            long_strings: Arc::default(),
        };
        let model = self.model.into_raw().cast::<CLLMModel>();
        MODELS.insert(model, record);
        model
    }
}

/// Where in the block of weights the tensors begin that the C structs have no field for.
fn later(shape: &ModelShape) -> usize {
    shape.block().take_while(|name| !name.part.is_later()).map(|name| shape.room(name)).sum()
}

/// Frees a model: its block of weights, and every pointer outside that block once. Of a model
/// that the program assembled, each matrix must be a block of malloc's family of its own.
///
/// # Safety
/// `model` is NULL or a model whose pointers are as above, and nothing uses it any more.
pub(crate) unsafe fn free(model: *mut CLLMModel) -> Result<()> {
    if model.is_null() {
        return Ok(());
    }
    let record = MODELS.find(model)?;
    MODELS.remove(model);
    words::forget(model);
    // SAFETY: the caller's promise, for all that is read and freed here.
    unsafe {
        let m = ffi::get(model, "model")?;
        // The library's own arrays are as long as they were made, whatever the fields say now.
        let (mut layers, mut floats) = (m.num_layers as usize, m.num_weights as usize);
        let mut norms = layers;
        if let Some(record) = &record {
            let record = lock(record);
            if m.attention_layers.addr() == record.attention {
                layers = record.layers;
            }
            if m.weights.addr() == record.weights.0 {
                floats = record.weights.1;
            }
            norms = if record.second_norms { 2 * layers } else { layers };
        }
        let block = m.weights.addr()..m.weights.addr().saturating_add(floats.saturating_mul(4));
        let mut structs = Structs::of(model, layers, norms)?;
        let mut freed = HashSet::new();
        for name in structs.names() {
            let pointer = structs.field(name).map_or(std::ptr::null_mut(), |field| *field);
            let separate = !pointer.is_null() && !block.contains(&pointer.addr());
            if separate && freed.insert(pointer.addr()) {
                ffi::free(pointer);
            }
        }
        let m = structs.model;
        ffi::free(m.tokens);
        ffi::free(m.lattice_points);
        ffi::free(m.attention_layers);
        ffi::free(m.ff_layers);
        ffi::free(m.layer_norms);
        ffi::free(m.weights);
        match record {
            Some(_) => MODELS.retire(model),
            None => ffi::free(model),
        }
    }
    Ok(())
}

/// Frees and clears pointers, if none lies inside the weight block of a model.
///
/// # Safety
/// Each is NULL, a block of malloc, or part of a weight block of a live model that the library made.
pub(crate) unsafe fn free_blocks<const N: usize>(pointers: [&mut *mut f32; N]) -> Result<()> {
    if pointers.iter().any(|p| inside_weights(**p)) {
        return Err(Error::state("the layer belongs to a model: free the model"));
    }
    for pointer in pointers {
        // SAFETY: the caller's promise.
        unsafe { ffi::free(std::mem::replace(pointer, std::ptr::null_mut())) };
    }
    Ok(())
}

/// Whether a pointer lies inside the weight block of a model that the library made.
fn inside_weights(pointer: *const f32) -> bool {
    let address = pointer.addr();
    let inside = |record: &mut ModelRecord| {
        let (start, len) = record.weights;
        (start..start + len * size_of::<f32>()).contains(&address).then_some(())
    };
    !pointer.is_null() && MODELS.search(inside).is_some()
}
