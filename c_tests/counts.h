/* The last line of every test program: what run.sh adds up. */
#ifndef CLLM_TEST_COUNTS_H
#define CLLM_TEST_COUNTS_H

#include <stdio.h>

/* Prints it; the exit status of the program. */
static inline int print_counts(unsigned passed, unsigned failed) {
    printf("%u passed, %u failed\n", passed, failed);
    return failed != 0;
}

#endif
