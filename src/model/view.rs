//! Public C structs to checked, shaped views. A view is made afresh at every call, since the
//! program may have changed any field or pointer in between.

use crate::border::ffi;
use crate::border::registry::{Registry, lock};
use crate::headers::cllm::{AttentionLayer, CLLMLayerNorm, CLLMModel, FeedForwardLayer};
use cllm_engine::error::{Error, Result};
use cllm_engine::limits::MAX_LAYERS;
use cllm_engine::nn::model::{
    Attention, AttentionLayout, DEFAULT_EPSILON, FeedForward, Kind, Layer, Layers, ModelRef, Norm,
    Params,
};
use cllm_kernels::memory::product;
use smallvec::SmallVec;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the library knows of a model that it made or read.
pub(crate) struct ModelRecord {
    /// Shape of the attention matrices.
    pub layout: AttentionLayout,
    /// Whether `layer_norms` holds 2L norms, the second half being LN2.
    pub second_norms: bool,
    /// Address and length of the `attention_layers` array.
    pub attention: (usize, usize),
    /// Address and length of the weight block.
    pub weights: (usize, usize),
    /// The sizes that the arrays were made for.
    pub built: Built,
    /// Changes whenever the library changes the weights.
    pub version: u64,
    /// Strings too long for `token_str`, whole, by id.
    pub long_strings: Arc<HashMap<u32, Vec<u8>>>,
}

/// What the arrays of a model have room for, as long as the program has not replaced them.
#[derive(Clone, Copy)]
pub(crate) struct Built {
    pub vocab: usize,
    pub dim: usize,
    pub layers: usize,
    pub max_length: usize,
    /// Addresses of the spiral and the learned position table.
    pub tables: [usize; 2],
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
pub(crate) struct Plan {
    /// Changes when the library changes the weights; another one for each model.
    pub version: u64,
    pub vocab: usize,
    pub dim: usize,
    pub max_length: usize,
    pub spiral: Option<Raw>,
    pub params: Params<Raw>,
}

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

/// Refuses a model of the library's whose size fields promise more than its arrays hold. Arrays
/// that the program put in their places are the program's to know.
///
/// # Safety
/// `model` is NULL or points to a `CLLMModel`.
pub(crate) unsafe fn check_sizes(model: *const CLLMModel) -> Result<()> {
    let Some(record) = MODELS.find(model)? else { return Ok(()) };
    let (built, attention, weights) = {
        let record = lock(&record);
        (record.built, record.attention, record.weights)
    };
    // SAFETY: the caller's promise.
    let m = unsafe { ffi::get(model, "model")? };
    let changed = |what: &str, now: usize, then: usize| {
        Err(Error::shape(format!("model->{what} is {now}, but the model was made with {then}")))
    };
    if m.embeddings.embeddings.addr() == weights.0 {
        let (vocab, dim) = (vocab_size(m)?, embedding_dim(m)?);
        if vocab > built.vocab {
            return changed("vocab_size", vocab, built.vocab);
        }
        if dim != built.dim {
            return changed("embedding_dim", dim, built.dim);
        }
    }
    let layers = m.num_layers as usize;
    if m.attention_layers.addr() == attention.0 && layers > built.layers {
        return changed("num_layers", layers, built.layers);
    }
    let p = &m.pos_encoding;
    let (positions, tables) = (p.max_length as usize, [p.spiral_positions, p.learned_positions]);
    let ours = tables.iter().zip(built.tables).any(|(table, made)| table.addr() == made);
    if ours && positions > built.max_length {
        return changed("pos_encoding.max_length", positions, built.max_length);
    }
    Ok(())
}

/// The layout of one layer's matrices: full where the layer belongs to a model of the library's,
/// per head elsewhere.
pub(crate) fn attention_layout(layer: *const AttentionLayer) -> AttentionLayout {
    let address = layer.addr();
    let inside = |record: &mut ModelRecord| {
        let (start, count) = record.attention;
        let end = start + count * size_of::<AttentionLayer>();
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
        return Err(Error::Null("model->embeddings.embeddings"));
    }
    Ok(plan)
}

/// [`plan`] for a model that may lack even its embeddings, whose pointer is NULL then.
///
/// # Safety
/// As [`plan`].
pub(crate) unsafe fn plan_incomplete(model: *const CLLMModel) -> Result<Plan> {
    let record = MODELS.find(model)?;
    // SAFETY: the caller's promise.
    let m = unsafe {
        check_sizes(model)?;
        ffi::get(model, "model")?
    };
    let vocab = vocab_size(m)?;
    let dim = embedding_dim(m)?;
    let count = m.num_layers as usize;
    if count as u64 > MAX_LAYERS {
        return Err(Error::argument("model->num_layers", count, "at most 65536"));
    }
    let (model_layout, second_norms, attention, version) = match &record {
        Some(record) => {
            let record = lock(record);
            (record.layout, record.second_norms, record.attention, record.version)
        }
        None => {
            let version = FOREIGN_VERSION.load(Ordering::Relaxed);
            (AttentionLayout::PerHead, false, (0, 0), version)
        }
    };
    let raw = |pointer: *mut f32, len: usize| Raw { pointer, len };
    let some = |pointer: *mut f32, len: usize| (!pointer.is_null()).then_some(Raw { pointer, len });
    let embeddings = raw(m.embeddings.embeddings, product("the embedding matrix", &[vocab, dim])?);

    let array = |pointer: bool| if pointer { 0 } else { count };
    let norm_count = if second_norms { 2 * count } else { count };
    // SAFETY: a non-NULL array of layers has as many entries as the model has layers (norms:
    // twice as many where the library's record says so).
    let (attention_layers, ff_layers, norms) = unsafe {
        (
            optional_slice::<AttentionLayer>(
                m.attention_layers,
                array(m.attention_layers.is_null()),
            )?,
            optional_slice::<FeedForwardLayer>(m.ff_layers, array(m.ff_layers.is_null()))?,
            optional_slice::<CLLMLayerNorm>(
                m.layer_norms,
                if m.layer_norms.is_null() { 0 } else { norm_count },
            )?,
        )
    };
    let norm = |index: usize| match norms.get(index) {
        Some(n) if n.dim as usize == dim => Norm {
            epsilon: if n.epsilon > 0.0 { n.epsilon } else { DEFAULT_EPSILON },
            gamma: some(n.gamma, dim),
            beta: some(n.beta, dim),
        },
        _ => Norm::default(),
    };

    let mut layers = Layers::new();
    layers
        .try_reserve_exact(count)
        .map_err(|_| Error::Memory { what: "the layers", bytes: count })?;
    for l in 0..count {
        let attention = match attention_layers.get(l) {
            Some(a) => {
                let (heads, head_dim) = (a.num_heads as usize, a.head_dim as usize);
                let qkv = [a.query_lattice, a.key_lattice, a.value_lattice];
                let fits = heads.checked_mul(head_dim) == Some(dim);
                if fits && qkv.iter().all(|w| !w.is_null()) {
                    let ours = m.attention_layers.addr() == attention.0;
                    let layout = if ours { model_layout } else { AttentionLayout::PerHead };
                    let rows = match layout {
                        AttentionLayout::Full => dim,
                        AttentionLayout::PerHead => head_dim,
                    };
                    let len = product("an attention matrix", &[dim, rows])?;
                    // One block of the library's own, so that one view may span all three.
                    let inside = m.weights.addr()
                        ..=m.weights
                            .addr()
                            .saturating_add((m.num_weights as usize).saturating_mul(4));
                    let adjacent = ours
                        && layout == AttentionLayout::Full
                        && inside.contains(&qkv[0].addr())
                        && inside.contains(&qkv[2].wrapping_add(len).addr())
                        && qkv[1] == qkv[0].wrapping_add(len)
                        && qkv[2] == qkv[1].wrapping_add(len);
                    let joined = adjacent.then(|| raw(qkv[0], 3 * len));
                    let qkv = qkv.map(|w| raw(w, len));
                    Some(Attention { heads, head_dim, layout, qkv, joined })
                } else {
                    None
                }
            }
            None => None,
        };
        let feed_forward = match ff_layers.get(l) {
            Some(f)
                if !f.w1_lattice.is_null()
                    && !f.w2_lattice.is_null()
                    && f.hidden_dim > 0
                    && f.input_dim as usize == dim
                    && f.output_dim as usize == dim =>
            {
                let hidden = f.hidden_dim as usize;
                let len = product("a feed-forward matrix", &[hidden, dim])?;
                Some(FeedForward {
                    hidden,
                    w1: raw(f.w1_lattice, len),
                    b1: some(f.bias1, hidden),
                    w2: raw(f.w2_lattice, len),
                    b2: some(f.bias2, dim),
                })
            }
            _ => None,
        };
        let norm2 = if second_norms { norm(count + l) } else { Norm::default() };
        layers.push(Layer { norm1: norm(l), attention, norm2, feed_forward });
    }

    let p = &m.pos_encoding;
    let width = p.embedding_dim as usize;
    let max_length = if width == dim || width == 0 { p.max_length as usize } else { 0 };
    let table = product("a position table", &[max_length, dim])?;
    let present = |pointer: *mut f32| {
        if max_length == 0 { None } else { some(pointer, table) }
    };
    Ok(Plan {
        version: version ^ (model.addr() as u64).rotate_left(32),
        vocab,
        dim,
        max_length,
        spiral: present(p.spiral_positions),
        params: Params { embeddings, layers, learned: present(p.learned_positions) },
    })
}

/// # Safety
/// As [`ffi::slice`], for a pointer that is NULL only where `len` is 0.
unsafe fn optional_slice<'a, T>(pointer: *const T, len: usize) -> Result<&'a [T]> {
    if len == 0 {
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

/// The name of a kind of tensor in messages and checkpoints.
pub(crate) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Embeddings => "embeddings",
        Kind::Query => "query",
        Kind::Key => "key",
        Kind::Value => "value",
        Kind::W1 => "w1",
        Kind::Bias1 => "bias1",
        Kind::W2 => "w2",
        Kind::Bias2 => "bias2",
        Kind::Gamma1 => "gamma1",
        Kind::Beta1 => "beta1",
        Kind::Gamma2 => "gamma2",
        Kind::Beta2 => "beta2",
        Kind::Learned => "learned",
    }
}

/// What a tensor is called in messages.
pub(crate) fn tensor_name(kind: Kind, layer: usize) -> String {
    match kind {
        Kind::Embeddings | Kind::Learned => kind_name(kind).to_string(),
        _ => format!("{} of layer {layer}", kind_name(kind)),
    }
}
