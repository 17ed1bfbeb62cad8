//! Entering from C: errors and panics become a value and the thread's last error.

use crate::border::host;
use cllm_engine::error::Result;
use cllm_engine::log::{self, Level};
use cllm_kernels::fault;
use cllm_kernels::notice;
use cllm_kernels::threads::pool;
use std::cell::{Cell, RefCell};
use std::ffi::{CString, c_char};
use std::fmt::Display;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    static LAST_ERROR: RefCell<CString> = RefCell::default();
    /// The exported function that runs; empty outside of the library.
    static RUNNING: Cell<&str> = const { Cell::new("") };
}

/// Runs the body of an exported function. An error or a panic is recorded for
/// `cllm_last_error()`, goes to the log sink, and becomes `fallback`.
pub(crate) fn guard<T>(function: &'static str, fallback: T, body: impl FnOnce() -> Result<T>) -> T {
    let mut running = Running { body: Some(body), value: fallback };
    call(function, &mut running);
    running.value
}

/// What [`call`] runs. `dyn FnMut` would say the same, but the table of each closure would hold a second
/// function, for calling it as `FnOnce`: of several hundred exported functions that is 50 KB.
trait Body {
    fn run(&mut self) -> Result<()>;
}

/// A body that has not run yet, and what it gives.
struct Running<T, F> {
    body: Option<F>,
    value: T,
}

impl<T, F: FnOnce() -> Result<T>> Body for Running<T, F> {
    fn run(&mut self) -> Result<()> {
        if let Some(body) = self.body.take() {
            self.value = body()?;
        }
        Ok(())
    }
}

/// The guard of every function: one piece of code for all of them.
fn call(function: &'static str, body: &mut dyn Body) {
    quiet_panics();
    let caller = RUNNING.replace(function);
    let body = AssertUnwindSafe(|| {
        fault::point("the call")?;
        body.run()
    });
    let outcome = host::enter(|| panic::catch_unwind(body)).unwrap_or_else(|error| Ok(Err(error)));
    if notice::waiting() {
        notice::take().iter().for_each(|note| log::warn(note));
    }
    match outcome {
        Ok(Ok(())) => {}
        Ok(Err(error)) => report(error),
        Err(payload) => {
            let text = payload
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| payload.downcast_ref::<&str>().copied())
                .unwrap_or("panic");
            report(format_args!("internal error: {text}"));
        }
    }
    RUNNING.set(caller);
}

/// Records a failure that is not the end of the call, under the name of the running function.
pub(crate) fn report(problem: impl Display) {
    let text = format!("{}: {problem}", RUNNING.get());
    let c_text = CString::new(text.replace('\0', "\\0")).unwrap_or_default();
    LAST_ERROR.with(|last| last.replace(c_text));
    log::message(Level::Error, &text);
}

/// From now on this thread has had no failure.
pub(crate) fn clear_error() {
    LAST_ERROR.with(|last| last.replace(CString::default()));
}

/// The text of this thread's last failure; valid until its next one, or until it is cleared.
pub(crate) fn last_error() -> *const c_char {
    LAST_ERROR.with(|last| last.borrow().as_ptr())
}

/// Panics inside a guarded call, and in the threads that work for it, are reported by the guard,
/// not printed by Rust's hook.
fn quiet_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !host::inside() && !pool::is_member() {
                previous(info);
            }
        }));
    });
}
