/* cllm_crystalline_training.h, and cllm_lattice_aware_init. */
#include "capture.h"

#include "cllm_crystalline_training.h"
#include "cllm_ext.h"
#include "cllm_utils.h"
#include "harness.h"

/* As programs declare it themselves. */
extern void cllm_lattice_aware_init(CLLMModel *, float);

enum { V = 1000, D = 12, L = 2, N = 300 };

static uint32_t tokens[N];

static CLLMTraining *new_training(void) {
    srand(7);
    CLLMConfig shape = {.vocab_size = V, .embedding_dim = D, .num_layers = L, .num_heads = 3,
                        .ff_dim = 20, .max_seq_len = 16};
    CLLMModel *model = cllm_create_model(&shape);
    CLLMTrainingConfig config;
    memset(&config, 0, sizeof config);
    config.learning_rate = 0.01f;
    config.batch_size = 2;
    config.sequence_length = 8;
    config.max_steps = 50;
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

static void an_epoch_is_an_epoch(void) {
    CLLMTraining *a = new_training(), *b = new_training();
    capture_start();
    float one = cllm_train_epoch(a), other = cllm_train_epoch_crystalline(b);
    CHECK(strcmp(capture_end(), "") == 0);
    CHECK(one > 0 && one == other && a->current_step == b->current_step && b->current_epoch == 1);
    CHECK(memcmp(a->model->weights, b->model->weights, a->model->num_weights * sizeof(float)) == 0);
    b->num_tokens = 0;
    CHECK(cllm_train_epoch_crystalline(b) == 0 && cllm_train_epoch_crystalline(NULL) == 0);
    drop(a);
    drop(b);
}

static void similarity(void) {
    CHECK_NEAR(crystalline_gcd_similarity(12, 18), 1.0 / 3, 1e-7);
    CHECK(crystalline_gcd_similarity(0, 5) == 0 && crystalline_gcd_similarity(5, 0) == 0);
    CHECK(crystalline_gcd_similarity(7, 7) == 1 && crystalline_gcd_similarity(17, 34) == 0.5f);
    CHECK(crystalline_gcd_similarity(100, 75) == 0.25f);
    CHECK(crystalline_gcd_similarity(UINT32_MAX, UINT32_MAX) == 1);
}

static void loss(void) {
    static const struct { uint32_t a, b; double loss; } PAIRS[] = {
        {0, 0, 0}, {0, 1, 0.818371}, {5, 11, 0.911405}, {99, 199, 0.995655}, {998, 3, 4.574248},
        {41, 42, 3.241909}, {500, 999, 5.047432}};
    CLLMTraining *t = new_training();
    uint32_t a[20], b[20];
    double sum = 0;
    for (int i = 0; i < 7; i++) {
        a[i] = PAIRS[i].a;
        b[i] = PAIRS[i].b;
        sum += PAIRS[i].loss;
        CHECK_NEAR(cllm_compute_loss_crystalline(t, a + i, b + i, 1), PAIRS[i].loss, 1e-5);
    }
    a[7] = V, b[7] = 0; /* skipped */
    a[8] = 0, b[8] = UINT32_MAX;
    CHECK_NEAR(cllm_compute_loss_crystalline(t, a, b, 9), sum / 7, 1e-5);
    CHECK(cllm_compute_loss_crystalline(t, a + 7, b + 7, 2) == 0);
    /* Cut to one batch. */
    t->config.batch_size = 1;
    t->config.sequence_length = 2;
    CHECK_NEAR(cllm_compute_loss_crystalline(t, a, b, 1000000), 0.818371 / 2, 1e-5);
    CHECK(cllm_compute_loss_crystalline(NULL, a, b, 2) == 0);
    CHECK(cllm_compute_loss_crystalline(t, NULL, b, 2) == 0);
    CHECK(cllm_compute_loss_crystalline(t, a, NULL, 2) == 0);
    CHECK(cllm_compute_loss_crystalline(t, a, b, 0) == 0 && cllm_compute_loss_crystalline(t, a, b, -1) == 0);
    drop(t);
}

static void sorting(void) {
    uint32_t ids[6] = {9, 0, UINT32_MAX, 9, 3, 1};
    static const uint32_t SORTED[6] = {0, 1, 3, 9, 9, UINT32_MAX};
    crystalline_sort_by_locality(ids, 1);
    CHECK(ids[0] == 9);
    crystalline_sort_by_locality(ids, 6);
    CHECK(memcmp(ids, SORTED, sizeof ids) == 0);
    crystalline_sort_by_locality(NULL, 6);
    crystalline_sort_by_locality(ids, -1);
    CHECK(memcmp(ids, SORTED, sizeof ids) == 0);
}

/* Whether n values are within the scale and not all alike. */
static int uniform(const float *x, size_t n, float scale) {
    float low = x[0], high = x[0];
    for (size_t i = 0; i < n; i++) {
        if (!(fabsf(x[i]) <= scale)) return 0;
        if (x[i] < low) low = x[i];
        if (x[i] > high) high = x[i];
    }
    return low < -0.5f * scale && high > 0.5f * scale;
}

static int all(const float *x, size_t n, float value) {
    for (size_t i = 0; i < n; i++)
        if (x[i] != value) return 0;
    return 1;
}

static void init(void) {
    CLLMTraining *t = new_training();
    CLLMModel *m = t->model;
    float position = m->pos_encoding.learned_positions[5];
    m->layer_norms[0].gamma[1] = 7;
    m->ff_layers[1].bias1[2] = 7;
    cllm_lattice_aware_init(m, NAN);
    CHECK(m->layer_norms[0].gamma[1] == 7);
    srand(3);
    cllm_lattice_aware_init(m, 0.5f);
    CHECK(uniform(m->embeddings.embeddings, V * D, 0.5f));
    for (int l = 0; l < L; l++) {
        CHECK(uniform(m->attention_layers[l].query_lattice, D * D, 0.5f));
        CHECK(uniform(m->attention_layers[l].key_lattice, D * D, 0.5f));
        CHECK(uniform(m->attention_layers[l].value_lattice, D * D, 0.5f));
        CHECK(uniform(m->ff_layers[l].w1_lattice, D * 20, 0.5f));
        CHECK(uniform(m->ff_layers[l].w2_lattice, D * 20, 0.5f));
        CHECK(all(m->ff_layers[l].bias1, 20, 0) && all(m->ff_layers[l].bias2, D, 0));
    }
    for (int l = 0; l < 2 * L; l++)
        CHECK(all(m->layer_norms[l].gamma, D, 1) && all(m->layer_norms[l].beta, D, 0));
    CHECK(m->pos_encoding.learned_positions[5] == position);
    float first = m->embeddings.embeddings[0];
    cllm_lattice_aware_init(m, 0.5f);
    CHECK(m->embeddings.embeddings[0] != first);
    srand(3); /* the program's rand() decides */
    cllm_lattice_aware_init(m, 0.5f);
    CHECK(m->embeddings.embeddings[0] == first);
    cllm_lattice_aware_init(NULL, 1);
    drop(t);

    /* A model that the program put together. */
    float table[40 * 4] = {0};
    CLLMModel *own = calloc(1, sizeof *own);
    own->vocab_size = own->embeddings.vocab_size = 40;
    own->embedding_dim = own->embeddings.embedding_dim = 4;
    own->embeddings.embeddings = table;
    cllm_lattice_aware_init(own, 2);
    CHECK(uniform(table, 40 * 4, 2));
    free(own);
}

int main(void) {
    cllm_set_log_silent();
    RUN(an_epoch_is_an_epoch);
    RUN(similarity);
    RUN(loss);
    RUN(sorting);
    RUN(init);
    return harness_report();
}
