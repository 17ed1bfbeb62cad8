//! The manager's own record of its models, and what C sees of it.

use super::{MODEL_NAME_MAX, MODEL_PATH_MAX, ManagedModel};
use crate::border::ffi::{self, CArray, Draft};
use crate::headers::cllm::CLLMModel;
use crate::model::build;
use crate::model::file::read_model;
use cllm_compat::manager::folder::{MAX_NAME, MAX_PATH};
use cllm_compat::manager::shelf::{Item, Shelf, Status};
use cllm_engine::error::Result;
use cllm_engine::system::date;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32};
use std::sync::{Mutex, MutexGuard, PoisonError};

const _: () = assert!(MAX_NAME < MODEL_NAME_MAX && MAX_PATH < MODEL_PATH_MAX);

/// The models of the process.
pub(super) static SHELF: Shelf<Entry> = Shelf::new();

/// Held by whoever makes, reads, writes or removes a model: one at a time. Nobody waits for it who
/// has the lock of the shelf, which is held for moments only: whoever only uses models does not
/// wait for files.
pub(super) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A model of the manager.
pub(super) struct Entry {
    /// What C sees: a block of malloc that this entry owns. Its fields say what the others here do,
    /// but are not relied on.
    seen: *mut ManagedModel,
    /// NULL where it is not loaded.
    model: *mut CLLMModel,
    path: PathBuf,
}

// SAFETY: the struct and the model are the entry's; who may touch the model's weights, the manager
// itself regulates.
unsafe impl Send for Entry {}

/// As a list of C holds it.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Handle(*mut ManagedModel);
// SAFETY: only an address.
unsafe impl Send for Handle {}

impl Item for Entry {
    type Handle = Handle;

    fn handle(&self) -> Handle {
        Handle(self.seen)
    }

    fn is_loaded(&self) -> bool {
        !self.model.is_null()
    }

    fn show(&mut self, status: Status) {
        // SAFETY: a live struct, of which programs read these fields at any time.
        unsafe {
            AtomicBool::from_ptr(&raw mut (*self.seen).is_training).store(status.writing, Relaxed);
            AtomicU32::from_ptr(&raw mut (*self.seen).read_count).store(status.readers, Relaxed);
        }
    }
}

impl Entry {
    /// An entry with its model; without memory the model is freed.
    ///
    /// # Safety
    /// The model was just made, and nobody else knows it.
    pub(super) unsafe fn new(name: &[u8], path: &Path, model: *mut CLLMModel) -> Result<Self> {
        let draft = Draft::new(model, build::free);
        let mut block = CArray::<ManagedModel>::zeroed("a managed model", 1)?;
        if let [seen] = block.as_mut_slice() {
            ffi::set_field(&mut seen.name, name);
            ffi::set_field(&mut seen.path, path.as_os_str().as_bytes());
            seen.created_time = date::unix_now();
            seen.modified_time = seen.created_time;
        }
        let (seen, path) = (block.into_raw(), path.to_path_buf());
        let mut entry = Self { seen, model: ptr::null_mut(), path };
        entry.set_model(draft.keep());
        Ok(entry)
    }

    /// An entry whose model is read from a file.
    pub(super) fn read(name: &[u8], path: &Path) -> Result<Self> {
        // SAFETY: it was read just now.
        unsafe { Self::new(name, path, read_model(path, false)?) }
    }

    /// Gives it a model that was just made, or NULL.
    ///
    /// # Safety
    /// The model is live; the one before has been taken.
    pub(super) unsafe fn set_model(&mut self, model: *mut CLLMModel) {
        self.model = model;
        let seen = &raw mut (*self.seen);
        if let Ok(m) = ffi::get(model, "model") {
            (*seen).vocab_size = m.vocab_size.try_into().unwrap_or(u32::MAX);
            (*seen).embedding_dim = m.embedding_dim.try_into().unwrap_or(u32::MAX);
            (*seen).num_layers = m.num_layers;
            (*seen).num_heads = m.header.num_heads;
        }
        AtomicPtr::from_ptr(&raw mut (*seen).model).store(model, Relaxed);
        AtomicBool::from_ptr(&raw mut (*seen).is_loaded).store(!model.is_null(), Relaxed);
    }

    /// Takes its model away; NULL where there is none.
    pub(super) fn take_model(&mut self) -> *mut CLLMModel {
        let model = self.model;
        // SAFETY: NULL is no model.
        unsafe { self.set_model(ptr::null_mut()) };
        model
    }

    pub(super) fn model(&self) -> *mut CLLMModel {
        self.model
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn seen(&self) -> *mut ManagedModel {
        self.seen
    }

    /// The model was written to its file.
    pub(super) fn saved(&mut self) {
        // SAFETY: a live struct of this entry's.
        unsafe { (*self.seen).modified_time = date::unix_now() };
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        // SAFETY: the entry's own; whoever drops it has seen to it that nobody uses them.
        unsafe {
            if let Err(error) = build::free(self.model) {
                ffi::report(error);
            }
            ffi::free(self.seen);
        }
    }
}
