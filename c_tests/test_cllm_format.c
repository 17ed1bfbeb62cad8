/* cllm_format.h: the functions about files. Run from the top of the tree, or with the path of
 * tests/data as argument. */
#define _GNU_SOURCE
#include "scratch.h"

#include "cllm_format.h"
#include "cllm_utils.h"
#include "harness.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *data = "tests/data";

static const char *fixture(const char *name) {
    static char path[512];
    snprintf(path, sizeof path, "%s/v1/%s", data, name);
    return path;
}

static int files_in_scratch(void) {
    int n = 0;
    DIR *d = opendir(scratch);
    for (struct dirent *e; (e = readdir(d)) != NULL;) n += e->d_name[0] != '.' || strlen(e->d_name) > 2;
    closedir(d);
    return n;
}

static long file_size(const char *path) {
    struct stat s;
    return stat(path, &s) == 0 ? (long)s.st_size : -1;
}

static unsigned char *contents(const char *path, long *size) {
    *size = file_size(path);
    FILE *f = fopen(path, "rb");
    unsigned char *bytes = malloc((size_t)*size + 1);
    if (f == NULL || bytes == NULL || fread(bytes, 1, (size_t)*size, f) != (size_t)*size) exit(3);
    fclose(f);
    return bytes;
}

static void put(const char *path, const void *bytes, size_t size) {
    FILE *f = fopen(path, "wb");
    if (f == NULL || fwrite(bytes, 1, size, f) != size) exit(3);
    fclose(f);
}

static CLLMModel *create(uint32_t v, uint32_t d, uint32_t l, uint32_t h) {
    CLLMConfig config = {v, d, l, h, 4 * d, 16, 0.0f};
    return cllm_create_model(&config);
}

static float *filled(size_t n, float start) {
    float *x = malloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = start + (float)i;
    return x;
}

/* A model assembled by hand, its model->embedding_dim 0 and everything but E missing. */
static CLLMModel *hand_made(void) {
    CLLMModel *m = calloc(1, sizeof *m);
    m->vocab_size = 4;
    m->num_layers = 2;
    m->embeddings.vocab_size = 4;
    m->embeddings.embedding_dim = 6;
    m->embeddings.embeddings = filled(24, 1.0f);
    return m;
}

static void round_trip(void) {
    CLLMModel *m = create(50, 32, 2, 4);
    strcpy(m->header.model_name, "a model");
    strcpy(m->header.description, "of a test");
    strcpy(m->tokens[7].token_str, "seven");
    m->tokens[7].frequency = 70;
    m->layer_norms[3].gamma[5] = 0.25f;
    m->layer_norms[3].beta[31] = -2.0f;
    CHECK(cllm_write_model(m, in_scratch("m.cllm")) == 0);
    CHECK(cllm_validate(in_scratch("m.cllm")));
    CLLMModel *r = cllm_read_model(in_scratch("m.cllm"));
    CHECK(r != NULL);
    CHECK(r->vocab_size == 50 && r->embedding_dim == 32 && r->num_layers == 2);
    CHECK(r->header.num_heads == 4 && r->header.context_length == 16);
    CHECK(r->header.symmetry_order == 12 && r->header.architecture == 2);
    CHECK(memcmp(r->header.magic, "CLLM\1\0\0", 8) == 0);
    CHECK(strcmp(r->header.model_name, "a model") == 0);
    CHECK(strcmp(r->header.description, "of a test") == 0);
    CHECK(r->header.created_timestamp != 0 && r->header.timestamp == r->header.modified_timestamp);
    CHECK(r->num_weights == m->num_weights && r->header.total_params == m->num_weights);
    CHECK(memcmp(r->weights, m->weights, m->num_weights * sizeof(float)) == 0);
    CHECK(memcmp(r->pos_encoding.learned_positions, m->pos_encoding.learned_positions,
                 16 * 32 * sizeof(float)) == 0);
    CHECK(strcmp(r->tokens[7].token_str, "seven") == 0 && r->tokens[7].frequency == 70);
    CHECK(strcmp(r->tokens[8].token_str, "token_8") == 0);
    CHECK(cllm_validate_model(r) == 1);
    cllm_free(r);
    cllm_free(m);
}

/* DEFECT: heads and context were written as 8 and 512, which made D 30, H 3 unreadable. */
static void heads_and_context_are_true(void) {
    CLLMModel *m = create(9, 30, 1, 3);
    CHECK(cllm_write_model(m, in_scratch("m.cllm")) == 0);
    CLLMModel *r = cllm_read_model(in_scratch("m.cllm"));
    CHECK(r != NULL && r->attention_layers[0].num_heads == 3);
    CHECK(r->attention_layers[0].head_dim == 10 && r->pos_encoding.max_length == 16);
    cllm_free(r);
    cllm_free(m);
}

static void checkpoints_are_model_files(void) {
    CLLMModel *m = create(9, 8, 1, 2);
    CHECK(cllm_write_checkpoint(in_scratch("c.cllm"), m) == 0);
    CLLMModel *r = cllm_read_checkpoint(in_scratch("c.cllm"));
    CHECK(r != NULL && memcmp(r->weights, m->weights, m->num_weights * sizeof(float)) == 0);
    CHECK(cllm_write_checkpoint(NULL, m) == -1);
    CHECK(cllm_write_checkpoint(in_scratch("c.cllm"), NULL) == -1);
    CHECK(cllm_read_checkpoint(NULL) == NULL);
    cllm_free(r);
    cllm_free(m);
}

static void original_files(void) {
    const char *names[] = {"model_v37_d24_l3.cllm", "model_v100_d64_l2.cllm",
                           "model_v1000_d128_l4.cllm", "minimal/final_model.cllm"};
    for (int i = 0; i < 4; i++) {
        CHECK(cllm_validate(fixture(names[i])));
        CLLMModel *m = cllm_read_model(fixture(names[i]));
        CHECK(m != NULL && cllm_validate_model(m) == 1);
        if (m == NULL) continue;
        long size;
        unsigned char *bytes = contents(fixture(names[i]), &size);
        /* The floats stand in the block of weights in the order of the file. */
        CHECK(memcmp(m->weights, bytes + 1576, (size_t)size - 1576) == 0);
        CHECK(m->ff_layers[0].hidden_dim == 4 * m->embeddings.embedding_dim);
        CHECK(m->layer_norms[0].gamma[0] == 1.0f && m->layer_norms[0].beta[0] == 0.0f);
        CHECK(m->pos_encoding.max_length == 512 && m->pos_encoding.prime_positions[511] == 0.0f);
        /* DEFECT: a file that was cut short was filled up with random weights. */
        put(in_scratch("cut.cllm"), bytes, (size_t)size - 4);
        CHECK(cllm_read_model(in_scratch("cut.cllm")) == NULL);
        CHECK(!cllm_validate(in_scratch("cut.cllm")));
        free(bytes);
        cllm_free_model(m);
    }
    unlink(in_scratch("cut.cllm"));
}

/* DEFECTS: sizes that wrap or ask for memory that the file does not bear out. */
static void hostile_headers(void) {
    long size;
    unsigned char *bytes = contents(fixture("minimal/final_model.cllm"), &size);
    struct { int offset; uint64_t value; int width; } cases[] = {
        {1296, 1000000, 8}, {1296, 0, 8}, {1296, UINT64_MAX, 8}, {1312, 10000, 8}, {1312, 0, 8},
        {1312, (uint64_t)1 << 32 | 32, 8}, {1320, 100, 8}, {1320, 101, 8}, {1320, 0, 8},
        {1352, 0, 4}, {1352, 7, 4}, {1352, UINT32_MAX, 4}, {1356, UINT32_MAX, 4},
        {1356, 1 << 28, 4}, {8, 0, 4}, {8, 101, 4}, {0, 0, 4}, {1384, 1, 4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        unsigned char saved[8];
        memcpy(saved, bytes + cases[i].offset, 8);
        memcpy(bytes + cases[i].offset, &cases[i].value, (size_t)cases[i].width);
        put(in_scratch("h.cllm"), bytes, (size_t)size);
        CHECK(cllm_read_model(in_scratch("h.cllm")) == NULL);
        CHECK(!cllm_validate(in_scratch("h.cllm")));
        memcpy(bytes + cases[i].offset, saved, 8);
    }
    float nan_value = NAN;
    memcpy(bytes + 5032, &nan_value, 4);
    put(in_scratch("h.cllm"), bytes, (size_t)size);
    CHECK(cllm_read_model(in_scratch("h.cllm")) == NULL);
    unlink(in_scratch("h.cllm"));
    free(bytes);
}

/* The original wrote 8 heads for every model, and could not read its own file then. */
static void eight_heads_that_do_not_divide(void) {
    CLLMModel *m = create(9, 30, 1, 3);
    CHECK(cllm_write_model(m, in_scratch("v1.cllm")) == 0);
    long size;
    unsigned char *bytes = contents(in_scratch("v1.cllm"), &size);
    uint64_t end;
    memcpy(&end, bytes + 1400, 8);
    memset(bytes + 1384, 0, 192);
    bytes[1352] = 8;
    put(in_scratch("v1.cllm"), bytes, end);
    CLLMModel *r = cllm_read_model(in_scratch("v1.cllm"));
    CHECK(r != NULL && r->header.num_heads == 6);
    CHECK(r != NULL && r->attention_layers[0].num_heads == 6 && r->attention_layers[0].head_dim == 5);
    CHECK(r != NULL && memcmp(r->weights, bytes + 1576, end - 1576) == 0);
    cllm_free(r);
    free(bytes);
    cllm_free(m);
}

static void hand_made_models(void) {
    CLLMModel *m = hand_made();
    CHECK(cllm_validate_model(m) == 0);
    CHECK(cllm_write_model(m, in_scratch("h.cllm")) == 0);
    CLLMModel *r = cllm_read_model(in_scratch("h.cllm"));
    CHECK(r != NULL && r->embedding_dim == 6 && r->num_layers == 2);
    CHECK(memcmp(r->embeddings.embeddings, m->embeddings.embeddings, 24 * sizeof(float)) == 0);
    CHECK(r->attention_layers[1].query_lattice == NULL && r->ff_layers[0].w1_lattice == NULL);
    CHECK(r->pos_encoding.learned_positions == NULL);
    cllm_free(r);

    /* Per-head matrices have H * hd * hd floats, no more may be read (valgrind, ASan). */
    m->attention_layers = calloc(2, sizeof(AttentionLayer));
    for (int l = 0; l < 2; l++) {
        AttentionLayer *a = &m->attention_layers[l];
        a->num_heads = 3;
        a->head_dim = 2;
        a->query_lattice = filled(12, 1.0f);
        a->key_lattice = filled(12, 2.0f);
        a->value_lattice = filled(12, 3.0f);
    }
    CHECK(cllm_write_model(m, in_scratch("h.cllm")) == 0);
    r = cllm_read_model(in_scratch("h.cllm"));
    CHECK(r != NULL && r->attention_layers[1].num_heads == 3);
    CHECK(memcmp(r->attention_layers[1].value_lattice, m->attention_layers[1].value_lattice,
                 12 * sizeof(float)) == 0);
    CHECK(r->attention_layers[1].value_lattice[12] == 0.0f);
    cllm_free(r);

    /* Shared blocks are freed once. */
    free(m->attention_layers[1].key_lattice);
    m->attention_layers[1].key_lattice = m->attention_layers[0].key_lattice;
    cllm_free(m);
}

static void incomplete_models(void) {
    CHECK(cllm_validate_model(NULL) == 0);
    CLLMModel *m = create(4, 4, 2, 2);
    CHECK(cllm_validate_model(m) == 1);
    float **parts[] = {&m->embeddings.embeddings, &m->attention_layers[1].query_lattice,
                       &m->attention_layers[0].key_lattice, &m->attention_layers[1].value_lattice,
                       &m->ff_layers[0].w1_lattice, &m->ff_layers[1].w2_lattice};
    for (int i = 0; i < 6; i++) {
        float *part = *parts[i];
        *parts[i] = NULL;
        CHECK(cllm_validate_model(m) == 0);
        CHECK(cllm_write_model(m, in_scratch("i.cllm")) == 0);
        CLLMModel *r = cllm_read_model(in_scratch("i.cllm"));
        CHECK(r != NULL);
        cllm_free(r);
        *parts[i] = part;
    }
    m->ff_layers[0].bias1 = NULL;
    m->layer_norms[0].gamma = NULL;
    CHECK(cllm_validate_model(m) == 1);
    unlink(in_scratch("i.cllm"));
    cllm_free(m);
}

static void wrong_arguments(void) {
    CLLMModel *m = create(4, 4, 1, 2);
    CHECK(cllm_read_model(NULL) == NULL);
    CHECK(cllm_read_model("") == NULL);
    CHECK(cllm_read_model(scratch) == NULL);
    CHECK(cllm_read_model(in_scratch("none")) == NULL);
    CHECK(!cllm_validate(NULL) && !cllm_validate("") && !cllm_validate(scratch));
    CHECK(!cllm_validate(in_scratch("none")));
    CHECK(cllm_write_model(NULL, in_scratch("none")) == -1);
    CHECK(cllm_write_model(m, NULL) == -1);
    CHECK(cllm_write_model(m, "") == -1);
    CHECK(cllm_write_model(m, scratch) == -1);
    CHECK(cllm_write_model(m, in_scratch("no/such/folder")) == -1);
    /* DEFECT: a full disk was reported as success. */
    CHECK(cllm_write_model(m, "/dev/full") == -1);
    CHECK(file_size(in_scratch("none")) == -1);
    put(in_scratch("short"), "CLLM", 4);
    CHECK(cllm_read_model(in_scratch("short")) == NULL && !cllm_validate(in_scratch("short")));
    unlink(in_scratch("short"));
    cllm_free(NULL);
    cllm_free(m);
    /* Freed already: a message, nothing else. */
    cllm_free(m);
    CHECK(cllm_write_model(m, in_scratch("none")) == -1);
}

/* Runs `body` in a child; its exit status. */
static int in_child(int (*body)(CLLMModel *), CLLMModel *m) {
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) _exit(body(m));
    int status = -1;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int with_full_disk(CLLMModel *m) {
    struct rlimit limit = {2000, 2000};
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    return cllm_write_model(m, in_scratch("keep.cllm")) == -1 ? 0 : 1;
}

static int without_permission(CLLMModel *m) {
    if (geteuid() == 0 && setuid(65534) != 0) return 0;
    return cllm_write_model(m, in_scratch("keep.cllm")) == -1 ? 0 : 1;
}

static void the_old_file_stays(void) {
    CLLMModel *m = create(20, 16, 1, 2);
    CHECK(cllm_write_model(m, in_scratch("keep.cllm")) == 0);
    long size, after;
    unsigned char *before = contents(in_scratch("keep.cllm"), &size);
    int files = files_in_scratch();
    CHECK(size > 2000);
    CHECK(in_child(with_full_disk, m) == 0);
    chmod(scratch, 0555);
    CHECK(in_child(without_permission, m) == 0);
    chmod(scratch, 0755);
    unsigned char *bytes = contents(in_scratch("keep.cllm"), &after);
    CHECK(after == size && memcmp(bytes, before, (size_t)size) == 0);
    CHECK(files_in_scratch() == files);
    free(bytes);
    free(before);
    cllm_free(m);
}

static void modes_and_links(void) {
    CLLMModel *m = create(4, 4, 1, 2);
    struct stat s;
    mode_t mask = umask(027);
    CHECK(cllm_write_model(m, in_scratch("mode.cllm")) == 0);
    umask(mask);
    CHECK(stat(in_scratch("mode.cllm"), &s) == 0 && (s.st_mode & 0777) == 0640);
    chmod(in_scratch("mode.cllm"), 0604);
    CHECK(symlink("mode.cllm", in_scratch("link.cllm")) == 0);
    CHECK(cllm_write_model(m, in_scratch("link.cllm")) == 0);
    CHECK(stat(in_scratch("mode.cllm"), &s) == 0 && (s.st_mode & 0777) == 0604);
    CHECK(lstat(in_scratch("link.cllm"), &s) == 0 && S_ISLNK(s.st_mode));
    unlink(in_scratch("link.cllm"));
    unlink(in_scratch("mode.cllm"));
    cllm_free(m);
}

static int save_for_ever(CLLMModel *m) {
    for (;;) {
        if (cllm_write_model(m, in_scratch("race.cllm")) != 0) return 1;
    }
}

/* Two processes save to one name, are killed at some moment, and leave a whole file; a reader
 * beside them never sees half of one. */
static void kills_and_races(void) {
    CLLMModel *models[2] = {create(30, 16, 2, 2), create(40, 24, 1, 3)};
    CHECK(cllm_write_model(models[0], in_scratch("race.cllm")) == 0);
    fflush(NULL);
    int whole = 0, rounds = 20, reads = 5;
    for (int round = 0; round < rounds; round++) {
        pid_t pids[2];
        for (int i = 0; i < 2; i++) {
            if ((pids[i] = fork()) == 0) _exit(save_for_ever(models[i]));
        }
        for (int i = 0; i < reads; i++) {
            CLLMModel *r = cllm_read_model(in_scratch("race.cllm"));
            if (r == NULL) continue;
            CLLMModel *m = r->num_layers == 2 ? models[0] : models[1];
            whole += r->num_weights == m->num_weights &&
                     memcmp(r->weights, m->weights, m->num_weights * sizeof(float)) == 0;
            cllm_free(r);
            usleep((unsigned)(rand() % 3000));
        }
        for (int i = 0; i < 2; i++) {
            kill(pids[i], SIGKILL);
            waitpid(pids[i], NULL, 0);
        }
        whole += cllm_validate(in_scratch("race.cllm"));
    }
    CHECK(whole == rounds * (reads + 1));
    cllm_free(models[0]);
    cllm_free(models[1]);
}

/* Everything after the header depends on the model alone. */
static void times_stand_in_the_header(void) {
    CLLMModel *m = create(6, 8, 1, 2);
    long a_size, b_size;
    CHECK(cllm_write_model(m, in_scratch("t.cllm")) == 0);
    unsigned char *a = contents(in_scratch("t.cllm"), &a_size);
    m->header.created_timestamp = 12345;
    m->training_meta.timestamp = 67890;
    CHECK(cllm_write_model(m, in_scratch("t.cllm")) == 0);
    unsigned char *b = contents(in_scratch("t.cllm"), &b_size);
    CHECK(a_size == b_size && memcmp(a + 1576, b + 1576, (size_t)a_size - 1576) == 0);
    CHECK(memcmp(a, b, 1576) != 0);
    CLLMModel *r = cllm_read_model(in_scratch("t.cllm"));
    CHECK(r->header.created_timestamp == 12345 && r->training_meta.timestamp == 67890);
    cllm_free(r);
    free(a);
    free(b);
    cllm_free(m);
}

int main(int argc, char **argv) {
    if (argc > 1) data = argv[1];
    scratch_make();
    RUN(round_trip);
    RUN(heads_and_context_are_true);
    RUN(checkpoints_are_model_files);
    RUN(original_files);
    RUN(hostile_headers);
    RUN(eight_heads_that_do_not_divide);
    RUN(hand_made_models);
    RUN(incomplete_models);
    RUN(wrong_arguments);
    RUN(the_old_file_stays);
    RUN(modes_and_links);
    RUN(kills_and_races);
    RUN(times_stand_in_the_header);
    CHECK(scratch_remove() == 0);
    return harness_report();
}
