//! One text, read from its beginning or from anywhere.

use super::Document;
use crate::error::{Error, Result};
use crate::text::decode::{self, Decoder, Encoding};
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// How far into a file its encoding is looked for.
const PROBE: usize = 8192;

/// A text as UTF-8, read piece by piece.
pub(super) struct Reader {
    path: PathBuf,
    file: File,
    decoder: Decoder,
    encoding: Encoding,
    place: u64,
    /// Bytes of the text that were given out or skipped, and all that it had when it was added.
    done: u64,
    all: u64,
    ended: bool,
    raw: Vec<u8>,
}

impl Reader {
    pub(super) fn open(document: &Document) -> Result<Self> {
        let path = document.path.clone();
        let io = |error| Error::io(&document.path)(error);
        let file = match &document.copy {
            Some(copy) => copy.try_clone().map_err(io)?,
            None => File::open(&path).map_err(io)?,
        };
        let mut head = [0; PROBE];
        let mut known = 0;
        while known < PROBE {
            match file.read_at(&mut head[known..], known as u64) {
                Ok(0) => break,
                Ok(count) => known += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(io(error)),
            }
        }
        let encoding = decode::encoding(&head[..known]);
        let (place, done, all) = (0, 0, document.bytes);
        let decoder = Decoder::new(encoding);
        Ok(Self { path, file, decoder, encoding, place, done, all, ended: false, raw: Vec::new() })
    }

    /// Appends some more of the text, of about `size` bytes of its file; false at its end.
    pub(super) fn more(&mut self, text: &mut Vec<u8>, size: usize) -> Result<bool> {
        let before = text.len();
        while !self.ended && text.len() == before && self.done < self.all {
            self.raw.resize(size.max(1), 0);
            let count = match self.file.read_at(&mut self.raw, self.place) {
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::io(&self.path)(error)),
            };
            self.place += count as u64;
            self.ended = count == 0;
            // Whether it is a text was found out when it was added.
            let last = self.ended && self.all == u64::MAX;
            let decoded = self.decoder.push(&self.raw[..count], last, text);
            decoded.map_err(|problem| Error::file(&self.path, problem))?;
        }
        // A file that grows has not more text than when it was added.
        let left = usize::try_from(self.all - self.done).unwrap_or(usize::MAX);
        text.truncate(before.saturating_add(left));
        text[before..].iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = b' ');
        self.done += (text.len() - before) as u64;
        if self.ended && self.all != u64::MAX && self.done < self.all {
            let (was, is) = (self.all, self.done);
            let problem = format!("had {was} bytes of text, and now has {is}: it was changed");
            return Err(Error::file(&self.path, problem));
        }
        Ok(text.len() > before)
    }

    /// Goes `bytes` bytes of the text further, from its beginning.
    pub(super) fn skip(&mut self, bytes: u64) -> Result<()> {
        let mark = match self.encoding {
            Encoding::Bytes => Some(0),
            Encoding::Utf8Mark => Some(3),
            Encoding::Utf16(_) | Encoding::Utf32(_) => None,
        };
        if let Some(mark) = mark {
            self.decoder = Decoder::new(Encoding::Bytes);
            (self.place, self.done) = (mark + bytes, bytes);
            return Ok(());
        }
        let mut text = Vec::new();
        while self.done < bytes {
            text.clear();
            // So little that it does not go too far: 2 bytes of UTF-16 are at most 3 here, 4 of UTF-32 at
            // most 4; at the end one character after the other.
            let unit = if matches!(self.encoding, Encoding::Utf16(_)) { 2 } else { 4 };
            let size = (((bytes - self.done) / 2).min(1 << 16) as usize / unit * unit).max(unit);
            if !self.more(&mut text, size)? {
                break;
            }
        }
        Ok(())
    }
}
