//! Threads. Work is cut by its shape alone, never by how many threads there are, so every
//! function that takes a [`Pool`] returns the same bits for any of them.

use crate::error::{Error, Result};
use crate::threads::MAX_THREADS;
use crate::threads::sync;
use crate::threads::team::{Shared, Team};
use once_cell::sync::Lazy;
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// How the names of the threads begin.
pub const THREAD_NAME: &str = "cllm-";

/// A fixed number of threads of the library's own.
pub struct Pool {
    threads: usize,
    inner: Option<Team>,
    /// The process that started them; a forked child has no copies that run.
    process: u32,
    handles: Vec<JoinHandle<()>>,
}

type Pools = HashMap<(u32, usize), Arc<Pool>>;

/// Pools live as long as the process, one per size; the process id tells a forked child, whose
/// copies of the threads don't run, to start its own.
static POOLS: Lazy<Mutex<Pools>> = Lazy::new(Mutex::default);

/// What a forked child has of a pool of its parent's.
struct Orphan(
    #[expect(dead_code, reason = "only kept")] Option<Team>,
    #[expect(dead_code, reason = "only kept")] Vec<JoinHandle<()>>,
);

/// All of those: never used, never freed.
static ORPHANS: Mutex<Vec<Orphan>> = Mutex::new(Vec::new());

impl Pool {
    /// Runs everything on the calling thread.
    pub const fn serial() -> Self {
        Self { threads: 1, inner: None, process: 0, handles: Vec::new() }
    }

    /// Starts threads that end, and are waited for, when the pool is dropped.
    pub fn start(threads: usize) -> Result<Self> {
        let threads = threads.clamp(1, MAX_THREADS);
        if threads == 1 {
            return Ok(Self::serial());
        }
        let (team, shared) = Team::new(threads, threads <= Self::online());
        let mut pool =
            Self { threads, inner: Some(team), process: std::process::id(), handles: Vec::new() };
        // The calling thread is one of them.
        for index in 1..threads {
            let handle = start_thread(index, shared.clone());
            pool.handles.push(handle.map_err(|source| Error::Threads { threads, source })?);
        }
        Ok(pool)
    }

    /// Whether this process started the threads.
    pub fn is_ours(&self) -> bool {
        self.inner.is_none() || self.process == std::process::id()
    }

    /// The threads, if they run in this process. A forked child works on its own thread with the
    /// objects that it got from its parent: slower, and with the same results.
    fn threads_here(&self) -> Option<&Team> {
        self.inner.as_ref().filter(|_| self.is_ours())
    }

    /// The process's pool of `threads` threads, or of as many as there are processors if those are
    /// fewer: more would only take turns. Started when first asked for.
    pub fn shared(threads: usize) -> Result<Arc<Self>> {
        let threads = threads.clamp(1, MAX_THREADS).min(Self::online());
        let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (std::process::id(), threads);
        if let Some(pool) = pools.get(&key) {
            return Ok(Arc::clone(pool));
        }
        let pool = Arc::new(Self::start(threads)?);
        pools.insert(key, Arc::clone(&pool));
        Ok(pool)
    }

    /// Processors that this process may use, as it was when first asked; at least 1.
    pub fn online() -> usize {
        static ONLINE: Lazy<usize> =
            Lazy::new(|| std::thread::available_parallelism().map_or(1, usize::from));
        *ONLINE
    }

    /// How many threads work.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Runs `work`, whose loops follow each other closely: the threads stay awake in between. A
    /// caller wraps a whole step in this.
    pub fn install<R>(&self, work: impl FnOnce() -> R) -> R {
        match self.threads_here() {
            Some(team) => team.step(work),
            None => work(),
        }
    }

    /// `work(i)` once for each i below `tasks`, each on one of the threads. A panic of `work` reaches
    /// the caller when all threads have left the loop.
    pub fn for_each(&self, tasks: usize, work: impl Fn(usize) + Sync) {
        match self.threads_here() {
            Some(team) if tasks > 1 => team.for_each(tasks, &work),
            _ => (0..tasks).for_each(work),
        }
    }
}

/// Starts member `index` of a team.
fn start_thread(index: usize, shared: sync::Arc<Shared>) -> io::Result<JoinHandle<()>> {
    let thread = thread::Builder::new().name(format!("{THREAD_NAME}{index}"));
    thread.spawn(move || shared.work(index))
}

impl Drop for Pool {
    fn drop(&mut self) {
        if self.is_ours() {
            if let Some(team) = self.inner.take() {
                team.stop();
            }
            for handle in self.handles.drain(..) {
                // A panic in a worker was reported where its work was waited for.
                let _ = handle.join();
            }
        } else {
            // The threads are the parent's: nobody here could end them, and what they shared
            // may have been locked when the process was forked.
            let parents = Orphan(self.inner.take(), std::mem::take(&mut self.handles));
            ORPHANS.lock().unwrap_or_else(PoisonError::into_inner).push(parents);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn a_pool_of_its_own_works_and_ends() {
        for threads in [1, 2, 5] {
            let pool = Pool::start(threads).unwrap();
            assert_eq!(pool.threads(), threads);
            assert!(pool.is_ours());
            let count = AtomicUsize::new(0);
            pool.for_each(100, |i| {
                count.fetch_add(i, Ordering::Relaxed);
            });
            assert_eq!(count.into_inner(), 4950);
            drop(pool);
        }
        assert_eq!(Pool::start(0).unwrap().threads(), 1);
        assert_eq!(Pool::start(usize::MAX).unwrap().threads(), MAX_THREADS);
    }

    #[test]
    fn loops_inside_loops_and_from_several_threads() {
        let pool = Pool::start(3).unwrap();
        let count = AtomicUsize::new(0);
        let work = || {
            pool.install(|| {
                for _ in 0..50 {
                    pool.for_each(7, |_| {
                        pool.for_each(5, |_| {
                            count.fetch_add(1, Ordering::Relaxed);
                        });
                    });
                }
            });
        };
        thread::scope(|scope| {
            (0..4).for_each(|_| {
                scope.spawn(work);
            });
        });
        assert_eq!(count.into_inner(), 4 * 50 * 35);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_goes_on() {
        let pool = Pool::start(2).unwrap();
        for _ in 0..20 {
            let run = || pool.for_each(10, |i| assert_ne!(i, 5, "on purpose"));
            assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err());
            let mut values = [1u32; 100];
            pool.chunks((&mut values, 7), |i, chunk| chunk.fill(i as u32));
            assert_eq!((values[6], values[7], values[99]), (0, 1, 14));
        }
    }
}
