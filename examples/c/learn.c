/* Learns a text, with the sizes and rates that the library's recipe chooses for it. A model that is there
 * already goes on learning; what it was taught before is best part of the new text, too.
 *
 *     cc learn.c $(pkg-config --cflags --libs cllm) -o learn
 *     ./learn model.cllm monday.log 60         # in 60 seconds
 *     ./learn model.cllm tuesday.log 20
 */
#include <stdio.h>
#include <stdlib.h>

#include "cllm_data_loader.h"
#include "cllm_ext.h"
#include "cllm_format.h"
#include "cllm_tokenizer.h"
#include "cllm_training.h"
#include "cllm_utils.h"

static long size_of(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) return -1;
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    fclose(file);
    return size;
}

/* A model of the recipe's sizes. */
static CLLMModel *new_model(const CLLMRecipe *r, const char *text) {
    CLLMTokenizer *tokenizer = r->tokenizer == CLLM_TOKENS_BYTES
        ? cllm_byte_tokenizer() : cllm_train_tokenizer_files(&text, 1, (uint32_t)r->vocab_size, NULL, NULL);
    CLLMConfig shape = {.vocab_size = cllm_get_vocab_size(tokenizer), .embedding_dim = (uint32_t)r->embedding_dim,
                        .num_layers = (uint32_t)r->num_layers, .num_heads = (uint32_t)r->num_heads,
                        .ff_dim = (uint32_t)r->ff_dim, .max_seq_len = (uint32_t)r->sequence_length};
    CLLMModel *model = cllm_create_modern_model(&shape, 1);
    cllm_model_set_vocab(model, tokenizer);
    cllm_free_tokenizer(tokenizer);
    return model;
}

/* Trains on the beginning of the text and measures on its end. The model gets the weights that were best
 * there, those from before included. */
static int train(CLLMModel *model, const CLLMRecipe *r, TokenDataset *data) {
    size_t held_out = data->num_tokens / 10;
    CLLMTrainingConfig config = {
        .learning_rate = r->learning_rate, .batch_size = r->batch_size, .sequence_length = r->sequence_length,
        .max_steps = r->steps, .warmup_steps = r->warmup_steps, .weight_decay = r->weight_decay,
        .gradient_clip = r->gradient_clip, .optimizer = "adamw", .lr_scheduler = "linear"};
    CLLMTrainingOptions options = {
        .struct_size = sizeof options, .seed = 1, .beta2 = r->beta2, .dropout = r->dropout > 0 ? r->dropout : 0,
        .shuffle = 1, .decay_to_zero = 1, .short_windows = r->short_windows > 0 ? r->short_windows : 0,
        .short_part = r->short_part};
    CLLMTraining *training = cllm_training_init(model, &config);
    if (cllm_training_set_options(training, &options) != 0) return -1;
    training->tokens = data->tokens; /* lent */
    training->num_tokens = data->num_tokens - held_out;
    const uint32_t *end = data->tokens + training->num_tokens;
    size_t measured = r->evaluate_tokens && r->evaluate_tokens < held_out ? (size_t)r->evaluate_tokens : held_out;

    int done = 1, empty = 0; /* a call ends with the epoch, and the one behind it trains nothing */
    double loss;
    while (done >= 0 && empty < 2 && cllm_training_evaluate(training, end, measured, 0, &loss) >= 0) {
        printf("step %d: %.3f nats a token\n", training->current_step, loss);
        int left = r->steps - training->current_step;
        if (left <= 0) break;
        done = cllm_train_steps(training, r->evaluate_every < left ? r->evaluate_every : left, 0, NULL);
        empty = done == 0 ? empty + 1 : 0;
    }
    int failed = training->current_step < r->steps || cllm_training_use_best(training) != 0;
    cllm_training_free(training);
    return failed ? -1 : 0;
}

int main(int argc, char **argv) {
    if (argc != 4) return fprintf(stderr, "usage: %s MODEL TEXT SECONDS\n", argv[0]), 2;
    long bytes = size_of(argv[2]);
    double seconds = atof(argv[3]), speed = cllm_measure_speed(0);
    if (bytes < 0) return perror(argv[2]), 1;

    CLLMRecipe asked = {.struct_size = sizeof asked};
    CLLMModel *model = NULL;
    if (size_of(argv[1]) >= 0) {
        if (!(model = cllm_read_model(argv[1]))) return 1;
        asked.vocab_size = (int)model->vocab_size;
        asked.embedding_dim = (int)model->embedding_dim;
        asked.num_layers = (int)model->num_layers;
        asked.num_heads = (int)model->header.num_heads;
        asked.sequence_length = (int)model->pos_encoding.max_length;
    }
    CLLMRecipe recipe = asked;
    int failed = cllm_recipe((uint64_t)(bytes - bytes / 10), seconds, speed, &recipe);
    if (failed == 0 && model) { /* a third of the rate of a new model, so that it forgets less */
        asked.learning_rate = recipe.learning_rate / 3;
        recipe = asked;
        failed = cllm_recipe((uint64_t)(bytes - bytes / 10), seconds, speed, &recipe);
    }
    if (failed) return 1;
    puts(recipe.text);
    if (!model) model = new_model(&recipe, argv[2]);

    CLLMTokenizer *tokenizer = cllm_model_tokenizer(model, 0);
    CLLMDataLoader *loader = cllm_data_loader_create(tokenizer);
    cllm_data_loader_load_file(loader, argv[2]);
    TokenDataset *data = cllm_data_loader_create_dataset(loader);
    failed = !data || train(model, &recipe, data) != 0 || cllm_write_model(model, argv[1]) != 0;

    if (data) cllm_token_dataset_free(data);
    cllm_data_loader_free(loader);
    cllm_free_tokenizer(tokenizer);
    cllm_free_model(model);
    return failed;
}
