//! Characters that are merged before all else. A character outside ASCII is two to four bytes, and
//! most that a vocabulary knows become one token whatever stands beside them. Such a one is a symbol
//! from the start, which saves the merges of its bytes.
//!
//! When that changes no id: let every step that merges the bytes of the character alone have a lower
//! rank than every merge of its first symbol at that time with something before it, and of its last
//! symbol with something after it; and let the merges of the whole character with its neighbours
//! have higher ranks than all of these steps. Then, in any text, no merge reaches over the edge of
//! the character before it is whole, as its own next step comes first; and all merges elsewhere that
//! come before the last step are those that also come where it is whole already, since the pairs
//! that it makes with its neighbours come later.

use super::scan::char_at;
use crate::error::Result;
use crate::text::WordList;
use crate::text::index::Words;
use cllm_kernels::memory::{filled, reserve};
use cllm_kernels::merge::{NO_MERGE, Pairs, rank};

/// Characters of a page: those that differ in the last byte.
const PAGE: usize = 64;

/// A character that may be merged first.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Whole {
    pub(super) id: u32,
    /// How: 0 not at all, 1 where no neighbour is a byte of ASCII, 2 everywhere.
    how: u8,
}

/// The characters of a vocabulary that may be merged first.
#[derive(Default)]
pub(super) struct WholeChars {
    /// Page of a character, by all but its lowest six bits; the first one is empty.
    pages: Vec<u16>,
    entries: Vec<[Whole; PAGE]>,
}

/// The lowest ranks of the merges that a token has part in, as the left or the right half, with
/// halves that touch it with a byte outside ASCII, or with any.
#[derive(Clone, Copy)]
struct Lowest {
    as_left: [u32; 2],
    as_right: [u32; 2],
}

impl WholeChars {
    pub(super) fn new(
        tokens: &WordList,
        bytes: &[u32; 256],
        merges: &[(u32, u32, u32)],
        pairs: &Pairs,
    ) -> Result<Self> {
        let char_of =
            |token: &[u8]| char_at(token).filter(|&(_, len)| len == token.len() && len > 1);
        let mut all = Self::default();
        if !merges.iter().any(|&(_, _, id)| tokens.get(id).and_then(char_of).is_some()) {
            return Ok(all);
        }
        let none = Lowest { as_left: [u32::MAX; 2], as_right: [u32::MAX; 2] };
        let what = "the merges of characters";
        let mut lowest = Vec::new();
        reserve(what, &mut lowest, tokens.len())?;
        lowest.resize(tokens.len(), none);
        for (rank, &(left, right, _)) in (0u32..).zip(merges) {
            let ascii = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii);
            let touches = tokens.get(right).and_then(|token| token.first());
            let found = &mut lowest[left as usize].as_left;
            note(found, rank, ascii(touches));
            let touches = tokens.get(left).and_then(|token| token.last());
            let found = &mut lowest[right as usize].as_right;
            note(found, rank, ascii(touches));
        }
        all.pages = filled(what, (char::MAX as usize + 1) / PAGE)?;
        let empty = [Whole::default(); PAGE];
        reserve(what, &mut all.entries, 1)?;
        all.entries.push(empty);
        for &(_, _, id) in merges {
            let token = tokens.get(id).unwrap_or_default();
            let Some((c, _)) = char_of(token) else {
                continue;
            };
            let symbols = token.iter().map(|&byte| bytes[usize::from(byte)]);
            let how = how(symbols, id, pairs, &lowest);
            if how == 0 {
                continue;
            }
            let page = &mut all.pages[c as usize / PAGE];
            if *page == 0 {
                // There are fewer than 2^16 pages.
                *page = all.entries.len() as u16;
                all.entries
                    .try_reserve(1)
                    .map_err(|_| super::no_memory::<[Whole; PAGE]>(what, 1))?;
                all.entries.push(empty);
            }
            all.entries[usize::from(*page)][c as usize % PAGE] = Whole { id, how };
        }
        Ok(all)
    }

    /// The symbols of a piece.
    pub(super) fn symbols(&self, piece: &[u8], bytes: &[u32; 256], symbols: &mut Vec<u32>) {
        symbols.clear();
        if self.entries.is_empty() {
            symbols.extend(piece.iter().map(|&byte| bytes[usize::from(byte)]));
            return;
        }
        let mut at = 0;
        while let Some(&byte) = piece.get(at) {
            if !byte.is_ascii()
                && let Some((c, len)) = char_at(&piece[at..])
            {
                let page = self.pages[c as usize / PAGE];
                let whole = self.entries[usize::from(page)][c as usize % PAGE];
                let ascii = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii);
                let beside = || ascii(piece.get(at.wrapping_sub(1))) || ascii(piece.get(at + len));
                if whole.how == 2 || (whole.how == 1 && !beside()) {
                    symbols.push(whole.id);
                } else {
                    let parts = &piece[at..at + len];
                    symbols.extend(parts.iter().map(|&byte| bytes[usize::from(byte)]));
                }
                at += len;
            } else {
                symbols.push(bytes[usize::from(byte)]);
                at += 1;
            }
        }
    }
}

fn note(found: &mut [u32; 2], rank: u32, ascii: bool) {
    found[1] = found[1].min(rank);
    if !ascii {
        found[0] = found[0].min(rank);
    }
}

/// How the character of two to four symbols may be merged first: see [`Whole`].
fn how(symbols: impl Iterator<Item = u32>, whole: u32, pairs: &Pairs, lowest: &[Lowest]) -> u8 {
    let mut ids = [0; 4];
    let mut len = 0;
    for (slot, symbol) in ids.iter_mut().zip(symbols) {
        *slot = symbol;
        len += 1;
    }
    let mut highest = 0;
    let mut allowed = [true; 2];
    let mut edges = |ids: &[u32], rank: u32| {
        let [first, last] = [ids[0], ids[ids.len() - 1]].map(|id| lowest[id as usize]);
        for (near, allowed) in allowed.iter_mut().enumerate() {
            *allowed &= first.as_right[near] > rank && last.as_left[near] > rank;
        }
    };
    while len > 1 {
        let next = (1..len).map(|at| (pairs.get(ids[at - 1], ids[at]), at)).min();
        let Some((made, at)) = next.filter(|&(made, _)| made != NO_MERGE) else {
            return 0;
        };
        edges(&ids[..len], rank(made));
        highest = highest.max(rank(made));
        ids[at - 1] = made as u32;
        ids.copy_within(at + 1.., at);
        len -= 1;
    }
    if ids[0] != whole {
        return 0;
    }
    edges(&ids[..1], highest);
    allowed.into_iter().map(u8::from).sum()
}

#[cfg(test)]
mod tests {
    use super::super::{Bpe, PieceCounter, Rule, Settings};
    use super::*;
    use cllm_kernels::merge::Merger;
    use std::ops::ControlFlow;

    const CHARS: [&str; 12] =
        ["你", "他", "们", "位", "ж", "и", "é", "😀", "😂", " ", "a", "\u{301}"];

    /// The ids of a text without cuts, from its bytes alone.
    fn from_bytes(bpe: &Bpe, text: &[u8]) -> Vec<u32> {
        let mut merger = Merger::default();
        merger.symbols.extend(text.iter().map(|&byte| bpe.0.bytes[usize::from(byte)]));
        let mut ids = Vec::with_capacity(text.len());
        merger.merge(&bpe.0.pairs, &mut ids).unwrap();
        ids
    }

    #[test]
    fn ids_are_those_of_the_bytes() {
        let mut state = 7u64;
        let mut below = |end: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % end
        };
        let mut text = |chars: usize| -> Vec<u8> {
            let mut text = Vec::new();
            for _ in 0..chars {
                text.extend_from_slice(CHARS[below(CHARS.len())].as_bytes());
                // A byte of no character now and then.
                text.extend((below(40) == 0).then_some(0x80 + below(0x80) as u8));
            }
            text
        };
        let mut counter = PieceCounter::new(Rule::Whole);
        (0..40).for_each(|_| counter.add(&text(30)).unwrap());
        let settings = Settings { size: 330, min_count: 2 };
        let trained = Bpe::train_from(&counter, settings, |_| ControlFlow::Continue(())).unwrap();
        let mut order = text(400).into_iter().cycle();
        let mut seen = [0; 3];
        for round in 0..60 {
            // Other ranks, so that merges reach over the edges of characters at all times.
            let mut parts = trained.0.parts.clone();
            let count = parts.merges.len();
            for _ in 0..round * 2 {
                let mut place = || {
                    let two = [order.next(), order.next()].map(|byte| usize::from(byte.unwrap()));
                    (two[0] * 256 + two[1]) % count
                };
                let (a, b) = (place(), place());
                parts.merges.swap(a, b);
            }
            let bpe = Bpe::of_parts(trained.0.tokens.clone(), parts).unwrap();
            for c in CHARS.iter().filter_map(|text| char_at(text.as_bytes())) {
                let page = bpe.0.chars.pages[c.0 as usize / PAGE];
                let whole = bpe.0.chars.entries[usize::from(page)][c.0 as usize % PAGE];
                seen[usize::from(whole.how)] += 1;
            }
            for len in [1, 2, 3, 5, 9, 20, 60] {
                let text = text(len);
                assert_eq!(
                    bpe.encode(&text).unwrap(),
                    from_bytes(&bpe, &text),
                    "{round}: {text:?}"
                );
            }
        }
        assert!(seen.into_iter().all(|count| count > 10), "{seen:?}");
    }
}
