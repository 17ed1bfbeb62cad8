//! Memory that kernels work in, kept by each thread from call to call.

use std::cell::RefCell;

/// What the memory is for; uses that are open at the same time have different names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// All panels of a product.
    Panels,
    /// One panel of a task.
    Panel,
    /// Scores of attention.
    Scores,
    /// Panels of the keys and values of a head.
    Heads,
}

/// The least that is allocated, 64 KiB: one panel, or the scores of one query over a long context,
/// so that decoding seldom asks for more.
const LEAST: usize = 1 << 14;

/// Floats of a cache line, to which the memory is aligned.
const LINE: usize = 16;

thread_local! {
    static SCRATCH: [RefCell<Vec<f32>>; 4] = const { [const { RefCell::new(Vec::new()) }; 4] };
}

/// Makes `scratch` hold `len` floats wherever the next cache line begins; whether it could.
fn grow(scratch: &mut Vec<f32>, len: usize) -> bool {
    let need = len.max(LEAST).saturating_add(LINE);
    let more = need.saturating_sub(scratch.len());
    if scratch.try_reserve_exact(more).is_err() {
        return false;
    }
    scratch.resize(need.max(scratch.len()), 0.0);
    true
}

/// Allocates what nearly every use of this thread needs, so that a thread that comes late to the
/// work does not allocate in the middle of it.
pub(super) fn prepare() {
    SCRATCH.with(|all| all.iter().for_each(|scratch| _ = grow(&mut scratch.borrow_mut(), LEAST)));
}

/// Runs `work` on `len` floats of this thread, whose content is arbitrary.
pub(super) fn with<R>(name: Use, len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    if len == 0 {
        return work(&mut []);
    }
    SCRATCH.with(|all| {
        let mut scratch = all[name as usize].borrow_mut();
        // A panic becomes an error of the call; growing without asking would end the process.
        if !grow(&mut scratch, len) {
            panic!("no memory for {len} intermediate results");
        }
        let start = scratch.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
        work(&mut scratch[start..start + len])
    })
}
