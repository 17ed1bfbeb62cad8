/* cllm_ext.h: training over ranks, which are threads here, with pipes between them. */
#define _GNU_SOURCE
#include "harness.h"
#include "scratch.h"

#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <unistd.h>

#include "cllm_ext.h"
#include "cllm_training.h"
#include "cllm_training_mt.h"
#include "cllm_utils.h"

enum { V = 20, N = 500, MOST = 4, WINDOW = 5 };
static uint32_t ids[N];
static int pipes[MOST][MOST][2]; /* from, to */
static const CLLMConfig shape = {V, 16, 2, 2, 32, 8, 0};

typedef struct Rank {
    int rank, ranks, steps, window;
    float clip;
    int stops_at;  /* 0: never */
    bool once;     /* a single call */
    bool divided, rounded;
    size_t held;   /* moments of the embeddings that are kept here */
    int fails_at;  /* exchange; 0: never */
    int exchanges;
    const char *load, *save, *inside;
    CLLMTraining *training;
    int trained, saved, saved_inside;
    char error[200];
} Rank;

static CLLMTraining *begin(const Rank *r) {
    CLLMTrainingConfig config = {.learning_rate = 0.01f, .batch_size = 2, .sequence_length = 8,
                                 .gradient_clip = r->clip, .gradient_accumulation_steps = r->window};
    CLLMTraining *t = cllm_training_init(cllm_create_modern_model(&shape, 3), &config);
    CLLMTrainingOptions more = {.struct_size = sizeof more, .seed = 4, .dropout = 0.1f, .shuffle = 1};
    cllm_training_set_options(t, &more);
    t->tokens = ids;
    t->num_tokens = N;
    return t;
}

static void end(CLLMTraining *t) {
    CLLMModel *model = t->model;
    cllm_training_free(t);
    cllm_free_model(model);
}

static int whole(int descriptor, void *bytes, size_t count, bool out) {
    for (char *at = bytes; count > 0;) {
        ssize_t n = out ? write(descriptor, at, count) : read(descriptor, at, count);
        if (n <= 0) return 1;
        at += n;
        count -= (size_t)n;
    }
    return 0;
}

static int exchange(int to, const void *send, size_t send_bytes, int from, void *receive,
                    size_t receive_bytes, void *user_data) {
    Rank *r = user_data;
    if (++r->exchanges == r->fails_at) {
        for (int i = 0; i < r->ranks; i++) close(pipes[r->rank][i][1]); /* the others hear of it */
        return 7;
    }
    return whole(pipes[r->rank][to][1], (void *)send, send_bytes, true)
        || whole(pipes[from][r->rank][0], receive, receive_bytes, false);
}

static bool watch(const CLLMProgress *progress, void *user_data) {
    Rank *r = user_data;
    if (r->inside && progress->step % r->window == 1 && r->ranks > 1)
        r->saved_inside |= cllm_save_checkpoint(r->training, r->inside) == 0;
    return progress->step != r->stops_at;
}

static void *work(void *argument) {
    Rank *r = argument;
    CLLMTraining *t = r->training = begin(r);
    CLLMCommunicator all = {.struct_size = sizeof all, .rank = r->rank, .ranks = r->ranks,
                            .exchange = exchange, .user_data = r, .divide_moments = r->divided,
                            .bfloat16_sums = r->rounded};
    if ((r->ranks > 1 || r->rounded) && cllm_training_set_communicator(t, &all) != 0) return NULL;
    if (r->load && cllm_load_checkpoint(t, r->load) != 0) return NULL;
    cllm_set_progress_callback(t, watch, r);
    while (r->trained >= 0 && t->current_step < r->steps) {
        r->trained = cllm_train_steps(t, r->steps - t->current_step, 1 + r->rank % 2, NULL);
        if (r->trained < 0) snprintf(r->error, sizeof r->error, "%s", cllm_last_error());
        if (r->once) break;
    }
    r->held = t->optimizer_state != NULL;
    if (r->save && (r->rank == 0 || r->divided)) {
        r->saved = cllm_save_checkpoint(t, r->save);
        if (r->saved != 0) snprintf(r->error, sizeof r->error, "%s", cllm_last_error());
    }
    return NULL;
}

/* Trains on so many ranks, each as `like`; what became of them. */
static void run(Rank *r, int ranks, Rank like) {
    pthread_t threads[MOST];
    for (int a = 0; a < ranks; a++)
        for (int b = 0; b < ranks; b++) CHECK(pipe(pipes[a][b]) == 0);
    for (int i = 0; i < ranks; i++) {
        like.rank = i, like.ranks = ranks;
        if (r[i].clip != 0) like.clip = r[i].clip;
        if (r[i].stops_at != 0) like.stops_at = r[i].stops_at;
        like.fails_at = r[i].fails_at;
        r[i] = like;
        like.clip = 1, like.stops_at = 0;
    }
    for (int i = 0; i < ranks; i++) pthread_create(&threads[i], NULL, work, &r[i]);
    for (int i = 0; i < ranks; i++) pthread_join(threads[i], NULL);
    for (int a = 0; a < ranks; a++)
        for (int b = 0; b < ranks; b++) close(pipes[a][b][0]), close(pipes[a][b][1]);
}

static int same(const CLLMTraining *a, const CLLMTraining *b) {
    return a->current_step == b->current_step && a->current_epoch == b->current_epoch
        && a->accumulation_step == b->accumulation_step && a->current_loss == b->current_loss
        && a->best_loss == b->best_loss
        && memcmp(a->model->weights, b->model->weights, a->model->num_weights * sizeof(float)) == 0;
}

static void any_number_of_ranks(void) {
    const char *inside = in_scratch("inside.cllm"), *path = in_scratch("half.cllm");
    Rank like = {.steps = 63, .window = WINDOW, .clip = 1, .inside = inside};
    Rank alone[MOST] = {{0}};
    run(alone, 1, like);
    CHECK(alone[0].training->current_step == 63 && alone[0].training->accumulation_step == 3);
    CHECK(alone[0].training->current_epoch == 2);
    for (int ranks = 2; ranks <= MOST; ranks++) {
        Rank r[MOST] = {{0}};
        run(r, ranks, like);
        for (int i = 0; i < ranks; i++) {
            CHECK(same(r[i].training, alone[0].training) && !r[i].saved_inside);
            end(r[i].training);
        }
        /* A checkpoint in the middle of a window goes on with another number of ranks. */
        Rank half[MOST] = {{0}}, rest[MOST] = {{0}};
        Rank first = like, second = like;
        first.steps = 33, first.save = path, second.load = path;
        run(half, ranks, first);
        run(rest, MOST + 1 - ranks, second);
        for (int i = 0; i < ranks; i++) end(half[i].training);
        for (int i = 0; i < MOST + 1 - ranks; i++) {
            CHECK(same(rest[i].training, alone[0].training));
            end(rest[i].training);
        }
    }
    end(alone[0].training);
}

/* The bytes of a file behind its header's times. */
static char *content(const char *path, const char *suffix, size_t *size) {
    char name[512];
    snprintf(name, sizeof name, "%s%s", path, suffix);
    FILE *file = fopen(name, "rb");
    if (!file) return *size = 0, NULL;
    static char bytes[2][1 << 18];
    static int turn;
    char *to = bytes[turn ^= 1];
    *size = fread(to, 1, sizeof bytes[0], file);
    fclose(file);
    return to;
}

static void parts_of_the_moments(void) {
    const char *whole = in_scratch("whole.cllm"), *parts = in_scratch("parts.cllm");
    for (int rounded = 0; rounded < 2; rounded++) {
        Rank like = {.steps = 33, .window = WINDOW, .clip = 1, .save = whole, .rounded = rounded};
        Rank alone[MOST] = {{0}}, further[MOST] = {{0}};
        run(alone, 1, like);
        Rank longer = like;
        longer.steps = 48, longer.save = NULL;
        run(further, 1, longer);
        for (int ranks = 2; ranks <= MOST; ranks++) {
            Rank r[MOST] = {{0}}, rest[MOST] = {{0}}, first = like, second = longer;
            first.divided = second.divided = true;
            first.save = parts, second.load = parts;
            run(r, ranks, first);
            size_t a, b, held = 0;
            char *one = content(whole, ".state", &a), *many = content(parts, ".state", &b);
            CHECK(a > 0 && a == b && memcmp(one, many, a) == 0); /* the file of one process */
            for (int i = 0; i < ranks; i++) {
                CHECK(same(r[i].training, alone[0].training));
                held += r[i].held;
                cllm_adam_step(r[i].training, 0.1f); /* nobody's alone */
                CHECK(strstr(cllm_last_error(), "divided among the ranks") != NULL);
                CHECK(same(r[i].training, alone[0].training));
                end(r[i].training);
            }
            CHECK(held <= 1);
            run(rest, MOST + 1 - ranks, second);
            for (int i = 0; i < MOST + 1 - ranks; i++) {
                CHECK(same(rest[i].training, further[0].training));
                end(rest[i].training);
            }
        }
        end(alone[0].training);
        end(further[0].training);
    }
}

static void *apart(void *argument) {
    work(argument);
    Rank *r = argument;
    if (cllm_training_set_communicator(r->training, NULL) != 0) return NULL; /* all moments for all */
    r->held = r->training->optimizer_state != NULL;
    r->trained = cllm_train_steps(r->training, 7, 1, NULL);
    return NULL;
}

static void together_again(void) {
    Rank alone[MOST] = {{0}}, r[MOST] = {{0}};
    pthread_t threads[2];
    Rank like = {.ranks = 2, .steps = 15, .window = WINDOW, .clip = 1, .divided = true};
    for (int a = 0; a < 2; a++)
        for (int b = 0; b < 2; b++) CHECK(pipe(pipes[a][b]) == 0);
    for (int i = 0; i < 2; i++) {
        r[i] = like, r[i].rank = i;
        pthread_create(&threads[i], NULL, apart, &r[i]);
    }
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    for (int a = 0; a < 2; a++)
        for (int b = 0; b < 2; b++) close(pipes[a][b][0]), close(pipes[a][b][1]);
    run(alone, 1, (Rank){.steps = 22, .window = WINDOW, .clip = 1});
    for (int i = 0; i < 2; i++) {
        CHECK(r[i].held == 1 && r[i].trained == 7 && same(r[i].training, alone[0].training));
        CHECK(memcmp(r[i].training->optimizer_state, alone[0].training->optimizer_state,
                     2 * V * 16 * sizeof(float)) == 0);
        end(r[i].training);
    }
    end(alone[0].training);
}

/* Where the first rank can't put a file at its place, none of them has a checkpoint. */
static void a_checkpoint_that_fails(void) {
    const char *taken = in_scratch("taken.cllm");
    CHECK(mkdir(taken, 0700) == 0);
    Rank r[MOST] = {{0}};
    run(r, 3, (Rank){.steps = WINDOW, .window = WINDOW, .clip = 1, .divided = true, .save = taken});
    for (int i = 0; i < 3; i++) {
        CHECK(r[i].trained == WINDOW && r[i].saved == -1);
        CHECK(strstr(r[i].error, "rank 0: ") != NULL && strstr(r[i].error, "taken.cllm") != NULL);
        end(r[i].training);
    }
}

static void stopping(void) {
    Rank r[MOST] = {{0}};
    r[1].stops_at = 7; /* in the middle of the second window */
    run(r, 3, (Rank){.steps = 60, .window = WINDOW, .clip = 1, .once = true});
    for (int i = 0; i < 3; i++) { /* all at its end */
        CHECK(r[i].trained == 10 && r[i].training->current_step == 10);
        end(r[i].training);
    }
}

static void differences_and_failures(void) {
    Rank r[MOST] = {{0}};
    r[2].clip = 0.5f;
    run(r, 3, (Rank){.steps = 10, .window = WINDOW, .clip = 1});
    for (int i = 0; i < 3; i++) {
        CHECK(r[i].trained == -1 && r[i].training->current_step == 0);
        CHECK(strstr(r[i].error, "the ranks differ in the clipping: 1 on rank 0, 0.5 on rank 2") != NULL);
        end(r[i].training);
    }
    Rank broken[MOST] = {{0}};
    broken[1].fails_at = 9;
    run(broken, 2, (Rank){.steps = 40, .window = WINDOW, .clip = 1});
    CHECK(broken[1].trained == -1 && strstr(broken[1].error, "it returned 7") != NULL);
    CHECK(broken[0].trained == -1 && strstr(broken[0].error, "it returned 1") != NULL);
    for (int i = 0; i < 2; i++) end(broken[i].training);
}

static void arguments(void) {
    Rank like = {.window = 1, .ranks = 1};
    CLLMTraining *t = begin(&like);
    CLLMCommunicator all = {.struct_size = sizeof all, .rank = 0, .ranks = 1, .exchange = exchange,
                            .user_data = &like};
    CHECK(cllm_training_set_communicator(NULL, &all) == -1);
    CHECK(cllm_training_set_communicator(t, &all) == 0);
    CHECK(cllm_train_steps(t, 3, 1, NULL) == 3 && like.exchanges == 0); /* with nobody */
    CLLMCommunicator wrong[] = {all, all, all, all, all};
    wrong[0].rank = 1, wrong[1].rank = -1, wrong[2].ranks = 0, wrong[3].exchange = NULL;
    wrong[4].struct_size = offsetof(CLLMCommunicator, divide_moments) - 1;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        CHECK(cllm_training_set_communicator(t, &wrong[i]) == -1);
    CHECK(cllm_train_steps(t, 3, 1, NULL) == 3);
    all.struct_size = offsetof(CLLMCommunicator, divide_moments); /* of an older program */
    CHECK(cllm_training_set_communicator(t, &all) == 0 && cllm_train_steps(t, 3, 1, NULL) == 3);
    CHECK(cllm_training_set_communicator(t, NULL) == 0 && cllm_train_steps(t, 3, 1, NULL) == 3);
    end(t);
}

static void ignore(int level, const char *message, void *user_data) {
    (void)level, (void)message, (void)user_data;
}

int main(void) {
    cllm_set_log_callback(ignore, NULL); /* failures that are meant */
    scratch_make();
    for (int i = 0; i < N; i++) ids[i] = (uint32_t)(i * i * 7 % V);
    signal(SIGPIPE, SIG_IGN);
    RUN(any_number_of_ranks);
    RUN(parts_of_the_moments);
    RUN(together_again);
    RUN(a_checkpoint_that_fails);
    RUN(stopping);
    RUN(differences_and_failures);
    RUN(arguments);
    scratch_remove();
    return harness_report();
}
