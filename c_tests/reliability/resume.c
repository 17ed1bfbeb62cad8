/* Exact resume over processes: k steps, save, a new process that loads, m steps, equal k + m steps
 * in one process, bit for bit: for each optimizer, each schedule, windows of accumulation that are
 * open and closed, and both kinds of checkpoint. The program starts itself for each part.
 * Usage: resume. */
#include "common.h"

#define STEPS 20

struct plan {
    const char *optimizer, *schedule;
    int window;
    bool production;
};

/* All that a training is made of, but for its moments, which later steps show. */
static void dump(const CLLMTraining *t, const char *path) {
    FILE *f = fopen(path, "wb");
    if (f == NULL) abort();
    const CLLMModel *m = t->model;
    size_t table = (size_t)m->pos_encoding.max_length * m->embedding_dim;
    fwrite(m->weights, sizeof(float), m->num_weights, f);
    fwrite(m->pos_encoding.learned_positions, sizeof(float), table, f);
    int numbers[] = {t->current_epoch, t->current_step, t->current_batch_offset,
                     t->accumulation_step};
    float reals[] = {t->current_loss, t->best_loss, t->config.learning_rate};
    fwrite(numbers, sizeof numbers, 1, f);
    fwrite(reals, sizeof reals, 1, f);
    if (fclose(f) != 0) abort();
}

/* One process: a model made from `seed`, a checkpoint loaded into it or not, some steps, a
 * checkpoint saved or not, a dump. Its status. */
static int part(char **argv) {
    struct plan p = {argv[0], argv[1], atoi(argv[2]), atoi(argv[3]) != 0};
    int seed = atoi(argv[4]), steps = atoi(argv[5]), threads = atoi(argv[6]);
    const char *from = argv[7], *to = argv[8], *dumped = argv[9];
    cllm_set_log_silent();
    srand((unsigned)seed);
    CLLMModel *m = made(20, 16, 2);
    CLLMTrainingConfig config = {0};
    config.learning_rate = config.initial_learning_rate = 0.02f;
    config.batch_size = 2;
    config.sequence_length = 4;
    config.num_epochs = 3;
    config.gradient_accumulation_steps = p.window;
    config.gradient_clip = 0.5f;
    config.weight_decay = 0.01f;
    config.warmup_steps = 4;
    config.lr_decay_steps = 3;
    config.lr_decay_factor = 0.7f;
    config.max_steps = STEPS;
    snprintf(config.optimizer, sizeof config.optimizer, "%s", p.optimizer);
    snprintf(config.lr_scheduler, sizeof config.lr_scheduler, "%s", p.schedule);
    CLLMTraining *t = cllm_training_init(m, &config);
    if (t == NULL) return 2;
    for (size_t i = 0; i < 100; i++) training_tokens[i] = (uint32_t)(i * i / 3 % 20);
    t->tokens = training_tokens;
    t->num_tokens = 100;
    if (*from && (p.production ? load_checkpoint(t, from) : cllm_load_checkpoint(t, from)) != 0) {
        return 3;
    }
    while (steps > 0) {
        int done = cllm_train_steps(t, steps, threads, NULL);
        if (done < 0) return 4;
        steps -= done;
    }
    if (*to && (p.production ? save_checkpoint(t, to) : cllm_save_checkpoint(t, to)) != 0) return 5;
    dump(t, dumped);
    cllm_training_free(t);
    cllm_free_model(m);
    return 0;
}

static int started(struct plan p, const char *seed, int steps, const char *threads,
                   const char *from, const char *to, const char *dumped) {
    char window[12], count[12];
    snprintf(window, sizeof window, "%d", p.window);
    snprintf(count, sizeof count, "%d", steps);
    pid_t pid = fork();
    if (pid == 0) {
        execl("/proc/self/exe", "resume", p.optimizer, p.schedule, window,
              p.production ? "1" : "0", seed, count, threads, from, to, dumped, (char *)NULL);
        _exit(127);
    }
    int status;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static bool same_files(const char *a, const char *b) {
    size_t n, m;
    unsigned char *x = contents(a, &n), *y = contents(b, &m);
    bool same = n > 0 && n == m && memcmp(x, y, n) == 0;
    free(x);
    free(y);
    return same;
}

int main(int argc, char **argv) {
    if (argc == 11) return part(argv + 1);
    scratch_make();
    static const char *const optimizers[] = {"adam", "sgd"};
    static const char *const schedules[] = {"none", "cosine", "linear", "step"};
    /* Steps in a window, and steps before the save: closed, half open, open by two of three. */
    static const int windows[][2] = {{1, 5}, {4, 6}, {3, 11}};
    int plans = 0;
    for (int i = 0; i < 2 * 4 * 3; i++) {
        struct plan p = {optimizers[i % 2], schedules[i / 2 % 4], windows[i / 8][0], false};
        int before = windows[i / 8][1];
        CHECK(started(p, "7", STEPS, "1", "", "", in_scratch("whole")) == 0);
        for (int production = 0; production < 2; production++) {
            p.production = production;
            CHECK(started(p, "7", before, "2", "", in_scratch("run"), in_scratch("part")) == 0);
            CHECK(!same_files(in_scratch("part"), in_scratch("whole")));
            /* Another seed: what the checkpoint does not bring would differ. */
            CHECK(started(p, "8", STEPS - before, "3", in_scratch("run"), "", in_scratch("resumed")) == 0);
            CHECK(same_files(in_scratch("resumed"), in_scratch("whole")));
            plans++;
        }
        empty_folder();
    }
    /* Without the checkpoint the other seed gives something else: the comparison can fail. */
    struct plan p = {"adam", "none", 1, false};
    CHECK(started(p, "7", STEPS, "1", "", "", in_scratch("whole")) == 0);
    CHECK(started(p, "8", STEPS, "1", "", "", in_scratch("other")) == 0);
    CHECK(!same_files(in_scratch("whole"), in_scratch("other")));
    fprintf(stderr, "%d combinations resumed in a new process\n", plans);
    empty_folder();
    rmdir(scratch);
    return harness_report();
}
