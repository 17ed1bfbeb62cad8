//! From ids to text.

use super::Added;
use crate::error::Result;
use crate::text::WordList;
use crate::text::index::Words;
use cllm_kernels::memory::reserve;

/// Bytes of a token that stand beside its length.
const SHORT: usize = 15;
/// In the place of a length: a longer token, or a special one.
const OTHER: u8 = u8::MAX;
/// Bytes that are put together before they go into the text.
const BUFFER: usize = 4096;

/// The short tokens, each in a place of its own size: copying sixteen bytes, whatever the length, takes a
/// fraction of the time that copying so many as there are does.
pub(super) struct Spellings(Vec<[u8; SHORT + 1]>);

impl Spellings {
    /// # Errors
    /// No memory.
    pub(super) fn new(tokens: &WordList, added: &[Added]) -> Result<Self> {
        let mut places = Vec::new();
        reserve("the spellings of tokens", &mut places, tokens.len())?;
        let ids = 0..u32::try_from(tokens.len()).unwrap_or(u32::MAX);
        places.extend(ids.map(|id| {
            let mut place = [0; SHORT + 1];
            place[SHORT] = OTHER;
            if let Some(token) = tokens.get(id).filter(|token| token.len() <= SHORT) {
                place[..token.len()].copy_from_slice(token);
                place[SHORT] = token.len() as u8;
            }
            place
        }));
        for special in added.iter().filter(|added| added.special) {
            if let Some(place) = places.get_mut(special.id as usize) {
                place[SHORT] = OTHER;
            }
        }
        Ok(Self(places))
    }

    /// The tokens one after the other; `other` gives those that are long or special, or nothing.
    ///
    /// # Errors
    /// No memory.
    pub(super) fn join<'a>(
        &self,
        ids: &[u32],
        other: impl Fn(u32) -> Option<&'a [u8]>,
    ) -> Result<Vec<u8>> {
        let short = |id: u32| self.0.get(id as usize).filter(|place| place[SHORT] != OTHER);
        let len = |id: u32| match short(id) {
            Some(place) => usize::from(place[SHORT]),
            None => other(id).map_or(0, <[u8]>::len),
        };
        let total = ids.iter().try_fold(0usize, |sum, &id| sum.checked_add(len(id)));
        let mut text = Vec::new();
        reserve("a text", &mut text, total.unwrap_or(usize::MAX))?;
        let mut buffer = [0; BUFFER];
        for ids in ids.chunks(BUFFER / (SHORT + 1)) {
            let mut at = 0;
            for &id in ids {
                if let Some(place) = short(id) {
                    // There is room for as many places as there are ids.
                    buffer[at..at + SHORT + 1].copy_from_slice(place);
                    at += usize::from(place[SHORT]);
                } else {
                    text.extend_from_slice(&buffer[..at]);
                    text.extend_from_slice(other(id).unwrap_or_default());
                    at = 0;
                }
            }
            text.extend_from_slice(&buffer[..at]);
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use crate::text::bpe::{Bpe, PieceCounter, Rule, Settings};
    use std::ops::ControlFlow;

    #[test]
    fn short_tokens_long_ones_and_special_ones() {
        let mut counter = PieceCounter::new(Rule::Words);
        counter.add("incomprehensibilities and else ".repeat(40).as_bytes()).unwrap();
        let settings = Settings::new(300);
        let bpe = Bpe::train_from(&counter, settings, |_| ControlFlow::Continue(())).unwrap();
        let all: Vec<u32> = (0..bpe.len() as u32 + 3).collect();
        let longest = all.iter().filter_map(|&id| bpe.token(id)).map(<[u8]>::len).max();
        assert!(longest > Some(super::SHORT) && all.iter().any(|&id| bpe.is_special(id)));
        // More than a buffer, and ids that are no tokens.
        let ids: Vec<u32> = all.iter().cycle().take(2000).copied().collect();
        for specials in [false, true] {
            let shown = ids.iter().filter(|&&id| specials || !bpe.is_special(id));
            let expected: Vec<u8> =
                shown.filter_map(|&id| bpe.token(id)).flatten().copied().collect();
            assert!(bpe.decode_with(&ids, specials).unwrap() == expected, "{specials}");
        }
    }
}
