/* What programs written for the original library do with training objects: the habits of its
 * shipped tests and tools, one by one. */
#include "scratch.h"

#include "cllm_batch.h"
#include "cllm_production.h"
#include "cllm_training.h"
#include "cllm_utils.h"
#include "harness.h"

static uint32_t tokens[200];

static CLLMTrainingConfig settings(void) {
    CLLMTrainingConfig c = {0};
    c.learning_rate = 0.001f;
    c.batch_size = 2;
    c.sequence_length = 8;
    return c;
}

static CLLMModel *made(void) {
    srand(41);
    CLLMConfig config = {23, 16, 2, 2, 32, 16, 0};
    return cllm_create_model(&config);
}

/* L = 1 with embeddings only, all on the heap, as shipped tests make it. */
static CLLMModel *bare(void) {
    CLLMModel *m = calloc(1, sizeof *m);
    m->vocab_size = 100;
    m->embedding_dim = 16;
    m->num_layers = 1;
    m->embeddings.embeddings = calloc(1600, sizeof(float));
    for (int i = 0; i < 1600; i++) {
        m->embeddings.embeddings[i] = (float)(i * 37 % 101) / 1000.0f - 0.05f;
    }
    return m;
}

static void models_without_layers(void) {
    CLLMModel *m = bare();
    CLLMTrainingConfig c = settings();
    CLLMTraining *t = cllm_training_init(m, &c);
    CHECK(t != NULL && t->gradients != NULL);
    for (int i = 0; i < 100; i++) {
        t->gradients[i] = 10.0f;
    }
    clip_gradients(t, 1.0f);
    float sum = 0;
    for (int i = 0; i < 100; i++) {
        sum += t->gradients[i] * t->gradients[i];
    }
    CHECK(sqrtf(sum) <= 1.0f + 1e-5f && sqrtf(sum) > 0.999f);
    /* its own optimizer state */
    free(t->optimizer_state);
    t->optimizer_state = calloc(2 * 1600, sizeof(float));
    t->current_epoch = 5;
    t->current_step = 123;
    t->best_loss = 0.75f;
    t->current_loss = 1.25f;
    CHECK(cllm_save_checkpoint(t, "bare.cllm") == 0);
    CHECK(save_checkpoint(t, "bare.ckpt") == 0);
    t->current_epoch = t->current_step = 0;
    t->best_loss = t->current_loss = 0;
    CHECK(load_checkpoint(t, "bare.ckpt") == 0);
    CHECK(t->current_epoch == 5 && t->current_step == 123);
    CHECK(t->best_loss == 0.75f && t->current_loss == 1.25f);
    CHECK(cllm_load_checkpoint(t, "bare.cllm") == 0);
    CHECK(t->model == m);
    cllm_training_free(t);
    free(m->embeddings.embeddings); /* the model that it passed to init */
    free(m);
}

static void buffers_after_init(void) {
    for (int cycle = 0; cycle < 5; cycle++) {
        CLLMModel *m = made();
        CLLMTrainingConfig c = settings();
        CLLMTraining *t = cllm_training_init(m, &c);
        CHECK(t->attention_grads && t->attention_cache && t->store_attention_weights == 1);
        for (int i = 0; i < 256; i++) {
            CHECK(t->attention_grads[0].query_lattice[i] == 0.0f
                  && t->attention_grads[0].key_lattice[i] == 0.0f
                  && t->attention_grads[0].value_lattice[i] == 0.0f);
        }
        CHECK(t->attention_cache[0].queries && t->attention_cache[0].keys);
        CHECK(t->attention_cache[0].values && t->attention_cache[0].scores);
        CHECK(t->attention_cache[0].attention_weights != NULL);
        t->store_attention_weights = 0;
        cllm_forward_training(t, tokens);
        CHECK(t->attention_cache[0].attention_weights[0] == 0.0f);
        t->store_attention_weights = 1;
        cllm_forward_training(t, tokens);
        CHECK(t->attention_cache[0].attention_weights[0] == 1.0f); /* position 0 sees itself */
        if (cycle % 2) {
            cllm_training_free(t);
        } else {
            cllm_training_cleanup(t);
        }
        cllm_free_model(m);
    }
}

static void rates_by_step(void) {
    CLLMModel *m = made();
    CLLMTrainingConfig c = settings();
    c.warmup_steps = 10;
    c.max_steps = 100;
    c.min_lr = 1e-5f;
    strcpy(c.lr_scheduler, "cosine");
    CLLMTraining *t = cllm_training_init(m, &c);
    float last = 0;
    for (int step = 0; step < 10; step++) {
        t->current_step = step;
        cllm_update_learning_rate(t);
        CHECK(t->config.learning_rate > last);
        CHECK(t->config.learning_rate >= 1e-5f && t->config.learning_rate <= 0.001f);
        last = t->config.learning_rate;
    }
    for (int step = 11; step < 100; step++) {
        t->current_step = step;
        cllm_update_learning_rate(t);
        CHECK(t->config.learning_rate < last);
        CHECK(t->config.learning_rate >= 1e-5f);
        last = t->config.learning_rate;
    }
    cllm_training_free(t);
    cllm_free_model(m);
}

static void steps_by_hand(void) {
    CLLMModel *m = made();
    CLLMTrainingConfig c = settings();
    CLLMTraining *t = cllm_training_init(m, &c);
    size_t bytes = m->num_weights * sizeof(float);
    float *kept = malloc(bytes);
    float first = 0, loss = 0;
    for (int i = 0; i < 10; i++) {
        loss = cllm_forward_training(t, tokens);
        loss += cllm_compute_loss_training(t, tokens + 1);
        CHECK(loss > 0 && loss < 100);
        first = i == 0 ? loss : first;
        int logits = 0, gradients = 0;
        for (int k = 0; k < 16 * 23; k++) {
            logits += t->logits[k] != 0.0f;
        }
        cllm_backward_training(t, tokens + 1);
        for (int k = 0; k < 16 * 23; k++) {
            gradients += t->gradients[k] != 0.0f;
        }
        CHECK(logits > 0 && gradients > 0);
        cllm_optimizer_step_adam(t);
    }
    CHECK(loss < first);
    CHECK(t->current_step == 0);
    t->config.gradient_accumulation_steps = 2;
    memcpy(kept, m->weights, bytes);
    cllm_forward_training(t, tokens);
    cllm_backward_training(t, tokens + 1);
    cllm_optimizer_step_adam(t);
    CHECK(memcmp(kept, m->weights, bytes) == 0); /* the first of two changes nothing */
    cllm_optimizer_step_adam(t);
    CHECK(memcmp(kept, m->weights, bytes) != 0);
    free(kept);
    cllm_training_free(t);
    cllm_free_model(m);
}

static void tokens_by_hand(void) {
    CLLMModel *m = made();
    CLLMTrainingConfig c = settings();
    c.max_steps = 20;
    CLLMTraining *t = cllm_training_init(m, &c);
    t->tokens = tokens;
    t->num_tokens = 200;
    t->total_batches = 200 / 16;
    int epochs = 0;
    for (int epoch = 0; epoch < 10; epoch++) {
        t->current_epoch = epoch;
        CHECK(cllm_train_epoch(t) > 0);
        epochs++;
        if (t->current_step >= t->config.max_steps) {
            break;
        }
    }
    CHECK(epochs == 2 && t->current_step == 24 && t->total_batches == 12);
    t->tokens = NULL; /* not the library's */
    cllm_training_free(t);
    t = cllm_training_init(m, &c);
    t->tokens = malloc(40 * sizeof(uint32_t));
    memcpy(t->tokens, tokens, 40 * sizeof(uint32_t));
    t->num_tokens = 40;
    CHECK(cllm_train_epoch(t) > 0);
    free(t->tokens); /* by the program, before the object */
    cllm_training_free(t);
    cllm_free_model(m);
}

static void batches(void) {
    uint32_t ids[100];
    for (uint32_t i = 0; i < 100; i++) {
        ids[i] = i + 1;
    }
    CLLMBatchIterator *it = cllm_batch_iterator_create(ids, 100, 4, 5, 0, 1);
    int count = 0;
    CLLMBatch *batch;
    while ((batch = cllm_batch_iterator_next(it)) != NULL) {
        CHECK(cllm_batch_validate(batch) == 1);
        cllm_batch_free(batch);
        count++;
    }
    CHECK(count == 4);
    cllm_batch_iterator_free(it);
    it = cllm_batch_iterator_create(ids, 50, 2, 5, 0, 0);
    batch = cllm_batch_iterator_next(it);
    CHECK(batch->input_ids[0] == 1);
    cllm_batch_free(batch);
    batch = cllm_batch_iterator_next(it);
    CHECK(batch->input_ids[0] == 11);
    cllm_batch_free(batch);
    cllm_batch_iterator_reset(it);
    batch = cllm_batch_iterator_next(it);
    CHECK(batch->input_ids[0] == 1);
    cllm_batch_free(batch);
    cllm_batch_iterator_free(it);
}

int main(void) {
    for (uint32_t i = 0; i < 200; i++) {
        tokens[i] = (i * 7 + i / 9) % 23;
    }
    scratch_make();
    CHECK(chdir(scratch) == 0);
    RUN(models_without_layers);
    RUN(buffers_after_init);
    RUN(rates_by_step);
    RUN(steps_by_hand);
    RUN(tokens_by_hand);
    RUN(batches);
    CHECK(chdir("/") == 0 && scratch_remove() == 0);
    return harness_report();
}
