/* cllm_utils.h: every function, the contract's edge cases, ownership. */
#include "scratch.h"


#include "cllm_utils.h"
#include "harness.h"

static CLLMModel *tiny(void) {
    CLLMConfig config = {20, 8, 2, 2, 16, 6, 0.1f};
    return cllm_create_model(&config);
}

/* ---- models ---- */

static void created_model_has_the_layout(void) {
    srand(1);
    CLLMModel *m = tiny();
    const uint64_t v = 20, d = 8, l = 2, f = 16;
    uint64_t weights = v * d + l * (3 * d * d + 2 * d * f + d + f + 4 * d);
    CHECK(m != NULL);
    CHECK(strcmp(m->header.magic, "CLLM") == 0);
    CHECK(m->header.magic[5] == 0 && m->header.magic[6] == 0 && m->header.magic[7] == 0);
    CHECK(m->header.version == 1 && m->header.architecture == 2);
    CHECK(m->header.vocab_size == v && m->header.embedding_dim == d);
    CHECK(m->header.num_layers == l && m->header.num_heads == 2);
    CHECK(m->header.context_length == 6 && m->header.total_params == weights);
    CHECK(m->num_weights == weights && m->vocab_size == v && m->embedding_dim == d);
    CHECK(m->num_layers == l && m->lattice_points == NULL);
    CHECK(m->embeddings.vocab_size == v && m->embeddings.embedding_dim == d);
    CHECK(m->embeddings.lattice_transform == NULL && m->embeddings.inverse_transform == NULL);

    float *next = m->weights;
    CHECK(m->embeddings.embeddings == next);
    next += v * d;
    for (uint32_t i = 0; i < l; i++) {
        AttentionLayer *a = &m->attention_layers[i];
        CHECK(a->layer_id == i && a->num_heads == 2 && a->head_dim == 4);
        CHECK(a->query_lattice == next && a->key_lattice == next + d * d);
        CHECK(a->value_lattice == next + 2 * d * d);
        next += 3 * d * d;
    }
    for (uint32_t i = 0; i < l; i++) {
        FeedForwardLayer *ff = &m->ff_layers[i];
        CHECK(ff->layer_id == i && ff->input_dim == d && ff->hidden_dim == f);
        CHECK(ff->output_dim == d);
        CHECK(ff->w1_lattice == next && ff->bias1 == next + f * d);
        CHECK(ff->w2_lattice == next + f * d + f && ff->bias2 == next + 2 * f * d + f);
        next += 2 * f * d + f + d;
    }
    for (uint32_t i = 0; i < 2 * l; i++) {
        CLLMLayerNorm *n = &m->layer_norms[i];
        CHECK(n->layer_id == i && n->dim == d && n->epsilon == 1e-5f);
        CHECK(n->gamma == next && n->beta == next + d);
        CHECK(n->gamma[0] == 1.0f && n->gamma[d - 1] == 1.0f && n->beta[d - 1] == 0.0f);
        next += 2 * d;
    }
    CHECK(next == m->weights + weights);

    for (uint32_t i = 0; i < v; i++) {
        char expected[32];
        snprintf(expected, sizeof expected, "token_%u", i);
        CHECK(m->tokens[i].token_id == i); /* DEFECT of the original: 0 everywhere */
        CHECK(strcmp(m->tokens[i].token_str, expected) == 0);
        CHECK(m->tokens[i].frequency == 0.0f && m->tokens[i].prime_encoding == 0);
    }
    PositionalEncoding *p = &m->pos_encoding;
    CHECK(p->max_length == 6 && p->embedding_dim == d);
    double sum = 0;
    for (uint64_t i = 0; i < 6 * d; i++) {
        CHECK(p->spiral_positions[i] == 0 && p->clock_positions[i] == 0
              && p->prime_positions[i] == 0);
        sum += fabs(p->learned_positions[i]);
    }
    /* E|x| of N(0, sigma^2) is 0.8 sigma */
    double share = sum / (6 * d) / 0.02;
    CHECK(share > 0.5 && share < 1.1);
    cllm_free_model(m);
}

static double deviation(const float *x, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)x[i] * x[i];
    }
    return sqrt(sum / (double)n);
}

static void presets_have_their_sizes(void) {
    srand(2);
    CLLMModel *m = cllm_create_small_model();
    CHECK(m && m->num_weights == 853504);
    CHECK(m->vocab_size == 1000 && m->embedding_dim == 128 && m->num_layers == 4);
    CHECK(m->attention_layers[3].num_heads == 4 && m->ff_layers[3].hidden_dim == 512);
    CHECK(m->pos_encoding.max_length == 512);
    double sigma = 0.02 * sqrt(768.0 / 128), residual = sigma / sqrt(8.0);
    CHECK_NEAR(deviation(m->embeddings.embeddings, 128000), sigma, 0.01 * sigma);
    CHECK_NEAR(deviation(m->attention_layers[1].query_lattice, 16384), sigma, 0.025 * sigma);
    CHECK_NEAR(deviation(m->attention_layers[2].key_lattice, 16384), sigma, 0.025 * sigma);
    CHECK_NEAR(deviation(m->attention_layers[0].value_lattice, 16384), residual, 0.025 * residual);
    CHECK_NEAR(deviation(m->ff_layers[3].w1_lattice, 65536), sigma, 0.015 * sigma);
    CHECK_NEAR(deviation(m->ff_layers[3].w2_lattice, 65536), residual, 0.015 * residual);
    CHECK(deviation(m->ff_layers[3].bias1, 512) == 0 && deviation(m->ff_layers[0].bias2, 128) == 0);
    CHECK_NEAR(deviation(m->pos_encoding.learned_positions, 65536), 0.02, 0.0003);
    cllm_free_model(m);
    if (!getenv("CLLM_TEST_LARGE")) return; /* the others take 0.6 and 0.8 GB, and seconds */
    m = cllm_create_medium_model();
    CHECK(m && m->num_weights == 143548416 && m->vocab_size == 50000 && m->num_layers == 8);
    CHECK(m->embedding_dim == 1024 && m->attention_layers[7].num_heads == 8);
    CHECK(m->ff_layers[7].hidden_dim == 4096 && m->pos_encoding.max_length == 1024);
    cllm_free_model(m);
    m = cllm_create_large_model();
    CHECK(m && m->num_weights == 189722624 && m->vocab_size == 50000 && m->num_layers == 12);
    CHECK(m->embedding_dim == 1024 && m->attention_layers[11].num_heads == 16);
    CHECK(m->ff_layers[11].hidden_dim == 4096 && m->pos_encoding.max_length == 2048);
    cllm_free_model(m);
}

static void srand_makes_models_reproducible(void) {
    srand(7);
    CLLMModel *a = tiny(), *b = tiny();
    srand(7);
    CLLMModel *c = tiny();
    size_t bytes = a->num_weights * sizeof(float);
    CHECK(memcmp(a->weights, c->weights, bytes) == 0);
    CHECK(memcmp(a->weights, b->weights, bytes) != 0);
    cllm_free_model(a);
    cllm_free_model(b);
    cllm_free_model(c);
}

static void create_refuses_bad_sizes(void) {
    CHECK(cllm_create_model(NULL) == NULL);
    CLLMConfig good = {20, 8, 2, 2, 16, 6, 0.1f}, bad;
    bad = good;
    bad.vocab_size = 0;
    CHECK(cllm_create_model(&bad) == NULL);
    bad = good;
    bad.embedding_dim = 0;
    CHECK(cllm_create_model(&bad) == NULL);
    bad = good;
    bad.num_layers = 0;
    CHECK(cllm_create_model(&bad) == NULL);
    bad = good;
    bad.num_heads = 0;
    CHECK(cllm_create_model(&bad) == NULL);
    bad = good;
    bad.num_heads = 3;
    CHECK(cllm_create_model(&bad) == NULL);
    /* DEFECT of the original: these products wrapped at 2^32 and gave short buffers. */
    CLLMConfig huge = {UINT32_MAX, UINT32_MAX, 1, 1, 1, 1, 0};
    CHECK(cllm_create_model(&huge) == NULL);
    CLLMConfig wide = {1, UINT32_MAX, UINT32_MAX, 1, UINT32_MAX, UINT32_MAX, 0};
    CHECK(cllm_create_model(&wide) == NULL);
    bad = good; /* dropout is ignored */
    bad.dropout = NAN;
    CLLMModel *m = cllm_create_model(&bad);
    CHECK(m != NULL);
    cllm_free_model(m);
}

static void feed_forward_and_positions_may_be_absent(void) {
    CLLMConfig c = {10, 6, 2, 3, 0, 0, 0};
    CLLMModel *m = cllm_create_model(&c);
    CHECK(m && m->num_weights == 10 * 6 + 2 * (3 * 36 + 6 + 24));
    CHECK(m->ff_layers[0].hidden_dim == 0 && m->pos_encoding.max_length == 0);
    CHECK(cllm_comprehensive_validation(m));
    cllm_free_model(m);
}

static float *block(size_t n) {
    return calloc(n, sizeof(float));
}

/* A model that the program assembles, each part a block of its own; L norms. */
static CLLMModel *by_hand(void) {
    CLLMModel *m = calloc(1, sizeof *m);
    m->vocab_size = 5;
    m->num_layers = 1;
    m->embeddings.vocab_size = 5;
    m->embeddings.embedding_dim = 4;
    m->embeddings.embeddings = block(20);
    m->attention_layers = calloc(1, sizeof *m->attention_layers);
    m->attention_layers[0].num_heads = 2;
    m->attention_layers[0].head_dim = 2;
    m->attention_layers[0].query_lattice = block(8); /* two 2x2 blocks */
    m->attention_layers[0].key_lattice = block(8);
    m->attention_layers[0].value_lattice = block(8);
    m->ff_layers = calloc(1, sizeof *m->ff_layers);
    m->ff_layers[0].input_dim = 4;
    m->ff_layers[0].hidden_dim = 3;
    m->ff_layers[0].output_dim = 4;
    m->ff_layers[0].w1_lattice = block(12);
    m->ff_layers[0].w2_lattice = block(12);
    m->ff_layers[0].bias1 = block(3);
    m->ff_layers[0].bias2 = block(4);
    m->layer_norms = calloc(1, sizeof *m->layer_norms);
    m->layer_norms[0].dim = 4;
    m->layer_norms[0].epsilon = 1e-5f;
    m->layer_norms[0].gamma = block(4);
    m->layer_norms[0].beta = block(4);
    return m;
}

static void free_takes_any_model_once(void) {
    cllm_free_model(NULL);
    CLLMModel *m = tiny();
    cllm_free_model(m);
    cllm_free_model(m); /* reported, not a crash */
    cllm_free_model(by_hand());
    m = by_hand();
    free(m->ff_layers[0].bias1);
    m->ff_layers[0].bias1 = m->layer_norms[0].gamma; /* shared: freed once */
    m->embeddings.lattice_transform = block(16);
    m->pos_encoding.spiral_positions = block(1);
    m->tokens = calloc(5, sizeof *m->tokens);
    cllm_free_model(m);
    cllm_free_model(calloc(1, sizeof *m));
    m = tiny(); /* parts of a created model that the program replaced */
    free(m->tokens);
    m->tokens = NULL;
    free(m->pos_encoding.clock_positions);
    m->pos_encoding.clock_positions = NULL;
    m->attention_layers[0].key_lattice = block(64);
    cllm_free_model(m);
    CHECK(1);
}

static void memory_is_estimated(void) {
    CLLMConfig small = {1000, 128, 4, 4, 512, 512, 0.1f};
    CLLMConfig medium = {50000, 1024, 8, 8, 4096, 1024, 0.1f};
    CLLMConfig large = {50000, 1024, 12, 16, 4096, 2048, 0.1f};
    CHECK(cllm_estimate_memory(&small) == 4601152);
    CHECK(cllm_estimate_memory(&medium) == 597774048);
    CHECK(cllm_estimate_memory(&large) == 799248704);
    CHECK(cllm_estimate_memory(NULL) == 0);
    CLLMConfig nothing = {0};
    CHECK(cllm_estimate_memory(&nothing) == 1952);
    CLLMConfig wide = {100000, 100000, 1, 1, 0, 0, 0}; /* beyond 32 bits */
    CHECK(cllm_estimate_memory(&wide)
          == 1952 + 13600000 + 4 * (10000000000u + 30000000000u + 500000u) + 152);
    CLLMConfig all = {UINT32_MAX, UINT32_MAX, UINT32_MAX, 1, UINT32_MAX, UINT32_MAX, 0};
    CHECK(cllm_estimate_memory(&all) == SIZE_MAX);
}

/* ---- validation ---- */

static void stability_means_finite(void) {
    float x[4] = {0, -1, 1e38f, 3};
    CHECK(cllm_check_numerical_stability(x, 4, "x"));
    x[3] = 3.4e38f; /* DEFECT of the original: taken for infinite */
    CHECK(cllm_check_numerical_stability(x, 4, NULL));
    x[1] = NAN;
    CHECK(!cllm_check_numerical_stability(x, 4, "x"));
    CHECK(cllm_check_numerical_stability(x, 1, "x"));
    x[1] = -INFINITY;
    CHECK(!cllm_check_numerical_stability(x, 4, NULL));
    CHECK(!cllm_check_numerical_stability(NULL, 4, "x"));
}

static void weights_are_validated(void) {
    CLLMModel *m = tiny();
    CHECK(cllm_validate_weights(m));
    float *places[] = {&m->embeddings.embeddings[159], &m->attention_layers[1].value_lattice[63],
                       &m->ff_layers[1].w2_lattice[5], &m->ff_layers[1].bias1[15]};
    for (int i = 0; i < 4; i++) {
        float kept = *places[i];
        *places[i] = i % 2 ? NAN : INFINITY;
        CHECK(!cllm_validate_weights(m));
        CHECK(!cllm_comprehensive_validation(m));
        *places[i] = kept;
    }
    CHECK(cllm_validate_weights(m));
    cllm_free_model(m);
    CHECK(!cllm_validate_weights(NULL));

    m = by_hand(); /* DEFECT of the original: false without the block `weights` */
    CHECK(cllm_validate_weights(m));
    float *parts[] = {&m->embeddings.embeddings[19], &m->attention_layers[0].query_lattice[7],
                      &m->ff_layers[0].w1_lattice[11], &m->ff_layers[0].bias2[3]};
    for (int i = 0; i < 4; i++) {
        *parts[i] = NAN; /* biases too */
        CHECK(!cllm_validate_weights(m));
        *parts[i] = 0;
    }
    CHECK(cllm_validate_weights(m));
    free(m->embeddings.embeddings);
    m->embeddings.embeddings = NULL;
    CHECK(!cllm_validate_weights(m));
    cllm_free_model(m);
    float e[6] = {0};
    CLLMModel bare = {0}; /* DEFECT of the original: NULL layer arrays crash */
    bare.vocab_size = 3;
    bare.embedding_dim = 2;
    bare.num_layers = 2;
    bare.embeddings.embeddings = e;
    CHECK(cllm_validate_weights(&bare));
    CLLMModel nothing = {0};
    CHECK(!cllm_validate_weights(&nothing));
}

static void norms_are_validated(void) {
    CLLMModel *m = tiny();
    CHECK(cllm_validate_layer_norms(m));
    m->layer_norms[3].beta[7] = NAN; /* the second half belongs to a created model */
    CHECK(!cllm_validate_layer_norms(m));
    m->layer_norms[3].beta[7] = 0;
    float epsilons[] = {0, -1e-5f, 1.1e-3f, NAN, INFINITY};
    for (int i = 0; i < 5; i++) {
        m->layer_norms[1].epsilon = epsilons[i];
        CHECK(!cllm_validate_layer_norms(m));
    }
    m->layer_norms[1].epsilon = 1e-3f;
    CHECK(cllm_validate_layer_norms(m));
    cllm_free_model(m);
    m = by_hand(); /* DEFECT of the original: always read 2L norms */
    CHECK(cllm_validate_layer_norms(m));
    m->layer_norms[0].gamma[3] = INFINITY;
    CHECK(!cllm_validate_layer_norms(m));
    cllm_free_model(m);
    CLLMModel own = {0};
    own.embedding_dim = 2;
    own.num_layers = 1;
    CHECK(!cllm_validate_layer_norms(&own));
    CHECK(!cllm_validate_layer_norms(NULL));
}

static void positions_are_validated(void) {
    CLLMModel *m = tiny();
    CHECK(cllm_validate_positional_encodings(m));
    float *tables[] = {m->pos_encoding.spiral_positions, m->pos_encoding.clock_positions,
                       m->pos_encoding.prime_positions, m->pos_encoding.learned_positions};
    for (int i = 0; i < 4; i++) {
        tables[i][47] = NAN;
        CHECK(!cllm_validate_positional_encodings(m));
        tables[i][47] = 0;
    }
    CHECK(cllm_validate_positional_encodings(m));
    cllm_free_model(m);
    m = by_hand();
    CHECK(cllm_validate_positional_encodings(m)); /* none present */
    cllm_free_model(m);
    CHECK(!cllm_validate_positional_encodings(NULL));
}

static void comprehensive_looks_at_the_structure(void) {
    CLLMModel *m = tiny();
    CHECK(cllm_comprehensive_validation(m));
    float *kept = m->attention_layers[1].key_lattice;
    m->attention_layers[1].key_lattice = NULL; /* DEFECT of the original: announced, not done */
    CHECK(!cllm_comprehensive_validation(m));
    m->attention_layers[1].key_lattice = kept;
    m->ff_layers[1].output_dim = 7;
    CHECK(!cllm_comprehensive_validation(m));
    m->ff_layers[1].output_dim = 8;
    m->layer_norms[2].epsilon = 1;
    CHECK(!cllm_comprehensive_validation(m));
    m->layer_norms[2].epsilon = 1e-5f;
    m->pos_encoding.clock_positions[0] = INFINITY;
    CHECK(!cllm_comprehensive_validation(m));
    m->pos_encoding.clock_positions[0] = 0;
    CHECK(cllm_comprehensive_validation(m));
    cllm_free_model(m);
    m = by_hand();
    CHECK(cllm_comprehensive_validation(m));
    cllm_free_model(m);
    CHECK(!cllm_comprehensive_validation(NULL));
    CLLMModel nothing = {0};
    CHECK(!cllm_comprehensive_validation(&nothing));
}

static void consistency_is_widths(void) {
    CLLMModel *m = tiny();
    CHECK(cllm_validate_model_consistency(m));
    m->attention_layers[0].head_dim = 5;
    CHECK(!cllm_validate_model_consistency(m));
    m->attention_layers[0].head_dim = 4;
    m->ff_layers[1].input_dim = 9;
    CHECK(!cllm_validate_model_consistency(m));
    m->ff_layers[1].input_dim = 8;
    CHECK(cllm_validate_model_consistency(m));
    AttentionLayer *kept = m->attention_layers;
    m->attention_layers = NULL; /* DEFECT of the original: crashed */
    CHECK(!cllm_validate_model_consistency(m));
    m->attention_layers = kept;
    FeedForwardLayer *ff = m->ff_layers;
    m->ff_layers = NULL;
    CHECK(!cllm_validate_model_consistency(m));
    m->ff_layers = ff;
    cllm_free_model(m);
    CHECK(!cllm_validate_model_consistency(NULL));
}

static void one_weight_is_checked(void) {
    CLLMModel *m = tiny();
    CHECK(cllm_gradient_check_weight(m, 0, 1e-4f));
    CHECK(cllm_gradient_check_weight(m, m->num_weights - 1, 0));
    CHECK(!cllm_gradient_check_weight(m, m->num_weights, 1e-4f));
    CHECK(!cllm_gradient_check_weight(m, SIZE_MAX, 1e-4f));
    m->weights[3] = NAN; /* DEFECT of the original: NaN passed */
    CHECK(!cllm_gradient_check_weight(m, 3, 1e-4f));
    m->weights[3] = INFINITY;
    CHECK(!cllm_gradient_check_weight(m, 3, 1e-4f));
    cllm_free_model(m);
    CHECK(!cllm_gradient_check_weight(NULL, 0, 1e-4f));
    m = by_hand();
    CHECK(!cllm_gradient_check_weight(m, 0, 1e-4f));
    cllm_free_model(m);
}

static void gradients_are_validated(void) {
    CLLMModel own = {0};
    float g[3] = {1e-3f, -100, 0};
    CHECK(cllm_validate_gradients(&own, g, 3));
    CHECK(!cllm_validate_gradients(NULL, g, 3));
    CHECK(!cllm_validate_gradients(&own, NULL, 3));
    CHECK(!cllm_validate_gradients(&own, g, 0)); /* DEFECT of the original: passed */
    g[1] = -100.5f;
    CHECK(!cllm_validate_gradients(&own, g, 3));
    g[1] = NAN;
    CHECK(!cllm_validate_gradients(&own, g, 3));
    float none[2] = {1e-8f, -1e-8f};
    CHECK(!cllm_validate_gradients(&own, none, 2));
}

static void logits_are_validated(void) {
    float x[3] = {-1, 0, 2};
    CHECK(cllm_validate_inference_output(x, 3));
    x[2] = 150; /* a wide spread only warns */
    CHECK(cllm_validate_inference_output(x, 3));
    x[0] = -INFINITY;
    CHECK(!cllm_validate_inference_output(x, 3));
    CHECK(!cllm_validate_inference_output(NULL, 3));
    CHECK(!cllm_validate_inference_output(x, 0));
}

static void batches_are_validated(void) {
    uint32_t in[4] = {0, 1, 2, 3}, target[4] = {1, 2, 3, 4};
    CHECK(cllm_validate_training_batch(in, target, 2, 2, 5));
    CHECK(!cllm_validate_training_batch(in, target, 2, 2, 4));
    CHECK(!cllm_validate_training_batch(target, in, 2, 2, 4));
    CHECK(cllm_validate_training_batch(in, target, 1, 3, 4));
    CHECK(!cllm_validate_training_batch(NULL, target, 2, 2, 5));
    CHECK(!cllm_validate_training_batch(in, NULL, 2, 2, 5));
    CHECK(!cllm_validate_training_batch(in, target, SIZE_MAX, 2, 5));
    CHECK(!cllm_validate_training_batch(in, target, SIZE_MAX / 2 + 1, 2, 5));
    CHECK(!cllm_validate_training_batch(in, target, 0, 2, 5));
}

/* ---- benchmarks ---- */

static int zero(BenchmarkResults r) {
    return r.inference_time_ms == 0 && r.tokens_per_second == 0 && r.memory_mb == 0
        && r.throughput_tokens_per_sec == 0 && r.total_tokens == 0 && r.batch_size == 0
        && r.seq_length == 0;
}

static void benchmarks_time_real_work(void) {
    CLLMConfig config = {300, 64, 2, 4, 256, 64, 0};
    CLLMModel *m = cllm_create_model(&config);
    size_t bytes = m->num_weights * sizeof(float);
    float *kept = malloc(bytes);
    memcpy(kept, m->weights, bytes);
    uint32_t ids[64];
    for (uint32_t i = 0; i < 64; i++) {
        ids[i] = i * 4;
    }
    BenchmarkResults r = cllm_benchmark_inference_single(m, ids, 64, 5);
    CHECK(r.inference_time_ms > 0 && r.memory_mb >= 0);
    CHECK_NEAR(r.tokens_per_second * r.inference_time_ms, 1000, 1e-6);
    CHECK(r.total_tokens == 5 && r.seq_length == 64 && r.batch_size == 1);
    CHECK(r.throughput_tokens_per_sec == 0);
    /* A pass over 64 tokens of this model is some 13 million multiplications: not a microsecond.
     * DEFECT of the original: an empty loop was timed. */
    CHECK(r.inference_time_ms > 0.05);

    r = cllm_benchmark_inference_batch(m, ids, 3, 64, 4);
    CHECK(r.inference_time_ms > 0.05);
    CHECK_NEAR(r.throughput_tokens_per_sec * r.inference_time_ms, 1000.0 * 3 * 64, 1e-3);
    CHECK(r.total_tokens == 4 * 3 * 64 && r.batch_size == 3 && r.seq_length == 64);
    CHECK(r.tokens_per_second == 0);

    r = cllm_benchmark_forward_pass(m, 2, 32, 3);
    CHECK(r.inference_time_ms > 0.05);
    CHECK_NEAR(r.throughput_tokens_per_sec * r.inference_time_ms, 1000.0 * 2 * 32, 1e-3);
    CHECK(r.batch_size == 2 && r.seq_length == 32 && r.memory_mb == 0 && r.total_tokens == 0);

    r = cllm_benchmark_training_step(m, 2, 32, 3);
    CHECK(r.inference_time_ms > 0.05);
    CHECK_NEAR(r.throughput_tokens_per_sec * r.inference_time_ms, 1000.0 * 2 * 32, 1e-3);
    CHECK(r.batch_size == 2 && r.seq_length == 32 && r.memory_mb >= 0);
    CHECK(memcmp(kept, m->weights, bytes) == 0);
    free(kept);
    cllm_free_model(m);
}

static void benchmarks_refuse_bad_arguments(void) {
    CLLMModel *m = tiny();
    uint32_t ids[4] = {0, 1, 2, 19}, bad[4] = {0, 1, 2, 20};
    CHECK(!zero(cllm_benchmark_inference_single(m, ids, 4, 1)));
    CHECK(zero(cllm_benchmark_inference_single(NULL, ids, 4, 1)));
    CHECK(zero(cllm_benchmark_inference_single(m, NULL, 4, 1)));
    CHECK(zero(cllm_benchmark_inference_single(m, ids, 0, 1)));
    CHECK(zero(cllm_benchmark_inference_single(m, ids, SIZE_MAX, 1)));
    /* DEFECT of the original: divided by zero, crashed */
    CHECK(zero(cllm_benchmark_inference_single(m, ids, 4, 0)));
    CHECK(zero(cllm_benchmark_inference_single(m, ids, 4, -1)));
    CHECK(zero(cllm_benchmark_inference_single(m, ids, 4, 2147483647)));
    CHECK(zero(cllm_benchmark_inference_single(m, bad, 4, 1)));
    CHECK(!zero(cllm_benchmark_inference_batch(m, ids, 2, 4, 1)));
    CHECK(zero(cllm_benchmark_inference_batch(NULL, ids, 2, 4, 1)));
    CHECK(zero(cllm_benchmark_inference_batch(m, NULL, 2, 4, 1)));
    CHECK(zero(cllm_benchmark_inference_batch(m, ids, 0, 4, 1)));
    CHECK(zero(cllm_benchmark_inference_batch(m, ids, SIZE_MAX, 4, 1)));
    CHECK(zero(cllm_benchmark_inference_batch(m, ids, 2, 0, 1)));
    CHECK(zero(cllm_benchmark_inference_batch(m, ids, 2, 4, 0)));
    CHECK(zero(cllm_benchmark_inference_batch(m, bad, 2, 4, 1)));
    CHECK(!zero(cllm_benchmark_forward_pass(m, 2, 4, 1)));
    CHECK(zero(cllm_benchmark_forward_pass(NULL, 2, 4, 1)));
    CHECK(zero(cllm_benchmark_forward_pass(m, 0, 4, 1)));
    CHECK(zero(cllm_benchmark_forward_pass(m, 2, 0, 1)));
    CHECK(zero(cllm_benchmark_forward_pass(m, 2, 4, -2)));
    CHECK(!zero(cllm_benchmark_training_step(m, 2, 4, 1)));
    CHECK(zero(cllm_benchmark_training_step(NULL, 2, 4, 1)));
    CHECK(zero(cllm_benchmark_training_step(m, 0, 4, 1)));
    CHECK(zero(cllm_benchmark_training_step(m, 2, SIZE_MAX, 1)));
    CHECK(zero(cllm_benchmark_training_step(m, 2, 4, 0)));
    cllm_free_model(m);
    CLLMModel empty = {0};
    CHECK(zero(cllm_benchmark_inference_single(&empty, ids, 4, 1)));
    /* Models made by hand are timed as they are. */
    m = by_hand();
    uint32_t low[3] = {4, 0, 1};
    CHECK(!zero(cllm_benchmark_inference_single(m, low, 3, 2)));
    CHECK(!zero(cllm_benchmark_training_step(m, 2, 3, 2)));
    CHECK(m->embeddings.embeddings[0] == 0 && m->embeddings.embeddings[19] == 0);
    cllm_free_model(m);
}

static void report_is_written(void) {
    scratch_make();
    const char *path = in_scratch("report.md");
    CLLMModel *m = tiny();
    cllm_generate_performance_report(m, NULL); /* DEFECT of the original: crashed */
    cllm_generate_performance_report(NULL, path);
    CHECK(fopen(path, "r") == NULL);
    CHECK(scratch_remove() == 0);
    cllm_generate_performance_report(m, "/nonexistent/report.md");
    cllm_free_model(m);
}

int main(void) {
    RUN(created_model_has_the_layout);
    RUN(presets_have_their_sizes);
    RUN(srand_makes_models_reproducible);
    RUN(create_refuses_bad_sizes);
    RUN(feed_forward_and_positions_may_be_absent);
    RUN(free_takes_any_model_once);
    RUN(memory_is_estimated);
    RUN(stability_means_finite);
    RUN(weights_are_validated);
    RUN(norms_are_validated);
    RUN(positions_are_validated);
    RUN(comprehensive_looks_at_the_structure);
    RUN(consistency_is_widths);
    RUN(one_weight_is_checked);
    RUN(gradients_are_validated);
    RUN(logits_are_validated);
    RUN(batches_are_validated);
    RUN(benchmarks_time_real_work);
    RUN(benchmarks_refuse_bad_arguments);
    RUN(report_is_written);
    return harness_report();
}
