/* What the functions print whose purpose that is: whole texts, line by line, and in the order of the
 * program's own output. Scripts read them. */
#include "scratch.h"
#include "capture.h"
#include "cllm.h"
#include "cllm_batch.h"
#include "cllm_data_loader.h"
#include "cllm_tokenizer.h"
#include "cllm_training.h"
#include "cllm_training_threaded.h"
#include "cllm_utils.h"
#include "harness.h"
#include <ctype.h>
#include <sys/wait.h>

/* Whether a text is the pattern, in which @0, @1, ... stand for a number with so many decimals. */
static int matches(const char *text, const char *pattern) {
    const char *start = text;
    while (*pattern) {
        if (*pattern != '@') {
            if (*text++ != *pattern++) break;
            continue;
        }
        int decimals = pattern[1] - '0';
        pattern += 2;
        if (!isdigit((unsigned char)*text)) break;
        while (isdigit((unsigned char)*text)) text++;
        if (decimals > 0 && *text++ != '.') break;
        while (decimals > 0 && isdigit((unsigned char)*text)) text++, decimals--;
        if (decimals > 0) break;
    }
    if (!*pattern && !*text) return 1;
    fprintf(stderr, "printed:\n%s\n(%d characters are as expected), then expected:\n%s\n", start,
            (int)(text - start), pattern);
    return 0;
}

#define PRINTS(call, ...) \
    do { \
        capture_start(); \
        call; \
        CHECK(matches(capture_end(), __VA_ARGS__)); \
    } while (0)

static CLLMModel *example(void) {
    CLLMConfig config = {1000, 64, 2, 4, 256, 512, 0.1f};
    return cllm_create_model(&config);
}

static const char CONFIG[] = "CLLM Configuration:\n"
                             "  Vocabulary Size:  1000\n"
                             "  Embedding Dim:    64\n"
                             "  Number of Layers: 2\n"
                             "  Number of Heads:  4\n"
                             "  Head Dimension:   16\n"
                             "  FF Dimension:     256\n"
                             "  Max Seq Length:   512\n"
                             "  Dropout:          0.10\n";

static const char STATS[] = "CLLM Model Statistics:\n"
                            "  Vocabulary Size:    1000\n"
                            "  Embedding Dim:      64\n"
                            "  Number of Layers:   2\n"
                            "  Total Parameters:   196224 (0.20 M)\n"
                            "  Memory Usage:       787152 bytes (0.75 MB)\n"
                            "  Attention Heads:    4\n"
                            "  Head Dimension:     16\n"
                            "  FF Hidden Dim:      256\n";

static void config(void) {
    CLLMConfig c = {1000, 64, 2, 4, 256, 512, 0.1f};
    PRINTS(cllm_print_config(&c), CONFIG);
    PRINTS(cllm_print_config(NULL), "Configuration: NULL\n");
    /* DEFECT of the original: division by zero */
    CLLMConfig odd = {UINT32_MAX, 7, 0, 0, 0, 1, 12.345f};
    PRINTS(cllm_print_config(&odd), "CLLM Configuration:\n"
                                    "  Vocabulary Size:  4294967295\n"
                                    "  Embedding Dim:    7\n"
                                    "  Number of Layers: 0\n"
                                    "  Number of Heads:  0\n"
                                    "  Head Dimension:   0\n"
                                    "  FF Dimension:     0\n"
                                    "  Max Seq Length:   1\n"
                                    "  Dropout:          12.35\n");
    float dropouts[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 3; i++) {
        char last[64];
        c.dropout = dropouts[i];
        snprintf(last, sizeof last, "  Dropout:          %.2f\n", (double)c.dropout);
        capture_start();
        cllm_print_config(&c);
        const char *text = capture_end();
        CHECK(strlen(text) > strlen(last));
        CHECK(strcmp(text + strlen(text) - strlen(last), last) == 0);
    }
}

static void model(void) {
    CLLMModel *m = example();
    PRINTS(cllm_print_model_stats(m), STATS);
    PRINTS(cllm_print_model_info(m), "=== CLLM Model Information ===\n"
                                     "Version: 1\n"
                                     "Vocabulary Size: 1000\n"
                                     "Embedding Dimension: 64\n"
                                     "Number of Layers: 2\n"
                                     "Total Weights: 155264\n"
                                     "\n"
                                     "Attention Configuration:\n"
                                     "  Number of Heads: 4\n"
                                     "  Head Dimension: 16\n"
                                     "\n"
                                     "Feed-Forward Configuration:\n"
                                     "  Input Dimension: 64\n"
                                     "  Hidden Dimension: 256\n"
                                     "\n"
                                     "Memory Usage: 0.72 MB\n"
                                     "==============================\n");
    cllm_free_model(m);
    PRINTS(cllm_print_model_stats(NULL), "Model: NULL\n");
    PRINTS(cllm_print_model_info(NULL), "Model is NULL\n");
    CLLMModel own = {0};
    own.num_layers = 3; /* without arrays, and without sizes */
    PRINTS(cllm_print_model_stats(&own), "CLLM Model Statistics:\n"
                                         "  Vocabulary Size:    0\n"
                                         "  Embedding Dim:      0\n"
                                         "  Number of Layers:   3\n"
                                         "  Total Parameters:   0 (0.00 M)\n"
                                         "  Memory Usage:       2408 bytes (0.00 MB)\n");
    PRINTS(cllm_print_model_info(&own), "=== CLLM Model Information ===\n"
                                        "Version: 0\n"
                                        "Vocabulary Size: 0\n"
                                        "Embedding Dimension: 0\n"
                                        "Number of Layers: 3\n"
                                        "Total Weights: 0\n"
                                        "\n"
                                        "Memory Usage: 0.00 MB\n"
                                        "==============================\n");
}

static void vocabulary(void) {
    CLLMTokenizer *t = cllm_create_tokenizer(50);
    PRINTS(cllm_print_vocab_stats(t), "Vocabulary Statistics:\n"
                                      "  Size: 5 / 50\n"
                                      "  Total tokens seen: 0\n"
                                      "  Most frequent count: 0\n"
                                      "\n"
                                      "  Top 10 tokens:\n");
    cllm_build_vocab(t, "a b b c c c d e f g h i j k a_word_that_is_longer_than_twenty");
    cllm_add_token(t, "never");
    CHECK(t->vocab_size == 18);
    t->token_counts[0] = 1000;         /* counts, but is no row */
    t->token_counts[5] = UINT32_MAX;   /* the sum needs 64 bits */
    t->token_counts[16] = 2;
    t->token_counts[17] = 0;
    /* DEFECT of the original: every row was the same word. */
    PRINTS(cllm_print_vocab_stats(t), "Vocabulary Statistics:\n"
                                      "  Size: 18 / 50\n"
                                      "  Total tokens seen: 4294968310\n"
                                      "  Most frequent count: 4294967295\n"
                                      "\n"
                                      "  Top 10 tokens:\n"
                                      "     1. a                    4294967295\n"
                                      "     2. c                    3\n"
                                      "     3. b                    2\n"
                                      "     4. a_word_that_is_longer_than_twenty 2\n"
                                      "     5. d                    1\n"
                                      "     6. e                    1\n"
                                      "     7. f                    1\n"
                                      "     8. g                    1\n"
                                      "     9. h                    1\n"
                                      "    10. i                    1\n");
    for (int i = 6; i < 18; i++)
        t->token_counts[i] = 0; /* fewer rows than ten */
    t->token_counts[5] = 7;
    PRINTS(cllm_print_vocab_stats(t), "Vocabulary Statistics:\n"
                                      "  Size: 18 / 50\n"
                                      "  Total tokens seen: 1007\n"
                                      "  Most frequent count: 1000\n"
                                      "\n"
                                      "  Top 10 tokens:\n"
                                      "     1. a                    7\n");
    PRINTS(cllm_print_vocab_stats(NULL), "");
    cllm_free_tokenizer(t);
}

static void loader(void) {
    CLLMTokenizer *t = cllm_create_tokenizer(100);
    CLLMDataLoader *l = cllm_data_loader_create(t);
    PRINTS(cllm_data_loader_print_stats(l), "\n=== Data Loader Statistics ===\n"
                                            "Documents: 0\n"
                                            "Total characters: 0\n"
                                            "Total lines: 0\n"
                                            "Total tokens: 0\n"
                                            "Vocabulary size: 5\n"
                                            "==============================\n\n");
    cllm_data_loader_add_document(l, "one two\n");
    cllm_data_loader_add_document(l, "six");
    cllm_data_loader_build_vocab(l);
    PRINTS(cllm_data_loader_print_stats(l), "\n=== Data Loader Statistics ===\n"
                                            "Documents: 2\n"
                                            "Total characters: 11\n"
                                            "Total lines: 1\n"
                                            "Total tokens: 3\n"
                                            "Avg chars per document: 5.5\n"
                                            "Vocabulary size: 8\n"
                                            "==============================\n\n");
    PRINTS(cllm_data_loader_print_stats(NULL), "");
    cllm_data_loader_free(l);
    cllm_free_tokenizer(t);
}

static void batch(void) {
    uint32_t ids[6] = {5, 6, 7, 8, 9, 10};
    CLLMBatch *b = cllm_create_batch_from_tokens(ids, 6, 2, 4);
    PRINTS(cllm_batch_print_stats(b), "Batch Statistics:\n"
                                      "  Batch size: 2\n"
                                      "  Sequence length: 4\n"
                                      "  Total tokens: 8\n"
                                      "  Valid tokens: 5\n"
                                      "  Padding tokens: 3\n"
                                      "  Padding ratio: 37.50%\n");
    cllm_batch_free(b);
    CLLMBatch empty = {0}; /* DEFECT of the original: NaN */
    PRINTS(cllm_batch_print_stats(&empty), "Batch Statistics:\n"
                                           "  Batch size: 0\n"
                                           "  Sequence length: 0\n"
                                           "  Total tokens: 0\n"
                                           "  Valid tokens: 0\n"
                                           "  Padding tokens: 0\n"
                                           "  Padding ratio: 0.00%\n");
    CLLMBatch huge = {NULL, NULL, NULL, 1u << 20, 1u << 20, 0}; /* beyond 32 bits */
    PRINTS(cllm_batch_print_stats(&huge), "Batch Statistics:\n"
                                          "  Batch size: 1048576\n"
                                          "  Sequence length: 1048576\n"
                                          "  Total tokens: 1099511627776\n"
                                          "  Valid tokens: 0\n"
                                          "  Padding tokens: 1099511627776\n"
                                          "  Padding ratio: 100.00%\n");
    PRINTS(cllm_batch_print_stats(NULL), "");
}

static void memory(void) {
    cllm_reset_memory_stats();
    PRINTS(cllm_print_memory_stats(), "\n=== Memory Statistics ===\n"
                                      "Allocations: 0\n"
                                      "Deallocations: 0\n"
                                      "Bytes allocated: 0 (0.00 MB)\n"
                                      "Bytes freed: 0 (0.00 MB)\n"
                                      "✓ All allocations properly freed\n"
                                      "✓ No memory leaks detected\n"
                                      "========================\n\n");
    CLLMModel *m = example(); /* DEFECT of the original: always a clean balance */
    PRINTS(cllm_print_memory_stats(), "\n=== Memory Statistics ===\n"
                                      "Allocations: 10\n"
                                      "Deallocations: 0\n"
                                      "Bytes allocated: @0 (@2 MB)\n"
                                      "Bytes freed: 0 (0.00 MB)\n"
                                      "⚠ Warning: Allocation/deallocation mismatch!\n"
                                      "  Difference: 10\n"
                                      "⚠ Warning: Memory leak detected!\n"
                                      "  Leaked bytes: @0\n"
                                      "========================\n\n");
    cllm_free_model(m);
    cllm_reset_memory_stats();
    CLLMConfig *c = cllm_create_config(1, 1, 1, 1, 1);
    cllm_free_config(c);
    PRINTS(cllm_print_memory_stats(), "\n=== Memory Statistics ===\n"
                                      "Allocations: 1\n"
                                      "Deallocations: 1\n"
                                      "Bytes allocated: @0 (0.00 MB)\n"
                                      "Bytes freed: @0 (0.00 MB)\n"
                                      "✓ All allocations properly freed\n"
                                      "✓ No memory leaks detected\n"
                                      "========================\n\n");
    c = cllm_create_config(1, 1, 1, 1, 1);
    cllm_reset_memory_stats();
    cllm_free_config(c); /* more freed than made */
    capture_start();
    cllm_print_memory_stats();
    CHECK(strstr(capture_end(), "  Difference: -1\n⚠ Warning: Memory leak detected!\n"
                                "  Leaked bytes: -") != NULL);
}

#define THREADED "\n========================================\n" \
                 "  Multi-Threaded Training Statistics\n" \
                 "========================================\n\n" \
                 "Thread System:\n\n" \
                 "Sphere Statistics:\n"

static void threaded(void) {
    CLLMConfig sizes = {23, 16, 1, 2, 32, 16, 0};
    CLLMModel *m = cllm_create_model(&sizes);
    CLLMTrainingConfig how = {0};
    how.num_epochs = 1;
    how.batch_size = 2;
    how.sequence_length = 8;
    how.learning_rate = 1e-6f;
    CLLMTraining *t = cllm_training_init(m, &how);
    uint32_t tokens[49];
    for (uint32_t i = 0; i < 49; i++)
        tokens[i] = i % 23;
    CLLMBatchIterator *it = cllm_batch_iterator_create(tokens, 49, 2, 8, 0, 1);
    ThreadedTrainingSystem *s = threaded_training_create(t, it, 2);
    PRINTS(threaded_training_print_stats(s),
           THREADED "  Sphere  0 (Group  0): 0 batches processed, avg loss: 0.0000\n"
                    "  Sphere  1 (Group  1): 0 batches processed, avg loss: 0.0000\n\n");
    threaded_train_epoch(s); /* three batches */
    PRINTS(threaded_training_print_stats(s),
           THREADED "  Sphere  0 (Group  0): 2 batches processed, avg loss: @4\n"
                    "  Sphere  1 (Group  1): 1 batches processed, avg loss: @4\n\n");
    PRINTS(threaded_training_print_stats(NULL), "");
    threaded_training_free(s);
    /* The group is the number mod 12; of absurdly many workers those are listed that may exist. */
    s = threaded_training_create(t, it, 13);
    capture_start();
    threaded_training_print_stats(s);
    CHECK(strstr(capture_end(), "\n  Sphere 12 (Group  0): 0 batches processed, ") != NULL);
    threaded_training_free(s);
    s = threaded_training_create(t, it, 2147483647);
    capture_start();
    threaded_training_print_stats(s);
    const char *text = capture_end();
    CHECK(strstr(text, "\n  Sphere 255 (Group  3): ") && !strstr(text, "Sphere 256 "));
    threaded_training_free(s);
    cllm_batch_iterator_free(it);
    t->tokens = NULL;
    cllm_training_free(t);
    cllm_free_model(m);
}

static void benchmarks(void) {
    CLLMConfig sizes = {20, 8, 2, 2, 16, 6, 0};
    CLLMModel *m = cllm_create_model(&sizes);
    PRINTS(cllm_run_benchmark_suite(m), "Model Configuration:\n"
                                        "  Vocabulary Size: 20\n"
                                        "  Embedding Dimension: 8\n"
                                        "  Number of Layers: 2\n"
                                        "  Total Parameters: 1216\n"
                                        "\n"
                                        "1. Single Token Inference Benchmark\n"
                                        "  Sequence length: 128\n"
                                        "  Iterations: @0\n"
                                        "Results:\n"
                                        "  Average time per token: @3 ms\n"
                                        "  Tokens per second: @2\n"
                                        "  Memory delta: @2 MB\n"
                                        "\n"
                                        "2. Batch Inference Benchmark\n"
                                        "  Batch size: 8\n"
                                        "  Sequence length: 128\n"
                                        "  Iterations: @0\n"
                                        "Results:\n"
                                        "  Average time per batch: @3 ms\n"
                                        "  Throughput: @2 tokens/sec\n"
                                        "  Memory delta: @2 MB\n"
                                        "\n"
                                        "3. Forward Pass Benchmark\n"
                                        "  Batch size: 4\n"
                                        "  Sequence length: 128\n"
                                        "  Iterations: @0\n"
                                        "Results:\n"
                                        "  Average forward pass time: @3 ms\n"
                                        "  Throughput: @2 tokens/sec\n"
                                        "\n"
                                        "4. Training Step Benchmark\n"
                                        "  Batch size: 4\n"
                                        "  Sequence length: 128\n"
                                        "  Iterations: @0\n"
                                        "Results:\n"
                                        "  Average training step time: @3 ms\n"
                                        "  Throughput: @2 tokens/sec\n"
                                        "  Memory delta: @2 MB\n");
    PRINTS(cllm_run_benchmark_suite(NULL), "Model is NULL\n");
    PRINTS(cllm_profile_memory(m, 1), "Profiling memory usage for 1 seconds...\n"
                                      "  [0 s] RSS: @2 MB\n"
                                      "  [1 s] RSS: @2 MB\n"
                                      "\n"
                                      "Memory Profile Summary:\n"
                                      "  Peak RSS: @2 MB\n"
                                      "  Min RSS: @2 MB\n"
                                      "  Delta: @2 MB\n");
    /* DEFECT of the original: nonsense from SIZE_MAX */
    PRINTS(cllm_profile_memory(NULL, -5), "Profiling memory usage for -5 seconds...\n"
                                          "  [0 s] RSS: @2 MB\n"
                                          "\n"
                                          "Memory Profile Summary:\n"
                                          "  Peak RSS: @2 MB\n"
                                          "  Min RSS: @2 MB\n"
                                          "  Delta: 0.00 MB\n");
    PRINTS(cllm_profile_memory(NULL, 2147483647), "");

    scratch_make();
    const char *path = in_scratch("report.md");
    cllm_generate_performance_report(m, path);
    static char text[4096];
    FILE *in = fopen(path, "r");
    CHECK(in != NULL);
    text[in ? fread(text, 1, sizeof text - 1, in) : 0] = '\0';
    if (in) fclose(in);
    const char head[] = "# CLLM Performance Report\n\n"
                        "## Model Configuration\n\n"
                        "- Vocabulary Size: 20\n"
                        "- Embedding Dimension: 8\n"
                        "- Number of Layers: 2\n"
                        "- Total Parameters: 1216 (0.00 M)\n\n"
                        "## Memory Footprint\n\n"
                        "- Model Weights: 0.00 MB\n"
                        "- Tokens: 2.66 KB\n"
                        "- Total Estimated: 0.01 MB\n\n"
                        "## Benchmark Results\n\n"
                        "### Single Token Inference Benchmark\n\n"
                        "- Batch size: 1\n";
    CHECK(strncmp(text, head, sizeof head - 1) == 0);
    /* As ctime() has it: 24 characters and the end of the line. */
    const char *date = strstr(text, "\n---\n\nReport generated: ");
    CHECK(date && strlen(date) == strlen("\n---\n\nReport generated: ") + 25);
    struct tm parsed = {0};
    char month[4] = "", day[4] = "";
    CHECK(date && sscanf(date, "\n---\n\nReport generated: %3s %3s %d %d:%d:%d %d", day, month,
                         &parsed.tm_mday, &parsed.tm_hour, &parsed.tm_min, &parsed.tm_sec,
                         &parsed.tm_year) == 7 && parsed.tm_year > 2020);
    CHECK(scratch_remove() == 0);
    cllm_free_model(m);
}

static void version(void) {
    CHECK(strcmp(cllm_get_version(), "CLLM v1.0.0 - Crystalline Lattice Language Model") == 0);
    /* As __DATE__ and __TIME__. */
    const char *built = cllm_get_build_info();
    char month[4] = "";
    int day, year, hour, minute, second, read = 0;
    CHECK(strlen(built) == strlen("Built: Nov 27 2026 08:30:00"));
    CHECK(sscanf(built, "Built: %3s %d %d %d:%d:%d%n", month, &day, &year, &hour, &minute, &second,
                 &read) == 6 && built[read] == '\0');
    CHECK(strstr("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec", month) != NULL);
    CHECK(day >= 1 && day <= 31 && year >= 2024 && hour < 24 && minute < 60 && second < 60);
}

/* The program's own output, and the library's, to a pipe that C's stdout buffers: all in the order of
 * the calls. */
static void order(void) {
    int ends[2];
    CHECK(pipe(ends) == 0);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        static char buffer[1 << 16];
        dup2(ends[1], 1);
        close(ends[0]);
        close(ends[1]);
        setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
        CLLMConfig c = {1000, 64, 2, 4, 256, 512, 0.1f};
        CLLMModel *m = cllm_create_model(&c);
        printf("one, without an end of line: ");
        cllm_print_config(&c);
        printf("two\n");
        cllm_print_model_stats(m);
        fputs("three\n", stdout);
        cllm_print_config(NULL);
        puts("four");
        cllm_free_model(m);
        fflush(stdout);
        _exit(0);
    }
    close(ends[1]);
    static char text[1 << 14];
    size_t used = 0;
    ssize_t n;
    while ((n = read(ends[0], text + used, sizeof text - 1 - used)) > 0)
        used += (size_t)n;
    text[used] = '\0';
    close(ends[0]);
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    static char want[1 << 14];
    snprintf(want, sizeof want, "one, without an end of line: %stwo\n%sthree\nConfiguration: NULL\nfour\n",
             CONFIG, STATS);
    CHECK(matches(text, want));
}

int main(void) {
    RUN(order); /* before the library has threads */
    RUN(config);
    RUN(model);
    RUN(vocabulary);
    RUN(loader);
    RUN(batch);
    RUN(memory);
    RUN(threaded);
    RUN(benchmarks);
    RUN(version);
    return harness_report();
}
