//! Texts to a file of ids.

use super::parts::{LastCut, work_on};
use super::{Texts, Watch};
use crate::error::{Error, Result};
use crate::text::split::is_blank;
use crate::text::{Origin, TokenFile, TokenWriter, Tokenizer};
use cllm_kernels::Pool;
use std::ops::Range;
use std::path::Path;

/// Bytes that one thread encodes at a time.
const PART: usize = 1 << 18;

impl Tokenizer {
    /// The last place in `text`, the beginning of a longer one, where it can be cut: the ids of the two
    /// parts, one after the other, are those of the whole, whatever follows. `None` where there is none.
    pub fn last_cut(&self, text: &[u8]) -> Option<usize> {
        match self {
            Self::Subwords(bpe) => bpe.last_cut(text),
            Self::Words(_) => text.iter().rposition(|&byte| is_blank(byte)),
        }
    }

    /// A CRC-32 by which another tokenizer is told.
    pub fn checksum(&self) -> u32 {
        match self {
            Self::Subwords(bpe) => crc32fast::hash(&bpe.to_bytes()),
            Self::Words(words) => {
                crate::train::checkpoint::words_checksum(words.iter().map(|(word, _)| word))
            }
        }
    }
}

impl Texts {
    /// Writes the ids of a range of all bytes to the file at `path`, with the end token between two texts
    /// where the tokens are subwords. Texts are read and encoded in pieces, by all threads of `pool`; the
    /// ids are the same for any number of threads and any size of the pieces: those of
    /// [`Tokenizer::encode`]. `watch` is told how many bytes are done.
    ///
    /// The file appears when it is whole. One that stands there already and was made of the same texts by
    /// the same tokenizer is read through and taken as it is: the second value is then true.
    ///
    /// # Errors
    /// As [`Pieces::next`](super::Pieces::next) and [`TokenWriter`]; `watch` stopped it. What stood at
    /// `path` before is then still there.
    pub fn encode(
        &self,
        range: Range<u64>,
        tokenizer: &Tokenizer,
        pool: &Pool,
        path: &Path,
        watch: Watch<'_>,
    ) -> Result<(TokenFile, bool)> {
        let coder = Coder {
            checksum: tokenizer.checksum(),
            end: match tokenizer {
                Tokenizer::Subwords(bpe) => bpe.end(),
                Tokenizer::Words(_) => None,
            },
            last_cut: &|text| tokenizer.last_cut(text),
            encode: &|part| tokenizer.encode_in(part, false, &Pool::serial()),
        };
        self.encode_by(range, &coder, pool, path, watch)
    }

    /// [`encode`](Self::encode), with any rule.
    pub(super) fn encode_by(
        &self,
        range: Range<u64>,
        coder: &Coder<'_>,
        pool: &Pool,
        path: &Path,
        watch: Watch<'_>,
    ) -> Result<(TokenFile, bool)> {
        let origin = Origin {
            tokenizer: coder.checksum,
            text: self.checksum(),
            documents: self.documents(),
            bytes: self.bytes(),
            from: range.start,
            to: range.end,
        };
        if let Some(there) = made_of(path, &origin) {
            return Ok((there, true));
        }
        let mut writer = TokenWriter::create(path)?;
        let mut begun = false;
        let mut take = |first: bool, ids: Vec<u32>| {
            if first && begun {
                writer.push(coder.end.as_slice())?;
            }
            begun = true;
            writer.push(&ids)
        };
        let pieces = self.pieces(range)?;
        work_on(pieces, PART, pool, coder.last_cut, coder.encode, &mut take, watch)?;
        writer.finish(Some(origin)).map(|file| (file, false))
    }
}

/// How texts become ids.
pub(super) struct Coder<'c> {
    /// By which another one is told.
    pub(super) checksum: u32,
    /// What stands between two texts.
    pub(super) end: Option<u32>,
    pub(super) last_cut: LastCut<'c>,
    pub(super) encode: &'c (dyn Fn(&[u8]) -> Result<Vec<u32>> + Sync),
}

/// The file at `path`, if it is whole and was made of `origin`.
fn made_of(path: &Path, origin: &Origin) -> Option<TokenFile> {
    let file = TokenFile::open(path).ok()?;
    let same = file.origin() == Some(origin) && file.verify().is_ok();
    same.then_some(file)
}

/// Writes the ids of `new` to the file at `path`, with stretches of `length` ids of `old` in between, spread
/// evenly over both, so that `share` of all are old ones, as far as there are so many. Returns the file and
/// how many ids of it are old.
///
/// # Errors
/// `share` is not from 0 to below 1; `length` is 0; as [`TokenWriter`] and [`TokenFile::read`].
pub fn mix(
    new: &TokenFile,
    old: &TokenFile,
    share: f64,
    length: usize,
    path: &Path,
) -> Result<(TokenFile, usize)> {
    if !(0.0..1.0).contains(&share) {
        return Err(Error::argument("share", share, "0 to below 1"));
    }
    if length == 0 {
        return Err(Error::argument("length", 0, "1 or more"));
    }
    let wanted = (new.len() as f64 * share / (1.0 - share)) as usize;
    let piece = length.min(old.len());
    let times = |tokens: usize| tokens.checked_div(piece).unwrap_or(0);
    let count = times(wanted).min(times(old.len()));
    let mut writer = TokenWriter::create(path)?;
    let mut from = 0;
    for i in 0..=count {
        let to = if i == count {
            new.len()
        } else {
            (new.len() as f64 * (i + 1) as f64 / (count + 1) as f64) as usize
        };
        writer.push_from(new, from, to - from)?;
        from = to;
        if i < count {
            // The first stretch begins where the old text does, the last one ends where it ends.
            let room = old.len() - piece;
            let at = match count {
                1 => room / 2,
                _ => (room as f64 * i as f64 / (count - 1) as f64) as usize,
            };
            writer.push_from(old, at.min(room), piece)?;
        }
    }
    Ok((writer.finish(None)?, count * piece))
}
