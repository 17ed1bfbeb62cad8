/* train_model: text in, trained model out. See --help. */
#include "train_model.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cllm_ext.h"
#include "cllm_format.h"
#include "cllm_inference.h"
#include "cllm_training.h"
#include "cllm_utils.h"
#include "terminal.h"

enum { EXIT_INTERRUPTED = 130 };

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
    bool diverged, failed;
    Folder folder;
    ProgressBar bar;
    Metrics metrics;
} Run;

static volatile sig_atomic_t interrupted;

static void stop_at_once(void) {
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
}

/* A terminal that closes may say so twice, and a used-up limit of processor time every second: neither
 * is impatience. */
static void on_end_of_resources(int signal_number) {
    (void)signal_number;
    interrupted = 1;
}

static void on_interrupt(int signal_number) {
    (void)signal_number;
    static const char notice[] = "\nfinishing the step; again to stop at once\n";
    int reason = errno;
    interrupted = 1;
    stop_at_once();
    if (write(STDERR_FILENO, notice, sizeof notice - 1) < 0) {
        /* nobody reads it */
    }
    errno = reason;
}

/* The first Ctrl-C ends the run at the next step, the second one the program. */
static void catch_interrupts(void) {
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = SA_RESTART}, before;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    action.sa_handler = on_end_of_resources;
    sigaction(SIGXCPU, &action, NULL);
    if (sigaction(SIGHUP, NULL, &before) == 0 && before.sa_handler != SIG_IGN) { /* nohup */
        sigaction(SIGHUP, &action, NULL);
    }
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
    /* A seed means the same weights in every release: those of rand(), which knows no 0 (it is 1). */
    srand(options->seed);
    CLLMModel *model = options->seed == 0 ? cllm_create_model_seeded(&config, 0)
                                          : cllm_create_model(&config);
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
        fail("'%s' is too short: %zu words to train on, one batch of %d x %d takes %zu",
             options->data, tokens, options->batch_size, options->seq_len, per_batch + 1);
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
        config->warmup_steps = training->current_step;
    } else if (falls && saved.max_steps == config->max_steps && !as_planned) {
        config->initial_learning_rate = saved.initial_learning_rate; /* it was moved before */
    }
}

static void resume(Run *run) {
    const char *path = run->options->resume;
    compare_vocabulary(path, run->data); /* first: it needs a second model for a moment */
    if (cllm_load_checkpoint(run->training, path) != 0) {
        fail("can't resume from '%s': %s", path, library_error());
    }
    if (cllm_checkpoint_same_data(run->training) == 0) {
        fail("'%s' was trained on another text, or in other batches: use the same DATA, --batch-size, "
             "--seq-len, --vocab-size and --val-fraction", path);
    }
    go_on_with_schedule(run->options, run->training);
    run->first_step = run->training->current_step;
}

/* ---- Step 6: training ---- */

/* Where the run ends. */
static int last_step(const Run *run) {
    int all = run->batches_per_epoch * run->options->epochs, most = run->options->max_steps;
    return most > 0 && most < all ? most : all;
}

static bool on_progress(const CLLMProgress *progress, void *user_data) {
    Run *run = user_data;
    run->epoch_loss += progress->loss;
    run->epoch_batches++;
    run->diverged = !isfinite(progress->loss);

    double now = seconds_now(), took = now - run->step_began;
    double words = (double)run->options->batch_size * run->options->seq_len;
    record_step(&run->metrics, progress, took > 0 ? words / took : 0);
    run->seconds += took;
    run->step_began = now;
    int last = last_step(run), done = progress->step - run->first_step;
    char left[24];
    clock_text(run->seconds / done * (last - progress->step), left, sizeof left);
    progress_draw(&run->bar, (double)progress->step / last,
                  "epoch %d/%d  step %d/%d  loss %.4f  %.0f tokens/s  %s left", progress->epoch + 1,
                  run->options->epochs, progress->step, last, progress->loss,
                  run->seconds > 0 ? words * done / run->seconds : 0, left);
    return !interrupted && !run->diverged;
}

/* Returns the checkpoint's path, which the caller frees; NULL if it could not be saved, after a
 * message. Nothing of it is there then. */
static char *save_checkpoint_here(Run *run) {
    int step = run->training->current_step;
    char *path = checkpoint_path(run->folder.path, step);
    int saved = cllm_save_checkpoint(run->training, path);
    if (saved != 0 && make_room(&run->folder, step)) {
        saved = cllm_save_checkpoint(run->training, path);
    }
    if (saved != 0) {
        progress_clear(&run->bar);
        complain("can't save '%s': %s", path, library_error());
        free(path);
        return NULL;
    }
    Text state = {0};
    text_append_string(&state, path);
    text_append_string(&state, ".state");
    keep_owner(&run->folder, path);
    keep_owner(&run->folder, state.bytes);
    text_free(&state);
    if (run->options->keep > 0) {
        rotate_checkpoints(&run->folder, run->options->keep);
    }
    redraw_metrics(&run->metrics);
    return path;
}

/* One on the way: a run of hours does not end because this one can't be saved. */
static void save_on_the_way(Run *run) {
    char *path = save_checkpoint_here(run);
    if (!path) {
        complain("warning: the run goes on without this checkpoint and tries again at the next");
    }
    free(path);
}

/* The line of an epoch; `complete` is false where --max-steps cut it. Of an epoch that was resumed
 * in its middle, the average is that of the rest. */
static void report_epoch(Run *run, int epoch, bool complete) {
    double loss = run->epoch_batches > 0 ? run->epoch_loss / run->epoch_batches : NAN;
    bool trained = run->epoch_batches > 0; /* not so if a resumed checkpoint stood at its end */
    bool rest = run->first_step % run->batches_per_epoch != 0 &&
                run->first_step / run->batches_per_epoch == epoch - 1;
    progress_clear(&run->bar);
    run->epoch_loss = 0;
    run->epoch_batches = 0;
    double mean = 0, perplexity = 0;
    if (run->data->validation) {
        if (cllm_evaluate(run->model, run->data->validation, run->data->num_validation,
                          run->options->seq_len, run->options->threads, &mean, &perplexity) != 0) {
            fail("can't evaluate the held-out words: %s", library_error());
        }
        record_validation(&run->metrics, mean);
    }
    redraw_metrics(&run->metrics);
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
        printf(", Validation Loss = %.4f, Perplexity = %.2f", mean, perplexity);
    }
    if (trained && rest) {
        printf(" (average from step %d on)", run->first_step + 1);
    }
    printf("%s\n", complete ? "" : " (cut by --max-steps)");
    print_sparkline(&run->metrics);
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
    draw_metrics(&run->metrics);
    if (!path) {
        fail("interrupted after step %d, and no checkpoint of it", run->training->current_step);
    }
    complain("interrupted after step %d; go on with the same options and --resume %s",
             run->training->current_step, path);
    free(path);
    exit(EXIT_INTERRUPTED);
}

static void train(Run *run) {
    CLLMTraining *training = run->training;
    if (cllm_set_progress_callback(training, on_progress, run) != 0) {
        fail("can't watch the training: %s", library_error());
    }
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
            draw_metrics(&run->metrics);
            fail("the loss is no longer a number at step %d: try a smaller --learning-rate",
                 training->current_step);
        }
        if (interrupted) {
            leave_interrupted(run);
        }
        if (trained > 0 && run->options->save_every > 0 &&
            training->current_step % run->options->save_every == 0) {
            save_on_the_way(run);
        }
        if (training->current_epoch > epoch) {
            report_epoch(run, training->current_epoch, true);
        } else if (trained == 0) {
            fail("training made no progress at step %d", training->current_step);
        }
    }
    if (run->epoch_batches > 0) {
        report_epoch(run, training->current_epoch + 1, false);
    }
}

/* ---- Afterwards: files, samples, summary ---- */

static bool print_piece(const char *piece, size_t length, uint32_t token, void *user_data) {
    (void)token;
    return show_piece(user_data, piece, length);
}

static void print_sample(CLLMInference *inference, const char *prompt) {
    Output output = {0};
    Shown shown = show_on(&output);
    printf("  %s", visible(stdout, prompt));
    fflush(stdout);
    int generated = cllm_generate_stream(inference, prompt, print_piece, &shown);
    show_end(&shown);
    if (generated < 0) {
        printf("\n");
        fail("can't generate from '%s': %s", prompt, library_error());
    }
    printf("\n");
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
        printf("  resumed from %s: epoch %d, step %d\n", visible(stdout, options->resume),
               run->training->current_epoch + 1, run->training->current_step);
    }
    printf("Step 6: Training\n");
    fflush(stdout);
}

static void write_final_model(Run *run, const char *path) {
    int written = cllm_write_model(run->model, path);
    if (written != 0 && make_room(&run->folder, run->training->current_step)) {
        written = cllm_write_model(run->model, path);
    }
    if (written != 0) {
        fail("can't write '%s': %s", path, library_error());
    }
    keep_owner(&run->folder, path);
}

static void finish(Run *run) {
    const Options *options = run->options;
    char *checkpoint = save_checkpoint_here(run);
    run->failed = !checkpoint;
    draw_metrics(&run->metrics);
    char *final = join_path(run->folder.path, "final_model.cllm");
    write_final_model(run, final); /* also without a checkpoint: it is smaller */
    stop_at_once(); /* all is saved */
    if (!options->quiet) {
        if (checkpoint) {
            printf("Saved %s and %s\n", visible(stdout, checkpoint), visible(stdout, final));
        } else {
            printf("Saved %s\n", visible(stdout, final));
        }
        printf("Drew %s from %s\n", visible(stdout, run->metrics.svg),
               visible(stdout, run->metrics.csv));
        print_samples(run);
    }
    int steps = run->training->current_step - run->first_step;
    double words = (double)steps * options->batch_size * options->seq_len;
    printf("Trained %d steps in %.2f s (%.0f tokens/s, peak memory %.1f MiB): %s\n", steps,
           run->seconds, run->seconds > 0 ? words / run->seconds : 0.0, peak_memory_mib(),
           visible(stdout, final));
    check_stdout_if_read();
    free(checkpoint);
    free(final);
}

int main(int argc, char **argv) {
    start_tool(argv[0]);
    signal(SIGPIPE, SIG_IGN); /* a reader that leaves does not end the training */
    Options options = parse_options(argc, argv);
    if (options.quiet) {
        silence_warnings();
    }
    Folder folder = open_folder(options.checkpoint_dir);
    char *resumed = options.resume ? find_checkpoint(options.resume) : NULL;
    options.resume = resumed;
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
    catch_interrupts(); /* before there is anything to lose */
    prepare_folder(&folder, &options, run.first_step); /* only now that everything was checked */
    run.folder = folder;
    write_data(&run.folder, &data);
    run.metrics = open_metrics(&run.folder, &options, run.first_step);
    if (!options.quiet) {
        describe_training(&run);
    }
    train(&run);
    finish(&run);
    close_metrics(&run.metrics);
    run.training->tokens = NULL; /* the dataset's */
    cllm_training_free(run.training);
    cllm_free_model(run.model);
    free_data(&data);
    free(resumed);
    return run.failed ? EXIT_FAILED : EXIT_SUCCESS;
}
