/* cllm_ext.h: modern models, training options, the best weights, the recipe. */
#define _GNU_SOURCE
#include "harness.h"
#include "scratch.h"

#include "cllm_ext.h"
#include "cllm_format.h"
#include "cllm_inference.h"
#include "cllm_training.h"
#include "cllm_utils.h"

enum { V = 20, N = 500, HELD = 90 };
static uint32_t ids[N], held_out[HELD];
static const CLLMConfig shape = {V, 16, 2, 2, 32, 8, 0};

static CLLMTraining *begin(uint64_t seed) {
    CLLMTrainingConfig config = {.learning_rate = 0.01f, .batch_size = 2, .sequence_length = 8,
                                 .warmup_steps = 5, .max_steps = 60};
    strcpy(config.lr_scheduler, "linear");
    CLLMTraining *t = cllm_training_init(cllm_create_modern_model(&shape, seed), &config);
    t->tokens = ids;
    t->num_tokens = N;
    return t;
}

static void end(CLLMTraining *t) {
    CLLMModel *model = t->model;
    cllm_training_free(t);
    cllm_free_model(model);
}

static int same_weights(const CLLMModel *a, const CLLMModel *b) {
    return a->num_weights == b->num_weights
        && memcmp(a->weights, b->weights, a->num_weights * sizeof(float)) == 0;
}

static void modern_models(void) {
    CLLMModel *a = cllm_create_modern_model(&shape, 1), *b = cllm_create_modern_model(&shape, 1);
    CLLMModel *c = cllm_create_modern_model(&shape, 2), *old = cllm_create_model_seeded(&shape, 1);
    CHECK(a && b && c && same_weights(a, b) && !same_weights(a, c) && !same_weights(a, old));
    CHECK(a->pos_encoding.learned_positions == NULL);
    for (CLLMModel **m = (CLLMModel *[]){a, b, c, old, NULL}; *m; m++) cllm_free_model(*m);
    CLLMConfig odd = shape;
    odd.embedding_dim = 6; /* heads of three */
    CHECK(cllm_create_modern_model(&odd, 1) == NULL && cllm_create_modern_model(NULL, 1) == NULL);
}

static const CLLMTrainingOptions all = {.struct_size = sizeof all, .seed = 9, .beta2 = 0.98f,
                                        .dropout = 0.2f, .shuffle = 1, .decay_to_zero = 1,
                                        .short_windows = 4, .short_part = 0.7f};

/* Trains to `steps` in calls of 7 steps; epochs end in between. */
static void train(CLLMTraining *t, int steps, int threads) {
    while (t->current_step < steps) {
        int left = steps - t->current_step;
        if (cllm_train_steps(t, left < 7 ? left : 7, threads, NULL) < 0) return;
        if (t->current_step % 14 == 0) cllm_training_evaluate(t, held_out, HELD, threads, NULL);
    }
}

static void options(void) {
    CLLMTraining *t = begin(3), *plain = begin(3), *u;
    CLLMTrainingOptions o = {.struct_size = sizeof o, .dropout = 7};
    CHECK(cllm_training_options(t, &o) == 0 && o.dropout == 0 && o.beta2 == 0 && o.shuffle == 0);
    /* All zero is as without. */
    CHECK(cllm_training_set_options(t, &o) == 0);
    train(t, 20, 1);
    train(plain, 20, 2);
    CHECK(same_weights(t->model, plain->model));
    CHECK(cllm_training_set_options(t, &all) == 0 && cllm_training_options(t, &o) == 0);
    CHECK(o.seed == 9 && o.beta2 == 0.98f && o.dropout == 0.2f && o.shuffle && o.decay_to_zero);
    train(t, 28, 1);
    train(plain, 28, 1);
    CHECK(!same_weights(t->model, plain->model));
    for (float bad = -1; bad <= 1; bad += 2) {
        o.dropout = bad;
        CHECK(cllm_training_set_options(t, &o) == -1 && strstr(cllm_last_error(), "dropout"));
    }
    o = all;
    o.beta2 = NAN;
    CHECK(cllm_training_set_options(t, &o) == -1);
    o = all;
    o.short_windows = -1;
    CHECK(cllm_training_set_options(t, &o) == -1 && strstr(cllm_last_error(), "short_windows"));
    o = all;
    o.short_part = 1.5f;
    CHECK(cllm_training_set_options(t, &o) == -1 && strstr(cllm_last_error(), "short_part"));
    /* A program from before the short windows has none, and nothing is written beyond its struct. */
    o = all;
    o.struct_size = offsetof(CLLMTrainingOptions, short_windows);
    CHECK(cllm_training_set_options(t, &o) == 0 && cllm_training_options(t, &o) == 0);
    CHECK(o.short_windows == 4 && o.struct_size == offsetof(CLLMTrainingOptions, short_windows));
    o.struct_size += 4; /* the padding at its end is no field */
    CHECK(cllm_training_set_options(t, &o) == 0 && cllm_training_options(t, &o) == 0 && o.short_windows == 4);
    o.struct_size = sizeof o;
    CHECK(cllm_training_options(t, &o) == 0 && o.short_windows == 0 && o.dropout == 0.2f);
    o = all;
    o.struct_size = 8;
    CHECK(cllm_training_set_options(t, &o) == -1 && cllm_training_options(t, &o) == -1);
    CHECK(cllm_training_set_options(NULL, &all) == -1 && cllm_training_set_options(t, NULL) == -1);
    end(plain);
    end(t);

    /* A run that was killed and resumed is the one that was not, with any threads. */
    t = begin(4);
    CHECK(cllm_training_set_options(t, &all) == 0);
    train(t, 35, 1);
    CHECK(cllm_save_checkpoint(t, in_scratch("run.cllm")) == 0);
    train(t, 60, 1);
    u = begin(5);
    CHECK(cllm_checkpoint_options(u, &o) == -1); /* struct_size is 8 still */
    o.struct_size = sizeof o;
    CHECK(cllm_checkpoint_options(u, &o) == 0);
    CHECK(cllm_load_checkpoint(u, in_scratch("run.cllm")) == 0 && u->current_step == 35);
    CHECK(cllm_checkpoint_options(u, &o) == 1 && o.seed == 9 && o.dropout == 0.2f && o.shuffle);
    CHECK(o.short_windows == 4 && o.short_part == 0.7f); /* to step 42 of 60 */
    CHECK(cllm_checkpoint_same_data(u) == 0); /* another order, as long as they are not set */
    CHECK(cllm_training_set_options(u, &o) == 0 && cllm_checkpoint_same_data(u) == 1);
    train(u, 60, 2);
    CHECK(same_weights(t->model, u->model) && t->current_loss == u->current_loss);
    int step[2] = {0};
    double loss[2] = {0};
    CHECK(cllm_training_best(t, &step[0], &loss[0]) == 1);
    CHECK(cllm_training_best(u, &step[1], &loss[1]) == 1);
    CHECK(step[0] == step[1] && loss[0] == loss[1] && step[0] >= 14 && loss[0] > 0);
    CHECK(cllm_training_use_best(t) == 0 && cllm_training_use_best(u) == 0);
    CHECK(same_weights(t->model, u->model));
    end(t);
    end(u);
}

static int warnings;
static char last_warning[300];
static void count_warnings(int level, const char *message, void *user_data) {
    (void)user_data;
    if (level == CLLM_LOG_WARNING) {
        warnings++;
        snprintf(last_warning, sizeof last_warning, "%s", message);
    }
}

static void precision(void) {
    int support = cllm_precision_support(CLLM_PRECISION_BF16);
    CHECK(support >= 0 && support <= 2 && cllm_precision_support(CLLM_PRECISION_BF16) == support);
    CHECK(cllm_precision_support(CLLM_PRECISION_F32) == 1);
    CHECK(cllm_precision_support(2) == -1 && cllm_precision_support(-1) == -1);
    CLLMTraining *t = begin(3), *plain = begin(3);
    CLLMTrainingOptions o = all;
    for (o.precision = -1; o.precision <= 2; o.precision += 3) {
        CHECK(cllm_training_set_options(t, &o) == -1 && strstr(cllm_last_error(), "precision"));
    }
    o.precision = CLLM_PRECISION_BF16;
    if (support == 0) { /* refused, and nothing changes */
        CHECK(cllm_training_set_options(t, &o) == -1 && strstr(cllm_last_error(), "AVX512_BF16"));
        CHECK(cllm_training_options(t, &o) == 0 && o.precision == CLLM_PRECISION_F32 && o.dropout == 0);
        end(plain);
        end(t);
        return;
    }
    CHECK(cllm_training_set_options(t, &o) == 0 && cllm_training_set_options(plain, &all) == 0);
    memset(&o, 0, sizeof o);
    o.struct_size = sizeof o;
    CHECK(cllm_training_options(t, &o) == 0 && o.precision == CLLM_PRECISION_BF16 && o.dropout == 0.2f);
    train(t, 28, 1);
    train(plain, 28, 1);
    CHECK(!same_weights(t->model, plain->model));
    CHECK_NEAR(t->current_loss, plain->current_loss, 0.05);
    CHECK(cllm_save_checkpoint(t, in_scratch("bf16.cllm")) == 0);
    CHECK(cllm_save_checkpoint(plain, in_scratch("f32.cllm")) == 0);
    train(t, 60, 1);

    /* With the options of the checkpoint it is the same run, with any threads. */
    CLLMTraining *u = begin(5);
    CHECK(cllm_load_checkpoint(u, in_scratch("bf16.cllm")) == 0);
    CHECK(cllm_checkpoint_options(u, &o) == 1 && o.precision == CLLM_PRECISION_BF16 && o.seed == 9);
    CHECK(cllm_training_set_options(u, &o) == 0);
    cllm_set_log_callback(count_warnings, NULL);
    train(u, 60, 2);
    CHECK(warnings == 0 && same_weights(t->model, u->model) && t->current_loss == u->current_loss);

    /* In the other precision it is another, which is said once. */
    CHECK(cllm_load_checkpoint(u, in_scratch("bf16.cllm")) == 0);
    o.precision = CLLM_PRECISION_F32;
    CHECK(cllm_training_set_options(u, &o) == 0);
    train(u, 60, 1);
    CHECK(warnings == 1 && strstr(last_warning, "bf16") && !same_weights(t->model, u->model));
    CHECK(cllm_load_checkpoint(u, in_scratch("f32.cllm")) == 0);
    CHECK(cllm_checkpoint_options(u, &o) == 1 && o.precision == CLLM_PRECISION_F32);
    train(u, 60, 1);
    CHECK(warnings == 1);
    cllm_set_log_callback(NULL, NULL);

    /* A precision alone is kept, too. */
    CLLMTrainingOptions only = {.struct_size = sizeof only, .precision = CLLM_PRECISION_BF16};
    CHECK(cllm_training_set_options(u, &only) == 0 && cllm_save_checkpoint(u, in_scratch("o.cllm")) == 0);
    CHECK(cllm_load_checkpoint(plain, in_scratch("o.cllm")) == 0);
    CHECK(cllm_checkpoint_options(plain, &o) == 1 && o.precision == CLLM_PRECISION_BF16 && o.dropout == 0);
    end(u);
    end(plain);
    end(t);
}

static void best(void) {
    CLLMTraining *t = begin(6);
    int step = -5;
    double loss = -5, first;
    CHECK(cllm_training_best(t, &step, &loss) == 0 && step == -5 && loss == -5);
    CHECK(cllm_training_use_best(t) == -1);
    CHECK(cllm_write_best_model(t, in_scratch("best.cllm")) == -1);
    train(t, 10, 1);
    CHECK(cllm_training_evaluate(t, held_out, HELD, 1, &first) == 1);
    CHECK(cllm_training_evaluate(t, held_out, HELD, 2, &loss) == 0 && loss == first);
    float *kept = malloc(t->model->num_weights * sizeof *kept);
    memcpy(kept, t->model->weights, t->model->num_weights * sizeof *kept);
    t->config.initial_learning_rate = 3; /* ruins it */
    train(t, 13, 1);
    CHECK(cllm_training_evaluate(t, held_out, HELD, 1, &loss) == 0 && loss > first);
    float ruined = t->model->weights[5];
    CHECK(cllm_write_best_model(t, in_scratch("best.cllm")) == 0);
    CHECK(t->model->weights[5] == ruined && t->model->training_meta.training_steps == 13);
    CLLMModel *read = cllm_read_model(in_scratch("best.cllm"));
    CHECK(read && memcmp(read->weights, kept, read->num_weights * sizeof *kept) == 0);
    CHECK(read && read->training_meta.training_steps == 10);
    CHECK(cllm_evaluate(read, held_out, HELD, 8, 1, &loss, NULL) == 0 && loss == first);
    cllm_free_model(read);
    CHECK(cllm_write_best_model(t, "/nowhere/at/all.cllm") == -1 && t->model->weights[5] == ruined);
    CHECK(cllm_training_use_best(t) == 0 && cllm_training_best(t, &step, NULL) == 1 && step == 10);
    CHECK(memcmp(t->model->weights, kept, t->model->num_weights * sizeof *kept) == 0);
    free(kept);
    CHECK(cllm_training_evaluate(t, held_out, 1, 1, &loss) == -1 && loss == first);
    CHECK(cllm_training_evaluate(NULL, held_out, HELD, 1, &loss) == -1);
    end(t);
}

static void moved_end(void) {
    CLLMTraining *t = begin(7);
    CHECK(cllm_training_set_options(t, &all) == 0);
    train(t, 20, 1);
    cllm_update_learning_rate(t);
    float rate = t->config.learning_rate;
    CHECK(cllm_training_set_end(t, 40) == 0 && t->config.max_steps == 40);
    cllm_update_learning_rate(t);
    CHECK_NEAR(t->config.learning_rate, rate, 1e-7);
    t->current_step = 30;
    cllm_update_learning_rate(t);
    CHECK_NEAR(t->config.learning_rate, rate / 2, 1e-7);
    t->current_step = 40;
    cllm_update_learning_rate(t);
    CHECK(t->config.learning_rate == 0);
    CHECK(cllm_training_set_end(t, -1) == -1 && cllm_training_set_end(NULL, 5) == -1);
    end(t);
}

static void recipes(void) {
    CLLMRecipe a = {.struct_size = sizeof a}, b = a;
    CHECK(cllm_recipe(900000, 200, 3e11, &a) == 0 && cllm_recipe(900000, 200, 3e11, &b) == 0);
    CHECK(memcmp(&a, &b, sizeof a) == 0); /* a pure function */
    CHECK(a.tokenizer == CLLM_TOKENS_SUBWORDS && a.vocab_size > 256 && a.embedding_dim % (2 * a.num_heads) == 0);
    CHECK(a.steps > 100 && a.learning_rate > 0 && a.beta2 > 0.9f && a.evaluate_every > 0);
    int lines = 1;
    for (const char *p = a.text; *p; p++) lines += *p == '\n';
    CHECK(lines == 3 && strlen(a.text) < sizeof a.text - 1);
    CLLMRecipe c = {.struct_size = sizeof c, .embedding_dim = 48, .num_heads = 3, .dropout = -1,
                    .warmup_steps = -1, .vocab_size = 777, .epochs = 30};
    CHECK(cllm_recipe(900000, 0, 0, &c) == 0 && c.embedding_dim == 48 && c.num_heads == 3);
    CHECK(c.dropout == 0 && c.warmup_steps == 0 && c.vocab_size == 777);
    CHECK_NEAR(c.epochs, 30, 0.1);
    /* Windows grow, unless the program can't be told of it, wants none, or says how long they are. */
    CLLMRecipe grows = {.struct_size = sizeof grows};
    CHECK(cllm_recipe(4000000, 200, 3e11, &grows) == 0 && grows.short_part > 0 && grows.short_part < 1);
    CHECK(grows.short_windows == 128 && grows.sequence_length == 512);
    CLLMRecipe older = {.struct_size = offsetof(CLLMRecipe, short_windows), .short_windows = 7};
    CHECK(cllm_recipe(4000000, 200, 3e11, &older) == 0 && older.short_windows == 7);
    CHECK(older.sequence_length == 128 && older.steps > 0);
    CLLMRecipe plain = {.struct_size = sizeof plain, .short_windows = -1};
    CHECK(cllm_recipe(4000000, 200, 3e11, &plain) == 0 && plain.sequence_length == 128);
    CHECK(plain.short_windows == -1 && plain.steps == older.steps && plain.batch_size == older.batch_size);
    CLLMRecipe said = {.struct_size = sizeof said, .sequence_length = 64, .short_windows = 16};
    CHECK(cllm_recipe(4000000, 200, 3e11, &said) == 0 && said.sequence_length == 64 && said.short_windows == 16);
    CLLMRecipe w = {.struct_size = sizeof w, .tokenizer = CLLM_TOKENS_WORDS, .training_tokens = 160000};
    CHECK(cllm_recipe(900000, 200, 3e11, &w) == 0 && w.tokenizer == CLLM_TOKENS_WORDS);
    CHECK(w.vocab_size == 10000 && w.training_tokens == 160000 && w.steps > 0);
    w.tokenizer = CLLM_TOKENS_BYTES + 9;
    CHECK(cllm_recipe(900000, 200, 3e11, &w) == -1);
    CLLMRecipe d = {.struct_size = sizeof d}, before = d;
    CHECK(cllm_recipe(0, 200, 3e11, &d) == -1 && cllm_recipe(10, 0, 3e11, &d) == -1);
    CHECK(cllm_recipe(10, 200, 0, &d) == -1 && cllm_recipe(10, NAN, 1e9, &d) == -1);
    CHECK(memcmp(&d, &before, sizeof d) == 0 && cllm_recipe(10, 1, 1, NULL) == -1);
    CLLMRecipe e = {.struct_size = sizeof e, .sequence_length = 128, .training_tokens = 128, .epochs = 2};
    CHECK(cllm_recipe(900, 0, 0, &e) == -1 && strstr(cllm_last_error(), "too short for this context"));
    e.training_tokens = 129;
    CHECK(cllm_recipe(900, 0, 0, &e) == 0 && e.sequence_length == 128 && e.batch_size == 1);
    d.struct_size = 8;
    CHECK(cllm_recipe(900000, 200, 3e11, &d) == -1);
    CHECK(cllm_measure_speed(1) > 1e6 && cllm_measure_speed(-1) == 0);
    CHECK(cllm_measure_speed_in(1, CLLM_PRECISION_F32) > 1e6 && cllm_measure_speed_in(1, 2) == 0);
    CHECK((cllm_measure_speed_in(1, CLLM_PRECISION_BF16) > 1e6) == (cllm_precision_support(CLLM_PRECISION_BF16) > 0));
    CHECK(cllm_steps_left(100, 2, 900, 8) == 400 && cllm_steps_left(0, 0, 900, 8) == 900);
    CHECK(cllm_steps_left(-1, 2, 900, 8) == -1 && cllm_steps_left(1, 2, -1, 8) == -1);
}

int main(void) {
    for (int i = 0; i < N; i++) ids[i] = (uint32_t)(i * i % 17 + i % 3);
    for (int i = 0; i < HELD; i++) held_out[i] = (uint32_t)((i + 7) * (i + 7) % 17 + i % 3);
    RUN(modern_models);
    RUN(options);
    RUN(precision);
    RUN(best);
    RUN(moved_end);
    RUN(recipes);
    return harness_report();
}
