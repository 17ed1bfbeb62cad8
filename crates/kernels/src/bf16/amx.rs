//! The tiles of AMX: `tdpbf16ps`.

use super::tile::Tile;
use super::x86::{self, pack_left_blocks, pack_right_blocks};
use super::{GROUP, Kernels, Pair, Registers, Sums};
use crate::arch::amx::{self, ROW_BYTES, ROWS, TILE_BYTES, Tiles};
use std::arch::asm;

/// Rows and columns of the largest tile of a product: two registers of the one matrix by two of the other.
const LARGEST: usize = 2 * GROUP;

/// The kernels, where this processor has the instructions and they are allowed.
pub(super) fn found() -> Option<&'static Kernels> {
    const { assert!(ROWS == GROUP && ROW_BYTES == GROUP * size_of::<Pair>()) };
    const KERNELS: Kernels = Kernels {
        sums: Sums::Tiles,
        pack_left: pack_left_blocks,
        pack_right: pack_right_blocks,
        tile,
        // SAFETY: asked for where the instructions were found; a thread computes one part at a time.
        registers: || Registers::Tiles { _until_dropped: unsafe { Tiles::new() } },
        step: GROUP,
        depth: 256,
        high: LARGEST,
        band: LARGEST,
        wide: 2,
    };
    // AVX512_BF16 rounds what AMX multiplies.
    (x86::is_found() && amx::found().bf16).then_some(&KERNELS)
}

/// # Safety
/// The pointers of the tile are good for its sizes, whole steps of pairs are packed, and the thread has
/// [`Tiles`].
unsafe fn tile(t: Tile) {
    let is_whole = |n: usize| n == GROUP || n == LARGEST;
    // SAFETY: the caller's promise.
    unsafe {
        if is_whole(t.rows) && is_whole(t.columns) {
            multiply(&t);
            return;
        }
        // Registers are stored whole: what is not there would be written, too.
        let mut whole = [0.0; LARGEST * LARGEST];
        if t.add {
            for (i, row) in whole.chunks_exact_mut(LARGEST).enumerate().take(t.rows) {
                t.out.add(i * t.out_row).copy_to_nonoverlapping(row.as_mut_ptr(), t.columns);
            }
        }
        let size = |n: usize| n.next_multiple_of(GROUP);
        let (rows, columns) = (size(t.rows), size(t.columns));
        let out = whole.as_mut_ptr();
        multiply(&Tile { out, out_row: LARGEST, rows, columns, ..t });
        for (i, row) in whole.chunks_exact(LARGEST).enumerate().take(t.rows) {
            t.out.add(i * t.out_row).copy_from_nonoverlapping(row.as_ptr(), t.columns);
        }
    }
}

/// Adds up the pairs of a tile: `$begin` and `$store` are instructions for the registers of sums, `$sum`
/// those of a step.
macro_rules! sums {
    ($t:ident, [$($begin:literal),*], [$($sum:literal),*], [$($store:literal),*]) => {
        asm!(
            $($begin,)*
            "2:",
            $($sum,)*
            "add {a0}, {bytes}",
            "add {a1}, {bytes}",
            "add {b0}, {bytes}",
            "add {b1}, {bytes}",
            "dec {steps}",
            "jnz 2b",
            $($store,)*
            "/* {out1} is not in all of them */",
            a0 = inout(reg) $t.a => _,
            a1 = inout(reg) $t.a.wrapping_add($t.a_group) => _,
            b0 = inout(reg) $t.b => _,
            b1 = inout(reg) $t.b.wrapping_add($t.b_group) => _,
            steps = inout(reg) $t.pairs / GROUP => _,
            out0 = in(reg) $t.out,
            out1 = in(reg) $t.out.wrapping_add(GROUP * $t.out_row),
            row = in(reg) size_of::<f32>() * $t.out_row,
            in_row = in(reg) ROW_BYTES,
            bytes = const TILE_BYTES,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        )
    };
}

/// # Safety
/// As [`tile`], of 16 or 32 rows and columns.
unsafe fn multiply(t: &Tile) {
    // SAFETY: the caller's promise: registers of 16 rows of 64 bytes, in whole steps, are read of the
    // groups that the tile has and read and written of its result.
    unsafe {
        macro_rules! with {
            ([$($begin:literal),*], [$($load:literal),*], $sum:tt, $store:tt) => {
                if t.add {
                    sums!(t, [$($load),*], $sum, $store)
                } else {
                    sums!(t, [$($begin),*], $sum, $store)
                }
            };
        }
        match (t.rows > GROUP, t.columns > GROUP) {
            (true, true) => with!(
                ["tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3"],
                [
                    "tileloadd tmm0, [{out0} + {row}*1]",
                    "tileloadd tmm1, [{out0} + {row}*1 + 64]",
                    "tileloadd tmm2, [{out1} + {row}*1]",
                    "tileloadd tmm3, [{out1} + {row}*1 + 64]"
                ],
                [
                    "tileloadd tmm4, [{a0} + {in_row}*1]",
                    "tileloadd tmm6, [{b0} + {in_row}*1]",
                    "tileloadd tmm7, [{b1} + {in_row}*1]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tdpbf16ps tmm1, tmm4, tmm7",
                    "tileloadd tmm5, [{a1} + {in_row}*1]",
                    "tdpbf16ps tmm2, tmm5, tmm6",
                    "tdpbf16ps tmm3, tmm5, tmm7"
                ],
                [
                    "tilestored [{out0} + {row}*1], tmm0",
                    "tilestored [{out0} + {row}*1 + 64], tmm1",
                    "tilestored [{out1} + {row}*1], tmm2",
                    "tilestored [{out1} + {row}*1 + 64], tmm3"
                ]
            ),
            (true, false) => with!(
                ["tilezero tmm0", "tilezero tmm2"],
                ["tileloadd tmm0, [{out0} + {row}*1]", "tileloadd tmm2, [{out1} + {row}*1]"],
                [
                    "tileloadd tmm4, [{a0} + {in_row}*1]",
                    "tileloadd tmm6, [{b0} + {in_row}*1]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tileloadd tmm5, [{a1} + {in_row}*1]",
                    "tdpbf16ps tmm2, tmm5, tmm6"
                ],
                ["tilestored [{out0} + {row}*1], tmm0", "tilestored [{out1} + {row}*1], tmm2"]
            ),
            (false, true) => with!(
                ["tilezero tmm0", "tilezero tmm1"],
                ["tileloadd tmm0, [{out0} + {row}*1]", "tileloadd tmm1, [{out0} + {row}*1 + 64]"],
                [
                    "tileloadd tmm4, [{a0} + {in_row}*1]",
                    "tileloadd tmm6, [{b0} + {in_row}*1]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tileloadd tmm7, [{b1} + {in_row}*1]",
                    "tdpbf16ps tmm1, tmm4, tmm7"
                ],
                ["tilestored [{out0} + {row}*1], tmm0", "tilestored [{out0} + {row}*1 + 64], tmm1"]
            ),
            (false, false) => with!(
                ["tilezero tmm0"],
                ["tileloadd tmm0, [{out0} + {row}*1]"],
                [
                    "tileloadd tmm4, [{a0} + {in_row}*1]",
                    "tileloadd tmm6, [{b0} + {in_row}*1]",
                    "tdpbf16ps tmm0, tmm4, tmm6"
                ],
                ["tilestored [{out0} + {row}*1], tmm0"]
            ),
        }
    }
}
