//! The sum of a window's gradients: one fixed binary tree over its batches, whoever computes them.
//!
//! The leaves are the gradients of the window's batches, numbered from 0. Nodes 2k and 2k + 1 of a level
//! make node k of the next, left plus right; a last one without a partner is carried up as it is. So for
//! seven: ((0+1)+(2+3))+((4+5)+6). Leaves that come one after the other need the sums of at most
//! ⌊log₂ G⌋ whole subtrees to be kept, as the digits of a binary counter.

use super::weights::Weights;
use crate::error::Result;
use cllm_kernels::bf16::round;
use cllm_kernels::memory;
use cllm_kernels::memory::floats::Floats;
use cllm_kernels::vector::add_assign;
use std::ops::Range;

const WHAT: &str = "the accumulated gradients";

/// A subtree: the leaves from index·2^level on, 2^level of them or as many as there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Node {
    level: u32,
    index: u64,
}

impl Node {
    fn leaf(index: u32) -> Self {
        Self { level: 0, index: index.into() }
    }

    fn parent(self) -> Self {
        Self { level: self.level + 1, index: self.index / 2 }
    }
}

/// The leaves that there are so far, and whether there will be no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leaves {
    pub count: u32,
    pub all: bool,
}

impl Leaves {
    /// Whether a node is the last of its level, so that it is carried up if it has no partner. The
    /// root has nowhere to go.
    fn end_with(self, node: Node) -> bool {
        let height = u32::BITS - self.count.saturating_sub(1).leading_zeros();
        self.all && node.level < height && (node.index + 1) << node.level >= self.count.into()
    }
}

/// Subtrees side by side, each as large as the leaves allow.
#[derive(Debug)]
pub(super) struct Forest {
    leaves: Leaves,
    nodes: Vec<Node>,
}

impl Forest {
    pub fn new(leaves: Leaves) -> Self {
        Self { leaves, nodes: Vec::new() }
    }

    /// That of a run of leaves.
    pub fn of(leaves: Leaves, range: Range<u32>) -> Self {
        let mut forest = Self::new(leaves);
        range.for_each(|leaf| {
            forest.add_leaf(leaf);
        });
        forest
    }

    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Adds a leaf on the right; with how many of the nodes before it merges.
    pub fn add_leaf(&mut self, leaf: u32) -> usize {
        self.add(Node::leaf(leaf))
    }

    /// Adds a node on the right; with how many of those before it merges, the last one first.
    pub fn add(&mut self, mut node: Node) -> usize {
        let mut merged = 0;
        loop {
            if node.index % 2 == 1 {
                let left = Node { index: node.index - 1, ..node };
                if self.nodes.last() != Some(&left) {
                    break;
                }
                self.nodes.pop();
                merged += 1;
            } else if !self.leaves.end_with(node) {
                break;
            }
            node = node.parent();
        }
        self.nodes.push(node);
        merged
    }
}

/// Whole subtrees over the first `count` leaves: one for each digit 1 of the number.
pub(super) fn open_sums(count: u32) -> usize {
    count.count_ones() as usize
}

/// Subtrees whose sums are kept at once while a window of `leaves` is gone through.
pub(super) fn most_open_sums(leaves: u32) -> usize {
    leaves.max(1).ilog2() as usize
}

/// Memory for `count` sums beside each gradient; what is there stays, also where there is no memory.
pub(super) fn reserve(weights: &mut dyn Weights, count: usize) -> Result<()> {
    weights.visit(&mut |t| reserve_sums(t.accumulated, count, t.gradient.len()))
}

/// Likewise, for a single tensor.
pub(super) fn reserve_sums(sums: &mut Vec<Floats>, count: usize, len: usize) -> Result<()> {
    memory::reserve(WHAT, sums, count)?;
    sums.iter_mut().take(count).try_for_each(|sum| sum.grow(WHAT, len))?;
    while sums.len() < count {
        let mut sum = Floats::new();
        sum.grow(WHAT, len)?;
        sums.push(sum);
    }
    Ok(())
}

/// Adds `right` to a sum, which is `rounded` to bfloat16 then or not.
pub(super) fn add(sum: &mut [f32], right: &[f32], rounded: bool) {
    add_assign(sum, right);
    if rounded {
        round(sum);
    }
}

/// Rounds the gradient of a batch.
pub(super) fn round_gradient(weights: &mut dyn Weights) -> Result<()> {
    weights.visit(&mut |t| {
        round(t.gradient);
        Ok(())
    })
}

/// Adds the gradient on the right of `open` sums: it merges with the latest `merged` of them, and the
/// result becomes the last sum. There is memory for it; the gradient stays. Sums are [`round`]ed or not.
pub(super) fn add_gradient(
    weights: &mut dyn Weights,
    open: usize,
    merged: usize,
    rounded: bool,
) -> Result<()> {
    weights.visit(&mut |t| {
        if merged == 0 {
            t.accumulated[open][..t.gradient.len()].copy_from_slice(t.gradient);
            return Ok(());
        }
        add(&mut t.accumulated[open - 1], t.gradient, rounded);
        for left in (open - merged..open - 1).rev() {
            let (sums, right) = t.accumulated.split_at_mut(left + 1);
            add(&mut sums[left], &right[0], rounded);
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_memory_there_are_the_sums_of_before() {
        let mut sums = Vec::new();
        reserve_sums(&mut sums, 2, 3).unwrap();
        sums[1][2] = 5.0;
        assert!(reserve_sums(&mut sums, 4, usize::MAX).is_err());
        assert!(reserve_sums(&mut sums, usize::MAX, 3).is_err());
        assert_eq!(
            sums.iter().map(|sum| sum.to_vec()).collect::<Vec<_>>(),
            [[0.0; 3], [0.0, 0.0, 5.0]]
        );
        let mut none = Vec::new();
        assert!(reserve_sums(&mut none, 4, usize::MAX).is_err() && none.is_empty());
    }

    /// The tree as it is defined, level by level, in words.
    fn by_levels(leaves: u32) -> String {
        let mut level: Vec<String> = (0..leaves).map(|leaf| leaf.to_string()).collect();
        while level.len() > 1 {
            level = level
                .chunks(2)
                .map(|pair| match pair {
                    [left, right] => format!("({left}+{right})"),
                    rest => rest.concat(),
                })
                .collect();
        }
        level.concat()
    }

    /// Nodes with their sums in words.
    struct Sums(Forest, Vec<String>);

    impl Sums {
        fn add(&mut self, node: Node, sum: String) {
            let merged = self.0.add(node);
            let joined = (0..merged).fold(sum, |right, _| {
                format!("({}+{right})", self.1.pop().expect("one sum for each node"))
            });
            self.1.push(joined);
            assert_eq!(self.0.nodes().len(), self.1.len());
        }
    }

    #[test]
    fn one_after_the_other_makes_the_tree_of_the_levels() {
        assert_eq!(by_levels(7), "(((0+1)+(2+3))+((4+5)+6))");
        for count in 1..70 {
            let mut sums = Sums(Forest::new(Leaves { count, all: true }), Vec::new());
            for leaf in 0..count {
                assert!(sums.1.len() <= most_open_sums(count), "{count}");
                if leaf + 1 < count {
                    let open = Forest::of(Leaves { count: leaf, all: false }, 0..leaf);
                    assert_eq!(open.nodes().len(), open_sums(leaf));
                }
                sums.add(Node::leaf(leaf), leaf.to_string());
            }
            assert_eq!(sums.1, [by_levels(count)]);
        }
    }

    #[test]
    fn shares_make_the_same_tree() {
        for count in 1..24u32 {
            for ranks in 1..9u32 {
                // What an earlier part of the window left, which everybody has.
                for first in 0..count {
                    let leaves = Leaves { count, all: true };
                    let mut all = Sums(Forest::new(leaves), Vec::new());
                    let mut add = |range: Range<u32>, leaves| {
                        let mut part = Sums(Forest::new(leaves), Vec::new());
                        range.for_each(|leaf| part.add(Node::leaf(leaf), leaf.to_string()));
                        for (node, sum) in part.0.nodes().iter().zip(part.1) {
                            all.add(*node, sum);
                        }
                    };
                    add(0..first, Leaves { count: first, all: false });
                    for rank in 0..ranks {
                        let place = |rank| first + rank * (count - first) / ranks;
                        add(place(rank)..place(rank + 1), leaves);
                    }
                    assert_eq!(all.1, [by_levels(count)], "{count} {ranks} {first}");
                }
            }
        }
    }
}
