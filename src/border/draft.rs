//! Objects in the making.

use crate::border::guard::report;
use cllm_engine::error::Result;

/// An object for C that is released unless it is kept, so that `?` can't leak it.
pub(crate) struct Draft<T> {
    pointer: *mut T,
    release: unsafe fn(*mut T) -> Result<()>,
}

impl<T> Draft<T> {
    /// The object at `pointer`, to be given to `release` where it is not finished.
    ///
    /// # Safety
    /// `release` may be called for it at any time until it is kept.
    pub(crate) unsafe fn new(pointer: *mut T, release: unsafe fn(*mut T) -> Result<()>) -> Self {
        Self { pointer, release }
    }

    /// Where it is.
    pub(crate) fn get(&self) -> *mut T {
        self.pointer
    }

    /// The finished object.
    pub(crate) fn keep(self) -> *mut T {
        let pointer = self.pointer;
        std::mem::forget(self);
        pointer
    }
}

impl<T> Drop for Draft<T> {
    fn drop(&mut self) {
        // SAFETY: whoever made the draft promised it, and nobody kept the object.
        if let Err(error) = unsafe { (self.release)(self.pointer) } {
            report(error);
        }
    }
}
