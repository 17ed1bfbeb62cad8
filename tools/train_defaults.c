/* What a run is where the command line does not say it. */
#include "train_model.h"

#include <stdlib.h>
#include <string.h>

#include "cllm_format.h"
#include "cllm_utils.h"

/* ---- What there is already ---- */

static void find_block(const CLLMFileInfo *info, void *user_data) {
    for (size_t i = 0; i < info->num_parts; i++) {
        if (strcmp(info->parts[i].name, "ARCH") == 0) { /* files of the original block have none */
            *(Block *)user_data = BLOCK_MODERN;
        }
    }
}

static Block block_of(const char *path) {
    Block block = BLOCK_ORIGINAL;
    cllm_describe_file(path, 0, find_block, &block);
    return block;
}

/* The shape of a model, where no other is asked for. */
static void take_shape(Options *o, const CLLMModel *model) {
    uint32_t positions = model->pos_encoding.max_length;
    o->embed_dim = o->embed_dim > 0 ? o->embed_dim : (int)model->embedding_dim;
    o->num_layers = o->num_layers > 0 ? o->num_layers : (int)model->num_layers;
    o->num_heads = o->num_heads > 0 ? o->num_heads : (int)model->header.num_heads;
    o->seq_len = o->seq_len > 0 || positions == 0 ? o->seq_len : (int)positions;
}

static Origin open_from(Options *o) {
    require_readable(o->from);
    Origin origin = {.model = cllm_read_model(o->from)};
    if (!origin.model) {
        fail("can't read the model '%s': %s", o->from, library_error());
    }
    enum { MORE_WORDS = 10000 };
    uint32_t entries = (uint32_t)origin.model->vocab_size;
    uint32_t room = o->vocab_size > 0 ? (uint32_t)o->vocab_size : entries + MORE_WORDS;
    if (has_token_strings(origin.model)) {
        origin.tokenizer = cllm_model_tokenizer(origin.model, room);
    }
    if (!origin.tokenizer) {
        fail("'%s' carries no tokenizer: it can't be told what a new text says", o->from);
    }
    o->block = block_of(o->from);
    take_shape(o, origin.model);
    return origin;
}

/* What the checkpoint is decides what its continuation is. Words are found in the text again. */
static Origin open_resumed(Options *o) {
    Origin origin = {0};
    CLLMModel *model = cllm_read_model_unchecked(o->resume);
    if (!model) {
        return origin; /* the state file is what counts: cllm_load_checkpoint() judges it */
    }
    CLLMTokenizer *tokenizer = has_token_strings(model) ? cllm_model_tokenizer(model, 0) : NULL;
    if (tokenizer && o->tokens == TOKENS_UNSET) {
        if (has_subwords(tokenizer)) {
            o->tokens = TOKENS_FILE;
            origin.tokenizer = tokenizer;
            tokenizer = NULL;
        } else {
            o->tokens = TOKENS_WORDS;
        }
    }
    cllm_free_tokenizer(tokenizer);
    o->block = o->block != BLOCK_UNSET ? o->block : block_of(o->resume);
    take_shape(o, model);
    cllm_free_model(model);
    return origin;
}

Origin open_origin(Options *o) {
    Origin origin = o->from ? open_from(o) : o->resume ? open_resumed(o) : (Origin){0};
    if (o->tokens == TOKENS_UNSET && !origin.tokenizer) {
        o->tokens = TOKENS_BPE;
    }
    if (o->tokens == TOKENS_FILE && !origin.tokenizer) {
        origin.tokenizer = load_tokenizer(o->vocabulary);
    }
    o->words = origin.tokenizer ? !has_subwords(origin.tokenizer) : o->tokens == TOKENS_WORDS;
    return origin;
}

/* ---- Defaults ---- */

static void default_integer(int *value, int unset, int chosen) {
    *value = *value == unset ? chosen : *value;
}

static void default_number(double *value, double unset, double chosen) {
    *value = *value == unset ? chosen : *value;
}

void settle_options(Options *o, size_t bytes) {
    (void)bytes;
    bool words = o->words; /* whose runs are those of earlier releases, bit for bit */
    o->held_out_asked = o->val_fraction >= 0;
    o->sized_by_text = !words && o->vocab_size == 0;
    o->block = o->block != BLOCK_UNSET ? o->block : words ? BLOCK_ORIGINAL : BLOCK_MODERN;
    o->weights = o->weights != WEIGHTS_UNSET ? o->weights : words ? WEIGHTS_LAST : WEIGHTS_BEST;
    o->schedule = o->schedule ? o->schedule : words && !o->from ? "none" : "linear";
    default_integer(&o->vocab_size, 0, 10000);
    default_integer(&o->embed_dim, 0, 128);
    default_integer(&o->num_layers, 0, 4);
    default_integer(&o->num_heads, 0, 4);
    default_integer(&o->seq_len, 0, words ? 64 : 128);
    default_integer(&o->epochs, 0, 5);
    default_integer(&o->batch_size, 0, words ? 16 : 8);
    default_integer(&o->shuffle, -1, !words);
    default_number(&o->weight_decay, -1, words ? 0.01 : 0.1);
    default_number(&o->clip, -1, 1);
    default_number(&o->dropout, -1, 0);
    default_number(&o->beta2, -1, words ? 0.999 : 0.99);
    default_number(&o->val_fraction, -1, words ? 0 : 0.1);
    if (o->learning_rate == 0) { /* a model that has learnt forgets less at a lower rate */
        o->learning_rate = (o->block == BLOCK_MODERN ? 0.003 : 0.001) / (o->from ? 3 : 1);
    }
    if (o->embed_dim % o->num_heads != 0) {
        fail_usage("--num-heads: %d does not divide --embed-dim %d", o->num_heads, o->embed_dim);
    }
    if (o->block == BLOCK_MODERN && o->embed_dim / o->num_heads % 2 != 0) {
        fail_usage("--num-heads: heads of an odd width, %d, are for --block original",
                   o->embed_dim / o->num_heads);
    }
}
