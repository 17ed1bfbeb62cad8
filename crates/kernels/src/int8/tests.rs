use super::inputs::{Inputs, STACK};
use super::product::{multiply, way_of_many, ways};
use super::*;
use crate::arch::InstructionSet;
use crate::threads::Pool;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn random(len: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| rng.random_range(-1.0..1.0f32)).collect()
}

fn quantized(x: &[f32], rows: usize, columns: usize) -> Inputs {
    let mut inputs = Inputs::default();
    inputs.reserve(rows, columns).unwrap();
    inputs.quantize(&Pool::serial(), x, rows, columns);
    inputs
}

/// The product as the module's documentation says it, value by value.
fn reference(x: &Inputs, w: &Matrix) -> Vec<f32> {
    let (columns, blocks) = (w.columns(), blocks(w.columns()));
    let mut out = Vec::new();
    let mut weights = vec![0; columns];
    let mut scales = vec![0; blocks];
    for i in 0..x.rows() {
        for j in 0..w.rows() {
            w.row(j, &mut weights, &mut scales);
            let row = &x.integers(i / STACK)[i % STACK * blocks..][..blocks];
            let factors = &x.scales(i / STACK)[..blocks];
            let mut total = 0f32;
            for (b, scale) in scales.iter().enumerate() {
                let weights = &weights[b * BLOCK..columns.min((b + 1) * BLOCK)];
                let pairs = weights.iter().zip(&row[b].0);
                let sum: i64 = pairs.map(|(q, p)| i64::from(*q) * i64::from(*p)).sum();
                total += sum as f32 * (scale_value(*scale) * factors[b][i % STACK]);
            }
            out.push(total);
        }
    }
    out
}

fn bits(x: &[f32]) -> Vec<u32> {
    // All NaNs are alike.
    x.iter().map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }).collect()
}

/// Every way of this processor, with one thread and with several, against the reference.
fn check(x: &Inputs, matrices: &[&Matrix]) -> Vec<f32> {
    let parts: Vec<_> = matrices.iter().map(|w| reference(x, w)).collect();
    let mut want = Vec::new();
    for i in 0..x.rows() {
        for (w, part) in matrices.iter().zip(&parts) {
            want.extend_from_slice(&part[i * w.rows()..][..w.rows()]);
        }
    }
    for pool in [Pool::serial(), Pool::start(3)] {
        let allowed = InstructionSet::in_use();
        for (way, run) in way_of_many(allowed).into_iter().chain(ways(allowed)).enumerate() {
            let mut out = vec![7.0; want.len()];
            multiply(run, &pool, &mut out, x, matrices, &|_, _: &mut [f32]| ());
            let sizes: Vec<_> = matrices.iter().map(|w| (w.rows(), w.columns())).collect();
            assert_eq!(bits(&out), bits(&want), "way {way}: {} rows, {sizes:?}", x.rows());
        }
    }
    want
}

#[test]
fn products_are_exact_for_all_sizes() {
    let sizes = [
        (1, 1, 1),
        (1, 16, 4),
        (2, 17, 63),
        (3, 33, 64),
        (4, 64, 65),
        (5, 65, 100),
        (6, 79, 128),
        (7, 128, 130),
        (8, 15, 191),
        (13, 200, 256),
        (1, 3000, 70),
        (15, 16, 64),
        (16, 63, 512),
        (17, 65, 513),
        (31, 31, 500),
        (33, 100, 1100),
        (100, 130, 66),
        (200, 40, 20),
        (300, 20, 1028),
    ];
    for (n, rows, columns) in sizes {
        let x = quantized(&random(n * columns, 1), n, columns);
        let w = Matrix::quantized(&Pool::start(2), &random(rows * columns, 2), rows, columns);
        check(&x, &[&w.unwrap()]);
    }
}

#[test]
fn several_matrices_are_one() {
    for n in [1, 3, 150] {
        let x = quantized(&random(n * 96, 3), n, 96);
        let matrices = [20, 96, 1].map(|rows| {
            Matrix::quantized(&Pool::serial(), &random(rows * 96, rows as u64), rows, 96).unwrap()
        });
        check(&x, &matrices.each_ref());
    }
}

#[test]
fn nothing_overflows() {
    // All products of a block at their largest, of every sign.
    let columns = 3 * BLOCK;
    let mut rows = vec![vec![1.0; columns], vec![-1.0; columns]];
    rows.push((0..columns).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect());
    rows.push(vec![0.0; columns]);
    let all = rows.concat();
    let x = quantized(&all, rows.len(), columns);
    assert!(x.integers(0)[..6].iter().all(|x| x.0.iter().all(|q| q.unsigned_abs() == 127)));
    let w = Matrix::quantized(&Pool::serial(), &all, rows.len(), columns).unwrap();
    let out = check(&x, &[&w]);
    let scale = scale_value(0x3c02); // 1/127, rounded upwards to eight bits
    let q = (1.0 / scale).round();
    let want = q * scale * columns as f32;
    for (i, sign) in [1.0, -1.0, 0.0, 0.0, -1.0, 1.0, 0.0, 0.0].into_iter().enumerate() {
        assert!((out[i] - sign * want).abs() < 1e-3, "{i}: {} {want}", out[i]);
    }
}

#[test]
fn values_that_are_not_finite_are_nan_in_their_rows_alone() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut x = random(3 * 130, 5);
        x[130 + 70] = bad;
        let w = random(5 * 130, 6);
        let matrix = Matrix::quantized(&Pool::serial(), &w, 5, 130).unwrap();
        let out = check(&quantized(&x, 3, 130), &[&matrix]);
        assert!(out.iter().enumerate().all(|(i, y)| y.is_nan() == (i / 5 == 1)), "{out:?}");

        let mut w = w;
        w[2 * 130 + 129] = bad;
        let matrix = Matrix::quantized(&Pool::serial(), &w, 5, 130).unwrap();
        let out = check(&quantized(&random(3 * 130, 5), 3, 130), &[&matrix]);
        assert!(out.iter().enumerate().all(|(i, y)| y.is_nan() == (i % 5 == 2)), "{out:?}");
    }
}

#[test]
fn tiny_and_large_magnitudes() {
    for (scale, zero) in [(1e-38, true), (1e-31, true), (1e-29, false), (1e36, false)] {
        let x: Vec<f32> = random(BLOCK, 8).iter().map(|x| x * scale).collect();
        let w = Matrix::quantized(&Pool::serial(), &x, 1, BLOCK).unwrap();
        let mut again = vec![1.0; BLOCK];
        w.expand_row(0, &mut again);
        let largest = x.iter().fold(0f32, |m, x| m.max(x.abs()));
        for (x, again) in x.iter().zip(again) {
            if zero {
                assert_eq!(again, 0.0);
            } else {
                assert!((x - again).abs() <= largest / 127.0 * 0.51, "{x} {again}");
            }
        }
    }
}

#[test]
fn values_are_wrong_by_half_a_scale_at_most() {
    let (rows, columns) = (37, 150);
    let w = random(rows * columns, 9);
    let matrix = Matrix::quantized(&Pool::start(2), &w, rows, columns).unwrap();
    let (mut out, mut integers, mut scales) =
        (vec![0.0; columns], vec![0; columns], vec![0; blocks(columns)]);
    let mut copy = Matrix::zeroed(rows, columns).unwrap();
    for (i, row) in w.chunks_exact(columns).enumerate() {
        matrix.expand_row(i, &mut out);
        matrix.row(i, &mut integers, &mut scales);
        for (j, (x, y)) in row.iter().zip(&out).enumerate() {
            let scale = scale_value(scales[j / BLOCK]);
            assert!((x - y).abs() <= scale * 0.5001, "{x} {y} {scale}");
            assert_eq!(f32::from(integers[j]) * scale, *y);
        }
        // The scales are hardly larger than they have to be.
        for (block, scale) in row.chunks(BLOCK).zip(&scales) {
            let least = block.iter().fold(0f32, |m, x| m.max(x.abs())) / 127.0;
            assert!((least..least * 1.008).contains(&scale_value(*scale)));
        }
        assert!(copy.set_row(i, &integers, &scales));
    }
    assert!(copy.lines().iter().zip(matrix.lines()).all(|(a, b)| a.0 == b.0));
    assert_eq!(copy.scales(), matrix.scales());
    integers[3] = -128;
    assert!(!copy.set_row(0, &integers, &scales));
    assert!(copy.bytes() * 100 < 4 * 27 * 48 * 152 && copy.bytes() > rows * columns);
}

#[test]
fn every_element_is_finished_once() {
    let (n, rows, columns) = (110, 300, 256);
    let floats = random(n * columns, 1);
    let x = quantized(&floats, n, columns);
    let w = Matrix::quantized(&Pool::serial(), &random(rows * columns, 2), rows, columns).unwrap();
    let mut out = vec![0.0; n * 2 * rows];
    let finish = |j: usize, part: &mut [f32]| {
        part.iter_mut().enumerate().for_each(|(c, x)| *x += (j + c) as f32);
    };
    linear_then(&Pool::start(2), &mut out, &floats, n, &[&w, &w], finish);
    let want = reference(&x, &w);
    for (i, row) in out.chunks_exact(2 * rows).enumerate() {
        for (j, y) in row.iter().enumerate() {
            assert_eq!(*y, want[i * rows + j % rows] + j as f32);
        }
    }
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let x = random(20, 1);
    let w = Matrix::zeroed(3, 10).unwrap();
    let other = Matrix::zeroed(3, 11).unwrap();
    let refused = |len: usize, matrices: &[&Matrix]| {
        let run = || linear(&Pool::serial(), &mut vec![0.0; len], &x, 2, matrices);
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err()
    };
    assert!(!refused(6, &[&w]) && refused(5, &[&w]) && refused(7, &[&w]));
    assert!(refused(12, &[&w, &other]) && refused(6, &[&other]) && !refused(0, &[]));
    assert!(Matrix::zeroed(usize::MAX, 64).is_err());
    assert!(Matrix::zeroed(0, 64).is_ok() && Matrix::zeroed(64, 0).is_ok());
    linear(&Pool::serial(), &mut [], &[], 0, &[&Matrix::zeroed(5, 64).unwrap()]);
    for rows in [2, 100] {
        let mut out = vec![1.0; rows * 5];
        linear(&Pool::serial(), &mut out, &[], rows, &[&Matrix::zeroed(5, 0).unwrap()]);
        assert_eq!(out, vec![0.0; rows * 5]);
    }
}
