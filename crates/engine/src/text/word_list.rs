//! Strings in one block of memory.

use super::index::Words;
use crate::error::{Error, Result};

/// Strings of any length, one after the other in one block; the id of each is its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WordList {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl WordList {
    /// Makes room for `count` more words of `bytes` bytes together.
    ///
    /// # Errors
    /// No memory.
    pub fn reserve(&mut self, count: usize, bytes: usize) -> Result<()> {
        let room = self.bytes.try_reserve(bytes).and_then(|()| self.ends.try_reserve(count));
        room.map_err(|_| {
            Error::memory(
                "the words",
                count.saturating_mul(size_of::<usize>()).saturating_add(bytes),
            )
        })
    }

    /// Appends a word.
    ///
    /// # Errors
    /// No memory.
    pub fn push(&mut self, word: &[u8]) -> Result<()> {
        self.reserve(1, word.len())?;
        self.bytes.extend_from_slice(word);
        self.ends.push(self.bytes.len());
        Ok(())
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of all words together.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// In the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let spans = starts.zip(self.ends.iter().copied());
        spans.map(|(start, end)| self.bytes.get(start..end).unwrap_or_default())
    }
}

impl Words for WordList {
    fn count(&self) -> usize {
        self.ends.len()
    }

    fn get(&self, id: u32) -> Option<&[u8]> {
        let id = id as usize;
        let end = *self.ends.get(id)?;
        let start = match id.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        self.bytes.get(start..end)
    }
}
