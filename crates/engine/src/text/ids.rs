//! Ids, in memory or in a file.

use super::TokenFile;
use crate::error::Result;
use crate::train::checkpoint::checksum;

/// The ids of a text, wherever they are: an array in memory, or a file from which parts are read as they
/// are asked for.
#[derive(Clone, Copy, Debug)]
pub enum Ids<'a> {
    /// In memory.
    Memory(&'a [u32]),
    /// In a file.
    File(&'a TokenFile),
}

impl<'a> Ids<'a> {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Self::Memory(ids) => ids.len(),
            Self::File(file) => file.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them, where they are in memory.
    pub fn as_slice(&self) -> Option<&'a [u32]> {
        match self {
            Self::Memory(ids) => Some(ids),
            Self::File(_) => None,
        }
    }

    /// Copies the ids from place `at` on into `out`.
    ///
    /// # Errors
    /// There are not so many; the file can't be read.
    pub fn read(&self, at: usize, out: &mut [u32]) -> Result<()> {
        match self {
            Self::Memory(ids) => {
                let there = ids.get(at..).and_then(|ids| ids.get(..out.len()));
                out.copy_from_slice(there.ok_or_else(|| beyond(at, out.len(), ids.len()))?);
                Ok(())
            }
            Self::File(file) => file.read(at, out),
        }
    }

    /// CRC-32 of all of them as little-endian words.
    pub fn checksum(&self) -> u32 {
        match self {
            Self::Memory(ids) => checksum(ids),
            Self::File(file) => file.checksum(),
        }
    }

    /// An address that tells them from others as long as they are there.
    pub fn place(&self) -> usize {
        match self {
            Self::Memory(ids) => ids.as_ptr().addr(),
            Self::File(file) => std::ptr::from_ref(*file).addr(),
        }
    }

    /// How often `id` is among them.
    pub fn count(&self, id: u32) -> u64 {
        match self {
            Self::Memory(ids) => ids.iter().filter(|&&other| other == id).count() as u64,
            Self::File(file) => file.counts().get(id as usize).copied().unwrap_or(0),
        }
    }
}

pub(super) fn beyond(at: usize, count: usize, len: usize) -> crate::Error {
    crate::Error::shape(format!("{count} ids from place {at} on, where there are {len} in all"))
}

impl<'a> From<&'a [u32]> for Ids<'a> {
    fn from(ids: &'a [u32]) -> Self {
        Self::Memory(ids)
    }
}

impl<'a> From<&'a Vec<u32>> for Ids<'a> {
    fn from(ids: &'a Vec<u32>) -> Self {
        Self::Memory(ids)
    }
}

impl<'a, const N: usize> From<&'a [u32; N]> for Ids<'a> {
    fn from(ids: &'a [u32; N]) -> Self {
        Self::Memory(ids)
    }
}

impl<'a> From<&'a TokenFile> for Ids<'a> {
    fn from(file: &'a TokenFile) -> Self {
        Self::File(file)
    }
}
