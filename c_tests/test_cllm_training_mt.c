/* cllm_training_mt.h: the same bits for any number of threads, and those of cllm_train_epoch. */
#include "capture.h"

#include "cllm_ext.h"
#include "cllm_training_mt.h"
#include "cllm_utils.h"
#include "harness.h"
#include "reference.h"

enum { V = 60, D = 24, L = 2, N = 400 };

static uint32_t tokens[N];

static CLLMTraining *new_training(int batch, int length) {
    CLLMConfig shape = {.vocab_size = V, .embedding_dim = D, .num_layers = L, .num_heads = 3,
                        .ff_dim = 50, .max_seq_len = 16};
    CLLMModel *model = cllm_create_model(&shape);
    reference_state = 5;
    reference_weights(model);
    CLLMTrainingConfig config;
    memset(&config, 0, sizeof config);
    config.learning_rate = 0.01f;
    config.batch_size = batch;
    config.sequence_length = length;
    config.max_steps = 50;
    config.warmup_steps = 5;
    config.weight_decay = 0.01f;
    config.gradient_clip = 0.5f;
    config.gradient_accumulation_steps = 2;
    strcpy(config.lr_scheduler, "cosine");
    CLLMTraining *t = cllm_training_init(model, &config);
    for (int i = 0; i < N; i++) tokens[i] = (uint32_t)(i * 7 + i * i % 11) % V;
    t->tokens = tokens;
    t->num_tokens = N;
    return t;
}

static void drop(CLLMTraining *t) {
    CLLMModel *model = t->model;
    cllm_training_free(t);
    cllm_free_model(model);
}

static void same(const CLLMTraining *a, const CLLMTraining *b) {
    CHECK(memcmp(a->model->weights, b->model->weights, a->model->num_weights * 4) == 0);
    CHECK(memcmp(a->model->pos_encoding.learned_positions, b->model->pos_encoding.learned_positions,
                 16 * D * 4) == 0);
    CHECK(memcmp(a->optimizer_state, b->optimizer_state, 2 * V * D * 4) == 0);
    CHECK(memcmp(a->gradients, b->gradients, V * D * 4) == 0);
    CHECK(a->current_step == b->current_step && a->current_epoch == b->current_epoch);
    CHECK(a->current_loss == b->current_loss && a->best_loss == b->best_loss);
    CHECK(a->config.learning_rate == b->config.learning_rate);
    CHECK(a->accumulation_step == b->accumulation_step && b->current_batch_offset == 0);
}

static void equal_bits(int batch, int length) {
    CLLMTraining *one = new_training(batch, length);
    float first = cllm_train_epoch(one), second = cllm_train_epoch(one);
    CHECK(first > 0 && second > 0 && second < first);
    CHECK(one->current_step == 2 * ((N - 1) / (batch * length)) && one->current_epoch == 2);
    const int threads[] = {1, 2, 3, 5, 0};
    for (int i = 0; i < 5; i++) {
        CLLMTraining *t = new_training(batch, length);
        capture_start();
        CHECK(cllm_train_epoch_mt(t, threads[i]) == first);
        CHECK(cllm_train_epoch_mt(t, threads[i]) == second);
        CHECK(strcmp(capture_end(), "") == 0);
        same(one, t);
        drop(t);
    }
    drop(one);
}

static void shapes(void) {
    equal_bits(4, 8);
    equal_bits(1, 13);
    equal_bits(7, 3);
}

static void failures(void) {
    CLLMTraining *t = new_training(2, 4);
    CHECK(cllm_train_epoch_mt(NULL, 2) == 0);
    CHECK(strncmp(cllm_last_error(), "cllm_train_epoch_mt:", 20) == 0);
    float w = t->model->weights[0];
    CHECK(cllm_train_epoch_mt(t, -1) == 0 && t->model->weights[0] == w && t->current_step == 0);
    t->num_tokens = 5; /* no batch fits: an epoch all the same */
    CHECK(cllm_train_epoch_mt(t, 2) == 0 && t->current_epoch == 1 && t->current_step == 0);
    t->tokens = NULL;
    CHECK(cllm_train_epoch_mt(t, 2) == 0 && t->current_epoch == 1);
    CLLMTraining *foreign = calloc(1, sizeof *foreign);
    foreign->model = t->model;
    CHECK(cllm_train_epoch_mt(foreign, 2) == 0);
    free(foreign);
    drop(t);
}

int main(void) {
    cllm_set_log_silent();
    RUN(shapes);
    RUN(failures);
    return harness_report();
}
