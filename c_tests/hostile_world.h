/* The objects that the hostile sweep passes to functions, made when a call first needs one and
 * dropped after it, and the machinery around a call. For hostile.h and fault_sweep.h. */
#ifndef CLLM_HOSTILE_WORLD_H
#define CLLM_HOSTILE_WORLD_H

#define _GNU_SOURCE
#include "scratch.h"
#include "counts.h"
#include <errno.h>
#include <fcntl.h>
#include <float.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ai/cllm_hierarchical_training.h>
#include <ai/cllm_optimizer.h>
#include <cllm.h>
#include <cllm_batch.h>
#include <cllm_crystalline_training.h>
#include <cllm_data_loader.h>
#include <cllm_ext.h>
#include <cllm_format.h>
#include <cllm_fp16.h>
#include <cllm_inference.h>
#include <cllm_metrics.h>
#include <cllm_model_manager.h>
#include <cllm_production.h>
#include <cllm_simd_utils.h>
#include <cllm_tokenizer.h>
#include <cllm_train_complete.h>
#include <cllm_training.h>
#include <cllm_training_mt.h>
#include <cllm_training_parallel.h>
#include <cllm_training_threaded.h>
#include <cllm_utils.h>
#include <cllm_vocab_builder.h>
#include <prime_float_math.h>
#include <prime_types.h>

/* What the parent sees of a child, also of one that crashed. */
typedef struct {
    char call[256];
    unsigned calls, checks, failed;
} Shared;

static Shared *shared;
static unsigned seconds = 60;

/* --- objects -------------------------------------------------------------------------------- */

enum { V = 16, D = 8, L = 2, H = 2, FF = 16, S = 8, B = 2, T = 4, ROOM = 256, BUFFERS = 24 };

static struct {
    CLLMModel *model;
    CLLMInference *inference;
    CLLMTraining *training;
    CLLMTokenizer *tokenizer;
    CLLMDataLoader *loader;
    TokenDataset *dataset;
    CLLMTexts *texts;
    CLLMTokenFile *token_file;
    CLLMBatch *batch;
    CLLMBatchIterator *iterator;
    ThreadedTrainingSystem *system;
    HierarchicalTrainingSystem *hierarchy;
    CLLMMetrics *live_metrics;
    ValidationSet *validation;
    EarlyStoppingState *stopping;
    LRScheduler *scheduler;
    TrainingMetrics *metrics;
    CLLMConfig *config;
    OptimizerState *optimizer;
    OptimizerConfig *optimizer_config;
    AttentionLayer *attention;
    FeedForwardLayer *feedforward;
    CLLMLayerNorm *norm;
    PositionalEncoding *positions;
    uint32_t *ids;
    int managed;
    float *parameters;
} w;

/* The arrays of a call, and what they held before it. */
static struct { void *now, *before; size_t size; } buffers[BUFFERS];
static int buffer_count;

static void *need(void *p) {
    if (!p) {
        fprintf(stderr, "hostile: no memory for the test itself\n");
        exit(3);
    }
    return p;
}

static void *buffer(const void *init, size_t size) {
    if (buffer_count == BUFFERS) exit(3);
    buffers[buffer_count].now = need(malloc(size));
    buffers[buffer_count].before = need(malloc(size));
    memcpy(buffers[buffer_count].now, init, size);
    memcpy(buffers[buffer_count].before, init, size);
    buffers[buffer_count].size = size;
    return buffers[buffer_count++].now;
}

/* Whether a call wrote none of its arrays. */
static int untouched(void) {
    for (int i = 0; i < buffer_count; i++)
        if (memcmp(buffers[i].now, buffers[i].before, buffers[i].size) != 0) return 0;
    return 1;
}

#define BUFFER(name, type, value) \
    static type *name(void) { \
        type init[ROOM]; \
        for (int i = 0; i < ROOM; i++) init[i] = (type)(value); \
        return buffer(init, sizeof init); \
    }
BUFFER(floats, float, 0.25 + 0.01 * (i % 7) - 0.02 * (i % 5))
BUFFER(doubles, double, 0.25 + 0.01 * i)
BUFFER(ids, uint32_t, 5 + i % 7)
BUFFER(halves, uint16_t, 0x3c00 + i)
BUFFER(ints, int, i % 12)
BUFFER(primes, uint64_t, 2 * i + 3)
BUFFER(bytes, uint8_t, 3 * i)
BUFFER(sizes, size_t, i)
BUFFER(bools, bool, i % 2)

static CLLMScore *score(void) {
    CLLMScore init = {.struct_size = sizeof init};
    return buffer(&init, sizeof init);
}

static CLLMTrainingOptions *training_options(void) {
    CLLMTrainingOptions init = {.struct_size = sizeof init, .seed = 7, .shuffle = 1};
    return buffer(&init, sizeof init);
}

/* Of a rank that reaches nobody. */
static int no_exchange(int to, const void *send, size_t send_bytes, int from, void *receive,
                       size_t receive_bytes, void *user) {
    (void)to, (void)send, (void)send_bytes, (void)from, (void)receive, (void)receive_bytes, (void)user;
    return 1;
}

static CLLMCommunicator *communicator(void) {
    CLLMCommunicator init = {.struct_size = sizeof init, .rank = 1, .ranks = 2, .exchange = no_exchange};
    return buffer(&init, sizeof init);
}

static CLLMRecipe *recipe(void) {
    CLLMRecipe init = {.struct_size = sizeof init, .epochs = 1};
    return buffer(&init, sizeof init);
}

static IndexProb *choices(void) {
    static const IndexProb init[ROOM];
    return buffer(init, sizeof init);
}

static const char *const *paths(void) {
    static const char *const init[ROOM] = {"text.txt", "texts"};
    return buffer(init, sizeof init);
}

static char *chars(void) {
    static const char init[4096] = "xxxxxxxx";
    return buffer(init, sizeof init);
}


static ThreadMetrics **entries(void) {
    static ThreadMetrics *const init[MAX_TRACKED_THREADS];
    return buffer(init, sizeof init);
}

static const char *const WORDS[] = {"the", "cat", "sat", "on", "a", "mat", "and", "dog"};

static CLLMModel *model(void) {
    if (w.model) return w.model;
    CLLMConfig config = {.vocab_size = V, .embedding_dim = D, .num_layers = L, .num_heads = H,
                         .ff_dim = FF, .max_seq_len = S, .dropout = 0.0f};
    w.model = need(cllm_create_model(&config));
    for (int i = 0; i < 8; i++) snprintf(w.model->tokens[5 + i].token_str, 64, "%s", WORDS[i]);
    return w.model;
}

static CLLMInference *inference(void) {
    if (!w.inference) w.inference = need(cllm_inference_init(model()));
    return w.inference;
}

static CLLMTraining *training(void) {
    if (w.training) return w.training;
    CLLMTrainingConfig config = {.learning_rate = 0.01f, .batch_size = B, .num_epochs = 1,
                                 .max_steps = 10, .sequence_length = T, .optimizer = "adam"};
    w.training = need(cllm_training_init(model(), &config));
    w.ids = need(malloc(64 * sizeof *w.ids));
    for (int i = 0; i < 64; i++) w.ids[i] = (uint32_t)(5 + i % 7);
    w.training->tokens = w.ids;
    w.training->num_tokens = 64;
    return w.training;
}

static CLLMTokenizer *tokenizer(void) {
    if (w.tokenizer) return w.tokenizer;
    w.tokenizer = need(cllm_create_tokenizer(16));
    cllm_build_vocab(w.tokenizer, "the cat sat on a mat");
    return w.tokenizer;
}

static CLLMDataLoader *loader(void) {
    if (w.loader) return w.loader;
    w.loader = need(cllm_data_loader_create(tokenizer()));
    cllm_data_loader_add_document(w.loader, "the cat sat\non the mat");
    return w.loader;
}

static TokenDataset *dataset(void) {
    if (!w.dataset) w.dataset = need(cllm_data_loader_create_dataset(loader()));
    return w.dataset;
}

static CLLMTexts *texts(void) {
    if (w.texts) return w.texts;
    w.texts = need(cllm_texts_create("."));
    cllm_texts_add(w.texts, "text.txt", NULL, NULL);
    return w.texts;
}

static CLLMTokenFile *token_file(void) {
    if (!w.token_file) w.token_file = need(cllm_token_file_open("dataset.bin"));
    return w.token_file;
}

static CLLMBatch *batch(void) {
    if (w.batch) return w.batch;
    uint32_t tokens[9] = {5, 6, 7, 8, 9, 10, 11, 5, 6};
    w.batch = need(cllm_create_batch_from_tokens(tokens, 9, B, T));
    return w.batch;
}

static CLLMBatchIterator *iterator(void) {
    training();
    if (!w.iterator) w.iterator = need(cllm_batch_iterator_create(w.ids, 64, B, T, 0, 1));
    return w.iterator;
}

static ThreadedTrainingSystem *train_system(void) {
    if (!w.system) w.system = need(threaded_training_create(training(), iterator(), 2));
    return w.system;
}

static HierarchicalTrainingSystem *hierarchy(void) {
    if (!w.hierarchy) w.hierarchy = need(hierarchical_training_create(training(), 2, iterator()));
    return w.hierarchy;
}

static CLLMMetrics *live_metrics(void) {
    if (w.live_metrics) return w.live_metrics;
    w.live_metrics = need(cllm_metrics_create(4));
    cllm_metrics_update_thread_state(w.live_metrics, 2, THREAD_STATE_WORKING);
    return w.live_metrics;
}

/* The folder of the model manager, with one model in it. */
static void managed_file(void) {
    unlink("models/new.cllm");
    mkdir("models", 0777);
    if (access("models/the cat sat.cllm", F_OK) != 0)
        cllm_write_model(model(), "models/the cat sat.cllm");
    w.managed = 1;
}

/* The manager at work. */
static void managed(void) {
    managed_file();
    if (!model_manager_init("models")) exit(3);
}

static ValidationSet *validation(void) {
    if (!w.validation) w.validation = need(create_validation_set("text.txt", B, T));
    return w.validation;
}

static EarlyStoppingState *stopping(void) {
    if (!w.stopping) w.stopping = need(create_early_stopping(1.0f, 3));
    return w.stopping;
}

static LRScheduler *scheduler(void) {
    if (!w.scheduler) w.scheduler = need(create_lr_scheduler(0.1f, 2, 9));
    return w.scheduler;
}

static OptimizerConfig *optimizer_config(void) {
    if (w.optimizer_config) return w.optimizer_config;
    w.optimizer_config = need(malloc(sizeof *w.optimizer_config));
    *w.optimizer_config = optimizer_default_config(OPTIMIZER_ADAM);
    w.optimizer_config->amsgrad = w.optimizer_config->use_gradient_clipping = true;
    w.optimizer_config->clip_norm = 1;
    return w.optimizer_config;
}

/* Over ROOM parameters, as many as the arrays of a call have. */
static OptimizerState *optimizer(void) {
    if (w.optimizer) return w.optimizer;
    if (!w.parameters) w.parameters = need(calloc(ROOM, sizeof *w.parameters));
    w.optimizer = need(optimizer_create(optimizer_config(), w.parameters, ROOM));
    return w.optimizer;
}

static TrainingMetrics *metrics(void) {
    if (w.metrics) return w.metrics;
    w.metrics = need(create_training_metrics(4));
    record_metrics(w.metrics, 1, 2.0f, INFINITY, 0.1f);
    return w.metrics;
}

static CLLMConfig *config(void) {
    if (!w.config) w.config = need(cllm_create_config(V, D, L, H, FF));
    return w.config;
}

static AttentionLayer *attention(void) {
    if (w.attention) return w.attention;
    w.attention = need(calloc(1, sizeof *w.attention));
    cllm_attention_init(w.attention, H, D / H);
    return w.attention;
}

static FeedForwardLayer *feedforward(void) {
    if (w.feedforward) return w.feedforward;
    w.feedforward = need(calloc(1, sizeof *w.feedforward));
    cllm_feedforward_init(w.feedforward, D, FF, D);
    return w.feedforward;
}

static CLLMLayerNorm *norm(void) {
    if (w.norm) return w.norm;
    w.norm = need(calloc(1, sizeof *w.norm));
    cllm_layer_norm_init(w.norm, D, 1e-5f);
    return w.norm;
}

static PositionalEncoding *positions(void) {
    if (w.positions) return w.positions;
    w.positions = need(calloc(1, sizeof *w.positions));
    w.positions->max_length = S;
    w.positions->embedding_dim = D;
    w.positions->spiral_positions = need(calloc(S * D, 4));
    w.positions->clock_positions = need(calloc(S * D, 4));
    w.positions->prime_positions = need(calloc(S * D, 4));
    w.positions->learned_positions = need(calloc(S * D, 4));
    return w.positions;
}

/* Layers for the functions that initialise them: what they hold before is not looked at. */
static AttentionLayer *raw_attention(void) {
    w.attention = need(calloc(1, sizeof *w.attention));
    return w.attention;
}

static FeedForwardLayer *raw_feedforward(void) {
    w.feedforward = need(calloc(1, sizeof *w.feedforward));
    return w.feedforward;
}

static CLLMLayerNorm *raw_norm(void) {
    w.norm = need(calloc(1, sizeof *w.norm));
    return w.norm;
}

static Embeddings *embeddings(void) { return &model()->embeddings; }

static CLLMTrainingConfig *training_config(void) {
    static CLLMTrainingConfig config;
    config = (CLLMTrainingConfig){.learning_rate = 0.01f, .batch_size = B, .num_epochs = 1,
                                  .max_steps = 10, .sequence_length = T};
    return &config;
}

static CompleteTrainingConfig *complete_config(void) {
    static CompleteTrainingConfig config;
    config = create_default_complete_config();
    config.num_epochs = 1;
    config.batch_size = B;
    config.sequence_length = T;
    config.val_data_path = "text.txt";
    config.val_interval = 1;
    return &config;
}

static CLLMHeader *header(void) {
    static CLLMHeader header;
    return &header;
}

static CLLMToken *token(void) {
    static CLLMToken token;
    return &token;
}

static CLLMLatticePoint *points(void) {
    static CLLMLatticePoint points[8];
    memset(points, 0, sizeof points);
    for (unsigned i = 0; i < 8; i++) cllm_lattice_point_create(&points[i], i, i, 0, 0, 7);
    return points;
}

/* Ends a text of INT_MAX tokens. */
static bool on_token(const char *piece, size_t length, uint32_t id, void *user) {
    static int pieces;
    (void)piece, (void)length, (void)id, (void)user;
    return ++pieces % 1000 != 0;
}

static bool on_progress(const CLLMProgress *progress, void *user) {
    (void)progress, (void)user;
    return true;
}

static void on_file(const CLLMFileInfo *info, void *user) {
    (void)info, (void)user;
}

static bool on_path(const char *path, const char *left_out, void *user) {
    (void)path, (void)left_out, (void)user;
    return true;
}

static bool on_merge(uint64_t bytes, uint32_t tokens, uint32_t vocab_size, void *user) {
    (void)bytes, (void)tokens, (void)vocab_size, (void)user;
    return true;
}

static bool on_bytes(uint64_t bytes, uint64_t all, void *user) {
    (void)bytes, (void)all, (void)user;
    return true;
}

static void on_metrics(const CLLMMetrics *metrics, void *user) {
    (void)metrics, (void)user;
}

static bool on_word(const char *word, size_t length, float probability, void *user) {
    (void)word, (void)length, (void)probability, (void)user;
    return true;
}

static bool on_allowed(const uint32_t *tokens, size_t num_tokens, unsigned char *allowed,
                       size_t vocab_size, void *user) {
    (void)tokens, (void)num_tokens, (void)user;
    if (vocab_size > 0) allowed[0] = 0;
    return true;
}

static void on_log(int level, const char *message, void *user) {
    (void)level, (void)message, (void)user;
}

static void free_arrays(float *a, float *b, float *c, float *d) {
    free(a);
    free(b);
    free(c);
    free(d);
}

/* Where a function may leave a block of the program's. */
static uint8_t *block;

static uint8_t **blocks(void) { return &block; }

static void world_drop(void) {
    free(block);
    block = NULL;
    if (w.managed) { /* what a call took, and would be left to it */
        model_manager_release_read("the cat sat");
        model_manager_release_write("the cat sat");
        model_manager_cleanup();
    }
    threaded_training_free(w.system);
    hierarchical_training_free(w.hierarchy);
    cllm_metrics_free(w.live_metrics);
    cllm_batch_iterator_free(w.iterator);
    if (w.training) {
        if (w.training->tokens != w.ids) free(w.training->tokens);
        cllm_training_free(w.training);
    }
    cllm_inference_cleanup(w.inference);
    free_validation_set(w.validation);
    free_training_metrics(w.metrics);
    free(w.stopping);
    free(w.scheduler);
    optimizer_free(w.optimizer);
    free(w.optimizer_config);
    free(w.parameters);
    cllm_batch_free(w.batch);
    cllm_token_dataset_free(w.dataset);
    cllm_texts_free(w.texts);
    cllm_token_file_free(w.token_file);
    cllm_data_loader_free(w.loader);
    cllm_free_tokenizer(w.tokenizer);
    cllm_free_model(w.model);
    cllm_free_config(w.config);
    free(w.ids);
    if (w.attention)
        free_arrays(w.attention->query_lattice, w.attention->key_lattice,
                    w.attention->value_lattice, NULL);
    if (w.feedforward)
        free_arrays(w.feedforward->w1_lattice, w.feedforward->w2_lattice,
                    w.feedforward->bias1, w.feedforward->bias2);
    if (w.norm) free_arrays(w.norm->gamma, w.norm->beta, NULL, NULL);
    if (w.positions)
        free_arrays(w.positions->spiral_positions, w.positions->clock_positions,
                    w.positions->prime_positions, w.positions->learned_positions);
    free(w.attention);
    free(w.feedforward);
    free(w.norm);
    free(w.positions);
    memset(&w, 0, sizeof w);
    while (buffer_count > 0) {
        buffer_count--;
        free(buffers[buffer_count].now);
        free(buffers[buffer_count].before);
    }
}

/* --- around a call -------------------------------------------------------------------------- */

/* Makes the last error that of another function than the one whose call this is. */
static void another_error(const char *call) {
    if (strncmp(call, "cllm_set_seed", strlen("cllm_set_seed")) == 0) {
        cllm_set_min_p(NULL, 0);
    } else {
        cllm_set_seed(NULL, 0);
    }
}

static void start(const char *call) {
    snprintf(shared->call, sizeof shared->call, "%s", call);
    another_error(call);
    alarm(seconds);
}

static void done(void) {
    alarm(0);
    shared->calls++;
    world_drop();
}

static void check(int good, const char *what) {
    shared->checks++;
    if (good) return;
    shared->failed++;
    fprintf(stderr, "%s: not so: %s (last error: %s)\n", shared->call, what, cllm_last_error());
}

/* The last error is this function's. */
static int reported(const char *function) {
    size_t n = strlen(function);
    return strncmp(cllm_last_error(), function, n) == 0 && cllm_last_error()[n] == ':';
}

static int zeroed(const void *p, size_t n) {
    for (const unsigned char *c = p; n > 0; n--)
        if (*c++) return 0;
    return 1;
}

/* --- the program ---------------------------------------------------------------------------- */

static void write_text(const char *path, const char *text, size_t n) {
    FILE *file = need(fopen(path, "wb"));
    fwrite(text, 1, n, file);
    fclose(file);
}

static void write_files(void) {
    const char text[] = "the cat sat on a mat and the dog sat on the cat a mat the dog\n";
    mkdir("texts", 0777);
    write_text("texts/one.txt", text, strlen(text));
    write_text("text.txt", text, strlen(text));
    write_text("empty", "", 0);
    const char record[] = "step,train_loss,learning_rate,val_loss\n1,3.5,0.001,\n2,2.5,0.001,3\n";
    write_text("metrics.csv", record, strlen(record));
    char garbage[3000];
    for (size_t i = 0; i < sizeof garbage; i++) garbage[i] = (char)(i * 2654435761u >> 11);
    memcpy(garbage, "CLLM", 4);
    write_text("garbage", garbage, sizeof garbage);
    cllm_save_vocab(tokenizer(), "vocab.txt");
    CLLMTokenizer *subwords = cllm_byte_tokenizer();
    cllm_write_tokenizer(subwords, "tokenizer.json");
    cllm_free_tokenizer(subwords);
    cllm_token_dataset_save(dataset(), "dataset.bin");
    cllm_write_model(model(), "model.cllm");
    cllm_save_checkpoint(training(), "training.ckpt");
    save_checkpoint(training(), "training.pckpt");
    char generated[99];
    cllm_generate(inference(), "the cat", generated, sizeof generated);
    cllm_inference_save_state(inference(), "context.state");
    world_drop();
}

#endif
