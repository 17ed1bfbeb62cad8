/* Makes, writes and frees a model with cllm.h alone. */
#include "cllm.h"
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
    CLLMConfig config;
    memset(&config, 0, sizeof(config));
    config.vocab_size = 30;
    config.embedding_dim = 16;
    config.num_layers = 2;
    config.num_heads = 4;
    config.ff_dim = 64;
    config.max_seq_len = 8;
    CLLMModel *model = cllm_create_model(&config);
    if (!model) return 1;
    printf("%u layers\n", model->num_layers);
    printf("written: %d\n", cllm_write_model(model, argc > 1 ? argv[1] : "model.cllm"));
    cllm_free(model);
    return 0;
}
