//! Text in, text out: generating with a model that has a tokenizer.

use super::{Generator, GeneratorConfig, Tokens};
use crate::error::{Error, Result};
use crate::model::{InferenceRef, MappedModel, Model, QuantizedModel, TokenRecord};
use crate::text::{Tokenizer, Utf8Stream, special};
use std::sync::Arc;

/// A model that speaks: a [`Model`], a [`QuantizedModel`] or a [`MappedModel`], also in an [`Arc`] or a
/// [`Box`]. No other types are one. Where a program learns only when it runs which of them it has, a
/// `Box<dyn TextModel>` holds any.
///
/// ```
/// use cllm_engine::generate::{Generator, GeneratorConfig, TextModel};
/// use cllm_engine::{MappedModel, Model, ModelConfig, Pool, Result, Vocabulary};
///
/// fn speak(model: &dyn TextModel) -> Result<Vec<u8>> {
///     let mut generator = Generator::new(GeneratorConfig::for_words(model), 42)?;
///     generator.prompt_text(model, b"to be or")?;
///     let pieces: Result<Vec<_>> = generator.text(model)?.collect();
///     Ok(pieces?.concat())
/// }
///
/// let vocabulary = Vocabulary::from_text(b"to be or not to be", 100, 1)?;
/// let sizes = ModelConfig { vocab: vocabulary.len(), dim: 16, heads: 2, ..Default::default() };
/// let mut model = Model::new(&sizes, 1)?;
/// model.set_tokenizer(vocabulary)?;
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("model.cllm");
/// model.write(&path)?;
///
/// let mapped = MappedModel::open(&path)?.expect("a file of floats");
/// assert_eq!(speak(&model)?, speak(&mapped)?);
/// assert!(speak(&model.quantize(&Pool::serial())?)?.starts_with(b" "));
/// # Ok::<(), cllm_engine::Error>(())
/// ```
pub trait TextModel: Parts {}

impl<M: Parts + ?Sized> TextModel for M {}

use parts::Parts;

/// What a text needs of a model. Not named outside, so that only the types below have it.
mod parts {
    use super::{InferenceRef, TokenRecord, Tokenizer};

    pub trait Parts: Send + Sync {
        fn inference(&self) -> InferenceRef<'_>;
        fn tokenizer(&self) -> Option<&Tokenizer>;
        fn tokens(&self) -> &[TokenRecord];
        /// V.
        fn vocab(&self) -> usize;
    }
}

macro_rules! parts {
    ($pointer:ident<M>) => {
        impl<M: Parts + ?Sized> Parts for $pointer<M> {
            fn inference(&self) -> InferenceRef<'_> {
                (**self).inference()
            }
            fn tokenizer(&self) -> Option<&Tokenizer> {
                (**self).tokenizer()
            }
            fn tokens(&self) -> &[TokenRecord] {
                (**self).tokens()
            }
            fn vocab(&self) -> usize {
                (**self).vocab()
            }
        }
    };
    ($model:ty) => {
        impl Parts for $model {
            fn inference(&self) -> InferenceRef<'_> {
                self.view().into()
            }
            fn tokenizer(&self) -> Option<&Tokenizer> {
                self.tokenizer()
            }
            fn tokens(&self) -> &[TokenRecord] {
                self.tokens()
            }
            fn vocab(&self) -> usize {
                self.shape().vocab
            }
        }
    };
}

parts!(Model);
parts!(QuantizedModel);
parts!(MappedModel);
parts!(Arc<M>);
parts!(Box<M>);

impl GeneratorConfig {
    /// The default for texts of a model: the end token ends them, and what is no part of a text is
    /// never drawn: the other special tokens, an end token that training never met (as the counts
    /// that the model has say, if there are any), slots without a word. Of a model without tokenizer
    /// the default.
    pub fn for_words(model: &(impl TextModel + ?Sized)) -> Self {
        let Some(tokenizer) = model.tokenizer() else { return Self::default() };
        let counts = model.tokens();
        let met = |id: u32| counts.get(id as usize).map_or(0.0, |token| token.frequency);
        let mut suppress_tokens = match tokenizer {
            Tokenizer::Words(words) => special::never_drawn(words.words(), met),
            Tokenizer::Subwords(bpe) => special::never_drawn_subwords(bpe, met),
        };
        if !suppress_tokens.is_empty() {
            suppress_tokens.extend(tokenizer.len() as u32..model.vocab() as u32);
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
    pub fn prompt_text(&mut self, model: &(impl TextModel + ?Sized), text: &[u8]) -> Result<()> {
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
    pub fn text<'m>(&mut self, model: &'m (impl TextModel + ?Sized)) -> Result<Text<'_, 'm>> {
        let tokenizer = tokenizer(model)?;
        let tokens = self.tokens(model.inference());
        Ok(Text { tokens, tokenizer, stream: Utf8Stream::default() })
    }
}

fn tokenizer(model: &(impl Parts + ?Sized)) -> Result<&Tokenizer> {
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
    use crate::model::ModelConfig;
    use crate::text::{Bpe, Vocabulary};
    use cllm_kernels::Pool;

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

    /// The settings for a model in its file, and for one of 8 bits, are those of the model, counts of
    /// training included; from equal weights comes the same text.
    #[test]
    fn all_models_speak() {
        fn said(model: &(impl TextModel + ?Sized)) -> (GeneratorConfig, Vec<u8>) {
            let config = GeneratorConfig::for_words(model);
            let mut generator = Generator::new(config.clone(), 5).unwrap();
            generator.prompt_text(model, b"b a").unwrap();
            let pieces: Result<Vec<_>> = generator.text(model).unwrap().collect();
            (config, pieces.unwrap().concat())
        }
        // <EOS> was never met, which only the counts tell.
        let words = [("<PAD>", 0), ("<UNK>", 0), ("<EOS>", 0), ("a", 3), ("b", 2)];
        let words = words.map(|(word, count)| (word.as_bytes(), count));
        let sizes = ModelConfig { vocab: 6, dim: 64, heads: 2, ..ModelConfig::default() };
        let mut model = Model::new(&sizes, 3).unwrap();
        model.set_tokenizer(Vocabulary::from_words(words).unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.cllm");
        model.write(&path).unwrap();
        let mapped = MappedModel::open(&path).unwrap().expect("floats");
        let small = model.quantize(&Pool::serial()).unwrap();
        let first = said(&model);
        assert_eq!(first.0.suppress_tokens, [0, 1, 2, 5]);
        assert!(!first.1.is_empty());
        assert_eq!(said(&mapped), first);
        assert_eq!(said(&small).0, first.0);
        let path = folder.path().join("small.cllm");
        small.write(&path).unwrap();
        let read = QuantizedModel::read(&path).unwrap();
        assert_eq!(said(&read), said(&small));
        let any: [Box<dyn TextModel>; 2] = [Box::new(Arc::new(model)), Box::new(small)];
        assert_eq!(said(&any[0]), first);
        assert_eq!(said(&*any[1]), said(&read));
    }
}
