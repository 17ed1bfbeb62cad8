/* train_model's parts: options (train_options.c) and what becomes of those that are not given
 * (train_defaults.c), text (train_data.c, as words train_words.c, as subwords
 * train_subwords.c, of any length train_texts.c, mixed with old text train_mix.c), the files made of it
 * (train_prepare.c), the model and its training made ready (train_setup.c), the folder with its
 * checkpoints (train_folder.c), the record of the run (train_metrics.c), the run (train_model.c), what
 * comes after it (train_finish.c), and the other processes that train with this one (train_alone.c,
 * train_model_mpi.c, which get the text by train_share.c). */
#ifndef CLLM_TOOLS_TRAIN_MODEL_H
#define CLLM_TOOLS_TRAIN_MODEL_H

#include "terminal.h"
#include "text_files.h"
#include "tokens.h"

#include <sys/types.h>

#include "cllm_ext.h"
#include "cllm_training.h"

enum { EXIT_INTERRUPTED = 130 };

typedef enum Tokens { TOKENS_UNSET, TOKENS_BPE, TOKENS_BYTES, TOKENS_WORDS, TOKENS_FILE } Tokens;
typedef enum Block { BLOCK_UNSET, BLOCK_MODERN, BLOCK_ORIGINAL } Block;
typedef enum Precision { PRECISION_UNSET, PRECISION_F32, PRECISION_BF16, PRECISION_AUTO } Precision;
typedef enum Weights { WEIGHTS_UNSET, WEIGHTS_BEST, WEIGHTS_LAST } Weights;

/* The command line, checked. What was not given is 0 or NULL, or -1 where 0 can be given, until
 * settle_options() has chosen it. */
typedef struct Options {
    const char *data;
    Tokens tokens;
    Block block;
    Weights weights;
    Precision precision;
    int vocab_size, min_freq, embed_dim, num_layers, num_heads, seq_len;
    int epochs, batch_size, accumulate, warmup, max_steps, threads, save_every, keep, shuffle;
    int short_windows; /* tokens of the windows in the first part of the run; 0: none */
    double learning_rate, weight_decay, clip, val_fraction, dropout, beta2;
    double short_part; /* of the run */
    double minutes; /* 0: as many epochs as are asked for */
    int size; /* the width that --size names; 0: not asked for */
    uint32_t seed;
    const char *vocabulary, *schedule, *checkpoint_dir, *resume, *from, *sample;
    const char *mix; /* DATA of --mix; NULL: none */
    double share; /* of it */
    bool quiet, overwrite, save_8bit, whole_moments, bfloat16_sums;
    /* settled */
    bool words; /* tokens are whole words */
    bool tokens_asked, sized_by_text, held_out_asked, rate_asked;
    int steps; /* of a run of --minutes, at first, also of one that goes on; 0: by epochs */
    int evaluate_every; /* steps; 0: at the end of each epoch */
    uint64_t evaluate_tokens; /* at most; 0: all */
    size_t num_words, num_different; /* of a text of words, where by_the_recipe(); otherwise 0 */
    double began; /* as seconds_now() says it: when the minutes do */
    char chosen[640]; /* by --minutes or --size, and why: three lines; or "" */
} Options;

/* Whether all that is not given is chosen by the recipe. */
static inline bool has_dial(const Options *options) {
    return options->minutes > 0 || options->size > 0;
}

/* The same, or so it was when the run that goes on began. */
static inline bool by_the_recipe(const Options *options) {
    return has_dial(options) || options->steps > 0;
}

/* Leaves with a message where the command line is wrong, and after --help. */
Options parse_options(int argc, char **argv);
/* Leaves with a message where a rank has other options than the first one: they would wait for each other. */
void compare_options(const Options *options);

/* What a run goes on from: the model file of --from or --resume, as far as it decides what the run is. */
typedef struct Origin {
    CLLMModel *model; /* of --from: the one that learns; NULL: a new one */
    CLLMTokenizer *tokenizer; /* to be used; NULL: one is made of the text */
} Origin;

/* Reads --from, --resume and the file of --tokens, and settles what they decide. */
Origin open_origin(Options *options);
/* Chooses what was not given, for a text of so many bytes and, if it is not NULL, a tokenizer. */
void settle_options(Options *options, const CLLMTokenizer *given, size_t bytes);

/* What the text became. */
typedef struct Data {
    CLLMTokenizer *tokenizer;
    CLLMTokenFile *training;
    CLLMTokenFile *validation; /* ids of the held-out text; NULL without */
    size_t num_training, num_validation;
    size_t words, documents, characters;
    size_t training_bytes, validation_bytes; /* of the texts; of words, each with a space */
    double order0; /* of the held-out text: bits of a byte where nothing is known but how often each comes */
    bool lowercase; /* words lose their capitals */
    size_t mixed; /* of the ids to train on: those of --mix */
} Data;

/* Where a run writes. */
typedef struct Folder {
    const char *path;
    int descriptor; /* that holds the lock; -1: not yet */
    bool foreign; /* the superuser's run in somebody's folder: its files are given to them */
    uid_t owner;
    gid_t group;
} Folder;

/* A file under the name that it has until the run begins, and the one that it gets then. */
typedef struct NewFile {
    const char *name; /* in the folder; not its own */
    char *made, *place;
} NewFile;

/* What is made before it is known whether the run can begin. */
typedef struct Preparation {
    Folder *folder;
    int folders_made; /* at the end of its path */
    char *scratch; /* where what is needed only now is made */
    NewFile files[8];
    size_t count;
    bool kept; /* exit() removes nothing */
    bool taken; /* ids of the same text were there already */
    const NewFile *training, *validation; /* the ids to train on, and those held out */
    uint64_t bytes; /* that became ids */
    double seconds; /* which that took */
} Preparation;

/* Makes the folder, if it is not there, and locks it; the other ranks of a run make their files in `scratch`,
 * without names. Until end_preparation() whatever ends the program in order removes what was made. */
void begin_preparation(Preparation *preparation, Folder *folder);
/* A file of the folder that is to be made, by the first rank. */
const NewFile *new_file(Preparation *preparation, const char *name);
/* Removes one that is not needed any more. */
void drop_file(const NewFile *file);
/* Puts all files in their places. */
void end_preparation(Preparation *preparation, const Folder *folder);
/* Removes what was made for a run that did not begin; exit() does so too. */
void abandon_preparation(void);
/* After a Ctrl-C before the first step. */
__attribute__((noreturn)) void leave_unprepared(const Preparation *preparation);
/* Whether the run was asked to end. */
bool is_interrupted(void);

/* Reads, splits and encodes the text; settles the options as soon as its length is known. `given` is
 * the tokenizer to use; NULL: one is made. */
Data load_data(Options *options, CLLMTokenizer *given, Preparation *preparation);
Data load_words(Options *options, CLLMTokenizer *given, Preparation *preparation);
Data load_subwords(Options *options, CLLMTokenizer *given, Preparation *preparation);
/* Adds the old text of --mix to what is trained on. */
void mix_in(const Options *options, Data *data, Preparation *preparation);
void free_data(Data *data);
/* Why the library could not read a file, without its name: that is said already. */
const char *reason_of(const char *path);

/* The texts of a file, a folder, or stdin for "-", of any length. */
CLLMTexts *open_texts(const Options *options, const Preparation *preparation, const char *path);
/* Subwords of the bytes before `to`. */
CLLMTokenizer *learn_tokens(const Options *options, const CLLMTexts *texts, uint64_t to);
/* The words of the bytes from `from` on, and of them what cllm_texts_words() has; with `lowercase` no
 * capitals are counted. `path`: where the texts were opened, for messages. */
uint64_t measure_words(const Options *options, const CLLMTexts *texts, const char *path, uint64_t from,
                       bool lowercase, uint64_t *characters, uint64_t bytes[256]);
/* Where a word begins. */
uint64_t place_of_word(const Options *options, const CLLMTexts *texts, uint64_t number);
/* Adds the words of the bytes before `to` that --vocab-size and --min-freq let in. */
void learn_words(const Options *options, const CLLMTexts *texts, uint64_t to, CLLMTokenizer *tokenizer,
                 bool keep_case);
/* Makes a file of the ids of a range of the texts, which were opened at `path`. */
CLLMTokenFile *encode_texts(const Options *options, const CLLMTexts *texts, const char *path, uint64_t from,
                            uint64_t to, const CLLMTokenizer *tokenizer, Preparation *preparation,
                            const NewFile *target);
CLLMTokenFile *open_token_file(const char *path);
/* The entropy of bytes that were counted, in bits. */
double entropy(const size_t counts[256]);
/* A loss per token as bits for each byte of the text that the tokens stand for. */
double bits_per_byte(double nats_per_token, size_t tokens, size_t bytes);
/* Prints Steps 1 to 3. */
void describe_data(const Options *options, const Data *data, const Preparation *preparation);
/* Locks the folder, if it is there; fail() if another run is writing into it. */
Folder open_folder(const char *path);
/* fail() if another run is writing into it. */
void lock_folder(Folder *folder);
/* Makes the folder and locks it; what an earlier run left there is set aside, or with --overwrite
 * removed. `first_step`: of a run that goes on. */
void prepare_folder(Folder *folder, const Options *options, int first_step);
/* To be called with each file that was written. */
void keep_owner(const Folder *folder, const char *path);
/* The newest checkpoint of a folder with both files; NULL if there is none. The caller frees it. */
char *newest_checkpoint(const char *folder);
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

/* vocab.txt and tokenizer.json in the folder, and what was prepared. */
void write_data(const Folder *folder, const Data *data, Preparation *preparation);
/* A prompt from the text at token `start`: a line of it, or of words some that the vocabulary knows. NULL
 * if there is none; the caller frees it. */
char *prompt_of_text(const Data *data, size_t start);
/* A checkpoint of another text may fit by its size alone: its words tell. fail() if they differ. */
void compare_vocabulary(const char *checkpoint, const Data *data);

/* metrics.csv, a row for each step, and what loss.svg and the screen show of it. */
typedef struct Metrics {
    char *csv, *svg;
    const Folder *folder;
    int file; /* -1: there is none */
    off_t size; /* of the file */
    Text waiting; /* rows that come after that, while the disk is full */
    size_t cell; /* bytes of the last row's end: the cells behind the sixth, and the line end */
    char bits[24]; /* of the last row: its training loss in bits per byte */
    double bits_per_nat; /* per byte of the training text, and per token */
    double order0; /* of the held-out text */
    bool warned;
    float *losses;
    int count, capacity, first_step, last_step; /* of the losses */
    double drawn; /* when loss.svg was, as seconds_now() says it */
} Metrics;

/* With `file` -1 and else nothing there is no record. */
/* Begins metrics.csv; a resumed run goes on from the one beside its checkpoint, up to the
 * checkpoint's step. */
Metrics open_metrics(const Folder *folder, const Options *options, const Data *data, int last_step);
/* `tokens_per_second` is that of this step alone. */
void record_step(Metrics *metrics, const CLLMProgress *progress, double tokens_per_second);
/* Adds the validation loss, also as bits per byte, to the row of the latest step. */
void record_validation(Metrics *metrics, double loss, double bits);
/* Draws loss.svg. */
void draw_metrics(Metrics *metrics);
/* The same if the last picture is some seconds old: epochs and checkpoints can be many. */
void redraw_metrics(Metrics *metrics);
/* The loss from the first step recorded to the last, in one line. */
void print_sparkline(const Metrics *metrics);
void close_metrics(Metrics *metrics);

/* ---- Ranks: the processes that train together. train_alone.c: one; train_model_mpi.c: those of MPI ---- */

/* Call behind start_tool(). */
void join_ranks(int *argc, char ***argv);
int rank_count(void);
int rank_number(void);
/* Whether this is the one that writes files and speaks. The others are quiet. */
bool first_rank(void);
/* How a shell calls this program. */
extern const char command[];
/* Threads for this one, where so many were asked for; 0: a fair share of the machine. */
int rank_threads(int asked);
/* A signal asks it to end: safe in a handler. */
void rank_is_told_to_end(void);
/* Gives all ranks what the first one has. They make the same calls of this and the next. */
void take_from_first(void *value, size_t size);
/* Likewise a text, which may be NULL: the caller frees it. The argument is freed. */
char *text_of_first(char *text);
/* Whether any rank says so; also a place where they wait for each other. */
bool any_rank(bool here);
/* Waits for the first one, however long it takes, as all others do; of a dead one all hear. */
void wait_for_first(void);
/* fail() where the first rank was given another value of an option. */
void compare_with_first(const char *option, const char *value);
/* What the first rank made of the text, for all: the others use its files where they see them, and else
 * get a copy. `given` is the tokenizer that the rank had. */
Data share_data(Options *options, CLLMTokenizer *given, Preparation *preparation, Data data);
/* Sends bytes from one rank to another: those two call it, with the same size. */
void pass_bytes(int to, int from, void *bytes, size_t size);
/* Whether this one has something, and each other one: in `has`, by rank. */
void tell_who_has(bool here, bool *has);
/* Has the training divide its batches among the ranks. */
void connect_ranks(CLLMTraining *training, const Options *options);
/* Where checkpoints of the run appear, and the one that it began with, NULL for none: for those who are
 * told that a rank died. */
void tell_ranks_folder(const char *folder, const char *resumed);
/* Prints what they do, and at the end what it cost in `seconds` of training. */
void describe_ranks(const Options *options);
/* Whether exchanges are counted for the latter: those of training, not those of its files. */
void count_exchanges(bool on);
void report_ranks(double seconds);
/* Before the end of the program. */
void leave_ranks(void);
/* Ends the run on all ranks, from one that stands elsewhere than the others. */
__attribute__((noreturn)) void leave_all_ranks(int status);

/* ---- The run ---- */

typedef struct Run {
    const Options *options;
    const Data *data;
    CLLMModel *model;
    CLLMTraining *training;
    int batches_per_epoch;
    int epochs; /* that it has; with --minutes, at most */
    int added; /* words that are new to the model of --from */
    int first_step; /* step at which this process began */
    double epoch_loss; /* sum over the batches of this epoch that this process trained */
    int epoch_batches;
    double seconds; /* spent in training */
    double began, step_began, evaluation; /* how long the latest evaluation took */
    int evaluated_at; /* step */
    double validation_loss; /* the latest; NAN before */
    bool diverged, failed;
    Folder folder;
    ProgressBar bar;
    Metrics metrics;
} Run;

/* The end of the run's steps. */
int last_step(const Run *run);
/* CLLM_PRECISION_…: that of a new run; a run that goes on has its own. */
int precision_of(const Options *options);
/* Steps 4 and 5: model and training, made, or read where the run goes on. */
void set_up(Run *run, Origin *origin);
/* Prints them. */
void describe_training(const Run *run);
/* Saves a checkpoint of this step. Returns its path, which the caller frees; NULL if it could not be
 * saved, after a message. Nothing of it is there then. */
char *save_checkpoint_here(Run *run);
/* The model, samples of its text, and the last line. `no_more_interrupts` is called when all is saved. */
void finish(Run *run, void (*no_more_interrupts)(void));

#endif
