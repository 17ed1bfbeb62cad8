//! What of a `CLLMModel` goes into its file.

use super::records::{lattice_point, token_record};
use crate::border::ffi;
use crate::border::registry::lock;
use crate::headers::cllm::CLLMModel;
use crate::model::kept::Kept;
use crate::model::view::{self, MODELS, Plan, Raw};
use crate::model::{subwords, words};
use cllm_engine::error::{Error, Result};
use cllm_engine::file::{Entry, Extras, Header, Source};
use cllm_engine::model::{
    Architecture, AttentionLayout, LayerShape, Metadata, ModelShape, NormShape, Params, Part,
    Precision, Table, TrainingRecord,
};
use cllm_engine::system::date;
use cllm_engine::text::WordList;
use cllm_engine::text::index::Words;

/// A model as it is to be written; the floats are borrowed.
pub(super) struct Snapshot<'m> {
    pub header: Header,
    pub shape: ModelShape,
    params: Params<&'m [f32]>,
    spiral: Option<&'m [f32]>,
    clock: Option<&'m [f32]>,
    prime: Option<&'m [f32]>,
    transforms: [Option<&'m [f32]>; 2],
    pub extras: Extras,
}

impl Snapshot<'_> {
    /// # Safety
    /// As [`super::write_model`].
    pub(super) unsafe fn of(model: *const CLLMModel) -> Result<Self> {
        // SAFETY: the caller's promise.
        let mut plan = unsafe { view::plan_incomplete(model)? };
        // SAFETY: likewise.
        let m = unsafe { view::live(model)? };
        let second_norms = MODELS.find(model)?.is_some_and(|r| lock(&r).second_norms);
        let has_embeddings = !plan.params.embeddings.pointer.is_null();
        if !has_embeddings {
            plan.params.embeddings =
                Raw { pointer: std::ptr::NonNull::dangling().as_ptr(), len: 0 };
        }
        widen(m, &mut plan);
        let table_len =
            cllm_kernels::memory::product("a position table", &[plan.max_length, plan.dim])?;
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
        let square = cllm_kernels::memory::product("a transform", &[plan.dim, plan.dim])?;
        let transforms = [
            optional(m.embeddings.lattice_transform, square)?,
            optional(m.embeddings.inverse_transform, square)?,
        ];
        let (vocab, dim, max_length) = (plan.vocab, plan.dim, plan.max_length);
        // SAFETY: likewise.
        let params = unsafe { view::read(plan.params)? };
        // SAFETY: likewise.
        let empty = unsafe { empty_feed_forward(model)? };
        let mut shape = shape(m, vocab, dim, &params, second_norms, &empty);
        shape.architecture = view::architecture(model)?;
        shape.max_length = max_length;
        shape.embeddings = has_embeddings;
        shape.tables = Table::of_values([spiral, clock, prime, params.learned]);
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

/// What a file of a model whose weights the library keeps holds, besides those.
pub(super) struct KeptSnapshot {
    pub header: Header,
    pub shape: ModelShape,
    pub model: Kept,
    pub extras: Extras,
}

impl KeptSnapshot {
    /// # Safety
    /// As [`super::write_model`].
    pub(super) unsafe fn of(model: *const CLLMModel, weights: Kept) -> Result<Self> {
        // SAFETY: the caller's promise.
        let m = unsafe { view::live(model)? };
        weights.check()?;
        let shape = weights.stored_shape();
        let (vocab, dim) = (view::vocab_size(m)?, view::embedding_dim(m)?);
        if (vocab, dim) != (shape.vocab, shape.dim) {
            return Err(Error::shape(format!(
                "the model was made with {} tokens and width {}, its fields say {vocab} and {dim}",
                shape.vocab, shape.dim
            )));
        }
        Ok(Self {
            header: header(m, &shape),
            // SAFETY: likewise.
            extras: unsafe { extras(model, vocab)? },
            model: weights,
            shape,
        })
    }

    /// The header with its sizes.
    pub(super) fn full_header(&self) -> Header {
        self.header.clone().with_sizes(&self.shape, &self.extras)
    }
}

impl Snapshot<'_> {
    /// The header with its sizes.
    pub(super) fn full_header(&self) -> Header {
        self.header.clone().with_sizes(&self.shape, &self.extras)
    }
}

impl Source for Snapshot<'_> {
    fn data(&self, entry: &Entry) -> Option<&[f32]> {
        match entry.name.part {
            Part::LatticeTransform => self.transforms[0],
            Part::InverseTransform => self.transforms[1],
            Part::Spiral => self.spiral,
            Part::Clock => self.clock,
            Part::Prime => self.prime,
            part => self.params.get(part, entry.name.layer).copied(),
        }
    }
}

/// Per-head matrices in the block of a model that the library made have room for d×d floats, as they
/// were read; what the layout does not use is written back too.
fn widen(m: &CLLMModel, plan: &mut Plan) {
    let bytes = (m.num_weights as usize).saturating_mul(4);
    let block = m.weights.addr()..m.weights.addr().saturating_add(bytes);
    let ours = MODELS.search(|r| (r.attention == m.attention_layers.addr()).then_some(()));
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

/// Which layers of a model that the library made have a feed-forward part of width 0, as
/// `cllm_create_model` makes them: there, but without effect.
///
/// # Safety
/// As [`super::write_model`].
unsafe fn empty_feed_forward(model: *const CLLMModel) -> Result<Vec<bool>> {
    // SAFETY: the caller's promise.
    let m = unsafe { view::live(model)? };
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
) -> ModelShape {
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
    let second = layers.iter().map(|l| &l.norm2).filter(|_| second_norms);
    let norms = layers.iter().map(|l| &l.norm1).chain(second).map(|n| NormShape {
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
    ModelShape {
        vocab,
        dim,
        max_length: 0,
        architecture: Architecture::ORIGINAL,
        precision: Precision::F32,
        layout: attention.map_or(AttentionLayout::Full, |a| a.layout),
        embeddings: true,
        layers: layer_shapes.collect(),
        norms: norms.collect(),
        tables: [Table::Absent; 4],
        transforms: [false; 2],
    }
}

/// The header's fields that are not sizes.
fn header(m: &CLLMModel, shape: &ModelShape) -> Header {
    let metadata = Metadata {
        name: ffi::field_bytes(&m.header.model_name).to_vec(),
        description: ffi::field_bytes(&m.header.description).to_vec(),
        created: m.header.created_timestamp,
        modified: m.header.modified_timestamp,
        trained: m.training_meta.timestamp,
        context: m.header.context_length,
        architecture: m.header.architecture,
    };
    Header::of(&metadata, shape, date::unix_now())
}

/// # Safety
/// As [`super::write_model`].
unsafe fn extras(model: *const CLLMModel, vocab: usize) -> Result<Extras> {
    // SAFETY: the caller's promise.
    let m = unsafe { view::live(model)? };
    let mut extras = Extras::default();
    if !m.tokens.is_null() {
        // SAFETY: likewise.
        let tokens = unsafe { ffi::slice(m.tokens, vocab, "model->tokens")? };
        extras.tokens = tokens.iter().map(token_record).collect();
    }
    // SAFETY: likewise.
    extras.subwords = unsafe { subwords::of(model)? };
    // SAFETY: likewise.
    if let Some(strings) = unsafe { words::strings(model)? }.filter(|_| extras.subwords.is_none()) {
        extras.words = word_list(&strings)?;
    }
    if !m.lattice_points.is_null() && m.num_lattice_points > 0 {
        let count = usize::try_from(m.num_lattice_points).unwrap_or(usize::MAX);
        // SAFETY: likewise.
        let points = unsafe { ffi::slice(m.lattice_points, count, "model->lattice_points")? };
        extras.points = points.iter().map(lattice_point).collect();
    }
    let t = &m.training_meta;
    extras.training = TrainingRecord {
        training_steps: t.training_steps,
        learning_rate: t.learning_rate,
        loss: t.loss,
        optimizer: t.optimizer.map(|c| c as u8),
        reserved: t.reserved,
    };
    Ok(extras)
}

/// The strings of the tokens, whole; none where each is the `token_<id>` that reading gives anyway.
fn word_list(strings: &words::Strings) -> Result<WordList> {
    let mut words = WordList::default();
    let mut real = false;
    for id in 0..strings.count() as u32 {
        let word = strings.get(id).unwrap_or_default();
        real |= word != format!("token_{id}").as_bytes();
        words.push(word)?;
    }
    Ok(if real { words } else { WordList::default() })
}
