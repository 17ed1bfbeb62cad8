//! The key/value cache at work: which tokens it holds, and what comes after them.

use crate::error::{Error, Result};
use crate::model::{Network, Weight, WeightsVersion};
use crate::nn::activations::{Activations, Save};
use crate::nn::cache::KvCache;
use crate::nn::forward::{self, Beyond};
use cllm_kernels::Pool;

/// Positions that one pass of a long prompt runs at once; bounds the memory of prefill.
const PREFILL_ROWS: usize = 256;

/// A cache, and what is in it.
#[derive(Debug, Default)]
pub struct Session {
    cache: KvCache,
    activations: Activations,
    /// The weights that the cache was filled with.
    version: WeightsVersion,
}

impl Session {
    /// Empties the cache.
    pub fn clear(&mut self) {
        self.cache.truncate(0);
    }

    /// Forgets what is cached behind the first `len` tokens.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.cache.truncate(len);
    }

    /// What is cached, unless the weights have changed since: `version` is what they are now.
    pub(crate) fn content(&self, version: WeightsVersion) -> Option<&KvCache> {
        (version == self.version && !self.cache.is_empty()).then_some(&self.cache)
    }

    /// A session whose cache was filled with the weights of `version`.
    pub(crate) fn with_content(cache: KvCache, version: WeightsVersion) -> Self {
        Self { cache, version, ..Self::default() }
    }

    /// Leaves the hidden vector `[d]` of the last of `tokens` in `hidden`, and the logits `[V]` of
    /// what comes after it in `logits`. Where the cached tokens are the beginning of `tokens`, and
    /// not all of them, only the rest is computed, provided that the weights have the version of the
    /// call before. Tokens that are the same again are computed anew.
    ///
    /// # Errors
    /// For no tokens, a token that the model does not have, outputs of another size, no memory: the
    /// outputs are unchanged.
    pub fn run(
        &mut self,
        pool: &Pool,
        model: &Network<impl Weight>,
        tokens: &[u32],
        hidden: &mut [f32],
        logits: &mut [f32],
    ) -> Result<()> {
        if tokens.is_empty() {
            return Err(Error::argument("the number of tokens", 0, "1 or more"));
        }
        if let Some(id) = tokens.iter().find(|&&id| id as usize >= model.vocab) {
            return Err(Error::argument("a token id", id, "below the model's vocabulary size"));
        }
        if (hidden.len(), logits.len()) != (model.dim, model.vocab) {
            return Err(Error::shape(format!(
                "{} values for the hidden vector and {} for the logits, but the model has {} and {}",
                hidden.len(),
                logits.len(),
                model.dim,
                model.vocab
            )));
        }
        let cached = self.cache.tokens();
        let extends = cached.len() < tokens.len() && tokens.starts_with(cached);
        let version = model.weights_version_since(self.version);
        if !extends || version != self.version {
            self.clear();
        }
        self.version = version;
        let rest = &tokens[self.cache.len()..];
        if let Err(error) = self.append(pool, model, rest) {
            self.clear();
            return Err(error);
        }
        let d = model.dim;
        let last = (rest.len() - 1) % PREFILL_ROWS;
        let normed = &self.activations.normed[last * d..(last + 1) * d];
        hidden.copy_from_slice(normed);
        forward::logits(pool, model, normed, 1, logits);
        Ok(())
    }

    fn append(&mut self, pool: &Pool, model: &Network<impl Weight>, tokens: &[u32]) -> Result<()> {
        for piece in tokens.chunks(PREFILL_ROWS) {
            let (activations, cache) = (&mut self.activations, Some(&mut self.cache));
            forward::forward(
                pool,
                model,
                piece,
                1,
                activations,
                Save::Nothing,
                cache,
                Beyond::LastRow,
            )?;
        }
        Ok(())
    }

    /// What of `sequence` the model should look at: all of it while it fits into the model's
    /// positions; later its last part. The window moves by half of the context at a time, so that
    /// it is recomputed only once in that many tokens.
    pub fn window<'s>(model: &Network<impl Weight>, sequence: &'s [u32]) -> &'s [u32] {
        let Some(context) = model.positions().filter(|&context| sequence.len() > context) else {
            return sequence;
        };
        let step = (context / 2).max(1);
        let dropped = (sequence.len() - context).div_ceil(step) * step;
        &sequence[dropped.min(sequence.len() - 1)..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ModelRef;
    use crate::model::{Layers, Params};

    #[test]
    fn windows() {
        let table = [0.0; 8];
        let model = ModelRef {
            version: 0,
            vocab: 1,
            dim: 1,
            max_length: 8,
            spiral: Some(&table),
            params: Params {
                embeddings: &[0.0][..],
                layers: Layers::new(),
                learned: None,
                head: None,
            },
        };
        let sequence: Vec<u32> = (0..40).collect();
        let mut starts = Vec::new();
        for n in 1..40 {
            let window = Session::window(&model, &sequence[..n]);
            assert!(window.len() <= 8 && (n < 8 || window.len() > 4), "{n}: {}", window.len());
            assert_eq!(window.last(), sequence[..n].last());
            starts.push(window[0]);
        }
        starts.dedup();
        assert_eq!(starts, [0, 4, 8, 12, 16, 20, 24, 28, 32]);
    }
}
