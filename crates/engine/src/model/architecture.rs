//! Which mathematics the blocks of a model are made of.

use std::fmt;

/// What the hidden units of a feed-forward sublayer compute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Activation {
    /// GELU in its tanh form (Hendrycks and Gimpel, 2016).
    #[default]
    Gelu,
    /// max(0, z)² (So et al., "Primer: Searching for Efficient Transformers", 2021).
    SquaredRelu,
}

/// What sharp scores of attention are multiplied by: with heads of 32 components the largest score is
/// then 14.1, where Henry et al. (2020) begin for windows of 128 tokens (log₂(128² − 128) = 14.0).
pub const SHARPNESS: f32 = 2.5;

/// What the blocks of a model do beyond the sizes and parts that its
/// [`ModelShape`](super::ModelShape) lists. It is a property of the model and travels in its file:
/// a model generates with the mathematics that it was trained with.
///
/// ```
/// use cllm_engine::model::{Activation, Architecture};
///
/// // Parts can be tried one by one.
/// let gelu = Architecture { activation: Activation::Gelu, ..Architecture::MODERN };
/// assert!(gelu.rotary && gelu != Architecture::MODERN);
/// assert_eq!(Architecture::default(), Architecture::ORIGINAL);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Architecture {
    /// Queries and keys are turned by their positions (Su et al., "RoFormer", 2021; base 10000) in
    /// place of tables of positions: no position is the last one. Needs an even number of components
    /// a head.
    pub rotary: bool,
    /// Queries and keys are divided by their root mean square, each head's by itself (Henry et al.,
    /// "Query-Key Normalization for Transformers", 2020; without a parameter).
    pub qk_norm: bool,
    /// Scores of attention are multiplied by [`SHARPNESS`]. Those of normalised queries and keys are at
    /// most √h in magnitude, too little to tell one of many keys from the rest.
    pub sharp: bool,
    /// Some heads have the keys of the token before: their queries can ask for what followed a token, with
    /// which a single layer copies what stands in the text already. They are the last quarter of the heads
    /// in the last half of the layers ([`shifted_heads`](Self::shifted_heads)), and positions don't turn them.
    pub shifted_keys: bool,
    /// A matrix Wo after attention.
    pub output: bool,
    /// What the hidden units compute.
    pub activation: Activation,
    /// The logits come from a matrix of their own instead of the embeddings.
    pub untied: bool,
}

impl Architecture {
    /// The block of the original library: positions from tables, no matrix after attention, GELU,
    /// tied embeddings.
    pub const ORIGINAL: Self = Self {
        rotary: false,
        qk_norm: false,
        sharp: false,
        shifted_keys: false,
        output: false,
        activation: Activation::Gelu,
        untied: false,
    };

    /// The block that learns most from a token: rotary positions, normalised queries and keys whose
    /// scores are sharp, keys of the token before in some heads, a matrix after attention,
    /// squared ReLU.
    pub const MODERN: Self = Self {
        rotary: true,
        qk_norm: true,
        sharp: true,
        shifted_keys: true,
        output: true,
        activation: Activation::SquaredRelu,
        untied: false,
    };

    /// How many of the `heads` of a layer, the last ones, have the keys of the token before: a quarter, rounded
    /// up, but none of a single one, in the last half of the `layers`, rounded up.
    pub fn shifted_heads(&self, heads: usize, layer: usize, layers: usize) -> usize {
        let some = self.shifted_keys && heads > 1 && layer >= layers / 2;
        if some { heads.div_ceil(4) } else { 0 }
    }

    /// Whether it is the block of files without a section `ARCH`.
    pub fn is_original(&self) -> bool {
        *self == Self::ORIGINAL
    }
}

/// Its parts in words: `rotary positions, norms of queries and keys, sharp scores, keys of the token
/// before, matrix after attention, squared ReLU`.
impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.rotary, "rotary positions"),
            (self.qk_norm, "norms of queries and keys"),
            (self.sharp, "sharp scores"),
            (self.shifted_keys, "keys of the token before"),
            (self.output, "matrix after attention"),
            (self.untied, "output matrix of its own"),
        ];
        for (_, name) in parts.iter().filter(|(has, _)| *has) {
            write!(f, "{name}, ")?;
        }
        f.write_str(match self.activation {
            Activation::Gelu => "GELU",
            Activation::SquaredRelu => "squared ReLU",
        })
    }
}
