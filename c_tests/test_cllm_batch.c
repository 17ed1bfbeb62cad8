/* cllm_batch.h: every function, the contract's edge cases, ownership. */

#include "cllm_batch.h"
#include "harness.h"

static uint32_t ids[100];

static void numbered(void) {
    for (uint32_t i = 0; i < 100; i++) {
        ids[i] = i + 1;
    }
}

static void create_gives_an_empty_batch(void) {
    CLLMBatch *batch = cllm_batch_create(3, 5);
    CHECK(batch != NULL);
    if (!batch) {
        return;
    }
    CHECK(batch->batch_size == 3);
    CHECK(batch->seq_len == 5);
    CHECK(batch->num_valid_tokens == 0);
    int zero = 1;
    for (int i = 0; i < 15; i++) {
        zero = zero && batch->input_ids[i] == 0 && batch->target_ids[i] == 0
            && batch->attention_mask[i] == 0.0f;
    }
    CHECK(zero);
    CHECK(batch->input_ids != batch->target_ids);
    cllm_batch_free(batch);
}

static void create_refuses_nothing_and_too_much(void) {
    CHECK(cllm_batch_create(0, 5) == NULL);
    CHECK(cllm_batch_create(5, 0) == NULL);
    /* DEFECT of the original: the product wrapped at 2^32 to a short buffer. */
    CHECK(cllm_batch_create(65536, 65536) == NULL);
    CHECK(cllm_batch_create(UINT32_MAX, UINT32_MAX) == NULL);
    CHECK(cllm_batch_create(0x80000001u, 2) == NULL);
}

static void free_takes_null_and_the_programs_own(void) {
    cllm_batch_free(NULL);
    CLLMBatch *own = calloc(1, sizeof *own);
    cllm_batch_free(own);
    own = calloc(1, sizeof *own);
    own->input_ids = calloc(4, sizeof(uint32_t));
    own->target_ids = calloc(4, sizeof(uint32_t));
    own->attention_mask = calloc(4, sizeof(float));
    cllm_batch_free(own);
    CLLMBatch *batch = cllm_batch_create(1, 1);
    cllm_batch_free(batch);
    cllm_batch_free(batch); /* reported, not a crash */
    /* Each array is a block of its own that a program may replace. */
    batch = cllm_batch_create(2, 2);
    free(batch->input_ids);
    batch->input_ids = calloc(4, sizeof(uint32_t));
    cllm_batch_free(batch);
    CHECK(1);
}

static void iterator_walks_in_order(void) {
    CLLMBatchIterator *it = cllm_batch_iterator_create(ids, 100, 4, 5, 0, 1);
    CHECK(it != NULL);
    CHECK(cllm_batch_iterator_num_batches(it) == 4);
    uint32_t start = 0;
    int count = 0;
    CLLMBatch *batch;
    while ((batch = cllm_batch_iterator_next(it)) != NULL) {
        CHECK(batch->batch_size == 4 && batch->seq_len == 5 && batch->num_valid_tokens == 20);
        for (uint32_t i = 0; i < 20; i++) {
            CHECK(batch->input_ids[i] == start + i + 1);
            CHECK(batch->target_ids[i] == start + i + 2);
            CHECK(batch->attention_mask[i] == 1.0f);
        }
        CHECK(cllm_batch_validate(batch) == 1);
        start += 20;
        count++;
        CHECK(cllm_batch_iterator_num_batches(it) == 4);
        cllm_batch_free(batch);
    }
    CHECK(count == 4);
    CHECK(cllm_batch_iterator_next(it) == NULL);
    cllm_batch_iterator_reset(it);
    batch = cllm_batch_iterator_next(it);
    CHECK(batch && batch->input_ids[0] == 1);
    cllm_batch_free(batch);
    cllm_batch_iterator_free(it);
    CHECK(ids[0] == 1 && ids[99] == 100);
}

static void second_batch_of_ten_starts_at_token_eleven(void) {
    CLLMBatchIterator *it = cllm_batch_iterator_create(ids, 50, 2, 5, 0, 0);
    cllm_batch_free(cllm_batch_iterator_next(it));
    CLLMBatch *second = cllm_batch_iterator_next(it);
    CHECK(second && second->input_ids[0] == 11);
    cllm_batch_free(second);
    cllm_batch_iterator_reset(it);
    CLLMBatch *first = cllm_batch_iterator_next(it);
    CHECK(first && first->input_ids[0] == 1 && first->target_ids[0] == 2);
    cllm_batch_free(first);
    cllm_batch_iterator_free(it);
}

static void last_batch_is_padded_once(void) {
    /* 22 inputs: 8 + 8 + 6. DEFECT of the original: padding batches for ever. */
    CLLMBatchIterator *it = cllm_batch_iterator_create(ids, 23, 2, 4, 0, 0);
    CHECK(cllm_batch_iterator_num_batches(it) == 3);
    cllm_batch_free(cllm_batch_iterator_next(it));
    cllm_batch_free(cllm_batch_iterator_next(it));
    CLLMBatch *last = cllm_batch_iterator_next(it);
    CHECK(last != NULL);
    CHECK(last->num_valid_tokens == 6);
    CHECK(last->input_ids[5] == 22 && last->target_ids[5] == 23 && last->attention_mask[5] == 1.0f);
    CHECK(last->input_ids[6] == 0 && last->target_ids[6] == 0 && last->attention_mask[6] == 0.0f);
    CHECK(cllm_batch_validate(last) == 1);
    cllm_batch_free(last);
    for (int i = 0; i < 5; i++) {
        CHECK(cllm_batch_iterator_next(it) == NULL);
    }
    cllm_batch_iterator_free(it);

    it = cllm_batch_iterator_create(ids, 23, 2, 4, 0, 1);
    CHECK(cllm_batch_iterator_num_batches(it) == 2);
    int n = 0;
    CLLMBatch *batch;
    while ((batch = cllm_batch_iterator_next(it)) != NULL) {
        n++;
        cllm_batch_free(batch);
    }
    CHECK(n == 2);
    cllm_batch_iterator_free(it);

    it = cllm_batch_iterator_create(ids, 1, 2, 4, 0, 0); /* one token has no target */
    CHECK(cllm_batch_iterator_num_batches(it) == 0);
    CHECK(cllm_batch_iterator_next(it) == NULL);
    cllm_batch_iterator_free(it);
}

static void shuffle_permutes_full_batches(void) {
    CLLMBatchIterator *a = cllm_batch_iterator_create(ids, 96, 1, 5, 1, 0);
    CLLMBatchIterator *b = cllm_batch_iterator_create(ids, 96, 1, 5, 7, 0);
    CHECK(cllm_batch_iterator_num_batches(a) == 19);
    cllm_batch_iterator_free(a);
    a = cllm_batch_iterator_create(ids, 98, 1, 5, 1, 0);
    cllm_batch_iterator_free(b);
    b = cllm_batch_iterator_create(ids, 98, 1, 5, 7, 0);
    CHECK(cllm_batch_iterator_num_batches(a) == 20);
    int seen[20] = {0}, moved = 0, same = 1;
    uint32_t first_walk[20];
    for (int k = 0; k < 20; k++) {
        CLLMBatch *x = cllm_batch_iterator_next(a), *y = cllm_batch_iterator_next(b);
        uint32_t at = (x->input_ids[0] - 1) / 5;
        CHECK((x->input_ids[0] - 1) % 5 == 0 && at < 20);
        CHECK(x->target_ids[0] == x->input_ids[0] + 1);
        seen[at % 20]++;
        moved += at != (uint32_t)k;
        same = same && x->input_ids[0] == y->input_ids[0];
        first_walk[k] = at;
        if (k == 19) {
            CHECK(at == 19 && x->num_valid_tokens == 2); /* the partial batch stays last */
        }
        cllm_batch_free(x);
        cllm_batch_free(y);
    }
    for (int k = 0; k < 20; k++) {
        CHECK(seen[k] == 1);
    }
    CHECK(moved > 5);
    CHECK(same);
    cllm_batch_iterator_reset(a);
    int different = 0;
    for (int k = 0; k < 20; k++) {
        CLLMBatch *x = cllm_batch_iterator_next(a);
        different += (x->input_ids[0] - 1) / 5 != first_walk[k];
        cllm_batch_free(x);
    }
    CHECK(different > 5);
    cllm_batch_iterator_free(a);
    cllm_batch_iterator_free(b);
}

static void iterator_refuses_bad_arguments(void) {
    CHECK(cllm_batch_iterator_create(NULL, 10, 2, 2, 0, 0) == NULL);
    CHECK(cllm_batch_iterator_create(ids, 0, 2, 2, 0, 0) == NULL);
    CHECK(cllm_batch_iterator_create(ids, 10, 0, 2, 0, 0) == NULL);
    CHECK(cllm_batch_iterator_create(ids, 10, 2, 0, 0, 0) == NULL);
    CHECK(cllm_batch_iterator_next(NULL) == NULL);
    CHECK(cllm_batch_iterator_num_batches(NULL) == 0);
    cllm_batch_iterator_reset(NULL);
    cllm_batch_iterator_free(NULL);
    /* DEFECT of the original: 65536 * 65536 was 0, a division by zero. */
    CLLMBatchIterator *it = cllm_batch_iterator_create(ids, 10, 65536, 65536, 0, 1);
    CHECK(cllm_batch_iterator_num_batches(it) == 0);
    CHECK(cllm_batch_iterator_next(it) == NULL);
    cllm_batch_iterator_free(it);
    cllm_batch_iterator_free(it); /* reported, not a crash */
    CHECK(cllm_batch_iterator_next(it) == NULL);
    CHECK(cllm_batch_iterator_num_batches(it) == 0);
}

static void batch_from_tokens(void) {
    CLLMBatch *batch = cllm_create_batch_from_tokens(ids, 5, 2, 4);
    CHECK(batch && batch->num_valid_tokens == 4);
    CHECK(batch->input_ids[0] == 1 && batch->target_ids[3] == 5 && batch->input_ids[4] == 0);
    CHECK(cllm_batch_validate(batch) == 1);
    cllm_batch_free(batch);
    batch = cllm_create_batch_from_tokens(ids, 100, 2, 4); /* surplus ignored */
    CHECK(batch && batch->num_valid_tokens == 8 && batch->target_ids[7] == 9);
    cllm_batch_free(batch);
    batch = cllm_create_batch_from_tokens(ids, 1, 2, 4); /* nothing to predict */
    CHECK(batch && batch->num_valid_tokens == 0);
    cllm_batch_free(batch);
    CHECK(cllm_create_batch_from_tokens(NULL, 5, 2, 4) == NULL);
    CHECK(cllm_create_batch_from_tokens(ids, 0, 2, 4) == NULL);
    CHECK(cllm_create_batch_from_tokens(ids, 5, 0, 4) == NULL);
    CHECK(cllm_create_batch_from_tokens(ids, 5, 2, 0) == NULL);
}

static void validate_reports_damage(void) {
    CHECK(cllm_batch_validate(NULL) == 0);
    CLLMBatch empty = {0};
    CHECK(cllm_batch_validate(&empty) == 0);
    CLLMBatch *batch = cllm_create_batch_from_tokens(ids, 6, 2, 4);
    CHECK(cllm_batch_validate(batch) == 1);
    batch->num_valid_tokens = 4;
    CHECK(cllm_batch_validate(batch) == 0);
    batch->num_valid_tokens = 5;
    batch->input_ids[2] = 0; /* a genuine token 0 makes a batch invalid: kept */
    CHECK(cllm_batch_validate(batch) == 0);
    batch->input_ids[2] = 3;
    batch->target_ids[6] = 9;
    CHECK(cllm_batch_validate(batch) == 0);
    batch->target_ids[6] = 0;
    batch->input_ids[7] = 1;
    CHECK(cllm_batch_validate(batch) == 0);
    batch->input_ids[7] = 0;
    CHECK(cllm_batch_validate(batch) == 1);
    uint32_t *inputs = batch->input_ids;
    batch->input_ids = NULL;
    CHECK(cllm_batch_validate(batch) == 0);
    batch->input_ids = inputs;
    cllm_batch_free(batch);
    /* On the stack, over arrays of the program. */
    uint32_t in[2] = {4, 0}, out[2] = {5, 0};
    float mask[2] = {1.0f, 0.0f};
    CLLMBatch own = {in, out, mask, 1, 2, 1};
    CHECK(cllm_batch_validate(&own) == 1);
}

int main(void) {
    numbered();
    RUN(create_gives_an_empty_batch);
    RUN(create_refuses_nothing_and_too_much);
    RUN(free_takes_null_and_the_programs_own);
    RUN(iterator_walks_in_order);
    RUN(second_batch_of_ten_starts_at_token_eleven);
    RUN(last_batch_is_padded_once);
    RUN(shuffle_permutes_full_batches);
    RUN(iterator_refuses_bad_arguments);
    RUN(batch_from_tokens);
    RUN(validate_reports_damage);
    return harness_report();
}
