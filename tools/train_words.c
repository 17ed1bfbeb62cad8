/* The text of a run as whole words. */
#include "train_model.h"

#include <stdlib.h>
#include <string.h>

#include "cllm_ext.h"
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

/* An empty vocabulary to be filled. */
static CLLMTokenizer *begin_vocabulary(const Options *options) {
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
Data load_words(Options *options, CLLMTokenizer *given, Preparation *preparation) {
    bool lowercase = !given || !keeps_case(given);
    CLLMTokenizer *unused = cllm_create_tokenizer(FIRST_WORD); /* a loader wants one to exist */
    CLLMDataLoader *source = load_documents(unused, options->data, lowercase);
    settle_options(options, given, source->total_chars);
    Data data = {.tokenizer = given ? given : begin_vocabulary(options),
                 .lowercase = lowercase,
                 .documents = source->num_documents,
                 .characters = source->total_chars};
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
    cllm_free_tokenizer(unused);
    data.training_bytes = training.length;
    data.validation_bytes = validation.length;
    size_t counts[256] = {0};
    for (size_t i = 0; i < validation.length; i++) {
        counts[(unsigned char)validation.bytes[i]]++;
    }
    data.order0 = entropy(counts);

    CLLMDataLoader *loader = create_loader(data.tokenizer, lowercase);
    if (!cllm_data_loader_add_document(loader, training.bytes)) {
        fail("can't load the text: %s", library_error());
    }
    if (!given || options->from) { /* a model that goes on learning takes new words in */
        fill_vocabulary(options, loader, &data);
    }
    TokenDataset *ids = cllm_data_loader_create_dataset(loader);
    if (!ids) {
        fail("can't make a dataset: %s", library_error());
    }
    preparation->training = new_file(preparation, "dataset.bin");
    data.training = keep_ids(ids->tokens, ids->num_tokens, preparation->training);
    cllm_token_dataset_free(ids);
    if (held_out > 0) {
        uint32_t *rest = encode_bytes(data.tokenizer, validation.bytes, validation.length,
                                      options->threads, &data.num_validation);
        preparation->validation = new_file(preparation, "held_out.bin");
        data.validation = keep_ids(rest, data.num_validation, preparation->validation);
        free(rest);
    }
    cllm_data_loader_free(loader);
    text_free(&training);
    text_free(&validation);
    return data;
}
