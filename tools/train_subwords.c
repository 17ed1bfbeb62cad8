/* The text of a run as subwords or bytes. */
#include "train_model.h"

#include <stdlib.h>
#include <string.h>

#include "cllm_ext.h"

/* A part of a document. */
typedef struct Part {
    const char *text;
    size_t length;
} Part;

typedef struct Parts {
    Part *values;
    size_t count, bytes;
} Parts;

static void add_part(Parts *parts, const char *text, size_t length) {
    if (length > 0) {
        parts->values = checked_resize(parts->values, parts->count + 1, sizeof *parts->values);
        parts->values[parts->count++] = (Part){text, length};
        parts->bytes += length;
    }
}

/* Splits the bytes of all documents, in order, after the first `cut`, but not inside of a character. */
static void split_documents(const CLLMDataLoader *loader, size_t cut, Parts *before, Parts *after) {
    for (size_t d = 0; d < loader->num_documents; d++) {
        const char *text = loader->documents[d];
        size_t length = strlen(text), here = cut < length ? cut : length;
        while (here < length && here > 0 && ((unsigned char)text[here] & 0xC0) == 0x80) {
            here--;
        }
        add_part(before, text, here);
        add_part(after, text + here, length - here);
        cut -= cut < length ? cut : length;
    }
}

static double order0_of(const Parts *parts) {
    size_t counts[256] = {0};
    for (size_t i = 0; i < parts->count; i++) {
        for (size_t k = 0; k < parts->values[i].length; k++) {
            counts[(unsigned char)parts->values[i].text[k]]++;
        }
    }
    return entropy(counts);
}

static CLLMTokenizer *learn(const Options *options, const Parts *parts) {
    if (options->tokens == TOKENS_BYTES) {
        CLLMTokenizer *tokenizer = cllm_byte_tokenizer();
        if (!tokenizer) {
            fail("can't create a tokenizer: %s", library_error());
        }
        return tokenizer;
    }
    uint32_t size = (uint32_t)options->vocab_size;
    if (parts->count == 1) {
        return train_bpe(parts->values->text, parts->bytes, size, !options->quiet);
    }
    Text all = {0}; /* a line end between two documents: what is learnt crosses none */
    text_append_string(&all, "");
    for (size_t i = 0; i < parts->count; i++) {
        text_append(&all, parts->values[i].text, parts->values[i].length);
        text_append_string(&all, "\n");
    }
    CLLMTokenizer *tokenizer = train_bpe(all.bytes, all.length, size, !options->quiet);
    text_free(&all);
    return tokenizer;
}

/* The ids of all parts, with the end token between two of them. */
static uint32_t *encode_parts(const Options *options, const CLLMTokenizer *tokenizer,
                              const Parts *parts, size_t *count) {
    int end = cllm_end_token(tokenizer);
    uint32_t *ids = NULL;
    *count = 0;
    for (size_t i = 0; i < parts->count; i++) {
        size_t added;
        uint32_t *more = encode_bytes(tokenizer, parts->values[i].text, parts->values[i].length,
                                      options->threads, &added);
        ids = checked_resize(ids, *count + added + 1, sizeof *ids);
        if (i > 0 && end >= 0) {
            ids[(*count)++] = (uint32_t)end;
        }
        memcpy(ids + *count, more, added * sizeof *ids);
        *count += added;
        free(more);
    }
    return ids ? ids : checked_alloc(1, sizeof *ids);
}

static void count_tokens(CLLMTokenizer *tokenizer, const TokenDataset *dataset) {
    for (size_t i = 0; i < dataset->num_tokens; i++) {
        uint32_t *count = &tokenizer->token_counts[dataset->tokens[i]];
        *count += *count < UINT32_MAX;
    }
}

/* The held-out part leaves before the tokens are learnt, so nothing of it is known to them. */
Data load_subwords(Options *options, CLLMTokenizer *given) {
    CLLMTokenizer *bytes = cllm_byte_tokenizer(); /* a loader keeps the texts as they are for it */
    CLLMDataLoader *source = load_documents(bytes, options->data, false);
    Data data = {.documents = source->num_documents, .characters = source->total_chars};
    settle_options(options, given, source->total_chars);
    size_t held_out = (size_t)((double)source->total_chars * options->val_fraction);
    Parts training = {0}, validation = {0};
    split_documents(source, source->total_chars - held_out, &training, &validation);
    if (training.bytes == 0) {
        fail("'%s' is empty", options->data);
    }
    data.training_bytes = training.bytes;
    data.validation_bytes = validation.bytes;
    data.order0 = order0_of(&validation);
    data.tokenizer = given ? given : learn(options, &training);
    data.training = checked_alloc(1, sizeof *data.training);
    data.training->tokens =
        encode_parts(options, data.tokenizer, &training, &data.training->num_tokens);
    data.training->capacity = data.training->num_tokens;
    if (given && !options->resume) { /* whose checkpoint has them */
        if (!options->from) {
            memset(given->token_counts, 0, given->vocab_size * sizeof *given->token_counts);
        }
        count_tokens(given, data.training);
    }
    if (validation.bytes > 0) {
        data.validation = encode_parts(options, data.tokenizer, &validation, &data.num_validation);
    }
    if (options->val_fraction > 0 && data.num_validation < 2) {
        if (options->held_out_asked) {
            fail("--val-fraction %g of %zu bytes leaves nothing to measure", options->val_fraction,
                 data.characters);
        }
        free(data.validation);
        data.validation = NULL;
        data.num_validation = 0;
    }
    free(training.values);
    free(validation.values);
    cllm_data_loader_free(source);
    cllm_free_tokenizer(bytes);
    return data;
}
