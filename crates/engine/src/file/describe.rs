//! What is in a model file, whether it is whole or damaged: read part by part, past the damage.

use super::header::{Extension, HEADER_BYTES, Header, MAGIC};
use super::section::{self, FRAME_BYTES, Frame};
use super::{Extras, Problem, Reader, Values};
use crate::error::{Error, Result};
use crate::model::{Architecture, TrainingRecord};
use crate::text::{Bpe, Kind, Tokenizer, WordList};
use cllm_kernels::memory::filled;
use crc32fast::Hasher;
use std::borrow::Cow;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Bytes read at a time, and the longest word that is shown.
const CHUNK: usize = 1 << 20;
/// Parts that are listed; no file of the library has a fourth of them.
const MOST_PARTS: usize = 64;

/// Whether the bytes of a part are those that were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Integrity {
    /// There is no checksum.
    Unchecked,
    /// The checksum is right.
    Whole,
    /// The checksum is wrong.
    Damaged,
    /// The file ends before the part does.
    CutShort,
}

/// One part of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePart {
    /// `header`, `body`, or the four characters of a section, `?` for those that can't be printed.
    pub name: String,
    /// What such a part holds; of the architecture, what that is.
    pub content: Cow<'static, str>,
    /// Where it begins in the file.
    pub offset: u64,
    /// Its length, as the file states it.
    pub bytes: u64,
    /// Whether it is whole.
    pub integrity: Integrity,
}

/// What is in a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Description {
    /// Length of the file.
    pub bytes: u64,
    /// Whether it has an extension, as this library writes it; the original library has none.
    pub extended: bool,
    /// The header as it stands there; `None` where the file is shorter than one.
    pub header: Option<Header>,
    /// In the order of the file, as far as they were found.
    pub parts: Vec<FilePart>,
    /// What the blocks compute; `None` where the file does not say, as one of the original block
    /// does not, or where that part is damaged.
    pub architecture: Option<Architecture>,
    /// The training metadata; `None` where the file has none, only zeros, or damaged ones.
    pub training: Option<TrainingRecord>,
    /// What its tokens are; `None` where the file does not say, or that part is damaged.
    pub kind: Option<Kind>,
    /// The first words, as far as they can be read; of subwords the first tokens, as
    /// [`Tokenizer::shown`] has them.
    pub words: WordList,
    /// How many words or subwords there are, by what the file says.
    pub num_words: u64,
    /// The trained values of the model, whatever they are held in: [`ModelShape::trained`](crate::model::ModelShape::trained). `None` where the
    /// file does not say its sizes any more.
    pub parameters: Option<u64>,
    /// Bytes of text that a token stands for, by how often each was met in the text it was made for. `None`
    /// where the file does not say: of words, which leave out the words that they don't know; of a tokenizer
    /// that has met nothing; of a damaged file.
    pub bytes_per_token: Option<f64>,
    /// What is wrong with the file: one sentence each. None: [`Model::read`](crate::Model::read)
    /// reads it.
    pub problems: Vec<String>,
}

/// Describes the model file at `path`, damaged or not, with at most `words` of its words.
///
/// # Errors
/// The file can't be read; it is no model file at all; no memory.
pub fn describe(path: &Path, words: usize) -> Result<Description> {
    let (file, len) = super::open(path)?;
    let mut inspector = Inspector {
        file,
        most_words: words,
        buffer: filled("a file buffer", CHUNK)?,
        found: Description { bytes: len, ..Description::default() },
        not_finite: None,
    };
    inspector.run(path).map_err(Problem::at(path))?;
    let mut found = inspector.found;
    if let Ok(reader) = Reader::open(&mut inspector.file, len) {
        found.parameters = Some(reader.model_shape().trained());
    }
    if let Some((count, first)) = inspector.not_finite {
        found
            .problems
            .push(format!("body: {count} weights are NaN or infinite, the first at byte {first}"));
    } else if found.problems.is_empty() {
        match read(&mut inspector.file, len) {
            Ok(extras) => found.bytes_per_token = bytes_per_token(&extras),
            // What can't be seen part by part.
            Err(problem) => found.problems.push(format!("not a model: {problem}")),
        }
    }
    Ok(found)
}

/// What a reader takes from the file, without the weights.
fn read(file: &mut File, len: u64) -> Result<Extras, Problem> {
    Reader::open(file, len)?.read(&mut (), Values::Finite)
}

fn bytes_per_token(extras: &Extras) -> Option<f64> {
    let subwords = extras.subwords.as_ref()?;
    let (mut tokens, mut bytes) = (0.0, 0.0);
    for (id, record) in (0..).zip(&extras.tokens) {
        if !subwords.is_special(id) {
            tokens += f64::from(record.frequency);
            bytes += f64::from(record.frequency) * subwords.token(id).map_or(0, <[u8]>::len) as f64;
        }
    }
    Some(bytes / tokens).filter(|mean| mean.is_finite() && *mean > 0.0)
}

struct Inspector {
    file: File,
    most_words: usize,
    buffer: Vec<u8>,
    found: Description,
    /// How many weights of the body are not finite, and where the first is.
    not_finite: Option<(u64, u64)>,
}

impl Inspector {
    fn run(&mut self, path: &Path) -> Result<(), Problem> {
        let mut bytes = [0; HEADER_BYTES];
        let there = self.found.bytes.min(HEADER_BYTES as u64) as usize;
        let read = self.read_at(0, &mut bytes[..there])?;
        if !read || !bytes.starts_with(MAGIC) {
            return Err(Problem::Other(Error::file(path, "not a model file")));
        }
        if there < HEADER_BYTES {
            self.add("header".into(), 0, HEADER_BYTES as u64, Integrity::CutShort);
            return Ok(());
        }
        let (header, reserved) = Header::fields(&bytes)?;
        let body = HEADER_BYTES as u64;
        self.found.header = Some(header);
        let Some((extension, whole)) = Extension::claimed(&bytes, reserved)? else {
            self.add("header".into(), 0, body, Integrity::Unchecked);
            if reserved.iter().any(|&byte| byte != 0) {
                self.problem(
                    "header: bytes 1384 to 1575 are neither empty nor those of this library",
                );
            }
            return self.examine("body".into(), body, self.found.bytes - body, None).map(drop);
        };
        self.found.extended = true;
        let integrity = if whole { Integrity::Whole } else { Integrity::Damaged };
        self.add("header".into(), 0, body, integrity);
        let start = extension.offset;
        if start < body || i64::try_from(start).is_err() {
            self.problem(&format!("header: the sections can't begin at byte {start}"));
            return Ok(());
        }
        self.examine("body".into(), body, start - body, Some(extension.body_crc))?;
        self.sections(&extension)
    }

    fn problem(&mut self, text: &str) {
        self.found.problems.push(text.into());
    }

    /// Lists a part, and its damage as a problem.
    fn add(&mut self, name: String, offset: u64, bytes: u64, integrity: Integrity) {
        match integrity {
            Integrity::Damaged => self.problem(&format!(
                "{name}: damaged somewhere in bytes {offset} to {}: its checksum does not match",
                (offset + bytes).saturating_sub(1)
            )),
            Integrity::CutShort => self.problem(&format!(
                "{name}: should have {bytes} bytes from {offset} on, the file ends at {}",
                self.found.bytes
            )),
            Integrity::Unchecked | Integrity::Whole => {}
        }
        let content = content(&name).into();
        self.found.parts.push(FilePart { name, content, offset, bytes, integrity });
    }

    /// Reads a part through and lists it.
    fn examine(
        &mut self,
        name: String,
        offset: u64,
        bytes: u64,
        crc: Option<u32>,
    ) -> Result<Integrity, Problem> {
        if offset.checked_add(bytes).is_none_or(|end| end > self.found.bytes) {
            self.add(name, offset, bytes, Integrity::CutShort);
            return Ok(Integrity::CutShort);
        }
        self.file.seek(SeekFrom::Start(offset))?;
        let mut hasher = Hasher::new();
        let mut done = 0;
        while done < bytes {
            let n = (bytes - done).min(self.buffer.len() as u64) as usize;
            let chunk = self.buffer.get_mut(..n).unwrap_or_default();
            self.file.read_exact(chunk)?;
            hasher.update(chunk);
            if name == "body" {
                for (i, four) in (0..).zip(chunk.chunks_exact(4)) {
                    if !f32::from_le_bytes([four[0], four[1], four[2], four[3]]).is_finite() {
                        let first = offset + done + 4 * i;
                        let (count, first) = self.not_finite.unwrap_or((0, first));
                        self.not_finite = Some((count + 1, first));
                    }
                }
            }
            done += n as u64;
        }
        let integrity = match crc {
            None => Integrity::Unchecked,
            Some(crc) if crc == hasher.finalize() => Integrity::Whole,
            Some(_) => Integrity::Damaged,
        };
        self.add(name, offset, bytes, integrity);
        Ok(integrity)
    }

    /// Fills `bytes` from `offset` on; false if the file ends before.
    fn read_at(&mut self, offset: u64, bytes: &mut [u8]) -> Result<bool, Problem> {
        let end = offset.checked_add(bytes.len() as u64);
        if end.is_none_or(|end| end > self.found.bytes) {
            return Ok(false);
        }
        self.file.seek(SeekFrom::Start(offset))?;
        self.file.read_exact(bytes)?;
        Ok(true)
    }

    fn sections(&mut self, extension: &Extension) -> Result<(), Problem> {
        let mut offset = extension.offset;
        let count = extension.sections;
        for number in 1..=count {
            let mut bytes = [0; FRAME_BYTES];
            if !self.read_at(offset, &mut bytes)? {
                self.problem(&format!(
                    "section {number} of {count} should begin at byte {offset}, the file ends at {}",
                    self.found.bytes
                ));
                return Ok(());
            }
            let Ok(frame) = Frame::parse(&bytes, offset) else {
                self.problem(&format!(
                    "the head of section {number} is damaged, in bytes {offset} to {}: what \
                     follows can't be found",
                    offset + FRAME_BYTES as u64 - 1
                ));
                return Ok(());
            };
            if self.found.parts.len() >= MOST_PARTS {
                self.problem(&format!("more than {} sections", MOST_PARTS - 2));
                return Ok(());
            }
            let start = offset + FRAME_BYTES as u64;
            let integrity =
                self.examine(printable(&frame), start, frame.length, Some(frame.crc))?;
            match frame.tag {
                section::WORDS => self.words(start, frame.length)?,
                section::SUBWORDS if integrity == Integrity::Whole => {
                    self.subwords(start, frame.length)?;
                }
                section::TRAINING if integrity == Integrity::Whole => {
                    self.training(start, frame.length)?;
                }
                section::ARCHITECTURE if integrity == Integrity::Whole => {
                    self.architecture(start, frame.length)?;
                }
                _ => {}
            }
            if integrity == Integrity::CutShort {
                return Ok(());
            }
            offset = start + frame.length;
        }
        if offset != self.found.bytes {
            self.problem(&format!(
                "the sections end at byte {offset}, the file at {}",
                self.found.bytes
            ));
        }
        Ok(())
    }

    /// The words at the head of a section, as far as they are there. A second such section counts
    /// for nothing.
    fn words(&mut self, start: u64, len: u64) -> Result<(), Problem> {
        let mut four = [0; 4];
        let read_before = self.found.num_words > 0 || !self.found.words.is_empty();
        if read_before || len < 4 || !self.read_at(start, &mut four)? {
            return Ok(());
        }
        self.found.num_words = u64::from(u32::from_le_bytes(four));
        self.found.kind = Some(Kind::Words);
        let end = start.saturating_add(len);
        let mut at = start + 4;
        let most = self.found.num_words.min(self.most_words as u64);
        for _ in 0..most {
            if at + 4 > end || !self.read_at(at, &mut four)? {
                break;
            }
            let len = u64::from(u32::from_le_bytes(four));
            at += 4;
            if len > end - at || len > CHUNK as u64 {
                break;
            }
            let mut word = filled("a word", len as usize)?;
            if !self.read_at(at, &mut word)? {
                break;
            }
            self.found.words.push(&word)?;
            at += len;
        }
        Ok(())
    }

    /// The first tokens of a whole section. What is wrong with its content, the reader says.
    fn subwords(&mut self, start: u64, len: u64) -> Result<(), Problem> {
        if self.found.kind.is_some() {
            return Ok(());
        }
        let mut payload =
            filled("a section of the file", usize::try_from(len).unwrap_or(usize::MAX))?;
        if !self.read_at(start, &mut payload)? {
            return Ok(());
        }
        let Ok(bpe) = Bpe::from_bytes(&payload) else { return Ok(()) };
        let tokenizer = Tokenizer::from(bpe);
        self.found.kind = Some(tokenizer.kind());
        self.found.num_words = tokenizer.len() as u64;
        for id in (0..tokenizer.len() as u32).take(self.most_words) {
            self.found.words.push(tokenizer.shown(id).unwrap_or_default().as_bytes())?;
        }
        Ok(())
    }

    fn architecture(&mut self, start: u64, len: u64) -> Result<(), Problem> {
        let mut payload = filled("a section of the file", len.min(CHUNK as u64) as usize)?;
        if self.read_at(start, &mut payload)? {
            self.found.architecture = Architecture::parse(&payload).ok();
        }
        if let (Some(architecture), Some(part)) =
            (self.found.architecture, self.found.parts.last_mut())
        {
            part.content = architecture.to_string().into();
        }
        Ok(())
    }

    fn training(&mut self, start: u64, len: u64) -> Result<(), Problem> {
        if len > CHUNK as u64 {
            return Ok(());
        }
        let mut payload = filled("a section of the file", len as usize)?;
        if self.read_at(start, &mut payload)?
            && let Ok(record) = TrainingRecord::parse(&payload)
        {
            let blank = TrainingRecord { reserved: record.reserved, ..TrainingRecord::default() };
            self.found.training = (record != blank).then_some(record);
        }
        Ok(())
    }
}

/// The tag of a section, fit to be printed.
fn printable(frame: &Frame) -> String {
    let shown = |&byte: &u8| if byte.is_ascii_graphic() { char::from(byte) } else { '?' };
    frame.tag.iter().map(shown).collect()
}

fn content(name: &str) -> &'static str {
    const CONTENTS: [(&[u8], &str); 15] = [
        (b"header", "sizes, name, times"),
        (b"body", "weight matrices"),
        (&section::SHAPE, "sizes of the layers"),
        (&section::ARCHITECTURE, "what the blocks compute"),
        (&section::INT8, "weight matrices in 8 bits"),
        (&section::LATER, "more weights"),
        (&section::NORMS, "layer norms"),
        (&section::POSITIONS, "positions"),
        (&section::TRANSFORMS, "lattice transforms"),
        (&section::WORDS, "words"),
        (&section::TOKENIZER, "how text is split"),
        (&section::SUBWORDS, "subwords"),
        (&section::TOKENS, "numbers of the words"),
        (&section::POINTS, "lattice points"),
        (&section::TRAINING, "training"),
    ];
    let known = CONTENTS.iter().find(|(tag, _)| *tag == name.as_bytes());
    known.map_or("unknown", |(_, content)| content)
}
