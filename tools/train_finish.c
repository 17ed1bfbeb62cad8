/* What comes after the steps of a run: its files, samples of what the model says, the last line. */
#include "train_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cllm_ext.h"
#include "cllm_format.h"
#include "cllm_inference.h"
#include "cllm_utils.h"

static bool print_piece(const char *piece, size_t length, uint32_t token, void *user_data) {
    (void)token;
    return show_piece(user_data, piece, length);
}

/* Words stand in a line; a text with line breaks stands as it is. */
static void print_sample(CLLMInference *inference, const char *prompt, bool words) {
    Output output = {0};
    Shown shown = show_on(&output);
    output_write(&output, words ? "  " : "\n", words ? 2 : 1);
    show_piece(&shown, prompt, strlen(prompt));
    int generated = cllm_generate_stream(inference, prompt, print_piece, &shown);
    show_end(&shown);
    printf("\n");
    if (generated < 0) {
        fail("can't generate from '%s': %s", prompt, library_error());
    }
}

static void print_samples(const Run *run) {
    const Options *options = run->options;
    CLLMInference *inference = cllm_inference_init(run->model);
    if (!inference || cllm_set_seed(inference, options->seed) != 0 ||
        cllm_inference_set_threads(inference, options->threads) != 0) {
        fail("can't generate a sample: %s", library_error());
    }
    cllm_set_temperature(inference, 0.8f);
    cllm_set_top_k(inference, 40);
    cllm_set_max_tokens(inference, options->words ? 40 : 200);
    printf("Samples:\n");
    fflush(stdout);
    if (options->sample) {
        print_sample(inference, options->sample, options->words);
    } else {
        size_t starts[] = {0, run->data->num_training / 2};
        for (size_t i = 0; i < 2; i++) {
            char *prompt = prompt_of_text(run->data, starts[i]);
            if (prompt) {
                print_sample(inference, prompt, options->words);
            }
            free(prompt);
        }
    }
    cllm_inference_cleanup(inference);
}

/* Whether the kept weights go into the final model, not the last ones. */
static bool best_is_kept(const Run *run) {
    return run->options->weights == WEIGHTS_BEST && cllm_training_best(run->training, NULL, NULL) == 1;
}

static int try_to_write(const Run *run, const char *path) {
    return best_is_kept(run) ? cllm_write_best_model(run->training, path)
                             : cllm_write_model(run->model, path);
}

static void write_final_model(Run *run, const char *path) {
    int written = try_to_write(run, path);
    if (written != 0 && make_room(&run->folder, run->training->current_step)) {
        written = try_to_write(run, path);
    }
    if (written != 0) {
        fail("can't write '%s': %s", path, library_error());
    }
    keep_owner(&run->folder, path);
}

/* The final model in 8 bits beside it: of its file, whose weights may not be those of the last step. */
static void write_in_8_bits(Run *run, const char *final, const char *path) {
    CLLMModel *model = cllm_read_model(final);
    CLLMModel *small = model ? cllm_quantize_model(model, run->options->threads) : NULL;
    cllm_free_model(model);
    if (!small || cllm_write_model(small, path) != 0) {
        fail("can't write '%s' ('%s' is there): %s", path, final, library_error());
    }
    cllm_free_model(small);
    keep_owner(&run->folder, path);
}

static void tell_best(const Run *run, const char *final) {
    int step;
    double loss;
    if (best_is_kept(run) && cllm_training_best(run->training, &step, &loss) == 1) {
        printf("%s has the weights of step %d: held-out loss %.4f, %.4f bits per byte\n",
               visible(stdout, final), step, loss,
               bits_per_byte(loss, run->data->num_validation, run->data->validation_bytes));
        if (cllm_training_use_best(run->training) != 0) {
            fail("can't use the best weights: %s", library_error());
        }
    }
}

void finish(Run *run, void (*no_more_interrupts)(void)) {
    const Options *options = run->options;
    char *checkpoint = save_checkpoint_here(run);
    run->failed = !checkpoint;
    draw_metrics(&run->metrics);
    char *final = join_path(run->folder.path, "final_model.cllm");
    char *small = options->save_8bit ? join_path(run->folder.path, "final_model_8bit.cllm") : NULL;
    write_final_model(run, final); /* also without a checkpoint: it is smaller */
    if (small) {
        write_in_8_bits(run, final, small);
    }
    no_more_interrupts();
    if (!options->quiet) {
        if (checkpoint) {
            printf("Saved %s and %s\n", visible(stdout, checkpoint), visible(stdout, final));
        } else {
            printf("Saved %s\n", visible(stdout, final));
        }
        if (small) {
            printf("Saved %s, with 8-bit weights\n", visible(stdout, small));
        }
        tell_best(run, final);
        printf("Drew %s from %s\n", visible(stdout, run->metrics.svg),
               visible(stdout, run->metrics.csv));
        print_samples(run);
    }
    int steps = run->training->current_step - run->first_step;
    double tokens = (double)steps * options->batch_size * options->seq_len;
    printf("Trained %d steps in %.2f s (%.0f tokens/s, peak memory %.1f MiB): %s\n", steps,
           run->seconds, run->seconds > 0 ? tokens / run->seconds : 0.0, peak_memory_mib(),
           visible(stdout, final));
    report_ranks(run->seconds);
    check_stdout_if_read();
    free(checkpoint);
    free(final);
    free(small);
}
