/* Asks for the longer model: its last fields are zero in a model of the library, stay as the program
 * leaves them, and are in no file. */
#define CLLM_MODEL_EXTENDED
#include "cllm_format.h"
#include "cllm_inference.h"
#include "cllm_training.h"
#include "cllm_utils.h"
#include <stdio.h>
#include <string.h>

#define TAIL 1952

static int zeros(const CLLMModel *model) {
    const char *bytes = (const char *)model;
    for (size_t i = TAIL; i < sizeof *model; i++)
        if (bytes[i]) return 0;
    return 1;
}

int main(int argc, char **argv) {
    const char *path = argc > 1 ? argv[1] : "model.cllm";
    CLLMConfig config = {20, 8, 1, 2, 32, 16, 0.0f};
    CLLMModel *model = cllm_create_model(&config);
    printf("%d bytes, zero: %d\n", (int)sizeof *model, zeros(model));
    if (model->training_config.batch_size == 0) {
        model->training_config.batch_size = 1;
        model->training_config.sequence_length = 8;
        model->training_config.learning_rate = 0.01f;
    }
    strcpy(model->model_name, "small");
    model->target_epochs = 3;
    memset(model->queue_directory, 'q', sizeof model->queue_directory);
    CLLMModel before = *model;

    CLLMTrainingConfig how = {0};
    how.num_epochs = 1;
    how.batch_size = model->training_config.batch_size;
    how.sequence_length = model->training_config.sequence_length;
    how.learning_rate = model->training_config.learning_rate;
    CLLMTraining *training = cllm_training_init(model, &how);
    uint32_t tokens[17] = {5, 6, 7, 8, 9, 5, 6, 7, 8, 9, 5, 6, 7, 8, 9, 5, 6};
    training->tokens = tokens;
    training->num_tokens = 17;
    training->total_batches = 2;
    printf("trained: %d\n", cllm_train_epoch(training) > 0);
    training->tokens = NULL;
    cllm_training_cleanup(training);
    cllm_init_model(model);
    printf("written: %d\n", cllm_write_model(model, path));
    printf("kept: %d\n", memcmp((char *)model + TAIL, (char *)&before + TAIL, sizeof before - TAIL) == 0);
    cllm_free_model(model);

    model = cllm_read_model(path);
    printf("read: zero: %d\n", zeros(model));
    cllm_free_model(model);
    printf("%d bytes are estimated for the struct\n",
           (int)(cllm_estimate_memory(&config) - 20 * 136 - 152 - 16 * 16 * 8
                 - 4 * (20 * 8 + 3 * 64 + 2 * 8 * 32 + 5 * 8 + 32)));

    /* Of the program's own: what lies behind it is not the library's either. */
    CLLMModel own;
    float table[6] = {1, 2, 3, 4, 5, 6};
    memset(&own, 0, TAIL);
    memset((char *)&own + TAIL, 0x5a, sizeof own - TAIL);
    own.vocab_size = 3;
    own.embedding_dim = 2;
    own.embeddings.embeddings = table;
    cllm_init_model(&own);
    cllm_print_model_info(&own);
    int same = 1;
    for (size_t i = TAIL; i < sizeof own; i++)
        same &= ((char *)&own)[i] == 0x5a;
    printf("untouched: %d\n", same);
    return 0;
}
