//! Texts in pieces that fit into memory.

use super::reader::Reader;
use super::{Part, Texts};
use crate::error::{Error, Result};
use crate::limits::max_document_bytes;
use cllm_kernels::memory::reserve;

/// Some of a text.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'p> {
    /// Its bytes.
    pub text: &'p [u8],
    /// Whether a text, or the part of it that was asked for, begins here.
    pub first: bool,
}

/// Walks over texts in pieces, which are cut where the caller allows it.
pub struct Pieces<'t> {
    texts: &'t Texts,
    parts: std::vec::IntoIter<Part>,
    /// What stands between two parts, where they are one text.
    between: Option<u8>,
    reader: Option<Reader>,
    /// Whether a part was.
    begun: bool,
    /// Bytes of the part that were not read.
    left: u64,
    buffer: Vec<u8>,
    used: usize,
    first: bool,
}

impl<'t> Pieces<'t> {
    pub(super) fn new(texts: &'t Texts, parts: Vec<Part>, between: Option<u8>) -> Self {
        let (parts, buffer) = (parts.into_iter(), Vec::new());
        let (reader, begun) = (None, false);
        Self { texts, parts, between, reader, begun, left: 0, buffer, used: 0, first: true }
    }

    /// The next piece; `None` at the end. `last_cut` says where the beginning of a longer text can be
    /// cut: [`last_cut`](crate::text::bpe::last_cut), [`Bpe::last_cut`](crate::text::Bpe::last_cut).
    ///
    /// # Errors
    /// A text can't be read, has changed, or has so long a stretch without a cut that memory does not
    /// hold it.
    pub fn next(&mut self, last_cut: impl Fn(&[u8]) -> Option<usize>) -> Result<Option<Piece<'_>>> {
        self.buffer.drain(..self.used);
        self.used = 0;
        let mut size = self.texts.piece;
        let first = self.first;
        loop {
            let ended = self.fill(size)?;
            if ended {
                self.used = self.buffer.len();
                self.first = true;
                break;
            }
            if let Some(cut) = last_cut(&self.buffer).filter(|&cut| cut > 0) {
                self.used = cut.min(self.buffer.len());
                self.first = false;
                break;
            }
            size = size.saturating_mul(2);
            let most = max_document_bytes() / 2;
            if size as u64 > most {
                let problem = format!(
                    "a stretch of {} bytes of text has no place where the tokenizer could cut it, such as \
                     a space behind a letter: more than {most} bytes are not held in memory; \
                     break its lines, or take bytes as tokens",
                    self.buffer.len()
                );
                return Err(Error::state(problem));
            }
        }
        let text = &self.buffer[..self.used];
        Ok(Some(Piece { text, first }).filter(|piece| !piece.text.is_empty()))
    }

    /// [`next`](Self::next) for who works on a piece while the one after it is read: puts its bytes in
    /// the place of those of `text`, none at the end, and says whether a text begins there.
    pub(super) fn next_into(
        &mut self,
        text: &mut Vec<u8>,
        last_cut: impl Fn(&[u8]) -> Option<usize>,
    ) -> Result<bool> {
        let first = self.next(last_cut)?.is_some_and(|piece| piece.first);
        text.clear();
        let rest = &self.buffer[self.used..];
        reserve("a piece of a text", text, rest.len())?;
        text.extend_from_slice(rest);
        std::mem::swap(text, &mut self.buffer);
        text.truncate(self.used);
        self.used = 0;
        Ok(first)
    }

    /// Reads until `size` bytes are there; true where the text ends before that.
    fn fill(&mut self, size: usize) -> Result<bool> {
        while self.buffer.len() < size {
            if self.reader.is_none() {
                // Texts that are not joined have pieces of their own.
                if !self.buffer.is_empty() && self.between.is_none() {
                    return Ok(true);
                }
                let Some(part) = self.parts.next() else { return Ok(true) };
                if std::mem::replace(&mut self.begun, true) {
                    self.buffer.extend(self.between);
                }
                let mut reader = Reader::open(&self.texts.documents[part.document])?;
                reader.skip(part.from)?;
                (self.reader, self.left) = (Some(reader), part.to - part.from);
            }
            let Some(reader) = &mut self.reader else { return Ok(true) };
            let before = self.buffer.len();
            let most = (size - before).min(usize::try_from(self.left).unwrap_or(usize::MAX));
            reserve("a piece of a text", &mut self.buffer, size)?;
            let more = reader.more(&mut self.buffer, most.max(4))?;
            let got = (self.buffer.len() - before) as u64;
            let taken = got.min(self.left);
            self.buffer.truncate(before + taken as usize);
            self.left -= taken;
            if self.left == 0 || !more {
                self.reader = None;
                if self.between.is_none() {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}
