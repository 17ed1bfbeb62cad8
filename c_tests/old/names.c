/* For the link lines: trains, and takes functions from what were three libraries. */
#include "cllm_training.h"
#include "cllm_utils.h"
#include "prime_float_math.h"
#include <stdio.h>

int main(void) {
    CLLMConfig config = {20, 8, 1, 2, 32, 16, 0.0f};
    CLLMModel *model = cllm_create_model(&config);
    CLLMTrainingConfig how = {0};
    how.num_epochs = 1;
    how.batch_size = 1;
    how.sequence_length = 8;
    how.learning_rate = 0.01f;
    CLLMTraining *training = cllm_training_init(model, &how);
    uint32_t tokens[17] = {5, 6, 7, 8, 9, 5, 6, 7, 8, 9, 5, 6, 7, 8, 9, 5, 6};
    training->tokens = tokens;
    training->num_tokens = 17;
    training->total_batches = 2;
    printf("loss %s, e^0 = %.1f\n", cllm_train_epoch(training) > 0 ? "positive" : "0", prime_exp(0));
    training->tokens = NULL;
    cllm_training_cleanup(training);
    cllm_free_model(model);
    return 0;
}
