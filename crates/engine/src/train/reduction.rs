//! The sum over the batches of several ranks, in two halves, each of which moves the size of the gradient
//! once: every rank owns a part of the parameters, gets that part of all subtrees' sums from the others
//! and adds them up along the tree; then the parts of the result go to everybody, or stay with their
//! owners, who update the weights of their parts ([`super::division`]).

use super::ranks::{Link, share};
use super::slots::within;
use super::tree::{self, Forest, Leaves, Node};
use super::weights::{Tensor, Weights};
use crate::error::Result;
use cllm_kernels::memory::{grow, reserve};
use cllm_kernels::vector::scale;
use std::ops::Range;

const WHAT: &str = "the gradients of the ranks";

/// Floats of all subtrees that are worked on at once.
const WORKED_ON: usize = 1 << 24;

/// Memory that is used again.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    pub(super) bytes: Vec<u8>,
    floats: Vec<f32>,
}

/// Arrays of a rank, with a value for each parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Place {
    Gradient,
    Sum(usize),
    Weights,
    Moment1,
    Moment2,
}

/// Who owns which of the parameters, counted through all tensors.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Parts {
    /// Where the part of each rank begins, and where the last one ends.
    bounds: Vec<usize>,
}

impl Parts {
    /// Parts that begin where `begin` says.
    pub fn new(ranks: usize, begin: impl Fn(usize) -> usize) -> Result<Self> {
        let mut bounds = Vec::new();
        reserve(WHAT, &mut bounds, ranks + 1)?;
        bounds.extend((0..=ranks).map(begin));
        Ok(Self { bounds })
    }

    /// Equal parts.
    fn equal(parameters: usize, ranks: usize) -> Result<Self> {
        Self::new(ranks, |rank| match rank == ranks {
            true => parameters,
            false => share(parameters, rank, ranks).start,
        })
    }

    pub fn of(&self, rank: usize) -> Range<usize> {
        self.bounds[rank]..self.bounds[rank + 1]
    }

    pub fn ranks(&self) -> usize {
        self.bounds.len() - 1
    }

    fn longest(&self) -> usize {
        self.bounds.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0).max(1)
    }

    /// Piece `index`, of `size`, of a rank's part.
    fn piece(&self, rank: usize, index: usize, size: usize) -> Range<usize> {
        let part = self.of(rank);
        let start = part.end.min(part.start + index * size);
        start..part.end.min(start + size)
    }

    /// How many parameters of each rank's part are gathered at once.
    fn gathered(&self) -> usize {
        self.longest().min(WORKED_ON / self.ranks()).max(1)
    }

    /// Memory for [`gather`](Self::gather).
    pub fn reserve(&self, link: &mut Link, buffers: &mut Buffers) -> Result<()> {
        link.reserve(4 * self.gathered())?;
        Ok(grow(WHAT, &mut buffers.bytes, 4 * self.gathered())?)
    }

    /// Everybody's part for everybody. The memory for it is there.
    pub fn gather(
        &self,
        weights: &mut dyn Weights,
        link: &mut Link,
        buffers: &mut Buffers,
        place: Place,
        width: Width,
    ) -> Result<()> {
        let size = self.gathered();
        for index in 0..self.longest().div_ceil(size) {
            let mine = &mut buffers.bytes[..width.bytes() * size];
            write_bytes(weights, place, self.piece(link.rank, index, size), width, mine)?;
            let gathered = link.gather(mine)?;
            for (from, values) in gathered.chunks(width.bytes() * size).enumerate() {
                store_bytes(weights, place, self.piece(from, index, size), width, values)?;
            }
        }
        Ok(())
    }
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
    /// Who adds up which parameters, how many at once.
    parts: Parts,
    piece: usize,
    /// Whether the owners keep the results of a whole window.
    kept: bool,
    /// How sums are sent: as halves, where they are rounded.
    width: Width,
}

/// How floats are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Width {
    /// All of their bits.
    Whole,
    /// The upper halves of values that are rounded to bfloat16.
    Half,
}

impl Width {
    /// Bytes of a float.
    pub fn bytes(self) -> usize {
        match self {
            Self::Whole => 4,
            Self::Half => 2,
        }
    }

    /// Floats as bytes, as far as both last.
    fn pack(self, values: &[f32], bytes: &mut [u8]) {
        match self {
            Self::Whole => {
                for (bytes, value) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(values) {
                    *bytes = value.to_le_bytes();
                }
            }
            Self::Half => {
                for (bytes, value) in bytes.as_chunks_mut::<2>().0.iter_mut().zip(values) {
                    *bytes = ((value.to_bits() >> 16) as u16).to_le_bytes();
                }
            }
        }
    }

    /// The reverse.
    fn unpack(self, bytes: &[u8], values: &mut [f32]) {
        match self {
            Self::Whole => {
                for (value, bytes) in values.iter_mut().zip(bytes.as_chunks::<4>().0) {
                    *value = f32::from_le_bytes(*bytes);
                }
            }
            Self::Half => {
                for (value, bytes) in values.iter_mut().zip(bytes.as_chunks::<2>().0) {
                    *value = f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16);
                }
            }
        }
    }
}

impl Sum {
    /// Of a window's end the result stays with the owners of `kept`, where there are such. With `rounded`,
    /// all sums are of bfloat16.
    pub fn new(
        portion: Portion,
        weights: &mut dyn Weights,
        ranks: usize,
        kept: Option<&Parts>,
        rounded: bool,
    ) -> Result<Self> {
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
        let parts = kept.cloned().map_or_else(|| Parts::equal(parameters, ranks), Ok)?;
        let piece = parts.longest().min(WORKED_ON / count.max(ranks)).max(1);
        let kept = kept.is_some() && portion.leaves.all;
        let width = if rounded { Width::Half } else { Width::Whole };
        Ok(Self { leaves: portion.leaves, nodes, sums, parts, piece, kept, width })
    }

    /// All subtrees.
    fn count(&self) -> usize {
        self.nodes.iter().map(Vec::len).sum()
    }

    /// Subtrees that are left.
    fn results(&self) -> usize {
        if self.leaves.all { 1 } else { tree::open_sums(self.leaves.count) }
    }

    /// Where the sum of subtree `i` of those that are left belongs.
    fn result(&self, i: usize) -> Place {
        if self.leaves.all { Place::Gradient } else { Place::Sum(i) }
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
        grow(WHAT, &mut buffers.bytes, 4 * self.piece * (2 * most))?;
        self.parts.reserve(link, buffers)
    }

    /// Adds up, from what each rank has at its `places`: the mean in the place of the gradient, or, where
    /// the window stays open, its sums. Everybody gets all of it, unless the owners keep it.
    pub fn run(
        &self,
        weights: &mut dyn Weights,
        link: &mut Link,
        buffers: &mut Buffers,
        places: &[Place],
        mean: f32,
    ) -> Result<()> {
        for piece in 0..self.parts.longest().div_ceil(self.piece) {
            self.piece(weights, link, buffers, places, piece)?;
        }
        for i in (0..self.results()).filter(|_| !self.kept) {
            self.parts.gather(weights, link, buffers, self.result(i), self.width)?;
        }
        if self.leaves.all {
            let mine = if self.kept { self.parts.of(link.rank) } else { 0..usize::MAX };
            visit(weights, Place::Gradient, mine, &mut |values, _| scale(values, mean))?;
        }
        Ok(())
    }

    /// Adds up a piece of this rank's part of the parameters.
    fn piece(
        &self,
        weights: &mut dyn Weights,
        link: &mut Link,
        buffers: &mut Buffers,
        places: &[Place],
        piece: usize,
    ) -> Result<()> {
        let Buffers { bytes, floats } = buffers;
        let size = self.width.bytes();
        let (rank, ranks) = (link.rank, link.ranks);
        let own = self.parts.piece(rank, piece, self.piece);
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
            let theirs = self.parts.piece(to, piece, self.piece);
            let half = bytes.len() / 2;
            let (send, receive) = bytes.split_at_mut(half);
            let send = &mut send[..size * places.len() * theirs.len()];
            for (slot, place) in send.chunks_mut((size * theirs.len()).max(1)).zip(places) {
                write_bytes(weights, *place, theirs.clone(), self.width, slot)?;
            }
            let receive = &mut receive[..size * self.nodes[1 + from].len() * len];
            link.exchange(to, send, from, receive)?;
            self.width.unpack(receive, &mut values[starts[from] * len..]);
        }
        // Along the tree.
        let mut forest = Forest::new(self.leaves);
        let mut stack: Vec<usize> = Vec::new();
        for (i, node) in self.nodes.iter().flatten().enumerate() {
            let mut right = i;
            for _ in 0..forest.add(*node) {
                let Some(left) = stack.pop() else { break };
                let (before, after) = values.split_at_mut(right * len);
                let rounded = self.width == Width::Half;
                tree::add(&mut before[left * len..][..len], &after[..len], rounded);
                right = left;
            }
            stack.push(right);
        }
        // The owner's part of the result.
        for (i, at) in stack.iter().enumerate() {
            store(weights, self.result(i), own.clone(), &values[at * len..][..len])?;
        }
        Ok(())
    }
}

/// Calls `work` with every tensor's values at `place`, as far as they are here and in `range` of all
/// parameters one behind the other, and with their place in the range.
fn visit(
    weights: &mut dyn Weights,
    place: Place,
    range: Range<usize>,
    work: &mut dyn FnMut(&mut [f32], usize),
) -> Result<()> {
    let mut start = 0;
    weights.visit(&mut |t| {
        let len = t.weights.len();
        let wanted = within(&range, start, len);
        let Tensor { weights, gradient, accumulated, held, moment1, moment2, .. } = t;
        let (values, first) = match place {
            Place::Gradient => (gradient, 0),
            Place::Sum(i) => (&mut accumulated[i][..len], 0),
            Place::Weights => (weights, 0),
            Place::Moment1 => (moment1, held.start),
            Place::Moment2 => (moment2, held.start),
        };
        let (from, to) = (wanted.start.max(first), wanted.end.min(first + values.len()));
        if from < to {
            work(&mut values[from - first..to - first], start + from - range.start);
        }
        start += len;
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

pub(super) fn write_bytes(
    weights: &mut dyn Weights,
    place: Place,
    range: Range<usize>,
    width: Width,
    out: &mut [u8],
) -> Result<()> {
    visit(weights, place, range, &mut |values, at| {
        width.pack(values, &mut out[width.bytes() * at..]);
    })
}

fn store_bytes(
    weights: &mut dyn Weights,
    place: Place,
    range: Range<usize>,
    width: Width,
    bytes: &[u8],
) -> Result<()> {
    visit(weights, place, range, &mut |values, at| {
        width.unpack(&bytes[width.bytes() * at..], values);
    })
}

fn store(weights: &mut dyn Weights, place: Place, range: Range<usize>, from: &[f32]) -> Result<()> {
    visit(weights, place, range, &mut |values, at| {
        values.copy_from_slice(&from[at..at + values.len()]);
    })
}
