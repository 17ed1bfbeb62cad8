//! Where messages go. The library prints nothing by itself: messages reach the sink, which is
//! stderr until the program sets another one.

use once_cell::sync::Lazy;
use std::io::Write;
use std::sync::{Arc, PoisonError, RwLock};

/// How serious a message is; the numbers are those of `cllm_ext.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i32)]
pub enum Level {
    /// A call failed.
    Error = 0,
    /// A call went on, but not quite as asked.
    Warning = 1,
    /// Worth knowing.
    Info = 2,
}

/// Takes a message; called on the thread that the message comes from.
pub type Sink = Arc<dyn Fn(Level, &str) + Send + Sync>;

static SINK: Lazy<RwLock<Sink>> = Lazy::new(|| RwLock::new(stderr_sink()));

/// Errors and warnings, one line each, on stderr.
pub fn stderr_sink() -> Sink {
    Arc::new(|level, text| {
        let kind = match level {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Info => return,
        };
        // A closed stderr is no reason to fail.
        let _ = writeln!(std::io::stderr(), "cllm: {kind}: {text}");
    })
}

/// Replaces the sink for the whole process.
pub fn set_sink(sink: Sink) {
    *SINK.write().unwrap_or_else(PoisonError::into_inner) = sink;
}

/// Sends one message. No lock is held while the sink runs, so it may call the library.
pub fn message(level: Level, text: &str) {
    let sink = Arc::clone(&SINK.read().unwrap_or_else(PoisonError::into_inner));
    sink(level, text);
}

/// A warning.
pub fn warn(text: &str) {
    message(Level::Warning, text);
}
