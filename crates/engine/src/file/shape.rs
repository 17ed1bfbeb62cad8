//! The sizes of a model in a file, and the order of its tensors.

use super::Problem;
use super::bytes::Parser;
use super::header::Header;
use crate::error::{Error, Result};
use crate::limits;
use crate::nn::model::AttentionLayout;
use std::fmt;

/// Which array of a model a tensor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)] // The names are those of docs/FORMAT.md.
pub enum Part {
    Embeddings,
    LatticeTransform,
    InverseTransform,
    Query,
    Key,
    Value,
    W1,
    Bias1,
    W2,
    Bias2,
    Gamma,
    Beta,
    Spiral,
    Clock,
    Prime,
    Learned,
}

/// The four position tables in the order of the file.
pub(super) const TABLES: [Part; 4] = [Part::Spiral, Part::Clock, Part::Prime, Part::Learned];
/// The two transforms in the order of the file.
pub(super) const TRANSFORMS: [Part; 2] = [Part::LatticeTransform, Part::InverseTransform];

/// One array of floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Which.
    pub part: Part,
    /// Its layer; of a gamma or beta its norm; else 0.
    pub index: usize,
    /// Floats in the file.
    pub len: usize,
}

impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.part {
            Part::Embeddings => return f.write_str("embeddings"),
            Part::LatticeTransform => return f.write_str("lattice transform"),
            Part::InverseTransform => return f.write_str("inverse transform"),
            Part::Spiral => return f.write_str("spiral positions"),
            Part::Clock => return f.write_str("clock positions"),
            Part::Prime => return f.write_str("prime positions"),
            Part::Learned => return f.write_str("learned positions"),
            Part::Gamma => return write!(f, "norm {} gamma", self.index),
            Part::Beta => return write!(f, "norm {} beta", self.index),
            Part::Query => "query",
            Part::Key => "key",
            Part::Value => "value",
            Part::W1 => "w1",
            Part::Bias1 => "bias1",
            Part::W2 => "w2",
            Part::Bias2 => "bias2",
        };
        write!(f, "layer {} {name}", self.index)
    }
}

/// One block of a model. What is absent takes no part in the model; its place in the file is
/// filled with zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerShape {
    /// Attention heads.
    pub heads: usize,
    /// Feed-forward width; also states how much room an absent feed-forward takes in the file.
    pub hidden: usize,
    /// Whether the model has query, key and value.
    pub attention: bool,
    /// Whether the model has W1 and W2.
    pub feed_forward: bool,
    /// Whether it has the first bias.
    pub bias1: bool,
    /// Whether it has the second one.
    pub bias2: bool,
}

/// A layer norm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormShape {
    /// Added to the variance.
    pub epsilon: f32,
    /// Whether it has a gamma.
    pub gamma: bool,
    /// Whether it has a beta.
    pub beta: bool,
}

/// A position table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// The model has none.
    Absent,
    /// Its values are in the file.
    Stored,
    /// It is zero throughout, and takes no room in the file.
    Zero,
}

/// The sizes of a model in a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// V.
    pub vocab: usize,
    /// d.
    pub dim: usize,
    /// Rows of the position tables.
    pub max_length: usize,
    /// Shape of the attention matrices.
    pub layout: AttentionLayout,
    /// Whether the model has E; without, zeros stand in its place.
    pub embeddings: bool,
    /// The blocks.
    pub layers: Vec<LayerShape>,
    /// As many as layers, or twice as many: first all LN1, then all LN2.
    pub norms: Vec<NormShape>,
    /// In the order spiral, clock, prime, learned.
    pub tables: [Table; 4],
    /// Whether the model has the lattice transform and its inverse.
    pub transforms: [bool; 2],
    /// Whether the transforms stand in the body, after E, as v1 files have them.
    pub body_transforms: bool,
}

impl Shape {
    /// Heads of the model as its header states them.
    pub fn heads(&self) -> usize {
        self.layers.first().map_or(0, |layer| layer.heads)
    }

    /// Whether there are 2L norms.
    pub fn second_norms(&self) -> bool {
        self.norms.len() > self.layers.len()
    }

    /// The tensors of the body, from byte 1576 on.
    pub fn body(&self) -> Vec<Tensor> {
        let d = self.dim;
        let tensor = |part, index, len| Tensor { part, index, len };
        let mut list = vec![tensor(Part::Embeddings, 0, self.vocab * d)];
        if self.body_transforms {
            list.extend(self.transform_tensors());
        }
        for l in 0..self.layers.len() {
            list.extend([Part::Query, Part::Key, Part::Value].map(|part| tensor(part, l, d * d)));
        }
        for (l, layer) in self.layers.iter().enumerate() {
            let f = layer.hidden;
            list.extend([
                tensor(Part::W1, l, f * d),
                tensor(Part::Bias1, l, f),
                tensor(Part::W2, l, d * f),
                tensor(Part::Bias2, l, d),
            ]);
        }
        list
    }

    /// The tensors of the section of norms.
    pub(super) fn norm_tensors(&self) -> Vec<Tensor> {
        let mut list = Vec::new();
        for (index, norm) in self.norms.iter().enumerate() {
            let parts = [(norm.gamma, Part::Gamma), (norm.beta, Part::Beta)];
            for (_, part) in parts.into_iter().filter(|(present, _)| *present) {
                list.push(Tensor { part, index, len: self.dim });
            }
        }
        list
    }

    /// The tensors of the section of position tables.
    pub(super) fn table_tensors(&self) -> Vec<Tensor> {
        let stored = TABLES.into_iter().zip(self.tables);
        let stored = stored.filter(|(_, table)| *table == Table::Stored);
        let len = self.max_length * self.dim;
        let tensor = |(part, _)| Tensor { part, index: 0, len };
        stored.map(tensor).collect()
    }

    /// The tensors of the section of transforms.
    pub(super) fn transform_tensors(&self) -> Vec<Tensor> {
        let len = self.dim * self.dim;
        let present = TRANSFORMS.into_iter().zip(self.transforms);
        let present = present.filter(|(_, present)| *present);
        let tensor = |(part, _)| Tensor { part, index: 0, len };
        present.map(tensor).collect()
    }

    /// Whether the model has this tensor; the place of one that it has not holds zeros.
    pub(super) fn present(&self, tensor: &Tensor) -> bool {
        let layer = |f: fn(&LayerShape) -> bool| self.layers.get(tensor.index).is_some_and(f);
        match tensor.part {
            Part::Embeddings => self.embeddings,
            Part::Query | Part::Key | Part::Value => layer(|l| l.attention),
            Part::W1 | Part::W2 => layer(|l| l.feed_forward),
            Part::Bias1 => layer(|l| l.feed_forward && l.bias1),
            Part::Bias2 => layer(|l| l.feed_forward && l.bias2),
            // The other tensors are listed only where they are present.
            _ => true,
        }
    }

    /// The value of `total_params` in the header: the floats of the block of weights that the
    /// original library would make for these sizes, with its 2L norms.
    pub fn total_params(&self) -> u64 {
        let norms = 4 * self.dim * self.layers.len();
        floats(&self.body()) as u64 + norms as u64
    }

    /// The limits that hold for every file; the message says which is exceeded.
    pub fn check(&self) -> Result<()> {
        let range = |name: &'static str, value: usize, most: u64, expected: &'static str| {
            if value == 0 || value as u64 > most {
                return Err(Error::argument(name, value, expected));
            }
            Ok(())
        };
        range("vocab_size", self.vocab, limits::MAX_FILE_VOCAB, "1 to 1000000 in a model file")?;
        range("embedding_dim", self.dim, limits::MAX_FILE_EMBEDDING, "1 to 10000 in a model file")?;
        range(
            "num_layers",
            self.layers.len(),
            limits::MAX_FILE_LAYERS,
            "1 to 100 in a model file",
        )?;
        if u32::try_from(self.max_length).is_err() {
            return Err(Error::argument("max_length", self.max_length, "below 2^32"));
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
        // `check` was called before, so that every number fits.
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
            embeddings: bits("the flag of the embeddings", embeddings, 1)?(0),
            layers: Vec::new(),
            norms: Vec::new(),
            tables: [Table::Absent; 4],
            transforms: [false; 2],
            body_transforms: false,
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
        shape.check().map_err(|e| Problem::content(format!("section SHAP: {e}")))?;
        Ok(shape)
    }
}

/// Floats in all of `tensors`.
pub(super) fn floats(tensors: &[Tensor]) -> usize {
    tensors.iter().map(|t| t.len).sum()
}

fn flags(bits: &[bool]) -> usize {
    bits.iter().rev().fold(0, |n, &b| n << 1 | usize::from(b))
}
