//! The team's model: small programs that loom runs in every order that their threads can take, with
//! at most [`PREEMPTIONS`] changes of thread that no wait asks for, and with every value that the
//! memory model lets a load see. Loom reports data races, threads that wait for each other, and
//! memory that is lost; the programs check that each task ran once and that its result is seen.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p cllm-kernels --lib threads::loom`, or `make test-loom`.

use super::team::Team;
use loom::cell::UnsafeCell;
use loom::model::Builder;
use loom::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread::{self, JoinHandle};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

const PREEMPTIONS: usize = 2;

fn check(program: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.check(program);
}

/// A team with its members at work.
struct Running {
    team: Team,
    members: Vec<JoinHandle<()>>,
}

impl Running {
    /// `threads` threads, the calling one included, that stay awake inside a step.
    fn new(threads: usize) -> Self {
        let (team, shared) = Team::new(threads, true);
        let start = |me| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.work(me))
        };
        Self { team, members: (1..threads).map(start).collect() }
    }

    fn end(self) {
        self.team.stop();
        self.members.into_iter().for_each(|member| member.join().unwrap());
    }
}

/// What tasks leave behind: places without any lock, so that loom sees every race.
struct Places(Vec<UnsafeCell<usize>>);

// SAFETY: that each place has one task is what the model checks.
unsafe impl Sync for Places {}

impl Places {
    fn new(count: usize) -> Self {
        Self((0..count).map(|_| UnsafeCell::new(0)).collect())
    }

    fn add(&self, i: usize) {
        // SAFETY: as above.
        self.0[i].with_mut(|place| unsafe { *place += 1 });
    }

    fn read(&self, i: usize) -> usize {
        // SAFETY: the loop that writes is over; loom knows if not.
        self.0[i].with(|place| unsafe { *place })
    }

    fn get(&self) -> Vec<usize> {
        (0..self.0.len()).map(|i| self.read(i)).collect()
    }
}

#[test]
fn every_task_of_a_loop_runs_once_and_its_result_is_seen() {
    check(|| {
        let running = Running::new(2);
        let places = Places::new(3);
        running.team.for_each(3, &|i| places.add(i));
        assert_eq!(places.get(), [1, 1, 1]);
        running.end();
    });
}

#[test]
fn three_threads() {
    check(|| {
        let running = Running::new(3);
        let places = Places::new(3);
        running.team.for_each(3, &|i| places.add(i));
        assert_eq!(places.get(), [1, 1, 1]);
        running.end();
    });
}

/// The second loop sees the results of the first, whoever has them; a member may still be on its
/// way out of the first, or never have come.
#[test]
fn loops_of_a_step_follow_each_other() {
    check(|| {
        let running = Running::new(2);
        let (first, second) = (Places::new(2), Places::new(2));
        running.team.step(|| {
            running.team.for_each(2, &|i| first.add(i));
            running.team.for_each(2, &|i| {
                assert_eq!(first.read(1 - i), 1);
                second.add(i);
            });
        });
        assert_eq!((first.get(), second.get()), (vec![1, 1], vec![1, 1]));
        running.end();
    });
}

/// A task that waits for another one: it would wait for ever if a member slept through the loop. (No
/// caller may rely on this: a loop may be run by one thread.)
#[test]
fn a_sleeping_member_is_woken() {
    check(|| {
        let running = Running::new(2);
        let (ready, signal) = (Mutex::new(false), Condvar::new());
        running.team.for_each(2, &|i| {
            let mut ready = ready.lock().unwrap();
            if i == 1 {
                *ready = true;
                signal.notify_all();
            }
            while !*ready {
                ready = signal.wait(ready).unwrap();
            }
        });
        running.end();
    });
}

/// Panics as tasks do, without a message.
fn fail() {
    resume_unwind(Box::new("on purpose"));
}

#[test]
fn a_panic_reaches_the_owner_and_the_team_goes_on() {
    for bad in [0, 1] {
        check(move || {
            let running = Running::new(2);
            let run = || {
                running.team.for_each(2, &|i| {
                    if i == bad {
                        fail()
                    }
                })
            };
            let panic = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
            assert_eq!(panic.downcast_ref(), Some(&"on purpose"));
            let places = Places::new(2);
            running.team.for_each(2, &|i| places.add(i));
            assert_eq!(places.get(), [1, 1]);
            running.end();
        });
    }
}

/// One of two callers owns the team, the other works alone, or both own it one after the other.
#[test]
fn two_callers() {
    check(|| {
        let Running { team, members } = Running::new(2);
        let team = Arc::new(team);
        let other = Arc::clone(&team);
        let other = thread::spawn(move || {
            let places = Places::new(2);
            other.for_each(2, &|i| places.add(i));
            assert_eq!(places.get(), [1, 1]);
        });
        let places = Places::new(2);
        team.for_each(2, &|i| places.add(i));
        assert_eq!(places.get(), [1, 1]);
        other.join().unwrap();
        team.stop();
        members.into_iter().for_each(|member| member.join().unwrap());
    });
}

#[test]
fn a_loop_inside_a_task() {
    check(|| {
        let running = Running::new(2);
        let count = AtomicUsize::new(0);
        running.team.for_each(2, &|_| {
            running.team.for_each(2, &|_| _ = count.fetch_add(1, Relaxed));
        });
        assert_eq!(count.load(Relaxed), 4);
        running.end();
    });
}

#[test]
fn members_end_whenever_they_are_told() {
    check(|| Running::new(3).end());
    check(|| {
        let Running { team, members } = Running::new(2);
        while !team.try_stop() {
            thread::yield_now();
        }
        members.into_iter().for_each(|member| member.join().unwrap());
    });
}
