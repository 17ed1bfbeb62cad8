//! The sizes of a model as a file holds them: the order of its tensors, the limits of files, and the
//! section `SHAP`.

use super::Problem;
use super::bytes::Parser;
use super::header::Header;
use super::section::{self, Tag};
use crate::error::{Error, Result};
use crate::limits;
use crate::model::{
    Architecture, AttentionLayout, LayerShape, ModelShape, NormShape, Part, Precision, Table,
    TensorName, is_matrix,
};

/// One array of floats in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub name: TensorName,
    /// Floats in the file.
    pub len: usize,
}

fn entries(shape: &ModelShape, names: impl Iterator<Item = TensorName>) -> Vec<Entry> {
    names.map(|name| Entry { name, len: shape.room(name) }).collect()
}

fn is_norm(name: &TensorName) -> bool {
    matches!(name.part, Part::Gamma1 | Part::Beta1 | Part::Gamma2 | Part::Beta2)
}

/// The tensors of the body, from byte 1576 on: the block of weights without the norms, and without
/// what the original library has not; none where the matrices are of 8 bits. Files of the
/// original (`v1`) have the transforms after E.
pub(super) fn body(shape: &ModelShape, v1: bool) -> Vec<Entry> {
    if shape.precision == Precision::Int8 {
        return Vec::new();
    }
    let mut list =
        entries(shape, shape.block().filter(|name| !is_norm(name) && !name.part.is_later()));
    if v1 {
        list.splice(1..1, transforms(shape));
    }
    list
}

/// The tensors of the section of weights that the body has no place for.
pub(super) fn later(shape: &ModelShape) -> Vec<Entry> {
    let int8 = shape.precision == Precision::Int8;
    let outside = |name: &TensorName| {
        if int8 { !is_norm(name) && !is_matrix(name.part) } else { name.part.is_later() }
    };
    entries(shape, shape.block().filter(|name| outside(name) && shape.has(*name)))
}

/// The matrices of the section of 8-bit weights.
pub(super) fn matrices(shape: &ModelShape) -> impl Iterator<Item = TensorName> {
    let int8 = shape.precision == Precision::Int8;
    shape.block().filter(move |name| int8 && is_matrix(name.part) && shape.has(*name))
}

/// The tensors of the section of norms.
pub(super) fn norms(shape: &ModelShape) -> Vec<Entry> {
    entries(shape, shape.block().filter(|name| is_norm(name) && shape.has(*name)))
}

fn whole(shape: &ModelShape, parts: impl Iterator<Item = Part>) -> Vec<Entry> {
    entries(shape, parts.map(|part| TensorName { part, layer: 0 }))
}

/// The tensors of the section of position tables.
pub(super) fn tables(shape: &ModelShape) -> Vec<Entry> {
    let stored = Part::TABLES.into_iter().zip(shape.tables);
    whole(shape, stored.filter(|(_, table)| *table == Table::Stored).map(|(part, _)| part))
}

/// The tensors of the section of transforms.
pub(super) fn transforms(shape: &ModelShape) -> Vec<Entry> {
    let present = Part::TRANSFORMS.into_iter().zip(shape.transforms);
    whole(shape, present.filter(|(_, present)| *present).map(|(part, _)| part))
}

/// The tensors of a section of floats; none in others.
pub(super) fn of_section(shape: &ModelShape, tag: Tag) -> Vec<Entry> {
    match tag {
        section::LATER => later(shape),
        section::NORMS => norms(shape),
        section::POSITIONS => tables(shape),
        section::TRANSFORMS => transforms(shape),
        _ => Vec::new(),
    }
}

/// Floats in all of `entries`.
pub(super) fn floats(entries: &[Entry]) -> usize {
    entries.iter().map(|t| t.len).sum()
}

impl ModelShape {
    /// At least as many floats as all tensors have together, in numbers that can't overflow.
    fn most_floats(&self) -> u128 {
        let [v, d, s] = [self.vocab, self.dim, self.max_length].map(|n| n as u128);
        let hidden: u128 = self.layers.iter().map(|layer| layer.hidden as u128).sum();
        let (layers, norms) = (self.layers.len() as u128, self.norms.len() as u128);
        d * (2 * v + 2 * d + layers * (4 * d + 1) + 2 * hidden + 2 * norms + 4 * s) + hidden
    }

    /// The limits that hold for every file; the message says which is exceeded.
    ///
    /// # Errors
    /// What a file can't hold.
    pub fn check_for_file(&self) -> Result<()> {
        let range = |name: &'static str, value: usize, most: u64, expected: &'static str| {
            if value == 0 || value as u64 > most {
                return Err(Error::argument(name, value, expected));
            }
            Ok(())
        };
        let any = u64::from(u32::MAX);
        range("vocab_size", self.vocab, any, "1 to 4294967295 in a model file")?;
        range("embedding_dim", self.dim, any, "1 to 4294967295 in a model file")?;
        range("num_layers", self.layers.len(), limits::MAX_LAYERS, "1 to 65536 in a model file")?;
        if u32::try_from(self.max_length).is_err() {
            return Err(Error::argument("max_length", self.max_length, "below 2^32"));
        }
        if self.most_floats() > u128::from(limits::MAX_FILE_FLOATS) {
            return Err(Error::shape("the sizes ask for more values than a file can hold"));
        }
        for (l, layer) in self.layers.iter().enumerate() {
            if layer.heads == 0 || !self.dim.is_multiple_of(layer.heads) {
                return Err(Error::shape(format!(
                    "layer {l}: {} heads do not divide the width {}",
                    layer.heads, self.dim
                )));
            }
            if u32::try_from(layer.hidden).is_err() {
                return Err(Error::argument("hidden_dim", layer.hidden, "below 2^32"));
            }
        }
        self.check_rotary()?;
        if self.norms.len() != self.layers.len() && self.norms.len() != 2 * self.layers.len() {
            return Err(Error::shape(format!(
                "{} norms for {} layers",
                self.norms.len(),
                self.layers.len()
            )));
        }
        if let Some(i) = self.norms.iter().position(|n| !n.epsilon.is_finite()) {
            return Err(Error::shape(format!("norm {i}: epsilon is not finite")));
        }
        let zero_tables = self.tables.iter().filter(|t| **t == Table::Zero).count();
        let bytes = (zero_tables as u128) * 4 * self.max_length as u128 * self.dim as u128;
        if bytes > u128::from(limits::MAX_ZERO_TABLE_BYTES) {
            return Err(Error::shape(format!(
                "{zero_tables} position tables of {} rows of zeros would take {bytes} bytes, more \
                 than the {} allowed",
                self.max_length,
                limits::MAX_ZERO_TABLE_BYTES
            )));
        }
        Ok(())
    }

    /// The payload of the `SHAP` section.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        // `check_for_file` was called before, so that every number fits.
        let mut put = |value: usize| out.extend_from_slice(&(value as u32).to_le_bytes());
        put(self.vocab);
        put(self.dim);
        put(self.layers.len());
        put(self.norms.len());
        put(self.max_length);
        put(match self.layout {
            AttentionLayout::Full => 0,
            AttentionLayout::PerHead => 1,
        });
        put(usize::from(self.embeddings));
        put(flags(&self.transforms));
        for table in self.tables {
            put(match table {
                Table::Absent => 0,
                Table::Stored => 1,
                Table::Zero => 2,
            });
        }
        for l in &self.layers {
            put(l.heads);
            put(l.hidden);
            put(flags(&[l.attention, l.feed_forward, l.bias1, l.bias2]));
        }
        for n in &self.norms {
            put(n.epsilon.to_bits() as usize);
            put(flags(&[n.gamma, n.beta]));
        }
        out
    }

    /// The sizes from the payload of the `SHAP` section, checked against the header and the limits.
    pub(super) fn parse(bytes: &[u8], header: &Header) -> Result<Self, Problem> {
        let mut p = Parser::new("section SHAP", bytes);
        let [vocab, dim, layers, norms, max_length, layout, embeddings, transforms] = p.u32s()?;
        let tables: [u32; 4] = p.u32s()?;
        let header_sizes = [header.vocab_size, header.embedding_dim, header.num_layers];
        if [vocab, dim, layers].map(u64::from) != header_sizes {
            return Err(Problem::content(format!(
                "section SHAP is about {vocab} tokens, width {dim} and {layers} layers, the header \
                 about {}, {} and {}",
                header.vocab_size, header.embedding_dim, header.num_layers
            )));
        }
        let records = u64::from(layers) * 12 + u64::from(norms) * 8;
        if records != p.left() as u64 {
            return Err(Problem::content(format!(
                "section SHAP has {} bytes for {layers} layers and {norms} norms",
                p.left()
            )));
        }
        let bits = |what: &str, value: u32, count: u32| {
            if value >> count != 0 {
                return Err(Problem::content(format!(
                    "section SHAP: {what} has the unknown value {value}"
                )));
            }
            Ok(move |bit: u32| value >> bit & 1 == 1)
        };
        let mut shape = Self {
            vocab: vocab as usize,
            dim: dim as usize,
            max_length: max_length as usize,
            layout: if bits("the layout", layout, 1)?(0) {
                AttentionLayout::PerHead
            } else {
                AttentionLayout::Full
            },
            architecture: Architecture::ORIGINAL,
            precision: Precision::F32,
            embeddings: bits("the flag of the embeddings", embeddings, 1)?(0),
            layers: Vec::new(),
            norms: Vec::new(),
            tables: [Table::Absent; 4],
            transforms: [false; 2],
        };
        let has = bits("the transforms", transforms, 2)?;
        shape.transforms = [has(0), has(1)];
        for (slot, value) in shape.tables.iter_mut().zip(tables) {
            *slot = match value {
                0 => Table::Absent,
                1 => Table::Stored,
                2 => Table::Zero,
                _ => {
                    return Err(Problem::content(format!(
                        "section SHAP: a position table has the unknown kind {value}"
                    )));
                }
            };
        }
        for _ in 0..layers {
            let [heads, hidden, presence] = p.u32s()?;
            let has = bits("a layer", presence, 4)?;
            shape.layers.push(LayerShape {
                heads: heads as usize,
                hidden: hidden as usize,
                attention: has(0),
                feed_forward: has(1),
                bias1: has(2),
                bias2: has(3),
            });
        }
        for _ in 0..norms {
            let epsilon = p.f32()?;
            let has = bits("a norm", p.u32()?, 2)?;
            shape.norms.push(NormShape { epsilon, gamma: has(0), beta: has(1) });
        }
        p.end()?;
        shape.check_for_file().map_err(|e| Problem::content(format!("section SHAP: {e}")))?;
        Ok(shape)
    }
}

fn flags(bits: &[bool]) -> usize {
    bits.iter().rev().fold(0, |n, &b| n << 1 | usize::from(b))
}
