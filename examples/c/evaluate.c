/* How well a model knows a text: mean loss and perplexity, with the words it does not know.
 *
 *     cc evaluate.c $(pkg-config --cflags --libs cllm) -o evaluate
 *     ./evaluate model.cllm vocab.txt held_out.txt
 */
#include <stdio.h>
#include <stdlib.h>

#include "cllm_data_loader.h"
#include "cllm_ext.h"
#include "cllm_format.h"
#include "cllm_tokenizer.h"

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: %s MODEL VOCAB TEXT\n", argv[0]);
        return 2;
    }
    CLLMModel *model = cllm_read_model(argv[1]);
    if (!model) return 1;
    CLLMTokenizer *tokenizer = cllm_create_tokenizer((uint32_t)model->vocab_size);
    CLLMDataLoader *loader = cllm_data_loader_create(tokenizer);
    if (!cllm_load_vocab(tokenizer, argv[2]) || !cllm_data_loader_load_file(loader, argv[3])) return 1;
    TokenDataset *text = cllm_data_loader_create_dataset(loader);

    size_t unknown = 0;
    for (size_t i = 0; i < text->num_tokens; i++) unknown += text->tokens[i] == 1; /* <UNK> */

    double loss, perplexity;
    int length = model->pos_encoding.max_length ? (int)model->pos_encoding.max_length : 64;
    int failed = cllm_evaluate(model, text->tokens, text->num_tokens, length, 0, &loss, &perplexity);
    if (!failed)
        printf("%zu words, %zu unknown: loss %.3f nats per word, perplexity %.1f\n",
               text->num_tokens, unknown, loss, perplexity);

    cllm_token_dataset_free(text);
    cllm_data_loader_free(loader);
    cllm_free_tokenizer(tokenizer);
    cllm_free(model);
    return failed != 0;
}
