/* A program for host.sh: trains, saves, loads and generates with several threads, prints a hash of
 * it all, and ends in the way that its second argument names. With PLUGIN defined it loads the
 * library by dlopen() instead, and leaves it again. */
#define _GNU_SOURCE
#include "cllm_ext.h"
#include "cllm_format.h"
#include "cllm_training_mt.h"
#include "cllm_training_parallel.h"
#include "cllm_utils.h"
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint32_t tokens[400];
static const CLLMConfig shape = {.vocab_size = 23, .embedding_dim = 16, .num_layers = 2, .num_heads = 2,
                                 .ff_dim = 32, .max_seq_len = 16};
static CLLMTrainingConfig settings = {.learning_rate = 0.01f, .batch_size = 2, .sequence_length = 8};

static void make_tokens(void) {
    for (uint32_t i = 0; i < 400; i++) tokens[i] = i * i % 23;
}

#ifdef PLUGIN
#include <dlfcn.h>

int main(int argc, char **argv) {
    make_tokens();
    for (int round = 0; round < 3; round++) {
        void *library = dlopen(argc > 1 ? argv[1] : "libcllm.so.1", RTLD_NOW | RTLD_LOCAL);
        if (!library) return fprintf(stderr, "%s\n", dlerror()), 1;
        CLLMModel *(*create)(const CLLMConfig *);
        CLLMTraining *(*init)(CLLMModel *, const CLLMTrainingConfig *);
        float (*train)(CLLMTraining *, int);
        void (*free_training)(CLLMTraining *), (*free_model)(CLLMModel *);
        *(void **)&create = dlsym(library, "cllm_create_model");
        *(void **)&init = dlsym(library, "cllm_training_init");
        *(void **)&train = dlsym(library, "cllm_train_epoch_mt");
        *(void **)&free_training = dlsym(library, "cllm_training_free");
        *(void **)&free_model = dlsym(library, "cllm_free_model");
        CLLMModel *model = create(&shape);
        CLLMTraining *training = init(model, &settings);
        training->tokens = tokens;
        training->num_tokens = 400;
        if (!(train(training, 2) > 0)) return 2; /* its threads wait from now on */
        free_training(training);
        free_model(model);
        if (dlclose(library) != 0) return 3;
        nanosleep(&(struct timespec){0, 20000000}, NULL);
        void *there = dlopen(argc > 1 ? argv[1] : "libcllm.so.1", RTLD_NOW | RTLD_NOLOAD);
        if (!there) return fputs("the library was unloaded\n", stderr), 4;
    }
    return 0;
}

#else

static uint64_t hash = 14695981039346656037u;

static void add(const void *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) hash = (hash ^ ((const unsigned char *)bytes)[i]) * 1099511628211u;
}

static CLLMTraining *start(CLLMModel **model) {
    srand(7);
    *model = cllm_create_model(&shape);
    CLLMTraining *training = cllm_training_init(*model, &settings);
    training->tokens = tokens;
    training->num_tokens = 400;
    return training;
}

static void *train_without_end(void *ready) {
    CLLMModel *model;
    CLLMTraining *training = start(&model);
    for (int epoch = 0;; epoch++) {
        cllm_train_epoch_mt(training, 2);
        if (epoch == 1) *(volatile int *)ready = 1;
    }
    return NULL;
}

static void exit_in_handler(int signal) {
    (void)signal;
    exit(0); /* not allowed there, and done all the same */
}

static bool exit_in_callback(const CLLMProgress *progress, void *unused) {
    (void)progress, (void)unused;
    exit(0);
}

static void exit_in_log(int level, const char *message, void *unused) {
    (void)level, (void)message, (void)unused;
    exit(0);
}

static void train_until_killed(void) {
    CLLMModel *model;
    CLLMTraining *training = start(&model);
    for (;;) cllm_train_epoch_mt(training, 2);
}

/* Children that are told to exit() at different moments of their training: none of them hangs. */
static int exits_at_any_moment(void) {
    for (int i = 0; i < 40; i++) {
        pid_t child = fork();
        if (child == 0) {
            signal(SIGTERM, exit_in_handler);
            signal(SIGALRM, SIG_DFL);
            alarm(60); /* if it hangs, it is killed */
            train_until_killed();
        }
        nanosleep(&(struct timespec){0, 20000000 + i * 1700000}, NULL);
        kill(child, SIGTERM);
        int status;
        waitpid(child, &status, 0);
        if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) return fputs("a child hangs\n", stderr), 1;
    }
    return 0;
}

static int use(const char *folder) {
    CLLMModel *model;
    CLLMTraining *training = start(&model);
    cllm_train_epoch_mt(training, 2);
    int asked = 3, got = cllm_init_thread_pool(asked);
    if (got < asked) fprintf(stderr, "%d thread of %d\n", got, asked);
    cllm_train_epoch_parallel(training);
    add(model->weights, model->num_weights * 4);
    char path[4096], text[512];
    snprintf(path, sizeof path, "%s/host.cllm", folder);
    if (cllm_write_model(model, path) != 0) return 1;
    CLLMModel *loaded = cllm_read_model(path);
    CLLMInference *inference = cllm_inference_init(loaded);
    if (!inference || cllm_inference_set_threads(inference, 2) != 0) return 1;
    cllm_set_seed(inference, 3);
    cllm_set_max_tokens(inference, 9);
    if (cllm_generate(inference, "token_7 token_9", text, sizeof text) <= 0) return 1;
    add(text, strlen(text));
    cllm_inference_cleanup(inference);
    cllm_free_model(loaded);
    cllm_training_free(training);
    cllm_free_model(model);
    printf("%016llx\n", (unsigned long long)hash);
    return fflush(stdout) != 0;
}

int main(int argc, char **argv) {
    const char *folder = argc > 1 ? argv[1] : ".", *way = argc > 2 ? argv[2] : "return";
    make_tokens();
    if (strcmp(way, "signals") == 0) return exits_at_any_moment();
    if (use(folder) != 0) return fprintf(stderr, "%s\n", cllm_last_error()), 1;
    if (strcmp(way, "exit") == 0) exit(0);
    if (strcmp(way, "_exit") == 0) _exit(0);
    if (strcmp(way, "handler") == 0) signal(SIGTERM, exit_in_handler), raise(SIGTERM);
    if (strcmp(way, "log") == 0) cllm_set_log_callback(exit_in_log, NULL), cllm_read_model("/nonexistent");
    if (strcmp(way, "busy") == 0) { /* another thread is inside of the library */
        static volatile int ready;
        pthread_t thread;
        pthread_create(&thread, NULL, train_without_end, (void *)&ready);
        while (!ready) nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    if (strcmp(way, "callback") == 0) {
        CLLMModel *model;
        CLLMTraining *training = start(&model);
        cllm_set_progress_callback(training, exit_in_callback, NULL);
        cllm_train_steps(training, 3, 2, NULL);
        return 1;
    }
    if (strcmp(way, "fork") == 0) { /* the child has no threads of the parent's to end */
        pid_t child = fork();
        if (child == 0) exit(use(folder));
        int status = 0;
        waitpid(child, &status, 0);
        return status != 0;
    }
    return 0;
}

#endif
