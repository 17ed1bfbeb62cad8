//! Threads that work on one loop together: the caller, who owns the loop, and the members.
//!
//! ```text
//! owner, for each loop                      member, until the end
//!   write the job, cut the tasks in shares    wait until the number of the loop is a new one:
//!   open the gate, raise the number             awake for a moment, then asleep
//!   wake the members, if any sleeps           if the gate is open, enter: inside += 1
//!   do tasks                                  do tasks
//!   close the gate                            leave: inside -= 1
//!   wait until nobody is inside:              wake the owner, if it sleeps and this one was the
//!     awake for a moment, then asleep           last
//!
//! do tasks: those of one's own share from its front, then those of the others from their ends
//! ```
//!
//! The job is written only while the gate is closed and nobody is inside, and read only inside. A
//! member that comes late finds the gate closed and waits again: nobody waits for it.
//!
//! Each question that a thread asks before it sleeps is answered by one atomic word: `news` holds
//! the number of the loop and the count of sleeping members, `gate` whether it is open, whether the
//! owner sleeps and how many are inside. Of two changes of a word the later one sees the earlier
//! one, so either the sleeper sees the news, or who brings them sees the sleeper. `loom.rs` tries
//! this in every order that two or three threads can take.
//!
//! Inside a step ([`Team::step`]) loops follow each other within microseconds, and waking costs
//! more than most of them; between steps all members sleep. The shares are the same in every loop
//! over as many tasks, so that what a thread wrote in one loop is in its own cache for the next.

use super::sync::{
    Arc, AtomicBool, AtomicU64, AtomicUsize, Condvar, Mutex, MutexGuard, Ordering::*, SPINS,
    UnsafeCell, spin_loop, token,
};
use crate::threads::MAX_THREADS;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{PoisonError, TryLockError};

/// The bit of [`Shared::gate`] that lets threads in.
const OPEN: usize = 1 << 31;
/// The bit that says that the owner sleeps until nobody is inside.
const AWAITED: usize = 1 << 30;
/// The other bits: how many are inside.
const INSIDE: usize = AWAITED - 1;

/// One loop in [`Shared::news`]; what is below counts the sleepers.
const LOOP: u64 = 1 << 16;
const _: () = assert!((MAX_THREADS as u64) < LOOP && MAX_THREADS < INSIDE);

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
    /// The number of the latest loop, in units of [`LOOP`], and how many members sleep.
    news: AtomicU64,
    /// [`OPEN`] while a loop may be joined, [`AWAITED`], and how many members are inside.
    gate: AtomicUsize,
    /// The loop; written only while the gate is closed and nobody is inside.
    job: UnsafeCell<Job>,
    /// The tasks that each thread has left.
    shares: Box<[Share]>,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// Whether waiting threads stay awake for a moment.
    awake: AtomicBool,
    stop: AtomicBool,
    /// Held while falling asleep and while waking others.
    lock: Mutex<()>,
    /// Members sleep here.
    wake: Condvar,
    /// The owner sleeps here.
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
            news: AtomicU64::new(0),
            gate: AtomicUsize::new(0),
            job: UnsafeCell::new(job),
            shares: (0..threads.max(1)).map(|_| Share(AtomicU64::new(0))).collect(),
            panic: Mutex::new(None),
            awake: AtomicBool::new(false),
            stop: AtomicBool::new(false),
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

    /// [`Team::stop`], unless a thread holds the lock; whether it was done.
    pub fn try_stop(&self) -> bool {
        self.shared.stop.store(true, SeqCst);
        let lock = self.shared.lock.try_lock();
        if matches!(lock, Err(std::sync::TryLockError::WouldBlock)) {
            return false;
        }
        self.shared.wake.notify_all();
        true
    }

    /// Makes the calling thread the owner, unless another thread is or this one is already.
    fn own(&self) -> Option<Step<'_>> {
        let owner = match self.shared.owner.try_lock() {
            Ok(owner) => owner,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
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
            shared.job.with_mut(|place| *place = job);
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
        let sleepers = self.news.fetch_add(LOOP, AcqRel) % LOOP;
        if sleepers > 0 {
            let _lock = locked(&self.lock);
            self.wake.notify_all();
        }
        // SAFETY: the caller's promise.
        unsafe { self.tasks(job, 0) };
        let mut inside = self.gate.fetch_and(!OPEN, Acquire) & INSIDE;
        let mut spins = 0;
        while inside > 0 && spins < SPINS {
            spin_loop();
            spins += 1;
            inside = self.gate.load(Acquire) & INSIDE;
        }
        if inside > 0 {
            let mut lock = locked(&self.lock);
            // The next loop clears the bit; until then nobody is inside to see it.
            inside = self.gate.fetch_or(AWAITED, Acquire) & INSIDE;
            while inside > 0 {
                lock = self.done.wait(lock).unwrap_or_else(PoisonError::into_inner);
                inside = self.gate.load(Acquire) & INSIDE;
            }
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
        while let Some(number) = self.wait(seen) {
            seen = number;
            let enter = |gate: usize| (gate & OPEN != 0).then_some(gate + 1);
            if self.gate.fetch_update(Acquire, Relaxed, enter).is_err() {
                continue;
            }
            // SAFETY: inside, so that the owner waits before it changes the job.
            unsafe { self.tasks(self.job.with(|job| *job), me) };
            if self.gate.fetch_sub(1, Release) == AWAITED + 1 {
                let _lock = locked(&self.lock);
                self.done.notify_all();
            }
        }
    }

    /// Waits for a loop after number `seen`; `None` at the end.
    fn wait(&self, seen: u64) -> Option<u64> {
        let mut spins = 0;
        while self.awake.load(Relaxed) && spins < SPINS {
            let number = self.news.load(Acquire) / LOOP;
            if number != seen {
                return Some(number);
            }
            spin_loop();
            spins += 1;
        }
        let mut lock = locked(&self.lock);
        let mut number = self.news.fetch_add(1, Acquire) / LOOP;
        let found = loop {
            if self.stop.load(SeqCst) {
                break None;
            }
            if number != seen {
                break Some(number);
            }
            lock = self.wake.wait(lock).unwrap_or_else(PoisonError::into_inner);
            number = self.news.load(Acquire) / LOOP;
        };
        self.news.fetch_sub(1, Relaxed);
        drop(lock);
        found
    }
}
