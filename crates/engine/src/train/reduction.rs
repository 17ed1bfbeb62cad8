//! The sum over the batches of several ranks, in two halves, each of which moves the size of the gradient
//! once: every rank owns a part of the parameters, gets that part of all subtrees' sums from the others
//! and adds them up along the tree; then the parts of the result go to everybody.

use super::ranks::{Link, share};
use super::tree::{self, Forest, Leaves, Node};
use super::weights::{Tensor, Weights};
use crate::error::Result;
use cllm_kernels::memory::{grow, reserve};
use cllm_kernels::vector::{add_assign, scale};
use std::ops::Range;

const WHAT: &str = "the gradients of the ranks";

/// Floats of all subtrees that are worked on at once.
const WORKED_ON: usize = 1 << 24;

/// Memory that is used again.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    bytes: Vec<u8>,
    floats: Vec<f32>,
}

/// Where a rank has the sum of a subtree.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Gradient,
    Sum(usize),
}

/// The steps of a window that are computed at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Portion {
    /// Batches of the window before them, and their number.
    pub first: u32,
    pub count: u32,
    pub leaves: Leaves,
}

impl Portion {
    /// The batches of a rank, as leaves.
    pub fn share(self, rank: usize, ranks: usize) -> Range<u32> {
        let share = share(self.count as usize, rank, ranks);
        self.first + share.start as u32..self.first + share.end as u32
    }

    /// The subtrees that were there before.
    fn open(self) -> Forest {
        Forest::of(Leaves { count: self.first, all: false }, 0..self.first)
    }
}

/// How the sum of a portion is made.
#[derive(Debug)]
pub(super) struct Sum {
    leaves: Leaves,
    /// The subtrees that everybody has from before, then those of each rank.
    nodes: Vec<Vec<Node>>,
    /// Sums that this rank needs room for at most.
    sums: usize,
    /// Number of the parameters, and how many of each rank's part are added up at once, how often.
    parameters: usize,
    piece: usize,
    pieces: usize,
}

impl Sum {
    pub fn new(portion: Portion, weights: &mut dyn Weights, ranks: usize) -> Result<Self> {
        let mut parameters = 0;
        weights.visit(&mut |t| {
            parameters += t.gradient.len();
            Ok(())
        })?;
        let mut nodes = Vec::new();
        reserve(WHAT, &mut nodes, ranks + 1)?;
        nodes.push(portion.open().nodes().to_vec());
        let mut sums = 0;
        for rank in 0..ranks {
            let mut forest = Forest::new(portion.leaves);
            for leaf in portion.share(rank, ranks) {
                sums = sums.max(forest.nodes().len() + 1);
                forest.add_leaf(leaf);
            }
            nodes.push(forest.nodes().to_vec());
        }
        let sums = nodes[0].len() + sums;
        let count = nodes.iter().map(Vec::len).sum::<usize>();
        let longest = parameters.div_ceil(ranks).max(1);
        let piece = longest.min(WORKED_ON / count.max(ranks)).max(1);
        let pieces = longest.div_ceil(piece);
        Ok(Self { leaves: portion.leaves, nodes, sums, parameters, piece, pieces })
    }

    /// All subtrees.
    fn count(&self) -> usize {
        self.nodes.iter().map(Vec::len).sum()
    }

    /// Subtrees that are left.
    fn results(&self) -> usize {
        if self.leaves.all { 1 } else { tree::open_sums(self.leaves.count) }
    }

    /// The parameters of a piece of a rank's part.
    fn range(&self, rank: usize, ranks: usize, piece: usize) -> Range<usize> {
        let part = share(self.parameters, rank, ranks);
        let start = (part.start + piece * self.piece).min(part.end);
        start..(start + self.piece).min(part.end)
    }

    /// Takes all memory that is needed, so that no rank fails while others wait for it.
    pub fn reserve(
        &self,
        weights: &mut dyn Weights,
        link: &mut Link,
        buffers: &mut Buffers,
    ) -> Result<()> {
        let most = self.nodes.iter().map(Vec::len).max().unwrap_or(0);
        let (results, count) = (self.results(), self.count());
        tree::reserve(weights, self.sums.max(results))?;
        grow(WHAT, &mut buffers.floats, count * self.piece)?;
        grow(WHAT, &mut buffers.bytes, 4 * self.piece * (2 * most.max(results)))?;
        link.reserve(4 * self.piece * results)
    }

    /// Adds up, from what each rank has at its `places`: the mean in the place of the gradient, or, where
    /// the window stays open, its sums.
    pub fn run(
        &self,
        weights: &mut dyn Weights,
        link: &mut Link,
        buffers: &mut Buffers,
        places: &[Place],
        mean: f32,
    ) -> Result<()> {
        (0..self.pieces)
            .try_for_each(|piece| self.piece(weights, link, buffers, places, piece, mean))
    }

    /// Adds up a piece of this rank's part of the parameters, and gives everybody the results of all
    /// ranks.
    fn piece(
        &self,
        weights: &mut dyn Weights,
        link: &mut Link,
        buffers: &mut Buffers,
        places: &[Place],
        piece: usize,
        mean: f32,
    ) -> Result<()> {
        let Buffers { bytes, floats } = buffers;
        let (rank, ranks) = (link.rank, link.ranks);
        let own = self.range(rank, ranks, piece);
        let len = own.len();
        let mut at = self.nodes[0].len();
        let mut starts = Vec::with_capacity(ranks);
        for nodes in &self.nodes[1..] {
            starts.push(at);
            at += nodes.len();
        }
        let values = &mut floats[..at * len];
        // What this rank has itself.
        for i in 0..self.nodes[0].len() {
            read(weights, Place::Sum(i), own.clone(), &mut values[i * len..][..len])?;
        }
        for (i, place) in places.iter().enumerate() {
            read(weights, *place, own.clone(), &mut values[(starts[rank] + i) * len..][..len])?;
        }
        // What the others have of its part.
        for distance in 1..ranks {
            let (to, from) = ((rank + distance) % ranks, (rank + ranks - distance) % ranks);
            let theirs = self.range(to, ranks, piece);
            let half = bytes.len() / 2;
            let (send, receive) = bytes.split_at_mut(half);
            let send = &mut send[..4 * places.len() * theirs.len()];
            for (slot, place) in send.chunks_mut((4 * theirs.len()).max(1)).zip(places) {
                write_bytes(weights, *place, theirs.clone(), slot)?;
            }
            let receive = &mut receive[..4 * self.nodes[1 + from].len() * len];
            link.exchange(to, send, from, receive)?;
            let slots = values[starts[from] * len..].iter_mut();
            for (slot, bytes) in slots.zip(receive.as_chunks::<4>().0) {
                *slot = f32::from_le_bytes(*bytes);
            }
        }
        // Along the tree.
        let mut forest = Forest::new(self.leaves);
        let mut stack: Vec<usize> = Vec::new();
        for (i, node) in self.nodes.iter().flatten().enumerate() {
            let mut right = i;
            for _ in 0..forest.add(*node) {
                let Some(left) = stack.pop() else { break };
                let (before, after) = values.split_at_mut(right * len);
                add_assign(&mut before[left * len..][..len], &after[..len]);
                right = left;
            }
            stack.push(right);
        }
        // To everybody.
        let size = 4 * self.piece;
        let mine = &mut bytes[..size * stack.len()];
        for (slot, i) in mine.chunks_mut(size.max(1)).zip(&stack) {
            let result = &mut values[i * len..][..len];
            if self.leaves.all {
                scale(result, mean);
            }
            for (bytes, value) in slot.as_chunks_mut::<4>().0.iter_mut().zip(&*result) {
                *bytes = value.to_le_bytes();
            }
        }
        let gathered = link.gather(mine)?;
        for (from, results) in gathered.chunks((size * stack.len()).max(1)).enumerate() {
            for (i, result) in results.chunks(size).enumerate() {
                let place = if self.leaves.all { Place::Gradient } else { Place::Sum(i) };
                store_bytes(weights, place, self.range(from, ranks, piece), result)?;
            }
        }
        Ok(())
    }
}

/// Calls `work` with every tensor's values at `place`, as far as they are in `range` of all parameters
/// one behind the other, and with their place in the range.
fn visit(
    weights: &mut dyn Weights,
    place: Place,
    range: Range<usize>,
    work: &mut dyn FnMut(&mut [f32], usize),
) -> Result<()> {
    let mut start = 0;
    weights.visit(&mut |t| {
        let Tensor { gradient, accumulated, .. } = t;
        let end = start + gradient.len();
        let (from, to) = (range.start.max(start), range.end.min(end));
        if from < to {
            let values = match place {
                Place::Gradient => gradient,
                Place::Sum(i) => &mut accumulated[i],
            };
            work(&mut values[from - start..to - start], from - range.start);
        }
        start = end;
        Ok(())
    })
}

fn read(
    weights: &mut dyn Weights,
    place: Place,
    range: Range<usize>,
    out: &mut [f32],
) -> Result<()> {
    visit(weights, place, range, &mut |values, at| {
        out[at..at + values.len()].copy_from_slice(values);
    })
}

fn write_bytes(
    weights: &mut dyn Weights,
    place: Place,
    range: Range<usize>,
    out: &mut [u8],
) -> Result<()> {
    visit(weights, place, range, &mut |values, at| {
        for (bytes, value) in out.as_chunks_mut::<4>().0[at..].iter_mut().zip(values) {
            *bytes = value.to_le_bytes();
        }
    })
}

fn store_bytes(
    weights: &mut dyn Weights,
    place: Place,
    range: Range<usize>,
    bytes: &[u8],
) -> Result<()> {
    visit(weights, place, range, &mut |values, at| {
        for (value, bytes) in values.iter_mut().zip(&bytes.as_chunks::<4>().0[at..]) {
            *value = f32::from_le_bytes(*bytes);
        }
    })
}
