//! `cllm_metrics.h`: a record of how a training goes, for a user interface to show.

use crate::border::ctypes::{ThreadRole, ThreadState};
use crate::border::ffi::zeroable;
use std::ffi::{c_int, c_void};

/// Entries of `CLLMMetrics.threads`.
pub const MAX_TRACKED_THREADS: usize = 144;

/// A thread, or a worker.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ThreadMetrics {
    /// Its number; -1: the entry is not used.
    pub thread_id: c_int,
    /// The sphere that it works on, or -1.
    pub sphere_id: c_int,
    /// The thread above it, or -1.
    pub parent_thread_id: c_int,
    /// Threads above it.
    pub hierarchy_level: c_int,
    /// What it does.
    pub state: ThreadState,
    /// What it is for.
    pub role: ThreadRole,
    /// Where a picture shows it.
    pub position: [f32; 3],
    /// Batches that it was booked with.
    pub batches_processed: c_int,
    /// How busy it is, as the program says.
    pub current_workload: f32,
    /// The program's; epochs leave it.
    pub tokens_per_second: f32,
    /// The program's; epochs leave it.
    pub average_batch_time_ms: f32,
    /// Its number mod 12.
    pub symmetry_group: c_int,
    /// How many entries of `child_thread_ids` count.
    pub num_children: c_int,
    /// The threads below it.
    pub child_thread_ids: [c_int; 12],
}
layout!(ThreadMetrics, 108, thread_id: 0, sphere_id: 4, parent_thread_id: 8, hierarchy_level: 12, state: 16, role: 20, position: 24, batches_processed: 36, current_workload: 40, tokens_per_second: 44, average_batch_time_ms: 48, symmetry_group: 52, num_children: 56, child_thread_ids: 60);

/// How far a training is.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CLLMTrainingMetrics {
    /// The epoch.
    pub current_epoch: c_int,
    /// `config.num_epochs`.
    pub total_epochs: c_int,
    /// Batches so far.
    pub current_step: c_int,
    /// Batches of the epoch.
    pub total_steps: c_int,
    /// Loss of the latest batch in nats per token.
    pub current_loss: f32,
    /// The smallest one; 0: none yet.
    pub best_loss: f32,
    /// Their mean.
    pub average_loss: f32,
    /// Tokens per second.
    pub tokens_per_second: f32,
    /// Batches per second.
    pub batches_per_second: f32,
    /// Sequences per second.
    pub samples_per_second: f32,
    /// Seconds since the beginning.
    pub elapsed_time_seconds: f64,
    /// Seconds to the end of the epoch at this speed.
    pub estimated_time_remaining_seconds: f64,
}
layout!(CLLMTrainingMetrics, 56, current_epoch: 0, total_epochs: 4, current_step: 8, total_steps: 12, current_loss: 16, best_loss: 20, average_loss: 24, tokens_per_second: 28, batches_per_second: 32, samples_per_second: 36, elapsed_time_seconds: 40, estimated_time_remaining_seconds: 48);

/// Parts of the original library, as it showed them. Nothing in this library depends on them.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct FrameworkStatus {
    /// Lattice embeddings.
    pub using_lattice_embeddings: bool,
    /// Angular attention.
    pub using_angular_attention: bool,
    /// Crystalline loss.
    pub using_crystalline_loss: bool,
    /// Cymatic training.
    pub using_cymatic_training: bool,
    /// Attention by number-theoretic transforms.
    pub using_ntt_attention: bool,
    /// Vector instructions.
    pub using_simd_acceleration: bool,
}
layout!(FrameworkStatus, 6, using_lattice_embeddings: 0, using_angular_attention: 1, using_crystalline_loss: 2, using_cymatic_training: 3, using_ntt_attention: 4, using_simd_acceleration: 5);

/// Speed and memory.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct PerformanceMetrics {
    /// The program's.
    pub gcd_similarity_speedup: f32,
    /// The program's.
    pub ntt_attention_speedup: f32,
    /// The program's.
    pub ulam_spiral_speedup: f32,
    /// 0 to 1, as the program says.
    pub cache_hit_rate: f32,
    /// The program's.
    pub cache_miss_rate: f32,
    /// Bytes, as the program says.
    pub memory_used_bytes: usize,
    /// The most of them.
    pub memory_peak_bytes: usize,
    /// The program's.
    pub thread_utilization: f32,
    /// Workers of an epoch that runs.
    pub active_threads: c_int,
    /// Workers without one.
    pub idle_threads: c_int,
}
layout!(PerformanceMetrics, 56, gcd_similarity_speedup: 0, ntt_attention_speedup: 4, ulam_spiral_speedup: 8, cache_hit_rate: 12, cache_miss_rate: 16, memory_used_bytes: 24, memory_peak_bytes: 32, thread_utilization: 40, active_threads: 44, idle_threads: 48);

/// How a training goes. The program's own after cllm_metrics_init() or from cllm_metrics_create(),
/// or that of a system, from threaded_training_get_metrics().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CLLMMetrics {
    /// Threads, or workers; there may be more than entries.
    pub num_threads: c_int,
    /// Entry i is that of thread i.
    pub threads: [ThreadMetrics; MAX_TRACKED_THREADS],
    /// The thread that leads.
    pub control_thread_id: c_int,
    /// The program's.
    pub max_hierarchy_depth: c_int,
    /// How far it is.
    pub training: CLLMTrainingMetrics,
    /// What it uses.
    pub framework: FrameworkStatus,
    /// Speed and memory.
    pub performance: PerformanceMetrics,
    /// When the record was last told to a callback, or collected: milliseconds of the system's
    /// monotonic clock.
    pub timestamp_ms: u64,
    /// How often.
    pub update_count: u64,
}
layout!(CLLMMetrics, 15704, num_threads: 0, threads: 4, control_thread_id: 15556, max_hierarchy_depth: 15560, training: 15568, framework: 15624, performance: 15632, timestamp_ms: 15688, update_count: 15696);
zeroable!(CLLMMetrics);

/// Receives a record, with the pointer that was given beside the callback.
pub type CLLMMetricsCallback =
    Option<unsafe extern "C" fn(metrics: *const CLLMMetrics, user_data: *mut c_void)>;

pub mod record;

pub mod updates;

pub mod show;
