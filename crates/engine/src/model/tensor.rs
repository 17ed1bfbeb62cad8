//! The tensors of a model that runs: floats, or matrices of 8-bit weights.

use super::Model;
use super::params::{ModelRef, Network, Params};
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
        model.map(Tensor::F32)
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

impl<T: Copy> Network<T> {
    /// The same over what `f` makes of each tensor, joined matrices too.
    fn map<U>(self, f: impl Fn(T) -> U) -> Network<U> {
        let joined = |params: &Params<T>, l: usize| {
            let layer = params.layers.get(l)?;
            layer.attention.as_ref()?.joined
        };
        let kept: smallvec::SmallVec<[Option<T>; 16]> =
            (0..self.params.layers.len()).map(|l| joined(&self.params, l)).collect();
        let mut params = self.params.map(|_, _, tensor| f(tensor));
        for (layer, joined) in params.layers.iter_mut().zip(kept) {
            if let Some(attention) = &mut layer.attention {
                attention.joined = joined.map(&f);
            }
        }
        Network {
            version: self.version,
            vocab: self.vocab,
            dim: self.dim,
            max_length: self.max_length,
            spiral: self.spiral.map(&f),
            params,
        }
    }
}
