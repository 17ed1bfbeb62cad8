/* The closed formulas of cllm_inference.h: embeddings, lattice, positions, symmetry, activations. */
#include <float.h>
#include <limits.h>

#include "cllm_inference.h"
#include "cllm_utils.h"
#include "harness.h"

#define TAU 6.283185307179586476925
#define GOLDEN 1.618033988749895

static uint32_t state = 7;

static float draw(void) {
    state = state * 1664525u + 1013904223u;
    return (float)(int32_t)state / 1073741824.0f;
}

static void near_all(const float *got, const double *want, int n, double tolerance) {
    for (int i = 0; i < n; i++) CHECK_NEAR(got[i], want[i], tolerance);
}

/* A model of three tokens in four dimensions, made by hand on the stack. */
static float E[12] = {1, 2, 3, 4, 5, 6, 7, 8, -1, 0, 1, 0};
static float T[16] = {0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1};

static CLLMModel model_of_three(void) {
    CLLMModel model;
    memset(&model, 0, sizeof model);
    model.vocab_size = 3;
    model.embeddings.vocab_size = 3;
    model.embeddings.embedding_dim = 4;
    model.embeddings.embeddings = E;
    return model;
}

static CLLMInference context_of(CLLMModel *model) {
    CLLMInference inf;
    memset(&inf, 0, sizeof inf);
    inf.model = model;
    return inf;
}

static void embedding_rows(void) {
    CLLMModel model = model_of_three();
    CLLMInference inf = context_of(&model);
    float out[4] = {9, 9, 9, 9};
    cllm_get_embedding(&inf, 1, out);
    CHECK(memcmp(out, E + 4, sizeof out) == 0);
    cllm_embed_token(&inf, 2, out);
    CHECK(memcmp(out, E + 8, sizeof out) == 0);
    float zero[4] = {0};
    cllm_get_embedding(&inf, 3, out);
    CHECK(memcmp(out, zero, sizeof out) == 0);
    out[0] = 9;
    cllm_embed_token(&inf, UINT32_MAX, out);
    CHECK(memcmp(out, zero, sizeof out) == 0);

    /* DEFECT: the range test used the wrong one of the two sizes. */
    model.vocab_size = 1000;
    out[0] = 9;
    cllm_get_embedding(&inf, 3, out);
    CHECK(memcmp(out, zero, sizeof out) == 0);
    model.vocab_size = 2;
    out[0] = 9;
    cllm_get_embedding(&inf, 2, out);
    CHECK(memcmp(out, zero, sizeof out) == 0);

    /* Nothing happens without a matrix or with contradictory widths. */
    model = model_of_three();
    out[0] = 9;
    model.embeddings.embeddings = NULL;
    cllm_get_embedding(&inf, 0, out);
    model.embeddings.embeddings = E;
    model.embedding_dim = 5;
    cllm_get_embedding(&inf, 0, out);
    model.embedding_dim = 4;
    cllm_get_embedding(NULL, 0, out);
    cllm_get_embedding(&inf, 0, NULL);
    cllm_embed_token(NULL, 0, out);
    cllm_embed_token(&inf, 0, NULL);
    inf.model = NULL;
    cllm_get_embedding(&inf, 0, out);
    cllm_embed_token(&inf, 0, out);
    CHECK(out[0] == 9);
}

static void transformed(void) {
    CLLMModel model = model_of_three();
    CLLMInference inf = context_of(&model);
    float out[16];
    cllm_get_embedding_transformed(&inf, 0, out);
    CHECK(out[0] == 1 && out[1] == 2);
    model.embeddings.lattice_transform = T;
    cllm_get_embedding_transformed(&inf, 0, out);
    CHECK(out[0] == 2 && out[1] == 1 && out[2] == 6 && out[3] == 4);
    CHECK(E[0] == 1 && E[1] == 2);
    cllm_get_embedding_transformed(&inf, 9, out);
    CHECK(out[0] == 0 && out[1] == 0 && out[2] == 0 && out[3] == 0);
    uint32_t ids[3] = {1, 77, 0};
    for (int i = 0; i < 16; i++) out[i] = 9;
    cllm_embed_tokens_batch(&inf, ids, 3, out);
    CHECK(out[0] == 6 && out[1] == 5 && out[2] == 14 && out[3] == 8);
    CHECK(out[4] == 0 && out[7] == 0);
    CHECK(out[8] == 2 && out[11] == 4 && out[12] == 9);
    out[0] = 9;
    cllm_embed_tokens_batch(&inf, ids, 0, out);
    cllm_embed_tokens_batch(&inf, ids, -1, out);
    cllm_embed_tokens_batch(&inf, NULL, 1, out);
    cllm_embed_tokens_batch(&inf, ids, 1, NULL);
    cllm_embed_tokens_batch(NULL, ids, 1, out);
    cllm_get_embedding_transformed(NULL, 0, out);
    cllm_get_embedding_transformed(&inf, 0, NULL);
    CHECK(out[0] == 9);

    float x[2] = {1, 2}, m[4] = {1, 10, -1, 0.5f};
    cllm_apply_lattice_transform(x, m, 2);
    CHECK(x[0] == 21 && x[1] == 0);
    cllm_apply_lattice_transform(NULL, m, 2);
    cllm_apply_lattice_transform(x, NULL, 2);
    cllm_apply_lattice_transform(x, m, 0);
    cllm_apply_lattice_transform(x, m, INT_MIN);
    CHECK(x[0] == 21 && x[1] == 0);
}

static void logits(void) {
    CLLMModel model = model_of_three();
    CLLMInference inf = context_of(&model);
    float h[4] = {1, 0, -1, 2}, out[3] = {9, 9, 9};
    cllm_project_to_vocab(&inf, h, out);
    CHECK(out[0] == 6 && out[1] == 14 && out[2] == -2);
    cllm_compute_logits(&inf, h); /* no logits: refused */
    inf.logits = out;
    model.embeddings.inverse_transform = T;
    cllm_project_to_vocab(&inf, h, out);
    /* T h = (0, 1, -2, 2) */
    CHECK(out[0] == 4 && out[1] == 8 && out[2] == -2);
    CHECK(h[0] == 1 && h[1] == 0);
    cllm_compute_logits(&inf, h);
    CHECK(out[0] == 6 && out[1] == 14 && out[2] == -2);
    out[0] = 9;
    cllm_compute_logits(&inf, NULL);
    cllm_compute_logits(NULL, h);
    cllm_project_to_vocab(NULL, h, out);
    cllm_project_to_vocab(&inf, NULL, out);
    cllm_project_to_vocab(&inf, h, NULL);
    model.embeddings.embeddings = NULL;
    cllm_project_to_vocab(&inf, h, out);
    cllm_compute_logits(&inf, h);
    CHECK(out[0] == 9);
}

static void norms(void) {
    float x[3] = {2, -3, 6};
    CHECK(cllm_embedding_norm(x, 3) == 7);
    CHECK(cllm_embedding_norm(x, 0) == 0 && cllm_embedding_norm(x, -1) == 0 && cllm_embedding_norm(NULL, 3) == 0);
    cllm_normalize_embedding(x, 3);
    CHECK_NEAR(x[2], 6.0 / 7, 1e-7);
    float small[2] = {6e-9f, 0}, tiny[2] = {6e-5f, 8e-5f}, large[2] = {3e20f, 4e20f};
    cllm_normalize_embedding(small, 2); /* not above 1e-8 */
    CHECK(small[0] == 6e-9f);
    /* DEFECT: the root was wrong outside 1e-4..1e5. */
    CHECK_NEAR(cllm_embedding_norm(tiny, 2), 1e-4, 1e-10);
    CHECK_NEAR(cllm_embedding_norm(large, 2) / 5e20, 1, 1e-6);
    cllm_normalize_embedding(large, 2);
    CHECK_NEAR(large[1], 0.8, 1e-6);
    cllm_normalize_embedding(NULL, 2);
    cllm_normalize_embedding(tiny, 0);
    CHECK(tiny[0] == 6e-5f);
}

static int is_prime(uint64_t n) {
    for (uint64_t d = 2; d * d <= n; d++)
        if (n % d == 0) return 0;
    return n >= 2;
}

static void spiral(void) {
    float golden = (float)(TAU / (GOLDEN * GOLDEN));
    double n = 0;
    for (uint64_t p = 0; p < 3000; p++) {
        float angle = -1, radius = -1;
        cllm_compute_spiral_position(p, &angle, &radius);
        double want = fmod((double)(float)((double)golden * n), TAU);
        double off = fabs(angle - want);
        CHECK(off < 1e-6 || fabs(off - TAU) < 1e-6);
        CHECK_NEAR(radius, sqrt(n), 1e-5);
        CHECK(angle >= 0 && angle < TAU);
        n += is_prime(p);
    }
    float angle = -1, radius = -1;
    /* DEFECT: hours by trial division, and no end beyond 5.6e7 primes. */
    cllm_compute_spiral_position(2000000011, &angle, &radius);
    CHECK_NEAR(radius, sqrt(98222287.0), 1e-3);
    CHECK(angle >= 0 && angle < TAU);
    cllm_compute_spiral_position(1000000000000, &angle, &radius);
    CHECK_NEAR(radius, sqrt(37607912018.0), 0.02);
    angle = radius = -1;
    cllm_compute_spiral_position(UINT64_MAX, &angle, &radius); /* refused at once */
    cllm_compute_spiral_position(7, NULL, &radius);
    cllm_compute_spiral_position(7, &angle, NULL);
    CHECK(angle == -1 && radius == -1);
}

static void lattice_points(void) {
    float xyz[3] = {9, 9, 9};
    cllm_map_token_to_lattice(5, 3, xyz);
    near_all(xyz, (double[]){-0.637418, 0.678631, 1.391375}, 3, 1.5e-6);
    cllm_map_token_to_lattice(5, 101, xyz);
    near_all(xyz, (double[]){-4.663519, -1.516515, 4.630054}, 3, 3e-6);
    cllm_map_token_to_lattice(0, 0, xyz);
    near_all(xyz, (double[]){0.1, 0, 0}, 3, 1e-7);
    xyz[0] = 9;
    cllm_map_token_to_lattice(0, UINT64_MAX, xyz);
    cllm_map_token_to_lattice(0, 2, NULL);
    CHECK(xyz[0] == 9);
    CHECK_NEAR(cllm_lattice_token_distance(1, 3, 2, 5), 2.290893, 2e-6);
    CHECK(cllm_lattice_token_distance(4, 7, 4, 7) == 0);
    CHECK(cllm_lattice_token_distance(4, UINT64_MAX, 4, 7) == 0);

    float out[8];
    cllm_generate_lattice_embedding(5, 11, 8, out);
    near_all(out, (double[]){0.477658, 0.452176, 0.404530, 0.348186, 0.297299, 0.262623, 0.248505, 0.251771}, 8, 1e-6);
    out[0] = 9;
    cllm_generate_lattice_embedding(5, 11, 0, out);
    cllm_generate_lattice_embedding(5, 11, 8, NULL);
    cllm_generate_lattice_embedding(5, UINT64_MAX, 8, out);
    CHECK(out[0] == 9);
    cllm_generate_lattice_embedding(5, 11, 1, out);
    CHECK_NEAR(fabs(out[0]), 1, 1e-6);
}

static void lattice_embeddings(void) {
    enum { V = 50, D = 10 };
    CLLMModel model;
    memset(&model, 0, sizeof model);
    float *table = calloc(V * D, sizeof(float));
    CLLMToken *tokens = calloc(V, sizeof *tokens);
    model.vocab_size = V - 1; /* the last token is left alone */
    model.embeddings.vocab_size = V;
    model.embeddings.embedding_dim = D;
    cllm_generate_lattice_embeddings(&model); /* no matrix: nothing */
    model.embeddings.embeddings = table;
    model.tokens = tokens;
    cllm_generate_lattice_embeddings(&model);
    uint64_t p = 1;
    for (uint32_t t = 0; t < V; t++) {
        do p++;
        while (!is_prime(p));
        float row[D], xyz[3];
        cllm_generate_lattice_embedding(t, p, D, row);
        cllm_map_token_to_lattice(t, p, xyz);
        CHECK(memcmp(row, table + t * D, sizeof row) == 0);
        if (t < V - 1) {
            CHECK(tokens[t].prime_encoding == p && tokens[t].symmetry_group == p % 12);
            CHECK(memcmp(tokens[t].lattice_coords, xyz, sizeof xyz) == 0);
        } else {
            CHECK(tokens[t].prime_encoding == 0);
        }
    }
    free(table);
    free(tokens);
    cllm_generate_lattice_embeddings(NULL);
}

static void lattice_transform(void) {
    float m[16];
    cllm_generate_lattice_transform(m, 4);
    near_all(m, (double[]){1, 0, 0, 0, 0, -0.825341, -0.564635, 0, 0, 0.564635, -0.299083, 0.932032, 0, 0, 0.769244, 0.362375}, 16, 1e-6);
    for (int dim = 1; dim < 20; dim++) {
        float *got = malloc(sizeof(float) * (size_t)(dim * dim));
        cllm_generate_lattice_transform(got, dim);
        for (int i = 0; i < dim; i++)
            for (int j = 0; j < dim; j++) {
                double a = (float)(TAU * GOLDEN * i / dim), b = (float)(TAU * GOLDEN * (i - 1) / dim), want = 0;
                double before = i > 0 ? cos(b) : 1;
                if (i == j) want = i == dim - 1 ? before : cos(a) * before;
                if (j == i + 1) want = -sin(a);
                if (j == i - 1) want = sin(b) * (j > 0 ? cos((float)(TAU * GOLDEN * (j - 1) / dim)) : 1);
                CHECK_NEAR(got[i * dim + j], want, 1e-6);
            }
        free(got);
    }
    m[0] = 9;
    cllm_generate_lattice_transform(m, 0);
    cllm_generate_lattice_transform(m, -1);
    cllm_generate_lattice_transform(NULL, 4);
    CHECK(m[0] == 9);
}

static void neighbours(void) {
    uint32_t ids[5] = {1, 2, 3, 2, 9}, out[8];
    uint64_t primes[5] = {2, 3, 5, 7, 11};
    for (int i = 0; i < 8; i++) out[i] = 77;
    cllm_find_lattice_neighbors(9, 11, ids, primes, 5, 8, out);
    CHECK(out[4] == 9 && out[5] == 77); /* DEFECT: filled with ids[0] */
    float last = 0;
    for (int i = 0; i < 4; i++) {
        float best = FLT_MAX;
        for (int j = 0; j < 5; j++) {
            float d = cllm_lattice_token_distance(9, 11, ids[j], primes[j]);
            if (ids[j] == out[i] && d >= last && d < best) best = d;
        }
        CHECK(best < FLT_MAX && best >= last);
        last = best;
    }
    uint32_t first = out[0];
    out[0] = out[1] = 77;
    cllm_find_lattice_neighbors(9, 11, ids, primes, 5, 1, out);
    CHECK(out[0] == first && out[1] == 77);
    /* equally near: the lower index first */
    uint32_t same[3] = {40, 1040, 2040};
    uint64_t sevens[3] = {7, 7, 7};
    cllm_find_lattice_neighbors(3, 7, same, sevens, 3, 3, out);
    CHECK(out[0] == 40 || out[0] == 1040 || out[0] == 2040);
    uint32_t twins[2] = {40, 40};
    cllm_find_lattice_neighbors(3, 7, twins, sevens, 2, 2, out);
    CHECK(out[0] == 40 && out[1] == 40);
    out[0] = 77;
    cllm_find_lattice_neighbors(9, 11, NULL, primes, 5, 2, out);
    cllm_find_lattice_neighbors(9, 11, ids, NULL, 5, 2, out);
    cllm_find_lattice_neighbors(9, 11, ids, primes, 5, 2, NULL);
    cllm_find_lattice_neighbors(9, 11, ids, primes, 5, 0, out);
    cllm_find_lattice_neighbors(9, 11, ids, primes, 5, -2, out);
    cllm_find_lattice_neighbors(9, 11, ids, primes, 0, 2, out);
    cllm_find_lattice_neighbors(9, UINT64_MAX, ids, primes, 5, 2, out);
    CHECK(out[0] == 77);
}

static void position_tables(void) {
    CLLMModel model;
    memset(&model, 0, sizeof model);
    PositionalEncoding *pe = &model.pos_encoding;
    pe->max_length = 16;
    pe->embedding_dim = 8;
    cllm_generate_spiral_encoding(pe); /* no tables: nothing */
    cllm_generate_clock_encoding(pe);
    cllm_generate_prime_encoding(pe);
    cllm_initialize_learned_encoding(pe);
    CHECK(pe->spiral_positions == NULL && pe->learned_positions == NULL);
    float *own = malloc(16 * 8 * sizeof(float));
    pe->clock_positions = own;
    cllm_generate_all_positional_encodings(&model);
    CHECK(pe->clock_positions == own);
    near_all(pe->spiral_positions + 3 * 8, (double[]){0.304220, 0.396800, -0.129802, 0.482858, -0.462172, 0.190779, -0.432606, -0.250703}, 8, 1e-6);
    near_all(pe->clock_positions + 5 * 8, (double[]){-0.445789, 0.283175, 0.249268, -0.431744, -0.025952, 0.472583, -0.249268, -0.431744}, 8, 1e-6);
    near_all(pe->prime_positions + 4 * 8, (double[]){0.512492, 0.063872, 0.453614, 0.176581, 0.436138, 0.186764, 0.460398, 0.243441}, 8, 1e-6);
    near_all(pe->learned_positions + 8, (double[]){0.841471, 0.540302, 0.099833, 0.995004, 0.010000, 0.999950, 0.001000, 1.000000}, 8, 1e-6);

    /* applying them */
    float e[8] = {0};
    model.embeddings.vocab_size = 1;
    model.embeddings.embedding_dim = 8;
    model.embeddings.embeddings = e;
    CLLMInference inf = context_of(&model);
    float x[8] = {0}, want[8];
    cllm_apply_positional_encoding(&inf, x, 3);
    CHECK(memcmp(x, pe->spiral_positions + 24, sizeof x) == 0);
    memset(x, 0, sizeof x);
    cllm_apply_positional_encoding(&inf, x, INT_MAX); /* the last row */
    CHECK(memcmp(x, pe->spiral_positions + 120, sizeof x) == 0);
    memcpy(want, x, sizeof x);
    cllm_apply_positional_encoding(&inf, x, -1);
    cllm_apply_positional_encoding(&inf, x, INT_MIN);
    cllm_apply_positional_encoding(&inf, NULL, 0);
    cllm_apply_positional_encoding(NULL, x, 0);
    cllm_apply_positional_encoding_complete(&inf, x, -1);
    cllm_apply_positional_encoding_complete(&inf, NULL, 0);
    cllm_apply_positional_encoding_complete(NULL, x, 0);
    CHECK(memcmp(x, want, sizeof x) == 0);
    memset(x, 0, sizeof x);
    cllm_apply_positional_encoding_complete(&inf, x, 16 + 5); /* modulo */
    for (int i = 0; i < 8; i++) {
        int at = 5 * 8 + i;
        double sum = (double)pe->spiral_positions[at] + pe->clock_positions[at] + pe->prime_positions[at] + pe->learned_positions[at];
        CHECK_NEAR(x[i], sum / 4, 1e-6);
    }
    /* missing tables count as zeros, the weight stays a quarter */
    float *saved = pe->prime_positions;
    pe->prime_positions = NULL;
    memset(x, 0, sizeof x);
    cllm_apply_positional_encoding_complete(&inf, x, 5);
    CHECK_NEAR(x[0], ((double)pe->spiral_positions[40] + pe->clock_positions[40] + pe->learned_positions[40]) / 4, 1e-6);
    pe->prime_positions = saved;
    /* no rows; another width */
    memcpy(want, x, sizeof x);
    pe->max_length = 0;
    cllm_apply_positional_encoding(&inf, x, 0);
    cllm_apply_positional_encoding_complete(&inf, x, 0); /* DEFECT: SIGFPE */
    pe->max_length = 16;
    pe->embedding_dim = 4;
    cllm_apply_positional_encoding(&inf, x, 0);
    cllm_apply_positional_encoding_complete(&inf, x, 0);
    CHECK(memcmp(x, want, sizeof x) == 0);
    pe->embedding_dim = 8;

    free(pe->spiral_positions); /* they are plain malloc blocks */
    pe->spiral_positions = NULL;
    cllm_free_positional_encoding(pe);
    CHECK(!pe->clock_positions && !pe->prime_positions && !pe->learned_positions);
    CHECK(pe->max_length == 16 && pe->embedding_dim == 8);
    cllm_free_positional_encoding(pe);
    cllm_free_positional_encoding(NULL);

    /* DEFECT: 32-bit products; here 2^64 floats, refused without a trace. */
    pe->max_length = pe->embedding_dim = UINT32_MAX;
    cllm_generate_all_positional_encodings(&model);
    CHECK(!pe->spiral_positions && !pe->learned_positions);
    pe->max_length = 0;
    cllm_generate_all_positional_encodings(&model);
    CHECK(!pe->spiral_positions);
    cllm_generate_all_positional_encodings(NULL);
    cllm_generate_spiral_encoding(NULL);
    cllm_generate_clock_encoding(NULL);
    cllm_generate_prime_encoding(NULL);
    cllm_initialize_learned_encoding(NULL);
    /* DEFECT: a table of no rows was written to. */
    pe->prime_positions = malloc(1);
    cllm_generate_prime_encoding(pe);
    cllm_free_positional_encoding(pe);
}

static void symmetry(void) {
    CHECK(cllm_compute_symmetry_group(0) == 0 && cllm_compute_symmetry_group(101) == 5);
    CHECK(cllm_compute_symmetry_group(UINT64_MAX) == 3);
    static const struct { int group; double want[3]; } table[] = {
        {0, {1, 2, 3}}, {1, {-0.133975, 2.232051, 3}}, {2, {1.232051, 1.866025, 3}},
        {3, {-2.2, 1.1, 3.3}}, {6, {-1, -2, 3}}, {12, {1, 2, 3}}, {-1, {1, 2, 3}}, {INT_MAX, {1, 2, 3}},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        float x[3] = {1, 2, 3};
        cllm_apply_symmetry_transform(x, table[i].group, 3);
        near_all(x, table[i].want, 3, 1e-6);
        cllm_apply_inverse_symmetry_transform(x, table[i].group, 3);
        near_all(x, (double[]){1, 2, 3}, 3, 1e-6);
    }
    for (int group = 0; group < 12; group++) {
        float x[9], old[9];
        for (int i = 0; i < 9; i++) x[i] = old[i] = draw();
        cllm_apply_symmetry_transform(x, group, 9);
        cllm_apply_inverse_symmetry_transform(x, group, 9);
        for (int i = 0; i < 9; i++) CHECK_NEAR(x[i], old[i], 1e-6);
        cllm_apply_symmetry_transform(x, group, 0);
        cllm_apply_symmetry_transform(x, group, -4);
        cllm_apply_inverse_symmetry_transform(x, group, INT_MIN);
        cllm_apply_symmetry_transform(NULL, group, 9);
        cllm_apply_inverse_symmetry_transform(NULL, group, 9);
        for (int i = 0; i < 9; i++) CHECK_NEAR(x[i], old[i], 1e-6);
    }
    float v[8] = {1, -2, 3, 4, 5, 6, 7, 8}, f[9];
    f[8] = 77;
    cllm_compute_symmetry_invariants(v, 8, f, 100);
    double want[8] = {14.28286, 36, -1, 8, 204, 1280, 8772, 61712};
    for (int i = 0; i < 8; i++) CHECK_NEAR(f[i], want[i], 1e-6 * fabs(want[i]));
    CHECK(f[8] == 77);
    f[0] = f[3] = 77;
    cllm_compute_symmetry_invariants(v, 8, f, 3);
    CHECK(f[0] != 77 && f[3] == 77);
    f[0] = 77;
    cllm_compute_symmetry_invariants(v, 8, f, 0);
    cllm_compute_symmetry_invariants(v, 0, f, 8);
    cllm_compute_symmetry_invariants(NULL, 8, f, 8);
    cllm_compute_symmetry_invariants(v, 8, NULL, 8);
    CHECK(f[0] == 77);

    float x[2] = {1, 2}, m[4] = {0, 1, 1, 0};
    cllm_apply_equivariant_transform(x, 6, m, 2);
    CHECK(x[0] == -2 && x[1] == -1);
    cllm_apply_equivariant_transform(x, 99, m, 2); /* only the matrix */
    CHECK(x[0] == -1 && x[1] == -2);
    cllm_apply_equivariant_transform(x, 1, NULL, 2);
    cllm_apply_equivariant_transform(NULL, 1, m, 2);
    cllm_apply_equivariant_transform(x, 1, m, 0);
    CHECK(x[0] == -1 && x[1] == -2);

    float a[4] = {1, 2, 3, 4}, b[4] = {1, 2, 3, 4}, zero[4] = {0};
    CHECK_NEAR(cllm_symmetry_compatibility(a, 5, b, 5, 4), 1, 1e-6);
    CHECK_NEAR(cllm_symmetry_compatibility(a, 0, a, 6, 2), 0, 1e-6);
    CHECK(a[0] == 1 && a[1] == 2);
    CHECK(cllm_symmetry_compatibility(a, 0, zero, 0, 4) == 0);
    CHECK(cllm_symmetry_compatibility(NULL, 0, b, 0, 4) == 0);
    CHECK(cllm_symmetry_compatibility(a, 0, NULL, 0, 4) == 0);
    CHECK(cllm_symmetry_compatibility(a, 0, b, 0, 0) == 0);

    int groups[4] = {0, 6, 11, 14};
    float mask[16];
    cllm_generate_symmetry_attention_mask(groups, 4, mask);
    near_all(mask, (double[]){1, 0.25, 1 / 1.5, 0.5, 0.25, 1, 1 / 3.5, 1 / 3.0, 1 / 1.5, 1 / 3.5, 1, 1 / 2.5, 0.5, 1 / 3.0, 1 / 2.5, 1}, 16, 1e-6);
    int wild[2] = {INT_MIN, INT_MAX};
    cllm_generate_symmetry_attention_mask(wild, 2, mask);
    CHECK(mask[1] > 0 && mask[1] <= 1); /* DEFECT: infinite */
    mask[0] = 77;
    cllm_generate_symmetry_attention_mask(NULL, 2, mask);
    cllm_generate_symmetry_attention_mask(groups, 2, NULL);
    cllm_generate_symmetry_attention_mask(groups, 0, mask);
    cllm_generate_symmetry_attention_mask(groups, -2, mask);
    CHECK(mask[0] == 77);
}

static void activations(void) {
    float x[8] = {-3, -1, -0.5f, 0.5f, 1, 2, 3, 5};
    cllm_activation_gelu(x, 8);
    near_all(x, (double[]){-0.0036374, -0.158808, -0.154286, 0.345714, 0.841192, 1.954598, 2.996363, 5}, 8, 1e-6);
    for (int i = 0; i < 300; i++) {
        float one = 5 * draw();
        double v = one, want = 0.5 * v * (1 + tanh(0.7978845608028654 * (v + 0.044715 * v * v * v)));
        cllm_activation_gelu(&one, 1);
        CHECK_NEAR(one, want, 2e-6);
    }
    float r[4] = {-1, -0.0f, 2, NAN};
    cllm_activation_relu(r, 4);
    CHECK(r[0] == 0 && signbit(r[1]) && r[2] == 2 && isnan(r[3]));
    cllm_activation_gelu(NULL, 3);
    cllm_activation_relu(NULL, 3);
    r[0] = -1;
    cllm_activation_gelu(r, 0);
    cllm_activation_relu(r, -1);
    CHECK(r[0] == -1);

    float t[2] = {4, -8};
    cllm_apply_temperature(t, 2, 2);
    CHECK(t[0] == 2 && t[1] == -4);
    cllm_apply_temperature(t, 2, 100); /* held to 2 */
    CHECK(t[0] == 1 && t[1] == -2);
    cllm_apply_temperature(t, 2, 0); /* held to 0.1 */
    CHECK_NEAR(t[0], 10, 1e-5);
    cllm_apply_temperature(t, 2, NAN);
    cllm_apply_temperature(NULL, 2, 1);
    cllm_apply_temperature(t, -1, 2);
    CHECK_NEAR(t[0], 10, 1e-5);
}

/* What was freed is refused, not read. */
static void stale(void) {
    CLLMConfig config = {10, 4, 1, 1, 8, 16, 0};
    CLLMModel *model = cllm_create_model(&config);
    CLLMInference *inf = cllm_inference_init(model);
    float x[10] = {0}, want[10];
    cllm_get_embedding(inf, 3, x);
    CHECK(memcmp(x, model->embeddings.embeddings + 12, 4 * sizeof(float)) == 0);
    float *spiral = model->pos_encoding.spiral_positions;
    cllm_generate_all_positional_encodings(model);
    CHECK(model->pos_encoding.spiral_positions == spiral && spiral[0] != 0);
    cllm_generate_lattice_embeddings(model);
    CHECK_NEAR(cllm_embedding_norm(model->embeddings.embeddings + 36, 4), 1, 1e-6);
    memcpy(want, x, sizeof x);
    CLLMInference own = context_of(model);
    cllm_inference_cleanup(inf);
    cllm_get_embedding(inf, 3, x);
    cllm_apply_positional_encoding(inf, x, 3);
    cllm_free_model(model);
    cllm_get_embedding(&own, 3, x);
    cllm_project_to_vocab(&own, x, x + 4);
    cllm_apply_positional_encoding_complete(&own, x, 3);
    cllm_generate_lattice_embeddings(model);
    cllm_generate_all_positional_encodings(model);
    CHECK(memcmp(x, want, sizeof x) == 0);
}

static void softmax(void) {
    float x[3] = {0, -1, -20};
    cllm_softmax(x, 3); /* DEFECT: (0.0013, 0.0005, 0.998) */
    CHECK_NEAR(x[0], 0.7310586, 1e-6);
    CHECK_NEAR(x[1], 0.2689414, 1e-6);
    CHECK_NEAR(x[2], 1.506823e-9, 1e-14);
    for (int n = 1; n < 200; n += 13) {
        float *v = malloc(sizeof(float) * (size_t)n);
        double *e = malloc(sizeof(double) * (size_t)n), sum = 0;
        for (int i = 0; i < n; i++) sum += e[i] = exp(v[i] = 10 * draw());
        cllm_softmax(v, n);
        for (int i = 0; i < n; i++) CHECK_NEAR(v[i], e[i] / sum, 1e-6);
        free(v);
        free(e);
    }
    float none[4] = {-INFINITY, -INFINITY, -INFINITY, -INFINITY};
    cllm_softmax(none, 4);
    CHECK(none[0] == 0.25f && none[3] == 0.25f);
    float masked[2] = {3, -INFINITY};
    cllm_softmax(masked, 2);
    CHECK(masked[0] == 1 && masked[1] == 0);
    float bad[2] = {3, NAN};
    cllm_softmax(bad, 2);
    CHECK(bad[0] == 3);
    cllm_softmax(NULL, 2);
    cllm_softmax(bad, 0);
    cllm_softmax(bad, INT_MIN);
    CHECK(bad[0] == 3);
}

int main(void) {
    RUN(embedding_rows);
    RUN(transformed);
    RUN(logits);
    RUN(norms);
    RUN(spiral);
    RUN(lattice_points);
    RUN(lattice_embeddings);
    RUN(lattice_transform);
    RUN(neighbours);
    RUN(position_tables);
    RUN(symmetry);
    RUN(activations);
    RUN(softmax);
    RUN(stale);
    return harness_report();
}
