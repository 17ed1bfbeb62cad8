//! Which tokens may be drawn.

use super::GeneratorConfig;
use crate::error::{Error, Result};
use cllm_kernels::memory::grow;
use std::ops::ControlFlow;

/// Says before each token of a generation which ones may come: it gets the sequence so far and, for
/// every token of the model, `true`, and sets those to `false` that may not come. What the settings
/// leave out stays out, whatever it says. Where it breaks, the text ends, as at a stop token.
/// See [`Generator::set_filter`](super::Generator::set_filter).
pub type Filter = Box<dyn FnMut(&[u32], &mut [bool]) -> ControlFlow<()> + Send + Sync>;

/// The tokens that may be drawn, in memory that is used again from call to call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Allowed {
    /// For each token of the model; empty where all may.
    open: Vec<bool>,
}

impl Allowed {
    /// Those of a model's `vocab` tokens that the settings leave, and the mask, if there is one: an id
    /// that it has no place for is closed.
    ///
    /// # Errors
    /// [`ErrorKind::State`](crate::ErrorKind) where none is left; no memory.
    pub fn set(
        &mut self,
        vocab: usize,
        config: &GeneratorConfig,
        mask: Option<&[bool]>,
    ) -> Result<()> {
        self.open.clear();
        let GeneratorConfig { suppress_tokens, allowed_tokens, .. } = config;
        if suppress_tokens.is_empty() && allowed_tokens.is_none() && mask.is_none() {
            return Ok(());
        }
        grow("the tokens that may be drawn", &mut self.open, vocab)?;
        match allowed_tokens {
            Some(ids) => self.mark(ids, true),
            None => self.open.fill(true),
        }
        self.mark(suppress_tokens, false);
        if let Some(mask) = mask {
            for (id, open) in self.open.iter_mut().enumerate() {
                *open &= mask.get(id).is_some_and(|&open| open);
            }
        }
        if vocab > 0 && !self.open.contains(&true) {
            let text = "every token of the model is suppressed or not allowed: none can be drawn";
            return Err(Error::state(text));
        }
        Ok(())
    }

    /// Ids that the model does not have don't matter.
    fn mark(&mut self, ids: &[u32], open: bool) {
        for &id in ids {
            if let Some(place) = self.open.get_mut(id as usize) {
                *place = open;
            }
        }
    }

    /// Whether a token may be drawn.
    pub fn is_open(&self, id: usize) -> bool {
        self.open.get(id).is_none_or(|&open| open)
    }

    /// Gives the logits, or probabilities, of the tokens that may not be drawn one value.
    pub fn close(&self, values: &mut [f32], value: f32) {
        for (x, open) in values.iter_mut().zip(&self.open) {
            if !open {
                *x = value;
            }
        }
    }
}
