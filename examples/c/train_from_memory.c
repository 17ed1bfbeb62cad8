/* Trains a model on a text in memory: subwords, model, training with progress, file.
 *
 *     cc train_from_memory.c $(pkg-config --cflags --libs cllm) -o train_from_memory
 *     ./train_from_memory model.cllm
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cllm_ext.h"
#include "cllm_format.h"
#include "cllm_inference.h"
#include "cllm_tokenizer.h"
#include "cllm_training.h"
#include "cllm_utils.h"

static const char text[] =
    "the cat sat on the mat . the dog sat on the log . the cat saw the dog . "
    "the dog saw the cat . the cat ran from the dog . the dog ran to the cat . "
    "on the mat sat the cat . on the log sat the dog . ";

typedef struct Goal {
    float loss;
    bool reached;
} Goal;

/* Called after each batch; returns false to stop. */
static bool watch(const CLLMProgress *p, void *user_data) {
    Goal *goal = user_data;
    if (p->batch == p->batches_per_epoch && p->epoch % 10 == 9)
        printf("epoch %d: loss %.3f, %.0f tokens/s\n", p->epoch + 1, p->loss, p->tokens_per_second);
    goal->reached = p->loss < goal->loss;
    return !goal->reached;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: %s MODEL\n", argv[0]);
        return 2;
    }
    /* 261 tokens spell any text; the others are what this one repeats. */
    CLLMTokenizer *tokenizer = cllm_train_tokenizer(text, strlen(text), 290, NULL, NULL);
    size_t count;
    uint32_t *ids = cllm_text_to_tokens(tokenizer, text, strlen(text), false, 0, &count);
    if (!ids) return 1;
    printf("%zu bytes, %zu tokens of %u\n", strlen(text), count, cllm_get_vocab_size(tokenizer));

    CLLMConfig sizes = {.vocab_size = cllm_get_vocab_size(tokenizer), .embedding_dim = 32,
                        .num_layers = 2, .num_heads = 2, .ff_dim = 64, .max_seq_len = 16};
    CLLMModel *model = cllm_create_modern_model(&sizes, 1); /* the same seed, the same model */
    cllm_model_set_vocab(model, tokenizer);

    CLLMTrainingConfig config = {.learning_rate = 0.01f, .batch_size = 2, .sequence_length = 8,
                                 .gradient_clip = 1.0f, .optimizer = "adamw"};
    CLLMTraining *training = cllm_training_init(model, &config);
    if (!training) return 1;
    training->tokens = ids; /* lent: stays ours */
    training->num_tokens = count;
    Goal goal = {.loss = 0.05f};
    cllm_set_progress_callback(training, watch, &goal);

    int failed = 0;
    while (!goal.reached && training->current_epoch < 100 && !failed)
        failed = cllm_train_steps(training, 0, 0, NULL) < 0; /* to the epoch's end, on all CPUs */
    failed = failed || cllm_write_model(model, argv[1]) != 0;
    printf("step %d: loss %.3f; the model is in %s\n", training->current_step, training->current_loss,
           argv[1]);

    CLLMInference *inference = cllm_inference_init(model);
    char out[256];
    cllm_set_greedy(inference, true);
    cllm_set_max_tokens(inference, 12);
    failed = failed || cllm_generate(inference, "the cat", out, sizeof out) < 0;
    puts(out);

    cllm_inference_cleanup(inference);
    cllm_training_free(training);
    cllm_free_model(model);
    free(ids);
    cllm_free_tokenizer(tokenizer);
    return failed;
}
