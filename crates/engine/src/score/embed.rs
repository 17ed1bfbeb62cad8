//! The hidden state after the last layer: a vector for each token, or one for a text.

use super::{Scorer, check};
use crate::error::{Error, Result};
use crate::model::{Network, Weight};
use crate::nn::windows::{self, Windows};
use cllm_kernels::Pool;
use cllm_kernels::memory::filled;

/// How the vectors of a text's tokens become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// Their mean, each token counting alike.
    Mean,
    /// That of the last token, which has seen all others of its window.
    Last,
}

impl Scorer {
    /// The final hidden vectors of `ids`, `[ids.len()][d]`: the residual stream after the last layer
    /// and the output norm, which the logits are the products of with the embeddings. Each row is that of
    /// the window that answers for its token.
    ///
    /// # Errors
    /// No ids; an id that the model does not have; an output of another length; no memory.
    pub fn hidden_states(
        &mut self,
        pool: &Pool,
        model: &Network<impl Weight>,
        ids: &[u32],
        windows: Windows,
        out: &mut [f32],
    ) -> Result<()> {
        check(model, ids)?;
        let d = model.dim;
        if out.len() / d != ids.len() || !out.len().is_multiple_of(d) {
            let (n, len) = (ids.len(), out.len());
            return Err(Error::shape(format!("{n} vectors of {d} values don't fit {len}")));
        }
        let Self { activations, windows: buffers, .. } = self;
        windows::run(pool, model, ids, windows, activations, buffers, |at, normed| {
            out[at.start * d..at.end * d].copy_from_slice(normed);
            Ok(())
        })
    }

    /// One vector `[d]` for a text, of its [`hidden_states`](Self::hidden_states): texts that the model
    /// goes on alike after have similar ones (by the cosine of the angle between them). For the last
    /// token only its window is computed.
    ///
    /// ```
    /// use cllm_engine::score::{Pooling, Scorer, Windows};
    /// use cllm_engine::{Model, ModelConfig, Pool};
    ///
    /// let model = Model::new(&ModelConfig { vocab: 8, dim: 16, heads: 2, ..Default::default() }, 1)?;
    /// let (view, mut vector) = (model.view(), [0.0; 16]);
    /// let windows = Windows::of(&view);
    /// Scorer::new().embed(&Pool::serial(), &view, &[5, 6, 7], windows, Pooling::Mean, &mut vector)?;
    /// assert!(vector.iter().any(|&x| x != 0.0));
    /// # Ok::<(), cllm_engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`hidden_states`](Self::hidden_states).
    pub fn embed(
        &mut self,
        pool: &Pool,
        model: &Network<impl Weight>,
        ids: &[u32],
        windows: Windows,
        pooling: Pooling,
        out: &mut [f32],
    ) -> Result<()> {
        check(model, ids)?;
        let d = model.dim;
        if out.len() != d {
            let len = out.len();
            return Err(Error::shape(format!("a vector of {d} values does not fit {len}")));
        }
        let Self { activations, windows: buffers, .. } = self;
        match pooling {
            Pooling::Last => {
                let last = &ids[windows.last_start(ids.len())..];
                windows::run(pool, model, last, windows, activations, buffers, |_, normed| {
                    out.copy_from_slice(&normed[normed.len() - d..]);
                    Ok(())
                })
            }
            Pooling::Mean => {
                let mut sums = filled::<f64>("the sum of the vectors", d)?;
                windows::run(pool, model, ids, windows, activations, buffers, |_, normed| {
                    for row in normed.chunks_exact(d) {
                        sums.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
                    }
                    Ok(())
                })?;
                let n = ids.len() as f64;
                out.iter_mut().zip(&sums).for_each(|(out, sum)| *out = (sum / n) as f32);
                Ok(())
            }
        }
    }
}
