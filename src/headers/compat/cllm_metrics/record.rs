//! Making records, and telling them to the program.

use super::*;
use crate::border::ffi::{self, CArray};
use crate::border::host;
use crate::headers::cllm_training::CLLMTraining;
use crate::headers::cllm_training::state::{TRAININGS, UserData};
use cllm_engine::error::Result;
use cllm_engine::system::date;
use cllm_macros::c_api;
use std::ptr;
use std::sync::{Mutex, PoisonError};

/// Writes a field of a record by one store, for other threads of the program may read it meanwhile.
///
/// # Safety
/// The field is one of a live record.
pub(crate) unsafe fn put<T>(field: *mut T, value: T) {
    field.write_volatile(value);
}

/// What a record begins with.
pub(crate) fn begin(m: &mut CLLMMetrics) {
    for thread in &mut m.threads {
        (thread.thread_id, thread.sphere_id, thread.parent_thread_id) = (-1, -1, -1);
    }
    m.framework = FrameworkStatus {
        using_lattice_embeddings: true,
        using_angular_attention: true,
        using_crystalline_loss: true,
        using_cymatic_training: true,
        using_ntt_attention: true,
        using_simd_acceleration: true,
    };
    m.timestamp_ms = monotonic_ms();
}

/// Milliseconds of the clock that C programs know as `CLOCK_MONOTONIC`.
fn monotonic_ms() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: room for a time.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    u64::try_from(now.tv_sec).unwrap_or(0).saturating_mul(1000) + now.tv_nsec as u64 / 1_000_000
}

/// The callback of the process.
static CALLBACK: Mutex<(CLLMMetricsCallback, UserData)> =
    Mutex::new((None, UserData(ptr::null_mut())));

/// Stamps a record and tells it to the program, if it wants to know.
///
/// # Safety
/// `m` is live; no lock is held.
pub(crate) unsafe fn tell(m: *mut CLLMMetrics) {
    stamp(m);
    let (callback, user_data) = *CALLBACK.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(call) = callback {
        // The program set the callback and its pointer for this call.
        host::outside(|| call(m, user_data.0));
    }
}

unsafe fn stamp(m: *mut CLLMMetrics) {
    put(&raw mut (*m).timestamp_ms, monotonic_ms());
    put(&raw mut (*m).update_count, (*m).update_count.wrapping_add(1));
}

/// Begins a record: zeros; entries of threads that are not used, idle workers; all flags of
/// `framework` set; `timestamp_ms` now.
///
/// @param metrics  the record, which may hold anything before.
///
/// # Safety
/// `metrics` is NULL or has room for a record.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_metrics_init(metrics: *mut CLLMMetrics) {
    let room = ffi::get_uninit(metrics, "metrics")?;
    *room = std::mem::MaybeUninit::zeroed();
    begin(room.assume_init_mut());
    Ok(())
}

/// A new record, begun as by cllm_metrics_init().
///
/// @param max_threads  becomes `num_threads`; less than 0 counts as 0, more than 144 as 144.
/// @return the record, to be freed with cllm_metrics_free() or `free()`; NULL without memory.
#[unsafe(no_mangle)]
#[c_api(ptr::null_mut())]
pub extern "C" fn cllm_metrics_create(max_threads: c_int) -> *mut CLLMMetrics {
    let mut block = CArray::<CLLMMetrics>::zeroed("a record", 1)?;
    if let [m] = block.as_mut_slice() {
        begin(m);
        m.num_threads = max_threads.clamp(0, MAX_TRACKED_THREADS as c_int);
    }
    Ok(block.into_raw())
}

/// Frees a record of cllm_metrics_create(); NULL is fine.
///
/// # Safety
/// `metrics` is NULL or such a record, and nothing uses it any more.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_metrics_free(metrics: *mut CLLMMetrics) {
    ffi::free(metrics);
    Ok(())
}

/// Says who is told of records: one callback for the whole process. It may call the library.
///
/// @param callback   called on the thread whose call tells; NULL: nobody.
/// @param user_data  handed to it; may be NULL.
///
/// # Safety
/// `callback` may be called with `user_data` until another one is set.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_metrics_set_callback(
    callback: CLLMMetricsCallback,
    user_data: *mut c_void,
) {
    *CALLBACK.lock().unwrap_or_else(PoisonError::into_inner) = (callback, UserData(user_data));
    Ok(())
}

/// Sets `timestamp_ms` to now, counts in `update_count`, and calls the callback, if there is one.
///
/// @param metrics  the record.
///
/// # Safety
/// `metrics` is NULL or a record.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_metrics_invoke_callbacks(metrics: *mut CLLMMetrics) {
    ffi::get(metrics, "metrics")?;
    tell(metrics);
    Ok(())
}

/// Takes from a training how far it is: epoch, `config.num_epochs`, step, current and best loss, and
/// the whole seconds since its `start_time`; then as cllm_metrics_invoke_callbacks().
///
/// @param metrics   the record.
/// @param training  a `CLLMTraining`; may be NULL, which leaves these fields.
/// @param system    not used; may be NULL.
///
/// # Safety
/// `metrics` is NULL or a record, `training` is NULL or a `CLLMTraining`.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_metrics_collect(
    metrics: *mut CLLMMetrics,
    training: *mut c_void,
    system: *mut c_void,
) {
    let _ = system;
    ffi::get(metrics, "metrics")?;
    if !training.is_null() {
        collect(metrics, training.cast())?;
    }
    tell(metrics);
    Ok(())
}

unsafe fn collect(m: *mut CLLMMetrics, training: *const CLLMTraining) -> Result<()> {
    TRAININGS.find(training)?;
    let t = ffi::get(training, "training")?;
    let now = i64::try_from(date::unix_now()).unwrap_or(i64::MAX);
    put(&raw mut (*m).training.current_epoch, t.current_epoch);
    put(&raw mut (*m).training.total_epochs, t.config.num_epochs);
    put(&raw mut (*m).training.current_step, t.current_step);
    put(&raw mut (*m).training.current_loss, t.current_loss);
    put(&raw mut (*m).training.best_loss, t.best_loss);
    put(&raw mut (*m).training.elapsed_time_seconds, now.saturating_sub(t.start_time) as f64);
    Ok(())
}
