//! Models that the library makes: one block of weights, plain C structs around it; and the one
//! way to free a model, whoever made it.

use crate::border::ffi::{self, CArray};
use crate::border::registry::lock;
use crate::headers::cllm::*;
use crate::model::view::{self, Built, MODELS, ModelRecord};
use crate::model::words;
use cllm_engine::error::{Error, Result};
use cllm_engine::nn::model::{AttentionLayout, DEFAULT_EPSILON};
use cllm_kernels::memory::product;
use std::collections::HashSet;
use std::ffi::c_char;
use std::sync::Arc;

/// The sizes of a model to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub vocab: usize,
    pub dim: usize,
    pub layers: usize,
    pub heads: usize,
    pub hidden: usize,
    pub max_length: usize,
    pub layout: AttentionLayout,
    /// 2L norms instead of L.
    pub second_norms: bool,
}

impl Sizes {
    /// Checks what must hold for any model; the message names the field of `CLLMConfig`.
    pub(crate) fn check(&self) -> Result<()> {
        for (name, value) in [
            ("vocab_size", self.vocab),
            ("embedding_dim", self.dim),
            ("num_layers", self.layers),
            ("num_heads", self.heads),
        ] {
            if value == 0 {
                return Err(Error::argument(name, 0, "1 or more"));
            }
        }
        if !self.dim.is_multiple_of(self.heads) {
            return Err(Error::shape(format!(
                "embedding_dim {} is not a multiple of num_heads {}",
                self.dim, self.heads
            )));
        }
        self.num_weights().map(|_| ())
    }

    /// Norms in the model.
    pub(crate) fn norms(&self) -> usize {
        if self.second_norms { 2 * self.layers } else { self.layers }
    }

    /// Floats of the weight block: E; Q, K, V of each layer; W1, b1, W2, b2 of each layer; norms.
    pub(crate) fn num_weights(&self) -> Result<usize> {
        const WHAT: &str = "the weights";
        let (d, f, l) = (self.dim, self.hidden, self.layers);
        let parts = [
            product(WHAT, &[self.vocab, d])?,
            product(WHAT, &[l, 3, d, d])?,
            product(WHAT, &[l, 2, d, f])?,
            product(WHAT, &[l, f.saturating_add(d)])?,
            product(WHAT, &[2, self.norms(), d])?,
        ];
        let sum = parts.iter().try_fold(0usize, |sum, &part| sum.checked_add(part));
        sum.ok_or(Error::Memory { what: WHAT, bytes: usize::MAX })
    }
}

/// A model with zeroed weights and position tables, norms at gamma 1 and beta 0, and
/// `token_<id>` strings. Every matrix has d×d floats, whatever the layout uses of them.
pub(crate) fn build(sizes: &Sizes) -> Result<*mut CLLMModel> {
    sizes.check()?;
    let &Sizes { vocab, dim: d, layers, heads, hidden: f, max_length, .. } = sizes;
    let narrow = |value: usize, name: &'static str| {
        u32::try_from(value).map_err(|_| Error::argument(name, value, "below 2^32"))
    };
    let num_weights = sizes.num_weights()?;
    let table = product("a position table", &[max_length, d])?;

    let mut model = CArray::<CLLMModel>::zeroed("the model", 1)?;
    let mut tokens = CArray::<CLLMToken>::zeroed("the tokens", vocab)?;
    let mut weights = CArray::<f32>::aligned("the weights", num_weights)?;
    let mut attention = CArray::<AttentionLayer>::zeroed("the attention layers", layers)?;
    let mut ff = CArray::<FeedForwardLayer>::zeroed("the feed-forward layers", layers)?;
    let mut norms = CArray::<CLLMLayerNorm>::zeroed("the layer norms", sizes.norms())?;
    let spiral = CArray::<f32>::zeroed("the spiral positions", table)?;
    let clock = CArray::<f32>::zeroed("the clock positions", table)?;
    let prime = CArray::<f32>::zeroed("the prime positions", table)?;
    let learned = CArray::<f32>::aligned("the learned positions", table)?;

    for (id, token) in tokens.as_mut_slice().iter_mut().enumerate() {
        token.token_id = id as u32;
        ffi::set_field(&mut token.token_str, format!("token_{id}").as_bytes());
    }

    // Every pointer is derived from the block's own, so that neighbours may be viewed as one.
    let base = weights.as_mut_slice().as_mut_ptr();
    let mut used = 0;
    let mut take = |len: usize| -> *mut f32 {
        let pointer = base.wrapping_add(used);
        used += len;
        pointer
    };
    let embeddings = take(vocab * d);
    for (l, a) in attention.as_mut_slice().iter_mut().enumerate() {
        a.layer_id = l as u32;
        a.num_heads = narrow(heads, "num_heads")?;
        a.head_dim = narrow(d / heads, "embedding_dim")?;
        a.query_lattice = take(d * d);
        a.key_lattice = take(d * d);
        a.value_lattice = take(d * d);
    }
    for (l, layer) in ff.as_mut_slice().iter_mut().enumerate() {
        layer.layer_id = l as u32;
        layer.input_dim = narrow(d, "embedding_dim")?;
        layer.hidden_dim = narrow(f, "ff_dim")?;
        layer.output_dim = layer.input_dim;
        layer.w1_lattice = take(f * d);
        layer.bias1 = take(f);
        layer.w2_lattice = take(d * f);
        layer.bias2 = take(d);
    }
    for (i, norm) in norms.as_mut_slice().iter_mut().enumerate() {
        norm.layer_id = i as u32;
        norm.dim = narrow(d, "embedding_dim")?;
        norm.epsilon = DEFAULT_EPSILON;
        norm.gamma = take(d);
        norm.beta = take(d);
        // SAFETY: `take` gave d floats of the block.
        unsafe { ffi::slice_mut(norm.gamma, d, "gamma")? }.fill(1.0);
    }

    let m = &mut model.as_mut_slice()[0];
    for (slot, byte) in m.header.magic.iter_mut().zip(b"CLLM") {
        *slot = *byte as c_char;
    }
    m.header.version = CLLM_VERSION;
    m.header.vocab_size = vocab as u64;
    m.header.embedding_dim = d as u64;
    m.header.num_layers = layers as u64;
    m.header.num_heads = narrow(heads, "num_heads")?;
    m.header.context_length = narrow(max_length, "max_seq_len")?;
    m.header.architecture = if sizes.second_norms { 2 } else { 0 };
    m.header.total_params = num_weights as u64;
    m.vocab_size = vocab as u64;
    m.embedding_dim = d as u64;
    m.num_weights = num_weights as u64;
    m.num_layers = narrow(layers, "num_layers")?;
    m.embeddings.vocab_size = narrow(vocab, "vocab_size")?;
    m.embeddings.embedding_dim = narrow(d, "embedding_dim")?;
    m.embeddings.embeddings = embeddings;
    m.pos_encoding.max_length = narrow(max_length, "max_seq_len")?;
    m.pos_encoding.embedding_dim = m.embeddings.embedding_dim;
    m.pos_encoding.spiral_positions = spiral.into_raw();
    m.pos_encoding.clock_positions = clock.into_raw();
    m.pos_encoding.prime_positions = prime.into_raw();
    m.pos_encoding.learned_positions = learned.into_raw();
    m.weights = weights.into_raw();
    m.tokens = tokens.into_raw();
    m.attention_layers = attention.into_raw();
    m.ff_layers = ff.into_raw();
    m.layer_norms = norms.into_raw();

    let record = ModelRecord {
        layout: sizes.layout,
        second_norms: sizes.second_norms,
        attention: (m.attention_layers.addr(), layers),
        weights: (m.weights.addr(), num_weights),
        built: Built {
            vocab,
            dim: d,
            layers,
            max_length,
            tables: [
                m.pos_encoding.spiral_positions.addr(),
                m.pos_encoding.learned_positions.addr(),
            ],
        },
        version: view::new_version(),
        long_strings: Arc::default(),
    };
    let model = model.into_raw();
    MODELS.insert(model, record);
    Ok(model)
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
    let made_by_library = record.is_some();
    let (second_norms, weights, attention) = record.map_or((false, (0, 0), (0, 0)), |record| {
        let record = lock(&record);
        (record.second_norms, record.weights, record.attention)
    });

    // SAFETY: the caller's promise, for all that is read here.
    unsafe {
        let m = ffi::get(model, "model")?;
        // The library's own arrays are as long as they were made, whatever the fields say now.
        let ours = made_by_library && m.attention_layers.addr() == attention.0;
        let count = if ours { attention.1 } else { m.num_layers as usize };
        let floats = if m.weights.addr() == weights.0 { weights.1 } else { m.num_weights as usize };
        let block = m.weights.addr()..m.weights.addr().saturating_add(floats.saturating_mul(4));
        let mut seen = HashSet::new();
        let mut release = |pointer: *mut f32| {
            if !pointer.is_null() && !block.contains(&pointer.addr()) && seen.insert(pointer.addr())
            {
                ffi::free(pointer);
            }
        };
        release(m.embeddings.embeddings);
        release(m.embeddings.lattice_transform);
        release(m.embeddings.inverse_transform);
        if !m.attention_layers.is_null() {
            for a in ffi::slice(m.attention_layers, count, "attention_layers")? {
                [a.query_lattice, a.key_lattice, a.value_lattice]
                    .into_iter()
                    .for_each(&mut release);
            }
        }
        if !m.ff_layers.is_null() {
            for f in ffi::slice(m.ff_layers, count, "ff_layers")? {
                [f.w1_lattice, f.w2_lattice, f.bias1, f.bias2].into_iter().for_each(&mut release);
            }
        }
        if !m.layer_norms.is_null() {
            let norms = if second_norms { 2 * count } else { count };
            for n in ffi::slice(m.layer_norms, norms, "layer_norms")? {
                [n.gamma, n.beta].into_iter().for_each(&mut release);
            }
        }
        let p = &m.pos_encoding;
        [p.spiral_positions, p.clock_positions, p.prime_positions, p.learned_positions]
            .into_iter()
            .for_each(&mut release);
        ffi::free(m.tokens);
        ffi::free(m.lattice_points);
        ffi::free(m.attention_layers);
        ffi::free(m.ff_layers);
        ffi::free(m.layer_norms);
        ffi::free(m.weights);
        if made_by_library {
            MODELS.retire(model);
        } else {
            ffi::free(model);
        }
    }
    Ok(())
}

/// Frees and clears pointers, if none lies inside the weight block of a model.
///
/// # Safety
/// Each is NULL, a block of malloc, or part of a weight block of a live model of the library's.
pub(crate) unsafe fn free_blocks<const N: usize>(pointers: [&mut *mut f32; N]) -> Result<()> {
    if pointers.iter().any(|p| inside_weights(**p)) {
        return Err(Error::State("the layer belongs to a model: free the model".into()));
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
