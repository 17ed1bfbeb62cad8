/* --mix: a share of old text among the new, so that a model does not forget it. */
#include "train_model.h"

#include <stdlib.h>
#include <string.h>

static TokenDataset *load_old(const Options *options, const Data *data, size_t *bytes) {
    CLLMDataLoader *loader = load_documents(data->tokenizer, options->mix, data->lowercase);
    TokenDataset *old = cllm_data_loader_create_dataset(loader);
    if (!old) {
        fail("can't make a dataset of '%s': %s", options->mix, library_error());
    }
    *bytes = loader->total_chars;
    cllm_data_loader_free(loader);
    if (old->num_tokens == 0) {
        fail("--mix: '%s' is empty", options->mix);
    }
    return old;
}

/* Pieces of the old text, spread evenly over it, stand between pieces of the new one. */
void mix_in(const Options *options, Data *data) {
    TokenDataset *new = data->training;
    size_t bytes;
    TokenDataset *old = load_old(options, data, &bytes);
    size_t wanted = (size_t)((double)new->num_tokens * options->share / (1 - options->share));
    size_t piece = 4 * (size_t)options->seq_len;
    piece = piece < old->num_tokens ? piece : old->num_tokens;
    size_t count = wanted / piece, most = old->num_tokens / piece;
    if (count > most) {
        warn("warning: --mix: '%s' has only %zu tokens of the %zu that its share would be",
             options->mix, old->num_tokens, wanted);
        count = most;
    }
    uint32_t *ids = checked_alloc(new->num_tokens + count * piece, sizeof *ids);
    size_t length = 0, from = 0;
    for (size_t i = 0; i <= count; i++) {
        size_t to = (size_t)((double)new->num_tokens * (double)(i + 1) / (double)(count + 1));
        to = i == count ? new->num_tokens : to;
        memcpy(ids + length, new->tokens + from, (to - from) * sizeof *ids);
        length += to - from;
        from = to;
        if (i < count) {
            /* the first piece begins where the old text does, the last one ends where it ends */
            size_t room = old->num_tokens - piece;
            size_t at = count > 1 ? (size_t)((double)room * (double)i / (double)(count - 1)) : room / 2;
            memcpy(ids + length, old->tokens + (at < room ? at : room), piece * sizeof *ids);
            length += piece;
        }
    }
    data->mixed = count * piece;
    data->training_bytes +=
        (size_t)((double)bytes * (double)data->mixed / (double)old->num_tokens);
    free(new->tokens);
    new->tokens = ids;
    new->num_tokens = length;
    new->capacity = length;
    cllm_token_dataset_free(old);
}
