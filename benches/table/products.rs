//! Products of the shapes of training and prefill, by the library and by the gemm crate.

use crate::measure::{Multiply, gemm_crate, median, ours, seconds};
use cllm_kernels::Pool;
use ndarray::Array2;

/// How the operands of a product lie.
#[derive(Clone, Copy)]
enum Kind {
    /// x·Wᵀ, of a forward pass.
    Forward,
    /// dY·W, of the input's gradient.
    Input,
    /// dYᵀ·X, of a weight's gradient.
    Weight,
}

/// Name, kind, rows of the result, its columns, terms of each sum.
const PRODUCTS: [(&str, Kind, [usize; 3]); 14] = [
    ("S QKV", Kind::Forward, [2048, 384, 128]),
    ("S W1", Kind::Forward, [2048, 512, 128]),
    ("S W2", Kind::Forward, [2048, 128, 512]),
    ("S dX of W1", Kind::Input, [2048, 128, 512]),
    ("S dW1", Kind::Weight, [512, 128, 2048]),
    ("S dW2", Kind::Weight, [128, 512, 2048]),
    ("M W1", Kind::Forward, [2048, 1536, 384]),
    ("M W2", Kind::Forward, [2048, 384, 1536]),
    ("M dX of W1", Kind::Input, [2048, 384, 1536]),
    ("M dW1", Kind::Weight, [1536, 384, 2048]),
    ("M dW2", Kind::Weight, [384, 1536, 2048]),
    ("M logits", Kind::Forward, [416, 5000, 384]),
    ("D W1", Kind::Forward, [256, 3072, 768]),
    ("D W2", Kind::Forward, [256, 768, 3072]),
];

const ROUNDS: usize = 9;

pub fn table() {
    println!("\nproducts, 1 thread, GFLOP/s          m      n      k     ours   gemm   ratio");
    let pool = Pool::serial();
    for (name, kind, [m, n, k]) in PRODUCTS {
        let make = |rows, columns| {
            Array2::from_shape_fn((rows, columns), |(r, c)| ((r * 7 + c * 3) % 13) as f32)
        };
        let (a, b) = match kind {
            Kind::Forward => (make(m, k), make(n, k)),
            Kind::Input => (make(m, k), make(k, n)),
            Kind::Weight => (make(k, m), make(k, n)),
        };
        let (a, b) = match kind {
            Kind::Forward => (a.view(), b.t()),
            Kind::Input => (a.view(), b.view()),
            Kind::Weight => (a.t(), b.view()),
        };
        let mut out = Array2::zeros((m, n));
        let flops = 2.0 * (m * n * k) as f64;
        let repeats = (2e8 / flops).ceil() as usize;
        let mut rate = |multiply: Multiply| {
            let time = seconds(|| (0..repeats).for_each(|_| multiply(&pool, out.view_mut(), a, b)));
            flops * repeats as f64 / time / 1e9
        };
        let (mut own, mut other, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let (x, y) = (rate(ours), rate(gemm_crate));
            own.push(x);
            other.push(y);
            ratios.push(x / y);
        }
        let (own, other) = (median(&mut own), median(&mut other));
        println!(
            "  {name:<30} {m:6} {n:6} {k:6}   {own:6.1} {other:6.1}   {:5.2}",
            median(&mut ratios)
        );
    }
}
