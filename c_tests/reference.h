/* The model in plain double loops, from its definition: what the harnesses compare with. */
#ifndef CLLM_TEST_REFERENCE_H
#define CLLM_TEST_REFERENCE_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cllm.h"

static uint32_t reference_state = 12345;

static inline float reference_draw(void) {
    reference_state = reference_state * 1664525u + 1013904223u;
    return (float)(int32_t)reference_state / 4294967296.0f; /* -0.5 .. 0.5 */
}

static inline void reference_fill(float *x, size_t n, float scale) {
    for (size_t i = 0; x && i < n; i++) x[i] = scale * reference_draw();
}

static inline double reference_gelu(double z) {
    return 0.5 * z * (1 + tanh(sqrt(2 / acos(-1.0)) * (z + 0.044715 * z * z * z)));
}

/* norm may be NULL: without parameters. */
static inline void reference_norm(const CLLMLayerNorm *norm, const double *x, double *y, int d) {
    double mean = 0, variance = 0, epsilon = norm && norm->epsilon > 0 ? norm->epsilon : 1e-5;
    for (int i = 0; i < d; i++) mean += x[i] / d;
    for (int i = 0; i < d; i++) variance += (x[i] - mean) * (x[i] - mean) / d;
    for (int i = 0; i < d; i++) {
        y[i] = (x[i] - mean) / sqrt(variance + epsilon);
        if (norm && norm->gamma) y[i] *= norm->gamma[i];
        if (norm && norm->beta) y[i] += norm->beta[i];
    }
}

/* y = W x for one of Wq, Wk, Wv: full d*d, or one hd*hd block for each head. */
static inline void reference_project(const float *w, const double *x, double *y, int heads,
                                     int width, int full) {
    int d = heads * width;
    for (int o = 0; o < d; o++) {
        int head = o / width;
        y[o] = 0;
        if (full)
            for (int i = 0; i < d; i++) y[o] += w[o * d + i] * x[i];
        else
            for (int i = 0; i < width; i++)
                y[o] += w[head * width * width + (o % width) * width + i] * x[head * width + i];
    }
}

/* x[n][d] -> out[n][d]; row i sees rows 0..i where causal, else all. */
static inline void reference_attention(const AttentionLayer *a, const double *x, double *out,
                                       int n, int full, int causal) {
    int heads = (int)a->num_heads, width = (int)a->head_dim, d = heads * width;
    double *q = malloc(3 * (size_t)(n * d) * sizeof *q), *k = q + n * d, *v = k + n * d;
    double *p = malloc((size_t)n * sizeof *p);
    for (int i = 0; i < n; i++) {
        reference_project(a->query_lattice, x + i * d, q + i * d, heads, width, full);
        reference_project(a->key_lattice, x + i * d, k + i * d, heads, width, full);
        reference_project(a->value_lattice, x + i * d, v + i * d, heads, width, full);
    }
    for (int h = 0; h < heads; h++)
        for (int i = 0; i < n; i++) {
            int seen = causal ? i + 1 : n;
            double sum = 0;
            for (int j = 0; j < seen; j++) {
                p[j] = 0;
                for (int c = h * width; c < (h + 1) * width; c++) p[j] += q[i * d + c] * k[j * d + c];
                p[j] = exp(p[j] / sqrt(width));
                sum += p[j];
            }
            for (int c = h * width; c < (h + 1) * width; c++) {
                out[i * d + c] = 0;
                for (int j = 0; j < seen; j++) out[i * d + c] += p[j] / sum * v[j * d + c];
            }
        }
    free(q);
    free(p);
}

static inline void reference_feedforward(const FeedForwardLayer *f, const double *x, double *y) {
    int in = (int)f->input_dim, hidden = (int)f->hidden_dim, out = (int)f->output_dim;
    double *g = malloc((size_t)hidden * sizeof *g);
    for (int i = 0; i < hidden; i++) {
        double z = f->bias1 ? f->bias1[i] : 0;
        for (int j = 0; j < in; j++) z += f->w1_lattice[i * in + j] * x[j];
        g[i] = reference_gelu(z);
    }
    for (int o = 0; o < out; o++) {
        y[o] = f->bias2 ? f->bias2[o] : 0;
        for (int i = 0; i < hidden; i++) y[o] += f->w2_lattice[o * hidden + i] * g[i];
    }
    free(g);
}

/* Logits [n][V] of all positions, final hidden vectors [n][d] (either may be NULL). `ours`: the
 * library made the model (full matrices, 2L norms). Positions beyond the tables: their last row
 * where `clamp`, none otherwise. */
static inline void reference_forward(const CLLMModel *m, int ours, int clamp,
                                     const uint32_t *tokens, int n, double *logits,
                                     double *hidden) {
    int d = (int)m->embeddings.embedding_dim, V = (int)m->embeddings.vocab_size;
    int L = (int)m->num_layers, S = (int)m->pos_encoding.max_length;
    if (d == 0) d = (int)m->embedding_dim;
    if (V == 0) V = (int)m->vocab_size;
    size_t size = (size_t)(n * d) * sizeof(double);
    double *x = malloc(size), *u = malloc(size), *a = malloc(size);
    for (int i = 0; i < n; i++)
        for (int c = 0; c < d; c++) {
            int row = i < S ? i : clamp ? S - 1 : -1;
            x[i * d + c] = tokens[i] < (uint32_t)V ? m->embeddings.embeddings[tokens[i] * (size_t)d + c] : 0;
            if (row >= 0 && m->pos_encoding.spiral_positions)
                x[i * d + c] += m->pos_encoding.spiral_positions[row * d + c];
            if (row >= 0 && m->pos_encoding.learned_positions)
                x[i * d + c] += m->pos_encoding.learned_positions[row * d + c];
        }
    for (int l = 0; l < L; l++) {
        const AttentionLayer *layer = m->attention_layers ? &m->attention_layers[l] : NULL;
        if (layer && layer->query_lattice && layer->key_lattice && layer->value_lattice &&
            (int)(layer->num_heads * layer->head_dim) == d) {
            for (int i = 0; i < n; i++)
                reference_norm(m->layer_norms ? &m->layer_norms[l] : NULL, x + i * d, u + i * d, d);
            reference_attention(layer, u, a, n, ours, 1);
            for (int i = 0; i < n * d; i++) x[i] += a[i];
        }
        const FeedForwardLayer *ff = m->ff_layers ? &m->ff_layers[l] : NULL;
        if (ff && ff->w1_lattice && ff->w2_lattice)
            for (int i = 0; i < n; i++) {
                const CLLMLayerNorm *second = ours && m->layer_norms ? &m->layer_norms[L + l] : NULL;
                reference_norm(second, x + i * d, u, d);
                reference_feedforward(ff, u, a);
                for (int c = 0; c < d; c++) x[i * d + c] += a[c];
            }
    }
    for (int i = 0; i < n; i++) {
        reference_norm(NULL, x + i * d, u, d);
        if (hidden) memcpy(hidden + i * d, u, (size_t)d * sizeof *u);
        for (int t = 0; logits && t < V; t++) {
            logits[i * V + t] = 0;
            for (int c = 0; c < d; c++) logits[i * V + t] += u[c] * m->embeddings.embeddings[t * d + c];
        }
    }
    free(x);
    free(u);
    free(a);
}

/* Mean of -ln softmax(logits)[target] over sequences of `length`; targets >= V don't count. */
static inline double reference_loss(const CLLMModel *m, int ours, const uint32_t *input,
                                    const uint32_t *target, int n, int length) {
    int V = (int)(m->embeddings.vocab_size ? m->embeddings.vocab_size : m->vocab_size), counted = 0;
    double sum = 0, *logits = malloc((size_t)(n * V) * sizeof *logits);
    for (int start = 0; start < n; start += length) {
        int rows = n - start < length ? n - start : length;
        reference_forward(m, ours, 0, input + start, rows, logits, NULL);
        for (int i = 0; i < rows; i++) {
            double total = 0;
            if (target[start + i] >= (uint32_t)V) continue;
            for (int t = 0; t < V; t++) total += exp(logits[i * V + t]);
            sum += log(total) - logits[i * V + target[start + i]];
            counted++;
        }
    }
    free(logits);
    return counted ? sum / counted : 0;
}

/* Weights large enough that every part of the model shows in the logits. */
static inline void reference_weights(CLLMModel *m) {
    int d = (int)m->embeddings.embedding_dim;
    reference_fill(m->weights, m->num_weights, 0.8f);
    reference_fill(m->pos_encoding.learned_positions, m->pos_encoding.max_length * (size_t)d, 0.5f);
    reference_fill(m->pos_encoding.spiral_positions, m->pos_encoding.max_length * (size_t)d, 0.5f);
}

#endif
