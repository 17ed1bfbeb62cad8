//! Training: optimizer, schedules, steps, checkpoints.

pub mod batch;
pub mod optimizer;
pub mod schedule;
pub mod slots;
pub mod stopping;
pub mod workspace;
