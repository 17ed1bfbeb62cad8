//! Looking at a record.

use super::*;
use crate::border::ctypes::{THREAD_ROLE_CONTROL, THREAD_STATE_IDLE, THREAD_STATE_TERMINATED};
use crate::border::ffi;
use cllm_macros::c_api;
use std::ptr;

/// Whether the thread of an entry does anything.
fn is_active(thread: &ThreadMetrics) -> bool {
    !matches!(thread.state, THREAD_STATE_IDLE | THREAD_STATE_TERMINATED)
}

fn find(m: &mut CLLMMetrics, id: c_int) -> *mut ThreadMetrics {
    let entry = usize::try_from(id).ok().and_then(|i| m.threads.get_mut(i));
    entry.filter(|entry| entry.thread_id == id).map_or(ptr::null_mut(), ptr::from_mut)
}

/// The entry of a thread.
///
/// @param metrics    the record.
/// @param thread_id  its number.
/// @return the entry, a part of the record; NULL if it is not used.
///
/// # Safety
/// `metrics` is NULL or a record.
#[unsafe(no_mangle)]
#[c_api(ptr::null_mut())]
pub unsafe extern "C" fn cllm_metrics_get_thread(
    metrics: *mut CLLMMetrics,
    thread_id: c_int,
) -> *mut ThreadMetrics {
    Ok(find(ffi::get_mut(metrics, "metrics")?, thread_id))
}

/// The entry of the thread `control_thread_id`.
///
/// @param metrics  the record.
/// @return the entry, a part of the record; NULL if it is not used.
///
/// # Safety
/// `metrics` is NULL or a record.
#[unsafe(no_mangle)]
#[c_api(ptr::null_mut())]
pub unsafe extern "C" fn cllm_metrics_get_control_thread(
    metrics: *mut CLLMMetrics,
) -> *mut ThreadMetrics {
    let m = ffi::get_mut(metrics, "metrics")?;
    let id = m.control_thread_id;
    Ok(find(m, id))
}

/// The entries of threads that are there, do something (neither idle nor terminated), and do not
/// only lead others.
///
/// @param metrics      the record.
/// @param workers      `[max_workers]`, receives them by ascending number.
/// @param max_workers  room for so many.
/// @return how many were written; 0 for NULL.
///
/// # Safety
/// `metrics` is NULL or a record, `workers` is NULL or has room for `max_workers` pointers.
#[unsafe(no_mangle)]
#[c_api(0)]
pub unsafe extern "C" fn cllm_metrics_get_worker_threads(
    metrics: *mut CLLMMetrics,
    workers: *mut *mut ThreadMetrics,
    max_workers: c_int,
) -> c_int {
    let m = ffi::get_mut(metrics, "metrics")?;
    // No more than there are entries, however much room there is.
    let room = ffi::len(max_workers, "max_workers")?.min(MAX_TRACKED_THREADS);
    let workers = ffi::slice_mut(workers, room, "workers")?;
    let works = |thread: &&mut ThreadMetrics| {
        thread.thread_id >= 0 && is_active(thread) && thread.role != THREAD_ROLE_CONTROL
    };
    let found = m.threads.iter_mut().filter(works).zip(workers);
    Ok(found.map(|(thread, slot)| *slot = thread).count() as c_int)
}

/// Prints a record to stdout. NULL prints nothing.
///
/// @param metrics  the record.
///
/// # Safety
/// `metrics` is NULL or a record.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_metrics_print(metrics: *const CLLMMetrics) {
    let m = ffi::get(metrics, "metrics")?;
    ffi::print(text(m));
    Ok(())
}

fn text(m: &CLLMMetrics) -> String {
    let (t, f, p) = (&m.training, &m.framework, &m.performance);
    // The program's bool: any byte but 0 is true.
    let sign = |flag: *const bool| {
        // SAFETY: a flag of the record, as the byte that it is.
        if unsafe { flag.cast::<u8>().read() } != 0 { '✓' } else { '✗' }
    };
    let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    let active = m.threads.iter().filter(|thread| is_active(thread)).count();
    format!(
        "\n=== CLLM Metrics Summary ===\n\
         Timestamp: {} ms\n\
         Update count: {}\n\
         \nTraining:\n  \
           Epoch: {}/{}\n  \
           Step: {}\n  \
           Current loss: {}\n  \
           Best loss: {}\n  \
           Tokens/sec: {}\n\
         \nFramework Status:\n  \
           Lattice embeddings: {}\n  \
           Angular attention: {}\n  \
           Crystalline loss: {}\n  \
           Cymatic training: {}\n  \
           NTT attention: {}\n  \
           SIMD acceleration: {}\n\
         \nPerformance:\n  \
           Cache hit rate: {}%\n  \
           Memory used: {:.2} MB\n  \
           Memory peak: {:.2} MB\n  \
           Active threads: {}\n\
         \nThreads:\n  \
           Total threads: {}\n  \
           Control thread (Node Zero): {}\n  \
           Max hierarchy depth: {}\n  \
           Active threads: {active}\n\
         ===========================\n\n",
        m.timestamp_ms,
        m.update_count,
        t.current_epoch,
        t.total_epochs,
        t.current_step,
        decimal(t.current_loss.into(), 6),
        decimal(t.best_loss.into(), 6),
        decimal(t.tokens_per_second.into(), 2),
        sign(&raw const f.using_lattice_embeddings),
        sign(&raw const f.using_angular_attention),
        sign(&raw const f.using_crystalline_loss),
        sign(&raw const f.using_cymatic_training),
        sign(&raw const f.using_ntt_attention),
        sign(&raw const f.using_simd_acceleration),
        decimal(f64::from(p.cache_hit_rate) * 100.0, 2),
        mib(p.memory_used_bytes),
        mib(p.memory_peak_bytes),
        p.active_threads,
        m.num_threads,
        m.control_thread_id,
        m.max_hierarchy_depth,
    )
}

/// As C prints it: NaN in lower case.
fn decimal(x: f64, digits: usize) -> String {
    if x.is_nan() { "nan".into() } else { format!("{x:.digits$}") }
}
