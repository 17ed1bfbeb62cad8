/* Habits of programs written for the original: headers by path, fields read and written directly,
 * tokens lent by pointer, library memory released with free(). Linked with an old link line by
 * run.sh as well. */
#include "../include/cllm.h"
#include "../include/cllm_data_loader.h"
#include "../include/cllm_inference.h"
#include "../include/cllm_tokenizer.h"
#include "../include/cllm_training.h"
#include "../include/cllm_utils.h"
#include <cllm_vocab_builder.h>

#include "harness.h"

static void dataset_to_training(void) {
    CLLMTokenizer *tokenizer = cllm_create_tokenizer(40);
    CLLMDataLoader *loader = cllm_data_loader_create(tokenizer);
    for (int i = 0; i < 20; i++)
        CHECK(cllm_data_loader_add_document(loader, "int main ( void ) { return 0 ; }") == 1);
    cllm_data_loader_build_vocab(loader);
    TokenDataset *dataset = cllm_data_loader_create_dataset(loader);
    CHECK(dataset->num_tokens == 200);

    CLLMConfig config = {0};
    config.vocab_size = tokenizer->vocab_size;
    config.embedding_dim = 16;
    config.num_layers = 1;
    config.num_heads = 2;
    config.ff_dim = 64;
    config.max_seq_len = 32;
    CLLMModel *model = cllm_create_model(&config);
    CHECK(strcmp(model->header.magic, "CLLM") == 0); /* compared as a C string */
    for (uint64_t i = 0; i < model->vocab_size; i++)
        strncpy(model->tokens[i].token_str, tokenizer->vocab[i], 63);

    CLLMTrainingConfig train_config = {0};
    train_config.num_epochs = 3;
    train_config.batch_size = 2;
    train_config.sequence_length = 8;
    train_config.learning_rate = 0.02f;
    train_config.max_steps = 1000;
    strcpy(train_config.optimizer, "adam");
    CLLMTraining *training = cllm_training_init(model, &train_config);
    training->tokens = dataset->tokens;
    training->num_tokens = dataset->num_tokens;
    training->total_batches = (int)(dataset->num_tokens / 16);
    float first = 0, loss = 0;
    for (int epoch = 0; epoch < 12; epoch++) {
        training->current_epoch = epoch;
        loss = cllm_train_epoch(training);
        if (epoch == 0) first = loss;
        if (training->current_step >= train_config.max_steps) break;
    }
    CHECK(training->current_epoch == 12 && loss < first);
    CHECK(training->config.learning_rate > 0);
    float *state = calloc(2 * model->vocab_size * model->embedding_dim, sizeof(float));
    free(training->optimizer_state); /* a program's own */
    training->optimizer_state = state;
    training->store_attention_weights = 0;
    CHECK(cllm_train_epoch(training) > 0);
    training->tokens = NULL;
    cllm_training_cleanup(training);
    cllm_token_dataset_free(dataset);
    cllm_data_loader_free(loader);

    CLLMInference *inference = cllm_inference_init(model);
    inference->temperature = 0.0f;
    inference->max_tokens = 5;
    char output[256];
    CHECK(cllm_generate(inference, "int main (", output, sizeof output) == 5);
    CHECK(strcmp(output, "int main ( void ) { return 0") == 0);
    free(inference->logits); /* of another size, by the program */
    inference->logits = malloc(model->vocab_size * sizeof(float));
    CHECK(cllm_generate(inference, "{ return", output, sizeof output) == 5);
    cllm_inference_cleanup(inference);

    uint32_t count = 0;
    uint32_t *ids = cllm_tokenizer_encode(tokenizer, "return 0 ;", &count);
    CHECK(ids && count == 3);
    char *text = cllm_tokenizer_decode(tokenizer, ids, count);
    CHECK(text && strcmp(text, "return 0 ;") == 0);
    free(ids);
    free(text);
    cllm_free_tokenizer(tokenizer);
    free(model->tokens); /* a field that programs replace */
    model->tokens = NULL;
    cllm_free_model(model);
}

int main(void) {
    RUN(dataset_to_training);
    return harness_report();
}
