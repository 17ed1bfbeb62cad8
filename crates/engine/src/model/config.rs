//! What a program states to have a model made.

use super::params::AttentionLayout;
use super::shape::{LayerShape, ModelShape, Table, block_floats, check_heads};
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
    /// Positions that the model tells apart; 0: it knows none.
    pub context: usize,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self { vocab: 1000, dim: 128, layers: 4, heads: 4, hidden: 512, context: 128 }
    }
}

impl ModelConfig {
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
        self.num_weights()?;
        product("a position table", &[self.context, self.dim])?;
        // After the products: a wild number is told as the memory that it would take.
        if self.layers as u64 > MAX_LAYERS {
            return Err(Error::argument("num_layers", self.layers, "at most 65536"));
        }
        Ok(())
    }

    /// Floats of the weights, the position table not counted:
    /// V·d + L·(3·d² + 2·d·F + F + 5·d).
    ///
    /// # Errors
    /// More than any memory holds.
    pub fn num_weights(&self) -> Result<usize> {
        let hidden = product("the weights", &[self.layers, self.hidden])?;
        let norms = self.layers.saturating_mul(2);
        block_floats(self.vocab, self.dim, self.layers, hidden, norms)
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
            bias1: true,
            bias2: true,
        };
        let mut layers = Vec::new();
        layers.try_reserve_exact(self.layers).map_err(|_| Error::Memory {
            what: "the layers",
            bytes: self.layers.saturating_mul(size_of::<LayerShape>()),
        })?;
        layers.resize(self.layers, layer);
        Ok(ModelShape {
            vocab: self.vocab,
            dim: self.dim,
            max_length: self.context,
            layout: AttentionLayout::Full,
            embeddings: true,
            layers,
            norms: filled("the norms", 2 * self.layers)?,
            tables: [Table::Stored; 4],
            transforms: [false; 2],
        })
    }
}
