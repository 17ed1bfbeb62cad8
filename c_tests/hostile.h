/* Every exported function with hostile arguments: one child process for each. Included by the
 * generated hostile.c. */
#ifndef CLLM_HOSTILE_H
#define CLLM_HOSTILE_H

#include "hostile_world.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

/* After all calls of a function whose objects did not lie about the program's own memory. */
static void no_leaks(const char *function) {
#ifdef __SANITIZE_ADDRESS__
    snprintf(shared->call, sizeof shared->call, "%s", function);
    check(__lsan_do_recoverable_leak_check() == 0, "no memory is lost");
#else
    (void)function;
#endif
}

typedef struct {
    const char *name;
    void (*run)(void);
    int prints;
} Function;

static void child(const Function *f, size_t megabytes) {
    int out = open("stdout", O_CREAT | O_TRUNC | O_RDWR, 0666);
    if (out < 0 || dup2(out, 1) < 0) exit(3);
    struct rlimit limit = {megabytes << 20, megabytes << 20}, no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    if (megabytes && setrlimit(RLIMIT_AS, &limit) != 0) exit(3);
    cllm_set_log_silent();
    f->run();
    fflush(stdout);
    struct stat info;
    snprintf(shared->call, sizeof shared->call, "%s", f->name);
    if (!f->prints) check(fstat(out, &info) == 0 && info.st_size == 0, "nothing is printed");
    exit(0);
}

static int run_all(const Function *functions, size_t count, const char *only) {
    /* Limits of memory (0: none, for a sanitizer has its own) and of time for a call; functions
     * that are too slow where everything is (valgrind). */
    const char *memory = getenv("HOSTILE_MEGABYTES"), *wait_for = getenv("HOSTILE_SECONDS");
    const char *skipped = getenv("HOSTILE_SKIP");
    size_t megabytes = memory ? strtoul(memory, NULL, 10) : 1536;
    unsigned calls = 0, checks = 0, failed = 0, crashed = 0;
    if (wait_for) seconds = (unsigned)atoi(wait_for);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    scratch_make();
    if (shared == MAP_FAILED || chdir(scratch) != 0) return 3;
    pid_t writer = fork();
    int status = 0;
    if (writer == 0) {
        write_files();
        exit(0);
    }
    waitpid(writer, &status, 0);
    if (status != 0) return 3;
    for (size_t i = 0; i < count; i++) {
        if (only && strcmp(only, functions[i].name) != 0) continue;
        if (skipped && strstr(skipped, functions[i].name)) continue;
        memset(shared, 0, sizeof *shared);
        fflush(NULL);
        pid_t pid = fork();
        if (pid == 0) child(&functions[i], megabytes);
        waitpid(pid, &status, 0);
        calls += shared->calls;
        checks += shared->checks;
        failed += shared->failed;
        if (status != 0) {
            crashed++;
            fprintf(stderr, "%s: %s %d\n", shared->call,
                    WIFSIGNALED(status) ? "ended by signal" : "exit status",
                    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        }
    }
    if (chdir("/") != 0 || scratch_remove() != 0) crashed++;
    printf("%zu functions, %u hostile calls, %u checks of their results\n", count, calls, checks);
    /* A call that came back is a check passed. */
    return print_counts(calls + checks - failed, failed + crashed);
}

#endif
