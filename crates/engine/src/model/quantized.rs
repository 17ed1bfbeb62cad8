//! A model whose matrices are 8-bit weights.

use super::owned::Model;
use super::params::{AttentionLayout, Params};
use super::part::{Part, TensorName};
use super::record::Metadata;
use super::shape::{ModelShape, Precision};
use super::tensor::{InferenceRef, Tensor};
use super::{ModelConfig, Network};
use crate::error::{Error, Result};
use crate::text::Vocabulary;
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
/// let config = ModelConfig { vocab: 100, dim: 64, hidden: 256, ..ModelConfig::default() };
/// let model = Model::new(&config, 42)?;
/// let small = model.quantize(&Pool::serial())?;
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
        let shape = ModelShape { precision: Precision::Int8, ..self.shape().clone() };
        let mut quantized = QuantizedModel::zeroed(shape)?;
        quantized.rest.copy_rest(self)?;
        let mut error = None;
        let params = self.view().params;
        quantized.matrices = quantized.matrices.map(|part, layer, old| {
            let matrix = old.zip(params.get(part, layer))?;
            let (old, values) = matrix;
            let (rows, columns) = (old.rows(), old.columns());
            // Its own room is given back before it is asked for again.
            drop(old);
            match Matrix::quantized(pool, values, rows, columns) {
                Ok(matrix) => Some(matrix),
                Err(problem) => {
                    error = Some(problem);
                    None
                }
            }
        });
        match error {
            None => Ok(quantized),
            Some(problem) => Err(problem.into()),
        }
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
        model.copy_rest(&self.rest)?;
        self.matrices.visit(|part, layer, matrix| {
            let values = model.floats_mut(TensorName { part, layer });
            if let (Some(matrix), Some(values)) = (matrix, values) {
                for (i, row) in values.chunks_exact_mut(matrix.columns().max(1)).enumerate() {
                    matrix.expand_row(i, row);
                }
            }
        });
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

impl Model {
    /// Copies from a model of the same sizes everything that both have floats of, and the records.
    fn copy_rest(&mut self, from: &Self) -> Result<()> {
        let separate = Part::TABLES.into_iter().chain(Part::TRANSFORMS);
        let separate = separate.map(|part| TensorName { part, layer: 0 });
        let names: Vec<_> = from.shape().block().chain(separate).collect();
        for name in names {
            if let (Some(to), Some(from)) = (self.floats_mut(name), from.floats(name))
                && to.len() == from.len()
            {
                to.copy_from_slice(from);
            }
        }
        self.set_records(
            from.vocabulary().cloned(),
            from.tokens().to_vec(),
            from.points().to_vec(),
        );
        *self.metadata_mut() = from.metadata().clone();
        *self.training_mut() = *from.training();
        Ok(())
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
