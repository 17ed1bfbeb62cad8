//! Loss on text that is not trained on.

use super::{VALIDATION_SETS, Validation, ValidationSet};
use crate::border::ffi;
use crate::border::registry::lock;
use crate::headers::cllm_training::CLLMTraining;
use crate::headers::cllm_training::state::TRAININGS;
use crate::model::view;
use crate::model::words::{self, Rule};
use cllm_engine::error::{Error, Result};
use cllm_engine::text::files::read_document;
use cllm_engine::train::workspace::Workspace;
use cllm_kernels::Pool;
use cllm_kernels::memory::product;
use cllm_macros::c_api;
use std::ffi::{c_char, c_int};
use std::path::Path;
use std::ptr;

impl Validation {
    /// Reads a text.
    pub(crate) fn read(path: &Path, batch_size: c_int, seq_len: c_int) -> Result<Self> {
        let batch_size = ffi::positive(batch_size, "batch_size")?;
        let seq_len = ffi::positive(seq_len, "seq_len")?;
        Ok(Self { text: read_document(path)?, batch_size, seq_len })
    }

    /// Mean loss of the batches, each weighted equally; an error if there is none.
    ///
    /// # Safety
    /// As [`view::model`] for `training.model`.
    pub(crate) unsafe fn evaluate(&self, training: &CLLMTraining, pool: &Pool) -> Result<f32> {
        let rows = product("a batch", &[self.batch_size, self.seq_len])?;
        let ids = words::ids_of_text(training.model, &self.text, Rule::Training, usize::MAX)?;
        let model = view::model(training.model)?;
        // A workspace of its own: the training's activations stay as they are.
        let mut workspace = Workspace::default();
        let (mut sum, mut batches) = (0.0, 0u32);
        let targets = ids.get(1..).unwrap_or_default();
        for (input, targets) in ids.chunks_exact(rows).zip(targets.chunks_exact(rows)) {
            sum += workspace.evaluate(pool, &model, input, targets, self.seq_len)?;
            batches += 1;
        }
        if batches == 0 {
            return Err(Error::state(format!(
                "the validation text has {} tokens, a batch takes {}",
                ids.len(),
                rows.saturating_add(1)
            )));
        }
        Ok((sum / f64::from(batches)) as f32)
    }
}

/// Reads a text file for evaluation. Its words become ids when it is evaluated, by the rule of
/// cllm_load_training_data for the model in use, so that one set serves models of different
/// vocabularies. They are the ids that the data loader gives the words of the same file.
///
/// @param filepath   a text file, as cllm_data_loader_load_file() takes it.
/// @param batch_size sequences of a batch, 1 or more.
/// @param seq_len    tokens of a sequence, 1 or more.
/// @return the set; free it with free_validation_set. NULL if filepath is NULL, not readable, no text
///         or a directory, a size is not positive, or there is no memory.
///
/// # Safety
/// `filepath` is NULL or a C string.
#[unsafe(no_mangle)]
#[c_api(ptr::null_mut())]
pub unsafe extern "C" fn create_validation_set(
    filepath: *const c_char,
    batch_size: c_int,
    seq_len: c_int,
) -> *mut ValidationSet {
    let path = ffi::path(filepath, "filepath")?;
    VALIDATION_SETS.new_handle("a validation set", Validation::read(path, batch_size, seq_len)?)
}

/// Frees a validation set.
///
/// @param val_set NULL is fine. A second free is reported and does nothing.
///
/// # Safety
/// `val_set` is NULL or from create_validation_set, and nothing uses it any more.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn free_validation_set(val_set: *mut ValidationSet) {
    VALIDATION_SETS.free_handle(val_set)
}

/// Mean loss of the training object's model on a validation set, in nats per token: over batches
/// of the set's own sizes at offsets 0, q, 2q, … (q = batch_size*seq_len) as long as each input
/// has a target, weighted equally. Weights, gradients, moments, counters and activation buffers
/// stay as they are.
///
/// @param training any training object, also one that the program made: only its `model` is used.
/// @param val_set  the set.
/// @return the loss; infinite on NULL, if not even one batch fits, or on other errors.
///
/// # Safety
/// `training` is NULL or points to a `CLLMTraining` whose model's arrays hold what its sizes say;
/// nothing changes the model meanwhile.
#[unsafe(no_mangle)]
#[c_api(f32::INFINITY)]
pub unsafe extern "C" fn evaluate_validation(
    training: *mut CLLMTraining,
    val_set: *mut ValidationSet,
) -> f32 {
    let set = VALIDATION_SETS.get(val_set)?;
    TRAININGS.find(training)?;
    let set = lock(&set);
    set.evaluate(ffi::get(training, "training")?, &Pool::automatic())
}
