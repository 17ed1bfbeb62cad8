/* A few macros for the C harnesses: each TEST is a function, CHECK counts, the last line of the
 * output is "N passed, N failed". */
#ifndef CLLM_TEST_HARNESS_H
#define CLLM_TEST_HARNESS_H

#include "counts.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int harness_passed;
static int harness_failed;

#define CHECK(condition) \
    do { \
        if (condition) { \
            harness_passed++; \
        } else { \
            harness_failed++; \
            fprintf(stderr, "%s:%d: %s: failed: %s\n", __FILE__, __LINE__, __func__, #condition); \
        } \
    } while (0)

/* |got - want| <= tolerance, printing both when it is not so; NaN never passes. */
#define CHECK_NEAR(got, want, tolerance) \
    do { \
        double harness_got = (got), harness_want = (want); \
        if (fabs(harness_got - harness_want) <= (tolerance)) { \
            harness_passed++; \
        } else { \
            harness_failed++; \
            fprintf(stderr, "%s:%d: %s: %s is %.9g, expected %.9g\n", __FILE__, __LINE__, __func__, \
                    #got, harness_got, harness_want); \
        } \
    } while (0)

#define RUN(test) (test)()

static inline int harness_report(void) {
    return print_counts((unsigned)harness_passed, (unsigned)harness_failed);
}

#endif
