//! The table of `make bench`: the whole library, through its C interface, at the shapes that
//! `benches/README.md` explains. `cargo bench --bench table -- S decoding` runs the parts named.

mod measure;
mod precision;
mod products;
mod shapes;

use measure::{Row, bandwidth, median, plain_product, seconds};
use shapes::{GENERATING, Generation, Shape, TRAINED, Training};
use std::hint::black_box;
use std::io::Read;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    if let Some(name) = wanted.first().and_then(|w| w.strip_prefix("child-memory-")) {
        return train_and_report(name);
    }
    if let Some(("profile", rest)) = wanted.split_first().map(|(w, rest)| (w.as_str(), rest)) {
        return profile(rest);
    }
    let on = |name: &str| wanted.is_empty() || wanted.iter().any(|w| w == name);
    println!("{}, {:?}", measure::processor(), cllm_kernels::arch::InstructionSet::in_use());
    println!("{}", Row::HEAD);
    for shape in &TRAINED {
        if on(shape.name) {
            (1..=2).for_each(|threads| training(shape, threads));
        }
    }
    let d = &GENERATING;
    if on("bfloat16") && cllm_kernels::bf16::Bfloat16::found().is_some() {
        for shape in &TRAINED {
            (1..=2).for_each(|threads| bfloat16(shape, threads));
        }
    }
    if on("decoding") {
        (1..=2).for_each(|threads| decoding(d, threads));
    }
    if on("prefill") {
        (1..=2).for_each(|threads| prefill(d, threads));
    }
    if on("precision") {
        precision::table();
    }
    if on("products") {
        products::table();
    }
    if on("scaling") {
        scaling();
    }
    if on("loading") {
        loading(d);
    }
    if on("latency") {
        latency();
    }
    if on("memory") {
        TRAINED.iter().for_each(memory);
    }
}

/// Rounds whose median counts; each measures the work and its yardstick one after the other.
const ROUNDS: usize = 7;

fn steps_of_round(shape: &Shape) -> i32 {
    (shape.rows() * 40).div_ceil(shape.rows() * shape.layers * 4).max(2) as i32
}

/// Training in bfloat16; the limit is the same training in f32.
fn bfloat16(shape: &Shape, threads: i32) {
    let mut runs = [Training::bfloat16(shape), Training::new(shape)];
    let steps = steps_of_round(shape);
    runs.iter_mut().for_each(|run| run.steps(2, threads));
    let (mut rates, mut ratios) = ([Vec::new(), Vec::new()], Vec::new());
    for _ in 0..ROUNDS {
        let tokens = shape.rows() as f64 * f64::from(steps);
        let [half, full] = [0, 1].map(|i| tokens / seconds(|| runs[i].steps(steps, threads)));
        rates[0].push(half);
        rates[1].push(full);
        ratios.push(half / full);
    }
    let [half, full] = rates.each_mut().map(|rates| median(rates));
    Row {
        what: format!("training {}, bfloat16", shape.name),
        threads,
        tokens: half,
        work: String::new(),
        limit: format!("{full:6.0} tokens/s"),
        ratio: median(&mut ratios),
    }
    .print();
}

fn training(shape: &Shape, threads: i32) {
    let mut run = Training::new(shape);
    run.steps(2, threads);
    let steps = steps_of_round(shape);
    let (mut rates, mut plain, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let product = plain_product(threads);
        let time = seconds(|| run.steps(steps, threads)) / f64::from(steps);
        rates.push(shape.rows() as f64 / time);
        plain.push(product);
        ratios.push(shape.training_flops() * shape.rows() as f64 / time / product);
    }
    let rate = median(&mut rates);
    Row {
        what: format!("training {}", shape.name),
        threads,
        tokens: rate,
        work: format!("{:6.1} GFLOP/s", rate * shape.training_flops() / 1e9),
        limit: format!("{:6.1} GFLOP/s", median(&mut plain) / 1e9),
        ratio: median(&mut ratios),
    }
    .print();
}

/// Tokens of one measurement of decoding, the last of which reaches the context that is named.
const DECODED: usize = 8;

fn decoding(shape: &Shape, threads: i32) {
    let mut run = Generation::new(shape, threads);
    let bytes = shape.weight_bytes() as f64;
    for context in [16, 128, 512].map(|context| context - DECODED) {
        let (mut rates, mut reads, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let read = bandwidth(threads);
            run.prefill(context);
            let time = seconds(|| run.decode(DECODED)) / DECODED as f64;
            rates.push(1.0 / time);
            reads.push(read);
            ratios.push(bytes / time / read);
        }
        let rate = median(&mut rates);
        Row {
            what: format!("decoding {}, context {}", shape.name, context + DECODED),
            threads,
            tokens: rate,
            work: format!("{:6.2} GB/s", rate * bytes / 1e9),
            limit: format!("{:6.2} GB/s", median(&mut reads) / 1e9),
            ratio: median(&mut ratios),
        }
        .print();
    }
}

fn prefill(shape: &Shape, threads: i32) {
    const ROWS: usize = 256;
    let mut run = Generation::new(shape, threads);
    let flops = shape.prefill_flops(ROWS);
    run.prefill(ROWS);
    let (mut rates, mut plain, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let product = plain_product(threads);
        let time = seconds(|| run.prefill(ROWS));
        rates.push(ROWS as f64 / time);
        plain.push(product);
        ratios.push(flops / time / product);
    }
    let rate = median(&mut rates);
    Row {
        what: format!("prefill {}, {ROWS} tokens", shape.name),
        threads,
        tokens: rate,
        work: format!("{:6.1} GFLOP/s", rate * flops / ROWS as f64 / 1e9),
        limit: format!("{:6.1} GFLOP/s", median(&mut plain) / 1e9),
        ratio: median(&mut ratios),
    }
    .print();
}

/// `profile S 2`: ten seconds of one shape with two threads and nothing else, for a profiler.
fn profile(arguments: &[String]) {
    let name = arguments.first().map_or("S", String::as_str);
    let threads = arguments.get(1).and_then(|n| n.parse().ok()).unwrap_or(1);
    let Some(shape) = TRAINED.iter().chain([&GENERATING]).find(|s| s.name == name) else {
        return println!("no shape {name}");
    };
    let start = std::time::Instant::now();
    let mut tokens = 0;
    if name == "D" {
        let mut run = Generation::new(shape, threads);
        while start.elapsed().as_secs() < 10 {
            run.prefill(16);
            run.decode(64);
            tokens += 80;
        }
    } else {
        let in_bfloat16 = arguments.get(2).is_some_and(|precision| precision == "bf16");
        let mut run = if in_bfloat16 { Training::bfloat16(shape) } else { Training::new(shape) };
        while start.elapsed().as_secs() < 10 {
            run.steps(1, threads);
            tokens += shape.rows();
        }
    }
    let rate = tokens as f64 / start.elapsed().as_secs_f64();
    println!("{name}, {threads} threads: {rate:.0} tokens/s");
}

/// Cost of a token in training as batch and depth grow, around shape S.
fn scaling() {
    println!("\ntraining cost per token, shape S, 1 thread");
    for batch in [2, 4, 8, 16, 32] {
        cost(&Shape { batch, ..TRAINED[0] }, &format!("batch {batch}"));
    }
    for layers in [1, 2, 4, 8] {
        cost(&Shape { layers, ..TRAINED[0] }, &format!("{layers} layers"));
    }
}

fn cost(shape: &Shape, what: &str) {
    let mut run = Training::new(shape);
    run.steps(1, 1);
    let steps = (16 / shape.batch).max(1) as i32;
    let mut times: Vec<f64> =
        (0..ROUNDS).map(|_| seconds(|| run.steps(steps, 1)) / f64::from(steps)).collect();
    println!("  {what:<12}{:8.2} µs", 1e6 * median(&mut times) / shape.rows() as f64);
}

/// Reading a model file against reading its bytes, all from the system's cache: into new memory,
/// and piece by piece into the same memory.
fn loading(shape: &Shape) {
    let Ok(folder) = tempfile::tempdir() else { return println!("\nloading: no scratch folder") };
    let path = folder.path().join("model.cllm");
    let saving = shapes::save(shape, &path);
    let bytes = std::fs::metadata(&path).map_or(0.0, |m| m.len() as f64);
    let (mut loads, mut reads, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let mut passes = Vec::new();
    let mut piece = vec![0; 1 << 20];
    for _ in 0..ROUNDS {
        let read = seconds(|| drop(black_box(std::fs::read(&path))));
        passes.push(seconds(|| {
            let Ok(mut file) = std::fs::File::open(&path) else { return };
            while file.read(&mut piece).is_ok_and(|n| n > 0) {}
        }));
        let load = seconds(|| shapes::load(&path));
        loads.push(load);
        reads.push(read);
        ratios.push(load / read);
    }
    println!(
        "\nloading {} ({:.0} MB): {:.0} ms, reading its bytes into memory {:.0} ms, ratio {:.2} (through \
         a buffer of 1 MiB {:.0} ms); saving, with everything on disk at the end: {:.0} ms",
        shape.name,
        bytes / 1e6,
        1e3 * median(&mut loads),
        1e3 * median(&mut reads),
        median(&mut ratios),
        1e3 * median(&mut passes),
        1e3 * saving
    );
    let mut maps: Vec<f64> = (0..ROUNDS).map(|_| seconds(|| shapes::map(&path))).collect();
    println!("mapping it: {:.1} ms", 1e3 * median(&mut maps));
}

/// The program of `tools/` that a user runs, from its start to its end.
fn latency() {
    let Some(command) = measure::tiny_command() else {
        println!("\ntiny: tools/train_model is not built; `make` builds it");
        return;
    };
    let mut times: Vec<f64> = (0..15).map(|_| seconds(|| command.run())).collect();
    let best = times.iter().copied().fold(f64::INFINITY, f64::min);
    println!(
        "\ntiny, whole process of 28 steps and both saves: {:.1} ms (least {:.1})",
        1e3 * median(&mut times),
        1e3 * best
    );
}

/// What a child of [`memory`] does: the last line is the peak in bytes, less what the process held
/// before.
fn train_and_report(name: &str) {
    let Some(shape) = TRAINED.iter().find(|s| s.name == name) else { return };
    let Ok(before) = cllm_engine::system::memory::resident() else { return };
    Training::new(shape).steps(3, 2);
    if let Ok(after) = cllm_engine::system::memory::resident() {
        println!("{}", after.peak - before.current);
    }
}

fn memory(shape: &Shape) {
    match measure::peak_of_training(shape.name) {
        Some(peak) => println!(
            "\nmemory of training {}: peak {:.1} MB; weights, gradients, moments and activations \
             need {:.1} MB: {:.2} times",
            shape.name,
            peak / 1e6,
            shape.needed_bytes() / 1e6,
            peak / shape.needed_bytes()
        ),
        None => println!("\nmemory of training {}: not known on this system", shape.name),
    }
}
