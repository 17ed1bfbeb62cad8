/* train_model: text in, trained model out. See --help. */
#include "train_model.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cllm_utils.h"

static volatile sig_atomic_t interrupted;
static bool alone = true; /* no other rank is there */

bool is_interrupted(void) {
    return interrupted;
}

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
    rank_is_told_to_end();
    stop_at_once();
    if (alone && write(STDERR_FILENO, notice, sizeof notice - 1) < 0) {
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
    if (!alone) {
        sigaction(SIGUSR1, &action, NULL); /* the one that mpirun hands on without ending the run */
    }
    if (sigaction(SIGHUP, NULL, &before) == 0 && before.sa_handler != SIG_IGN) { /* nohup */
        sigaction(SIGHUP, &action, NULL);
    }
}

/* ---- Step 6: training ---- */

int last_step(const Run *run) {
    if (run->options->steps > 0) {
        return run->training->config.max_steps; /* which --minutes moves */
    }
    int all = run->batches_per_epoch * run->epochs, most = run->options->max_steps;
    return most > 0 && most < all ? most : all;
}

/* With --minutes the steps decide how many they are. */
static int last_epoch(const Run *run, int last) {
    return run->options->steps > 0 ? (last - 1) / run->batches_per_epoch + 1 : run->epochs;
}

/* With --minutes: moves the end of the run to where the time will be over, but for a last evaluation and
 * the files. */
static void keep_time(Run *run, int step) {
    const Options *options = run->options;
    int done = step - run->first_step, planned = run->training->config.max_steps - step;
    if (done < 10 || done % 10 != 0) {
        return; /* the first ones are slow */
    }
    double now = seconds_now(), files = 0.01 * options->minutes * 60 + run->evaluation;
    double left = options->minutes * 60 - (now - options->began) - files;
    int steps = cllm_steps_left(done, now - run->began, planned, left > 0 ? left : 0);
    take_from_first(&steps, sizeof steps); /* clocks differ */
    if (steps >= 0 && steps != planned &&
        cllm_training_set_end(run->training, step + (steps > 0 ? steps : 1)) != 0) {
        fail("can't move the end of the run: %s", library_error());
    }
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
    if (run->options->minutes > 0) {
        keep_time(run, progress->step);
    }
    int last = last_step(run), done = progress->step - run->first_step;
    char left[24];
    clock_text(run->seconds / done * (last - progress->step), left, sizeof left);
    progress_draw(&run->bar, (double)progress->step / last,
                  "epoch %d/%d  step %d/%d  loss %.4f  %.0f tokens/s  %s left", progress->epoch + 1,
                  last_epoch(run, last), progress->step, last, progress->loss,
                  run->seconds > 0 ? words * done / run->seconds : 0, left);
    bool over = run->options->steps > 0 && progress->step >= last;
    return !interrupted && !run->diverged && !over;
}

char *save_checkpoint_here(Run *run) {
    int step = run->training->current_step;
    char *path = checkpoint_path(run->folder.path, step);
    bool together = rank_count() > 1 && !run->options->whole_moments; /* each has a part of it */
    if (!first_rank() && !together) {
        return path;
    }
    int saved = cllm_save_checkpoint(run->training, path);
    bool again = first_rank() && saved != 0 && make_room(&run->folder, step);
    if (together ? any_rank(again) : again) {
        saved = cllm_save_checkpoint(run->training, path);
    }
    if (!first_rank()) {
        return path;
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

/* Measures the held-out text, and keeps the weights if they are the best so far. */
static void evaluate(Run *run) {
    const Data *data = run->data;
    const Options *options = run->options;
    double loss, began = seconds_now();
    size_t count = data->num_validation, most = (size_t)options->evaluate_tokens;
    count = most > 1 && most < count ? most : count;
    int failed = options->weights == WEIGHTS_BEST
                     ? cllm_training_evaluate_file(run->training, data->validation, count,
                                                   options->threads, &loss) < 0
                     : cllm_evaluate_file(run->model, data->validation, count, options->seq_len,
                                          options->threads, &loss, NULL) != 0;
    if (failed) {
        progress_clear(&run->bar);
        fail("can't evaluate the held-out text: %s", library_error());
    }
    run->validation_loss = loss;
    run->evaluated_at = run->training->current_step;
    run->evaluation = seconds_now() - began;
    run->step_began += run->evaluation; /* no time of a step */
    record_validation(&run->metrics, loss,
                      bits_per_byte(loss, data->num_validation, data->validation_bytes));
}

/* The line of an epoch; `complete` is false where --max-steps cut it. Of an epoch that was resumed
 * in its middle, the average is that of the rest. */
static void report_epoch(Run *run, int epoch, bool complete) {
    const Data *data = run->data;
    double loss = run->epoch_batches > 0 ? run->epoch_loss / run->epoch_batches : NAN;
    bool trained = run->epoch_batches > 0; /* not so if a resumed checkpoint stood at its end */
    bool rest = run->first_step % run->batches_per_epoch != 0 &&
                run->first_step / run->batches_per_epoch == epoch - 1;
    progress_clear(&run->bar);
    run->epoch_loss = 0;
    run->epoch_batches = 0;
    if (data->validation) {
        evaluate(run);
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
    if (data->validation) {
        printf(", Validation Loss = %.4f, Perplexity = %.2f", run->validation_loss,
               exp(run->validation_loss));
    }
    if (trained && rest) {
        printf(" (average from step %d on)", run->first_step + 1);
    }
    printf("%s\n", complete ? "" : " (cut by --max-steps)");
    if (trained || data->validation) {
        printf("  bits per byte:");
    }
    if (trained) {
        printf(" %.4f training", bits_per_byte(loss, data->num_training, data->training_bytes));
    }
    if (data->validation) {
        printf("%s %.4f held out", trained ? "," : "",
               bits_per_byte(run->validation_loss, data->num_validation, data->validation_bytes));
    }
    printf("%s", trained || data->validation ? "\n" : "");
    print_sparkline(&run->metrics);
    fflush(stdout);
}

/* The line of an evaluation within the epochs. */
static void report_step(Run *run) {
    const Data *data = run->data;
    double loss = run->epoch_batches > 0 ? run->epoch_loss / run->epoch_batches : NAN;
    progress_clear(&run->bar);
    run->epoch_loss = 0;
    run->epoch_batches = 0;
    evaluate(run);
    redraw_metrics(&run->metrics);
    if (!run->options->quiet) {
        char passed[24];
        printf("At step %d, %s: loss %.4f, held out %.4f; bits per byte %.4f, held out %.4f\n",
               run->training->current_step,
               clock_text(seconds_now() - run->options->began, passed, sizeof passed), loss,
               run->validation_loss,
               bits_per_byte(loss, data->num_training, data->training_bytes),
               bits_per_byte(run->validation_loss, data->num_validation, data->validation_bytes));
        fflush(stdout);
    }
}

/* Steps until the next point where something is to be done; 0: none in this epoch. */
static int steps_to_next_stop(const Run *run) {
    const Options *options = run->options;
    int step = run->training->current_step, next = 0;
    int every[] = {options->save_every, run->data->validation ? options->evaluate_every : 0};
    for (size_t i = 0; i < 2; i++) {
        int to_stop = every[i] > 0 ? every[i] - step % every[i] : 0;
        next = to_stop > 0 && (next == 0 || to_stop < next) ? to_stop : next;
    }
    int to_end = options->max_steps > 0 || options->steps > 0 ? last_step(run) - step : 0;
    return to_end > 0 && (next == 0 || to_end < next) ? to_end : next;
}

static bool epoch_has_batches_left(const Run *run) {
    const CLLMTraining *training = run->training;
    long long per_batch = (long long)run->options->batch_size * run->options->seq_len;
    long long done = training->current_batch_offset / per_batch;
    if (training->current_batch_offset == INT_MAX) { /* further than the field can say: steps are batches */
        done = training->current_step - (long long)training->current_epoch * run->batches_per_epoch;
    }
    return done < run->batches_per_epoch;
}

static bool reached_end(const Run *run) {
    if (run->options->steps > 0) {
        return run->training->current_step >= last_step(run);
    }
    return run->options->max_steps > 0 && run->training->current_step >= run->options->max_steps &&
           epoch_has_batches_left(run);
}

__attribute__((noreturn)) static void leave_interrupted(Run *run) {
    progress_clear(&run->bar);
    char *path = save_checkpoint_here(run);
    draw_metrics(&run->metrics);
    if (!first_rank()) {
        free(path);
        exit(EXIT_INTERRUPTED);
    }
    if (!path) {
        fail("interrupted after step %d, and no checkpoint of it", run->training->current_step);
    }
    complain("interrupted after step %d; go on with the same options%s and --resume %s",
             run->training->current_step, run->options->minutes > 0 ? ", without --minutes," : "", path);
    free(path);
    exit(EXIT_INTERRUPTED);
}

static void train(Run *run) {
    CLLMTraining *training = run->training;
    if (cllm_set_progress_callback(training, on_progress, run) != 0) {
        fail("can't watch the training: %s", library_error());
    }
    run->began = seconds_now();
    while (training->current_epoch < run->epochs && !reached_end(run)) {
        int epoch = training->current_epoch;
        run->step_began = seconds_now();
        count_exchanges(true);
        int trained =
            cllm_train_steps(training, steps_to_next_stop(run), run->options->threads, NULL);
        count_exchanges(false);
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
        if (any_rank(interrupted)) {
            leave_interrupted(run);
        }
        if (trained > 0 && run->options->save_every > 0 &&
            training->current_step % run->options->save_every == 0) {
            save_on_the_way(run);
        }
        if (trained > 0 && run->data->validation && run->options->evaluate_every > 0 &&
            training->current_step % run->options->evaluate_every == 0) {
            report_step(run);
        }
        if (training->current_epoch > epoch) {
            if (run->options->evaluate_every == 0) {
                report_epoch(run, training->current_epoch, true);
            }
        } else if (trained == 0) {
            fail("training made no progress at step %d", training->current_step);
        }
    }
    if (run->options->evaluate_every > 0 && run->data->validation) {
        if (run->evaluated_at != training->current_step) {
            report_step(run);
        }
        if (!run->options->quiet) {
            print_sparkline(&run->metrics);
        }
    } else if (run->epoch_batches > 0) {
        report_epoch(run, training->current_epoch + 1, false);
    }
}

int main(int argc, char **argv) {
    start_tool(argv[0]);
    signal(SIGPIPE, SIG_IGN); /* a reader that leaves does not end the training */
    join_ranks(&argc, &argv);
    alone = rank_count() == 1;
    Options options = parse_options(argc, argv);
    compare_options(&options);
    options.quiet |= !first_rank();
    options.threads = rank_threads(options.threads);
    if (options.quiet) {
        silence_warnings();
    }
    Folder folder = {.path = options.checkpoint_dir, .descriptor = -1};
    char *resumed = NULL;
    if (first_rank()) {
        folder = open_folder(options.checkpoint_dir);
        resumed = options.resume ? find_checkpoint(options.resume) : NULL;
    }
    options.resume = resumed = text_of_first(resumed);
    tell_ranks_folder(folder.path, resumed);
    Origin origin = open_origin(&options);
    catch_interrupts(); /* before there is anything to lose */
    Preparation preparation = {0};
    begin_preparation(&preparation, &folder);
    Data data = load_data(&options, origin.tokenizer, &preparation);
    Run run = {.options = &options, .data = &data, .bar = progress_lines(!options.quiet),
               .validation_loss = NAN, .metrics = {.file = -1}};
    if (!options.quiet) {
        describe_data(&options, &data, &preparation);
    }
    set_up(&run, &origin);
    run.folder = folder;
    any_rank(false); /* nobody reads the files any more that are set aside now */
    if (first_rank()) {
        prepare_folder(&run.folder, &options, run.first_step); /* only now that everything was checked */
        write_data(&run.folder, &data, &preparation);
        run.metrics = open_metrics(&run.folder, &options, &data, run.first_step);
    } else {
        end_preparation(&preparation, &run.folder);
    }
    if (!options.quiet) {
        describe_training(&run);
    }
    train(&run);
    if (first_rank()) {
        finish(&run, stop_at_once);
        close_metrics(&run.metrics);
    } else {
        free(save_checkpoint_here(&run));
    }
    cllm_training_free(run.training);
    cllm_free_model(run.model);
    free_data(&data);
    free(resumed);
    leave_ranks();
    return run.failed ? EXIT_FAILED : EXIT_SUCCESS;
}
