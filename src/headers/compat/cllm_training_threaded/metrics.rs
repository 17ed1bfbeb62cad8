//! What a system shows of its epochs.

use super::{SYSTEMS, SystemState, ThreadedTrainingSystem};
use crate::border::ctypes::{THREAD_STATE_IDLE, THREAD_STATE_WORKING};
use crate::border::ffi::CArray;
use crate::border::registry::lock;
use crate::headers::cllm_metrics::record::{begin, put, tell};
use crate::headers::cllm_metrics::{CLLMMetrics, MAX_TRACKED_THREADS};
use crate::headers::cllm_training::state::narrow;
use cllm_engine::error::Result;
use cllm_engine::train::Progress;
use cllm_macros::c_api;
use std::ffi::c_int;
use std::ptr;
use std::sync::Mutex;
use std::time::Instant;

/// Batches from one call of the callback to the next.
const EVERY: usize = 10;

/// The record of a system: its own, and read by the program at any time.
pub(crate) struct Record {
    _block: CArray<CLLMMetrics>,
    pointer: *mut CLLMMetrics,
}

// SAFETY: the block is the record's own; fields are written by single stores.
unsafe impl Send for Record {}

impl Record {
    /// A record of idle workers.
    pub(crate) fn new(workers: c_int) -> Result<Self> {
        let mut block = CArray::<CLLMMetrics>::zeroed("the metrics", 1)?;
        let m = &mut block.as_mut_slice()[0];
        begin(m);
        m.num_threads = workers;
        m.performance.idle_threads = workers;
        for (i, thread) in (0..workers).zip(&mut m.threads) {
            (thread.thread_id, thread.sphere_id, thread.symmetry_group) = (i, i, i % 12);
        }
        let pointer = ptr::from_mut(m);
        Ok(Self { _block: block, pointer })
    }
}

/// Keeps the record of a system beside an epoch.
pub(crate) struct Follower {
    record: *mut CLLMMetrics,
    began: Instant,
    sequences: usize,
    steps: usize,
    loss_sum: f64,
    best_loss: f32,
}

impl Follower {
    /// An epoch begins: `epoch` of so many, with `batches` of `sequences` sequences.
    ///
    /// # Safety
    /// The system lives as long as the follower.
    pub(crate) unsafe fn begin(
        system: &Mutex<SystemState>,
        (epoch, epochs): (c_int, c_int),
        batches: usize,
        sequences: usize,
    ) -> Self {
        let record = lock(system).metrics.pointer;
        let t = &raw mut (*record).training;
        put(&raw mut (*t).current_epoch, epoch);
        put(&raw mut (*t).total_epochs, epochs);
        put(&raw mut (*t).current_step, 0);
        put(&raw mut (*t).total_steps, narrow(batches));
        for loss in
            [&raw mut (*t).current_loss, &raw mut (*t).best_loss, &raw mut (*t).average_loss]
        {
            put(loss, 0.0);
        }
        let (began, best_loss) = (Instant::now(), f32::INFINITY);
        let follower = Self { record, began, sequences, steps: 0, loss_sum: 0.0, best_loss };
        follower.show_workers(system, true);
        follower.show_time(0.0, 0.0);
        follower
    }

    /// A batch was trained. No lock is held.
    ///
    /// # Safety
    /// As [`Follower::begin`].
    pub(crate) unsafe fn step(&mut self, system: &Mutex<SystemState>, progress: &Progress) {
        self.steps += 1;
        self.loss_sum += f64::from(progress.step.loss);
        self.best_loss = self.best_loss.min(progress.step.loss);
        let t = &raw mut (*self.record).training;
        put(&raw mut (*t).current_step, narrow(self.steps));
        put(&raw mut (*t).current_loss, progress.step.loss);
        put(&raw mut (*t).best_loss, self.best_loss);
        put(&raw mut (*t).average_loss, (self.loss_sum / self.steps as f64) as f32);
        self.show_time(progress.tokens_per_second, progress.seconds_left);
        self.show_workers(system, true);
        if self.steps.is_multiple_of(EVERY) {
            tell(self.record);
        }
    }

    /// The epoch is over, by whatever reason. No lock is held.
    ///
    /// # Safety
    /// As [`Follower::begin`].
    pub(crate) unsafe fn end(&self, system: &Mutex<SystemState>) {
        let t = &raw mut (*self.record).training;
        put(&raw mut (*t).elapsed_time_seconds, self.began.elapsed().as_secs_f64());
        put(&raw mut (*t).estimated_time_remaining_seconds, 0.0);
        self.show_workers(system, false);
        tell(self.record);
    }

    unsafe fn show_time(&self, tokens_per_second: f64, seconds_left: f64) {
        let t = &raw mut (*self.record).training;
        // A clock that did not move must not make an infinity.
        let elapsed = self.began.elapsed().as_secs_f64();
        let batches_per_second = self.steps as f64 / elapsed.max(1e-9);
        put(&raw mut (*t).tokens_per_second, tokens_per_second as f32);
        put(&raw mut (*t).batches_per_second, batches_per_second as f32);
        let samples_per_second = batches_per_second * self.sequences as f64;
        put(&raw mut (*t).samples_per_second, samples_per_second as f32);
        put(&raw mut (*t).elapsed_time_seconds, elapsed);
        put(&raw mut (*t).estimated_time_remaining_seconds, seconds_left);
    }

    unsafe fn show_workers(&self, system: &Mutex<SystemState>, working: bool) {
        let m = self.record;
        let s = lock(system);
        let (active, idle) = if working { (s.workers, 0) } else { (0, s.workers) };
        put(&raw mut (*m).performance.active_threads, active);
        put(&raw mut (*m).performance.idle_threads, idle);
        let state = if working { THREAD_STATE_WORKING } else { THREAD_STATE_IDLE };
        for i in 0..MAX_TRACKED_THREADS.min(s.workers as usize) {
            put(&raw mut (*m).threads[i].state, state);
            let batches = s.spheres.get(i).map_or(0, |sphere| sphere.batches);
            put(&raw mut (*m).threads[i].batches_processed, batches);
        }
    }
}

/// The metrics of a system: its epochs write them, and any thread may read them meanwhile, each
/// number for itself. `num_threads` is the number of workers, of which the first 144 have entries;
/// an epoch sets `training`, `performance.active_threads`, `performance.idle_threads` and of each
/// worker `state` and `batches_processed`. The rest is as cllm_metrics_init() leaves it.
///
/// The callback of cllm_metrics_set_callback() gets them on the thread that called the epoch, after
/// every tenth batch that was trained and once more at the end, before the epoch returns.
///
/// @return the system's own record, valid until threaded_training_free(), not to be freed; NULL if
///         system is NULL.
///
/// # Safety
/// `system` is NULL or a system.
#[unsafe(no_mangle)]
#[c_api(ptr::null_mut())]
pub unsafe extern "C" fn threaded_training_get_metrics(
    system: *mut ThreadedTrainingSystem,
) -> *mut CLLMMetrics {
    let system = SYSTEMS.get(system)?;
    let record = lock(&system).metrics.pointer;
    Ok(record)
}
