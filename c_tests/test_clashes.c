/* A program with functions of its own under the library's names and those of its likely helpers:
 * nothing inside the library may call them. Each ends the program. */
#define _DEFAULT_SOURCE
#include "scratch.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cllm.h"
#include "cllm_batch.h"
#include "cllm_format.h"
#include "cllm_inference.h"
#include "cllm_tokenizer.h"
#include "cllm_train_complete.h"
#include "cllm_training.h"
#include "cllm_training_mt.h"
#include "cllm_training_threaded.h"
#include "cllm_utils.h"
#include "harness.h"

/* Not from cllm_production.h, cllm_simd_utils.h, cllm_fp16.h, prime_float_math.h: these names are
 * the program's, with signatures of its own. */
#define MINE(name) \
    int name(void); \
    int name(void) { \
        fprintf(stderr, "the library called the program's " #name "\n"); \
        abort(); \
    }
MINE(save_checkpoint)
MINE(load_checkpoint)
MINE(clip_gradients)
MINE(get_learning_rate)
MINE(step_lr_scheduler)
MINE(create_lr_scheduler)
MINE(create_early_stopping)
MINE(check_early_stopping)
MINE(create_training_metrics)
MINE(record_metrics)
MINE(save_metrics_csv)
MINE(free_training_metrics)
MINE(create_validation_set)
MINE(evaluate_validation)
MINE(free_validation_set)
MINE(dot_product)
MINE(dot_product_avx2)
MINE(dot_product_scalar)
MINE(vector_add)
MINE(vector_scale)
MINE(vector_multiply_accumulate)
MINE(simd_matrix_multiply)
MINE(simd_matrix_multiply_transposed)
MINE(simd_matrix_vector_multiply)
MINE(fp32_to_fp16)
MINE(fp16_to_fp32)
MINE(scale_fp32_array)
MINE(has_nan_or_inf)
MINE(prime_exp)
MINE(prime_sqrtf)
MINE(prime_log)
MINE(prime_tanhf)
/* Not of the API: names that the original used inside, and others that come to mind. */
MINE(train_model)
MINE(train_epoch)
MINE(training_worker_thread)
MINE(timer_start)
MINE(timer_stop)
MINE(get_memory_usage)
MINE(softmax)
MINE(gelu)
MINE(layer_norm)
MINE(matmul)
MINE(gemm)
MINE(adam_step)
MINE(forward)
MINE(backward)
MINE(tokenize)
MINE(encode)
MINE(decode)
MINE(crc32)
MINE(report)
MINE(guard)
MINE(log_message)
MINE(rng_seed)

enum { V = 20, N = 200 };

static void everything(void) {
    scratch_make();
    const char *path = in_scratch("run"), *text_file = in_scratch("text");
    const char *metrics = in_scratch("metrics.csv");
    CLLMConfig shape = {.vocab_size = V, .embedding_dim = 8, .num_layers = 2, .num_heads = 2,
                        .ff_dim = 16, .max_seq_len = 16};
    CLLMModel *model = cllm_create_model(&shape);
    cllm_generate_all_positional_encodings(model);
    cllm_generate_lattice_embeddings(model);
    cllm_init_model_with_seed(model, 3);
    CLLMTrainingConfig config;
    memset(&config, 0, sizeof config);
    config.learning_rate = 0.01f;
    config.batch_size = 2;
    config.sequence_length = 4;
    config.gradient_clip = 0.01f;
    config.weight_decay = 0.1f;
    config.max_steps = 100;
    config.warmup_steps = 3;
    config.use_mixed_precision = 1;
    strcpy(config.lr_scheduler, "cosine");
    uint32_t tokens[N];
    for (int i = 0; i < N; i++) tokens[i] = (uint32_t)(i * 3 + i % 7) % V;
    CLLMTraining *t = cllm_training_init(model, &config);
    t->tokens = tokens;
    t->num_tokens = N;
    CHECK(cllm_train_epoch(t) > 0);
    CHECK(cllm_train_epoch_mt(t, 2) > 0);
    CLLMBatchIterator *iterator = cllm_batch_iterator_create(tokens, N, 2, 4, 1, 0);
    ThreadedTrainingSystem *threads = threaded_training_create(t, iterator, 2);
    CHECK(threaded_train_epoch(threads) > 0);
    threaded_training_free(threads);
    cllm_batch_iterator_free(iterator);
    CHECK(cllm_save_checkpoint(t, path) == 0 && cllm_load_checkpoint(t, path) == 0);
    remove(path);
    remove(in_scratch("run.state"));
    /* train_complete uses all of cllm_production.h's parts. */
    CompleteTrainingConfig c = create_default_complete_config();
    FILE *file = fopen(text_file, "w");
    for (int i = 0; i < 60; i++) fputs("token_1 token_2 token_7 ", file);
    fclose(file);
    c.num_epochs = 2;
    c.batch_size = 2;
    c.sequence_length = 4;
    c.val_data_path = text_file;
    c.val_interval = 1;
    c.checkpoint_dir = scratch;
    c.checkpoint_interval = 2;
    c.metrics_path = metrics;
    CHECK(train_complete(t, &c) == 0);
    CHECK(access(metrics, F_OK) == 0);
    remove(metrics);
    remove(text_file);
    static const char *const files[] = {"final_checkpoint.ckpt", "final_checkpoint.ckpt.model",
                                        "checkpoint_epoch_2.ckpt", "checkpoint_epoch_2.ckpt.model"};
    for (int i = 0; i < 4; i++) CHECK(remove(in_scratch(files[i])) == 0);
    path = in_scratch("run"); /* the one before is no longer valid */
    CHECK(cllm_write_model(model, path) == 0);
    CLLMModel *read = cllm_read_model(path);
    CLLMInference *inference = cllm_inference_init(read);
    char text[256];
    CHECK(cllm_generate(inference, "token_7 token_2", text, sizeof text) >= 0);
    cllm_inference_cleanup(inference);
    CHECK(cllm_comprehensive_validation(read));
    cllm_free(read);
    remove(path);
    cllm_training_free(t);
    cllm_free_model(model);
    CHECK(rmdir(scratch) == 0);
}

int main(void) {
    srand(1);
    RUN(everything);
    return harness_report();
}
