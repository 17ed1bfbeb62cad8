//! What generating text needs of a model, whatever it is made of.

use super::{InferenceRef, MappedModel, Model, QuantizedModel, TokenRecord};
use crate::text::Tokenizer;

/// A model that text can be made with: a [`Model`], a [`QuantizedModel`] or a [`MappedModel`].
pub trait TextModel {
    /// What runs.
    fn inference(&self) -> InferenceRef<'_>;
    /// How its text becomes tokens, if it has a tokenizer.
    fn tokenizer(&self) -> Option<&Tokenizer>;
    /// What its file keeps with each token; empty where that is nothing.
    fn tokens(&self) -> &[TokenRecord];
}

impl TextModel for Model {
    fn inference(&self) -> InferenceRef<'_> {
        self.into()
    }
    fn tokenizer(&self) -> Option<&Tokenizer> {
        self.tokenizer()
    }
    fn tokens(&self) -> &[TokenRecord] {
        self.tokens()
    }
}

impl TextModel for QuantizedModel {
    fn inference(&self) -> InferenceRef<'_> {
        self.into()
    }
    fn tokenizer(&self) -> Option<&Tokenizer> {
        self.tokenizer()
    }
    fn tokens(&self) -> &[TokenRecord] {
        self.tokens()
    }
}

impl TextModel for MappedModel {
    fn inference(&self) -> InferenceRef<'_> {
        self.into()
    }
    fn tokenizer(&self) -> Option<&Tokenizer> {
        self.tokenizer()
    }
    fn tokens(&self) -> &[TokenRecord] {
        self.tokens()
    }
}
