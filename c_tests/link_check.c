/* Linked with an old link line and with the static library: a model can be made, used and freed. */
#include <stdlib.h>

#include "cllm.h"
#include "cllm_format.h"
#include "cllm_utils.h"

int main(void) {
    CLLMConfig config = {.vocab_size = 10, .embedding_dim = 8, .num_layers = 1, .num_heads = 2,
                         .ff_dim = 32, .max_seq_len = 4, .dropout = 0.0f};
    CLLMModel *model = cllm_create_model(&config);
    int bad = model == NULL || cllm_validate_model(model) != 1;
    cllm_free_model(model);
    return bad ? EXIT_FAILURE : EXIT_SUCCESS;
}
