//! The tiles of AMX: eight registers of 16 rows of 64 bytes, and products of two of them.
//!
//! The instructions are written in assembly, for the compiler's own are not stable. It uses these
//! registers for nothing else: that what one block of assembly leaves in a tile is what the next one finds
//! relies on that.

use super::InstructionSet;
use once_cell::sync::Lazy;
use std::arch::asm;
use std::marker::PhantomData;

/// Rows of a tile.
pub(crate) const ROWS: usize = 16;

/// Bytes of a row of a tile.
pub(crate) const ROW_BYTES: usize = 64;

/// Bytes of a tile.
pub(crate) const TILE_BYTES: usize = ROWS * ROW_BYTES;

/// The products of tiles that may be used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Amx {
    /// Of bfloat16.
    pub bf16: bool,
    /// Of bytes.
    pub int8: bool,
}

/// Those of this processor, where the system lets this process have tiles and `CLLM_SIMD` does not
/// forbid AVX-512.
///
/// The first call asks the system for them, once in a process. From then on Linux refuses an alternate
/// signal stack (`sigaltstack`) that has no room for the tiles, less than about 12 KB; and it refuses
/// the tiles where a thread has such a stack already.
pub(crate) fn found() -> Amx {
    static FOUND: Lazy<Amx> = Lazy::new(|| {
        let allowed = InstructionSet::in_use() == InstructionSet::Avx512;
        let amx = if allowed { of_processor() } else { Amx::default() };
        if (amx.bf16 || amx.int8) && is_permitted() { amx } else { Amx::default() }
    });
    *FOUND
}

/// Intel, "Architectures Software Developer's Manual", volume 1, 18.3.
fn of_processor() -> Amx {
    use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
    /// The state of tiles, in the system's register of what it saves.
    const SAVED: u64 = 3 << 17;

    #[target_feature(enable = "xsave")]
    fn saved() -> u64 {
        // SAFETY: register 0 is there with these instructions.
        unsafe { _xgetbv(0) }
    }

    let has = |register: u32, bit: u32| register >> bit & 1 == 1;
    #[allow(unused_unsafe, reason = "safe since Rust 1.94")]
    // SAFETY: x86-64 has the instruction; leaf 7 is asked for where it is there.
    let (most, first) = unsafe { (__cpuid(0).eax, __cpuid(1).ecx) };
    // SAFETY: the system has enabled XGETBV.
    if most < 7 || !has(first, 27) || unsafe { saved() } & SAVED != SAVED {
        return Amx::default();
    }
    #[allow(unused_unsafe, reason = "safe since Rust 1.94")]
    // SAFETY: as above.
    let features = unsafe { __cpuid_count(7, 0).edx };
    let tiles = has(features, 24);
    Amx { bf16: tiles && has(features, 22), int8: tiles && has(features, 25) }
}

/// Whether Linux lets the threads of this process have tiles ("Using XSTATE features in user space
/// applications", Documentation/arch/x86/xstate.rst).
#[cfg(target_os = "linux")]
fn is_permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    // SAFETY: asks for a permission, and changes no memory.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

/// How other systems hand them out was not tried.
#[cfg(not(target_os = "linux"))]
fn is_permitted() -> bool {
    false
}

/// The tiles of this thread, of 16 rows of 64 bytes each, until it is dropped.
pub(crate) struct Tiles {
    /// Registers belong to a thread.
    _of_thread: PhantomData<*mut ()>,
}

impl Tiles {
    /// Gives the calling thread its tiles, all zero.
    ///
    /// # Safety
    /// [`found`] has found some, and the thread has no others.
    pub unsafe fn new() -> Self {
        /// What `ldtilecfg` reads: palette 1, bytes of a row and rows of each tile.
        #[repr(C, align(64))]
        struct Shapes {
            palette: u8,
            start_row: u8,
            reserved: [u8; 14],
            row_bytes: [u16; 16],
            rows: [u8; 16],
        }
        static SHAPES: Shapes = Shapes {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            row_bytes: {
                let mut all = [0; 16];
                all.split_at_mut(8).0.copy_from_slice(&[ROW_BYTES as u16; 8]);
                all
            },
            rows: {
                let mut all = [0; 16];
                all.split_at_mut(8).0.copy_from_slice(&[ROWS as u8; 8]);
                all
            },
        };
        // SAFETY: the caller's promise; reads the 64 bytes of the shapes.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) &raw const SHAPES,
                options(nostack, readonly, preserves_flags));
        }
        Self { _of_thread: PhantomData }
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: there are tiles. The system no longer has to save them.
        unsafe { asm!("tilerelease", options(nostack, nomem, preserves_flags)) };
    }
}
