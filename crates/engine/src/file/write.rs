//! Writing a model file, from the values where they lie.

use super::bytes::floats_to_bytes;
use super::extras::{self, Extras};
use super::header::{EXTENSION_VERSION, EXTENSION_VERSION_INT8, Extension, HEADER_BYTES, Header};
use super::int8;
use super::section::{self, CRITICAL, FRAME_BYTES, Frame, Tag};
use super::sizes::{self, Entry, floats};
use crate::error::Result;
use crate::model::{ModelShape, Precision, TensorName};
use cllm_kernels::int8::Matrix;
use crc32fast::Hasher;
use std::io::{self, Write};

/// Floats converted at a time.
const CHUNK: usize = 64 * 1024;

/// Where the values of a file come from.
pub trait Source {
    /// The values of a tensor. One that is shorter than the tensor is filled up with zeros, one
    /// that is not there is zero throughout.
    fn data(&self, entry: &Entry) -> Option<&[f32]>;

    /// A matrix of 8-bit weights, of a model that has such.
    fn matrix(&self, _: TensorName) -> Option<&Matrix> {
        None
    }
}

/// What a section holds.
enum Payload {
    Bytes(Vec<u8>),
    Floats(Vec<Entry>),
    /// Matrices of 8-bit weights.
    Int8(Vec<TensorName>),
}

/// A file ready to be written: everything but the values, and the checksums of those.
pub struct Prepared<'a> {
    source: &'a dyn Source,
    header: [u8; HEADER_BYTES],
    body: Vec<Entry>,
    sections: Vec<(Frame, Payload)>,
    present: Vec<bool>,
}

/// Prepares a model's file. The sizes in `header` are set from `shape`; the rest of it is
/// written as it is. An error means that no reader would accept the file.
pub fn model<'a>(
    header: &Header,
    shape: &ModelShape,
    source: &'a dyn Source,
    extras: &Extras,
) -> Result<Prepared<'a>> {
    shape.check_for_file()?;
    let header = header.clone().with_sizes(shape, extras);
    let mut payloads: Vec<(Tag, u32, Payload)> = Vec::new();
    let mut add = |tag, flags, payload| {
        let empty = match &payload {
            Payload::Bytes(bytes) => bytes.is_empty(),
            Payload::Floats(entries) => floats(entries) == 0,
            Payload::Int8(names) => names.is_empty(),
        };
        if !empty {
            payloads.push((tag, flags, payload));
        }
    };
    add(section::SHAPE, CRITICAL, Payload::Bytes(shape.to_bytes()));
    if !shape.architecture.is_original() {
        add(section::ARCHITECTURE, CRITICAL, Payload::Bytes(shape.architecture.to_bytes()));
    }
    let tensors = Payload::Floats;
    add(section::INT8, CRITICAL, Payload::Int8(sizes::matrices(shape).collect()));
    add(section::LATER, CRITICAL, tensors(sizes::later(shape)));
    add(section::NORMS, CRITICAL, tensors(sizes::norms(shape)));
    add(section::POSITIONS, CRITICAL, tensors(sizes::tables(shape)));
    add(section::TRANSFORMS, CRITICAL, tensors(sizes::transforms(shape)));
    if !extras.words.is_empty() {
        add(section::WORDS, 0, Payload::Bytes(extras.words.to_bytes()));
        add(section::TOKENIZER, 0, Payload::Bytes(extras::tokenizer()));
    }
    if let Some(subwords) = &extras.subwords {
        add(section::SUBWORDS, CRITICAL, Payload::Bytes(subwords.to_bytes()));
    }
    let tokens = extras::tokens_to_bytes(&extras.tokens);
    add(section::TOKENS, 0, Payload::Bytes(tokens));
    if !extras.points.is_empty() {
        let points = extras::points_to_bytes(&extras.points);
        add(section::POINTS, 0, Payload::Bytes(points));
    }
    let training = Payload::Bytes(extras.training.to_bytes());
    add(section::TRAINING, 0, training);

    let body = sizes::body(shape, false);
    let present = body.iter().map(|t| shape.has(t.name)).collect();
    let mut prepared =
        Prepared { source, header: [0; HEADER_BYTES], body, sections: Vec::new(), present };
    for (tag, flags, payload) in payloads {
        let (length, crc) = match &payload {
            Payload::Bytes(bytes) => (bytes.len(), crc32fast::hash(bytes)),
            Payload::Floats(entries) => (4 * floats(entries), prepared.crc(entries, None)),
            Payload::Int8(names) => {
                let mut crc = Hasher::new();
                // Adding to a checksum can't fail.
                let _ = prepared.matrices(names, |bytes| {
                    crc.update(bytes);
                    Ok(())
                });
                (int8::length(shape), crc.finalize())
            }
        };
        let frame = Frame { tag, flags, length: length as u64, crc };
        prepared.sections.push((frame, payload));
    }
    let lengths = prepared.sections.iter().map(|(frame, _)| frame.length);
    let extension = Extension {
        version: match shape.precision {
            Precision::F32 => EXTENSION_VERSION,
            Precision::Int8 => EXTENSION_VERSION_INT8,
        },
        sections: prepared.sections.len() as u32,
        offset: (HEADER_BYTES + 4 * floats(&prepared.body)) as u64,
        length: lengths.map(|n| n + FRAME_BYTES as u64).sum(),
        body_crc: prepared.crc(&prepared.body, Some(&prepared.present)),
    };
    prepared.header = header.to_bytes(&extension);
    Ok(prepared)
}

impl Header {
    /// The header with the sizes of a model.
    pub fn with_sizes(self, shape: &ModelShape, extras: &Extras) -> Self {
        Self {
            vocab_size: shape.vocab as u64,
            embedding_dim: shape.dim as u64,
            num_layers: shape.layers.len() as u64,
            num_heads: shape.heads() as u32,
            num_lattice_points: extras.points.len() as u64,
            total_params: shape.total_params(),
            ..self
        }
    }
}

impl Prepared<'_> {
    /// Writes the file.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&self.header)?;
        let mut write = |bytes: &[u8]| out.write_all(bytes);
        self.each(&self.body, Some(&self.present), &mut write)?;
        for (frame, payload) in &self.sections {
            write(&frame.to_bytes())?;
            match payload {
                Payload::Bytes(bytes) => write(bytes)?,
                Payload::Floats(entries) => self.each(entries, None, &mut write)?,
                Payload::Int8(names) => self.matrices(names, &mut write)?,
            }
        }
        Ok(())
    }

    /// The bytes of a section of 8-bit weights, some rows at a time.
    fn matrices(
        &self,
        names: &[TensorName],
        mut f: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        f(&int8::head())?;
        for matrix in names.iter().filter_map(|name| self.source.matrix(*name)) {
            int8::write(matrix, &mut f)?;
        }
        Ok(())
    }

    fn crc(&self, entries: &[Entry], present: Option<&[bool]>) -> u32 {
        let mut crc = Hasher::new();
        let add = |bytes: &[u8]| {
            crc.update(bytes);
            Ok(())
        };
        // Adding to a checksum can't fail.
        let _ = self.each(entries, present, add);
        crc.finalize()
    }

    /// The bytes of `entries`, a chunk at a time.
    fn each(
        &self,
        entries: &[Entry],
        present: Option<&[bool]>,
        mut f: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut buffer = vec![0; 4 * CHUNK];
        for (i, entry) in entries.iter().enumerate() {
            let there = present.is_none_or(|p| p.get(i).copied().unwrap_or(true));
            let data = if there { self.source.data(entry) } else { None };
            let data = data.unwrap_or_default();
            let data = data.get(..entry.len).unwrap_or(data);
            for chunk in data.chunks(CHUNK) {
                f(floats_to_bytes(chunk, &mut buffer))?;
            }
            let mut zeros = entry.len - data.len();
            while zeros > 0 {
                let n = zeros.min(CHUNK);
                buffer[..4 * n].fill(0);
                f(&buffer[..4 * n])?;
                zeros -= n;
            }
        }
        Ok(())
    }
}
