//! The best weights of a run.

use super::training::pool_of;
use crate::border::ffi;
use crate::border::registry::lock;
use crate::headers::cllm_ext::evaluation::evaluate_ids;
use crate::headers::cllm_training::CLLMTraining;
use crate::headers::cllm_training::checkpoints::weights_replaced;
use crate::headers::cllm_training::state::{self, TrainingState, narrow, with_training};
use crate::model::file;
use cllm_engine::error::{Error, Result};
use cllm_engine::text::Ids;
use cllm_kernels::Pool;
use cllm_macros::c_api;
use std::ffi::{c_char, c_int};

/// Evaluates the model on a held-out text, as cllm_evaluate() in windows of `sequence_length`, and
/// keeps a copy of its weights if no evaluation before had a loss as low: for a run that learns its
/// text by heart at the end. The copy takes 4 bytes a weight; a checkpoint holds it too. May be called
/// between the calls that train, and from a progress callback.
///
/// @param training    made by cllm_training_init.
/// @param tokens      `[num_tokens]`, at least 2, the same in every call of a run.
/// @param threads     0: as cllm_set_threads() says.
/// @param mean_loss   receives the mean loss in nats per token; may be NULL.
/// @return 1 where these are the best weights so far, 0 where others are; -1 on failure, with the
///         output unchanged and the weights kept that were.
///
/// ```c
/// double loss;
/// if (cllm_training_evaluate(training, held_out, num_held_out, 0, &loss) == 1)
///     printf("step %d: %.4f, the best\n", training->current_step, loss);
/// ```
///
/// # Safety
/// `training` is NULL or was made by cllm_training_init; `tokens` is NULL or holds `num_tokens` ids;
/// `mean_loss` is NULL or writable.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_training_evaluate(
    training: *mut CLLMTraining,
    tokens: *const u32,
    num_tokens: usize,
    threads: c_int,
    mean_loss: *mut f64,
) -> c_int {
    let pool = pool_of(threads)?;
    let tokens = ffi::slice(tokens, num_tokens, "tokens")?;
    evaluate_and_keep(training, tokens.into(), num_tokens, &pool, mean_loss)
}

/// Evaluates the first `count` ids, and keeps the weights if they are the best so far: 1 then, else 0.
///
/// # Safety
/// `training` is NULL or live; `mean_loss` is NULL or writable.
pub(super) unsafe fn evaluate_and_keep(
    training: *mut CLLMTraining,
    ids: Ids<'_>,
    count: usize,
    pool: &Pool,
    mean_loss: *mut f64,
) -> Result<c_int> {
    let (model, length) =
        with_training(training, |t, _| Ok((t.model, state::batch_shape(&t.config)?.1)))?;
    // Without a lock: it may warn, and what hears of it may call the library.
    let loss = evaluate_ids(model, ids, count, length, pool)?.mean_loss;
    with_training(training, |t, state| {
        let step = state::count(t.current_step);
        let TrainingState { best, buffers, .. } = state;
        let kept = best.offer(&mut buffers.view(t)?, step, loss)?;
        ffi::set_out(mean_loss, loss, "mean_loss")?;
        Ok(c_int::from(kept))
    })
}

/// Which weights of a run cllm_training_evaluate() keeps.
///
/// @param training   made by cllm_training_init.
/// @param step       receives the step after which they were; may be NULL.
/// @param mean_loss  receives their loss; may be NULL.
/// @return 1; 0 where none are kept: the outputs are left alone; -1 for NULL, or an object not made by
///         cllm_training_init.
///
/// ```c
/// int step;
/// if (cllm_training_best(training, &step, NULL) == 1)
///     printf("best after step %d\n", step);
/// ```
///
/// # Safety
/// `training` is NULL or was made by cllm_training_init; the others are NULL or writable.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_training_best(
    training: *const CLLMTraining,
    step: *mut c_int,
    mean_loss: *mut f64,
) -> c_int {
    let state = state::state(training)?;
    let Some((best, loss)) = lock(&state).best.record() else { return Ok(0) };
    ffi::set_out(step, narrow(best), "step")?;
    ffi::set_out(mean_loss, loss, "mean_loss")?;
    Ok(1)
}

/// Puts the best weights of a run into its model, for use: to generate, or to write. Moments and
/// counters stay those of the last step, so that a run that is to go on goes on from a checkpoint.
///
/// @param training  made by cllm_training_init.
/// @return 0; -1 where no weights are kept, or those of another model: nothing has changed then.
///
/// ```c
/// cllm_save_checkpoint(training, "run.cllm");   // the last weights, to go on with
/// cllm_training_use_best(training);
/// ```
///
/// # Safety
/// `training` is NULL or was made by cllm_training_init.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_training_use_best(training: *mut CLLMTraining) -> c_int {
    with_training(training, |t, state| {
        let (step, loss) = record(state)?;
        let TrainingState { best, buffers, .. } = &mut *state;
        best.copy_to(&mut buffers.view(t)?)?;
        let note = &mut ffi::get_mut(t.model, "model")?.training_meta;
        (note.training_steps, note.loss) = (u64::from(step), loss as f32);
        weights_replaced(t, state)?;
        Ok(0)
    })
}

/// Writes a model file with the best weights of a run, as cllm_write_model() writes the last ones; the
/// run is not changed and can go on. The file says after which step they were, and their held-out
/// loss as its loss.
///
/// @param training  made by cllm_training_init.
/// @param path      appears whole or not at all.
/// @return 0; -1 where no weights are kept or the file can't be written: one that stood there before
///         is then still the old one.
///
/// ```c
/// if (cllm_write_best_model(training, "final_model.cllm") != 0)
///     cllm_write_model(training->model, "final_model.cllm");
/// ```
///
/// # Safety
/// `training` is NULL or was made by cllm_training_init, and nothing else uses its model meanwhile;
/// `path` is NULL or a C string.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_write_best_model(
    training: *mut CLLMTraining,
    path: *const c_char,
) -> c_int {
    let path = ffi::path(path, "path")?;
    with_training(training, |t, state| {
        let (step, loss) = record(state)?;
        let TrainingState { best, buffers, .. } = state;
        best.swap(&mut buffers.view(t)?)?;
        let note = &mut ffi::get_mut(t.model, "model")?.training_meta;
        let last = (note.training_steps, note.loss);
        (note.training_steps, note.loss) = (u64::from(step), loss as f32);
        let written = file::write_model(t.model, path);
        let note = &mut ffi::get_mut(t.model, "model")?.training_meta;
        (note.training_steps, note.loss) = last;
        best.swap(&mut buffers.view(t)?)?;
        written?;
        Ok(0)
    })
}

fn record(state: &TrainingState) -> Result<(u32, f64)> {
    let none = "no weights are kept: cllm_training_evaluate() keeps them";
    state.best.record().ok_or_else(|| Error::state(none))
}
