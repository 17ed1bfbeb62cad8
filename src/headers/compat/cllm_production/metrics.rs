//! The record of a run.

use super::{METRICS, TrainingMetrics};
use crate::border::ffi;
use crate::border::registry::lock;
use cllm_compat::metrics::{Metrics, Record};
use cllm_engine::error::Result;
use cllm_engine::system::atomic;
use cllm_macros::c_api;
use std::ffi::{c_char, c_int};
use std::path::Path;
use std::ptr;

/// Replaces the file at `path` by the records as comma-separated values.
pub(crate) fn write_csv(metrics: &Metrics, path: &Path) -> Result<()> {
    atomic::write(path, |out| out.write_all(metrics.csv().as_bytes()))
}

/// Makes room for the records of epochs.
///
/// @param capacity most records that it takes, 0 or more; memory is taken as they come.
/// @return the metrics; free them with free_training_metrics. NULL if capacity is negative.
#[unsafe(no_mangle)]
#[c_api(ptr::null_mut())]
pub extern "C" fn create_training_metrics(capacity: c_int) -> *mut TrainingMetrics {
    let metrics = Metrics::new(ffi::len(capacity, "capacity")?);
    METRICS.new_handle("metrics", metrics)
}

/// Appends a record; one beyond the capacity is left out silently.
///
/// @param epoch      its number.
/// @param train_loss mean training loss.
/// @param val_loss   validation loss; infinite where there was none.
/// @param lr         learning rate.
///
/// # Safety
/// `metrics` is NULL or from create_training_metrics.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn record_metrics(
    metrics: *mut TrainingMetrics,
    epoch: c_int,
    train_loss: f32,
    val_loss: f32,
    lr: f32,
) {
    let metrics = METRICS.get(metrics)?;
    let record = Record { epoch, train_loss, validation_loss: val_loss, learning_rate: lr };
    lock(&metrics).record(record)
}

/// Writes the records as a CSV file, replacing one that stands there: the line
/// `epoch,train_loss,val_loss,learning_rate`, then for each record its numbers as
/// `%d,%.6f,%.6f,%.6f` (infinite as `inf`). A failure is recorded; the old file is then still
/// there.
///
/// # Safety
/// `metrics` is NULL or from create_training_metrics; `filepath` is NULL or a C string.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn save_metrics_csv(metrics: *mut TrainingMetrics, filepath: *const c_char) {
    let metrics = METRICS.get(metrics)?;
    let path = ffi::path(filepath, "filepath")?;
    let metrics = lock(&metrics);
    write_csv(&metrics, path)
}

/// Frees metrics.
///
/// @param metrics NULL is fine. A second free is reported and does nothing.
///
/// # Safety
/// `metrics` is NULL or from create_training_metrics, and nothing uses it any more.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn free_training_metrics(metrics: *mut TrainingMetrics) {
    METRICS.free_handle(metrics)
}
