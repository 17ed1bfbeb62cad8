//! What training keeps for each tensor besides the public buffers.

use crate::error::{Error, Result};
use crate::model::{Params, Part};
use cllm_kernels::memory::floats::Floats;
use cllm_kernels::memory::reserve;
use std::ops::Range;

const WHAT: &str = "the optimizer's moments";

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
    /// The values whose moments are kept here: all, but where ranks divide them.
    pub held: Range<usize>,
    /// First moments of these, or velocity.
    pub moment1: Floats,
    /// Their second moments.
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
            held: 0..len,
            moment1: empty(),
            moment2: empty(),
            accumulated: Vec::new(),
        }
    }

    /// Zeroed moments where there were none.
    pub fn reserve_moments(&mut self) -> Result<()> {
        self.moment1.grow(WHAT, self.held.len())?;
        self.moment2.grow(WHAT, self.held.len())?;
        Ok(())
    }

    /// Whether the moments of all values are kept here.
    pub fn holds_all(&self) -> bool {
        self.held == (0..self.len)
    }
}

/// The companions of all tensors of a model, in the canonical order.
#[derive(Debug, Default)]
pub struct Slots(Vec<Slot>);

/// Memory for other moments than those that are kept: for each tensor which they are, and zeros for them.
#[derive(Debug)]
pub struct Room(Vec<(Range<usize>, Floats, Floats)>);

impl Room {
    /// The values of each tensor whose moments it is for.
    pub fn held(&self) -> impl Iterator<Item = &Range<usize>> {
        self.0.iter().map(|(held, ..)| held)
    }
}

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

    /// Memory to [`hold`](Self::hold) the moments of `range` alone, which counts through all tensors.
    ///
    /// # Errors
    /// No memory.
    pub fn room(&self, range: &Range<usize>) -> Result<Room> {
        let mut arrays = Vec::new();
        reserve(WHAT, &mut arrays, self.0.len())?;
        let mut start = 0;
        for slot in &self.0 {
            let held = within(range, start, slot.len);
            let (mut first, mut second) = (Floats::new(), Floats::new());
            if held != slot.held {
                first.grow(WHAT, held.len())?;
                second.grow(WHAT, held.len())?;
            }
            arrays.push((held, first, second));
            start += slot.len;
        }
        Ok(Room(arrays))
    }

    /// Keeps the moments alone that `room` is for: those that are there, and zero where there were none.
    /// `embeddings`: the moments of the embeddings, where they are kept elsewhere; these stay there if they
    /// are to be kept whole.
    ///
    /// # Errors
    /// Room for another model: nothing has changed then.
    pub fn hold(&mut self, room: Room, embeddings: Option<(&[f32], &[f32])>) -> Result<()> {
        let fits = |(slot, (held, ..)): (&Slot, &(Range<usize>, _, _))| held.end <= slot.len;
        if room.0.len() != self.0.len() || !self.0.iter().zip(&room.0).all(fits) {
            return Err(Error::shape("memory for the moments of another model"));
        }
        // The system gives pages to the new arrays as the old ones go.
        for (slot, (held, mut first, mut second)) in self.0.iter_mut().zip(room.0) {
            if held == slot.held {
                continue;
            }
            let outside = embeddings.filter(|_| slot.part == Part::Embeddings);
            let (old1, old2) = outside.unwrap_or((&slot.moment1, &slot.moment2));
            let (from, to) = (held.start.max(slot.held.start), held.end.min(slot.held.end));
            if from < to && !old1.is_empty() {
                let (there, here) = (from - slot.held.start, from - held.start);
                first[here..][..to - from].copy_from_slice(&old1[there..][..to - from]);
                second[here..][..to - from].copy_from_slice(&old2[there..][..to - from]);
            }
            (slot.held, slot.moment1, slot.moment2) = (held, first, second);
        }
        Ok(())
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

/// What of `range`, which counts through all tensors, lies in the one of `len` values from `start` on,
/// counted within it.
pub(super) fn within(range: &Range<usize>, start: usize, len: usize) -> Range<usize> {
    let place = |at: usize| at.saturating_sub(start).min(len);
    place(range.start)..place(range.end)
}
