//! Threads that work on one loop together. They sleep between steps; inside a step
//! ([`Team::step`]), where loops follow each other within microseconds, they wait for the next
//! loop awake for a moment, since waking costs more than most of these loops.
//!
//! Each thread starts with a share of the tasks, the same one in every loop over as many tasks,
//! so that what it wrote in one loop is in its own cache for the next. Who is done takes from the
//! others' ends.

use std::any::Any;
use std::cell::UnsafeCell;
use std::hint::spin_loop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::*};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Turns of a waiting loop before it sleeps: some 50 microseconds.
const SPINS: usize = 2000;
/// The bit of [`Shared::gate`] that lets threads in; the others count those inside.
const OPEN: usize = 1 << 31;

/// A loop: `call(data, i)` for each i below `tasks`.
#[derive(Clone, Copy)]
struct Job {
    call: unsafe fn(*const (), usize),
    data: *const (),
    tasks: usize,
}

/// A range of tasks, its first in the upper half, its end in the lower; on a cache line of its own
/// (processors fetch them in pairs).
#[repr(align(128))]
struct Share(AtomicU64);

/// The most tasks of one loop.
const MAX_TASKS: usize = u32::MAX as usize;

impl Share {
    fn set(&self, first: usize, end: usize) {
        self.0.store((first as u64) << 32 | end as u64, Relaxed);
    }

    /// Takes a task: the first one, or the last.
    fn take(&self, first: bool) -> Option<usize> {
        let mut range = self.0.load(Relaxed);
        loop {
            let (start, end) = (range >> 32, range & MAX_TASKS as u64);
            if start >= end {
                return None;
            }
            let (task, rest) = if first {
                (start, (start + 1) << 32 | end)
            } else {
                (end - 1, start << 32 | (end - 1))
            };
            match self.0.compare_exchange_weak(range, rest, Relaxed, Relaxed) {
                Ok(_) => return Some(task as usize),
                Err(now) => range = now,
            }
        }
    }
}

/// What the threads share.
pub(crate) struct Shared {
    /// Grows with every loop.
    generation: AtomicUsize,
    /// Open while a loop may be joined.
    gate: AtomicUsize,
    /// The loop; written only while the gate is closed and nobody is inside.
    job: UnsafeCell<Job>,
    /// The tasks that each thread has left.
    shares: Box<[Share]>,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// Whether waiting threads stay awake for a moment.
    awake: AtomicBool,
    stop: AtomicBool,
    sleepers: AtomicUsize,
    owner_sleeps: AtomicBool,
    lock: Mutex<()>,
    wake: Condvar,
    done: Condvar,
    /// Held by the thread whose step or loop is running.
    owner: Mutex<()>,
    /// Which thread that is: [`token`].
    owner_token: AtomicUsize,
    /// Whether it is inside a loop.
    looping: AtomicBool,
}

// SAFETY: `job` is written by the owner alone while nobody is inside, and read by threads that
// came in through the gate, which was opened after writing.
unsafe impl Sync for Shared {}
// SAFETY: the pointer in `job` is used only while the owner waits for the loop.
unsafe impl Send for Shared {}

/// A number that is different for every live thread.
fn token() -> usize {
    thread_local!(static PLACE: u8 = const { 0 });
    PLACE.with(|place| std::ptr::from_ref(place).addr())
}

fn locked(mutex: &Mutex<()>) -> MutexGuard<'_, ()> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The owner's handle.
pub(crate) struct Team {
    shared: Arc<Shared>,
    /// Whether there are no more threads than processors: otherwise waiting awake would take time
    /// from those that work.
    spins: bool,
}

/// Ends a step.
struct Step<'a> {
    shared: &'a Shared,
    _owner: MutexGuard<'a, ()>,
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        self.shared.awake.store(false, Relaxed);
        self.shared.owner_token.store(0, Relaxed);
    }
}

impl Team {
    /// A team of `threads` threads, the owner included; the others are to run [`Shared::work`].
    pub fn new(threads: usize, spins: bool) -> (Self, Arc<Shared>) {
        unsafe fn nothing(_: *const (), _: usize) {}
        let job = Job { call: nothing, data: std::ptr::null(), tasks: 0 };
        let shared = Arc::new(Shared {
            generation: AtomicUsize::new(0),
            gate: AtomicUsize::new(0),
            job: UnsafeCell::new(job),
            shares: (0..threads.max(1)).map(|_| Share(AtomicU64::new(0))).collect(),
            panic: Mutex::new(None),
            awake: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            sleepers: AtomicUsize::new(0),
            owner_sleeps: AtomicBool::new(false),
            lock: Mutex::new(()),
            wake: Condvar::new(),
            done: Condvar::new(),
            owner: Mutex::new(()),
            owner_token: AtomicUsize::new(0),
            looping: AtomicBool::new(false),
        });
        (Self { shared: Arc::clone(&shared), spins }, shared)
    }

    /// Tells the members to end.
    pub fn stop(&self) {
        self.shared.stop.store(true, SeqCst);
        let _lock = locked(&self.shared.lock);
        self.shared.wake.notify_all();
    }

    /// Makes the calling thread the owner, unless another thread is or this one is already.
    fn own(&self) -> Option<Step<'_>> {
        let owner = match self.shared.owner.try_lock() {
            Ok(owner) => owner,
            Err(std::sync::TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(std::sync::TryLockError::WouldBlock) => return None,
        };
        self.shared.owner_token.store(token(), Relaxed);
        Some(Step { shared: &self.shared, _owner: owner })
    }

    /// Runs `work`, whose loops follow each other closely.
    pub fn step<R>(&self, work: impl FnOnce() -> R) -> R {
        let step = self.own();
        if step.is_some() {
            self.shared.awake.store(self.spins, Relaxed);
        }
        let result = work();
        drop(step);
        result
    }

    /// `work(i)` once for each i below `tasks`, on all threads. On the calling thread alone where
    /// another thread's loop is running, or one that this is a task of.
    pub fn for_each<F: Fn(usize) + Sync>(&self, tasks: usize, work: &F) {
        let shared = &*self.shared;
        let ours = shared.owner_token.load(Relaxed) == token();
        let step = if ours { None } else { self.own() };
        let busy = step.is_none() && (!ours || shared.looping.load(Relaxed));
        if busy || tasks > MAX_TASKS {
            return (0..tasks).for_each(work);
        }
        unsafe fn call<F: Fn(usize)>(data: *const (), i: usize) {
            // SAFETY: `data` is the `work` of the loop that is running.
            unsafe { (*data.cast::<F>())(i) }
        }
        let job = Job { call: call::<F>, data: std::ptr::from_ref(work).cast(), tasks };
        shared.looping.store(true, Relaxed);
        // SAFETY: this thread is the owner and outside of a loop: the gate is closed, nobody is
        // inside. `run` returns only when that is so again.
        unsafe {
            *shared.job.get() = job;
            shared.run(job);
        }
        shared.looping.store(false, Relaxed);
        drop(step);
        let panic = shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

impl Shared {
    /// The owner's part of a loop.
    ///
    /// # Safety
    /// `job` is what stands in `self.job`; the caller is the owner.
    unsafe fn run(&self, job: Job) {
        let threads = self.shares.len();
        for (i, share) in self.shares.iter().enumerate() {
            share.set(job.tasks * i / threads, job.tasks * (i + 1) / threads);
        }
        self.gate.store(OPEN, Release);
        self.generation.fetch_add(1, SeqCst);
        if self.sleepers.load(SeqCst) > 0 {
            let _lock = locked(&self.lock);
            self.wake.notify_all();
        }
        // SAFETY: the caller's promise.
        unsafe { self.tasks(job, 0) };
        let mut inside = self.gate.fetch_and(!OPEN, SeqCst) & !OPEN;
        let mut spins = 0;
        while inside > 0 && spins < SPINS {
            spin_loop();
            spins += 1;
            inside = self.gate.load(Acquire);
        }
        if inside > 0 {
            let mut lock = locked(&self.lock);
            self.owner_sleeps.store(true, SeqCst);
            while self.gate.load(SeqCst) > 0 {
                lock = self.done.wait(lock).unwrap_or_else(PoisonError::into_inner);
            }
            self.owner_sleeps.store(false, SeqCst);
        }
    }

    /// Tasks until none is left: those of thread `me`, then those of the threads after it.
    ///
    /// # Safety
    /// `job` is the loop that is running and stays so until this returns.
    unsafe fn tasks(&self, job: Job, me: usize) {
        let (before, from) = self.shares.split_at(me);
        let work = || {
            for (i, share) in from.iter().chain(before).enumerate() {
                while let Some(task) = share.take(i == 0) {
                    // SAFETY: the caller's promise.
                    unsafe { (job.call)(job.data, task) };
                }
            }
        };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
            // The others need not finish what nobody will see.
            self.shares.iter().for_each(|share| share.set(0, 0));
            *self.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic);
        }
    }

    /// What member `me`, 1 or more, does until [`Team::stop`].
    pub fn work(&self, me: usize) {
        crate::memory::scratch::prepare();
        let mut seen = 0;
        while let Some(generation) = self.wait(seen) {
            seen = generation;
            let enter = |gate: usize| (gate & OPEN != 0).then_some(gate + 1);
            if self.gate.fetch_update(Acquire, Relaxed, enter).is_err() {
                continue;
            }
            // SAFETY: inside, so that the owner waits before it changes the job.
            unsafe { self.tasks(*self.job.get(), me) };
            if self.gate.fetch_sub(1, SeqCst) == 1 && self.owner_sleeps.load(SeqCst) {
                let _lock = locked(&self.lock);
                self.done.notify_all();
            }
        }
    }

    /// Waits for a loop after `seen`; `None` at the end.
    fn wait(&self, seen: usize) -> Option<usize> {
        let mut spins = 0;
        while self.awake.load(Relaxed) && spins < SPINS {
            let generation = self.generation.load(Acquire);
            if generation != seen {
                return Some(generation);
            }
            spin_loop();
            spins += 1;
        }
        let mut lock = locked(&self.lock);
        self.sleepers.fetch_add(1, SeqCst);
        let generation = loop {
            if self.stop.load(SeqCst) {
                break None;
            }
            let generation = self.generation.load(SeqCst);
            if generation != seen {
                break Some(generation);
            }
            lock = self.wake.wait(lock).unwrap_or_else(PoisonError::into_inner);
        };
        self.sleepers.fetch_sub(1, SeqCst);
        drop(lock);
        generation
    }
}

/// An array cut into chunks that tasks take one each.
pub(crate) struct Chunks<A> {
    data: *mut A,
    len: usize,
    size: usize,
}

// SAFETY: every chunk is taken by one task.
unsafe impl<A: Send> Sync for Chunks<A> {}

impl<A> Chunks<A> {
    fn new(data: &mut [A], size: usize) -> Self {
        Self { data: data.as_mut_ptr(), len: data.len(), size: size.max(1) }
    }

    fn count(&self) -> usize {
        self.len.div_ceil(self.size)
    }

    /// # Safety
    /// The array is borrowed and chunk `i`, which exists, is taken once.
    #[allow(clippy::mut_from_ref)]
    unsafe fn take(&self, i: usize) -> &mut [A] {
        let first = i * self.size;
        // SAFETY: inside the array; exclusive by the caller's promise.
        unsafe {
            std::slice::from_raw_parts_mut(self.data.add(first), self.size.min(self.len - first))
        }
    }
}

impl Team {
    /// `work(i, chunk)` for each chunk of `size` values (the last may be shorter).
    pub fn chunks<A: Send>(
        &self,
        (a, size): (&mut [A], usize),
        work: impl Fn(usize, &mut [A]) + Sync,
    ) {
        let a = Chunks::new(a, size);
        // SAFETY: each index comes once.
        self.for_each(a.count(), &|i| work(i, unsafe { a.take(i) }));
    }

    /// The same over two arrays in step, as long as both last.
    pub fn chunks2<A: Send, B: Send>(
        &self,
        (a, a_size): (&mut [A], usize),
        (b, b_size): (&mut [B], usize),
        work: impl Fn(usize, &mut [A], &mut [B]) + Sync,
    ) {
        let (a, b) = (Chunks::new(a, a_size), Chunks::new(b, b_size));
        // SAFETY: each index comes once.
        self.for_each(a.count().min(b.count()), &|i| unsafe { work(i, a.take(i), b.take(i)) });
    }

    /// The same over three.
    pub fn chunks3<A: Send, B: Send, C: Send>(
        &self,
        (a, a_size): (&mut [A], usize),
        (b, b_size): (&mut [B], usize),
        (c, c_size): (&mut [C], usize),
        work: impl Fn(usize, &mut [A], &mut [B], &mut [C]) + Sync,
    ) {
        let (a, b) = (Chunks::new(a, a_size), Chunks::new(b, b_size));
        let c = Chunks::new(c, c_size);
        let count = a.count().min(b.count()).min(c.count());
        // SAFETY: each index comes once.
        self.for_each(count, &|i| unsafe { work(i, a.take(i), b.take(i), c.take(i)) });
    }
}
