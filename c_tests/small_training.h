/* A small model with a training object over 200 tokens, for the harnesses of the training headers.
 * The includer fills `tokens`. */
#ifndef CLLM_SMALL_TRAINING_H
#define CLLM_SMALL_TRAINING_H

#include "cllm_training.h"
#include "cllm_utils.h"
#include <stdlib.h>

static uint32_t tokens[200];

static CLLMTraining *prepare_small(CLLMModel **model, unsigned seed) {
    srand(seed);
    CLLMConfig config = {23, 16, 2, 2, 32, 16, 0};
    *model = cllm_create_model(&config);
    CLLMTrainingConfig training = {0};
    training.learning_rate = 0.01f;
    training.batch_size = 2;
    training.sequence_length = 8;
    CLLMTraining *t = cllm_training_init(*model, &training);
    t->tokens = tokens;
    t->num_tokens = 200;
    return t;
}

static void finish(CLLMTraining *t, CLLMModel *m) {
    cllm_training_free(t);
    cllm_free_model(m);
}

#endif
