//! Entering from C.
//!
//! | room | what |
//! |---|---|
//! | `guard` | around every exported function: errors and panics become its value for them |
//! | `host` | the program's floating-point environment and stack, left as they were |
//! | `pointer` | counts and pointers become numbers, slices, references |
//! | `text` | C strings, paths, `char[]` fields, printing |
//! | `memory` | blocks that C may free |
//! | `registry`, `handle` | the library's private state of an object, found by its address |
//! | `draft` | objects in the making |
//! | `seed` | randomness that the program chooses |
//!
//! A room of a header takes what it needs by the one name `ffi`.

pub mod ctypes;
pub(crate) mod draft;
pub(crate) mod guard;
mod handle;
pub(crate) mod host;
pub(crate) mod memory;
pub(crate) mod pointer;
pub(crate) mod registry;
mod seed;
pub(crate) mod text;

pub(crate) use guard::guard;

/// The border under one short name: `ffi::get`, `ffi::slice`, `ffi::path`, ...
pub(crate) mod ffi {
    pub(crate) use super::draft::Draft;
    pub(crate) use super::guard::{clear_error, last_error, report};
    pub(crate) use super::memory::{CArray, MEMORY, Zeroable, free, zeroable};
    pub(crate) use super::pointer::{
        get, get_mut, get_uninit, input, len, positive, set_out, set_sized, sized, slice,
        slice_mut, slice_mut_opt, slice_opt, slice_or_empty,
    };
    pub(crate) use super::seed::libc_seed;
    pub(crate) use super::text::{bytes, field_bytes, fixed, local_time, path, print, set_field};
}
