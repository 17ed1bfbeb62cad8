//! What the team is built from: the standard library's parts, or, in its model, those of loom,
//! which run a program in every order that its threads can take.

#[cfg(not(all(test, loom)))]
mod parts {
    pub use std::hint::spin_loop;
    pub use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
    pub use std::sync::{Arc, Condvar, Mutex, MutexGuard};

    /// Turns of a waiting loop before it sleeps: some 50 microseconds.
    pub const SPINS: usize = 2000;

    /// A number that is different for every live thread.
    pub fn token() -> usize {
        thread_local!(static PLACE: u8 = const { 0 });
        PLACE.with(|place| std::ptr::from_ref(place).addr())
    }

    /// A cell with loom's interface.
    pub struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub fn new(value: T) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }

        /// `f` on the value, which it reads.
        pub fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
            f(self.0.get())
        }

        /// `f` on the value, which it writes.
        pub fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            f(self.0.get())
        }
    }
}

#[cfg(all(test, loom))]
mod parts {
    pub use loom::cell::UnsafeCell;
    pub use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
    pub use loom::sync::{Arc, Condvar, Mutex, MutexGuard};

    /// Enough for both outcomes.
    pub const SPINS: usize = 1;

    /// Nothing: loom's own would let the others finish, and no thread would ever have to sleep.
    pub fn spin_loop() {}

    /// A number that is different for every live thread.
    pub fn token() -> usize {
        loom::thread_local!(static PLACE: u8 = 0);
        PLACE.with(|place| std::ptr::from_ref(place).addr())
    }
}

pub use parts::*;
