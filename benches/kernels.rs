//! Times of the single kernels on one thread, at the sizes of shapes S and M of the table.

use cllm_kernels::Pool;
use cllm_kernels::adam::{AdamStep, adam};
use cllm_kernels::attention::{self, Call, Heads};
use cllm_kernels::cross_entropy::loss_gradient;
use cllm_kernels::matmul::{Accumulate, matmul, matvec};
use cllm_kernels::{gelu, int8, layer_norm};
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use ndarray::Array2;

fn main() {
    println!("{:?}", cllm_kernels::arch::InstructionSet::in_use());
    divan::main();
}

/// Values of both signs without a pattern that a branch could learn.
fn values(len: usize) -> Vec<f32> {
    (0..len as u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 8_388_608.0 - 1.0)
        .collect()
}

fn matrix(rows: usize, columns: usize) -> Array2<f32> {
    Array2::from_shape_vec((rows, columns), values(rows * columns)).expect("the size")
}

/// Counts multiply-adds: two operations each.
#[divan::bench(args = [(2048, 512, 128), (2048, 128, 512), (2048, 1536, 384), (256, 768, 3072)])]
fn product(bencher: Bencher, (m, n, k): (usize, usize, usize)) {
    let (a, b, mut out) = (matrix(m, k), matrix(n, k), matrix(m, n));
    bencher.counter(ItemsCount::new(m * n * k)).bench_local(|| {
        matmul(&Pool::serial(), out.view_mut(), a.view(), b.t(), Accumulate::Replace)
    });
}

#[divan::bench(args = [(128, 128), (768, 768), (32000, 768)])]
fn vector_product(bencher: Bencher, (n, k): (usize, usize)) {
    let (w, x, mut out) = (values(n * k), values(k), vec![0.0; n]);
    bencher
        .counter(BytesCount::of_slice(&w))
        .bench_local(|| matvec(&Pool::serial(), &mut out, &w, &x));
}

/// The same product with 8-bit weights, of which it counts the bytes.
#[divan::bench(args = [(128, 128), (768, 768), (32000, 768)])]
fn vector_product_int8(bencher: Bencher, (n, k): (usize, usize)) {
    let (x, mut out) = (values(k), vec![0.0; n]);
    let w = int8::Matrix::quantized(&Pool::serial(), &values(n * k), n, k).expect("memory");
    bencher
        .counter(BytesCount::new(w.bytes()))
        .bench_local(|| int8::linear(&Pool::serial(), &mut out, &x, 1, &[&w]));
}

/// A prompt of 256 rows with 8-bit weights; counts multiply-adds.
#[divan::bench(args = [(256, 768, 3072), (256, 3072, 768)])]
fn product_int8(bencher: Bencher, (m, n, k): (usize, usize, usize)) {
    let (x, mut out) = (values(m * k), vec![0.0; m * n]);
    let w = int8::Matrix::quantized(&Pool::serial(), &values(n * k), n, k).expect("memory");
    bencher
        .counter(ItemsCount::new(m * n * k))
        .bench_local(|| int8::linear(&Pool::serial(), &mut out, &x, m, &[&w]));
}

/// Counts positions; arguments: length, heads, width of a head.
const ATTENTION: [(usize, usize, usize); 3] = [(128, 4, 32), (256, 6, 64), (512, 12, 64)];

fn attention_call((rows, heads, head_dim): (usize, usize, usize)) -> Call {
    let scale = 1.0 / (head_dim as f32).sqrt();
    Call { batch: 1, rows, base: 0, heads, head_dim, scale, causal: true }
}

fn heads<'a>(data: &'a [f32], call: &Call) -> [Heads<'a>; 3] {
    let d = call.heads * call.head_dim;
    let row = 3 * d;
    [0, d, 2 * d].map(|at| Heads { data: &data[at..], row, sequence: call.rows * row })
}

#[divan::bench(args = ATTENTION)]
fn attention_forward(bencher: Bencher, sizes: (usize, usize, usize)) {
    let call = attention_call(sizes);
    let len = call.rows * call.heads * call.head_dim;
    let (qkv, mut out) = (values(3 * len), vec![0.0; len]);
    let mut lse = vec![0.0; call.rows * call.heads];
    bencher.counter(ItemsCount::new(call.rows)).bench_local(|| {
        let [q, k, v] = heads(&qkv, &call);
        attention::forward(&Pool::serial(), &call, q, k, v, &mut out, Some(&mut lse));
    });
}

#[divan::bench(args = ATTENTION)]
fn attention_backward(bencher: Bencher, sizes: (usize, usize, usize)) {
    let call = attention_call(sizes);
    let d = call.heads * call.head_dim;
    let len = call.rows * d;
    let (qkv, dout, mut out) = (values(3 * len), values(len), vec![0.0; len]);
    let (mut lse, mut grad) = (vec![0.0; call.rows * call.heads], vec![0.0; 3 * len]);
    let [q, k, v] = heads(&qkv, &call);
    attention::forward(&Pool::serial(), &call, q, k, v, &mut out, Some(&mut lse));
    bencher.counter(ItemsCount::new(call.rows)).bench_local(|| {
        let (qkv, columns) = (heads(&qkv, &call), [0, d, 2 * d]);
        let (pool, row) = (Pool::serial(), 3 * d);
        attention::backward(&pool, &call, qkv, &lse, &dout, &mut grad, row, columns);
    });
}

#[divan::bench(args = [512, 1536])]
fn gelu_with_slope(bencher: Bencher, len: usize) {
    let (z, bias, mut slope) = (values(len), values(len), vec![0.0; len]);
    let mut x = z.clone();
    bencher.counter(ItemsCount::new(len)).bench_local(|| {
        x.copy_from_slice(&z);
        gelu::with_slope(black_box(&mut x), Some(&bias), &mut slope);
    });
}

#[divan::bench(args = [128, 384, 768])]
fn norm_forward(bencher: Bencher, len: usize) {
    let (x, gamma, beta, mut out) = (values(len), values(len), values(len), vec![0.0; len]);
    bencher.counter(ItemsCount::new(len)).bench_local(|| {
        layer_norm::forward(black_box(&x), 1e-5, Some(&gamma), Some(&beta), &mut out)
    });
}

#[divan::bench(args = [128, 384, 768])]
fn norm_backward(bencher: Bencher, len: usize) {
    let (x, gamma, dy) = (values(len), values(len), values(len));
    let (mut dx, mut dgamma, mut dbeta) = (vec![0.0; len], vec![0.0; len], vec![0.0; len]);
    let stats = layer_norm::stats(&x, 1e-5);
    bencher.counter(ItemsCount::new(len)).bench_local(|| {
        let (dgamma, dbeta) = (Some(&mut dgamma[..]), Some(&mut dbeta[..]));
        layer_norm::backward(black_box(&x), stats, Some(&gamma), &dy, &mut dx, dgamma, dbeta);
    });
}

#[divan::bench(args = [1000, 5000, 32000])]
fn cross_entropy(bencher: Bencher, vocab: usize) {
    let (logits, mut x) = (values(vocab), vec![0.0; vocab]);
    bencher.counter(ItemsCount::new(vocab)).bench_local(|| {
        x.copy_from_slice(&logits);
        loss_gradient(black_box(&mut x), vocab / 2, 1e-3)
    });
}

#[divan::bench(args = [1 << 14])]
fn adam_step(bencher: Bencher, len: usize) {
    let (g, mut w, mut m, mut v) = (values(len), values(len), vec![0.0; len], vec![0.0; len]);
    let step = AdamStep {
        rate: 1e-3,
        beta1: 0.9,
        beta2: 0.999,
        root_correction: 1.0,
        epsilon: 1e-8,
        keep: 1.0,
    };
    bencher
        .counter(ItemsCount::new(len))
        .bench_local(|| adam(&mut w, black_box(&g), &mut m, &mut v, step));
}
