/* What a run is where the command line does not say it. */
#include "train_model.h"

#include <stdlib.h>
#include <string.h>

#include "cllm_format.h"
#include "cllm_utils.h"

/* ---- What there is already ---- */

static void default_integer(int *value, int unset, int chosen) {
    *value = *value == unset ? chosen : *value;
}

static void default_number(double *value, double unset, double chosen) {
    *value = *value == unset ? chosen : *value;
}

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
    require_model(o->from);
    Origin origin = {.model = cllm_read_model(o->from)};
    if (!origin.model) {
        fail("can't read the model '%s': %s", o->from, library_error());
    }
    if (cllm_model_is_quantized(origin.model) == 1) {
        fail("--from: '%s' has 8-bit weights, which can't be trained: take the model that it was made of, "
             "final_model.cllm beside it", o->from);
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
    if (o->vocab_size > 0 && has_subwords(origin.tokenizer)) {
        fail_usage("--from excludes --vocab-size: the subwords of '%s' spell every text", o->from);
    }
    o->block = block_of(o->from);
    take_shape(o, origin.model);
    return origin;
}

/* How the run of a checkpoint was trained, where nothing else is asked for. */
static void take_training(Options *o, CLLMModel *model) {
    CLLMTrainingConfig config = {.learning_rate = 0.001f, .batch_size = 1, .sequence_length = 1,
                                 .num_epochs = 1, .optimizer = "adamw"};
    CLLMTrainingOptions more = {.struct_size = sizeof more};
    CLLMTraining *training = cllm_training_init(model, &config);
    if (training && cllm_load_checkpoint(training, o->resume) == 0 &&
        cllm_checkpoint_config(training, &config) == 1 &&
        cllm_checkpoint_options(training, &more) == 1) {
        default_integer(&o->batch_size, 0, config.batch_size);
        default_integer(&o->seq_len, 0, config.sequence_length);
        default_integer(&o->accumulate, 0, config.gradient_accumulation_steps);
        default_integer(&o->warmup, -1, config.warmup_steps);
        default_integer(&o->shuffle, -1, more.shuffle != 0);
        if (o->short_windows < 0) {
            o->short_windows = more.short_windows;
            o->short_part = (double)more.short_part;
        }
        default_number(&o->learning_rate, 0, (double)config.initial_learning_rate);
        default_number(&o->weight_decay, -1, (double)config.weight_decay);
        default_number(&o->clip, -1, (double)config.gradient_clip);
        default_number(&o->dropout, -1, (double)more.dropout);
        default_number(&o->beta2, -1, more.beta2 > 0 ? (double)more.beta2 : 0.999);
        bool by_minutes = config.num_epochs > 1000000 && o->epochs == 0;
        o->steps = by_minutes ? config.max_steps : 0;
    }
    cllm_training_free(training);
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
    if (o->block == BLOCK_MODERN) {
        take_training(o, model);
    }
    take_shape(o, model);
    cllm_free_model(model);
    return origin;
}

Origin open_origin(Options *o) {
    o->began = seconds_now();
    Origin origin = o->from ? open_from(o) : o->resume ? open_resumed(o) : (Origin){0};
    o->tokens_asked = o->tokens != TOKENS_UNSET;
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

static int or_none(double value) { /* how a recipe is told "none" from "not said" */
    return value == 0 ? -1 : 0;
}

/* The highest rate of a model that goes on: what has learnt already forgets less at a lower one. */
static double of_what_goes_on(double rate) {
    return rate / 3;
}

/* What the library's recipe advises for what was not given, by the length of the text, and the minutes or the
   size. */
static void follow_recipe(Options *o, const CLLMTokenizer *given, size_t bytes) {
    bool dial = has_dial(o), timed = o->minutes > 0;
    CLLMRecipe r = {
        .struct_size = sizeof r,
        .epochs = timed ? 0 : o->epochs,
        .steps = timed ? 0 : o->steps, /* of a run of minutes that goes on: it is measured as often */
        .training_tokens = (uint64_t)((double)o->num_words * (1 - o->val_fraction)),
        .tokenizer = o->words ? CLLM_TOKENS_WORDS
                     : o->tokens_asked || given || !dial
                         ? (o->tokens == TOKENS_BYTES ? CLLM_TOKENS_BYTES : CLLM_TOKENS_SUBWORDS)
                         : 0,
        .vocab_size = given ? (int)given->vocab_size : o->vocab_size,
        .embedding_dim = o->embed_dim > 0 ? o->embed_dim : o->size, .num_layers = o->num_layers, .num_heads = o->num_heads,
        .sequence_length = o->seq_len, .batch_size = o->batch_size,
        .short_windows = o->short_windows > 0 ? o->short_windows : o->short_windows == 0 ? -1 : 0,
        .warmup_steps = o->warmup == 0 ? -1 : o->warmup > 0 ? o->warmup : 0,
        .learning_rate = (float)o->learning_rate,
        .weight_decay = o->weight_decay > 0 ? (float)o->weight_decay : (float)or_none(o->weight_decay),
        .beta2 = o->beta2 > 0 ? (float)o->beta2 : 0,
        .dropout = o->dropout > 0 ? (float)o->dropout : (float)or_none(o->dropout),
    };
    if (o->words && !given && o->num_different < (size_t)o->vocab_size) {
        r.vocab_size = (int)o->num_different; /* the text has no more */
    }
    if (given && cllm_tokenizer_kind(given) == CLLM_TOKENS_BYTES) {
        r.tokenizer = CLLM_TOKENS_BYTES;
    }
    if (!dial && r.vocab_size == 0 && r.tokenizer == CLLM_TOKENS_SUBWORDS) {
        r.vocab_size = (int)bpe_size(bytes);
    }
    double held_out = (double)bytes * o->val_fraction;
    double speed = dial ? cllm_measure_speed_in(o->threads, precision_of(o)) : 0;
    double left = o->minutes * 60 - (seconds_now() - o->began);
    take_from_first(&left, sizeof left); /* so that all ranks choose the same */
    take_from_first(&speed, sizeof speed);
    size_t training = bytes > (size_t)held_out + 1 ? bytes - (size_t)held_out : 1;
    /* Of what a text is too short for, count_batches() says what would fit. */
    size_t window = r.sequence_length > 0 ? (size_t)r.sequence_length : 8;
    size_t tokens = r.training_tokens > 0 ? (size_t)r.training_tokens : training;
    if (window * (size_t)(r.batch_size > 0 ? r.batch_size : 1) >= tokens) {
        r.sequence_length = r.batch_size = 0;
    }
    const CLLMRecipe asked = r;
    bool chosen = (!dial || speed > 0) && cllm_recipe(training, timed ? left : 0, speed, &r) == 0;
    if (chosen && o->from && !o->rate_asked) { /* asked again, for what the recipe says of itself */
        double rate = of_what_goes_on((double)r.learning_rate);
        r = asked;
        r.learning_rate = (float)rate;
        chosen = cllm_recipe(training, timed ? left : 0, speed, &r) == 0;
    }
    if (!chosen) {
        fail("can't choose the sizes of the run: %s", library_error());
    }
    if (r.tokenizer == CLLM_TOKENS_BYTES && !given) {
        o->tokens = TOKENS_BYTES;
    }
    o->sized_by_text = o->vocab_size == 0 && !given;
    o->vocab_size = o->words ? o->vocab_size : r.vocab_size; /* of words the limit stays */
    o->embed_dim = r.embedding_dim;
    o->num_layers = r.num_layers;
    o->num_heads = r.num_heads;
    default_integer(&o->seq_len, 0, r.sequence_length);
    default_integer(&o->batch_size, 0, r.batch_size);
    o->short_windows = r.short_windows < 0 ? 0 : r.short_windows;
    o->short_part = o->short_part > 0 ? o->short_part : (double)r.short_part;
    o->warmup = r.warmup_steps < 0 ? 0 : r.warmup_steps;
    o->learning_rate = (double)r.learning_rate;
    o->weight_decay = r.weight_decay < 0 ? 0 : (double)r.weight_decay;
    o->clip = o->clip < 0 ? (double)r.gradient_clip : o->clip;
    o->beta2 = (double)r.beta2;
    o->dropout = r.dropout < 0 ? 0 : (double)r.dropout;
    if (dial) {
        snprintf(o->chosen, sizeof o->chosen, "%s", r.text);
    }
    if (timed || o->steps > 0) {
        o->steps = r.steps;
        o->evaluate_every = r.evaluate_every;
        o->evaluate_tokens = r.evaluate_tokens;
    } else if (o->epochs == 0) {
        o->epochs = r.epochs < 1e6 ? (int)(r.epochs + 0.5) : 1000000;
    }
}

void settle_options(Options *o, const CLLMTokenizer *given, size_t bytes) {
    wait_for_first(); /* which alone has read the text */
    take_from_first(&bytes, sizeof bytes);
    take_from_first(&o->num_words, sizeof o->num_words);
    take_from_first(&o->num_different, sizeof o->num_different);
    /* Runs of words are those of earlier releases, bit for bit, where no recipe chooses. */
    bool words = o->words && !by_the_recipe(o);
    bool modern = o->block == BLOCK_MODERN || (o->block == BLOCK_UNSET && !words);
    o->held_out_asked = o->val_fraction >= 0;
    o->block = modern ? BLOCK_MODERN : BLOCK_ORIGINAL;
    o->weights = o->weights != WEIGHTS_UNSET ? o->weights : words ? WEIGHTS_LAST : WEIGHTS_BEST;
    default_number(&o->val_fraction, -1, words ? 0 : 0.1);
    if (o->vocab_size == 0 && o->words) {
        o->vocab_size = 10000;
    }
    if (!has_dial(o)) {
        default_integer(&o->embed_dim, 0, 128);
        default_integer(&o->num_layers, 0, 4);
        default_integer(&o->num_heads, 0, 4);
        default_integer(&o->epochs, 0, 5);
        default_integer(&o->seq_len, 0, words ? 64 : 128);
    } else if (!modern || o->schedule) {
        fail_usage("%s is for the modern block and its own schedule", o->size > 0 ? "--size" : "--minutes");
    }
    if (o->num_heads > 0 && o->embed_dim % o->num_heads != 0) {
        fail_usage("--num-heads: %d does not divide --embed-dim %d", o->num_heads, o->embed_dim);
    }
    if (modern && o->num_heads > 0 && o->embed_dim / o->num_heads % 2 != 0) {
        fail_usage("--num-heads: heads of an odd width, %d, are for --block original",
                   o->embed_dim / o->num_heads);
    }
    o->schedule = o->schedule ? o->schedule : modern || o->from ? "linear" : "none";
    default_integer(&o->shuffle, -1, !words);
    o->rate_asked = o->learning_rate > 0;
    bool by_recipe = modern && !words;
    if (by_recipe) {
        follow_recipe(o, given, bytes);
    } else if (o->short_windows > 0) {
        fail_usage("--short-windows is for the modern block, and not for words without --minutes");
    }
    if (o->short_windows > 0 && o->seq_len % o->short_windows != 0) {
        fail_usage("--short-windows: %d does not divide --seq-len %d", o->short_windows, o->seq_len);
    }
    if (o->vocab_size == 0) {
        o->vocab_size = (int)bpe_size(bytes);
        o->sized_by_text = !given;
    }
    enum { MEASURED = 1 << 22 }; /* of a text so long that measuring all of it would take hours */
    o->evaluate_tokens = o->evaluate_tokens > 0 ? o->evaluate_tokens : MEASURED;
    default_integer(&o->batch_size, 0, words ? 16 : 8);
    default_integer(&o->accumulate, 0, 1);
    default_number(&o->weight_decay, -1, 0.01);
    default_number(&o->clip, -1, 1);
    default_number(&o->dropout, -1, 0);
    default_number(&o->beta2, -1, 0.999);
    default_number(&o->learning_rate, 0, modern ? 0.003 : 0.001);
    if (o->from && !o->rate_asked && !by_recipe) {
        o->learning_rate = of_what_goes_on(o->learning_rate);
    }
}
