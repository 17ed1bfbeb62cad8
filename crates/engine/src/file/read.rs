//! Reading a model file: sizes first, so that the caller can make room, then every value in one
//! pass, straight to where it belongs.

use super::bytes::bytes_to_floats;
use super::extras::{self, Extras};
use super::header::{EXTENSION_VERSION_INT8, Extension, HEADER_BYTES, Header};
use super::section::{self, CRITICAL, FRAME_BYTES, Frame, Tag};
use super::sizes::{self, Entry, floats};
use super::{Problem, int8, v1};
use crate::error::Error;
use crate::model::{Architecture, ModelShape, NormShape, Precision, TensorName, TrainingRecord};
use crate::text::WordList;
use cllm_kernels::int8::Matrix;
use crc32fast::Hasher;
use std::io::{ErrorKind, Read, Seek, SeekFrom};

/// Bytes read from the file at a time.
const CHUNK: usize = 256 * 1024;

/// Where the values of a file go.
pub trait Destination {
    /// The memory for a tensor, exactly as long as its entry; `None`: its values aren't wanted.
    fn slot(&mut self, entry: &Entry) -> Option<&mut [f32]>;

    /// The same for a matrix of 8-bit weights.
    fn matrix(&mut self, _: TensorName) -> Option<&mut Matrix> {
        None
    }
}

/// For checking a file without keeping anything.
impl Destination for () {
    fn slot(&mut self, _: &Entry) -> Option<&mut [f32]> {
        None
    }
}

/// Which floats are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// NaN and infinities are an error.
    Finite,
    /// All.
    Any,
}

/// A model file whose sizes have been read and checked.
#[derive(Debug)]
pub struct Reader<R> {
    source: R,
    header: Header,
    shape: ModelShape,
    body_crc: Option<u32>,
    /// The sections after `SHAP`: where the payload starts, and the frame.
    pub(super) sections: Vec<(u64, Frame)>,
    buffer: Vec<u8>,
}

impl<R: Read + Seek> Reader<R> {
    /// Reads the sizes of a file of `len` bytes. Nothing that the file says is believed before it
    /// agrees with that length.
    pub fn open(mut source: R, len: u64) -> Result<Self, Problem> {
        if len < HEADER_BYTES as u64 {
            return Err(Problem::content(format!(
                "is {len} bytes long, less than the header of a model file ({HEADER_BYTES}): it \
                 is cut short, or not a model file"
            )));
        }
        let mut bytes = [0; HEADER_BYTES];
        source.rewind()?;
        exact(&mut source, &mut bytes)?;
        let (header, extension) = Header::parse(&bytes)?;
        let buffer = cllm_kernels::memory::filled("a file buffer", CHUNK)?;
        let Some(extension) = extension else {
            let shape = v1::shape(&header, len)?;
            return Ok(Self {
                source,
                header,
                shape,
                body_crc: None,
                sections: Vec::new(),
                buffer,
            });
        };

        if header.version != 1 {
            return Err(Problem::content(format!(
                "the header states version {} (byte 8); files with an extension have version 1",
                header.version
            )));
        }
        let mut sections = frames(&mut source, &extension, len)?;
        let first = sections.first().filter(|(_, f)| f.tag == section::SHAPE);
        let &(offset, frame) = first.ok_or_else(|| {
            Problem::content("the extension does not start with the section SHAP")
        })?;
        sections.remove(0);
        let payload = payload(&mut source, offset, &frame)?;
        let mut shape = ModelShape::parse(&payload, &header)?;
        if let Some(&(offset, frame)) =
            sections.iter().find(|(_, f)| f.tag == section::ARCHITECTURE)
        {
            let payload = self::payload(&mut source, offset, &frame)?;
            shape.architecture = Architecture::parse(&payload)?;
            let checked = shape.check_for_file();
            checked.map_err(|e| Problem::content(format!("section ARCH: {e}")))?;
        }
        if let Some(&(offset, frame)) = sections.iter().find(|(_, f)| f.tag == section::INT8) {
            int8::check_head(&mut source, offset, &frame)?;
            shape.precision = Precision::Int8;
        }
        if (extension.version == EXTENSION_VERSION_INT8) != (shape.precision == Precision::Int8) {
            return Err(Problem::content(
                "the version of the extension (byte 1392) and the section INT8 contradict each other",
            ));
        }
        let body = HEADER_BYTES as u64 + 4 * floats(&sizes::body(&shape, false)) as u64;
        if body != extension.offset {
            return Err(Problem::content(format!(
                "the weights end at byte {body} by their sizes, at byte {} by the header",
                extension.offset
            )));
        }
        if shape.max_length > 0 && shape.max_length as u64 != u64::from(header.context_length) {
            return Err(Problem::content(format!(
                "section SHAP is about {} positions, the header about {}",
                shape.max_length, header.context_length
            )));
        }
        let reader =
            Self { source, header, shape, body_crc: Some(extension.body_crc), sections, buffer };
        reader.check_sections()?;
        Ok(reader)
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The sizes of what is in the file.
    pub fn shape(&self) -> &ModelShape {
        &self.shape
    }

    /// The sizes of the model that the file makes: files of the original have no norms, their models
    /// have, with gamma 1 and beta 0.
    pub fn model_shape(&self) -> ModelShape {
        let mut shape = self.shape.clone();
        if !self.has_extension() {
            shape.norms.fill(NormShape::FULL);
        }
        shape
    }

    /// Whether this is a file with an extension, all of it under checksums.
    pub fn has_extension(&self) -> bool {
        self.body_crc.is_some()
    }

    /// Which sections there are, whether each fits the sizes, and whether one is missing.
    fn check_sections(&self) -> Result<(), Problem> {
        let mut seen: Vec<Tag> = vec![section::SHAPE];
        for (offset, frame) in &self.sections {
            let known = KNOWN.contains(&frame.tag);
            if known && seen.contains(&frame.tag) {
                return Err(Problem::content(format!(
                    "section {} stands twice, at byte {offset} again",
                    frame.name()
                )));
            }
            if !known && frame.flags & CRITICAL != 0 {
                return Err(Problem::content(format!(
                    "section {} at byte {offset} is needed to understand the model, and this \
                     version of the library does not know it",
                    frame.name()
                )));
            }
            if known {
                seen.push(frame.tag);
            }
        }
        if seen.contains(&section::SUBWORDS) && seen.contains(&section::WORDS) {
            return Err(Problem::content(
                "has a section WORD and a section SUBW: its tokens can't be words and subwords",
            ));
        }
        let shape = &self.shape;
        let expected = [
            (section::INT8, int8::length(shape)),
            (section::LATER, 4 * floats(&sizes::later(shape))),
            (section::NORMS, 4 * floats(&sizes::norms(shape))),
            (section::POSITIONS, 4 * floats(&sizes::tables(shape))),
            (section::TRANSFORMS, 4 * floats(&sizes::transforms(shape))),
        ];
        for (tag, bytes) in expected {
            let bytes = bytes as u64;
            let found = self.sections.iter().find(|(_, f)| f.tag == tag);
            let length = found.map_or(0, |(_, f)| f.length);
            if length != bytes {
                return Err(Problem::content(format!(
                    "section {} has {length} bytes, not the {bytes} of its sizes",
                    tag.escape_ascii()
                )));
            }
        }
        if self.header.num_lattice_points > 0 && !seen.contains(&section::POINTS) {
            return Err(Problem::content(format!(
                "the header states {} lattice points, but there is no section LATP",
                self.header.num_lattice_points
            )));
        }
        Ok(())
    }

    /// Reads all values, each into its slot, and everything else of the file. Whatever error
    /// there is, the slots hold nothing useful then.
    pub fn read(
        &mut self,
        destination: &mut dyn Destination,
        values: Values,
    ) -> Result<Extras, Problem> {
        let mut extras = Extras::default();
        let body = sizes::body(&self.shape, !self.has_extension());
        let start = HEADER_BYTES as u64;
        let crc = self.body_crc;
        self.floats("the weights", start, &body, crc, destination, values)?;
        for (offset, frame) in std::mem::take(&mut self.sections) {
            if frame.tag == section::INT8 {
                self.matrices(offset, &frame, destination, values)?;
            } else if section::FLOATS.contains(&frame.tag) {
                let entries = sizes::of_section(&self.shape, frame.tag);
                let what = format!("section {}", frame.name());
                self.floats(&what, offset, &entries, Some(frame.crc), destination, values)?;
            } else {
                self.extra(offset, &frame, &mut extras)?;
            }
        }
        Ok(extras)
    }

    /// Reads the matrices of 8-bit weights.
    fn matrices(
        &mut self,
        offset: u64,
        frame: &Frame,
        destination: &mut dyn Destination,
        values: Values,
    ) -> Result<(), Problem> {
        self.source.seek(SeekFrom::Start(offset))?;
        let mut head = [0; int8::HEAD_BYTES];
        exact(&mut self.source, &mut head)?;
        let mut crc = Hasher::new();
        crc.update(&head);
        let mut problem = None;
        for name in sizes::matrices(&self.shape) {
            let size = self.shape.matrix_size(name).unwrap_or_default();
            let mut to = destination.matrix(name);
            let mut rows = int8::Rows::new(size)?;
            while let Some(bytes) = rows.next_bytes() {
                exact(&mut self.source, bytes)?;
                crc.update(bytes);
                let found = rows.take(name, to.as_deref_mut(), values);
                problem = problem.or(found);
            }
        }
        // Damage that happens to look like a wrong value is damage first.
        check_crc("section INT8", offset, frame.length, crc, Some(frame.crc))?;
        problem.map_or(Ok(()), |text| Err(Problem::Content(text)))
    }

    /// Reads a section that holds no weights.
    pub(super) fn extra(
        &mut self,
        offset: u64,
        frame: &Frame,
        extras: &mut Extras,
    ) -> Result<(), Problem> {
        if !KNOWN.contains(&frame.tag) {
            return self.skip(offset, frame);
        }
        let bytes = payload(&mut self.source, offset, frame)?;
        let vocab = self.shape.vocab;
        match frame.tag {
            section::WORDS => extras.words = WordList::parse(&bytes, vocab)?,
            section::TOKENS => extras.tokens = extras::parse_tokens(&bytes, vocab)?,
            section::SUBWORDS => extras.subwords = Some(extras::parse_subwords(&bytes, vocab)?),
            section::POINTS => {
                extras.points = extras::parse_points(&bytes, self.header.num_lattice_points)?;
            }
            section::TRAINING => extras.training = TrainingRecord::parse(&bytes)?,
            // Read with the sizes.
            section::ARCHITECTURE => {}
            _ => extras::check_tokenizer(&bytes)?,
        }
        Ok(())
    }

    /// Passes over a section that this version does not know; its checksum must hold all the same.
    fn skip(&mut self, offset: u64, frame: &Frame) -> Result<(), Problem> {
        self.source.seek(SeekFrom::Start(offset))?;
        let mut crc = Hasher::new();
        let mut left = frame.length;
        while left > 0 {
            let n = left.min(self.buffer.len() as u64) as usize;
            let chunk = self.buffer.get_mut(..n).unwrap_or_default();
            exact(&mut self.source, chunk)?;
            crc.update(chunk);
            left -= n as u64;
        }
        let what = format!("section {}", frame.name());
        check_crc(&what, offset, frame.length, crc, Some(frame.crc))
    }

    /// Reads tensors that stand one after the other from byte `start` on.
    fn floats(
        &mut self,
        what: &str,
        start: u64,
        entries: &[Entry],
        expected: Option<u32>,
        destination: &mut dyn Destination,
        values: Values,
    ) -> Result<(), Problem> {
        self.source.seek(SeekFrom::Start(start))?;
        let mut crc = Hasher::new();
        let mut offset = start;
        let mut scratch = Vec::new();
        let mut not_finite = None;
        for entry in entries {
            let mut slot = destination.slot(entry);
            if let Some(slot) = &slot
                && slot.len() != entry.len
            {
                return Err(Problem::Other(Error::shape(format!(
                    "{}: room for {} values, the file has {}",
                    entry.name,
                    slot.len(),
                    entry.len
                ))));
            }
            let mut done = 0;
            while done < entry.len {
                let n = (entry.len - done).min(self.buffer.len() / 4);
                let bytes = self.buffer.get_mut(..4 * n).unwrap_or_default();
                exact(&mut self.source, bytes)?;
                crc.update(bytes);
                let target = slot.as_mut().and_then(|s| s.get_mut(done..done + n));
                let target = match target {
                    Some(target) => target,
                    None => {
                        cllm_kernels::memory::grow("a file buffer", &mut scratch, n)?;
                        scratch.get_mut(..n).unwrap_or_default()
                    }
                };
                bytes_to_floats(bytes, target);
                if not_finite.is_none() && values == Values::Finite && !all_finite(target) {
                    let bad = target.iter().position(|x| !x.is_finite()).unwrap_or(0);
                    let x = target.get(bad).copied().unwrap_or(f32::NAN);
                    not_finite = Some(format!(
                        "{}: value {} (byte {}) is {x}; weights that are not finite are \
                         refused",
                        entry.name,
                        done + bad,
                        offset + 4 * bad as u64
                    ));
                }
                done += n;
                offset += 4 * n as u64;
            }
        }
        // Damage that happens to make a NaN is damage first.
        check_crc(what, start, offset - start, crc, expected)?;
        match not_finite {
            Some(text) => Err(Problem::Content(text)),
            None => Ok(()),
        }
    }
}

/// The sections that this version knows.
const KNOWN: [Tag; 13] = [
    section::SHAPE,
    section::INT8,
    section::ARCHITECTURE,
    section::LATER,
    section::NORMS,
    section::POSITIONS,
    section::TRANSFORMS,
    section::WORDS,
    section::TOKENS,
    section::TOKENIZER,
    section::SUBWORDS,
    section::POINTS,
    section::TRAINING,
];

/// Without a branch per value, so that it costs nothing beside the copying.
fn all_finite(values: &[f32]) -> bool {
    const EXPONENT: u32 = 0x7F80_0000;
    let bad = |x: &f32| u32::from(x.to_bits() & EXPONENT == EXPONENT);
    values.iter().map(bad).fold(0, |sum, bad| sum | bad) == 0
}

/// Where each section's payload starts, and its frame: the whole extension, without gaps.
fn frames<R: Read + Seek>(
    source: &mut R,
    extension: &Extension,
    len: u64,
) -> Result<Vec<(u64, Frame)>, Problem> {
    let end = extension.offset.checked_add(extension.length);
    if extension.offset < HEADER_BYTES as u64 || end != Some(len) {
        return Err(Problem::content(format!(
            "is {len} bytes long; the header states an extension of {} bytes from byte {} on: the \
             file is cut short or damaged",
            extension.length, extension.offset
        )));
    }
    let mut frames = Vec::new();
    let mut at = extension.offset;
    while at < len {
        if len - at < FRAME_BYTES as u64 {
            return Err(Problem::content(format!(
                "the extension ends in the middle of a section frame, at byte {at}"
            )));
        }
        let mut bytes = [0; FRAME_BYTES];
        source.seek(SeekFrom::Start(at))?;
        exact(source, &mut bytes)?;
        let frame = Frame::parse(&bytes, at)?;
        at += FRAME_BYTES as u64;
        if frame.length > len - at {
            return Err(Problem::content(format!(
                "section {} at byte {at} states {} bytes, but the file ends after {}",
                frame.name(),
                frame.length,
                len - at
            )));
        }
        frames.push((at, frame));
        at += frame.length;
    }
    if frames.len() as u64 != u64::from(extension.sections) {
        return Err(Problem::content(format!(
            "the extension has {} sections, the header states {}",
            frames.len(),
            extension.sections
        )));
    }
    Ok(frames)
}

/// A section's payload; its length was checked against the file's.
fn payload<R: Read + Seek>(source: &mut R, at: u64, frame: &Frame) -> Result<Vec<u8>, Problem> {
    source.seek(SeekFrom::Start(at))?;
    let len = usize::try_from(frame.length).unwrap_or(usize::MAX);
    let mut bytes = cllm_kernels::memory::filled("a section of the file", len)?;
    exact(source, &mut bytes)?;
    let mut crc = Hasher::new();
    crc.update(&bytes);
    let what = format!("section {}", frame.name());
    check_crc(&what, at, frame.length, crc, Some(frame.crc))?;
    Ok(bytes)
}

fn check_crc(
    what: &str,
    start: u64,
    len: u64,
    crc: Hasher,
    expected: Option<u32>,
) -> Result<(), Problem> {
    match expected {
        Some(expected) if expected != crc.finalize() => Err(Problem::content(format!(
            "{what} ({len} bytes from byte {start} on): the checksum does not match, the file is \
             damaged"
        ))),
        _ => Ok(()),
    }
}

fn exact(source: &mut impl Read, buffer: &mut [u8]) -> Result<(), Problem> {
    source.read_exact(buffer).map_err(|e| match e.kind() {
        ErrorKind::UnexpectedEof => Problem::content("became shorter while it was read"),
        _ => Problem::Io(e),
    })
}
