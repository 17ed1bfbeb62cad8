//! The tensors of a model: what each is called, how long it is, whether it decays.

use crate::error::Result;
use cllm_kernels::memory::product;
use std::fmt;

/// Which tensor of a model: the one list of them, for weights and gradients, files and
/// checkpoints. d is the width of the model, F that of a feed-forward sublayer, V the number of
/// tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// E, `[V][d]`.
    Embeddings,
    /// A transform of the embeddings that old programs may attach, `[d][d]`; not computed with.
    LatticeTransform,
    /// Its inverse.
    InverseTransform,
    /// Wq, `[d][d]`, or a block for each head.
    Query,
    /// Wk.
    Key,
    /// Wv.
    Value,
    /// Wo, `[d][d]`: what attention adds to the stream passes through it.
    Output,
    /// W1, `[F][d]`.
    W1,
    /// b1, `[F]`.
    Bias1,
    /// W2, `[d][F]`.
    W2,
    /// b2, `[d]`.
    Bias2,
    /// Gamma of LN1, `[d]`.
    Gamma1,
    /// Beta of LN1.
    Beta1,
    /// Gamma of LN2.
    Gamma2,
    /// Beta of LN2.
    Beta2,
    /// S, `[positions][d]`: added, not trained.
    Spiral,
    /// A table that is kept, not computed with.
    Clock,
    /// Likewise.
    Prime,
    /// P, `[positions][d]`.
    Learned,
    /// The output matrix, `[V][d]`, of a model whose logits don't come from E.
    Head,
}

/// The numbers that the length of a tensor follows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// V.
    pub vocab: usize,
    /// d.
    pub dim: usize,
    /// F of the tensor's layer.
    pub hidden: usize,
    /// Rows of a position table.
    pub positions: usize,
}

impl Part {
    /// The parts that a layer has of its own, in the canonical order.
    pub const LAYER: [Self; 12] = [
        Self::Query,
        Self::Key,
        Self::Value,
        Self::Output,
        Self::W1,
        Self::Bias1,
        Self::W2,
        Self::Bias2,
        Self::Gamma1,
        Self::Beta1,
        Self::Gamma2,
        Self::Beta2,
    ];
    /// The position tables in the order of [`ModelShape::tables`](super::ModelShape::tables).
    pub const TABLES: [Self; 4] = [Self::Spiral, Self::Clock, Self::Prime, Self::Learned];
    /// The transforms in the order of
    /// [`ModelShape::transforms`](super::ModelShape::transforms).
    pub const TRANSFORMS: [Self; 2] = [Self::LatticeTransform, Self::InverseTransform];

    /// The tensors that lie outside of the block of weights.
    pub(crate) fn separate() -> impl Iterator<Item = TensorName> {
        let parts = Self::TABLES.into_iter().chain(Self::TRANSFORMS);
        parts.map(|part| TensorName { part, layer: 0 })
    }

    /// Its name in messages and checkpoints.
    pub fn name(self) -> &'static str {
        match self {
            Self::Embeddings => "embeddings",
            Self::LatticeTransform => "lattice transform",
            Self::InverseTransform => "inverse transform",
            Self::Query => "query",
            Self::Key => "key",
            Self::Value => "value",
            Self::Output => "output",
            Self::W1 => "w1",
            Self::Bias1 => "bias1",
            Self::W2 => "w2",
            Self::Bias2 => "bias2",
            Self::Gamma1 => "gamma1",
            Self::Beta1 => "beta1",
            Self::Gamma2 => "gamma2",
            Self::Beta2 => "beta2",
            Self::Spiral => "spiral positions",
            Self::Clock => "clock positions",
            Self::Prime => "prime positions",
            Self::Learned => "learned",
            Self::Head => "head",
        }
    }

    /// Whether the layout of the original library has no place for it.
    pub fn is_later(self) -> bool {
        matches!(self, Self::Output | Self::Head)
    }

    /// Whether each layer has one.
    pub fn in_layer(self) -> bool {
        Self::LAYER.contains(&self)
    }

    /// Whether its values decay: matrices do, biases and norms don't.
    pub fn decays(self) -> bool {
        matches!(
            self,
            Self::Embeddings
                | Self::Query
                | Self::Key
                | Self::Value
                | Self::Output
                | Self::W1
                | Self::W2
                | Self::Learned
                | Self::Head
        )
    }

    /// Floats of the tensor, an attention matrix being d×d.
    ///
    /// # Errors
    /// A length that no memory could hold.
    pub fn floats(self, extent: &Extent) -> Result<usize> {
        let &Extent { vocab, dim, hidden, positions } = extent;
        let (what, sizes) = match self {
            Self::Embeddings => ("the embedding matrix", [vocab, dim]),
            Self::Head => ("the output matrix", [vocab, dim]),
            Self::LatticeTransform | Self::InverseTransform => ("a transform", [dim, dim]),
            Self::Query | Self::Key | Self::Value | Self::Output => {
                ("an attention matrix", [dim, dim])
            }
            Self::W1 | Self::W2 => ("a feed-forward matrix", [hidden, dim]),
            Self::Bias1 => ("a bias", [hidden, 1]),
            Self::Bias2 => ("a bias", [dim, 1]),
            Self::Gamma1 | Self::Beta1 | Self::Gamma2 | Self::Beta2 => ("a norm", [dim, 1]),
            Self::Spiral | Self::Clock | Self::Prime | Self::Learned => {
                ("a position table", [positions, dim])
            }
        };
        Ok(product(what, &sizes)?)
    }
}

/// One tensor of a model: a part, and its layer (0 where it is in none). Displayed it reads
/// `query of layer 2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TensorName {
    /// The part.
    pub part: Part,
    /// Its layer.
    pub layer: usize,
}

impl fmt::Display for TensorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.part.name())?;
        if self.part.in_layer() {
            write!(f, " of layer {}", self.layer)?;
        }
        Ok(())
    }
}
