//! `cllm_training_threaded.h`: epochs over a batch iterator, on several threads.

use crate::border::ffi;
use crate::border::registry::{Registry, lock};
use crate::headers::cllm_batch::{CLLMBatchIterator, ITERATORS};
use crate::headers::cllm_training::state::{TRAININGS, with_training};
use crate::headers::cllm_training::{CLLMTraining, loops};
use crate::headers::cllm_training_parallel::optimal;
use cllm_engine::error::{Error, Result};
use cllm_engine::nn::loss::Targets;
use cllm_engine::train::batch::{self, BatchMut};
use cllm_engine::train::run;
use cllm_engine::train::{Batch, Outcome, Position, Progress, Step};
use cllm_kernels::Pool;
use cllm_kernels::memory::filled;
use cllm_macros::c_api;
use metrics::{Follower, Record};
use std::ffi::c_int;
use std::fmt::Write;
use std::ptr;
use std::sync::{Arc, Mutex};

/// Trains a training object on the batches of an iterator; made by `threaded_training_create`.
pub struct ThreadedTrainingSystem {
    _private: [u8; 0],
}

/// What is booked on one of the workers.
#[derive(Clone, Copy, Default)]
struct Sphere {
    batches: c_int,
    loss_sum: f64,
}

impl Sphere {
    fn mean(&self) -> f32 {
        if self.batches == 0 { 0.0 } else { (self.loss_sum / f64::from(self.batches)) as f32 }
    }
}

pub(crate) struct SystemState {
    training: Borrowed<CLLMTraining>,
    iterator: Borrowed<CLLMBatchIterator>,
    workers: c_int,
    pool: Arc<Pool>,
    /// Those that got a batch so far: batches go to them in order.
    spheres: Vec<Sphere>,
    gradient_norm: f64,
    metrics: Record,
}

/// The address of an object that the program has.
struct Borrowed<T>(*mut T);

impl<T> Clone for Borrowed<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Borrowed<T> {}

// SAFETY: only an address, looked up in a registry at each use.
unsafe impl<T> Send for Borrowed<T> {}

pub(crate) static SYSTEMS: Registry<SystemState> = Registry::new("system");

impl SystemState {
    /// Batch `number` of an epoch belongs to worker `number` mod n.
    fn book(&mut self, number: usize, step: &Step) {
        let sphere = number % self.workers.max(1) as usize;
        if self.spheres.len() <= sphere {
            self.spheres.resize(sphere + 1, Sphere::default());
        }
        let sphere = &mut self.spheres[sphere];
        sphere.batches = sphere.batches.saturating_add(1);
        sphere.loss_sum += f64::from(step.loss);
        // In an open accumulation window nothing was updated.
        if step.outcome != Outcome::Accumulated {
            self.gradient_norm = step.gradient_norm;
        }
    }
}

/// Whether a system can be made of them.
///
/// # Safety
/// As [`threaded_training_create`].
pub(crate) unsafe fn check_parts(
    training: *mut CLLMTraining,
    iterator: *mut CLLMBatchIterator,
) -> Result<()> {
    TRAININGS.find(training)?;
    ITERATORS.get(iterator)?;
    if ffi::get(training, "training")?.model.is_null() {
        return Err(Error::null("training->model"));
    }
    Ok(())
}

/// Makes a system that trains `training` on the batches of `batch_iterator` with several threads.
///
/// @param training       borrowed; its `model` must not be NULL. Of an object that
///                       cllm_training_init did not make, epochs return 0.0.
/// @param batch_iterator borrowed.
/// @param num_threads    workers ("spheres" 0 to n-1), any number; 0 or less:
///                       cllm_get_optimal_thread_count(). No more than 256 threads are started,
///                       the others share them. Results don't depend on it.
/// @return the system; free it with threaded_training_free before the other two. NULL if one of
///         them or `training->model` is NULL, or there is no memory.
///
/// # Safety
/// `training` is NULL or points to a `CLLMTraining`; `batch_iterator` is NULL or an iterator.
#[unsafe(no_mangle)]
#[c_api(ptr::null_mut())]
pub unsafe extern "C" fn threaded_training_create(
    training: *mut CLLMTraining,
    batch_iterator: *mut CLLMBatchIterator,
    num_threads: c_int,
) -> *mut ThreadedTrainingSystem {
    check_parts(training, batch_iterator)?;
    let automatic = || c_int::try_from(optimal()).unwrap_or(1);
    let workers = if num_threads > 0 { num_threads } else { automatic() };
    SYSTEMS.new_handle("a system", new_system(training, batch_iterator, workers)?)
}

/// A system for objects that are there, with at least one worker.
pub(crate) fn new_system(
    training: *mut CLLMTraining,
    iterator: *mut CLLMBatchIterator,
    workers: c_int,
) -> Result<SystemState> {
    Ok(SystemState {
        training: Borrowed(training),
        iterator: Borrowed(iterator),
        workers,
        pool: Pool::shared(workers as usize),
        spheres: Vec::new(),
        gradient_norm: 0.0,
        metrics: Record::new(workers)?,
    })
}

/// Frees a system; neither its training object nor its iterator.
///
/// @param system the system; NULL is fine. A second free is reported and does nothing.
///
/// # Safety
/// `system` is NULL or a system that nothing uses any more.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn threaded_training_free(system: *mut ThreadedTrainingSystem) {
    SYSTEMS.free_handle(system)
}

/// # Safety
/// As [`threaded_train_epoch`].
pub(crate) unsafe fn epoch(system: &Mutex<SystemState>, number: Option<c_int>) -> Result<f32> {
    let (training, iterator, pool) = {
        let s = lock(system);
        (s.training.0, s.iterator.0, Arc::clone(&s.pool))
    };
    TRAININGS.get(training)?;
    let iterator = ITERATORS.get(iterator)?;
    let (sequences, rows, batches) = {
        let mut it = lock(&iterator);
        it.reset();
        let (b, s) = it.shape();
        (b, batch::positions(b, s)?, it.count())
    };
    let ids = lock(&iterator).tokens()?;
    with_training(training, |t, state| loops::check_ids(t.model, state, ids.into()))?;
    const WHAT: &str = "a batch";
    let (mut inputs, mut targets) = (filled(WHAT, rows)?, filled(WHAT, rows)?);
    let mut mask = filled(WHAT, rows)?;
    let known = with_training(training, |t, _| Ok((t.current_epoch, t.config.num_epochs)))?;
    let shown = number.unwrap_or(known.0);
    let mut follower = Follower::begin(system, (shown, known.1), batches, sequences);
    let mut number = 0;
    let next = |_| loop {
        let arrays = BatchMut { inputs: &mut inputs, targets: &mut targets, mask: &mut mask };
        let Some(valid) = lock(&iterator).next(arrays)? else { return Ok(None) };
        number += 1;
        if valid == 0 {
            continue;
        }
        let targets = Targets { ids: &targets, mask: Some(&mask) };
        let batch = Batch { tokens: &inputs, targets, sequences };
        let (step, epoch) = with_training(training, |t, state| {
            Ok((loops::step(t, state, &pool, &batch)?, t.current_epoch))
        })?;
        lock(system).book(number - 1, &step);
        let epoch = u32::try_from(epoch).unwrap_or(0);
        return Ok(Some((step, Position { epoch, batch: number, batches, tokens: rows })));
    };
    let watch = |progress: &Progress| {
        follower.step(system, progress);
        loops::tell(training, progress)
    };
    let outcome = run::run(None, next, watch, |stop| Ok(Some(stop)));
    follower.end(system);
    let run = outcome?;
    if !run.stopped {
        with_training(training, |t, _| {
            t.current_epoch = t.current_epoch.saturating_add(1);
            Ok(())
        })?;
    }
    Ok(run.mean_loss())
}

/// Resets the iterator and trains on all its batches: for each, forward pass, loss over the
/// positions that the mask counts, backward pass, learning rate, update. All threads work inside
/// the batch: there is one update per batch, and the result does not depend on their number.
///
/// The batches have the iterator's sizes, which may differ from the configuration's. With the
/// same sizes and drop_last the result is that of cllm_train_epoch bit for bit.
///
/// @return mean of the batch losses in nats per token; 0.0 if there is none, or on errors (system
///         NULL, training object or iterator freed or not the library's).
///
/// Sets `current_step`, `current_loss`, `best_loss`, `config.learning_rate` per batch and
/// `current_epoch` at the end; not `current_batch_offset`. The metrics of the system follow
/// (threaded_training_get_metrics), and the callback of cllm_metrics_set_callback() is told after
/// every tenth batch and at the end.
///
/// # Safety
/// `system` is NULL or a system; its training object, model and iterator, and the iterator's
/// tokens, are still there, and no other thread uses them.
#[unsafe(no_mangle)]
#[c_api(0.0)]
pub unsafe extern "C" fn threaded_train_epoch(system: *mut ThreadedTrainingSystem) -> f32 {
    let system = SYSTEMS.get(system)?;
    // The system is not locked during the epoch, so that its figures can be read.
    epoch(&system, None)
}

/// threaded_train_epoch() under its later name. The metrics of the system, and the callback of
/// cllm_metrics_set_callback(), show this epoch's number.
///
/// @param current_epoch  any number, for the metrics only: `current_epoch` of the training object
///                       grows by one as always.
/// @return as threaded_train_epoch.
///
/// # Safety
/// As threaded_train_epoch.
#[unsafe(no_mangle)]
#[c_api(0.0)]
pub unsafe extern "C" fn threaded_train_epoch_lockfree(
    system: *mut ThreadedTrainingSystem,
    current_epoch: c_int,
) -> f32 {
    let system = SYSTEMS.get(system)?;
    epoch(&system, Some(current_epoch))
}

/// Workers without a batch that are listed at most: as many threads as are ever started.
const LISTED: usize = 256;

/// Prints to stdout how many batches each worker was booked with and their mean loss. The group of a
/// worker is its number mod 12.
///
/// ```text
///
/// ========================================
///   Multi-Threaded Training Statistics
/// ========================================
///
/// Thread System:
///
/// Sphere Statistics:
///   Sphere  0 (Group  0): 3 batches processed, avg loss: 2.9957
///   Sphere  1 (Group  1): 2 batches processed, avg loss: 2.9812
///
/// ```
///
/// Workers that had no batch yet are listed with 0, as far as they are among the first 256. NULL
/// prints nothing.
///
/// # Safety
/// `system` is NULL or a system.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn threaded_training_print_stats(system: *mut ThreadedTrainingSystem) {
    let system = SYSTEMS.get(system)?;
    let (workers, spheres) = {
        let s = lock(&system);
        (s.workers as usize, s.spheres.clone())
    };
    let rule = "=".repeat(40);
    let mut text = format!(
        "\n{rule}\n  Multi-Threaded Training Statistics\n{rule}\n\nThread System:\n\n\
         Sphere Statistics:\n"
    );
    let idle = workers.min(LISTED).saturating_sub(spheres.len());
    let listed = spheres.iter().copied().chain(std::iter::repeat_n(Sphere::default(), idle));
    for (i, sphere) in listed.enumerate() {
        let (group, batches) = (i % 12, sphere.batches);
        let mean = ffi::fixed(sphere.mean().into(), 4);
        let _ = writeln!(
            text,
            "  Sphere {i:2} (Group {group:2}): {batches} batches processed, avg loss: {mean}"
        );
    }
    ffi::print(text + "\n");
    Ok(())
}

/// What is booked on one worker: batch k of an epoch (from 0) belongs to worker k mod n.
///
/// @param sphere_id          0 to n-1.
/// @param batches_processed  receives the number of batches since the system was made; may be NULL.
/// @param avg_loss           receives their mean loss, 0 without any; may be NULL.
/// @return 0; -1 if system is NULL or sphere_id out of range: the outputs are then untouched.
///
/// Threads: may be called while an epoch runs.
///
/// # Safety
/// `system` is NULL or a system; the outputs are NULL or writable.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub unsafe extern "C" fn threaded_training_get_sphere_stats(
    system: *mut ThreadedTrainingSystem,
    sphere_id: c_int,
    batches_processed: *mut c_int,
    avg_loss: *mut f32,
) -> c_int {
    let system = SYSTEMS.get(system)?;
    let sphere = {
        let s = lock(&system);
        if !(0..s.workers).contains(&sphere_id) {
            return Err(Error::argument("sphere_id", sphere_id, "a worker's number"));
        }
        s.spheres.get(sphere_id as usize).copied().unwrap_or_default()
    };
    ffi::set_out(batches_processed, sphere.batches, "batches_processed")?;
    ffi::set_out(avg_loss, sphere.mean(), "avg_loss")?;
    Ok(0)
}

/// L2 norm, over all parameters, of the gradient of the latest update, before clipping.
///
/// @return the norm; 0 before the first update, and if system is NULL.
///
/// Threads: may be called while an epoch runs.
///
/// # Safety
/// `system` is NULL or a system.
#[unsafe(no_mangle)]
#[c_api(0.0)]
pub unsafe extern "C" fn threaded_training_get_gradient_norm(
    system: *mut ThreadedTrainingSystem,
) -> f32 {
    let system = SYSTEMS.get(system)?;
    let norm = lock(&system).gradient_norm;
    Ok(norm as f32)
}

/// The number of workers.
///
/// @return n; 0 if system is NULL.
///
/// # Safety
/// `system` is NULL or a system.
#[unsafe(no_mangle)]
#[c_api(0)]
pub unsafe extern "C" fn threaded_training_get_num_workers(
    system: *mut ThreadedTrainingSystem,
) -> c_int {
    let system = SYSTEMS.get(system)?;
    let workers = lock(&system).workers;
    Ok(workers)
}

pub mod metrics;
