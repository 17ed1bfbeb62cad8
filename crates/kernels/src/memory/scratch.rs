//! Memory that kernels work in, kept by each thread from call to call.

use super::floats::Floats;
use crate::error::Result;
use std::cell::RefCell;

/// What the memory is for; of those that are open at the same time each has another name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Buffer {
    /// All panels of a product.
    Panels,
    /// One panel of a task, or what else a task packs.
    Panel,
    /// Scores of attention.
    Scores,
    /// Panels of the keys and values of a head.
    Heads,
}

/// The least that is allocated, 64 KiB: one panel, or the scores of one query over a long context,
/// so that decoding seldom asks for more.
const LEAST: usize = 1 << 14;

thread_local! {
    static SCRATCH: [RefCell<Floats>; 4] = const { [const { RefCell::new(Floats::new()) }; 4] };
}

fn grow(scratch: &mut Floats, len: usize) -> Result<()> {
    scratch.grow("intermediate results", len.max(LEAST))
}

/// Allocates what nearly every use of this thread needs, so that a thread that comes late to the
/// work does not allocate in the middle of it.
pub(crate) fn prepare() {
    SCRATCH.with(|all| all.iter().for_each(|scratch| _ = grow(&mut scratch.borrow_mut(), LEAST)));
}

/// Runs `work` on `len` floats of this thread, whose content is arbitrary.
pub(crate) fn with<R>(buffer: Buffer, len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    if len == 0 {
        return work(&mut []);
    }
    SCRATCH.with(|all| {
        let mut scratch = all[buffer as usize].borrow_mut();
        // A panic becomes an error of the call; growing without asking would end the process.
        if let Err(error) = grow(&mut scratch, len) {
            panic!("{error}");
        }
        work(&mut scratch[..len])
    })
}
