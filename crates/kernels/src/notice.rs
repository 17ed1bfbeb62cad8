//! What the kernels and their threads have to say to the user. They have no log of their own:
//! notes wait here until whoever called them passes them on.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

static WAITING: AtomicBool = AtomicBool::new(false);
static NOTES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Leaves a note.
pub(crate) fn leave(note: String) {
    NOTES.lock().unwrap_or_else(PoisonError::into_inner).push(note);
    WAITING.store(true, Relaxed);
}

/// Whether there are any; asking costs next to nothing.
#[inline(always)]
pub fn waiting() -> bool {
    WAITING.load(Relaxed)
}

/// Takes the notes that wait.
pub fn take() -> Vec<String> {
    if !WAITING.swap(false, Relaxed) {
        return Vec::new();
    }
    std::mem::take(&mut *NOTES.lock().unwrap_or_else(PoisonError::into_inner))
}
