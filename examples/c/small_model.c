/* A quarter of a model: the same one with 8-bit weights, and how near its predictions are.
 *
 *     cc small_model.c $(pkg-config --cflags --libs cllm) -o small_model
 *     ./small_model model.cllm small.cllm "once upon a time there was"
 */
#include <stdio.h>
#include <string.h>

#include "cllm_ext.h"
#include "cllm_format.h"
#include "cllm_inference.h"
#include "cllm_utils.h"

static long size_of(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) return -1;
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    fclose(file);
    return size;
}

static int rate(const char *name, const char *path, const char *text) {
    CLLMModel *model = cllm_map_model(path); /* floats stay in the file, 8-bit weights are read */
    CLLMInference *inference = cllm_inference_init(model);
    CLLMScore score = {.struct_size = sizeof score};
    int failed = cllm_score_text(inference, text, strlen(text), 0, &score);
    if (!failed)
        printf("%-6s %8ld bytes, %.4f nats per token\n", name, size_of(path), score.nats_per_token);
    cllm_inference_cleanup(inference);
    cllm_free_model(model);
    return failed;
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: %s MODEL SMALL TEXT\n", argv[0]);
        return 2;
    }
    CLLMModel *model = cllm_read_model(argv[1]);
    CLLMModel *small = cllm_quantize_model(model, 0);
    int failed = cllm_write_model(small, argv[2]); /* NULL: an error that was said already */
    cllm_free_model(small);
    cllm_free_model(model);
    return failed != 0 || rate("floats", argv[1], argv[3]) != 0 || rate("8 bits", argv[2], argv[3]) != 0;
}
