//! Threads. Work is cut by its shape alone, never by how many threads there are, so every
//! function that takes a [`Pool`] returns the same bits for any of them.

use crate::error::{Error, Result};
use crate::limits::MAX_THREADS;
use once_cell::sync::Lazy;
use rayon::prelude::*;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// How the names of the threads begin.
pub const THREAD_NAME: &str = "cllm-";

/// A fixed number of threads of the library's own.
pub struct Pool {
    threads: usize,
    inner: Option<rayon::ThreadPool>,
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
    #[expect(dead_code, reason = "only kept")] Option<rayon::ThreadPool>,
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
        let mut handles = Vec::new();
        let inner = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .spawn_handler(|worker| {
                let name = format!("{THREAD_NAME}{}", worker.index());
                let body = || worker.run();
                handles.push(thread::Builder::new().name(name).spawn(body)?);
                Ok(())
            })
            .build()
            .map_err(|e| Error::State(format!("can't start {threads} threads: {e}")))?;
        Ok(Self { threads, inner: Some(inner), process: std::process::id(), handles })
    }

    /// Whether this process started the threads.
    pub fn is_ours(&self) -> bool {
        self.inner.is_none() || self.process == std::process::id()
    }

    /// The threads, if they run in this process. A forked child works on its own thread with the
    /// objects that it got from its parent: slower, and with the same results.
    fn threads_here(&self) -> Option<&rayon::ThreadPool> {
        self.inner.as_ref().filter(|_| self.is_ours())
    }

    /// The process's pool of `threads` threads, started when first asked for.
    pub fn shared(threads: usize) -> Result<Arc<Self>> {
        let threads = threads.clamp(1, MAX_THREADS);
        let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (std::process::id(), threads);
        if let Some(pool) = pools.get(&key) {
            return Ok(Arc::clone(pool));
        }
        let pool = Arc::new(Self::start(threads)?);
        pools.insert(key, Arc::clone(&pool));
        Ok(pool)
    }

    /// Processors that are online; at least 1.
    pub fn online() -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }

    /// How many threads work.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Runs `work` inside the pool. A caller wraps a whole step in this, so that the steps's many
    /// small loops don't each pay for entering.
    pub fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match self.threads_here() {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }

    /// `work(i)` for each i below `tasks`.
    pub fn for_each(&self, tasks: usize, work: impl Fn(usize) + Sync + Send) {
        match self.threads_here() {
            Some(pool) if tasks > 1 => {
                pool.install(|| (0..tasks).into_par_iter().with_max_len(1).for_each(work));
            }
            _ => (0..tasks).for_each(work),
        }
    }

    /// `work(i, chunk)` for each chunk of `len` values of `a` (the last may be shorter).
    pub fn chunks<A: Send>(
        &self,
        (a, len): (&mut [A], usize),
        work: impl Fn(usize, &mut [A]) + Sync + Send,
    ) {
        match self.threads_here() {
            Some(pool) if a.len() > len => pool.install(|| {
                let chunks = a.par_chunks_mut(len).with_max_len(1).enumerate();
                chunks.for_each(|(i, a)| work(i, a));
            }),
            _ => a.chunks_mut(len).enumerate().for_each(|(i, a)| work(i, a)),
        }
    }

    /// The same over two arrays in step.
    pub fn chunks2<A: Send, B: Send>(
        &self,
        (a, a_len): (&mut [A], usize),
        (b, b_len): (&mut [B], usize),
        work: impl Fn(usize, &mut [A], &mut [B]) + Sync + Send,
    ) {
        match self.threads_here() {
            Some(pool) if a.len() > a_len => pool.install(|| {
                let chunks = a.par_chunks_mut(a_len).zip(b.par_chunks_mut(b_len));
                let chunks = chunks.with_max_len(1).enumerate();
                chunks.for_each(|(i, (a, b))| work(i, a, b));
            }),
            _ => {
                let chunks = a.chunks_mut(a_len).zip(b.chunks_mut(b_len)).enumerate();
                chunks.for_each(|(i, (a, b))| work(i, a, b));
            }
        }
    }

    /// The same over three arrays in step.
    pub fn chunks3<A: Send, B: Send, C: Send>(
        &self,
        (a, a_len): (&mut [A], usize),
        (b, b_len): (&mut [B], usize),
        (c, c_len): (&mut [C], usize),
        work: impl Fn(usize, &mut [A], &mut [B], &mut [C]) + Sync + Send,
    ) {
        match self.threads_here() {
            Some(pool) if a.len() > a_len => pool.install(|| {
                let chunks = a.par_chunks_mut(a_len).zip(b.par_chunks_mut(b_len));
                let chunks = chunks.zip(c.par_chunks_mut(c_len)).with_max_len(1).enumerate();
                chunks.for_each(|(i, ((a, b), c))| work(i, a, b, c));
            }),
            _ => {
                let chunks = a.chunks_mut(a_len).zip(b.chunks_mut(b_len)).zip(c.chunks_mut(c_len));
                chunks.enumerate().for_each(|(i, ((a, b), c))| work(i, a, b, c));
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if self.is_ours() {
            // Tells the threads to end once their work is done.
            self.inner = None;
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
}
