//! Vector registers under one interface, for the kernels that lay out registers by hand. What
//! the compiler vectorises by itself goes through `simd!` instead.

/// A register of floats.
///
/// # Safety of its functions
/// They may run only where the level that the type belongs to was found on this processor, and
/// only inlined into a function that enables its instructions. Pointers need no alignment.
pub(crate) trait Vector: Copy {
    /// Floats of a register.
    const LANES: usize;
    unsafe fn zero() -> Self;
    unsafe fn splat(x: f32) -> Self;
    /// The `LANES` floats at `from`.
    unsafe fn load(from: *const f32) -> Self;
    /// Writes `LANES` floats.
    unsafe fn store(self, to: *mut f32);
    /// The first `n` floats at `from`, n < `LANES`; the others are 0 and not touched in memory.
    unsafe fn load_part(from: *const f32, n: usize) -> Self;
    /// Writes the first `n` floats, n < `LANES`.
    unsafe fn store_part(self, to: *mut f32, n: usize);
    /// self·a + b.
    unsafe fn mul_add(self, a: Self, b: Self) -> Self;
    unsafe fn add(self, other: Self) -> Self;
    /// The sum of the lanes, half by half.
    unsafe fn sum(self) -> f32;
    /// Turns the 8 columns of 8 rows, `from_step` floats apart, into 8 rows, `to_step` apart.
    unsafe fn transpose8(from: *const f32, from_step: usize, to: *mut f32, to_step: usize);
}

/// Defines a function that runs `$body::<V>` with the registers of the level in use.
macro_rules! vector_fn {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) = $body:ident) => {
        $(#[$meta])*
        $vis fn $name($($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
                unsafe fn avx512($($arg: $ty),*) {
                    // SAFETY: inside a function that enables the instructions.
                    unsafe { $body::<$crate::arch::vector::Avx512>($($arg),*) }
                }
                #[target_feature(enable = "avx2,fma")]
                unsafe fn avx2($($arg: $ty),*) {
                    // SAFETY: likewise.
                    unsafe { $body::<$crate::arch::vector::Avx2>($($arg),*) }
                }
                match $crate::arch::level() {
                    // SAFETY: `level` found these instructions on this processor.
                    $crate::arch::Level::Avx512 => return unsafe { avx512($($arg),*) },
                    // SAFETY: likewise.
                    $crate::arch::Level::Avx2 => return unsafe { avx2($($arg),*) },
                    $crate::arch::Level::Portable => {}
                }
            }
            // SAFETY: every processor has these.
            unsafe { $body::<$crate::arch::vector::Portable>($($arg),*) }
        }
    };
}
pub(crate) use vector_fn;

/// Σ a_i·b_i over the length of `a`, which `b` has too: four sums of registers, then their pairs.
///
/// # Safety
/// As for all of [`Vector`]; `b` holds as many values as `a`.
#[inline(always)]
pub(crate) unsafe fn product_sum<V: Vector>(a: &[f32], b: *const f32) -> f32 {
    const UNROLLED: usize = 4;
    let (n, a) = (a.len(), a.as_ptr());
    // SAFETY: all reads are below n; the rest is the caller's promise.
    unsafe {
        let mut sums = [V::zero(); UNROLLED];
        let mut i = 0;
        while n - i >= UNROLLED * V::LANES {
            for (v, sum) in sums.iter_mut().enumerate() {
                let at = i + v * V::LANES;
                *sum = V::load(a.add(at)).mul_add(V::load(b.add(at)), *sum);
            }
            i += UNROLLED * V::LANES;
        }
        while n - i >= V::LANES {
            sums[0] = V::load(a.add(i)).mul_add(V::load(b.add(i)), sums[0]);
            i += V::LANES;
        }
        if i < n {
            let (a, b) = (V::load_part(a.add(i), n - i), V::load_part(b.add(i), n - i));
            sums[1] = a.mul_add(b, sums[1]);
        }
        let [a, b, c, d] = sums;
        a.add(b).add(c.add(d)).sum()
    }
}

/// What every processor has: four floats, in a form that the compiler makes a register of.
#[derive(Clone, Copy)]
pub(crate) struct Portable([f32; 4]);

impl Vector for Portable {
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn zero() -> Self {
        Self([0.0; 4])
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Self([x; 4])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { from.cast::<[f32; 4]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { to.cast::<[f32; 4]>().write_unaligned(self.0) }
    }

    #[inline(always)]
    unsafe fn load_part(from: *const f32, n: usize) -> Self {
        let mut out = [0.0; 4];
        for (i, x) in out.iter_mut().enumerate().take(n) {
            // SAFETY: the caller's promise.
            *x = unsafe { from.add(i).read() };
        }
        Self(out)
    }

    #[inline(always)]
    unsafe fn store_part(self, to: *mut f32, n: usize) {
        for (i, x) in self.0.iter().enumerate().take(n) {
            // SAFETY: the caller's promise.
            unsafe { to.add(i).write(*x) }
        }
    }

    #[inline(always)]
    unsafe fn mul_add(self, a: Self, b: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] * a.0[i] + b.0[i]))
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] + other.0[i]))
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        (self.0[0] + self.0[2]) + (self.0[1] + self.0[3])
    }

    #[inline(always)]
    unsafe fn transpose8(from: *const f32, from_step: usize, to: *mut f32, to_step: usize) {
        for i in 0..8 {
            for j in 0..8 {
                // SAFETY: the caller's promise.
                unsafe { to.add(j * to_step + i).write(from.add(i * from_step + j).read()) }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Vector;
    use std::arch::x86_64::*;

    #[derive(Clone, Copy)]
    pub(crate) struct Avx512(__m512);

    #[inline(always)]
    fn mask16(n: usize) -> __mmask16 {
        ((1u32 << n) - 1) as __mmask16
    }

    impl Vector for Avx512 {
        const LANES: usize = 16;

        #[inline(always)]
        unsafe fn zero() -> Self {
            // SAFETY: the caller's promise, here and below.
            Self(unsafe { _mm512_setzero_ps() })
        }

        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            // SAFETY: as above.
            Self(unsafe { _mm512_set1_ps(x) })
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: as above.
            Self(unsafe { _mm512_loadu_ps(from) })
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: as above.
            unsafe { _mm512_storeu_ps(to, self.0) }
        }

        #[inline(always)]
        unsafe fn load_part(from: *const f32, n: usize) -> Self {
            // SAFETY: as above; lanes outside of the mask are not read.
            Self(unsafe { _mm512_maskz_loadu_ps(mask16(n), from) })
        }

        #[inline(always)]
        unsafe fn store_part(self, to: *mut f32, n: usize) {
            // SAFETY: as above; lanes outside of the mask are not written.
            unsafe { _mm512_mask_storeu_ps(to, mask16(n), self.0) }
        }

        #[inline(always)]
        unsafe fn mul_add(self, a: Self, b: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { _mm512_fmadd_ps(self.0, a.0, b.0) })
        }

        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { _mm512_add_ps(self.0, other.0) })
        }

        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            // SAFETY: as above; the level includes AVX2.
            unsafe {
                let high = _mm512_extractf32x8_ps::<1>(self.0);
                Avx2(_mm256_add_ps(_mm512_castps512_ps256(self.0), high)).sum()
            }
        }

        #[inline(always)]
        unsafe fn transpose8(from: *const f32, from_step: usize, to: *mut f32, to_step: usize) {
            // SAFETY: the level includes AVX2.
            unsafe { Avx2::transpose8(from, from_step, to, to_step) }
        }
    }

    #[derive(Clone, Copy)]
    pub(crate) struct Avx2(__m256);

    /// All bits set in the first `n` lanes.
    #[inline(always)]
    unsafe fn mask8(n: usize) -> __m256i {
        // SAFETY: the caller's promise.
        unsafe {
            let lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            _mm256_cmpgt_epi32(_mm256_set1_epi32(n as i32), lane)
        }
    }

    impl Vector for Avx2 {
        const LANES: usize = 8;

        #[inline(always)]
        unsafe fn zero() -> Self {
            // SAFETY: the caller's promise, here and below.
            Self(unsafe { _mm256_setzero_ps() })
        }

        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            // SAFETY: as above.
            Self(unsafe { _mm256_set1_ps(x) })
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: as above.
            Self(unsafe { _mm256_loadu_ps(from) })
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: as above.
            unsafe { _mm256_storeu_ps(to, self.0) }
        }

        #[inline(always)]
        unsafe fn load_part(from: *const f32, n: usize) -> Self {
            // SAFETY: as above; lanes outside of the mask are not read.
            Self(unsafe { _mm256_maskload_ps(from, mask8(n)) })
        }

        #[inline(always)]
        unsafe fn store_part(self, to: *mut f32, n: usize) {
            // SAFETY: as above; lanes outside of the mask are not written.
            unsafe { _mm256_maskstore_ps(to, mask8(n), self.0) }
        }

        #[inline(always)]
        unsafe fn mul_add(self, a: Self, b: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { _mm256_fmadd_ps(self.0, a.0, b.0) })
        }

        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { _mm256_add_ps(self.0, other.0) })
        }

        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            // SAFETY: as above.
            unsafe {
                let high = _mm256_extractf128_ps::<1>(self.0);
                let x = _mm_add_ps(_mm256_castps256_ps128(self.0), high);
                let x = _mm_add_ps(x, _mm_movehl_ps(x, x));
                _mm_cvtss_f32(_mm_add_ss(x, _mm_shuffle_ps::<1>(x, x)))
            }
        }

        #[inline(always)]
        unsafe fn transpose8(from: *const f32, from_step: usize, to: *mut f32, to_step: usize) {
            // SAFETY: as above.
            unsafe {
                let row = |i: usize| _mm256_loadu_ps(from.add(i * from_step));
                // Pairs of rows interleaved, then pairs of pairs, then halves exchanged.
                let pair = |i: usize| {
                    let (a, b) = (row(i), row(i + 1));
                    (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b))
                };
                let quad = |i: usize| {
                    let ((a, b), (c, d)) = (pair(i), pair(i + 2));
                    [
                        _mm256_shuffle_ps::<0x44>(a, c),
                        _mm256_shuffle_ps::<0xee>(a, c),
                        _mm256_shuffle_ps::<0x44>(b, d),
                        _mm256_shuffle_ps::<0xee>(b, d),
                    ]
                };
                let (low, high) = (quad(0), quad(4));
                for i in 0..4 {
                    let first = _mm256_permute2f128_ps::<0x20>(low[i], high[i]);
                    let second = _mm256_permute2f128_ps::<0x31>(low[i], high[i]);
                    _mm256_storeu_ps(to.add(i * to_step), first);
                    _mm256_storeu_ps(to.add((i + 4) * to_step), second);
                }
            }
        }
    }
}
