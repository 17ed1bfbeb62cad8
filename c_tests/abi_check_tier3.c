/* abi_check_tier3.c - checks that headers and library have the tier 3 interface recorded in
 * tier3_structs.json and tier3_functions.json. Generated from those files.
 *   cc -I include c_tests/abi_check_tier3.c -L. -lcllm -lcrystalline -lalgorithms -o abi_check_tier3 && LD_LIBRARY_PATH=. ./abi_check_tier3
 * Layout, type and prototype mismatches fail the compile; missing functions fail the link; values are checked when run.
 * -DWITH_NEWEST      also what only the newest commit of the original has (metrics, model manager, ...)
 * -DWITH_MODEL_TAIL  also the longer CLLMModel of the newest commit (in this library: opt-in, see the contract, E.6)
 * -DORIGINAL         checks the original itself (add -lm): alone with its seed commit, with -DWITH_NEWEST with its newest commit
 *                    (which has dropped cllm_crystalline_training.h and changed two prototypes: those are left out)
 * -DHEADER_ALONE='"cllm_format.h"' -fsyntax-only
 *                    checks that this header alone makes the names of prime_types.h visible. The original's
 *                    cllm_inference.h, cllm_format.h, cllm_training.h do, hence all that include cllm_training.h
 */
#ifdef HEADER_ALONE
#include HEADER_ALONE
#if SYMMETRY_ORDER != 12 || !defined FIXED_POINT_SCALE || !defined BIGINT_IS_ZERO
#error "prime_types.h is not included"
#endif
extern BigInt *seen_bigint;
extern CLLMModel *seen_model;
#else

#if defined WITH_MODEL_TAIL && !defined ORIGINAL
#define CLLM_MODEL_EXTENDED
#endif
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include "cllm.h"
#include "cllm_utils.h"
#include "cllm_training.h"
#include "prime_types.h"
#include "ai/cllm_optimizer.h"
#if defined ORIGINAL && defined WITH_NEWEST
#define WITHOUT_SEED_ONLY
#ifndef WITH_MODEL_TAIL
#define WITH_MODEL_TAIL
#endif
#else
#include "cllm_crystalline_training.h"
#endif
#ifdef WITH_NEWEST
#include "cllm_training_threaded.h"
#include "cllm_metrics.h"
#include "cllm_model_manager.h"
#include "ai/cllm_hierarchical_training.h"
#include "prime_float_math.h"
#endif

#pragma GCC diagnostic error "-Wincompatible-pointer-types"

_Static_assert(sizeof(void *) == 8 && sizeof(long) == 8, "layouts were recorded on an LP64 target");

#define STRUCT(T, size, al) \
    _Static_assert(sizeof(T) == (size), "sizeof " #T); \
    _Static_assert(_Alignof(T) == (al), "alignof " #T)
#define FIELD(T, f, off, size) \
    _Static_assert(offsetof(T, f) == (off), "offsetof " #T "." #f); \
    _Static_assert(sizeof(((T *)0)->f) == (size), "sizeof " #T "." #f)
#define TYPED(T, f, off, size, type) \
    FIELD(T, f, off, size); \
    _Static_assert(__builtin_types_compatible_p(__typeof__(((T *)0)->f), type), "type of " #T "." #f)
#define SAME_TYPE(a, b) _Static_assert(__builtin_types_compatible_p(a, b), #a " and " #b)
#define OPAQUE(T) _Static_assert(sizeof(T *) == sizeof(void *), "opaque " #T)
#define VALUE(name, v) _Static_assert((name) == (v), #name)

/* These are declared by programs themselves, in exactly this form: a header that declares them otherwise
 * is a compile error in those programs, and here. */
#ifndef WITHOUT_SEED_ONLY
extern int cllm_validate_config(CLLMConfig*);
extern void cllm_print_config(CLLMConfig*);
#endif
extern uint64_t cllm_get_parameter_count(CLLMModel*);
extern uint64_t cllm_get_memory_usage(CLLMModel*);
extern void cllm_print_model_stats(CLLMModel*);
extern int cllm_check_model_health(CLLMModel*);
extern int cllm_compare_configs(CLLMConfig*, CLLMConfig*);
extern void cllm_lattice_aware_init(CLLMModel*, float);
#ifdef ORIGINAL /* not asked of this library */
extern void cllm_crystalline_init(CLLMModel*, float);
extern void cllm_symmetric_init(CLLMModel*, float);
extern void cllm_hierarchical_lattice_init(CLLMModel*, int, float);
#endif

/* structs: prime_types.h */
STRUCT(BigInt, 48, 8);
TYPED(BigInt, d, 0, 8, uint32_t*);
TYPED(BigInt, len, 8, 8, size_t);
TYPED(BigInt, capacity, 16, 8, size_t);
TYPED(BigInt, target_len, 24, 8, size_t);
TYPED(BigInt, extended_len, 32, 8, size_t);
TYPED(BigInt, negative, 40, 4, int);
TYPED(BigInt, extended_mode, 44, 4, int);
STRUCT(BigFixed, 32, 8);
TYPED(BigFixed, integer_part, 0, 8, BigInt*);
TYPED(BigFixed, fractional_part, 8, 8, BigInt*);
TYPED(BigFixed, negative, 16, 4, int);
TYPED(BigFixed, scale_bits, 24, 8, size_t);
STRUCT(SeenNode, 16, 8);
SAME_TYPE(struct SeenNode, SeenNode);
TYPED(SeenNode, value, 0, 4, int);
TYPED(SeenNode, next, 8, 8, struct SeenNode*);
STRUCT(SeenTable, 16, 8);
TYPED(SeenTable, buckets, 0, 8, SeenNode**);
TYPED(SeenTable, num_buckets, 8, 4, int);
STRUCT(CrystalAbacus, 40, 8);
TYPED(CrystalAbacus, primes, 0, 8, int*);
TYPED(CrystalAbacus, num_primes, 8, 8, size_t);
TYPED(CrystalAbacus, capacity, 16, 8, size_t);
TYPED(CrystalAbacus, candidate, 24, 4, int);
TYPED(CrystalAbacus, seen, 32, 8, SeenTable*);
STRUCT(CrystalAbacusBig, 80, 8);
TYPED(CrystalAbacusBig, primes, 0, 8, BigInt*);
TYPED(CrystalAbacusBig, num_primes, 8, 8, size_t);
TYPED(CrystalAbacusBig, capacity, 16, 8, size_t);
TYPED(CrystalAbacusBig, candidate, 24, 48, BigInt);
TYPED(CrystalAbacusBig, current_index, 72, 8, uint64_t);
STRUCT(Matrix, 16, 8);
TYPED(Matrix, rows, 0, 4, int);
TYPED(Matrix, cols, 4, 4, int);
TYPED(Matrix, data, 8, 8, double**);
STRUCT(BigMatrix, 16, 8);
TYPED(BigMatrix, rows, 0, 4, int);
TYPED(BigMatrix, cols, 4, 4, int);
TYPED(BigMatrix, data, 8, 8, BigInt***);
STRUCT(HyperVector, 16, 8);
TYPED(HyperVector, components, 0, 8, double*);
TYPED(HyperVector, dim, 8, 4, int);
STRUCT(BigHyperVector, 16, 8);
TYPED(BigHyperVector, components, 0, 8, BigInt**);
TYPED(BigHyperVector, dim, 8, 4, int);
STRUCT(LatticePoint, 208, 8);
TYPED(LatticePoint, coordinates, 0, 144, BigInt[3]);
TYPED(LatticePoint, prime_value, 144, 48, BigInt);
TYPED(LatticePoint, symmetry_group, 192, 4, int);
TYPED(LatticePoint, resonance, 200, 8, double);
STRUCT(Lattice, 176, 8);
TYPED(Lattice, points, 0, 8, LatticePoint*);
TYPED(Lattice, num_points, 8, 8, size_t);
TYPED(Lattice, capacity, 16, 8, size_t);
TYPED(Lattice, origin, 24, 144, BigInt[3]);
TYPED(Lattice, symmetry_order, 168, 4, int);
STRUCT(ClockPosition, 56, 8);
TYPED(ClockPosition, degree, 0, 4, int);
TYPED(ClockPosition, angle_radians, 8, 8, double);
TYPED(ClockPosition, position, 16, 4, int);
TYPED(ClockPosition, quadrant, 20, 4, int);
TYPED(ClockPosition, on_boundary, 24, 1, bool);
TYPED(ClockPosition, theta, 32, 8, double);
TYPED(ClockPosition, r, 40, 8, double);
TYPED(ClockPosition, clock_pos, 48, 1, uint8_t);
STRUCT(QuadrantFold, 24, 8);
TYPED(QuadrantFold, quadrant, 0, 4, int);
TYPED(QuadrantFold, folded_angle, 8, 8, double);
TYPED(QuadrantFold, reflected_x, 16, 1, bool);
TYPED(QuadrantFold, reflected_y, 17, 1, bool);
TYPED(QuadrantFold, flip_x, 18, 1, bool);
TYPED(QuadrantFold, flip_y, 19, 1, bool);
TYPED(QuadrantFold, polarity, 20, 4, int);
STRUCT(LatticeSphere, 40, 8);
TYPED(LatticeSphere, center_x, 0, 8, double);
TYPED(LatticeSphere, center_y, 8, 8, double);
TYPED(LatticeSphere, center_z, 16, 8, double);
TYPED(LatticeSphere, radius, 24, 8, double);
TYPED(LatticeSphere, prime, 32, 8, uint64_t);
STRUCT(Vector2D, 16, 8);
TYPED(Vector2D, x, 0, 8, double);
TYPED(Vector2D, y, 8, 8, double);
STRUCT(PythagoreanTriple, 56, 8);
TYPED(PythagoreanTriple, a, 0, 8, uint64_t);
TYPED(PythagoreanTriple, b, 8, 8, uint64_t);
TYPED(PythagoreanTriple, c, 16, 8, uint64_t);
TYPED(PythagoreanTriple, layer, 24, 4, int);
TYPED(PythagoreanTriple, p, 32, 8, uint64_t);
TYPED(PythagoreanTriple, q, 40, 8, uint64_t);
TYPED(PythagoreanTriple, ratio, 48, 8, double);
STRUCT(VedicTriple, 24, 8);
TYPED(VedicTriple, a, 0, 8, uint64_t);
TYPED(VedicTriple, b, 8, 8, uint64_t);
TYPED(VedicTriple, c, 16, 8, uint64_t);
STRUCT(M12Point, 112, 8);
TYPED(M12Point, coordinates, 0, 96, double[12]);
TYPED(M12Point, prime, 96, 8, uint64_t);
TYPED(M12Point, index, 104, 8, uint64_t);
STRUCT(LatticeEmbed15D, 128, 8);
TYPED(LatticeEmbed15D, residues, 0, 120, uint64_t[15]);
TYPED(LatticeEmbed15D, value, 120, 8, uint64_t);
STRUCT(LatticeEmbed, 128, 8);
SAME_TYPE(LatticeEmbed, LatticeEmbed15D);
STRUCT(CompleteClockMapping, 384, 8);
TYPED(CompleteClockMapping, clock, 0, 56, ClockPosition);
TYPED(CompleteClockMapping, theta, 56, 8, double);
TYPED(CompleteClockMapping, r, 64, 8, double);
TYPED(CompleteClockMapping, O_exp, 72, 8, double);
TYPED(CompleteClockMapping, L_value, 80, 8, double);
TYPED(CompleteClockMapping, m12, 88, 112, M12Point);
TYPED(CompleteClockMapping, embed, 200, 128, LatticeEmbed15D);
TYPED(CompleteClockMapping, psi, 328, 56, PythagoreanTriple);
STRUCT(KnownArtifact, 24, 8);
TYPED(KnownArtifact, L_value, 0, 8, double);
TYPED(KnownArtifact, artifact, 8, 8, const char*);
TYPED(KnownArtifact, description, 16, 8, const char*);
STRUCT(RainbowEntry, 8, 8);
TYPED(RainbowEntry, prime, 0, 8, BigInt*);
STRUCT(PrimeRainbowNode, 24, 8);
SAME_TYPE(struct PrimeRainbowNode, PrimeRainbowNode);
TYPED(PrimeRainbowNode, entry, 0, 8, RainbowEntry);
TYPED(PrimeRainbowNode, children, 8, 8, struct PrimeRainbowNode**);
TYPED(PrimeRainbowNode, child_count, 16, 4, int);
STRUCT(PrimeRainbowTable, 208, 8);
TYPED(PrimeRainbowTable, root, 0, 8, PrimeRainbowNode*);
TYPED(PrimeRainbowTable, count, 8, 4, int);
TYPED(PrimeRainbowTable, is_stable, 12, 1, bool);
TYPED(PrimeRainbowTable, fold_progression, 16, 96, double[12]);
TYPED(PrimeRainbowTable, negative_space, 112, 96, double[12]);
STRUCT(PrimeMathStats, 48, 8);
TYPED(PrimeMathStats, lattice_depth, 0, 8, size_t);
TYPED(PrimeMathStats, prime_cache_size, 8, 8, size_t);
TYPED(PrimeMathStats, rainbow_table_count, 16, 8, size_t);
TYPED(PrimeMathStats, rainbow_stable, 24, 4, int);
TYPED(PrimeMathStats, rainbow_self_similarity, 32, 8, double);
TYPED(PrimeMathStats, abacus_primes_generated, 40, 8, size_t);

/* structs: ai/cllm_optimizer.h */
STRUCT(OptimizerConfig, 80, 4);
TYPED(OptimizerConfig, type, 0, 4, OptimizerType);
TYPED(OptimizerConfig, learning_rate, 4, 4, float);
TYPED(OptimizerConfig, min_lr, 8, 4, float);
TYPED(OptimizerConfig, max_lr, 12, 4, float);
TYPED(OptimizerConfig, momentum, 16, 4, float);
TYPED(OptimizerConfig, use_nesterov, 20, 1, bool);
TYPED(OptimizerConfig, beta1, 24, 4, float);
TYPED(OptimizerConfig, beta2, 28, 4, float);
TYPED(OptimizerConfig, epsilon, 32, 4, float);
TYPED(OptimizerConfig, amsgrad, 36, 1, bool);
TYPED(OptimizerConfig, weight_decay, 40, 4, float);
TYPED(OptimizerConfig, decoupled_weight_decay, 44, 1, bool);
TYPED(OptimizerConfig, use_gradient_clipping, 45, 1, bool);
TYPED(OptimizerConfig, clip_value, 48, 4, float);
TYPED(OptimizerConfig, clip_norm, 52, 4, float);
TYPED(OptimizerConfig, scheduler, 56, 4, LRSchedulerType);
TYPED(OptimizerConfig, warmup_steps, 60, 4, int);
TYPED(OptimizerConfig, total_steps, 64, 4, int);
TYPED(OptimizerConfig, decay_rate, 68, 4, float);
TYPED(OptimizerConfig, decay_steps, 72, 4, int);
TYPED(OptimizerConfig, cycle_steps, 76, 4, int);
/* ends with a pthread_mutex_t: 192 bytes with glibc on x86-64, where that has 40 */
STRUCT(OptimizerState, 152 + sizeof(pthread_mutex_t), 8);
TYPED(OptimizerState, config, 0, 80, OptimizerConfig);
TYPED(OptimizerState, step, 80, 4, int);
TYPED(OptimizerState, current_lr, 84, 4, float);
TYPED(OptimizerState, parameters, 88, 8, float*);
TYPED(OptimizerState, gradients, 96, 8, float*);
TYPED(OptimizerState, num_parameters, 104, 8, size_t);
TYPED(OptimizerState, momentum_buffer, 112, 8, float*);
TYPED(OptimizerState, variance_buffer, 120, 8, float*);
TYPED(OptimizerState, max_variance_buffer, 128, 8, float*);
TYPED(OptimizerState, gradient_norm, 136, 4, float);
TYPED(OptimizerState, parameter_norm, 140, 4, float);
TYPED(OptimizerState, updates_applied, 144, 8, uint64_t);
TYPED(OptimizerState, mutex, 152, sizeof(pthread_mutex_t), pthread_mutex_t);
#if defined __x86_64__ && defined __GLIBC__
_Static_assert(sizeof(OptimizerState) == 192, "sizeof OptimizerState");
#endif

/* enums: ai/cllm_optimizer.h */
_Static_assert(sizeof(OptimizerType) == 4, "sizeof OptimizerType");
VALUE(OPTIMIZER_SGD, 0);
VALUE(OPTIMIZER_SGD_MOMENTUM, 1);
VALUE(OPTIMIZER_SGD_NESTEROV, 2);
VALUE(OPTIMIZER_ADAM, 3);
VALUE(OPTIMIZER_ADAMW, 4);
VALUE(OPTIMIZER_RMSPROP, 5);
VALUE(OPTIMIZER_ADAGRAD, 6);
_Static_assert(sizeof(LRSchedulerType) == 4, "sizeof LRSchedulerType");
VALUE(LR_SCHEDULER_NONE, 0);
VALUE(LR_SCHEDULER_WARMUP, 1);
VALUE(LR_SCHEDULER_LINEAR, 2);
VALUE(LR_SCHEDULER_COSINE, 3);
VALUE(LR_SCHEDULER_STEP, 4);
VALUE(LR_SCHEDULER_EXPONENTIAL, 5);
VALUE(LR_SCHEDULER_POLYNOMIAL, 6);
VALUE(LR_SCHEDULER_CYCLIC, 7);

/* constants: prime_types.h */
VALUE(FIXED_POINT_SCALE, 4294967296ULL);
SAME_TYPE(__typeof__(FIXED_POINT_SCALE), unsigned long long);

/* functions */
#ifndef WITHOUT_SEED_ONLY
static int (*p_cllm_validate_config)(CLLMConfig*) = cllm_validate_config;
static void (*p_cllm_print_config)(CLLMConfig*) = cllm_print_config;
#endif
static uint64_t (*p_cllm_get_parameter_count)(CLLMModel*) = cllm_get_parameter_count;
static uint64_t (*p_cllm_get_memory_usage)(CLLMModel*) = cllm_get_memory_usage;
static void (*p_cllm_print_model_stats)(CLLMModel*) = cllm_print_model_stats;
static int (*p_cllm_check_model_health)(CLLMModel*) = cllm_check_model_health;
static int (*p_cllm_compare_configs)(CLLMConfig*, CLLMConfig*) = cllm_compare_configs;
static void (*p_cllm_lattice_aware_init)(CLLMModel*, float) = cllm_lattice_aware_init;
#ifndef WITHOUT_SEED_ONLY
static float (*p_crystalline_gcd_similarity)(uint32_t, uint32_t) = crystalline_gcd_similarity;
static float (*p_cllm_compute_loss_crystalline)(CLLMTraining*, uint32_t*, uint32_t*, int) = cllm_compute_loss_crystalline;
static void (*p_crystalline_sort_by_locality)(uint32_t*, int) = crystalline_sort_by_locality;
static float (*p_cllm_train_epoch_crystalline)(CLLMTraining*) = cllm_train_epoch_crystalline;
#endif
static OptimizerState* (*p_optimizer_create)(const OptimizerConfig*, float*, size_t) = optimizer_create;
static void (*p_optimizer_free)(OptimizerState*) = optimizer_free;
static void (*p_optimizer_reset)(OptimizerState*) = optimizer_reset;
static int (*p_optimizer_step)(OptimizerState*, const float*) = optimizer_step;
static void (*p_optimizer_zero_grad)(OptimizerState*) = optimizer_zero_grad;
static int (*p_optimizer_sgd_step)(OptimizerState*, const float*) = optimizer_sgd_step;
static int (*p_optimizer_sgd_momentum_step)(OptimizerState*, const float*) = optimizer_sgd_momentum_step;
static int (*p_optimizer_sgd_nesterov_step)(OptimizerState*, const float*) = optimizer_sgd_nesterov_step;
static int (*p_optimizer_adam_step)(OptimizerState*, const float*) = optimizer_adam_step;
static int (*p_optimizer_adamw_step)(OptimizerState*, const float*) = optimizer_adamw_step;
static int (*p_optimizer_rmsprop_step)(OptimizerState*, const float*) = optimizer_rmsprop_step;
static int (*p_optimizer_adagrad_step)(OptimizerState*, const float*) = optimizer_adagrad_step;
static void (*p_optimizer_clip_gradients_by_value)(float*, size_t, float) = optimizer_clip_gradients_by_value;
static float (*p_optimizer_clip_gradients_by_norm)(float*, size_t, float) = optimizer_clip_gradients_by_norm;
static float (*p_optimizer_compute_gradient_norm)(const float*, size_t) = optimizer_compute_gradient_norm;
static float (*p_optimizer_compute_parameter_norm)(const float*, size_t) = optimizer_compute_parameter_norm;
static float (*p_optimizer_update_learning_rate)(OptimizerState*) = optimizer_update_learning_rate;
static float (*p_optimizer_get_learning_rate)(const OptimizerState*) = optimizer_get_learning_rate;
static void (*p_optimizer_set_learning_rate)(OptimizerState*, float) = optimizer_set_learning_rate;
static float (*p_optimizer_warmup_lr)(int, int, float) = optimizer_warmup_lr;
static float (*p_optimizer_linear_decay_lr)(int, int, float, float) = optimizer_linear_decay_lr;
static float (*p_optimizer_cosine_annealing_lr)(int, int, float, float) = optimizer_cosine_annealing_lr;
static float (*p_optimizer_step_decay_lr)(int, int, float, float, float) = optimizer_step_decay_lr;
static float (*p_optimizer_exponential_decay_lr)(int, int, float, float, float) = optimizer_exponential_decay_lr;
static float (*p_optimizer_cyclic_lr)(int, int, float, float) = optimizer_cyclic_lr;
static void (*p_optimizer_get_statistics)(const OptimizerState*, float*, float*, float*, int*) = optimizer_get_statistics;
static void (*p_optimizer_print_state)(const OptimizerState*) = optimizer_print_state;
static OptimizerConfig (*p_optimizer_default_config)(OptimizerType) = optimizer_default_config;
static bool (*p_optimizer_validate_config)(const OptimizerConfig*) = optimizer_validate_config;
#ifdef ORIGINAL
static void (*p_cllm_crystalline_init)(CLLMModel*, float) = cllm_crystalline_init;
static void (*p_cllm_symmetric_init)(CLLMModel*, float) = cllm_symmetric_init;
static void (*p_cllm_hierarchical_lattice_init)(CLLMModel*, int, float) = cllm_hierarchical_lattice_init;
#endif

#ifdef WITH_NEWEST
/* structs: cllm_metrics.h. The type of CLLMMetrics.training has no name here: the original calls it TrainingMetrics, as
 * cllm_production.h calls another one. */
typedef __typeof__(((CLLMMetrics *)0)->training) MetricsTraining;
STRUCT(ThreadMetrics, 108, 4);
TYPED(ThreadMetrics, thread_id, 0, 4, int);
TYPED(ThreadMetrics, sphere_id, 4, 4, int);
TYPED(ThreadMetrics, parent_thread_id, 8, 4, int);
TYPED(ThreadMetrics, hierarchy_level, 12, 4, int);
TYPED(ThreadMetrics, state, 16, 4, ThreadState);
TYPED(ThreadMetrics, role, 20, 4, ThreadRole);
TYPED(ThreadMetrics, position, 24, 12, float[3]);
TYPED(ThreadMetrics, batches_processed, 36, 4, int);
TYPED(ThreadMetrics, current_workload, 40, 4, float);
TYPED(ThreadMetrics, tokens_per_second, 44, 4, float);
TYPED(ThreadMetrics, average_batch_time_ms, 48, 4, float);
TYPED(ThreadMetrics, symmetry_group, 52, 4, int);
TYPED(ThreadMetrics, num_children, 56, 4, int);
TYPED(ThreadMetrics, child_thread_ids, 60, 48, int[12]);
STRUCT(MetricsTraining, 56, 8);
TYPED(MetricsTraining, current_epoch, 0, 4, int);
TYPED(MetricsTraining, total_epochs, 4, 4, int);
TYPED(MetricsTraining, current_step, 8, 4, int);
TYPED(MetricsTraining, total_steps, 12, 4, int);
TYPED(MetricsTraining, current_loss, 16, 4, float);
TYPED(MetricsTraining, best_loss, 20, 4, float);
TYPED(MetricsTraining, average_loss, 24, 4, float);
TYPED(MetricsTraining, tokens_per_second, 28, 4, float);
TYPED(MetricsTraining, batches_per_second, 32, 4, float);
TYPED(MetricsTraining, samples_per_second, 36, 4, float);
TYPED(MetricsTraining, elapsed_time_seconds, 40, 8, double);
TYPED(MetricsTraining, estimated_time_remaining_seconds, 48, 8, double);
STRUCT(FrameworkStatus, 6, 1);
TYPED(FrameworkStatus, using_lattice_embeddings, 0, 1, bool);
TYPED(FrameworkStatus, using_angular_attention, 1, 1, bool);
TYPED(FrameworkStatus, using_crystalline_loss, 2, 1, bool);
TYPED(FrameworkStatus, using_cymatic_training, 3, 1, bool);
TYPED(FrameworkStatus, using_ntt_attention, 4, 1, bool);
TYPED(FrameworkStatus, using_simd_acceleration, 5, 1, bool);
STRUCT(PerformanceMetrics, 56, 8);
TYPED(PerformanceMetrics, gcd_similarity_speedup, 0, 4, float);
TYPED(PerformanceMetrics, ntt_attention_speedup, 4, 4, float);
TYPED(PerformanceMetrics, ulam_spiral_speedup, 8, 4, float);
TYPED(PerformanceMetrics, cache_hit_rate, 12, 4, float);
TYPED(PerformanceMetrics, cache_miss_rate, 16, 4, float);
TYPED(PerformanceMetrics, memory_used_bytes, 24, 8, size_t);
TYPED(PerformanceMetrics, memory_peak_bytes, 32, 8, size_t);
TYPED(PerformanceMetrics, thread_utilization, 40, 4, float);
TYPED(PerformanceMetrics, active_threads, 44, 4, int);
TYPED(PerformanceMetrics, idle_threads, 48, 4, int);
STRUCT(CLLMMetrics, 15704, 8);
TYPED(CLLMMetrics, num_threads, 0, 4, int);
TYPED(CLLMMetrics, threads, 4, 15552, ThreadMetrics[144]);
TYPED(CLLMMetrics, control_thread_id, 15556, 4, int);
TYPED(CLLMMetrics, max_hierarchy_depth, 15560, 4, int);
FIELD(CLLMMetrics, training, 15568, 56);
TYPED(CLLMMetrics, framework, 15624, 6, FrameworkStatus);
TYPED(CLLMMetrics, performance, 15632, 56, PerformanceMetrics);
TYPED(CLLMMetrics, timestamp_ms, 15688, 8, uint64_t);
TYPED(CLLMMetrics, update_count, 15696, 8, uint64_t);
STRUCT(ManagedModel, 1384, 8);
TYPED(ManagedModel, name, 0, 256, char[256]);
TYPED(ManagedModel, path, 256, 1024, char[1024]);
TYPED(ManagedModel, model, 1280, 8, CLLMModel*);
TYPED(ManagedModel, is_loaded, 1288, 1, bool);
TYPED(ManagedModel, is_training, 1289, 1, bool);
TYPED(ManagedModel, read_count, 1292, 4, uint32_t);
FIELD(ManagedModel, lock, 1296, 56);
TYPED(ManagedModel, vocab_size, 1352, 4, uint32_t);
TYPED(ManagedModel, embedding_dim, 1356, 4, uint32_t);
TYPED(ManagedModel, num_layers, 1360, 4, uint32_t);
TYPED(ManagedModel, num_heads, 1364, 4, uint32_t);
TYPED(ManagedModel, created_time, 1368, 8, uint64_t);
TYPED(ManagedModel, modified_time, 1376, 8, uint64_t);
OPAQUE(HierarchicalTrainingSystem);
_Static_assert(sizeof(ThreadState) == 4, "sizeof ThreadState");
VALUE(THREAD_STATE_IDLE, 0);
VALUE(THREAD_STATE_WORKING, 1);
VALUE(THREAD_STATE_CONTROL, 2);
VALUE(THREAD_STATE_WAITING, 3);
VALUE(THREAD_STATE_TERMINATED, 4);
_Static_assert(sizeof(ThreadRole) == 4, "sizeof ThreadRole");
VALUE(THREAD_ROLE_WORKER, 0);
VALUE(THREAD_ROLE_CONTROL, 1);
VALUE(THREAD_ROLE_BOTH, 2);
VALUE(MAX_TRACKED_THREADS, 144);
VALUE(MODEL_NAME_MAX, 256);
VALUE(MODEL_PATH_MAX, 1024);
SAME_TYPE(CLLMMetricsCallback, void (*)(const CLLMMetrics *, void *));
static float (*p_threaded_train_epoch_lockfree)(ThreadedTrainingSystem*, int) = threaded_train_epoch_lockfree;
static CLLMMetrics* (*p_threaded_training_get_metrics)(ThreadedTrainingSystem*) = threaded_training_get_metrics;
static void (*p_cllm_metrics_init)(CLLMMetrics*) = cllm_metrics_init;
static void (*p_cllm_metrics_set_callback)(CLLMMetricsCallback, void*) = cllm_metrics_set_callback;
static void (*p_cllm_metrics_collect)(CLLMMetrics*, void*, void*) = cllm_metrics_collect;
static void (*p_cllm_metrics_update_thread)(CLLMMetrics*, int, ThreadState, float, const float*) = cllm_metrics_update_thread;
static void (*p_cllm_metrics_update_training)(CLLMMetrics*, int, int, float) = cllm_metrics_update_training;
static void (*p_cllm_metrics_update_performance)(CLLMMetrics*, float, float, size_t) = cllm_metrics_update_performance;
static ThreadMetrics* (*p_cllm_metrics_get_thread)(CLLMMetrics*, int) = cllm_metrics_get_thread;
static ThreadMetrics* (*p_cllm_metrics_get_control_thread)(CLLMMetrics*) = cllm_metrics_get_control_thread;
static int (*p_cllm_metrics_get_worker_threads)(CLLMMetrics*, ThreadMetrics**, int) = cllm_metrics_get_worker_threads;
static void (*p_cllm_metrics_print)(const CLLMMetrics*) = cllm_metrics_print;
static CLLMMetrics* (*p_cllm_metrics_create)(int) = cllm_metrics_create;
static void (*p_cllm_metrics_free)(CLLMMetrics*) = cllm_metrics_free;
static void (*p_cllm_metrics_update_thread_state)(CLLMMetrics*, int, ThreadState) = cllm_metrics_update_thread_state;
static void (*p_cllm_metrics_update_thread_workload)(CLLMMetrics*, int, int) = cllm_metrics_update_thread_workload;
static void (*p_cllm_metrics_update_training_progress)(CLLMMetrics*, int, int, int) = cllm_metrics_update_training_progress;
static void (*p_cllm_metrics_update_loss)(CLLMMetrics*, float) = cllm_metrics_update_loss;
static void (*p_cllm_metrics_update_framework_status)(CLLMMetrics*, int, int, int, int) = cllm_metrics_update_framework_status;
static void (*p_cllm_metrics_invoke_callbacks)(CLLMMetrics*) = cllm_metrics_invoke_callbacks;
static bool (*p_model_manager_init)(const char*) = model_manager_init;
static void (*p_model_manager_cleanup)(void) = model_manager_cleanup;
static ManagedModel* (*p_model_manager_create)(const char*, const CLLMConfig*) = model_manager_create;
static ManagedModel* (*p_model_manager_load)(const char*, const char*) = model_manager_load;
static bool (*p_model_manager_save)(const char*) = model_manager_save;
static bool (*p_model_manager_unload)(const char*) = model_manager_unload;
static bool (*p_model_manager_reload)(const char*) = model_manager_reload;
static bool (*p_model_manager_delete)(const char*, bool) = model_manager_delete;
static CLLMModel* (*p_model_manager_acquire_read)(const char*) = model_manager_acquire_read;
static CLLMModel* (*p_model_manager_acquire_write)(const char*) = model_manager_acquire_write;
static void (*p_model_manager_release_read)(const char*) = model_manager_release_read;
static void (*p_model_manager_release_write)(const char*) = model_manager_release_write;
static ManagedModel* (*p_model_manager_get)(const char*) = model_manager_get;
static ManagedModel** (*p_model_manager_list)(uint32_t*) = model_manager_list;
static bool (*p_model_manager_exists)(const char*) = model_manager_exists;
static bool (*p_model_manager_get_status)(const char*, bool*, bool*, uint32_t*) = model_manager_get_status;
static CLLMModel* (*p_model_manager_get_first)(void) = model_manager_get_first;
static HierarchicalTrainingSystem* (*p_hierarchical_training_create)(CLLMTraining*, int, CLLMBatchIterator*) = hierarchical_training_create;
static float (*p_hierarchical_train_epoch)(HierarchicalTrainingSystem*) = hierarchical_train_epoch;
static void (*p_hierarchical_training_free)(HierarchicalTrainingSystem*) = hierarchical_training_free;
static int (*p_prime_isnan)(double) = prime_isnan;
#ifdef ORIGINAL /* not asked of this library */
STRUCT(ThreadLocalTrainingContext, 128, 8);
TYPED(ThreadLocalTrainingContext, input_embeddings, 0, 8, float*);
TYPED(ThreadLocalTrainingContext, layer_inputs, 8, 8, float**);
TYPED(ThreadLocalTrainingContext, attention_outputs, 16, 8, float**);
TYPED(ThreadLocalTrainingContext, ff_outputs, 24, 8, float**);
TYPED(ThreadLocalTrainingContext, layer_outputs, 32, 8, float**);
TYPED(ThreadLocalTrainingContext, ff_hidden, 40, 8, float**);
TYPED(ThreadLocalTrainingContext, final_hidden, 48, 8, float*);
TYPED(ThreadLocalTrainingContext, logits, 56, 8, float*);
FIELD(ThreadLocalTrainingContext, attention_cache, 64, 8);
typedef __typeof__(*((ThreadLocalTrainingContext *)0)->attention_cache) ThreadLocalTrainingContext_attention_cache;
STRUCT(ThreadLocalTrainingContext_attention_cache, 40, 8);
TYPED(ThreadLocalTrainingContext_attention_cache, attention_weights, 0, 8, float*);
TYPED(ThreadLocalTrainingContext_attention_cache, queries, 8, 8, float*);
TYPED(ThreadLocalTrainingContext_attention_cache, keys, 16, 8, float*);
TYPED(ThreadLocalTrainingContext_attention_cache, values, 24, 8, float*);
TYPED(ThreadLocalTrainingContext_attention_cache, scores, 32, 8, float*);
TYPED(ThreadLocalTrainingContext, grad_logits, 72, 8, float*);
TYPED(ThreadLocalTrainingContext, grad_hidden, 80, 8, float*);
TYPED(ThreadLocalTrainingContext, grad_layer, 88, 8, float*);
TYPED(ThreadLocalTrainingContext, batch_size, 96, 4, int);
TYPED(ThreadLocalTrainingContext, seq_len, 100, 4, int);
TYPED(ThreadLocalTrainingContext, num_layers, 104, 4, int);
TYPED(ThreadLocalTrainingContext, embed_dim, 108, 4, int);
TYPED(ThreadLocalTrainingContext, vocab_size, 112, 4, int);
TYPED(ThreadLocalTrainingContext, ff_hidden_dim, 116, 4, int);
TYPED(ThreadLocalTrainingContext, num_heads, 120, 4, int);
STRUCT(ModelManager, 1080, 8);
TYPED(ModelManager, models, 0, 8, ManagedModel**);
TYPED(ModelManager, num_models, 8, 4, uint32_t);
TYPED(ModelManager, capacity, 12, 4, uint32_t);
TYPED(ModelManager, manager_lock, 16, 40, pthread_mutex_t);
TYPED(ModelManager, models_dir, 56, 1024, char[1024]);
static int (*p_threaded_training_get_next_sphere_id)(void*) = threaded_training_get_next_sphere_id;
static ThreadLocalTrainingContext* (*p_thread_local_training_create)(int, int, int, int, int, int, int) = thread_local_training_create;
static void (*p_thread_local_training_free)(ThreadLocalTrainingContext*) = thread_local_training_free;
static float (*p_cllm_forward_training_threaded)(CLLMTraining*, ThreadLocalTrainingContext*, uint32_t*) = cllm_forward_training_threaded;
static void (*p_cllm_backward_training_threaded)(CLLMTraining*, ThreadLocalTrainingContext*, uint32_t*, float*) = cllm_backward_training_threaded;
#endif
#endif

#ifdef WITH_MODEL_TAIL
STRUCT(CLLMModel, 2752, 8);
TYPED(CLLMModel, model_name, 1952, 256, char[256]);
TYPED(CLLMModel, epochs_trained, 2208, 4, int);
TYPED(CLLMModel, target_epochs, 2212, 4, int);
TYPED(CLLMModel, queue_directory, 2216, 512, char[512]);
FIELD(CLLMModel, training_config, 2728, 24);
typedef __typeof__(((CLLMModel *)0)->training_config) CLLMModel_training_config;
STRUCT(CLLMModel_training_config, 24, 4);
TYPED(CLLMModel_training_config, learning_rate, 0, 4, float);
TYPED(CLLMModel_training_config, batch_size, 4, 4, int);
TYPED(CLLMModel_training_config, sequence_length, 8, 4, int);
TYPED(CLLMModel_training_config, num_epochs, 12, 4, int);
TYPED(CLLMModel_training_config, weight_decay, 16, 4, float);
TYPED(CLLMModel_training_config, gradient_clip, 20, 4, float);
#endif

#define LAYOUT_CHECKS_SEED 504
#define LAYOUT_CHECKS_NEWEST 217
#define LAYOUT_CHECKS_TAIL 36
#define LAYOUT_CHECKS_ORIGINAL 92

typedef void (*any_function)(void);
static int functions, values, bad;

/* a volatile copy keeps the reference to the symbol */
#define USE(p) do { \
        volatile any_function v_ = (any_function)(p); \
        if (v_) functions++; else bad++; \
    } while (0)
#define SAME(name, value) do { \
        if ((name) == (value)) values++; \
        else { bad++; printf("value differs: %s\n", #name); } \
    } while (0)

int main(void)
{
    int layout = LAYOUT_CHECKS_SEED;
#ifndef WITHOUT_SEED_ONLY
    USE(p_cllm_validate_config);
    USE(p_cllm_print_config);
#endif
    USE(p_cllm_get_parameter_count);
    USE(p_cllm_get_memory_usage);
    USE(p_cllm_print_model_stats);
    USE(p_cllm_check_model_health);
    USE(p_cllm_compare_configs);
    USE(p_cllm_lattice_aware_init);
#ifndef WITHOUT_SEED_ONLY
    USE(p_crystalline_gcd_similarity);
    USE(p_cllm_compute_loss_crystalline);
    USE(p_crystalline_sort_by_locality);
    USE(p_cllm_train_epoch_crystalline);
#endif
    USE(p_optimizer_create);
    USE(p_optimizer_free);
    USE(p_optimizer_reset);
    USE(p_optimizer_step);
    USE(p_optimizer_zero_grad);
    USE(p_optimizer_sgd_step);
    USE(p_optimizer_sgd_momentum_step);
    USE(p_optimizer_sgd_nesterov_step);
    USE(p_optimizer_adam_step);
    USE(p_optimizer_adamw_step);
    USE(p_optimizer_rmsprop_step);
    USE(p_optimizer_adagrad_step);
    USE(p_optimizer_clip_gradients_by_value);
    USE(p_optimizer_clip_gradients_by_norm);
    USE(p_optimizer_compute_gradient_norm);
    USE(p_optimizer_compute_parameter_norm);
    USE(p_optimizer_update_learning_rate);
    USE(p_optimizer_get_learning_rate);
    USE(p_optimizer_set_learning_rate);
    USE(p_optimizer_warmup_lr);
    USE(p_optimizer_linear_decay_lr);
    USE(p_optimizer_cosine_annealing_lr);
    USE(p_optimizer_step_decay_lr);
    USE(p_optimizer_exponential_decay_lr);
    USE(p_optimizer_cyclic_lr);
    USE(p_optimizer_get_statistics);
    USE(p_optimizer_print_state);
    USE(p_optimizer_default_config);
    USE(p_optimizer_validate_config);
#ifdef ORIGINAL
    USE(p_cllm_crystalline_init);
    USE(p_cllm_symmetric_init);
    USE(p_cllm_hierarchical_lattice_init);
#endif
#ifdef WITH_NEWEST
    layout += LAYOUT_CHECKS_NEWEST;
    USE(p_threaded_train_epoch_lockfree);
    USE(p_threaded_training_get_metrics);
    USE(p_cllm_metrics_init);
    USE(p_cllm_metrics_set_callback);
    USE(p_cllm_metrics_collect);
    USE(p_cllm_metrics_update_thread);
    USE(p_cllm_metrics_update_training);
    USE(p_cllm_metrics_update_performance);
    USE(p_cllm_metrics_get_thread);
    USE(p_cllm_metrics_get_control_thread);
    USE(p_cllm_metrics_get_worker_threads);
    USE(p_cllm_metrics_print);
    USE(p_cllm_metrics_create);
    USE(p_cllm_metrics_free);
    USE(p_cllm_metrics_update_thread_state);
    USE(p_cllm_metrics_update_thread_workload);
    USE(p_cllm_metrics_update_training_progress);
    USE(p_cllm_metrics_update_loss);
    USE(p_cllm_metrics_update_framework_status);
    USE(p_cllm_metrics_invoke_callbacks);
    USE(p_model_manager_init);
    USE(p_model_manager_cleanup);
    USE(p_model_manager_create);
    USE(p_model_manager_load);
    USE(p_model_manager_save);
    USE(p_model_manager_unload);
    USE(p_model_manager_reload);
    USE(p_model_manager_delete);
    USE(p_model_manager_acquire_read);
    USE(p_model_manager_acquire_write);
    USE(p_model_manager_release_read);
    USE(p_model_manager_release_write);
    USE(p_model_manager_get);
    USE(p_model_manager_list);
    USE(p_model_manager_exists);
    USE(p_model_manager_get_status);
    USE(p_model_manager_get_first);
    USE(p_hierarchical_training_create);
    USE(p_hierarchical_train_epoch);
    USE(p_hierarchical_training_free);
    USE(p_prime_isnan);
#ifdef ORIGINAL
    layout += LAYOUT_CHECKS_ORIGINAL;
    USE(p_threaded_training_get_next_sphere_id);
    USE(p_thread_local_training_create);
    USE(p_thread_local_training_free);
    USE(p_cllm_forward_training_threaded);
    USE(p_cllm_backward_training_threaded);
#endif
#endif
#ifdef WITH_MODEL_TAIL
    layout += LAYOUT_CHECKS_TAIL;
#endif
    SAME(EINSTEIN_LAMBDA, 3.0 / 144000.0);
    SAME(PI_DUST, 355.0 / 113.0);
    {
        uint32_t d[2] = {0, 7};
        BigInt n = {d, 0, 2, 0, 0, 0, 0};
        SAME(!!BIGINT_IS_ZERO(&n), 1);
        n.len = 1;
        SAME(!!BIGINT_IS_ZERO(&n), 1);
        SAME(BIGINT_SIGN(&n), 1);
        SAME(!!BIGINT_IS_NEGATIVE(&n), 0);
        n.len = 2;
        SAME(!!BIGINT_IS_ZERO(&n), 0);
        n.negative = 1;
        SAME(BIGINT_SIGN(&n), -1);
        SAME(!!BIGINT_IS_NEGATIVE(&n), 1);
        n.len = 1;
        d[0] = 3;
        SAME(!!BIGINT_IS_ZERO(&n + 0), 0); /* the argument is an expression */
    }
    printf("tier 3: %d checks: %d layout, %d functions, %d values; %d failed\n",
           layout + functions + values, layout, functions, values, bad);
    return bad != 0;
}
#endif
