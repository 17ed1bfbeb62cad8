/* --mix: a share of old text among the new, so that a model does not forget it. */
#include "train_model.h"

#include <stdlib.h>

#include "cllm_ext.h"

enum { STRETCH = 4 }; /* contexts of old text that stand together */

static CLLMTokenFile *load_old(const Options *options, const Data *data, Preparation *preparation,
                               const NewFile *target, size_t *bytes) {
    CLLMTexts *texts = open_texts(options, preparation, options->mix);
    *bytes = cllm_texts_bytes(texts);
    if (*bytes == 0) {
        fail("--mix: '%s' is empty", shown_name(options->mix));
    }
    CLLMTokenFile *file =
        encode_texts(options, texts, options->mix, 0, *bytes, data->tokenizer, preparation, target);
    if (options->words) {
        uint64_t characters, counts[256];
        measure_words(options, texts, options->mix, 0, data->lowercase, &characters, counts);
        *bytes = characters;
    }
    cllm_texts_free(texts);
    return file;
}

/* Pieces of the old text, spread evenly over it, stand between pieces of the new one. */
void mix_in(const Options *options, Data *data, Preparation *preparation) {
    size_t bytes, new = cllm_token_file_count(data->training);
    const NewFile *old_file = new_file(preparation, "old.bin");
    CLLMTokenFile *old = load_old(options, data, preparation, old_file, &bytes);
    size_t tokens = cllm_token_file_count(old);
    if (tokens == 0) {
        fail("--mix: '%s' is empty", shown_name(options->mix));
    }
    int64_t count = cllm_token_file_mix(data->training, old, options->share,
                                        STRETCH * options->seq_len, preparation->training->made);
    if (count < 0) {
        fail("can't mix '%s' in: %s", shown_name(options->mix), library_error());
    }
    size_t wanted = (size_t)((double)new * options->share / (1 - options->share));
    size_t stretch = (size_t)(STRETCH * options->seq_len);
    stretch = stretch < tokens ? stretch : tokens;
    if ((size_t)count < wanted / stretch * stretch) {
        warn("warning: --mix: '%s' has only %zu tokens of the %zu that its share would be",
             shown_name(options->mix), tokens, wanted);
    }
    data->mixed = (size_t)count;
    data->training_bytes += (size_t)((double)bytes * (double)data->mixed / (double)tokens);
    cllm_token_file_free(old);
    cllm_token_file_free(data->training);
    drop_file(old_file);
    data->training = open_token_file(preparation->training->made);
}
