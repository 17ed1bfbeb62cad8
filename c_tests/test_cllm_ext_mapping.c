/* cllm_ext.h: models that stay in their files. */
#include "scratch.h"
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>

#include "cllm_ext.h"
#include "cllm_format.h"
#include "cllm_inference.h"
#include "cllm_training.h"
#include "cllm_utils.h"

enum { VOCAB = 60, DIM = 64, IDS = 200 };

static uint32_t ids[IDS];

static CLLMModel *new_model(uint64_t seed, bool modern) {
    CLLMConfig shape = {.vocab_size = VOCAB, .embedding_dim = DIM, .num_layers = 2, .num_heads = 4,
                        .ff_dim = 150, .max_seq_len = 32};
    CLLMModel *model = modern ? cllm_create_modern_model(&shape, seed) : cllm_create_model_seeded(&shape, seed);
    if (!model) {
        fprintf(stderr, "%s\n", cllm_last_error());
        exit(2);
    }
    snprintf(model->tokens[7].token_str, sizeof model->tokens[7].token_str, "seven");
    snprintf(model->header.model_name, sizeof model->header.model_name, "mapped");
    for (int i = 0; i < IDS; i++) ids[i] = (uint32_t)(i * i + 3) % VOCAB;
    return model;
}

static uint64_t hash_of(const void *bytes, size_t size, uint64_t hash) {
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ ((const unsigned char *)bytes)[i]) * 1099511628211u;
    }
    return hash;
}

/* What a model computes: logits, a text, a loss. 0 where a call fails. */
static uint64_t results(CLLMModel *model) {
    CLLMInference *inference = cllm_inference_init(model);
    if (!inference) return 0;
    cllm_set_seed(inference, 3);
    cllm_set_max_tokens(inference, 8);
    cllm_clear_error();
    cllm_forward(inference, ids, 20);
    uint64_t hash = hash_of(inference->logits, VOCAB * sizeof(float), 14695981039346656037u);
    char text[300];
    double loss = 0;
    bool good = *cllm_last_error() == '\0' && cllm_generate(inference, "seven", text, sizeof text) > 0 &&
                cllm_evaluate(model, ids, IDS, 32, 0, &loss, NULL) == 0;
    hash = hash_of(text, good ? strlen(text) : 0, hash);
    hash = hash_of(&loss, sizeof loss, hash);
    cllm_inference_cleanup(inference);
    return good ? hash : 0;
}

static bool fails_with(bool failed, const char *reason) {
    return failed && strstr(cllm_last_error(), reason) != NULL;
}

/* Whether the file is among the mappings of this process; as far as the system tells. */
static bool is_in_maps(const char *path) {
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[1024];
    bool found = false;
    while (maps && fgets(line, sizeof line, maps)) found |= strstr(line, path) != NULL;
    if (maps) fclose(maps);
    return found;
}

static void the_same_results_from_the_file(void) {
    for (int modern = 0; modern < 2; modern++) {
        CLLMModel *model = new_model(5, modern);
        const char *path = in_scratch("model.cllm");
        CHECK(cllm_write_model(model, path) == 0);
        CLLMModel *mapped = cllm_map_model(path);
        CHECK(mapped && cllm_model_is_mapped(mapped) == 1 && cllm_model_is_mapped(model) == 0);
        CHECK(cllm_model_is_quantized(mapped) == 0);
        CHECK(!mapped->weights && mapped->num_weights == 0 && !mapped->embeddings.embeddings);
        CHECK(strcmp(mapped->header.model_name, "mapped") == 0);
        CHECK(strcmp(mapped->tokens[7].token_str, "seven") == 0);
        CHECK(cllm_validate_model(mapped) == 1);
        uint64_t want = results(model);
        CHECK(want != 0 && results(mapped) == want);
        CHECK(cllm_verify_model(mapped) == 0);
        CHECK(fails_with(cllm_verify_model(model) == -1, "in memory"));
        FILE *maps = fopen("/proc/self/maps", "r");
        if (maps) {
            fclose(maps);
            CHECK(is_in_maps("model.cllm"));
        }
        /* A copy, and one in 8 bits. */
        const char *copy = in_scratch("copy.cllm");
        CHECK(cllm_write_model(mapped, copy) == 0);
        CLLMModel *read = cllm_read_model(copy);
        CHECK(read && results(read) == want && read->num_weights == model->num_weights &&
              memcmp(read->weights, model->weights, model->num_weights * sizeof(float)) == 0);
        CLLMModel *small = cllm_quantize_model(mapped, 0), *other = cllm_quantize_model(model, 0);
        CHECK(small && other && results(small) != 0 && results(small) == results(other));
        cllm_free_model(read);
        cllm_free_model(small);
        cllm_free_model(other);
        cllm_free_model(mapped);
        CHECK(!is_in_maps("model.cllm"));
        cllm_free_model(model);
    }
}

static void what_needs_the_weights_refuses(void) {
    CLLMModel *model = new_model(6, false);
    const char *path = in_scratch("model.cllm");
    CHECK(cllm_write_model(model, path) == 0);
    CLLMModel *mapped = cllm_map_model(path);
    CLLMTrainingConfig config = {0};
    config.learning_rate = 0.01f;
    config.batch_size = 1;
    config.sequence_length = 8;
    CHECK(fails_with(cllm_training_init(mapped, &config) == NULL, "cllm_read_model()"));
    CHECK(fails_with(cllm_expand_model(mapped) == NULL, "cllm_read_model()"));
    CHECK(fails_with(cllm_map_model(NULL) == NULL, "filename"));
    CHECK(cllm_model_is_mapped(NULL) == -1 && cllm_verify_model(NULL) == -1);
    CHECK(fails_with(cllm_map_model(in_scratch("missing")) == NULL, "missing"));
    CHECK(fails_with(cllm_map_model(scratch) == NULL, "ordinary file"));
    cllm_free_model(mapped);
    cllm_free_model(model);
}

static void files_that_are_read_instead(void) {
    CLLMModel *model = new_model(7, false);
    CLLMModel *small = cllm_quantize_model(model, 1);
    const char *path = in_scratch("small.cllm");
    CHECK(cllm_write_model(small, path) == 0);
    CLLMModel *read = cllm_map_model(path);
    CHECK(read && cllm_model_is_mapped(read) == 0 && cllm_model_is_quantized(read) == 1);
    CHECK(results(read) == results(small));
    cllm_free_model(read);
    read = cllm_map_model("tests/data/v1/model_v37_d24_l3.cllm");
    CHECK(read && cllm_model_is_mapped(read) == 0 && read->num_weights > 0);
    cllm_free_model(read);
    cllm_free_model(small);
    cllm_free_model(model);
}

static void another_file_in_its_place(void) {
    CLLMModel *model = new_model(8, false), *other = new_model(9, false);
    const char *path = in_scratch("model.cllm");
    CHECK(cllm_write_model(model, path) == 0);
    CLLMModel *mapped = cllm_map_model(path);
    uint64_t want = results(model), theirs = results(other);
    CHECK(want != theirs && results(mapped) == want);
    CHECK(cllm_write_model(other, path) == 0);
    CLLMModel *newer = cllm_map_model(path);
    CHECK(results(mapped) == want && results(newer) == theirs);
    CHECK(remove(path) == 0);
    CHECK(results(mapped) == want && results(newer) == theirs && cllm_verify_model(newer) == 0);
    cllm_free_model(newer);
    cllm_free_model(mapped);
    cllm_free_model(model);
    cllm_free_model(other);
}

static void damage(void) {
    CLLMModel *model = new_model(10, false);
    const char *path = in_scratch("model.cllm");
    struct stat status;
    CHECK(cllm_write_model(model, path) == 0 && stat(path, &status) == 0);
    /* A byte of the weights: mapped all the same, found when asked for. */
    int file = open(path, O_RDWR);
    unsigned char byte = 0;
    CHECK(pread(file, &byte, 1, 5000) == 1);
    byte ^= 1;
    CHECK(pwrite(file, &byte, 1, 5000) == 1);
    CLLMModel *mapped = cllm_map_model(path);
    CHECK(mapped != NULL);
    CHECK(fails_with(cllm_verify_model(mapped) == -1, "checksum"));
    /* Cut in its place: the next call says so. */
    CHECK(ftruncate(file, status.st_size / 2) == 0);
    CHECK(results(mapped) == 0 && strstr(cllm_last_error(), "was cut"));
    CHECK(fails_with(cllm_verify_model(mapped) == -1, "was cut"));
    CHECK(fails_with(cllm_write_model(mapped, in_scratch("copy.cllm")) == -1, "was cut"));
    CHECK(fails_with(cllm_quantize_model(mapped, 1) == NULL, "was cut"));
    cllm_free_model(mapped);
    /* Cut before: like a file that is read. */
    long lengths[] = {0, 100, 1576, 2000, status.st_size / 2, status.st_size - 1};
    CHECK(cllm_write_model(model, path) == 0);
    close(file);
    for (int i = 5; i >= 0; i--) {
        CHECK(truncate(path, lengths[i]) == 0);
        CHECK(fails_with(cllm_map_model(path) == NULL, path));
    }
    cllm_free_model(model);
}

/* Two processes, one of which goes on when the other is gone. They are two before the library starts a thread: to
 * valgrind, what one that has not begun yet would free is lost in the other process. */
static void two_processes(void) {
    CLLMModel *model = new_model(11, true);
    const char *path = in_scratch("model.cllm");
    CHECK(cllm_write_model(model, path) == 0);
    CLLMModel *mapped = cllm_map_model(path);
    pid_t child = fork();
    uint64_t want = results(model);
    if (child == 0) {
        CLLMModel *own = cllm_map_model(path);
        bool good = own && results(own) == want && results(mapped) == want;
        cllm_free_model(own);
        cllm_free_model(mapped);
        cllm_free_model(model); /* valgrind looks at this process, too */
        _exit(good ? 0 : 1);
    }
    CHECK(results(mapped) == want);
    int status = -1;
    CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
    CHECK(results(mapped) == want);
    cllm_free_model(mapped);
    cllm_free_model(model);
}

int main(void) {
    scratch_make();
    cllm_set_log_silent();
    RUN(two_processes);
    RUN(the_same_results_from_the_file);
    RUN(what_needs_the_weights_refuses);
    RUN(files_that_are_read_instead);
    RUN(another_file_in_its_place);
    RUN(damage);
    scratch_remove();
    return harness_report();
}
