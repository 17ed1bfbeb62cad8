/* train_model as a single process: there are no other ranks. */
#include "train_model.h"

#include <stdlib.h>

void join_ranks(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
}

int rank_count(void) {
    return 1;
}

bool first_rank(void) {
    return true;
}

int rank_threads(int asked) {
    return asked;
}

void rank_is_told_to_end(void) {
}

void take_from_first(void *value, size_t size) {
    (void)value;
    (void)size;
}

char *text_of_first(char *text) {
    return text;
}

bool any_rank(bool here) {
    return here;
}

void connect_ranks(CLLMTraining *training, const Options *options) {
    (void)training;
    (void)options;
}

void tell_ranks_folder(const char *folder, const char *resumed) {
    (void)folder;
    (void)resumed;
}

void describe_ranks(const Options *options) {
    (void)options;
}

void report_ranks(double seconds) {
    (void)seconds;
}

void leave_ranks(void) {
}

void leave_all_ranks(int status) {
    exit(status);
}
