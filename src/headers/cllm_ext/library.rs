//! Version, errors, messages.

use super::CLLMLogCallback;
use crate::border::ffi;
use crate::border::host;
use crate::headers::cllm_training::state::UserData;
use cllm_engine::error::Error;
use cllm_engine::log;
use cllm_kernels::threads::pool;
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

/// Ends the library's threads and waits for them, a second at most. The end of the process (exit(),
/// a return from main()) does so by itself; a program that wants to be alone before that, for
/// fork() or before it gives up privileges, calls this. Nothing is lost: threads start anew with
/// the next call that takes a number of them, and what was set up with several is computed by the
/// calling thread until then, with the same results.
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
    Err(Error::State("threads of the library are still at work".into()))
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
