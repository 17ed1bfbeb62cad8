//! C types whose names cbindgen must print as they are. It never reads this file.
#![allow(non_camel_case_types)]

/// `time_t` of `<time.h>`.
pub type time_t = libc::time_t;
