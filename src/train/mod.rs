//! Training: optimizer, schedules, steps, checkpoints.

pub mod gradients;
pub mod schedule;
