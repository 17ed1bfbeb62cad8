//! Checkpoints: a model file for other readers, and a state file that alone suffices to resume.

use super::buffers::copy_master_weights;
use super::loops::note_in_model;
use super::state::{Data, TrainingState, narrow, with_training, write_counters};
use super::{CLLMTraining, CLLMTrainingConfig};
use crate::border::ffi::{self, Draft};
use crate::border::registry::lock;
use crate::headers::cllm_ext::options::CLLMTrainingOptions;
use crate::model::view::{self, Raw, weights_changed};
use crate::model::{build, file};
use cllm_engine::error::{Error, Result};
use cllm_engine::model::{AttentionLayout, Params, Part};
use cllm_engine::system::atomic::Pending;
use cllm_engine::train::Weights;
use cllm_engine::train::checkpoint::{self, Checkpoint, Notes, Opened, Prefix};
use cllm_macros::c_api;
use std::ffi::{OsString, c_char, c_int};
use std::path::{Path, PathBuf};

/// `name` with something appended, as in `run.cllm.state`.
pub(crate) fn with_suffix(name: &Path, suffix: &str) -> PathBuf {
    let mut path = OsString::from(name);
    path.push(suffix);
    PathBuf::from(path)
}

/// Prepares a file with everything that resuming needs; `None` on a rank that gave its part of the moments
/// to the first one. What came of the files goes to [`Trainer::all_saved`](cllm_engine::train::Trainer::all_saved).
///
/// # Safety
/// As [`TrainingState::train`].
pub(crate) unsafe fn prepare_state(
    t: &mut CLLMTraining,
    state: &mut TrainingState,
    prefix: Prefix,
    path: &Path,
) -> Result<Option<Pending>> {
    state.trainer.check_whole()?;
    let notes = Notes {
        data: state.data.mark,
        precision: state.options.training_precision(),
        arithmetic: state.options.training_precision().arithmetic(),
        bfloat16_sums: state.trainer.config.bfloat16_sums,
        total_batches: t.total_batches,
        loss_scale: t.current_loss_scale,
        loss_scale_steps: t.loss_scale_steps,
        config: config_bytes(&t.config).to_vec(),
        options: state.options.bytes(),
    };
    // Taken out for the time of the call, which has the state for itself.
    let best = std::mem::take(&mut state.best);
    let prepared = state.train(t, |trainer, weights| {
        checkpoint::prepare(path, prefix, trainer, &notes, Some(&best), weights)
    });
    state.best = best;
    prepared
}

/// A configuration as its bytes: numbers of four bytes and names, without gaps.
fn config_bytes(config: &CLLMTrainingConfig) -> &[u8] {
    // SAFETY: the struct lives as long as the slice, and every one of its bytes is initialised: its
    // size is the sum of its fields'.
    unsafe {
        std::slice::from_raw_parts((&raw const *config).cast(), size_of::<CLLMTrainingConfig>())
    }
}

/// The reverse; `None` for another length.
fn config_from(bytes: &[u8]) -> Option<CLLMTrainingConfig> {
    let bytes: &[u8; size_of::<CLLMTrainingConfig>()] = bytes.try_into().ok()?;
    // SAFETY: as many bytes as the struct has, whose numbers may have any value.
    Some(unsafe { std::ptr::read_unaligned(bytes.as_ptr().cast()) })
}

/// Restores a checkpoint of the library's.
///
/// # Safety
/// As [`TrainingState::train`].
pub(crate) unsafe fn restore_state(
    t: &mut CLLMTraining,
    state: &mut TrainingState,
    saved: &mut Checkpoint,
) -> Result<()> {
    state.best = state.train(t, |trainer, weights| {
        let best = saved.best(weights)?;
        trainer.counters = saved.restore(weights)?;
        Ok(best)
    })?;
    let notes = saved.notes();
    write_counters(t, &state.trainer.counters);
    t.total_batches = notes.total_batches;
    t.current_loss_scale = notes.loss_scale;
    t.loss_scale_steps = notes.loss_scale_steps;
    state.data = Data::restored(notes);
    state.saved_config = config_from(&notes.config);
    // Checkpoints of older versions say neither.
    let options = state.saved_config.and_then(|_| CLLMTrainingOptions::from_bytes(&notes.options));
    state.saved_options = options.map(|options| options.with_precision(notes.precision));
    weights_replaced(t, state)
}

/// What follows a change of the weights from outside a step.
///
/// # Safety
/// `t.model` is live.
pub(crate) unsafe fn weights_replaced(
    t: &mut CLLMTraining,
    state: &mut TrainingState,
) -> Result<()> {
    state.input.clear();
    copy_master_weights(t, ffi::get(t.model, "model")?);
    weights_changed(t.model);
    Ok(())
}

/// Copies the weights of a model file, if it has the shape of the training object's model, as far
/// as a checkpoint of the original goes.
///
/// # Safety
/// As [`prepare_state`].
pub(crate) unsafe fn weights_from_file(
    t: &mut CLLMTraining,
    state: &mut TrainingState,
    path: &Path,
) -> Result<()> {
    let draft = Draft::new(file::read_model(path, false)?, build::free);
    if let Some(record) = view::MODELS.find(draft.get())? {
        // Such a file holds d×d floats of each attention matrix, whatever its layout uses of them.
        lock(&record).layout = AttentionLayout::Full;
    }
    // The draft is a model that the library made, with room for that.
    let file = view::plan(draft.get())?;
    let from = view::read(file.params.clone())?;
    let plan = state.buffers.plan(t)?;
    let pairs = matching(&from, &plan.params)
        .filter(|_| file.dim == plan.dim)
        .ok_or_else(|| Error::file(path, "the model has another shape"))?;
    for (values, raw) in pairs {
        ffi::slice_mut(raw.pointer, raw.len, "a weight array")?.copy_from_slice(values);
    }
    weights_replaced(t, state)
}

/// The arrays of a file beside those of the model; `None` unless all of the model's are there in
/// their lengths. Files of the original have neither norms nor positions: the model's stay. Of an
/// attention matrix a model with blocks per head takes as much as it has.
fn matching<'a>(from: &Params<&'a [f32]>, to: &Params<Raw>) -> Option<Vec<(&'a [f32], Raw)>> {
    use Part::{Beta1, Beta2, Gamma1, Gamma2, Key, Learned, Query, Value};
    if from.layers.len() != to.layers.len() {
        return None;
    }
    let mut available = Vec::new();
    from.visit(|part, layer, t| available.push((part, layer, *t)));
    let stored = |part: Part| !matches!(part, Gamma1 | Beta1 | Gamma2 | Beta2 | Learned);
    to.tensors()
        .into_iter()
        .filter(|(part, ..)| stored(*part))
        .map(|(part, layer, raw)| {
            let (.., values) = available.iter().find(|t| (t.0, t.1) == (part, layer))?;
            let cut = matches!(part, Query | Key | Value);
            let fits = values.len() == raw.len || (cut && values.len() > raw.len);
            values.get(..raw.len).filter(|_| fits).map(|values| (values, *raw))
        })
        .collect()
}

/// Refuses a file without our block unless it can be the original's: `rest` follows the counters.
/// Beside a model file of ours it is one of ours that was cut.
pub(crate) fn check_original(rest: &[u8], model: &Path, path: &Path) -> Result<()> {
    if !rest.len().is_multiple_of(8) || file::has_extension(model).unwrap_or(false) {
        return Err(Error::file(path, "not a checkpoint: no block behind its counters"));
    }
    Ok(())
}

/// Moments of the embeddings from a file of the original: two halves of V·d floats each. Other
/// moments become zero, and so does the open window.
///
/// # Safety
/// As [`prepare_state`].
pub(crate) unsafe fn original_moments(
    t: &mut CLLMTraining,
    state: &mut TrainingState,
    floats: &[u8],
) -> Result<()> {
    state.train(t, |trainer, weights| {
        weights.visit(&mut |tensor| {
            tensor.accumulated.clear();
            let (values, len) = (floats.as_chunks::<4>().0, tensor.weights.len());
            let there = tensor.part == Part::Embeddings && values.len() >= 2 * len;
            let values = if there { values } else { &[] };
            for (moment, half) in [(tensor.moment1, 0), (tensor.moment2, len)] {
                let values = values.get(half + tensor.held.start..).unwrap_or_default();
                let mut values = values.iter().map(|bytes| f32::from_le_bytes(*bytes));
                moment.fill_with(|| values.next().unwrap_or(0.0));
            }
            Ok(())
        })?;
        trainer.counters.accumulated = 0;
        trainer.counters.updates = u64::from(trainer.counters.step);
        Ok(())
    })
}

/// Writes a checkpoint: the model file `filename` and the state file `filename.state`, which alone
/// suffices to resume: all parameters, moments, open accumulators and counters, bit for bit.
///
/// @return 0; -1 on failure: a file that stood there before is then still the old one.
///
/// Both files are written to temporary names in the same folder and flushed to the disk; only then
/// they are renamed, the state file first: where a new `filename` appears, the checkpoint is whole.
/// Ranks that divide the moments (cllm_training_set_communicator()) make this call together: the first one
/// writes both files, of which the others need no folder, and where it can't the call fails on all of them.
///
/// # Safety
/// `training` is NULL or live; `filename` is NULL or a C string.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_save_checkpoint(
    training: *mut CLLMTraining,
    filename: *const c_char,
) -> c_int {
    let path = ffi::path(filename, "filename")?;
    with_training(training, |t, state| {
        let prepared = prepare_state(t, state, Prefix::State, &with_suffix(path, ".state"))?;
        let written = prepared.map_or(Ok(()), |whole| {
            let model = file::prepare_model(t.model, path)?;
            whole.commit()?;
            model.commit()
        });
        state.trainer.all_saved(written)
    })?;
    Ok(0)
}

/// Restores a checkpoint from `filename.state`: weights are copied into the model's arrays, so that
/// `training->model` and all pointers stay valid; other fields of `config` than `learning_rate` are
/// not changed. The model must have the shape and the heads that it had then. Training goes on bit
/// for bit as if it had not been interrupted, for any number of threads; over other tokens, with
/// batches of other sizes, or in another precision, the first call that trains warns of that.
///
/// @return 0; -1 for a missing, short, damaged or wrongly shaped file: nothing has changed then.
///
/// The arrays are read one by one into their places, after the whole file has been checked: loading
/// needs no memory of its own. Where the file system fails in between, the weights are of no use
/// until a checkpoint is loaded.
///
/// A state file of the original library restores its four numbers, the moments of the embeddings
/// if they are all there, and the weights of the model file beside it if that matches.
///
/// # Safety
/// `training` is NULL or live; `filename` is NULL or a C string.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn cllm_load_checkpoint(
    training: *mut CLLMTraining,
    filename: *const c_char,
) -> c_int {
    let name = ffi::path(filename, "filename")?;
    let path = with_suffix(name, ".state");
    with_training(training, |t, state| {
        match checkpoint::open(&path, Prefix::State)? {
            Opened::Checkpoint(mut saved) => restore_state(t, state, &mut saved)?,
            Opened::Original(counters, rest) => {
                check_original(&rest, name, &path)?;
                t.current_epoch = narrow(counters.epoch);
                t.current_step = narrow(counters.step);
                t.current_loss = counters.loss;
                t.best_loss = counters.best_loss;
                original_moments(t, state, &rest)?;
                if let Err(error) = weights_from_file(t, state, name) {
                    ffi::report(format_args!("weights kept: {error}"));
                }
            }
        }
        note_in_model(t)?;
        Ok(0)
    })
}
