//! `ai/cllm_hierarchical_training.h`: `cllm_training_threaded.h` under other names.

use crate::border::ffi;
use crate::headers::cllm_batch::CLLMBatchIterator;
use crate::headers::cllm_training::CLLMTraining;
use crate::headers::cllm_training_threaded::{SYSTEMS, check_parts, epoch, new_system};
use cllm_macros::c_api;
use std::ffi::c_int;
use std::ptr;

/// Trains a training object on the batches of an iterator; made by `hierarchical_training_create`.
pub struct HierarchicalTrainingSystem {
    _private: [u8; 0],
}

/// Makes a system that trains `training` on the batches of `batch_iterator` with several threads:
/// as threaded_training_create(), whose parameters stand in another order.
///
/// @param training       borrowed, as for threaded_training_create.
/// @param num_threads    workers, 1 or more.
/// @param batch_iterator borrowed.
/// @return the system; free it with hierarchical_training_free before the other two. NULL if one of
///         them or `training->model` is NULL, num_threads is below 1, or there is no memory.
///
/// # Safety
/// `training` is NULL or points to a `CLLMTraining`; `batch_iterator` is NULL or an iterator.
#[unsafe(no_mangle)]
#[c_api(ptr::null_mut())]
pub unsafe extern "C" fn hierarchical_training_create(
    training: *mut CLLMTraining,
    num_threads: c_int,
    batch_iterator: *mut CLLMBatchIterator,
) -> *mut HierarchicalTrainingSystem {
    ffi::positive(num_threads, "num_threads")?;
    check_parts(training, batch_iterator)?;
    SYSTEMS.new_handle("a system", new_system(training, batch_iterator, num_threads)?)
}

/// Resets the iterator and trains on all its batches, as threaded_train_epoch() does, bit for bit.
///
/// @return mean of the batch losses in nats per token; 0.0 if there is none, or on errors.
///
/// # Safety
/// As threaded_train_epoch.
#[unsafe(no_mangle)]
#[c_api(0.0)]
pub unsafe extern "C" fn hierarchical_train_epoch(system: *mut HierarchicalTrainingSystem) -> f32 {
    let system = SYSTEMS.get(system)?;
    epoch(&system, None)
}

/// Frees a system; neither its training object nor its iterator.
///
/// @param system the system; NULL is fine. A second free is reported and does nothing.
///
/// # Safety
/// `system` is NULL or a system that nothing uses any more.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn hierarchical_training_free(system: *mut HierarchicalTrainingSystem) {
    SYSTEMS.free_handle(system)
}
