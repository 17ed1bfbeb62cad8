//! Merging symbols, as byte-pair encoding does with a piece of a text: the pair of neighbours with the
//! lowest rank first, of equal ones the leftmost, until no pair has a rank. No numbers are computed here; it
//! is the other loop that users wait for, and so stands where code is made for speed.
//!
//! ```
//! use cllm_kernels::merge::{Merger, Pairs, pair};
//!
//! // 1 2 becomes 3 first, 3 3 then 4.
//! let mut pairs = Pairs::with_room(2)?;
//! assert!(pairs.insert(pair(1, 2), 0, 3) && pairs.insert(pair(3, 3), 1, 4));
//! let (mut merger, mut ids) = (Merger::default(), Vec::with_capacity(5));
//! merger.symbols.extend([1, 2, 1, 2, 2]);
//! merger.merge(&pairs, &mut ids)?;
//! assert_eq!(ids, [4, 2]);
//! # Ok::<(), cllm_kernels::Error>(())
//! ```

mod places;

use crate::memory::reserve;
use crate::{Error, Result};
use places::Places;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// "No symbol", above every id.
const NONE: u32 = u32::MAX;
/// "No merge", above every merge: see [`Pairs::get`].
pub const NO_MERGE: u64 = u64::MAX;

#[derive(Clone, Copy)]
struct Slot {
    pair: u64,
    made: u64,
}

/// Pairs of ids and what they become: an open table, at most half full.
#[derive(Clone)]
pub struct Pairs {
    slots: Vec<Slot>,
    shift: u32,
    /// All ranks are below it.
    ranks: u32,
}

/// Two ids as one key.
#[inline]
pub fn pair(left: u32, right: u32) -> u64 {
    u64::from(left) << 32 | u64::from(right)
}

/// The rank of what [`Pairs::get`] gives.
#[inline]
pub fn rank(made: u64) -> u32 {
    (made >> 32) as u32
}

impl Pairs {
    /// Room for `count` merges; no more may be put in.
    ///
    /// # Errors
    /// No memory.
    pub fn with_room(count: usize) -> Result<Self> {
        let size = count.saturating_mul(2).max(2);
        let size = size.checked_next_power_of_two().unwrap_or(usize::MAX);
        // No id is u32::MAX, so this pair is nobody's.
        let empty = Slot { pair: u64::MAX, made: NO_MERGE };
        let mut slots = Vec::new();
        reserve("the merges", &mut slots, size)?;
        slots.resize(size, empty);
        Ok(Self { slots, shift: 64 - size.trailing_zeros(), ranks: 0 })
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

    /// Puts a pair in, with its rank and the id of what it becomes, neither of them `u32::MAX`. Whether
    /// the pair was not there before; otherwise nothing changes.
    pub fn insert(&mut self, pair: u64, rank: u32, id: u32) -> bool {
        let at = self.slot(pair);
        let new = self.slots[at].made == NO_MERGE;
        if new {
            self.ranks = self.ranks.max(rank.saturating_add(1));
            self.slots[at] = Slot { pair, made: u64::from(rank) << 32 | u64::from(id) };
        }
        new
    }

    /// The rank of a pair in the upper half and its id in the lower one; [`NO_MERGE`] without a
    /// merge.
    #[inline]
    pub fn get(&self, left: u32, right: u32) -> u64 {
        self.slots[self.slot(pair(left, right))].made
    }
}

/// Up to this many symbols a scan for the lowest rank is faster than a queue.
const SHORT: usize = 64;
/// Places whose lowest rank is remembered.
const BLOCK: usize = 8;
/// Up to this many symbols a queue of all pairs is faster than a list for each rank.
const LONG: usize = 1 << 14;
const WHAT: &str = "the merges of a long piece";
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
pub struct Merger {
    /// The symbols to merge.
    pub symbols: Vec<u32>,
    nodes: Vec<Node>,
    /// Rank and left place of the pairs that the piece has at first, in order: sorted once, they
    /// need no heap.
    first: Vec<u64>,
    /// Those of the pairs that merges made.
    later: BinaryHeap<Reverse<u64>>,
    /// Those of the pairs of pieces that are longer still.
    places: Places,
}

impl Merger {
    /// Merges `symbols`; what is left goes to the end of `out`, which has room for all. Of a long piece the
    /// time is linear, but for pairs that merges make whose ranks are lower than their own: those, n of
    /// them, take n log n.
    ///
    /// # Errors
    /// No memory; 2³² symbols or more.
    pub fn merge(&mut self, pairs: &Pairs, out: &mut Vec<u32>) -> Result<()> {
        match self.symbols.len() {
            n if n <= BLOCK => merge_short::<BLOCK>(pairs, &self.symbols, out),
            n if n <= SHORT => merge_short::<SHORT>(pairs, &self.symbols, out),
            n if n <= LONG => self.merge_long(pairs, out)?,
            _ => self.merge_huge(pairs, out)?,
        }
        if self.symbols.capacity() > KEPT {
            *self = Self::default();
        }
        Ok(())
    }

    /// The symbols as a list with links over those that are merged away.
    fn link(&mut self) -> Result<()> {
        let Ok(len) = u32::try_from(self.symbols.len()) else {
            return Err(Error::Memory { what: WHAT, bytes: usize::MAX });
        };
        self.nodes.clear();
        reserve(WHAT, &mut self.nodes, self.symbols.len())?;
        let links = (0..len).map(|at| (at.wrapping_sub(1), at + 1));
        let nodes = self.symbols.iter().zip(links);
        self.nodes.extend(nodes.map(|(&id, (previous, next))| Node { id, next, previous }));
        Ok(())
    }

    /// With a queue of the pairs. Each merge adds two pairs at most, so the time is n log n.
    fn merge_long(&mut self, pairs: &Pairs, out: &mut Vec<u32>) -> Result<()> {
        self.link()?;
        let Self { symbols, nodes, first, later, .. } = self;
        first.clear();
        later.clear();
        reserve(WHAT, first, symbols.len())?;
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
            for made in merge_at(nodes, pairs, lowest).into_iter().flatten() {
                wait(later, made)?;
            }
        }
        out.extend(nodes.iter().map(|node| node.id).filter(|&id| id != NONE));
        Ok(())
    }

    /// With a list of places for each rank, which are gone through once: a merge mostly makes pairs of higher
    /// ranks, and only those of others wait in a queue. Without such the time is linear.
    fn merge_huge(&mut self, pairs: &Pairs, out: &mut Vec<u32>) -> Result<()> {
        self.link()?;
        let Self { symbols, nodes, later, places, .. } = self;
        later.clear();
        places.clear(pairs.ranks as usize)?;
        for (at, two) in (0..).zip(symbols.windows(2)) {
            if let Some(made) = candidate(pairs.get(two[0], two[1]), at) {
                places.put(made)?;
            }
        }
        let mut now = Vec::new();
        for rank in 0..pairs.ranks {
            places.take(rank, &mut now)?;
            let mut now = now.iter().map(|&at| u64::from(rank) << 32 | u64::from(at)).peekable();
            loop {
                let waiting = later.peek().map_or(u64::MAX, |top| top.0);
                let lowest = match now.next_if(|&pair| pair < waiting) {
                    Some(lowest) => lowest,
                    None => match later.pop() {
                        Some(Reverse(lowest)) => lowest,
                        None => break,
                    },
                };
                for made in merge_at(nodes, pairs, lowest).into_iter().flatten() {
                    if (made >> 32) as u32 > rank { places.put(made)? } else { wait(later, made)? }
                }
            }
        }
        out.extend(nodes.iter().map(|node| node.id).filter(|&id| id != NONE));
        Ok(())
    }
}

/// The rank of a pair and its left place, in this order; none without a merge. No two pairs have the same
/// rank, so it says which pair it was.
#[inline]
fn candidate(made: u64, at: u32) -> Option<u64> {
    (made != NO_MERGE).then_some(u64::from(rank(made)) << 32 | u64::from(at))
}

fn wait(later: &mut BinaryHeap<Reverse<u64>>, made: u64) -> Result<()> {
    let bytes = later.len().saturating_mul(size_of::<u64>());
    later.try_reserve(1).map_err(|_| Error::Memory { what: WHAT, bytes })?;
    later.push(Reverse(made));
    Ok(())
}

/// Merges the pair of a [`candidate`], if it is still there; the candidates that this makes.
#[inline]
fn merge_at(nodes: &mut [Node], pairs: &Pairs, lowest: u64) -> [Option<u64>; 2] {
    let at = lowest as u32 as usize;
    let Node { id, next, previous } = nodes[at];
    let Some(&right) = nodes.get(next as usize) else {
        return [None; 2];
    };
    // What was merged away since is NONE, which no pair has.
    let made = pairs.get(id, right.id);
    if made == NO_MERGE || u64::from(rank(made)) != lowest >> 32 {
        return [None; 2];
    }
    let id = made as u32;
    nodes[at] = Node { id, next: right.next, previous };
    nodes[next as usize].id = NONE;
    let before = nodes.get(previous as usize).map(|before| pairs.get(before.id, id));
    let before = before.and_then(|made| candidate(made, previous));
    let after = nodes.get_mut(right.next as usize).map(|after| {
        after.previous = at as u32;
        pairs.get(id, after.id)
    });
    [before, after.and_then(|made| candidate(made, at as u32))]
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
                let (mut any, mut long, mut huge) = (vec![9], Vec::new(), Vec::new());
                merger.merge(&pairs, &mut any).unwrap();
                assert_eq!(any[1..], expected, "{:?}", merger.symbols);
                merger.merge_long(&pairs, &mut long).unwrap();
                assert_eq!(long, expected, "{:?}", merger.symbols);
                merger.merge_huge(&pairs, &mut huge).unwrap();
                assert_eq!(huge, expected, "{:?}", merger.symbols);
            }
        }
    }

    /// Random merges over a few symbols, in pieces that are long enough for lists of places to be sorted.
    #[test]
    fn long_pieces_as_with_a_queue() {
        let mut state = 5u64;
        let mut below = |end: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % end
        };
        for round in 0..60u64 {
            let symbols = 1 + round % 4;
            let mut pairs = Pairs::with_room(200).unwrap();
            let mut made: Vec<(u32, u32)> = Vec::new();
            for id in 0..40 + 3 * round as u32 {
                let any = u64::from(id) + symbols;
                made.push((below(any) as u32, below(any) as u32));
            }
            // Ranks in the order of the ids, or in none.
            let mut ranks: Vec<u32> = (0..made.len() as u32).collect();
            if round % 3 == 0 {
                (1..ranks.len()).rev().for_each(|i| ranks.swap(i, below(i as u64 + 1) as usize));
            }
            for (id, &(left, right)) in made.iter().enumerate() {
                pairs.insert(pair(left, right), ranks[id], id as u32 + symbols as u32);
            }
            let mut merger = Merger::default();
            let len = if round % 10 == 9 { 40_000 } else { 3000 };
            merger.symbols.extend((0..len).map(|_| below(symbols) as u32));
            let (mut queued, mut listed) = (Vec::new(), Vec::new());
            merger.merge_long(&pairs, &mut queued).unwrap();
            merger.merge_huge(&pairs, &mut listed).unwrap();
            assert!(queued == listed, "round {round}");
        }
    }
}
