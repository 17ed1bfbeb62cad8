//! The team of threads against rayon, on the same loops with the same number of threads: how soon
//! sleeping threads begin, steps of many small loops as decoding has them, loops that write what the
//! loop before wrote, as training has them, and the processor's time that is gone where a program
//! asks for a step only now and then.
//!
//! Both sides are measured in turn, round after round, so that what else runs on the machine meets
//! both; the figures are medians over the rounds.

use cllm_kernels::threads::processors;
use cllm_kernels::vector::{dot, scale};
use cllm_kernels::{Pool, Work};
use rayon::prelude::*;
use std::hint::black_box;
use std::sync::Mutex;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

const ROUNDS: usize = 15;

/// Loops of a step of decoding: twelve layers with six each, about.
const LOOPS: usize = 72;

/// What both sides can do.
trait Threads: Sync {
    /// Runs `work`, whose loops follow each other closely.
    fn step(&self, work: &(dyn Fn() + Sync));
    /// `work(i)` for each i below `tasks`.
    fn each(&self, tasks: usize, work: &(dyn Fn(usize) + Sync));
    /// `work(chunk)` for each chunk of `len` values.
    fn chunks(&self, x: &mut [f32], len: usize, work: &(dyn Fn(&mut [f32]) + Sync));
}

impl Threads for Pool {
    fn step(&self, work: &(dyn Fn() + Sync)) {
        Pool::step(self, Work::LARGE, |_| work());
    }

    fn each(&self, tasks: usize, work: &(dyn Fn(usize) + Sync)) {
        self.for_each(tasks, work);
    }

    fn chunks(&self, x: &mut [f32], len: usize, work: &(dyn Fn(&mut [f32]) + Sync)) {
        Pool::chunks(self, (x, len), |_, chunk| work(chunk));
    }
}

impl Threads for rayon::ThreadPool {
    fn step(&self, work: &(dyn Fn() + Sync)) {
        self.install(work);
    }

    fn each(&self, tasks: usize, work: &(dyn Fn(usize) + Sync)) {
        (0..tasks).into_par_iter().with_max_len(1).for_each(work);
    }

    fn chunks(&self, x: &mut [f32], len: usize, work: &(dyn Fn(&mut [f32]) + Sync)) {
        x.par_chunks_mut(len).with_max_len(1).for_each(work);
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Work of about a microsecond for 16,000 values.
fn task(x: &[f32]) {
    black_box(dot(black_box(x), x));
}

/// Microseconds until the last thread of a loop has begun, when all slept before. A task takes so
/// long that one thread can't do all of them.
fn wake_up(pool: &dyn Threads, threads: usize) -> f64 {
    sleep(Duration::from_millis(2));
    let start = Instant::now();
    let begun = Mutex::new(Vec::new());
    pool.step(&|| {
        pool.each(threads, &|_| {
            let now = start.elapsed();
            begun.lock().expect("no panic").push(now);
            while start.elapsed() < Duration::from_micros(300) {
                std::hint::spin_loop();
            }
        });
    });
    let begun = begun.into_inner().expect("no panic");
    begun.into_iter().max().map_or(0.0, |last| last.as_secs_f64() * 1e6)
}

/// Microseconds for one step of [`LOOPS`] loops, with as many tasks of `len` values each.
fn loops(pool: &dyn Threads, tasks: usize, x: &[f32]) -> f64 {
    let start = Instant::now();
    pool.step(&|| {
        for _ in 0..LOOPS {
            pool.each(tasks, &|_| task(x));
        }
    });
    start.elapsed().as_secs_f64() * 1e6
}

/// Microseconds for one step of [`LOOPS`] loops over an array whose halves fit into the second cache
/// of a processor: 24 tasks of 64 KiB each.
fn arrays(pool: &dyn Threads, x: &Mutex<Vec<f32>>) -> f64 {
    const TASK: usize = 1 << 14;
    let start = Instant::now();
    pool.step(&|| {
        let mut x = x.lock().expect("no panic");
        for _ in 0..LOOPS {
            pool.chunks(&mut x, TASK, &|chunk| scale(chunk, black_box(1.0)));
        }
    });
    start.elapsed().as_secs_f64() * 1e6
}

/// Seconds of processor time that this process has used.
#[allow(unsafe_code)]
fn processor_time() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes to `time`.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Microseconds of processor time per step when steps come every five milliseconds.
fn now_and_then(pool: &dyn Threads, tasks: usize, x: &[f32]) -> f64 {
    const STEPS: usize = 20;
    let before = processor_time();
    for _ in 0..STEPS {
        loops(pool, tasks, x);
        sleep(Duration::from_millis(5));
    }
    (processor_time() - before) * 1e6 / STEPS as f64
}

fn main() {
    let threads = processors().max(2);
    let ours = Pool::start(threads);
    // rayon's caller sleeps while its pool works; the team's caller is one of its threads.
    let theirs = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
    let x: Vec<f32> = (0..32_000).map(|i| (i % 17) as f32).collect();
    println!(
        "{threads} threads, {} processors",
        thread::available_parallelism().map_or(0, usize::from)
    );
    println!("{:<52} {:>9} {:>9} {:>7}", "µs, medians", "ours", "rayon", "ratio");
    let row = |what: &str, measure: &dyn Fn(&dyn Threads) -> f64| {
        measure(&ours);
        measure(&theirs);
        let rounds = (0..ROUNDS).map(|_| (measure(&ours), measure(&theirs)));
        let (a, b): (Vec<f64>, Vec<f64>) = rounds.unzip();
        let ratios = a.iter().zip(&b).map(|(a, b)| b / a).collect();
        println!("{what:<52} {:9.1} {:9.1} {:7.2}", median(a), median(b), median(ratios));
    };
    row("until the last sleeping thread begins", &|pool| wake_up(pool, threads));
    for (name, len) in [("1 µs", 16_000), ("0.1 µs", 1_000)] {
        let what = format!("{LOOPS} loops of {} tasks of about {name}", 2 * threads);
        row(&what, &|pool| loops(pool, 2 * threads, &x[..len]));
    }
    let array = Mutex::new(vec![1.0; 24 << 14]);
    row(&format!("{LOOPS} loops over 1.5 MiB that each writes"), &|pool| arrays(pool, &array));
    let tasks = 2 * threads;
    row("processor time of such a step every 5 ms", &|pool| {
        now_and_then(pool, tasks, &x[..16_000])
    });
}
