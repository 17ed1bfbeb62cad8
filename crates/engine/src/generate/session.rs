//! One sequence being continued: its tokens, their keys and values, the logits of what comes next.

use crate::error::{Error, Result};
use crate::limits::CACHE_AHEAD;
use crate::nn::activations::{Activations, Save};
use crate::nn::cache::KvCache;
use crate::nn::forward::{self, Beyond};
use crate::nn::model::ModelRef;
use cllm_kernels::Pool;
use cllm_kernels::memory::reserve;

/// Positions that one pass of a long prompt runs at once; bounds the memory of prefill.
const PREFILL_ROWS: usize = 256;

/// A sequence and its private cache.
#[derive(Debug, Default)]
pub struct Session {
    cache: KvCache,
    tokens: Vec<u32>,
    activations: Activations,
    /// What the weights were when the cache was filled.
    stamp: u64,
}

impl Session {
    /// Forgets the sequence.
    pub fn clear(&mut self) {
        self.cache.truncate(0);
        self.tokens.clear();
    }

    /// Tokens whose keys and values are cached.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// The cached tokens and their tables, unless the weights have changed since: `stamp` is what
    /// they are now.
    pub(crate) fn content(&self, stamp: u64) -> Option<(&[u32], &KvCache)> {
        (stamp == self.stamp && !self.tokens.is_empty()).then_some((&self.tokens, &self.cache))
    }

    /// A session whose cache was filled when the weights were as `stamp` says.
    pub(crate) fn with_content(tokens: Vec<u32>, cache: KvCache, stamp: u64) -> Self {
        Self { cache, tokens, stamp, ..Self::default() }
    }

    /// Makes `tokens` the sequence and leaves its last position's hidden vector (n) and logits in
    /// `hidden` and `logits`. Where the cached sequence is a proper prefix, only the rest is
    /// computed, provided that `stamp`, which stands for the state of the weights, is that of the
    /// call before. A sequence that is the same again is computed anew.
    pub fn run(
        &mut self,
        pool: &Pool,
        model: &ModelRef,
        stamp: u64,
        tokens: &[u32],
        hidden: &mut [f32],
        logits: &mut [f32],
    ) -> Result<()> {
        if tokens.is_empty() {
            return Err(Error::argument("num_tokens", 0, "1 or more"));
        }
        if let Some(id) = tokens.iter().find(|&&id| id as usize >= model.vocab) {
            return Err(Error::argument("a token id", id, "below the model's vocabulary size"));
        }
        let known = self.tokens.len();
        let extends = known < tokens.len() && tokens[..known] == self.tokens[..];
        if !extends || stamp != self.stamp {
            self.clear();
        }
        self.stamp = stamp;
        let rest = &tokens[self.tokens.len()..];
        if let Err(error) = self.append(pool, model, rest) {
            self.clear();
            return Err(error);
        }
        let d = model.dim;
        let last = (rest.len() - 1) % PREFILL_ROWS;
        let normed = &self.activations.normed[last * d..(last + 1) * d];
        hidden.copy_from_slice(normed);
        pool.install(|| forward::logits(pool, model, normed, 1, logits));
        Ok(())
    }

    fn append(&mut self, pool: &Pool, model: &ModelRef, tokens: &[u32]) -> Result<()> {
        let len = self.tokens.len() + tokens.len();
        if self.tokens.capacity() < len {
            let room = len.max(model.max_length.min(CACHE_AHEAD)).max(len + len / 2);
            reserve("the sequence", &mut self.tokens, room)?;
        }
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
            self.tokens.extend_from_slice(piece);
        }
        Ok(())
    }

    /// What of `sequence` the model should look at: all of it while it fits into the model's
    /// positions; later its last part. The window moves by half of the context at a time, so that
    /// it is recomputed only once in that many tokens.
    pub fn window<'s>(model: &ModelRef, sequence: &'s [u32]) -> &'s [u32] {
        let context = model.max_length;
        if !model.has_positions() || sequence.len() <= context {
            return sequence;
        }
        let step = (context / 2).max(1);
        let dropped = (sequence.len() - context).div_ceil(step) * step;
        &sequence[dropped.min(sequence.len() - 1)..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::model::{Layers, Params};

    #[test]
    fn windows() {
        let table = [0.0; 8];
        let model = ModelRef {
            vocab: 1,
            dim: 1,
            max_length: 8,
            spiral: Some(&table),
            params: Params { embeddings: &[0.0][..], layers: Layers::new(), learned: None },
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
