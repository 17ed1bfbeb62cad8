//! `dataset.bin` on the disk: ids that are read where they are asked for, and written as they come.
//! `docs/FORMAT.md` has the bytes.

mod record;
mod writer;

pub use record::Origin;
pub use writer::TokenWriter;

use super::ids::beyond;
use crate::error::{Error, Result};
use crate::train::tokens::Foreign;
use cllm_kernels::memory::filled;
use record::{Record, Tally};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes of the number of ids, at the beginning.
const HEADER: u64 = 8;
/// Ids that are converted at a time.
const CHUNK: usize = 4096;

/// A file of ids, open for reading. Nothing of it is held in memory but how often each id is met; it is
/// read by positions, so that several threads can use it at once, and a file that is cut meanwhile is
/// an error of that reading.
///
/// ```
/// use cllm_engine::text::{TokenFile, TokenWriter};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("dataset.bin");
/// let mut writer = TokenWriter::create(&path)?;
/// writer.push(&[7, 8])?;
/// writer.push(&[9])?;
/// assert!(!path.exists());
/// writer.finish(None)?;
///
/// let file = TokenFile::open(&path)?;
/// let mut ids = [0; 2];
/// file.read(1, &mut ids)?;
/// assert_eq!((file.len(), ids), (3, [8, 9]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TokenFile {
    path: PathBuf,
    file: File,
    len: usize,
    tally: Tally,
    origin: Option<Origin>,
    recorded: bool,
}

impl TokenFile {
    /// Opens a file. One that this library wrote says at its end how often each id is met; any other is
    /// read through once.
    ///
    /// # Errors
    /// The file can't be read, or is shorter than it says.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = File::open(path).map_err(Error::io(path))?;
        let (len, bytes) = length(path, &file)?;
        let end = HEADER + 4 * len as u64;
        let record = Record::read(path, &file, end, bytes, len)?;
        let mut found = Self {
            path: path.to_path_buf(),
            file,
            len,
            tally: Tally::default(),
            origin: None,
            recorded: record.is_some(),
        };
        match record {
            Some(Record { tally, origin }) => (found.tally, found.origin) = (tally, origin),
            None => found.tally = found.tally_now()?,
        }
        Ok(found)
    }

    /// How many ids there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where it is; it may have been renamed since it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it was made of, where it says so.
    pub fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// CRC-32 of the ids as little-endian words: [`checksum`](crate::train::checkpoint::checksum).
    pub fn checksum(&self) -> u32 {
        self.tally.checksum()
    }

    /// How often each id is met; of those behind the last none is, nor counted are ids from 2²⁴ on.
    pub fn counts(&self) -> &[u64] {
        &self.tally.counts
    }

    /// Copies the ids from place `at` on into `ids`.
    ///
    /// # Errors
    /// There are not so many; the file can't be read, or was cut.
    pub fn read(&self, at: usize, ids: &mut [u32]) -> Result<()> {
        if at.checked_add(ids.len()).is_none_or(|end| end > self.len) {
            return Err(beyond(at, ids.len(), self.len));
        }
        let mut place = HEADER + 4 * at as u64;
        let mut bytes = [0; 4 * CHUNK];
        for chunk in ids.chunks_mut(CHUNK) {
            let bytes = &mut bytes[..4 * chunk.len()];
            self.file.read_exact_at(bytes, place).map_err(|error| self.problem(error))?;
            let (words, _) = bytes.as_chunks::<4>();
            chunk.iter_mut().zip(words).for_each(|(id, word)| *id = u32::from_le_bytes(*word));
            place += bytes.len() as u64;
        }
        Ok(())
    }

    fn problem(&self, error: io::Error) -> Error {
        if error.kind() == ErrorKind::UnexpectedEof {
            return Error::file(
                &self.path,
                format!("was cut while it was read: it had {} ids", self.len),
            );
        }
        Error::io(&self.path)(error)
    }

    /// The ids of all places, in order, some thousand at a time, with the place of the first.
    ///
    /// # Errors
    /// As [`read`](Self::read); what `each` returns.
    pub fn each(&self, mut each: impl FnMut(usize, &[u32]) -> Result<()>) -> Result<()> {
        let mut ids = filled("the ids of a dataset", self.len.min(16 * CHUNK))?;
        let mut at = 0;
        while at < self.len {
            let count = ids.len().min(self.len - at);
            self.read(at, &mut ids[..count])?;
            each(at, &ids[..count])?;
            at += count;
        }
        Ok(())
    }

    fn tally_now(&self) -> Result<Tally> {
        let mut tally = Tally::default();
        self.each(|_, ids| tally.add(ids))?;
        Ok(tally)
    }

    /// Reads the whole file; an error where its ids are not those that it says.
    ///
    /// # Errors
    /// That one, and those of [`read`](Self::read).
    pub fn verify(&self) -> Result<()> {
        if self.recorded && self.tally_now()?.checksum() != self.checksum() {
            return Err(Error::file(
                &self.path,
                "is damaged: its ids are not those of its checksum",
            ));
        }
        Ok(())
    }

    /// The ids that are not below `vocab`, where there are some.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn foreign(&self, vocab: usize) -> Result<Option<Foreign>> {
        let Tally { counts, beyond, .. } = &self.tally;
        let known: u64 = counts.get(vocab..).unwrap_or_default().iter().sum();
        if known + beyond == 0 {
            return Ok(None);
        }
        let mut found: Option<Foreign> = None;
        self.each(|at, ids| {
            for (i, &id) in ids.iter().enumerate().filter(|(_, id)| **id as usize >= vocab) {
                let new = Foreign { count: 0, first: id, position: at + i };
                found.get_or_insert(new).count += 1;
            }
            Ok(())
        })?;
        Ok(found)
    }
}

/// The number of ids that a file says it has, for which it must have room, and its bytes.
pub(super) fn length(path: &Path, file: &File) -> Result<(usize, u64)> {
    let bytes = file.metadata().map_err(Error::io(path))?.len();
    let Some(room) = bytes.checked_sub(HEADER) else {
        let problem = format!("{bytes} bytes are too few for the count of a dataset");
        return Err(Error::file(path, problem));
    };
    let mut header = [0; HEADER as usize];
    file.read_exact_at(&mut header, 0).map_err(Error::io(path))?;
    let count = u64::from_le_bytes(header);
    let len = usize::try_from(count).ok().filter(|_| count <= room / 4);
    let problem = || format!("says it holds {count} ids, but has room for {} only", room / 4);
    Ok((len.ok_or_else(|| Error::file(path, problem()))?, bytes))
}

#[cfg(test)]
mod tests;
