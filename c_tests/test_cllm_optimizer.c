/* ai/cllm_optimizer.h: who owns what, each way to fail, states that a program puts together, text. */
#include "capture.h"

#include "ai/cllm_optimizer.h"
#include "cllm_ext.h"
#include "harness.h"

static int fails(const char *name) {
    const char *error = cllm_last_error();
    int named = error && strstr(error, name) != NULL;
    cllm_clear_error();
    return named;
}

static void life(void) {
    float w[3] = {1, 2, 3}, g[3] = {0.5f, -0.5f, 1};
    for (int type = 0; type <= 6; type++) {
        OptimizerConfig config = optimizer_default_config((OptimizerType)type);
        CHECK(config.decoupled_weight_decay == (type == OPTIMIZER_ADAMW));
        OptimizerState *s = optimizer_create(&config, w, 3);
        CHECK(s && s->parameters == w && s->num_parameters == 3 && s->gradients);
        CHECK(!!s->momentum_buffer == (type >= 1 && type <= 4));
        CHECK(!!s->variance_buffer == (type >= 3));
        CHECK(!s->max_variance_buffer && s->step == 0 && s->current_lr == config.learning_rate);
        CHECK(optimizer_step(s, g) == 0 && s->step == 1 && s->updates_applied == 1);
        CHECK(memcmp(s->gradients, g, sizeof g) == 0);
        CHECK_NEAR(s->gradient_norm, sqrt(1.5), 1e-6);
        CHECK_NEAR(s->parameter_norm, sqrt(w[0] * w[0] + w[1] * w[1] + w[2] * w[2]), 1e-5);
        optimizer_zero_grad(s);
        CHECK(s->gradients[0] == 0 && s->gradients[2] == 0 && g[0] == 0.5f);
        optimizer_reset(s);
        CHECK(s->step == 0 && s->updates_applied == 0 && s->parameter_norm == 0);
        CHECK(!s->momentum_buffer || s->momentum_buffer[1] == 0);
        free(s->gradients); /* a block of the program's own */
        s->gradients = malloc(sizeof g);
        CHECK(optimizer_step(s, g) == 0);
        optimizer_free(s);
    }
    optimizer_free(NULL);
}

/* All but the bytes between the fields, which nobody sets: byte for byte, but the configuration by its parts. */
static int same_state(const OptimizerState *a, const OptimizerState *b) {
#define SAME(first, end) \
    (memcmp((const char *)a + offsetof(OptimizerConfig, first), (const char *)b + offsetof(OptimizerConfig, first), \
            offsetof(OptimizerConfig, end) - offsetof(OptimizerConfig, first)) == 0)
    size_t rest = offsetof(OptimizerState, step);
    return SAME(type, use_nesterov) && a->config.use_nesterov == b->config.use_nesterov && SAME(beta1, amsgrad) &&
           a->config.amsgrad == b->config.amsgrad && SAME(weight_decay, decoupled_weight_decay) &&
           a->config.decoupled_weight_decay == b->config.decoupled_weight_decay &&
           a->config.use_gradient_clipping == b->config.use_gradient_clipping && SAME(clip_value, cycle_steps) &&
           a->config.cycle_steps == b->config.cycle_steps &&
           memcmp((const char *)a + rest, (const char *)b + rest, sizeof *a - rest) == 0;
#undef SAME
}

static void refusals(void) {
    float w[2] = {1, 2}, g[2] = {1, 1};
    OptimizerConfig config = optimizer_default_config(OPTIMIZER_ADAM);
    CHECK(!optimizer_create(NULL, w, 2) && fails("config"));
    CHECK(!optimizer_create(&config, NULL, 2) && fails("parameters"));
    CHECK(!optimizer_create(&config, w, 0) && fails("num_parameters"));
    CHECK(!optimizer_create(&config, w, SIZE_MAX / 2) && fails("parameters"));
    config.beta1 = 1;
    CHECK(!optimizer_create(&config, w, 2) && fails("beta1"));
#define BAD(field, value) \
    do { \
        OptimizerConfig bad = optimizer_default_config(OPTIMIZER_SGD); \
        bad.use_gradient_clipping = true; \
        CHECK(optimizer_validate_config(&bad)); \
        bad.field = (value); \
        CHECK(!optimizer_validate_config(&bad) && fails(#field)); \
    } while (0)
    BAD(learning_rate, 0.0f);
    BAD(learning_rate, NAN);
    BAD(min_lr, -1.0f);
    BAD(max_lr, 1e-7f);
    BAD(max_lr, INFINITY);
    BAD(momentum, 1.0f);
    BAD(beta2, -0.1f);
    BAD(epsilon, 0.0f);
    BAD(weight_decay, -1.0f);
    BAD(clip_value, -1.0f);
    BAD(clip_norm, NAN);
    BAD(warmup_steps, -1);
    BAD(total_steps, 0);
    BAD(decay_rate, NAN);
    BAD(type, (OptimizerType)7);
    BAD(scheduler, (LRSchedulerType)8);
    CHECK(!optimizer_validate_config(NULL));

    config = optimizer_default_config(OPTIMIZER_ADAM);
    OptimizerState *s = optimizer_create(&config, w, 2);
    CHECK(optimizer_step(NULL, g) == -1 && optimizer_step(s, NULL) == -1);
    OptimizerState before;
    memcpy(&before, s, sizeof before);
    float bad[2] = {1, NAN};
    CHECK(optimizer_step(s, bad) == -1 && fails("gradients[1]"));
    CHECK(optimizer_adam_step(s, bad) == -1 && w[0] == 1 && w[1] == 2);
    CHECK(same_state(&before, s) && s->momentum_buffer[0] == 0 && s->gradients[0] == 0);
    s->config.type = (OptimizerType)99;
    CHECK(optimizer_step(s, g) == -1 && s->gradient_norm == 0 && s->gradients[0] == 0);
    s->config.type = OPTIMIZER_ADAM;
    free(s->variance_buffer);
    s->variance_buffer = NULL;
    CHECK(optimizer_step(s, g) == -1 && optimizer_rmsprop_step(s, g) == -1 && w[0] == 1);
    CHECK(optimizer_sgd_momentum_step(s, g) == 0 && w[0] < 1);
    CHECK(optimizer_sgd_step(NULL, g) == -1 && optimizer_sgd_step(s, NULL) == -1);
    s->step = -1;
    CHECK(optimizer_sgd_step(s, g) == -1 && fails("step"));
    optimizer_free(s);
    cllm_clear_error();
}

/* Nothing is hidden: a zeroed struct with its fields set is an optimizer. */
static void assembled(void) {
    enum { N = 700 };
    static float a[N], b[N], g[N], gradient[N], m[N], v[N], x[N];
    for (int i = 0; i < N; i++) a[i] = b[i] = (float)(i % 13) - 6;
    OptimizerConfig config = optimizer_default_config(OPTIMIZER_ADAM);
    config.amsgrad = true;
    config.weight_decay = 0.1f;
    config.scheduler = LR_SCHEDULER_COSINE;
    OptimizerState *made = optimizer_create(&config, a, N);
    OptimizerState own;
    memset(&own, 0, sizeof own);
    own.config = config;
    own.parameters = b;
    own.num_parameters = N;
    own.gradients = gradient;
    own.momentum_buffer = m;
    own.variance_buffer = v;
    own.max_variance_buffer = x;
    for (int t = 0; t < 5; t++) {
        for (int i = 0; i < N; i++) g[i] = (float)((i * 7 + t) % 11) * 0.1f - 0.4f;
        CHECK(optimizer_step(made, g) == 0 && optimizer_step(&own, g) == 0);
    }
    CHECK(memcmp(a, b, sizeof a) == 0 && own.step == 5 && own.current_lr == made->current_lr);
    memcpy(own.gradients, g, sizeof g); /* the gradient may be its own copy */
    CHECK(optimizer_step(made, g) == 0 && optimizer_step(&own, own.gradients) == 0);
    CHECK(memcmp(a, b, sizeof a) == 0 && memcmp(x, made->max_variance_buffer, sizeof x) == 0);
    optimizer_free(made);
    OptimizerState plain;
    memset(&plain, 0, sizeof plain);
    plain.config.learning_rate = 0.5f;
    plain.parameters = b;
    plain.num_parameters = 1;
    plain.gradients = gradient;
    b[0] = 1, g[0] = 1;
    CHECK(optimizer_step(&plain, g) == 0 && b[0] == 0.5f);
}

static int rule(OptimizerType type, OptimizerState *s, const float *g) {
    return type == OPTIMIZER_SGD_NESTEROV ? optimizer_sgd_nesterov_step(s, g)
           : type == OPTIMIZER_ADAMW      ? optimizer_adamw_step(s, g)
                                          : optimizer_adagrad_step(s, g);
}

/* The rules called alone: one step by hand. They leave the step and the norms to the program. */
static void rules(void) {
    float w[1], g[1] = {0.5f};
    static const OptimizerType TYPES[] = {OPTIMIZER_SGD_NESTEROV, OPTIMIZER_ADAMW, OPTIMIZER_ADAGRAD};
    for (int i = 0; i < 3; i++) {
        OptimizerConfig config = optimizer_default_config(TYPES[i]);
        config.learning_rate = 0.1f;
        config.max_lr = 0.1f;
        config.momentum = 0.5f;
        config.weight_decay = 0.25f;
        w[0] = 2;
        OptimizerState *s = optimizer_create(&config, w, 1);
        CHECK(rule(TYPES[i], s, g) == 0 && s->step == 0 && s->updates_applied == 0);
        CHECK(s->gradient_norm == 0 && s->parameter_norm == 0 && s->gradients[0] == 0);
        /* g + 0.25 w is 1: m and v are 1, too. */
        double want = TYPES[i] == OPTIMIZER_SGD_NESTEROV ? 2 - 0.1 * (0.5 + 1)
                      : TYPES[i] == OPTIMIZER_ADAMW      ? 2 - 0.1 * (1 + 0.25 * 2)
                                                         : 2 - 0.1;
        CHECK_NEAR(w[0], want, 1e-6);
        CHECK(rule(TYPES[i], NULL, g) == -1 && rule(TYPES[i], s, NULL) == -1);
        optimizer_free(s);
    }
    cllm_clear_error();
}

/* ADAM that decays beside the gradient is ADAMW. */
static void decoupled(void) {
    float a[2] = {1, -2}, b[2] = {1, -2}, c[2] = {1, -2}, g[2] = {0.1f, 0.2f};
    OptimizerConfig config = optimizer_default_config(OPTIMIZER_ADAM);
    config.weight_decay = 0.5f;
    OptimizerState *coupled = optimizer_create(&config, c, 2);
    config.decoupled_weight_decay = true;
    OptimizerState *adam = optimizer_create(&config, a, 2);
    config.type = OPTIMIZER_ADAMW;
    OptimizerState *adamw = optimizer_create(&config, b, 2);
    for (int i = 0; i < 3; i++)
        CHECK(optimizer_step(adam, g) + optimizer_step(adamw, g) + optimizer_step(coupled, g) == 0);
    CHECK(memcmp(a, b, sizeof a) == 0 && memcmp(a, c, sizeof a) != 0);
    optimizer_free(adam);
    optimizer_free(adamw);
    optimizer_free(coupled);
}

static void rates(void) {
    float w[1] = {1}, g[1] = {1};
    OptimizerConfig config = optimizer_default_config(OPTIMIZER_SGD);
    config.warmup_steps = 4;
    config.learning_rate = 0.4f;
    config.total_steps = 104;
    config.min_lr = 0.1f;
    config.max_lr = 0.5f;
    OptimizerState *s = optimizer_create(&config, w, 1);
    CHECK_NEAR(optimizer_update_learning_rate(s), 0.1, 1e-7);
    CHECK_NEAR(optimizer_get_learning_rate(s), 0.1, 1e-7); /* stored as well */
    s->step = 53;
    s->config.scheduler = LR_SCHEDULER_LINEAR;
    float linear = optimizer_update_learning_rate(s);
    CHECK_NEAR(linear, 0.25, 1e-7);
    s->config.scheduler = LR_SCHEDULER_POLYNOMIAL;
    CHECK(optimizer_update_learning_rate(s) == linear);
    s->config.scheduler = (LRSchedulerType)77;
    CHECK(optimizer_update_learning_rate(s) == 0.4f);
    optimizer_set_learning_rate(s, 0.25f);
    CHECK(s->current_lr == 0.25f && s->config.learning_rate == 0.25f);
    CHECK(optimizer_step(s, g) == 0 && w[0] == 0.75f); /* it takes effect */
    cllm_clear_error();
    optimizer_set_learning_rate(s, -1);
    CHECK(s->current_lr == 0.25f && fails("learning_rate"));
    optimizer_set_learning_rate(s, INFINITY);
    CHECK(s->config.learning_rate == 0.25f && fails("learning_rate"));
    CHECK(optimizer_update_learning_rate(NULL) == 0 && optimizer_get_learning_rate(NULL) == 0);
    optimizer_free(s);
    CHECK(optimizer_warmup_lr(-3, 10, 1) == 0 && optimizer_linear_decay_lr(-3, 10, 1, 0) == 1);
    CHECK_NEAR(optimizer_cosine_annealing_lr(25, 100, 1, 0.5f), 0.5 + 0.25 * (1 + sqrt(0.5)), 1e-6);
    CHECK(optimizer_cosine_annealing_lr(100, 100, 1, 0.5f) == 0.5f);
    CHECK(optimizer_cosine_annealing_lr(1, 0, 1, 0.5f) == 1);
    CHECK(optimizer_cyclic_lr(INT32_MIN, 10, 0.5f, 1) == 0.5f);
    CHECK(optimizer_exponential_decay_lr(1, 1000, 0.5f, 0, 0.25f) == 0.25f);
    CHECK_NEAR(optimizer_exponential_decay_lr(200, 1000, 1, 0.1f, 0.01f), 0.630957, 1e-5);
    CHECK(optimizer_step_decay_lr(INT32_MAX, 1, 1, 0.5f, 0.125f) == 0.125f);
}

static void clipping(void) {
    float g[2] = {1e20f, 1e20f}, w[2] = {0, 0};
    CHECK_NEAR(optimizer_clip_gradients_by_norm(g, 2, 1), 1.4142135e20, 1e14);
    CHECK_NEAR(g[0], sqrt(0.5), 1e-6);
    CHECK(optimizer_clip_gradients_by_norm(g, 2, 0) == 0 && optimizer_clip_gradients_by_norm(NULL, 2, 1) == 0);
    float odd[2] = {NAN, 9};
    optimizer_clip_gradients_by_value(odd, 2, 2);
    CHECK(isnan(odd[0]) && odd[1] == 2);
    optimizer_clip_gradients_by_value(odd, 2, -1);
    optimizer_clip_gradients_by_value(NULL, 2, 1);
    CHECK(odd[1] == 2 && isnan(optimizer_clip_gradients_by_norm(odd, 2, 1)) && odd[1] == 2);
    CHECK(optimizer_compute_gradient_norm(NULL, 3) == 0 && optimizer_compute_parameter_norm(w, 0) == 0);
    float small[2] = {1e-5f, 0};
    CHECK_NEAR(optimizer_compute_parameter_norm(small, 2), 1e-5, 1e-11);

    OptimizerConfig config = optimizer_default_config(OPTIMIZER_SGD);
    config.use_gradient_clipping = true;
    config.clip_value = 4;
    config.clip_norm = 1;
    config.learning_rate = 1;
    config.max_lr = 2;
    OptimizerState *s = optimizer_create(&config, w, 2);
    float given[2] = {3, 40};
    CHECK(optimizer_step(s, given) == 0 && given[1] == 40);
    CHECK_NEAR(s->gradient_norm, 5, 1e-6); /* between the two clippings */
    CHECK_NEAR(w[0], -0.6, 1e-6);
    CHECK_NEAR(s->gradients[1], 0.8, 1e-6);
    s->config.clip_norm = 0;
    s->gradient_norm = 9;
    CHECK(optimizer_step(s, given) == 0 && s->gradient_norm == 5); /* not the old value */
    float norm = -1, rate = -1;
    int step = -1;
    optimizer_get_statistics(s, &norm, NULL, &rate, &step);
    CHECK(norm == 5 && rate == 1 && step == 2);
    optimizer_get_statistics(s, NULL, &norm, NULL, NULL);
    CHECK(norm == s->parameter_norm);
    optimizer_get_statistics(NULL, &norm, NULL, NULL, &step);
    CHECK(norm == s->parameter_norm && step == 2);
    optimizer_free(s);
}

static void text(void) {
    float w[2] = {3, 4};
    static const char *const NAMES[] = {"SGD", "SGD with Momentum", "SGD with Nesterov Momentum",
                                        "Adam", "AdamW", "RMSProp", "Adagrad", "Unknown"};
    OptimizerState s;
    memset(&s, 0, sizeof s);
    s.parameters = w;
    s.num_parameters = 2;
    s.step = 12;
    s.current_lr = 0.001f;
    s.gradient_norm = 1.5f;
    s.parameter_norm = NAN;
    s.updates_applied = 1234567890123;
    for (int type = 0; type < 8; type++) {
        s.config.type = (OptimizerType)(type == 7 ? 1000 : type);
        char want[400];
        snprintf(want, sizeof want,
                 "before\n\n=== OPTIMIZER STATE ===\nType: %s\nStep: 12\nLearning Rate: 0.001000\n"
                 "Gradient Norm: 1.500000\nParameter Norm: nan\nUpdates Applied: 1234567890123\n"
                 "======================\n\nafter\n", NAMES[type]);
        capture_start();
        printf("before\n"); /* in the order of the calls: the same stream */
        optimizer_print_state(&s);
        printf("after\n");
        CHECK(strcmp(capture_end(), want) == 0);
    }
    capture_start();
    optimizer_print_state(NULL);
    CHECK(strcmp(capture_end(), "") == 0);
}

enum { THREADS = 4, STEPS = 200 };

static void *work(void *state) {
    float g[2] = {1, 1};
    for (int i = 0; i < STEPS; i++)
        if (optimizer_step(state, g)) return state;
    return NULL;
}

static void threads(void) {
    float w[2] = {0, 0};
    OptimizerConfig config = optimizer_default_config(OPTIMIZER_SGD);
    config.learning_rate = 0.5f;
    OptimizerState *s = optimizer_create(&config, w, 2);
    pthread_t all[THREADS];
    for (int i = 0; i < THREADS; i++) pthread_create(&all[i], NULL, work, s);
    for (int i = 0; i < THREADS; i++) {
        void *result;
        pthread_join(all[i], &result);
        CHECK(result == NULL);
    }
    pthread_mutex_lock(&s->mutex);
    CHECK(s->step == THREADS * STEPS && w[0] == -0.5f * THREADS * STEPS);
    pthread_mutex_unlock(&s->mutex);
    optimizer_free(s);
}

int main(void) {
    cllm_set_log_silent();
    RUN(life);
    RUN(refusals);
    RUN(assembled);
    RUN(rules);
    RUN(decoupled);
    RUN(rates);
    RUN(clipping);
    RUN(text);
    RUN(threads);
    return harness_report();
}
