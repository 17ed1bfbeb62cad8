//! What a file of ids says of itself, behind the ids.

use crate::error::{Error, Result};
use crate::file::crc::add_words;
use crate::limits::COUNTED_IDS as COUNTED;
use cllm_kernels::memory::{filled, grow, reserve};
use crc32fast::Hasher;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

const WHAT: &str = "the counts of ids";
const MAGIC: [u8; 8] = *b"CLLMIDS\x01";
/// Bytes before the counts: magic, number of ids, their checksum, number of counts, ids beyond them,
/// whether there is an origin and its tokenizer, its text, documents, bytes, from, to.
const FIXED: usize = 8 + 8 + 4 + 4 + 8 + 4 + 4 + 4 + 4 + 4 * 8;

/// What a file of ids was made of: enough to notice another text and another tokenizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// CRC-32 of the tokenizer.
    pub tokenizer: u32,
    /// CRC-32 of all texts.
    pub text: u32,
    /// How many texts there were.
    pub documents: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The first of the bytes that became ids.
    pub from: u64,
    /// The byte behind the last one.
    pub to: u64,
}

/// How often each id is met, and a checksum of all.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) counts: Vec<u64>,
    /// Ids that are too large to be counted.
    pub(super) beyond: u64,
    hasher: Hasher,
}

impl Tally {
    pub(super) fn checksum(&self) -> u32 {
        self.hasher.clone().finalize()
    }

    /// Counts ids that follow those before.
    pub(super) fn add(&mut self, ids: &[u32]) -> Result<()> {
        let most = ids.iter().filter(|&&id| (id as usize) < COUNTED).max();
        let room = most.map_or(0, |&id| id as usize + 1);
        grow(WHAT, &mut self.counts, room)?;
        for &id in ids {
            *self.counts.get_mut(id as usize).unwrap_or(&mut self.beyond) += 1;
        }
        add_words(&mut self.hasher, ids, u32::to_le_bytes);
        Ok(())
    }
}

/// What stands behind the ids.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) tally: Tally,
    pub(super) origin: Option<Origin>,
}

fn crc(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

impl Record {
    /// The bytes of a record of `len` ids.
    ///
    /// # Errors
    /// No memory.
    pub(super) fn bytes(&self, len: u64) -> Result<Vec<u8>> {
        let Tally { counts, beyond, .. } = &self.tally;
        let mut bytes = Vec::new();
        reserve(WHAT, &mut bytes, FIXED + 8 * counts.len() + 4)?;
        bytes.extend(MAGIC);
        bytes.extend(len.to_le_bytes());
        bytes.extend(self.tally.checksum().to_le_bytes());
        bytes.extend((counts.len() as u32).to_le_bytes());
        bytes.extend(beyond.to_le_bytes());
        let origin = self.origin;
        bytes.extend(u32::from(origin.is_some()).to_le_bytes());
        let nothing = Origin { tokenizer: 0, text: 0, documents: 0, bytes: 0, from: 0, to: 0 };
        let o = origin.unwrap_or(nothing);
        [o.tokenizer, o.text, 0].iter().for_each(|word| bytes.extend(word.to_le_bytes()));
        [o.documents, o.bytes, o.from, o.to].iter().for_each(|w| bytes.extend(w.to_le_bytes()));
        counts.iter().for_each(|count| bytes.extend(count.to_le_bytes()));
        bytes.extend(crc(&bytes).to_le_bytes());
        Ok(bytes)
    }

    /// The record of a file of `bytes` bytes whose `len` ids end at `end`. Other bytes there, which any
    /// program may have left, and a record that is damaged are none.
    ///
    /// # Errors
    /// The file of `path` can't be read; no memory.
    pub(super) fn read(
        path: &Path,
        file: &File,
        end: u64,
        bytes: u64,
        len: usize,
    ) -> Result<Option<Self>> {
        let room = bytes - end;
        let most = (FIXED + 8 * COUNTED + 4) as u64;
        if !(FIXED as u64 + 4..=most).contains(&room) {
            return Ok(None);
        }
        let mut magic = [0; MAGIC.len()];
        file.read_exact_at(&mut magic, end).map_err(Error::io(path))?;
        if magic != MAGIC {
            return Ok(None);
        }
        let mut all = filled(WHAT, room as usize)?;
        file.read_exact_at(&mut all, end).map_err(Error::io(path))?;
        let Some((mut record, counts)) = Self::parse(&all, len as u64) else { return Ok(None) };
        reserve(WHAT, &mut record.tally.counts, counts.len())?;
        record.tally.counts.extend(counts.iter().map(|count| u64::from_le_bytes(*count)));
        Ok(Some(record))
    }

    /// A record but for its counts, and these.
    fn parse(all: &[u8], len: u64) -> Option<(Self, &[[u8; 8]])> {
        let (content, sum) = all.split_last_chunk::<4>()?;
        if u32::from_le_bytes(*sum) != crc(content) {
            return None;
        }
        let (fixed, counts) = content.split_at_checked(FIXED)?;
        let word = |at: usize| Some(u32::from_le_bytes(*fixed.get(at..)?.first_chunk()?));
        let long = |at: usize| Some(u64::from_le_bytes(*fixed.get(at..)?.first_chunk()?));
        let (counts, rest) = counts.as_chunks::<8>();
        let whole = rest.is_empty() && counts.len() == word(20)? as usize;
        if !whole || long(8)? != len {
            return None;
        }
        let origin = Origin {
            tokenizer: word(36)?,
            text: word(40)?,
            documents: long(48)?,
            bytes: long(56)?,
            from: long(64)?,
            to: long(72)?,
        };
        // A hasher goes on from any checksum; its length counts for combining only.
        let tally = Tally {
            counts: Vec::new(),
            beyond: long(24)?,
            hasher: Hasher::new_with_initial(word(16)?),
        };
        Some((Self { tally, origin: (word(32)? != 0).then_some(origin) }, counts))
    }
}
