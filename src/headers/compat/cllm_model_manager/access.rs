//! Using models: many readers or one writer.

use super::shelf::{Entry, SHELF};
use crate::border::ffi;
use crate::headers::cllm::CLLMModel;
use cllm_compat::manager::Mode;
use cllm_macros::c_api;
use std::ffi::c_char;
use std::ptr;

/// Takes read access to a model, beside other readers; waits while another thread has write access.
/// The thread that has write access gets it at once. Access belongs to the process: any thread may
/// give it back, by one model_manager_release_read for each call.
///
/// @param name  the model's name.
/// @return the model; NULL if there is none of that name, it is not loaded, or the manager was
///         cleaned up while this call waited.
///
/// # Safety
/// `name` is NULL or a NUL-terminated string.
#[unsafe(no_mangle)]
#[c_api(ptr::null_mut())]
pub unsafe extern "C" fn model_manager_acquire_read(name: *const c_char) -> *mut CLLMModel {
    SHELF.acquire(ffi::bytes(name, "name")?, Mode::Read, Entry::model)
}

/// Takes write access to a model; waits while others have access. The thread that has it already
/// gets the model at once, and one model_manager_release_write, by any thread, gives it back.
///
/// @param name  the model's name.
/// @return the model; NULL if there is none of that name, it is not loaded, or the manager was
///         cleaned up while this call waited; also NULL instead of waiting for itself, if this thread
///         has all the read access there is, or has some and the threads with the rest wait for write
///         access too.
///
/// # Safety
/// `name` is NULL or a NUL-terminated string.
#[unsafe(no_mangle)]
#[c_api(ptr::null_mut())]
pub unsafe extern "C" fn model_manager_acquire_write(name: *const c_char) -> *mut CLLMModel {
    SHELF.acquire(ffi::bytes(name, "name")?, Mode::Write, Entry::model)
}

/// Gives read access back that this or another thread took.
///
/// @param name  the model's name. A name that there is not, or a model that nobody reads, is
///              reported, and nothing happens.
///
/// # Safety
/// `name` is NULL or a NUL-terminated string.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn model_manager_release_read(name: *const c_char) {
    SHELF.release(ffi::bytes(name, "name")?, Mode::Read)
}

/// Gives write access back that this or another thread took.
///
/// @param name  the model's name. A name that there is not, or a model that nobody writes, is
///              reported, and nothing happens.
///
/// # Safety
/// `name` is NULL or a NUL-terminated string.
#[unsafe(no_mangle)]
#[c_api]
pub unsafe extern "C" fn model_manager_release_write(name: *const c_char) {
    SHELF.release(ffi::bytes(name, "name")?, Mode::Write)
}
