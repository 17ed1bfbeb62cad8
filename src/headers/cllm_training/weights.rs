//! The engine's view of a training object: the model's arrays, the public gradient buffers, the
//! moments of the embeddings in `optimizer_state`, and private arrays for all that has no public
//! place.

use super::{
    CLLMAttentionGradients, CLLMFeedForwardGradients, CLLMLayerNormGradients, CLLMTraining,
};
use crate::border::ffi::{self, CArray};
use crate::model::view::{self, Plan, Raw, model_of};
use cllm_engine::error::{Error, Result};
use cllm_engine::model::{ModelRef, Params, Part};
use cllm_engine::train::Weights;
use cllm_engine::train::slots::{Room, Slot, Slots};
use cllm_engine::train::weights::{Tensor, without_state};
use cllm_kernels::memory::floats::Floats;
use cllm_kernels::memory::product;
use std::ops::Range;

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

/// What the buffers of a training object were made for, and the arrays that it keeps besides.
pub(crate) struct Buffers {
    /// Sizes of the model at init; a later call with others is refused.
    pub vocab: usize,
    pub dim: usize,
    pub layers: Vec<LayerRoom>,
    pub slots: Slots,
}

impl Buffers {
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

    /// Everything that training works on, as it lies now: the one look at model and buffers of a
    /// step.
    ///
    /// # Safety
    /// As [`view::plan`]; the public buffers hold what was allocated for them; nothing else uses
    /// them or the model's arrays as long as the view lives.
    pub(crate) unsafe fn view<'a>(
        &'a mut self,
        training: &'a mut CLLMTraining,
    ) -> Result<TrainingView<'a>> {
        let plan = self.plan(training)?;
        self.slots.sync(&plan.params, |t| t.len);
        let places = plan.params.by_ref().try_map(|part, layer, &weights| {
            let gradient = public_gradient(training, &self.layers, part, layer, weights.len)?;
            Ok::<_, Error>(Place { weights, gradient })
        })?;
        let optimizer_state = &mut training.optimizer_state;
        Ok(TrainingView { plan, places, slots: &mut self.slots, optimizer_state, block: None })
    }
}

/// Where a tensor and its gradient lie; NULL where the gradient is a private array.
struct Place {
    weights: Raw,
    gradient: *mut f32,
}

/// A training object's weights, for the engine. Whoever made it promised that model and buffers
/// are there, and are nobody else's, as long as it lives.
pub(crate) struct TrainingView<'a> {
    plan: Plan,
    places: Params<Place>,
    slots: &'a mut Slots,
    optimizer_state: &'a mut *mut f32,
    /// What becomes `optimizer_state` when all moments of the embeddings are kept here again.
    block: Option<CArray<f32>>,
}

impl TrainingView<'_> {
    /// Whether all moments of the embeddings are kept here, which are in `optimizer_state` then.
    fn holds_embeddings(&self) -> bool {
        self.slots.iter().any(|slot| slot.part == Part::Embeddings && slot.holds_all())
    }

    /// Sets every gradient to zero.
    pub(crate) fn zero_gradients(&mut self) -> Result<()> {
        self.pass()?.1.map(|_, _, gradient| gradient.fill(0.0));
        Ok(())
    }
}

impl Weights for TrainingView<'_> {
    fn pass(&mut self) -> Result<(ModelRef<'_>, Params<&mut [f32]>)> {
        // SAFETY: the view's promise; a pass reads the weights and writes the gradients, which
        // are other arrays.
        let model = unsafe { model_of(&self.plan)? };
        let mut slots = self.slots.iter_mut();
        let gradients = self.places.by_ref().try_map(|_, _, place| {
            let slot = slots.next().ok_or_else(without_state)?;
            let len = place.weights.len;
            if place.gradient.is_null() {
                slot.gradient.grow("a gradient", len)?;
                return Ok(&mut slot.gradient[..len]);
            }
            // SAFETY: likewise: a public buffer with room for this tensor.
            unsafe { ffi::slice_mut(place.gradient, len, "a gradient") }
        })?;
        Ok((model, gradients))
    }

    fn visit(&mut self, visitor: &mut dyn FnMut(Tensor<'_>) -> Result<()>) -> Result<()> {
        let whole = self.holds_embeddings();
        for slot in self.slots.iter_mut().filter(|slot| !whole || slot.part != Part::Embeddings) {
            slot.reserve_moments()?;
        }
        let embeddings = self.plan.params.embeddings.len;
        // They are handed out once.
        let mut moments = match whole {
            // SAFETY: the view's promise.
            true => Some(unsafe { embeddings_moments(self.optimizer_state, embeddings)? }),
            false => None,
        };
        let mut slots = self.slots.iter_mut();
        self.places.by_ref().try_map(|part, layer, place| {
            let slot = slots.next().ok_or_else(without_state)?;
            let Raw { pointer, len } = place.weights;
            // SAFETY: the view's promise, for both arrays.
            let (weights, public) = unsafe {
                let public = match place.gradient.is_null() {
                    true => None,
                    false => Some(ffi::slice_mut(place.gradient, len, "a gradient")?),
                };
                (ffi::slice_mut(pointer, len, "a weight array")?, public)
            };
            let gradient = match public {
                Some(public) => public,
                None => {
                    slot.gradient.grow("a gradient", len)?;
                    &mut slot.gradient[..len]
                }
            };
            let (held, accumulated) = (slot.held.clone(), &mut slot.accumulated);
            let (moment1, moment2) = match part {
                Part::Embeddings if whole => moments.take().ok_or_else(without_state)?,
                _ => (&mut *slot.moment1, &mut *slot.moment2),
            };
            visitor(Tensor { part, layer, weights, gradient, held, moment1, moment2, accumulated })
        })?;
        Ok(())
    }

    fn moments_room(&mut self, range: Range<usize>) -> Result<Room> {
        let len = self.plan.params.embeddings.len;
        let room = self.slots.room(&range)?;
        let whole = self
            .slots
            .iter()
            .zip(room.held())
            .any(|(slot, held)| slot.part == Part::Embeddings && *held == (0..slot.len));
        self.block = None;
        if self.holds_embeddings() || !self.optimizer_state.is_null() {
            // SAFETY: the view's promise.
            unsafe { embeddings_moments(self.optimizer_state, len)? };
        } else if whole {
            self.block = Some(moments_block(len)?);
        }
        Ok(room)
    }

    fn hold_moments(&mut self, room: Room) -> Result<()> {
        let len = self.plan.params.embeddings.len;
        let public = self.holds_embeddings();
        {
            let moments = match public {
                // SAFETY: the view's promise.
                true => Some(unsafe { embeddings_moments(self.optimizer_state, len)? }),
                false => None,
            };
            self.slots.hold(room, moments.map(|(first, second)| (&*first, &*second)))?;
        }
        let block = self.block.take();
        match (public, self.holds_embeddings()) {
            (true, false) => {
                let block = std::mem::replace(self.optimizer_state, std::ptr::null_mut());
                // SAFETY: the object's block, which is from malloc, and nobody's view any more.
                unsafe { ffi::free(block) };
            }
            (false, true) => {
                if let Some(block) = block {
                    *self.optimizer_state = block.into_raw();
                }
                // SAFETY: the view's promise.
                let moments = unsafe { embeddings_moments(self.optimizer_state, len)? };
                let embeddings = |slot: &&mut Slot| slot.part == Part::Embeddings;
                if let Some(slot) = self.slots.iter_mut().find(embeddings) {
                    moments.0.copy_from_slice(&slot.moment1);
                    moments.1.copy_from_slice(&slot.moment2);
                    (slot.moment1, slot.moment2) = (Floats::new(), Floats::new());
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn spiral_mut(&mut self) -> Result<Option<&mut [f32]>> {
        let Some(Raw { pointer, len }) = self.plan.spiral else { return Ok(None) };
        // SAFETY: the view's promise.
        unsafe { ffi::slice_mut(pointer, len, "spiral_positions").map(Some) }
    }
}

const MOMENTS: &str = "the optimizer's state";

/// A block for both moments of the embeddings, `len` values each.
fn moments_block(len: usize) -> Result<CArray<f32>> {
    CArray::aligned(MOMENTS, product(MOMENTS, &[2, len])?)
}

/// Both moments of the embeddings, `len` values each; zero where the program took them away.
///
/// # Safety
/// `state` is NULL or the block of both, which nothing else uses during `'a`.
unsafe fn embeddings_moments(state: &mut *mut f32, len: usize) -> Result<(&mut [f32], &mut [f32])> {
    let both = product(MOMENTS, &[2, len])?;
    if state.is_null() {
        *state = moments_block(len)?.into_raw();
    }
    Ok(ffi::slice_mut(*state, both, "optimizer_state")?.split_at_mut(len))
}

const NONE: *mut f32 = std::ptr::null_mut();

/// The public gradient buffer of a tensor, NULL where there is none or it is too small.
///
/// # Safety
/// The gradient tables are NULL or have an entry for each layer.
unsafe fn public_gradient(
    training: &CLLMTraining,
    rooms: &[LayerRoom],
    part: Part,
    layer: usize,
    len: usize,
) -> Result<*mut f32> {
    let Some(room) = rooms.get(layer).or(rooms.first()) else {
        let ours = part == Part::Embeddings;
        return Ok(if ours { training.gradients } else { NONE });
    };
    let count = rooms.len();
    let attention = |pick: fn(&CLLMAttentionGradients) -> *mut f32| {
        entry(training.attention_grads, layer, count).map(|e| e.map_or(NONE, pick))
    };
    let ff = |pick: fn(&CLLMFeedForwardGradients) -> *mut f32| {
        entry(training.ff_grads, layer, count).map(|e| e.map_or(NONE, pick))
    };
    let norm = |pick: fn(&CLLMLayerNormGradients) -> *mut f32| {
        entry(training.ln_grads, layer, count).map(|e| e.map_or(NONE, pick))
    };
    let (pointer, capacity) = match part {
        Part::Embeddings => (training.gradients, len),
        Part::Query => (attention(|g| g.query_lattice)?, room.attention),
        Part::Key => (attention(|g| g.key_lattice)?, room.attention),
        Part::Value => (attention(|g| g.value_lattice)?, room.attention),
        Part::W1 => (ff(|g| g.w1_lattice)?, room.w1),
        Part::Bias1 => (ff(|g| g.bias1)?, room.bias1),
        Part::W2 => (ff(|g| g.w2_lattice)?, room.w2),
        Part::Bias2 => (ff(|g| g.bias2)?, room.bias2),
        Part::Gamma1 => (norm(|g| g.gamma)?, room.gamma),
        Part::Beta1 => (norm(|g| g.beta)?, room.gamma),
        _ => (NONE, 0),
    };
    Ok(if capacity >= len { pointer } else { NONE })
}

/// # Safety
/// A non-NULL `table` has `count` entries.
unsafe fn entry<'a, T>(table: *const T, index: usize, count: usize) -> Result<Option<&'a T>> {
    if table.is_null() {
        return Ok(None);
    }
    Ok(ffi::slice(table, count, "a gradient table")?.get(index))
}
