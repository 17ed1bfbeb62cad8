//! What a forward pass computes on its way. Training keeps one [`LayerActivations`] per layer for
//! the backward pass; generation uses a single one for all layers.

use super::dropout::Dropout;
use super::rotary::Angles;
use crate::error::Result;
use crate::model::{Network, Weight};
use cllm_kernels::bf16::Bfloat16;
use cllm_kernels::layer_norm::Stats;
use cllm_kernels::memory::floats::Floats;
use cllm_kernels::memory::{grow, product};

/// Intermediate results of one layer for T rows.
#[derive(Debug, Default)]
pub struct LayerActivations {
    /// Residual stream entering the layer, `[T][d]`.
    pub input: Floats,
    /// Mean and 1/σ of its rows, `[T]`.
    pub stats1: Vec<Stats>,
    /// LN1 of it, `[T][d]`.
    pub normed1: Floats,
    /// Queries, keys, values, `[T][3d]`; queries and keys as attention reads them, normalised and
    /// turned where the layer does so.
    pub qkv: Floats,
    /// What the heads of queries, then of keys, were multiplied by, `[T][2H]`; only where they are
    /// normalised.
    pub qk_factors: Floats,
    /// What Wo maps, `[T][d]`; only where there is a Wo.
    pub attended: Floats,
    /// log Σ e^score of each row and head, `[T][H]`.
    pub lse: Floats,
    /// Residual stream after attention, `[T][d]`.
    pub middle: Floats,
    /// Mean and 1/σ of its rows, `[T]`.
    pub stats2: Vec<Stats>,
    /// LN2 of it, `[T][d]`.
    pub normed2: Floats,
    /// The activation of W1·x + b1, `[T][F]`.
    pub hidden: Floats,
    /// Its derivative there, `[T][F]`; only where the backward pass needs it.
    pub slope: Floats,
}

/// Intermediate results of a whole forward pass.
#[derive(Debug, Default)]
pub struct Activations {
    /// One per layer, or a single one that all layers share.
    pub layers: Vec<LayerActivations>,
    /// Residual stream after the last layer, `[T][d]`.
    pub output: Floats,
    /// Mean and 1/σ of its rows.
    pub output_stats: Vec<Stats>,
    /// n: the parameter-free norm of it, `[T][d]`.
    pub normed: Floats,
    /// Result of the sublayer at work, `[T][d]`.
    pub delta: Floats,
    /// The angles of rotary positions.
    pub angles: Angles,
    /// What passes for training leave out; a program sets it before a pass, and the backward pass
    /// follows it. [`Save::Nothing`] leaves nothing out.
    pub dropout: Option<Dropout>,
    /// The matrix products of passes for training, where they are not of f32; set and followed
    /// likewise, and by the loss.
    pub bfloat16: Option<Bfloat16>,
}

/// Which intermediate results a pass saves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Save {
    /// Those of every layer, for the backward pass.
    ForBackward,
    /// Only the final ones.
    Nothing,
}

impl Activations {
    /// Makes room for `rows` rows of `model`; what is there already is used again.
    pub fn reserve(&mut self, model: &Network<impl Weight>, rows: usize, save: Save) -> Result<()> {
        const WHAT: &str = "the activations";
        let d = model.dim;
        let count = match save {
            Save::ForBackward => model.params.layers.len(),
            Save::Nothing => model.params.layers.len().min(1),
        };
        let width = product(WHAT, &[rows, d])?;
        if self.layers.len() < count {
            self.layers.resize_with(count, LayerActivations::default);
        }
        for (l, a) in self.layers.iter_mut().enumerate().take(count) {
            let (hidden, heads) = match save {
                Save::ForBackward => {
                    let layer = &model.params.layers[l];
                    (
                        layer.feed_forward.as_ref().map_or(0, |ff| ff.hidden),
                        layer.attention.as_ref().map_or(0, |a| a.heads),
                    )
                }
                Save::Nothing => (model.max_hidden(), model.max_heads()),
            };
            for buffer in [&mut a.input, &mut a.normed1, &mut a.middle, &mut a.normed2] {
                buffer.grow(WHAT, width)?;
            }
            grow(WHAT, &mut a.stats1, rows)?;
            grow(WHAT, &mut a.stats2, rows)?;
            if heads > 0 {
                a.qkv.grow(WHAT, product(WHAT, &[3, width])?)?;
                if model.some_attention(|w| w.scores.qk_norm) {
                    a.qk_factors.grow(WHAT, product(WHAT, &[2, rows, heads])?)?;
                }
                if model.some_attention(|w| w.output.is_some()) {
                    a.attended.grow(WHAT, width)?;
                }
                if save == Save::ForBackward {
                    a.lse.grow(WHAT, product(WHAT, &[rows, heads])?)?;
                }
            }
            if hidden > 0 {
                let hidden = product(WHAT, &[rows, hidden])?;
                a.hidden.grow(WHAT, hidden)?;
                if save == Save::ForBackward {
                    a.slope.grow(WHAT, hidden)?;
                }
            }
        }
        for buffer in [&mut self.output, &mut self.normed, &mut self.delta] {
            buffer.grow(WHAT, width)?;
        }
        grow(WHAT, &mut self.output_stats, rows)?;
        Ok(())
    }
}
