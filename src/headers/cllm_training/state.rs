//! The private state of training objects, and views of their public buffers.

use super::{CLLMTraining, CLLMTrainingConfig};
use crate::border::ffi;
use crate::border::registry::{Registry, lock};
use crate::headers::cllm_ext::CLLMProgressCallback;
use crate::model::view::{self, Plan, Raw};
use cllm_engine::error::{Error, Result};
use cllm_engine::nn::model::{Kind, Params};
use cllm_engine::train::optimizer::Tensor;
use cllm_engine::train::slots::{Slot, Slots};
use cllm_engine::train::workspace::Workspace;
use cllm_kernels::Pool;
use std::ffi::c_void;
use std::sync::{Arc, Mutex};

/// The training objects that `cllm_training_init` made.
pub(crate) static TRAININGS: Registry<TrainingState> = Registry::new("training");

/// Floats that the public gradient buffers of one layer hold, as allocated.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LayerRoom {
    pub attention: usize,
    pub w1: usize,
    pub w2: usize,
    pub bias1: usize,
    pub bias2: usize,
    pub gamma: usize,
    /// Hidden units and heads that the activation buffers have room for.
    pub hidden: usize,
    pub heads: usize,
}

/// What a `CLLMTraining` keeps besides its public fields.
pub(crate) struct TrainingState {
    /// Sizes of the model at init; a later call with others is refused.
    pub vocab: usize,
    pub dim: usize,
    pub layers: Vec<LayerRoom>,
    /// Rows (T) and positions of a sequence (S) that the public buffers hold.
    pub rows: usize,
    pub positions: usize,
    pub workspace: Workspace,
    pub slots: Slots,
    /// Adam updates applied: t of the bias corrections.
    pub updates: u64,
    /// Updates left out because a gradient was not finite.
    pub skipped: u64,
    /// Norm of the latest update's gradient, before clipping.
    pub gradient_norm: f64,
    /// Input of the latest forward pass whose activations are still there; empty without.
    pub input: Vec<u32>,
    /// Address of the token block that the library allocated for `tokens`.
    pub own_tokens: usize,
    pub progress: Option<(CLLMProgressCallback, UserData)>,
    pub partials: Vec<f64>,
    /// Memory of the list of tensors of an update; empty in between.
    pub tensors: Vec<Tensor<'static>>,
    pub pool: Arc<Pool>,
}

/// The pointer that a callback gets back.
#[derive(Clone, Copy)]
pub(crate) struct UserData(pub *mut c_void);
// SAFETY: only handed back to the program, which says what it is.
unsafe impl Send for UserData {}
// SAFETY: likewise.
unsafe impl Sync for UserData {}

/// The state of a library-made training object.
pub(crate) fn state(training: *const CLLMTraining) -> Result<Arc<Mutex<TrainingState>>> {
    TRAININGS.get(training)
}

/// B and S of the configuration, both at least 1.
pub(crate) fn batch_shape(config: &CLLMTrainingConfig) -> Result<(usize, usize)> {
    Ok((
        ffi::positive(config.batch_size, "config.batch_size")?,
        ffi::positive(config.sequence_length, "config.sequence_length")?,
    ))
}

impl TrainingState {
    /// Where the model's parts lie now, if its sizes are still those of init.
    ///
    /// # Safety
    /// As [`view::plan`] for `training.model`.
    pub(crate) unsafe fn plan(&self, training: &CLLMTraining) -> Result<Plan> {
        let plan = view::plan(training.model)?;
        let (vocab, dim, layers) = (plan.vocab, plan.dim, plan.params.layers.len());
        if (vocab, dim, layers) != (self.vocab, self.dim, self.layers.len()) {
            return Err(Error::shape(format!(
                "the model has {vocab} tokens, width {dim} and {layers} layers; \
                 at cllm_training_init it had {}, {} and {}",
                self.vocab,
                self.dim,
                self.layers.len()
            )));
        }
        Ok(plan)
    }

    /// Makes the private per-tensor state match the model.
    pub(crate) fn sync(&mut self, params: &Params<Raw>) {
        self.slots.sync(params, |t| t.len);
    }

    /// The gradient of every tensor of the model: the public buffer, or a private one where there
    /// is none.
    ///
    /// # Safety
    /// The public buffers hold what was allocated for them; nothing else uses them during `'a`.
    pub(crate) unsafe fn gradients<'a>(
        &mut self,
        training: &CLLMTraining,
        params: &Params<Raw>,
    ) -> Result<Params<&'a mut [f32]>> {
        self.sync(params);
        let Self { slots, layers, .. } = self;
        let mut slots = slots.iter_mut();
        params.by_ref().try_map(|kind, layer, t| {
            let slot = slots.next().ok_or_else(|| Error::shape("a tensor without state"))?;
            gradient(training, layers, kind, layer, t.len, slot)
        })
    }

    /// Every tensor with its gradient and moments, for an update. `list` is an empty list whose
    /// memory is used again.
    ///
    /// # Safety
    /// As [`TrainingState::gradients`], and the model's weights are not used elsewhere.
    pub(crate) unsafe fn tensors<'a>(
        &'a mut self,
        training: &mut CLLMTraining,
        params: Params<Raw>,
        list: Vec<Tensor<'static>>,
    ) -> Result<Vec<Tensor<'a>>> {
        debug_assert!(list.is_empty());
        self.sync(&params);
        let embeddings = params.embeddings.len;
        reserve_optimizer_state(training, embeddings)?;
        let Self { slots, layers, .. } = self;
        let weights = view::write(params)?;
        let mut slots = slots.iter_mut();
        let mut tensors: Vec<Tensor> = list;
        weights.try_map(|kind, layer, weights| {
            let slot = slots.next().ok_or_else(|| Error::shape("a tensor without state"))?;
            // The optimizer's state has room for both moments.
            {
                let gradient = gradient(training, layers, kind, layer, weights.len(), slot)?;
                let (moment1, moment2) = if kind == Kind::Embeddings {
                    let both = ffi::slice_mut(
                        training.optimizer_state,
                        2 * embeddings,
                        "optimizer_state",
                    )?;
                    both.split_at_mut(embeddings)
                } else {
                    slot.reserve_moments()?;
                    (&mut slot.moment1[..], &mut slot.moment2[..])
                };
                tensors.push(Tensor { kind, weights, gradient, moment1, moment2 });
            }
            Ok::<(), Error>(())
        })?;
        Ok(tensors)
    }
}

/// An empty list with the memory of one that borrowed. (Collecting a list into one of the same
/// element size works in place.)
pub(crate) fn emptied(mut list: Vec<Tensor>) -> Vec<Tensor<'static>> {
    list.clear();
    list.into_iter().map_while(|_| None).collect()
}

/// `optimizer_state` of 2·V·d zeroed floats where there is none.
pub(crate) fn reserve_optimizer_state(
    training: &mut CLLMTraining,
    embeddings: usize,
) -> Result<()> {
    if training.optimizer_state.is_null() {
        let len = cllm_kernels::memory::product("the optimizer's state", &[2, embeddings])?;
        training.optimizer_state = ffi::CArray::aligned("the optimizer's state", len)?.into_raw();
    }
    Ok(())
}

/// The public gradient buffer of a tensor, NULL where there is none or it is too small.
unsafe fn public_gradient(
    training: &CLLMTraining,
    rooms: &[LayerRoom],
    kind: Kind,
    layer: usize,
    len: usize,
) -> Result<*mut f32> {
    let Some(room) = rooms.get(layer).or(rooms.first()) else {
        let ours = kind == Kind::Embeddings;
        return Ok(if ours { training.gradients } else { std::ptr::null_mut() });
    };
    let count = rooms.len();
    // SAFETY: non-NULL tables have an entry for each layer.
    unsafe {
        let attention = |pick: fn(&super::CLLMAttentionGradients) -> *mut f32| {
            entry(training.attention_grads, layer, count).map(|e| e.map_or(NONE, pick))
        };
        let ff = |pick: fn(&super::CLLMFeedForwardGradients) -> *mut f32| {
            entry(training.ff_grads, layer, count).map(|e| e.map_or(NONE, pick))
        };
        let norm = |pick: fn(&super::CLLMLayerNormGradients) -> *mut f32| {
            entry(training.ln_grads, layer, count).map(|e| e.map_or(NONE, pick))
        };
        let (pointer, capacity) = match kind {
            Kind::Embeddings => (training.gradients, len),
            Kind::Query => (attention(|g| g.query_lattice)?, room.attention),
            Kind::Key => (attention(|g| g.key_lattice)?, room.attention),
            Kind::Value => (attention(|g| g.value_lattice)?, room.attention),
            Kind::W1 => (ff(|g| g.w1_lattice)?, room.w1),
            Kind::Bias1 => (ff(|g| g.bias1)?, room.bias1),
            Kind::W2 => (ff(|g| g.w2_lattice)?, room.w2),
            Kind::Bias2 => (ff(|g| g.bias2)?, room.bias2),
            Kind::Gamma1 => (norm(|g| g.gamma)?, room.gamma),
            Kind::Beta1 => (norm(|g| g.beta)?, room.gamma),
            _ => (NONE, 0),
        };
        Ok(if capacity >= len { pointer } else { NONE })
    }
}

const NONE: *mut f32 = std::ptr::null_mut();

/// # Safety
/// A non-NULL `table` has `count` entries.
unsafe fn entry<'a, T>(table: *const T, index: usize, count: usize) -> Result<Option<&'a T>> {
    if table.is_null() {
        return Ok(None);
    }
    Ok(ffi::slice(table, count, "a gradient table")?.get(index))
}

/// # Safety
/// As [`TrainingState::gradients`].
unsafe fn gradient<'a>(
    training: &CLLMTraining,
    rooms: &[LayerRoom],
    kind: Kind,
    layer: usize,
    len: usize,
    slot: &mut Slot,
) -> Result<&'a mut [f32]> {
    // A private buffer lives in the registry's state, which the caller holds locked while the view
    // is in use.
    let mut pointer = public_gradient(training, rooms, kind, layer, len)?;
    if pointer.is_null() {
        slot.gradient.grow("a gradient", len)?;
        pointer = slot.gradient.as_mut_ptr();
    }
    ffi::slice_mut(pointer, len, "a gradient")
}

/// Runs `work` on a library-made training object and its state.
///
/// # Safety
/// `training` is NULL or points to a `CLLMTraining` that no other thread uses.
pub(crate) unsafe fn with<R>(
    training: *mut CLLMTraining,
    work: impl FnOnce(&mut CLLMTraining, &mut TrainingState) -> Result<R>,
) -> Result<R> {
    let state = state(training)?;
    let mut state = lock(&state);
    let training = ffi::get_mut(training, "training")?;
    work(training, &mut state)
}
