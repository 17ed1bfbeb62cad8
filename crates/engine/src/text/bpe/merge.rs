//! Merging the bytes of a piece: the pair of neighbours with the lowest rank first, of equal ones
//! the leftmost, until no pair has a rank.

use super::no_memory;
use crate::error::Result;
use cllm_kernels::memory::reserve;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// "No merge": above every rank.
pub(super) const NONE: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Slot {
    pair: u64,
    rank: u32,
    id: u32,
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

impl Pairs {
    /// Room for `count` merges.
    pub(super) fn with_room(count: usize) -> Result<Self> {
        let size = count.saturating_mul(2).max(2);
        let size = size.checked_next_power_of_two().unwrap_or(usize::MAX);
        // No id is u32::MAX, so this pair is nobody's.
        let empty = Slot { pair: u64::MAX, rank: NONE, id: NONE };
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
        let new = self.slots[at].rank == NONE;
        if new {
            self.slots[at] = Slot { pair, rank, id };
        }
        new
    }

    /// Rank and id of a pair; rank [`NONE`] without a merge.
    #[inline]
    pub(super) fn get(&self, left: u32, right: u32) -> (u32, u32) {
        let slot = &self.slots[self.slot(pair(left, right))];
        (slot.rank, slot.id)
    }
}

/// Up to this many symbols a scan for the lowest rank is faster than a heap.
const SHORT: usize = 48;
/// Most pieces have no more symbols.
const WORD: usize = 16;

/// Merges the symbols of a piece; what is left goes to the end of `out`, which has room for all.
pub(super) fn merge(
    pairs: &Pairs,
    symbols: impl ExactSizeIterator<Item = u32>,
    out: &mut Vec<u32>,
) -> Result<()> {
    let count = symbols.len();
    if count > SHORT {
        return merge_long(pairs, symbols, out);
    }
    if count > WORD {
        merge_short::<SHORT>(pairs, symbols, out);
    } else {
        merge_short::<WORD>(pairs, symbols, out);
    }
    Ok(())
}

/// Of at most `N` symbols, 255 at most. Nothing moves: what is merged away stays, without a rank.
fn merge_short<const N: usize>(
    pairs: &Pairs,
    symbols: impl ExactSizeIterator<Item = u32>,
    out: &mut Vec<u32>,
) {
    let mut ids = [NONE; N];
    let mut len = 0;
    for (slot, symbol) in ids.iter_mut().zip(symbols) {
        *slot = symbol;
        len += 1;
    }
    // Rank and id of the pair that begins at each place, the places after and before it.
    let (mut ranks, mut made) = ([NONE; N], [NONE; N]);
    let mut next: [u8; N] = std::array::from_fn(|i| i as u8 + 1);
    let mut previous: [u8; N] = std::array::from_fn(|i| (i as u8).wrapping_sub(1));
    for i in 1..len {
        (ranks[i - 1], made[i - 1]) = pairs.get(ids[i - 1], ids[i]);
    }
    loop {
        let lowest = ranks[..len].iter().fold(NONE, |lowest, &rank| lowest.min(rank));
        if lowest == NONE {
            break;
        }
        let Some(at) = ranks[..len].iter().position(|&rank| rank == lowest) else {
            break;
        };
        let gone = usize::from(next[at]);
        ids[at] = made[at];
        (ids[gone], ranks[gone]) = (NONE, NONE);
        next[at] = next[gone];
        let right = usize::from(next[at]);
        ranks[at] = NONE;
        if right < len {
            previous[right] = at as u8;
            (ranks[at], made[at]) = pairs.get(ids[at], ids[right]);
        }
        if at > 0 {
            let left = usize::from(previous[at]);
            (ranks[left], made[left]) = pairs.get(ids[left], ids[at]);
        }
    }
    out.extend(ids[..len].iter().filter(|&&id| id != NONE));
}

/// A list of symbols with links over those that were merged away; a heap of the pairs. Each merge
/// adds two pairs at most, so the time is n log n.
fn merge_long(
    pairs: &Pairs,
    symbols: impl ExactSizeIterator<Item = u32>,
    out: &mut Vec<u32>,
) -> Result<()> {
    let len = symbols.len();
    let what = "the merges of a long piece";
    let (mut ids, mut next, mut previous) = (Vec::new(), Vec::new(), Vec::new());
    reserve(what, &mut ids, len)?;
    reserve(what, &mut next, len)?;
    reserve(what, &mut previous, len)?;
    ids.extend(symbols.take(len));
    next.extend(1..=len);
    previous.extend((0..len).map(|i| i.wrapping_sub(1)));
    // Rank and left place. No two pairs have the same rank, so a rank says which pair it was.
    let mut heap = BinaryHeap::new();
    heap.try_reserve(len).map_err(|_| no_memory::<(u32, usize)>(what, len))?;
    let candidate = |ids: &[u32], left: usize, right: usize| {
        let (rank, _) = pairs.get(ids[left], ids[right]);
        (rank != NONE).then_some(Reverse((rank, left)))
    };
    heap.extend((1..len).filter_map(|i| candidate(&ids, i - 1, i)));
    while let Some(Reverse((rank, left))) = heap.pop() {
        let right = next[left];
        // What was merged away since is NONE, which no pair has.
        if right >= len {
            continue;
        }
        let (now, id) = pairs.get(ids[left], ids[right]);
        if now != rank {
            continue;
        }
        ids[left] = id;
        ids[right] = NONE;
        next[left] = next[right];
        if let Some(back) = previous.get_mut(next[left]) {
            *back = left;
        }
        heap.try_reserve(2).map_err(|_| no_memory::<(u32, usize)>(what, heap.len()))?;
        if let Some(before) = Some(previous[left]).filter(|&before| before < len) {
            heap.extend(candidate(&ids, before, left));
        }
        if next[left] < len {
            heap.extend(candidate(&ids, left, next[left]));
        }
    }
    out.extend(ids.into_iter().filter(|&id| id != NONE));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_agree() {
        let mut pairs = Pairs::with_room(6).unwrap();
        for (rank, (left, right, id)) in
            [(1, 1, 3), (3, 3, 4), (1, 2, 5), (4, 5, 6), (2, 2, 7), (5, 7, 8)]
                .into_iter()
                .enumerate()
        {
            assert!(pairs.insert(pair(left, right), rank as u32, id));
        }
        assert!(!pairs.insert(pair(1, 1), 9, 9));
        let mut state = 1u32;
        for len in 0..=SHORT {
            let mut symbols = Vec::new();
            for _ in 0..len {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                symbols.push(1 + (state >> 30 & 1));
            }
            let (mut short, mut long) = (Vec::new(), Vec::new());
            merge_short::<SHORT>(&pairs, symbols.iter().copied(), &mut short);
            merge_long(&pairs, symbols.iter().copied(), &mut long).unwrap();
            assert_eq!(short, long, "{symbols:?}");
            if len <= WORD {
                let mut word = Vec::new();
                merge_short::<WORD>(&pairs, symbols.iter().copied(), &mut word);
                assert_eq!(word, long, "{symbols:?}");
            }
        }
    }
}
