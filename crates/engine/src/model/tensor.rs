//! The tensors of a model that runs: floats, or matrices of 8-bit weights.

use super::Model;
use super::params::{ModelRef, Network};
use super::part::Part;
use cllm_kernels::int8::Matrix;

/// A tensor of a model that runs.
#[derive(Clone, Copy, Debug)]
pub enum Tensor<'a> {
    /// Row-major floats.
    F32(&'a [f32]),
    /// A matrix of 8-bit weights.
    Int8(&'a Matrix),
}

/// What a forward pass reads: floats, as training has them, or [`Tensor`]s.
pub trait Weight: Copy + Sync {
    /// As one of the two.
    fn tensor(&self) -> Tensor<'_>;

    /// Its floats; none of a matrix of 8-bit weights.
    fn floats(&self) -> &[f32] {
        match self.tensor() {
            Tensor::F32(values) => values,
            Tensor::Int8(_) => &[],
        }
    }

    /// Number of values.
    fn count(&self) -> usize {
        match self.tensor() {
            Tensor::F32(values) => values.len(),
            Tensor::Int8(w) => w.rows() * w.columns(),
        }
    }
}

impl Weight for &[f32] {
    fn tensor(&self) -> Tensor<'_> {
        Tensor::F32(self)
    }
}

impl Weight for Tensor<'_> {
    fn tensor(&self) -> Tensor<'_> {
        *self
    }
}

/// A model to run, not to train: its matrices are floats or 8-bit weights.
pub type InferenceRef<'a> = Network<Tensor<'a>>;

impl<'a> From<ModelRef<'a>> for InferenceRef<'a> {
    fn from(model: ModelRef<'a>) -> Self {
        model.map(|values: &&'a [f32]| Tensor::F32(values))
    }
}

impl ModelRef<'_> {
    /// The same model, to run.
    pub fn inference(&self) -> InferenceRef<'_> {
        self.map(|values| Tensor::F32(values))
    }
}

impl<'m> From<&'m Model> for InferenceRef<'m> {
    fn from(model: &'m Model) -> Self {
        model.view().into()
    }
}

/// Whether a tensor is a matrix that 8-bit models have as one: what is multiplied with rows of
/// activations. Position tables, biases and norms are not.
pub fn is_matrix(part: Part) -> bool {
    matches!(
        part,
        Part::Embeddings
            | Part::Query
            | Part::Key
            | Part::Value
            | Part::Output
            | Part::W1
            | Part::W2
            | Part::Head
    )
}

impl<T> Network<T> {
    /// The same over what `f` makes of each tensor, joined matrices too.
    fn map<'s, U>(&'s self, f: impl Fn(&'s T) -> U) -> Network<U> {
        let mut params = self.params.by_ref().map(|_, _, tensor| f(tensor));
        for (layer, from) in params.layers.iter_mut().zip(&self.params.layers) {
            if let (Some(attention), Some(from)) = (&mut layer.attention, &from.attention) {
                attention.joined = from.joined.as_ref().map(&f);
            }
        }
        Network {
            version: self.version,
            vocab: self.vocab,
            dim: self.dim,
            max_length: self.max_length,
            spiral: self.spiral.as_ref().map(&f),
            params,
        }
    }
}
