//! Threads. Work is cut by its shape alone, never by how many threads there are, so every
//! function that takes a [`Pool`] returns the same bits for any of them.

use crate::threads::choice::{Work, default_threads};
use crate::threads::processors::processors;
use crate::threads::team::{Shared, Team};
use crate::threads::{MAX_THREADS, sync};
use crate::{host, notice};
use std::cell::{Cell, OnceCell};
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, TryLockError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How the names of the threads begin.
const THREAD_NAME: &str = "cllm-";

/// Threads of the library's own: a fixed number, or, in [`Pool::automatic`] and [`Pool::up_to`], as many as
/// each step is worth.
pub struct Pool {
    /// 0: [`default_threads`].
    threads: usize,
    /// They are chosen for each step anew, from the shared pools.
    by_step: bool,
    /// `None`: there are none of its own.
    members: Option<Arc<Members>>,
}

/// What a pool has besides the calling thread.
struct Members {
    team: Team,
    /// The process that started them; a forked child has no copies that run.
    process: u32,
    handles: Mutex<Vec<JoinHandle<()>>>,
}

/// Bytes of a thread's stack; said, so that no variable of the environment decides.
const STACK_BYTES: usize = 2 << 20;
/// How long the end of the process waits for threads to finish what they are at.
const PATIENCE: Duration = Duration::from_secs(1);

/// By process and size; not a HashMap, as in `Registry`.
type Pools = BTreeMap<(u32, usize), Arc<Pool>>;

/// Shared pools live to [`end_all`], one per size; the process id tells a forked child, whose copies
/// of the threads don't run, to start its own.
static POOLS: Mutex<Pools> = Mutex::new(BTreeMap::new());
/// The members of all pools that are there.
static ALL: Mutex<Vec<Weak<Members>>> = Mutex::new(Vec::new());
/// What a forked child has of pools of its parent's: never used, never freed.
static ORPHANS: Mutex<Vec<Arc<Members>>> = Mutex::new(Vec::new());
/// The process that started threads; 0 for none.
static OWNER: AtomicU32 = AtomicU32::new(0);
/// Set when the process ends: no threads are started from then on.
static ENDING: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Whether this thread belongs to a pool.
    static MEMBER: Cell<bool> = const { Cell::new(false) };
}

/// Whether the calling thread belongs to a pool.
pub fn is_member() -> bool {
    MEMBER.get()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The lock, unless it is held until `deadline`.
fn lock_until<T>(mutex: &Mutex<T>, deadline: Instant) -> Option<MutexGuard<'_, T>> {
    loop {
        match mutex.try_lock() {
            Ok(guard) => return Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) if Instant::now() > deadline => return None,
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_micros(50)),
        }
    }
}

impl Pool {
    /// Runs everything on the calling thread.
    pub const fn serial() -> Self {
        Self { threads: 1, by_step: false, members: None }
    }

    /// As many threads as a step is worth, up to [`default_threads`]: chosen for each step anew, from
    /// the shared pools. Starts no thread before one is worth it.
    pub const fn automatic() -> Self {
        Self::up_to(0)
    }

    /// The same, up to `threads` and the number of processors; 0: up to [`default_threads`].
    pub const fn up_to(threads: usize) -> Self {
        Self { threads, by_step: true, members: None }
    }

    /// Starts threads that end, and are waited for, when the pool is dropped. Where the system
    /// refuses some of them, the others do the work, and a note says so.
    pub fn start(threads: usize) -> Self {
        let threads = threads.clamp(1, MAX_THREADS);
        if threads == 1 || ENDING.load(SeqCst) {
            return Self::serial();
        }
        let (team, shared) = Team::new(threads, threads <= processors());
        let mut handles = Vec::new();
        // The calling thread is one of them.
        for index in 1..threads {
            match start_thread(index, sync::Arc::clone(&shared)) {
                Ok(handle) => handles.push(handle),
                Err(error) => {
                    let working = handles.len() + 1;
                    notice::leave(format!(
                        "can't start {threads} threads ({error}): working with {working}, \
                         with the same results"
                    ));
                    break;
                }
            }
        }
        if handles.is_empty() {
            return Self::serial();
        }
        let threads = handles.len() + 1;
        let process = std::process::id();
        let members = Arc::new(Members { team, process, handles: Mutex::new(handles) });
        static AT_EXIT: Once = Once::new();
        AT_EXIT.call_once(|| host::at_exit(end_at_exit));
        OWNER.store(process, SeqCst);
        let mut all = locked(&ALL);
        all.retain(|members| members.strong_count() > 0);
        all.push(Arc::downgrade(&members));
        Self { threads, by_step: false, members: Some(members) }
    }

    /// Whether this process started the threads.
    pub fn is_ours(&self) -> bool {
        self.members.as_ref().is_none_or(|members| members.process == std::process::id())
    }

    /// The threads, if they run in this process. A forked child works on its own thread with the
    /// objects that it got from its parent: slower, and with the same results.
    fn threads_here(&self) -> Option<&Team> {
        let members = self.members.as_ref().filter(|_| self.is_ours());
        members.map(|members| &members.team)
    }

    /// The process's pool of `threads` threads, or of as many as there are processors if those are
    /// fewer: more would only take turns. Started when first asked for. 0: [`Pool::automatic`].
    pub fn shared(threads: usize) -> Arc<Self> {
        if threads == 0 {
            return Arc::new(Self::automatic());
        }
        let threads = threads.clamp(1, MAX_THREADS).min(processors());
        let process = std::process::id();
        let mut pools = locked(&POOLS);
        if let Some(pool) = pools.get(&(process, threads)) {
            return Arc::clone(pool);
        }
        // Where the number of processors changes often, pools of many sizes would pile up.
        let ours = pools.keys().filter(|key| key.0 == process);
        if ours.map(|key| key.1).sum::<usize>() + threads > MAX_THREADS {
            pools.retain(|key, pool| key.0 != process || Arc::strong_count(pool) > 1);
        }
        let pool = Arc::new(Self::start(threads));
        pools.insert((process, threads), Arc::clone(&pool));
        pool
    }

    /// How many threads work; of one that chooses by step, at most.
    pub fn threads(&self) -> usize {
        match self.threads {
            0 => default_threads(),
            most if self.by_step => most.min(processors()).min(MAX_THREADS),
            fixed => fixed,
        }
    }

    /// Runs `work`, whose loops follow each other closely: the threads stay awake in between. A
    /// caller wraps a whole step in this, and hands the loops to the pool that `work` is given: this
    /// one, or the one that was chosen for the step.
    pub fn step<R>(&self, size: Work, work: impl FnOnce(&Self) -> R) -> R {
        let (alone, chosen) = (Self::serial(), OnceCell::new());
        let pool = match self.by_step {
            true if size.is_worth_threads() => {
                &**chosen.get_or_init(|| Self::shared(self.threads()))
            }
            true => &alone,
            false => self,
        };
        match pool.threads_here() {
            Some(team) => team.step(|| work(pool)),
            None => work(pool),
        }
    }

    /// `work(i)` once for each i below `tasks`, each on one of the threads. A panic of `work` reaches
    /// the caller when all threads have left the loop.
    pub fn for_each(&self, tasks: usize, work: impl Fn(usize) + Sync) {
        self.run(tasks, &work);
    }

    /// [`Pool::for_each`], one piece of code for all loops.
    fn run(&self, tasks: usize, work: &dyn Task) {
        match self.threads_here() {
            Some(team) if tasks > 1 => team.for_each(tasks, &|i| work.run(i)),
            // A loop outside of any step: such are long.
            None if tasks > 1 && self.by_step => {
                Self::shared(self.threads()).run(tasks, work);
            }
            _ => (0..tasks).for_each(|i| work.run(i)),
        }
    }
}

/// What a loop does. `dyn Fn` would say the same, with two more functions for each loop, for calling it as
/// `FnMut` and as `FnOnce`.
trait Task: Sync {
    fn run(&self, i: usize);
}

impl<F: Fn(usize) + Sync> Task for F {
    fn run(&self, i: usize) {
        self(i);
    }
}

/// Starts member `index` of a team. The thread inherits neither signals of the program nor the
/// floating-point environment of the one that starts it.
fn start_thread(index: usize, shared: sync::Arc<Shared>) -> io::Result<JoinHandle<()>> {
    let thread = thread::Builder::new().name(format!("{THREAD_NAME}{index}"));
    let work = move || {
        host::FloatControl::DEFAULT.write();
        MEMBER.set(true);
        shared.work(index);
    };
    host::with_signals_blocked(|| thread.stack_size(STACK_BYTES).spawn(work))
}

impl Members {
    /// Ends the threads, waiting until `deadline` at most; whether they have ended. What the pool is
    /// asked for from then on, the calling thread does alone, and a loop that is running, too.
    fn end(&self, deadline: Instant) -> bool {
        // A member, from a callback: it can't wait for its own end.
        if is_member() {
            return false;
        }
        let Some(mut handles) = lock_until(&self.handles, deadline) else { return false };
        while !self.team.try_stop() || handles.iter().any(|handle| !handle.is_finished()) {
            if Instant::now() > deadline {
                return false;
            }
            thread::sleep(Duration::from_micros(50));
        }
        join(&mut handles);
        true
    }
}

fn join(handles: &mut Vec<JoinHandle<()>>) {
    // A panic in a worker was reported where its work was waited for.
    handles.drain(..).for_each(|handle| _ = handle.join());
}

/// Ends all threads of this process, waiting no longer than `patience`; whether they have ended.
/// [`Pool::shared`] starts new ones; who still has one of the old pools works alone.
pub fn end_all(patience: Duration) -> bool {
    let process = std::process::id();
    // In a forked child, a lock may have been held by a thread that does not exist there.
    if OWNER.load(SeqCst) != process {
        return true;
    }
    let deadline = Instant::now() + patience;
    let Some(mut pools) = lock_until(&POOLS, deadline) else { return false };
    let all = std::mem::take(&mut *pools).into_iter();
    let (shared, others) = all.partition::<Pools, _>(|(key, _)| key.0 == process);
    *pools = others;
    drop(pools);
    let Some(all) = lock_until(&ALL, deadline) else { return false };
    let all: Vec<_> = all.iter().filter_map(Weak::upgrade).collect();
    let ended = all.iter().filter(|members| members.process == process);
    // All of them, also after one that does not end.
    let ended = ended.map(|members| members.end(deadline)).fold(true, |all, one| all & one);
    if !ended {
        // Dropping a pool waits for its threads without an end.
        std::mem::forget(shared);
    }
    ended
}

/// A thread that is still there when the process ends looks like lost memory to valgrind. Other
/// threads of the program may be inside the library, and this one too, interrupted by a signal whose
/// handler exits: so nothing here waits without an end.
extern "C" fn end_at_exit() {
    ENDING.store(true, SeqCst);
    end_all(PATIENCE);
}

impl Drop for Pool {
    fn drop(&mut self) {
        let Some(members) = self.members.take() else { return };
        if members.process == std::process::id() {
            members.team.stop();
            join(&mut locked(&members.handles));
        } else {
            // The threads are the parent's: nobody here could end them, and what they shared
            // may have been locked when the process was forked.
            locked(&ORPHANS).push(members);
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
            let pool = Pool::start(threads);
            assert_eq!(pool.threads(), threads);
            assert!(pool.is_ours());
            let count = AtomicUsize::new(0);
            pool.for_each(100, |i| {
                count.fetch_add(i, Ordering::Relaxed);
            });
            assert_eq!(count.into_inner(), 4950);
            drop(pool);
        }
        assert_eq!(Pool::start(0).threads(), 1);
        assert_eq!(Pool::start(usize::MAX).threads(), MAX_THREADS);
    }

    #[test]
    fn a_pool_whose_threads_have_ended_works_alone() {
        let pool = Pool::start(3);
        let members = pool.members.clone().unwrap();
        assert!(members.end(Instant::now() + Duration::from_secs(10)));
        assert!(locked(&members.handles).is_empty());
        let count = AtomicUsize::new(0);
        pool.step(Work::LARGE, |pool| {
            pool.for_each(100, |i| {
                count.fetch_add(i, Ordering::Relaxed);
            });
        });
        assert_eq!(count.into_inner(), 4950);
    }

    #[test]
    fn threads_end_in_the_middle_of_work() {
        let pool = Pool::start(3);
        let members = pool.members.clone().unwrap();
        let count = AtomicUsize::new(0);
        thread::scope(|scope| {
            scope.spawn(|| while !members.end(Instant::now() + Duration::from_secs(10)) {});
            for _ in 0..2000 {
                pool.for_each(10, |_| {
                    count.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        assert_eq!(count.into_inner(), 20_000);
    }

    #[test]
    fn a_member_that_ends_all_does_not_wait_for_itself() {
        let pool = Pool::start(2);
        let members = pool.members.clone().unwrap();
        let seen = AtomicUsize::new(0);
        while seen.load(Ordering::Relaxed) == 0 {
            pool.for_each(2, |_| {
                if is_member() {
                    assert!(!members.end(Instant::now() + Duration::from_secs(10)));
                    seen.store(1, Ordering::Relaxed);
                } else {
                    thread::sleep(Duration::from_millis(1));
                }
            });
        }
    }

    #[test]
    fn loops_inside_loops_and_from_several_threads() {
        let pool = Pool::start(3);
        let count = AtomicUsize::new(0);
        let work = || {
            pool.step(Work::LARGE, |pool| {
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
        let pool = Pool::start(2);
        for _ in 0..20 {
            let run = || pool.for_each(10, |i| assert_ne!(i, 5, "on purpose"));
            assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err());
            let mut values = [1u32; 100];
            pool.chunks((&mut values, 7), |i, chunk| chunk.fill(i as u32));
            assert_eq!((values[6], values[7], values[99]), (0, 1, 14));
        }
    }
}
