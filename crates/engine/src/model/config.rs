//! What a program states to have a model made.

use super::architecture::Architecture;
use super::params::AttentionLayout;
use super::shape::{
    LayerShape, ModelShape, NormShape, Precision, Table, block_floats, check_heads, rotary_head_dim,
};
use crate::error::{Error, Result};
use crate::limits::MAX_LAYERS;
use cllm_kernels::memory::{filled, product};

/// The sizes of a new model. [`Default`] is a small one that trains in minutes; `vocab` is then set
/// to the length of the vocabulary.
///
/// ```
/// use cllm_engine::ModelConfig;
///
/// let config = ModelConfig { vocab: 300, dim: 64, hidden: 256, ..ModelConfig::default() };
/// assert_eq!(config.num_weights()?, 300 * 64 + 4 * (3 * 64 * 64 + 2 * 64 * 256 + 256 + 5 * 64));
/// assert!(ModelConfig { heads: 3, ..config }.check().is_err());
/// # Ok::<(), cllm_engine::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelConfig {
    /// V: tokens; 1 or more.
    pub vocab: usize,
    /// d: width of the embeddings, a multiple of `heads`.
    pub dim: usize,
    /// L: blocks; 1 to 65536 (a file holds at most 100).
    pub layers: usize,
    /// Attention heads of each block; 1 or more.
    pub heads: usize,
    /// F: width of the feed-forward sublayers, by custom 4 d; 0: none.
    pub hidden: usize,
    /// Positions that the model tells apart; 0: it knows none. With rotary positions there is no
    /// last one: then it is the length of the windows that the model is trained on.
    pub context: usize,
    /// What the blocks compute.
    pub architecture: Architecture,
    /// Whether the layer norms scale and shift, by parameters of their own.
    pub norm_parameters: bool,
    /// Whether the feed-forward sublayers have biases.
    pub biases: bool,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            vocab: 1000,
            dim: 128,
            layers: 4,
            heads: 4,
            hidden: 512,
            context: 128,
            architecture: Architecture::ORIGINAL,
            norm_parameters: true,
            biases: true,
        }
    }
}

impl ModelConfig {
    /// The sizes as a new model would be made with; of layers that differ, those of the first.
    pub(crate) fn of(shape: &ModelShape) -> Self {
        Self {
            vocab: shape.vocab,
            dim: shape.dim,
            layers: shape.layers.len(),
            heads: shape.heads(),
            hidden: shape.layers.first().map_or(0, |layer| layer.hidden),
            context: shape.max_length,
            architecture: shape.architecture,
            norm_parameters: shape.norms.iter().any(|norm| norm.gamma || norm.beta),
            biases: shape.layers.iter().any(|layer| layer.bias1 || layer.bias2),
        }
    }

    /// The default sizes with the block of [`Architecture::MODERN`], norms without parameters and
    /// no biases.
    ///
    /// ```
    /// use cllm_engine::{Model, ModelConfig};
    ///
    /// let config = ModelConfig { vocab: 100, dim: 32, hidden: 128, ..ModelConfig::modern() };
    /// let model = Model::new(&config, 42)?;
    /// assert_eq!(model.config(), config);
    /// // Pairs of components turn: a head of three has one too many.
    /// assert!(ModelConfig { dim: 12, heads: 4, ..config }.check().is_err());
    /// # Ok::<(), cllm_engine::Error>(())
    /// ```
    pub fn modern() -> Self {
        let architecture = Architecture::MODERN;
        Self { architecture, norm_parameters: false, biases: false, ..Self::default() }
    }

    /// Checks the sizes, and that their products fit into memory at all.
    ///
    /// # Errors
    /// The size at fault, by its name in the C headers (`vocab_size`, `embedding_dim`,
    /// `num_layers`, `num_heads`).
    pub fn check(&self) -> Result<()> {
        for (name, value) in
            [("vocab_size", self.vocab), ("embedding_dim", self.dim), ("num_layers", self.layers)]
        {
            if value == 0 {
                return Err(Error::argument(name, 0, "1 or more"));
            }
        }
        check_heads(self.dim, self.heads)?;
        if self.architecture.rotary {
            rotary_head_dim(std::iter::once(self.dim / self.heads))?;
        }
        self.num_weights()?;
        product("a position table", &[self.context, self.dim])?;
        // After the products: a wild number is told as the memory that it would take.
        if self.layers as u64 > MAX_LAYERS {
            return Err(Error::argument("num_layers", self.layers, "at most 65536"));
        }
        Ok(())
    }

    /// Floats of the block of weights, the position table not counted:
    /// V·d + L·(3·d² + 2·d·F + F + 5·d), with Wo L·d² more, with an output matrix V·d more. Biases
    /// and norms have their places whether the model has them or not, but for the L second norms
    /// of a model whose norms have no parameters, 2·L·d less.
    ///
    /// # Errors
    /// More than any memory holds.
    pub fn num_weights(&self) -> Result<usize> {
        let hidden = product("the weights", &[self.layers, self.hidden])?;
        let norms = self.layers.saturating_mul(if self.norm_parameters { 2 } else { 1 });
        block_floats(self.vocab, self.dim, self.layers, hidden, norms, self.architecture)
    }

    /// The sizes of the model, part by part.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn shape(&self) -> Result<ModelShape> {
        self.check()?;
        let layer = LayerShape {
            heads: self.heads,
            hidden: self.hidden,
            attention: true,
            feed_forward: true,
            bias1: self.biases,
            bias2: self.biases,
        };
        let mut layers = Vec::new();
        layers.try_reserve_exact(self.layers).map_err(|_| {
            Error::memory("the layers", self.layers.saturating_mul(size_of::<LayerShape>()))
        })?;
        layers.resize(self.layers, layer);
        let norms = if self.norm_parameters {
            filled("the norms", 2 * self.layers)?
        } else {
            // LN2 of such a model has no parameters either: no second half is needed to say so.
            let mut norms = filled("the norms", self.layers)?;
            norms.fill(NormShape { gamma: false, beta: false, ..NormShape::FULL });
            norms
        };
        let kind = if self.architecture.rotary { Table::Absent } else { Table::Stored };
        let tables = [kind; 4];
        Ok(ModelShape {
            vocab: self.vocab,
            dim: self.dim,
            max_length: self.context,
            layout: AttentionLayout::Full,
            architecture: self.architecture,
            precision: Precision::F32,
            embeddings: true,
            layers,
            norms,
            tables,
            transforms: [false; 2],
        })
    }
}
