/* cllm_simd_utils.h */
#include <limits.h>

#include "cllm_simd_utils.h"
#include "harness.h"

static uint32_t state = 12345;

static float draw(void) {
    state = state * 1664525u + 1013904223u;
    return (float)(int32_t)state / 2147483648.0f;
}

/* Exactly n floats at the end of a block, so that a read past them shows under valgrind. */
static float *vector(int n) {
    float *x = malloc(sizeof(float) * (size_t)(n > 0 ? n : 1));
    for (int i = 0; i < n; i++) x[i] = draw();
    return x;
}

static void dot_products(void) {
    for (int n = 0; n < 300; n += n < 70 ? 1 : 37) {
        float *a = vector(n), *b = vector(n);
        double want = 0, scale = 0;
        for (int i = 0; i < n; i++) {
            want += (double)a[i] * b[i];
            scale += fabs((double)a[i] * b[i]);
        }
        CHECK_NEAR(dot_product(a, b, n), want, 1e-5 * scale + 1e-9);
        CHECK_NEAR(dot_product_avx2(a, b, n), want, 1e-5 * scale + 1e-9);
        CHECK_NEAR(dot_product_scalar(a, b, n), want, 1e-7 * scale + 1e-9);
        free(a);
        free(b);
    }
    float one[1] = {3.0f};
    CHECK(dot_product(one, one, 1) == 9.0f);
    CHECK(dot_product(NULL, one, 1) == 0.0f);
    CHECK(dot_product(one, NULL, 1) == 0.0f);
    CHECK(dot_product(one, one, -1) == 0.0f);
    CHECK(dot_product(one, one, INT_MIN) == 0.0f);
    CHECK(dot_product(NULL, NULL, 0) == 0.0f);
    CHECK(dot_product_avx2(NULL, one, 1) == 0.0f);
    CHECK(dot_product_avx2(one, one, 0) == 0.0f);
    CHECK(dot_product_scalar(NULL, one, 1) == 0.0f);
    CHECK(dot_product_scalar(one, one, -5) == 0.0f);
}

static void element_wise(void) {
    for (int n = 1; n < 100; n += 7) {
        float *a = vector(n), *b = vector(n), *r = vector(n), *old = vector(n);
        memcpy(old, r, sizeof(float) * (size_t)n);
        vector_multiply_accumulate(r, a, b, n);
        for (int i = 0; i < n; i++) CHECK_NEAR(r[i], old[i] + (double)a[i] * b[i], 1e-6);
        vector_add(r, a, b, n);
        for (int i = 0; i < n; i++) CHECK(r[i] == a[i] + b[i]);
        vector_scale(r, a, 2.5f, n);
        for (int i = 0; i < n; i++) CHECK(r[i] == 2.5f * a[i]);

        /* in place */
        memcpy(r, a, sizeof(float) * (size_t)n);
        vector_add(r, r, b, n);
        for (int i = 0; i < n; i++) CHECK(r[i] == a[i] + b[i]);
        memcpy(r, a, sizeof(float) * (size_t)n);
        vector_add(r, b, r, n);
        for (int i = 0; i < n; i++) CHECK(r[i] == a[i] + b[i]);
        memcpy(r, a, sizeof(float) * (size_t)n);
        vector_add(r, r, r, n);
        for (int i = 0; i < n; i++) CHECK(r[i] == 2 * a[i]);
        memcpy(r, a, sizeof(float) * (size_t)n);
        vector_scale(r, r, -3.0f, n);
        for (int i = 0; i < n; i++) CHECK(r[i] == -3.0f * a[i]);
        memcpy(r, a, sizeof(float) * (size_t)n);
        vector_multiply_accumulate(r, r, b, n);
        for (int i = 0; i < n; i++) CHECK_NEAR(r[i], a[i] + (double)a[i] * b[i], 1e-6);
        free(a);
        free(b);
        free(r);
        free(old);
    }
    float x[6] = {1, 2, 3, 4, 5, 6};
    vector_add(x + 1, x, x, 4); /* overlaps: inputs are read first */
    CHECK(x[0] == 1 && x[1] == 2 && x[2] == 4 && x[3] == 6 && x[4] == 8 && x[5] == 6);
    float y[2] = {1, 2};
    vector_add(NULL, x, x, 2);
    vector_add(y, NULL, x, 2);
    vector_add(y, x, NULL, 2);
    vector_add(y, x, x, 0);
    vector_add(y, x, x, -3);
    vector_scale(NULL, x, 2, 2);
    vector_scale(y, NULL, 2, 2);
    vector_scale(y, x, 2, -1);
    vector_multiply_accumulate(NULL, x, x, 2);
    vector_multiply_accumulate(y, NULL, x, 2);
    vector_multiply_accumulate(y, x, NULL, 2);
    vector_multiply_accumulate(y, x, x, INT_MIN);
    CHECK(y[0] == 1 && y[1] == 2);
}

static void products(void) {
    static const int sizes[][3] = {{1, 1, 1}, {1, 7, 3}, {5, 1, 4}, {3, 9, 1}, {17, 33, 19}, {70, 64, 65}};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        int m = sizes[s][0], n = sizes[s][1], p = sizes[s][2];
        float *a = vector(m * n), *at = vector(m * n), *b = vector(n * p), *c = vector(m * p), *ct = vector(m * p);
        float *x = vector(n), *y = vector(m);
        for (int i = 0; i < m; i++)
            for (int j = 0; j < n; j++) at[j * m + i] = a[i * n + j];
        simd_matrix_multiply(c, a, b, m, n, p);
        simd_matrix_multiply_transposed(ct, at, b, m, n, p);
        simd_matrix_vector_multiply(y, a, x, m, n);
        for (int i = 0; i < m; i++) {
            double row = 0;
            for (int k = 0; k < n; k++) row += (double)a[i * n + k] * x[k];
            CHECK_NEAR(y[i], row, 1e-4);
            for (int j = 0; j < p; j++) {
                double want = 0;
                for (int k = 0; k < n; k++) want += (double)a[i * n + k] * b[k * p + j];
                CHECK_NEAR(c[i * p + j], want, 1e-4);
                CHECK_NEAR(ct[i * p + j], want, 1e-4);
            }
        }
        free(a);
        free(at);
        free(b);
        free(c);
        free(ct);
        free(x);
        free(y);
    }
}

static void product_edges(void) {
    float a[4] = {1, 2, 3, 4}, c[4] = {9, 9, 9, 9}, x[2] = {1, 10}, y[2] = {9, 9};
    simd_matrix_multiply(NULL, a, a, 2, 2, 2);
    simd_matrix_multiply(c, NULL, a, 2, 2, 2);
    simd_matrix_multiply(c, a, NULL, 2, 2, 2);
    simd_matrix_multiply(c, a, a, 0, 2, 2);
    simd_matrix_multiply(c, a, a, 2, -1, 2);
    simd_matrix_multiply(c, a, a, 2, 2, -2);
    simd_matrix_multiply(c, a, a, INT_MAX, INT_MAX, INT_MIN);
    simd_matrix_multiply_transposed(NULL, a, a, 2, 2, 2);
    simd_matrix_multiply_transposed(c, NULL, a, 2, 2, 2);
    simd_matrix_multiply_transposed(c, a, a, -2, 2, 2);
    simd_matrix_multiply_transposed(c, a, a, 2, 2, 0);
    simd_matrix_vector_multiply(NULL, a, x, 2, 2);
    simd_matrix_vector_multiply(y, NULL, x, 2, 2);
    simd_matrix_vector_multiply(y, a, NULL, 2, 2);
    simd_matrix_vector_multiply(y, a, x, -2, 2);
    simd_matrix_vector_multiply(y, a, x, 2, -2);
    CHECK(c[0] == 9 && c[3] == 9 && y[0] == 9 && y[1] == 9);
    simd_matrix_vector_multiply(y, a, x, 2, 2);
    CHECK(y[0] == 21 && y[1] == 43);
    simd_matrix_vector_multiply(y, NULL, NULL, 2, 0); /* an empty sum */
    CHECK(y[0] == 0 && y[1] == 0);
    simd_matrix_multiply(c, a, a, 2, 2, 2);
    CHECK(c[0] == 7 && c[1] == 10 && c[2] == 15 && c[3] == 22);
    simd_matrix_multiply_transposed(c, a, a, 2, 2, 2);
    CHECK(c[0] == 10 && c[1] == 14 && c[2] == 14 && c[3] == 20);
    simd_matrix_multiply(c, NULL, NULL, 2, 0, 2);
    CHECK(c[0] == 0 && c[3] == 0);
    c[0] = 5;
    simd_matrix_multiply_transposed(c, NULL, NULL, 2, 0, 2);
    CHECK(c[0] == 0);
    simd_matrix_multiply(a, a, a, 2, 2, 2); /* overlap: inputs are read first */
    CHECK(a[0] == 7 && a[3] == 22);
}


int main(void) {
    RUN(dot_products);
    RUN(element_wise);
    RUN(products);
    RUN(product_edges);
    return harness_report();
}
