/* ai/cllm_hierarchical_training.h: another name for cllm_training_threaded.h. */
#include "ai/cllm_hierarchical_training.h"
#include "cllm_training_threaded.h"
#include "harness.h"
#include "small_training.h"

static void creation(void) {
    CLLMModel *m;
    CLLMTraining *t = prepare_small(&m, 12);
    CLLMBatchIterator *it = cllm_batch_iterator_create(tokens, 200, 2, 8, 0, 1);
    CHECK(hierarchical_training_create(NULL, 2, it) == NULL);
    CHECK(hierarchical_training_create(t, 2, NULL) == NULL);
    CHECK(hierarchical_training_create(t, 0, it) == NULL);
    CHECK(hierarchical_training_create(t, -1, it) == NULL);
    t->model = NULL;
    CHECK(hierarchical_training_create(t, 2, it) == NULL);
    t->model = m;
    HierarchicalTrainingSystem *s = hierarchical_training_create(t, 13, it);
    CHECK(s != NULL);
    hierarchical_training_free(s);
    hierarchical_training_free(s); /* reported, not a crash */
    hierarchical_training_free(NULL);
    CHECK(hierarchical_train_epoch(s) == 0.0f && hierarchical_train_epoch(NULL) == 0.0f);
    cllm_batch_iterator_free(it);
    finish(t, m);
}

static void an_epoch_is_that_of_the_threaded_system(void) {
    CLLMModel *threaded_model, *m;
    CLLMTraining *threaded = prepare_small(&threaded_model, 12), *t = prepare_small(&m, 12);
    CLLMBatchIterator *it = cllm_batch_iterator_create(tokens, 200, 2, 8, 0, 1);
    ThreadedTrainingSystem *expected = threaded_training_create(threaded, it, 1);
    HierarchicalTrainingSystem *s = hierarchical_training_create(t, 5, it);
    for (int epoch = 0; epoch < 3; epoch++)
        CHECK(hierarchical_train_epoch(s) == threaded_train_epoch(expected));
    CHECK(memcmp(m->weights, threaded_model->weights, m->num_weights * sizeof(float)) == 0);
    CHECK(t->current_epoch == 3 && t->current_step == threaded->current_step);
    hierarchical_training_free(s);
    threaded_training_free(expected);
    cllm_batch_iterator_free(it);
    finish(t, m);
    finish(threaded, threaded_model);
}

int main(void) {
    for (uint32_t i = 0; i < 200; i++) tokens[i] = (i * 7 + i / 9) % 23;
    RUN(creation);
    RUN(an_epoch_is_that_of_the_threaded_system);
    return harness_report();
}
