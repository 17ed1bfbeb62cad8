//! Entering from C: the guard of every exported function, pointers to references, objects behind
//! handles, memory that C may free.

pub mod ctypes;
pub(crate) mod ffi;
pub(crate) mod host;
pub(crate) mod registry;

pub(crate) use ffi::guard;
