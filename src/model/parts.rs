//! Where the C structs of a model keep the pointer to each tensor: the one place that knows.

use crate::border::ffi;
use crate::headers::cllm::{AttentionLayer, CLLMLayerNorm, CLLMModel, FeedForwardLayer};
use cllm_engine::error::Result;
use cllm_engine::model::{Part, TensorName};

/// The structs of a model; an array is empty where its pointer is NULL.
pub(crate) struct Structs<'m> {
    pub model: &'m mut CLLMModel,
    pub attention: &'m mut [AttentionLayer],
    pub feed_forward: &'m mut [FeedForwardLayer],
    pub norms: &'m mut [CLLMLayerNorm],
    /// L: where LN2 begin among the norms.
    pub layers: usize,
}

impl<'m> Structs<'m> {
    /// # Safety
    /// `model` points to a `CLLMModel` whose arrays, where they are not NULL, have an entry for each
    /// of `layers` layers and `norms` norms; nothing else uses any of it during `'m`.
    pub(crate) unsafe fn of(model: *mut CLLMModel, layers: usize, norms: usize) -> Result<Self> {
        // SAFETY: the caller's promise, for all.
        unsafe {
            let model = ffi::get_mut(model, "model")?;
            Ok(Self {
                attention: array(model.attention_layers, layers, "model->attention_layers")?,
                feed_forward: array(model.ff_layers, layers, "model->ff_layers")?,
                norms: array(model.layer_norms, norms, "model->layer_norms")?,
                model,
                layers,
            })
        }
    }

    /// The field that points to a tensor; `None` where there is no struct for it.
    pub(crate) fn field(&mut self, name: TensorName) -> Option<&mut *mut f32> {
        let (m, l) = (&mut *self.model, name.layer);
        let attention = self.attention.get_mut(l);
        let feed_forward = self.feed_forward.get_mut(l);
        let second = self.layers.saturating_add(l);
        Some(match name.part {
            Part::Embeddings => &mut m.embeddings.embeddings,
            Part::LatticeTransform => &mut m.embeddings.lattice_transform,
            Part::InverseTransform => &mut m.embeddings.inverse_transform,
            Part::Query => &mut attention?.query_lattice,
            Part::Key => &mut attention?.key_lattice,
            Part::Value => &mut attention?.value_lattice,
            Part::W1 => &mut feed_forward?.w1_lattice,
            Part::Bias1 => &mut feed_forward?.bias1,
            Part::W2 => &mut feed_forward?.w2_lattice,
            Part::Bias2 => &mut feed_forward?.bias2,
            Part::Gamma1 => &mut self.norms.get_mut(l)?.gamma,
            Part::Beta1 => &mut self.norms.get_mut(l)?.beta,
            Part::Gamma2 => &mut self.norms.get_mut(second)?.gamma,
            Part::Beta2 => &mut self.norms.get_mut(second)?.beta,
            Part::Spiral => &mut m.pos_encoding.spiral_positions,
            Part::Clock => &mut m.pos_encoding.clock_positions,
            Part::Prime => &mut m.pos_encoding.prime_positions,
            Part::Learned => &mut m.pos_encoding.learned_positions,
            Part::Output | Part::Head => return None,
        })
    }

    /// The names of all tensors that have a field, whether it is NULL or not.
    pub(crate) fn names(&self) -> impl Iterator<Item = TensorName> + use<> {
        let whole = Part::TABLES.into_iter().chain(Part::TRANSFORMS).chain([Part::Embeddings]);
        // An assembled model may state any number of layers where it has no array of them.
        let norms = self.norms.len().min(self.layers);
        let layers = self.attention.len().max(self.feed_forward.len()).max(norms);
        let in_layers =
            (0..layers).flat_map(|layer| Part::LAYER.map(|part| TensorName { part, layer }));
        whole.map(|part| TensorName { part, layer: 0 }).chain(in_layers)
    }
}

/// # Safety
/// `pointer` is NULL or points to `len` values that nothing else uses during `'m`.
unsafe fn array<'m, T>(pointer: *mut T, len: usize, name: &'static str) -> Result<&'m mut [T]> {
    if pointer.is_null() {
        return Ok(&mut []);
    }
    // SAFETY: the caller's promise.
    unsafe { ffi::slice_mut(pointer, len, name) }
}
