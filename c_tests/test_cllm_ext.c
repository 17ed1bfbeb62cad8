/* cllm_ext.h: every function, and the examples of the documentation as they stand there. */
#include "scratch.h"
#include "capture.h"

#include <pthread.h>

#include "cllm_ext.h"
#include "cllm_format.h"
#include "cllm_production.h"
#include "cllm_utils.h"
#include "harness.h"
#include "reference.h"

enum { V = 18, D = 8, L = 1, S = 12, N = 50 };

static CLLMModel *model;
static CLLMInference *inference;
static uint32_t ids[N];

static void begin(void) {
    static const char *const words[] = {"<PAD>", "<UNK>", "<BOS>", "<EOS>", "<MASK>", "to",
                                        "be",    "or",    "not",   "that",  "is"};
    CLLMConfig config = {.vocab_size = V, .embedding_dim = D, .num_layers = L, .num_heads = 2,
                         .ff_dim = 16, .max_seq_len = S};
    model = cllm_create_model(&config);
    reference_state = 3;
    reference_weights(model);
    for (int i = 0; i < 11; i++) snprintf(model->tokens[i].token_str, 64, "%s", words[i]);
    inference = cllm_inference_init(model);
    for (int i = 0; i < N; i++) ids[i] = (uint32_t)(5 + i * i % 9);
}

static void end(void) {
    cllm_inference_cleanup(inference);
    cllm_free_model(model);
}

static void version(void) {
    CHECK(strcmp(cllm_version(), "1.0.0") == 0 && cllm_version() == cllm_version());
}

static void *other_thread(void *result) {
    *(int *)result = cllm_last_error()[0] == '\0';
    return NULL;
}

static void errors(void) {
    CLLMModel *missing = cllm_read_model("missing.cllm");
    CHECK(!missing && strncmp(cllm_last_error(), "cllm_read_model:", 16) == 0);
    CHECK(strstr(cllm_last_error(), "missing.cllm") != NULL);
    char before[256];
    snprintf(before, sizeof before, "%s", cllm_last_error());
    begin(); /* calls that succeed leave it */
    CHECK(strcmp(cllm_last_error(), before) == 0);
    end();
    int empty = 0; /* one for each thread */
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, other_thread, &empty) == 0);
    pthread_join(thread, NULL);
    CHECK(empty);
}

static char logged[512];
static int logged_level;

static void to_file(int level, const char *message, void *file) {
    logged_level = level;
    snprintf(logged, sizeof logged, "%s", message);
    CHECK(cllm_version() != NULL); /* it may call the library */
    if (file) fprintf((FILE *)file, "[%d] %s\n", level, message);
}

static void logging(void) {
    FILE *log_file = tmpfile();
    cllm_set_log_callback(to_file, log_file);
    CHECK(cllm_set_seed(NULL, 1) == -1);
    CHECK(logged_level == CLLM_LOG_ERROR && strncmp(logged, "cllm_set_seed:", 14) == 0);
    CHECK(strcmp(logged, cllm_last_error()) == 0 && ftell(log_file) > 0);
    fclose(log_file);
    logged[0] = '\0';
    cllm_set_log_silent();
    CHECK(cllm_set_min_p(NULL, 0) == -1 && logged[0] == '\0');
    CHECK(strncmp(cllm_last_error(), "cllm_set_min_p:", 15) == 0);
    fflush(stderr); /* NULL: stderr again */
    int kept = dup(2);
    FILE *seen = tmpfile();
    dup2(fileno(seen), 2);
    cllm_set_log_callback(NULL, NULL);
    CHECK(cllm_set_greedy(NULL, true) == -1);
    dup2(kept, 2);
    close(kept);
    char text[256] = "";
    rewind(seen);
    CHECK(fgets(text, sizeof text, seen) && strstr(text, "cllm_set_greedy") != NULL);
    fclose(seen);
    cllm_set_log_silent();
}

static void settings(void) {
    begin();
    char a[256], b[256];
    inference->max_tokens = 12;
    inference->top_k = 0;
    inference->top_p = 1;
    inference->temperature = 2;
    CHECK(cllm_set_seed(inference, 42) == 0);
    CHECK(cllm_generate(inference, "to be", a, sizeof a) >= 0);
    CHECK(cllm_set_seed(inference, 42) == 0);
    CHECK(cllm_generate(inference, "to be", b, sizeof b) >= 0);
    CHECK(strcmp(a, b) == 0);
    int differ = 0;
    for (uint64_t seed = 43; seed < 48; seed++) {
        cllm_set_seed(inference, seed);
        cllm_generate(inference, "to be", b, sizeof b);
        differ += strcmp(a, b) != 0;
    }
    CHECK(differ > 0);

    /* Greedy: the likeliest of the logits, whatever the temperature. */
    CHECK(cllm_set_greedy(inference, true) == 0);
    float logits[V] = {0};
    logits[4] = logits[9] = 0.5f;
    CHECK(cllm_sample_token(inference, logits) == 4 && logits[4] == 1 && logits[9] == 0);
    CHECK(cllm_set_greedy(inference, false) == 0);

    /* min-p: 0.3 of the likeliest. */
    CHECK(cllm_set_min_p(inference, 0.3f) == 0);
    inference->temperature = 1;
    for (int i = 0; i < V; i++) logits[i] = logf(i == 2 ? 1.0f : i == 5 ? 0.31f : 0.29f);
    cllm_sample_token(inference, logits);
    for (int i = 0; i < V; i++) CHECK((logits[i] > 0) == (i == 2 || i == 5));
    CHECK_NEAR(logits[2], 1 / 1.31, 1e-4);
    CHECK(cllm_set_min_p(inference, -0.1f) == -1 && cllm_set_min_p(inference, 1.1f) == -1);
    CHECK(cllm_set_min_p(inference, NAN) == -1 && cllm_set_min_p(inference, 0) == 0);

    CHECK(cllm_set_repetition_penalty(inference, 1.2f) == 0 && inference->repetition_penalty == 1.2f);
    CHECK(cllm_set_repetition_penalty(inference, -1) == -1);
    CHECK(cllm_set_repetition_penalty(inference, NAN) == -1);
    CHECK(cllm_set_repetition_penalty(NULL, 1) == -1 && inference->repetition_penalty == 1.2f);

    /* Threads don't change the numbers. */
    cllm_forward(inference, ids, 9);
    float one[V];
    memcpy(one, inference->logits, sizeof one);
    CHECK(cllm_inference_set_threads(inference, 3) == 0);
    CHECK(cllm_kv_cache_clear(inference) == 0);
    cllm_forward(inference, ids, 9);
    CHECK(memcmp(one, inference->logits, sizeof one) == 0);
    CHECK(cllm_inference_set_threads(inference, 0) == 0);
    CHECK(cllm_inference_set_threads(inference, -1) == -1);
    CHECK(cllm_inference_set_threads(NULL, 1) == -1 && cllm_kv_cache_clear(NULL) == -1);

    /* After a change by hand the cache is cleared. */
    model->embeddings.embeddings[ids[0] * D] += 1;
    cllm_kv_cache_clear(inference);
    cllm_forward(inference, ids, 9);
    double want[9 * V];
    reference_forward(model, 1, 1, ids, 9, want, NULL);
    for (int i = 0; i < V; i++) CHECK_NEAR(inference->logits[i], want[8 * V + i], 1e-4);
    end();
}

typedef struct {
    char text[256];
    int pieces, stop_after;
} Collected;

static bool collect(const char *piece, size_t length, uint32_t token, void *user_data) {
    Collected *c = user_data;
    CHECK(token < V);
    strncat(c->text, piece, length);
    return ++c->pieces != c->stop_after;
}

static void streaming(void) {
    begin();
    char whole[256];
    Collected c = {"", 0, 0};
    inference->max_tokens = 20;
    inference->temperature = 2;
    inference->top_k = 0;
    inference->top_p = 1;
    for (uint64_t seed = 1; seed <= 50 && c.pieces < 4; seed++) { /* until some text is long */
        cllm_set_seed(inference, seed);
        int n = cllm_generate(inference, "to be or", whole, sizeof whole);
        memset(&c, 0, sizeof c);
        cllm_set_seed(inference, seed);
        CHECK(cllm_generate_stream(inference, "to be or", collect, &c) == n);
        CHECK(strncmp(whole, "to be or", 8) == 0 && strcmp(whole + 8, c.text) == 0);
        Collected stopped = {"", 0, 2};
        cllm_set_seed(inference, seed);
        CHECK(cllm_generate_stream(inference, "to be or", collect, &stopped) >= 0);
        CHECK(stopped.pieces == (c.pieces < 2 ? c.pieces : 2));
    }
    CHECK(c.pieces >= 4);
    CHECK(cllm_generate_stream(inference, "", collect, &c) == -1);
    CHECK(cllm_generate_stream(inference, "to", NULL, NULL) == -1);
    CHECK(cllm_generate_stream(inference, NULL, collect, &c) == -1);
    CHECK(cllm_generate_stream(NULL, "to", collect, &c) == -1);
    end();
}

/* Entry i of the vocabulary is the letter ü, i + 40 times: longer than token_str. */
static bool whole_word(const char *piece, size_t length, uint32_t token, void *user_data) {
    CHECK(token >= 5 && length == 1 + 2 * (token + 40) && piece[0] == ' ');
    for (size_t i = 1; i + 1 < length; i += 2) {
        CHECK(memcmp(piece + i, "\xc3\xbc", 2) == 0);
    }
    ++*(int *)user_data;
    return true;
}

static void whole_characters(void) {
    begin();
    CLLMTokenizer *tokenizer = cllm_create_tokenizer(V);
    char word[2 * (V + 40) + 1] = "";
    for (int i = 0; i < 40 + V; i++) {
        if (i >= 45) CHECK(cllm_add_token(tokenizer, word) == (uint32_t)i - 40);
        strcat(word, "\xc3\xbc");
    }
    CHECK(cllm_get_vocab_size(tokenizer) == V && cllm_model_set_vocab(model, tokenizer) == 0);
    int pieces = 0;
    inference->max_tokens = 30;
    inference->temperature = 2;
    CHECK(cllm_generate_stream(inference, tokenizer->vocab[7], whole_word, &pieces) > 0);
    CHECK(pieces > 5);
    cllm_free_tokenizer(tokenizer);
    end();
}

static void evaluation(void) {
    begin();
    double loss = -1, perplexity = -1, sum = 0;
    CHECK(cllm_evaluate(model, ids, N, 7, 0, &loss, &perplexity) == 0);
    sum = reference_loss(model, 1, ids, ids + 1, N - 1, 7);
    CHECK_NEAR(loss, sum, 1e-5);
    CHECK_NEAR(perplexity, exp(sum), 1e-3);
    double again;
    CHECK(cllm_evaluate(model, ids, N, 7, 3, &again, NULL) == 0 && again == loss);
    CHECK(cllm_evaluate(model, ids, N, 7, 1, NULL, NULL) == 0);
    loss = perplexity = 5;
    CHECK(cllm_evaluate(model, ids, 1, 7, 0, &loss, &perplexity) == -1);
    CHECK(cllm_evaluate(model, NULL, N, 7, 0, &loss, &perplexity) == -1);
    CHECK(cllm_evaluate(NULL, ids, N, 7, 0, &loss, &perplexity) == -1);
    CHECK(cllm_evaluate(model, ids, N, 0, 0, &loss, &perplexity) == -1);
    CHECK(loss == 5 && perplexity == 5);
    end();
}

static void vocabularies(void) {
    begin();
    CLLMTokenizer *tokenizer = cllm_create_tokenizer(V);
    cllm_build_vocab(tokenizer, "ein satz ein wort");
    CHECK(cllm_model_set_vocab(model, tokenizer) == 0);
    CHECK(strcmp(model->tokens[5].token_str, "ein") == 0 && model->tokens[5].frequency == 2);
    CHECK(strcmp(model->tokens[7].token_str, "wort") == 0 && model->tokens[7].token_id == 7);
    CHECK(strcmp(model->tokens[8].token_str, "token_8") == 0);
    uint32_t out[4];
    CHECK(cllm_tokenize(inference, "wort ein", out, 4) == 2 && out[0] == 7 && out[1] == 5);
    const char *file = in_scratch("model.cllm");
    CHECK(cllm_write_model(model, file) == 0); /* the file then has words */
    CLLMModel *read = cllm_read_model_unchecked(file);
    CHECK(read && strcmp(read->tokens[6].token_str, "satz") == 0);
    cllm_free_model(read);
    model->weights[3] = NAN; /* refused by cllm_read_model, read here */
    CHECK(cllm_write_model(model, file) == 0);
    CHECK(cllm_read_model(file) == NULL);
    read = cllm_read_model_unchecked(file);
    CHECK(read && isnan(read->weights[3]));
    cllm_free_model(read);
    remove(file);
    CHECK(cllm_read_model_unchecked(file) == NULL && cllm_read_model_unchecked(NULL) == NULL);
    model->weights[3] = 0;

    file = in_scratch("vocab.txt");
    cllm_add_token(tokenizer, "neu");
    CHECK(cllm_save_vocab(tokenizer, file) == 1);
    CHECK(cllm_model_load_vocab(model, file) == 0);
    CHECK(strcmp(model->tokens[8].token_str, "neu") == 0 && model->tokens[8].frequency == 1);
    CLLMTokenizer *large = cllm_create_tokenizer(100);
    for (int i = 0; i < 30; i++) {
        char word[16];
        snprintf(word, sizeof word, "w%d", i);
        cllm_add_token(large, word);
    }
    CHECK(cllm_model_set_vocab(model, large) == -1); /* too many: nothing changed */
    CHECK(cllm_save_vocab(large, file) == 1 && cllm_model_load_vocab(model, file) == -1);
    CHECK(strcmp(model->tokens[8].token_str, "neu") == 0);
    CHECK(cllm_model_load_vocab(model, "/no/such/file") == -1);
    CHECK(cllm_model_load_vocab(model, NULL) == -1 && cllm_model_load_vocab(NULL, file) == -1);
    CHECK(cllm_model_set_vocab(NULL, tokenizer) == -1 && cllm_model_set_vocab(model, NULL) == -1);
    cllm_free_tokenizer(large);
    cllm_free_tokenizer(tokenizer);
    end();
}

static int progress_calls;
static int last_step;

static bool watch(const CLLMProgress *p, void *user_data) {
    progress_calls++;
    CHECK(p->struct_size == sizeof *p && p->batches_per_epoch == (N - 1) / 6);
    CHECK(p->batch >= 1 && p->batch <= p->batches_per_epoch && p->loss > 0);
    CHECK(p->learning_rate > 0 && p->gradient_norm > 0 && p->tokens_per_second > 0);
    CHECK(p->seconds_left >= 0);
    return p->step < *(int *)user_data;
}

static void training_steps(void) {
    begin();
    CLLMTrainingConfig config;
    memset(&config, 0, sizeof config);
    config.learning_rate = 0.01f;
    config.batch_size = 2;
    config.sequence_length = 3;
    config.num_epochs = 1;
    CLLMTraining *training = cllm_training_init(model, &config);
    training->tokens = ids;
    training->num_tokens = N;
    const int batches = (N - 1) / 6;
    float loss = -1;
    last_step = 3;
    CHECK(cllm_set_progress_callback(training, watch, &last_step) == 0);
    CHECK(cllm_train_steps(training, 100, 1, &loss) == 3); /* the callback stopped it */
    CHECK(progress_calls == 3 && training->current_step == 3 && loss > 0);
    CHECK(training->current_batch_offset == 18 && training->current_epoch == 0);
    CHECK(cllm_set_progress_callback(training, NULL, NULL) == 0);
    CHECK(cllm_train_steps(training, 2, 2, NULL) == 2 && training->current_step == 5);
    CHECK(cllm_train_steps(training, 0, 0, &loss) == batches - 5); /* to the end */
    CHECK(cllm_train_steps(training, 1, 0, &loss) == 0 && training->current_epoch == 1);
    CHECK(training->current_batch_offset == 0 && progress_calls == 3);
    int total = 0, did;
    while ((did = cllm_train_steps(training, 3, 0, &loss)) > 0) total += did;
    CHECK(total == batches && training->current_epoch == 2);
    /* The model knows how it was trained, also after a checkpoint was read. */
    const TrainingMetadata *note = &model->training_meta;
    CHECK(note->training_steps == (uint64_t)training->current_step);
    CHECK(note->loss == training->current_loss && note->learning_rate == config.learning_rate);
    CHECK(cllm_save_checkpoint(training, in_scratch("run.cllm")) == 0);
    TrainingMetadata saved = *note;
    CHECK(cllm_train_steps(training, 1, 1, NULL) == 1);
    CHECK(note->training_steps == saved.training_steps + 1);
    CHECK(cllm_load_checkpoint(training, in_scratch("run.cllm")) == 0);
    CHECK(note->training_steps == saved.training_steps && note->loss == saved.loss);
    CHECK(note->learning_rate == saved.learning_rate && note->timestamp >= saved.timestamp);
    CLLMModel *read = cllm_read_model(in_scratch("run.cllm"));
    CHECK(read && read->training_meta.training_steps == saved.training_steps);
    cllm_free_model(read);
    /* The loops call it too. */
    progress_calls = 0;
    last_step = 1 << 30;
    cllm_set_progress_callback(training, watch, &last_step);
    cllm_train_epoch(training);
    CHECK(progress_calls == batches);
    CHECK(cllm_train_steps(NULL, 1, 1, &loss) == -1 && cllm_train_steps(training, 1, -1, &loss) == -1);
    CHECK(cllm_set_progress_callback(NULL, watch, NULL) == -1);
    CLLMTraining *foreign = calloc(1, sizeof *foreign);
    CHECK(cllm_set_progress_callback(foreign, watch, NULL) == -1);
    free(foreign);
    cllm_training_free(training);
    end();
}

static void put_file(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    CHECK(file && fputs(text, file) >= 0);
    if (file) fclose(file);
}

static const char *file_text(const char *path) {
    static char text[100000];
    FILE *file = fopen(path, "r");
    text[file ? fread(text, 1, sizeof text - 1, file) : 0] = '\0';
    if (file) fclose(file);
    return text;
}

static void pictures(void) {
    const char *csv = in_scratch("metrics.csv"), *svg = in_scratch("loss.svg");
    put_file(csv, "step,train_loss,learning_rate,val_loss\n1,9.5,0.001,\n2,8.5,0.002,9\n3,7");
    CHECK(cllm_plot_metrics(csv, svg) == 0);
    const char *drawn = file_text(svg);
    CHECK(strncmp(drawn, "<svg", 4) == 0 && strstr(drawn, "</svg>"));
    CHECK(strstr(drawn, "training") && strstr(drawn, "validation") && strstr(drawn, "Learning rate"));
    static char before[100000];
    snprintf(before, sizeof before, "%s", drawn);

    /* What fails leaves the old picture. */
    put_file(csv, "step,train_loss\n1,high\n");
    CHECK(cllm_plot_metrics(csv, svg) == -1);
    CHECK(strstr(cllm_last_error(), "metrics.csv") && strstr(cllm_last_error(), "line 2: 'high'"));
    put_file(csv, "step,train_loss\n1,nan\n");
    CHECK(cllm_plot_metrics(csv, svg) == -1 && strstr(cllm_last_error(), "no loss"));
    put_file(csv, "");
    CHECK(cllm_plot_metrics(csv, svg) == -1 && strstr(cllm_last_error(), "line 1"));
    CHECK(cllm_plot_metrics(in_scratch("missing.csv"), svg) == -1);
    CHECK(strstr(cllm_last_error(), "missing.csv") != NULL);
    CHECK(cllm_plot_metrics(NULL, svg) == -1 && cllm_plot_metrics(csv, NULL) == -1);
    CHECK(strcmp(file_text(svg), before) == 0);
    put_file(csv, "epoch,train_loss\n1,2.5\n");
    CHECK(cllm_plot_metrics(csv, in_scratch("no/such/folder.svg")) == -1);
    CHECK(cllm_plot_metrics(csv, svg) == 0 && strcmp(file_text(svg), before) != 0);

    /* The record of cllm_production.h is one too. */
    TrainingMetrics *metrics = create_training_metrics(2);
    CHECK(metrics != NULL);
    record_metrics(metrics, 1, 4.5f, 5.5f, 0.001f);
    save_metrics_csv(metrics, csv);
    CHECK(cllm_plot_metrics(csv, svg) == 0 && strstr(file_text(svg), "epoch"));
    free_training_metrics(metrics);
}

/* What of a description outlives its callback. */
typedef struct Seen {
    int calls;
    CLLMFileInfo info;
    CLLMHeader header;
    TrainingMetadata training;
    char parts[200], words[200], problem[200];
    int damaged; /* CLLM_FILE_DAMAGED parts */
} Seen;

static void see(const CLLMFileInfo *info, void *user_data) {
    Seen *seen = user_data;
    seen->calls++;
    seen->info = *info;
    if (info->header) seen->header = *info->header;
    if (info->training) seen->training = *info->training;
    for (size_t i = 0; i < info->num_parts; i++) {
        const CLLMFilePart *part = &info->parts[i];
        size_t n = strlen(seen->parts);
        snprintf(seen->parts + n, sizeof seen->parts - n, "%s ", part->name);
        seen->damaged += part->integrity == CLLM_FILE_DAMAGED;
        CHECK(part->content && *part->content);
    }
    for (size_t i = 0; i < info->words_read; i++) {
        size_t n = strlen(seen->words);
        snprintf(seen->words + n, sizeof seen->words - n, "%s ", info->words[i]);
    }
    if (info->num_problems) snprintf(seen->problem, sizeof seen->problem, "%s", info->problems[0]);
}

static void descriptions(void) {
    const char *path = in_scratch("described.cllm");
    CLLMConfig config = {12, 8, 1, 2, 16, 4, 0};
    CLLMModel *model = cllm_create_model(&config);
    CHECK(model != NULL);
    strcpy(model->header.model_name, "a name");
    strcpy(model->tokens[1].token_str, "second");
    model->training_meta.training_steps = 7;
    CHECK(cllm_write_model(model, path) == 0);
    uint64_t parameters = cllm_model_parameters(model);
    CHECK(parameters == model->num_weights + (model->pos_encoding.learned_positions ? 4 * 8 : 0));
    CHECK(cllm_model_parameters(NULL) == 0);
    cllm_free_model(model);

    Seen seen = {0};
    CHECK(cllm_describe_file(path, 2, see, &seen) == 0);
    CHECK(seen.calls == 1 && seen.info.struct_size == sizeof(CLLMFileInfo) && seen.info.extended);
    CHECK(strcmp(seen.parts, "header body SHAP NORM POSN WORD TSET META ") == 0);
    CHECK(strcmp(seen.words, "token_0 second ") == 0 && seen.info.num_words == 12);
    CHECK(seen.header.vocab_size == 12 && strcmp(seen.header.model_name, "a name") == 0);
    CHECK(seen.training.training_steps == 7 && seen.info.num_problems == 0);
    CHECK(seen.info.parameters == parameters && seen.info.bytes_per_token == 0);

    /* One byte of the weights. */
    FILE *file = fopen(path, "r+b");
    CHECK(file && fseek(file, 2000, SEEK_SET) == 0 && fputc(1, file) == 1);
    if (file) fclose(file);
    memset(&seen, 0, sizeof seen);
    CHECK(cllm_describe_file(path, 0, see, &seen) == 1);
    CHECK(seen.damaged == 1 && seen.info.num_problems == 1 && seen.info.words_read == 0);
    CHECK(seen.info.parameters == parameters);
    CHECK(strstr(seen.problem, "body: damaged somewhere in bytes 1576 to"));

    /* No description. */
    memset(&seen, 0, sizeof seen);
    put_file(path, "text");
    CHECK(cllm_describe_file(path, 2, see, &seen) == -1);
    CHECK(strstr(cllm_last_error(), "not a model file"));
    CHECK(cllm_describe_file(in_scratch("missing"), 2, see, &seen) == -1);
    CHECK(cllm_describe_file(NULL, 2, see, &seen) == -1);
    CHECK(cllm_describe_file(path, 2, NULL, &seen) == -1);
    CHECK(seen.calls == 0);
    put_file(path, "CLLM");
    CHECK(cllm_describe_file(path, 2, see, &seen) == 1 && !seen.info.header);
    CHECK(strstr(seen.problem, "header: should have 1576 bytes from 0 on, the file ends at 4"));
}

int main(void) {
    cllm_set_log_silent();
    scratch_make();
    RUN(version);
    RUN(errors);
    RUN(logging);
    RUN(settings);
    RUN(streaming);
    RUN(whole_characters);
    RUN(evaluation);
    RUN(vocabularies);
    RUN(training_steps);
    RUN(pictures);
    RUN(descriptions);
    CHECK(scratch_remove() == 0);
    return harness_report();
}
