//! Public C structs to checked, shaped views. A view is made afresh at every call, since the
//! program may have changed any field or pointer in between.

use crate::border::ffi;
use crate::border::registry::{Registry, lock};
use crate::headers::cllm::{AttentionLayer, CLLMLayerNorm, CLLMModel, FeedForwardLayer};
use crate::model::kept::{Kept, floats};
use cllm_engine::error::{Error, Result};
use cllm_engine::limits::MAX_LAYERS;
use cllm_engine::model::{
    Activation, Architecture, Attention, AttentionLayout, DEFAULT_EPSILON, FeedForward, Layer,
    Layers, ModelRef, Network, Norm, Params, Part, Scores, TensorName,
};
use cllm_kernels::memory::product;
use smallvec::SmallVec;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the library knows of a model that it made or read. The sizes are those that the arrays were
/// made for: what they have room for, as long as the program has not replaced them.
pub(crate) struct ModelRecord {
    /// Shape of the attention matrices.
    pub layout: AttentionLayout,
    /// What the blocks compute.
    pub architecture: Architecture,
    /// Where in the weight block the tensors begin that the C structs have no field for.
    pub later: usize,
    /// Whether `layer_norms` holds 2L norms, the second half being LN2.
    pub second_norms: bool,
    pub vocab: usize,
    pub dim: usize,
    pub layers: usize,
    pub max_length: usize,
    /// Address of the `attention_layers` array.
    pub attention: usize,
    /// Address and length of the weight block.
    pub weights: (usize, usize),
    /// Addresses of the spiral and the learned position table.
    pub tables: [usize; 2],
    /// Changes whenever the library changes the weights.
    pub version: u64,
    /// The weights, where the library keeps them: the pointers of the C structs are NULL then.
    pub kept: Option<Kept>,
    /// Strings too long for `token_str`, whole, by id.
    pub long_strings: Arc<HashMap<u32, Vec<u8>>>,
}

impl ModelRecord {
    /// Where in the weight block a tensor begins that the C structs have no field for; `None` where
    /// the model has no such tensor.
    pub fn later(&self, name: TensorName) -> Option<usize> {
        let square = self.dim * self.dim;
        let outputs = if self.architecture.output { self.layers } else { 0 };
        match name.part {
            Part::Output if name.layer < outputs => Some(self.later + name.layer * square),
            Part::Head if self.architecture.untied => Some(self.later + outputs * square),
            _ => None,
        }
    }
}

/// The models that the library made.
pub(crate) static MODELS: Registry<ModelRecord> = Registry::new("model");

static NEXT_VERSION: AtomicU64 = AtomicU64::new(1);
static FOREIGN_VERSION: AtomicU64 = AtomicU64::new(0);

/// A number that no state of any model's weights had before.
pub(crate) fn new_version() -> u64 {
    NEXT_VERSION.fetch_add(1, Ordering::Relaxed)
}

/// To be called when the library has changed weights of `model`: what was computed from them is
/// out of date.
pub(crate) fn weights_changed(model: *const CLLMModel) {
    let version = new_version();
    match MODELS.find(model) {
        Ok(Some(record)) => lock(&record).version = version,
        _ => FOREIGN_VERSION.store(version, Ordering::Relaxed),
    }
}

/// A tensor before it is borrowed: where it lies and how long it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Raw {
    pub pointer: *mut f32,
    pub len: usize,
}

/// The sizes of a model and where its parts lie, all checked against each other.
pub(crate) type Plan = Network<Raw>;

/// A model that the library has not freed, its own or the program's.
///
/// # Safety
/// As [`ffi::get`].
pub(crate) unsafe fn live<'a>(model: *const CLLMModel) -> Result<&'a CLLMModel> {
    MODELS.find(model)?;
    // SAFETY: the caller's promise.
    unsafe { ffi::get(model, "model") }
}

/// V of a model: the smaller non-zero one of its two fields.
pub(crate) fn vocab_size(model: &CLLMModel) -> Result<usize> {
    let rows = u64::from(model.embeddings.vocab_size);
    let vocab = match (model.vocab_size, rows) {
        (0, n) | (n, 0) => n,
        (a, b) => a.min(b),
    };
    if vocab == 0 {
        return Err(Error::argument("model->vocab_size", 0, "1 or more"));
    }
    usize::try_from(vocab).map_err(|_| Error::argument("model->vocab_size", vocab, "an array size"))
}

/// d of a model: its two fields agree, or one of them is 0.
pub(crate) fn embedding_dim(model: &CLLMModel) -> Result<usize> {
    let stride = u64::from(model.embeddings.embedding_dim);
    let dim = match (stride, model.embedding_dim) {
        (0, n) | (n, 0) => n,
        (a, b) if a == b => a,
        (a, b) => {
            return Err(Error::shape(format!(
                "model->embedding_dim is {b} but model->embeddings.embedding_dim is {a}"
            )));
        }
    };
    if dim == 0 {
        return Err(Error::argument("model->embedding_dim", 0, "1 or more"));
    }
    usize::try_from(dim).map_err(|_| Error::argument("model->embedding_dim", dim, "an array size"))
}

/// Refuses a model made by the library whose size fields promise more than its arrays hold. Arrays
/// that the program put in their places are the program's to know.
///
/// # Safety
/// `model` is NULL or points to a `CLLMModel`.
pub(crate) unsafe fn check_sizes(model: *const CLLMModel) -> Result<()> {
    let Some(record) = MODELS.find(model)? else { return Ok(()) };
    let made = lock(&record);
    // SAFETY: the caller's promise.
    let m = unsafe { ffi::get(model, "model")? };
    let changed = |what: &str, now: usize, then: usize| {
        Err(Error::shape(format!("model->{what} is {now}, but the model was made with {then}")))
    };
    if m.embeddings.embeddings.addr() == made.weights.0 {
        let (vocab, dim) = (vocab_size(m)?, embedding_dim(m)?);
        if vocab > made.vocab {
            return changed("vocab_size", vocab, made.vocab);
        }
        if dim != made.dim {
            return changed("embedding_dim", dim, made.dim);
        }
    }
    let layers = m.num_layers as usize;
    if m.attention_layers.addr() == made.attention && layers > made.layers {
        return changed("num_layers", layers, made.layers);
    }
    let p = &m.pos_encoding;
    let (positions, tables) = (p.max_length as usize, [p.spiral_positions, p.learned_positions]);
    let ours = tables.iter().zip(made.tables).any(|(table, made)| table.addr() == made);
    if ours && positions > made.max_length {
        return changed("pos_encoding.max_length", positions, made.max_length);
    }
    Ok(())
}

/// What the blocks of a model compute; those of a model that the program put together, what the
/// original library did.
pub(crate) fn architecture(model: *const CLLMModel) -> Result<Architecture> {
    let record = MODELS.find(model)?;
    Ok(record.map_or(Architecture::ORIGINAL, |record| lock(&record).architecture))
}

/// Refuses a single layer of a model whose blocks do more than the functions of single layers know.
///
/// `matrix` is one of the layer's.
pub(crate) fn check_single(matrix: *const f32) -> Result<()> {
    let address = matrix.addr();
    let other = |record: &mut ModelRecord| {
        let (start, len) = record.weights;
        let inside = (start..start + len * size_of::<f32>()).contains(&address);
        (inside && !record.architecture.is_original()).then_some(())
    };
    match MODELS.search(other) {
        None => Ok(()),
        Some(()) => Err(Error::state(
            "the layer belongs to a model whose blocks are not those that this function computes: \
             run the model",
        )),
    }
}

/// The layout of one layer's matrices: full where the layer belongs to a model that the library made,
/// per head elsewhere.
pub(crate) fn attention_layout(layer: *const AttentionLayer) -> AttentionLayout {
    let address = layer.addr();
    let inside = |record: &mut ModelRecord| {
        let start = record.attention;
        let end = start + record.layers * size_of::<AttentionLayer>();
        (start..end).contains(&address).then_some(record.layout)
    };
    MODELS.search(inside).unwrap_or(AttentionLayout::PerHead)
}

/// Where everything of a model lies, by the rules for missing parts: what is absent or does not
/// fit takes no part.
///
/// # Safety
/// `model` is NULL or points to a `CLLMModel` whose non-NULL pointers hold what its sizes say.
pub(crate) unsafe fn plan(model: *const CLLMModel) -> Result<Plan> {
    // SAFETY: the caller's promise.
    let plan = unsafe { plan_incomplete(model)? };
    if plan.params.embeddings.pointer.is_null() {
        return Err(Error::null("model->embeddings.embeddings"));
    }
    Ok(plan)
}

/// [`plan`] for a model that may lack even its embeddings, whose pointer is NULL then.
///
/// # Safety
/// As [`plan`].
pub(crate) unsafe fn plan_incomplete(model: *const CLLMModel) -> Result<Plan> {
    let record = MODELS.find(model)?;
    floats(model)?;
    // SAFETY: the caller's promise.
    let m = unsafe {
        check_sizes(model)?;
        ffi::get(model, "model")?
    };
    let (vocab, dim, count) = (vocab_size(m)?, embedding_dim(m)?, m.num_layers as usize);
    if count as u64 > MAX_LAYERS {
        return Err(Error::argument("model->num_layers", count, "at most 65536"));
    }
    let (origin, version) = match &record {
        Some(record) => {
            let record = lock(record);
            (Origin::of(m, dim, &record)?, record.version)
        }
        None => (Origin::default(), FOREIGN_VERSION.load(Ordering::Relaxed)),
    };
    // SAFETY: a non-NULL array of layers has as many entries as the model has layers (norms:
    // twice as many where the library's record says so).
    let (attention_layers, ff_layers, norms) = unsafe {
        let norms = if origin.second_norms { 2 * count } else { count };
        (
            array::<AttentionLayer>(m.attention_layers, count)?,
            array::<FeedForwardLayer>(m.ff_layers, count)?,
            array::<CLLMLayerNorm>(m.layer_norms, norms)?,
        )
    };
    let mut layers = Layers::new();
    layers.try_reserve_exact(count).map_err(|_| Error::memory("the layers", count))?;
    for l in 0..count {
        layers.push(Layer {
            norm1: norm(norms.get(l), dim),
            attention: attention(attention_layers.get(l), (l, count), dim, &origin)?,
            norm2: norm(norms.get(count + l).filter(|_| origin.second_norms), dim),
            feed_forward: feed_forward(ff_layers.get(l), dim, origin.architecture.activation)?,
        });
    }
    let p = &m.pos_encoding;
    let width = p.embedding_dim as usize;
    let max_length = if width == dim || width == 0 { p.max_length as usize } else { 0 };
    let table = product("a position table", &[max_length, dim])?;
    let table = |pointer: *mut f32| some(pointer, table).filter(|_| max_length > 0);
    let len = product("the embedding matrix", &[vocab, dim])?;
    Ok(Plan {
        // Another one for each model.
        version: version ^ (model.addr() as u64).rotate_left(32),
        vocab,
        dim,
        max_length,
        spiral: table(p.spiral_positions),
        params: Params {
            embeddings: Raw { pointer: m.embeddings.embeddings, len },
            layers,
            learned: table(p.learned_positions),
            head: origin.later(Part::Head, 0, len),
        },
    })
}

/// By which rules the arrays of a model are read: by default those for a model that the program
/// put together, with matrices by head and without LN2.
#[derive(Default)]
struct Origin {
    /// Whether the layers are those that the library made, with this layout.
    layout: Option<AttentionLayout>,
    second_norms: bool,
    /// Addresses of the model's block of weights.
    block: Range<usize>,
    architecture: Architecture,
    /// The block, and where in it Wo of each layer and the output matrix begin.
    weights: Option<*mut f32>,
    outputs: Option<usize>,
    head: Option<usize>,
}

impl Origin {
    /// The rules for a model that the library made.
    ///
    /// # Errors
    /// A model with tensors that the C structs have no field for, whose other arrays the program has
    /// replaced: nothing says where those tensors are then.
    fn of(m: &CLLMModel, dim: usize, record: &ModelRecord) -> Result<Self> {
        let bytes = (m.num_weights as usize).saturating_mul(size_of::<f32>());
        let ours = m.attention_layers.addr() == record.attention;
        let whole = ours && m.weights.addr() == record.weights.0 && dim == record.dim;
        if !record.architecture.is_original() && !whole {
            return Err(Error::shape(
                "model->weights, attention_layers or embedding_dim are not those that the library \
                 made: the blocks of this model need them",
            ));
        }
        let later = |part| record.later(TensorName { part, layer: 0 });
        Ok(Self {
            layout: ours.then_some(record.layout),
            second_norms: record.second_norms,
            block: m.weights.addr()..m.weights.addr().saturating_add(bytes),
            architecture: record.architecture,
            weights: whole.then_some(m.weights),
            outputs: later(Part::Output),
            head: later(Part::Head),
        })
    }

    /// A tensor that the C structs have no field for, of `len` floats.
    fn later(&self, part: Part, layer: usize, len: usize) -> Option<Raw> {
        let start = match part {
            Part::Output => self.outputs? + layer * len,
            _ => self.head?,
        };
        Some(Raw { pointer: self.weights?.wrapping_add(start), len })
    }

    /// The three full matrices of a layer as one, where they lie next to each other in the
    /// library's own block: so that one view may span all three.
    fn joined(&self, qkv: [*mut f32; 3], len: usize) -> Option<Raw> {
        let [query, key, value] = qkv;
        let end = value.wrapping_add(len).addr();
        let adjacent = self.layout == Some(AttentionLayout::Full)
            && self.block.start <= query.addr()
            && (self.block.start..=self.block.end).contains(&end)
            && query.addr() <= self.block.end
            && key == query.wrapping_add(len)
            && value == key.wrapping_add(len);
        adjacent.then(|| Raw { pointer: query, len: 3 * len })
    }
}

/// A tensor, unless its pointer is NULL.
fn some(pointer: *mut f32, len: usize) -> Option<Raw> {
    (!pointer.is_null()).then_some(Raw { pointer, len })
}

/// The attention of layer `index` of `layers`; `None` where it is absent or does not fit the width.
fn attention(
    layer: Option<&AttentionLayer>,
    (index, layers): (usize, usize),
    dim: usize,
    origin: &Origin,
) -> Result<Option<Attention<Raw>>> {
    let Some(a) = layer else { return Ok(None) };
    let (heads, head_dim) = (a.num_heads as usize, a.head_dim as usize);
    let qkv = [a.query_lattice, a.key_lattice, a.value_lattice];
    if heads.checked_mul(head_dim) != Some(dim) || qkv.iter().any(|w| w.is_null()) {
        return Ok(None);
    }
    let layout = origin.layout.unwrap_or(AttentionLayout::PerHead);
    let rows = match layout {
        AttentionLayout::Full => dim,
        AttentionLayout::PerHead => head_dim,
    };
    let len = product("an attention matrix", &[dim, rows])?;
    let joined = origin.joined(qkv, len);
    let qkv = qkv.map(|pointer| Raw { pointer, len });
    let scores = Scores::of(&origin.architecture, heads, index, layers);
    let output = match origin.architecture.output {
        true => origin.later(Part::Output, index, product("an attention matrix", &[dim, dim])?),
        false => None,
    };
    Ok(Some(Attention { heads, head_dim, layout, qkv, joined, output, scores }))
}

/// The feed-forward part of a layer; `None` where it is absent or does not fit the width.
fn feed_forward(
    layer: Option<&FeedForwardLayer>,
    dim: usize,
    activation: Activation,
) -> Result<Option<FeedForward<Raw>>> {
    let fits = |f: &&FeedForwardLayer| {
        !f.w1_lattice.is_null()
            && !f.w2_lattice.is_null()
            && f.hidden_dim > 0
            && f.input_dim as usize == dim
            && f.output_dim as usize == dim
    };
    let Some(f) = layer.filter(fits) else { return Ok(None) };
    let hidden = f.hidden_dim as usize;
    let len = product("a feed-forward matrix", &[hidden, dim])?;
    Ok(Some(FeedForward {
        hidden,
        activation,
        w1: Raw { pointer: f.w1_lattice, len },
        b1: some(f.bias1, hidden),
        w2: Raw { pointer: f.w2_lattice, len },
        b2: some(f.bias2, dim),
    }))
}

/// A norm; one that is absent or does not fit only normalises.
fn norm(norm: Option<&CLLMLayerNorm>, dim: usize) -> Norm<Raw> {
    match norm.filter(|n| n.dim as usize == dim) {
        Some(n) => Norm {
            epsilon: if n.epsilon > 0.0 { n.epsilon } else { DEFAULT_EPSILON },
            gamma: some(n.gamma, dim),
            beta: some(n.beta, dim),
        },
        None => Norm::default(),
    }
}

/// # Safety
/// As [`ffi::slice`], for a pointer that is not NULL.
unsafe fn array<'a, T>(pointer: *const T, len: usize) -> Result<&'a [T]> {
    if pointer.is_null() || len == 0 {
        return Ok(&[]);
    }
    // SAFETY: the caller's promise.
    unsafe { ffi::slice(pointer, len, "an array of the model") }
}

/// Tensors to read.
///
/// # Safety
/// As [`ffi::slice`] for every tensor, and for the joined matrices.
pub(crate) unsafe fn read<'a>(params: Params<Raw>) -> Result<Params<&'a [f32]>> {
    const WHAT: &str = "a weight array";
    let joined: SmallVec<[Option<Raw>; 16]> =
        params.layers.iter().map(|l| l.attention.as_ref().and_then(|a| a.joined)).collect();
    // SAFETY: the caller's promise.
    let mut params = params.try_map(|_, _, t| unsafe { ffi::slice(t.pointer, t.len, WHAT) })?;
    for (layer, joined) in params.layers.iter_mut().zip(joined) {
        if let (Some(attention), Some(t)) = (&mut layer.attention, joined) {
            // SAFETY: likewise; only read, so that it may overlap the three matrices.
            attention.joined = Some(unsafe { ffi::slice(t.pointer, t.len, WHAT)? });
        }
    }
    Ok(params)
}

/// Tensors to change.
///
/// # Safety
/// As [`ffi::slice_mut`] for every tensor; no two overlap.
pub(crate) unsafe fn write<'a>(params: Params<Raw>) -> Result<Params<&'a mut [f32]>> {
    // SAFETY: the caller's promise.
    params.try_map(|_, _, t| unsafe { ffi::slice_mut(t.pointer, t.len, "a weight array") })
}

/// A model to run.
///
/// # Safety
/// As [`plan`]; nothing writes the weights during `'a`.
pub(crate) unsafe fn model<'a>(model: *const CLLMModel) -> Result<ModelRef<'a>> {
    // SAFETY: the caller's promise, for both.
    unsafe { model_of(&plan(model)?) }
}

/// The model behind a plan, to run.
///
/// # Safety
/// As [`read`]; nothing writes the weights during `'a`.
pub(crate) unsafe fn model_of<'a>(plan: &Plan) -> Result<ModelRef<'a>> {
    // SAFETY: the caller's promise.
    unsafe {
        let spiral = match plan.spiral {
            Some(t) => Some(ffi::slice(t.pointer, t.len, "spiral_positions")?),
            None => None,
        };
        Ok(ModelRef {
            version: plan.version,
            vocab: plan.vocab,
            dim: plan.dim,
            max_length: plan.max_length,
            spiral,
            params: read(plan.params.clone())?,
        })
    }
}
