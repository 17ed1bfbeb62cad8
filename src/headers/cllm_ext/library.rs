//! Version, errors, messages.

use super::CLLMLogCallback;
use crate::border::ffi;
use crate::border::host;
use crate::headers::cllm_training::state::UserData;
use cllm_engine::error::Error;
use cllm_engine::log;
use cllm_kernels::threads::{default_threads, pool, processors, set_default_threads};
use cllm_macros::c_api;
use std::ffi::{CString, c_char, c_int, c_void};
use std::sync::Arc;
use std::time::Duration;

/// The library's version, as in "1.0.0". Static.
///
/// ```c
/// printf("cllm %s\n", cllm_version());
/// ```
#[unsafe(no_mangle)]
pub extern "C" fn cllm_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}

/// Why the latest failed call of this thread failed: "function: what is wrong". An empty string if
/// none has failed. Valid until the thread's next failure or cllm_clear_error.
///
/// A call that succeeds leaves the text as it is, as C's `errno`. Most functions say by what they
/// return whether they failed; for one that can't (cllm_forward returns nothing) or that may go on
/// after an error (a vocabulary that got full), call cllm_clear_error before it: an empty string
/// afterwards means that all went well.
///
/// ```c
/// CLLMModel *model = cllm_read_model("missing.cllm");
/// if (!model) fprintf(stderr, "%s\n", cllm_last_error());
/// ```
#[unsafe(no_mangle)]
pub extern "C" fn cllm_last_error() -> *const c_char {
    ffi::last_error()
}

/// Forgets the text of this thread's latest failure: cllm_last_error then gives an empty string,
/// until a call fails.
///
/// ```c
/// cllm_clear_error();
/// cllm_forward(inference, ids, (int)count);
/// if (*cllm_last_error()) fprintf(stderr, "%s\n", cllm_last_error());
/// ```
#[unsafe(no_mangle)]
pub extern "C" fn cllm_clear_error() {
    ffi::clear_error();
}

/// How many threads may work in calls that are not told how many: those that take no number
/// (cllm_generate(), cllm_forward(), cllm_train_epoch(), ...), and those that get 0 for it. For the whole
/// process, from the next step of any of them on; no result depends on it.
///
/// Without this call it is the number in the environment variable CLLM_NUM_THREADS, or else one for each
/// processor that the calling thread may use: what its affinity and the quota of its control group leave,
/// rounded up, and looked up again about once a second. Either is a limit: a step that is too small for
/// several threads is done by the calling one alone.
///
/// @param threads  1 or more, of which no more than there are processors are used; with 1 such calls
///                 start no thread. 0: as if this had not been called.
/// @return 0; -1 for a negative number.
///
/// ```c
/// cllm_set_threads(1);   // the program has threads of its own, one for each processor
/// printf("%d\n", cllm_threads());
/// ```
///
/// Threads: any.
#[unsafe(no_mangle)]
#[c_api(-1)]
pub extern "C" fn cllm_set_threads(threads: c_int) -> c_int {
    set_default_threads(ffi::len(threads, "the number of threads")?);
    Ok(0)
}

/// How many threads a call that is not told how many may use now: see cllm_set_threads().
///
/// @return 1 or more.
///
/// ```c
/// printf("up to %d threads\n", cllm_threads());
/// ```
#[unsafe(no_mangle)]
#[c_api(1)]
pub extern "C" fn cllm_threads() -> c_int {
    Ok(c_int::try_from(default_threads().min(processors())).unwrap_or(c_int::MAX))
}

/// Ends the library's threads and waits for them, a second at most. The end of the process (exit(),
/// a return from main()) does so by itself; a program that wants to be alone before that, for
/// fork() or before it gives up privileges, calls this. Nothing is lost: threads start anew with
/// the next call that they are worth it for, and what was set up with a number of them is computed by
/// the calling thread, with the same results.
///
/// @return 0; -1 if threads were still at work when the second was over, or if one of them makes
///         this call, in the callback of the log.
///
/// Threads: any, also while others are inside the library: those go on alone.
///
/// ```c
/// cllm_shutdown();
/// printf("alone now: %s\n", cllm_version());
/// ```
#[unsafe(no_mangle)]
#[c_api(-1)]
pub extern "C" fn cllm_shutdown() -> c_int {
    if pool::end_all(Duration::from_secs(1)) {
        return Ok(0);
    }
    Err(Error::state("threads of the library are still at work"))
}

/// Sends all messages of the library, from any thread, to `callback` instead of stderr. For the
/// whole process; not to be called while other threads are inside the library.
///
/// @param callback   NULL: errors and warnings go to stderr again.
/// @param user_data  handed to the callback.
///
/// ```c
/// static void to_file(int level, const char *message, void *file) {
///     fprintf((FILE *)file, "[%d] %s\n", level, message);
/// }
/// cllm_set_log_callback(to_file, log_file);
/// ```
///
/// # Safety
/// `callback` may be called with `user_data` until another one is set.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn cllm_set_log_callback(callback: CLLMLogCallback, user_data: *mut c_void) {
    log::set_sink(match callback {
        None => log::stderr_sink(),
        Some(callback) => {
            let user_data = UserData(user_data);
            Arc::new(move |level, text| {
                let user_data = user_data;
                let text = CString::new(text.replace('\0', "\\0")).unwrap_or_default();
                // SAFETY: the program set the callback and its pointer for this call.
                host::outside(|| unsafe {
                    callback(level as c_int, text.as_ptr(), user_data.0);
                });
            })
        }
    });
    Ok(())
}

/// Drops all messages of the library; cllm_last_error still tells. cllm_set_log_callback ends it.
///
/// ```c
/// cllm_set_log_silent();
/// ```
#[unsafe(no_mangle)]
#[c_api]
pub extern "C" fn cllm_set_log_silent() {
    log::set_sink(Arc::new(|_, _| {}));
    Ok(())
}
