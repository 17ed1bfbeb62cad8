//! Instruction sets: which one is in use, kernels that are compiled for each of them, and vector
//! registers under one interface.
//!
//! A kernel is written once, over `Vector` or over whether fused multiply-add is an instruction, and
//! `dispatch!` is the one place that chooses. A new instruction set is a file like `avx2.rs`, which
//! implements `Vector`, says whether the processor has it and enables its instructions, and its lines
//! in [`InstructionSet`] and `dispatch!`.

#[cfg(target_arch = "x86_64")]
pub(crate) mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
mod vector;

use crate::{notice, settings};
#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::{Avx2, enable_avx2};
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::{Avx512, enable_avx512};
#[cfg(target_arch = "aarch64")]
pub(crate) use neon::{Neon, enable_neon};
use once_cell::sync::Lazy;
pub(crate) use portable::Portable;
pub(crate) use vector::{Vector, lanes_sum, product_sum};

/// An instruction set that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstructionSet {
    /// AVX-512 F, VL, DQ and BW.
    Avx512,
    /// AVX2 and FMA.
    Avx2,
    /// NEON of 64-bit ARM.
    Neon,
    /// What every processor of the target has.
    Portable,
}

impl InstructionSet {
    /// All that there are on processors of this kind, best first, with the names that `CLLM_SIMD`
    /// knows.
    pub(crate) const ALL: &[(Self, &str)] = &[
        #[cfg(target_arch = "x86_64")]
        (Self::Avx512, "avx512"),
        #[cfg(target_arch = "x86_64")]
        (Self::Avx2, "avx2"),
        #[cfg(target_arch = "aarch64")]
        (Self::Neon, "neon"),
        (Self::Portable, "portable"),
    ];

    /// The best one on processors of this kind.
    pub(crate) fn best() -> Self {
        Self::ALL.first().map_or(Self::Portable, |(set, _)| *set)
    }

    /// Whether this processor has it.
    fn is_found(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => avx512::found(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => avx2::found(),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => neon::found(),
            Self::Portable => true,
            _ => false,
        }
    }

    /// The one in use: the best that the processor has, or the best from the one on that `CLLM_SIMD`
    /// names.
    pub fn in_use() -> Self {
        static IN_USE: Lazy<InstructionSet> = Lazy::new(|| {
            settings::complaints().for_each(notice::leave);
            let all = InstructionSet::ALL;
            let wanted = settings::instruction_set(std::env::var_os(settings::SIMD).as_deref());
            let mut allowed = all.iter().skip_while(|(set, _)| *set != wanted);
            let found = allowed.find(|(set, _)| set.is_found());
            found.map_or(InstructionSet::Portable, |(set, _)| *set)
        });
        *IN_USE
    }
}

/// Calls `$body::<V>` with the registers in use, from inside a function that enables their
/// instructions. That function takes the arguments one by one: in a structure the compiler would no
/// longer know that slices don't overlap, and vectorise less.
macro_rules! dispatch {
    ($body:ident($($arg:ident: $ty:ty),*) -> $ret:ty) => {{
        #[cfg(target_arch = "x86_64")]
        $crate::arch::enable_avx512! {
            unsafe fn avx512($($arg: $ty),*) -> $ret {
                // SAFETY: inside a function that enables the instructions.
                unsafe { $body::<$crate::arch::Avx512>($($arg),*) }
            }
        }
        #[cfg(target_arch = "x86_64")]
        $crate::arch::enable_avx2! {
            unsafe fn avx2($($arg: $ty),*) -> $ret {
                // SAFETY: likewise.
                unsafe { $body::<$crate::arch::Avx2>($($arg),*) }
            }
        }
        #[cfg(target_arch = "aarch64")]
        $crate::arch::enable_neon! {
            unsafe fn neon($($arg: $ty),*) -> $ret {
                // SAFETY: likewise.
                unsafe { $body::<$crate::arch::Neon>($($arg),*) }
            }
        }
        match $crate::arch::InstructionSet::in_use() {
            // SAFETY: found on this processor.
            #[cfg(target_arch = "x86_64")]
            $crate::arch::InstructionSet::Avx512 => unsafe { avx512($($arg),*) },
            // SAFETY: likewise.
            #[cfg(target_arch = "x86_64")]
            $crate::arch::InstructionSet::Avx2 => unsafe { avx2($($arg),*) },
            // SAFETY: likewise.
            #[cfg(target_arch = "aarch64")]
            $crate::arch::InstructionSet::Neon => unsafe { neon($($arg),*) },
            // SAFETY: every processor has these.
            _ => unsafe { $body::<$crate::arch::Portable>($($arg),*) },
        }
    }};
}
pub(crate) use dispatch;

/// Defines a function that runs `$body::<V>` with the registers in use.
macro_rules! vector_fn {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) = $body:ident) => {
        $(#[$meta])*
        $vis fn $name($($arg: $ty),*) {
            $crate::arch::dispatch!($body($($arg: $ty),*) -> ())
        }
    };
}
pub(crate) use vector_fn;

/// Defines a function whose body is compiled for each instruction set; inside it `V` is the type of its
/// registers, whose instructions are enabled, and `FMA` says whether fused multiply-add is one of them.
macro_rules! simd {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?)
        -> $ret:ty $body:block) => {
        $(#[$meta])*
        $vis fn $name($($arg: $ty),*) -> $ret {
            #[inline(always)]
            fn body<V: $crate::arch::Vector, const FMA: bool>($($arg: $ty),*) -> $ret $body

            #[inline(always)]
            unsafe fn run<V: $crate::arch::Vector>($($arg: $ty),*) -> $ret {
                if V::FMA { body::<V, true>($($arg),*) } else { body::<V, false>($($arg),*) }
            }
            $crate::arch::dispatch!(run($($arg: $ty),*) -> $ret)
        }
    };
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $body:block) => {
        $crate::arch::simd! { $(#[$meta])* $vis fn $name($($arg: $ty),*) -> () $body }
    };
}
pub(crate) use simd;
