//! What training keeps for each tensor besides the public buffers.

use crate::error::Result;
use crate::model::{Params, Part};
use cllm_kernels::memory::floats::Floats;

/// Private companions of one tensor; arrays that are not in use are empty.
#[derive(Debug)]
pub struct Slot {
    /// Which tensor.
    pub part: Part,
    /// Of which layer.
    pub layer: usize,
    /// Its length.
    pub len: usize,
    /// Gradient, where no public buffer holds it.
    pub gradient: Floats,
    /// First moments, or velocity.
    pub moment1: Floats,
    /// Second moments.
    pub moment2: Floats,
    /// Sums over the open accumulation window: see [`Tensor`](super::weights::Tensor).
    pub accumulated: Vec<Floats>,
}

impl Slot {
    fn new(part: Part, layer: usize, len: usize) -> Self {
        let empty = Floats::default;
        Self {
            part,
            layer,
            len,
            gradient: empty(),
            moment1: empty(),
            moment2: empty(),
            accumulated: Vec::new(),
        }
    }

    /// Zeroed moments where there were none.
    pub fn reserve_moments(&mut self) -> Result<()> {
        self.moment1.grow("the optimizer's moments", self.len)?;
        self.moment2.grow("the optimizer's moments", self.len)?;
        Ok(())
    }
}

/// The companions of all tensors of a model, in the canonical order.
#[derive(Debug, Default)]
pub struct Slots(Vec<Slot>);

impl Slots {
    /// Makes the list match the tensors that the model has now. A program may add parts to a
    /// model, or take them away, between calls; what stays keeps its state.
    pub fn sync<T>(&mut self, params: &Params<T>, len: impl Fn(&T) -> usize) {
        let same =
            |slot: &Slot, part, layer, len| (slot.part, slot.layer, slot.len) == (part, layer, len);
        // Nearly always nothing has changed.
        let (mut slots, mut matching) = (self.0.iter(), true);
        params.visit(|part, layer, t| {
            matching &= slots.next().is_some_and(|slot| same(slot, part, layer, len(t)));
        });
        if matching && slots.next().is_none() {
            return;
        }
        let mut old = std::mem::take(&mut self.0);
        params.visit(|part, layer, t| {
            let place = old.iter().position(|slot| same(slot, part, layer, len(t)));
            let kept = place.map(|i| old.swap_remove(i));
            self.0.push(kept.unwrap_or_else(|| Slot::new(part, layer, len(t))));
        });
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.0.iter()
    }

    /// All of them, to change.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.0.iter_mut()
    }
}
