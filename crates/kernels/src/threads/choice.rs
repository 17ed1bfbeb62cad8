//! How many threads work where nobody says it: all processors, another number that the program or
//! the environment sets, or the calling thread alone where a step is too small for more.

use super::{MAX_THREADS, processors};
use crate::settings;
use once_cell::sync::Lazy;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// What the program has set; 0: nothing.
static SET: AtomicUsize = AtomicUsize::new(0);

/// How many threads an automatic pool may use: the number that was set, or that of `CLLM_NUM_THREADS`,
/// or one for each processor that the calling thread may use, which is looked up anew as time goes on.
pub fn default_threads() -> usize {
    static OF_ENVIRONMENT: Lazy<usize> =
        Lazy::new(|| settings::threads(std::env::var_os(settings::NUM_THREADS).as_deref()));
    let set = SET.load(Relaxed);
    let set = if set == 0 { *OF_ENVIRONMENT } else { set };
    if set == 0 { processors() } else { set }
}

/// Sets the number for the whole process, to take effect from the next step on; 0: as if none had been
/// set.
pub fn set_default_threads(threads: usize) {
    SET.store(threads.min(MAX_THREADS), Relaxed);
}

/// How much a step computes, about; it decides whether threads are worth waking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// Multiply-adds of floats, or what takes as long.
    pub operations: usize,
    /// Loops that the threads share, each of which ends with waiting for the slowest.
    pub loops: usize,
}

impl Work {
    /// More than any threshold.
    pub const LARGE: Self = Self { operations: usize::MAX, loops: 0 };

    /// Whether several threads are faster than one. Waking them, and each loop, cost as much as some
    /// operations; benches/README.md has the measurement that the numbers come from.
    pub fn is_worth_threads(self) -> bool {
        const STEP: usize = 1 << 20;
        const LOOP: usize = 1 << 15;
        self.operations >= self.loops.saturating_mul(LOOP).saturating_add(STEP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::threads::Pool;

    #[test]
    fn small_steps_are_the_calling_threads() {
        let small = Work { operations: 1000, loops: 1 };
        assert!(!small.is_worth_threads() && Work::LARGE.is_worth_threads());
        let many = Work { operations: 1 << 22, loops: 1000 };
        assert!(!many.is_worth_threads());
        let pool = Pool::automatic();
        assert_eq!(pool.step(small, Pool::threads), 1);
        assert_eq!(pool.step(Work::LARGE, Pool::threads), default_threads().min(processors()));
        let most = Pool::up_to(2);
        assert_eq!(most.step(small, Pool::threads), 1);
        assert_eq!(most.step(Work::LARGE, Pool::threads), processors().min(2));
        assert_eq!(Pool::up_to(1).step(Work::LARGE, Pool::threads), 1);
        // A fixed number stays fixed.
        assert_eq!(Pool::start(3).step(small, Pool::threads), 3);
    }

    #[test]
    fn an_automatic_pool_does_every_task_once() {
        let pool = Pool::automatic();
        let mut values = [0u32; 1000];
        pool.chunks((&mut values, 7), |i, chunk| chunk.fill(i as u32));
        assert!(values.iter().enumerate().all(|(i, &value)| value == i as u32 / 7));
        pool.step(Work::LARGE, |pool| {
            pool.chunks((&mut values, 3), |i, chunk| chunk.fill(i as u32))
        });
        assert!(values.iter().enumerate().all(|(i, &value)| value == i as u32 / 3));
    }
}
