//! Writing ids as they come.

use super::record::{Origin, Record, Tally};
use super::{CHUNK, TokenFile};
use crate::error::{Error, Result};
use crate::system::atomic::Partial;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

/// Bytes that are collected before they go to the system.
const BUFFER: usize = 1 << 20;

/// A file of ids that is being written, as `<path>.partial` until it is whole: a program that is ended on
/// the way leaves that, and what stood at `path` before. The next writer for the same path begins it
/// anew. Dropped, it is removed.
pub struct TokenWriter {
    out: BufWriter<Partial>,
    len: u64,
    tally: Tally,
}

impl TokenWriter {
    /// Begins a file that will be at `path`.
    ///
    /// # Errors
    /// It can't be written, or another writer is writing it.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        let partial = Partial::create(path.as_ref())?;
        let mut out = BufWriter::with_capacity(BUFFER, partial);
        // No ids yet, until all of them are there.
        out.write_all(&0u64.to_le_bytes()).map_err(Error::io(path.as_ref()))?;
        Ok(Self { out, len: 0, tally: Tally::default() })
    }

    /// Ids until now.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends ids.
    ///
    /// # Errors
    /// The file can't be written; no memory for their counts.
    pub fn push(&mut self, ids: &[u32]) -> Result<()> {
        self.tally.add(ids)?;
        for chunk in ids.chunks(CHUNK) {
            let mut bytes = [0; 4 * CHUNK];
            let (words, _) = bytes.as_chunks_mut::<4>();
            words.iter_mut().zip(chunk).for_each(|(word, id)| *word = id.to_le_bytes());
            let written = self.out.write_all(&bytes[..4 * chunk.len()]);
            written.map_err(|error| Error::io(self.out.get_ref().path())(error))?;
        }
        self.len += ids.len() as u64;
        Ok(())
    }

    /// Appends `count` ids of another file, from place `at` on.
    ///
    /// # Errors
    /// As [`push`](Self::push) and [`TokenFile::read`].
    pub fn push_from(&mut self, file: &TokenFile, at: usize, count: usize) -> Result<()> {
        let mut ids = [0; CHUNK];
        let mut done = 0;
        while done < count {
            let now = CHUNK.min(count - done);
            file.read(at + done, &mut ids[..now])?;
            self.push(&ids[..now])?;
            done += now;
        }
        Ok(())
    }

    /// Ends the file, puts it at its place, whole and on the disk, and opens it for reading.
    ///
    /// # Errors
    /// The file can't be written: one that stood there before is still the old one.
    pub fn finish(self, origin: Option<Origin>) -> Result<TokenFile> {
        let Self { mut out, len, tally } = self;
        let record = Record { tally, origin }.bytes(len)?;
        let written = out
            .write_all(&record)
            .and_then(|()| out.seek(SeekFrom::Start(0)))
            .and_then(|_| out.write_all(&len.to_le_bytes()))
            .and_then(|()| out.flush());
        written.map_err(|error| Error::io(out.get_ref().path())(error))?;
        // Nothing is left in the buffer.
        let (partial, _) = out.into_parts();
        let path = partial.path().to_path_buf();
        partial.commit()?;
        TokenFile::open(path)
    }
}
