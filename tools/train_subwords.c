/* The text of a run as subwords or bytes. */
#include "train_model.h"

#include <stdlib.h>
#include <string.h>

#include "cllm_ext.h"

/* By the tokens of the held-out text, which are all its bytes. */
static double order0_of(const CLLMTokenizer *tokenizer, const CLLMTokenFile *ids) {
    size_t counts[256] = {0};
    for (uint32_t id = 0; id < tokenizer->vocab_size; id++) {
        uint64_t count = cllm_token_file_occurrences(ids, id);
        size_t length = 0;
        const char *bytes =
            count > 0 && !cllm_token_is_special(tokenizer, id) ? cllm_token_text(tokenizer, id, &length)
                                                               : NULL;
        for (size_t i = 0; bytes && i < length; i++) {
            counts[(unsigned char)bytes[i]] += count;
        }
    }
    return entropy(counts);
}

static CLLMTokenizer *learn(const Options *options, const CLLMTexts *texts, uint64_t to,
                            Preparation *preparation) {
    if (options->tokens == TOKENS_BYTES) {
        CLLMTokenizer *tokenizer = cllm_byte_tokenizer();
        if (!tokenizer) {
            fail("can't create a tokenizer: %s", library_error());
        }
        return tokenizer;
    }
    CLLMTokenizer *tokenizer = learn_tokens(options, texts, to);
    const NewFile *file = new_file(preparation, "tokenizer.json"); /* for who ends the program now */
    if (cllm_write_tokenizer(tokenizer, file->made) != 0) {
        fail("can't write '%s': %s", file->place, library_error());
    }
    return tokenizer;
}

static void count_tokens(CLLMTokenizer *tokenizer, const CLLMTokenFile *ids) {
    for (uint32_t id = 0; id < tokenizer->vocab_size; id++) {
        uint64_t count = tokenizer->token_counts[id] + cllm_token_file_occurrences(ids, id);
        tokenizer->token_counts[id] = count < UINT32_MAX ? (uint32_t)count : UINT32_MAX;
    }
}

/* The held-out part leaves before the tokens are learnt, so nothing of it is known to them. */
Data load_subwords(Options *options, CLLMTokenizer *given, Preparation *preparation) {
    CLLMTexts *texts = open_texts(options, preparation, options->data);
    uint64_t all = cllm_texts_bytes(texts);
    Data data = {.documents = cllm_texts_count(texts), .characters = all};
    settle_options(options, given, all);
    uint64_t held_out = (uint64_t)((double)all * options->val_fraction);
    int64_t place = cllm_texts_character(texts, all - held_out);
    if (place < 0) {
        fail("can't read '%s': %s", shown_name(options->data), library_error());
    }
    uint64_t cut = (uint64_t)place;
    if (cut == 0) {
        fail("'%s' is empty", shown_name(options->data));
    }
    data.training_bytes = cut;
    data.validation_bytes = all - cut;
    data.tokenizer = given ? given : learn(options, texts, cut, preparation);
    preparation->training = new_file(preparation, "dataset.bin");
    data.training = encode_texts(options, texts, options->data, 0, cut, data.tokenizer, preparation,
                                 preparation->training);
    if (given && !options->resume) { /* whose checkpoint has them */
        if (!options->from) {
            memset(given->token_counts, 0, given->vocab_size * sizeof *given->token_counts);
        }
        count_tokens(given, data.training);
    }
    if (cut < all) {
        preparation->validation = new_file(preparation, "held_out.bin");
        data.validation = encode_texts(options, texts, options->data, cut, all, data.tokenizer, preparation,
                                       preparation->validation);
        data.num_validation = cllm_token_file_count(data.validation);
        data.order0 = order0_of(data.tokenizer, data.validation);
    }
    if (options->val_fraction > 0 && data.num_validation < 2) {
        if (options->held_out_asked) {
            fail("--val-fraction %g of %zu bytes leaves nothing to measure", options->val_fraction,
                 data.characters);
        }
        cllm_token_file_free(data.validation);
        data.validation = NULL;
        data.num_validation = 0;
    }
    cllm_texts_free(texts);
    return data;
}
