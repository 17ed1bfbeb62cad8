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
