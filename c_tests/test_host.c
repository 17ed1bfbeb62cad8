/* The host's world is its own: signals, the floating-point environment, small and alternate stacks, coroutines,
 * ending the threads. Whatever the program has set, results are the same and the setting stays. */
#define _GNU_SOURCE
#include "scratch.h"

#include <dirent.h>
#include <fenv.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#if defined __x86_64__
#include <xmmintrin.h>
#endif

#include "cllm_ext.h"
#include "cllm_format.h"
#include "cllm_training_mt.h"
#include "cllm_training_parallel.h"
#include "harness.h"
#include "prime_float_math.h"
#include "small_training.h"

#if defined __SANITIZE_ADDRESS__
enum { SANITIZED = 1 }; /* its frames are larger */
#else
enum { SANITIZED = 0 };
#endif

static uint64_t hash_of(const void *bytes, size_t size, uint64_t hash) {
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ ((const unsigned char *)bytes)[i]) * 1099511628211u;
    }
    return hash;
}

static bool take_piece(const char *piece, size_t length, uint32_t token, void *text) {
    (void)token;
    strncat(text, piece, length);
    return true;
}

/* Trains, saves, loads and generates; a hash of all that comes of it, 0 where a call fails. */
static uint64_t work(int threads) {
    CLLMModel *model;
    CLLMTraining *training = prepare_small(&model, 7);
    float loss = cllm_train_epoch_mt(training, threads);
    uint64_t hash = hash_of(model->weights, model->num_weights * 4, 14695981039346656037u);
    hash = hash_of(&loss, sizeof loss, hash);
    char name[64];
    static atomic_int number;
    snprintf(name, sizeof name, "host%d.cllm", atomic_fetch_add(&number, 1));
    const char *path = in_scratch(name);
    bool good = cllm_write_model(model, path) == 0;
    CLLMModel *loaded = cllm_read_model(path);
    CLLMInference *inference = cllm_inference_init(loaded);
    cllm_inference_set_threads(inference, threads);
    cllm_set_seed(inference, 3);
    cllm_set_max_tokens(inference, 6);
    char text[512] = "";
    good = good && cllm_generate_stream(inference, "token_7 token_9", take_piece, text) == 6;
    hash = hash_of(text, strlen(text), hash);
    cllm_inference_cleanup(inference);
    cllm_free_model(loaded);
    finish(training, model);
    double sine = prime_sin(0.5), power = prime_pow(1.1, 2.3);
    hash = hash_of(&sine, sizeof sine, hash);
    return good ? hash_of(&power, sizeof power, hash) : 0;
}

static uint64_t expected;

/* ---- Signals ---- */

/* Threads of the library: how many, and what `look` says of their status files, summed. */
static int library_threads(int (*look)(const char *line)) {
    int count = 0;
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *entry; (entry = readdir(tasks));) {
        char path[300], line[256];
        snprintf(path, sizeof path, "/proc/self/task/%s/status", entry->d_name);
        FILE *status = entry->d_name[0] == '.' ? NULL : fopen(path, "r");
        bool ours = false;
        while (status && fgets(line, sizeof line, status)) {
            ours = ours || strncmp(line, "Name:\tcllm-", 11) == 0;
            count += ours && look(line);
        }
        if (status) fclose(status);
    }
    closedir(tasks);
    return count;
}

static int is_name(const char *line) { return strncmp(line, "Name:", 5) == 0; }

/* Whether the library has that many threads, in a moment: one names itself when it first runs. */
static bool threads_appear(int count) {
    for (int i = 0; i < 500 && library_threads(is_name) < count; i++) {
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    }
    return library_threads(is_name) >= count;
}

static bool in_mask(unsigned long long mask, int signal) { return mask >> (signal - 1) & 1; }

static int blocks_signals(const char *line) {
    unsigned long long mask;
    if (sscanf(line, "SigBlk: %llx", &mask) != 1) return 0;
    static const int host[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGCHLD,
                               SIGPIPE, SIGPROF, SIGVTALRM, SIGIO, SIGWINCH, SIGXCPU, SIGABRT};
    bool all = in_mask(mask, SIGRTMIN) && in_mask(mask, SIGRTMAX);
    for (size_t i = 0; i < sizeof host / sizeof *host; i++) all = all && in_mask(mask, host[i]);
    /* A fault of a thread reaches the program's handler. */
    return all && !in_mask(mask, SIGSEGV) && !in_mask(mask, SIGBUS) && !in_mask(mask, SIGFPE);
}

static void signals_reach_the_program(void) {
    sigset_t before, set, after;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    cllm_init_thread_pool(3); /* started whatever the number of processors */
    CHECK(work(2) == expected);
    CHECK(threads_appear(2));
    /* valgrind and emulators keep the masks themselves: the system's files don't have them. */
    bool kept = getenv("RUN_THROUGH") || getenv("VALGRIND_LIB") ||
                strstr(getenv("LD_PRELOAD") ? getenv("LD_PRELOAD") : "", "vgpreload");
    if (!kept) {
        CHECK(library_threads(blocks_signals) == library_threads(is_name));
    }
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    for (int i = 1; i < 64; i++) CHECK(sigismember(&before, i) == sigismember(&after, i));
    /* The program waits for a signal that it blocks: no other thread takes it. */
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    kill(getpid(), SIGUSR1);
    struct timespec patience = {10, 0};
    CHECK(sigtimedwait(&set, NULL, &patience) == SIGUSR1);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    cllm_cleanup_thread_pool();
}

/* ---- Floating-point environment ---- */

static unsigned environment(void) {
#if defined __x86_64__
    return _mm_getcsr();
#else
    return (unsigned)fegetround() << 8 | (unsigned)fetestexcept(FE_ALL_EXCEPT);
#endif
}

/* What a callback found, and what it left. fegetround() alone would look at a register that no float of the
 * library goes through. */
static unsigned seen, left;

static bool look_at_rounding(const CLLMProgress *progress, void *unused) {
    (void)unused;
    seen = environment();
    if (progress->batch == 2) fesetround(FE_TOWARDZERO);
    left = environment();
    return true;
}

static void look_at_a_file(const CLLMFileInfo *info, void *unused) {
    (void)info, (void)unused;
    seen = environment();
    fesetround(FE_TOWARDZERO);
    left = environment();
}

static void rounding_of_the_caller(void) {
    static const int modes[] = {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO, FE_TONEAREST};
    for (int i = 0; i < 4; i++) {
        for (int threads = 1; threads <= 2; threads++) {
            fesetround(modes[i]);
            unsigned before = environment();
            uint64_t hash = work(threads);
            unsigned after = environment();
            int mode = fegetround();
            fesetround(FE_TONEAREST);
            CHECK(hash == expected);
            CHECK(mode == modes[i] && before == after);
        }
    }
}

static void exceptions_of_the_caller(void) {
    /* What was raised stays raised, and the library adds nothing. */
    feclearexcept(FE_ALL_EXCEPT);
    feraiseexcept(FE_DIVBYZERO);
    bool kept = fetestexcept(FE_DIVBYZERO); /* valgrind's processor keeps none */
    unsigned before = environment();
    CHECK(work(1) == expected);
    prime_log(-1.0), prime_exp(1e9), prime_exp(0.3);
    CHECK(environment() == before && fetestexcept(FE_ALL_EXCEPT) == (kept ? FE_DIVBYZERO : 0));
    feclearexcept(FE_ALL_EXCEPT);
    prime_log(-1.0), prime_exp(1e9), prime_exp(0.3), prime_sqrt(2.0);
    CHECK(fetestexcept(FE_ALL_EXCEPT) == 0);
#if defined __x86_64__
    /* With traps for all exceptions, and denormal numbers as zeros. */
    unsigned usual = _mm_getcsr();
    const unsigned settings[] = {0x0000, 0x9FC0};
    for (int i = 0; i < 2; i++) {
        _mm_setcsr(settings[i]);
        unsigned set = _mm_getcsr(); /* valgrind's processor has only the rounding mode */
        double tiny = prime_exp(-740.0);
        uint64_t hash = work(2);
        unsigned after = _mm_getcsr();
        _mm_setcsr(usual);
        CHECK(after == set && hash == expected && tiny > 0);
    }
#endif
}

static void callbacks_have_the_environment_of_the_program(void) {
    CLLMModel *model;
    CLLMTraining *training = prepare_small(&model, 7);
    cllm_set_progress_callback(training, look_at_rounding, NULL);
    fesetround(FE_UPWARD);
    unsigned set = environment();
    int steps = cllm_train_steps(training, 1, 2, NULL);
    CHECK(steps == 1 && seen == set && environment() == set);
    steps = cllm_train_steps(training, 1, 2, NULL);
    unsigned changed = environment(); /* by the callback, which is the program's code */
    CHECK(steps == 1 && seen == set && changed == left && left != set);
    fesetround(FE_TONEAREST);
    const char *path = in_scratch("described.cllm");
    CHECK(cllm_write_model(model, path) == 0);
    fesetround(FE_DOWNWARD);
    set = environment();
    int whole = cllm_describe_file(path, 0, look_at_a_file, NULL);
    changed = environment();
    fesetround(FE_TONEAREST);
    CHECK(whole == 0 && seen == set && changed == left && left != set);
    finish(training, model);
}

/* ---- Alternate signal stacks ---- */

/* A hash of the logits after 48 tokens, by 8-bit weights: as many positions as have instructions of
 * their own where the processor has them, which need room on alternate stacks. 0 where a call fails. */
static uint64_t logits_by_bytes(void) {
    CLLMConfig config = {23, 80, 2, 2, 96, 64, 0};
    CLLMModel *model = cllm_create_model_seeded(&config, 5);
    CLLMModel *small = cllm_quantize_model(model, 0);
    CLLMInference *inference = cllm_inference_init(small);
    cllm_forward(inference, tokens, 48);
    const float *logits = inference ? inference->logits : NULL;
    uint64_t hash = logits ? hash_of(logits, 23 * sizeof *logits, 14695981039346656037u) : 0;
    cllm_inference_cleanup(inference);
    cllm_free_model(small);
    cllm_free_model(model);
    return hash;
}

static volatile sig_atomic_t signals_counted;

static void count_a_signal(int signal) {
    (void)signal;
    signals_counted++;
}

/* Instead of a hash: the system itself wants a larger stack. */
enum { TOO_SMALL = 1 };

static bool set_alternate_stack(char *bytes, size_t size) {
    stack_t stack = {.ss_sp = bytes, .ss_size = size};
    return sigaltstack(&stack, NULL) == 0;
}

/* In a process of its own, for what the system grants is granted to all of it: logits_by_bytes() with
 * an alternate stack of `before` bytes (0: none); 0 unless afterwards one of 32 KiB is taken, on which a
 * signal is handled. */
static uint64_t with_alternate_stack(size_t before) {
    int ends[2];
    uint64_t result = 0;
    if (pipe(ends) != 0) return 0;
    pid_t child = fork();
    if (child == 0) {
        static char bytes[32 << 10];
        bool good = before == 0 || set_alternate_stack(bytes, before);
        result = good ? logits_by_bytes() : TOO_SMALL;
        struct sigaction action = {.sa_handler = count_a_signal, .sa_flags = SA_ONSTACK};
        if (!set_alternate_stack(bytes, sizeof bytes) || sigaction(SIGUSR1, &action, NULL) != 0 ||
            raise(SIGUSR1) != 0 || signals_counted != 1) {
            result = 0;
        }
        bool written = write(ends[1], &result, sizeof result) == sizeof result;
        _exit(written ? 0 : 1);
    }
    close(ends[1]);
    if (child < 0 || read(ends[0], &result, sizeof result) != sizeof result) result = 0;
    close(ends[0]);
    return child > 0 && waitpid(child, NULL, 0) == child ? result : 0;
}

static void alternate_stacks_change_nothing(void) {
    uint64_t none = with_alternate_stack(0);
    CHECK(none != 0);
    for (size_t size = 4 << 10; size <= 16 << 10; size *= 2) {
        uint64_t result = with_alternate_stack(size);
        CHECK(result == none || result == TOO_SMALL);
    }
}

/* ---- Stacks ---- */

static void *work_of_a_thread(void *result) {
    *(uint64_t *)result = work(2);
    return NULL;
}

static void small_stacks(void) {
    size_t least = SANITIZED ? 128 << 10 : PTHREAD_STACK_MIN + (8 << 10);
    const size_t sizes[] = {least, 32 << 10, 48 << 10, 64 << 10, 128 << 10, 256 << 10, 8 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        if (sizes[i] < least) continue;
        pthread_attr_t attributes;
        pthread_t thread;
        uint64_t result = 0;
        pthread_attr_init(&attributes);
        CHECK(pthread_attr_setstacksize(&attributes, sizes[i]) == 0);
        CHECK(pthread_create(&thread, &attributes, work_of_a_thread, &result) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
        pthread_attr_destroy(&attributes);
        CHECK(result == expected);
    }
}

static void many_threads_with_small_stacks(void) {
    enum { COUNT = 24 };
    pthread_t threads[COUNT];
    uint64_t results[COUNT] = {0};
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, SANITIZED ? 128 << 10 : 32 << 10);
    /* Four at a time: they share rand(), so that their models differ from run to run. */
    for (int i = 0; i < COUNT; i++) {
        CHECK(pthread_create(&threads[i], &attributes, work_of_a_thread, &results[i]) == 0);
        if (i % 4 == 3) {
            for (int j = i - 3; j <= i; j++) pthread_join(threads[j], NULL);
        }
    }
    pthread_attr_destroy(&attributes);
    for (int i = 0; i < COUNT; i++) CHECK(results[i] != 0);
}

static ucontext_t program, coroutine;
static uint64_t coroutine_result;

static bool leave_for_a_moment(const CLLMProgress *progress, void *unused) {
    (void)progress, (void)unused;
    swapcontext(&coroutine, &program); /* from inside of a call of the library */
    return true;
}

static void body_of_a_coroutine(void) {
    coroutine_result = work(2);
    CLLMModel *model;
    CLLMTraining *training = prepare_small(&model, 7);
    cllm_set_progress_callback(training, leave_for_a_moment, NULL);
    CHECK(cllm_train_steps(training, 2, 1, NULL) == 2);
    finish(training, model);
}

static void a_coroutine(void) {
    size_t size = SANITIZED ? 256 << 10 : 32 << 10;
    char *stack = malloc(size);
    getcontext(&coroutine);
    coroutine.uc_stack.ss_sp = stack;
    coroutine.uc_stack.ss_size = size;
    coroutine.uc_link = &program;
    makecontext(&coroutine, body_of_a_coroutine, 0);
    for (int i = 0; i < 3; i++) { /* two callbacks, then the end */
        swapcontext(&program, &coroutine);
        if (i < 2) CHECK(work(1) == expected); /* the thread works meanwhile */
    }
    CHECK(coroutine_result == expected);
    free(stack);
}

/* ---- The end of the threads ---- */

static void threads_end_and_start(void) {
    cllm_init_thread_pool(3);
    CHECK(work(2) == expected);
    CLLMModel *model, *other;
    CLLMTraining *training = prepare_small(&model, 7), *parallel = prepare_small(&other, 7);
    CHECK(cllm_train_steps(training, 2, 2, NULL) == 2);
    CHECK(threads_appear(2));
    CHECK(cllm_shutdown() == 0);
    CHECK(library_threads(is_name) == 0);
    CHECK(cllm_shutdown() == 0); /* nothing to do */
    CHECK(cllm_train_steps(training, 2, 2, NULL) == 2);
    CHECK(cllm_train_epoch_parallel(parallel) > 0);
    CHECK(work(2) == expected);
    cllm_cleanup_thread_pool();
    finish(training, model);
    finish(parallel, other);
}

static atomic_bool done;

static void *end_threads_again_and_again(void *unused) {
    while (!atomic_load(&done)) {
        cllm_shutdown();
        nanosleep(&(struct timespec){0, 200000}, NULL);
    }
    return unused;
}

static void threads_end_while_others_work(void) {
    pthread_t thread;
    atomic_store(&done, false);
    CHECK(pthread_create(&thread, NULL, end_threads_again_and_again, NULL) == 0);
    for (int i = 0; i < 10; i++) CHECK(work(2) == expected);
    atomic_store(&done, true);
    pthread_join(thread, NULL);
}

int main(void) {
    scratch_make();
    cllm_set_log_silent();
    for (uint32_t i = 0; i < 200; i++) tokens[i] = i * i % 23;
    expected = work(1);
    CHECK(expected != 0);
    RUN(signals_reach_the_program);
    RUN(rounding_of_the_caller);
    RUN(exceptions_of_the_caller);
    RUN(callbacks_have_the_environment_of_the_program);
    RUN(alternate_stacks_change_nothing);
    RUN(small_stacks);
    RUN(many_threads_with_small_stacks);
    RUN(a_coroutine);
    RUN(threads_end_and_start);
    RUN(threads_end_while_others_work);
    scratch_remove();
    return harness_report();
}
