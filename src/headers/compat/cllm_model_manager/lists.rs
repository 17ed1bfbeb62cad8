//! Which models there are.

use super::ManagedModel;
use super::shelf::{Entry, SHELF};
use crate::border::ffi;
use crate::headers::cllm::CLLMModel;
use cllm_compat::manager::shelf::Item;
use cllm_macros::c_api;
use std::ffi::c_char;
use std::ptr;

/// The entry of a model.
///
/// @param name  the model's name.
/// @return the entry, the library's, valid until the model is deleted or the manager cleaned up; NULL
///         if there is none of that name.
///
/// # Safety
/// `name` is NULL or a NUL-terminated string.
#[unsafe(no_mangle)]
#[c_api(ptr::null_mut())]
pub unsafe extern "C" fn model_manager_get(name: *const c_char) -> *mut ManagedModel {
    SHELF.with(ffi::bytes(name, "name")?, |entry, _| Ok(entry.seen()))
}

/// All entries, in the order in which they came. Allocates nothing, so that it may be called for
/// every frame that is drawn.
///
/// @param count  receives their number; untouched before model_manager_init.
/// @return the library's own array, not to be freed, valid until the next model_manager_create,
///         _load, _delete or _cleanup; NULL as long as there never was a model, and before
///         model_manager_init.
///
/// # Safety
/// `count` is NULL or has room for a number.
#[unsafe(no_mangle)]
#[c_api(ptr::null_mut())]
pub unsafe extern "C" fn model_manager_list(count: *mut u32) -> *mut *mut ManagedModel {
    let count = ffi::get_uninit(count, "count")?;
    let Some((list, len)) = SHELF.list() else { return Ok(ptr::null_mut()) };
    count.write(len.try_into().unwrap_or(u32::MAX));
    Ok(list.cast_mut().cast())
}

/// Whether there is a model of that name, loaded or not.
///
/// @param name  the name.
/// @return true or false.
///
/// # Safety
/// `name` is NULL or a NUL-terminated string.
#[unsafe(no_mangle)]
#[c_api(false)]
pub unsafe extern "C" fn model_manager_exists(name: *const c_char) -> bool {
    let name = ffi::bytes(name, "name")?;
    Ok(SHELF.with(name, |_, _| Ok(())).is_ok())
}

/// How a model is used at this moment.
///
/// @param name         the model's name.
/// @param is_loaded    receives whether it is in memory; may be NULL.
/// @param is_training  receives whether a thread has write access; may be NULL.
/// @param read_count   receives how often read access is held; may be NULL.
/// @return true; false, with the outputs untouched, if there is no such model.
///
/// # Safety
/// `name` is NULL or a NUL-terminated string; the outputs are NULL or have room.
#[unsafe(no_mangle)]
#[c_api(false)]
pub unsafe extern "C" fn model_manager_get_status(
    name: *const c_char,
    is_loaded: *mut bool,
    is_training: *mut bool,
    read_count: *mut u32,
) -> bool {
    let name = ffi::bytes(name, "name")?;
    let (loaded, status) = SHELF.with(name, |entry, status| Ok((entry.is_loaded(), status)))?;
    ffi::set_out(is_loaded, loaded, "is_loaded")?;
    ffi::set_out(is_training, status.writing, "is_training")?;
    ffi::set_out(read_count, status.readers, "read_count")?;
    Ok(true)
}

/// The model of the first entry, without access to it.
///
/// @return the model; NULL if there is none, or it is not loaded.
#[unsafe(no_mangle)]
#[c_api(ptr::null_mut())]
pub extern "C" fn model_manager_get_first() -> *mut CLLMModel {
    Ok(SHELF.first(Entry::model).unwrap_or(ptr::null_mut()))
}
