//! Numeric kernels of the CLLM engine: vector code, threads, aligned memory, and the merging of
//! symbols ([`merge`]). The only numeric `unsafe` of the project; every interface is safe and takes slices or views.
//!
//! Every kernel is compiled for each instruction set ([`arch`]) and chosen at run time; the environment
//! variable `CLLM_SIMD` (`portable`, `avx2`, `avx512`; `neon` on ARM) lowers the choice, for tests and for
//! comparing. Results have the same bits for all instruction sets, on every run and for every number
//! of threads ([`threads`]): a sum has [16 lanes](arch) whatever the registers are, product and sum are
//! rounded once, and no function of the C library decides about a bit ([`functions`]). [`bf16`] exists
//! for one set of instructions only.

#![allow(unsafe_code)]

pub mod adam;
pub mod arch;
pub mod ascii;
pub mod attention;
pub mod bf16;
pub mod cross_entropy;
pub mod dropout;
mod error;
pub mod fault;
pub mod functions;
pub mod gelu;
pub mod host;
pub mod int8;
pub mod layer_norm;
mod math;
pub mod matmul;
pub mod memory;
pub mod merge;
pub mod notice;
pub mod rotary;
mod settings;
pub mod squared_relu;
pub mod threads;
mod tile;
pub mod vector;
pub mod waves;

pub use error::{Error, Result};
pub use threads::{Pool, Work};
