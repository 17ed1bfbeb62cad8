/* A program with parameters of its own: ai/cllm_optimizer.h by its fields, its rules and its rates. */
#include "ai/cllm_optimizer.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#define N 8

/* The gradient of half the squared distance from 1, 2, 3, ... */
static void gradient(const float *x, float *g) {
    for (int i = 0; i < N; i++)
        g[i] = x[i] - (float)(i + 1);
}

static float farthest(const float *x) {
    float most = 0;
    for (int i = 0; i < N; i++)
        if (fabsf(x[i] - (float)(i + 1)) > most) most = fabsf(x[i] - (float)(i + 1));
    return most;
}

static void all_rules(void) {
    const OptimizerType types[] = {OPTIMIZER_SGD, OPTIMIZER_SGD_MOMENTUM, OPTIMIZER_SGD_NESTEROV, OPTIMIZER_ADAM,
                                   OPTIMIZER_ADAMW, OPTIMIZER_RMSPROP, OPTIMIZER_ADAGRAD};
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        float x[N] = {0}, g[N];
        OptimizerConfig config = optimizer_default_config(types[t]);
        config.type = types[t];
        config.learning_rate = types[t] <= OPTIMIZER_SGD_NESTEROV ? 0.05f : 0.5f;
        if (types[t] == OPTIMIZER_ADAGRAD) config.learning_rate = 2.0f; /* its steps shrink */
        config.max_lr = 2.0f;
        config.scheduler = LR_SCHEDULER_COSINE;
        config.total_steps = 600;
        OptimizerState *state = optimizer_create(&config, x, N);
        if (!state) {
            printf("rule %d: not made\n", (int)types[t]);
            continue;
        }
        int failed = 0;
        for (int i = 0; i < 600; i++) {
            gradient(x, g);
            failed += optimizer_step(state, g) != 0;
        }
        printf("rule %d: momentum %d, variance %d, failed %d, updates %d, there: %d\n", (int)state->config.type,
               state->momentum_buffer != NULL, state->variance_buffer != NULL, failed, (int)state->updates_applied,
               farthest(x) < 0.05f);
        optimizer_free(state);
    }
}

static void by_hand(void) {
    float x[N] = {0}, g[N] = {3, 0, 4, 0, 0, 0, 0, 0};
    OptimizerConfig config = optimizer_default_config(OPTIMIZER_SGD);
    config.type = OPTIMIZER_SGD;
    config.learning_rate = 0.5f;
    config.max_lr = 1.0f;
    config.use_gradient_clipping = true;
    config.clip_norm = 2.5f;
    printf("valid: %d\n", optimizer_validate_config(&config));
    OptimizerState *state = optimizer_create(&config, x, N);
    pthread_mutex_lock(&state->mutex);
    printf("step %d, rate %.2f, %d parameters, the program's own: %d\n", state->step, state->current_lr,
           (int)state->num_parameters, state->parameters == x);
    pthread_mutex_unlock(&state->mutex);
    optimizer_step(state, g);
    printf("clipped: %.2f %.2f; the program's: %.2f %.2f\n", state->gradients[0], state->gradients[2], g[0], g[2]);
    printf("moved to %.2f %.2f, norm %.2f\n", x[0], x[2], state->parameter_norm);

    /* A rule alone: it neither clips nor counts. */
    state->config.weight_decay = 0.0f;
    optimizer_sgd_step(state, g);
    printf("then to %.2f %.2f, step %d\n", x[0], x[2], state->step);
    optimizer_set_learning_rate(state, 0.25f);
    float norm, length, rate;
    int step;
    optimizer_get_statistics(state, &norm, &length, &rate, &step);
    printf("norms %.2f %.2f, rate %.2f, step %d\n", norm, length, rate, step);
    optimizer_zero_grad(state);
    optimizer_reset(state);
    printf("reset: step %d, gradient %.2f, x stays: %d\n", state->step, state->gradients[0], x[0] != 0);
    optimizer_free(state);

    memset(&config, 0, sizeof config);
    printf("zeros: valid %d, made %d\n", optimizer_validate_config(&config), optimizer_create(&config, x, N) != NULL);
}

static void rates(void) {
    for (int i = 0; i <= 4; i++)
        printf("%.3f %.3f %.3f %.3f %.3f %.3f\n", optimizer_warmup_lr(i, 4, 0.8f),
               optimizer_linear_decay_lr(i, 4, 0.8f, 0.2f), optimizer_cosine_annealing_lr(i, 4, 0.8f, 0.2f),
               optimizer_step_decay_lr(i, 2, 0.8f, 0.5f, 0.0f), optimizer_exponential_decay_lr(i, 2, 0.8f, 0.25f, 0.0f),
               optimizer_cyclic_lr(i, 4, 0.2f, 0.8f));
    float g[4] = {-3, 0, 0.5f, 4};
    printf("norm %.3f,", optimizer_compute_gradient_norm(g, 4));
    optimizer_clip_gradients_by_value(g, 4, 2.0f);
    printf(" %.1f %.1f %.1f %.1f,", g[0], g[1], g[2], g[3]);
    optimizer_clip_gradients_by_norm(g, 4, 1.0f);
    printf(" %.3f\n", optimizer_compute_parameter_norm(g, 4));
}

int main(void) {
    all_rules();
    by_hand();
    rates();
    return 0;
}
