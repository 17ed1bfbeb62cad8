//! The instructions of x86-64: AVX512_BF16, and packing for AMX.

use super::pack::Lanes;
use super::tile::Tile;
use super::{GROUP, Kernels, Pair, Registers, Sums};
use crate::arch::InstructionSet;
use once_cell::sync::Lazy;
use std::arch::is_x86_feature_detected as has;
use std::arch::x86_64::*;
use std::hint::black_box;
use std::mem::transmute;
use std::time::{Duration, Instant};

/// Rows of the highest tile.
const HIGH: usize = 6;

/// Groups of columns of the widest tile.
const WIDE: usize = 4;

/// The kernels, where this processor has the instructions and they are allowed.
pub(super) fn found() -> Option<&'static Kernels> {
    const KERNELS: Kernels = Kernels {
        sums: Sums::Pairs,
        pack_left: pack,
        pack_right: pack,
        tile,
        registers: || Registers::Vectors,
        step: 1,
        depth: 96,
        high: HIGH,
        band: GROUP,
        wide: WIDE,
    };
    is_found().then_some(&KERNELS)
}

/// Whether this processor has the instructions, and they are allowed.
pub(super) fn is_found() -> bool {
    InstructionSet::in_use() == InstructionSet::Avx512 && has!("avx512bf16")
}

/// A function with the instructions enabled.
macro_rules! enable {
    ($($function:tt)*) => {
        #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx512bf16,avx2,fma")]
        $($function)*
    };
}

fn mask(n: usize) -> __mmask16 {
    ((1u32 << n.min(GROUP)) - 1) as __mmask16
}

/// The first values of `low`, then those of `high`, rounded.
///
/// # Safety
/// The instructions were found on this processor, as for all functions here.
#[inline(always)]
unsafe fn rounded(low: __m512, high: __m512) -> __m512i {
    // SAFETY: the caller's promise; 32 halves are 64 bytes in either type.
    unsafe { transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low)) }
}

/// Up to 16 values that are `step` apart, zeros behind them.
///
/// # Safety
/// `n` values are there.
#[inline(always)]
unsafe fn load(from: *const f32, step: usize, n: usize) -> __m512 {
    // SAFETY: the caller's promise; nothing outside of the mask is read.
    unsafe {
        if step == 1 {
            return _mm512_maskz_loadu_ps(mask(n), from);
        }
        let mut values = [0.0; GROUP];
        for (p, value) in values.iter_mut().enumerate().take(n) {
            *value = *from.add(p * step);
        }
        _mm512_loadu_ps(values.as_ptr())
    }
}

enable! {
    /// # Safety
    /// The lanes are there, and room for a group of them.
    unsafe fn pack(from: Lanes, to: *mut Pair) {
        // SAFETY: the caller's promise.
        unsafe { pack_pairs(from, to, from.pairs()) }
    }
}

enable! {
    /// A group, pair after pair, with zeros up to whole blocks of [`GROUP`] pairs.
    ///
    /// # Safety
    /// As [`pack`], with room for whole blocks.
    pub(super) unsafe fn pack_right_blocks(from: Lanes, to: *mut Pair) {
        // SAFETY: the caller's promise.
        unsafe { pack_pairs(from, to, from.pairs().next_multiple_of(GROUP)) }
    }
}

enable! {
    /// A group in blocks of [`GROUP`] pairs, lane after lane of each, with zeros where there is nothing.
    ///
    /// # Safety
    /// As [`pack_right_blocks`].
    pub(super) unsafe fn pack_left_blocks(from: Lanes, to: *mut Pair) {
        // SAFETY: the caller's promise.
        unsafe {
            for p in (0..from.pairs()).step_by(GROUP) {
                let lanes = if from.lane == 1 {
                    transposed(by_pair(from, p))
                } else {
                    by_lane(from, p)
                };
                for (i, pairs) in lanes.iter().enumerate() {
                    _mm512_storeu_si512(to.add((p + i) * GROUP).cast(), *pairs);
                }
            }
        }
    }
}

enable! {
    /// The first `pairs` pairs of a group, pair after pair, with zeros where there is nothing.
    ///
    /// # Safety
    /// As [`pack`], with room for so many.
    #[inline(never)] // It is long, and there are two callers.
    unsafe fn pack_pairs(from: Lanes, to: *mut Pair, pairs: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            for p in (0..pairs).step_by(GROUP) {
                let turned =
                    if from.lane == 1 { by_pair(from, p) } else { transposed(by_lane(from, p)) };
                for (i, lanes) in turned.iter().enumerate().take(pairs - p) {
                    _mm512_storeu_si512(to.add((p + i) * GROUP).cast(), *lanes);
                }
            }
        }
    }
}

/// [`GROUP`] pairs from pair p on, each of all lanes, whose values for one place of k are neighbours.
///
/// # Safety
/// As [`pack`].
#[inline(always)]
unsafe fn by_pair(Lanes { start, step, count, k, .. }: Lanes, p: usize) -> [__m512i; GROUP] {
    // SAFETY: the caller's promise.
    unsafe {
        // Halves 0, 16, 1, 17 and so on.
        let both = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
        let both = _mm512_or_si512(both, _mm512_slli_epi32::<16>(both));
        let both = _mm512_or_si512(both, _mm512_set1_epi32(16 << 16));
        let mut pairs = [_mm512_setzero_si512(); GROUP];
        for (i, pair) in pairs.iter_mut().enumerate() {
            let at = 2 * (p + i);
            if at >= k {
                break;
            }
            let first = _mm512_maskz_loadu_ps(mask(count), start.add(at * step));
            let second = match at + 1 < k {
                true => _mm512_maskz_loadu_ps(mask(count), start.add((at + 1) * step)),
                false => _mm512_setzero_ps(),
            };
            *pair = _mm512_permutexvar_epi16(both, rounded(first, second));
        }
        pairs
    }
}

/// [`GROUP`] pairs from pair p on of each lane; lanes may lie anywhere.
///
/// # Safety
/// As [`pack`].
#[inline(always)]
unsafe fn by_lane(from: Lanes, p: usize) -> [__m512i; GROUP] {
    let Lanes { start, lane, step, count, k } = from;
    let here = k.saturating_sub(2 * p);
    // SAFETY: the caller's promise.
    unsafe {
        let mut lanes = [_mm512_setzero_si512(); GROUP];
        for (i, pairs) in lanes.iter_mut().enumerate().take(count) {
            let at = start.wrapping_add(i * lane + 2 * p * step);
            let first = load(at, step, here.min(GROUP));
            let second = match here > GROUP {
                true => load(at.add(GROUP * step), step, (here - GROUP).min(GROUP)),
                false => _mm512_setzero_ps(),
            };
            *pairs = rounded(first, second);
        }
        lanes
    }
}

/// Of four rows: quarter l of register e holds their values in column 4l + e. A function, for a closure is
/// not inlined for certain, and then its instructions are calls.
///
/// # Safety
/// As [`rounded`].
#[inline(always)]
unsafe fn interleaved([a, b, c, d]: [__m512i; 4]) -> [__m512i; 4] {
    // SAFETY: the caller's promise.
    unsafe {
        let (low, high) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
        let (low2, high2) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
        [
            _mm512_unpacklo_epi64(low, low2),
            _mm512_unpackhi_epi64(low, low2),
            _mm512_unpacklo_epi64(high, high2),
            _mm512_unpackhi_epi64(high, high2),
        ]
    }
}

/// The columns of 16 rows.
///
/// # Safety
/// As [`rounded`].
#[inline(always)]
unsafe fn transposed(rows: [__m512i; GROUP]) -> [__m512i; GROUP] {
    // SAFETY: the caller's promise.
    unsafe {
        let (of_four, _) = rows.as_chunks::<4>();
        let mut quads = [[_mm512_setzero_si512(); 4]; 4];
        for (quad, rows) in quads.iter_mut().zip(of_four) {
            *quad = interleaved(*rows);
        }
        let mut columns = rows;
        for e in 0..4 {
            let [a, b, c, d] = [quads[0][e], quads[1][e], quads[2][e], quads[3][e]];
            let (even, odd) =
                (_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0xdd>(a, b));
            let (even2, odd2) =
                (_mm512_shuffle_i32x4::<0x88>(c, d), _mm512_shuffle_i32x4::<0xdd>(c, d));
            columns[e] = _mm512_shuffle_i32x4::<0x88>(even, even2);
            columns[4 + e] = _mm512_shuffle_i32x4::<0x88>(odd, odd2);
            columns[8 + e] = _mm512_shuffle_i32x4::<0xdd>(even, even2);
            columns[12 + e] = _mm512_shuffle_i32x4::<0xdd>(odd, odd2);
        }
        columns
    }
}

enable! {
    unsafe fn sized<const ROWS: usize, const WIDE: usize>(tile: &Tile) {
        // SAFETY: the caller's promise.
        unsafe { multiply::<ROWS, WIDE>(tile) }
    }
}

/// # Safety
/// The pointers of the tile are good for its sizes.
unsafe fn tile(tile: Tile) {
    macro_rules! heights {
        ($wide:literal) => {
            [
                sized::<1, $wide>,
                sized::<2, $wide>,
                sized::<3, $wide>,
                sized::<4, $wide>,
                sized::<5, $wide>,
                sized::<6, $wide>,
            ]
        };
    }
    /// By width in groups, then by height.
    const SIZES: [[unsafe fn(&Tile); HIGH]; WIDE] =
        [heights!(1), heights!(2), heights!(3), heights!(4)];
    // SAFETY: the caller's promise.
    unsafe { SIZES[tile.columns.div_ceil(GROUP) - 1][tile.rows - 1](&tile) }
}

/// # Safety
/// As [`tile`], which has `ROWS` rows and is `WIDE` groups wide.
#[inline(always)]
unsafe fn multiply<const ROWS: usize, const WIDE: usize>(t: &Tile) {
    // SAFETY: the caller's promise; halves are the same 64 bytes in either type.
    unsafe {
        let mut sums = [[_mm512_setzero_ps(); WIDE]; ROWS];
        let (mut a, mut b) = (t.a, t.b);
        for _ in 0..t.pairs {
            let mut right = [_mm512_setzero_si512(); WIDE];
            for (g, right) in right.iter_mut().enumerate() {
                *right = _mm512_loadu_si512(b.add(g * t.b_group).cast());
            }
            for (i, sums) in sums.iter_mut().enumerate() {
                let left = _mm512_set1_epi32(a.add(i).cast::<i32>().read());
                for (sum, right) in sums.iter_mut().zip(right) {
                    // No closure does this: see `interleaved`.
                    let right = transmute::<__m512i, __m512bh>(right);
                    let left = transmute::<__m512i, __m512bh>(left);
                    *sum = _mm512_dpbf16_ps(*sum, right, left);
                }
            }
            a = a.wrapping_add(GROUP);
            b = b.wrapping_add(GROUP);
        }
        for (i, sums) in sums.iter().enumerate() {
            for (g, sum) in sums.iter().enumerate() {
                let out = t.out.add(i * t.out_row + g * GROUP);
                let here = mask(t.columns - g * GROUP);
                let before =
                    if t.add { _mm512_maskz_loadu_ps(here, out) } else { _mm512_setzero_ps() };
                let sum = if t.add { _mm512_add_ps(before, *sum) } else { *sum };
                _mm512_mask_storeu_ps(out, here, sum);
            }
        }
    }
}

/// Whether `vdpbf16ps` takes less than 1.5 times as long as a fused multiply-add of half the work. Both
/// are timed several times, and the shortest counts: nothing but the processor decides.
pub(super) fn is_faster() -> bool {
    static FASTER: Lazy<bool> = Lazy::new(|| {
        const ROUNDS: usize = 16;
        let mut best = [Duration::MAX; 2];
        for _ in 0..ROUNDS {
            for (best, work) in best.iter_mut().zip([products, fused]) {
                let began = Instant::now();
                // SAFETY: asked for where the instructions were found.
                unsafe { work() };
                *best = began.elapsed().min(*best);
            }
        }
        best[0].as_secs_f64() < 1.5 * best[1].as_secs_f64()
    });
    *FASTER
}

/// Sums that depend on none of the others: more than a processor has in work at once.
const SUMS: usize = 16;
/// Instructions of each.
const TIMES: usize = 1000;

enable! {
    unsafe fn products() {
        let x = black_box(_mm512_setzero_si512());
        // SAFETY: 64 bytes in either type.
        let x = unsafe { transmute::<__m512i, __m512bh>(x) };
        let mut sums = [_mm512_setzero_ps(); SUMS];
        for _ in 0..TIMES {
            for sum in &mut sums {
                *sum = _mm512_dpbf16_ps(*sum, x, x);
            }
        }
        black_box(sums);
    }
}

enable! {
    unsafe fn fused() {
        let x = black_box(_mm512_setzero_ps());
        let mut sums = [_mm512_setzero_ps(); SUMS];
        for _ in 0..TIMES {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(x, x, *sum);
            }
        }
        black_box(sums);
    }
}
