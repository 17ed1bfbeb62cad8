/* cllm_ext.h: models of 8-bit weights. */
#include "scratch.h"
#include "harness.h"

#include <math.h>
#include "cllm_ext.h"
#include "cllm_format.h"
#include "cllm_inference.h"
#include "cllm_training.h"
#include "cllm_utils.h"

enum { VOCAB = 50, DIM = 96, IDS = 200 };

static uint32_t ids[IDS];

static CLLMModel *new_model(void) {
    CLLMConfig shape = {.vocab_size = VOCAB, .embedding_dim = DIM, .num_layers = 2, .num_heads = 4,
                        .ff_dim = 200, .max_seq_len = 32};
    CLLMModel *model = cllm_create_model_seeded(&shape, 7);
    if (!model) {
        fprintf(stderr, "%s\n", cllm_last_error());
        exit(2);
    }
    snprintf(model->tokens[7].token_str, sizeof model->tokens[7].token_str, "seven");
    snprintf(model->header.model_name, sizeof model->header.model_name, "small");
    for (int i = 0; i < IDS; i++) ids[i] = (uint32_t)(i * i + 3) % VOCAB;
    return model;
}

static double loss_of(CLLMModel *model) {
    double loss = NAN;
    CHECK(cllm_evaluate(model, ids, IDS, 32, 1, &loss, NULL) == 0);
    return loss;
}

/* The logits after some ids. */
static void logits_of(CLLMModel *model, float *logits) {
    CLLMInference *inference = cllm_inference_init(model);
    CHECK(inference != NULL);
    if (!inference) return;
    cllm_forward(inference, ids, 20);
    memcpy(logits, inference->logits, VOCAB * sizeof *logits);
    cllm_inference_cleanup(inference);
}

static void a_quarter_of_the_size_and_nearly_the_same(void) {
    CLLMModel *model = new_model();
    CLLMModel *small = cllm_quantize_model(model, 0);
    CHECK(small != NULL);
    CHECK(cllm_model_is_quantized(model) == 0 && cllm_model_is_quantized(small) == 1);
    CHECK(cllm_model_is_quantized(NULL) == -1);
    CHECK(cllm_model_parameters(small) == cllm_model_parameters(model));
    CHECK(cllm_model_parameters(small) == model->num_weights + 32 * DIM);
    CHECK(!small->weights && small->num_weights == 0 && !small->embeddings.embeddings);
    CHECK(!small->attention_layers[1].query_lattice && small->attention_layers[1].num_heads == 4);
    CHECK(small->vocab_size == VOCAB && small->ff_layers[0].hidden_dim == 200);
    CHECK(strcmp(small->tokens[7].token_str, "seven") == 0);
    CHECK(strcmp(small->header.model_name, "small") == 0);
    CHECK(cllm_validate_model(small) == 1);
    double full = loss_of(model), loss = loss_of(small);
    CHECK(loss != full && fabs(loss / full - 1) < 0.002);

    /* Through a file: the same bits. */
    float before[VOCAB], after[VOCAB];
    logits_of(small, before);
    CHECK(cllm_write_model(small, in_scratch("small")) == 0);
    CHECK(cllm_write_model(model, in_scratch("full")) == 0);
    struct stat small_stat, full_stat;
    CHECK(stat(in_scratch("small"), &small_stat) == 0 && stat(in_scratch("full"), &full_stat) == 0);
    CHECK(small_stat.st_size * 10 < full_stat.st_size * 4);
    CHECK(cllm_validate(in_scratch("small")));
    CLLMModel *again = cllm_read_model(in_scratch("small"));
    CHECK(again && cllm_model_is_quantized(again) == 1);
    logits_of(again, after);
    CHECK(memcmp(before, after, sizeof before) == 0);
    CHECK(strcmp(again->tokens[7].token_str, "seven") == 0);
    cllm_free_model(again);

    char text[100];
    CLLMInference *inference = cllm_inference_init(small);
    inference->max_tokens = 5;
    CHECK(cllm_generate(inference, "seven", text, sizeof text) >= 0);
    cllm_inference_cleanup(inference);
    cllm_free_model(small);
    cllm_free_model(model);
}

static void what_needs_floats_says_so(void) {
    CLLMModel *model = new_model(), *small = cllm_quantize_model(model, 1);
    CHECK(cllm_quantize_model(NULL, 1) == NULL && cllm_quantize_model(model, -1) == NULL);
    CHECK(cllm_expand_model(NULL) == NULL && cllm_expand_model(model) == NULL);
    CHECK(cllm_quantize_model(small, 1) == NULL);
    CHECK(strstr(cllm_last_error(), "cllm_expand_model") != NULL);
    CLLMTrainingConfig config = {.learning_rate = 1e-3f, .batch_size = 2, .sequence_length = 8,
                                 .num_epochs = 1};
    cllm_clear_error();
    CLLMTraining *training = cllm_training_init(small, &config);
    CHECK(training == NULL && strstr(cllm_last_error(), "cllm_expand_model") != NULL);

    CLLMModel *full = cllm_expand_model(small);
    CHECK(full && cllm_model_is_quantized(full) == 0 && full->num_weights == model->num_weights);
    CHECK(strcmp(full->tokens[7].token_str, "seven") == 0);
    CHECK(fabs(loss_of(full) / loss_of(small) - 1) < 0.002);
    float largest = 0, error = 0;
    for (int i = 0; i < VOCAB * DIM; i++) {
        float x = model->embeddings.embeddings[i], y = full->embeddings.embeddings[i];
        largest = fmaxf(largest, fabsf(x));
        error = fmaxf(error, fabsf(x - y));
    }
    CHECK(error > 0 && error <= largest / 251);
    CHECK(memcmp(model->pos_encoding.learned_positions, full->pos_encoding.learned_positions,
                 32 * DIM * sizeof(float)) == 0);
    training = cllm_training_init(full, &config);
    CHECK(training != NULL);
    cllm_training_free(training);
    cllm_free_model(full);
    cllm_free_model(small);
    cllm_free_model(model);
}

int main(void) {
    cllm_set_log_silent();
    scratch_make();
    RUN(a_quarter_of_the_size_and_nearly_the_same);
    RUN(what_needs_floats_says_so);
    scratch_remove();
    return harness_report();
}
