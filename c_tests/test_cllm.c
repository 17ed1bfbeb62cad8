/* cllm.h: the functions that programs used to declare themselves; layouts are the ABI checks'. */

#include "cllm.h"
#include "cllm_utils.h"
#include "harness.h"

static CLLMModel *tiny(void) {
    CLLMConfig config = {20, 8, 2, 2, 16, 6, 0.1f};
    return cllm_create_model(&config);
}

static void config_is_made_and_compared(void) {
    CLLMConfig *c = cllm_create_config(1000, 64, 2, 4, 256);
    CHECK(c != NULL);
    CHECK(c->vocab_size == 1000 && c->embedding_dim == 64 && c->num_layers == 2);
    CHECK(c->num_heads == 4 && c->ff_dim == 256 && c->max_seq_len == 512);
    CHECK_NEAR(c->dropout, 0.1, 1e-7);
    CLLMConfig *copy = cllm_clone_config(c);
    CHECK(copy && copy != c);
    CHECK(cllm_compare_configs(c, copy) == 1);
    CHECK(cllm_compare_configs(c, c) == 1);
    uint32_t *fields[] = {&copy->vocab_size, &copy->embedding_dim, &copy->num_layers,
                          &copy->num_heads, &copy->ff_dim, &copy->max_seq_len};
    for (int i = 0; i < 6; i++) {
        ++*fields[i];
        CHECK(cllm_compare_configs(c, copy) == 0);
        --*fields[i];
    }
    copy->dropout = 0.2f;
    CHECK(cllm_compare_configs(c, copy) == 0);
    CHECK(cllm_compare_configs(NULL, copy) == 0);
    CHECK(cllm_compare_configs(c, NULL) == 0);
    CHECK(cllm_compare_configs(NULL, NULL) == 0);
    CHECK(cllm_clone_config(NULL) == NULL);
    cllm_free_config(copy);
    free(c); /* a malloc block */
    cllm_free_config(NULL);
}

static void config_is_validated(void) {
    CLLMConfig good = {10, 12, 2, 3, 0, 0, 0.0f};
    CHECK(cllm_validate_config(&good) == 1);
    CHECK(cllm_validate_config(NULL) == 0);
    CLLMConfig bad = good;
    bad.vocab_size = 0;
    CHECK(cllm_validate_config(&bad) == 0);
    bad = good;
    bad.embedding_dim = 0;
    CHECK(cllm_validate_config(&bad) == 0);
    bad = good;
    bad.num_layers = 0;
    CHECK(cllm_validate_config(&bad) == 0);
    bad = good;
    bad.num_heads = 0;
    CHECK(cllm_validate_config(&bad) == 0);
    bad = good;
    bad.num_heads = 5;
    CHECK(cllm_validate_config(&bad) == 0);
    float dropouts[] = {-0.1f, 1.1f, NAN, INFINITY};
    for (int i = 0; i < 4; i++) {
        bad = good;
        bad.dropout = dropouts[i];
        CHECK(cllm_validate_config(&bad) == 0);
    }
    bad.dropout = 1.0f;
    CHECK(cllm_validate_config(&bad) == 1);
}

static void parameters_are_counted(void) {
    CLLMModel *m = tiny();
    /* V*D + S*D + L*(4*D*D + 2*D*F + F + D + 4*D) */
    uint64_t expected = 20 * 8 + 6 * 8 + 2 * (4 * 64 + 2 * 128 + 16 + 8 + 32);
    CHECK(cllm_get_parameter_count(m) == expected);
    CHECK(cllm_get_memory_usage(m) == 4 * expected + 1952 + 2 * 152);
    float transform[64];
    m->embeddings.lattice_transform = transform;
    CHECK(cllm_get_parameter_count(m) == expected + 64);
    m->embeddings.inverse_transform = transform;
    CHECK(cllm_get_parameter_count(m) == expected + 128);
    m->embeddings.lattice_transform = m->embeddings.inverse_transform = NULL;
    cllm_free_model(m);
    CHECK(cllm_get_parameter_count(NULL) == 0);
    CHECK(cllm_get_memory_usage(NULL) == 0);

    float e[6] = {0};
    CLLMModel own = {0}; /* made by hand: no layers, no tables */
    own.vocab_size = 3;
    own.embedding_dim = 2;
    own.num_layers = 1;
    own.embeddings.embeddings = e;
    CHECK(cllm_get_parameter_count(&own) == 6 + 4 * 4 + 4 * 2);
    own.vocab_size = UINT64_MAX; /* saturates */
    own.num_layers = UINT32_MAX;
    CHECK(cllm_get_parameter_count(&own) == UINT64_MAX);
    CHECK(cllm_get_memory_usage(&own) == UINT64_MAX);
}

static void health_looks_everywhere(void) {
    CLLMModel *m = tiny();
    CHECK(cllm_check_model_health(m) == 1);
    /* DEFECT of the original: only E and Q were looked at. */
    float *places[] = {
        &m->embeddings.embeddings[3],
        &m->attention_layers[0].query_lattice[63],
        &m->attention_layers[1].key_lattice[0],
        &m->attention_layers[1].value_lattice[7],
        &m->ff_layers[0].w1_lattice[1],
        &m->ff_layers[1].bias1[15],
        &m->ff_layers[1].w2_lattice[127],
        &m->ff_layers[0].bias2[7],
        &m->layer_norms[0].gamma[0],
        &m->layer_norms[3].beta[7],
        &m->pos_encoding.learned_positions[47],
        &m->pos_encoding.spiral_positions[47],
    };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        float kept = *places[i];
        *places[i] = i % 2 ? INFINITY : NAN;
        CHECK(cllm_check_model_health(m) == 0);
        *places[i] = kept;
    }
    CHECK(cllm_check_model_health(m) == 1);
    cllm_free_model(m);
    CHECK(cllm_check_model_health(NULL) == 0);
    CLLMModel own = {0};
    CHECK(cllm_check_model_health(&own) == 0);
    float e[6] = {1, 2, 3, 4, 5, 6};
    own.vocab_size = 3;
    own.embedding_dim = 2;
    own.num_layers = 1;
    own.embeddings.embeddings = e;
    CHECK(cllm_check_model_health(&own) == 1);
    e[5] = NAN;
    CHECK(cllm_check_model_health(&own) == 0);
}

static void reset_zeroes_matrices_only(void) {
    CLLMModel *m = tiny();
    m->ff_layers[1].bias1[2] = 5.0f;
    m->ff_layers[1].bias2[2] = 6.0f;
    float learned = m->pos_encoding.learned_positions[9];
    cllm_reset_model(m);
    CHECK(m->embeddings.embeddings[159] == 0.0f);
    CHECK(m->attention_layers[1].query_lattice[63] == 0.0f);
    CHECK(m->attention_layers[0].key_lattice[1] == 0.0f);
    CHECK(m->attention_layers[0].value_lattice[1] == 0.0f);
    CHECK(m->ff_layers[1].w1_lattice[127] == 0.0f && m->ff_layers[1].w2_lattice[0] == 0.0f);
    CHECK(m->ff_layers[1].bias1[2] == 5.0f && m->ff_layers[1].bias2[2] == 6.0f);
    CHECK(m->layer_norms[3].gamma[7] == 1.0f);
    CHECK(m->pos_encoding.learned_positions[9] == learned && learned != 0.0f);
    cllm_free_model(m);
    cllm_reset_model(NULL);
    CLLMModel own = {0};
    cllm_reset_model(&own);
}

static void init_draws_anew(void) {
    CLLMModel *m = tiny();
    size_t bytes = m->num_weights * sizeof(float);
    float *first = malloc(bytes);
    memcpy(first, m->weights, bytes);
    cllm_init_model(m);
    CHECK(memcmp(first, m->weights, bytes) != 0);
    cllm_init_model_with_seed(m, 42);
    memcpy(first, m->weights, bytes);
    float learned = m->pos_encoding.learned_positions[5];
    m->ff_layers[0].bias1[0] = 3.0f;
    m->layer_norms[2].gamma[0] = 3.0f;
    cllm_init_model_with_seed(m, 43);
    CHECK(memcmp(first, m->weights, bytes) != 0);
    CHECK(m->ff_layers[0].bias1[0] == 0.0f && m->layer_norms[2].gamma[0] == 1.0f);
    cllm_init_model_with_seed(m, 42);
    CHECK(memcmp(first, m->weights, bytes) == 0);
    CHECK(m->pos_encoding.learned_positions[5] == learned);
    /* srand belongs to the program. DEFECT of the original: cllm_init_model called srand(time). */
    srand(42);
    cllm_init_model(m);
    CHECK(memcmp(first, m->weights, bytes) == 0);
    int next = rand();
    srand(42);
    rand();
    rand();
    CHECK(rand() == next);
    free(first);
    cllm_free_model(m);
    cllm_init_model(NULL);
    cllm_init_model_with_seed(NULL, 1);

    /* A model made by hand has L norms and no more. */
    float e[6] = {0}, gamma[2] = {0}, beta[2] = {9, 9};
    CLLMLayerNorm norm = {0, 2, 1e-5f, gamma, beta};
    CLLMModel own = {0};
    own.vocab_size = 3;
    own.embedding_dim = 2;
    own.num_layers = 1;
    own.embeddings.embeddings = e;
    own.layer_norms = &norm;
    cllm_init_model(&own);
    CHECK(e[0] != 0.0f && e[5] != 0.0f);
    CHECK(gamma[0] == 1.0f && beta[1] == 0.0f);
}

static void inverse_transform_multiplies(void) {
    float t[9] = {1, 2, 3, 0, 1, 4, 5, 6, 0};
    float v[4] = {1, 2, 3, 77};
    cllm_apply_inverse_lattice_transform(v, t, 3);
    CHECK_NEAR(v[0], 14, 1e-5);
    CHECK_NEAR(v[1], 14, 1e-5);
    CHECK_NEAR(v[2], 17, 1e-5);
    CHECK(v[3] == 77);
    cllm_apply_inverse_lattice_transform(v, t, 0);
    cllm_apply_inverse_lattice_transform(v, t, -1);
    cllm_apply_inverse_lattice_transform(NULL, t, 3);
    cllm_apply_inverse_lattice_transform(v, NULL, 3);
    CHECK_NEAR(v[0], 14, 1e-5);
}

int main(void) {
    RUN(config_is_made_and_compared);
    RUN(config_is_validated);
    RUN(parameters_are_counted);
    RUN(health_looks_everywhere);
    RUN(reset_zeroes_matrices_only);
    RUN(init_draws_anew);
    RUN(inverse_transform_multiplies);
    return harness_report();
}
