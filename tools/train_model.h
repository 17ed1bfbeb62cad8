/* train_model's parts: options (train_options.c), text (train_data.c), the folder with its checkpoints
 * (train_folder.c), the record of the run (train_metrics.c), the run (train_model.c). */
#ifndef CLLM_TOOLS_TRAIN_MODEL_H
#define CLLM_TOOLS_TRAIN_MODEL_H

#include "text_files.h"

#include <sys/types.h>

#include "cllm_data_loader.h"
#include "cllm_ext.h"

/* The command line, checked. */
typedef struct Options {
    const char *data;
    int vocab_size, min_freq, embed_dim, num_layers, num_heads, seq_len;
    int epochs, batch_size, warmup, max_steps, threads, save_every, keep;
    double learning_rate, weight_decay, clip, val_fraction;
    uint32_t seed;
    const char *vocabulary, *schedule, *checkpoint_dir, *resume, *sample;
    bool quiet, overwrite;
} Options;

/* Leaves with a message where the command line is wrong, and after --help. */
Options parse_options(int argc, char **argv);

/* What the text became. */
typedef struct Data {
    CLLMTokenizer *tokenizer;
    TokenDataset *training;
    uint32_t *validation; /* ids of the held-out words; NULL without */
    uint32_t num_validation;
    size_t words, documents, characters;
} Data;

/* Reads, splits and encodes the text. */
Data load_data(const Options *options);
void free_data(Data *data);
/* Prints Steps 1 to 3. */
void describe_data(const Options *options, const Data *data);
/* Where a run writes. */
typedef struct Folder {
    const char *path;
    int descriptor; /* that holds the lock; -1: not yet */
    bool foreign; /* the superuser's run in somebody's folder: its files are given to them */
    uid_t owner;
    gid_t group;
} Folder;

/* Locks the folder, if it is there; fail() if another run is writing into it. */
Folder open_folder(const char *path);
/* Makes the folder and locks it; what an earlier run left there is set aside, or with --overwrite
 * removed. `first_step`: of a run that goes on. */
void prepare_folder(Folder *folder, const Options *options, int first_step);
/* To be called with each file that was written. */
void keep_owner(const Folder *folder, const char *path);
/* The caller frees it. */
char *checkpoint_path(const char *folder, int step);
/* The checkpoint that --resume names: a file, or the newest of a folder that is whole. fail() if there
 * is none; the caller frees it. */
char *find_checkpoint(const char *given);
/* Removes all but the newest checkpoints. */
void rotate_checkpoints(const Folder *folder, int keep);
/* Where the disk is full, removes the oldest of two or more checkpoints before `step`: the run's newest
 * state is worth more. Whether it did. */
bool make_room(const Folder *folder, int step);

/* vocab.txt and dataset.bin in the folder. */
void write_data(const Folder *folder, const Data *data);
/* Up to three neighbouring words of the text from `start` on that the vocabulary knows: a prompt.
 * NULL if there are none; the caller frees it. */
char *words_of_text(const Data *data, size_t start);
/* A checkpoint of another text may fit by its size alone: its words tell. fail() if they differ. */
void compare_vocabulary(const char *checkpoint, const Data *data);

/* metrics.csv, a row for each step, and what loss.svg and the screen show of it. */
typedef struct Metrics {
    char *csv, *svg;
    const Folder *folder;
    int file; /* -1: there is none */
    off_t size; /* of the file */
    Text waiting; /* rows that come after that, while the disk is full */
    size_t cell; /* bytes of the last row's last cell, the validation loss, with its line end */
    bool warned;
    float *losses;
    int count, capacity, first_step, last_step; /* of the losses */
    double drawn; /* when loss.svg was, as seconds_now() says it */
} Metrics;

/* Begins metrics.csv; a resumed run goes on from the one beside its checkpoint, up to the
 * checkpoint's step. */
Metrics open_metrics(const Folder *folder, const Options *options, int last_step);
/* `tokens_per_second` is that of this step alone. */
void record_step(Metrics *metrics, const CLLMProgress *progress, double tokens_per_second);
/* Adds the validation loss to the row of the latest step. */
void record_validation(Metrics *metrics, double loss);
/* Draws loss.svg. */
void draw_metrics(Metrics *metrics);
/* The same if the last picture is some seconds old: epochs and checkpoints can be many. */
void redraw_metrics(Metrics *metrics);
/* The loss from the first step recorded to the last, in one line. */
void print_sparkline(const Metrics *metrics);
void close_metrics(Metrics *metrics);

#endif
