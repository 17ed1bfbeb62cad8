//! Texts of any length, in files, that are read in pieces as often as they are needed: to learn a
//! tokenizer, to become ids.

mod encode;
mod learn;
mod parts;
mod pieces;
mod reader;
mod words;

pub use encode::mix;
pub use pieces::{Piece, Pieces};
pub use words::Measure;

use crate::error::{Error, Result};
use crate::limits::MAX_TEXT_BYTES;
use crc32fast::Hasher;
use reader::Reader;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};

/// Bytes of a text that are held and encoded at a time.
const PIECE: usize = 8 << 20;
/// Bytes that are copied at a time.
const COPY: usize = 1 << 20;

/// Texts, one behind the other. Held in memory are their names and lengths.
///
/// ```
/// use cllm_engine::Pool;
/// use cllm_engine::text::{Bpe, Texts, Tokenizer};
/// use std::ops::ControlFlow;
///
/// let folder = tempfile::tempdir()?;
/// let [one, two] = ["one.txt", "two.txt"].map(|name| folder.path().join(name));
/// std::fs::write(&one, "one text\n")?;
/// std::fs::write(&two, "another")?;
/// let mut texts = Texts::new(folder.path());
/// for path in [&one, &two] {
///     texts.add(path, &mut |_| ControlFlow::Continue(()))?;
/// }
/// assert_eq!((texts.documents(), texts.bytes()), (2, 16));
///
/// let (bytes, path) = (Tokenizer::from(Bpe::bytes()?), folder.path().join("dataset.bin"));
/// let (ids, _) =
///     texts.encode(0..16, &bytes, &Pool::serial(), &path, &mut |_| ControlFlow::Continue(()))?;
/// assert_eq!(ids.len(), 17); // with the end of a text between the two
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Texts {
    documents: Vec<Document>,
    bytes: u64,
    /// Of all texts and their lengths.
    hasher: Hasher,
    scratch: PathBuf,
    piece: usize,
}

/// One of the texts.
#[derive(Debug)]
struct Document {
    path: PathBuf,
    /// What could be read only once, in a file without a name.
    copy: Option<File>,
    /// As UTF-8.
    bytes: u64,
}

/// A part of a text, in bytes from its beginning, not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    document: usize,
    from: u64,
    to: u64,
}

/// What is told how many bytes are done, and says whether to go on.
pub type Watch<'w> = &'w mut dyn FnMut(u64) -> ControlFlow<()>;

fn tell(watch: &mut dyn FnMut(u64) -> ControlFlow<()>, bytes: u64) -> Result<()> {
    match watch(bytes) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::state("the reading of the texts was stopped")),
    }
}

impl Texts {
    /// Without a text. What can be read only once, a pipe, is copied into a file without a name in the
    /// folder `scratch`.
    pub fn new(scratch: impl AsRef<Path>) -> Self {
        let scratch = scratch.as_ref().to_path_buf();
        Self { documents: Vec::new(), bytes: 0, hasher: Hasher::new(), scratch, piece: PIECE }
    }

    /// The same, held and encoded `bytes` bytes at a time, 64 or more, instead of 8 MiB: the ids are the
    /// same for any number.
    pub fn by_pieces_of(self, bytes: usize) -> Self {
        Self { piece: bytes.max(64), ..self }
    }

    /// Adds a file as a text, which is read through once. UTF-16 and UTF-32 become UTF-8, a byte order
    /// mark is dropped, NUL bytes become spaces, as in [`read_text`](super::files::read_text). `watch` is
    /// told how many bytes of it were read. A pipe is read to its end.
    ///
    /// # Errors
    /// The file can't be read, or is no text; a device that does not end within 1 GiB; no room for a
    /// copy; `watch` stopped it. The texts are as before.
    pub fn add(&mut self, path: impl AsRef<Path>, watch: Watch<'_>) -> Result<u64> {
        let path = path.as_ref().to_path_buf();
        let file = File::open(&path).map_err(Error::io(&path))?;
        let ordinary = file.metadata().map_err(Error::io(&path))?.is_file();
        let copy = if ordinary { None } else { Some(self.copy(&path, file, watch)?) };
        let mut document = Document { path, copy, bytes: u64::MAX };
        let mut hasher = self.hasher.clone();
        let mut reader = Reader::open(&document)?;
        let (mut bytes, mut text) = (0, Vec::new());
        while reader.more(&mut text, COPY)? {
            bytes += text.len() as u64;
            hasher.update(&text);
            text.clear();
            tell(watch, bytes)?;
        }
        document.bytes = bytes;
        hasher.update(&bytes.to_le_bytes());
        self.documents.try_reserve(1).map_err(|_| {
            Error::memory(
                "the names of texts",
                self.documents.len().saturating_mul(size_of::<Document>()),
            )
        })?;
        self.documents.push(document);
        self.hasher = hasher;
        self.bytes += bytes;
        Ok(bytes)
    }

    /// What `from` holds, in a file that vanishes with its last user.
    fn copy(&self, path: &Path, mut from: File, watch: Watch<'_>) -> Result<File> {
        use std::os::unix::fs::FileTypeExt;
        let kind = from.metadata().map_err(Error::io(path))?.file_type();
        if kind.is_dir() {
            return Err(Error::io(path)(io::ErrorKind::IsADirectory.into()));
        }
        // Other devices may never end.
        let limit = if kind.is_fifo() || kind.is_socket() { u64::MAX } else { MAX_TEXT_BYTES };
        let mut copy = tempfile::tempfile_in(&self.scratch).map_err(Error::io(&self.scratch))?;
        let mut buffer = vec![0; COPY];
        let mut bytes = 0;
        loop {
            let count = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::io(path)(error)),
            };
            bytes += count as u64;
            if bytes > limit {
                let way = "a device may never end; what it holds can come through a pipe";
                return Err(Error::file(path, format!("is longer than {limit} bytes: {way}")));
            }
            copy.write_all(&buffer[..count]).map_err(Error::io(&self.scratch))?;
            tell(watch, 0)?;
        }
        copy.rewind().map_err(Error::io(&self.scratch))?;
        Ok(copy)
    }

    /// How many texts there are.
    pub fn documents(&self) -> u64 {
        self.documents.len() as u64
    }

    /// Bytes of all texts together, as UTF-8.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// CRC-32 of all texts and their lengths.
    pub fn checksum(&self) -> u32 {
        self.hasher.clone().finalize()
    }

    /// The parts of the texts that a range of all bytes holds. A border inside of a UTF-8 character
    /// moves to its beginning.
    fn parts(&self, range: &Range<u64>) -> Result<Vec<Part>> {
        let (mut parts, mut begin) = (Vec::new(), 0u64);
        for (document, d) in self.documents.iter().enumerate() {
            let end = begin.saturating_add(d.bytes);
            let border = |at: u64| match at.clamp(begin, end) - begin {
                inside if inside > 0 && inside < d.bytes => character_start(d, inside),
                outside => Ok(outside),
            };
            let (from, to) = (border(range.start)?, border(range.end)?);
            if from < to {
                parts.push(Part { document, from, to });
            }
            begin = end;
        }
        Ok(parts)
    }

    /// Where the UTF-8 character begins that holds byte `at` of all bytes; behind the last one, their
    /// number.
    ///
    /// # Errors
    /// A text can't be read.
    pub fn character_at(&self, at: u64) -> Result<u64> {
        let mut begin = 0u64;
        for document in &self.documents {
            let end = begin.saturating_add(document.bytes);
            if begin < at && at < end {
                return Ok(begin + character_start(document, at - begin)?);
            }
            begin = end;
        }
        Ok(at.min(self.bytes))
    }

    /// The pieces of a range of all bytes, text by text.
    ///
    /// # Errors
    /// A text can't be read.
    pub fn pieces(&self, range: Range<u64>) -> Result<Pieces<'_>> {
        Ok(Pieces::new(self, self.parts(&range)?, None))
    }

    /// The pieces of a range of all bytes as of one text, with a line end between two texts: what a
    /// tokenizer is learnt from.
    ///
    /// # Errors
    /// A text can't be read.
    pub fn joined(&self, range: Range<u64>) -> Result<Pieces<'_>> {
        Ok(Pieces::new(self, self.parts(&range)?, Some(b'\n')))
    }
}

/// Where the character that byte `at` belongs to begins.
fn character_start(document: &Document, at: u64) -> Result<u64> {
    const BACK: u64 = 1 << 16;
    let from = at.saturating_sub(BACK);
    let mut reader = Reader::open(document)?;
    reader.skip(from)?;
    let mut text = Vec::new();
    let wanted = (at - from) as usize + 1;
    while text.len() < wanted && reader.more(&mut text, wanted)? {}
    let inside = |i: &usize| text.get(*i).is_some_and(|byte| byte & 0xC0 == 0x80);
    let mut start = wanted - 1;
    while start > 0 && inside(&start) {
        start -= 1;
    }
    Ok(from + start as u64)
}

#[cfg(test)]
mod tests;
