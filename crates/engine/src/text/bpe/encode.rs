//! Text to ids.

use super::added::Part;
use super::blocks::{self, BLOCK};
use super::cache::{Cache, LONGEST, Out};
use super::normal::nfc;
use super::scan::{Rule, piece_end, safe_cut};
use super::{Bpe, Inner, no_memory};
use crate::error::Result;
use cllm_kernels::Pool;
use cllm_kernels::memory::reserve;
use cllm_kernels::merge::Merger;
use std::borrow::Cow;

/// Bytes of a text that one thread takes at a time.
const CHUNK: usize = 1 << 18;

impl Bpe {
    /// The ids of a text. Text is text: what spells a special token is not one; added tokens that
    /// are not special are found.
    ///
    /// # Errors
    /// No memory.
    pub fn encode(&self, text: &[u8]) -> Result<Vec<u32>> {
        self.encode_in(text, false, &Pool::serial())
    }

    /// [`encode`](Self::encode), where what spells a special token becomes it. For text of
    /// which each part can be trusted.
    ///
    /// # Errors
    /// No memory.
    pub fn encode_with_specials(&self, text: &[u8]) -> Result<Vec<u32>> {
        self.encode_in(text, true, &Pool::serial())
    }

    /// [`encode`](Self::encode) or [`encode_with_specials`](Self::encode_with_specials), by the
    /// threads of `pool`. The ids do not depend on their number.
    ///
    /// # Errors
    /// No memory.
    pub fn encode_in(&self, text: &[u8], specials: bool, pool: &Pool) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        reserve("the ids of a text", &mut ids, text.len() / 4)?;
        let inner = &*self.0;
        // Tokens that are looked for in normalised text need it in one piece.
        let whole = inner.parts.nfc && inner.matcher.finds(specials, true);
        let mut cache = inner.caches.take(text.len())?;
        inner.matcher.split(text, specials, false, |part| {
            let text = match part {
                Part::Token(id) => return push(&mut ids, id),
                Part::Text(text) => text,
            };
            let text = if whole { nfc(text)? } else { Cow::Borrowed(text) };
            inner.matcher.split(&text, specials, true, |part| match part {
                Part::Token(id) => push(&mut ids, id),
                Part::Text(text) => {
                    let nfc = inner.parts.nfc && !whole;
                    inner.text(text, nfc, &mut ids, &mut cache, pool)
                }
            })
        })?;
        inner.caches.give(cache);
        Ok(ids)
    }
}

fn push(ids: &mut Vec<u32>, id: u32) -> Result<()> {
    room(ids, 1)?;
    ids.push(id);
    Ok(())
}

/// Room for `more` ids, growing in proportion.
fn room(ids: &mut Vec<u32>, more: usize) -> Result<()> {
    let len = ids.len();
    ids.try_reserve(more)
        .map_err(|_| no_memory::<u32>("the ids of a text", len.saturating_add(more)))
}

impl Inner {
    /// A text without added tokens, by the threads of `pool`; a text that is not cut into pieces
    /// ([`Rule::Whole`]) by one.
    fn text(
        &self,
        text: &[u8],
        nfc: bool,
        ids: &mut Vec<u32>,
        cache: &mut Cache,
        pool: &Pool,
    ) -> Result<()> {
        let mut spaced = Vec::new();
        let text = if self.parts.add_prefix_space && text.first() != Some(&b' ') {
            reserve("a text with a space", &mut spaced, text.len().saturating_add(1))?;
            spaced.push(b' ');
            spaced.extend_from_slice(text);
            &spaced
        } else {
            text
        };
        if pool.threads() < 2 || text.len() < 2 * CHUNK || self.parts.rule == Rule::Whole {
            return self.chunk(text, nfc, ids, cache);
        }
        // Some chunks for each thread, as they are not equally fast.
        let long = (text.len() / pool.threads().saturating_mul(4)).max(CHUNK);
        let mut chunks = Vec::new();
        reserve("the parts of a text", &mut chunks, text.len() / long + 1)?;
        let mut start = 0;
        while start < text.len() {
            let end = safe_cut(text, start.saturating_add(long));
            chunks.push((&text[start..end], Ok(Vec::new())));
            start = end;
        }
        pool.chunks((&mut chunks, 1), |_, chunk| {
            for (text, found) in chunk {
                *found = self.fresh_chunk(text, nfc);
            }
        });
        for (_, found) in chunks {
            let found = found?;
            room(ids, found.len())?;
            ids.extend_from_slice(&found);
        }
        Ok(())
    }

    /// The ids of a chunk, with a cache of its own.
    fn fresh_chunk(&self, text: &[u8], nfc: bool) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        reserve("the ids of a text", &mut ids, text.len() / 4)?;
        let mut cache = self.caches.take(text.len())?;
        self.chunk(text, nfc, &mut ids, &mut cache)?;
        self.caches.give(cache);
        Ok(ids)
    }

    /// A text up to a [`safe_cut`], which normal form C leaves where it is: nothing composes with a
    /// letter or digit of ASCII but what follows it, and that is white space.
    fn chunk(
        &self,
        text: &[u8],
        normalize: bool,
        ids: &mut Vec<u32>,
        cache: &mut Cache,
    ) -> Result<()> {
        let text = if normalize { nfc(text)? } else { Cow::Borrowed(text) };
        self.pieces(&text, ids, cache)
    }

    fn pieces(&self, text: &[u8], ids: &mut Vec<u32>, cache: &mut Cache) -> Result<()> {
        if self.parts.merges.is_empty() && !self.parts.ignore_merges {
            room(ids, text.len())?;
            ids.extend(text.iter().map(|&byte| self.bytes[usize::from(byte)]));
            return Ok(());
        }
        let mut ends = [0; BLOCK];
        let mut out = Out::new(ids);
        let mut at = 0;
        while at < text.len() {
            let count = self.cut(text, at, &mut ends);
            let last = ends[count - 1];
            let ids = out.ids();
            room(ids, last - at)?;
            if last - at > LONGEST {
                self.piece(&text[at..last], &mut cache.merger, ids)?;
                at = last;
                continue;
            }
            for &end in &ends[..count] {
                if !cache.first(text, at, end - at, &mut out) {
                    let find = |piece: &[u8], merger: &mut Merger, ids: &mut Vec<u32>| {
                        self.piece(piece, merger, ids)
                    };
                    cache.ids(text, at, end - at, &mut out, find)?;
                }
                at = end;
            }
        }
        out.ids();
        Ok(())
    }

    /// The ends of the next pieces after `at`, of a block or of one piece: how many, 1 or more. A piece longer
    /// than a block is alone.
    #[inline(always)]
    fn cut(&self, text: &[u8], at: usize, ends: &mut [usize; BLOCK]) -> usize {
        let rule = self.parts.rule;
        let mut found = blocks::ends(rule, text, at);
        if found == 0 {
            ends[0] = piece_end(rule, text, at);
            return 1;
        }
        let mut count = 0;
        while found != 0 {
            ends[count % BLOCK] = at + found.trailing_zeros() as usize;
            found &= found - 1;
            count += 1;
        }
        count
    }

    /// The ids of one piece.
    #[inline(never)]
    fn piece(&self, piece: &[u8], merger: &mut Merger, ids: &mut Vec<u32>) -> Result<()> {
        let whole = match piece {
            [byte] => Some(self.bytes[usize::from(*byte)]),
            _ if self.parts.ignore_merges => self.find(piece),
            _ => None,
        };
        if let Some(id) = whole {
            ids.push(id);
            return Ok(());
        }
        reserve("the symbols of a piece", &mut merger.symbols, piece.len())?;
        self.chars.symbols(piece, &self.bytes, &mut merger.symbols);
        Ok(merger.merge(&self.pairs, ids)?)
    }
}
