//! Training: optimizer, schedules, steps, checkpoints.

pub mod batch;
pub mod benchmark;
pub mod gradients;
pub mod metrics;
pub mod optimizer;
pub mod schedule;
pub mod slots;
pub mod stopping;
pub mod workspace;
