/* Texts as they come, vocabularies as editors leave them, special words, ids that a model lacks: what
 * cllm_ext.h adds for them, and that all headers follow one rule. */
#include "scratch.h"

#include "cllm_data_loader.h"
#include "cllm_ext.h"
#include "cllm_inference.h"
#include "cllm_production.h"
#include "cllm_training.h"
#include "cllm_training_mt.h"
#include "cllm_training_threaded.h"
#include "cllm_utils.h"
#include "cllm_vocab_builder.h"
#include "harness.h"

static void put(const char *name, const char *bytes, size_t size) {
    FILE *file = fopen(name, "wb");
    CHECK(file && fwrite(bytes, 1, size, file) == size && fclose(file) == 0);
}

#define PUT(name, literal) put(name, literal, sizeof(literal) - 1)

static char logged[512];
static int warnings;

static void to_buffer(int level, const char *message, void *unused) {
    (void)unused;
    warnings += level == CLLM_LOG_WARNING;
    snprintf(logged, sizeof logged, "%s", message);
}

static bool last_error_has(const char *what) {
    return strstr(cllm_last_error(), what) != NULL;
}

/* ---- Texts ---- */

static void decoded_texts(void) {
    const struct {
        const char *bytes;
        size_t length;
        const char *text;
    } cases[] = {
        {"the cat", 7, "the cat"},
        {"\xEF\xBB\xBFthe", 6, "the"},
        {"\xFF\xFEt\0h\0e\0", 8, "the"},
        {"\xFE\xFF\0t\0h\0e", 8, "the"},
        {"\xFF\xFE\0\0t\0\0\0\xE9\0\0\0", 12, "t\xC3\xA9"},
        {"t\0h\0e\0 \0c\0a\0t\0", 14, "the cat"},
        {"\0t\0h\0e\0 \0c\0a\0t", 14, "the cat"},
        {"a\0b\xFF", 4, "a b\xFF"}, /* a NUL is a blank, other bytes stay */
        {"", 0, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = cllm_decode_text(cases[i].bytes, cases[i].length);
        CHECK(text && strcmp(text, cases[i].text) == 0);
        free(text);
    }
    char zeros[100] = {0};
    CHECK(!cllm_decode_text(zeros, sizeof zeros) && last_error_has("no text"));
    CHECK(!cllm_decode_text("\xFF\xFE" "a", 3) && last_error_has("UTF-16 with a damaged"));
    CHECK(!cllm_decode_text(NULL, 3) && !cllm_decode_text("a", SIZE_MAX));
}

/* One text in all dresses and in all functions that read files. */
static void files_in_every_dress(void) {
    PUT("plain.txt", "The cat\nsat\n");
    PUT("mark.txt", "\xEF\xBB\xBFThe cat\r\nsat\r\n");
    PUT("wide.txt", "\xFF\xFET\0h\0e\0 \0c\0a\0t\0\r\0\n\0s\0a\0t\0\r\0\n\0");
    PUT("bare.txt", "T\0h\0e\0 \0c\0a\0t\0\n\0s\0a\0t\0\n\0");
    static const char *const files[] = {"plain.txt", "mark.txt", "wide.txt", "bare.txt"};
    for (int i = 0; i < 4; i++) {
        CLLMTokenizer *tokenizer = cllm_create_tokenizer(20);
        CLLMDataLoader *loader = cllm_data_loader_create(tokenizer);
        CHECK(cllm_data_loader_load_file(loader, files[i]) == 1);
        cllm_data_loader_build_vocab(loader);
        CHECK(cllm_get_vocab_size(tokenizer) == 8);
        CHECK(cllm_find_token(tokenizer, "the") == 5 && cllm_find_token(tokenizer, "sat") == 7);

        CLLMConfig shape = {.vocab_size = 8, .embedding_dim = 4, .num_layers = 1, .num_heads = 1,
                            .ff_dim = 4, .max_seq_len = 4};
        CLLMModel *model = cllm_create_model(&shape);
        CHECK(cllm_build_vocabulary_from_file(model, files[i]) == 8);
        CHECK(strcmp(model->tokens[5].token_str, "the") == 0);
        CLLMTrainingConfig config = {.batch_size = 1, .sequence_length = 2};
        CLLMTraining *training = cllm_training_init(model, &config);
        CHECK(cllm_load_training_data(training, files[i]) == 3);
        CHECK(training->tokens[0] == 5 && training->tokens[2] == 7);
        free(training->tokens);
        cllm_training_free(training);
        cllm_free_model(model);
        cllm_data_loader_free(loader);
        cllm_free_tokenizer(tokenizer);
    }
}

/* Training, prompts, validation and the tokenizer cut and fold a text alike. */
static void one_rule_for_words(void) {
    const char *text = "\xEF\xBB\xBFThe Cat\r\nsat\fon\vthe <EOS> mat <eos> <Unk> \xC3\x89t\xC3\xA9 zebra";
    CLLMTokenizer *tokenizer = cllm_create_tokenizer(50);
    cllm_build_vocab(tokenizer, "the cat sat on mat <eos> \xC3\x89t\xC3\xA9");
    CHECK(cllm_get_vocab_size(tokenizer) == 12); /* <eos> is a word like others */
    uint32_t n = 0, *expected = cllm_tokenizer_encode(tokenizer, text, &n);
    const uint32_t want[] = {5, 6, 7, 8, 5, 10, 9, 10, 1, 11, 1};
    CHECK(n == 11 && memcmp(expected, want, sizeof want) == 0);

    CLLMConfig shape = {.vocab_size = 12, .embedding_dim = 8, .num_layers = 1, .num_heads = 1,
                        .ff_dim = 8, .max_seq_len = 10};
    CLLMModel *model = cllm_create_model(&shape);
    CHECK(cllm_model_set_vocab(model, tokenizer) == 0);
    CLLMInference *inference = cllm_inference_init(model);
    uint32_t ids[20];
    CHECK(cllm_tokenize(inference, text, ids, 20) == 11 && memcmp(ids, want, sizeof want) == 0);
    CHECK(cllm_tokenize_with_vocab(model, text, ids, 20) == 11 && memcmp(ids, want, sizeof want) == 0);
    char out[100];
    cllm_detokenize(inference, ids, 11, out, sizeof out); /* <UNK> is hidden, the word <eos> is not */
    CHECK(strcmp(out, "the cat sat on the <eos> mat <eos> \xC3\x89t\xC3\xA9") == 0);

    put("rule.txt", text, strlen(text));
    CLLMDataLoader *loader = cllm_data_loader_create(tokenizer);
    CHECK(cllm_data_loader_load_file(loader, "rule.txt") == 1);
    TokenDataset *dataset = cllm_data_loader_create_dataset(loader);
    CHECK(dataset->num_tokens == 11 && memcmp(dataset->tokens, want, sizeof want) == 0);
    CLLMTrainingConfig config = {.batch_size = 1, .sequence_length = 10};
    CLLMTraining *training = cllm_training_init(model, &config);
    CHECK(cllm_load_training_data(training, "rule.txt") == 11);
    CHECK(memcmp(training->tokens, want, sizeof want) == 0);
    ValidationSet *set = create_validation_set("rule.txt", 1, 10);
    double mean;
    CHECK(cllm_evaluate(model, expected, n, 10, 1, &mean, NULL) == 0);
    CHECK_NEAR(evaluate_validation(training, set), mean, 1e-5);
    free_validation_set(set);
    free(training->tokens);
    cllm_training_free(training);
    cllm_token_dataset_free(dataset);
    cllm_data_loader_free(loader);
    cllm_inference_cleanup(inference);
    cllm_free_model(model);
    free(expected);
    cllm_free_tokenizer(tokenizer);
}

static void case_is_kept_all_the_way(void) {
    CLLMTokenizer *tokenizer = cllm_create_tokenizer(50);
    CLLMDataLoader *loader = cllm_data_loader_create(tokenizer);
    loader->lowercase = 0;
    CHECK(cllm_data_loader_add_document(loader, "The cat and The dog <EOS> the IT dept") == 1);
    cllm_data_loader_build_vocab(loader);
    CHECK(cllm_find_token(tokenizer, "The") == 5 && cllm_find_token(tokenizer, "IT") == 11);
    CHECK(tokenizer->token_counts[5] == 2 && tokenizer->token_counts[3] == 0);
    CHECK(cllm_find_token(tokenizer, "<eos>") == 9); /* also where case is kept */
    TokenDataset *dataset = cllm_data_loader_create_dataset(loader);
    const uint32_t want[] = {5, 6, 7, 5, 8, 9, 10, 11, 12};
    CHECK(dataset->num_tokens == 9 && memcmp(dataset->tokens, want, sizeof want) == 0);
    cllm_token_dataset_free(dataset);
    cllm_data_loader_free(loader);

    /* The tokenizer's own functions know it, also after a file; a word is found in lower case too. */
    CHECK(cllm_save_vocab(tokenizer, "cased.txt") == 1);
    CLLMTokenizer *read = cllm_read_vocab("cased.txt");
    CLLMTokenizer *const both[] = {tokenizer, read};
    for (int i = 0; i < 2; i++) {
        uint32_t n = 0, *ids = cllm_tokenizer_encode(both[i], "The the IT Dog <EOS>", &n);
        CHECK(n == 5 && ids[0] == 5 && ids[1] == 10 && ids[2] == 11 && ids[3] == 8 && ids[4] == 9);
        free(ids);
        cllm_free_tokenizer(both[i]);
    }
}

/* ---- Vocabulary files ---- */

#define SPECIALS "<PAD>\t0\n<UNK>\t0\n<BOS>\t0\n<EOS>\t0\n<MASK>\t0\n"

static void a_vocabulary_of_any_editor(void) {
    PUT("v.txt", SPECIALS "cat\t3\ndog\t2\n");
    PUT("v_mark.txt", "\xEF\xBB\xBF" SPECIALS "cat\t3\ndog\t2\n");
    PUT("v_crlf.txt", "<PAD>\t0\r\n<UNK>\t0\r\n<BOS>\t0\r\n<EOS>\t0\r\n<MASK>\t0\r\ncat\t3\r\ndog\t2\r\n\r\n");
    static const char *const files[] = {"v.txt", "v_mark.txt", "v_crlf.txt"};
    for (int i = 0; i < 3; i++) {
        CLLMTokenizer *exact = cllm_read_vocab(files[i]), *roomy = cllm_create_tokenizer(50);
        CHECK(exact && exact->vocab_size == 7 && exact->max_vocab_size == 7);
        CHECK(cllm_load_vocab(roomy, files[i]) == 1 && roomy->vocab_size == 7);
        CHECK(cllm_find_token(exact, "dog") == 6 && cllm_find_token(roomy, "dog") == 6);
        CHECK(exact->token_counts[6] == 2 && roomy->token_counts[5] == 3);
        cllm_free_tokenizer(exact);
        cllm_free_tokenizer(roomy);
    }
}

static void lines_that_would_move_ids(void) {
    const struct {
        const char *content, *problem;
        bool also_loaded; /* by cllm_load_vocab, which promises a round trip of repeated words */
    } cases[] = {
        {SPECIALS "cat\t3\ndog\nbird\t1\n", "line 7 has no TAB", false},
        {SPECIALS "cat\t3\n\nbird\t1\n", "line 7 is empty", false},
        {SPECIALS "cat\t3\nbird\tmany\n", "line 7 has 'many' for a count", false},
        {SPECIALS "cat\t3\nbird\t1\ncat\t2\n", "line 8 repeats 'cat' of line 6", true},
        {"<PAD>\t0\n<UNK>\t0\n<EOS>\t0\n<MASK>\t0\ncat\t3\n", "lacks <BOS>", false},
        {"cat\t3\n" SPECIALS, "line 1 does not hold <PAD>", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put("bad.txt", cases[i].content, strlen(cases[i].content));
        CHECK(!cllm_read_vocab("bad.txt") && last_error_has(cases[i].problem));
        CHECK(last_error_has("bad.txt"));
        CLLMTokenizer *tokenizer = cllm_create_tokenizer(50);
        CHECK(cllm_load_vocab(tokenizer, "bad.txt") == cases[i].also_loaded);
        CHECK(cases[i].also_loaded || cllm_get_vocab_size(tokenizer) == 5);
        cllm_free_tokenizer(tokenizer);
    }
    /* A model's words are lines too, with or without special words. */
    CLLMConfig shape = {.vocab_size = 9, .embedding_dim = 4, .num_layers = 1, .num_heads = 1,
                        .ff_dim = 4, .max_seq_len = 4};
    CLLMModel *model = cllm_create_model(&shape);
    PUT("bad.txt", "cat\t3\ndog\nbird\t1\n");
    CHECK(cllm_model_load_vocab(model, "bad.txt") == -1 && last_error_has("line 2 has no TAB"));
    PUT("bad.txt", "cat\t3\ncat\t1\n");
    CHECK(cllm_model_load_vocab(model, "bad.txt") == -1 && last_error_has("line 2 repeats 'cat'"));
    CHECK(strcmp(model->tokens[0].token_str, "token_0") == 0);
    cllm_free_model(model);
    CHECK(!cllm_read_vocab("missing.txt") && !cllm_read_vocab(NULL) && !cllm_read_vocab(""));
    /* Words without the special ones follow those of the tokenizer: said, not silent. */
    PUT("words.txt", "cat\t3\n");
    CLLMTokenizer *tokenizer = cllm_create_tokenizer(9);
    warnings = 0;
    CHECK(cllm_load_vocab(tokenizer, "words.txt") == 1 && warnings == 1);
    CHECK(cllm_find_token(tokenizer, "cat") == 5);
    CHECK(cllm_load_vocab(tokenizer, "words.txt") == 1 && warnings == 1);
    cllm_free_tokenizer(tokenizer);
}

/* ---- Special words in generation ---- */

enum { V = 12, D = 8 };

/* Words of a text from 5 on; `<eos>` at 7 is a word of the text; 10 and 11 hold none. */
static CLLMModel *model_with_words(void) {
    CLLMConfig shape = {.vocab_size = V, .embedding_dim = D, .num_layers = 1, .num_heads = 1,
                        .ff_dim = 8, .max_seq_len = 16};
    CLLMTokenizer *tokenizer = cllm_create_tokenizer(V);
    srand(1);
    CLLMModel *model = cllm_create_model(&shape);
    cllm_build_vocab(tokenizer, "the cat <EOS> sat mat");
    CHECK(cllm_model_set_vocab(model, tokenizer) == 0);
    cllm_free_tokenizer(tokenizer);
    return model;
}

/* Makes `id` the likeliest token whatever came before: all end in the same hidden direction. */
static void favour(CLLMModel *model, CLLMInference *inference, uint32_t id) {
    uint32_t prompt[] = {5};
    cllm_forward(inference, prompt, 1);
    for (int i = 0; i < D; i++) {
        model->embeddings.embeddings[id * D + i] = 9 * inference->hidden_states[i];
    }
    cllm_kv_cache_clear(inference);
}

typedef struct Drawn {
    int counts[V];
    int pieces;
} Drawn;

static bool count_tokens(const char *piece, size_t length, uint32_t token, void *drawn) {
    CHECK(length > 1 && piece[0] == ' ' && token < V);
    ((Drawn *)drawn)->counts[token]++;
    ((Drawn *)drawn)->pieces++;
    return true;
}

static void special_words_are_not_drawn(void) {
    CLLMModel *model = model_with_words();
    CLLMInference *inference = cllm_inference_init(model);
    cllm_set_top_k(inference, 0), cllm_set_top_p(inference, 1), cllm_set_temperature(inference, 2);
    cllm_set_seed(inference, 7);
    cllm_set_max_tokens(inference, 1000);
    Drawn drawn = {0};
    /* As many words as were asked for, also beyond 512 and beyond the context. */
    CHECK(cllm_generate_stream(inference, "the", count_tokens, &drawn) == 1000);
    CHECK(drawn.pieces == 1000);
    for (int id = 0; id < V; id++) {
        CHECK((drawn.counts[id] > 0) == (id >= 5 && id < 10));
    }
    CHECK(cllm_continue_stream(inference, count_tokens, &drawn) == 1000 && drawn.pieces == 2000);
    /* Allowed, they are drawn and hidden, and the text is shorter or ends. */
    CHECK(cllm_set_allow_special(inference, true) == 0);
    memset(&drawn, 0, sizeof drawn);
    cllm_generate_stream(inference, "the", count_tokens, &drawn);
    CHECK(drawn.pieces < 1000);
    CHECK(cllm_set_allow_special(inference, false) == 0 && cllm_set_allow_special(NULL, true) == -1);

    /* Greedy: the likeliest of the words, though <UNK> is likelier. */
    char text[300];
    cllm_set_greedy(inference, true);
    cllm_set_max_tokens(inference, 3);
    favour(model, inference, 1);
    CHECK(cllm_generate(inference, "the", text, sizeof text) == 3 && strchr(text, ' '));
    /* cllm_sample_token draws from what it is given. */
    float logits[V] = {[1] = 5, [6] = 1};
    CHECK(cllm_sample_token(inference, logits) == 1);
    cllm_inference_cleanup(inference);
    cllm_free_model(model);
}

static void an_end_that_was_trained_ends(void) {
    char text[300];
    CLLMModel *model = model_with_words();
    CLLMInference *inference = cllm_inference_init(model);
    cllm_set_greedy(inference, true);
    cllm_set_max_tokens(inference, 3);
    /* The word <eos> of a text is a word: it ends nothing, and it is shown. */
    favour(model, inference, 7);
    CHECK(cllm_generate(inference, "the", text, sizeof text) == 3 && strstr(text, " <eos>"));
    /* The special word was never met by training: it is no end yet. */
    favour(model, inference, 3);
    memset(model->embeddings.embeddings + 7 * D, 0, D * sizeof(float));
    CHECK(cllm_generate(inference, "the", text, sizeof text) == 3);
    /* Ids of a program that puts it between its texts. */
    uint32_t ids[] = {2, 5, 6, 3, 2, 5, 8, 3, 2};
    CLLMTrainingConfig config = {.learning_rate = 1e-9f, .batch_size = 1, .sequence_length = 4};
    CLLMTraining *training = cllm_training_init(model, &config);
    training->tokens = ids, training->num_tokens = 9;
    cllm_train_epoch(training);
    CHECK(model->tokens[3].frequency == 2 && model->tokens[2].frequency == 0);
    CHECK(cllm_generate(inference, "the", text, sizeof text) == 0 && strcmp(text, "the") == 0);
    training->tokens = NULL;
    cllm_training_free(training);
    cllm_inference_cleanup(inference);
    cllm_free_model(model);
}

/* A context that generated before gives the text of a fresh one. */
static void a_seed_is_a_text(void) {
    CLLMConfig shape = {.vocab_size = 2000, .embedding_dim = 16, .num_layers = 2, .num_heads = 2,
                        .ff_dim = 32, .max_seq_len = 256};
    srand(3);
    CLLMModel *model = cllm_create_model(&shape);
    static char first[20000], prompt[20100], used_text[40000], fresh_text[40000];
    CLLMInference *contexts[2];
    for (int i = 0; i < 2; i++) {
        contexts[i] = cllm_inference_init(model);
        cllm_set_top_k(contexts[i], 0), cllm_set_top_p(contexts[i], 1);
        cllm_set_max_tokens(contexts[i], 60);
    }
    cllm_set_seed(contexts[0], 1);
    CHECK(cllm_generate(contexts[0], "token_7", first, sizeof first) == 60);
    snprintf(prompt, sizeof prompt, "%s token_9", first);
    cllm_set_seed(contexts[0], 2), cllm_set_seed(contexts[1], 2);
    CHECK(cllm_generate(contexts[0], prompt, used_text, sizeof used_text) == 60);
    CHECK(cllm_generate(contexts[1], prompt, fresh_text, sizeof fresh_text) == 60);
    CHECK(strcmp(used_text, fresh_text) == 0);
    /* Not by luck: the logits of both are the same bits. */
    CHECK(memcmp(contexts[0]->logits, contexts[1]->logits, 2000 * sizeof(float)) == 0);
    cllm_inference_cleanup(contexts[0]), cllm_inference_cleanup(contexts[1]);
    cllm_free_model(model);
}

/* ---- Ids that a model lacks ---- */

static void ids_beyond_the_vocabulary(void) {
    CLLMModel *model = model_with_words();
    CLLMTrainingConfig config = {.learning_rate = 1e-3f, .batch_size = 1, .sequence_length = 4};
    CLLMTraining *training = cllm_training_init(model, &config);
    uint32_t ids[21];
    for (int i = 0; i < 21; i++) ids[i] = 999999;
    training->tokens = ids, training->num_tokens = 21;
    float loss = 7;
    cllm_clear_error();
    CHECK(cllm_train_epoch(training) == 0 && last_error_has("21 of 21 ids"));
    CHECK(last_error_has("the first is 999999, at position 0"));
    CHECK(cllm_train_epoch_mt(training, 2) == 0 && training->current_step == 0);
    CHECK(cllm_train_steps(training, 1, 1, &loss) == -1 && loss == 7);
    CHECK(cllm_train(training) == 0); /* no epochs */
    training->config.num_epochs = 1;
    CHECK(cllm_train(training) == -1);
    double mean = 7;
    CHECK(cllm_evaluate(model, ids, 21, 4, 1, &mean, NULL) == -1 && mean == 7);
    CLLMBatchIterator *iterator = cllm_batch_iterator_create(ids, 21, 1, 4, 0, 1);
    ThreadedTrainingSystem *system = threaded_training_create(training, iterator, 1);
    cllm_clear_error();
    CHECK(threaded_train_epoch(system) == 0 && last_error_has("21 of 21 ids"));

    /* Some: they are left out, and that is said once as long as it stays so. */
    for (int i = 0; i < 21; i++) ids[i] = i % 7 == 6 ? V + 3 : 5 + (uint32_t)i % 5;
    warnings = 0;
    cllm_clear_error();
    CHECK(cllm_train_epoch(training) > 0 && warnings == 1);
    CHECK(strstr(logged, "3 of 21 ids") && strstr(logged, "the first is 15, at position 6"));
    CHECK(cllm_train_epoch(training) > 0 && warnings == 1);
    CHECK(threaded_train_epoch(system) > 0 && warnings == 1);
    ids[0] = V;
    CHECK(cllm_train_epoch(training) > 0 && warnings == 2 && strstr(logged, "4 of 21 ids"));
    CHECK(cllm_evaluate(model, ids, 21, 4, 1, &mean, NULL) == 0 && warnings == 3);
    CHECK(*cllm_last_error() == '\0');
    threaded_training_free(system);
    cllm_batch_iterator_free(iterator);
    training->tokens = NULL;
    cllm_training_free(training);
    cllm_free_model(model);
}

/* ---- Success and failure ---- */

static void success_can_be_told(void) {
    CLLMModel *model = model_with_words();
    CLLMInference *inference = cllm_inference_init(model);
    uint32_t good[] = {5, 6}, bad[] = {5, V};
    cllm_forward(inference, bad, 2);
    CHECK(*cllm_last_error() != '\0');
    cllm_forward(inference, good, 2);
    CHECK(*cllm_last_error() != '\0'); /* a success leaves it */
    cllm_clear_error();
    CHECK(*cllm_last_error() == '\0');
    cllm_forward(inference, good, 2);
    CHECK(*cllm_last_error() == '\0');
    cllm_forward(inference, bad, 2);
    CHECK(strncmp(cllm_last_error(), "cllm_forward:", 13) == 0);
    cllm_inference_cleanup(inference);
    cllm_free_model(model);
}

int main(void) {
    cllm_set_log_callback(to_buffer, NULL);
    scratch_make();
    CHECK(chdir(scratch) == 0);
    RUN(decoded_texts);
    RUN(files_in_every_dress);
    RUN(one_rule_for_words);
    RUN(case_is_kept_all_the_way);
    RUN(a_vocabulary_of_any_editor);
    RUN(lines_that_would_move_ids);
    RUN(special_words_are_not_drawn);
    RUN(an_end_that_was_trained_ends);
    RUN(a_seed_is_a_text);
    RUN(ids_beyond_the_vocabulary);
    RUN(success_can_be_told);
    CHECK(chdir("/") == 0 && scratch_remove() == 0);
    return harness_report();
}
