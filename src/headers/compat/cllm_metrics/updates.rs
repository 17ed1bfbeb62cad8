//! Single fields of a record.

use super::record::put;
use super::*;
use crate::border::ffi;
use cllm_engine::error::Result;
use cllm_macros::c_api;

/// The number of a thread's entry; `None`, which is no failure, for one without.
fn entry(id: c_int) -> Option<usize> {
    usize::try_from(id).ok().filter(|&i| i < MAX_TRACKED_THREADS)
}

/// # Safety
/// As [`ffi::get_mut`].
unsafe fn record(metrics: *mut CLLMMetrics) -> Result<*mut CLLMMetrics> {
    ffi::get(metrics, "metrics")?;
    Ok(metrics)
}

/// Says what a thread does, and where it is.
///
/// @param metrics    the record.
/// @param thread_id  0 to 143; another one has no effect.
/// @param state      one of `THREAD_STATE_...`.
/// @param workload   how busy it is.
/// @param position   `[3]`; may be NULL, which leaves the old one.
///
/// # Safety
/// `metrics` is NULL or a record, `position` is NULL or holds three numbers.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_metrics_update_thread(
    metrics: *mut CLLMMetrics,
    thread_id: c_int,
    state: ThreadState,
    workload: f32,
    position: *const f32,
) {
    let m = record(metrics)?;
    let position = ffi::slice_opt(position, 3, "position")?;
    if let Some(i) = entry(thread_id) {
        put(&raw mut (*m).threads[i].thread_id, thread_id);
        put(&raw mut (*m).threads[i].state, state);
        put(&raw mut (*m).threads[i].current_workload, workload);
        if let Some(&[x, y, z]) = position {
            put(&raw mut (*m).threads[i].position, [x, y, z]);
        }
    }
    Ok(())
}

/// Says what a thread does.
///
/// @param metrics    the record.
/// @param thread_id  0 to 143; another one has no effect.
/// @param state      one of `THREAD_STATE_...`.
///
/// # Safety
/// `metrics` is NULL or a record.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_metrics_update_thread_state(
    metrics: *mut CLLMMetrics,
    thread_id: c_int,
    state: ThreadState,
) {
    let m = record(metrics)?;
    if let Some(i) = entry(thread_id) {
        put(&raw mut (*m).threads[i].thread_id, thread_id);
        put(&raw mut (*m).threads[i].state, state);
    }
    Ok(())
}

/// Says how many batches a thread has worked on.
///
/// @param metrics            the record.
/// @param thread_id          0 to 143; another one has no effect.
/// @param batches_processed  becomes the entry's.
///
/// # Safety
/// `metrics` is NULL or a record.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_metrics_update_thread_workload(
    metrics: *mut CLLMMetrics,
    thread_id: c_int,
    batches_processed: c_int,
) {
    let m = record(metrics)?;
    if let Some(i) = entry(thread_id) {
        put(&raw mut (*m).threads[i].thread_id, thread_id);
        put(&raw mut (*m).threads[i].batches_processed, batches_processed);
    }
    Ok(())
}

/// Says how far the training is.
///
/// @param metrics  the record.
/// @param epoch    the epoch.
/// @param step     the step.
/// @param loss     as for cllm_metrics_update_loss().
///
/// # Safety
/// `metrics` is NULL or a record.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_metrics_update_training(
    metrics: *mut CLLMMetrics,
    epoch: c_int,
    step: c_int,
    loss: f32,
) {
    let m = record(metrics)?;
    put(&raw mut (*m).training.current_epoch, epoch);
    put(&raw mut (*m).training.current_step, step);
    set_loss(m, loss);
    Ok(())
}

/// Says how far the training is, and how far it will go.
///
/// @param metrics      the record.
/// @param epoch        the epoch.
/// @param step         the step.
/// @param total_steps  steps in all.
///
/// # Safety
/// `metrics` is NULL or a record.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_metrics_update_training_progress(
    metrics: *mut CLLMMetrics,
    epoch: c_int,
    step: c_int,
    total_steps: c_int,
) {
    let m = record(metrics)?;
    put(&raw mut (*m).training.current_epoch, epoch);
    put(&raw mut (*m).training.current_step, step);
    put(&raw mut (*m).training.total_steps, total_steps);
    Ok(())
}

/// Sets the loss, and the best one where that was larger or there was none (0).
///
/// @param metrics  the record.
/// @param loss     the loss.
///
/// # Safety
/// `metrics` is NULL or a record.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_metrics_update_loss(metrics: *mut CLLMMetrics, loss: f32) {
    set_loss(record(metrics)?, loss);
    Ok(())
}

/// # Safety
/// `m` is a live record.
unsafe fn set_loss(m: *mut CLLMMetrics, loss: f32) {
    put(&raw mut (*m).training.current_loss, loss);
    let best = (*m).training.best_loss;
    if best == 0.0 || loss < best {
        put(&raw mut (*m).training.best_loss, loss);
    }
}

/// Sets speed and memory; `memory_peak_bytes` is the most memory so far.
///
/// @param metrics         the record.
/// @param tokens_per_sec  tokens per second, of `training`.
/// @param cache_hit_rate  0 to 1.
/// @param memory_bytes    bytes in use.
///
/// # Safety
/// `metrics` is NULL or a record.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_metrics_update_performance(
    metrics: *mut CLLMMetrics,
    tokens_per_sec: f32,
    cache_hit_rate: f32,
    memory_bytes: usize,
) {
    let m = record(metrics)?;
    put(&raw mut (*m).training.tokens_per_second, tokens_per_sec);
    put(&raw mut (*m).performance.cache_hit_rate, cache_hit_rate);
    put(&raw mut (*m).performance.memory_used_bytes, memory_bytes);
    let peak = (*m).performance.memory_peak_bytes;
    put(&raw mut (*m).performance.memory_peak_bytes, peak.max(memory_bytes));
    Ok(())
}

/// Sets four flags; crystalline loss and vector instructions stay.
///
/// @param metrics  the record.
/// @param lattice, angular, ntt, cymatic  0: false, another number: true.
///
/// # Safety
/// `metrics` is NULL or a record.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_metrics_update_framework_status(
    metrics: *mut CLLMMetrics,
    lattice: c_int,
    angular: c_int,
    ntt: c_int,
    cymatic: c_int,
) {
    let m = record(metrics)?;
    put(&raw mut (*m).framework.using_lattice_embeddings, lattice != 0);
    put(&raw mut (*m).framework.using_angular_attention, angular != 0);
    put(&raw mut (*m).framework.using_ntt_attention, ntt != 0);
    put(&raw mut (*m).framework.using_cymatic_training, cymatic != 0);
    Ok(())
}
