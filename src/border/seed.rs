//! Randomness that a C program chooses.

/// A seed from two draws of libc's `rand()`, so that a program's `srand` makes its run
/// reproducible. The only place that calls it for a context.
pub(crate) fn libc_seed() -> u64 {
    // SAFETY: rand has no preconditions.
    let (high, low) = unsafe { (libc::rand(), libc::rand()) };
    (u64::from(high as u32) << 32) | u64::from(low as u32)
}
