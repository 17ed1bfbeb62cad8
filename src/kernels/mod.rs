//! Numeric kernels: the only code outside the C interface that may be unsafe, for vector
//! instructions and the matrix-product library. All interfaces are safe and take slices or views.
//!
//! Every kernel is compiled for three instruction sets and chosen at run time; the environment
//! variable `CLLM_SIMD` (`portable`, `avx2`, `avx512`) lowers the choice, for tests and for
//! comparing. Results may differ between instruction sets in the last bits; for one instruction
//! set they are the same on every run and for every number of threads.

#[macro_use]
mod dispatch;

pub mod adam;
pub mod attention;
pub mod cross_entropy;
pub mod floats;
pub mod gelu;
mod math;
pub mod matmul;
pub mod norm;
mod scratch;
mod simd;
pub(crate) mod team;
mod tile;
pub mod vector;
pub mod waves;

pub use dispatch::{Level, level};
