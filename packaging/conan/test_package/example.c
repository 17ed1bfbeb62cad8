/* Trains nothing: whether headers and library are found, and belong together. */
#include <stdio.h>
#include <string.h>

#include <cllm/cllm_ext.h>
#include "cllm_format.h"
#include "cllm_inference.h"
#include "cllm_utils.h"

int main(void) {
    CLLMConfig shape = {.vocab_size = 20, .embedding_dim = 8, .num_layers = 1, .num_heads = 2,
                        .ff_dim = 16, .max_seq_len = 8};
    CLLMModel *model = cllm_create_model_seeded(&shape, 1);
    CLLMInference *inference = cllm_inference_init(model);
    IndexProb next[3];
    const uint32_t prompt[] = {5, 6};
    int found = inference ? cllm_next_tokens(inference, prompt, 2, next, 3) : -1;
    printf("libcllm %s: %d likely tokens\n", cllm_version(), found);
    cllm_inference_cleanup(inference);
    cllm_free_model(model);
    return found != 3;
}
