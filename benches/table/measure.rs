//! Clocks, yardsticks and the lines of the table.

use cllm_kernels::matmul::{Accumulate, matmul};
use cllm_kernels::memory::floats::Floats;
use cllm_kernels::threads::processors;
use cllm_kernels::{Pool, Work};
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis};
use std::cell::RefCell;
use std::hint::black_box;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

pub fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// One line.
pub struct Row {
    pub what: String,
    pub threads: i32,
    pub tokens: f64,
    pub work: String,
    pub limit: String,
    pub ratio: f64,
}

impl Row {
    pub const HEAD: &str =
        "what                         threads   tokens/s   achieved         limit            share";

    pub fn print(&self) {
        let Self { what, threads, tokens, work, limit, ratio } = self;
        println!(
            "{what:<28} {threads:7} {tokens:10.1}   {work:<16} {limit:<16} {:4.0} %",
            100.0 * ratio
        );
    }
}

pub fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|l| l.strip_prefix("model name")?.split(": ").nth(1));
    format!("{}, {} online", name.unwrap_or("unknown processor"), processors())
}

/// A product of the library, or the same one by the gemm crate: out `[m][n]` = a `[m][k]` · b.
pub type Multiply = fn(&Pool, ArrayViewMut2<f32>, ArrayView2<f32>, ArrayView2<f32>);

pub fn ours(pool: &Pool, out: ArrayViewMut2<f32>, a: ArrayView2<f32>, b: ArrayView2<f32>) {
    pool.step(Work::LARGE, |pool| matmul(pool, out, a, b, Accumulate::Replace));
}

/// The gemm crate on one thread, or on each thread's share of the rows.
pub fn gemm_crate(
    pool: &Pool,
    mut out: ArrayViewMut2<f32>,
    a: ArrayView2<f32>,
    b: ArrayView2<f32>,
) {
    let shares = pool.threads();
    let rows = a.nrows().div_ceil(shares).max(1);
    let parts: Vec<_> =
        out.axis_chunks_iter_mut(Axis(0), rows).zip(a.axis_chunks_iter(Axis(0), rows)).collect();
    std::thread::scope(|scope| {
        let mut parts = parts.into_iter();
        let first = parts.next();
        for (out, a) in parts {
            scope.spawn(move || serial_gemm(out, a, b));
        }
        if let Some((out, a)) = first {
            serial_gemm(out, a, b);
        }
    });
}

#[allow(unsafe_code)]
fn serial_gemm(mut out: ArrayViewMut2<f32>, a: ArrayView2<f32>, b: ArrayView2<f32>) {
    let (m, n) = out.dim();
    let (out_s, a_s, b_s) = (out.strides().to_vec(), a.strides().to_vec(), b.strides().to_vec());
    // SAFETY: pointers, sizes and strides are those of the views.
    unsafe {
        gemm::gemm(
            m,
            n,
            a.ncols(),
            out.as_mut_ptr(),
            out_s[1],
            out_s[0],
            false,
            a.as_ptr(),
            a_s[1],
            a_s[0],
            b.as_ptr(),
            b_s[1],
            b_s[0],
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// Operations per second of a product of two 2048×2048 matrices: by the library and by the gemm
/// crate, the best of three each; the better one is the limit.
pub fn plain_product(threads: i32) -> f64 {
    const N: usize = 2048;
    thread_local! {
        static MATRICES: RefCell<Option<[Array2<f32>; 3]>> = const { RefCell::new(None) };
    }
    let pool = Pool::shared(threads as usize);
    MATRICES.with_borrow_mut(|matrices| {
        let make = |i: usize| Array2::from_shape_fn((N, N), |(r, c)| ((r * 7 + c * i) % 13) as f32);
        let [a, b, c] = matrices.get_or_insert_with(|| [make(3), make(5), make(0)]);
        let mut best = f64::INFINITY;
        for multiply in [ours as Multiply, gemm_crate] {
            for _ in 0..3 {
                best = best.min(seconds(|| multiply(&pool, c.view_mut(), a.view(), b.view())));
            }
        }
        2.0 * (N as f64).powi(3) / best
    })
}

/// Bytes per second that `threads` threads read from memory together: sums over a block of the
/// size of D's weights, the best of three.
pub fn bandwidth(threads: i32) -> f64 {
    const LEN: usize = 100 << 20;
    thread_local! {
        static BLOCK: RefCell<Floats> = const { RefCell::new(Floats::new()) };
    }
    BLOCK.with_borrow_mut(|block| {
        if block.is_empty() {
            block.grow("the block", LEN).expect("memory");
            block.fill(1.0);
        }
        let run = || {
            seconds(|| {
                std::thread::scope(|scope| {
                    for part in block.chunks(LEN / threads as usize) {
                        scope.spawn(|| {
                            black_box(
                                part.chunks(1 << 12).map(cllm_kernels::vector::sum).sum::<f32>(),
                            )
                        });
                    }
                });
            })
        };
        let best = (0..3).map(|_| run()).fold(f64::INFINITY, f64::min);
        4.0 * LEN as f64 / best
    })
}

/// The training tool on the smallest example.
pub struct Tiny {
    program: PathBuf,
    folder: tempfile::TempDir,
}

pub fn tiny_command() -> Option<Tiny> {
    let benches = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let program = benches.join("../tools/train_model");
    let data = benches.join("table/tiny.txt");
    let folder = tempfile::tempdir().ok()?;
    std::fs::copy(data, folder.path().join("tiny.txt")).ok()?;
    program.exists().then_some(Tiny { program, folder })
}

impl Tiny {
    pub fn run(&self) {
        let status = Command::new(&self.program)
            .current_dir(self.folder.path())
            .args(["tiny.txt"])
            .args(
                "--batch-size 2 --seq-len 8 --embed-dim 32 --num-layers 1 --num-heads 1".split(' '),
            )
            .args("--threads 1 --learning-rate 0.01 --epochs 14 --checkpoint-dir out".split(' '))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(status.is_ok_and(|s| s.success()), "tools/train_model failed");
    }
}

/// Most memory of a process of its own that trains the shape, less what it holds before.
pub fn peak_of_training(shape: &str) -> Option<f64> {
    let this = std::env::current_exe().ok()?;
    let output = Command::new(this).arg(format!("child-memory-{shape}")).output().ok()?;
    String::from_utf8(output.stdout).ok()?.lines().last()?.trim().parse().ok()
}
