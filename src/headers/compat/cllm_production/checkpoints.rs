//! Checkpoints under the names of this header: another prefix, the same block.

use crate::border::ffi;
use crate::headers::cllm_training::CLLMTraining;
use crate::headers::cllm_training::checkpoints::{
    check_original, original_moments, prepare_state, restore_state, weights_from_file, with_suffix,
};
use crate::headers::cllm_training::loops::note_in_model;
use crate::headers::cllm_training::state::{TrainingState, narrow, with_training};
use crate::model::file;
use cllm_engine::error::{Error, Result};
use cllm_engine::train::checkpoint::{self, Opened, Prefix};
use cllm_macros::c_api;
use std::ffi::{c_char, c_int};
use std::path::Path;

/// Writes the model file `path.model`, then the state file `path`.
///
/// # Safety
/// As [`prepare_state`].
pub(crate) unsafe fn save(
    t: &mut CLLMTraining,
    state: &mut TrainingState,
    path: &Path,
) -> Result<()> {
    let prepared = prepare_state(t, state, Prefix::Ckpt, path)?;
    let written = prepared.map_or(Ok(()), |whole| {
        let model = file::prepare_model(t.model, &with_suffix(path, ".model"))?;
        model.commit()?;
        whole.commit()
    });
    state.trainer.all_saved(written)
}

/// Restores the state file `path`; one of the original library together with `path.model`.
///
/// # Safety
/// As [`prepare_state`].
unsafe fn load(t: &mut CLLMTraining, state: &mut TrainingState, path: &Path) -> Result<()> {
    match checkpoint::open(path, Prefix::Ckpt)? {
        Opened::Checkpoint(mut saved) => restore_state(t, state, &mut saved)?,
        Opened::Original(counters, rest) if rest.is_empty() => {
            let model = with_suffix(path, ".model");
            check_original(&[], &model, path)?;
            weights_from_file(t, state, &model)?;
            // Nothing else is known of that run: its moments start anew.
            t.current_step = 0;
            original_moments(t, state, &[])?;
            t.current_epoch = narrow(counters.epoch);
            t.current_step = narrow(counters.step);
            t.best_loss = counters.best_loss;
            t.config.learning_rate = counters.learning_rate;
        }
        Opened::Original(..) => {
            return Err(Error::file(path, "not a checkpoint: no block at byte 40"));
        }
    }
    note_in_model(t)
}

/// Writes a checkpoint: the model file `filepath.model`, and `filepath`, which alone suffices to
/// resume: all parameters, moments, open accumulators and counters, bit for bit. Models that the
/// program assembled are saved too.
///
/// @param training from cllm_training_init.
/// @param filepath name of the state file.
/// @return 0; -1 on any failure: a file that stood there before is then still the old one.
///
/// Both files are written to temporary names in the same folder and flushed to the disk; only then
/// they are renamed, the state file last. Its first 40 bytes are those of the original library.
///
/// # Safety
/// `training` is NULL or live; `filepath` is NULL or a C string.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn save_checkpoint(
    training: *mut CLLMTraining,
    filepath: *const c_char,
) -> c_int {
    let path = ffi::path(filepath, "filepath")?;
    with_training(training, |t, state| save(t, state, path))?;
    Ok(0)
}

/// Restores a checkpoint of `save_checkpoint`: epoch, step, current and best loss, learning rate,
/// and everything else that training needs to go on as if it had not been interrupted. Weights
/// are copied into the model's arrays: `training->model` and all pointers stay valid. The model
/// must have the shape that it had then.
///
/// @param training from cllm_training_init.
/// @param filepath name of the state file; `filepath.model` is not needed, except for a file of
///                 the original library, which holds the counters and the learning rate only.
/// @return 0; -1 for a missing, short, damaged or wrongly shaped file: nothing has changed then.
///
/// # Safety
/// `training` is NULL or live; `filepath` is NULL or a C string.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn load_checkpoint(
    training: *mut CLLMTraining,
    filepath: *const c_char,
) -> c_int {
    let path = ffi::path(filepath, "filepath")?;
    with_training(training, |t, state| load(t, state, path))?;
    Ok(0)
}
