/* The text of a run as whole words. */
#include "train_model.h"

#include <string.h>

#include "cllm_ext.h"

/* Whether words other than the special ones have capitals: such a vocabulary tells them apart. */
static bool keeps_case(const CLLMTokenizer *tokenizer) {
    for (uint32_t id = FIRST_WORD; id < tokenizer->vocab_size; id++) {
        if (strpbrk(tokenizer->vocab[id], "ABCDEFGHIJKLMNOPQRSTUVWXYZ")) {
            return true;
        }
    }
    return false;
}

/* An empty vocabulary to be filled. */
static CLLMTokenizer *begin_vocabulary(const Options *options) {
    CLLMTokenizer *tokenizer = cllm_create_tokenizer((uint32_t)options->vocab_size);
    if (!tokenizer) {
        fail("can't create a vocabulary: %s", library_error());
    }
    return tokenizer;
}

/* What the held-out words are. */
static void measure_held_out(const Options *options, const CLLMTexts *texts, uint64_t from, Data *data) {
    uint64_t bytes[256];
    size_t counts[256];
    measure_words(options, texts, options->data, from, data->lowercase, NULL, bytes);
    for (int byte = 0; byte < 256; byte++) {
        counts[byte] = bytes[byte];
        data->validation_bytes += bytes[byte];
        data->training_bytes -= bytes[byte];
    }
    data->order0 = entropy(counts);
}

/* What the recipe of --minutes and --size asks of a text: how many words there are, and entries in a vocabulary of
 * those that --min-freq lets in, as far as --vocab-size does. */
static void count_for_recipe(Options *options, const CLLMTexts *texts, size_t words, bool keep_case) {
    enum { MOST = 10000 }; /* entries, as settle_options() has it */
    CLLMTokenizer *all = cllm_create_tokenizer(
        options->vocab_size > 0 ? (uint32_t)options->vocab_size : MOST);
    if (!all) {
        fail("can't create a vocabulary: %s", library_error());
    }
    learn_words(options, texts, UINT64_MAX, all, keep_case);
    options->num_words = words;
    options->num_different = all->vocab_size;
    cllm_free_tokenizer(all);
}

/* The held-out words leave before the vocabulary is built, so nothing of them is known to it. */
Data load_words(Options *options, CLLMTokenizer *given, Preparation *preparation) {
    CLLMTexts *texts = open_texts(options, preparation, options->data);
    uint64_t all = cllm_texts_bytes(texts), characters = 0, bytes[256] = {0};
    Data data = {.documents = cllm_texts_count(texts), .lowercase = !given || !keeps_case(given)};
    if (all > 0) {
        data.words = measure_words(options, texts, options->data, 0, data.lowercase, &characters, bytes);
    }
    data.characters = characters;
    if (by_the_recipe(options) && data.words > 0) {
        count_for_recipe(options, texts, data.words, !data.lowercase);
    }
    settle_options(options, given, data.characters);
    size_t held_out = (size_t)((double)data.words * options->val_fraction);
    if (held_out < 2 && !options->held_out_asked) {
        held_out = 0; /* too short a text to keep back what nobody asked for */
    }
    if (options->val_fraction > 0 && held_out < 2 && options->held_out_asked) {
        fail("--val-fraction %g of %zu words leaves nothing to measure", options->val_fraction,
             data.words);
    }
    if (data.words == 0) {
        fail("'%s' is too short: it has no words", shown_name(options->data));
    }
    for (int byte = 0; byte < 256; byte++) {
        data.training_bytes += bytes[byte];
    }
    uint64_t cut = held_out > 0 ? place_of_word(options, texts, data.words - held_out) : all;
    if (cut < all) {
        measure_held_out(options, texts, cut, &data);
    }
    data.tokenizer = given ? given : begin_vocabulary(options);
    if (!given || options->from) { /* a model that goes on learning takes new words in */
        learn_words(options, texts, cut, data.tokenizer, !data.lowercase);
    }
    if (options->min_freq > 1 && cllm_get_vocab_size(data.tokenizer) == FIRST_WORD) {
        fail("--min-freq %d leaves no words", options->min_freq);
    }
    preparation->training = new_file(preparation, "dataset.bin");
    data.training = encode_texts(options, texts, options->data, 0, cut, data.tokenizer, preparation,
                                 preparation->training);
    if (cut < all) {
        preparation->validation = new_file(preparation, "held_out.bin");
        data.validation = encode_texts(options, texts, options->data, cut, all, data.tokenizer, preparation,
                                       preparation->validation);
        data.num_validation = cllm_token_file_count(data.validation);
    }
    cllm_texts_free(texts);
    return data;
}
