/* A folder for the files of a test. Include it before every other header. */
#ifndef CLLM_TEST_SCRATCH_H
#define CLLM_TEST_SCRATCH_H

#if !defined _XOPEN_SOURCE && !defined _GNU_SOURCE
#define _XOPEN_SOURCE 700
#endif
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char scratch[200];

static inline void scratch_make_in(const char *parent) {
    snprintf(scratch, sizeof scratch, "%s/cllm_XXXXXX", parent);
    if (!mkdtemp(scratch)) {
        perror(scratch);
        exit(2);
    }
}

static inline void scratch_make(void) {
    const char *parent = getenv("TMPDIR");
    scratch_make_in(parent && *parent ? parent : "/tmp");
}

/* The path of a file in the folder (NAME_MAX is 255); eight are valid at once. */
static inline const char *in_scratch(const char *name) {
    static char paths[8][sizeof scratch + 1 + 255];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", scratch, name);
    return path;
}

static inline int scratch_remove_one(const char *path, const struct stat *st, int flag,
                                     struct FTW *ftw) {
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

/* Removes the folder with all that is in it; 0, or -1. */
static inline int scratch_remove(void) {
    return nftw(scratch, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0 ? 0 : -1;
}

#endif
