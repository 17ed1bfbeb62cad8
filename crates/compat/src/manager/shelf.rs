//! The models under their names, and the threads that wait for one.

use super::access::{Access, Answer, Mode};
use super::folder;
use cllm_engine::error::{Error, Result};
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// What stands on a shelf.
pub trait Item {
    /// What a list of the items holds.
    type Handle: Copy;

    /// It, in the list.
    fn handle(&self) -> Self::Handle;

    /// Whether its model is in memory.
    fn is_loaded(&self) -> bool;

    /// Called whenever access was given or returned, and before anybody else can see it.
    fn show(&mut self, status: Status);
}

/// How an item is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Whether somebody has write access.
    pub writing: bool,
    /// How often read access is held.
    pub readers: u32,
}

/// Named items, in the order in which they came. Closed at first.
pub struct Shelf<T: Item> {
    open: Mutex<Option<Open<T>>>,
    /// Access was given back, or the shelf closed.
    changed: Condvar,
    /// How many items there ever were.
    numbers: AtomicU64,
}

struct Open<T: Item> {
    folder: PathBuf,
    slots: Vec<Slot<T>>,
    /// Beside `slots`, so that a list of all items is there without making one.
    handles: Vec<T::Handle>,
}

struct Slot<T> {
    name: Vec<u8>,
    /// Tells it from a later one of the same name.
    number: u64,
    item: T,
    access: Access,
}

impl<T: Item> Slot<T> {
    fn status(&self) -> Status {
        Status { writing: self.access.writing(), readers: self.access.readers() }
    }
}

impl<T: Item> Open<T> {
    fn find(&mut self, name: &[u8]) -> Result<&mut Slot<T>> {
        let found = self.slots.iter_mut().find(|slot| slot.name == name);
        found.ok_or_else(|| Error::state(format!("there is no model {}", folder::shown(name))))
    }

    fn check_free(&mut self, name: &[u8]) -> Result<()> {
        folder::check_name(name)?;
        match self.find(name) {
            Ok(_) => Err(Error::state(format!("there is a model {} already", folder::shown(name)))),
            Err(_) => Ok(()),
        }
    }

    fn idle(&mut self, name: &[u8]) -> Result<&mut Slot<T>> {
        let slot = self.find(name)?;
        if slot.access.in_use() {
            return Err(Error::state(format!("the model {} is in use", folder::shown(name))));
        }
        Ok(slot)
    }
}

impl<T: Item> Default for Shelf<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Item> Shelf<T> {
    /// A closed one.
    pub const fn new() -> Self {
        Self { open: Mutex::new(None), changed: Condvar::new(), numbers: AtomicU64::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Open<T>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `work`, which does not use the shelf, on what is there.
    fn with_open<R>(&self, work: impl FnOnce(&mut Open<T>) -> Result<R>) -> Result<R> {
        work(self.lock().as_mut().ok_or_else(closed)?)
    }

    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        self.lock().is_some()
    }

    /// Opens it, empty, for the files of `folder`; one that is open stays as it is.
    pub fn open(&self, folder: &Path) {
        self.lock().get_or_insert_with(|| Open {
            folder: folder.to_path_buf(),
            slots: Vec::new(),
            handles: Vec::new(),
        });
    }

    /// Empties and closes it: the items, with what they were used for. Whoever waits for one is told
    /// that it is gone.
    pub fn close(&self) -> Vec<(T, Status)> {
        let open = self.lock().take();
        self.changed.notify_all();
        let slots = open.map_or_else(Vec::new, |open| open.slots);
        let with_status = |slot: Slot<T>| {
            let status = slot.status();
            (slot.item, status)
        };
        slots.into_iter().map(with_status).collect()
    }

    /// The folder that it was opened for.
    ///
    /// # Errors
    /// The shelf is closed.
    pub fn folder(&self) -> Result<PathBuf> {
        self.with_open(|open| Ok(open.folder.clone()))
    }

    /// Makes sure that an item of this name could be put there.
    ///
    /// # Errors
    /// The name is not one for a file, or is taken; the shelf is closed.
    pub fn check_free(&self, name: &[u8]) -> Result<()> {
        self.with_open(|open| open.check_free(name))
    }

    /// Puts an item at the end.
    ///
    /// # Errors
    /// As [`Shelf::check_free`], or no memory: the item comes back.
    pub fn insert(&self, name: &[u8], item: T) -> Result<(), (T, Error)> {
        let mut open = self.lock();
        let room = |open: &mut Option<Open<T>>| {
            let open = open.as_mut().ok_or_else(closed)?;
            open.check_free(name)?;
            let refused = |_| Error::memory("the list of models", size_of::<Slot<T>>());
            open.slots.try_reserve(1).map_err(refused)?;
            open.handles.try_reserve(1).map_err(refused)
        };
        if let Err(error) = room(&mut open) {
            return Err((item, error));
        }
        if let Some(open) = open.as_mut() {
            open.handles.push(item.handle());
            let (name, number) = (name.to_vec(), self.numbers.fetch_add(1, Ordering::Relaxed));
            open.slots.push(Slot { name, number, item, access: Access::default() });
        }
        Ok(())
    }

    /// Takes an item away that nobody uses or waits for.
    ///
    /// # Errors
    /// It is in use; there is none; the shelf is closed.
    pub fn remove(&self, name: &[u8]) -> Result<T> {
        self.with_open(|open| {
            let number = open.idle(name)?.number;
            let at = open.slots.iter().position(|slot| slot.number == number);
            let at = at.ok_or_else(closed)?;
            open.handles.remove(at);
            Ok(open.slots.remove(at).item)
        })
    }

    /// Calls `look` with an item and how it is used.
    ///
    /// # Errors
    /// There is none; the shelf is closed; those of `look`.
    pub fn with<R>(
        &self,
        name: &[u8],
        look: impl FnOnce(&mut T, Status) -> Result<R>,
    ) -> Result<R> {
        self.with_open(|open| {
            let slot = open.find(name)?;
            let status = slot.status();
            look(&mut slot.item, status)
        })
    }

    /// As [`Shelf::with`], with one that nobody uses or waits for.
    ///
    /// # Errors
    /// It is in use; there is none; the shelf is closed; those of `change`.
    pub fn with_idle<R>(&self, name: &[u8], change: impl FnOnce(&mut T) -> Result<R>) -> Result<R> {
        self.with_open(|open| change(&mut open.idle(name)?.item))
    }

    /// Where the list of all items is, in their order, and how many there are: NULL where there never
    /// was one, `None` while the shelf is closed. The list stays until the next item comes or goes.
    pub fn list(&self) -> Option<(*const T::Handle, usize)> {
        let open = self.lock();
        let list = &open.as_ref()?.handles;
        Some((if list.capacity() == 0 { ptr::null() } else { list.as_ptr() }, list.len()))
    }

    /// What `look` makes of the first item, if there is one.
    pub fn first<R>(&self, look: impl FnOnce(&T) -> R) -> Option<R> {
        Some(look(&self.lock().as_ref()?.slots.first()?.item))
    }

    /// Gets access to an item, and what `take` makes of it; waits while others are in the way.
    ///
    /// # Errors
    /// There is none; it is not loaded; the calling thread would wait for itself; the shelf is
    /// closed, or was while waiting.
    pub fn acquire<R>(&self, name: &[u8], mode: Mode, take: impl FnOnce(&T) -> R) -> Result<R> {
        let me = thread::current().id();
        let mut open = self.lock();
        let number = open.as_mut().ok_or_else(closed)?.find(name)?.number;
        let mut waits = false;
        loop {
            let slots = open.iter_mut().flat_map(|open| &mut open.slots);
            let Some(slot) = slots.into_iter().find(|slot| slot.number == number) else {
                return Err(Error::state("the models were cleaned up meanwhile"));
            };
            let answer = match slot.item.is_loaded() {
                true => slot.access.ask(mode, me),
                false => Err(Error::state(format!("{} is not loaded", folder::shown(name)))),
            };
            let answer = match answer {
                Ok(Answer::Wait) if !waits => {
                    slot.access.begin_waiting(mode, me).map(|()| Answer::Wait)
                }
                answer => answer,
            };
            if waits && !matches!(answer, Ok(Answer::Wait)) {
                slot.access.end_waiting(mode, me);
            }
            match answer? {
                Answer::Granted => {
                    slot.item.show(slot.status());
                    return Ok(take(&slot.item));
                }
                Answer::Deadlock => {
                    return Err(Error::state(format!(
                        "this thread itself reads {}: it would wait for ever",
                        folder::shown(name)
                    )));
                }
                Answer::Wait => waits = true,
            }
            open = self.changed.wait(open).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Gives access back.
    ///
    /// # Errors
    /// Nobody has any; there is no such item; the shelf is closed.
    pub fn release(&self, name: &[u8], mode: Mode) -> Result<()> {
        self.with_open(|open| {
            let slot = open.find(name)?;
            slot.access.release(mode, thread::current().id())?;
            slot.item.show(slot.status());
            Ok(())
        })?;
        self.changed.notify_all();
        Ok(())
    }
}

fn closed() -> Error {
    Error::state("the model manager is not initialised")
}

#[cfg(test)]
mod tests;
