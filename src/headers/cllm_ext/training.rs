//! Training loops that a program can watch, stop and continue.

use super::CLLMProgressCallback;
use crate::border::ffi;
use crate::border::registry::lock;
use crate::headers::cllm::{CLLMConfig, CLLMModel};
use crate::headers::cllm_training::loops;
use crate::headers::cllm_training::state::{self, UserData, with_training};
use crate::headers::cllm_training::{CLLMTraining, CLLMTrainingConfig};
use crate::headers::cllm_utils::models;
use cllm_engine::error::Result;
use cllm_kernels::Pool;
use cllm_macros::c_api;
use std::ffi::{c_int, c_void};
use std::sync::Arc;

/// cllm_create_model() with a seed of its own: the same seed gives the same weights, different
/// seeds different ones. libc's `rand()` takes no part, so any number of threads may call it at
/// once; and so the weights are not those of `srand(seed)` before cllm_create_model(), where in
/// many C libraries the seeds 0 and 1 are the same.
///
/// @param config  as for cllm_create_model().
/// @param seed    any number.
/// @return the model; free it with cllm_free_model(). NULL as cllm_create_model().
///
/// ```c
/// CLLMConfig shape = {.vocab_size = 1000, .embedding_dim = 64, .num_layers = 2, .num_heads = 2,
///                     .ff_dim = 256, .max_seq_len = 64};
/// CLLMModel *model = cllm_create_model_seeded(&shape, 0);
/// cllm_free_model(model);
/// ```
///
/// # Safety
/// `config` is NULL or points to a `CLLMConfig`.
#[unsafe(no_mangle)]
#[c_api(std::ptr::null_mut())]
pub unsafe extern "C" fn cllm_create_model_seeded(
    config: *const CLLMConfig,
    seed: u64,
) -> *mut CLLMModel {
    models::create_from(ffi::get(config, "config")?, || seed)
}

/// cllm_create_model_seeded() with the modern block: rotary positions in the place of a table, norms
/// of queries and keys, keys of the token before in some heads, an output matrix after
/// attention, squared ReLU, norms without parameters, no biases; docs/MODEL.md has the formulas. It
/// learns as much from a quarter of the tokens. The width of a head is even. Its file can't be read by
/// the original library; everything here works with it.
///
/// @param config  as for cllm_create_model(). `max_seq_len` is the length of the windows that the
///                model is trained on: positions have no last one.
/// @param seed    any number.
/// @return the model; free it with cllm_free_model(). NULL as cllm_create_model(), and for a head
///         of odd width.
///
/// ```c
/// CLLMConfig shape = {.vocab_size = 512, .embedding_dim = 128, .num_layers = 4, .num_heads = 4,
///                     .ff_dim = 512, .max_seq_len = 128};
/// CLLMModel *model = cllm_create_modern_model(&shape, 1);
/// cllm_free_model(model);
/// ```
///
/// # Safety
/// `config` is NULL or points to a `CLLMConfig`.
#[unsafe(no_mangle)]
#[c_api(std::ptr::null_mut())]
pub unsafe extern "C" fn cllm_create_modern_model(
    config: *const CLLMConfig,
    seed: u64,
) -> *mut CLLMModel {
    models::create_modern(ffi::get(config, "config")?, seed)
}

/// How the run was trained whose checkpoint this object was restored from: the `config` of the
/// object that cllm_save_checkpoint() or save_checkpoint() saved. A program that goes on with more
/// epochs finds there how far the warm-up and the schedule were meant to reach.
///
/// @param training  made by cllm_training_init.
/// @param config    receives it.
/// @return 1; 0 where no checkpoint was loaded, or one that does not say it: `config` is left
///         alone; -1 for NULL, or an object not made by cllm_training_init.
///
/// ```c
/// CLLMTrainingConfig saved;
/// if (cllm_load_checkpoint(training, "run.cllm") == 0 &&
///     cllm_checkpoint_config(training, &saved) == 1)
///     training->config.warmup_steps = saved.warmup_steps;
/// ```
///
/// # Safety
/// `training` is NULL or was made by cllm_training_init; `config` is NULL or writable.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_checkpoint_config(
    training: *const CLLMTraining,
    config: *mut CLLMTrainingConfig,
) -> c_int {
    let state = state::state(training)?;
    let out = ffi::get_mut(config, "config")?;
    let Some(saved) = lock(&state).saved_config else { return Ok(0) };
    *out = saved;
    Ok(1)
}

/// Has `callback` called after each batch of every training loop over this object.
///
/// @param callback   NULL: none.
/// @param user_data  handed to the callback.
/// @return 0; -1 for an object not made by cllm_training_init.
///
/// ```c
/// static bool watch(const CLLMProgress *p, void *user_data) {
///     printf("step %d: loss %.3f\n", p->step, p->loss);
///     return p->step < *(int *)user_data;
/// }
/// cllm_set_progress_callback(training, watch, &last_step);
/// ```
///
/// # Safety
/// `training` is NULL or live; `callback` may be called with `user_data` until another one is set
/// or the object is freed.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_set_progress_callback(
    training: *mut CLLMTraining,
    callback: CLLMProgressCallback,
    user_data: *mut c_void,
) -> c_int {
    with_training(training, |_, state| {
        state.progress = callback.map(|_| (callback, UserData(user_data)));
        Ok(0)
    })
}

/// Trains up to `steps` batches, beginning at `training->current_batch_offset` (where a loaded
/// checkpoint stood), never past the end of the epoch.
///
/// @param steps      batches; 0 or less: to the end of the epoch.
/// @param threads    0: as cllm_set_threads() says. The result is the same for any number.
/// @param mean_loss  receives the mean loss of these batches in nats per token; may be NULL.
/// @return batches trained; where none was left, 0, and the epoch has ended (`current_epoch` + 1,
///         offset 0); -1 on failure. Stops early when the progress callback says so. Ids that are not
///         below the vocabulary size are left out as by cllm_train_epoch.
///
/// ```c
/// float loss;
/// while (cllm_train_steps(training, 100, 0, &loss) > 0)
///     cllm_save_checkpoint(training, "run.cllm");
/// ```
///
/// # Safety
/// As cllm_train_epoch; `mean_loss` is NULL or writable.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_train_steps(
    training: *mut CLLMTraining,
    steps: c_int,
    threads: c_int,
    mean_loss: *mut f32,
) -> c_int {
    let pool = pool_of(threads)?;
    let limit = usize::try_from(steps).ok().filter(|&steps| steps > 0).unwrap_or(usize::MAX);
    let run = loops::run(training, &pool, Some(limit))?;
    ffi::set_out(mean_loss, run.mean_loss(), "mean_loss")?;
    Ok(c_int::try_from(run.steps).unwrap_or(c_int::MAX))
}

/// Whether this object trains on what its checkpoint was trained on: the same tokens in the same
/// order, in batches of the same sizes, by a vocabulary of the same words. A run that goes on over others
/// is no longer the same run; the first call that trains warns of it.
///
/// @param training  made by cllm_training_init, with its tokens, after cllm_load_checkpoint().
/// @return 1: the same; 0: others; -1 where that is not known: no checkpoint was loaded, or one
///         that does not say it, or there are no tokens.
///
/// ```c
/// if (cllm_checkpoint_same_data(training) == 0)
///     fputs("this is another text than that of the checkpoint\n", stderr);
/// ```
///
/// # Safety
/// `training` is NULL or live, its `tokens` hold `num_tokens` ids.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_checkpoint_same_data(training: *mut CLLMTraining) -> c_int {
    with_training(training, |t, state| {
        let source = loops::source(t, Some(state))?;
        let compared = state.data.compare(&loops::corpus(t, state, &source)?, t.model);
        Ok(compared.map_or(-1, |same| c_int::from(same.is_ok())))
    })
}

/// How many updates were left out because a gradient was NaN or infinite. Such an update changes
/// neither weights nor moments; the next batch begins afresh. A checkpoint keeps the number.
///
/// @param training  made by cllm_training_init.
/// @return the number since the object was made, or since the start of the run that it was
///         restored from; -1 for anything else than such an object.
///
/// ```c
/// if (cllm_skipped_updates(training) > 10)
///     fputs("the learning rate is too high\n", stderr);
/// ```
///
/// # Safety
/// `training` is NULL or was made by cllm_training_init.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_skipped_updates(training: *const CLLMTraining) -> i64 {
    let state = state::state(training)?;
    let skipped = lock(&state).trainer.counters.skipped;
    Ok(i64::try_from(skipped).unwrap_or(i64::MAX))
}

/// The threads of a call that says how many; 0: as many as the work is worth.
pub(crate) fn pool_of(threads: c_int) -> Result<Arc<Pool>> {
    Ok(Pool::shared(ffi::len(threads, "the number of threads")?))
}
