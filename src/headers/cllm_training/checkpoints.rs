//! Checkpoints: a model file for other readers, and a state file that alone suffices to resume.

use super::CLLMTraining;
use super::buffers::copy_master_weights;
use super::loops::note_in_model;
use super::state::{TrainingState, with};
use crate::border::ffi;
use crate::border::registry::lock;
use crate::headers::cllm::CLLMModel;
use crate::model::view::{self, Plan, Raw, kind_name, weights_changed};
use crate::model::{build, file};
use cllm_engine::error::{Error, Result};
use cllm_engine::file::{Problem, atomic, state as container};
use cllm_engine::nn::model::{AttentionLayout, Kind, Params};
use cllm_macros::c_api;
use std::ffi::{OsString, c_char, c_int};
use std::path::{Path, PathBuf};

/// Bytes before the block of a `.state` file: epoch, step, loss and best loss, as the original
/// wrote them.
const PREFIX: usize = 16;

/// `name` with something appended, as in `run.cllm.state`.
pub(crate) fn with_suffix(name: &Path, suffix: &str) -> PathBuf {
    let mut path = OsString::from(name);
    path.push(suffix);
    PathBuf::from(path)
}

fn key(what: &str, kind: Kind, layer: usize) -> String {
    format!("{what}/{}/{layer}", kind_name(kind))
}

/// Writes everything that resuming needs: `prefix`, then the block.
///
/// # Safety
/// As [`with`], and the model's arrays hold what its sizes say.
pub(crate) unsafe fn save_state(
    t: &CLLMTraining,
    state: &mut TrainingState,
    prefix: &[u8],
    path: &Path,
) -> Result<()> {
    let plan = state.plan(t)?;
    let weights = view::read(plan.params.clone())?;
    let moments = match t.optimizer_state.is_null() {
        true => None,
        false => {
            Some(ffi::slice(t.optimizer_state, 2 * plan.params.embeddings.len, "optimizer_state")?)
        }
    };
    state.sync(&plan.params);
    let mut writer = container::StateWriter::new(prefix)
        .u64("vocab", plan.vocab as u64)
        .u64("dim", plan.dim as u64)
        .u64("layers", plan.params.layers.len() as u64)
        .u64("max_length", plan.max_length as u64)
        .u64("updates", state.updates)
        .u64("skipped", state.skipped)
        .f64("gradient_norm", state.gradient_norm)
        .i32("accumulation_step", t.accumulation_step)
        .i32("current_batch_offset", t.current_batch_offset)
        .i32("total_batches", t.total_batches)
        .f32("current_loss", t.current_loss)
        .f32("learning_rate", t.config.learning_rate)
        .f32("loss_scale", t.current_loss_scale)
        .i32("loss_scale_steps", t.loss_scale_steps);
    let spiral = match plan.spiral {
        Some(s) => Some(ffi::slice(s.pointer, s.len, "spiral_positions")?),
        None => None,
    };
    writer = writer.maybe_f32s("spiral", spiral);
    let used = |values: &[f32]| !values.is_empty();
    for ((kind, layer, w), slot) in weights.tensors().into_iter().zip(state.slots.iter()) {
        writer = writer.f32s(key("w", kind, layer), w);
        let (first, second) = match (kind, moments) {
            (Kind::Embeddings, Some(both)) => {
                let (first, second) = both.split_at(w.len());
                (Some(first), Some(second))
            }
            (Kind::Embeddings, None) => (None, None),
            _ => (
                Some(&slot.moment1[..]).filter(|m| used(m)),
                Some(&slot.moment2[..]).filter(|m| used(m)),
            ),
        };
        let open = Some(&slot.accumulated[..]).filter(|a| used(a) && t.accumulation_step > 0);
        writer = writer
            .maybe_f32s(key("m1", kind, layer), first)
            .maybe_f32s(key("m2", kind, layer), second)
            .maybe_f32s(key("acc", kind, layer), open);
    }
    atomic::write(path, |out| writer.write(out))
}

/// Restores the block behind the first `prefix_len` bytes of `file`. Everything is checked before
/// anything changes.
///
/// # Safety
/// As [`save_state`].
pub(crate) unsafe fn restore_state(
    t: &mut CLLMTraining,
    state: &mut TrainingState,
    file: &[u8],
    prefix_len: usize,
    path: &Path,
) -> Result<()> {
    let at = |problem: Problem| Problem::at(path)(problem);
    let saved = container::State::parse(file, prefix_len).map_err(at)?;
    let plan = state.plan(t)?;
    check(&saved, &plan).map_err(at)?;

    // Every array was checked to be there in the right length.
    state.sync(&plan.params);
    super::state::reserve_optimizer_state(t, plan.params.embeddings.len)?;
    let vocabulary = plan.params.embeddings.len;
    let both = ffi::slice_mut(t.optimizer_state, 2 * vocabulary, "optimizer_state")?;
    // Memory first: after this nothing can fail.
    for slot in state.slots.iter_mut() {
        slot.accumulated.grow("the accumulated gradients", slot.len)?;
        slot.reserve_moments()?;
    }
    if let (Some(raw), Ok(Some(values))) =
        (plan.spiral, saved.maybe_f32s("spiral", plan.spiral.map_or(0, |s| s.len)))
    {
        values.copy_to(ffi::slice_mut(raw.pointer, raw.len, "spiral_positions")?)?;
    }
    let mut slots = state.slots.iter_mut();
    view::write(plan.params)?.try_map(|kind, layer, w| {
        let slot = slots.next().ok_or_else(|| Error::shape("a tensor without state"))?;
        let fill = |what: &str, out: &mut [f32]| -> Result<()> {
            match saved.maybe_f32s(&key(what, kind, layer), out.len()).map_err(at)? {
                Some(values) => values.copy_to(out)?,
                None => out.fill(0.0),
            }
            Ok(())
        };
        fill("w", w)?;
        fill("acc", &mut slot.accumulated)?;
        if kind == Kind::Embeddings {
            let (first, second) = both.split_at_mut(w.len());
            fill("m1", first)?;
            fill("m2", second)
        } else {
            fill("m1", &mut slot.moment1)?;
            fill("m2", &mut slot.moment2)
        }
    })?;
    drop(slots);
    state.updates = saved.u64("updates").map_err(at)?;
    state.skipped = saved.u64("skipped").map_err(at)?;
    state.gradient_norm = saved.f64("gradient_norm").map_err(at)?;
    t.accumulation_step = saved.i32("accumulation_step").map_err(at)?;
    t.current_batch_offset = saved.i32("current_batch_offset").map_err(at)?;
    t.total_batches = saved.i32("total_batches").map_err(at)?;
    t.current_loss = saved.f32("current_loss").map_err(at)?;
    t.config.learning_rate = saved.f32("learning_rate").map_err(at)?;
    t.current_loss_scale = saved.f32("loss_scale").map_err(at)?;
    t.loss_scale_steps = saved.i32("loss_scale_steps").map_err(at)?;
    weights_replaced(t, state)
}

/// Whether a checkpoint has every number, and exactly the arrays of this model.
fn check(saved: &container::State, plan: &Plan) -> Result<(), Problem> {
    for (name, here) in [
        ("vocab", plan.vocab),
        ("dim", plan.dim),
        ("layers", plan.params.layers.len()),
        ("max_length", plan.max_length),
    ] {
        let there = saved.u64(name)?;
        if there != here as u64 {
            return Err(Problem::content(format!("{name} is {there}, the model's is {here}")));
        }
    }
    for name in ["updates", "skipped"] {
        saved.u64(name)?;
    }
    saved.f64("gradient_norm")?;
    for name in ["accumulation_step", "current_batch_offset", "total_batches", "loss_scale_steps"] {
        saved.i32(name)?;
    }
    for name in ["current_loss", "learning_rate", "loss_scale"] {
        saved.f32(name)?;
    }
    let spiral = saved.maybe_f32s("spiral", plan.spiral.map_or(0, |s| s.len))?;
    if spiral.is_some() != plan.spiral.is_some() {
        return Err(Problem::content("spiral positions are in one of file and model only"));
    }
    let mut count = 0;
    for (kind, layer, t) in plan.params.tensors() {
        saved.f32s(&key("w", kind, layer), t.len)?;
        for what in ["m1", "m2", "acc"] {
            saved.maybe_f32s(&key(what, kind, layer), t.len)?;
        }
        count += 1;
    }
    let there = saved.keys().filter(|key| key.starts_with("w/")).count();
    if there != count {
        return Err(Problem::content(format!("{there} weight arrays, the model has {count}")));
    }
    Ok(())
}

/// What follows a change of the weights from outside a step.
///
/// # Safety
/// As [`save_state`].
unsafe fn weights_replaced(t: &mut CLLMTraining, state: &mut TrainingState) -> Result<()> {
    state.input.clear();
    copy_master_weights(t, ffi::get(t.model, "model")?);
    weights_changed(t.model);
    Ok(())
}

/// Copies the weights of a model file, if it has the shape of the training object's model, as far
/// as a checkpoint of the original goes.
///
/// # Safety
/// As [`save_state`].
pub(crate) unsafe fn weights_from_file(
    t: &mut CLLMTraining,
    state: &mut TrainingState,
    path: &Path,
) -> Result<()> {
    struct Draft(*mut CLLMModel);
    impl Drop for Draft {
        fn drop(&mut self) {
            // SAFETY: read_model made it, and nothing else knows it.
            let _ = unsafe { build::free(self.0) };
        }
    }
    let draft = Draft(file::read_model(path, false)?);
    if let Some(record) = view::MODELS.find(draft.0)? {
        // Such a file holds d×d floats of each attention matrix, whatever its layout uses of them.
        lock(&record).layout = AttentionLayout::Full;
    }
    // The draft is a model that the library made, with room for that.
    let file = view::plan(draft.0)?;
    let from = view::read(file.params.clone())?;
    let plan = state.plan(t)?;
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
    use Kind::{Beta1, Beta2, Gamma1, Gamma2, Key, Learned, Query, Value};
    if from.layers.len() != to.layers.len() {
        return None;
    }
    let mut available = Vec::new();
    from.visit(|kind, layer, t| available.push((kind, layer, *t)));
    let stored = |kind: Kind| !matches!(kind, Gamma1 | Beta1 | Gamma2 | Beta2 | Learned);
    to.tensors()
        .into_iter()
        .filter(|(kind, ..)| stored(*kind))
        .map(|(kind, layer, raw)| {
            let (.., values) = available.iter().find(|t| (t.0, t.1) == (kind, layer))?;
            let cut = matches!(kind, Query | Key | Value);
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
/// As [`save_state`].
pub(crate) unsafe fn original_moments(
    t: &mut CLLMTraining,
    state: &mut TrainingState,
    floats: &[u8],
) -> Result<()> {
    let plan = state.plan(t)?;
    let mut tensors = state.tensors(t, plan.params, Vec::new())?;
    for tensor in &mut tensors {
        tensor.moment1.fill(0.0);
        tensor.moment2.fill(0.0);
    }
    if let Some(e) = tensors.first_mut() {
        let count = e.moment1.len() + e.moment2.len();
        if floats.len() / 4 >= count {
            let slots = e.moment1.iter_mut().chain(e.moment2.iter_mut());
            for (slot, bytes) in slots.zip(floats.as_chunks::<4>().0) {
                *slot = f32::from_le_bytes(*bytes);
            }
        }
    }
    drop(tensors);
    state.slots.iter_mut().for_each(|slot| slot.accumulated.fill(0.0));
    t.accumulation_step = 0;
    state.updates = u64::try_from(t.current_step).unwrap_or(0);
    Ok(())
}

/// Writes a checkpoint: the model file `filename` and the state file `filename.state`, which alone
/// suffices to resume: all parameters, moments, open accumulators and counters, bit for bit.
///
/// @return 0; -1 on failure: a file that stood there before is then still the old one.
///
/// Each file is written to a temporary name in the same folder, flushed to the disk, renamed; the
/// state file last.
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
    with(training, |t, state| {
        file::write_model(t.model, path)?;
        let mut prefix = [0; PREFIX];
        prefix[..4].copy_from_slice(&t.current_epoch.to_le_bytes());
        prefix[4..8].copy_from_slice(&t.current_step.to_le_bytes());
        prefix[8..12].copy_from_slice(&t.current_loss.to_le_bytes());
        prefix[12..].copy_from_slice(&t.best_loss.to_le_bytes());
        save_state(t, state, &prefix, &with_suffix(path, ".state"))
    })?;
    Ok(0)
}

/// Restores a checkpoint from `filename.state`: weights are copied into the model's arrays, so that
/// `training->model` and all pointers stay valid; other fields of `config` than `learning_rate` are
/// not changed. The model must have the shape that it had then. Training goes on bit for bit as if
/// it had not been interrupted, for any number of threads.
///
/// @return 0; -1 for a missing, short, damaged or wrongly shaped file: nothing has changed then.
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
    with(training, |t, state| {
        let file = container::load(&path)?;
        let word = |i: usize| file.get(4 * i..4 * i + 4)?.try_into().ok();
        let [Some(epoch), Some(step), Some(loss), Some(best)] = [0, 1, 2, 3].map(word) else {
            return Err(Error::file(&path, "shorter than the 16 bytes of its counters"));
        };
        let ours = container::has_block(&file, PREFIX);
        if ours {
            restore_state(t, state, &file, PREFIX, &path)?;
        } else {
            check_original(&file[PREFIX..], name, &path)?;
        }
        t.current_epoch = c_int::from_le_bytes(epoch);
        t.current_step = c_int::from_le_bytes(step);
        t.current_loss = f32::from_le_bytes(loss);
        t.best_loss = f32::from_le_bytes(best);
        if !ours {
            original_moments(t, state, &file[PREFIX..])?;
            if let Err(error) = weights_from_file(t, state, name) {
                ffi::report(format_args!("weights kept: {error}"));
            }
        }
        note_in_model(t)?;
        Ok(0)
    })
}
