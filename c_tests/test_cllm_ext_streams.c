/* cllm_ext.h: texts of any length, files of ids, training and evaluation over them. */
#include "scratch.h"
#include "harness.h"
#include "small_training.h"

#include "cllm_data_loader.h"
#include "cllm_ext.h"
#include "cllm_format.h"

#include <unistd.h>

enum { EVERYTHING = 20000 };

static bool last_error_has(const char *text) {
    return strstr(cllm_last_error(), text) != NULL;
}

static void put(const char *name, const char *text) {
    CHECK(cllm_write_file(name, text, strlen(text)) == 0);
}

static CLLMTexts *two_texts(void) {
    static char play[EVERYTHING];
    play[0] = '\0';
    for (int i = 0; i < 100; i++)
        sprintf(play + strlen(play), "ROMEO %d:\nIs the d\xC3\xA4y so young? But new struck nine.\n", i);
    put("one.txt", play);
    put("two.txt", "\xEF\xBB\xBF" "A second text, which is short");
    CLLMTexts *texts = cllm_texts_create(".");
    CHECK(texts && cllm_texts_bytes(texts) == 0 && cllm_texts_count(texts) == 0);
    CHECK(cllm_texts_add(texts, "one.txt", NULL, NULL) == 0);
    CHECK(cllm_texts_add(texts, "absent.txt", NULL, NULL) == -1);
    CHECK(cllm_texts_add(texts, "two.txt", NULL, NULL) == 0);
    CHECK(cllm_texts_count(texts) == 2);
    CHECK(cllm_texts_bytes(texts) == strlen(play) + strlen("A second text, which is short"));
    return texts;
}

static bool stop_at_once(uint64_t bytes, uint64_t all, void *user_data) {
    uint64_t *told = user_data;
    *told = all;
    return bytes == 0;
}

static uint32_t *ids_of(const CLLMTokenFile *file, size_t *count) {
    static uint32_t ids[EVERYTHING];
    *count = (size_t)cllm_token_file_read(file, 0, ids, EVERYTHING);
    CHECK(*count == cllm_token_file_count(file));
    return ids;
}

static void texts_become_a_file_of_ids(void) {
    CLLMTexts *texts = two_texts();
    CLLMTokenizer *tokenizer = cllm_texts_train_tokenizer(texts, 0, UINT64_MAX, 300, NULL, NULL);
    CHECK(tokenizer && cllm_get_vocab_size(tokenizer) > 265);
    CHECK(!cllm_texts_train_tokenizer(texts, 5, 5, 300, NULL, NULL));

    const char *path = "dataset.bin";
    uint64_t told = 0;
    CHECK(cllm_texts_encode(texts, 0, UINT64_MAX, tokenizer, 0, path, stop_at_once, &told) == -1);
    CHECK(last_error_has("stopped") && told == cllm_texts_bytes(texts) && access(path, F_OK) != 0);
    CHECK(cllm_texts_encode(texts, 0, UINT64_MAX, tokenizer, 0, path, NULL, NULL) == 0);
    CHECK(cllm_texts_encode(texts, 0, UINT64_MAX, tokenizer, 1, path, NULL, NULL) == 1);

    size_t count, expected = 0, more;
    CLLMTokenFile *file = cllm_token_file_open(path);
    uint32_t *ids = ids_of(file, &count);
    FILE *one = fopen("one.txt", "rb");
    char text[EVERYTHING];
    size_t length = one ? fread(text, 1, sizeof text, one) : 0;
    if (one) fclose(one);
    uint32_t *first = cllm_text_to_tokens(tokenizer, text, length, false, 1, &expected);
    CHECK(first && count > expected && memcmp(ids, first, expected * sizeof *ids) == 0);
    CHECK(ids[expected] == (uint32_t)cllm_end_token(tokenizer));
    const char *short_text = "A second text, which is short";
    uint32_t *second = cllm_text_to_tokens(tokenizer, short_text, strlen(short_text), false, 1, &more);
    CHECK(second && count == expected + 1 + more);
    CHECK(memcmp(ids + expected + 1, second, more * sizeof *ids) == 0);
    CHECK(cllm_token_file_occurrences(file, (uint32_t)cllm_end_token(tokenizer)) == 1);
    CHECK(cllm_token_file_occurrences(file, UINT32_MAX) == 0);
    CHECK(cllm_token_file_read(file, count - 1, ids, 9) == 1 && ids[0] == second[more - 1]);
    CHECK(cllm_token_file_read(file, count, ids, 9) == 0);
    CHECK(cllm_token_file_read(file, UINT64_MAX, ids, 9) == 0);

    /* What reads such files as they were reads this one. */
    TokenDataset *old = cllm_token_dataset_load(path);
    CHECK(old && old->num_tokens == count);
    cllm_token_dataset_free(old);

    /* Two bytes are one character. */
    uint64_t in_it = (uint64_t)(strstr(text, "\xC3\xA4") - text) + 1;
    CHECK(cllm_texts_character(texts, in_it) == (int64_t)in_it - 1);
    CHECK(cllm_texts_character(texts, UINT64_MAX) == (int64_t)cllm_texts_bytes(texts));

    free(first);
    free(second);
    cllm_token_file_free(file);
    cllm_free_tokenizer(tokenizer);
    cllm_texts_free(texts);
    cllm_texts_free(texts);
    CHECK(*cllm_last_error() != '\0');
}

/* Words of files are those of a data loader that holds them. */
static void texts_become_words(void) {
    CLLMTexts *texts = two_texts();
    for (int keep_case = 0; keep_case < 2; keep_case++) {
        CLLMTokenizer *one = cllm_create_tokenizer(40), *other = cllm_create_tokenizer(40);
        CLLMDataLoader *loader = cllm_data_loader_create(one);
        loader->lowercase = !keep_case;
        CHECK(cllm_data_loader_load_file(loader, "one.txt") && cllm_data_loader_load_file(loader, "two.txt"));
        cllm_data_loader_build_vocab(loader);
        CHECK(cllm_texts_count_words(texts, 0, UINT64_MAX, other, 1, keep_case, 2, NULL, NULL) == 0);
        CHECK(one->vocab_size == 40 && other->vocab_size == 40);
        for (uint32_t id = 0; id < 40; id++) {
            CHECK(strcmp(one->vocab[id], other->vocab[id]) == 0);
            CHECK(one->token_counts[id] == other->token_counts[id]);
        }
        TokenDataset *expected = cllm_data_loader_create_dataset(loader);
        CHECK(cllm_texts_encode(texts, 0, UINT64_MAX, other, 2, "words.bin", NULL, NULL) == 0);
        CHECK(cllm_texts_encode(texts, 0, UINT64_MAX, other, 1, "words.bin", NULL, NULL) == 1);
        size_t count;
        CLLMTokenFile *file = cllm_token_file_open("words.bin");
        uint32_t *ids = ids_of(file, &count);
        CHECK(count == expected->num_tokens && memcmp(ids, expected->tokens, count * sizeof *ids) == 0);
        cllm_token_file_free(file);

        uint64_t characters = 0, bytes[256], all = 0;
        CHECK(cllm_texts_words(texts, 0, UINT64_MAX, 0, NULL, NULL, &characters, bytes) == (int64_t)count);
        CHECK(characters == loader->total_chars && bytes[' '] == count && bytes['R'] == 100);
        for (int byte = 0; byte < 256; byte++) all += bytes[byte];
        CHECK(all == characters + 1); /* a space behind the last word, which has none */
        cllm_token_dataset_free(expected);
        cllm_data_loader_free(loader);
        cllm_free_tokenizer(one);
        cllm_free_tokenizer(other);
    }
    CHECK(cllm_texts_word(texts, 1, NULL, NULL) == 6 && cllm_texts_word(texts, 0, NULL, NULL) == 0);
    CHECK(cllm_texts_word(texts, UINT64_MAX, NULL, NULL) == (int64_t)cllm_texts_bytes(texts));
    CHECK(cllm_texts_words(texts, 0, 6, 1, NULL, NULL, NULL, NULL) == 1);

    CLLMTokenizer *least = cllm_create_tokenizer(40), *subwords = cllm_byte_tokenizer();
    CHECK(cllm_texts_count_words(texts, 0, UINT64_MAX, least, 90, false, 0, NULL, NULL) == 0);
    CHECK(least->vocab_size == 5 + 10); /* all of a line but its number */
    uint64_t told = 0;
    CHECK(cllm_texts_count_words(texts, 0, UINT64_MAX, least, 0, false, 0, stop_at_once, &told) == -1);
    CHECK(last_error_has("stopped") && least->vocab_size == 15);
    CHECK(cllm_texts_words(texts, 0, UINT64_MAX, 0, stop_at_once, &told, NULL, NULL) == -1);
    CHECK(cllm_texts_word(texts, UINT64_MAX, stop_at_once, &told) == -1);
    CHECK(cllm_texts_count_words(texts, 0, UINT64_MAX, subwords, 0, false, 0, NULL, NULL) == -1);
    CHECK(last_error_has("cllm_texts_train_tokenizer"));
    cllm_free_tokenizer(least);
    cllm_free_tokenizer(subwords);
    cllm_texts_free(texts);
}

static CLLMTokenFile *file_of(uint32_t *ids, size_t count, const char *name) {
    TokenDataset dataset = {.tokens = ids, .num_tokens = count, .capacity = count};
    CHECK(cllm_token_dataset_save(&dataset, name));
    CLLMTokenFile *file = cllm_token_file_open(name);
    CHECK(file);
    return file;
}

static bool same_weights(const CLLMModel *a, const CLLMModel *b) {
    return a->num_weights == b->num_weights &&
           memcmp(a->weights, b->weights, a->num_weights * sizeof *a->weights) == 0;
}

static void training_from_a_file_is_the_same(void) {
    for (int i = 0; i < 200; i++) tokens[i] = (uint32_t)(i * i % 23);
    CLLMTokenFile *file = file_of(tokens, 200, "ids.bin");
    for (int shuffle = 0; shuffle < 2; shuffle++) {
        CLLMModel *one, *other;
        CLLMTraining *memory = prepare_small(&one, 3), *disk = prepare_small(&other, 3);
        CLLMTrainingOptions options = {.struct_size = sizeof options, .seed = 5, .shuffle = shuffle};
        CHECK(cllm_training_set_options(memory, &options) == 0);
        CHECK(cllm_training_set_options(disk, &options) == 0);
        CHECK(cllm_training_use_file(disk, file) == 0);
        CHECK(!disk->tokens && disk->num_tokens == 200);
        for (int i = 0; i < 6; i++) {
            float a = 0, b = 1;
            CHECK(cllm_train_steps(memory, 5, 1, &a) == cllm_train_steps(disk, 5, 2, &b));
            CHECK(a == b && memory->current_epoch == disk->current_epoch);
            double loss, other_loss;
            CHECK(cllm_evaluate(one, tokens, 100, 7, 1, &loss, NULL) == 0);
            CHECK(cllm_evaluate_file(other, file, 100, 7, 1, &other_loss, NULL) == 0);
            CHECK(loss == other_loss);
            CHECK(cllm_training_evaluate(memory, tokens, 200, 1, &loss) ==
                  cllm_training_evaluate_file(disk, file, UINT64_MAX, 1, &other_loss));
            CHECK(loss == other_loss);
        }
        CHECK(same_weights(one, other));
        /* A run goes on from the checkpoint of the other kind. */
        CHECK(cllm_save_checkpoint(disk, "run.cllm") == 0);
        CHECK(cllm_load_checkpoint(memory, "run.cllm") == 0);
        CHECK(cllm_checkpoint_same_data(memory) == 1);
        CHECK(cllm_load_checkpoint(disk, "run.cllm") == 0);
        CHECK(cllm_checkpoint_same_data(disk) == 1);
        float a = 0, b = 1;
        CHECK(cllm_train_steps(memory, 5, 1, &a) == cllm_train_steps(disk, 5, 1, &b) && a == b);
        CHECK(same_weights(one, other));
        /* Tokens that a program sets count. */
        disk->tokens = tokens;
        disk->num_tokens = 200;
        CHECK(cllm_train_steps(memory, 1, 1, &a) == cllm_train_steps(disk, 1, 1, &b) && a == b);
        uint32_t inputs[16], targets[16];
        disk->tokens = NULL;
        disk->current_batch_offset = 16;
        CHECK(cllm_get_batch(disk, inputs, targets) == 16);
        CHECK(memcmp(inputs, tokens + 16, sizeof inputs) == 0);
        CHECK(memcmp(targets, tokens + 17, sizeof targets) == 0);
        finish(memory, one);
        finish(disk, other);
    }
    cllm_token_file_free(file);
}

static void a_file_that_is_cut_ends_the_training(void) {
    CLLMModel *model;
    CLLMTraining *training = prepare_small(&model, 3);
    CLLMTokenFile *file = file_of(tokens, 200, "cut.bin");
    CHECK(cllm_training_use_file(training, file) == 0);
    cllm_token_file_free(file); /* the training keeps it open */
    CHECK(cllm_train_steps(training, 2, 1, NULL) == 2);
    CHECK(truncate("cut.bin", 100) == 0);
    CHECK(cllm_train_steps(training, 9, 1, NULL) == -1);
    CHECK(last_error_has("cut.bin") && last_error_has("was cut"));
    CHECK(training->current_step == 2);
    CHECK(cllm_training_use_file(training, NULL) == -1);
    file = file_of(tokens, 0, "empty.bin");
    CHECK(cllm_training_use_file(training, file) == -1 && last_error_has("no ids"));
    cllm_token_file_free(file);
    finish(training, model);
}

static void old_ids_between_new_ones(void) {
    uint32_t new[40], old[20], mixed[60];
    for (uint32_t i = 0; i < 40; i++) new[i] = i;
    for (uint32_t i = 0; i < 20; i++) old[i] = 100 + i;
    CLLMTokenFile *a = file_of(new, 40, "new.bin"), *b = file_of(old, 20, "old.bin");
    CHECK(cllm_token_file_mix(a, b, 0.2, 5, "mixed.bin") == 10);
    CLLMTokenFile *both = cllm_token_file_open("mixed.bin");
    CHECK(cllm_token_file_read(both, 0, mixed, 60) == 50);
    CHECK(mixed[0] == 0 && mixed[13] == 100 && mixed[17] == 104 && mixed[18] == 13);
    CHECK(cllm_token_file_mix(a, b, 1, 5, "mixed.bin") == -1);
    cllm_token_file_free(a);
    cllm_token_file_free(b);
    cllm_token_file_free(both);
    CHECK(!cllm_token_file_open("absent.bin") && last_error_has("absent.bin"));
}

int main(void) {
    cllm_set_log_silent();
    scratch_make();
    CHECK(chdir(scratch) == 0);
    RUN(texts_become_a_file_of_ids);
    RUN(texts_become_words);
    RUN(training_from_a_file_is_the_same);
    RUN(a_file_that_is_cut_ends_the_training);
    RUN(old_ids_between_new_ones);
    CHECK(chdir("/") == 0 && scratch_remove() == 0);
    return harness_report();
}
