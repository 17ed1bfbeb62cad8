//! What training works on: weights with their gradients, moments and open sums, wherever they lie.

use super::slots::{Room, Slots};
use crate::error::{Error, Result};
use crate::model::{Model, ModelRef, Params, Part, TensorName};
use cllm_kernels::memory::floats::Floats;
use std::ops::Range;

/// One tensor of a model with everything that an update of it needs.
#[derive(Debug)]
pub struct Tensor<'a> {
    /// What it is: whether it decays.
    pub part: Part,
    /// Its layer; 0 for what belongs to none.
    pub layer: usize,
    /// The parameters.
    pub weights: &'a mut [f32],
    /// Their gradient, as long; scaled in place where it is clipped.
    pub gradient: &'a mut [f32],
    /// The parameters whose moments are kept here: all of them, but where ranks
    /// [divide](super::Trainer::divide_moments) them.
    pub held: Range<usize>,
    /// First moments of these, or the velocity of momentum descent.
    pub moment1: &'a mut [f32],
    /// Their second moments.
    pub moment2: &'a mut [f32],
    /// Sums of gradients over the open accumulation window: one for each digit 1 of the number of its
    /// batches, which is a whole subtree of the sum, the largest first. Empty as long as none was opened;
    /// what is behind those is left over.
    pub accumulated: &'a mut Vec<Floats>,
}

/// Weights with their gradients and the state of their optimizer. A [`Trainer`](super::Trainer)
/// knows of no others: a Rust program gives it [`TrainingWeights`], the C library a view of its
/// public structs.
pub trait Weights {
    /// The model as it is now, and its gradients to be written: for a pass.
    ///
    /// # Errors
    /// Memory for a gradient, or a model that does not fit what was kept for it.
    fn pass(&mut self) -> Result<(ModelRef<'_>, Params<&mut [f32]>)>;

    /// Has `visitor` called with every tensor, in the canonical order of [`Params::visit`]. All
    /// moments that are kept here are there: zero where no update was made yet.
    ///
    /// # Errors
    /// Memory for moments, before any call, or the first error of `visitor`.
    fn visit(&mut self, visitor: &mut dyn FnMut(Tensor<'_>) -> Result<()>) -> Result<()>;

    /// Memory to [keep](Self::hold_moments) the moments of the parameters in `range` alone, which counts
    /// through all tensors in the order of [`visit`](Self::visit). Nothing has changed by that.
    ///
    /// # Errors
    /// Memory, or a model that does not fit what was kept for it.
    fn moments_room(&mut self, range: Range<usize>) -> Result<Room>;

    /// Keeps from now on the moments alone that `room` is for: those that are there, and zero where there
    /// were none.
    ///
    /// # Errors
    /// Room that another call than the last one of [`moments_room`](Self::moments_room) made: nothing has
    /// changed then.
    fn hold_moments(&mut self, room: Room) -> Result<()>;

    /// S, where the model has such a table: not trained, but part of a checkpoint.
    ///
    /// # Errors
    /// A model that does not fit what was kept for it.
    fn spiral_mut(&mut self) -> Result<Option<&mut [f32]>>;
}

/// A model whose parameters can be read as a whole, and changed tensor by tensor.
pub trait Parameters {
    /// The model to run.
    fn view(&self) -> ModelRef<'_>;

    /// Its parameters, to change: the same tensors as those of [`view`](Self::view).
    fn params_mut(&mut self) -> Params<&mut [f32]>;

    /// [`ModelRef::spiral`], to change.
    fn spiral_mut(&mut self) -> Option<&mut [f32]>;
}

impl<M: Parameters + ?Sized> Parameters for &mut M {
    fn view(&self) -> ModelRef<'_> {
        (**self).view()
    }

    fn params_mut(&mut self) -> Params<&mut [f32]> {
        (**self).params_mut()
    }

    fn spiral_mut(&mut self) -> Option<&mut [f32]> {
        (**self).spiral_mut()
    }
}

impl Parameters for Model {
    fn view(&self) -> ModelRef<'_> {
        Self::view(self)
    }

    fn params_mut(&mut self) -> Params<&mut [f32]> {
        Self::params_mut(self)
    }

    fn spiral_mut(&mut self) -> Option<&mut [f32]> {
        let spiral = TensorName { part: Part::Spiral, layer: 0 };
        self.floats_mut(spiral).filter(|values| !values.is_empty())
    }
}

/// A model, owned or borrowed as `&mut`, with gradients and moments of its own: three more arrays
/// of its size, and while gradients are accumulated over G batches ⌊log₂ G⌋ others.
///
/// `Send` and `Sync` where the model is.
#[derive(Debug)]
pub struct TrainingWeights<M> {
    model: M,
    slots: Slots,
}

impl<M: Parameters> TrainingWeights<M> {
    /// Gradients and moments of zero beside `model`. Their memory is taken when they are first
    /// used.
    pub fn new(model: M) -> Self {
        Self { model, slots: Slots::default() }
    }

    /// The model as it is now.
    pub fn model(&self) -> &M {
        &self.model
    }

    /// The trained model; gradients and moments are dropped.
    pub fn into_model(self) -> M {
        self.model
    }
}

impl<M: Parameters> Weights for TrainingWeights<M> {
    fn pass(&mut self) -> Result<(ModelRef<'_>, Params<&mut [f32]>)> {
        let model = self.model.view();
        model.check()?;
        self.slots.sync(&model.params, |t| t.len());
        let mut slots = self.slots.iter_mut();
        let gradients = model.params.by_ref().try_map(|_, _, t| {
            let slot = slots.next().ok_or_else(without_state)?;
            slot.gradient.grow("a gradient", t.len())?;
            Ok::<_, Error>(&mut slot.gradient[..t.len()])
        })?;
        Ok((model, gradients))
    }

    fn visit(&mut self, visitor: &mut dyn FnMut(Tensor<'_>) -> Result<()>) -> Result<()> {
        let params = self.model.params_mut();
        self.slots.sync(&params, |t| t.len());
        for slot in self.slots.iter_mut() {
            slot.gradient.grow("a gradient", slot.len)?;
            slot.reserve_moments()?;
        }
        let mut slots = self.slots.iter_mut();
        params.try_map(|part, layer, weights| {
            let slot = slots.next().ok_or_else(without_state)?;
            let len = weights.len();
            visitor(Tensor {
                part,
                layer,
                weights,
                gradient: &mut slot.gradient[..len],
                held: slot.held.clone(),
                moment1: &mut slot.moment1,
                moment2: &mut slot.moment2,
                accumulated: &mut slot.accumulated,
            })
        })?;
        Ok(())
    }

    fn moments_room(&mut self, range: Range<usize>) -> Result<Room> {
        self.slots.sync(&self.model.params_mut(), |t| t.len());
        self.slots.room(&range)
    }

    fn hold_moments(&mut self, room: Room) -> Result<()> {
        self.slots.hold(room, None)
    }

    fn spiral_mut(&mut self) -> Result<Option<&mut [f32]>> {
        Ok(self.model.spiral_mut())
    }
}

/// The error for a list of companions that is shorter than the list of tensors.
pub fn without_state() -> Error {
    Error::shape("a tensor without state")
}
