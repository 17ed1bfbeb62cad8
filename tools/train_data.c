#include "train_model.h"

#include <stdlib.h>
#include <string.h>

#include "cllm_ext.h"
#include "cllm_format.h"
#include "cllm_utils.h"
#include "terminal.h"
#include "vocabulary.h"

/* Whether words other than the special ones have capitals: such a vocabulary tells them apart. */
static bool keeps_case(const CLLMTokenizer *tokenizer) {
    for (uint32_t id = FIRST_WORD; id < tokenizer->vocab_size; id++) {
        if (strpbrk(tokenizer->vocab[id], "ABCDEFGHIJKLMNOPQRSTUVWXYZ")) {
            return true;
        }
    }
    return false;
}

static CLLMDataLoader *create_loader(CLLMTokenizer *tokenizer) {
    CLLMDataLoader *loader = cllm_data_loader_create(tokenizer);
    if (!loader) {
        fail("can't create a data loader: %s", library_error());
    }
    loader->lowercase = !keeps_case(tokenizer);
    return loader;
}

static void load_standard_input(CLLMDataLoader *loader) {
    Text text = read_input("-");
    if (!cllm_data_loader_add_document(loader, text.bytes)) {
        fail("can't take standard input: %s", library_error());
    }
    text_free(&text);
}

/* Why the library could not read a file, without its name: that is said already. */
static const char *reason_of(const char *path) {
    const char *error = library_error(), *found = strstr(error, path);
    return found && strncmp(found + strlen(path), ": ", 2) == 0 ? found + strlen(path) + 2 : error;
}

static void load_folder(CLLMDataLoader *loader, const char *folder) {
    Paths paths = {0};
    LeftOut left_out = {0};
    find_text_files(folder, NULL, &paths, &left_out);
    for (size_t i = 0; i < paths.count; i++) {
        if (!cllm_data_loader_load_file(loader, paths.values[i])) {
            leave_out(&left_out, paths.values[i], reason_of(paths.values[i]));
        }
    }
    finish_left_out(&left_out);
    if (loader->num_documents == 0) {
        fail("no text files in '%s'", folder);
    }
    free_paths(&paths);
}

static CLLMDataLoader *load_documents(CLLMTokenizer *tokenizer, const char *path) {
    CLLMDataLoader *loader = create_loader(tokenizer);
    if (strcmp(path, "-") == 0) {
        load_standard_input(loader);
        return loader;
    }
    require_readable(path);
    if (is_directory(path)) {
        load_folder(loader, path);
    } else if (!cllm_data_loader_load_file(loader, path)) {
        fail("can't read '%s': %s", path, library_error());
    }
    return loader;
}

static size_t count_words(const char *text) {
    const char *word;
    size_t length, count = 0;
    while (next_word(&text, &word, &length)) {
        count++;
    }
    return count;
}

/* Splits the words of all documents, in order, after the first `cut`. */
static void split_words(const CLLMDataLoader *loader, size_t cut, Text *before, Text *after) {
    size_t seen = 0;
    text_append_string(before, "");
    text_append_string(after, "");
    for (size_t d = 0; d < loader->num_documents; d++) {
        const char *cursor = loader->documents[d], *word;
        for (size_t length; next_word(&cursor, &word, &length); seen++) {
            Text *part = seen < cut ? before : after;
            text_append(part, word, length);
            text_append(part, " ", 1);
        }
    }
}

/* The vocabulary of --vocab, or an empty one to be filled. */
static CLLMTokenizer *begin_vocabulary(const Options *options) {
    if (options->vocabulary) {
        return load_vocabulary(options->vocabulary);
    }
    CLLMTokenizer *tokenizer = cllm_create_tokenizer((uint32_t)options->vocab_size);
    if (!tokenizer) {
        fail("can't create a vocabulary: %s", library_error());
    }
    return tokenizer;
}

/* The words of the text that --vocab-size and --min-freq let in. */
static void fill_vocabulary(const Options *options, CLLMDataLoader *loader, Data *data) {
    if (options->min_freq <= 1) {
        cllm_data_loader_build_vocab(loader);
        return;
    }
    CLLMTokenizer *all = all_words(loader->documents, loader->num_documents);
    cllm_free_tokenizer(data->tokenizer);
    data->tokenizer = choose_words(all, (uint32_t)options->vocab_size, (uint32_t)options->min_freq,
                                   UINT32_MAX);
    cllm_free_tokenizer(all);
    loader->tokenizer = data->tokenizer;
    if (cllm_get_vocab_size(data->tokenizer) == FIRST_WORD) {
        fail("--min-freq %d leaves no words", options->min_freq);
    }
}

/* The held-out words leave before the vocabulary is built, so nothing of them is known to it. */
Data load_data(const Options *options) {
    Data data = {0};
    data.tokenizer = begin_vocabulary(options);
    CLLMDataLoader *source = load_documents(data.tokenizer, options->data);
    data.documents = source->num_documents;
    data.characters = source->total_chars;
    for (size_t d = 0; d < source->num_documents; d++) {
        data.words += count_words(source->documents[d]);
    }
    size_t held_out = (size_t)((double)data.words * options->val_fraction);
    if (options->val_fraction > 0 && held_out < 2) {
        fail("--val-fraction %g of %zu words leaves nothing to measure", options->val_fraction,
             data.words);
    }
    Text training = {0}, validation = {0};
    split_words(source, data.words - held_out, &training, &validation);
    cllm_data_loader_free(source);

    CLLMDataLoader *loader = create_loader(data.tokenizer);
    if (!cllm_data_loader_add_document(loader, training.bytes)) {
        fail("can't load the text: %s", library_error());
    }
    if (!options->vocabulary) {
        fill_vocabulary(options, loader, &data);
    }
    data.training = cllm_data_loader_create_dataset(loader);
    if (!data.training) {
        fail("can't make a dataset: %s", library_error());
    }
    if (held_out > 0) {
        data.validation =
            cllm_tokenizer_encode(data.tokenizer, validation.bytes, &data.num_validation);
        if (!data.validation) {
            fail("can't encode the held-out words: %s", library_error());
        }
    }
    cllm_data_loader_free(loader);
    text_free(&training);
    text_free(&validation);
    return data;
}

void free_data(Data *data) {
    cllm_token_dataset_free(data->training);
    cllm_free_tokenizer(data->tokenizer);
    free(data->validation);
}

static double percent_unknown(const uint32_t *tokens, size_t count) {
    size_t unknown = 0;
    for (size_t i = 0; i < count; i++) {
        unknown += tokens[i] == UNKNOWN;
    }
    return 100.0 * (double)unknown / (double)(count ? count : 1);
}

static void describe_vocabulary(const Options *options, const Data *data) {
    const CLLMTokenizer *tokenizer = data->tokenizer;
    uint32_t once = 0;
    for (uint32_t id = FIRST_WORD; id < tokenizer->vocab_size; id++) {
        once += tokenizer->token_counts[id] == 1;
    }
    printf("  %u entries, five of them special; %.2f%% of the words are unknown to it",
           tokenizer->vocab_size,
           percent_unknown(data->training->tokens, data->training->num_tokens));
    if (data->validation) {
        printf(", of the held-out ones %.2f%%",
               percent_unknown(data->validation, data->num_validation));
    }
    printf("\n");
    if (once > 0 && !options->vocabulary) {
        printf("  %u entries were seen once; --min-freq 2 leaves such words out\n", once);
    }
}

void describe_data(const Options *options, const Data *data) {
    size_t tokens = data->training->num_tokens;
    printf("Step 1: Loading training data\n");
    printf("  %s: %zu document%s, %zu characters, %zu words\n", 
           strcmp(options->data, "-") == 0 ? "standard input" : visible(stdout, options->data),
           data->documents, data->documents == 1 ? "" : "s", data->characters, data->words);
    printf("Step 2: Building vocabulary\n");
    describe_vocabulary(options, data);
    printf("Step 3: Creating dataset\n");
    printf("  %zu words to train on, %u held out\n", tokens, data->num_validation);
}

void write_data(const Folder *folder, const Data *data) {
    char *vocabulary = join_path(folder->path, "vocab.txt");
    char *dataset = join_path(folder->path, "dataset.bin");
    if (!cllm_save_vocab(data->tokenizer, vocabulary)) {
        fail("can't write '%s': %s", vocabulary, library_error());
    }
    if (!cllm_token_dataset_save(data->training, dataset)) {
        fail("can't write '%s': %s", dataset, library_error());
    }
    keep_owner(folder, vocabulary);
    keep_owner(folder, dataset);
    free(vocabulary);
    free(dataset);
}

char *words_of_text(const Data *data, size_t start) {
    const TokenDataset *text = data->training;
    size_t end = start;
    while (start < text->num_tokens && text->tokens[start] < 5) {
        start++;
    }
    for (end = start; end < text->num_tokens && end < start + 3 && text->tokens[end] >= 5;) {
        end++;
    }
    if (end == start) {
        return NULL;
    }
    return cllm_tokenizer_decode(data->tokenizer, text->tokens + start, (uint32_t)(end - start));
}

void compare_vocabulary(const char *checkpoint, const Data *data) {
    const CLLMTokenizer *tokenizer = data->tokenizer;
    CLLMModel *saved = cllm_read_model_unchecked(checkpoint);
    if (!saved) {
        return; /* the state file is what counts, cllm_load_checkpoint judges it */
    }
    bool same = !has_token_strings(saved) || saved->vocab_size == tokenizer->vocab_size;
    for (uint32_t i = 0; same && has_token_strings(saved) && i < tokenizer->vocab_size; i++) {
        const char *word = tokenizer->vocab[i];
        /* longer words are cut in the model */
        same = strlen(word) >= sizeof saved->tokens[i].token_str ||
               strcmp(word, saved->tokens[i].token_str) == 0;
    }
    cllm_free_model(saved);
    if (!same) {
        fail("'%s' was trained with another vocabulary: use the same DATA, --vocab-size and "
             "--val-fraction",
             checkpoint);
    }
}
