//! Failures on order ([`fault`]) for the sweep in C, which a test build is linked to. In no header.

use cllm_kernels::fault::{self, Fault};

/// [`fault::arm`]; `fault` is the number of a [`Fault`].
#[unsafe(no_mangle)]
pub extern "C" fn cllm_fault_arm(n: u64, fault: u32) {
    fault::arm(n, if fault == Fault::Panic as u32 { Fault::Panic } else { Fault::Memory });
}

/// [`fault::disarm`].
#[unsafe(no_mangle)]
pub extern "C" fn cllm_fault_disarm() -> u64 {
    fault::disarm()
}
