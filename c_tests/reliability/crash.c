/* Saving, interrupted: processes killed at random moments of a save loop, two processes and a
 * reader on one name, a disk that fills up after any number of bytes, a folder that may not be
 * written. Usage: crash [kills]. */
#include "common.h"
#include <sched.h>
#include <sys/mount.h>

#define KINDS 6
enum { MODEL, CHECKPOINT, PRODUCTION, VOCABULARY, DATASET, GENERATION };
static const char *const kinds[KINDS] = {"model",      "checkpoint", "production checkpoint",
                                         "vocabulary", "data set",   "state of a generation"};

/* What a child tells its parent. */
static volatile struct shared {
    int confirmed; /* The latest state whose save returned 0. */
    int failed;    /* Saves that returned something else. */
} *shared;

/* The objects that one process saves and loads. */
struct objects {
    CLLMModel *model;
    CLLMTraining *training;
    /* Of a model that is the same in every process and stays so. */
    CLLMModel *told;
    CLLMInference *context;
};

static struct objects make_objects(void) {
    struct objects o;
    o.model = made(50, 32, 2);
    o.training = training_of(o.model);
    float loss;
    /* Moments and an open accumulation window. */
    if (cllm_train_steps(o.training, 4, 1, &loss) != 4) abort();
    o.told = made(50, 32, 2);
    set_state(o.told, 0);
    memset(o.told->pos_encoding.learned_positions, 0, 8 * 32 * sizeof(float));
    o.context = cllm_inference_init(o.told);
    char text[500];
    if (cllm_generate(o.context, "token_5 token_6", text, sizeof text) <= 0) abort();
    return o;
}

static void free_objects(struct objects o) {
    cllm_inference_cleanup(o.context);
    cllm_free_model(o.told);
    cllm_training_free(o.training);
    cllm_free_model(o.model);
}

#define WORDS 400
#define IDS 20000

/* Saves state k of a kind; 0 or -1. */
static int save(struct objects o, int kind, int k) {
    if (kind == VOCABULARY) {
        CLLMTokenizer *t = cllm_create_tokenizer(2000);
        char word[40];
        for (int i = 0; i < WORDS; i++) {
            snprintf(word, sizeof word, "w%d_%d", k, i);
            cllm_add_token(t, word);
        }
        int status = cllm_save_vocab(t, in_scratch("file")) == 1 ? 0 : -1;
        cllm_free_tokenizer(t);
        return status;
    }
    if (kind == DATASET) {
        TokenDataset d = {0};
        static uint32_t ids[IDS];
        for (int i = 0; i < IDS; i++) ids[i] = (uint32_t)(k + i);
        d.tokens = ids;
        d.num_tokens = IDS;
        return cllm_token_dataset_save(&d, in_scratch("file")) == 1 ? 0 : -1;
    }
    if (kind == GENERATION) {
        o.context->max_tokens = o.context->top_k = k;
        return cllm_inference_save_state(o.context, in_scratch("file"));
    }
    set_state(o.model, k);
    if (kind == MODEL) return cllm_write_model(o.model, in_scratch("file"));
    o.training->current_step = k;
    o.training->best_loss = (float)k;
    size_t floats = 2 * (size_t)o.model->embeddings.vocab_size * o.model->embeddings.embedding_dim;
    for (size_t i = 0; i < floats; i++) o.training->optimizer_state[i] = value_of(k, i);
    return kind == CHECKPOINT ? cllm_save_checkpoint(o.training, in_scratch("file"))
                              : save_checkpoint(o.training, in_scratch("file"));
}

/* The state that the file wholly is; -1 where it does not load or is of no single state. */
static int load(struct objects o, int kind) {
    int k = -1;
    if (kind == VOCABULARY) {
        CLLMTokenizer *t = cllm_create_tokenizer(2000);
        char word[40];
        if (cllm_load_vocab(t, in_scratch("file")) == 1 &&
            sscanf(cllm_get_token_string(t, cllm_get_vocab_size(t) - 1), "w%d_", &k) == 1) {
            for (int i = 0; i < WORDS; i++) {
                snprintf(word, sizeof word, "w%d_%d", k, i);
                uint32_t id = cllm_get_vocab_size(t) - WORDS + (uint32_t)i;
                const char *read = cllm_get_token_string(t, id);
                if (read == NULL || strcmp(read, word) != 0) k = -1;
            }
        }
        cllm_free_tokenizer(t);
        return k;
    }
    if (kind == DATASET) {
        TokenDataset *d = cllm_token_dataset_load(in_scratch("file"));
        if (d == NULL || d->num_tokens != IDS) return -1;
        k = (int)d->tokens[0];
        for (int i = 0; i < IDS; i++) {
            if (d->tokens[i] != (uint32_t)(k + i)) k = -1;
        }
        cllm_token_dataset_free(d);
        return k;
    }
    if (kind == GENERATION) {
        if (cllm_inference_load_state(o.context, in_scratch("file")) != 0) return -1;
        k = o.context->max_tokens;
        return o.context->top_k == k ? k : -1;
    }
    if (kind == MODEL) {
        CLLMModel *m = cllm_read_model(in_scratch("file"));
        if (m == NULL) return -1;
        k = state_of(m);
        cllm_free_model(m);
        return k;
    }
    int status = kind == CHECKPOINT ? cllm_load_checkpoint(o.training, in_scratch("file"))
                                    : load_checkpoint(o.training, in_scratch("file"));
    if (status != 0) return -1;
    k = state_of(o.model);
    if (o.training->current_step != k || o.training->best_loss != (float)k) return -1;
    size_t floats = 2 * (size_t)o.model->embeddings.vocab_size * o.model->embeddings.embedding_dim;
    for (size_t i = 0; i < floats; i++) {
        if (o.training->optimizer_state[i] != value_of(k, i)) return -1;
    }
    return k;
}

/* A process that saves states from `first` on, `stride` apart, until it is killed. */
static pid_t save_for_ever(struct objects o, int kind, int first, int stride) {
    pid_t pid = fork();
    if (pid != 0) return pid;
    for (int k = first;; k += stride) {
        if (save(o, kind, k) == 0) {
            shared->confirmed = k;
        } else {
            shared->failed++;
        }
    }
}

static void end(pid_t pid) {
    int status;
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* After each kill the file is wholly the last state that was confirmed, or the one after it. */
static void kills(int rounds) {
    struct objects o = make_objects(), reader = make_objects();
    int whole[KINDS] = {0}, later = 0, stale = 0;
    for (int kind = 0; kind < KINDS; kind++) {
        empty_folder();
        CHECK(save(o, kind, 0) == 0);
        shared->confirmed = 0;
        shared->failed = 0;
        for (int i = 0; i < rounds; i++) {
            int first = shared->confirmed + 2;
            pid_t pid = save_for_ever(o, kind, first, 1);
            usleep((unsigned)(rand() % 12000));
            end(pid);
            int k = load(reader, kind), confirmed = shared->confirmed;
            int next = confirmed < first ? first : confirmed + 1;
            whole[kind] += k == confirmed || k == next;
            later += k == next;
            if (k != confirmed && k != next) {
                fprintf(stderr, "%s, kill %d: state %d, confirmed %d\n", kinds[kind], i, k,
                        confirmed);
            }
            shared->confirmed = k > confirmed ? k : confirmed;
            CHECK(k == confirmed || k == next);
        }
        CHECK(shared->failed == 0);
        stale += entries(".cllm-");
        /* Beside all the stale temporary files: saving and loading go on. */
        int k = shared->confirmed + 1;
        CHECK(save(o, kind, k) == 0 && load(reader, kind) == k);
        fprintf(stderr, "%s: %d of %d kills left one whole state\n", kinds[kind], whole[kind],
                rounds);
    }
    fprintf(stderr, "%d files were renamed, but not yet confirmed; %d stale temporaries\n", later,
            stale);
    free_objects(reader);
    free_objects(o);
    empty_folder();
}

/* Two processes save even and odd states to one name; a reader never sees anything else. */
static void two_writers_and_a_reader(int reads) {
    struct objects o = make_objects(), reader = make_objects();
    for (int kind = 0; kind < KINDS; kind++) {
        empty_folder();
        CHECK(save(o, kind, 0) == 0);
        shared->failed = 0;
        pid_t even = save_for_ever(o, kind, 2, 2), odd = save_for_ever(o, kind, 1, 2);
        int parities[2] = {0}, bad = 0;
        for (int i = 0; i < reads; i++) {
            int k = load(reader, kind);
            if (k < 0) {
                bad++;
            } else {
                parities[k % 2]++;
            }
            usleep((unsigned)(rand() % 2000));
        }
        end(even);
        end(odd);
        CHECK(bad == 0);
        CHECK(shared->failed == 0);
        CHECK(load(reader, kind) >= 0);
        fprintf(stderr, "%s: two writers, %d reads of one and %d of the other, %d of neither\n",
                kinds[kind], parities[0], parities[1], bad);
    }
    free_objects(reader);
    free_objects(o);
    empty_folder();
}

/* A save in a child that may write `limit` bytes to a file; its status. */
static int save_within(struct objects o, int kind, rlim_t limit) {
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit r = {limit, limit};
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &r);
        int status = save(o, kind, 7);
        const char *why = cllm_last_error();
        _exit(status == 0 ? 0 : status == -1 && strstr(why, scratch) != NULL ? 1 : 2);
    }
    int status;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 99;
}

/* Writes fail after any number of bytes: an error that names the file, the old state, no
 * temporary file. */
static void full_disk(int cuts) {
    struct objects o = make_objects(), reader = make_objects();
    int refused = 0;
    for (int kind = 0; kind < KINDS; kind++) {
        empty_folder();
        CHECK(save(o, kind, 3) == 0);
        int files = entries("");
        struct stat s, model = {0}, after = {0};
        CHECK(stat(kind == CHECKPOINT ? in_scratch("file.state") : in_scratch("file"), &s) == 0);
        /* Of a checkpoint neither file is replaced before both are on the disk. */
        const char *beside = kind == CHECKPOINT ? "file" : "file.model";
        bool pair = stat(in_scratch(beside), &model) == 0;
        for (int i = 0; i < cuts; i++) {
            rlim_t limit = (rlim_t)(s.st_size * i / cuts);
            CHECK(save_within(o, kind, limit) == 1);
            CHECK(entries("") == files);
            CHECK(load(reader, kind) == 3);
            CHECK(!pair || (stat(in_scratch(beside), &after) == 0 && after.st_ino == model.st_ino));
            refused++;
        }
        CHECK(save_within(o, kind, 4 * (rlim_t)s.st_size) == 0);
        CHECK(load(reader, kind) == 7);
    }
    CHECK(cllm_write_model(o.model, "/dev/full") == -1);
    CHECK(cllm_save_checkpoint(o.training, "/dev/full") == -1);
    CHECK(save_checkpoint(o.training, "/dev/full") == -1);
    fprintf(stderr, "%d saves met a full disk\n", refused);
    free_objects(reader);
    free_objects(o);
    empty_folder();
}

/* A file system that is really full, where the test may mount one: in a child, which alone sees
 * it. Status 77 where it may not. */
static int on_a_full_file_system(void) {
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("cllm", scratch, "tmpfs", 0, "size=8m") != 0) {
        return 77;
    }
    struct objects o = make_objects(), reader = make_objects();
    for (int kind = 0; kind < KINDS; kind++) {
        empty_folder();
        CHECK(save(o, kind, 3) == 0);
        /* All the room but some pages goes to another file. */
        int filler = open(in_scratch("filler"), O_CREAT | O_WRONLY, 0600);
        char page[4096] = {1};
        int pages = 0;
        while (write(filler, page, sizeof page) == (ssize_t)sizeof page) pages++;
        struct stat saved;
        CHECK(stat(in_scratch("file"), &saved) == 0);
        /* With no page left, and with one where the file needs more. */
        for (int left = 0; left < 2 && left * 4096 < saved.st_size; left++) {
            CHECK(ftruncate(filler, (off_t)(pages - left) * 4096) == 0);
            int files = entries("");
            CHECK(save(o, kind, 4) == -1);
            CHECK(strstr(cllm_last_error(), "No space left") != NULL);
            CHECK(strstr(cllm_last_error(), scratch) != NULL);
            CHECK(entries("") == files);
            CHECK(load(reader, kind) == 3);
        }
        close(filler);
        unlink(in_scratch("filler"));
        CHECK(save(o, kind, 5) == 0 && load(reader, kind) == 5);
    }
    free_objects(reader);
    free_objects(o);
    return 0;
}

static void full_file_system(void) {
    int ends[2], counts[2] = {0, 1};
    if (pipe(ends) != 0) exit(3);
    pid_t pid = fork();
    if (pid == 0) {
        harness_passed = harness_failed = 0;
        int status = on_a_full_file_system();
        counts[0] = harness_passed;
        counts[1] = harness_failed;
        if (write(ends[1], counts, sizeof counts) != (ssize_t)sizeof counts) status = 5;
        _exit(status);
    }
    close(ends[1]);
    if (read(ends[0], counts, sizeof counts) != (ssize_t)sizeof counts) counts[1] = 1;
    close(ends[0]);
    int status;
    waitpid(pid, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        fprintf(stderr, "a full file system was left out: this user may not mount one\n");
        return;
    }
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    harness_passed += counts[0];
    harness_failed += counts[1];
    fprintf(stderr, "%d saves met a file system that was full\n", 2 * KINDS);
}

static void unwritable_folder(void) {
    struct objects o = make_objects(), reader = make_objects();
    for (int kind = 0; kind < KINDS; kind++) {
        empty_folder();
        CHECK(save(o, kind, 3) == 0);
        int files = entries("");
        chmod(scratch, 0555);
        pid_t pid = fork();
        if (pid == 0) {
            if (geteuid() == 0 && setuid(65534) != 0) _exit(0);
            _exit(save(o, kind, 4) == -1 ? 0 : 1);
        }
        int status;
        waitpid(pid, &status, 0);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        chmod(scratch, 0755);
        CHECK(entries("") == files);
        CHECK(load(reader, kind) == 3);
    }
    free_objects(reader);
    free_objects(o);
    empty_folder();
}

int main(int argc, char **argv) {
    int rounds = argc > 1 ? atoi(argv[1]) : 60;
    scratch_make();
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) return 3;
    srand((unsigned)getpid());
    cllm_set_log_silent();
    kills(rounds / KINDS);
    two_writers_and_a_reader(rounds / 5);
    full_disk(rounds < 100 ? 5 : 40);
    RUN(full_file_system);
    RUN(unwritable_folder);
    rmdir(scratch);
    return harness_report();
}
