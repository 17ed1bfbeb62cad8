//! C types whose names cbindgen must print as they are. It never reads this file.
#![allow(non_camel_case_types)]

/// `time_t` of `<time.h>`.
pub type time_t = libc::time_t;

/// An enumeration that `build.rs` writes; C may store any integer in it.
pub type ThreadState = std::ffi::c_uint;
/// Nothing to do.
pub const THREAD_STATE_IDLE: ThreadState = 0;
/// Works on a batch.
pub const THREAD_STATE_WORKING: ThreadState = 1;
/// Has ended.
pub const THREAD_STATE_TERMINATED: ThreadState = 4;

/// Likewise.
pub type ThreadRole = std::ffi::c_uint;
/// Only leads others.
pub const THREAD_ROLE_CONTROL: ThreadRole = 1;
/// `pthread_mutex_t` of `<pthread.h>`.
pub type pthread_mutex_t = libc::pthread_mutex_t;

/// An enumeration that `build.rs` writes; C may store any integer in it.
pub type OptimizerType = std::ffi::c_uint;

/// Likewise.
pub type LRSchedulerType = std::ffi::c_uint;

/// C's `bool` (`cbindgen.toml` prints it so) in a struct that the program fills in: any byte, of
/// which all but 0 are true.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CBool(u8);

impl CBool {
    /// What C reads it as.
    pub fn get(self) -> bool {
        self.0 != 0
    }
}

impl From<bool> for CBool {
    fn from(value: bool) -> Self {
        Self(value.into())
    }
}
