/* Every exported function with good arguments, while each counted point inside it fails in turn by
 * refused memory and by a panic. Included by the generated fault_sweep.c, which is linked to a
 * library with the feature fault-injection. */
#ifndef CLLM_FAULT_SWEEP_H
#define CLLM_FAULT_SWEEP_H

/* Some calls are left out, and with them what makes their arguments. */
#pragma GCC diagnostic ignored "-Wunused-function"
#include "hostile_world.h"
#include <malloc.h>

void cllm_fault_arm(uint64_t n, uint32_t fault);
uint64_t cllm_fault_disarm(void);

enum { NONE, MEMORY, PANIC };

typedef struct {
    const char *name;
    void (*run)(void);
    /* Takes long, or writes much: only its first points. */
    int slow;
    /* Has nothing that could fail. */
    int unguarded;
} Function;

/* What run() is to do, and what it met. */
static uint64_t point;
static uint32_t fault;
static uint64_t points_met;
static int reported_error;

static void armed(void) { cllm_fault_arm(point, fault); }

static void disarmed(const char *function) {
    points_met = cllm_fault_disarm();
    reported_error = reported(function);
}

/* At the entry of the call nothing can have happened yet. */
static int at_entry(void) { return point == 1; }

/* Bytes of malloc in use, the library's and this program's; the text of the last error is among
 * them, so it is made the same one first. */
static size_t in_use(const Function *f) {
    another_error(f->name);
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}

static void run(const Function *f, uint64_t n, uint32_t kind) {
    point = n;
    fault = kind;
    f->run();
}

/* Whether memory is lost, with a fault at point n or without one (0). What is lost is lost each time;
 * a table that grew once, a block that malloc rounded to another size, and what a thread has in its
 * hands at the moment are not. */
static int loses(const Function *f, uint64_t n, uint32_t kind) {
    size_t before = in_use(f);
    for (int i = 0; i < 16; i++) {
        if (n > 0) run(f, n, kind);
        run(f, 0, NONE);
        size_t after = in_use(f);
        if (after <= before) return 0;
        before = after;
    }
    return 1;
}

static void child_of(const Function *f, uint64_t *faults) {
    char label[200];
    /* Freed objects are kept back for a while, so the first ones seem to be lost. */
    for (int i = 0; i < (f->slow ? 1 : 70); i++) run(f, 0, NONE);
    check(!reported_error, "good arguments are taken");
    run(f, 0, NONE);
    uint64_t last = points_met;
    if (!f->slow) check(!loses(f, 0, NONE), "memory comes back to what it was");
    check(last > 0 || f->unguarded, "the function is guarded");
    if (f->slow && last > 8) last = 8;
    for (uint64_t n = 1; n <= last; n++) {
        for (uint32_t kind = MEMORY; kind <= PANIC; kind++) {
            run(f, n, kind);
            ++*faults;
            check(n > 1 || reported_error, "a fault at the entry is reported");
            if (f->slow && kind == MEMORY) continue; /* the next time comes after the panic */
            run(f, 0, NONE);
            check(!reported_error, "it works the next time");
            if (f->slow) continue;
            snprintf(label, sizeof label, "%s loses no memory at point %llu of %llu",
                     kind == PANIC ? "a panic" : "refused memory", (unsigned long long)n,
                     (unsigned long long)last);
            check(!loses(f, n, kind), label);
        }
    }
}

static int sweep(const Function *functions, size_t count, const char *only) {
    struct {
        Shared shared;
        uint64_t faults;
    } *both = mmap(NULL, sizeof *both, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    scratch_make();
    if (both == MAP_FAILED || chdir(scratch) != 0) return 3;
    shared = &both->shared;
    if (getenv("HOSTILE_SECONDS")) seconds = (unsigned)atoi(getenv("HOSTILE_SECONDS"));
    uint64_t faults = 0;
    unsigned checks = 0, failed = 0;
    for (size_t i = 0; i < count; i++) {
        const Function *f = &functions[i];
        if (only && strcmp(only, f->name) != 0) continue;
        memset(both, 0, sizeof *both);
        fflush(NULL);
        pid_t pid = fork();
        if (pid == 0) {
            if (!freopen("stdout", "w", stdout)) exit(3);
            cllm_set_log_silent();
            write_files();
            child_of(f, &both->faults);
            exit(0);
        }
        int status;
        waitpid(pid, &status, 0);
        checks += shared->checks;
        failed += shared->failed;
        faults += both->faults;
        if (status != 0) {
            failed++;
            fprintf(stderr, "%s: %s %d\n", shared->call,
                    WIFSIGNALED(status) ? "ended by signal" : "exit status",
                    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        }
    }
    if (chdir("/") != 0 || scratch_remove() != 0) failed++;
    fprintf(stderr, "%zu functions, %llu faults injected\n", only ? 1 : count,
            (unsigned long long)faults);
    return print_counts(checks - failed, failed);
}

#endif
