/* Suggests how a line goes on: the three likeliest next words, with their probabilities.
 *
 *     cc next_words.c $(pkg-config --cflags --libs cllm) -o next_words
 *     ./next_words model.cllm "error: connection"
 */
#include <stdio.h>

#include "cllm_ext.h"
#include "cllm_format.h"
#include "cllm_inference.h"

/* A word comes with the space before it. */
static bool suggest(const char *word, size_t length, float probability, void *line) {
    return printf("%4.1f %%  %s%.*s\n", 100 * probability, (const char *)line, (int)length, word) > 0;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: %s MODEL LINE\n", argv[0]);
        return 2;
    }
    CLLMModel *model = cllm_read_model(argv[1]);
    CLLMInference *inference = cllm_inference_init(model);
    int found = cllm_next_words(inference, argv[2], 3, suggest, argv[2]);
    cllm_inference_cleanup(inference);
    cllm_free(model);
    return found < 0;
}
