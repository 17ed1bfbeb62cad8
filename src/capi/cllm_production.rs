//! `cllm_production.h`: validation, checkpoints, early stopping, schedules, metrics.
