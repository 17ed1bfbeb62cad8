/* What the reliability programs share: a folder of their own, models and trainings whose content
 * follows from one number, whole files. Include it before any other header. */
#ifndef CLLM_RELIABILITY_COMMON_H
#define CLLM_RELIABILITY_COMMON_H

#define _GNU_SOURCE
#include "scratch.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cllm_data_loader.h"
#include "cllm_ext.h"
#include "cllm_format.h"
#include "cllm_inference.h"
#include "cllm_production.h"
#include "cllm_tokenizer.h"
#include "cllm_training.h"
#include "cllm_training_mt.h"
#include "cllm_utils.h"
#include "harness.h"

static inline unsigned char *contents(const char *path, size_t *size) {
    FILE *f = fopen(path, "rb");
    *size = 0;
    if (f == NULL) return NULL;
    fseek(f, 0, SEEK_END);
    *size = (size_t)ftell(f);
    rewind(f);
    unsigned char *bytes = malloc(*size + 1);
    if (fread(bytes, 1, *size, f) != *size) abort();
    fclose(f);
    return bytes;
}

static inline void put(const char *path, const void *bytes, size_t size) {
    unlink(path); /* Overwriting waits for the disk on some file systems. */
    FILE *f = fopen(path, "wb");
    if (f == NULL || fwrite(bytes, 1, size, f) != size || fclose(f) != 0) abort();
}

/* Entries of the folder whose names begin with `prefix`. */
static inline int entries(const char *prefix) {
    DIR *d = opendir(scratch);
    int n = 0;
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        n += strncmp(e->d_name, prefix, strlen(prefix)) == 0;
    }
    closedir(d);
    return n;
}

static inline void empty_folder(void) {
    DIR *d = opendir(scratch);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) unlink(in_scratch(e->d_name));
    }
    closedir(d);
}

static inline CLLMModel *made(uint32_t vocab, uint32_t dim, uint32_t layers) {
    CLLMConfig config = {vocab, dim, layers, 2, 2 * dim, 8, 0};
    CLLMModel *m = cllm_create_model(&config);
    if (m == NULL) abort();
    return m;
}

/* Weight i of state k: exact in a float, and different for each k. */
static inline float value_of(int k, size_t i) { return (float)(k + 1) / 1024 + (float)(i % 7); }

static inline void set_state(CLLMModel *m, int k) {
    for (size_t i = 0; i < m->num_weights; i++) m->weights[i] = value_of(k, i);
}

/* The k whose weights these all are; -1 where they are of none, or of several. */
static inline int state_of(const CLLMModel *m) {
    int k = (int)lrintf(m->weights[0] * 1024) - 1;
    for (size_t i = 0; i < m->num_weights; i++) {
        if (m->weights[i] != value_of(k, i)) return -1;
    }
    return k;
}

static uint32_t training_tokens[100];

static inline CLLMTraining *training_of(CLLMModel *m) {
    CLLMTrainingConfig config = {0};
    config.learning_rate = 0.01f;
    config.batch_size = 2;
    config.sequence_length = 4;
    config.gradient_accumulation_steps = 3;
    CLLMTraining *t = cllm_training_init(m, &config);
    if (t == NULL) abort();
    for (size_t i = 0; i < 100; i++) training_tokens[i] = (uint32_t)(i * i / 3 % m->vocab_size);
    t->tokens = training_tokens;
    t->num_tokens = 100;
    return t;
}

#endif
