//! The ids of pieces met before. Most pieces of a text are words that come again and again, in the
//! next text too, so a tokenizer keeps its caches from call to call.

use crate::error::Result;
use cllm_kernels::memory::filled;
use std::sync::Mutex;

/// Pieces of up to this many bytes are in the table of short ones.
pub(super) const SHORT: usize = 15;
/// Longer pieces of up to this many bytes are in the table of long ones.
pub(super) const LONG: usize = 48;
/// Ids that are remembered of a short piece and of a long one.
const SHORT_IDS: usize = 7;
const LONG_IDS: usize = 19;
/// Most entries for short pieces; of those for long ones there are an eighth.
const MOST: usize = 1 << 15;
/// Caches that a tokenizer keeps.
const KEPT: usize = 8;

const MIX: u64 = 0x9E37_79B9_7F4A_7C15;

#[derive(Clone, Copy, Default)]
struct Short {
    /// The bytes of the piece and, in the last one, their number. No piece has none.
    key: u128,
    count: u32,
    ids: [u32; SHORT_IDS],
}

#[derive(Clone, Copy)]
struct Long {
    bytes: [u8; LONG],
    len: u8,
    count: u8,
    ids: [u32; LONG_IDS],
}

/// Two tables in which a newer piece takes the place of an older one.
#[derive(Default)]
pub(super) struct Cache {
    short: Vec<Short>,
    long: Vec<Long>,
    /// Bytes of the texts it was used for.
    seen: usize,
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

/// The upper bits are well mixed.
#[inline]
fn hash_of(piece: &[u8]) -> u64 {
    let (chunks, _) = piece.as_chunks::<8>();
    let words = chunks.iter().chain(piece.last_chunk::<8>());
    let mixed = words.fold(piece.len() as u64, |hash, word| {
        (hash ^ u64::from_le_bytes(*word)).wrapping_mul(MIX).rotate_left(29)
    });
    mixed.wrapping_mul(MIX)
}

/// The place that `hash` has in a table of `size` entries, a power of two up to [`MOST`].
#[inline]
fn place(hash: u64, size: usize) -> usize {
    (hash >> (64 - MOST.trailing_zeros())) as usize & (size - 1)
}

impl Cache {
    /// Tables large enough for `bytes` more bytes of text. Larger ones are empty at first.
    fn grow(&mut self, bytes: usize) -> Result<()> {
        self.seen = self.seen.saturating_add(bytes);
        let size = (self.seen / 8).clamp(16, MOST).next_power_of_two();
        if size > self.short.len() {
            let none = Long { bytes: [0; LONG], len: 0, count: 0, ids: [0; LONG_IDS] };
            let mut long = Vec::new();
            cllm_kernels::memory::reserve("the pieces of a text", &mut long, size / 8)?;
            long.resize(size / 8, none);
            *self = Self { short: filled("the pieces of a text", size)?, long, seen: self.seen };
        }
        Ok(())
    }

    /// Appends the ids of the piece of `len` bytes at `at`, at most [`LONG`], which `find` appends
    /// where they are not known. `ids` has room for them.
    #[inline]
    pub(super) fn ids(
        &mut self,
        text: &[u8],
        (at, len): (usize, usize),
        ids: &mut Vec<u32>,
        find: impl FnOnce(&[u8], &mut Vec<u32>) -> Result<()>,
    ) -> Result<()> {
        if len > SHORT {
            return self.long_ids(&text[at..at + len], ids, find);
        }
        let key = key_of(text, at, len);
        let folded = (key as u64) ^ ((key >> 64) as u64).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        let size = self.short.len();
        let entry = &mut self.short[place(folded.wrapping_mul(MIX), size)];
        if entry.key == key {
            if entry.count == 1 {
                ids.push(entry.ids[0]);
            } else {
                ids.extend_from_slice(&entry.ids[..entry.count as usize]);
            }
            return Ok(());
        }
        let before = ids.len();
        find(&text[at..at + len], ids)?;
        let new = &ids[before..];
        if let Some(kept) = entry.ids.get_mut(..new.len()) {
            kept.copy_from_slice(new);
            entry.key = key;
            entry.count = new.len() as u32;
        }
        Ok(())
    }

    fn long_ids(
        &mut self,
        piece: &[u8],
        ids: &mut Vec<u32>,
        find: impl FnOnce(&[u8], &mut Vec<u32>) -> Result<()>,
    ) -> Result<()> {
        let size = self.long.len();
        let entry = &mut self.long[place(hash_of(piece), size)];
        if usize::from(entry.len) == piece.len() && entry.bytes[..piece.len()] == *piece {
            ids.extend_from_slice(&entry.ids[..usize::from(entry.count)]);
            return Ok(());
        }
        let before = ids.len();
        find(piece, ids)?;
        let new = &ids[before..];
        if let Some(kept) = entry.ids.get_mut(..new.len()) {
            kept.copy_from_slice(new);
            entry.bytes[..piece.len()].copy_from_slice(piece);
            (entry.len, entry.count) = (piece.len() as u8, new.len() as u8);
        }
        Ok(())
    }
}

/// The caches of a tokenizer that no call uses just now.
#[derive(Default)]
pub(super) struct Caches(Mutex<Vec<Cache>>);

impl Caches {
    /// One for `bytes` bytes of text. Nobody waits for another: who finds the list in use, also by a
    /// thread that a forked child does not have, takes a fresh one.
    pub(super) fn take(&self, bytes: usize) -> Result<Cache> {
        let kept = self.0.try_lock().ok().and_then(|mut caches| caches.pop());
        let mut cache = kept.unwrap_or_default();
        cache.grow(bytes)?;
        Ok(cache)
    }

    /// Keeps a cache for later calls, if there is room.
    pub(super) fn give(&self, cache: Cache) {
        if let Ok(mut caches) = self.0.try_lock()
            && caches.len() < KEPT
            && caches.try_reserve(1).is_ok()
        {
            caches.push(cache);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One id for each two bytes, so that pieces of all lengths are remembered or not.
    fn find(piece: &[u8], ids: &mut Vec<u32>) -> Result<()> {
        ids.extend(
            piece.chunks(2).map(|two| two.iter().fold(1, |sum, &b| sum * 256 + u32::from(b))),
        );
        Ok(())
    }

    #[test]
    fn what_was_found_comes_back() {
        let text: Vec<u8> = (0..200u8).chain(0..200).collect();
        let caches = Caches::default();
        let mut found = 0;
        for round in 0..3 {
            let mut cache = caches.take(if round == 0 { 1 << 20 } else { 0 }).unwrap();
            for len in 1..=LONG {
                for at in [0, 1, 7, 200, text.len() - len] {
                    let (mut ids, mut expected) = (vec![9], vec![9]);
                    let counting = |piece: &[u8], ids: &mut Vec<u32>| {
                        found += usize::from(round == 2);
                        find(piece, ids)
                    };
                    cache.ids(&text, (at, len), &mut ids, counting).unwrap();
                    find(&text[at..at + len], &mut expected).unwrap();
                    assert_eq!(ids, expected, "{len} bytes at {at}");
                }
            }
            caches.give(cache);
        }
        // Short pieces of up to 14 bytes and long ones of up to 38 have few enough ids.
        assert!(found < 5 * LONG / 2, "{found}");
    }

    #[test]
    fn a_few_caches_are_kept_and_grow() {
        let caches = Caches::default();
        let taken: Vec<Cache> = (0..KEPT + 2).map(|_| caches.take(1).unwrap()).collect();
        assert!(taken.iter().all(|cache| cache.short.len() == 16 && cache.long.len() == 2));
        taken.into_iter().for_each(|cache| caches.give(cache));
        assert_eq!(caches.0.lock().unwrap().len(), KEPT);
        let cache = caches.take(usize::MAX).unwrap();
        assert_eq!((cache.short.len(), cache.long.len()), (MOST, MOST / 8));
    }
}
