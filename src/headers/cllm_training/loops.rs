//! Batches and epochs.

use super::state::{
    Source, TrainingState, batch_shape, narrow, read_counters, state, with_training, write_counters,
};
use super::{CLLMTraining, updates};
use crate::border::ffi::{self, report};
use crate::border::host;
use crate::border::registry::lock;
use crate::headers::cllm::CLLMModel;
use crate::headers::cllm_ext::CLLMProgress;
use crate::headers::cllm_ext::options::CLLMTrainingOptions;
use crate::model::file::write_model;
use crate::model::{view, words};
use cllm_engine::Evaluation;
use cllm_engine::error::{Error, Result};
use cllm_engine::log;
use cllm_engine::score::{self, TokenScore};
use cllm_engine::system::date;
use cllm_engine::text::Ids;
use cllm_engine::train::batch::Windows;
use cllm_engine::train::run::{self, Run};
use cllm_engine::train::tokens;
use cllm_engine::train::{Batch, Corpus, Counters, Outcome, Position, Progress, Step};
use cllm_kernels::Pool;
use cllm_macros::c_api;
use std::ffi::c_int;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// Looks at all ids of an epoch before it begins: says which the model doesn't have, if it was not
/// said before, and counts the `<EOS>` that the model's words don't know of. An error where nothing
/// could be learnt.
///
/// # Safety
/// `model` is NULL or live.
pub(crate) unsafe fn check_ids(
    model: *mut CLLMModel,
    state: &mut TrainingState,
    ids: Ids<'_>,
) -> Result<()> {
    let vocab = view::vocab_size(view::live(model)?)?;
    let foreign = tokens::foreign(ids, vocab)?;
    if let Some(found) = foreign.filter(|_| foreign != state.foreign_tokens) {
        let what = found.describe(ids.len(), vocab);
        log::warn(&format!("training leaves ids out: {what}"));
    }
    state.foreign_tokens = foreign;
    words::count_end(model, ids)
}

/// The training ids, cut into the batches that the options ask for.
pub(crate) fn corpus<'s>(
    t: &CLLMTraining,
    state: &TrainingState,
    source: &'s Source<'_>,
) -> Result<Corpus<'s>> {
    let corpus = in_order(t, source)?;
    let CLLMTrainingOptions { shuffle, seed, .. } = state.options;
    Ok(if shuffle == 0 { corpus } else { corpus.shuffled(seed) })
}

/// The training ids, cut into batches in their order.
fn in_order<'s>(t: &CLLMTraining, source: &'s Source<'_>) -> Result<Corpus<'s>> {
    let (sequences, positions) = batch_shape(&t.config)?;
    Corpus::new(source.ids(), sequences, positions)
}

/// Where the training ids are: in `tokens`, or else in the file that the training was given.
///
/// # Safety
/// `tokens` is NULL or holds `num_tokens` ids, which stay for `'a`.
pub(crate) unsafe fn source<'a>(
    t: &CLLMTraining,
    state: Option<&TrainingState>,
) -> Result<Source<'a>> {
    if t.tokens.is_null()
        && let Some(file) = state.and_then(|state| state.file.as_ref())
    {
        return Ok(Source::File(Arc::clone(file)));
    }
    if t.tokens.is_null() || t.num_tokens == 0 {
        return Err(Error::state("no tokens to train on"));
    }
    Ok(Source::Memory(ffi::slice(t.tokens, t.num_tokens, "tokens")?))
}

/// Refuses a place before the tokens, which becomes their beginning.
fn check_offset(t: &mut CLLMTraining) -> Result<()> {
    if t.current_batch_offset < 0 {
        let offset = std::mem::take(&mut t.current_batch_offset);
        return Err(Error::argument("current_batch_offset", offset, "0 or more"));
    }
    Ok(())
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
/// objects that a program made itself, there for the first 2^31 tokens: see `current_batch_offset`.
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
        report(Error::null("training, input_tokens or target_tokens"));
        return Ok(-1);
    }
    let known = match super::state::TRAININGS.find(training) {
        Ok(known) => known,
        Err(stale) => {
            report(stale);
            return Ok(-1);
        }
    };
    let mut state = known.as_ref().map(|state| lock(state));
    let t = ffi::get_mut(training, "training")?;
    let source = source(t, state.as_deref())?;
    let corpus = in_order(t, &source)?;
    check_offset(t)?;
    let mut own = Counters::default();
    // The offset is an int: only objects of the library's know a place beyond its range.
    let (counters, far) = match &mut state {
        Some(state) => (&mut state.trainer.counters, true),
        None => (&mut own, false),
    };
    read_counters(t, counters);
    let after = counters.offset.saturating_add(corpus.rows());
    let reached = far || c_int::try_from(after).is_ok();
    let mut windows = Windows::default();
    let batch = match reached {
        true => corpus.draw(counters.epoch, counters.offset, &mut windows)?,
        false => None,
    };
    let Some(batch) = batch else {
        counters.end_epoch();
        (t.current_batch_offset, t.current_epoch) = (0, narrow(counters.epoch));
        return Ok(0);
    };
    let rows = corpus.rows();
    ffi::slice_mut(input_tokens, rows, "input_tokens")?.copy_from_slice(batch.tokens);
    ffi::slice_mut(target_tokens, rows, "target_tokens")?.copy_from_slice(batch.targets.ids);
    counters.offset = after;
    t.current_batch_offset = narrow(after);
    Ok(narrow(rows))
}

/// What follows a step: its record goes into the public fields and into the model.
///
/// # Safety
/// `t.model` is live.
unsafe fn record(t: &mut CLLMTraining, state: &TrainingState, step: &Step) -> Result<()> {
    let counters = &state.trainer.counters;
    write_counters(t, counters);
    updates::finish(t, counters, step.outcome)
        // A gradient that is not finite costs its update, not the run.
        .unwrap_or_else(report);
    note_in_model(t)
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
    note.timestamp = date::unix_now();
    ffi::set_field(&mut note.optimizer, ffi::field_bytes(&t.config.optimizer));
    Ok(())
}

/// One batch: the trainer's step at the scheduled rate, and its record.
///
/// # Safety
/// As [`TrainingState::train`].
pub(crate) unsafe fn step(
    t: &mut CLLMTraining,
    state: &mut TrainingState,
    pool: &Pool,
    batch: &Batch,
) -> Result<Step> {
    state.input.clear();
    let step = state.train(t, |trainer, weights| {
        trainer.step(pool, weights, batch, trainer.scheduled_rate())
    })?;
    record(t, state, &step)?;
    Ok(step)
}

/// The next batch of the tokens, at the rate that `rate` gives for it or the scheduled one; `None`
/// at the end of the epoch. With `stay` an epoch that is at its end does not end yet. The caller takes
/// no more than `most` steps before it looks at what is accumulated.
///
/// # Safety
/// As [`TrainingState::train`]; `tokens` holds `num_tokens` ids.
unsafe fn next_step(
    t: &mut CLLMTraining,
    state: &mut TrainingState,
    pool: &Pool,
    mut rate: impl FnMut() -> Option<f32>,
    stay: bool,
    most: usize,
) -> Result<Option<(Step, Position)>> {
    let source = source(t, Some(state))?;
    let corpus = corpus(t, state, &source)?;
    check_offset(t)?;
    let counters = &mut state.trainer.counters;
    read_counters(t, counters);
    if !corpus.has_batch(counters.offset) {
        if !stay {
            counters.end_epoch();
            (t.current_batch_offset, t.current_epoch) = (0, narrow(counters.epoch));
        }
        return Ok(None);
    }
    state.input.clear();
    let next = state.train(t, |trainer, weights| {
        let rate = rate().unwrap_or_else(|| trainer.scheduled_rate());
        trainer.next_step_of(pool, weights, &corpus, rate, most)
    })?;
    if let Some((step, _)) = &next {
        record(t, state, step)?;
    }
    Ok(next)
}

/// Trains batches from `current_batch_offset` on, to the end of the epoch, or `limit` of them, or
/// until the progress callback says stop. No lock is held while the callback runs. With a limit
/// the epoch ends only in a call that finds no batch left.
///
/// # Safety
/// As [`with_training`]; `tokens` holds `num_tokens` ids.
pub(crate) unsafe fn run(
    training: *mut CLLMTraining,
    pool: &Pool,
    limit: Option<usize>,
) -> Result<Run> {
    run_at(training, pool, limit, || None)
}

/// [`run`], at the rates that `rate` gives, one for each batch.
///
/// # Safety
/// As [`run`].
pub(crate) unsafe fn run_at(
    training: *mut CLLMTraining,
    pool: &Pool,
    limit: Option<usize>,
    mut rate: impl FnMut() -> Option<f32>,
) -> Result<Run> {
    with_training(training, |t, state| {
        // Where there are none the first step says so.
        let Ok(source) = source(t, Some(state)) else { return Ok(()) };
        let Ok(corpus) = corpus(t, state, &source) else { return Ok(()) };
        let rounded = state.trainer.config.bfloat16_sums;
        state.data.note(&corpus, t.model, state.options.training_precision(), rounded);
        let ids = source.ids();
        let seen = (ids.place(), ids.len());
        if t.current_batch_offset == 0 || state.checked_tokens != Some(seen) {
            check_ids(t.model, state, ids)?;
            state.checked_tokens = Some(seen);
        }
        Ok(())
    })?;
    let next = |done: usize| {
        let stay = limit.is_some() && done > 0;
        let most = limit.map_or(usize::MAX, |limit| limit - done);
        with_training(training, |t, state| next_step(t, state, pool, &mut rate, stay, most))
    };
    let settle = |stop| with_training(training, |_, state| state.trainer.settle(stop));
    run::run(limit, next, |progress| tell(training, progress), settle)
}

/// Scores `ids` in windows of the configured length, 0 standing for a stride of half of them, and learns
/// each of them; `each` is told the scores.
///
/// # Safety
/// As [`with_training`].
pub(crate) unsafe fn dynamic_evaluation(
    training: *mut CLLMTraining,
    pool: &Pool,
    ids: &[u32],
    stride: usize,
    learning_rate: f32,
    each: impl FnMut(usize, TokenScore),
) -> Result<Evaluation> {
    with_training(training, |t, state| {
        let (_, length) = batch_shape(&t.config)?;
        let windows = match stride {
            0 => score::Windows::new(length, length.div_ceil(2))?,
            stride => score::Windows::new(length, stride)?,
        };
        state.input.clear();
        let Counters { updates, skipped, .. } = state.trainer.counters;
        let found = state.train(t, |trainer, weights| {
            trainer.dynamic_evaluation(pool, weights, ids, windows, learning_rate, each)
        });
        // Also after an error, for what was learnt before it.
        let counters = &state.trainer.counters;
        write_counters(t, counters);
        if counters.updates != updates {
            updates::finish(t, counters, Outcome::Updated)?;
            note_in_model(t)?;
        }
        if counters.skipped != skipped {
            // A gradient that is not finite costs its update, not the run.
            updates::finish(t, counters, Outcome::Skipped).unwrap_or_else(report);
        }
        found
    })
}

/// Tells the program how far a loop is, if it wants to know; whether to go on. To be called
/// without any lock held.
///
/// # Safety
/// As [`with_training`].
pub(crate) unsafe fn tell(training: *mut CLLMTraining, progress: &Progress) -> ControlFlow<()> {
    let callback = state(training).map(|state| lock(&state).progress);
    let Ok(Some((Some(call), user_data))) = callback else { return ControlFlow::Continue(()) };
    let Progress { step, position, tokens_per_second, seconds_left } = *progress;
    let progress = CLLMProgress {
        struct_size: size_of::<CLLMProgress>(),
        epoch: narrow(position.epoch),
        step: narrow(step.number),
        batch: narrow(position.batch),
        batches_per_epoch: narrow(position.batches),
        loss: step.loss,
        learning_rate: step.learning_rate,
        gradient_norm: step.gradient_norm as f32,
        tokens_per_second,
        seconds_left,
    };
    // The program set the callback and its pointer for this call.
    match host::outside(|| call(&progress, user_data.0)) {
        true => ControlFlow::Continue(()),
        false => ControlFlow::Break(()),
    }
}

/// A whole epoch from offset 0.
///
/// # Safety
/// As [`run`].
pub(crate) unsafe fn epoch(training: *mut CLLMTraining, pool: &Pool) -> Result<Run> {
    with_training(training, |t, _| {
        t.current_batch_offset = 0;
        Ok(())
    })?;
    let run = run(training, pool, None)?;
    if run.steps == 0 && !run.stopped {
        let tokens = with_training(training, |t, _| Ok(t.num_tokens))?;
        log::warn(&format!("nothing was trained: {tokens} tokens are less than a batch"));
    }
    Ok(run)
}

/// One pass over `tokens` from offset 0: for each batch forward, loss, backward, learning rate, update.
/// With as many threads as a batch is worth; cllm_train_epoch_mt does the same with a given number of
/// them, with the same result bit for bit.
///
/// @return mean of the batch losses in nats per token, each taken before its update; 0.0 if no
///         batch fits (with a warning) or on failure, which it is if no id could be learnt.
///
/// Ids that are not below the vocabulary size are left out: as targets they do not count, as input
/// they are positions without a token. A warning says how many there are and names the first; where
/// there are no others, nothing is trained and that is an error.
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
    epoch(training, &Pool::automatic()).map(|run| run.mean_loss())
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
    let (epochs, every) =
        with_training(training, |t, _| Ok((t.config.num_epochs, t.config.save_every)))?;
    for e in 0..epochs.max(0) {
        with_training(training, |t, _| {
            t.current_epoch = e;
            Ok(())
        })?;
        epoch(training, &Pool::automatic())?;
        if every > 0 && (e + 1) % every == 0 {
            let name = format!("checkpoint_epoch_{}.cllm", e + 1);
            let model = with_training(training, |t, _| Ok(t.model))?;
            write_model(model, Path::new(&name))?;
        }
    }
    Ok(0)
}
