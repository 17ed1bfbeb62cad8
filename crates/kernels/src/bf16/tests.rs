use super::reference::{self, add_pair, add_step, rounded};
use super::{Bfloat16, Sums, round};
use crate::matmul::Accumulate;
use crate::threads::Pool;
use ndarray::{Array2, ArrayView2, ShapeBuilder, s};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The definitions.
const DEFINITIONS: [Bfloat16; 2] =
    [Bfloat16 { kernels: &reference::PAIRS }, Bfloat16 { kernels: &reference::TILES }];

/// All that this processor has.
fn found() -> Vec<Bfloat16> {
    #[cfg(target_arch = "x86_64")]
    let kernels = [super::x86::found(), super::amx::found()];
    #[cfg(not(target_arch = "x86_64"))]
    let kernels: [Option<&'static super::Kernels>; 0] = [];
    kernels.into_iter().flatten().map(|kernels| Bfloat16 { kernels }).collect()
}

fn ways() -> Vec<Bfloat16> {
    [DEFINITIONS.to_vec(), found()].concat()
}

fn definition(sums: Sums) -> Bfloat16 {
    *DEFINITIONS.iter().find(|way| way.sums() == sums).unwrap()
}

/// Whether this processor is of the maker whose manual defines the instructions, and has to give the
/// bits of the definition. Of others it is known only that the sums are as good.
fn is_defined() -> bool {
    std::fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| text.contains("GenuineIntel"))
}

fn random(rows: usize, columns: usize, seed: u64) -> Array2<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    Array2::from_shape_simple_fn((rows, columns), || rng.random_range(-1.7..1.7))
}

fn value(x: f32) -> f32 {
    f32::from_bits(u32::from(rounded(x)) << 16)
}

#[test]
fn rounds_to_the_nearest() {
    for (x, want) in [
        (1.0, 0x3f80),
        (-2.5, 0xc020),
        // Halfway between neighbours: the even one.
        (f32::from_bits(0x3f80_8000), 0x3f80),
        (f32::from_bits(0x3f81_8000), 0x3f82),
        (f32::from_bits(0x3f80_8001), 0x3f81),
        (f32::from_bits(0x3f80_7fff), 0x3f80),
        // The largest finite ones, and infinity.
        (f32::MAX, 0x7f80),
        (f32::from_bits(0x7f7f_7fff), 0x7f7f),
        (f32::NEG_INFINITY, 0xff80),
        (-0.0, 0x8000),
        // The smallest normal one; below it is nothing.
        (f32::MIN_POSITIVE, 0x0080),
        (-f32::from_bits(0x007f_ffff), 0x8000),
        // NaN, whose payload is in the lower half.
        (f32::from_bits(0x7f80_0001), 0x7fc0),
        (f32::from_bits(0xffc1_2345), 0xffc1),
    ] {
        assert_eq!(rounded(x), want, "{x} {:08x}", x.to_bits());
    }
}

#[test]
fn sums_as_the_manual_says() {
    let pair = |low: f32, high: f32| u32::from(rounded(low)) | u32::from(rounded(high)) << 16;
    assert_eq!(add_pair(1.0, pair(2.0, 3.0), pair(5.0, 7.0)), 32.0);
    // The upper one first: 2^24 swallows 1, then the lower one takes 2^24 away.
    let big = (1u32 << 24) as f32;
    assert_eq!(add_pair(1.0, pair(-1.0, 1.0), pair(big, big)), 0.0);
    assert_eq!(add_pair(1.0, pair(1.0, -1.0), pair(big, big)), 1.0);
    // Below the smallest normal number: as an operand, as a sum, as a product.
    assert_eq!(add_pair(1e-40, 0, 0), 0.0);
    assert_eq!(add_pair(0.0, pair(1e-20, 0.0), pair(1e-20, 0.0)), 0.0);
    assert_eq!(add_pair(f32::MIN_POSITIVE, pair(-1.0, 0.0), pair(1.25e-38, 0.0)), 0.0);
    assert!(add_pair(0.0, pair(f32::INFINITY, 0.0), 0).is_nan());
}

#[test]
fn sums_of_tiles_as_the_manual_says() {
    let pair = |low: f32, high: f32| u32::from(rounded(low)) | u32::from(rounded(high)) << 16;
    let step = |sum: f32, pairs: &[(u32, u32)]| add_step(sum, pairs.iter().copied());
    assert_eq!(step(1.0, &[(pair(2.0, 3.0), pair(5.0, 7.0)); 2]), 63.0);
    // The even ones and the odd ones apart: 2^24 swallows 1 in either, then they take each other away.
    let big = (1u32 << 24) as f32;
    let swallowed = [(pair(1.0, -1.0), pair(big, big)), (pair(1.0, 1.0), pair(1.0, 1.0))];
    assert_eq!(step(1.0, &swallowed), 2.0);
    assert_eq!(step(1e-40, &[]), 0.0);
    assert_eq!(step(f32::MIN_POSITIVE, &[(pair(-1.0, 0.0), pair(1.25e-38, 0.0))]), 0.0);
}

/// f64 sums of the rounded values.
fn exact(a: ArrayView2<f32>, b: ArrayView2<f32>) -> Array2<f64> {
    a.mapv(|x| f64::from(value(x))).dot(&b.mapv(|x| f64::from(value(x))))
}

fn close(got: ArrayView2<f32>, want: &Array2<f64>, k: usize) {
    for (got, want) in got.iter().zip(want) {
        let tolerance = 8e-6 * (k as f64).sqrt();
        assert!((f64::from(*got) - want).abs() <= tolerance, "{got} {want}, k = {k}");
    }
}

/// Sizes around those of groups, tiles, panels and runs, in each way a matrix can lie: the same bits by
/// the definition and by the processor, with one thread and with several.
#[test]
fn agrees_with_the_definition() {
    let (serial, pool) = (Pool::serial(), Pool::start(3));
    for tested in ways() {
        let reference = definition(tested.sums());
        for (case, m) in [1, 5, 6, 7, 16, 17, 33, 100].into_iter().enumerate() {
            for (other, n) in [1, 15, 16, 17, 63, 64, 65, 130].into_iter().enumerate() {
                // Some are longer than a run of either kind.
                let k = [0, 1, 2, 31, 33, 193, 513, 1100][(case + other) % 8];
                let (a, b) = (random(m, k, 1), random(k, n, 2));
                let a_other = Array2::from_shape_vec((m, k).f(), a.t().iter().copied().collect());
                let b_other = Array2::from_shape_vec((k, n).f(), b.t().iter().copied().collect());
                // Neither rows nor columns side by side.
                let mut sparse = Array2::from_elem((m, 2 * k), f32::NAN);
                sparse.slice_mut(s![.., ..;2]).assign(&a);
                let (a_other, b_other) = (a_other.unwrap(), b_other.unwrap());
                let want = exact(a.view(), b.view());
                let mut defined = Array2::from_elem((m, n + 3), 7.0);
                for accumulate in [Accumulate::Replace, Accumulate::Add] {
                    let out = defined.slice_mut(s![.., 1..n + 1]);
                    reference.matmul(&serial, out, a.view(), b.view(), accumulate);
                }
                let mut first = is_defined().then_some(defined);
                for a in [a.view(), a_other.view(), sparse.slice(s![.., ..;2])] {
                    for b in [b.view(), b_other.view()] {
                        for pool in [&serial, &pool] {
                            // A result inside a wider buffer, which stays as it is around it.
                            let mut wide = Array2::from_elem((m, n + 3), 7.0);
                            let out = wide.slice_mut(s![.., 1..n + 1]);
                            tested.matmul(pool, out, a, b, Accumulate::Replace);
                            close(wide.slice(s![.., 1..n + 1]), &want, k);
                            let out = wide.slice_mut(s![.., 1..n + 1]);
                            tested.matmul(pool, out, a, b, Accumulate::Add);
                            close(wide.slice(s![.., 1..n + 1]), &(&want * 2.0), k);
                            let first = first.get_or_insert_with(|| wide.clone());
                            assert_eq!(*first, wide, "{tested:?}, {m}×{n}×{k}");
                        }
                    }
                }
            }
        }
    }
}

/// Values of every kind, denormal and not finite ones among them, bit for bit.
#[test]
fn agrees_with_the_definition_at_the_edges() {
    if !is_defined() {
        return;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut any = |rows, columns, rare: bool| {
        Array2::from_shape_simple_fn((rows, columns), || {
            let bits: u32 = rng.random();
            match bits % 8 {
                0 => f32::from_bits(bits & 0x807f_ffff),
                1 => f32::from_bits(bits & 0x83ff_ffff),
                2 if rare => f32::from_bits(bits | 0x7f80_0000),
                3 => 0.0f32.copysign(f32::from_bits(bits)),
                // Of small exponents, whose products and sums come near to nothing.
                4 | 5 => f32::from_bits(bits & 0x87ff_ffff | 0x1c00_0000),
                _ => f32::from_bits(bits & 0xbfff_ffff),
            }
        })
    };
    for rare in [false, true] {
        for k in [1, 2, 7, 250] {
            let (a, b) = (any(40, k, rare), any(k, 70, rare));
            let result = |way: Bfloat16| {
                let mut out = Array2::zeros((40, 70));
                let pool = Pool::serial();
                way.matmul(&pool, out.view_mut(), a.view(), b.view(), Accumulate::Replace);
                out
            };
            for way in found() {
                let defined = result(definition(way.sums()));
                assert!(rare || k < 250 || defined.iter().any(|x| *x != 0.0));
                for (got, want) in result(way).iter().zip(&defined) {
                    // Which NaN comes out of two is nobody's business.
                    let same = got.to_bits() == want.to_bits() || (got.is_nan() && want.is_nan());
                    assert!(same, "{way:?}: {got:e} {want:e} k = {k}");
                }
            }
        }
    }
}

#[test]
fn large_products_have_the_same_bits_for_any_number_of_threads() {
    let shapes = [(1600, 200, 300), (100, 700, 130), (130, 70, 1500), (4, 3000, 200)];
    for (way, (m, n, k)) in found().into_iter().flat_map(|way| shapes.map(|shape| (way, shape))) {
        let (a, b) = (random(m, k, 3), random(n, k, 4));
        let mut results = Vec::new();
        for threads in [1, 2, 3, 7] {
            let mut out = Array2::zeros((m, n));
            let pool = Pool::start(threads);
            way.matmul(&pool, out.view_mut(), a.view(), b.t(), Accumulate::Replace);
            results.push(out);
        }
        close(results[0].view(), &exact(a.view(), b.t()), k);
        assert!(results.iter().all(|r| *r == results[0]));
    }
}

#[test]
fn every_element_is_finished_once() {
    for way in ways() {
        for (m, n, k) in [(3, 40, 20), (800, 70, 30), (60, 300, 40)] {
            let (a, b) = (random(m, k, 5), random(n, k, 6));
            let (mut out, mut also) = (Array2::zeros((m, n)), Array2::zeros((m, n)));
            let (pool, second) = (Pool::start(2), Some(also.view_mut()));
            way.matmul_then(&pool, out.view_mut(), second, a.view(), b.t(), |i, j, part, also| {
                for (c, (x, also)) in part.iter_mut().zip(also).enumerate() {
                    *also += *x + (i * n + j + c) as f32;
                    *x += 1.0;
                }
            });
            let want = exact(a.view(), b.t());
            close(out.view(), &(&want + 1.0), k);
            let place = Array2::from_shape_fn((m, n), |(i, j)| (i * n + j) as f64);
            for ((got, want), place) in also.iter().zip(&want).zip(&place) {
                assert!((f64::from(*got) - want - place).abs() < 1e-2);
            }
        }
    }
}

#[test]
fn what_does_not_fit_panics() {
    let (a, b) = (random(3, 4, 7), random(5, 5, 8));
    for way in ways() {
        let mut out = Array2::zeros((3, 5));
        let run = std::panic::AssertUnwindSafe(|| {
            way.matmul(&Pool::serial(), out.view_mut(), a.view(), b.view(), Accumulate::Replace);
        });
        assert!(std::panic::catch_unwind(run).is_err());
    }
}

/// Which of the two it is depends on the processor; that it says the same again does not.
#[test]
fn the_faster_one_is_known() {
    for way in found() {
        assert_eq!(way.is_faster(), way.is_faster());
    }
}

#[test]
fn rounding_is_to_nearest_and_ties_to_even() {
    let (one, step) = (1.0f32, 2.0f32.powi(-7));
    let mut values = [
        one + 0.49 * step,
        one + 0.5 * step,
        one + 1.5 * step,
        -(one + 0.51 * step),
        f32::MAX,
        f32::NEG_INFINITY,
        -0.0,
        f32::from_bits(0x0001_8000),
    ];
    round(&mut values);
    let expected = [
        one,
        one,
        one + 2.0 * step,
        -(one + step),
        f32::INFINITY,
        f32::NEG_INFINITY,
        -0.0,
        f32::from_bits(0x0002_0000),
    ];
    assert_eq!(values.map(f32::to_bits), expected.map(f32::to_bits));
    let mut nan = [f32::NAN, f32::from_bits(0x7f80_0001), f32::from_bits(0xffff_ffff)];
    round(&mut nan);
    assert!(nan.iter().all(|x| x.is_nan()));
}
