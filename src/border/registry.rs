//! Private state of the objects that C sees, found by address: a C program may have made the
//! struct itself, so nothing may be assumed to lie behind it.

use crate::border::memory::free;
use cllm_engine::error::{Error, Result};
use cllm_engine::limits::MAX_KEPT_BACK;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The live objects of one kind.
pub(crate) struct Registry<T> {
    kind: &'static str,
    inner: Mutex<Inner<T>>,
}

struct Inner<T> {
    /// In the order of their addresses. Its memory stays when the process ends, and begins where a
    /// pointer points to, so that checkers of leaks find it: the block of a HashMap doesn't.
    live: Vec<(usize, Arc<Mutex<T>>)>,
    /// Freed structs, blocks of malloc, oldest first: their addresses can't return as other
    /// objects.
    retired: VecDeque<usize>,
}

impl<T> Inner<T> {
    /// Where the object at `address` stands, or where it belongs.
    fn place(&self, address: usize) -> std::result::Result<usize, usize> {
        self.live.binary_search_by_key(&address, |(of, _)| *of)
    }
}

impl<T> Registry<T> {
    /// An empty registry; `kind` stands in messages, as in "training".
    pub(crate) const fn new(kind: &'static str) -> Self {
        let inner = Inner { live: Vec::new(), retired: VecDeque::new() };
        Self { kind, inner: Mutex::new(inner) }
    }

    /// What messages call an object of the registry.
    pub(super) fn kind(&self) -> &'static str {
        self.kind
    }

    fn inner(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records `state` for the object at `address`, replacing what stood there.
    pub(crate) fn insert<P>(&self, address: *const P, state: T) -> Arc<Mutex<T>> {
        let state = Arc::new(Mutex::new(state));
        let mut inner = self.inner();
        let entry = (address.addr(), Arc::clone(&state));
        let old = match inner.place(address.addr()) {
            Ok(place) => Some(std::mem::replace(&mut inner.live[place], entry)),
            Err(place) => {
                inner.live.insert(place, entry);
                None
            }
        };
        // What it holds ends after the lock.
        drop((inner, old));
        state
    }

    /// The state of an object: `None` for one that the program made itself; an error for NULL and
    /// for one that was freed.
    pub(crate) fn find<P>(&self, address: *const P) -> Result<Option<Arc<Mutex<T>>>> {
        if address.is_null() {
            return Err(Error::null(self.kind));
        }
        let inner = self.inner();
        let place = inner.place(address.addr()).ok();
        let state = place.map(|place| Arc::clone(&inner.live[place].1));
        if state.is_none() && inner.retired.contains(&address.addr()) {
            return Err(Error::stale(self.kind));
        }
        Ok(state)
    }

    /// The state of an object of the library; an error also for one that the program made.
    pub(crate) fn get<P>(&self, address: *const P) -> Result<Arc<Mutex<T>>> {
        self.find(address)?.ok_or_else(|| Error::stale(self.kind))
    }

    /// The first state for which `f` finds something.
    pub(crate) fn search<R>(&self, mut f: impl FnMut(&mut T) -> Option<R>) -> Option<R> {
        let inner = self.inner();
        inner.live.iter().find_map(|(_, state)| f(&mut lock(state)))
    }

    /// Forgets an object; its state, if it had one.
    pub(crate) fn remove<P>(&self, address: *const P) -> Option<Arc<Mutex<T>>> {
        let mut inner = self.inner();
        let place = inner.place(address.addr()).ok()?;
        Some(inner.live.remove(place).1)
    }

    /// Keeps the freed struct at `address` back; the oldest one is given to the heap for it.
    ///
    /// # Safety
    /// `address` is a live block of malloc's family that nothing uses any more.
    pub(crate) unsafe fn retire<P>(&self, address: *mut P) {
        let oldest = {
            let mut inner = self.inner();
            inner.retired.push_back(address.expose_provenance());
            if inner.retired.len() > MAX_KEPT_BACK { inner.retired.pop_front() } else { None }
        };
        if let Some(oldest) = oldest {
            // SAFETY: it was retired by the same promise, and is in no list any more.
            unsafe { free(std::ptr::with_exposed_provenance_mut::<u8>(oldest)) };
        }
    }
}

/// Locks the state of an object. A panic while it was locked has been reported; the state is
/// used as it is.
pub(crate) fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
