/* Threads, fork(), misuse that C programs commit, numbers at the edge. */
#include "common.h"
#include <pthread.h>

#include "cllm_vocab_builder.h"

#define VOCAB 40

static CLLMModel *shared_model;

/* Logits of a fixed prompt, then a text. */
struct answer {
    float logits[VOCAB];
    char text[512];
    int tokens;
};

static struct answer ask(CLLMInference *c, uint64_t seed) {
    struct answer a = {0};
    uint32_t prompt[] = {5, 9, 1, 30};
    cllm_forward(c, prompt, 4);
    memcpy(a.logits, c->logits, sizeof a.logits);
    cllm_set_seed(c, seed);
    cllm_set_max_tokens(c, 12);
    a.tokens = cllm_generate(c, "token_5 token_9", a.text, sizeof a.text);
    return a;
}

static bool same(const struct answer *a, const struct answer *b) {
    return memcmp(a->logits, b->logits, sizeof a->logits) == 0 && strcmp(a->text, b->text) == 0 &&
           a->tokens == b->tokens && a->tokens > 0;
}

static struct answer expected[5];

static void *ask_often(void *argument) {
    intptr_t id = (intptr_t)argument;
    intptr_t wrong = 0;
    for (int i = 0; i < 20; i++) {
        CLLMInference *c = cllm_inference_init(shared_model);
        if (c == NULL) return (void *)99;
        if (i % 3 == 1) cllm_inference_set_threads(c, 2);
        int seed = (int)(id + i) % 5;
        struct answer a = ask(c, (uint64_t)seed);
        wrong += !same(&a, &expected[seed]);
        cllm_inference_cleanup(c);
    }
    return (void *)wrong;
}

static void many_contexts_on_one_model(void) {
    /* Large enough that a single token is worth several threads. */
    shared_model = made(VOCAB, 384, 2);
    CLLMInference *c = cllm_inference_init(shared_model);
    for (int i = 0; i < 5; i++) expected[i] = ask(c, (uint64_t)i);
    CHECK(memcmp(&expected[0].text, &expected[1].text, sizeof expected[0].text) != 0);
    cllm_inference_cleanup(c);
    pthread_t threads[16];
    for (intptr_t i = 0; i < 16; i++) pthread_create(&threads[i], NULL, ask_often, (void *)i);
    for (int i = 0; i < 16; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        CHECK(wrong == NULL);
    }
}

/* Objects that one thread made are used and freed by others. */
static void *free_it(void *context) {
    struct answer a = ask(context, 3);
    cllm_inference_cleanup(context);
    return (void *)(intptr_t)same(&a, &expected[3]);
}

static void *make_one(void *unused) {
    (void)unused;
    return made(10, 8, 1);
}

static void freed_elsewhere(void) {
    for (int i = 0; i < 20; i++) {
        pthread_t thread;
        void *result;
        CLLMInference *c = cllm_inference_init(shared_model);
        pthread_create(&thread, NULL, free_it, c);
        pthread_join(thread, &result);
        CHECK(result != NULL);
        char text[100];
        CHECK(cllm_generate(c, "a", text, 100) == -1);
        CHECK(strstr(cllm_last_error(), "cllm_generate") != NULL);
        pthread_create(&thread, NULL, make_one, NULL);
        pthread_join(thread, &result);
        CLLMTraining *t = training_of(result);
        CHECK(cllm_train_epoch(t) > 0);
        cllm_training_free(t);
        cllm_free_model(result);
    }
}

/* What a child made before fork() by its parent is used by the child: the threads of the parent
 * do not exist there, the objects work all the same. */
static void after_fork(void) {
    CLLMInference *c = cllm_inference_init(shared_model);
    CHECK(cllm_inference_set_threads(c, 3) == 0);
    struct answer before = ask(c, 2);
    CHECK(same(&before, &expected[2]));
    CLLMModel *m = made(20, 16, 2), *twin = made(20, 16, 2);
    memcpy(twin->weights, m->weights, m->num_weights * sizeof(float));
    size_t table = 8 * 16 * sizeof(float);
    memcpy(twin->pos_encoding.learned_positions, m->pos_encoding.learned_positions, table);
    CLLMTraining *t = training_of(m), *u = training_of(twin);
    float loss, expected_loss;
    CHECK(cllm_train_steps(t, 3, 3, &loss) == 3);
    CHECK(cllm_train_steps(u, 7, 1, &loss) == 7);
    CHECK(cllm_train_epoch_mt(u, 3) > 0);
    expected_loss = u->current_loss;
    pid_t pid = fork();
    if (pid == 0) {
        alarm(60); /* Waiting for threads that are not there would never end. */
        struct answer a = ask(c, 2);
        bool ok = same(&a, &expected[2]);
        CLLMInference *fresh = cllm_inference_init(shared_model);
        cllm_inference_set_threads(fresh, 3);
        a = ask(fresh, 4);
        ok = ok && same(&a, &expected[4]);
        cllm_inference_cleanup(fresh);
        cllm_inference_cleanup(c);
        ok = ok && cllm_train_steps(t, 4, 3, &loss) == 4;
        ok = ok && cllm_train_epoch_mt(t, 3) > 0 && t->current_loss == expected_loss;
        ok = ok && memcmp(m->weights, twin->weights, m->num_weights * sizeof(float)) == 0;
        cllm_training_free(t);
        cllm_free_model(m);
        _exit(ok ? 0 : 1);
    }
    int status;
    waitpid(pid, &status, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    /* The parent has noticed nothing. */
    struct answer a = ask(c, 1);
    CHECK(same(&a, &expected[1]));
    CHECK(cllm_train_steps(t, 4, 3, &loss) == 4);
    CHECK(cllm_train_epoch_mt(t, 3) > 0 && t->current_loss == expected_loss);
    cllm_inference_cleanup(c);
    cllm_training_free(t);
    cllm_training_free(u);
    cllm_free_model(m);
    cllm_free_model(twin);
}

static bool complained(const char *about) { return strstr(cllm_last_error(), about) != NULL; }

static void double_free_and_use_after_free(void) {
    CLLMModel *m = made(10, 8, 1);
    CLLMTraining *t = training_of(m);
    CLLMInference *c = cllm_inference_init(m);
    CLLMTokenizer *k = cllm_create_tokenizer(10);
    cllm_training_free(t);
    cllm_training_free(t);
    CHECK(complained("cllm_training_free"));
    CHECK(cllm_train_epoch(t) == 0 && complained("cllm_train_epoch"));
    CHECK(cllm_train_steps(t, 1, 1, NULL) == -1);
    CHECK(cllm_skipped_updates(t) == -1);
    CHECK(cllm_save_checkpoint(t, in_scratch("x")) == -1);
    CHECK(cllm_load_checkpoint(t, in_scratch("x")) == -1);
    cllm_inference_cleanup(c);
    cllm_inference_cleanup(c);
    CHECK(complained("cllm_inference_cleanup"));
    char text[100] = "as before";
    CHECK(cllm_generate(c, "a", text, 100) == -1 && complained("cllm_generate"));
    CHECK(cllm_set_seed(c, 1) == -1);
    cllm_free_tokenizer(k);
    cllm_free_tokenizer(k);
    CHECK(complained("cllm_free_tokenizer"));
    CHECK(cllm_add_token(k, "w") == 1 && complained("cllm_add_token"));
    cllm_free_model(m);
    cllm_free_model(m);
    CHECK(complained("cllm_free_model"));
    CHECK(cllm_write_model(m, in_scratch("x")) == -1 && entries("x") == 0);
    CHECK(cllm_inference_init(m) == NULL);
    CLLMTrainingConfig config = {0};
    CHECK(cllm_training_init(m, &config) == NULL);
}

static void model_freed_under_its_users(void) {
    CLLMModel *m = made(10, 8, 1);
    CLLMTraining *t = training_of(m);
    CLLMInference *c = cllm_inference_init(m);
    cllm_free_model(m);
    char text[100];
    uint32_t prompt[] = {1, 2};
    float before = c->logits[0];
    cllm_forward(c, prompt, 2);
    CHECK(complained("cllm_forward") && c->logits[0] == before);
    CHECK(cllm_generate(c, "a", text, 100) == -1);
    CHECK(cllm_train_steps(t, 1, 1, NULL) == -1 && complained("cllm_train_steps"));
    CHECK(cllm_train_epoch(t) == 0);
    CHECK(cllm_save_checkpoint(t, in_scratch("x")) == -1 && save_checkpoint(t, in_scratch("x")) == -1);
    CHECK(entries("x") == 0);
    cllm_inference_cleanup(c);
    cllm_training_free(t);
}

static void sizes_that_changed(void) {
    CLLMModel *m = made(10, 8, 2);
    CLLMInference *c = cllm_inference_init(m);
    CLLMTraining *t = training_of(m);
    char text[100];
    m->vocab_size = m->embeddings.vocab_size = m->header.vocab_size = 1000000;
    CHECK(cllm_generate(c, "a", text, 100) == -1);
    CHECK(cllm_train_steps(t, 1, 1, NULL) == -1);
    CHECK(cllm_write_model(m, in_scratch("x")) == -1);
    m->vocab_size = m->embeddings.vocab_size = 10;
    m->header.vocab_size = 10;
    m->embedding_dim = m->embeddings.embedding_dim = 4096;
    CHECK(cllm_generate(c, "a", text, 100) == -1);
    CHECK(cllm_train_steps(t, 1, 1, NULL) == -1);
    m->embedding_dim = m->embeddings.embedding_dim = 8;
    m->num_layers = 3;
    CHECK(cllm_generate(c, "a", text, 100) == -1);
    CHECK(cllm_train_steps(t, 1, 1, NULL) == -1);
    m->num_layers = 2;
    CHECK(cllm_generate(c, "a", text, 100) > 0);
    CHECK(cllm_train_steps(t, 1, 1, NULL) == 1);
    cllm_inference_cleanup(c);
    cllm_training_free(t);
    cllm_free_model(m);
}

static void too_small_by_declaration(void) {
    CLLMInference *c = cllm_inference_init(shared_model);
    for (int room = -1; room < 30; room++) {
        char text[40];
        memset(text, 'z', sizeof text);
        int n = cllm_generate(c, "token_1", text, room);
        CHECK(room > 0 ? n >= 0 && strlen(text) < (size_t)room : n == -1 && text[0] == 'z');
        for (int i = room < 0 ? 0 : room; i < 40; i++) CHECK(text[i] == 'z');
    }
    uint32_t ids[4] = {77, 77, 77, 77};
    CHECK(cllm_tokenize_with_vocab(shared_model, "a b c d e", ids, 3) == 3 && ids[3] == 77);
    cllm_inference_cleanup(c);
}

static bool all_finite(const CLLMModel *m) {
    for (uint64_t i = 0; i < m->num_weights; i++) {
        if (!isfinite(m->weights[i])) return false;
    }
    return true;
}

static void exploding_learning_rate(void) {
    for (int clip = 0; clip < 2; clip++) {
        CLLMModel *m = made(20, 16, 2);
        CLLMTraining *t = training_of(m);
        t->config.initial_learning_rate = t->config.learning_rate = 1e30f;
        t->config.gradient_accumulation_steps = 1;
        t->config.gradient_clip = clip ? 1 : 0;
        int done = 0;
        for (int e = 0; e < 4; e++) done += cllm_train_steps(t, 0, 2, NULL);
        int64_t skipped = cllm_skipped_updates(t);
        /* Every batch is counted; those without a finite gradient changed nothing. */
        CHECK(done > 0 && skipped > 0 && skipped <= done);
        CHECK(all_finite(m));
        cllm_training_free(t);
        cllm_free_model(m);
    }
}

static void nan_in_the_weights(void) {
    CLLMModel *m = made(20, 16, 2);
    CLLMTraining *t = training_of(m);
    t->config.gradient_accumulation_steps = 1;
    CHECK(cllm_skipped_updates(t) == 0);
    m->attention_layers[0].query_lattice[3] = NAN;
    float *before = malloc(m->num_weights * sizeof(float));
    memcpy(before, m->weights, m->num_weights * sizeof(float));
    CHECK(cllm_train_steps(t, 3, 1, NULL) == 3);
    CHECK(cllm_skipped_updates(t) == 3);
    CHECK(memcmp(before, m->weights, m->num_weights * sizeof(float)) == 0);
    /* A checkpoint keeps the count. */
    CHECK(cllm_save_checkpoint(t, in_scratch("nan")) == 0);
    CLLMModel *n = made(20, 16, 2);
    CLLMTraining *u = training_of(n);
    CHECK(cllm_load_checkpoint(u, in_scratch("nan")) == 0 && cllm_skipped_updates(u) == 3);
    cllm_training_free(u);
    cllm_free_model(n);
    CLLMInference *c = cllm_inference_init(m);
    char text[100];
    /* Logits of NaN: every token is as likely as any, and the text is one all the same. */
    CHECK(cllm_generate(c, "a", text, 100) == 50 && strlen(text) < 100);
    CHECK(cllm_write_model(m, in_scratch("nan.cllm")) == 0);
    CHECK(cllm_read_model(in_scratch("nan.cllm")) == NULL && complained("query"));
    n = cllm_read_model_unchecked(in_scratch("nan.cllm"));
    CHECK(n != NULL && isnan(n->attention_layers[0].query_lattice[3]));
    cllm_free_model(n);
    /* Repaired, it trains on. */
    m->attention_layers[0].query_lattice[3] = 0;
    CHECK(cllm_train_steps(t, 3, 1, NULL) == 3 && cllm_skipped_updates(t) == 3);
    CHECK(memcmp(before, m->weights, m->num_weights * sizeof(float)) != 0);
    free(before);
    cllm_inference_cleanup(c);
    cllm_training_free(t);
    cllm_free_model(m);
    empty_folder();
}

static void smallest_sizes(void) {
    /* Equal logits: all weights are zero. Greedy takes the first, sampling any. */
    CLLMModel *m = made(10, 8, 1);
    memset(m->weights, 0, m->num_weights * sizeof(float));
    CLLMInference *c = cllm_inference_init(m);
    char text[300];
    CHECK(cllm_generate(c, "a", text, sizeof text) > 0);
    cllm_set_greedy(c, true);
    CHECK(cllm_generate(c, "a", text, sizeof text) > 0);
    double loss, perplexity;
    CHECK(cllm_evaluate(m, training_tokens, 50, 8, 1, &loss, &perplexity) >= 0);
    CHECK_NEAR(loss, log(10), 1e-6);
    cllm_inference_cleanup(c);
    cllm_free_model(m);

    /* A vocabulary of one word, and sequences of one token. */
    m = made(1, 2, 1);
    CLLMTraining *t = training_of(m);
    t->config.sequence_length = 1;
    t->config.batch_size = 1;
    memset(training_tokens, 0, sizeof training_tokens);
    float mean;
    CHECK(cllm_train_steps(t, 3, 2, &mean) == 3 && mean == 0 && all_finite(m));
    c = cllm_inference_init(m);
    CHECK(cllm_generate(c, "token_0", text, sizeof text) > 0);
    cllm_inference_cleanup(c);
    /* A batch larger than the data: an epoch without batches. */
    t->config.batch_size = 2000;
    t->current_batch_offset = 0;
    CHECK(cllm_train_steps(t, 0, 1, &mean) == 0);
    CHECK(cllm_train_epoch(t) == 0 && all_finite(m));
    cllm_training_free(t);
    cllm_free_model(m);
}

static void strange_texts(void) {
    size_t size = 10 << 20;
    char *text = malloc(size + 1);
    for (int spaces = 0; spaces < 2; spaces++) {
        for (size_t i = 0; i < size; i++) text[i] = spaces && i % 8 == 7 ? ' ' : (char)('a' + i % 3);
        text[size] = 0;
        CLLMTokenizer *k = cllm_create_tokenizer(1000);
        cllm_build_vocab(k, text);
        uint32_t n = 0;
        uint32_t *ids = cllm_tokenizer_encode(k, text, &n);
        CHECK(ids != NULL && n == (spaces ? size / 8 : 1));
        free(ids);
        CLLMDataLoader *d = cllm_data_loader_create(k);
        put(in_scratch("long"), text, size);
        CHECK(cllm_data_loader_load_file(d, in_scratch("long")) == 1);
        TokenDataset *set = cllm_data_loader_create_dataset(d);
        CHECK(set != NULL && set->num_tokens >= (spaces ? size / 8 : 1));
        cllm_token_dataset_free(set);
        cllm_data_loader_free(d);
        cllm_free_tokenizer(k);
    }
    free(text);
    /* Bytes that are no UTF-8 are letters like any other. */
    CLLMTokenizer *k = cllm_create_tokenizer(50);
    cllm_build_vocab(k, "\xff\xfe \xc3 \xed\xa0\x80 a\xf8z");
    uint32_t n = 0;
    uint32_t *ids = cllm_tokenizer_encode(k, "\xff\xfe \xc3", &n);
    CHECK(n == 2 && ids[0] == cllm_find_token(k, "\xff\xfe") && ids[1] != ids[0]);
    char *back = cllm_tokenizer_decode(k, ids, n);
    CHECK(back != NULL && strcmp(back, "\xff\xfe \xc3") == 0);
    free(back);
    free(ids);
    /* A NUL byte: white space in a text file; a vocabulary with one is refused. */
    put(in_scratch("nul"), "some\0thing else", 15);
    CLLMDataLoader *d = cllm_data_loader_create(k);
    CHECK(cllm_data_loader_load_file(d, in_scratch("nul")) == 1);
    CHECK(strcmp(d->documents[0], "some thing else") == 0);
    cllm_data_loader_free(d);
    put(in_scratch("nul.txt"), "a\t1\nb\0c\t2\n", 10);
    uint32_t before = cllm_get_vocab_size(k);
    CHECK(cllm_load_vocab(k, in_scratch("nul.txt")) == 0 && cllm_get_vocab_size(k) == before);
    CLLMModel *m = made(20, 8, 1);
    CHECK(cllm_build_vocabulary_from_file(m, in_scratch("nul")) == 8);
    CHECK(strcmp(m->tokens[6].token_str, "thing") == 0);
    cllm_free_model(m);
    cllm_free_tokenizer(k);
    empty_folder();
}

int main(void) {
    scratch_make();
    cllm_set_log_silent();
    RUN(many_contexts_on_one_model);
    RUN(freed_elsewhere);
    RUN(after_fork);
    RUN(double_free_and_use_after_free);
    RUN(model_freed_under_its_users);
    RUN(sizes_that_changed);
    RUN(too_small_by_declaration);
    RUN(exploding_learning_rate);
    RUN(nan_in_the_weights);
    RUN(smallest_sizes);
    RUN(strange_texts);
    cllm_free_model(shared_model);
    empty_folder();
    rmdir(scratch);
    return harness_report();
}
