//! Weights that the library keeps, not the C structs, whose pointers to weights are NULL then: those of
//! 8 bits, and those that stay in a mapped file.

use crate::border::registry::lock;
use crate::headers::cllm::CLLMModel;
use crate::model::view::{self, MODELS};
use cllm_engine::error::{Error, Result};
use cllm_engine::file::Source;
use cllm_engine::model::{InferenceRef, MappedModel, ModelRef, ModelShape, QuantizedModel};
use std::sync::Arc;

/// The weights.
#[derive(Clone)]
pub(crate) enum Kept {
    /// Of 8 bits.
    Int8(Arc<QuantizedModel>),
    /// Those of a file.
    Mapped(Arc<MappedModel>),
}

impl Kept {
    /// The sizes.
    pub fn shape(&self) -> &ModelShape {
        match self {
            Self::Int8(model) => model.shape(),
            Self::Mapped(model) => model.shape(),
        }
    }

    /// The sizes as a file has them.
    pub fn stored_shape(&self) -> ModelShape {
        match self {
            Self::Int8(model) => model.stored_shape(),
            Self::Mapped(model) => model.shape().clone(),
        }
    }

    /// What a file has of them.
    pub fn source(&self) -> &dyn Source {
        match self {
            Self::Int8(model) => &**model,
            Self::Mapped(model) => &**model,
        }
    }

    /// An error where a mapped file was cut in its place: to read what is gone would end the process.
    pub fn check(&self) -> Result<()> {
        match self {
            Self::Int8(_) => Ok(()),
            Self::Mapped(model) => model.check(),
        }
    }

    /// Why floats in memory can't be had, and where they are.
    pub fn refusal(&self) -> Error {
        Error::state(match self {
            Self::Int8(_) => {
                "the model holds 8-bit weights: cllm_expand_model() makes a model of floats of it"
            }
            Self::Mapped(_) => {
                "the model's weights are those of a mapped file: cllm_read_model() reads them into \
                 memory, where they can be changed"
            }
        })
    }
}

/// The weights of a model that the library keeps; `None` for one whose floats are in its C structs.
pub(crate) fn kept(model: *const CLLMModel) -> Result<Option<Kept>> {
    Ok(MODELS.find(model)?.and_then(|record| lock(&record).kept.clone()))
}

/// Refuses a model whose weights are kept, for what needs floats in the C structs.
pub(crate) fn floats(model: *const CLLMModel) -> Result<()> {
    match kept(model)? {
        None => Ok(()),
        Some(kept) => Err(kept.refusal()),
    }
}

/// A model to run: its floats, or what the library keeps.
#[expect(
    clippy::large_enum_variant,
    reason = "there is one at a time; a box could be refused memory"
)]
pub(crate) enum Running<'a> {
    Floats(ModelRef<'a>),
    Kept(Kept),
}

impl Running<'_> {
    /// The model by reference.
    pub fn view(&self) -> InferenceRef<'_> {
        match self {
            Self::Floats(model) => model.inference(),
            Self::Kept(Kept::Int8(model)) => model.view(),
            Self::Kept(Kept::Mapped(model)) => (&**model).into(),
        }
    }
}

/// A model to run, whoever keeps its weights.
///
/// # Safety
/// As [`view::model`].
pub(crate) unsafe fn running<'a>(model: *const CLLMModel) -> Result<Running<'a>> {
    let Some(kept) = kept(model)? else {
        // SAFETY: the caller's promise.
        return Ok(Running::Floats(unsafe { view::model(model)? }));
    };
    kept.check()?;
    Ok(Running::Kept(kept))
}
