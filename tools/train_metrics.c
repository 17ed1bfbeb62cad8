/* The record of a run: metrics.csv, its picture loss.svg, and the line of blocks on the screen. */
#include "train_model.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What is known of the held-out text is written over the end of a row, behind its first six columns. */
static const char head[] = "step,epoch,train_loss,learning_rate,gradient_norm,tokens_per_second,"
                           "val_loss,train_bits_per_byte,val_bits_per_byte,order0_bits_per_byte\n";
/* The records that a run goes on with: this one and those of earlier releases. */
static const struct {
    const char *head;
    int commas;
    const char *rest; /* of a row: the columns that it had not */
} records[] = {
    {head, 9, "\n"},
    {"step,epoch,train_loss,learning_rate,gradient_norm,tokens_per_second,val_loss,train_bits_per_byte,"
     "val_bits_per_byte\n", 8, ",\n"},
    {"step,epoch,train_loss,learning_rate,gradient_norm,tokens_per_second,val_loss\n", 6, ",,,\n"},
};

/* The end of a row: from its seventh column on. */
static const char *end_of_row(const char *row) {
    for (int columns = 0; columns < 6; columns++) {
        row = strchr(row, ',') + 1;
    }
    return row;
}

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
    struct stat status;
    if (stat(path, &status) != 0 || !S_ISREG(status.st_mode)) {
        return;
    }
    Text old = read_input(path);
    char *row = old.bytes;
    size_t kind = 0, kinds = sizeof records / sizeof *records;
    while (kind < kinds && strncmp(row, records[kind].head, strlen(records[kind].head)) != 0) {
        kind++;
    }
    if (kind == kinds) {
        complain("warning: '%s' is not the record of this program: begun anew", path);
        text_free(&old);
        return;
    }
    row += strlen(records[kind].head);
    size_t last_row = 0;
    int step = 0;
    for (char *end; (end = strchr(row, '\n')) != NULL; row = end + 1) {
        int number, epoch;
        float loss;
        *end = '\0'; /* sscanf() looks for the end of the text each time */
        int found = 0;
        for (const char *c = row; *c; c++) {
            found += *c == ',';
        }
        if (sscanf(row, "%d,%d,%f,", &number, &epoch, &loss) == 3 && number > step &&
            number <= last_step && found == records[kind].commas) {
            step = number;
            last_row = kept->length;
            text_append(kept, row, (size_t)(end - row));
            text_append_string(kept, records[kind].rest);
            remember(metrics, number, loss);
        }
    }
    text_free(&old);
    if (step == last_step && step > 0) {
        const char *cells = end_of_row(kept->bytes + last_row);
        metrics->cell = (size_t)(kept->bytes + kept->length - cells);
        const char *bits = strchr(cells, ',') + 1;
        snprintf(metrics->bits, sizeof metrics->bits, "%.*s", (int)strcspn(bits, ","), bits);
    }
}

/* A run of hours does not end because its record can't be written. */
static void not_recorded(Metrics *metrics, const char *why) {
    complain("warning: can't write '%s': %s; the run is not recorded", metrics->csv, why);
}

Metrics open_metrics(const Folder *folder, const Options *options, const Data *data, int last_step) {
    Metrics metrics = {
        .csv = join_path(folder->path, "metrics.csv"),
        .svg = join_path(folder->path, "loss.svg"),
        .folder = folder,
        .file = -1,
        .drawn = seconds_now(),
        .bits_per_nat = bits_per_byte(1, data->num_training, data->training_bytes),
        .order0 = data->order0,
    };
    Text text = {0};
    struct stat status;
    if (stat(metrics.csv, &status) == 0 && !S_ISREG(status.st_mode)) {
        not_recorded(&metrics, "it is not an ordinary file"); /* a pipe would wait for its reader */
        return metrics;
    }
    text_append_string(&text, head);
    if (options->resume) {
        const char *slash = strrchr(options->resume, '/');
        char *from = copy_text(options->resume, slash ? (size_t)(slash + 1 - options->resume) : 0);
        char *path = join_path(from, "metrics.csv");
        keep_rows(&metrics, &text, path, last_step);
        free(path);
        free(from);
    }
    write_output(metrics.csv, &text);
    keep_owner(folder, metrics.csv);
    metrics.size = (off_t)text.length;
    text_free(&text);
    metrics.file = open(metrics.csv, O_WRONLY | O_CLOEXEC);
    if (metrics.file < 0) {
        not_recorded(&metrics, strerror(errno));
    }
    return metrics;
}

/* Writes the rows that wait, in one write each time, so that a killed program leaves whole rows. Where
 * there is no room, they go on waiting; what was written of them in part is written again. */
static void write_waiting(Metrics *metrics) {
    Text *rows = &metrics->waiting;
    errno = ENOSPC; /* a write that stops short says no more */
    ssize_t written = pwrite(metrics->file, rows->bytes, rows->length, metrics->size);
    if (written == (ssize_t)rows->length) {
        metrics->size += written;
        rows->length = 0;
    } else if (!metrics->warned) {
        complain("warning: can't write '%s': %s; its rows wait", metrics->csv, strerror(errno));
        metrics->warned = true;
    }
}

void record_step(Metrics *metrics, const CLLMProgress *progress, double tokens_per_second) {
    remember(metrics, progress->step, progress->loss);
    if (metrics->file < 0) {
        return;
    }
    char row[240];
    snprintf(metrics->bits, sizeof metrics->bits, "%.6g",
             (double)progress->loss * metrics->bits_per_nat);
    snprintf(row, sizeof row, "%d,%d,%.6g,%.6g,%.6g,%.0f,,%s,,\n", progress->step, progress->epoch + 1,
             (double)progress->loss, (double)progress->learning_rate,
             (double)progress->gradient_norm, tokens_per_second, metrics->bits);
    text_append_string(&metrics->waiting, row);
    metrics->cell = strlen(metrics->bits) + 4;
    write_waiting(metrics);
}

void record_validation(Metrics *metrics, double loss, double bits) {
    if (metrics->file < 0 || metrics->cell == 0) {
        return;
    }
    char cell[120];
    snprintf(cell, sizeof cell, "%.6g,%s,%.6g,%.6g\n", loss, metrics->bits, bits, metrics->order0);
    if (metrics->waiting.length > 0) {
        metrics->waiting.length -= metrics->cell;
    } else {
        metrics->size -= (off_t)metrics->cell;
    }
    text_append_string(&metrics->waiting, cell);
    metrics->cell = strlen(cell);
    write_waiting(metrics);
    if (metrics->waiting.length == 0 && ftruncate(metrics->file, metrics->size) != 0) {
        complain("warning: can't cut '%s': %s", metrics->csv, strerror(errno));
    }
}

void draw_metrics(Metrics *metrics) {
    metrics->drawn = seconds_now();
    if (metrics->file < 0 || metrics->count == 0) {
        return;
    }
    if (cllm_plot_metrics(metrics->csv, metrics->svg) != 0) {
        complain("warning: can't draw '%s': %s", metrics->svg, library_error());
    } else {
        keep_owner(metrics->folder, metrics->svg);
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
    if (metrics->file >= 0) {
        if (metrics->waiting.length > 0) {
            complain("warning: the last rows of '%s' could not be written", metrics->csv);
        }
        close(metrics->file);
    }
    text_free(&metrics->waiting);
    free(metrics->csv);
    free(metrics->svg);
    free(metrics->losses);
}
