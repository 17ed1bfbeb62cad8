//! The likeliest next tokens, without drawing any.

use super::Scorer;
use crate::error::{Error, Result};
use crate::generate::GeneratorConfig;
use crate::generate::sampler::{Candidate, order};
use crate::generate::session::Session;
use crate::model::{Network, Weight};
use cllm_kernels::Pool;
use cllm_kernels::cross_entropy::softmax;
use cllm_kernels::memory::{grow, reserve};

/// A token that may come next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NextToken {
    /// Its id.
    pub id: u32,
    /// From 0 to 1.
    pub probability: f32,
}

impl Scorer {
    /// The `n` likeliest tokens after `prompt` with their probabilities, likeliest first, of equals the
    /// lower id; all of them where they are fewer than `n`. As a generation sees a long prompt, so it is
    /// seen here: by its last part.
    ///
    /// Tokens that `config` suppresses or does not allow are left out, and the others' probabilities
    /// sum to 1. Its other settings take no part: this is the distribution at temperature 1.
    ///
    /// ```
    /// use cllm_engine::generate::GeneratorConfig;
    /// use cllm_engine::score::Scorer;
    /// use cllm_engine::{Model, ModelConfig, Pool};
    ///
    /// let model = Model::new(&ModelConfig { vocab: 8, dim: 16, heads: 2, ..Default::default() }, 1)?;
    /// let config = GeneratorConfig { suppress_tokens: vec![0, 1], ..Default::default() };
    /// let next = Scorer::new().next_tokens(&Pool::serial(), &model.view(), &[5, 6], &config, 3)?;
    /// assert!(next.len() == 3 && next[0].probability >= next[1].probability && next[0].id > 1);
    /// # Ok::<(), cllm_engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// An empty prompt; an id that the model does not have; every token suppressed; logits that are no
    /// numbers; no memory.
    pub fn next_tokens(
        &mut self,
        pool: &Pool,
        model: &Network<impl Weight>,
        prompt: &[u32],
        config: &GeneratorConfig,
        n: usize,
    ) -> Result<Vec<NextToken>> {
        self.allowed.set(model.vocab, config, None)?;
        self.session.clear();
        self.distribution(pool, model, Session::window(model, prompt))?;
        let mut found = Vec::new();
        let all = self.logits.len();
        let ids = (0..all).filter(|&id| self.allowed.is_open(id));
        best(&mut found, n, ids.map(|id| (self.logits[id], id as u32)), all)?;
        Ok(found.iter().map(|&(probability, id)| NextToken { id, probability }).collect())
    }

    /// The probabilities of what comes after `tokens`, in `logits`; what may not come has 0. Of the tokens
    /// that are cached at the beginning only the rest is computed.
    pub(super) fn distribution(
        &mut self,
        pool: &Pool,
        model: &Network<impl Weight>,
        tokens: &[u32],
    ) -> Result<()> {
        for (what, buffer, len) in [
            ("the hidden vector", &mut self.hidden, model.dim),
            ("the logits", &mut self.logits, model.vocab),
        ] {
            buffer.truncate(len);
            grow(what, buffer, len)?;
        }
        self.session.run(pool, model, tokens, &mut self.hidden, &mut self.logits)?;
        self.allowed.close(&mut self.logits, f32::NEG_INFINITY);
        if !softmax(&mut self.logits).is_finite() {
            return Err(Error::state("the model's logits are no numbers, or infinite"));
        }
        self.allowed.close(&mut self.logits, 0.0);
        Ok(())
    }
}

/// Leaves the `n` best of the candidates, of which there are at most `count`, in `found`, best first.
pub(super) fn best(
    found: &mut Vec<Candidate>,
    n: usize,
    candidates: impl Iterator<Item = Candidate>,
    count: usize,
) -> Result<()> {
    found.clear();
    reserve("the candidates", found, count)?;
    found.extend(candidates);
    if (1..found.len()).contains(&n) {
        found.select_nth_unstable_by(n, order);
    }
    found.truncate(n);
    found.sort_unstable_by(order);
    Ok(())
}
