//! Training: optimizer, schedules, steps, checkpoints.
