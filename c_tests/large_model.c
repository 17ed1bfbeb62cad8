/* Models whose files are larger than 4 GiB: made and saved, read, mapped, trained and resumed, each in a
 * process of its own whose memory is looked at. Usage: large_model make|read|map|train|resume FILE LAYERS;
 * a layer is 192 MiB of weights. Prints "name value" lines for large.sh. */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cllm.h"
#include "cllm_ext.h"
#include "cllm_format.h"
#include "cllm_inference.h"
#include "cllm_training.h"
#include "cllm_utils.h"

enum { WIDTH = 2048, CONTEXT = 16 };

static void require(int good, const char *what) {
    if (!good) {
        fprintf(stderr, "%s: %s\n", what, cllm_last_error());
        exit(1);
    }
}

/* KiB of a line of /proc/self/status. */
static long memory(const char *name) {
    char line[256];
    long kib = -1;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file)) {
        if (strncmp(line, name, strlen(name)) == 0) kib = strtol(line + strlen(name) + 1, NULL, 10);
    }
    if (file) fclose(file);
    return kib;
}

static CLLMConfig shape(int layers) {
    return (CLLMConfig){.vocab_size = 64, .embedding_dim = WIDTH, .num_layers = (uint32_t)layers,
                        .num_heads = 16, .ff_dim = 4 * WIDTH, .max_seq_len = CONTEXT};
}

static void print_sum(const CLLMModel *model) {
    uint64_t sum = 14695981039346656037u;
    const float *weights = model->weights;
    for (uint64_t i = 0; i < model->num_weights; i++) {
        uint32_t bits;
        memcpy(&bits, weights + i, sizeof bits);
        sum = (sum ^ bits) * 1099511628211u;
    }
    printf("sum %016" PRIx64 "\n", sum);
}

/* What the model thinks of a few ids: all of its matrices take part. */
static void print_loss(const CLLMModel *model) {
    uint32_t ids[CONTEXT];
    double loss;
    for (uint32_t i = 0; i < CONTEXT; i++) ids[i] = i * i % 61;
    require(cllm_evaluate((CLLMModel *)model, ids, CONTEXT, CONTEXT, 0, &loss, NULL) == 0, "evaluate");
    printf("loss %.17g\n", loss);
}

static CLLMTraining *begin_training(CLLMModel *model) {
    CLLMTrainingConfig config = {.learning_rate = 1e-3f, .batch_size = 1, .optimizer = "adamw",
                                       .sequence_length = CONTEXT, .num_epochs = 1, .max_steps = 8};
    CLLMTraining *training = cllm_training_init(model, &config);
    require(training != NULL, "training");
    size_t count = 4 * CONTEXT + 1;
    training->tokens = malloc(count * sizeof *training->tokens);
    require(training->tokens != NULL, "tokens");
    for (size_t i = 0; i < count; i++) training->tokens[i] = (uint32_t)(i * i % 61);
    training->num_tokens = count;
    return training;
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    const char *command = argv[1], *path = argv[2];
    const CLLMConfig config = shape(atoi(argv[3]));
    CLLMModel *model = NULL;
    CLLMTraining *training = NULL;
    if (strcmp(command, "read") == 0) {
        require((model = cllm_read_model(path)) != NULL, "read");
    } else if (strcmp(command, "map") == 0) {
        require((model = cllm_map_model(path)) != NULL, "map");
        printf("mapped %d\n", cllm_model_is_mapped(model));
        printf("anonymous %ld\n", memory("RssAnon"));
        require(cllm_verify_model(model) == 0, "verify");
    } else {
        require((model = cllm_create_modern_model(&config, 1)) != NULL, "create");
    }
    if (model->weights) printf("weights %" PRIu64 "\n", model->num_weights);
    if (strcmp(command, "make") == 0) {
        long before = memory("VmHWM");
        require(cllm_write_model(model, path) == 0, "save");
        printf("saving %ld\n", memory("VmHWM") - before);
    } else if (strcmp(command, "train") == 0) {
        training = begin_training(model);
        require(cllm_train_steps(training, 1, 0, NULL) == 1, "step");
        long before = memory("VmHWM");
        require(cllm_save_checkpoint(training, path) == 0, "checkpoint");
        printf("saving %ld\n", memory("VmHWM") - before);
        require(cllm_train_steps(training, 1, 0, NULL) == 1, "second step");
    } else if (strcmp(command, "resume") == 0) {
        training = begin_training(model);
        require(cllm_load_checkpoint(training, path) == 0, "resume");
        require(cllm_train_steps(training, 1, 0, NULL) == 1, "step behind it");
    }
    if (model->weights) print_sum(model); /* those of a mapped model lie in the file */
    print_loss(model);
    printf("peak %ld\n", memory("VmHWM"));
    cllm_training_free(training);
    cllm_free_model(model);
    return 0;
}
