//! The sizes of a model: which parts it has, and how long each is.

use super::architecture::Architecture;
use super::params::{
    Attention, AttentionLayout, DEFAULT_EPSILON, FeedForward, Layer, Layers, Norm, Params, Scores,
};
use super::part::{Extent, Part, TensorName};
use super::tensor::is_matrix;
use crate::error::{Error, Result};
use crate::limits;
use cllm_kernels::memory::product;

/// One block of a model. What is absent takes no part in the model; its place among the weights is
/// there all the same, and zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerShape {
    /// Attention heads.
    pub heads: usize,
    /// Feed-forward width; also states how much room an absent feed-forward takes.
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

impl Default for NormShape {
    fn default() -> Self {
        Self::FULL
    }
}

impl NormShape {
    /// A norm with both parameters.
    pub const FULL: Self = Self { epsilon: DEFAULT_EPSILON, gamma: true, beta: true };
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

impl Table {
    /// How tables with these values are kept in a file: those that are zero throughout take no
    /// room, unless they would be too large to be made of nothing when the file is read.
    pub fn of_values(tables: [Option<&[f32]>; 4]) -> [Self; 4] {
        let zero = |t: &[f32]| t.iter().all(|x| x.to_bits() == 0);
        let kinds = tables.map(|table| match table {
            None => Self::Absent,
            Some(t) if zero(t) => Self::Zero,
            Some(_) => Self::Stored,
        });
        let zeros = kinds.iter().zip(tables).filter(|(kind, _)| **kind == Self::Zero);
        let bytes: usize = zeros.map(|(_, t)| 4 * t.map_or(0, <[f32]>::len)).sum();
        if bytes as u64 <= limits::MAX_ZERO_TABLE_BYTES {
            return kinds;
        }
        kinds.map(|kind| if kind == Self::Zero { Self::Stored } else { kind })
    }
}

/// What the matrices of a model are held in: E, those of attention and of the feed-forward parts, the
/// output matrix. Everything else is floats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Floats.
    #[default]
    F32,
    /// Blocks of 8-bit weights: see [`QuantizedModel`](super::QuantizedModel).
    Int8,
}

/// The sizes of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelShape {
    /// V.
    pub vocab: usize,
    /// d.
    pub dim: usize,
    /// Rows of the position tables.
    pub max_length: usize,
    /// Shape of the attention matrices.
    pub layout: AttentionLayout,
    /// What the blocks compute.
    pub architecture: Architecture,
    /// What the matrices are held in.
    pub precision: Precision,
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
}

impl ModelShape {
    /// Heads of the model as its header states them.
    pub fn heads(&self) -> usize {
        self.layers.first().map_or(0, |layer| layer.heads)
    }

    /// Whether there are 2L norms.
    pub fn second_norms(&self) -> bool {
        self.norms.len() > self.layers.len()
    }

    /// The index in [`norms`](Self::norms) of a norm that a tensor belongs to.
    fn norm_index(&self, name: TensorName) -> Option<usize> {
        match name.part {
            Part::Gamma1 | Part::Beta1 => Some(name.layer),
            Part::Gamma2 | Part::Beta2 => self.layers.len().checked_add(name.layer),
            _ => None,
        }
    }

    /// The norm that a gamma or beta belongs to.
    pub fn norm(&self, name: TensorName) -> Option<&NormShape> {
        self.norms.get(self.norm_index(name)?)
    }

    /// Floats that a tensor takes, in memory and in files, whether the model has it or not: none where
    /// it is a matrix of 8-bit weights. The sizes were checked before: see
    /// [`num_weights`](Self::num_weights).
    pub fn room(&self, name: TensorName) -> usize {
        if self.precision == Precision::Int8 && is_matrix(name.part) {
            0
        } else {
            self.values(name)
        }
    }

    /// Values of a tensor, whatever they are held in.
    pub(crate) fn values(&self, name: TensorName) -> usize {
        let hidden = self.layers.get(name.layer).map_or(0, |layer| layer.hidden);
        let extent =
            Extent { vocab: self.vocab, dim: self.dim, hidden, positions: self.max_length };
        name.part.floats(&extent).unwrap_or(usize::MAX)
    }

    /// Whether the model has a tensor.
    pub fn has(&self, name: TensorName) -> bool {
        let layer = |f: fn(&LayerShape) -> bool| self.layers.get(name.layer).is_some_and(f);
        let table = |i: usize| self.tables[i] != Table::Absent && self.max_length > 0;
        match name.part {
            Part::Embeddings => self.embeddings,
            Part::LatticeTransform => self.transforms[0],
            Part::InverseTransform => self.transforms[1],
            Part::Query | Part::Key | Part::Value => layer(|l| l.attention),
            Part::Output => self.architecture.output && layer(|l| l.attention),
            Part::Head => self.architecture.untied,
            Part::W1 | Part::W2 => layer(|l| l.feed_forward),
            Part::Bias1 => layer(|l| l.feed_forward && l.bias1),
            Part::Bias2 => layer(|l| l.feed_forward && l.bias2),
            Part::Gamma1 | Part::Gamma2 => self.norm(name).is_some_and(|n| n.gamma),
            Part::Beta1 | Part::Beta2 => self.norm(name).is_some_and(|n| n.beta),
            Part::Spiral => table(0),
            Part::Clock => table(1),
            Part::Prime => table(2),
            Part::Learned => table(3),
        }
    }

    /// The tensors of the block of weights in its order: E; Q, K, V of each layer; W1, b1, W2, b2
    /// of each layer; all LN1, then all LN2, gamma before beta; then what the original library has
    /// not: Wo of each layer, the output matrix.
    pub fn block(&self) -> impl Iterator<Item = TensorName> {
        let layers = self.layers.len();
        let each = move |parts: &'static [Part]| {
            (0..layers)
                .flat_map(move |layer| parts.iter().map(move |&part| TensorName { part, layer }))
        };
        let second: &[Part] = if self.second_norms() { &[Part::Gamma2, Part::Beta2] } else { &[] };
        let output: &[Part] = if self.architecture.output { &[Part::Output] } else { &[] };
        let head = TensorName { part: Part::Head, layer: 0 };
        std::iter::once(TensorName { part: Part::Embeddings, layer: 0 })
            .chain(each(&[Part::Query, Part::Key, Part::Value]))
            .chain(each(&[Part::W1, Part::Bias1, Part::W2, Part::Bias2]))
            .chain(each(&[Part::Gamma1, Part::Beta1]))
            .chain(each(second))
            .chain(each(output))
            .chain(self.architecture.untied.then_some(head))
    }

    /// Floats of the block of weights, were all of them floats.
    ///
    /// # Errors
    /// More than any memory holds.
    pub fn num_weights(&self) -> Result<usize> {
        let hidden = self.layers.iter().map(|layer| layer.hidden);
        let hidden = hidden.fold(0usize, usize::saturating_add);
        let norms = self.norms.len();
        block_floats(self.vocab, self.dim, self.layers.len(), hidden, norms, self.architecture)
    }

    /// Rows and columns of a matrix; `None` for what is none.
    pub(crate) fn matrix_size(&self, name: TensorName) -> Option<(usize, usize)> {
        let hidden = self.layers.get(name.layer).map_or(0, |layer| layer.hidden);
        match name.part {
            Part::Embeddings | Part::Head => Some((self.vocab, self.dim)),
            Part::W1 => Some((hidden, self.dim)),
            Part::W2 => Some((self.dim, hidden)),
            part if is_matrix(part) => Some((self.dim, self.dim)),
            _ => None,
        }
    }

    /// Floats of one position table.
    ///
    /// # Errors
    /// More than any memory holds.
    pub fn table_floats(&self) -> Result<usize> {
        Ok(product("a position table", &[self.max_length, self.dim])?)
    }

    /// The trained values of the model, whatever they are held in: its block of weights, as far as it has
    /// them, and a learnt position table.
    pub fn trained(&self) -> u64 {
        let learned = TensorName { part: Part::Learned, layer: 0 };
        let names = self.block().chain(std::iter::once(learned));
        let values = names.filter(|&name| self.has(name)).map(|name| self.values(name) as u64);
        values.fold(0, u64::saturating_add)
    }

    /// The value of `total_params` in the header of a file: the floats of the block of weights that
    /// the original library would make for these sizes, with its 2L norms.
    pub fn total_params(&self) -> u64 {
        let others = |n: &TensorName| {
            let norm = matches!(n.part, Part::Gamma1 | Part::Beta1 | Part::Gamma2 | Part::Beta2);
            norm || n.part.is_later()
        };
        let rest: u64 = self.block().filter(|n| !others(n)).map(|n| self.values(n) as u64).sum();
        rest + 4 * self.dim as u64 * self.layers.len() as u64
    }

    /// The trained tensors that take part in the model, each as its number of values. That is less
    /// than its [`room`](Self::room) for matrices by head.
    ///
    /// # Errors
    /// No memory for the list.
    pub fn params(&self) -> Result<Params<usize>> {
        let room = |part, layer| self.room(TensorName { part, layer });
        let present = |part, layer| {
            let name = TensorName { part, layer };
            self.has(name).then(|| self.room(name))
        };
        let mut layers = Layers::new();
        layers.try_reserve_exact(self.layers.len()).map_err(|_| {
            Error::memory("the layers", self.layers.len().saturating_mul(size_of::<Layer<usize>>()))
        })?;
        for (l, shape) in self.layers.iter().enumerate() {
            let (heads, head_dim) = (shape.heads, self.dim / shape.heads.max(1));
            let attention = shape.attention.then(|| Attention {
                heads,
                head_dim,
                layout: self.layout,
                qkv: match self.precision {
                    Precision::F32 => [self.layout.matrix_len(heads, head_dim); 3],
                    Precision::Int8 => [0; 3],
                },
                joined: None,
                output: present(Part::Output, l),
                scores: Scores::of(&self.architecture, heads, l, self.layers.len()),
            });
            let feed_forward = (shape.feed_forward && shape.hidden > 0).then(|| FeedForward {
                hidden: shape.hidden,
                activation: self.architecture.activation,
                w1: room(Part::W1, l),
                b1: present(Part::Bias1, l),
                w2: room(Part::W2, l),
                b2: present(Part::Bias2, l),
            });
            let norm = |gamma: Part, beta: Part| {
                let shape = self.norm(TensorName { part: gamma, layer: l });
                shape.map_or(Norm::default(), |shape| Norm {
                    epsilon: if shape.epsilon > 0.0 { shape.epsilon } else { DEFAULT_EPSILON },
                    gamma: present(gamma, l),
                    beta: present(beta, l),
                })
            };
            layers.push(Layer {
                norm1: norm(Part::Gamma1, Part::Beta1),
                attention,
                norm2: norm(Part::Gamma2, Part::Beta2),
                feed_forward,
            });
        }
        Ok(Params {
            embeddings: room(Part::Embeddings, 0),
            layers,
            learned: present(Part::Learned, 0),
            head: present(Part::Head, 0),
        })
    }

    /// What must hold for a model in memory; the message names the sizes as the C headers do.
    ///
    /// # Errors
    /// The size that is out of its range.
    pub fn check(&self) -> Result<()> {
        for (name, value) in [
            ("vocab_size", self.vocab),
            ("embedding_dim", self.dim),
            ("num_layers", self.layers.len()),
        ] {
            if value == 0 {
                return Err(Error::argument(name, 0, "1 or more"));
            }
        }
        for layer in &self.layers {
            check_heads(self.dim, layer.heads)?;
        }
        self.check_rotary()?;
        self.num_weights()?;
        self.table_floats()?;
        Ok(())
    }
}

impl ModelShape {
    /// Whether positions can turn the heads, where they are to.
    ///
    /// # Errors
    /// Heads of an odd number of components, or of different ones.
    pub(crate) fn check_rotary(&self) -> Result<()> {
        let layers = self.layers.iter().filter(|l| self.architecture.rotary && l.attention);
        rotary_head_dim(layers.map(|l| self.dim / l.heads.max(1))).map(drop)
    }
}

/// The common number of components of heads that positions turn.
pub(super) fn rotary_head_dim(mut heads: impl Iterator<Item = usize>) -> Result<Option<usize>> {
    let Some(first) = heads.next() else { return Ok(None) };
    if first % 2 == 1 {
        return Err(Error::shape(format!(
            "rotary positions turn pairs of components; embedding_dim / num_heads is {first}, \
             an odd number"
        )));
    }
    if let Some(other) = heads.find(|&other| other != first) {
        return Err(Error::shape(format!(
            "rotary positions need the same num_heads in every layer; heads of {first} and of \
             {other} components"
        )));
    }
    Ok(Some(first))
}

/// Floats of a block of weights, `hidden` being the sum over all layers.
pub(super) fn block_floats(
    vocab: usize,
    dim: usize,
    layers: usize,
    hidden: usize,
    norms: usize,
    architecture: Architecture,
) -> Result<usize> {
    const WHAT: &str = "the weights";
    let parts = [
        product(WHAT, &[vocab, dim])?,
        product(WHAT, &[layers, 3, dim, dim])?,
        product(WHAT, &[2, dim, hidden])?,
        product(WHAT, &[hidden, 1])?,
        product(WHAT, &[layers, dim])?,
        product(WHAT, &[2, norms, dim])?,
        product(WHAT, &[usize::from(architecture.output), layers, dim, dim])?,
        product(WHAT, &[usize::from(architecture.untied), vocab, dim])?,
    ];
    let sum = parts.iter().try_fold(0usize, |sum, &part| sum.checked_add(part));
    sum.ok_or_else(|| Error::memory(WHAT, usize::MAX))
}

/// Heads must divide the width.
pub(super) fn check_heads(dim: usize, heads: usize) -> Result<()> {
    if heads == 0 {
        return Err(Error::argument("num_heads", 0, "1 or more"));
    }
    if !dim.is_multiple_of(heads) {
        return Err(Error::shape(format!(
            "embedding_dim {dim} is not a multiple of num_heads {heads}"
        )));
    }
    Ok(())
}
