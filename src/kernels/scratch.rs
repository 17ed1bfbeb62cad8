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

/// The least that is allocated: scores of one query over a long context, so that decoding seldom
/// asks for more.
const LEAST: usize = 4096;

/// Floats of a cache line, to which the memory is aligned.
const LINE: usize = 16;

thread_local! {
    static SCRATCH: [RefCell<Vec<f32>>; 4] = const { [const { RefCell::new(Vec::new()) }; 4] };
}

/// Runs `work` on `len` floats of this thread, whose content is arbitrary.
pub(super) fn with<R>(name: Use, len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    if len == 0 {
        return work(&mut []);
    }
    SCRATCH.with(|all| {
        let mut scratch = all[name as usize].borrow_mut();
        let need = len.max(LEAST).saturating_add(LINE);
        if let Some(more) = need.checked_sub(scratch.len()) {
            // A panic becomes an error of the call; growing without asking would end the process.
            if scratch.try_reserve_exact(more).is_err() {
                panic!("no memory for {len} intermediate results");
            }
            scratch.resize(need, 0.0);
        }
        let start = scratch.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
        work(&mut scratch[start..start + len])
    })
}
