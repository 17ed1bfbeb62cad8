/* Tokenizers of subwords: training, files, texts that come back as they went in, models that speak
 * them and go on learning, and vocabularies of words that grow. */
#include "scratch.h"

#include "cllm_data_loader.h"
#include "cllm_ext.h"
#include "cllm_format.h"
#include "cllm_inference.h"
#include "cllm_training.h"
#include "cllm_utils.h"
#include "cllm_vocab_builder.h"
#include "harness.h"

#define LINES \
    "ROMEO:\nIs the day so young?\n\nBENVOLIO:\nBut new struck nine.\n\nROMEO:\nAy me! sad hours seem " \
    "long.\nWas that my father that went hence so fast?\n\nBENVOLIO:\nIt was. What sadness lengthens " \
    "Romeo's hours?\n\nROMEO:\nNot having that, which, having, makes them short.\n\n"

/* Pairs that are met but once are not merged. */
static const char PLAY[] = LINES LINES;

static bool last_error_has(const char *what) {
    return strstr(cllm_last_error(), what) != NULL;
}

static void put(const char *name, const char *text) {
    CHECK(cllm_write_file(name, text, strlen(text)) == 0);
}

static CLLMTokenizer *trained(uint32_t size) {
    CLLMTokenizer *tokenizer = cllm_train_tokenizer(PLAY, sizeof PLAY - 1, size, NULL, NULL);
    CHECK(tokenizer && tokenizer->vocab_size == size && tokenizer->max_vocab_size == size);
    return tokenizer;
}

/* ---- Training ---- */

struct Watched {
    uint64_t bytes;
    uint32_t tokens, size, calls, stop_at;
};

static bool watch(uint64_t bytes, uint32_t tokens, uint32_t vocab_size, void *user_data) {
    struct Watched *seen = user_data;
    CHECK(bytes >= seen->bytes && tokens >= seen->tokens);
    seen->bytes = bytes, seen->tokens = tokens, seen->size = vocab_size, seen->calls++;
    return tokens < seen->stop_at;
}

static void training_is_watched_and_stopped(void) {
    struct Watched seen = {.stop_at = UINT32_MAX};
    CLLMTokenizer *whole = cllm_train_tokenizer(PLAY, sizeof PLAY - 1, 300, watch, &seen);
    CHECK(whole && seen.bytes == sizeof PLAY - 1 && seen.tokens == 300 && seen.size == 300);
    CHECK(seen.calls == 1 + 300 - 261);
    seen = (struct Watched){.stop_at = 270};
    CLLMTokenizer *half = cllm_train_tokenizer(PLAY, sizeof PLAY - 1, 300, watch, &seen);
    CHECK(half && half->vocab_size == 270);
    for (uint32_t id = 0; id < 270; id++) CHECK(strcmp(half->vocab[id], whole->vocab[id]) == 0);
    seen = (struct Watched){.stop_at = 0};
    CHECK(!cllm_train_tokenizer(PLAY, sizeof PLAY - 1, 300, watch, &seen) && last_error_has("stopped"));

    put("one.txt", PLAY);
    const char *file[] = {"one.txt"}, *folder[] = {"texts"}, *none[] = {"absent.txt"};
    CHECK(mkdir("texts", 0777) == 0);
    put("texts/a.txt", PLAY);
    CLLMTokenizer *of_file = cllm_train_tokenizer_files(file, 1, 300, NULL, NULL);
    CLLMTokenizer *of_folder = cllm_train_tokenizer_files(folder, 1, 300, NULL, NULL);
    CHECK(of_file && of_folder);
    uint64_t count = 0;
    for (uint32_t id = 0; id < 300; id++) {
        CHECK(strcmp(of_file->vocab[id], whole->vocab[id]) == 0);
        CHECK(strcmp(of_folder->vocab[id], whole->vocab[id]) == 0);
        count += whole->token_counts[id];
    }
    uint32_t n = 0, *ids = cllm_tokenizer_encode(whole, PLAY, &n);
    CHECK(ids && n == count); /* the counts are those of the text */
    free(ids);
    CHECK(!cllm_train_tokenizer_files(none, 1, 300, NULL, NULL) && last_error_has("absent.txt"));
    CHECK(!cllm_train_tokenizer_files(file, 0, 300, NULL, NULL));
    CHECK(!cllm_train_tokenizer_files(NULL, 1, 300, NULL, NULL));
    CHECK(!cllm_train_tokenizer(NULL, 3, 300, NULL, NULL));
    CHECK(!cllm_train_tokenizer(PLAY, 9, 260, NULL, NULL) && last_error_has("261"));
    cllm_free_tokenizer(whole);
    cllm_free_tokenizer(half);
    cllm_free_tokenizer(of_file);
    cllm_free_tokenizer(of_folder);
}

/* ---- Texts and tokens ---- */

static void any_bytes_come_back(void) {
    static const char bytes[] = "a\0b\xFF\xC3\xA9 <EOS>\r\n\t \xF0\x9F\x98\x80";
    CLLMTokenizer *both[] = {trained(300), cllm_byte_tokenizer()};
    CHECK(cllm_tokenizer_kind(both[0]) == CLLM_TOKENS_SUBWORDS);
    CHECK(cllm_tokenizer_kind(both[1]) == CLLM_TOKENS_BYTES && both[1]->vocab_size == 261);
    for (int i = 0; i < 2; i++) {
        size_t count = 9, length = 9;
        uint32_t *ids = cllm_text_to_tokens(both[i], bytes, sizeof bytes - 1, false, 1, &count);
        CHECK(ids && count <= sizeof bytes - 1);
        for (size_t k = 0; k < count; k++) CHECK(!cllm_token_is_special(both[i], ids[k]));
        char *text = cllm_tokens_to_text(both[i], ids, count, false, &length);
        CHECK(text && length == sizeof bytes - 1 && memcmp(text, bytes, length + 1) == 0);
        free(text), free(ids);

        ids = cllm_text_to_tokens(both[i], "<EOS>x", 6, true, 0, &count);
        CHECK(ids && count == 2 && (int)ids[0] == cllm_end_token(both[i]) && ids[0] == 3);
        CHECK(cllm_token_is_special(both[i], 3) && !cllm_token_is_special(both[i], 99999));
        text = cllm_tokens_to_text(both[i], ids, count, true, NULL);
        CHECK(text && strcmp(text, "<EOS>x") == 0);
        free(text);
        text = cllm_tokens_to_text(both[i], ids, count, false, &length);
        CHECK(text && strcmp(text, "x") == 0 && length == 1);
        free(text), free(ids);
        ids = cllm_text_to_tokens(both[i], "", 0, false, 1, &count);
        CHECK(ids && count == 0);
        text = cllm_tokens_to_text(both[i], NULL, 0, false, &length);
        CHECK(text && length == 0);
        free(text), free(ids);
        CHECK(!cllm_tokens_to_text(both[i], NULL, 2, false, &length));
        CHECK(!cllm_text_to_tokens(both[i], "a", 1, false, -1, &count) && count == 0);
        CHECK(!cllm_text_to_tokens(both[i], "a", 1, false, 1, NULL));
        cllm_free_tokenizer(both[i]);
    }
    size_t length = 0;
    CLLMTokenizer *words = cllm_create_tokenizer(20);
    cllm_build_vocab(words, "the cat");
    CHECK(cllm_tokenizer_kind(words) == CLLM_TOKENS_WORDS && cllm_tokenizer_kind(NULL) == 0);
    CHECK(cllm_end_token(words) == 3 && cllm_end_token(NULL) == -1);
    uint32_t *ids = cllm_text_to_tokens(words, "The <EOS> cat", 13, true, 1, &length);
    CHECK(ids && length == 3 && ids[0] == 5 && ids[1] == 3 && ids[2] == 6);
    char *text = cllm_tokens_to_text(words, ids, 3, false, NULL);
    CHECK(text && strcmp(text, "the cat") == 0);
    free(text), free(ids);
    ids = cllm_text_to_tokens(words, "The <EOS> cat", 13, false, 1, &length);
    CHECK(ids && length == 3 && ids[1] == 1);
    free(ids);
    cllm_free_tokenizer(words);
}

static void old_calls_speak_subwords(void) {
    CLLMTokenizer *tokenizer = trained(320);
    uint32_t n = 0, *ids = cllm_tokenizer_encode(tokenizer, PLAY, &n);
    char *text = cllm_tokenizer_decode(tokenizer, ids, n);
    CHECK(text && strcmp(text, PLAY) == 0 && n < sizeof PLAY / 2);
    free(text), free(ids);
    ids = cllm_encode_with_special(tokenizer, "x", &n);
    CHECK(ids && n == 3 && ids[0] == 2 && ids[2] == 3);
    free(ids);
    for (uint32_t id = 0; id < tokenizer->vocab_size; id++) {
        size_t length = 0;
        const char *shown = cllm_get_token_string(tokenizer, id);
        const char *bytes = cllm_token_text(tokenizer, id, &length);
        CHECK(cllm_find_token(tokenizer, shown) == id && bytes && length > 0);
        CHECK(!strpbrk(shown, " \t\n\r"));
    }
    CHECK(!cllm_token_text(tokenizer, 320, NULL));
    CHECK(cllm_find_token(tokenizer, " ") == cllm_find_token(tokenizer, "\xE2\x90\xA3"));
    CHECK(cllm_find_token(tokenizer, "\n") == 5 + '\n' && cllm_find_token(tokenizer, "\\n") == 5 + '\n');
    CHECK(cllm_find_token(tokenizer, "no such token") == 1);
    cllm_clear_error();
    CHECK(cllm_add_token(tokenizer, "word") == 1 && last_error_has("subwords"));
    CHECK(tokenizer->vocab_size == 320);
    uint32_t before = tokenizer->token_counts[5 + 'x'];
    cllm_build_vocab(tokenizer, "x x");
    CHECK(tokenizer->vocab_size == 320 && tokenizer->token_counts[5 + 'x'] >= before);
    cllm_free_tokenizer(tokenizer);
}

/* ---- Files ---- */

static void same(CLLMTokenizer *a, CLLMTokenizer *b) {
    CHECK(a && b && a->vocab_size == b->vocab_size);
    for (uint32_t id = 0; a && b && id < a->vocab_size; id++) CHECK(strcmp(a->vocab[id], b->vocab[id]) == 0);
    uint32_t n = 0, m = 0;
    uint32_t *x = cllm_tokenizer_encode(a, PLAY, &n), *y = cllm_tokenizer_encode(b, PLAY, &m);
    CHECK(x && y && n == m && memcmp(x, y, n * sizeof *x) == 0);
    free(x), free(y);
}

static void files_keep_a_tokenizer(void) {
    CLLMTokenizer *tokenizer = trained(330);
    CHECK(cllm_write_tokenizer(tokenizer, "tokenizer.json") == 0);
    CLLMTokenizer *again = cllm_read_tokenizer("tokenizer.json");
    same(tokenizer, again);
    cllm_free_tokenizer(again);

    CHECK(cllm_save_vocab(tokenizer, "vocab.txt") == 1);
    again = cllm_read_vocab("vocab.txt");
    same(tokenizer, again);
    CHECK(memcmp(again->token_counts, tokenizer->token_counts, 330 * sizeof(uint32_t)) == 0);
    CHECK(cllm_load_vocab(again, "vocab.txt") == 1); /* the same once more */
    cllm_free_tokenizer(again);
    again = cllm_create_tokenizer(1000);
    CHECK(cllm_load_vocab(again, "vocab.txt") == 1);
    same(tokenizer, again);
    cllm_free_tokenizer(again);
    again = cllm_create_tokenizer(300);
    CHECK(cllm_load_vocab(again, "vocab.txt") == 0 && last_error_has("room for 300"));
    CHECK(again->vocab_size == 5);
    cllm_build_vocab(again, "word");
    CHECK(cllm_load_vocab(again, "vocab.txt") == 0 && again->vocab_size == 6);
    CHECK(cllm_write_tokenizer(again, "out.json") == -1 && last_error_has("vocab.txt"));
    CHECK(cllm_save_vocab(again, "words.txt") == 1);
    cllm_free_tokenizer(again);
    CHECK(cllm_load_vocab(tokenizer, "words.txt") == 0 && last_error_has("holds words"));

    /* A line that no two lines above make. */
    FILE *file = fopen("vocab.txt", "a");
    CHECK(file && fputs("qqq\t1\n", file) >= 0 && fclose(file) == 0);
    CHECK(!cllm_read_vocab("vocab.txt") && last_error_has("line 331 is made of 3 tokens"));
    /* The bytes at other ids: the tokens of a tokenizer.json, no list of words. */
    file = fopen("vocab.txt", "w");
    for (uint32_t id = tokenizer->vocab_size; id-- > 0;) fprintf(file, "%s\t1\n", tokenizer->vocab[id]);
    CHECK(file && fclose(file) == 0);
    CHECK(!cllm_read_vocab("vocab.txt") && last_error_has("tokenizer.json instead"));

    CHECK(cllm_write_tokenizer_gpt2(tokenizer, "vocab.json", "merges.txt") == -1);
    put("bad.json", "{\"model\": {\"type\": \"WordPiece\", \"vocab\": {}}}");
    CHECK(!cllm_read_tokenizer("bad.json") && last_error_has("WordPiece") && last_error_has("bad.json"));
    put("bad.json", "{\"model\": ");
    CHECK(!cllm_read_tokenizer("bad.json") && last_error_has("bad.json"));
    CHECK(!cllm_read_tokenizer("absent.json") && !cllm_read_tokenizer(NULL));
    CHECK(!cllm_read_tokenizer_gpt2("absent.json", "absent.txt"));
    CHECK(cllm_write_tokenizer(NULL, "out.json") == -1 && cllm_write_tokenizer(tokenizer, NULL) == -1);
    cllm_free_tokenizer(tokenizer);
}

/* ---- Models ---- */

static CLLMModel *model_of(uint32_t vocab) {
    CLLMConfig shape = {.vocab_size = vocab, .embedding_dim = 16, .num_layers = 1, .num_heads = 2,
                        .ff_dim = 32, .max_seq_len = 32};
    CLLMModel *model = cllm_create_model_seeded(&shape, 7);
    CHECK(model != NULL);
    return model;
}

struct Text {
    char bytes[4096];
    size_t length;
};

static bool is_utf8(const char *piece, size_t length) {
    for (size_t i = 0; i < length;) {
        unsigned char lead = (unsigned char)piece[i];
        size_t size = lead < 0x80 ? 1 : lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC2 ? 2 : 9;
        if (i + size > length) return false;
        for (size_t k = 1; k < size; k++)
            if (((unsigned char)piece[i + k] & 0xC0) != 0x80) return false;
        i += size;
    }
    return true;
}

static bool collect(const char *piece, size_t length, uint32_t token, void *user_data) {
    struct Text *text = user_data;
    (void)token;
    CHECK(length > 0 && text->length + length < sizeof text->bytes && is_utf8(piece, length));
    memcpy(text->bytes + text->length, piece, length);
    text->bytes[text->length += length] = '\0';
    return true;
}

static void learn(CLLMModel *model, const char *name, int steps) {
    CLLMTokenizer *tokenizer = cllm_model_tokenizer(model, 0);
    CLLMDataLoader *loader = cllm_data_loader_create(tokenizer);
    CHECK(loader && cllm_data_loader_load_file(loader, name) == 1);
    TokenDataset *data = cllm_data_loader_create_dataset(loader);
    CLLMTrainingConfig config = {.learning_rate = 0.01f, .batch_size = 1, .sequence_length = 8,
                                 .gradient_accumulation_steps = 1};
    strcpy(config.optimizer, "adam");
    CLLMTraining *training = cllm_training_init(model, &config);
    CHECK(data && training);
    training->tokens = data->tokens;
    training->num_tokens = data->num_tokens;
    CHECK(data->num_tokens > 8);
    for (int i = 0; i < steps; i++) CHECK(cllm_train_steps(training, 1, 1, NULL) >= 0);
    training->tokens = NULL;
    cllm_training_free(training);
    cllm_token_dataset_free(data);
    cllm_data_loader_free(loader);
    cllm_free_tokenizer(tokenizer);
}

/* Text in, text out, by the model's own subwords, before its file and after. */
static void a_model_speaks_subwords(void) {
    static const char text[] = "Caf\xC3\xA9s:\n\n\tIs \xE2\x82\xAC 5 <EOS>?\n";
    CLLMTokenizer *tokenizer = trained(300);
    CLLMModel *small = model_of(299), *model = model_of(302);
    CHECK(cllm_model_set_vocab(small, tokenizer) == -1 && last_error_has("300") && last_error_has("299"));
    cllm_free_model(small);
    CHECK(cllm_model_set_vocab(model, tokenizer) == 0 && cllm_model_end_token(model) == 3);
    CHECK(strcmp(model->tokens[5 + ' '].token_str, "\xE2\x90\xA3") == 0);
    CHECK(strcmp(model->tokens[301].token_str, "token_301") == 0);
    put("euros.txt", "Caf\xC3\xA9s cost \xE2\x82\xAC 5.\nTea costs \xE2\x82\xAC 3.\n\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC!\n");
    learn(model, "euros.txt", 1000);
    CHECK(cllm_write_model(model, "model.cllm") == 0);
    CLLMModel *read = cllm_read_model("model.cllm");
    CHECK(read && strcmp(read->tokens[299].token_str, tokenizer->vocab[299]) == 0);

    struct Text said[2];
    char whole[2][600];
    for (int i = 0; i < 2; i++) {
        CLLMInference *inference = cllm_inference_init(i ? read : model);
        uint32_t ids[100];
        char out[100];
        int n = cllm_tokenize(inference, text, ids, 100);
        CHECK(n > 0 && n < (int)sizeof text);
        cllm_detokenize(inference, ids, n, out, sizeof out);
        CHECK(strcmp(out, text) == 0);
        cllm_detokenize(inference, ids, n, out, 5); /* cut before the character that does not fit */
        CHECK(strcmp(out, "Caf") == 0);
        CHECK(cllm_tokenize(inference, text, ids, 3) == 3);
        CHECK(cllm_tokenize_with_vocab(i ? read : model, text, ids, 100) == n);
        cllm_detokenize_with_vocab(i ? read : model, ids, n, out, sizeof out);
        CHECK(strcmp(out, text) == 0);

        said[i].length = 0;
        cllm_set_greedy(inference, true); /* what was learnt, so that no byte comes alone */
        cllm_set_max_tokens(inference, 120);
        int made = cllm_generate(inference, "Caf\xC3\xA9s", whole[i], sizeof whole[i]);
        CHECK(made == 120 && strncmp(whole[i], "Caf\xC3\xA9s", 6) == 0);
        CHECK(strstr(whole[i], "5.\n")); /* with its line breaks */
        /* One token at a time: what a character waits for comes with the next call. */
        cllm_set_max_tokens(inference, 1);
        CHECK(cllm_generate_stream(inference, "Caf\xC3\xA9s", collect, &said[i]) == 1);
        for (int k = 1; k < 120; k++) CHECK(cllm_continue_stream(inference, collect, &said[i]) == 1);
        CHECK(strncmp(whole[i] + 6, said[i].bytes, said[i].length) == 0);
        CHECK(strlen(whole[i]) - 6 - said[i].length < 3 && strstr(said[i].bytes, "\xE2\x82\xAC"));
        cllm_inference_cleanup(inference);
    }
    CHECK(strcmp(whole[0], whole[1]) == 0);
    CLLMTokenizer *of_model = cllm_model_tokenizer(read, 0);
    same(tokenizer, of_model);
    CHECK(of_model->token_counts[5 + 'e'] == tokenizer->token_counts[5 + 'e']);

    /* Words in their place: nothing of the subwords is left. */
    CLLMTokenizer *words = cllm_create_tokenizer(20);
    cllm_build_vocab(words, "tea costs euros");
    CHECK(cllm_model_set_vocab(read, words) == 0);
    CLLMInference *inference = cllm_inference_init(read);
    uint32_t ids[10];
    CHECK(cllm_tokenize(inference, "Tea costs", ids, 10) == 2 && ids[0] == 5 && ids[1] == 6);
    cllm_inference_cleanup(inference);
    cllm_free_tokenizer(words);
    cllm_free_tokenizer(of_model);
    cllm_free_tokenizer(tokenizer);
    cllm_free_model(read);
    cllm_free_model(model);
}

/* Documents are separated by the end token; where training met it, generation stops there. */
static void documents_end(void) {
    CLLMTokenizer *tokenizer = cllm_byte_tokenizer();
    CLLMDataLoader *loader = cllm_data_loader_create(tokenizer);
    CHECK(cllm_data_loader_add_document(loader, "Ab  c\n") == 1);
    CHECK(cllm_data_loader_add_document(loader, "Ab  c\n") == 1);
    CHECK(strcmp(loader->documents[0], "Ab  c\n") == 0);
    cllm_data_loader_build_vocab(loader);
    CHECK(loader->total_tokens == 12 && tokenizer->token_counts[5 + 'A'] == 2);
    TokenDataset *data = cllm_data_loader_create_dataset(loader);
    CHECK(data && data->num_tokens == 13 && data->tokens[6] == 3 && data->tokens[0] == 5 + 'A');

    CLLMModel *model = model_of(261);
    CHECK(cllm_model_set_vocab(model, tokenizer) == 0);
    CLLMInference *inference = cllm_inference_init(model);
    CLLMTrainingConfig config = {.learning_rate = 0.02f, .batch_size = 1, .sequence_length = 12,
                                 .gradient_accumulation_steps = 1};
    strcpy(config.optimizer, "adam");
    CLLMTraining *training = cllm_training_init(model, &config);
    training->tokens = data->tokens;
    training->num_tokens = data->num_tokens;
    for (int i = 0; i < 300; i++) CHECK(cllm_train_steps(training, 1, 1, NULL) >= 0);
    CHECK(model->tokens[3].frequency == 1.0f);
    cllm_set_greedy(inference, true);
    cllm_set_max_tokens(inference, 50);
    char out[100];
    CHECK(cllm_generate(inference, "Ab", out, sizeof out) == 4 && strcmp(out, "Ab  c\n") == 0);
    training->tokens = NULL;
    cllm_training_free(training);
    cllm_inference_cleanup(inference);
    cllm_free_model(model);
    cllm_token_dataset_free(data);
    cllm_data_loader_free(loader);
    cllm_free_tokenizer(tokenizer);
}

/* A program's own model gets subwords too, and loses them with its own words. */
static void a_foreign_model(void) {
    enum { V = 261, D = 4 };
    CLLMModel *model = calloc(1, sizeof *model);
    model->vocab_size = model->embeddings.vocab_size = V;
    model->embedding_dim = model->embeddings.embedding_dim = D;
    model->embeddings.embeddings = calloc(V * D, sizeof(float));
    CLLMTokenizer *bytes = cllm_byte_tokenizer();
    CHECK(cllm_model_set_vocab(model, bytes) == 0);
    uint32_t ids[10];
    CHECK(cllm_tokenize_with_vocab(model, "Ab", ids, 10) == 2 && ids[0] == 5 + 'A');
    CLLMToken *own = calloc(V, sizeof *own), *old = model->tokens;
    strcpy(own[7].token_str, "ab");
    model->tokens = own;
    CHECK(cllm_tokenize_with_vocab(model, "Ab", ids, 10) == 1 && ids[0] == 7);
    free(old);
    cllm_free_tokenizer(bytes);
    cllm_free_model(model);
}

/* ---- Words that are added ---- */

static void words_grow(void) {
    CLLMTokenizer *words = cllm_create_tokenizer(20);
    cllm_build_vocab(words, "the cat sat on the mat the cat sat on the mat");
    CLLMModel *model = model_of(words->vocab_size);
    uint32_t old = words->vocab_size;
    CHECK(cllm_model_set_vocab(model, words) == 0);
    put("cats.txt", "the cat sat on the mat the cat sat on the mat the cat sat on the mat");
    learn(model, "cats.txt", 20);
    size_t floats = model->num_weights;
    float *before = malloc(floats * sizeof *before);
    memcpy(before, model->weights, floats * sizeof *before);
    float first = model->attention_layers[0].query_lattice[3], last = model->layer_norms[1].beta[5];

    CLLMTokenizer *more = cllm_model_tokenizer(model, 40);
    CHECK(more && more->vocab_size == old && more->max_vocab_size == 40);
    cllm_build_vocab(more, "the dog ran");
    CHECK(more->vocab_size == old + 2);
    CHECK(cllm_grow_vocab(model, more) == 2 && model->vocab_size == old + 2);
    CHECK(model->num_weights == floats + 2 * 16 && model->embeddings.embeddings == model->weights);
    CHECK(memcmp(model->weights, before, old * 16 * sizeof(float)) == 0);
    CHECK(memcmp(model->weights + (old + 2) * 16, before + old * 16, (floats - old * 16) * sizeof(float)) == 0);
    CHECK(model->attention_layers[0].query_lattice[3] == first && model->layer_norms[1].beta[5] == last);
    for (int j = 0; j < 16; j++) {
        double mean = 0;
        for (uint32_t id = 0; id < old; id++) mean += before[id * 16 + j];
        CHECK_NEAR(model->weights[old * 16 + j], mean / old, 1e-6);
        CHECK(model->weights[old * 16 + j] == model->weights[(old + 1) * 16 + j]);
    }
    CHECK(strcmp(model->tokens[old].token_str, "dog") == 0);
    put("dogs.txt", "the dog ran the dog ran the dog ran the dog ran the dog ran the dog ran the dog ran");
    learn(model, "dogs.txt", 200);
    CHECK(cllm_write_model(model, "grown.cllm") == 0);
    CLLMModel *read = cllm_read_model("grown.cllm");
    CHECK(read && read->vocab_size == old + 2);
    CLLMInference *inference = cllm_inference_init(read);
    char out[100];
    cllm_set_greedy(inference, true);
    cllm_set_max_tokens(inference, 2);
    CHECK(cllm_generate(inference, "dog", out, sizeof out) == 2 && strncmp(out, "dog ", 4) == 0);
    cllm_inference_cleanup(inference);

    CHECK(cllm_grow_vocab(read, more) == 0); /* nothing new */
    CLLMTokenizer *other = cllm_create_tokenizer(40);
    cllm_build_vocab(other, "the dog");
    CHECK(cllm_grow_vocab(read, other) == -1 && last_error_has("id 6 is 'cat'"));
    CLLMTokenizer *bytes = cllm_byte_tokenizer();
    CHECK(cllm_grow_vocab(read, bytes) == -1 && cllm_grow_vocab(NULL, more) == -1);
    CLLMModel *subwords = model_of(261);
    CHECK(cllm_model_set_vocab(subwords, bytes) == 0);
    CHECK(cllm_grow_vocab(subwords, more) == -1 && last_error_has("need not grow"));
    CHECK(subwords->vocab_size == 261 && read->vocab_size == old + 2);
    cllm_free_tokenizer(bytes);
    cllm_free_model(subwords);
    cllm_free_tokenizer(other);
    cllm_free_tokenizer(more);
    cllm_free_tokenizer(words);
    cllm_free_model(read);
    cllm_free_model(model);
    free(before);
}

static void about_file(const CLLMFileInfo *info, void *user_data) {
    int *found = user_data;
    *found = info->tokens;
    CHECK(info->num_words == 300 && info->words_read == 264);
    CHECK(strcmp(info->words[5 + '\n'], "\\n") == 0);
}

static void a_file_tells_its_tokens(void) {
    int found = -1;
    CHECK(cllm_describe_file("model.cllm", 264, about_file, &found) == 0);
    CHECK(found == CLLM_TOKENS_SUBWORDS);
}

int main(void) {
    cllm_set_log_silent();
    scratch_make();
    CHECK(chdir(scratch) == 0);
    RUN(training_is_watched_and_stopped);
    RUN(any_bytes_come_back);
    RUN(old_calls_speak_subwords);
    RUN(files_keep_a_tokenizer);
    RUN(a_model_speaks_subwords);
    RUN(a_file_tells_its_tokens);
    RUN(documents_end);
    RUN(a_foreign_model);
    RUN(words_grow);
    CHECK(chdir("/") == 0 && scratch_remove() == 0);
    return harness_report();
}
