/* train_model: text in, trained model out. See --help. */
#include "common.h"

#include <getopt.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cllm_data_loader.h"
#include "cllm_ext.h"
#include "cllm_format.h"
#include "cllm_inference.h"
#include "cllm_training.h"
#include "cllm_utils.h"

enum { EXIT_INTERRUPTED = 130 };

static const char help[] =
    "Usage: train_model DATA [options]\n"
    "Trains a language model on text. DATA is a text file or a folder of them (read with its\n"
    "subfolders). Leaves vocab.txt, dataset.bin, checkpoint_step_N.cllm and final_model.cllm.\n"
    "\n"
    "Model:\n"
    "  --vocab-size N       entries of the vocabulary, the most frequent words first (10000)\n"
    "  --embed-dim N        width of the model (128)\n"
    "  --num-layers N       transformer layers (4)\n"
    "  --num-heads N        attention heads per layer; must divide the width (4)\n"
    "  --seq-len N          words that the model sees at once (64)\n"
    "Training:\n"
    "  --epochs N           passes over the text (5)\n"
    "  --batch-size N       sequences per step (16)\n"
    "  --learning-rate X    highest learning rate (0.001)\n"
    "  --warmup N           steps of linear warm-up (a tenth of all steps, at most 1000)\n"
    "  --schedule NAME      none, cosine, linear or step, after the warm-up (cosine)\n"
    "  --weight-decay X     AdamW's decay of the weight matrices (0.01)\n"
    "  --clip X             largest norm of the gradient, 0 = no limit (1.0)\n"
    "  --val-fraction X     last part of the words, held out to measure loss and perplexity\n"
    "                       after each epoch (0)\n"
    "  --max-steps N        stop after step N; warm-up and schedule still span all epochs\n"
    "  --threads N          0 = all processors (0); the result is the same for any number\n"
    "  --seed N             of the random initial weights and of the samples (42)\n"
    "Files and output:\n"
    "  --checkpoint-dir DIR where everything is written; made if missing (checkpoints)\n"
    "  --save-every N       a checkpoint every N steps, 0 = only at the end (0)\n"
    "  --resume FILE        go on from a checkpoint_step_N.cllm of a run with the same DATA and\n"
    "                       options; the result is that of a run without interruption\n"
    "  --sample PROMPT      generate from PROMPT at the end (from words of the text)\n"
    "  --quiet              print errors and one final line only\n"
    "  --help               this text\n"
    "\n"
    "Ctrl-C finishes the step, saves a checkpoint and leaves with status 130; a second Ctrl-C\n"
    "stops at once. Status 1: something failed, 2: wrong options.\n";

typedef struct Options {
    const char *data;
    int vocab_size, embed_dim, num_layers, num_heads, seq_len;
    int epochs, batch_size, warmup, max_steps, threads, save_every;
    double learning_rate, weight_decay, clip, val_fraction;
    uint32_t seed;
    const char *schedule, *checkpoint_dir, *resume, *sample;
    bool quiet;
} Options;

/* What the text became. */
typedef struct Data {
    CLLMTokenizer *tokenizer;
    TokenDataset *training;
    uint32_t *validation; /* ids of the held-out words; NULL without */
    uint32_t num_validation;
    size_t words, documents, characters;
} Data;

typedef struct Run {
    const Options *options;
    const Data *data;
    CLLMModel *model;
    CLLMTraining *training;
    int batches_per_epoch;
    int first_step; /* step at which this process began */
    double epoch_loss; /* sum over the batches of this epoch that this process trained */
    int epoch_batches;
    double seconds; /* spent in training */
    double step_began;
    bool diverged;
    ProgressBar bar;
} Run;

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number) {
    interrupted = 1;
    signal(signal_number, SIG_DFL); /* the second one stops the program */
}

/* ---- Options ---- */

static const char *one_of(const char *option, const char *text, const char *const *choices) {
    for (size_t i = 0; choices[i]; i++) {
        if (strcmp(text, choices[i]) == 0) {
            return choices[i];
        }
    }
    fail_usage("%s: '%s' is not none, cosine, linear or step", option, text);
}

static Options parse_options(int argc, char **argv) {
    enum { VOCAB = 256, EMBED, LAYERS, HEADS, BATCH, SEQ, RATE, EPOCHS, THREADS, DIR, WARMUP, SCHEDULE,
           DECAY, CLIP, SEED, VALIDATION, RESUME, MAX_STEPS, SAVE_EVERY, SAMPLE, QUIET };
    static const struct option known[] = {
        {"vocab-size", required_argument, NULL, VOCAB},
        {"embed-dim", required_argument, NULL, EMBED},
        {"num-layers", required_argument, NULL, LAYERS},
        {"num-heads", required_argument, NULL, HEADS},
        {"batch-size", required_argument, NULL, BATCH},
        {"seq-len", required_argument, NULL, SEQ},
        {"learning-rate", required_argument, NULL, RATE},
        {"epochs", required_argument, NULL, EPOCHS},
        {"threads", required_argument, NULL, THREADS},
        {"checkpoint-dir", required_argument, NULL, DIR},
        {"warmup", required_argument, NULL, WARMUP},
        {"schedule", required_argument, NULL, SCHEDULE},
        {"weight-decay", required_argument, NULL, DECAY},
        {"clip", required_argument, NULL, CLIP},
        {"seed", required_argument, NULL, SEED},
        {"val-fraction", required_argument, NULL, VALIDATION},
        {"resume", required_argument, NULL, RESUME},
        {"max-steps", required_argument, NULL, MAX_STEPS},
        {"save-every", required_argument, NULL, SAVE_EVERY},
        {"sample", required_argument, NULL, SAMPLE},
        {"quiet", no_argument, NULL, QUIET},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    static const char *const schedules[] = {"none", "cosine", "linear", "step", NULL};
    Options o = {
        .vocab_size = 10000, .embed_dim = 128, .num_layers = 4, .num_heads = 4, .seq_len = 64,
        .epochs = 5, .batch_size = 16, .warmup = -1, .learning_rate = 0.001, .weight_decay = 0.01,
        .clip = 1.0, .seed = 42, .schedule = "cosine", .checkpoint_dir = "checkpoints",
    };
    opterr = 0;
    for (int c; (c = getopt_long(argc, argv, ":h", known, NULL)) != -1;) {
        switch (c) {
        case VOCAB: o.vocab_size = (int)parse_integer("--vocab-size", optarg, 6, 1000000); break;
        case EMBED: o.embed_dim = (int)parse_integer("--embed-dim", optarg, 1, 10000); break;
        case LAYERS: o.num_layers = (int)parse_integer("--num-layers", optarg, 1, 100); break;
        case HEADS: o.num_heads = (int)parse_integer("--num-heads", optarg, 1, 10000); break;
        case BATCH: o.batch_size = (int)parse_integer("--batch-size", optarg, 1, 1000000); break;
        case SEQ: o.seq_len = (int)parse_integer("--seq-len", optarg, 1, 1000000); break;
        case RATE: o.learning_rate = parse_number("--learning-rate", optarg, 0, 100); break;
        case EPOCHS: o.epochs = (int)parse_integer("--epochs", optarg, 1, 1000000); break;
        case THREADS: o.threads = (int)parse_integer("--threads", optarg, 0, 1024); break;
        case DIR: o.checkpoint_dir = optarg; break;
        case WARMUP: o.warmup = (int)parse_integer("--warmup", optarg, 0, INT_MAX); break;
        case SCHEDULE: o.schedule = one_of("--schedule", optarg, schedules); break;
        case DECAY: o.weight_decay = parse_number("--weight-decay", optarg, 0, 100); break;
        case CLIP: o.clip = parse_number("--clip", optarg, 0, 1e9); break;
        case SEED: o.seed = (uint32_t)parse_integer("--seed", optarg, 0, UINT32_MAX); break;
        case VALIDATION: o.val_fraction = parse_number("--val-fraction", optarg, 0, 0.9); break;
        case RESUME: o.resume = optarg; break;
        case MAX_STEPS: o.max_steps = (int)parse_integer("--max-steps", optarg, 1, INT_MAX); break;
        case SAVE_EVERY: o.save_every = (int)parse_integer("--save-every", optarg, 0, INT_MAX); break;
        case SAMPLE: o.sample = optarg; break;
        case QUIET: o.quiet = true; break;
        case 'h':
            fputs(help, stdout);
            check_stdout();
            exit(EXIT_SUCCESS);
        default: fail_option(c, argv);
        }
    }
    if (optind >= argc) {
        fail_usage("no DATA: name a text file or a folder");
    }
    if (optind + 1 < argc) {
        fail_usage("one DATA only, but also '%s'", argv[optind + 1]);
    }
    o.data = argv[optind];
    if (*o.checkpoint_dir == '\0') {
        fail_usage("--checkpoint-dir: the name is empty");
    }
    if (o.learning_rate <= 0) {
        fail_usage("--learning-rate: must be above 0");
    }
    if (o.embed_dim % o.num_heads != 0) {
        fail_usage("--num-heads: %d does not divide --embed-dim %d", o.num_heads, o.embed_dim);
    }
    return o;
}

/* ---- Step 1: the text ---- */

static CLLMDataLoader *create_loader(CLLMTokenizer *tokenizer) {
    CLLMDataLoader *loader = cllm_data_loader_create(tokenizer);
    if (!loader) {
        fail("can't create a data loader: %s", library_error());
    }
    return loader;
}

static CLLMDataLoader *load_documents(CLLMTokenizer *tokenizer, const char *path) {
    require_readable(path);
    CLLMDataLoader *loader = create_loader(tokenizer);
    if (is_directory(path)) {
        if (cllm_data_loader_load_directory(loader, path) <= 0) {
            fail("no text files in '%s'", path);
        }
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

/* The held-out words leave before the vocabulary is built, so nothing of them is known to it. */
static Data load_data(const Options *options) {
    Data data = {0};
    data.tokenizer = cllm_create_tokenizer((uint32_t)options->vocab_size);
    if (!data.tokenizer) {
        fail("can't create a vocabulary: %s", library_error());
    }
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
    cllm_data_loader_build_vocab(loader);
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

static void free_data(Data *data) {
    cllm_token_dataset_free(data->training);
    cllm_free_tokenizer(data->tokenizer);
    free(data->validation);
}

/* ---- Steps 4 and 5: model and configuration ---- */

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
    srand(options->seed);
    CLLMModel *model = cllm_create_model(&config);
    if (!model) {
        fail("can't create the model: %s", library_error());
    }
    if (cllm_model_set_vocab(model, data->tokenizer) != 0) {
        fail("can't give the model its vocabulary: %s", library_error());
    }
    return model;
}

static int count_batches(const Options *options, const Data *data) {
    size_t per_batch = (size_t)options->batch_size * (size_t)options->seq_len;
    size_t tokens = data->training->num_tokens;
    size_t batches = tokens > 0 ? (tokens - 1) / per_batch : 0;
    if (batches == 0) {
        fail("'%s' is too short: %zu words to train on, one batch of %d x %d takes %zu", options->data,
             tokens, options->batch_size, options->seq_len, per_batch + 1);
    }
    if (batches > (size_t)(INT_MAX / options->epochs)) {
        fail("%zu batches in %d epochs are too many steps", batches, options->epochs);
    }
    return (int)batches;
}

static CLLMTraining *create_training(Run *run) {
    const Options *options = run->options;
    int all_steps = run->batches_per_epoch * options->epochs;
    int tenth = all_steps / 10 < 1000 ? all_steps / 10 : 1000;
    CLLMTrainingConfig config = {
        .learning_rate = (float)options->learning_rate,
        .batch_size = options->batch_size,
        .num_epochs = options->epochs,
        .max_steps = all_steps,
        .weight_decay = (float)options->weight_decay,
        .gradient_clip = (float)options->clip,
        .warmup_steps = options->warmup >= 0 ? options->warmup : tenth,
        .sequence_length = options->seq_len,
        .optimizer = "adamw",
        .gradient_accumulation_steps = 1,
    };
    snprintf(config.lr_scheduler, sizeof config.lr_scheduler, "%s", options->schedule);
    CLLMTraining *training = cllm_training_init(run->model, &config);
    if (!training) {
        fail("can't prepare the training: %s", library_error());
    }
    training->tokens = run->data->training->tokens; /* lent; the dataset keeps it */
    training->num_tokens = run->data->training->num_tokens;
    return training;
}

/* A checkpoint of another text may fit by its size alone: its words tell. */
static void compare_vocabulary(const char *path, const CLLMTokenizer *tokenizer) {
    CLLMModel *saved = cllm_read_model_unchecked(path);
    if (!saved) {
        return; /* the state file is what counts, cllm_load_checkpoint has judged it */
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
             path);
    }
}

static void resume(Run *run) {
    const char *path = run->options->resume;
    if (cllm_load_checkpoint(run->training, path) != 0) {
        fail("can't resume from '%s': %s", path, library_error());
    }
    compare_vocabulary(path, run->data->tokenizer);
    run->first_step = run->training->current_step;
}

/* ---- Step 6: training ---- */

static bool on_progress(const CLLMProgress *progress, void *user_data) {
    Run *run = user_data;
    run->epoch_loss += progress->loss;
    run->epoch_batches++;
    run->diverged = !isfinite(progress->loss);

    double now = seconds_now();
    run->seconds += now - run->step_began;
    run->step_began = now;
    int all_steps = run->batches_per_epoch * run->options->epochs;
    int done = progress->step - run->first_step;
    char left[24];
    clock_text(run->seconds / done * (all_steps - progress->step), left, sizeof left);
    progress_draw(&run->bar, (double)progress->step / all_steps,
                  "epoch %d/%d  step %d/%d  loss %.4f  %.0f tokens/s  %s left", progress->epoch + 1,
                  run->options->epochs, progress->step, all_steps, progress->loss,
                  progress->tokens_per_second, left);
    return !interrupted && !run->diverged;
}

/* Returns the checkpoint's path; the caller frees it. */
static char *save_checkpoint_here(Run *run) {
    char name[64];
    snprintf(name, sizeof name, "checkpoint_step_%d.cllm", run->training->current_step);
    char *path = join_path(run->options->checkpoint_dir, name);
    if (cllm_save_checkpoint(run->training, path) != 0) {
        progress_clear(&run->bar);
        fail("can't save '%s': %s", path, library_error());
    }
    return path;
}

/* The line of an epoch; `complete` is false where --max-steps cut it. */
static void report_epoch(Run *run, int epoch, bool complete) {
    double loss = run->epoch_batches > 0 ? run->epoch_loss / run->epoch_batches : NAN;
    bool trained = run->epoch_batches > 0; /* not so if a resumed checkpoint stood at its end */
    progress_clear(&run->bar);
    run->epoch_loss = 0;
    run->epoch_batches = 0;
    if (run->options->quiet) {
        return;
    }
    if (trained) {
        printf("Epoch %d: Average Loss = %.4f, Best Loss = %.4f", epoch, loss,
               run->training->best_loss);
    } else {
        printf("Epoch %d: trained before, Best Loss = %.4f", epoch, run->training->best_loss);
    }
    if (run->data->validation) {
        double mean = 0, perplexity = 0;
        if (cllm_evaluate(run->model, run->data->validation, run->data->num_validation,
                          run->options->seq_len, run->options->threads, &mean, &perplexity) != 0) {
            fail("can't evaluate the held-out words: %s", library_error());
        }
        printf(", Validation Loss = %.4f, Perplexity = %.2f", mean, perplexity);
    }
    printf("%s\n", complete ? "" : " (cut by --max-steps)");
    fflush(stdout);
}

/* Steps until the next point where something is to be done; 0: none in this epoch. */
static int steps_to_next_stop(const Run *run) {
    int step = run->training->current_step, save_every = run->options->save_every;
    int to_save = save_every > 0 ? save_every - step % save_every : 0;
    int to_end = run->options->max_steps > 0 ? run->options->max_steps - step : 0;
    return to_save > 0 && (to_end <= 0 || to_save < to_end) ? to_save : to_end;
}

static bool epoch_has_batches_left(const Run *run) {
    long long per_batch = (long long)run->options->batch_size * run->options->seq_len;
    return run->training->current_batch_offset / per_batch < run->batches_per_epoch;
}

static bool reached_max_steps(const Run *run) {
    return run->options->max_steps > 0 && run->training->current_step >= run->options->max_steps &&
           epoch_has_batches_left(run);
}

__attribute__((noreturn)) static void leave_interrupted(Run *run) {
    progress_clear(&run->bar);
    char *path = save_checkpoint_here(run);
    complain("interrupted after step %d; go on with the same options and --resume %s",
             run->training->current_step, path);
    exit(EXIT_INTERRUPTED);
}

static void train(Run *run) {
    CLLMTraining *training = run->training;
    if (cllm_set_progress_callback(training, on_progress, run) != 0) {
        fail("can't watch the training: %s", library_error());
    }
    signal(SIGINT, on_interrupt);
    signal(SIGTERM, on_interrupt);
    while (training->current_epoch < run->options->epochs && !reached_max_steps(run)) {
        int epoch = training->current_epoch;
        run->step_began = seconds_now();
        int trained =
            cllm_train_steps(training, steps_to_next_stop(run), run->options->threads, NULL);
        if (trained < 0) {
            progress_clear(&run->bar);
            fail("training failed at step %d: %s", training->current_step, library_error());
        }
        if (run->diverged) {
            progress_clear(&run->bar);
            fail("the loss is no longer a number at step %d: try a smaller --learning-rate",
                 training->current_step);
        }
        if (interrupted) {
            leave_interrupted(run);
        }
        if (trained == 0) {
            if (training->current_epoch <= epoch) {
                fail("training made no progress at step %d", training->current_step);
            }
            report_epoch(run, training->current_epoch, true);
        } else if (run->options->save_every > 0 &&
                   training->current_step % run->options->save_every == 0) {
            free(save_checkpoint_here(run));
        }
    }
    if (run->epoch_batches > 0) {
        report_epoch(run, training->current_epoch + 1, false);
    }
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
}

/* ---- Afterwards: files, samples, summary ---- */

static bool print_piece(const char *piece, size_t length, uint32_t token, void *user_data) {
    (void)token;
    (void)user_data;
    fwrite(piece, 1, length, stdout);
    fflush(stdout);
    return true;
}

static void print_sample(CLLMInference *inference, const char *prompt) {
    printf("  %s", prompt);
    if (cllm_generate_stream(inference, prompt, print_piece, NULL) < 0) {
        printf("\n");
        fail("can't generate from '%s': %s", prompt, library_error());
    }
    printf("\n");
}

/* Up to three neighbouring words of the text from `start` on that the vocabulary knows. */
static char *words_of_text(const Data *data, size_t start) {
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

static void print_samples(const Run *run) {
    CLLMInference *inference = cllm_inference_init(run->model);
    if (!inference || cllm_set_seed(inference, run->options->seed) != 0 ||
        cllm_inference_set_threads(inference, run->options->threads) != 0) {
        fail("can't generate a sample: %s", library_error());
    }
    cllm_set_temperature(inference, 0.8f);
    cllm_set_top_k(inference, 40);
    cllm_set_max_tokens(inference, 40);
    printf("Samples:\n");
    if (run->options->sample) {
        print_sample(inference, run->options->sample);
    } else {
        size_t starts[] = {0, run->data->training->num_tokens / 2};
        for (size_t i = 0; i < 2; i++) {
            char *prompt = words_of_text(run->data, starts[i]);
            if (prompt) {
                print_sample(inference, prompt);
            }
            free(prompt);
        }
    }
    cllm_inference_cleanup(inference);
}

static void save_file(int result, int good, const char *path) {
    if (result != good) {
        fail("can't write '%s': %s", path, library_error());
    }
}

/* vocab.txt and dataset.bin, only after everything that could be wrong was checked. */
static void write_inputs(const Options *options, const Data *data) {
    make_directories(options->checkpoint_dir);
    char *vocabulary = join_path(options->checkpoint_dir, "vocab.txt");
    char *dataset = join_path(options->checkpoint_dir, "dataset.bin");
    save_file(cllm_save_vocab(data->tokenizer, vocabulary), 1, vocabulary);
    save_file(cllm_token_dataset_save(data->training, dataset), 1, dataset);
    free(vocabulary);
    free(dataset);
}

static size_t count_unknown(const uint32_t *tokens, size_t count) {
    size_t unknown = 0;
    for (size_t i = 0; i < count; i++) {
        unknown += tokens[i] == 1;
    }
    return unknown;
}

static void describe_data(const Options *options, const Data *data) {
    size_t tokens = data->training->num_tokens;
    printf("Step 1: Loading training data\n");
    printf("  %s: %zu document%s, %zu characters, %zu words\n", options->data, data->documents,
           data->documents == 1 ? "" : "s", data->characters, data->words);
    printf("Step 2: Building vocabulary\n");
    printf("  %u entries, five of them special; %.2f%% of the words are unknown to it\n",
           cllm_get_vocab_size(data->tokenizer),
           100.0 * (double)count_unknown(data->training->tokens, tokens) /
               (double)(tokens ? tokens : 1));
    printf("Step 3: Creating dataset\n");
    printf("  %zu words to train on, %u held out\n", tokens, data->num_validation);
}

static void describe_training(const Run *run) {
    const Options *options = run->options;
    const CLLMTrainingConfig *config = &run->training->config;
    printf("Step 4: Creating model\n");
    printf("  %d layers, %d heads, width %d, context %d, %llu parameters\n", options->num_layers,
           options->num_heads, options->embed_dim, options->seq_len,
           (unsigned long long)run->model->num_weights);
    printf("Step 5: Setting up training\n");
    printf("  AdamW, learning rate %g (%s, warm-up %d), weight decay %g, clipping %g\n",
           options->learning_rate, options->schedule, config->warmup_steps, options->weight_decay,
           options->clip);
    printf("  batches of %d x %d words, %d per epoch, %d epochs, %d threads, seed %u\n",
           options->batch_size, options->seq_len, run->batches_per_epoch, options->epochs,
           options->threads > 0 ? options->threads : processors(), options->seed);
    if (options->resume) {
        printf("  resumed from %s: epoch %d, step %d\n", options->resume,
               run->training->current_epoch + 1, run->training->current_step);
    }
    printf("Step 6: Training\n");
    fflush(stdout);
}

static void finish(Run *run) {
    const Options *options = run->options;
    char *checkpoint = save_checkpoint_here(run);
    char *final = join_path(options->checkpoint_dir, "final_model.cllm");
    save_file(cllm_write_model(run->model, final), 0, final);
    if (!options->quiet) {
        printf("Saved %s and %s\n", checkpoint, final);
        print_samples(run);
    }
    int steps = run->training->current_step - run->first_step;
    double words = (double)steps * options->batch_size * options->seq_len;
    printf("Trained %d steps in %.2f s (%.0f tokens/s, peak memory %.1f MiB): %s\n", steps,
           run->seconds, run->seconds > 0 ? words / run->seconds : 0.0, peak_memory_mib(), final);
    check_stdout();
    free(checkpoint);
    free(final);
}

int main(int argc, char **argv) {
    start_tool(argv[0]);
    Options options = parse_options(argc, argv);
    if (options.quiet) {
        silence_warnings();
    }
    Data data = load_data(&options);
    Run run = {.options = &options, .data = &data, .bar = progress_bar(!options.quiet)};
    if (!options.quiet) {
        describe_data(&options, &data);
    }
    run.batches_per_epoch = count_batches(&options, &data);
    run.model = create_model(&options, &data);
    run.training = create_training(&run);
    if (options.resume) {
        resume(&run);
    }
    write_inputs(&options, &data);
    if (!options.quiet) {
        describe_training(&run);
    }
    train(&run);
    finish(&run);
    run.training->tokens = NULL; /* the dataset's */
    cllm_training_free(run.training);
    cllm_free_model(run.model);
    free_data(&data);
    return EXIT_SUCCESS;
}
