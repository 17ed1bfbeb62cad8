/* cllm_tokenizer.h: words to ids, vocabulary files, tokenizers that the program made or edited. */

#include "scratch.h"

#include "cllm_tokenizer.h"
#include "harness.h"

static const char *path;

static void put(const char *content, size_t len) {
    FILE *f = fopen(path, "wb");
    fwrite(content, 1, len, f);
    fclose(f);
}

static size_t read_back(char *content, size_t room) {
    FILE *f = fopen(path, "rb");
    if (!f) return 0;
    size_t n = fread(content, 1, room - 1, f);
    content[n] = 0;
    fclose(f);
    return n;
}

static char *copy(const char *s) {
    char *c = malloc(strlen(s) + 1);
    return strcpy(c, s);
}

static void new_tokenizer_holds_the_specials(void) {
    CLLMTokenizer *t = cllm_create_tokenizer(100);
    const char *names[] = {"<PAD>", "<UNK>", "<BOS>", "<EOS>", "<MASK>"};
    CHECK(t->vocab_size == 5 && t->max_vocab_size == 100);
    CHECK(cllm_get_vocab_size(t) == 5);
    for (uint32_t i = 0; i < 5; i++) {
        CHECK(strcmp(t->vocab[i], names[i]) == 0 && t->token_counts[i] == 0);
        CHECK(cllm_find_token(t, names[i]) == i);
        CHECK(cllm_get_token_string(t, i) == t->vocab[i]);
    }
    cllm_free_tokenizer(t);
}

/* DEFECT: a maximum below 5 wrote past the arrays. */
static void small_maximum_is_raised(void) {
    for (uint32_t max = 0; max < 5; max++) {
        CLLMTokenizer *t = cllm_create_tokenizer(max);
        CHECK(t->vocab_size == 5 && t->max_vocab_size == 5);
        CHECK(cllm_add_token(t, "full") == 1 && t->vocab_size == 5);
        cllm_free_tokenizer(t);
    }
    CHECK(cllm_create_tokenizer(UINT32_MAX) == NULL);
}

static void add_and_find(void) {
    CLLMTokenizer *t = cllm_create_tokenizer(7);
    CHECK(cllm_add_token(t, "Int") == 5);
    CHECK(cllm_add_token(t, "int") == 6);
    CHECK(cllm_add_token(t, "Int") == 5);
    CHECK(t->token_counts[5] == 2 && t->token_counts[6] == 1 && t->vocab_size == 7);
    CHECK(cllm_find_token(t, "Int") == 5 && cllm_find_token(t, "int") == 6);
    CHECK(cllm_find_token(t, "INT") == 1);
    CHECK(cllm_add_token(t, "more") == 1 && t->vocab_size == 7);
    t->token_counts[6] = UINT32_MAX;
    CHECK(cllm_add_token(t, "int") == 6 && t->token_counts[6] == UINT32_MAX);
    CHECK(cllm_find_token(NULL, "a") == 1 && cllm_find_token(t, NULL) == 1);
    CHECK(cllm_add_token(NULL, "a") == 1 && cllm_add_token(t, NULL) == 1);
    CHECK(cllm_get_vocab_size(NULL) == 0);
    CHECK(strcmp(cllm_get_token_string(t, 7), "<UNK>") == 0);
    CHECK(strcmp(cllm_get_token_string(NULL, 0), "<UNK>") == 0);
    cllm_free_tokenizer(t);
}

/* DEFECT: adding "<UNK>" appended it again. */
static void unk_is_added_to_id_1(void) {
    CLLMTokenizer *t = cllm_create_tokenizer(10);
    CHECK(cllm_add_token(t, "<UNK>") == 1);
    CHECK(t->vocab_size == 5 && t->token_counts[1] == 1);
    cllm_free_tokenizer(t);
}

static void encode_and_decode(void) {
    CLLMTokenizer *t = cllm_create_tokenizer(10);
    uint32_t n = 99;
    cllm_build_vocab(t, "int main");
    cllm_add_token(t, "Capital");
    uint32_t *ids = cllm_tokenizer_encode(t, "  INT\tmain\r\nx Capital <BOS> int", &n);
    uint32_t want[] = {5, 6, 1, 1, 1, 5};
    CHECK(n == 6 && ids && memcmp(ids, want, sizeof want) == 0);
    CHECK(t->vocab_size == 8);
    char *text = cllm_tokenizer_decode(t, ids, n);
    CHECK(strcmp(text, "int main <UNK> <UNK> <UNK> int") == 0);
    free(text);
    free(ids);

    ids = cllm_encode_with_special(t, "main int", &n);
    uint32_t special[] = {2, 6, 5, 3};
    CHECK(n == 4 && memcmp(ids, special, sizeof special) == 0);
    /* DEFECT: a leading space after <BOS>. */
    text = cllm_tokenizer_decode(t, ids, n);
    CHECK(strcmp(text, "main int") == 0);
    free(text);
    free(ids);

    ids = cllm_encode_with_special(t, "", &n);
    CHECK(n == 2 && ids[0] == 2 && ids[1] == 3);
    free(ids);
    ids = cllm_tokenizer_encode(t, " \n", &n);
    CHECK(ids != NULL && n == 0);
    free(ids);
    cllm_free_tokenizer(t);
}

static void encode_refuses(void) {
    CLLMTokenizer *t = cllm_create_tokenizer(10);
    uint32_t n = 99;
    CHECK(cllm_tokenizer_encode(NULL, "a", &n) == NULL && n == 0);
    n = 99;
    CHECK(cllm_tokenizer_encode(t, NULL, &n) == NULL && n == 0);
    CHECK(cllm_tokenizer_encode(t, "a", NULL) == NULL);
    n = 99;
    CHECK(cllm_encode_with_special(NULL, "a", &n) == NULL && n == 0);
    n = 99;
    CHECK(cllm_encode_with_special(t, NULL, &n) == NULL && n == 0);
    CHECK(cllm_encode_with_special(t, "a", NULL) == NULL);
    cllm_free_tokenizer(t);
}

static void decode_edges(void) {
    CLLMTokenizer *t = cllm_create_tokenizer(10);
    cllm_add_token(t, "x");
    uint32_t ids[] = {0, 5, 4, 5, 1, 77, UINT32_MAX, 3};
    char *text = cllm_tokenizer_decode(t, ids, 8);
    CHECK(strcmp(text, "x x <UNK> <UNK> <UNK>") == 0);
    free(text);
    text = cllm_tokenizer_decode(t, ids, 1);
    CHECK(text && !*text);
    free(text);
    text = cllm_tokenizer_decode(t, ids, 0);
    CHECK(text && !*text);
    free(text);
    text = cllm_tokenizer_decode(NULL, ids, 8);
    CHECK(text && !*text);
    free(text);
    text = cllm_tokenizer_decode(t, ids, UINT32_MAX);
    CHECK(text && !*text);
    free(text);
    text = cllm_tokenizer_decode(t, NULL, 8);
    CHECK(text && !*text);
    free(text);
    /* DEFECT: an empty slot crashed. */
    free(t->vocab[5]);
    t->vocab[5] = NULL;
    text = cllm_tokenizer_decode(t, ids, 2);
    CHECK(strcmp(text, "<UNK>") == 0);
    free(text);
    CHECK(strcmp(cllm_get_token_string(t, 5), "<UNK>") == 0);
    cllm_free_tokenizer(t);
}

/* DEFECT: a long word overran the decoder's buffer. */
static void long_words(void) {
    CLLMTokenizer *t = cllm_create_tokenizer(10);
    size_t len = 100000;
    char *word = malloc(len + 1);
    memset(word, 'w', len);
    word[len] = 0;
    CHECK(cllm_add_token(t, word) == 5);
    uint32_t ids[] = {5, 5};
    char *text = cllm_tokenizer_decode(t, ids, 2);
    CHECK(strlen(text) == 2 * len + 1 && text[len] == ' ');
    free(text);
    /* DEFECT: lines over 1023 bytes were split when loading. */
    CHECK(cllm_save_vocab(t, path) == 1);
    CLLMTokenizer *u = cllm_create_tokenizer(10);
    CHECK(cllm_load_vocab(u, path) == 1);
    CHECK(u->vocab_size == 6 && strcmp(u->vocab[5], word) == 0);
    cllm_free_tokenizer(u);
    free(word);
    cllm_free_tokenizer(t);
}

static void build_takes_words_as_they_come(void) {
    CLLMTokenizer *t = cllm_create_tokenizer(8);
    cllm_build_vocab(t, "The cat\tthe DOG\r\nsat bird dog bird");
    const char *words[] = {"the", "cat", "dog"};
    uint32_t counts[] = {2, 1, 2};
    CHECK(t->vocab_size == 8);
    for (int i = 0; i < 3; i++) {
        CHECK(strcmp(t->vocab[5 + i], words[i]) == 0);
        CHECK(t->token_counts[5 + i] == counts[i]);
    }
    cllm_build_vocab(t, "cat new");
    CHECK(t->vocab_size == 8 && t->token_counts[6] == 2);
    cllm_build_vocab(NULL, "a");
    cllm_build_vocab(t, NULL);
    CHECK(t->vocab_size == 8);
    cllm_free_tokenizer(t);
}

/* DEFECT: after saving and loading every id from 5 up had moved by one. */
static void save_and_load_keep_ids(void) {
    CLLMTokenizer *t = cllm_create_tokenizer(50);
    char content[256];
    cllm_build_vocab(t, "int main int \xC3\xA9t\xC3\xA9 <html>");
    CHECK(cllm_save_vocab(t, path) == 1);
    read_back(content, sizeof content);
    CHECK(strcmp(content, "<PAD>\t0\n<UNK>\t0\n<BOS>\t0\n<EOS>\t0\n<MASK>\t0\n"
                          "int\t2\nmain\t1\n\xC3\xA9t\xC3\xA9\t1\n<html>\t1\n") == 0);
    CLLMTokenizer *u = cllm_create_tokenizer(50);
    CHECK(cllm_load_vocab(u, path) == 1);
    CHECK(u->vocab_size == t->vocab_size);
    for (uint32_t i = 0; i < t->vocab_size; i++) {
        CHECK(strcmp(u->vocab[i], t->vocab[i]) == 0);
        CHECK(u->token_counts[i] == t->token_counts[i]);
    }
    /* Again into the same one: nothing is added, counts are set. */
    u->token_counts[5] = 7;
    CHECK(cllm_load_vocab(u, path) == 1);
    CHECK(u->vocab_size == t->vocab_size && u->token_counts[5] == 2);
    cllm_free_tokenizer(u);
    cllm_free_tokenizer(t);
}

/* Slots that were emptied, and words that occur twice, keep their line numbers. */
static void odd_slots_round_trip(void) {
    CLLMTokenizer *t = cllm_create_tokenizer(20);
    cllm_build_vocab(t, "a b c d");
    free(t->vocab[5]);
    t->vocab[5] = NULL; /* DEFECT: skipped, which shifted the ids. */
    strcpy(t->vocab[6], "d");
    strcpy(t->vocab[7], "");
    CHECK(cllm_save_vocab(t, path) == 1);
    CLLMTokenizer *u = cllm_create_tokenizer(20);
    CHECK(cllm_load_vocab(u, path) == 1);
    CHECK(u->vocab_size == 9);
    CHECK(strcmp(u->vocab[5], "") == 0 && strcmp(u->vocab[6], "d") == 0);
    CHECK(strcmp(u->vocab[7], "") == 0 && strcmp(u->vocab[8], "d") == 0);
    cllm_free_tokenizer(u);
    cllm_free_tokenizer(t);
}

static void load_takes_any_word(void) {
    CLLMTokenizer *t = cllm_create_tokenizer(8);
    /* DEFECT: lines without a TAB were left out, and all ids behind them moved. */
    const char *const bad[] = {"a\t3\nno tab\nb\t1\n", "a\t3\n\nb\t1\n", "a\tx\n"};
    for (int i = 0; i < 3; i++) {
        put(bad[i], strlen(bad[i]));
        CHECK(cllm_load_vocab(t, path) == 0 && t->vocab_size == 5);
    }
    /* The last TAB separates; counts out of range are 0 or the largest. */
    const char text[] = "a\tb\t3\nneg\t-4\r\nbig\t99999999999\nfull\t1\n";
    put(text, sizeof text - 1);
    CHECK(cllm_load_vocab(t, path) == 1); /* Full: recorded, still 1. */
    CHECK(t->vocab_size == 8);
    CHECK(strcmp(t->vocab[5], "a\tb") == 0 && t->token_counts[5] == 3);
    CHECK(strcmp(t->vocab[6], "neg") == 0 && t->token_counts[6] == 0);
    CHECK(strcmp(t->vocab[7], "big") == 0 && t->token_counts[7] == UINT32_MAX);
    /* DEFECT: a word with a TAB or line feed can't be represented. */
    CHECK(cllm_save_vocab(t, path) == 0);
    char content[256];
    read_back(content, sizeof content);
    CHECK(strcmp(content, text) == 0); /* The old file is untouched. */
    put("x\0y\t1\n", 6);
    CHECK(cllm_load_vocab(t, path) == 0 && t->vocab_size == 8);
    cllm_free_tokenizer(t);
}

static void files_that_do_not_work(void) {
    CLLMTokenizer *t = cllm_create_tokenizer(8);
    CHECK(cllm_load_vocab(t, "/no/such/file") == 0);
    CHECK(cllm_load_vocab(t, scratch) == 0);
    CHECK(cllm_load_vocab(t, NULL) == 0 && cllm_load_vocab(NULL, path) == 0);
    CHECK(cllm_load_vocab(t, "") == 0);
    CHECK(cllm_save_vocab(t, "/no/such/directory/vocab.txt") == 0);
    CHECK(cllm_save_vocab(t, scratch) == 0);
    CHECK(cllm_save_vocab(t, NULL) == 0 && cllm_save_vocab(NULL, path) == 0);
    CHECK(t->vocab_size == 5);
    cllm_free_tokenizer(t);
}

static void edits_of_the_program_are_noticed(void) {
    CLLMTokenizer *t = cllm_create_tokenizer(50);
    cllm_build_vocab(t, "aa bb cc dd ee ff gg hh");
    CHECK(cllm_find_token(t, "cc") == 7);
    memcpy(t->vocab[7], "zz", 2);
    CHECK(cllm_find_token(t, "zz") == 7);
    CHECK(cllm_find_token(t, "cc") == 1);
    free(t->vocab[8]);
    t->vocab[8] = copy("replaced");
    uint32_t n;
    uint32_t *ids = cllm_tokenizer_encode(t, "q r s u v w replaced zz dd aa", &n);
    CHECK(n == 10 && ids[5] == 1 && ids[6] == 8 && ids[7] == 7 && ids[8] == 1 && ids[9] == 5);
    free(ids);
    t->vocab[t->vocab_size] = copy("own");
    t->token_counts[t->vocab_size++] = 3;
    CHECK(cllm_find_token(t, "own") == 13);
    CHECK(cllm_add_token(t, "own") == 13 && t->token_counts[13] == 4);
    free(t->vocab[--t->vocab_size]);
    CHECK(cllm_find_token(t, "own") == 1);
    CHECK(cllm_add_token(t, "own") == 13 && t->token_counts[13] == 1);
    cllm_free_tokenizer(t);
}

static void tokenizer_of_the_program(void) {
    CLLMTokenizer *t = calloc(1, sizeof *t);
    t->max_vocab_size = 3;
    t->vocab = calloc(3, sizeof *t->vocab);
    t->token_counts = calloc(3, sizeof *t->token_counts);
    CHECK(cllm_find_token(t, "a") == 1);
    CHECK(cllm_add_token(t, "a") == 0);
    cllm_build_vocab(t, "b A c d");
    CHECK(t->vocab_size == 3 && strcmp(t->vocab[2], "c") == 0 && t->token_counts[0] == 2);
    uint32_t n;
    uint32_t *ids = cllm_tokenizer_encode(t, "c b x", &n);
    CHECK(n == 3 && ids[0] == 2 && ids[1] == 1 && ids[2] == 1);
    free(ids);
    cllm_free_tokenizer(t);

    /* Nothing but a count: refused. */
    CLLMTokenizer hollow = {NULL, NULL, 4, 9};
    CHECK(cllm_find_token(&hollow, "a") == 1);
    CHECK(cllm_add_token(&hollow, "a") == 1 && hollow.vocab_size == 4);
    CHECK(cllm_tokenizer_encode(&hollow, "a", &n) == NULL && n == 0);
    CHECK(cllm_save_vocab(&hollow, path) == 0);
    cllm_print_vocab_stats(&hollow);
}

static void freeing(void) {
    cllm_free_tokenizer(NULL);
    CLLMTokenizer *t = cllm_create_tokenizer(9);
    cllm_free_tokenizer(t);
    cllm_free_tokenizer(t); /* Twice: recorded, nothing else. */
    CHECK(cllm_find_token(t, "<EOS>") == 1);
    CHECK(cllm_get_vocab_size(t) == 0);
}

/* Linear in the text: with a search through the words for each word this takes minutes. */
static void a_large_text(void) {
    enum { WORDS = 400000, DIFFERENT = 60000 };
    char *text = malloc(WORDS * 8 + 1), *end = text;
    uint32_t x = 1;
    for (int i = 0; i < WORDS; i++) {
        x = x * 1664525u + 1013904223u;
        end += sprintf(end, "w%u ", (x >> 8) % DIFFERENT);
    }
    CLLMTokenizer *t = cllm_create_tokenizer(50000);
    cllm_build_vocab(t, text);
    CHECK(t->vocab_size == 50000);
    uint32_t n, unknown = 0;
    uint32_t *ids = cllm_tokenizer_encode(t, text, &n);
    CHECK(n == WORDS);
    int wrong = 0;
    const char *word = text;
    for (uint32_t i = 0; i < n; i++) {
        size_t len = strcspn(word, " ");
        if (ids[i] == 1) unknown++;
        else wrong += strlen(t->vocab[ids[i]]) != len || memcmp(t->vocab[ids[i]], word, len) != 0;
        word += len + 1;
    }
    CHECK(wrong == 0 && unknown > 0 && unknown < WORDS / 4);
    free(ids);
    free(text);
    cllm_free_tokenizer(t);
}

int main(void) {
    scratch_make();
    path = in_scratch("vocab.txt");
    RUN(new_tokenizer_holds_the_specials);
    RUN(small_maximum_is_raised);
    RUN(add_and_find);
    RUN(unk_is_added_to_id_1);
    RUN(encode_and_decode);
    RUN(encode_refuses);
    RUN(decode_edges);
    RUN(long_words);
    RUN(build_takes_words_as_they_come);
    RUN(save_and_load_keep_ids);
    RUN(odd_slots_round_trip);
    RUN(load_takes_any_word);
    RUN(files_that_do_not_work);
    RUN(edits_of_the_program_are_noticed);
    RUN(tokenizer_of_the_program);
    RUN(freeing);
    RUN(a_large_text);
    CHECK(scratch_remove() == 0);
    return harness_report();
}
