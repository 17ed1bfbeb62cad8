//! Merging the symbols of a piece: the pair of neighbours with the lowest rank first, of equal ones
//! the leftmost, until no pair has a rank.

use super::{no_memory, wrong};
use crate::error::Result;
use cllm_kernels::memory::reserve;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// "No symbol", above every id.
const NONE: u32 = u32::MAX;
/// "No merge", above every merge: see [`Pairs::get`].
pub(super) const NO_MERGE: u64 = u64::MAX;

#[derive(Clone, Copy)]
struct Slot {
    pair: u64,
    made: u64,
}

/// Pairs of ids and what they become: an open table, at most half full.
#[derive(Clone)]
pub(super) struct Pairs {
    slots: Vec<Slot>,
    shift: u32,
}

/// Two ids as one key.
#[inline]
pub(super) fn pair(left: u32, right: u32) -> u64 {
    u64::from(left) << 32 | u64::from(right)
}

/// The rank of what [`Pairs::get`] gives.
#[inline]
pub(super) fn rank(made: u64) -> u32 {
    (made >> 32) as u32
}

impl Pairs {
    /// Room for `count` merges.
    pub(super) fn with_room(count: usize) -> Result<Self> {
        let size = count.saturating_mul(2).max(2);
        let size = size.checked_next_power_of_two().unwrap_or(usize::MAX);
        // No id is u32::MAX, so this pair is nobody's.
        let empty = Slot { pair: u64::MAX, made: NO_MERGE };
        let mut slots = Vec::new();
        reserve("the merges", &mut slots, size)?;
        slots.resize(size, empty);
        Ok(Self { slots, shift: 64 - size.trailing_zeros() })
    }

    #[inline]
    fn slot(&self, pair: u64) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = (pair.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> self.shift) as usize;
        loop {
            let found = self.slots[at & mask].pair;
            if found == pair || found == u64::MAX {
                return at & mask;
            }
            at += 1;
        }
    }

    /// Whether the pair was not there before.
    pub(super) fn insert(&mut self, pair: u64, rank: u32, id: u32) -> bool {
        let at = self.slot(pair);
        let new = self.slots[at].made == NO_MERGE;
        if new {
            self.slots[at] = Slot { pair, made: u64::from(rank) << 32 | u64::from(id) };
        }
        new
    }

    /// The rank of a pair in the upper half and its id in the lower one; [`NO_MERGE`] without a
    /// merge.
    #[inline]
    pub(super) fn get(&self, left: u32, right: u32) -> u64 {
        self.slots[self.slot(pair(left, right))].made
    }
}

/// Up to this many symbols a scan for the lowest rank is faster than a queue.
const SHORT: usize = 64;
/// Places whose lowest rank is remembered.
const BLOCK: usize = 8;
/// More than a block.
const MORE: usize = BLOCK + 1;
/// Scratch memory for pieces of more symbols is not kept from piece to piece.
const KEPT: usize = 1 << 12;

/// A symbol of a long piece and the places of its neighbours; beyond the end is none.
#[derive(Clone, Copy)]
struct Node {
    id: u32,
    next: u32,
    previous: u32,
}

/// What merging needs besides the piece, used again for the next one.
#[derive(Default)]
pub(super) struct Merger {
    /// The symbols to merge.
    pub(super) symbols: Vec<u32>,
    nodes: Vec<Node>,
    /// Rank and left place of the pairs that the piece has at first, in order: sorted once, they
    /// need no heap.
    first: Vec<u64>,
    /// Those of the pairs that merges made.
    later: BinaryHeap<Reverse<u64>>,
}

impl Merger {
    /// Merges `symbols`; what is left goes to the end of `out`, which has room for all.
    pub(super) fn merge(&mut self, pairs: &Pairs, out: &mut Vec<u32>) -> Result<()> {
        match self.symbols.len() {
            ..=BLOCK => merge_short::<BLOCK>(pairs, &self.symbols, out),
            MORE..=SHORT => merge_short::<SHORT>(pairs, &self.symbols, out),
            _ => self.merge_long(pairs, out)?,
        }
        if self.symbols.capacity() > KEPT {
            *self = Self::default();
        }
        Ok(())
    }

    /// A list of symbols with links over those that were merged away; a queue of the pairs. Each
    /// merge adds two pairs at most, so the time is n log n.
    fn merge_long(&mut self, pairs: &Pairs, out: &mut Vec<u32>) -> Result<()> {
        let what = "the merges of a long piece";
        let Self { symbols, nodes, first, later } = self;
        let Ok(len) = u32::try_from(symbols.len()) else {
            return Err(wrong("a piece of a text has 2^32 symbols or more"));
        };
        nodes.clear();
        first.clear();
        later.clear();
        reserve(what, nodes, symbols.len())?;
        reserve(what, first, symbols.len())?;
        let links = (0..len).map(|at| (at.wrapping_sub(1), at + 1));
        nodes.extend(symbols.iter().zip(links).map(|(&id, (previous, next))| Node {
            id,
            next,
            previous,
        }));
        // No two pairs have the same rank, so a rank says which pair it was.
        let candidate = |made: u64, at: u32| {
            (made != NO_MERGE).then_some(u64::from(rank(made)) << 32 | u64::from(at))
        };
        let neighbours = (0..).zip(symbols.windows(2));
        first.extend(neighbours.filter_map(|(at, two)| candidate(pairs.get(two[0], two[1]), at)));
        first.sort_unstable();
        let mut first = first.iter().copied().peekable();
        loop {
            let added = later.peek().map_or(u64::MAX, |top| top.0);
            let lowest = match first.next_if(|&pair| pair < added) {
                Some(lowest) => lowest,
                None => match later.pop() {
                    Some(Reverse(lowest)) => lowest,
                    None => break,
                },
            };
            let at = lowest as u32 as usize;
            let Node { id, next, previous } = nodes[at];
            let Some(&right) = nodes.get(next as usize) else {
                continue;
            };
            // What was merged away since is NONE, which no pair has.
            let made = pairs.get(id, right.id);
            if made == NO_MERGE || rank(made) != rank(lowest) {
                continue;
            }
            let id = made as u32;
            nodes[at] = Node { id, next: right.next, previous };
            nodes[next as usize].id = NONE;
            let room = later.try_reserve(2);
            room.map_err(|_| no_memory::<u64>(what, later.len()))?;
            if let Some(before) = nodes.get(previous as usize) {
                let made = pairs.get(before.id, id);
                later.extend(candidate(made, previous).map(Reverse));
            }
            if let Some(after) = nodes.get_mut(right.next as usize) {
                after.previous = at as u32;
                let made = pairs.get(id, after.id);
                later.extend(candidate(made, at as u32).map(Reverse));
            }
        }
        out.extend(nodes.iter().map(|node| node.id).filter(|&id| id != NONE));
        Ok(())
    }
}

/// [`Merger::merge`] of at most `N` symbols, a multiple of [`BLOCK`] up to [`SHORT`]. Nothing moves:
/// what is merged away stays, without a pair.
fn merge_short<const N: usize>(pairs: &Pairs, symbols: &[u32], out: &mut Vec<u32>) {
    let len = symbols.len().min(N);
    let mut ids = [NONE; N];
    ids[..len].copy_from_slice(&symbols[..len]);
    // What the pair that begins at each place makes, and the lowest of each block of these.
    let mut made = [NO_MERGE; N];
    for (made, two) in made.iter_mut().zip(symbols.windows(2)) {
        *made = pairs.get(two[0], two[1]);
    }
    let lowest_of = |block: &[u64]| block.iter().fold(NO_MERGE, |lowest, &made| lowest.min(made));
    let mut lows = [NO_MERGE; SHORT / BLOCK];
    let blocks = len.div_ceil(BLOCK);
    for (low, block) in lows.iter_mut().zip(made[..blocks * BLOCK].chunks_exact(BLOCK)) {
        *low = lowest_of(block);
    }
    // The places that are left, as bits.
    let mut left = u64::MAX.checked_shr(64 - len as u32).unwrap_or(0);
    let following = |left: u64, at: usize| {
        let after = left >> at >> 1;
        (after != 0).then(|| (at + 1 + after.trailing_zeros() as usize) % N)
    };
    loop {
        let lowest = lowest_of(&lows[..blocks]);
        if lowest == NO_MERGE {
            break;
        }
        let block = lows[..blocks].iter().position(|&low| low == lowest).unwrap_or(0);
        let inside = made[block * BLOCK..][..BLOCK].iter().position(|&made| made == lowest);
        let at = block * BLOCK + inside.unwrap_or(0);
        let id = lowest as u32;
        ids[at] = id;
        let Some(gone) = following(left, at) else {
            break;
        };
        left &= !(1 << gone);
        made[gone] = NO_MERGE;
        made[at] = following(left, at).map_or(NO_MERGE, |next| pairs.get(id, ids[next]));
        let before = left & ((1 << at) - 1);
        let mut changed = [at, gone, at];
        if before != 0 {
            let previous = (63 - before.leading_zeros()) as usize % N;
            made[previous] = pairs.get(ids[previous], id);
            changed[2] = previous;
        }
        let [block, gone, previous] = changed.map(|place| place / BLOCK);
        lows[block] = lowest_of(&made[block * BLOCK..][..BLOCK]);
        for other in [gone, previous] {
            if other != block {
                lows[other] = lowest_of(&made[other * BLOCK..][..BLOCK]);
            }
        }
    }
    while left != 0 {
        out.push(ids[left.trailing_zeros() as usize % N]);
        left &= left - 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As it is defined: the whole piece is looked at for each merge.
    fn plain(pairs: &Pairs, symbols: &[u32]) -> Vec<u32> {
        let mut ids = symbols.to_vec();
        loop {
            let lowest = ids.windows(2).map(|two| pairs.get(two[0], two[1])).enumerate();
            match lowest.min_by_key(|&(at, made)| (made, at)) {
                Some((at, made)) if made != NO_MERGE => {
                    ids[at] = made as u32;
                    ids.remove(at + 1);
                }
                _ => return ids,
            }
        }
    }

    #[test]
    fn all_lengths_as_defined() {
        // In the last list a merge makes a pair whose rank is lower than its own.
        for merges in [
            &[(1, 1, 3), (3, 3, 4), (1, 2, 5), (4, 5, 6), (2, 2, 7), (5, 7, 8)][..],
            &[(1, 1, 3)],
            &[(3, 2, 4), (4, 3, 5), (1, 1, 3), (2, 2, 6), (6, 3, 7)],
        ] {
            let mut pairs = Pairs::with_room(6).unwrap();
            for (rank, &(left, right, id)) in merges.iter().enumerate() {
                assert!(pairs.insert(pair(left, right), rank as u32, id));
            }
            assert!(!pairs.insert(pair(1, 1), 9, 9));
            let mut state = 1u32;
            let mut merger = Merger::default();
            for len in (0..=2 * SHORT).chain([1000]) {
                merger.symbols.clear();
                for _ in 0..len {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    merger.symbols.push(1 + (state >> 30 & 1));
                }
                let expected = plain(&pairs, &merger.symbols);
                let (mut any, mut long) = (vec![9], Vec::new());
                merger.merge(&pairs, &mut any).unwrap();
                assert_eq!(any[1..], expected, "{:?}", merger.symbols);
                merger.merge_long(&pairs, &mut long).unwrap();
                assert_eq!(long, expected, "{:?}", merger.symbols);
            }
        }
    }
}
