//! Objects of which C knows the address only, and the end of those that it sees into.

use crate::border::memory::{CArray, free};
use crate::border::registry::Registry;
use cllm_engine::error::{Error, Result};

impl<T> Registry<T> {
    /// A new object; `what` stands in the message when there is no memory. The block at the
    /// address holds nothing: it only keeps other objects away from it.
    pub(crate) fn new_handle<P>(&self, what: &'static str, state: T) -> Result<*mut P> {
        let handle = CArray::<u64>::zeroed(what, 1)?.into_raw().cast();
        self.insert(handle, state);
        Ok(handle)
    }

    /// Ends an object of [`Registry::new_handle`]. NULL is fine; a second end is an error.
    ///
    /// # Safety
    /// Nothing uses the object any more.
    pub(crate) unsafe fn free_handle<P>(&self, handle: *mut P) -> Result<()> {
        if handle.is_null() {
            return Ok(());
        }
        self.remove(handle).ok_or_else(|| Error::stale(self.kind()))?;
        // SAFETY: it was registered, so it is a block of ours; unused by the caller's promise.
        unsafe { self.retire(handle) };
        Ok(())
    }

    /// Frees a struct that C sees into; one that the library made is kept back for a while.
    ///
    /// # Safety
    /// `address` is a live block of malloc's family that nothing uses any more.
    pub(crate) unsafe fn free_struct<P>(&self, address: *mut P) {
        // SAFETY: the caller's promise, for both.
        unsafe {
            match self.remove(address) {
                Some(_) => self.retire(address),
                None => free(address),
            }
        }
    }
}
