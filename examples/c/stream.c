/* Shows a text while it is generated, stops at the end of a sentence, keeps where it stood in a
 * file, and goes on from there in another context, as another process could.
 *
 *     cc stream.c $(pkg-config --cflags --libs cllm) -o stream
 *     ./stream model.cllm "once upon a" stream.state
 */
#include <stdio.h>
#include <string.h>

#include "cllm_ext.h"
#include "cllm_format.h"
#include "cllm_inference.h"

typedef struct Reader {
    int words, most;
} Reader;

/* Gets each word with the space before it; not NUL-terminated. */
static bool show(const char *piece, size_t length, uint32_t token, void *user_data) {
    Reader *reader = user_data;
    (void)token;
    fwrite(piece, 1, length, stdout);
    fflush(stdout);
    bool sentence_ends = length > 0 && strchr(".!?", piece[length - 1]);
    return ++reader->words < reader->most && !sentence_ends;
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: %s MODEL PROMPT STATE_FILE\n", argv[0]);
        return 2;
    }
    CLLMModel *model = cllm_read_model(argv[1]);
    CLLMInference *first = cllm_inference_init(model);
    CLLMInference *second = cllm_inference_init(model);
    if (!first || !second) return 1;

    cllm_set_seed(first, 7);
    cllm_set_max_tokens(first, 40);
    Reader reader = {0, 10};
    fputs(argv[2], stdout);
    int failed = cllm_generate_stream(first, argv[2], show, &reader) < 0 ||
                 cllm_inference_save_state(first, argv[3]) != 0;

    reader.words = 0; /* settings, generator and sequence come from the file */
    failed = failed || cllm_inference_load_state(second, argv[3]) != 0 ||
             cllm_continue_stream(second, show, &reader) < 0;
    putchar('\n');

    cllm_inference_cleanup(first);
    cllm_inference_cleanup(second);
    cllm_free(model);
    return failed;
}
