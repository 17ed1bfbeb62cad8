//! `cllm_format.h`: model files, tokens and lattice points.

/// The room of `cllm_format.h` that only programs written for the original library ask for.
mod compat {
    pub mod lattice;
}

pub mod files;
pub use compat::lattice;
