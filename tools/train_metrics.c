/* The record of a run: metrics.csv, its picture loss.svg, and the line of blocks on the screen. */
#include "train_model.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The validation loss comes last: it is known only after the rest of its row is written. */
static const char head[] =
    "step,epoch,train_loss,learning_rate,gradient_norm,tokens_per_second,val_loss\n";

static void remember(Metrics *metrics, int step, double loss) {
    if (metrics->count == metrics->capacity) {
        metrics->capacity = metrics->capacity ? 2 * metrics->capacity : 1024;
        metrics->losses = checked_resize(metrics->losses, (size_t)metrics->capacity, sizeof(float));
    }
    if (metrics->count == 0) {
        metrics->first_step = step;
    }
    metrics->last_step = step;
    metrics->losses[metrics->count++] = (float)loss;
}

/* Of the run that is resumed: the whole rows of the steps up to its checkpoint, each step once. */
static void keep_rows(Metrics *metrics, Text *kept, const char *path, int last_step) {
    if (access(path, F_OK) != 0) {
        return;
    }
    Text old = read_input(path);
    char *row = old.bytes;
    if (strncmp(row, head, sizeof head - 1) != 0) {
        complain("warning: '%s' is not the record of this program: begun anew", path);
        text_free(&old);
        return;
    }
    row += sizeof head - 1;
    int step = 0;
    for (char *end; (end = strchr(row, '\n')) != NULL; row = end + 1) {
        int number, epoch;
        float loss;
        *end = '\0'; /* sscanf() looks for the end of the text each time */
        if (sscanf(row, "%d,%d,%f,", &number, &epoch, &loss) == 3 && number > step &&
            number <= last_step) {
            step = number;
            text_append(kept, row, (size_t)(end - row));
            text_append(kept, "\n", 1);
            remember(metrics, number, loss);
        }
    }
    text_free(&old);
    if (step == last_step && step > 0) {
        metrics->cell = (off_t)(strrchr(kept->bytes, ',') + 1 - kept->bytes);
    }
}

Metrics open_metrics(const Options *options, int last_step) {
    Metrics metrics = {
        .csv = join_path(options->checkpoint_dir, "metrics.csv"),
        .svg = join_path(options->checkpoint_dir, "loss.svg"),
        .cell = -1,
        .drawn = seconds_now(),
    };
    Text text = {0};
    text_append_string(&text, head);
    if (options->resume) {
        const char *slash = strrchr(options->resume, '/');
        char *folder = copy_text(options->resume, slash ? (size_t)(slash + 1 - options->resume) : 0);
        char *path = join_path(folder, "metrics.csv");
        keep_rows(&metrics, &text, path, last_step);
        free(path);
        free(folder);
    }
    write_output(metrics.csv, &text);
    metrics.size = (off_t)text.length;
    text_free(&text);
    metrics.file = fopen(metrics.csv, "r+b");
    if (!metrics.file) {
        fail("can't open '%s': %s", metrics.csv, strerror(errno));
    }
    return metrics;
}

/* A run of hours does not end because its record can't be written. */
static void give_up(Metrics *metrics) {
    complain("warning: can't write '%s': %s; the rest of the run is not recorded", metrics->csv,
             strerror(errno));
    fclose(metrics->file);
    metrics->file = NULL;
}

/* Puts `text` at `offset`, where the file then ends. In one write, so that a killed program leaves
 * whole rows. */
static bool put(Metrics *metrics, off_t offset, const char *text) {
    off_t end = offset + (off_t)strlen(text);
    if (fseeko(metrics->file, offset, SEEK_SET) != 0 || fputs(text, metrics->file) == EOF ||
        fflush(metrics->file) != 0 ||
        (end < metrics->size && ftruncate(fileno(metrics->file), end) != 0)) {
        give_up(metrics);
        return false;
    }
    metrics->size = end;
    return true;
}

void record_step(Metrics *metrics, const CLLMProgress *progress, double tokens_per_second) {
    remember(metrics, progress->step, progress->loss);
    if (!metrics->file) {
        return;
    }
    char row[200];
    int length = snprintf(row, sizeof row, "%d,%d,%.6g,%.6g,%.6g,%.0f,\n", progress->step,
                          progress->epoch + 1, (double)progress->loss,
                          (double)progress->learning_rate, (double)progress->gradient_norm,
                          tokens_per_second);
    off_t cell = metrics->size + length - 1;
    if (put(metrics, metrics->size, row)) {
        metrics->cell = cell;
    }
}

void record_validation(Metrics *metrics, double loss) {
    if (metrics->file && metrics->cell >= 0) {
        char cell[32];
        snprintf(cell, sizeof cell, "%.6g\n", loss);
        put(metrics, metrics->cell, cell);
    }
}

void draw_metrics(Metrics *metrics) {
    metrics->drawn = seconds_now();
    if (metrics->file && metrics->count > 0 && cllm_plot_metrics(metrics->csv, metrics->svg) != 0) {
        complain("warning: can't draw '%s': %s", metrics->svg, library_error());
    }
}

void redraw_metrics(Metrics *metrics) {
    static const double often_enough = 5; /* seconds */
    if (seconds_now() - metrics->drawn >= often_enough) {
        draw_metrics(metrics);
    }
}

void print_sparkline(const Metrics *metrics) {
    enum { MOST = 48 };
    static const char *const blocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    double means[MOST], least = INFINITY, most = -INFINITY;
    int columns = metrics->count < MOST ? metrics->count : MOST;
    if (columns < 2) {
        return;
    }
    for (int i = 0; i < columns; i++) {
        size_t from = (size_t)i * (size_t)metrics->count / (size_t)columns;
        size_t to = ((size_t)i + 1) * (size_t)metrics->count / (size_t)columns;
        double sum = 0;
        for (size_t k = from; k < to; k++) {
            sum += metrics->losses[k];
        }
        means[i] = sum / (double)(to - from);
        least = fmin(least, means[i]);
        most = fmax(most, means[i]);
    }
    printf("  loss %.4f ", means[0]);
    for (int i = 0; i < columns; i++) {
        double height = most > least ? (means[i] - least) / (most - least) * 7.999 : 0;
        fputs(blocks[height >= 0 && height < 8 ? (int)height : 7], stdout); /* NaN: at the top */
    }
    printf(" %.4f  steps %d to %d\n", means[columns - 1], metrics->first_step, metrics->last_step);
}

void close_metrics(Metrics *metrics) {
    if (metrics->file) {
        fclose(metrics->file);
    }
    free(metrics->csv);
    free(metrics->svg);
    free(metrics->losses);
}
