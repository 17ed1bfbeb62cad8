//! `cllm_training_mt.h`: an epoch on several threads.

use crate::headers::cllm_ext::training::pool_of;
use crate::headers::cllm_training::{CLLMTraining, loops};
use cllm_macros::c_api;
use std::ffi::c_int;

/// cllm_train_epoch on several threads: the same batches, one update per batch, the same return
/// value and fields, and the same bits for any number of threads.
///
/// @param num_threads  0: as many as a batch is worth, up to one for each processor; at most
///                     256 are used.
/// @return mean of the batch losses; 0.0 for NULL, a negative number of threads, or no batch.
///
/// The library keeps the threads: they sleep between calls and end with the process.
///
/// # Safety
/// As cllm_train_epoch.
#[unsafe(no_mangle)]
#[c_api(0.0)]
pub unsafe extern "C" fn cllm_train_epoch_mt(
    training: *mut CLLMTraining,
    num_threads: c_int,
) -> f32 {
    let pool = pool_of(num_threads)?;
    loops::epoch(training, &pool).map(|run| run.mean_loss())
}
