/* cllm_ext.h: how many threads work where a call is not told. */
#define _GNU_SOURCE
#include "scratch.h"
#include "harness.h"

#include <dirent.h>
#include <sched.h>
#include <sys/wait.h>

#include "cllm_ext.h"
#include "cllm_format.h"
#include "cllm_inference.h"
#include "cllm_training.h"
#include "cllm_training_mt.h"
#include "cllm_utils.h"

enum { VOCAB = 1000, DIM = 256, IDS = 400 };

static uint32_t ids[IDS];

/* Large enough that a step is worth several threads, which the test sees; no larger, for what it does eight times
   over takes minutes in an emulator. */
static CLLMModel *new_model(void) {
    CLLMConfig shape = {.vocab_size = VOCAB, .embedding_dim = DIM, .num_layers = 2, .num_heads = 4,
                        .ff_dim = 1024, .max_seq_len = 32};
    CLLMModel *model = cllm_create_model_seeded(&shape, 5);
    if (!model) {
        fprintf(stderr, "%s\n", cllm_last_error());
        exit(2);
    }
    for (int i = 0; i < IDS; i++) ids[i] = (uint32_t)(i * i + 3 * i) % VOCAB;
    return model;
}

static uint64_t hash_of(const void *bytes, size_t size, uint64_t hash) {
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ ((const unsigned char *)bytes)[i]) * 1099511628211u;
    }
    return hash;
}

static int of_emulator; /* threads besides the first one, before the library has had any */

/* Threads of this process; 0 where the system does not tell. */
static int running(void) {
    DIR *tasks = opendir("/proc/self/task");
    int count = 0;
    for (struct dirent *entry; tasks && (entry = readdir(tasks));) count += entry->d_name[0] != '.';
    if (tasks) closedir(tasks);
    return count > of_emulator ? count - of_emulator : 0;
}

static bool count_piece(const char *piece, size_t length, uint32_t token, void *count) {
    (void)piece, (void)length, (void)token;
    ++*(int *)count;
    return true;
}

/* Everything that takes no number of threads, floats and 8 bits; a hash of all results. */
static uint64_t work(void) {
    CLLMModel *model = new_model();
    CLLMTrainingConfig config = {0};
    config.learning_rate = 0.01f;
    config.batch_size = 4;
    config.sequence_length = 32;
    config.num_epochs = 1;
    CLLMTraining *training = cllm_training_init(model, &config);
    training->tokens = ids;
    training->num_tokens = IDS;
    float losses[3] = {cllm_train_epoch(training)};
    CHECK(cllm_train(training) == 0);
    cllm_forward_training(training, ids);
    losses[1] = cllm_compute_loss_training(training, ids + 1);
    cllm_backward_training(training, ids + 1);
    cllm_adam_step(training, 0.001f);
    losses[2] = cllm_compute_loss(training, ids, ids + 1, 300);
    CHECK(losses[0] > 0 && losses[1] > 0 && losses[2] > 0);
    uint64_t hash = hash_of(losses, sizeof losses, 14695981039346656037u);
    hash = hash_of(model->weights, model->num_weights * sizeof(float), hash);
    CLLMModel *small = cllm_quantize_model(model, 0);
    CHECK(small != NULL);
    CLLMModel *models[] = {model, small};
    for (int i = 0; i < 2; i++) {
        CLLMInference *inference = cllm_inference_init(models[i]);
        cllm_set_seed(inference, 3);
        cllm_set_max_tokens(inference, 5);
        cllm_forward(inference, ids, 30);
        hash = hash_of(inference->logits, VOCAB * sizeof(float), hash);
        char text[400];
        CHECK(cllm_generate(inference, "token_1 token_7", text, sizeof text) == 5);
        hash = hash_of(text, strlen(text), hash);
        int pieces = 0;
        CHECK(cllm_generate_stream(inference, "token_9", count_piece, &pieces) > 0);
        double loss = 0;
        CHECK(cllm_evaluate(models[i], ids, IDS, 32, 0, &loss, NULL) == 0);
        hash = hash_of(&loss, sizeof loss, hash);
        cllm_inference_cleanup(inference);
    }
    cllm_training_free(training);
    cllm_free_model(model);
    cllm_free_model(small);
    return hash;
}

/* What happens in a process of its own, with a number of threads from the environment or the call. */
static bool in_child(const char *variable, int set, uint64_t want, bool alone) {
    pid_t child = fork();
    if (child == 0) {
        if (variable) setenv("CLLM_NUM_THREADS", variable, 1);
        if (set > 0) cllm_set_threads(set);
        bool same = work() == want;
        int threads = running();
        if (!same) fprintf(stderr, "other results with %s, %d\n", variable ? variable : "-", set);
        bool good = same && (!alone || threads <= 1) &&
                    (alone || threads == 0 || threads == cllm_threads());
        if (!good) fprintf(stderr, "%s, %d: %d threads\n", variable ? variable : "-", set, threads);
        _exit(good ? 0 : 1);
    }
    int status = -1;
    return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

static void the_number_changes_no_bit(void) {
    /* The first result is of one thread, in a process that starts none. */
    CHECK(cllm_set_threads(1) == 0 && cllm_threads() == 1);
    int before = running();
    uint64_t want = work();
    CHECK(running() == before);
    CHECK(cllm_set_threads(0) == 0);
    CHECK(in_child(NULL, 0, want, false));
    CHECK(in_child("1", 0, want, true));
    CHECK(in_child("2", 0, want, false));
    CHECK(in_child(NULL, 2, want, false));
    /* The call goes before the environment. */
    CHECK(in_child("2", 1, want, true));
    CHECK(cllm_set_threads(300) == 0);
    CHECK(work() == want);
    CHECK(cllm_set_threads(0) == 0);
    CHECK(work() == want);
    CHECK(running() == 0 || running() == cllm_threads());
}

static void a_step_that_is_too_small_starts_none(void) {
    CHECK(cllm_shutdown() == 0);
    int before = running();
    CLLMConfig shape = {.vocab_size = 50, .embedding_dim = 16, .num_layers = 1, .num_heads = 1,
                        .ff_dim = 32, .max_seq_len = 16};
    CLLMModel *model = cllm_create_model_seeded(&shape, 1);
    CLLMInference *inference = cllm_inference_init(model);
    for (int i = 0; i < IDS; i++) ids[i] %= 50;
    cllm_forward(inference, ids, 10);
    double loss;
    CHECK(cllm_evaluate(model, ids, 100, 16, 0, &loss, NULL) == 0);
    CHECK(running() == before);
    cllm_inference_cleanup(inference);
    cllm_free_model(model);
}

static void numbers(void) {
    CHECK(cllm_set_threads(-1) == -1);
    CHECK(strstr(cllm_last_error(), "the number of threads") != NULL);
    CHECK(cllm_threads() >= 1);
    CHECK(cllm_set_threads(1) == 0 && cllm_threads() == 1);
    CHECK(cllm_set_threads(0) == 0);
    cpu_set_t all, one;
    CPU_ZERO(&one);
    if (sched_getaffinity(0, sizeof all, &all) != 0) return;
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++) {
        if (CPU_ISSET(i, &all)) CPU_SET(i, &one);
    }
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
    /* Looked up again within a second or so. */
    sleep(1);
    usleep(100000);
    CHECK(cllm_threads() == 1);
    CHECK(sched_setaffinity(0, sizeof all, &all) == 0);
    sleep(1);
    usleep(100000);
    CHECK(cllm_threads() >= 1 && cllm_threads() <= CPU_COUNT(&all));
}

int main(void) {
    unsetenv("CLLM_NUM_THREADS");
    int first = running();
    of_emulator = first > 0 ? first - 1 : 0;
    RUN(the_number_changes_no_bit);
    RUN(a_step_that_is_too_small_starts_none);
    RUN(numbers);
    return harness_report();
}
