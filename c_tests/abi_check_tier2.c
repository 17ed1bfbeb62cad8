/* abi_check_tier2.c - checks that headers and library keep the tier 2 interface recorded in
 * structs.json, functions.json and constants.json. Generated from those files.
 *   cc -I include c_tests/abi_check_tier2.c -L. -lcllm -lcrystalline -o abi_check_tier2 && LD_LIBRARY_PATH=. ./abi_check_tier2
 * Layout, type and prototype mismatches fail the compile; missing functions fail the link.
 * -DABI_ONLY_EXPORTED   leave out functions that the original declared but never defined
 * -DABI_SKIP_CONSTANTS  leave out the #define checks (and prime_types.h)
 */
#include <stddef.h>
#include <stdio.h>
#include "cllm_batch.h"
#include "cllm_training_parallel.h"
#include "cllm_training_threaded.h"
#include "cllm_vocab_builder.h"
#include "cllm_production.h"
#include "cllm_fp16.h"
#include "cllm_train_complete.h"
#include "cllm_simd_utils.h"
#include "prime_float_math.h"
#ifndef ABI_SKIP_CONSTANTS
#include "prime_types.h"
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
#define OPAQUE(T) _Static_assert(sizeof(T *) == sizeof(void *), "opaque " #T)

/* structs: cllm_batch.h */
STRUCT(CLLMBatch, 40, 8);
TYPED(CLLMBatch, input_ids, 0, 8, uint32_t*);
TYPED(CLLMBatch, target_ids, 8, 8, uint32_t*);
TYPED(CLLMBatch, attention_mask, 16, 8, float*);
TYPED(CLLMBatch, batch_size, 24, 4, uint32_t);
TYPED(CLLMBatch, seq_len, 28, 4, uint32_t);
TYPED(CLLMBatch, num_valid_tokens, 32, 4, uint32_t);
OPAQUE(CLLMBatchIterator);

/* structs: cllm_training_threaded.h */
OPAQUE(ThreadedTrainingSystem);

/* structs: cllm_production.h */
OPAQUE(ValidationSet);
OPAQUE(EarlyStoppingState);
OPAQUE(LRScheduler);
OPAQUE(TrainingMetrics);

/* structs: cllm_train_complete.h */
STRUCT(CompleteTrainingConfig, 104, 8);
TYPED(CompleteTrainingConfig, num_epochs, 0, 4, int);
TYPED(CompleteTrainingConfig, batch_size, 4, 4, int);
TYPED(CompleteTrainingConfig, sequence_length, 8, 4, int);
TYPED(CompleteTrainingConfig, learning_rate, 12, 4, float);
TYPED(CompleteTrainingConfig, num_threads, 16, 4, int);
TYPED(CompleteTrainingConfig, use_lll, 20, 4, int);
TYPED(CompleteTrainingConfig, lll_target_dim, 24, 4, int);
TYPED(CompleteTrainingConfig, use_advanced_crystalline, 28, 4, int);
TYPED(CompleteTrainingConfig, use_lr_schedule, 32, 4, int);
TYPED(CompleteTrainingConfig, warmup_epochs, 36, 4, int);
TYPED(CompleteTrainingConfig, use_grad_clip, 40, 4, int);
TYPED(CompleteTrainingConfig, grad_clip_norm, 44, 4, float);
TYPED(CompleteTrainingConfig, use_validation, 48, 4, int);
TYPED(CompleteTrainingConfig, val_data_path, 56, 8, const char*);
TYPED(CompleteTrainingConfig, val_interval, 64, 4, int);
TYPED(CompleteTrainingConfig, use_early_stopping, 68, 4, int);
TYPED(CompleteTrainingConfig, early_stop_patience, 72, 4, int);
TYPED(CompleteTrainingConfig, use_checkpoints, 76, 4, int);
TYPED(CompleteTrainingConfig, checkpoint_dir, 80, 8, const char*);
TYPED(CompleteTrainingConfig, checkpoint_interval, 88, 4, int);
TYPED(CompleteTrainingConfig, use_metrics, 92, 4, int);
TYPED(CompleteTrainingConfig, metrics_path, 96, 8, const char*);

/* functions: cllm_batch.h */
static CLLMBatch* (*p_cllm_batch_create)(uint32_t, uint32_t) = cllm_batch_create;
static void (*p_cllm_batch_free)(CLLMBatch*) = cllm_batch_free;
static CLLMBatchIterator* (*p_cllm_batch_iterator_create)(uint32_t*, size_t, uint32_t, uint32_t, int, int) = cllm_batch_iterator_create;
static void (*p_cllm_batch_iterator_free)(CLLMBatchIterator*) = cllm_batch_iterator_free;
static void (*p_cllm_batch_iterator_reset)(CLLMBatchIterator*) = cllm_batch_iterator_reset;
static CLLMBatch* (*p_cllm_batch_iterator_next)(CLLMBatchIterator*) = cllm_batch_iterator_next;
static size_t (*p_cllm_batch_iterator_num_batches)(CLLMBatchIterator*) = cllm_batch_iterator_num_batches;
static CLLMBatch* (*p_cllm_create_batch_from_tokens)(uint32_t*, size_t, uint32_t, uint32_t) = cllm_create_batch_from_tokens;
static void (*p_cllm_batch_print_stats)(CLLMBatch*) = cllm_batch_print_stats;
static int (*p_cllm_batch_validate)(CLLMBatch*) = cllm_batch_validate;

/* functions: cllm_training_parallel.h */
static int (*p_cllm_get_optimal_thread_count)(void) = cllm_get_optimal_thread_count;
static int (*p_cllm_init_thread_pool)(int) = cllm_init_thread_pool;
static void (*p_cllm_cleanup_thread_pool)(void) = cllm_cleanup_thread_pool;
static float (*p_cllm_train_epoch_parallel)(CLLMTraining*) = cllm_train_epoch_parallel;
static int (*p_cllm_get_thread_count)(void) = cllm_get_thread_count;
static int (*p_cllm_set_thread_count)(int) = cllm_set_thread_count;

/* functions: cllm_training_threaded.h */
static ThreadedTrainingSystem* (*p_threaded_training_create)(CLLMTraining*, CLLMBatchIterator*, int) = threaded_training_create;
static void (*p_threaded_training_free)(ThreadedTrainingSystem*) = threaded_training_free;
static float (*p_threaded_train_epoch)(ThreadedTrainingSystem*) = threaded_train_epoch;
static void (*p_threaded_training_print_stats)(ThreadedTrainingSystem*) = threaded_training_print_stats;
static int (*p_threaded_training_get_sphere_stats)(ThreadedTrainingSystem*, int, int*, float*) = threaded_training_get_sphere_stats;
static float (*p_threaded_training_get_gradient_norm)(ThreadedTrainingSystem*) = threaded_training_get_gradient_norm;
static int (*p_threaded_training_get_num_workers)(ThreadedTrainingSystem*) = threaded_training_get_num_workers;

/* functions: cllm_vocab_builder.h */
static int (*p_cllm_build_vocabulary_from_file)(CLLMModel*, const char*) = cllm_build_vocabulary_from_file;
static int (*p_cllm_tokenize_with_vocab)(CLLMModel*, const char*, uint32_t*, int) = cllm_tokenize_with_vocab;
static void (*p_cllm_detokenize_with_vocab)(CLLMModel*, uint32_t*, int, char*, int) = cllm_detokenize_with_vocab;

/* functions: cllm_production.h */
static ValidationSet* (*p_create_validation_set)(const char*, int, int) = create_validation_set;
static void (*p_free_validation_set)(ValidationSet*) = free_validation_set;
static float (*p_evaluate_validation)(CLLMTraining*, ValidationSet*) = evaluate_validation;
static int (*p_save_checkpoint)(CLLMTraining*, const char*) = save_checkpoint;
static int (*p_load_checkpoint)(CLLMTraining*, const char*) = load_checkpoint;
static EarlyStoppingState* (*p_create_early_stopping)(float, int) = create_early_stopping;
static int (*p_check_early_stopping)(EarlyStoppingState*, float) = check_early_stopping;
static LRScheduler* (*p_create_lr_scheduler)(float, int, int) = create_lr_scheduler;
static float (*p_get_learning_rate)(LRScheduler*) = get_learning_rate;
static void (*p_step_lr_scheduler)(LRScheduler*, CLLMTraining*) = step_lr_scheduler;
static void (*p_clip_gradients)(CLLMTraining*, float) = clip_gradients;
static TrainingMetrics* (*p_create_training_metrics)(int) = create_training_metrics;
static void (*p_record_metrics)(TrainingMetrics*, int, float, float, float) = record_metrics;
static void (*p_save_metrics_csv)(TrainingMetrics*, const char*) = save_metrics_csv;
static void (*p_free_training_metrics)(TrainingMetrics*) = free_training_metrics;

/* functions: cllm_fp16.h */
static void (*p_fp32_to_fp16)(uint16_t*, const float*, size_t) = fp32_to_fp16;
static void (*p_fp16_to_fp32)(float*, const uint16_t*, size_t) = fp16_to_fp32;
static void (*p_scale_fp32_array)(float*, size_t, float) = scale_fp32_array;
static int (*p_has_nan_or_inf)(const float*, size_t) = has_nan_or_inf;

/* functions: cllm_train_complete.h */
static CompleteTrainingConfig (*p_create_default_complete_config)(void) = create_default_complete_config;
static int (*p_train_complete)(CLLMTraining*, CompleteTrainingConfig*) = train_complete;
static int (*p_train_quick)(CLLMTraining*, int) = train_quick;

/* functions: cllm_simd_utils.h */
static float (*p_dot_product)(const float*, const float*, int) = dot_product;
static float (*p_dot_product_avx2)(const float*, const float*, int) = dot_product_avx2;
static float (*p_dot_product_scalar)(const float*, const float*, int) = dot_product_scalar;
static void (*p_vector_multiply_accumulate)(float*, const float*, const float*, int) = vector_multiply_accumulate;
static void (*p_vector_add)(float*, const float*, const float*, int) = vector_add;
static void (*p_vector_scale)(float*, const float*, float, int) = vector_scale;
static void (*p_simd_matrix_vector_multiply)(float*, const float*, const float*, int, int) = simd_matrix_vector_multiply;
static void (*p_simd_matrix_multiply)(float*, const float*, const float*, int, int, int) = simd_matrix_multiply;
static void (*p_simd_matrix_multiply_transposed)(float*, const float*, const float*, int, int, int) = simd_matrix_multiply_transposed;

/* functions: prime_float_math.h */
static float (*p_prime_sqrtf)(float) = prime_sqrtf;
static float (*p_prime_expf)(float) = prime_expf;
static float (*p_prime_logf)(float) = prime_logf;
static float (*p_prime_powf)(float, float) = prime_powf;
static float (*p_prime_sinf)(float) = prime_sinf;
static float (*p_prime_cosf)(float) = prime_cosf;
static float (*p_prime_tanf)(float) = prime_tanf;
static float (*p_prime_tanhf)(float) = prime_tanhf;
static float (*p_prime_fabsf)(float) = prime_fabsf;
static double (*p_prime_exp)(double) = prime_exp;
static double (*p_prime_sqrt)(double) = prime_sqrt;
static double (*p_prime_log)(double) = prime_log;
static double (*p_prime_cos)(double) = prime_cos;
static double (*p_prime_sin)(double) = prime_sin;
static double (*p_prime_tan)(double) = prime_tan;
static double (*p_prime_tanh)(double) = prime_tanh;
static double (*p_prime_pow)(double, double) = prime_pow;
static double (*p_prime_atan)(double) = prime_atan;
static double (*p_prime_atan2)(double, double) = prime_atan2;
#ifndef ABI_ONLY_EXPORTED
static float (*p_prime_atanf)(float) = prime_atanf;
#endif
#ifndef ABI_ONLY_EXPORTED
static float (*p_prime_atan2f)(float, float) = prime_atan2f;
#endif
static double (*p_prime_floor)(double) = prime_floor;
static double (*p_prime_ceil)(double) = prime_ceil;
static double (*p_prime_round)(double) = prime_round;
static double (*p_prime_fmod)(double, double) = prime_fmod;
static double (*p_prime_acos)(double) = prime_acos;
static double (*p_prime_log2)(double) = prime_log2;
static float (*p_prime_fmaxf)(float, float) = prime_fmaxf;
static double (*p_prime_fmax)(double, double) = prime_fmax;
static float (*p_prime_fminf)(float, float) = prime_fminf;
static double (*p_prime_fmin)(double, double) = prime_fmin;
static int (*p_prime_isnanf)(float) = prime_isnanf;
static int (*p_prime_isinff)(float) = prime_isinff;

#ifndef ABI_SKIP_CONSTANTS
_Static_assert(MAX_BIGINT_DIGITS == 1024, "MAX_BIGINT_DIGITS");
_Static_assert(MAX_MATRIX_SIZE == 256, "MAX_MATRIX_SIZE");
_Static_assert(MAX_HYPERDIM == 64, "MAX_HYPERDIM");
_Static_assert(DEFAULT_ABACUS_CAPACITY == 1000, "DEFAULT_ABACUS_CAPACITY");
_Static_assert(SYMMETRY_ORDER == 12, "SYMMETRY_ORDER");
_Static_assert(EINSTEIN_LAMBDA_NUMERATOR == 3, "EINSTEIN_LAMBDA_NUMERATOR");
_Static_assert(EINSTEIN_LAMBDA_DENOMINATOR == 144000, "EINSTEIN_LAMBDA_DENOMINATOR");
_Static_assert(VECTOR_CULMINATION == 144000, "VECTOR_CULMINATION");
_Static_assert(TWIN_PRIME_LOWER == 143999, "TWIN_PRIME_LOWER");
_Static_assert(TWIN_PRIME_UPPER == 144001, "TWIN_PRIME_UPPER");
_Static_assert(PI_DUST_NUMERATOR == 355, "PI_DUST_NUMERATOR");
_Static_assert(PI_DUST_DENOMINATOR == 113, "PI_DUST_DENOMINATOR");
_Static_assert(CYMATIC_BASE_432 == 432, "CYMATIC_BASE_432");
_Static_assert(CYMATIC_DNA_528 == 528, "CYMATIC_DNA_528");
_Static_assert(CYMATIC_TRANSFORM_639 == 639, "CYMATIC_TRANSFORM_639");
_Static_assert(CYMATIC_AWAKEN_741 == 741, "CYMATIC_AWAKEN_741");
_Static_assert(CYMATIC_INTUITION_852 == 852, "CYMATIC_INTUITION_852");
_Static_assert(CYMATIC_SPIRIT_963 == 963, "CYMATIC_SPIRIT_963");
_Static_assert(GAMMA_BURST_FREQUENCY == 40, "GAMMA_BURST_FREQUENCY");
_Static_assert(SAROS_CYCLE == 223, "SAROS_CYCLE");
_Static_assert(METONIC_CYCLE == 235, "METONIC_CYCLE");
_Static_assert(METONIC_YEARS == 19, "METONIC_YEARS");
_Static_assert(CROWN_DAYS == 31, "CROWN_DAYS");
_Static_assert(SOLAR_RAYS == 7, "SOLAR_RAYS");
_Static_assert(ZODIAC_DIVISIONS == 12, "ZODIAC_DIVISIONS");
_Static_assert(SQUARE_CIRCLE_MAP == 361, "SQUARE_CIRCLE_MAP");
_Static_assert(CIRCLE_DEGREES == 360, "CIRCLE_DEGREES");
_Static_assert(CLOCK_POSITIONS == 12, "CLOCK_POSITIONS");
_Static_assert(BOUNDARY_PRIME == 143999, "BOUNDARY_PRIME");
_Static_assert(NUM_SMALL_PRIMES == 18, "NUM_SMALL_PRIMES");
_Static_assert(NUM_PHI_FREQS == 12, "NUM_PHI_FREQS");
_Static_assert(NUM_VIABLE_RESIDUES == 8, "NUM_VIABLE_RESIDUES");
_Static_assert(NUM_QR_ALLOW == 2, "NUM_QR_ALLOW");
_Static_assert(NUM_CRNS_FREQ == 6, "NUM_CRNS_FREQ");
_Static_assert(NUM_VEDIC_TRIPLES == 6, "NUM_VEDIC_TRIPLES");
_Static_assert(CLOCK_MOD == 12, "CLOCK_MOD");
_Static_assert(EXT_CLOCK_MOD == 30, "EXT_CLOCK_MOD");
_Static_assert(EMBED_DIM == 15, "EMBED_DIM");
_Static_assert(PHI_NUM == 89, "PHI_NUM");
_Static_assert(PHI_DEN == 55, "PHI_DEN");
_Static_assert(RAINBOW_LAYERS == 12, "RAINBOW_LAYERS");
_Static_assert(DEFAULT_PRECISION_BITS == 256, "DEFAULT_PRECISION_BITS");
_Static_assert(MAX_PRECISION_BITS == 4096, "MAX_PRECISION_BITS");
_Static_assert(FIXED_POINT_BITS_DEFAULT == 64, "FIXED_POINT_BITS_DEFAULT");
_Static_assert(DUST_GUARD_BITS_STD == 64, "DUST_GUARD_BITS_STD");
_Static_assert(DUST_GUARD_BITS_MIN == 32, "DUST_GUARD_BITS_MIN");
_Static_assert(DUST_GUARD_BITS_MAX == 128, "DUST_GUARD_BITS_MAX");
#define CONSTANT_CHECKS 47
#else
#define CONSTANT_CHECKS 0
#endif

#define LAYOUT_CHECKS 94 /* assertions over 8 structs */

typedef void (*any_function)(void);
static int functions, bad;

/* a volatile copy keeps the reference to the symbol */
#define USE(p) do { \
        volatile any_function v_ = (any_function)(p); \
        if (v_) functions++; else bad++; \
    } while (0)

int main(void)
{
    int constants = CONSTANT_CHECKS;
    /* cllm_batch.h */
    USE(p_cllm_batch_create);
    USE(p_cllm_batch_free);
    USE(p_cllm_batch_iterator_create);
    USE(p_cllm_batch_iterator_free);
    USE(p_cllm_batch_iterator_reset);
    USE(p_cllm_batch_iterator_next);
    USE(p_cllm_batch_iterator_num_batches);
    USE(p_cllm_create_batch_from_tokens);
    USE(p_cllm_batch_print_stats);
    USE(p_cllm_batch_validate);
    /* cllm_training_parallel.h */
    USE(p_cllm_get_optimal_thread_count);
    USE(p_cllm_init_thread_pool);
    USE(p_cllm_cleanup_thread_pool);
    USE(p_cllm_train_epoch_parallel);
    USE(p_cllm_get_thread_count);
    USE(p_cllm_set_thread_count);
    /* cllm_training_threaded.h */
    USE(p_threaded_training_create);
    USE(p_threaded_training_free);
    USE(p_threaded_train_epoch);
    USE(p_threaded_training_print_stats);
    USE(p_threaded_training_get_sphere_stats);
    USE(p_threaded_training_get_gradient_norm);
    USE(p_threaded_training_get_num_workers);
    /* cllm_vocab_builder.h */
    USE(p_cllm_build_vocabulary_from_file);
    USE(p_cllm_tokenize_with_vocab);
    USE(p_cllm_detokenize_with_vocab);
    /* cllm_production.h */
    USE(p_create_validation_set);
    USE(p_free_validation_set);
    USE(p_evaluate_validation);
    USE(p_save_checkpoint);
    USE(p_load_checkpoint);
    USE(p_create_early_stopping);
    USE(p_check_early_stopping);
    USE(p_create_lr_scheduler);
    USE(p_get_learning_rate);
    USE(p_step_lr_scheduler);
    USE(p_clip_gradients);
    USE(p_create_training_metrics);
    USE(p_record_metrics);
    USE(p_save_metrics_csv);
    USE(p_free_training_metrics);
    /* cllm_fp16.h */
    USE(p_fp32_to_fp16);
    USE(p_fp16_to_fp32);
    USE(p_scale_fp32_array);
    USE(p_has_nan_or_inf);
    /* cllm_train_complete.h */
    USE(p_create_default_complete_config);
    USE(p_train_complete);
    USE(p_train_quick);
    /* cllm_simd_utils.h */
    USE(p_dot_product);
    USE(p_dot_product_avx2);
    USE(p_dot_product_scalar);
    USE(p_vector_multiply_accumulate);
    USE(p_vector_add);
    USE(p_vector_scale);
    USE(p_simd_matrix_vector_multiply);
    USE(p_simd_matrix_multiply);
    USE(p_simd_matrix_multiply_transposed);
    /* prime_float_math.h */
    USE(p_prime_sqrtf);
    USE(p_prime_expf);
    USE(p_prime_logf);
    USE(p_prime_powf);
    USE(p_prime_sinf);
    USE(p_prime_cosf);
    USE(p_prime_tanf);
    USE(p_prime_tanhf);
    USE(p_prime_fabsf);
    USE(p_prime_exp);
    USE(p_prime_sqrt);
    USE(p_prime_log);
    USE(p_prime_cos);
    USE(p_prime_sin);
    USE(p_prime_tan);
    USE(p_prime_tanh);
    USE(p_prime_pow);
    USE(p_prime_atan);
    USE(p_prime_atan2);
#ifndef ABI_ONLY_EXPORTED
    USE(p_prime_atanf);
#endif
#ifndef ABI_ONLY_EXPORTED
    USE(p_prime_atan2f);
#endif
    USE(p_prime_floor);
    USE(p_prime_ceil);
    USE(p_prime_round);
    USE(p_prime_fmod);
    USE(p_prime_acos);
    USE(p_prime_log2);
    USE(p_prime_fmaxf);
    USE(p_prime_fmax);
    USE(p_prime_fminf);
    USE(p_prime_fmin);
    USE(p_prime_isnanf);
    USE(p_prime_isinff);
#ifndef ABI_SKIP_CONSTANTS
#define SAME(name, value) do { \
        if ((name) == (value)) constants++; \
        else { bad++; printf("constant differs: %s\n", #name); } \
    } while (0)
    SAME(M_PI, 3.14159265358979323846);
    SAME(M_E, 2.71828182845904523536);
    SAME(GOLDEN_RATIO, 1.618033988749895);
    SAME(PHI, 1.618033988749895);
    SAME(PI, 3.14159265358979323846);
    SAME(PRIME_PI, 3.14159265358979323846);
    SAME(LATTICE_PI, 3.14159265358979323846);
    SAME(LATTICE_PHI, 1.618033988749895);
    SAME(LATTICE_SQRT5, 2.23606797749979);
    SAME(SCHUMANN_RESONANCE, 7.83);
    SAME(GROWTH_FACTOR, 1.618033988749895);
    SAME(M_LN2, 0.69314718055994530942);
    SAME(M_LN10, 2.30258509299404568402);
#endif
    printf("tier 2: %d checks: %d layout, %d functions, %d constants; %d failed\n",
           LAYOUT_CHECKS + functions + constants, LAYOUT_CHECKS, functions, constants, bad);
    return bad != 0;
}
