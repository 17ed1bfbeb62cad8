/* Takes the library's messages into the program's own log, and asks for the reason of a failure.
 *
 *     cc log_callback.c $(pkg-config --cflags --libs cllm) -o log_callback
 *     ./log_callback
 */
#include <stdio.h>

#include "cllm_ext.h"
#include "cllm_format.h"

typedef struct Log {
    FILE *file;
    int messages;
} Log;

static void to_log(int level, const char *message, void *user_data) {
    static const char *const names[] = {"error", "warning", "info"};
    Log *log = user_data;
    fprintf(log->file, "[%s] %s\n", level >= 0 && level < 3 ? names[level] : "?", message);
    log->messages++;
}

int main(void) {
    printf("cllm %s\n", cllm_version());
    Log log = {stdout, 0};
    cllm_set_log_callback(to_log, &log);
    CLLMModel *model = cllm_read_model("there-is-no-such-file.cllm"); /* logged */
    if (!model) printf("last error: %s\n", cllm_last_error());

    cllm_set_log_silent();
    cllm_read_model("nor-this-one.cllm"); /* not logged, but remembered */
    printf("last error: %s\n", cllm_last_error());

    cllm_set_log_callback(NULL, NULL); /* errors and warnings go to stderr again */
    return !(model == NULL && log.messages == 1);
}
