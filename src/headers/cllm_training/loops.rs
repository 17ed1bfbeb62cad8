//! Batches and epochs.

use super::schedule::schedule;
use super::state::{TrainingState, UserData, batch_shape, with};
use super::{CLLMTraining, passes, updates};
use crate::border::ffi::{self, report};
use crate::headers::cllm_ext::{CLLMProgress, CLLMProgressCallback};
use crate::model::file::write_model;
use cllm_engine::error::{Error, Result};
use cllm_engine::nn::loss::Targets;
use cllm_kernels::Pool;
use cllm_macros::c_api;
use std::ffi::c_int;
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Where the next batch lies in the token array, or that the epoch is over.
enum Next {
    Batch { first: usize, rows: usize, batch: usize },
    End,
}

/// Whether [`next_batch`] would give a batch.
fn batch_left(t: &CLLMTraining) -> bool {
    let rows = batch_shape(&t.config).ok().and_then(|(b, s)| b.checked_mul(s));
    let first = usize::try_from(t.current_batch_offset).ok();
    let end = rows.zip(first).and_then(|(rows, first)| first.checked_add(rows));
    end.is_some_and(|end| end < t.num_tokens && c_int::try_from(end).is_ok())
}

/// The next contiguous batch. At the end of the data the epoch ends: offset 0, `current_epoch`
/// + 1. An error changes nothing, except that a negative offset becomes 0.
fn next_batch(t: &mut CLLMTraining) -> Result<Next> {
    if t.tokens.is_null() || t.num_tokens == 0 {
        return Err(Error::State("no tokens to train on".into()));
    }
    let (batch, positions) = batch_shape(&t.config)?;
    let rows = cllm_kernels::memory::product("the batch", &[batch, positions])?;
    let Ok(first) = usize::try_from(t.current_batch_offset) else {
        let offset = std::mem::take(&mut t.current_batch_offset);
        return Err(Error::argument("current_batch_offset", offset, "0 or more"));
    };
    let after = first.checked_add(rows).filter(|&end| end < t.num_tokens);
    // The offset is an int: data beyond its range can't be reached.
    match after.and_then(|end| c_int::try_from(end).ok()) {
        Some(end) => {
            t.current_batch_offset = end;
            Ok(Next::Batch { first, rows, batch })
        }
        None => {
            t.current_batch_offset = 0;
            t.current_epoch = t.current_epoch.saturating_add(1);
            Ok(Next::End)
        }
    }
}

/// Copies the next contiguous batch: for sequence b and position s, input = `tokens[i]` and target =
/// `tokens[i+1]` with i = offset + b*S + s.
///
/// @param input_tokens, target_tokens `[B*S]`, overwritten.
/// @return B*S; 0 at the end of the epoch (`current_batch_offset` becomes 0, `current_epoch` grows
///         by 1), without tokens (nothing changes) or for a batch shape that is not positive;
///         -1 for NULL.
///
/// An epoch from offset 0 has floor((num_tokens − 1)/(B*S)) batches. Nothing is shuffled. Works on
/// objects that a program made itself.
///
/// # Safety
/// `training` is NULL or live; the arrays are NULL or hold B*S ids; `tokens` holds `num_tokens`.
#[unsafe(no_mangle)]
#[c_api(0)]
pub unsafe extern "C" fn cllm_get_batch(
    training: *mut CLLMTraining,
    input_tokens: *mut u32,
    target_tokens: *mut u32,
) -> c_int {
    if training.is_null() || input_tokens.is_null() || target_tokens.is_null() {
        report(Error::Null("training, input_tokens or target_tokens"));
        return Ok(-1);
    }
    if let Err(stale) = super::state::TRAININGS.find(training) {
        report(stale);
        return Ok(-1);
    }
    let t = ffi::get_mut(training, "training")?;
    let Next::Batch { first, rows, .. } = next_batch(t)? else { return Ok(0) };
    let tokens = ffi::slice(t.tokens, t.num_tokens, "tokens")?;
    ffi::slice_mut(input_tokens, rows, "input_tokens")?
        .copy_from_slice(&tokens[first..first + rows]);
    ffi::slice_mut(target_tokens, rows, "target_tokens")?
        .copy_from_slice(&tokens[first + 1..first + 1 + rows]);
    c_int::try_from(rows).map_err(|_| Error::argument("the batch", rows, "below 2^31 ids"))
}

/// One batch: forward, loss, backward, learning rate, accumulation and update, bookkeeping.
/// Returns the loss, taken before the update.
///
/// # Safety
/// As [`passes::loss_and_gradients`].
pub(crate) unsafe fn train_batch(
    t: &mut CLLMTraining,
    state: &mut TrainingState,
    tokens: &[u32],
    targets: Targets,
    batch: usize,
) -> Result<f32> {
    let loss = passes::loss_and_gradients(t, state, tokens, targets, batch)?;
    t.config.learning_rate = schedule(&t.config).rate(t.current_step.max(0) as u32);
    let rule = updates::configured_rule(&t.config);
    match updates::accumulate_and_apply(t, state, rule) {
        // A gradient that is not finite costs its update, not the run.
        Err(error @ Error::State(_)) => report(error),
        done => {
            done?;
        }
    }
    t.current_step = t.current_step.saturating_add(1);
    t.current_loss = loss;
    if loss < t.best_loss {
        t.best_loss = loss;
    }
    note_in_model(t)?;
    Ok(loss)
}

/// Writes into the model how far it is trained; its files carry that.
///
/// # Safety
/// `t.model` is NULL or live.
pub(crate) unsafe fn note_in_model(t: &CLLMTraining) -> Result<()> {
    let note = &mut ffi::get_mut(t.model, "model")?.training_meta;
    note.training_steps = u64::try_from(t.current_step).unwrap_or(0);
    note.learning_rate = t.config.learning_rate;
    note.loss = t.current_loss;
    note.timestamp = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    ffi::set_field(&mut note.optimizer, ffi::field_bytes(&t.config.optimizer));
    Ok(())
}

/// What a loop did.
#[derive(Default)]
pub(crate) struct Ran {
    pub batches: usize,
    pub loss_sum: f64,
    /// The progress callback ended it.
    pub stopped: bool,
}

impl Ran {
    /// Mean loss of the batches; 0 without any.
    pub(crate) fn mean(&self) -> f32 {
        if self.batches == 0 { 0.0 } else { (self.loss_sum / self.batches as f64) as f32 }
    }
}

/// Trains batches from `current_batch_offset` on, to the end of the epoch, or `limit` of them, or
/// until the progress callback says stop. No lock is held while the callback runs. With a limit
/// the epoch ends only in a call that finds no batch left.
///
/// # Safety
/// As [`with`]; `tokens` holds `num_tokens` ids.
pub(crate) unsafe fn run(
    training: *mut CLLMTraining,
    pool: &Arc<Pool>,
    limit: Option<usize>,
) -> Result<Ran> {
    run_prepared(training, pool, limit, |_| {})
}

/// [`run`] with something to do before each batch.
///
/// # Safety
/// As [`run`].
pub(crate) unsafe fn run_prepared(
    training: *mut CLLMTraining,
    pool: &Arc<Pool>,
    limit: Option<usize>,
    mut prepare: impl FnMut(&mut CLLMTraining),
) -> Result<Ran> {
    let began = Instant::now();
    let mut ran = Ran::default();
    while limit.is_none_or(|limit| ran.batches < limit) {
        let step = with(training, |t, state| {
            let before = t.current_batch_offset;
            if limit.is_some() && ran.batches > 0 && !batch_left(t) {
                return Ok(None);
            }
            let Next::Batch { first, rows, batch, .. } = next_batch(t)? else {
                return Ok(None);
            };
            let tokens = ffi::slice(t.tokens, t.num_tokens, "tokens")?;
            let (input, targets) = (&tokens[first..first + rows], &tokens[first + 1..]);
            prepare(t);
            let outside = std::mem::replace(&mut state.pool, Arc::clone(pool));
            let targets = Targets::all(&targets[..rows]);
            let loss = train_batch(t, state, input, targets, batch);
            state.pool = outside;
            if loss.is_err() {
                t.current_batch_offset = before;
            }
            let loss = loss?;
            let (done, all) = (first / rows + 1, (t.num_tokens - 1) / rows);
            Ok(Some((loss, state.progress, progress(t, state, rows, done, all, loss))))
        })?;
        let Some((loss, callback, progress)) = step else { break };
        ran.batches += 1;
        ran.loss_sum += f64::from(loss);
        if !tell(callback, progress, began, ran.batches) {
            ran.stopped = true;
            break;
        }
    }
    Ok(ran)
}

/// Tells the program how far a loop is that began at `began` and did `batches` batches, if it
/// wants to know; whether to go on. To be called without any lock held.
pub(crate) fn tell(
    callback: Option<(CLLMProgressCallback, UserData)>,
    mut progress: CLLMProgress,
    began: Instant,
    batches: usize,
) -> bool {
    let Some((Some(call), user_data)) = callback else { return true };
    let each = began.elapsed().as_secs_f64() / batches.max(1) as f64;
    let left = progress.batches_per_epoch.saturating_sub(progress.batch);
    progress.tokens_per_second /= each.max(1e-9);
    progress.seconds_left = each * f64::from(left);
    // SAFETY: the program set the callback and its pointer for this call.
    unsafe { call(&progress, user_data.0) }
}

/// Progress after batch `done` of `all`; `tokens_per_second` still holds the tokens of one batch.
pub(crate) fn progress(
    t: &CLLMTraining,
    state: &TrainingState,
    rows: usize,
    done: usize,
    all: usize,
    loss: f32,
) -> CLLMProgress {
    let narrow = |n: usize| c_int::try_from(n).unwrap_or(c_int::MAX);
    CLLMProgress {
        struct_size: size_of::<CLLMProgress>(),
        epoch: t.current_epoch,
        step: t.current_step,
        batch: narrow(done),
        batches_per_epoch: narrow(all),
        loss,
        learning_rate: t.config.learning_rate,
        gradient_norm: state.gradient_norm as f32,
        tokens_per_second: rows as f64,
        seconds_left: 0.0,
    }
}

/// A whole epoch from offset 0.
///
/// # Safety
/// As [`run`].
pub(crate) unsafe fn epoch(training: *mut CLLMTraining, pool: &Arc<Pool>) -> Result<Ran> {
    with(training, |t, _| {
        t.current_batch_offset = 0;
        Ok(())
    })?;
    run(training, pool, None)
}

/// One pass over `tokens` from offset 0 on the calling thread: for each batch forward, loss,
/// backward, learning rate, update. cllm_train_epoch_mt does the same on several threads, with the
/// same result bit for bit.
///
/// @return mean of the batch losses in nats per token, each taken before its update; 0.0 if no
///         batch fits or on failure.
///
/// Afterwards `current_step` has grown by the number of batches and `current_epoch` by 1,
/// `current_loss` is that of the last batch, `best_loss` the smallest so far,
/// `current_batch_offset` 0; the gradient buffers hold the latest gradient. `max_steps` stops
/// nothing. A batch whose gradient is not finite makes no update. The public activation buffers
/// are not written.
///
/// # Safety
/// `training` is NULL or live, its `tokens` hold `num_tokens` ids; one thread at a time.
#[unsafe(no_mangle)]
#[c_api(0.0)]
pub unsafe extern "C" fn cllm_train_epoch(training: *mut CLLMTraining) -> f32 {
    epoch(training, &Pool::shared(1)?).map(|ran| ran.mean())
}

/// `config.num_epochs` epochs: before each, `current_epoch` is set to its index. After every
/// `config.save_every` of them (<= 0: never) the model is written to
/// `checkpoint_epoch_<number>.cllm` in the working directory.
///
/// @return 0; -1 for NULL, an object not made by cllm_training_init, or a failed write.
///
/// # Safety
/// As cllm_train_epoch.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_train(training: *mut CLLMTraining) -> c_int {
    let pool = Pool::shared(1)?;
    let (epochs, every) = with(training, |t, _| Ok((t.config.num_epochs, t.config.save_every)))?;
    for e in 0..epochs.max(0) {
        with(training, |t, _| {
            t.current_epoch = e;
            Ok(())
        })?;
        epoch(training, &pool)?;
        if every > 0 && (e + 1) % every == 0 {
            let name = format!("checkpoint_epoch_{}.cllm", e + 1);
            let model = with(training, |t, _| Ok(t.model))?;
            write_model(model, Path::new(&name))?;
        }
    }
    Ok(0)
}
