//! `cllm_training_parallel.h`: a thread pool for training.

use crate::headers::cllm_training::{CLLMTraining, loops, state};
use cllm_kernels::Pool;
use cllm_kernels::threads::processors;
use cllm_macros::c_api;
use std::ffi::c_int;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The pool of `cllm_train_epoch_parallel`. An epoch keeps a share of it, so a pool that is
/// replaced meanwhile ends with the epoch.
static POOL: Mutex<Option<Arc<Pool>>> = Mutex::new(None);

fn pool() -> MutexGuard<'static, Option<Arc<Pool>>> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One thread for each processor but one, which stays with the rest of the program.
pub(crate) fn optimal() -> usize {
    processors().saturating_sub(1).max(1)
}

/// Puts a new pool in the place of the old one; `count` of 0 or less means [`optimal`].
fn replace(slot: &mut Option<Arc<Pool>>, count: c_int) -> Arc<Pool> {
    // First the old threads end, so that there are never twice as many.
    *slot = None;
    let threads = usize::try_from(count).ok().filter(|&n| n > 0).unwrap_or_else(optimal);
    let pool = Arc::new(Pool::start(threads));
    *slot = Some(Arc::clone(&pool));
    pool
}

fn init(count: c_int) -> c_int {
    // At most MAX_THREADS.
    replace(&mut pool(), count).threads() as c_int
}

/// How many threads training should use: the processors that are online, less one; at least 1.
#[unsafe(no_mangle)]
#[c_api(1)]
pub extern "C" fn cllm_get_optimal_thread_count() -> c_int {
    Ok(c_int::try_from(optimal()).unwrap_or(c_int::MAX))
}

/// Starts the pool that `cllm_train_epoch_parallel` uses. A pool that is there already ends first.
///
/// @param thread_count 0 or less: cllm_get_optimal_thread_count(). At most 256 are started.
/// @return the number of threads, fewer where the system refuses some (a warning says so); -1 after
///         an internal error.
///
/// Threads: any. The results of training do not depend on the number.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub extern "C" fn cllm_init_thread_pool(thread_count: c_int) -> c_int {
    Ok(init(thread_count))
}

/// Ends the pool and waits for its threads. An epoch that is running on it finishes first, on its
/// own thread. Without a pool nothing happens.
///
/// Threads: any.
#[unsafe(no_mangle)]
#[c_api]
pub extern "C" fn cllm_cleanup_thread_pool() {
    // The lock is released before threads are waited for.
    let old = pool().take();
    drop(old);
    Ok(())
}

/// `cllm_train_epoch` on the pool, which is started with cllm_get_optimal_thread_count() threads
/// if there is none, and stays. Same batches, same return value, same fields, same bits.
///
/// @return mean of the batch losses; 0.0 for NULL, an object that cllm_training_init did not
///         make, or no batch.
///
/// Threads: different objects on different models may be trained at once; they share the pool.
///
/// # Safety
/// As cllm_train_epoch.
#[unsafe(no_mangle)]
#[c_api(0.0)]
pub unsafe extern "C" fn cllm_train_epoch_parallel(training: *mut CLLMTraining) -> f32 {
    state::TRAININGS.get(training)?;
    let pool = {
        let mut slot = pool();
        // A forked child can't use its parent's threads.
        match slot.as_ref().filter(|pool| pool.is_ours()) {
            Some(pool) => Arc::clone(pool),
            None => replace(&mut slot, 0),
        }
    };
    loops::epoch(training, &pool).map(|run| run.mean_loss())
}

/// Threads of the pool; 0 if there is none.
#[unsafe(no_mangle)]
#[c_api(0)]
pub extern "C" fn cllm_get_thread_count() -> c_int {
    let slot = pool();
    let threads = slot.as_ref().filter(|pool| pool.is_ours()).map_or(0, |pool| pool.threads());
    Ok(threads as c_int)
}

/// The same as `cllm_init_thread_pool`.
///
/// @param count 0 or less: cllm_get_optimal_thread_count(). At most 256 are started.
/// @return the number of threads, fewer where the system refuses some (a warning says so); -1 after
///         an internal error.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub extern "C" fn cllm_set_thread_count(count: c_int) -> c_int {
    Ok(init(count))
}
