//! Text to ids.

use super::added::Part;
use super::merge::merge;
use super::scan::{Rule, piece_end, safe_cut};
use super::{Bpe, Inner};
use crate::error::{Error, Result};
use cllm_kernels::Pool;
use std::borrow::Cow;
use unicode_normalization::UnicodeNormalization;

/// Bytes of a text that one thread takes at a time.
const CHUNK: usize = 1 << 18;
/// Pieces of up to this many bytes are remembered.
const SHORT: usize = 15;
/// Ids that are remembered of a piece.
const KEPT: usize = 7;

#[derive(Clone, Copy)]
struct Entry {
    /// The bytes of the piece and, in the last one, their number. No piece has none.
    key: u128,
    count: u32,
    ids: [u32; KEPT],
}

/// The ids of pieces met before in the same call; a newer piece takes the place of an older one.
struct Cache {
    entries: Vec<Entry>,
    shift: u32,
}

impl Cache {
    fn new(bytes: usize) -> Self {
        let size = (bytes / 8).clamp(16, 1 << 15).next_power_of_two();
        let empty = Entry { key: 0, count: 0, ids: [0; KEPT] };
        Self { entries: vec![empty; size], shift: 64 - size.trailing_zeros() }
    }

    #[inline]
    fn entry(&mut self, key: u128) -> &mut Entry {
        let folded = (key as u64) ^ ((key >> 64) as u64).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        let at = folded.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> self.shift;
        let mask = self.entries.len() - 1;
        &mut self.entries[at as usize & mask]
    }
}

/// The key of the piece of `len` bytes, at most [`SHORT`], at `at`.
#[inline]
fn key_of(text: &[u8], at: usize, len: usize) -> u128 {
    let whole = text.get(at..).and_then(|tail| tail.first_chunk::<16>());
    let bytes = match whole {
        Some(chunk) => u128::from_le_bytes(*chunk) & ((1 << (8 * len)) - 1),
        None => {
            let mut padded = [0; 16];
            padded[..len].copy_from_slice(&text[at..at + len]);
            u128::from_le_bytes(padded)
        }
    };
    bytes | (len as u128) << 120
}

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
        cllm_kernels::memory::reserve("the ids of a text", &mut ids, text.len() / 4)?;
        let mut cache = Cache::new(text.len());
        let inner = &*self.0;
        inner.matcher.split(text, specials, false, |part| {
            let text = match part {
                Part::Token(id) => return push(&mut ids, id),
                Part::Text(text) => text,
            };
            let text = if inner.parts.nfc { nfc(text) } else { Cow::Borrowed(text) };
            inner.matcher.split(&text, specials, true, |part| match part {
                Part::Token(id) => push(&mut ids, id),
                Part::Text(text) => inner.text(text, &mut ids, &mut cache, pool),
            })
        })?;
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
    ids.try_reserve(more).map_err(|_| Error::Memory {
        what: "the ids of a text",
        bytes: ids.len().saturating_add(more).saturating_mul(size_of::<u32>()),
    })
}

/// The text with its valid stretches in normal form C.
fn nfc(text: &[u8]) -> Cow<'_, [u8]> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let mut normal = Vec::with_capacity(text.len());
    let mut buffer = [0; 4];
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().nfc() {
            normal.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
        }
        normal.extend_from_slice(chunk.invalid());
    }
    Cow::Owned(normal)
}

impl Inner {
    /// A text without added tokens.
    fn text(&self, text: &[u8], ids: &mut Vec<u32>, cache: &mut Cache, pool: &Pool) -> Result<()> {
        let spaced;
        let text = if self.parts.add_prefix_space && text.first() != Some(&b' ') {
            spaced = [b" ", text].concat();
            &spaced[..]
        } else {
            text
        };
        if pool.threads() < 2 || text.len() < 2 * CHUNK || self.parts.rule == Rule::Whole {
            return self.pieces(text, ids, cache);
        }
        let mut chunks = Vec::new();
        let mut start = 0;
        while start < text.len() {
            let end = safe_cut(text, start.saturating_add(CHUNK));
            chunks.push((&text[start..end], Ok(Vec::new())));
            start = end;
        }
        pool.chunks((&mut chunks, 1), |_, chunk| {
            for (text, found) in chunk {
                let mut ids = Vec::new();
                *found = self.pieces(text, &mut ids, &mut Cache::new(text.len())).map(|()| ids);
            }
        });
        for (_, found) in chunks {
            let found = found?;
            room(ids, found.len())?;
            ids.extend_from_slice(&found);
        }
        Ok(())
    }

    fn pieces(&self, text: &[u8], ids: &mut Vec<u32>, cache: &mut Cache) -> Result<()> {
        let rule = self.parts.rule;
        if self.parts.merges.is_empty() && !self.parts.ignore_merges {
            room(ids, text.len())?;
            ids.extend(text.iter().map(|&byte| self.bytes[usize::from(byte)]));
            return Ok(());
        }
        let mut at = 0;
        while at < text.len() {
            let end = piece_end(rule, text, at);
            let len = end - at;
            if len > SHORT {
                room(ids, len)?;
                self.piece(&text[at..end], ids);
            } else {
                room(ids, SHORT)?;
                let key = key_of(text, at, len);
                let entry = cache.entry(key);
                if entry.key == key {
                    if entry.count == 1 {
                        ids.push(entry.ids[0]);
                    } else {
                        ids.extend_from_slice(&entry.ids[..entry.count as usize]);
                    }
                } else {
                    let before = ids.len();
                    self.piece(&text[at..end], ids);
                    let new = &ids[before..];
                    if let Some(kept) = entry.ids.get_mut(..new.len()) {
                        kept.copy_from_slice(new);
                        entry.key = key;
                        entry.count = new.len() as u32;
                    }
                }
            }
            at = end;
        }
        Ok(())
    }

    /// The ids of one piece.
    fn piece(&self, piece: &[u8], ids: &mut Vec<u32>) {
        if let [byte] = piece {
            return ids.push(self.bytes[usize::from(*byte)]);
        }
        if self.parts.ignore_merges {
            if let Some(id) = self.find(piece) {
                return ids.push(id);
            }
        }
        let symbols = piece.iter().map(|&byte| self.bytes[usize::from(byte)]);
        merge(&self.pairs, symbols, ids);
    }
}
