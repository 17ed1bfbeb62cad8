/* Catches what a call prints to stdout. Include it before every other header. */
#ifndef CLLM_TEST_CAPTURE_H
#define CLLM_TEST_CAPTURE_H

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int capture_saved = -1;
static FILE *capture_file;
static char capture_text[65536];

/* From here on, stdout goes to a temporary file. */
static inline void capture_start(void) {
    fflush(stdout);
    capture_saved = dup(1);
    capture_file = tmpfile();
    if (capture_saved < 0 || !capture_file || dup2(fileno(capture_file), 1) < 0) {
        perror("capture");
        exit(2);
    }
}

/* Gives stdout back; returns what was printed since the start, until the next one. */
static inline const char *capture_end(void) {
    fflush(stdout);
    dup2(capture_saved, 1);
    close(capture_saved);
    rewind(capture_file);
    size_t n = fread(capture_text, 1, sizeof capture_text - 1, capture_file);
    capture_text[n] = '\0';
    fclose(capture_file);
    return capture_text;
}

#endif
