//! Training: optimizer, schedules, steps, checkpoints.

pub mod batch;
pub mod optimizer;
pub mod slots;
pub mod workspace;
