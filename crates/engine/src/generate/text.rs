//! Text in, text out: generating with a model that has a tokenizer.

use super::{Generator, GeneratorConfig, Tokens};
use crate::error::{Error, Result};
use crate::model::TextModel;
use crate::text::{Tokenizer, Utf8Stream, special};

impl GeneratorConfig {
    /// The default for texts of a model: the end token ends them, and what is no part of a text is
    /// never drawn: the other special tokens, an end token that training never met (as the counts
    /// that the model has say, if there are any), slots without a word. Of a model without tokenizer
    /// the default.
    pub fn for_words(model: &impl TextModel) -> Self {
        let Some(tokenizer) = model.tokenizer() else { return Self::default() };
        let counts = model.tokens();
        let met = |id: u32| counts.get(id as usize).map_or(0.0, |token| token.frequency);
        let mut suppress_tokens = match tokenizer {
            Tokenizer::Words(words) => special::never_drawn(words.words(), met),
            Tokenizer::Subwords(bpe) => special::never_drawn_subwords(bpe, met),
        };
        if !suppress_tokens.is_empty() {
            suppress_tokens.extend(tokenizer.len() as u32..model.inference().vocab as u32);
        }
        let stop_tokens = tokenizer.end().into_iter().collect();
        Self { stop_tokens, suppress_tokens, ..Self::default() }
    }
}

impl Generator {
    /// [`Generator::prompt`] with the tokens of a text.
    ///
    /// # Errors
    /// A model without tokenizer; a text without tokens; no memory.
    pub fn prompt_text(&mut self, model: &impl TextModel, text: &[u8]) -> Result<()> {
        let ids = tokenizer(model)?.encode(text)?;
        if ids.is_empty() {
            return Err(Error::argument("prompt", "empty", "at least one word"));
        }
        self.prompt(&ids)
    }

    /// The text to come, piece by piece: what [`Generator::tokens`] gives, without special tokens.
    /// Whole words each have a space before them. Subwords are given on as whole UTF-8 characters,
    /// as soon as these are there.
    ///
    /// # Errors
    /// A model without tokenizer.
    ///
    /// ```
    /// use cllm_engine::generate::{Generator, GeneratorConfig};
    /// use cllm_engine::{Model, ModelConfig, Vocabulary};
    ///
    /// let vocabulary = Vocabulary::from_text(b"to be or not to be", 100, 1)?;
    /// let sizes = ModelConfig { vocab: vocabulary.len(), dim: 16, heads: 2, ..Default::default() };
    /// let mut model = Model::new(&sizes, 1)?; // not trained: it speaks at random
    /// model.set_tokenizer(vocabulary)?;
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
    pub fn text<'m>(&mut self, model: &'m impl TextModel) -> Result<Text<'_, 'm>> {
        let tokenizer = tokenizer(model)?;
        let tokens = self.tokens(model.inference());
        Ok(Text { tokens, tokenizer, stream: Utf8Stream::default() })
    }
}

fn tokenizer(model: &impl TextModel) -> Result<&Tokenizer> {
    model.tokenizer().ok_or_else(|| Error::state("the model has no vocabulary"))
}

/// The text to come: [`Generator::text`].
pub struct Text<'g, 'm> {
    tokens: Tokens<'g, 'm>,
    tokenizer: &'m Tokenizer,
    /// Bytes of a character that is not whole yet.
    stream: Utf8Stream,
}

impl Iterator for Text<'_, '_> {
    type Item = Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let id = match self.tokens.next() {
                Some(Ok(id)) => id,
                Some(Err(error)) => return Some(Err(error)),
                None => return Some(self.stream.finish()).filter(|rest| !rest.is_empty()).map(Ok),
            };
            let token = self.tokenizer.token(id).unwrap_or_default();
            if token.is_empty() || self.tokenizer.is_special(id) {
                continue;
            }
            let piece = match self.tokenizer {
                Tokenizer::Words(_) => [b" ", token].concat(),
                Tokenizer::Subwords(_) => self.stream.push(token).to_vec(),
            };
            if !piece.is_empty() {
                return Some(Ok(piece));
            }
        }
    }
}

impl std::iter::FusedIterator for Text<'_, '_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{MappedModel, Model, ModelConfig};
    use crate::text::{Bpe, Vocabulary};

    #[test]
    fn subwords_come_as_whole_characters() {
        let sizes = ModelConfig { vocab: 270, dim: 8, heads: 2, ..ModelConfig::default() };
        let mut model = Model::new(&sizes, 3).unwrap();
        model.set_tokenizer(Bpe::bytes().unwrap()).unwrap();
        let config = GeneratorConfig::for_words(&model);
        assert_eq!((&config.stop_tokens[..], config.suppress_tokens.len()), (&[3][..], 4 + 9));
        let config = GeneratorConfig { max_tokens: 300, stop_tokens: Vec::new(), ..config };
        let mut generator = Generator::new(config, 1).unwrap();
        generator.prompt_text(&model, "caf\u{e9}".as_bytes()).unwrap();
        assert_eq!(generator.sequence().len(), 5);
        let pieces: Vec<_> = generator.text(&model).unwrap().map(Result::unwrap).collect();
        let text = model.tokenizer().unwrap().decode(generator.continuation()).unwrap();
        assert_eq!(pieces.concat(), text);
        // What is UTF-8 in the whole text is nowhere cut.
        let valid = |bytes: &[u8]| bytes.utf8_chunks().map(|c| c.valid().len()).sum::<usize>();
        assert_eq!(pieces.iter().map(|piece| valid(piece)).sum::<usize>(), valid(&text));
        assert!(valid(&text) > 0 && pieces.iter().any(|piece| piece.len() > 1));
    }

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

        model.set_tokenizer(vocabulary).unwrap();
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

    /// A mapped model says what the one in memory does; in 8 bits it has the same tokens that are never drawn.
    #[test]
    fn every_kind_of_model_speaks() {
        let sizes = ModelConfig { vocab: 270, dim: 64, heads: 2, ..ModelConfig::modern() };
        let mut model = Model::new(&sizes, 3).unwrap();
        model.set_tokenizer(Bpe::bytes().unwrap()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.cllm");
        model.write(&path).unwrap();
        let mapped = MappedModel::open(&path).unwrap().expect("floats of this library");
        let quantized = model.quantize(&cllm_kernels::Pool::serial()).unwrap();

        fn said(model: &impl TextModel) -> (GeneratorConfig, Vec<u8>) {
            let config = GeneratorConfig { max_tokens: 30, ..GeneratorConfig::for_words(model) };
            let mut generator = Generator::new(config.clone(), 1).unwrap();
            generator.prompt_text(model, b"to be").unwrap();
            let pieces = generator.text(model).unwrap().map(Result::unwrap);
            (config, pieces.flatten().collect())
        }
        assert!(said(&model).1.len() > 5);
        assert_eq!(said(&model), said(&mapped));
        assert_eq!(said(&quantized).0, said(&model).0);
        assert!(said(&quantized).1.len() > 5);
    }
}
