/* Continues a text with a trained model.
 *
 *     cc generate.c $(pkg-config --cflags --libs cllm) -o generate
 *     ./generate model.cllm "once upon a" [SEED]
 */
#include <stdio.h>
#include <stdlib.h>

#include "cllm_ext.h"
#include "cllm_format.h"
#include "cllm_inference.h"

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: %s MODEL PROMPT [SEED]\n", argv[0]);
        return 2;
    }
    CLLMModel *model = cllm_read_model(argv[1]);
    CLLMInference *inference = cllm_inference_init(model); /* NULL is refused, not followed */
    if (!inference) return 1;                              /* the reason is on stderr already */

    cllm_set_seed(inference, argc > 3 ? strtoull(argv[3], NULL, 10) : 42);
    cllm_set_temperature(inference, 0.8f);
    cllm_set_top_k(inference, 40);
    cllm_set_max_tokens(inference, 20);

    char text[4096];
    int words = cllm_generate(inference, argv[2], text, sizeof text);
    if (words >= 0) puts(text);

    cllm_inference_cleanup(inference); /* before its model */
    cllm_free(model);
    return words < 0;
}
