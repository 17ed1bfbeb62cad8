//! Instruction sets: which one is in use, kernels that are compiled for each of them, and vector
//! registers under one interface.
//!
//! A kernel is written once, over `Vector` or over whether fused multiply-add is an instruction, and
//! `run` is the one place that chooses. A new instruction set is a file like `avx2.rs`, which
//! implements `Vector` and says whether the processor has it, and its lines in [`InstructionSet`] and
//! `run`.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;
mod vector;

use crate::{notice, settings};
use once_cell::sync::Lazy;
pub(crate) use vector::{Vector, product_sum};

/// An instruction set that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstructionSet {
    /// AVX-512 F, VL, DQ and BW.
    Avx512,
    /// AVX2 and FMA.
    Avx2,
    /// What every processor of the target has.
    Portable,
}

impl InstructionSet {
    /// All of them, best first, with the names that `CLLM_SIMD` knows.
    pub(crate) const ALL: [(Self, &str); 3] =
        [(Self::Avx512, "avx512"), (Self::Avx2, "avx2"), (Self::Portable, "portable")];

    /// Whether this processor has it.
    fn is_found(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => avx512::found(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => avx2::found(),
            Self::Portable => true,
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }

    /// The one in use: the best that the processor has, or the best from the one on that `CLLM_SIMD`
    /// names.
    pub fn in_use() -> Self {
        static IN_USE: Lazy<InstructionSet> = Lazy::new(|| {
            settings::misspelt().for_each(notice::leave);
            let all = InstructionSet::ALL;
            let wanted = settings::instruction_set(std::env::var_os(settings::SIMD).as_deref());
            let mut allowed = all.iter().skip_while(|(set, _)| *set != wanted);
            let found = allowed.find(|(set, _)| set.is_found());
            found.map_or(InstructionSet::Portable, |(set, _)| *set)
        });
        *IN_USE
    }
}

/// A computation that is compiled for each instruction set. `simd!` and `vector_fn!` write these.
pub(crate) trait Kernel {
    /// What it returns.
    type Output;

    /// # Safety
    /// As the functions of `V`; implementations are `#[inline(always)]`.
    unsafe fn run<V: Vector>(self) -> Self::Output;
}

/// Runs `kernel` with the instructions in use.
#[inline(always)]
pub(crate) fn run<K: Kernel>(kernel: K) -> K::Output {
    match InstructionSet::in_use() {
        // SAFETY: found on this processor.
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512 => unsafe { avx512::Avx512::enter(kernel) },
        // SAFETY: likewise.
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx2 => unsafe { avx2::Avx2::enter(kernel) },
        // SAFETY: every processor has these.
        _ => unsafe { portable::Portable::enter(kernel) },
    }
}

/// Defines a function that runs `$body::<V>` with the registers in use.
macro_rules! vector_fn {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) = $body:ident) => {
        $(#[$meta])*
        $vis fn $name($($arg: $ty),*) {
            struct Call<T>(T);
            impl $crate::arch::Kernel for Call<($($ty,)*)> {
                type Output = ();
                #[inline(always)]
                unsafe fn run<V: $crate::arch::Vector>(self) {
                    let Call(($($arg,)*)) = self;
                    // SAFETY: the caller's promise.
                    unsafe { $body::<V>($($arg),*) }
                }
            }
            $crate::arch::run(Call(($($arg,)*)))
        }
    };
}
pub(crate) use vector_fn;

/// Defines a function whose body is compiled for each instruction set; inside it `FMA` says whether
/// fused multiply-add is an instruction there.
macro_rules! simd {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?)
        $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        $vis fn $name($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn body<const FMA: bool>($($arg: $ty),*) $(-> $ret)? $body

            struct Call<T>(T);
            impl $crate::arch::Kernel for Call<($($ty,)*)> {
                type Output = $crate::arch::output!($($ret)?);
                #[inline(always)]
                unsafe fn run<V: $crate::arch::Vector>(self) -> Self::Output {
                    let Call(($($arg,)*)) = self;
                    if V::FMA { body::<true>($($arg),*) } else { body::<false>($($arg),*) }
                }
            }
            $crate::arch::run(Call(($($arg,)*)))
        }
    };
}
pub(crate) use simd;

/// The return type of a function, `()` if it states none.
macro_rules! output {
    () => {
        ()
    };
    ($ret:ty) => {
        $ret
    };
}
pub(crate) use output;
