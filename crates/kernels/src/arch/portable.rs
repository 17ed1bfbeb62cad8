//! What every processor of the target has.

use super::Vector;
use crate::math::fused_register;
use crate::tile::{Panel, Tile, Tiles, multiply, pack_panel, tiles};

unsafe fn tile<const ROWS: usize, const WIDE: usize>(tile: &Tile) {
    // SAFETY: the caller's promise.
    unsafe { multiply::<Portable, ROWS, WIDE>(tile) }
}

unsafe fn pack<const WIDE: usize>(panel: Panel, to: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { pack_panel::<Portable, WIDE>(panel, to) }
}

/// Four floats, in a form that the compiler makes a register of.
#[derive(Clone, Copy)]
pub(crate) struct Portable([f32; 4]);

impl Vector for Portable {
    const LANES: usize = 4;
    const FMA: bool = cfg!(any(target_feature = "fma", target_arch = "aarch64"));
    const TILES: &'static Tiles = tiles! { Portable,
        1: 1 2 3 4;
        2: 1 2 3 4;
    };

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
        if Self::FMA {
            Self(std::array::from_fn(|i| self.0[i].mul_add(a.0[i], b.0[i])))
        } else {
            Self(fused_register(self.0, a.0, b.0))
        }
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
