/* Steps 4 and 5 of a run: its model and its training, made ready. */
#include "train_model.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cllm_utils.h"

static CLLMModel *create_model(const Options *options, const Data *data) {
    CLLMConfig config = {
        .vocab_size = cllm_get_vocab_size(data->tokenizer),
        .embedding_dim = (uint32_t)options->embed_dim,
        .num_layers = (uint32_t)options->num_layers,
        .num_heads = (uint32_t)options->num_heads,
        .ff_dim = 4 * (uint32_t)options->embed_dim,
        .max_seq_len = (uint32_t)options->seq_len,
        .dropout = 0.0f,
    };
    CLLMModel *model;
    if (options->block == BLOCK_MODERN) {
        model = cllm_create_modern_model(&config, options->seed);
    } else {
        /* A seed means the same weights in every release: those of rand(), which knows no 0 (it is 1). */
        srand(options->seed);
        model = options->seed == 0 ? cllm_create_model_seeded(&config, 0) : cllm_create_model(&config);
    }
    if (!model) {
        fail("can't create the model: %s", library_error());
    }
    if (cllm_model_set_vocab(model, data->tokenizer) != 0) {
        fail("can't give the model its vocabulary: %s", library_error());
    }
    return model;
}

/* The model of --from, with the words of its new text. */
static CLLMModel *take_model(const Options *options, const Data *data, CLLMModel *model, int *added) {
    *added = options->words ? cllm_grow_vocab(model, data->tokenizer) : 0;
    if (*added < 0 || (!options->words && cllm_model_set_vocab(model, data->tokenizer) != 0)) {
        fail("can't give the model its vocabulary: %s", library_error());
    }
    return model;
}

/* With the largest batch that there would be. */
static void fail_too_short(const Options *options, size_t tokens, size_t needed) {
    char smaller[80] = "";
    if (tokens > (size_t)options->seq_len) {
        snprintf(smaller, sizeof smaller, ", or --batch-size %zu",
                 (tokens - 1) / (size_t)options->seq_len);
    } else if (tokens > 1) {
        snprintf(smaller, sizeof smaller, ", or --batch-size 1 --seq-len %zu", tokens - 1);
    }
    fail("'%s' is too short: %zu %s%s to train on, one batch of %d x %d takes %zu: more text is needed%s",
         shown_name(options->data), tokens, options->words ? "word" : "token", tokens == 1 ? "" : "s",
         options->batch_size, options->seq_len, needed, smaller);
}

static int count_batches(const Options *options, const Data *data) {
    size_t per_batch = (size_t)options->batch_size * (size_t)options->seq_len;
    size_t tokens = data->num_training;
    size_t batches = tokens > 0 ? (tokens - 1) / per_batch : 0;
    if (batches == 0) {
        fail_too_short(options, tokens, per_batch + 1);
    }
    if (batches > (size_t)(INT_MAX / (options->epochs > 0 ? options->epochs : 1))) {
        fail("%zu batches in %d epochs are more steps than are counted, %d: a larger --batch-size or fewer "
             "--epochs make fewer of them",
             batches, options->epochs, INT_MAX);
    }
    return (int)batches;
}

int precision_of(const Options *options) {
    bool faster = options->precision == PRECISION_AUTO &&
                  cllm_precision_support(CLLM_PRECISION_BF16) == 2;
    return faster || options->precision == PRECISION_BF16 ? CLLM_PRECISION_BF16 : CLLM_PRECISION_F32;
}

static CLLMTraining *create_training(Run *run) {
    const Options *options = run->options;
    int all_steps = options->steps > 0 ? options->steps : run->batches_per_epoch * run->epochs;
    int tenth = all_steps / 10 < 1000 ? all_steps / 10 : 1000;
    CLLMTrainingConfig config = {
        .learning_rate = (float)options->learning_rate,
        .batch_size = options->batch_size,
        .num_epochs = run->epochs,
        .max_steps = all_steps,
        .weight_decay = (float)options->weight_decay,
        .gradient_clip = (float)options->clip,
        .warmup_steps = options->warmup >= 0 ? options->warmup : tenth,
        .sequence_length = options->seq_len,
        .optimizer = "adamw",
        .gradient_accumulation_steps = options->accumulate,
    };
    snprintf(config.lr_scheduler, sizeof config.lr_scheduler, "%s", options->schedule);
    CLLMTraining *training = cllm_training_init(run->model, &config);
    if (!training) {
        fail("can't prepare the training: %s", library_error());
    }
    CLLMTrainingOptions more = {.struct_size = sizeof more, .seed = options->seed,
                                .beta2 = (float)options->beta2, .dropout = (float)options->dropout,
                                .shuffle = options->shuffle,
                                .decay_to_zero = options->block == BLOCK_MODERN,
                                .precision = precision_of(options),
                                .short_windows = options->short_windows > 0 ? options->short_windows : 0,
                                .short_part = (float)options->short_part};
    if (cllm_training_set_options(training, &more) != 0) {
        fail("can't set the options of the training: %s", library_error());
    }
    if (cllm_training_use_file(training, run->data->training) != 0) {
        fail("can't train on the ids: %s", library_error());
    }
    return training;
}

/* A run that goes on is the same run: it has warmed up already, and where more epochs move the end of
 * its schedule, the rate goes on falling from where it stood. */
static void go_on_with_schedule(const Options *options, CLLMTraining *training) {
    CLLMTrainingConfig saved, *config = &training->config;
    if (cllm_checkpoint_config(training, &saved) != 1) {
        return; /* of a release that did not save it */
    }
    bool falls = strcmp(options->schedule, "cosine") == 0 || strcmp(options->schedule, "linear") == 0;
    bool as_planned = saved.warmup_steps == config->warmup_steps;
    config->warmup_steps = saved.warmup_steps;
    if (falls && saved.max_steps != config->max_steps &&
        training->current_step >= saved.warmup_steps) {
        config->initial_learning_rate = saved.learning_rate;
        if (options->block == BLOCK_MODERN && saved.learning_rate < options->learning_rate / 3) {
            /* it has fallen to nearly nothing, at which nothing would be learnt */
            config->initial_learning_rate = (float)(options->learning_rate / 3);
        }
        config->warmup_steps = training->current_step;
    } else if (falls && saved.max_steps == config->max_steps && !as_planned) {
        config->initial_learning_rate = saved.initial_learning_rate; /* it was moved before */
    }
}

/* A run that goes on does so in the precision that it had. */
static void go_on_in_precision(const Options *options, CLLMTraining *training) {
    CLLMTrainingOptions saved = {.struct_size = sizeof saved}, now = {.struct_size = sizeof now};
    if (cllm_checkpoint_options(training, &saved) != 1 || cllm_training_options(training, &now) != 0 ||
        saved.precision == now.precision) {
        return;
    }
    if (options->precision == PRECISION_F32 || options->precision == PRECISION_BF16) {
        fail("'%s' was trained with --precision %s, and goes on with it alone", options->resume,
             saved.precision == CLLM_PRECISION_BF16 ? "bf16" : "f32");
    }
    now.precision = saved.precision;
    if (cllm_training_set_options(training, &now) != 0) {
        fail("can't go on from '%s': %s", options->resume, library_error());
    }
}

static void resume(Run *run) {
    const char *path = run->options->resume;
    compare_vocabulary(path, run->data); /* first: it needs a second model for a moment */
    if (cllm_load_checkpoint(run->training, path) != 0) {
        fail("can't resume from '%s': %s", path, library_error());
    }
    if (cllm_checkpoint_same_data(run->training) == 0) {
        fail("'%s' was trained on another text, or in other batches: use the same DATA, --tokens, "
             "--batch-size, --seq-len, --vocab-size and --val-fraction; with --from a model goes on with another "
             "text", path);
    }
    go_on_with_schedule(run->options, run->training);
    go_on_in_precision(run->options, run->training);
    run->first_step = run->training->current_step;
}

void set_up(Run *run, Origin *origin) {
    run->batches_per_epoch = count_batches(run->options, run->data);
    run->epochs = run->options->steps > 0 ? INT_MAX / run->batches_per_epoch : run->options->epochs;
    run->model = origin->model ? take_model(run->options, run->data, origin->model, &run->added)
                               : create_model(run->options, run->data);
    run->training = create_training(run);
    connect_ranks(run->training, run->options); /* before there are moments: each takes its part alone */
    if (run->options->resume) {
        resume(run);
    }
}

/* What the products of the run take, where it is not f32 without a word of it. */
static void describe_precision(const Options *options, const CLLMTraining *training) {
    CLLMTrainingOptions now = {.struct_size = sizeof now};
    if (cllm_training_options(training, &now) != 0) {
        return;
    }
    if (now.precision == CLLM_PRECISION_BF16) {
        printf("  matrix products in bfloat16\n");
    } else if (options->precision == PRECISION_AUTO && options->resume) {
        printf("  matrix products in f32, as the run has them\n");
    } else if (options->precision == PRECISION_AUTO) {
        printf("  matrix products in f32: this processor %s\n",
               cllm_precision_support(CLLM_PRECISION_BF16) == 0
                   ? "has no AVX512_BF16, or CLLM_SIMD forbids it"
                   : "multiplies bfloat16 no faster");
    }
}

void describe_training(const Run *run) {
    const Options *options = run->options;
    const CLLMTrainingConfig *config = &run->training->config;
    if (*options->chosen) {
        printf("%s\n", options->chosen);
    }
    printf("Step 4: Creating model\n");
    printf("  %d layers, %d heads, width %d, context %d, %llu parameters%s\n", options->num_layers,
           options->num_heads, options->embed_dim, options->seq_len,
           (unsigned long long)cllm_model_parameters(run->model),
           options->block == BLOCK_MODERN ? "; modern block" : "");
    if (options->from) {
        printf("  from %s", visible(stdout, options->from));
        printf(options->words ? ": %d words are new to it\n" : "\n", run->added);
    }
    printf("Step 5: Setting up training\n");
    printf("  AdamW, learning rate %g (%s, warm-up %d), weight decay %g, clipping %g\n",
           options->learning_rate, options->schedule, config->warmup_steps, options->weight_decay,
           options->clip);
    if (options->from) {
        printf("  a model that goes on: %s\n",
               options->rate_asked ? "the rate that was asked for"
                                   : "a third of the rate of a new one, so that it forgets less");
    }
    printf("  batches of %d x %d %s%s, %d per epoch, ", options->batch_size, options->seq_len,
           options->words ? "words" : "tokens", options->shuffle ? " at random places" : "",
           run->batches_per_epoch);
    if (options->steps > 0) {
        printf("about %.1f epochs", (double)options->steps / run->batches_per_epoch);
    } else {
        printf("%d epochs", run->epochs);
    }
    printf(", %d threads, seed %u\n", options->threads > 0 ? options->threads : processors(),
           options->seed);
    if (options->short_windows > 0) {
        printf("  windows of %d at first, of %d in the last %.0f %% of the run\n", options->short_windows,
               options->seq_len, 100 * (1 - options->short_part));
    }
    if (options->dropout > 0) {
        printf("  dropout %g\n", options->dropout);
    }
    describe_precision(options, run->training);
    if (options->accumulate > 1) {
        printf("  an update for every %d steps\n", options->accumulate);
    }
    describe_ranks(options);
    if (options->resume) {
        printf("  resumed from %s: epoch %d, step %d\n", visible(stdout, options->resume),
               run->training->current_epoch + 1, run->training->current_step);
    }
    printf("Step 6: Training\n");
    fflush(stdout);
}
