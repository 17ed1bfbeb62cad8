//! Training: optimizer, schedules, steps, checkpoints.

pub mod batch;
