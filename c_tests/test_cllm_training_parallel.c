/* cllm_training_parallel.h: every function, the contract's edge cases. */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cllm_training_parallel.h"
#include "cllm_utils.h"
#include "harness.h"
#include "small_training.h"

static CLLMTraining *prepare(CLLMModel **model) {
    CLLMTraining *t = prepare_small(model, 11);
    t->config.gradient_clip = 1.0f;
    return t;
}

static void counts(void) {
    int optimal = cllm_get_optimal_thread_count();
    CHECK(optimal >= 1);
    CHECK(optimal == 1 || optimal < (int)sysconf(_SC_NPROCESSORS_CONF));
    cllm_cleanup_thread_pool();
    CHECK(cllm_get_thread_count() == 0);
    cllm_cleanup_thread_pool(); /* no pool: nothing */
    CHECK(cllm_init_thread_pool(3) == 3);
    CHECK(cllm_get_thread_count() == 3);
    CHECK(cllm_init_thread_pool(2) == 2); /* replaces */
    CHECK(cllm_get_thread_count() == 2);
    CHECK(cllm_set_thread_count(1) == 1);
    CHECK(cllm_get_thread_count() == 1);
    CHECK(cllm_init_thread_pool(0) == optimal);
    CHECK(cllm_set_thread_count(-4) == optimal);
    CHECK(cllm_get_thread_count() == optimal);
    int capped = cllm_init_thread_pool(100000);
    CHECK(capped >= 1 && capped <= 1024 && cllm_get_thread_count() == capped);
    cllm_cleanup_thread_pool();
    CHECK(cllm_get_thread_count() == 0);
}

static void epoch_equals_the_serial_one(void) {
    CLLMModel *serial_model, *model;
    CLLMTraining *serial = prepare(&serial_model);
    float expected[3];
    for (int e = 0; e < 3; e++) {
        expected[e] = cllm_train_epoch(serial);
    }
    CHECK(expected[0] > 2.0f && expected[2] < expected[0]);
    /* DEFECTs of the original: a loss of token ids, on the calling thread, with plain descent. */
    int threads[] = {0, 1, 2, 5};
    for (int i = 0; i < 4; i++) {
        cllm_cleanup_thread_pool();
        if (threads[i]) {
            cllm_init_thread_pool(threads[i]);
        }
        CLLMTraining *t = prepare(&model);
        for (int e = 0; e < 3; e++) {
            CHECK(cllm_train_epoch_parallel(t) == expected[e]);
        }
        CHECK(memcmp(model->weights, serial_model->weights,
                     model->num_weights * sizeof(float)) == 0);
        CHECK(t->current_step == serial->current_step && t->current_step == 36);
        CHECK(t->current_epoch == 3 && t->current_batch_offset == 0);
        CHECK(t->current_loss == serial->current_loss && t->best_loss == serial->best_loss);
        CHECK(t->config.learning_rate == serial->config.learning_rate);
        /* created with the optimal count if absent, and kept */
        CHECK(cllm_get_thread_count()
              == (threads[i] ? threads[i] : cllm_get_optimal_thread_count()));
        finish(t, model);
    }
    finish(serial, serial_model);
    cllm_cleanup_thread_pool();
}

static void refuses_what_it_can_not_train(void) {
    CHECK(cllm_train_epoch_parallel(NULL) == 0.0f);
    CLLMTraining *own = calloc(1, sizeof *own); /* made by the program */
    CHECK(cllm_train_epoch_parallel(own) == 0.0f);
    free(own);
    CLLMModel *model;
    CLLMTraining *t = prepare(&model);
    t->tokens = NULL;
    CHECK(cllm_train_epoch_parallel(t) == 0.0f);
    t->tokens = tokens;
    t->num_tokens = 16; /* one too few for a batch */
    CHECK(cllm_train_epoch_parallel(t) == 0.0f);
    CHECK(t->current_epoch == 1 && t->current_step == 0);
    finish(t, model);
    cllm_cleanup_thread_pool();
}

static void *use_the_pool(void *unused) {
    (void)unused;
    for (int i = 0; i < 20; i++) {
        cllm_init_thread_pool(1 + i % 3);
        if (cllm_get_thread_count() > 3) {
            return (void *)1;
        }
        cllm_cleanup_thread_pool();
    }
    return NULL;
}

static void any_thread_may_call(void) {
    /* DEFECT of the original: flags, counts and the pool were read outside the lock. */
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) {
        pthread_create(&threads[i], NULL, use_the_pool, NULL);
    }
    CLLMModel *model;
    CLLMTraining *t = prepare(&model);
    for (int e = 0; e < 5; e++) {
        CHECK(cllm_train_epoch_parallel(t) > 0.0f);
    }
    for (int i = 0; i < 3; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        CHECK(failed == NULL);
    }
    finish(t, model);
    cllm_cleanup_thread_pool();
    CHECK(cllm_get_thread_count() == 0);
}

static void a_forked_child_starts_its_own(void) {
    cllm_init_thread_pool(2);
    int ends[2];
    CHECK(pipe(ends) == 0);
    pid_t child = fork();
    if (child == 0) {
        int ok = cllm_get_thread_count() == 0;
        CLLMModel *model;
        CLLMTraining *t = prepare(&model);
        ok = ok && cllm_train_epoch_parallel(t) > 0.0f && cllm_get_thread_count() > 0;
        finish(t, model);
        cllm_cleanup_thread_pool();
        ok = ok && cllm_get_thread_count() == 0;
        char answer = ok ? 'y' : 'n';
        if (write(ends[1], &answer, 1) != 1) {
            perror("write");
        }
        /* No exit: valgrind would count as lost what only the parent's threads refer to. */
        kill(getpid(), SIGKILL);
    }
    close(ends[1]);
    char answer = 0;
    CHECK(read(ends[0], &answer, 1) == 1 && answer == 'y');
    close(ends[0]);
    waitpid(child, NULL, 0);
    CHECK(cllm_get_thread_count() == 2);
    cllm_cleanup_thread_pool();
}

int main(void) {
    for (uint32_t i = 0; i < 200; i++) {
        tokens[i] = (i * 7 + i / 9) % 23;
    }
    RUN(counts);
    RUN(epoch_equals_the_serial_one);
    RUN(refuses_what_it_can_not_train);
    RUN(any_thread_may_call);
    RUN(a_forked_child_starts_its_own);
    return harness_report();
}
