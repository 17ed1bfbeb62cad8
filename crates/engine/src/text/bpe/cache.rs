//! The ids of pieces met before. Most pieces of a text are words that come again and again, in the
//! next text too, so a tokenizer keeps its caches from call to call.

use crate::error::Result;
use cllm_kernels::memory::{filled, reserve_more};
use cllm_kernels::merge::Merger;
use std::sync::Mutex;

/// Longest piece that is remembered, in bytes.
pub(super) const LONGEST: usize = 1024;
/// A piece of up to this many bytes is its own key.
const SHORT: usize = 15;
/// Ids that a slot has room for.
const IDS: usize = 3;
/// Ids that wait in an [`Out`], at most.
const WAITING: usize = 128;
/// Lines of two pieces each, at most.
const MOST: usize = 1 << 16;
/// Bytes of long pieces, and ids that slots have no room for, at most.
const STORE: usize = 1 << 20;
/// Caches that a tokenizer keeps.
const KEPT: usize = 8;

const WHAT: &str = "the pieces of a text";

const MIX: u64 = 0x9E37_79B9_7F4A_7C15;
/// A bit that the keys of long pieces have.
const LONG: u128 = 1 << 127;

/// The lowest bytes of a number, by how many.
const MASKS: [u128; SHORT + 1] = {
    let mut masks = [0; SHORT + 1];
    let mut len = 1;
    while len <= SHORT {
        masks[len] = masks[len - 1] << 8 | 0xFF;
        len += 1;
    }
    masks
};

/// A piece and its ids.
#[derive(Clone, Copy, Default)]
#[repr(align(32))]
struct Slot {
    /// The bytes of the piece and, in the last one, their number; of a long piece [`LONG`], its
    /// length and its hash. No piece has 0.
    key: u128,
    /// The ids; where they are more than [`IDS`], their place in the store. After it, the place of
    /// the bytes of a long piece.
    ids: [u32; IDS],
    count: u32,
}

impl Slot {
    /// Whether a part of it is in the stores.
    fn stored(&self) -> bool {
        self.count as usize > IDS || self.key & LONG != 0
    }
}

/// Ids on their way into a list that has room for them: those of slots wait in a buffer of a fixed size, as
/// storing them there takes no call.
pub(super) struct Out<'a> {
    list: &'a mut Vec<u32>,
    buffer: [u32; WAITING],
    waiting: usize,
}

impl<'a> Out<'a> {
    pub(super) fn new(list: &'a mut Vec<u32>) -> Self {
        Self { list, buffer: [0; WAITING], waiting: 0 }
    }

    /// Whether the buffer has room for the first `count` of these; then they are put there.
    #[inline(always)]
    fn put(&mut self, ids: &[u32; IDS], count: usize) -> bool {
        let room = self.buffer.get_mut(self.waiting..).and_then(|rest| rest.first_chunk_mut());
        let fits = room.is_some();
        if let Some(room) = room {
            *room = *ids;
            self.waiting += count;
        }
        fits
    }

    /// The list, with all that waited.
    pub(super) fn ids(&mut self) -> &mut Vec<u32> {
        let waiting = self.buffer.get(..self.waiting).unwrap_or_default();
        self.list.extend_from_slice(waiting);
        self.waiting = 0;
        self.list
    }
}

/// A table of lines of two pieces each. The first of a line stays, for what a text has first it has often; a new
/// one drives the second out to the line beside it, where it is still found. With two places alone, a third of
/// all pieces would drive each other out in a table that is half full.
#[derive(Default)]
pub(super) struct Cache {
    lines: Vec<[Slot; 2]>,
    bytes: Vec<u8>,
    ids: Vec<u32>,
    /// Bytes of the texts it was used for.
    seen: usize,
    /// For those that find the ids.
    pub(super) merger: Merger,
}

/// The key of the piece of `len` bytes, at most [`SHORT`], at `at`.
#[inline]
fn short_key(text: &[u8], at: usize, len: usize) -> u128 {
    let bytes = match text.get(at..).and_then(|tail| tail.first_chunk::<16>()) {
        Some(chunk) => u128::from_le_bytes(*chunk) & MASKS[len],
        None => {
            let mut padded = [0; 16];
            padded[..len].copy_from_slice(&text[at..at + len]);
            u128::from_le_bytes(padded)
        }
    };
    bytes | (len as u128) << 120
}

/// The key of a longer piece. Other pieces can have the same one.
fn long_key(piece: &[u8]) -> u128 {
    let (chunks, _) = piece.as_chunks::<8>();
    let words = chunks.iter().chain(piece.last_chunk::<8>());
    let hash = words.fold(0, |hash: u64, word| {
        (hash ^ u64::from_le_bytes(*word)).wrapping_mul(MIX).rotate_left(29)
    });
    LONG | (piece.len() as u128) << 64 | u128::from(hash)
}

/// The line that `key` has among `size`, a power of two from 2 to [`MOST`].
#[inline]
fn line(key: u128, size: usize) -> usize {
    let folded = key as u64 ^ ((key >> 64) as u64).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    (folded.wrapping_mul(MIX) >> (64 - MOST.trailing_zeros())) as usize & (size - 1)
}

impl Cache {
    /// A table large enough for `bytes` more bytes of text. A larger one is empty at first.
    fn grow(&mut self, bytes: usize) -> Result<()> {
        self.seen = self.seen.saturating_add(bytes);
        let size = (self.seen / 16).clamp(16, MOST).next_power_of_two();
        if size > self.lines.len() {
            self.lines = filled(WHAT, size)?;
            self.bytes.clear();
            self.ids.clear();
        }
        Ok(())
    }

    /// Gives out the ids of the piece of `len` bytes at `at` and says whether it did: not those of a piece that
    /// is long, or in none of the two places that are looked at first.
    #[inline(always)]
    pub(super) fn first(&self, text: &[u8], at: usize, len: usize, out: &mut Out) -> bool {
        if len > SHORT {
            return false;
        }
        let key = short_key(text, at, len);
        let slots = &self.lines[line(key, self.lines.len())];
        let slot = if slots[0].key == key { &slots[0] } else { &slots[1] };
        let count = slot.count as usize;
        slot.key == key && count <= IDS && out.put(&slot.ids, count)
    }

    /// Gives out the ids of the piece of `len` bytes, at most [`LONGEST`], at `at`, which `find` appends
    /// where they are not known.
    #[inline(never)]
    pub(super) fn ids(
        &mut self,
        text: &[u8],
        at: usize,
        len: usize,
        out: &mut Out,
        find: impl FnOnce(&[u8], &mut Merger, &mut Vec<u32>) -> Result<()>,
    ) -> Result<()> {
        let piece = &text[at..at + len];
        let key = if len > SHORT { long_key(piece) } else { short_key(text, at, len) };
        self.other(piece, key, out.ids(), find)
    }

    /// [`ids`](Self::ids) of the piece with this key.
    fn other(
        &mut self,
        piece: &[u8],
        key: u128,
        ids: &mut Vec<u32>,
        find: impl FnOnce(&[u8], &mut Merger, &mut Vec<u32>) -> Result<()>,
    ) -> Result<()> {
        let long = if key & LONG == 0 { &[] } else { piece };
        let at = line(key, self.lines.len());
        for (line, which) in [(at, 0), (at, 1), (at ^ 1, 0), (at ^ 1, 1)] {
            let slot = self.lines[line][which];
            if slot.key != key || !self.known(&slot, long, ids) {
                continue;
            }
            if line != at {
                self.lines[line][which] = self.lines[at][1];
                self.lines[at][1] = slot;
            }
            return Ok(());
        }
        let before = ids.len();
        find(piece, &mut self.merger, ids)?;
        self.remember(key, long, &ids[before..]);
        Ok(())
    }

    /// Appends the ids of a slot whose key is right, if its piece is, of which `long` is the text of a long one.
    #[inline]
    fn known(&self, slot: &Slot, long: &[u8], ids: &mut Vec<u32>) -> bool {
        let count = slot.count as usize;
        if !slot.stored() {
            ids.extend_from_slice(&slot.ids[..count]);
            return true;
        }
        let [first, bytes, _] = slot.ids.map(|at| at as usize);
        let same = self.bytes[bytes..][..long.len()] == *long;
        if same {
            ids.extend_from_slice(&self.ids[first..][..count]);
        }
        same
    }

    /// Puts a piece and its ids into its line, the bytes of a long one into the store. Without memory for
    /// that it is found anew the next time.
    fn remember(&mut self, key: u128, long: &[u8], found: &[u32]) {
        let mut slot = Slot { key, ids: [0; IDS], count: found.len() as u32 };
        if !slot.stored() {
            slot.ids[..found.len()].copy_from_slice(found);
        } else {
            // Full stores are begun anew.
            if self.bytes.len() + long.len() > STORE || self.ids.len() + found.len() > STORE / 4 {
                for slot in self.lines.as_flattened_mut() {
                    if slot.stored() {
                        *slot = Slot::default();
                    }
                }
                self.bytes.clear();
                self.ids.clear();
            }
            let room = reserve_more(WHAT, &mut self.bytes, long.len())
                .and_then(|()| reserve_more(WHAT, &mut self.ids, found.len()));
            if room.is_err() {
                return;
            }
            slot.ids = [self.ids.len() as u32, self.bytes.len() as u32, 0];
            self.bytes.extend_from_slice(long);
            self.ids.extend_from_slice(found);
        }
        let at = line(key, self.lines.len());
        let before = self.lines[at];
        if before[0].key == 0 {
            self.lines[at][0] = slot;
            return;
        }
        self.lines[at][1] = slot;
        if before[1].key != 0 {
            let beside = &mut self.lines[at ^ 1];
            beside[usize::from(beside[0].key != 0)] = before[1];
        }
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

    /// One id for each two bytes, so that pieces have ids inside their slots and in the store.
    fn find(piece: &[u8], _: &mut Merger, ids: &mut Vec<u32>) -> Result<()> {
        ids.extend(
            piece.chunks(2).map(|two| two.iter().fold(1, |sum, &b| sum * 256 + u32::from(b))),
        );
        Ok(())
    }

    #[test]
    fn what_was_found_comes_back() {
        let text: Vec<u8> = (0..1400u32).map(|i| (i * i / 7 + i) as u8).collect();
        let caches = Caches::default();
        let (mut found, mut asked) = (0, 0);
        for round in 0..6 {
            let mut cache = caches.take(if round == 0 { 1 << 20 } else { 0 }).unwrap();
            for len in (1..=60).chain([200, LONGEST - 1, LONGEST]) {
                for at in [0, 1, 7, 200, text.len() - len] {
                    let (mut ids, mut expected) = (vec![9], vec![9]);
                    let counting = |piece: &[u8], merger: &mut Merger, ids: &mut Vec<u32>| {
                        found += usize::from(round > 0);
                        find(piece, merger, ids)
                    };
                    asked += usize::from(round > 0);
                    let mut out = Out::new(&mut ids);
                    if !cache.first(&text, at, len, &mut out) {
                        cache.ids(&text, at, len, &mut out, counting).unwrap();
                    }
                    out.ids();
                    find(&text[at..at + len], &mut cache.merger, &mut expected).unwrap();
                    assert_eq!(ids, expected, "{len} bytes at {at}");
                }
            }
            caches.give(cache);
        }
        assert!(found < asked / 10, "{found} of {asked}");
    }

    #[test]
    fn pieces_of_one_line_stay_side_by_side() {
        let mut cache = Caches::default().take(1 << 20).unwrap();
        let size = cache.lines.len();
        let words: Vec<[u8; 4]> = (0..1u32 << 20).map(u32::to_le_bytes).collect();
        let of_line = |wanted: usize| {
            words.iter().filter(move |word| line(short_key(&word[..], 0, 4), size) == wanted)
        };
        let pieces: Vec<_> = of_line(6).take(4).collect();
        let mut ask = |piece: &[u8]| {
            let (mut ids, mut expected, mut found) = (Vec::new(), Vec::new(), false);
            let mut out = Out::new(&mut ids);
            let find_it = |piece: &[u8], merger: &mut Merger, ids: &mut Vec<u32>| {
                found = true;
                find(piece, merger, ids)
            };
            cache.ids(piece, 0, 4, &mut out, find_it).unwrap();
            out.ids();
            find(piece, &mut cache.merger, &mut expected).unwrap();
            assert_eq!(ids, expected);
            found
        };
        assert!(pieces.iter().all(|piece| ask(&piece[..])), "new ones");
        assert!(!pieces.iter().chain(pieces.iter().rev()).any(|piece| ask(&piece[..])));
        // One of the line beside them finds a place too, and of five one is driven out.
        let other = of_line(7).next().unwrap();
        assert!(ask(&other[..]) && !ask(&other[..]) && !ask(&pieces[0][..]));
    }

    #[test]
    fn full_stores_are_begun_anew() {
        let mut cache = Caches::default().take(1 << 20).unwrap();
        let text: Vec<u8> = (0..2 * STORE as u32).map(|i| (i.wrapping_mul(i) >> 9) as u8).collect();
        for at in (0..text.len() - 100).step_by(99).chain([0, 99]) {
            let (mut ids, mut expected) = (Vec::new(), Vec::new());
            for _ in 0..2 {
                ids.clear();
                let mut out = Out::new(&mut ids);
                cache.ids(&text, at, 100, &mut out, find).unwrap();
                out.ids();
            }
            find(&text[at..at + 100], &mut cache.merger, &mut expected).unwrap();
            assert_eq!(ids, expected, "at {at}");
            assert!(cache.bytes.len() <= STORE && cache.ids.len() <= STORE / 4);
        }
    }

    #[test]
    fn a_few_caches_are_kept_and_grow() {
        let caches = Caches::default();
        let taken: Vec<Cache> = (0..KEPT + 2).map(|_| caches.take(1).unwrap()).collect();
        assert!(taken.iter().all(|cache| cache.lines.len() == 16));
        taken.into_iter().for_each(|cache| caches.give(cache));
        assert_eq!(caches.0.lock().unwrap().len(), KEPT);
        let cache = caches.take(usize::MAX).unwrap();
        assert_eq!(cache.lines.len(), MOST);
    }
}
