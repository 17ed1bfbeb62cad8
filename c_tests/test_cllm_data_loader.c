/* cllm_data_loader.h: documents, directories, vocabularies of whole corpora, datasets. */

#include "scratch.h"

#include "cllm_data_loader.h"
#include "cllm_ext.h"
#include "harness.h"

static void put(const char *name, const void *content, size_t len) {
    FILE *f = fopen(in_scratch(name), "wb");
    if (!f || fwrite(content, 1, len, f) != len) exit(2);
    fclose(f);
}

static void put_text(const char *name, const char *text) {
    put(name, text, strlen(text));
}

static void defaults(void) {
    CLLMTokenizer *t = cllm_create_tokenizer(10);
    CLLMDataLoader *l = cllm_data_loader_create(t);
    CHECK(l->tokenizer == t && l->documents && l->num_documents == 0 && l->capacity == 1000);
    CHECK(l->total_chars == 0 && l->total_tokens == 0 && l->total_lines == 0);
    CHECK(l->min_token_length == 1 && l->max_token_length == 50);
    CHECK(l->lowercase == 1 && l->remove_punctuation == 0 && l->remove_numbers == 0);
    cllm_data_loader_free(l);
    cllm_free_tokenizer(t);
    CHECK(cllm_data_loader_create(NULL) == NULL);
    cllm_data_loader_free(NULL);
}

static void cleaning(void) {
    CLLMTokenizer *t = cllm_create_tokenizer(10);
    CLLMDataLoader *l = cllm_data_loader_create(t);
    const char *text = "  It's 4\t\n\r PM,\n\xC9\xE9. ";
    CHECK(cllm_data_loader_add_document(l, text) == 1);
    CHECK(strcmp(l->documents[0], " it's 4 pm, \xC9\xE9. ") == 0);
    CHECK(l->total_chars == strlen(l->documents[0]));
    CHECK(l->total_lines == 2); /* DEFECT: always 0. */
    l->lowercase = 0;
    l->remove_punctuation = 1;
    CHECK(cllm_data_loader_add_document(l, text) == 1);
    CHECK(strcmp(l->documents[1], " Its 4 PM \xC9\xE9 ") == 0);
    l->remove_numbers = 1;
    CHECK(cllm_data_loader_add_document(l, text) == 1);
    CHECK(strcmp(l->documents[2], " Its PM \xC9\xE9 ") == 0);
    CHECK(cllm_data_loader_add_document(l, "") == 1 && strcmp(l->documents[3], "") == 0);
    CHECK(l->num_documents == 4 && l->total_lines == 6);
    CHECK(cllm_data_loader_add_document(l, NULL) == 0);
    CHECK(cllm_data_loader_add_document(NULL, "a") == 0);
    CHECK(l->num_documents == 4);
    cllm_data_loader_free(l);
    cllm_free_tokenizer(t);
}

/* DEFECT: a loader of the program with capacity 0 never grew. */
static void loader_of_the_program(void) {
    CLLMTokenizer *t = cllm_create_tokenizer(100);
    CLLMDataLoader *l = calloc(1, sizeof *l);
    l->tokenizer = t;
    for (int i = 0; i < 2500; i++) CHECK(cllm_data_loader_add_document(l, "A b") == 1);
    CHECK(l->num_documents == 2500 && l->capacity >= 2500);
    CHECK(strcmp(l->documents[2499], "A b") == 0);
    free(l->documents[7]);
    l->documents[7] = NULL;
    cllm_data_loader_build_vocab(l);
    CHECK(t->vocab_size == 7 && t->token_counts[5] == 2499 && l->total_tokens == 4998);
    TokenDataset *ds = cllm_data_loader_create_dataset(l);
    CHECK(ds->num_tokens == 4998 && ds->tokens[4997] == 6);
    cllm_token_dataset_free(ds);
    l->tokenizer = NULL;
    cllm_data_loader_build_vocab(l);
    CHECK(cllm_data_loader_create_dataset(l) == NULL);
    cllm_data_loader_free(l);
    cllm_free_tokenizer(t);
}

static void files(void) {
    CLLMTokenizer *t = cllm_create_tokenizer(10);
    CLLMDataLoader *l = cllm_data_loader_create(t);
    put_text("one.txt", "One\nTwo\n");
    CHECK(cllm_data_loader_load_file(l, in_scratch("one.txt")) == 1);
    CHECK(strcmp(l->documents[0], "one two ") == 0 && l->total_lines == 2);
    put_text("empty", "");
    CHECK(cllm_data_loader_load_file(l, in_scratch("empty")) == 1);
    CHECK(l->num_documents == 2 && strcmp(l->documents[1], "") == 0);
    /* DEFECT: a NUL byte ended the document. */
    put("nul.bin", "a\0b\0\0c", 6);
    CHECK(cllm_data_loader_load_file(l, in_scratch("nul.bin")) == 1);
    CHECK(strcmp(l->documents[2], "a b c") == 0);
    /* DEFECT: unbounded reads of what has no size. */
    CHECK(cllm_data_loader_load_file(l, "/dev/zero") == 0);
    /* More than the machine's memory, in a file without blocks. */
    CHECK(truncate(in_scratch("empty"), (off_t)1 << 42) == 0);
    CHECK(cllm_data_loader_load_file(l, in_scratch("empty")) == 0);
    CHECK(strstr(cllm_last_error(), "is longer than"));
    CHECK(cllm_data_loader_load_file(l, in_scratch("missing")) == 0);
    CHECK(cllm_data_loader_load_file(l, scratch) == 0);
    CHECK(cllm_data_loader_load_file(l, NULL) == 0);
    CHECK(cllm_data_loader_load_file(NULL, in_scratch("one.txt")) == 0);
    CHECK(l->num_documents == 3);
    if (getenv("CLLM_TEST_LARGE")) { /* beyond the original's 100 MiB */
        size_t size = 104857601;
        char *text = malloc(size);
        memset(text, 'a', size);
        for (size_t i = 59; i < size; i += 60) text[i] = '\n';
        put("large.txt", text, size);
        CHECK(cllm_data_loader_load_file(l, in_scratch("large.txt")) == 1);
        CHECK(l->num_documents == 4 && strlen(l->documents[3]) == size);
        free(text);
        remove(in_scratch("large.txt"));
    }
    cllm_data_loader_free(l);
    cllm_free_tokenizer(t);
    remove(in_scratch("one.txt"));
    remove(in_scratch("empty"));
    remove(in_scratch("nul.bin"));
}

/* DEFECT: each file seven times, in any order, following links into loops. */
static void directories(void) {
    mkdir(in_scratch("tree"), 0777);
    mkdir(in_scratch("tree/a"), 0777);
    mkdir(in_scratch("tree/.hidden"), 0777);
    put_text("tree/b.txt", "four");
    put_text("tree/a/z.c", "three");
    put_text("tree/a.txt", "two");
    put_text("tree/.hidden/x", "secret");
    put_text("tree/vocab", "<PAD>\t0\n<UNK>\t0\n<BOS>\t0\n<EOS>\t0\n<MASK>\t0\nx\t1\n");
    put_text("tree/UP.PNG", "zero");
    const char *skipped[] = {"tree/.dot", "tree/x.o", "tree/x.so", "tree/x.a", "tree/x.bin",
                             "tree/x.exe", "tree/x.dll", "tree/x.png", "tree/x.jpg", "tree/x.gif",
                             "tree/a/x.y.pdf"};
    for (int i = 0; i < 11; i++) put_text(skipped[i], "no");
    put("tree/binary", "text\0text", 9);
    CHECK(symlink("..", in_scratch("tree/a/up")) == 0);
    CHECK(symlink("a/z.c", in_scratch("tree/zz")) == 0);
    CHECK(link(in_scratch("tree/b.txt"), in_scratch("tree/c.txt")) == 0);
    CLLMTokenizer *t = cllm_create_tokenizer(100);
    CLLMDataLoader *l = cllm_data_loader_create(t);
    CHECK(cllm_data_loader_load_directory(l, in_scratch("tree")) == 4);
    const char *order[] = {"zero", "two", "three", "four"};
    CHECK(l->num_documents == 4);
    for (size_t i = 0; i < l->num_documents && i < 4; i++)
        CHECK(strcmp(l->documents[i], order[i]) == 0);
    cllm_data_loader_build_vocab(l);
    CHECK(t->vocab_size == 9 && l->total_tokens == 4);
    CHECK(cllm_data_loader_load_directory(l, in_scratch("nowhere")) == 0);
    CHECK(cllm_data_loader_load_directory(l, in_scratch("tree/a.txt")) == 0);
    CHECK(cllm_data_loader_load_directory(l, NULL) == 0);
    CHECK(cllm_data_loader_load_directory(NULL, in_scratch("tree")) == 0);
    CHECK(l->num_documents == 4);
    cllm_data_loader_free(l);
    cllm_free_tokenizer(t);
}

static void vocabulary_of_all_documents(void) {
    CLLMTokenizer *t = cllm_create_tokenizer(8);
    CLLMDataLoader *l = cllm_data_loader_create(t);
    cllm_data_loader_add_document(l, "rare common Common other");
    cllm_data_loader_add_document(l, "other late late late");
    cllm_data_loader_build_vocab(l);
    /* Three of four fit: the most frequent, in order of first appearance. */
    CHECK(t->vocab_size == 8 && l->total_tokens == 7);
    CHECK(strcmp(t->vocab[5], "common") == 0 && t->token_counts[5] == 2);
    CHECK(strcmp(t->vocab[6], "other") == 0 && t->token_counts[6] == 2);
    CHECK(strcmp(t->vocab[7], "late") == 0 && t->token_counts[7] == 3);
    cllm_data_loader_free(l);
    cllm_free_tokenizer(t);

    /* Of equally frequent words the one that comes first; when all fit, as cllm_build_vocab. */
    t = cllm_create_tokenizer(7);
    l = cllm_data_loader_create(t);
    cllm_data_loader_add_document(l, "a b c b");
    cllm_data_loader_build_vocab(l);
    CHECK(strcmp(t->vocab[5], "a") == 0 && strcmp(t->vocab[6], "b") == 0);
    cllm_data_loader_build_vocab(NULL);
    cllm_data_loader_free(l);
    cllm_free_tokenizer(t);
}

static void datasets(void) {
    CLLMTokenizer *t = cllm_create_tokenizer(100);
    CLLMDataLoader *l = cllm_data_loader_create(t);
    TokenDataset *ds = cllm_data_loader_create_dataset(l);
    CHECK(ds && ds->tokens && ds->num_tokens == 0);
    CHECK(cllm_token_dataset_save(ds, in_scratch("ds")) == 1);
    cllm_token_dataset_free(ds);
    ds = cllm_token_dataset_load(in_scratch("ds"));
    CHECK(ds && ds->tokens && ds->num_tokens == 0 && ds->capacity == 0);
    cllm_token_dataset_free(ds);

    cllm_build_vocab(t, "b a");
    cllm_data_loader_add_document(l, "A"); /* DEFECT: under four characters: double free. */
    ds = cllm_data_loader_create_dataset(l);
    CHECK(ds->num_tokens == 1 && ds->tokens[0] == 6);
    cllm_token_dataset_free(ds);
    cllm_data_loader_add_document(l, "b x a");
    ds = cllm_data_loader_create_dataset(l);
    uint32_t want[] = {6, 5, 1, 6};
    CHECK(ds->num_tokens == 4 && ds->capacity >= 4 && !memcmp(ds->tokens, want, sizeof want));

    CHECK(cllm_token_dataset_save(ds, in_scratch("ds")) == 1);
    struct stat st;
    CHECK(stat(in_scratch("ds"), &st) == 0 && st.st_size == 8 + 4 * 4);
    TokenDataset *back = cllm_token_dataset_load(in_scratch("ds"));
    CHECK(back && back->num_tokens == 4 && back->capacity == 4);
    CHECK(!memcmp(back->tokens, want, sizeof want));
    uint32_t *lent = back->tokens; /* A program may take the ids away. */
    back->tokens = NULL;
    cllm_token_dataset_free(back);
    CHECK(lent[3] == 6);
    free(lent);

    CHECK(cllm_token_dataset_save(NULL, in_scratch("ds")) == 0);
    CHECK(cllm_token_dataset_save(ds, NULL) == 0);
    CHECK(cllm_token_dataset_save(ds, scratch) == 0);
    CHECK(cllm_token_dataset_save(ds, "/dev/full") == 0); /* DEFECT: errors unreported. */
    CHECK(cllm_data_loader_create_dataset(NULL) == NULL);
    cllm_token_dataset_free(ds);
    cllm_token_dataset_free(ds);
    CHECK(cllm_token_dataset_save(ds, in_scratch("ds")) == 0);
    cllm_token_dataset_free(NULL);
    cllm_data_loader_free(l);
    cllm_data_loader_free(l);
    CHECK(cllm_data_loader_add_document(l, "x") == 0);
    cllm_free_tokenizer(t);

    TokenDataset hollow = {NULL, 3, 3};
    CHECK(cllm_token_dataset_save(&hollow, in_scratch("ds")) == 0);
}

/* DEFECT: the count of a file was trusted. */
static void damaged_datasets(void) {
    unsigned char bytes[24] = {2, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 4, 3, 2, 1, 9, 9};
    put("ds", bytes, 18);
    TokenDataset *ds = cllm_token_dataset_load(in_scratch("ds"));
    CHECK(ds && ds->num_tokens == 2 && ds->tokens[0] == 5 && ds->tokens[1] == 0x01020304);
    cllm_token_dataset_free(ds);
    for (size_t len = 0; len < 16; len++) {
        put("ds", bytes, len);
        CHECK(cllm_token_dataset_load(in_scratch("ds")) == NULL);
    }
    for (int shift = 30; shift < 64; shift++) {
        uint64_t n = (uint64_t)1 << shift;
        memcpy(bytes, &n, 8);
        put("ds", bytes, 24);
        CHECK(cllm_token_dataset_load(in_scratch("ds")) == NULL);
    }
    CHECK(cllm_token_dataset_load(in_scratch("missing")) == NULL);
    CHECK(cllm_token_dataset_load(scratch) == NULL);
    CHECK(cllm_token_dataset_load(NULL) == NULL);
}

int main(void) {
    scratch_make();
    RUN(defaults);
    RUN(cleaning);
    RUN(loader_of_the_program);
    RUN(files);
    RUN(directories);
    RUN(vocabulary_of_all_documents);
    RUN(datasets);
    RUN(damaged_datasets);
    CHECK(scratch_remove() == 0);
    return harness_report();
}
