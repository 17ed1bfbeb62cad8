/* Valid small files of every kind, cut at every byte and with every byte changed, loaded in a
 * process that may take little memory: refused with a message that names the file, or loaded as
 * documented; never a crash, never a partly filled object. */
#include "common.h"

enum verdict { REFUSED, SAME, OTHER };

struct kind {
    const char *name;
    const char *file;
    enum verdict (*try)(void);
    /* Whether checksums find every change; the others are files without any. */
    bool checked;
    /* Whether the file may be shorter and be a file still. */
    bool prefixes;
};

static CLLMModel *model;
static CLLMTraining *training;
static float *weights; /* The model's, as they were saved. */
static uint64_t num_weights;

static enum verdict try_model(void) {
    CLLMModel *m = cllm_read_model(in_scratch("m.cllm"));
    if (cllm_validate(in_scratch("m.cllm")) != (m != NULL)) abort();
    if (m == NULL) return REFUSED;
    bool same = m->num_weights == num_weights &&
                memcmp(m->weights, weights, m->num_weights * sizeof(float)) == 0;
    for (uint64_t i = 0; i < m->num_weights; i++) {
        if (!isfinite(m->weights[i])) abort();
    }
    cllm_free_model(m);
    return same ? SAME : OTHER;
}

/* Loads a checkpoint over other weights: all of them change, or none does. */
static enum verdict try_checkpoint(bool production) {
    size_t n = model->num_weights;
    for (size_t i = 0; i < n; i++) model->weights[i] = 5;
    training->current_step = -77;
    int status = production ? load_checkpoint(training, in_scratch("p"))
                            : cllm_load_checkpoint(training, in_scratch("c"));
    if (status != 0) {
        for (size_t i = 0; i < n; i++) {
            if (model->weights[i] != 5) abort();
        }
        if (training->current_step != -77) abort();
        return REFUSED;
    }
    return memcmp(model->weights, weights, n * sizeof(float)) == 0 ? SAME : OTHER;
}

static enum verdict try_state(void) { return try_checkpoint(false); }
static enum verdict try_production(void) { return try_checkpoint(true); }

static const char *const words[] = {"one", "two", "na\xc3\xafve", "four", "x"};

/* A new tokenizer has its five special words. */
#define SPECIAL 5
#define WORDS 5

static enum verdict try_vocabulary(void) {
    CLLMTokenizer *t = cllm_create_tokenizer(50);
    enum verdict v = REFUSED;
    if (cllm_load_vocab(t, in_scratch("vocab.txt")) == 1) {
        v = cllm_get_vocab_size(t) == SPECIAL + WORDS ? SAME : OTHER;
        for (uint32_t i = SPECIAL; i < cllm_get_vocab_size(t); i++) {
            const char *word = cllm_get_token_string(t, i);
            if (word == NULL) abort();
            if (i >= SPECIAL + WORDS || strcmp(word, words[i - SPECIAL]) != 0) v = OTHER;
        }
    } else if (cllm_get_vocab_size(t) != SPECIAL) {
        abort();
    }
    cllm_free_tokenizer(t);
    return v;
}

#define IDS 60

static enum verdict try_dataset(void) {
    TokenDataset *d = cllm_token_dataset_load(in_scratch("dataset.bin"));
    if (d == NULL) return REFUSED;
    if (d->num_tokens > IDS) abort();
    int different = 0;
    for (size_t i = 0; i < d->num_tokens; i++) different += d->tokens[i] != i * i;
    enum verdict v = d->num_tokens == IDS && different == 0 ? SAME : OTHER;
    if (different > 1) abort();
    cllm_token_dataset_free(d);
    return v;
}

static const struct kind kinds[] = {
    {"model with extension", "m.cllm", try_model, true, false},
    {"model as the original wrote it", "m.cllm", try_model, false, false},
    {".state of a checkpoint", "c.state", try_state, true, false},
    {"checkpoint of cllm_production", "p", try_production, true, false},
    {"vocab.txt", "vocab.txt", try_vocabulary, false, true},
    {"dataset.bin", "dataset.bin", try_dataset, false, false},
};

/* Writes the file of a kind and keeps what it holds. */
static void make(const struct kind *k) {
    if (k == &kinds[0] || k == &kinds[1]) {
        CHECK(cllm_write_model(model, in_scratch("m.cllm")) == 0);
    }
    if (k == &kinds[1]) {
        /* What an original file is: header and body, nothing in `reserved`. */
        size_t size;
        unsigned char *bytes = contents(in_scratch("m.cllm"), &size);
        uint64_t end;
        memcpy(&end, bytes + 1400, 8);
        memset(bytes + 1384, 0, 192);
        put(in_scratch("m.cllm"), bytes, end);
        free(bytes);
        CLLMModel *m = cllm_read_model(in_scratch("m.cllm"));
        CHECK(m != NULL);
        num_weights = m->num_weights;
        memcpy(weights, m->weights, num_weights * sizeof(float));
        cllm_free_model(m);
        return;
    }
    num_weights = model->num_weights;
    memcpy(weights, model->weights, num_weights * sizeof(float));
    CHECK(cllm_save_checkpoint(training, in_scratch("c")) == 0);
    CHECK(save_checkpoint(training, in_scratch("p")) == 0);
    CLLMTokenizer *t = cllm_create_tokenizer(50);
    for (int i = 0; i < WORDS; i++) cllm_add_token(t, words[i]);
    CHECK(cllm_save_vocab(t, in_scratch("vocab.txt")) == 1);
    cllm_free_tokenizer(t);
    uint32_t ids[IDS];
    for (uint32_t i = 0; i < IDS; i++) ids[i] = i * i;
    TokenDataset d = {.tokens = ids, .num_tokens = IDS};
    CHECK(cllm_token_dataset_save(&d, in_scratch("dataset.bin")) == 1);
}

static long memory_now(void) {
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f == NULL || fscanf(f, "%ld", &pages) != 1) abort();
    fclose(f);
    return pages * sysconf(_SC_PAGESIZE);
}

/* Memory that loading may take: the position tables of a file of the original are zeros that it
 * does not hold, up to 256 MiB (src/limits.rs); else a small multiple of the file. */
static void limit_memory(const struct kind *k) {
    rlim_t more = (k == &kinds[1] ? 300 : 16) * (rlim_t)1024 * 1024;
    rlim_t bytes = (rlim_t)memory_now() + more;
    struct rlimit r = {bytes, bytes};
#ifdef __SANITIZE_ADDRESS__
    (void)r; /* The sanitizer's own memory goes far beyond it. */
#else
    if (setrlimit(RLIMIT_AS, &r) != 0) abort();
#endif
}

static enum verdict judged(const struct kind *k, const unsigned char *bytes, size_t size) {
    put(in_scratch(k->file), bytes, size);
    enum verdict v = k->try();
    if (v == REFUSED && strstr(cllm_last_error(), scratch) == NULL) {
        fprintf(stderr, "%s: the message is \"%s\"\n", k->name, cllm_last_error());
        CHECK(!"a message that names the file");
    }
    return v;
}

static void damage(const struct kind *k) {
    make(k);
    size_t size;
    unsigned char *bytes = contents(in_scratch(k->file), &size);
    limit_memory(k);
    int cuts[3] = {0}, flips[3] = {0};
    CHECK(judged(k, bytes, size) == SAME);
    for (size_t n = 0; n < size; n++) {
        enum verdict v = judged(k, bytes, n);
        cuts[v]++;
        CHECK(v == REFUSED || k->prefixes);
    }
    static const unsigned char masks[] = {0x01, 0x10, 0x80, 0xff};
    for (size_t i = 0; i < size; i++) {
        for (size_t j = 0; j < sizeof masks; j++) {
            bytes[i] ^= masks[j];
            enum verdict v = judged(k, bytes, size);
            flips[v]++;
            CHECK(v == REFUSED || !k->checked);
            bytes[i] ^= masks[j];
        }
    }
    CHECK(judged(k, bytes, size) == SAME);
    fprintf(stderr,
            "%s: %zu bytes; %d cuts: %d refused; %d changed bytes: %d refused, %d without "
            "meaning, %d loaded as they stand\n",
            k->name, size, cuts[REFUSED] + cuts[SAME] + cuts[OTHER], cuts[REFUSED],
            flips[REFUSED] + flips[SAME] + flips[OTHER], flips[REFUSED], flips[SAME],
            flips[OTHER]);
    free(bytes);
}

int main(void) {
    cllm_set_log_silent();
    unsigned passed = 0, failed = 0;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        int ends[2];
        unsigned counts[2] = {0, 1};
        if (pipe(ends) != 0) return 3;
        pid_t pid = fork();
        if (pid == 0) {
            if (access("/dev/shm", W_OK) == 0) scratch_make_in("/dev/shm");
            else scratch_make();
            CLLMConfig config = {4, 2, 1, 2, 8, 2, 0};
            model = cllm_create_model(&config);
            training = training_of(model);
            training->config.sequence_length = 2;
            float loss;
            if (cllm_train_steps(training, 4, 1, &loss) != 4) _exit(4);
            weights = malloc(model->num_weights * sizeof(float));
            damage(&kinds[i]);
            empty_folder();
            rmdir(scratch);
            counts[0] = (unsigned)harness_passed;
            counts[1] = (unsigned)harness_failed;
            if (write(ends[1], counts, sizeof counts) != (ssize_t)sizeof counts) _exit(5);
            _exit(0);
        }
        close(ends[1]);
        if (read(ends[0], counts, sizeof counts) != (ssize_t)sizeof counts) counts[1] = 1;
        close(ends[0]);
        int status;
        waitpid(pid, &status, 0);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
            fprintf(stderr, "%s: the process ended with %x\n", kinds[i].name, status);
            counts[1]++;
        }
        passed += counts[0];
        failed += counts[1];
    }
    return print_counts(passed, failed);
}
