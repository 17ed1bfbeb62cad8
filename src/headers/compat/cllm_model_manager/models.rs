//! Beginning and end of the manager, and of its models.

use super::ManagedModel;
use super::shelf::{Entry, SHELF, alone};
use crate::border::ffi;
use crate::headers::cllm::{CLLMConfig, CLLMModel};
use crate::headers::cllm_utils::models;
use crate::model::build;
use crate::model::file::{read_model, write_model};
use cllm_compat::manager::folder;
use cllm_engine::error::{Error, Result};
use cllm_macros::c_api;
use std::ffi::c_char;
use std::fs;
use std::path::Path;
use std::ptr;

/// Puts the models of a folder under the manager: every file whose name ends in `.cllm`, under that
/// name without the ending, in the byte order of the names. The folder is made (mode 0755) where
/// there is none, its parents are not. A file that can't be read is left out, with a message.
///
/// @param models_dir  the folder; NULL stands for `./models`.
/// @return true, also if the manager is initialised already: `models_dir` is then ignored. false if
///         the folder can't be made or read, or its path is longer than 1023 bytes.
///
/// Until this was called, all other functions of this header fail. All of them may be called from
/// any thread.
///
/// # Safety
/// `models_dir` is NULL or a NUL-terminated string.
#[unsafe(no_mangle)]
#[c_api(false)]
pub unsafe extern "C" fn model_manager_init(models_dir: *const c_char) -> bool {
    let given = if models_dir.is_null() { c"./models".as_ptr() } else { models_dir };
    let dir = ffi::path(given, "models_dir")?;
    // What is reported goes to the program, which may call the manager: not under its lock.
    for left_out in init(dir)? {
        ffi::report(left_out);
    }
    Ok(true)
}

/// The files that can't be read, with the reasons.
fn init(dir: &Path) -> Result<Vec<Error>> {
    let _alone = alone();
    if SHELF.is_open() {
        return Ok(Vec::new());
    }
    folder::make(dir)?;
    let mut entries = Vec::new();
    let mut left_out = Vec::new();
    for (name, path) in folder::files(dir)? {
        let entry = folder::check_name(&name)
            .and_then(|()| folder::check_path(&path))
            .and_then(|()| Entry::read(&name, &path));
        match entry {
            Ok(entry) => entries.push((name, entry)),
            Err(error) => left_out.push(error),
        }
    }
    SHELF.open(dir);
    for (name, entry) in entries {
        if let Err((_, error)) = SHELF.insert(&name, entry) {
            left_out.push(error);
        }
    }
    Ok(left_out)
}

/// Frees all models of the manager, without saving them; model_manager_init may be called again.
/// A model that somebody has access to, or waits for, is left to its holders, with a message: they
/// release it by cllm_free_model(). Who waits for one gets NULL. What model_manager_get and
/// model_manager_list returned is gone.
#[unsafe(no_mangle)]
#[c_api]
pub extern "C" fn model_manager_cleanup() {
    let alone = alone();
    let mut kept = 0;
    for (mut entry, status) in SHELF.close() {
        if status.writing || status.readers > 0 {
            entry.take_model();
            kept += 1;
        }
    }
    drop(alone);
    match kept {
        0 => Ok(()),
        n => Err(Error::state(format!("{n} models in use are left to those who use them"))),
    }
}

/// Puts an entry under the manager; what C sees of it.
fn insert(name: &[u8], entry: Entry) -> Result<*mut ManagedModel> {
    let seen = entry.seen();
    SHELF.insert(name, entry).map_err(|(_, error)| error)?;
    Ok(seen)
}

/// Makes a model as cllm_create_model() does, puts it under the manager and writes it to
/// `<folder>/<name>.cllm`. If only the writing fails, the model is there all the same, and
/// cllm_last_error() says what went wrong.
///
/// @param name    its name: 1 to 255 bytes without `/`, not `.` or `..`. A longer file name than the
///                file system has can't be written.
/// @param config  its sizes.
/// @return the entry, the library's, valid until the model is deleted; NULL if the name is none or
///         taken, there is a file of that name that is not under the manager (it is not
///         overwritten), its path has more than 1023 bytes, the configuration is bad, or there is no
///         memory.
///
/// # Safety
/// `name` is NULL or a NUL-terminated string, `config` NULL or a `CLLMConfig`.
#[unsafe(no_mangle)]
#[c_api(ptr::null_mut())]
pub unsafe extern "C" fn model_manager_create(
    name: *const c_char,
    config: *const CLLMConfig,
) -> *mut ManagedModel {
    let name = ffi::bytes(name, "name")?;
    let config = ffi::get(config, "config")?;
    let (seen, written) = create(name, config)?;
    written.unwrap_or_else(ffi::report);
    Ok(seen)
}

fn create(name: &[u8], config: &CLLMConfig) -> Result<(*mut ManagedModel, Result<()>)> {
    let _alone = alone();
    SHELF.check_free(name)?;
    let path = folder::file_of(&SHELF.folder()?, name)?;
    if fs::symlink_metadata(&path).is_ok() {
        let problem = "is there already, and not under the manager";
        return Err(Error::state(format!("{} {problem}", path.display())));
    }
    // SAFETY: it is made here, and nobody else knows it before it is inserted; whoever could free it
    // then needs the lock.
    unsafe {
        let entry = Entry::new(name, &path, models::create_from(config, ffi::libc_seed)?)?;
        let model = entry.model();
        let seen = insert(name, entry)?;
        Ok((seen, write_model(model, &path)))
    }
}

/// Reads a model file and puts the model under the manager.
///
/// @param name  its name, as for model_manager_create.
/// @param path  its file, anywhere, at most 1023 bytes long; model_manager_save writes there.
/// @return the entry, as from model_manager_create; NULL if the name is none or taken, or the file
///         can't be read.
///
/// # Safety
/// `name` and `path` are NULL or NUL-terminated strings.
#[unsafe(no_mangle)]
#[c_api(ptr::null_mut())]
pub unsafe extern "C" fn model_manager_load(
    name: *const c_char,
    path: *const c_char,
) -> *mut ManagedModel {
    let name = ffi::bytes(name, "name")?;
    let path = ffi::path(path, "path")?;
    folder::check_path(path)?;
    let _alone = alone();
    SHELF.check_free(name)?;
    insert(name, Entry::read(name, path)?)
}

/// Writes a model to its file, whole or not at all, as cllm_write_model() does. A thread that trains
/// the model meanwhile is not waited for: save from there, or with access of one's own.
///
/// @param name  the model's name.
/// @return true; false if there is no such model, it is not loaded, or it can't be written.
///
/// # Safety
/// `name` is NULL or a NUL-terminated string, and nothing changes the model meanwhile.
#[unsafe(no_mangle)]
#[c_api(false)]
pub unsafe extern "C" fn model_manager_save(name: *const c_char) -> bool {
    let name = ffi::bytes(name, "name")?;
    let _alone = alone();
    let (model, path) = SHELF.with(name, |entry, _| match entry.model() {
        model if model.is_null() => Err(Error::state("the model is not loaded")),
        model => Ok((model, entry.path().to_path_buf())),
    })?;
    write_model(model, &path)?;
    SHELF.with(name, |entry, _| {
        entry.saved();
        Ok(true)
    })
}

/// Frees a model and keeps its entry, from which model_manager_reload can bring it back. What was
/// not saved is lost.
///
/// @param name  the model's name.
/// @return true, also if it was not loaded; false if there is no such model, or somebody has access
///         to it or waits for it.
///
/// # Safety
/// `name` is NULL or a NUL-terminated string; nothing uses the model without access to it.
#[unsafe(no_mangle)]
#[c_api(false)]
pub unsafe extern "C" fn model_manager_unload(name: *const c_char) -> bool {
    let name = ffi::bytes(name, "name")?;
    let _alone = alone();
    build::free(SHELF.with_idle(name, |entry| Ok(entry.take_model()))?)?;
    Ok(true)
}

/// Reads a model that was unloaded from its file again; the sizes of its entry become the file's.
///
/// @param name  the model's name.
/// @return true, also if it is loaded; false if there is no such model, or its file can't be read.
///
/// # Safety
/// `name` is NULL or a NUL-terminated string.
#[unsafe(no_mangle)]
#[c_api(false)]
pub unsafe extern "C" fn model_manager_reload(name: *const c_char) -> bool {
    let name = ffi::bytes(name, "name")?;
    let _alone = alone();
    let missing = |entry: &Entry| entry.model().is_null().then(|| entry.path().to_path_buf());
    if let Some(path) = SHELF.with(name, |entry, _| Ok(missing(entry)))? {
        let model: *mut CLLMModel = read_model(&path, false)?;
        SHELF.with(name, |entry, _| {
            entry.set_model(model);
            Ok(())
        })?;
    }
    Ok(true)
}

/// Removes a model from the manager and frees it.
///
/// @param name         the model's name.
/// @param delete_file  whether its file is removed as well. That it can't be is a message, no
///                     failure.
/// @return true; false if there is no such model, or somebody has access to it or waits for it:
///         nothing is removed then.
///
/// # Safety
/// `name` is NULL or a NUL-terminated string; nothing uses the model or its entry any more.
#[unsafe(no_mangle)]
#[c_api(false)]
pub unsafe extern "C" fn model_manager_delete(name: *const c_char, delete_file: bool) -> bool {
    let name = ffi::bytes(name, "name")?;
    let removed = {
        let _alone = alone();
        let entry = SHELF.remove(name)?;
        let path = entry.path();
        if delete_file { fs::remove_file(path).map_err(Error::io(path)) } else { Ok(()) }
    };
    removed.unwrap_or_else(ffi::report);
    Ok(true)
}
