/* train_model as a single process: there are no other ranks. */
#include "train_model.h"

#include <stdlib.h>

const char command[] = "train_model";

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

void count_exchanges(bool on) {
    (void)on;
}

void wait_for_first(void) {
}

void compare_with_first(const char *option, const char *value) {
    (void)option;
    (void)value;
}

Data share_data(Options *options, CLLMTokenizer *given, Preparation *preparation, Data data) {
    (void)options;
    (void)given;
    (void)preparation;
    return data;
}

static int no_exchange(int to, const void *send, size_t send_bytes, int from, void *receive,
                       size_t receive_bytes, void *user_data) {
    (void)to, (void)send, (void)send_bytes, (void)from, (void)receive, (void)receive_bytes, (void)user_data;
    return -1; /* with whom? */
}

/* Sums that are rounded are so without other ranks, too. */
void connect_ranks(CLLMTraining *training, const Options *options) {
    CLLMCommunicator one = {.struct_size = sizeof one, .ranks = 1, .exchange = no_exchange,
                            .bfloat16_sums = 1};
    if (options->bfloat16_sums && cllm_training_set_communicator(training, &one) != 0) {
        fail("can't set the precision of the sums: %s", library_error());
    }
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
