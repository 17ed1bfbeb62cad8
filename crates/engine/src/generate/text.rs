//! Text in, text out: generating with a model that has words.

use super::{Generator, GeneratorConfig, Tokens};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::text::{Vocabulary, special};

impl GeneratorConfig {
    /// The default for texts of a model: `<EOS>` ends them, and what is no word of a text is never
    /// drawn: the other special words, an `<EOS>` that training never met (as the vocabulary's counts
    /// say, if it has any), slots without a word. Of a model without vocabulary the default.
    pub fn for_words(model: &Model) -> Self {
        let Some(vocabulary) = model.vocabulary() else { return Self::default() };
        let met = |id: u32| vocabulary.count(id).unwrap_or(0) as f32;
        let mut suppress_tokens = special::never_drawn(vocabulary.words(), met);
        if !suppress_tokens.is_empty() {
            suppress_tokens.extend(vocabulary.len() as u32..model.config().vocab as u32);
        }
        let stop_tokens = special::end(vocabulary.words()).into_iter().collect();
        Self { stop_tokens, suppress_tokens, ..Self::default() }
    }
}

impl Generator {
    /// [`Generator::prompt`] with the words of a text.
    ///
    /// # Errors
    /// A model without vocabulary; a text without words; no memory.
    pub fn prompt_text(&mut self, model: &Model, text: &[u8]) -> Result<()> {
        let ids = vocabulary(model)?.encode(text)?;
        if ids.is_empty() {
            return Err(Error::argument("prompt", "empty", "at least one word"));
        }
        self.prompt(&ids)
    }

    /// The text to come, word by word, each with a space before it: what [`Generator::tokens`]
    /// gives, without special words.
    ///
    /// # Errors
    /// A model without vocabulary.
    ///
    /// ```
    /// use cllm_engine::generate::{Generator, GeneratorConfig};
    /// use cllm_engine::{Model, ModelConfig, Vocabulary};
    ///
    /// let vocabulary = Vocabulary::from_text(b"to be or not to be", 100, 1)?;
    /// let sizes = ModelConfig { vocab: vocabulary.len(), dim: 16, heads: 2, ..Default::default() };
    /// let mut model = Model::new(&sizes, 1)?; // not trained: it speaks at random
    /// model.set_vocabulary(Some(vocabulary))?;
    ///
    /// let config = GeneratorConfig { max_tokens: 3, ..GeneratorConfig::for_words(&model) };
    /// let mut generator = Generator::new(config, 42)?;
    /// generator.prompt_text(&model, b"to be or")?;
    /// let mut text = b"to be or".to_vec();
    /// for piece in generator.text(&model)? {
    ///     text.extend(piece?); // or print it: it is there before the next one is computed
    /// }
    /// assert!(text.starts_with(b"to be or "));
    /// # Ok::<(), cllm_engine::Error>(())
    /// ```
    pub fn text<'m>(&mut self, model: &'m Model) -> Result<Text<'_, 'm>> {
        let vocabulary = vocabulary(model)?;
        Ok(Text { tokens: self.tokens(model), vocabulary })
    }
}

fn vocabulary(model: &Model) -> Result<&Vocabulary> {
    model.vocabulary().ok_or_else(|| Error::State("the model has no vocabulary".into()))
}

/// The text to come: [`Generator::text`].
pub struct Text<'g, 'm> {
    tokens: Tokens<'g, 'm>,
    vocabulary: &'m Vocabulary,
}

impl Iterator for Text<'_, '_> {
    type Item = Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let id = match self.tokens.next()? {
                Ok(id) => id,
                Err(error) => return Some(Err(error)),
            };
            let word = self.vocabulary.word(id).unwrap_or_default();
            if !word.is_empty() && !special::is_special(self.vocabulary.words(), id) {
                return Some(Ok([b" ", word].concat()));
            }
        }
    }
}

impl std::iter::FusedIterator for Text<'_, '_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ModelConfig;

    #[test]
    fn words_and_what_is_none() {
        let words = ["<PAD>", "<unk>", "<BOS>", "<EOS>", "<MASK>", "a", "", "<UNK_7>", "b"];
        let vocabulary = Vocabulary::from_words(words.map(|w| (w.as_bytes(), 1))).unwrap();
        let sizes = ModelConfig { vocab: 11, dim: 8, heads: 2, ..ModelConfig::default() };
        let mut model = Model::new(&sizes, 3).unwrap();
        let plain = GeneratorConfig::for_words(&model);
        assert_eq!(plain, GeneratorConfig::default());
        let mut generator = Generator::new(plain, 1).unwrap();
        assert!(generator.prompt_text(&model, b"a").is_err() && generator.text(&model).is_err());

        model.set_vocabulary(Some(vocabulary)).unwrap();
        let config = GeneratorConfig::for_words(&model);
        assert_eq!(config.stop_tokens, [3]);
        assert_eq!(config.suppress_tokens, [0, 1, 2, 4, 6, 7, 9, 10]);
        assert!(generator.prompt_text(&model, b" \n").is_err());
        let config = GeneratorConfig { max_tokens: 40, stop_tokens: Vec::new(), ..config };
        let mut generator = Generator::new(config, 1).unwrap();
        generator.prompt_text(&model, b"b nothing a").unwrap();
        assert_eq!(generator.sequence(), [8, 1, 5]);
        let pieces: Vec<_> = generator.text(&model).unwrap().map(Result::unwrap).collect();
        assert!(pieces.iter().all(|piece| piece == b" a" || piece == b" b"), "{pieces:?}");
        assert!(generator.sequence()[3..].iter().all(|id| [3, 5, 8].contains(id)));
        assert_eq!(generator.continuation().len(), 40);
    }
}
