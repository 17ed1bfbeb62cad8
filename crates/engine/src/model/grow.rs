//! Ids for a model that was trained without them.

use super::{Model, ModelShape, Part, TensorName, TokenRecord};
use crate::error::{Error, Result};
use crate::text::Vocabulary;
use cllm_kernels::memory::{copied, filled, reserve};

/// The mean of the rows of an embedding matrix, summed in the order of ids in f64: how a token begins
/// that the model knows nothing of. Logits are products with embeddings, so such a token is as likely
/// as an average one.
///
/// # Errors
/// No memory.
pub fn mean_row(embeddings: &[f32], dim: usize) -> Result<Vec<f32>> {
    let mut sums = filled::<f64>("a row of the embeddings", dim)?;
    let rows = embeddings.chunks_exact(dim.max(1));
    let count = rows.len().max(1) as f64;
    for row in rows {
        sums.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
    }
    let mut mean = filled("a row of the embeddings", dim)?;
    mean.iter_mut().zip(sums).for_each(|(mean, sum): (&mut f32, f64)| *mean = (sum / count) as f32);
    Ok(mean)
}

/// Whether `new` goes on where `old` ends: nobody's id changes. Slots that `old` leaves empty may be
/// filled.
///
/// # Errors
/// Names the first id that would mean another word.
pub fn check_growth<'w>(
    old: impl Iterator<Item = &'w [u8]>,
    new: impl Iterator<Item = &'w [u8]>,
) -> Result<()> {
    let mut new = new.fuse();
    for (id, word) in old.enumerate() {
        let other = new.next();
        if !word.is_empty() && other != Some(word) {
            let [word, other] = [word, other.unwrap_or(b"nothing")].map(String::from_utf8_lossy);
            return Err(Error::shape(format!(
                "id {id} is '{word}' in the model, and would be '{other}'"
            )));
        }
    }
    Ok(())
}

impl Model {
    /// Makes room for `vocab` ids in all. The rows of the new ids are [the mean](mean_row) of all
    /// others; everything else stays as it is, the tokenizer too.
    ///
    /// # Errors
    /// Fewer ids than there are; more than fit; no memory. The model is then as before.
    ///
    /// ```
    /// use cllm_engine::{Model, ModelConfig};
    ///
    /// let sizes = ModelConfig { vocab: 4, dim: 8, heads: 2, ..ModelConfig::default() };
    /// let mut model = Model::new(&sizes, 1)?;
    /// let before = model.view().params.embeddings.to_vec();
    /// model.grow(6)?;
    /// let after = model.view().params.embeddings;
    /// assert_eq!((after.len(), &after[..4 * 8]), (6 * 8, &before[..]));
    /// assert_eq!(after[4 * 8..5 * 8], after[5 * 8..]);
    /// # Ok::<(), cllm_engine::Error>(())
    /// ```
    pub fn grow(&mut self, vocab: usize) -> Result<()> {
        let old = self.shape().vocab;
        if vocab < old {
            return Err(Error::shape(format!("the model has {old} ids, more than {vocab}")));
        }
        let shape = ModelShape { vocab, ..self.shape().clone() };
        let mut grown = Self::zeroed(shape.clone())?;
        let whole = |part| TensorName { part, layer: 0 };
        let apart = Part::TABLES.into_iter().chain(Part::TRANSFORMS).map(whole);
        for name in shape.block().chain(apart) {
            let (Some(from), Some(to)) = (self.floats(name), grown.floats_mut(name)) else {
                continue;
            };
            let (same, more) = to.split_at_mut(from.len().min(to.len()));
            same.copy_from_slice(&from[..same.len()]);
            if matches!(name.part, Part::Embeddings | Part::Head) {
                let mean = mean_row(from, shape.dim)?;
                more.chunks_exact_mut(shape.dim).for_each(|row| row.copy_from_slice(&mean));
            }
        }
        *grown.metadata_mut() = self.metadata().clone();
        *grown.training_mut() = *self.training();
        let mut tokens = Vec::new();
        if !self.tokens().is_empty() {
            reserve("the tokens", &mut tokens, vocab)?;
            tokens.extend_from_slice(self.tokens());
            tokens.extend((old..vocab).map(|id| TokenRecord::plain(id as u32)));
        }
        grown.set_records(self.tokenizer().cloned(), tokens, copied("the points", self.points())?);
        *self = grown;
        Ok(())
    }

    /// Gives a model whose tokens are words more of them: `vocabulary` holds its words at their ids,
    /// and new ones behind. It grows by as many ids as it has too few.
    ///
    /// # Errors
    /// A model with subwords, which spell every word; an id that would mean another word; as
    /// [`grow`](Self::grow).
    pub fn grow_vocabulary(&mut self, vocabulary: Vocabulary) -> Result<()> {
        if self.tokenizer().is_some() {
            let no_words = || Error::state("subwords spell every word: they need not grow");
            let old = self.vocabulary().ok_or_else(no_words)?;
            check_growth(
                old.iter().map(|(word, _)| word),
                vocabulary.iter().map(|(word, _)| word),
            )?;
        }
        if vocabulary.len() > self.shape().vocab {
            self.grow(vocabulary.len())?;
        }
        self.set_tokenizer(vocabulary)
    }
}
