//! A model whose matrices are 8-bit weights.

use super::owned::Model;
use super::params::{AttentionLayout, Params};
use super::part::TensorName;
use super::record::{Metadata, TokenRecord};
use super::shape::{ModelShape, Precision};
use super::tensor::{InferenceRef, Tensor};
use super::{ModelConfig, Network};
use crate::error::{Error, Result};
use crate::text::{Tokenizer, Vocabulary};
use cllm_kernels::Pool;
use cllm_kernels::int8::Matrix;
use std::fmt;

/// A model for generation whose matrices are held in 8 bits: a quarter of the memory, and of what is
/// read for a token.
///
/// E, the matrices of attention and of the feed-forward parts and the output matrix are blocks of 64
/// inputs with a scale ([`cllm_kernels::int8`]); their products are of integers. Norms, biases,
/// positions, attention's softmax and the residual stream are floats. It generates, scores and
/// evaluates as a [`Model`] does; it can't be trained: [`expand`](Self::expand) makes floats of it
/// again.
///
/// ```
/// use cllm_engine::generate::{Generator, GeneratorConfig};
/// use cllm_engine::{Model, ModelConfig, Pool, QuantizedModel};
///
/// let sizes = ModelConfig { vocab: 100, dim: 256, hidden: 1024, ..ModelConfig::default() };
/// let config = ModelConfig { context: 32, ..sizes };
/// let model = Model::new(&config, 42)?;
/// let small = model.quantize(&Pool::serial())?;
/// // The tables of positions, which are floats, are small beside the matrices here.
/// assert!(small.bytes() * 3 < 4 * model.view().weights());
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("small.cllm");
/// small.write(&path)?;
/// let small = QuantizedModel::read(&path)?;
///
/// let mut generator = Generator::new(GeneratorConfig { max_tokens: 5, ..Default::default() }, 1)?;
/// generator.prompt(&[1, 2, 3])?;
/// let tokens = generator.tokens(&small).collect::<cllm_engine::Result<Vec<u32>>>()?;
/// assert_eq!(tokens.len(), 5);
/// # Ok::<(), cllm_engine::Error>(())
/// ```
pub struct QuantizedModel {
    /// Everything but the matrices.
    rest: Model,
    /// The matrices, and `None` for what is none.
    matrices: Params<Option<Matrix>>,
}

impl Model {
    /// The model in 8 bits.
    ///
    /// # Errors
    /// Attention matrices by head, as files of the original library have them; no memory.
    pub fn quantize(&self, pool: &Pool) -> Result<QuantizedModel> {
        let mut quantized = QuantizedModel::of_source(self.shape(), self, pool)?;
        quantized.rest.copy_records(self)?;
        Ok(quantized)
    }
}

impl QuantizedModel {
    /// A model of these sizes whose weights are 0.
    pub(crate) fn zeroed(shape: ModelShape) -> Result<Self> {
        if shape.layout != AttentionLayout::Full && shape.layers.iter().any(|l| l.attention) {
            return Err(Error::shape(
                "attention matrices by head, as the original library has them, can't be held in 8 bits",
            ));
        }
        let rest = Model::allocate(ModelShape { precision: Precision::Int8, ..shape })?;
        let shape = rest.shape();
        let matrices = shape.params()?.try_map(|part, layer, _| {
            let size = shape.matrix_size(TensorName { part, layer });
            let matrix = size.map(|(rows, columns)| Matrix::zeroed(rows, columns));
            matrix.transpose().map_err(Error::from)
        })?;
        Ok(Self { rest, matrices })
    }

    /// The model to run, by reference.
    pub fn view(&self) -> InferenceRef<'_> {
        let floats = self.rest.view();
        Network {
            version: floats.version,
            vocab: floats.vocab,
            dim: floats.dim,
            max_length: floats.max_length,
            spiral: floats.spiral.map(Tensor::F32),
            params: floats.params.map(|part, layer, values| {
                let matrix = self.matrices.get(part, layer).and_then(Option::as_ref);
                matrix.map_or(Tensor::F32(values), Tensor::Int8)
            }),
        }
    }

    /// The model in floats again: each the product of its integer and its scale.
    ///
    /// # Errors
    /// No memory.
    pub fn expand(&self) -> Result<Model> {
        let shape = ModelShape { precision: Precision::F32, ..self.shape().clone() };
        let mut model = Model::zeroed(shape)?;
        self.expand_into(&mut model);
        model.copy_records(&self.rest)?;
        Ok(model)
    }

    /// The sizes, part by part.
    pub fn shape(&self) -> &ModelShape {
        self.rest.shape()
    }

    /// The sizes as a new model would be made with.
    pub fn config(&self) -> ModelConfig {
        self.rest.config()
    }

    /// Bytes of all weights and tables.
    pub fn bytes(&self) -> usize {
        let mut bytes = 0;
        self.matrices.visit(|_, _, matrix| bytes += matrix.as_ref().map_or(0, Matrix::bytes));
        bytes + self.rest.float_bytes()
    }

    /// The words of its ids, if it has any.
    pub fn vocabulary(&self) -> Option<&Vocabulary> {
        self.rest.vocabulary()
    }

    /// How its text becomes tokens, if it has a tokenizer.
    pub fn tokenizer(&self) -> Option<&Tokenizer> {
        self.rest.tokenizer()
    }

    /// What old programs keep with each token; empty where that is nothing.
    pub fn tokens(&self) -> &[TokenRecord] {
        self.rest.tokens()
    }

    /// Name, description and times.
    pub fn metadata(&self) -> &Metadata {
        self.rest.metadata()
    }

    /// Everything but the matrices.
    pub(crate) fn rest(&self) -> &Model {
        &self.rest
    }

    /// The same, to be changed.
    pub(crate) fn rest_mut(&mut self) -> &mut Model {
        &mut self.rest
    }

    /// A matrix; `None` where the model has none of that name.
    pub(crate) fn matrix(&self, name: TensorName) -> Option<&Matrix> {
        self.matrices.get(name.part, name.layer)?.as_ref()
    }

    /// The same, to be filled.
    pub(crate) fn matrix_mut(&mut self, name: TensorName) -> Option<&mut Matrix> {
        self.matrices.get_mut(name.part, name.layer)?.as_mut()
    }
}

impl<'m> From<&'m QuantizedModel> for InferenceRef<'m> {
    fn from(model: &'m QuantizedModel) -> Self {
        model.view()
    }
}

impl fmt::Debug for QuantizedModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuantizedModel").field("rest", &self.rest).finish_non_exhaustive()
    }
}
