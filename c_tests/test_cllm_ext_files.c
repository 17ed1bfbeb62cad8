/* cllm_ext.h: files and folders, seeds of models, configurations of checkpoints; and that what can be
 * trained can be saved. */
#define _GNU_SOURCE /* MAP_NORESERVE */
#include "scratch.h"
#include "harness.h"

#include <limits.h>
#include <sys/mman.h>
#include "cllm_ext.h"
#include "cllm_format.h"
#include "cllm_production.h"
#include "cllm_training.h"
#include "cllm_training_mt.h"
#include "cllm_utils.h"

static void put(const char *name, const char *text, size_t size) {
    FILE *file = fopen(in_scratch(name), "wb");
    if (!file || fwrite(text, 1, size, file) != size || fclose(file) != 0) {
        perror(name);
        exit(2);
    }
}

static bool holds(const char *name, const char *text) {
    char content[100] = "";
    FILE *file = fopen(in_scratch(name), "rb");
    size_t size = file ? fread(content, 1, sizeof content - 1, file) : 0;
    if (file) fclose(file);
    return file && size == strlen(text) && memcmp(content, text, size) == 0;
}

static void files_are_written_whole(void) {
    struct stat st;
    CHECK(cllm_write_file(in_scratch("a"), "one", 3) == 0 && holds("a", "one"));
    chmod(in_scratch("a"), 0640);
    CHECK(symlink("a", in_scratch("link")) == 0);
    CHECK(cllm_write_file(in_scratch("link"), "two\0", 3) == 0 && holds("a", "two"));
    CHECK(lstat(in_scratch("link"), &st) == 0 && S_ISLNK(st.st_mode));
    CHECK(stat(in_scratch("a"), &st) == 0 && (st.st_mode & 0777) == 0640);
    CHECK(cllm_write_file(in_scratch("a"), NULL, 0) == 0 && holds("a", ""));
    CHECK(cllm_write_file(in_scratch("a"), NULL, 1) == -1 && holds("a", ""));
    CHECK(cllm_write_file(NULL, "x", 1) == -1);
    CHECK(cllm_write_file(in_scratch("no/folder"), "x", 1) == -1);
    CHECK(strstr(cllm_last_error(), "no/folder"));
    CHECK(cllm_write_file(scratch, "x", 1) == -1);
    CHECK(cllm_write_file("/dev/null", "x", 1) == -1);
}

typedef struct Seen {
    int files, left_out, most;
    char paths[8][300], reasons[8][100];
} Seen;

static bool see(const char *path, const char *left_out, void *user_data) {
    Seen *seen = user_data;
    int n = seen->files + seen->left_out;
    if (n < 8) {
        snprintf(seen->paths[n], sizeof seen->paths[n], "%s", path + strlen(scratch) + 1);
        snprintf(seen->reasons[n], sizeof seen->reasons[n], "%s", left_out ? left_out : "");
    }
    seen->files += left_out == NULL;
    seen->left_out += left_out != NULL;
    return seen->files + seen->left_out != seen->most;
}

static void texts_and_what_is_left_out(void) {
    const char *vocabulary = "<PAD>\t0\n<UNK>\t0\n<BOS>\t0\n<EOS>\t0\n<MASK>\t0\nthe\t1\n";
    mkdir(in_scratch("tree"), 0777);
    mkdir(in_scratch("tree/.git"), 0777);
    put("tree/.git/config", "token", 5);
    put("tree/b", "text", 4);
    put("tree/a", "text", 4);
    put("tree/vocab", vocabulary, strlen(vocabulary));
    put("tree/picture", "a\0b", 3);
    Seen seen = {0};
    CHECK(cllm_text_files(in_scratch("tree"), see, &seen) == 0);
    CHECK(seen.files == 2 && seen.left_out == 3);
    const char *order[] = {"tree/a", "tree/b", "tree/.git", "tree/picture", "tree/vocab"};
    const char *reasons[] = {"", "", "is hidden", "is binary", "is a vocabulary"};
    for (int i = 0; i < 5; i++) {
        CHECK(strcmp(seen.paths[i], order[i]) == 0);
        CHECK(strcmp(seen.reasons[i], reasons[i]) == 0);
    }
    seen = (Seen){.most = 1};
    CHECK(cllm_text_files(in_scratch("tree"), see, &seen) == 0 && seen.files == 1);
    CHECK(cllm_text_files(in_scratch("nowhere"), see, &seen) == -1);
    CHECK(cllm_text_files(in_scratch("tree/a"), see, &seen) == -1);
    CHECK(cllm_text_files(in_scratch("tree"), NULL, NULL) == -1);
    CHECK(cllm_text_files(NULL, see, &seen) == -1 && seen.files == 1);
}

static const CLLMConfig shape = {.vocab_size = 11, .embedding_dim = 4, .num_layers = 2,
                                 .num_heads = 2, .ff_dim = 8, .max_seq_len = 8};

static void seeds_of_models(void) {
    CLLMModel *models[4] = {
        cllm_create_model_seeded(&shape, 0), cllm_create_model_seeded(&shape, 1),
        cllm_create_model_seeded(&shape, UINT64_MAX), cllm_create_model_seeded(&shape, 0)};
    size_t bytes = 4 * (size_t)models[0]->num_weights;
    for (int i = 0; i < 3; i++)
        CHECK((memcmp(models[i]->weights, models[3]->weights, bytes) == 0) == (i == 0));
    CHECK(memcmp(models[1]->weights, models[2]->weights, bytes) != 0);
    /* rand() takes no part. */
    srand(5);
    int expected = rand();
    srand(5);
    cllm_free_model(cllm_create_model_seeded(&shape, 3));
    CHECK(rand() == expected);
    for (int i = 0; i < 4; i++) cllm_free_model(models[i]);
    CHECK(cllm_create_model_seeded(NULL, 1) == NULL);
    CLLMConfig wrong = shape;
    wrong.num_heads = 3;
    CHECK(cllm_create_model_seeded(&wrong, 1) == NULL);
}

static CLLMTraining *training_of(CLLMModel *model) {
    CLLMTrainingConfig config = {.learning_rate = 0.01f, .batch_size = 1, .sequence_length = 4,
                                 .warmup_steps = 7, .max_steps = 70, .lr_scheduler = "cosine"};
    return cllm_training_init(model, &config);
}

static void configurations_of_checkpoints(void) {
    static uint32_t tokens[50];
    CLLMTrainingConfig saved = {.warmup_steps = -5};
    CLLMModel *model = cllm_create_model_seeded(&shape, 1);
    CLLMTraining *training = training_of(model);
    training->tokens = tokens;
    training->num_tokens = 50;
    CHECK(cllm_checkpoint_config(training, &saved) == 0 && saved.warmup_steps == -5);
    CHECK(cllm_train_steps(training, 3, 1, NULL) == 3);
    float rate = training->config.learning_rate;
    CHECK(cllm_save_checkpoint(training, in_scratch("c")) == 0);
    CHECK(save_checkpoint(training, in_scratch("p")) == 0);
    for (int kind = 0; kind < 2; kind++) {
        CLLMTraining *other = training_of(model);
        other->config.warmup_steps = 1;
        CHECK((kind ? load_checkpoint(other, in_scratch("p"))
                    : cllm_load_checkpoint(other, in_scratch("c"))) == 0);
        CHECK(cllm_checkpoint_config(other, &saved) == 1);
        CHECK(saved.warmup_steps == 7 && saved.max_steps == 70 && saved.learning_rate == rate);
        CHECK(saved.initial_learning_rate == 0.01f && strcmp(saved.lr_scheduler, "cosine") == 0);
        CHECK(other->config.warmup_steps == 1);
        cllm_training_free(other);
    }
    CHECK(cllm_checkpoint_config(training, NULL) == -1);
    CHECK(cllm_checkpoint_config(NULL, &saved) == -1);
    cllm_training_free(training);
    cllm_free_model(model);
}

/* Both files of a checkpoint are there or none is, also where the second has no room to appear. */
static void checkpoints_appear_whole(void) {
    CLLMModel *model = cllm_create_model_seeded(&shape, 1);
    CLLMTraining *training = training_of(model);
    mkdir(in_scratch("whole.state"), 0777); /* stands where the state should be */
    CHECK(cllm_save_checkpoint(training, in_scratch("whole")) == -1);
    CHECK(access(in_scratch("whole"), F_OK) != 0);
    mkdir(in_scratch("half"), 0777); /* stands where the model should be */
    CHECK(cllm_save_checkpoint(training, in_scratch("half")) == -1);
    CHECK(access(in_scratch("half.state"), F_OK) != 0);
    mkdir(in_scratch("production.model"), 0777);
    CHECK(save_checkpoint(training, in_scratch("production")) == -1);
    CHECK(access(in_scratch("production"), F_OK) != 0);
    cllm_training_free(training);
    cllm_free_model(model);
}

/* Sizes that files of the original can't have. */
static void what_trains_can_be_saved(void) {
    const CLLMConfig large[] = {
        {.vocab_size = 10, .embedding_dim = 4, .num_layers = 101, .num_heads = 1, .ff_dim = 4, .max_seq_len = 8},
        {.vocab_size = 1000001, .embedding_dim = 2, .num_layers = 1, .num_heads = 1, .ff_dim = 4, .max_seq_len = 8},
    };
    int most = getenv("CLLM_TEST_LARGE") ? 2 : 1;
    for (int i = 0; i < most; i++) {
        CLLMModel *model = cllm_create_model_seeded(&large[i], 1);
        CLLMTraining *training = model ? training_of(model) : NULL;
        CHECK(training);
        if (!training) continue;
        CHECK(cllm_save_checkpoint(training, in_scratch("large")) == 0);
        CHECK(cllm_load_checkpoint(training, in_scratch("large")) == 0);
        CLLMModel *back = cllm_read_model(in_scratch("large"));
        CHECK(back && back->num_layers == large[i].num_layers &&
              back->vocab_size == large[i].vocab_size && back->num_weights == model->num_weights);
        CHECK(back && !memcmp(back->weights, model->weights, 4 * (size_t)model->num_weights));
        cllm_free_model(back);
        cllm_training_free(training);
        cllm_free_model(model);
        remove(in_scratch("large"));
        remove(in_scratch("large.state"));
    }
}

/* A text that an int can't count. Its pages are all the same one. */
static void texts_beyond_an_int(void) {
    const size_t batch = 32 * 64, start = ((size_t)1 << 31) - 3 * batch, length = start + 8 * batch + 1;
    const CLLMConfig small = {.vocab_size = 5, .embedding_dim = 4, .num_layers = 1, .num_heads = 1,
                              .ff_dim = 4, .max_seq_len = 64};
    CLLMTrainingConfig config = {.learning_rate = 1e-3f, .batch_size = 32, .sequence_length = 64};
    uint32_t *tokens = mmap(NULL, length * sizeof *tokens, PROT_READ,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CLLMModel *model = cllm_create_model_seeded(&small, 1);
    CLLMTraining *training = cllm_training_init(model, &config);
    if (tokens != MAP_FAILED) { /* valgrind and the sanitizers may not give so much */
        training->tokens = tokens;
        training->num_tokens = length;
        training->current_batch_offset = (int)start;
        CHECK(cllm_train_steps(training, 5, 1, NULL) == 5);
        CHECK(training->current_batch_offset == INT_MAX);
        CHECK(cllm_save_checkpoint(training, in_scratch("far")) == 0);
        CHECK(cllm_train_steps(training, 0, 1, NULL) == 3);
        size_t bytes = (size_t)model->num_weights * sizeof(float);
        float *through = malloc(bytes);
        memcpy(through, model->weights, bytes);
        CHECK(cllm_train_steps(training, 0, 1, NULL) == 0);
        CHECK(training->current_epoch == 1 && training->current_batch_offset == 0);
        /* A run that goes on from there is the same one. */
        CHECK(cllm_load_checkpoint(training, in_scratch("far")) == 0);
        CHECK(training->current_epoch == 0 && training->current_batch_offset == INT_MAX);
        CHECK(cllm_train_steps(training, 0, 1, NULL) == 3);
        CHECK(memcmp(through, model->weights, bytes) == 0);
        free(through);
        CHECK(cllm_load_checkpoint(training, in_scratch("far")) == 0);
        uint32_t *inputs = malloc(batch * sizeof *inputs), *targets = malloc(batch * sizeof *targets);
        int batches = 0;
        while (batches < 10 && cllm_get_batch(training, inputs, targets) > 0) batches++;
        CHECK(batches == 3 && training->current_epoch == 1);
        /* An object of the program's own knows only the field. */
        CLLMTraining own = {.config = config, .tokens = tokens, .num_tokens = length};
        own.current_batch_offset = (int)start;
        for (batches = 0; batches < 10 && cllm_get_batch(&own, inputs, targets) > 0;) batches++;
        CHECK(batches == 2 && own.current_epoch == 1);
        free(inputs), free(targets);
        training->tokens = NULL;
        munmap(tokens, length * sizeof *tokens);
    }
    cllm_training_free(training);
    cllm_free_model(model);
}

static int warnings;

static void count_warnings(int level, const char *message, void *user_data) {
    (void)user_data;
    warnings += level == CLLM_LOG_WARNING && strstr(message, "less than a batch") != NULL;
}

static void too_little_to_train_is_said(void) {
    uint32_t tokens[4] = {1, 2, 3, 4};
    CLLMModel *model = cllm_create_model_seeded(&shape, 1);
    CLLMTraining *training = training_of(model);
    training->tokens = tokens;
    training->num_tokens = 4;
    cllm_set_log_callback(count_warnings, NULL);
    CHECK(cllm_train_epoch_mt(training, 1) == 0 && warnings == 1);
    CHECK(cllm_train_epoch(training) == 0 && warnings == 2);
    cllm_set_log_silent();
    training->tokens = NULL;
    cllm_training_free(training);
    cllm_free_model(model);
}

int main(void) {
    cllm_set_log_silent();
    scratch_make();
    RUN(files_are_written_whole);
    RUN(texts_and_what_is_left_out);
    RUN(seeds_of_models);
    RUN(configurations_of_checkpoints);
    RUN(checkpoints_appear_whole);
    RUN(what_trains_can_be_saved);
    RUN(texts_beyond_an_int);
    RUN(too_little_to_train_is_said);
    scratch_remove();
    return harness_report();
}
