/* cllm_metrics.h: every function, and the text of the one that prints. */
#include "capture.h"

#include "cllm_metrics.h"
#include "cllm_production.h" /* its TrainingMetrics is another type */
#include "cllm_training_threaded.h"
#include "harness.h"
#include "small_training.h"
#include <time.h>

static uint64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void records_begin(void) {
    CLLMMetrics m;
    memset(&m, 0x5a, sizeof m);
    uint64_t before = now_ms();
    cllm_metrics_init(&m);
    CHECK(m.timestamp_ms >= before && m.timestamp_ms <= now_ms());
    CHECK(m.num_threads == 0 && m.control_thread_id == 0 && m.update_count == 0);
    for (int i = 0; i < MAX_TRACKED_THREADS; i++) {
        ThreadMetrics *t = &m.threads[i];
        CHECK(t->thread_id == -1 && t->sphere_id == -1 && t->parent_thread_id == -1);
        CHECK(t->state == THREAD_STATE_IDLE && t->role == THREAD_ROLE_WORKER && t->hierarchy_level == 0);
        CHECK(t->batches_processed == 0 && t->num_children == 0 && t->child_thread_ids[11] == 0);
    }
    CHECK(m.framework.using_lattice_embeddings && m.framework.using_angular_attention);
    CHECK(m.framework.using_crystalline_loss && m.framework.using_cymatic_training);
    CHECK(m.framework.using_ntt_attention && m.framework.using_simd_acceleration);
    CHECK(m.training.best_loss == 0 && m.performance.memory_peak_bytes == 0);
    int asked[] = {12, 0, -5, 144, 145, 1 << 30}, got[] = {12, 0, 0, 144, 144, 144};
    for (int i = 0; i < 6; i++) {
        CLLMMetrics *made = cllm_metrics_create(asked[i]);
        CHECK(made && made->num_threads == got[i] && made->threads[143].thread_id == -1);
        if (i % 2) cllm_metrics_free(made); else free(made);
    }
    cllm_metrics_init(NULL);
    cllm_metrics_free(NULL);
}

static void threads_are_updated(void) {
    CLLMMetrics *m = cllm_metrics_create(4);
    const float position[3] = {1, 2, 3};
    CHECK(cllm_metrics_get_thread(m, 0) == NULL && cllm_metrics_get_control_thread(m) == NULL);
    cllm_metrics_update_thread(m, 2, THREAD_STATE_WORKING, 0.5f, position);
    CHECK(cllm_metrics_get_thread(m, 2) == &m->threads[2]); /* DEFECT of the original: never found */
    CHECK(m->threads[2].state == THREAD_STATE_WORKING && m->threads[2].current_workload == 0.5f);
    CHECK(m->threads[2].position[0] == 1 && m->threads[2].position[2] == 3);
    cllm_metrics_update_thread(m, 2, THREAD_STATE_WAITING, 0.25f, NULL);
    CHECK(m->threads[2].position[1] == 2 && m->threads[2].current_workload == 0.25f);
    cllm_metrics_update_thread_state(m, 0, THREAD_STATE_CONTROL);
    m->threads[0].role = THREAD_ROLE_CONTROL;
    CHECK(cllm_metrics_get_control_thread(m) == &m->threads[0]);
    cllm_metrics_update_thread_workload(m, 7, 33); /* idle */
    CHECK(m->threads[7].thread_id == 7 && m->threads[7].batches_processed == 33);
    cllm_metrics_update_thread_state(m, 143, THREAD_STATE_WORKING);
    cllm_metrics_update_thread_state(m, 9, THREAD_STATE_TERMINATED);
    m->threads[143].role = THREAD_ROLE_BOTH;
    CLLMMetrics before = *m;
    int others[] = {-1, 144, 1 << 30, -(1 << 30)};
    for (int i = 0; i < 4; i++) {
        cllm_metrics_update_thread(m, others[i], THREAD_STATE_WORKING, 1, position);
        cllm_metrics_update_thread_state(m, others[i], THREAD_STATE_WORKING);
        cllm_metrics_update_thread_workload(m, others[i], 1);
        CHECK(cllm_metrics_get_thread(m, others[i]) == NULL);
    }
    CHECK(memcmp(m, &before, sizeof before) == 0);
    ThreadMetrics *workers[MAX_TRACKED_THREADS] = {NULL};
    CHECK(cllm_metrics_get_worker_threads(m, workers, 144) == 2);
    CHECK(workers[0] == &m->threads[2] && workers[1] == &m->threads[143] && !workers[2]);
    workers[1] = NULL;
    CHECK(cllm_metrics_get_worker_threads(m, workers, 1) == 1 && !workers[1]);
    CHECK(cllm_metrics_get_worker_threads(m, workers, 0) == 0);
    CHECK(cllm_metrics_get_worker_threads(m, workers, -1) == 0);
    CHECK(cllm_metrics_get_worker_threads(m, NULL, 3) == 0);
    CHECK(cllm_metrics_get_worker_threads(NULL, workers, 3) == 0);
    CHECK(cllm_metrics_get_thread(NULL, 0) == NULL && cllm_metrics_get_control_thread(NULL) == NULL);
    cllm_metrics_update_thread(NULL, 0, THREAD_STATE_IDLE, 0, position);
    cllm_metrics_update_thread_state(NULL, 0, THREAD_STATE_IDLE);
    cllm_metrics_update_thread_workload(NULL, 0, 0);
    cllm_metrics_free(m);
}

static void numbers_are_updated(void) {
    CLLMMetrics *m = cllm_metrics_create(4);
    cllm_metrics_update_training(m, 3, 17, 2.5f);
    CHECK(m->training.current_epoch == 3 && m->training.current_step == 17);
    CHECK(m->training.current_loss == 2.5f && m->training.best_loss == 2.5f);
    cllm_metrics_update_loss(m, 3.5f);
    CHECK(m->training.current_loss == 3.5f && m->training.best_loss == 2.5f);
    cllm_metrics_update_loss(m, 1.5f);
    CHECK(m->training.best_loss == 1.5f);
    cllm_metrics_update_training_progress(m, 4, 18, 99);
    CHECK(m->training.current_epoch == 4 && m->training.current_step == 18);
    CHECK(m->training.total_steps == 99); /* DEFECT of the original: dropped */
    cllm_metrics_update_performance(m, 120.5f, 0.75f, 5000);
    cllm_metrics_update_performance(m, 121.5f, 0.5f, 3000);
    CHECK(m->training.tokens_per_second == 121.5f && m->performance.cache_hit_rate == 0.5f);
    CHECK(m->performance.memory_used_bytes == 3000 && m->performance.memory_peak_bytes == 5000);
    cllm_metrics_update_framework_status(m, 0, -3, 0, 1);
    CHECK(!m->framework.using_lattice_embeddings && m->framework.using_angular_attention);
    CHECK(!m->framework.using_ntt_attention && m->framework.using_cymatic_training);
    CHECK(m->framework.using_crystalline_loss && m->framework.using_simd_acceleration);
    CHECK(m->update_count == 0);
    cllm_metrics_update_training(NULL, 0, 0, 0);
    cllm_metrics_update_loss(NULL, 0);
    cllm_metrics_update_training_progress(NULL, 0, 0, 0);
    cllm_metrics_update_performance(NULL, 0, 0, 0);
    cllm_metrics_update_framework_status(NULL, 0, 0, 0, 0);
    cllm_metrics_free(m);
}

static const CLLMMetrics *told;
static int calls;

static void listen(const CLLMMetrics *m, void *user) {
    told = m;
    calls += *(int *)user;
}

static void callbacks(void) {
    CLLMModel *model;
    CLLMTraining *t = prepare_small(&model, 3);
    CLLMMetrics *m = cllm_metrics_create(4);
    int one = 1;
    cllm_metrics_set_callback(listen, &one);
    m->timestamp_ms = 0;
    uint64_t before = now_ms();
    cllm_metrics_invoke_callbacks(m);
    CHECK(told == m && calls == 1 && m->update_count == 1 && m->timestamp_ms >= before);
    t->config.num_epochs = 6;
    t->current_epoch = 2;
    t->current_step = 5;
    t->current_loss = 2.0f;
    t->best_loss = 1.5f;
    t->start_time = time(NULL) - 100;
    cllm_metrics_collect(m, t, NULL);
    CHECK(calls == 2 && m->update_count == 2);
    CHECK(m->training.current_epoch == 2 && m->training.total_epochs == 6);
    CHECK(m->training.current_step == 5 && m->training.current_loss == 2.0f);
    CHECK(m->training.best_loss == 1.5f);
    CHECK_NEAR(m->training.elapsed_time_seconds, 101, 1.01);
    cllm_metrics_collect(m, NULL, m);
    CHECK(calls == 3 && m->training.current_step == 5);
    cllm_metrics_collect(NULL, t, NULL);
    cllm_metrics_invoke_callbacks(NULL);
    CHECK(calls == 3);
    cllm_metrics_set_callback(NULL, NULL);
    cllm_metrics_invoke_callbacks(m);
    CHECK(calls == 3 && m->update_count == 4);
    cllm_metrics_free(m);
    finish(t, model);
}

static void text(void) {
    CLLMMetrics *m = cllm_metrics_create(4);
    m->training = (__typeof__(m->training)){
        .current_epoch = 2, .total_epochs = 10, .current_step = 30, .current_loss = 2.5f,
        .best_loss = 2.25f, .tokens_per_second = 123.456f};
    m->timestamp_ms = 123456789012;
    m->update_count = 3;
    m->max_hierarchy_depth = 2;
    m->performance.active_threads = 5;
    cllm_metrics_update_framework_status(m, 1, 0, 1, 0);
    cllm_metrics_update_performance(m, 123.456f, 0.5f, 3 << 19);
    cllm_metrics_update_thread_state(m, 1, THREAD_STATE_WORKING);
    cllm_metrics_update_thread_state(m, 2, THREAD_STATE_TERMINATED);
    capture_start();
    cllm_metrics_print(m);
    const char *printed = capture_end();
    CHECK(strcmp(printed,
        "\n"
        "=== CLLM Metrics Summary ===\n"
        "Timestamp: 123456789012 ms\n"
        "Update count: 3\n"
        "\n"
        "Training:\n"
        "  Epoch: 2/10\n"
        "  Step: 30\n"
        "  Current loss: 2.500000\n"
        "  Best loss: 2.250000\n"
        "  Tokens/sec: 123.46\n"
        "\n"
        "Framework Status:\n"
        "  Lattice embeddings: \u2713\n"
        "  Angular attention: \u2717\n"
        "  Crystalline loss: \u2713\n"
        "  Cymatic training: \u2717\n"
        "  NTT attention: \u2713\n"
        "  SIMD acceleration: \u2713\n"
        "\n"
        "Performance:\n"
        "  Cache hit rate: 50.00%\n"
        "  Memory used: 1.50 MB\n"
        "  Memory peak: 1.50 MB\n"
        "  Active threads: 5\n"
        "\n"
        "Threads:\n"
        "  Total threads: 4\n"
        "  Control thread (Node Zero): 0\n"
        "  Max hierarchy depth: 2\n"
        "  Active threads: 1\n"
        "===========================\n"
        "\n") == 0);
    capture_start();
    cllm_metrics_print(NULL);
    CHECK(strcmp(capture_end(), "") == 0);
    cllm_metrics_free(m);
}

/* What an epoch of a system shows. */
static struct {
    ThreadedTrainingSystem *system;
    int calls, workers;
    float last_loss;
} seen;

static void follow(const CLLMMetrics *m, void *user) {
    const __typeof__(m->training) *t = &m->training;
    CHECK(user == &seen && m == threaded_training_get_metrics(seen.system));
    seen.calls++;
    int batches = seen.calls < 3 ? 10 * seen.calls : 24, total = 0;
    CHECK(t->current_epoch == -7 && t->total_epochs == 9);
    CHECK(t->current_step == batches && t->total_steps == 24);
    CHECK(t->best_loss > 0 && t->best_loss <= t->average_loss && t->best_loss <= t->current_loss);
    CHECK(t->elapsed_time_seconds > 0 && t->tokens_per_second > 0);
    CHECK_NEAR(t->tokens_per_second / t->batches_per_second, 8.0, 0.8);
    CHECK_NEAR(t->samples_per_second / t->batches_per_second, 1.0, 1e-4);
    CHECK((t->estimated_time_remaining_seconds > 0) == (seen.calls < 3));
    CHECK(m->update_count == (uint64_t)seen.calls);
    int active = seen.calls < 3 ? seen.workers : 0;
    CHECK(m->performance.active_threads == active);
    CHECK(m->performance.idle_threads == seen.workers - active);
    CHECK(m->num_threads == seen.workers && m->control_thread_id == 0);
    for (int i = 0; i < seen.workers && i < MAX_TRACKED_THREADS; i++) {
        const ThreadMetrics *w = &m->threads[i];
        int processed;
        CHECK(w->thread_id == i && w->sphere_id == i && w->symmetry_group == i % 12);
        CHECK(w->role == THREAD_ROLE_WORKER);
        CHECK(w->state == (active ? THREAD_STATE_WORKING : THREAD_STATE_IDLE));
        CHECK(threaded_training_get_sphere_stats(seen.system, i, &processed, NULL) == 0);
        CHECK(w->batches_processed == processed);
        total += processed;
    }
    CHECK(total == batches);
    seen.last_loss = t->average_loss;
}

static void epochs_are_followed(void) {
    CLLMModel *plain_model, *model;
    for (uint32_t i = 0; i < 200; i++) tokens[i] = (i * 7 + i / 9) % 23;
    int workers[] = {3, 150};
    for (int i = 0; i < 2; i++) {
        CLLMTraining *plain = prepare_small(&plain_model, 12), *t = prepare_small(&model, 12);
        CLLMBatchIterator *it = cllm_batch_iterator_create(tokens, 200, 1, 8, 0, 1);
        ThreadedTrainingSystem *s = threaded_training_create(plain, it, 2);
        float expected = threaded_train_epoch(s);
        threaded_training_free(s);
        t->config.num_epochs = 9;
        s = threaded_training_create(t, it, workers[i]);
        CLLMMetrics *m = threaded_training_get_metrics(s);
        CHECK(m && m->num_threads == workers[i] && m->performance.idle_threads == workers[i]);
        CHECK(m->threads[2].thread_id == 2 && (m->threads[3].thread_id == -1) == (i == 0));
        seen.system = s;
        seen.calls = 0;
        seen.workers = workers[i];
        cllm_metrics_set_callback(follow, &seen);
        CHECK(threaded_train_epoch_lockfree(s, -7) == expected);
        cllm_metrics_set_callback(NULL, NULL);
        CHECK(seen.calls == 3 && seen.last_loss == expected);
        CHECK(memcmp(model->weights, plain_model->weights, model->num_weights * sizeof(float)) == 0);
        CHECK(t->current_epoch == 1 && t->current_step == 24 && t->best_loss == plain->best_loss);
        CHECK(threaded_train_epoch_lockfree(s, 2) < expected); /* the original never returned */
        CHECK(m->training.current_epoch == 2 && m->training.best_loss < plain->best_loss);
        threaded_train_epoch(s);
        CHECK(m->training.current_epoch == 2 && t->current_epoch == 3);
        threaded_training_free(s);
        CHECK(threaded_training_get_metrics(s) == NULL && threaded_train_epoch_lockfree(s, 0) == 0.0f);
        cllm_batch_iterator_free(it);
        finish(plain, plain_model);
        finish(t, model);
    }
    CHECK(threaded_training_get_metrics(NULL) == NULL && threaded_train_epoch_lockfree(NULL, 1) == 0.0f);
}

int main(void) {
    RUN(records_begin);
    RUN(threads_are_updated);
    RUN(numbers_are_updated);
    RUN(callbacks);
    RUN(text);
    RUN(epochs_are_followed);
    return harness_report();
}
