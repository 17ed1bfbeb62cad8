//! Failures on order: where memory is asked for and where calls enter, a test build can have the
//! N-th such point fail. In any other build a point is nothing.

/// A point that may fail, on the way to `what`.
///
/// # Errors
/// [`Error::Memory`](crate::Error) where a test asked for it.
#[cfg(not(feature = "fault-injection"))]
#[inline(always)]
pub fn point(_what: &'static str) -> crate::error::Result<()> {
    Ok(())
}

#[cfg(feature = "fault-injection")]
pub use on::{Fault, arm, disarm, point};

#[cfg(feature = "fault-injection")]
mod on {
    use crate::error::{Error, Result};
    use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::SeqCst};

    /// What happens at the chosen point.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Fault {
        /// Memory is refused.
        Memory = 1,
        /// A panic.
        Panic = 2,
    }

    static MODE: AtomicU8 = AtomicU8::new(0);
    static SEEN: AtomicU64 = AtomicU64::new(0);
    static CHOSEN: AtomicU64 = AtomicU64::new(0);

    /// Has point number `n` from now on fail, counted from 1 over all threads; 0: none.
    pub fn arm(n: u64, fault: Fault) {
        SEEN.store(0, SeqCst);
        CHOSEN.store(n, SeqCst);
        MODE.store(fault as u8, SeqCst);
    }

    /// Ends that; how many points there were.
    pub fn disarm() -> u64 {
        MODE.store(0, SeqCst);
        SEEN.load(SeqCst)
    }

    /// A point that may fail, on the way to `what`.
    ///
    /// # Errors
    /// [`Error::Memory`] where a test asked for it.
    pub fn point(what: &'static str) -> Result<()> {
        let mode = MODE.load(SeqCst);
        if mode == 0 || SEEN.fetch_add(1, SeqCst) + 1 != CHOSEN.load(SeqCst) {
            return Ok(());
        }
        if mode == Fault::Panic as u8 {
            panic!("injected at {what}");
        }
        Err(Error::Memory { what, bytes: 0 })
    }
}
