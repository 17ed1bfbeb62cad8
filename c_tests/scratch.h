/* A folder for the files of a harness. Include it before every other header. */
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

static char scratch[] = "/tmp/cllm_harness_XXXXXX";

static inline void scratch_make(void) {
    if (!mkdtemp(scratch)) {
        perror(scratch);
        exit(2);
    }
}

/* The path of a file in the folder; four at a time. */
static inline const char *in_scratch(const char *name) {
    static char paths[4][256];
    static int next;
    char *path = paths[next++ % 4];
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
