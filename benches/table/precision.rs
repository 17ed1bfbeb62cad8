//! Generation with 8-bit weights beside floats, and models that fit in the cache; what of the
//! bandwidth there is, for the bytes of their weights.

use crate::measure::{Row, median, seconds};
use crate::shapes::{GENERATING, Generation, Shape, TRAINED};
use cllm_kernels::memory::floats::Floats;
use std::hint::black_box;

const ROUNDS: usize = 7;
/// Tokens of one measurement, behind a context of [`CONTEXT`].
const DECODED: usize = 16;
const CONTEXT: usize = 16;
const PROMPT: usize = 256;

/// Bytes of a weight: of blocks of 64 each has a scale of two bytes.
const BYTES_OF_FLOAT: f64 = 4.0;
const BYTES_OF_INT8: f64 = 1.0 + 2.0 / 64.0;

pub fn table() {
    println!(
        "\n8 bits beside floats, context {CONTEXT} to {}, {ROUNDS} alternating rounds; share of reading as \
         many bytes; × is 8 bits to floats",
        CONTEXT + DECODED
    );
    println!("{}", Row::HEAD);
    for shape in [&TRAINED[0], &TRAINED[1], &GENERATING] {
        (1..=2).for_each(|threads| decoding(shape, threads));
    }
    (1..=2).for_each(|threads| prompts(&GENERATING, threads));
}

/// One way of holding the weights.
struct Side {
    name: &'static str,
    bytes: f64,
    run: Generation,
    rates: Vec<f64>,
    reads: Vec<f64>,
    ratios: Vec<f64>,
}

fn sides(shape: &Shape, threads: i32) -> [Side; 2] {
    let weights = shape.weight_bytes() as f64 / BYTES_OF_FLOAT;
    [("f32", BYTES_OF_FLOAT, false), ("int8", BYTES_OF_INT8, true)].map(|(name, bytes, int8)| {
        Side {
            name,
            bytes: weights * bytes,
            run: Generation::with_precision(shape, threads, int8),
            rates: Vec::new(),
            reads: Vec::new(),
            ratios: Vec::new(),
        }
    })
}

fn decoding(shape: &Shape, threads: i32) {
    let mut sides = sides(shape, threads);
    for _ in 0..ROUNDS {
        for side in &mut sides {
            let read = reading(side.bytes as usize, threads);
            side.run.prefill(CONTEXT);
            let time = seconds(|| side.run.decode(DECODED)) / DECODED as f64;
            side.rates.push(1.0 / time);
            side.reads.push(read);
            side.ratios.push(side.bytes / time / read);
        }
    }
    for side in &mut sides {
        let rate = median(&mut side.rates);
        Row {
            what: format!("decoding {}, {}", shape.name, side.name),
            threads,
            tokens: rate,
            work: format!("{:6.2} GB/s", rate * side.bytes / 1e9),
            limit: format!("{:6.2} GB/s", median(&mut side.reads) / 1e9),
            ratio: median(&mut side.ratios),
        }
        .print();
    }
    compare(&mut sides);
}

fn prompts(shape: &Shape, threads: i32) {
    let mut sides = sides(shape, threads);
    for round in 0..=ROUNDS {
        for side in &mut sides {
            let time = seconds(|| side.run.prefill(PROMPT));
            if round > 0 {
                side.rates.push(PROMPT as f64 / time);
            }
        }
    }
    for side in &mut sides {
        let rate = median(&mut side.rates);
        let what = format!("prompt {}, {}", shape.name, side.name);
        println!("{what:<28} {threads:7} {rate:10.1}");
    }
    compare(&mut sides);
}

fn compare([floats, int8]: &mut [Side; 2]) {
    println!("{:>55}", format!("× {:.2}", median(&mut int8.rates) / median(&mut floats.rates)));
}

/// Bytes per second that `threads` threads read of a block of so many bytes again and again: from the
/// cache, where it fits. For five milliseconds, and twice at least; the best of three.
fn reading(bytes: usize, threads: i32) -> f64 {
    let mut block = Floats::new();
    let threads = threads as usize;
    let len = (bytes / 4 / threads).max(1);
    block.grow("the block", len * threads).expect("memory");
    block.fill(1.0);
    let passes = (200 << 20) / (4 * len * threads) + 2;
    let run = || {
        seconds(|| {
            std::thread::scope(|scope| {
                for part in block.chunks(len) {
                    scope.spawn(|| {
                        for _ in 0..passes {
                            let sum = part.chunks(1 << 12).map(cllm_kernels::vector::sum);
                            black_box(sum.sum::<f32>());
                        }
                    });
                }
            });
        })
    };
    let best = (0..3).map(|_| run()).fold(f64::INFINITY, f64::min);
    (4 * len * threads * passes) as f64 / best
}
