/* cllm_ext.h: going on with a generation, saving and restoring where it stands. */
#include "scratch.h"

#include "cllm_ext.h"
#include "cllm_format.h"
#include "cllm_inference.h"
#include "cllm_utils.h"
#include "harness.h"

typedef struct Text {
    char bytes[20000];
    size_t length;
    int pieces, stop_after;
} Text;

static bool collect(const char *piece, size_t length, uint32_t token, void *user_data) {
    Text *text = user_data;
    (void)token;
    memcpy(text->bytes + text->length, piece, length);
    text->length += length;
    text->bytes[text->length] = '\0';
    text->pieces++;
    return text->stop_after == 0 || text->pieces < text->stop_after;
}

static CLLMModel *made(uint32_t positions, unsigned seed) {
    srand(seed);
    CLLMConfig config = {.vocab_size = 40, .embedding_dim = 16, .num_layers = 2, .num_heads = 2,
                         .ff_dim = 32, .max_seq_len = positions};
    return cllm_create_model(&config);
}

static CLLMInference *context(CLLMModel *model, uint64_t seed) {
    CLLMInference *inference = cllm_inference_init(model);
    cllm_set_seed(inference, seed);
    return inference;
}

/* n tokens and then m are the same as n + m, also where the sequence leaves the positions. */
static void continuing(void) {
    for (uint32_t positions = 0; positions <= 24; positions += 12) {
        CLLMModel *model = made(positions, 3);
        static Text whole, parts;
        whole = (Text){0};
        parts = (Text){0};
        CLLMInference *one = context(model, 5), *two = context(model, 5);
        cllm_set_repetition_penalty(one, 1.3f);
        cllm_set_repetition_penalty(two, 1.3f);
        cllm_set_max_tokens(one, 60);
        CHECK(cllm_generate_stream(one, "token_7 token_9", collect, &whole) == 60);
        cllm_set_max_tokens(two, 20);
        CHECK(cllm_generate_stream(two, "token_7 token_9", collect, &parts) == 20);
        CHECK(cllm_continue_stream(two, collect, &parts) == 20);
        CHECK(cllm_continue_stream(two, collect, &parts) == 20);
        CHECK(whole.pieces == 60 && strcmp(whole.bytes, parts.bytes) == 0);
        cllm_inference_cleanup(one);
        cllm_inference_cleanup(two);
        cllm_free_model(model);
    }
}

/* A generation that its callback stopped goes on with the next token; cllm_generate counts too. */
static void continuing_after_a_stop(void) {
    CLLMModel *model = made(64, 3);
    static Text whole, parts;
    CLLMInference *one = context(model, 1), *two = context(model, 1);
    cllm_set_max_tokens(one, 30);
    cllm_set_max_tokens(two, 30);
    CHECK(cllm_generate_stream(one, "token_1", collect, &whole) == 30);
    parts.stop_after = 11;
    CHECK(cllm_generate_stream(two, "token_1", collect, &parts) == 11);
    parts.stop_after = 0;
    cllm_set_max_tokens(two, 19);
    CHECK(cllm_continue_stream(two, collect, &parts) == 19);
    CHECK(strcmp(whole.bytes, parts.bytes) == 0);

    char text[2000];
    cllm_set_seed(two, 1);
    cllm_set_max_tokens(two, 12);
    CHECK(cllm_generate(two, "token_1", text, sizeof text) == 12);
    parts = (Text){0};
    cllm_set_max_tokens(two, 18);
    CHECK(cllm_continue_stream(two, collect, &parts) == 18);
    size_t prompt = strlen("token_1"), head = strlen(text) - prompt;
    CHECK(strncmp(text + prompt, whole.bytes, head) == 0);
    CHECK(strcmp(whole.bytes + head, parts.bytes) == 0);
    cllm_inference_cleanup(one);
    cllm_inference_cleanup(two);
    cllm_free_model(model);
}

/* A callback that begins another generation in its context has it, and ends its own. */
typedef struct Nested {
    CLLMInference *inference;
    char text[400];
    int pieces, words;
} Nested;

static bool begin_another(const char *piece, size_t length, uint32_t token, void *user_data) {
    Nested *nested = user_data;
    (void)piece, (void)length, (void)token;
    if (++nested->pieces == 3)
        nested->words = cllm_generate(nested->inference, "token_4", nested->text, sizeof nested->text);
    return true;
}

static void nesting(void) {
    CLLMModel *model = made(64, 3);
    Nested nested = {.inference = context(model, 1)};
    cllm_set_max_tokens(nested.inference, 10);
    CHECK(cllm_generate_stream(nested.inference, "token_1", begin_another, &nested) == -1);
    CHECK(strstr(cllm_last_error(), "another generation"));
    CHECK(nested.pieces == 3 && nested.words == 10 && strstr(nested.text, "token_4 ") == nested.text);
    static Text rest;
    CHECK(cllm_continue_stream(nested.inference, collect, &rest) == 10); /* of the inner one */
    cllm_inference_cleanup(nested.inference);
    cllm_free_model(model);
}

static void nothing_to_continue(void) {
    CLLMModel *model = made(16, 3);
    CLLMInference *inference = context(model, 1);
    static Text text;
    CHECK(cllm_continue_stream(inference, collect, &text) == -1);
    CHECK(strstr(cllm_last_error(), "no generation"));
    CHECK(cllm_continue_stream(NULL, collect, &text) == -1);
    CHECK(cllm_generate_stream(inference, "token_1", collect, &text) > 0);
    CHECK(cllm_continue_stream(inference, NULL, NULL) == -1);
    CHECK(cllm_generate_stream(inference, "token_1", NULL, NULL) == -1);
    cllm_inference_cleanup(inference);
    CHECK(cllm_continue_stream(inference, collect, &text) == -1); /* freed */
    cllm_free_model(model);
}

/* A restored context has the settings and goes on identically: in memory, and through files with
 * the model read back in between. */
static void restoring(void) {
    CLLMModel *model = made(24, 9);
    CLLMInference *one = context(model, 77);
    cllm_set_temperature(one, 1.3f);
    cllm_set_top_k(one, 17);
    cllm_set_top_p(one, 0.75f);
    cllm_set_min_p(one, 0.01f);
    cllm_set_repetition_penalty(one, 1.1f);
    cllm_set_max_tokens(one, 31);
    static Text beginning;
    beginning.stop_after = 17;
    CHECK(cllm_generate_stream(one, "token_3 token_4", collect, &beginning) == 17);

    uint8_t *state = NULL;
    size_t size = 0;
    CHECK(cllm_inference_get_state(one, &state, &size) == 0);
    CHECK(cllm_inference_save_state(one, in_scratch("state")) == 0);
    CHECK(cllm_write_model(model, in_scratch("model")) == 0);
    /* Two layers, keys and values of 16 floats for each of 18 cached positions. */
    CHECK(size > 2 * 2 * 16 * 4 * 18 && size < 2 * 2 * 16 * 4 * 18 + 600);

    static Text expected, memory, file, again;
    CHECK(cllm_continue_stream(one, collect, &expected) == 31);
    CHECK(cllm_continue_stream(one, collect, &expected) == 31);

    CLLMInference *two = context(model, 1);
    CHECK(cllm_inference_set_state(two, state, size) == 0);
    CHECK(two->temperature == 1.3f && two->top_k == 17 && two->top_p == 0.75f);
    CHECK(two->repetition_penalty == 1.1f && two->max_tokens == 31);
    cllm_continue_stream(two, collect, &memory);
    cllm_continue_stream(two, collect, &memory);
    CHECK(memory.length > 0 && strcmp(expected.bytes, memory.bytes) == 0);

    CLLMModel *read = cllm_read_model(in_scratch("model"));
    CLLMInference *three = context(read, 2);
    CHECK(cllm_inference_load_state(three, in_scratch("state")) == 0);
    cllm_inference_set_threads(three, 2);
    cllm_continue_stream(three, collect, &file);
    cllm_continue_stream(three, collect, &file);
    CHECK(strcmp(expected.bytes, file.bytes) == 0);

    /* The same context goes back. */
    CHECK(cllm_inference_set_state(one, state, size) == 0);
    cllm_continue_stream(one, collect, &again);
    cllm_continue_stream(one, collect, &again);
    CHECK(strcmp(expected.bytes, again.bytes) == 0);

    free(state);
    cllm_inference_cleanup(one);
    cllm_inference_cleanup(two);
    cllm_inference_cleanup(three);
    cllm_free_model(read);
    cllm_free_model(model);
}

/* cllm_forward goes on from the restored cache with the same bits. */
static void restoring_the_cache(void) {
    CLLMModel *model = made(24, 9);
    CLLMInference *one = context(model, 1), *two = context(model, 1);
    uint32_t tokens[] = {3, 1, 4, 1, 5, 9, 2, 6};
    for (int n = 1; n < 8; n++) cllm_forward(one, tokens, n);
    uint8_t *state;
    size_t size;
    CHECK(cllm_inference_get_state(one, &state, &size) == 0);
    CHECK(cllm_inference_set_state(two, state, size) == 0);
    cllm_forward(one, tokens, 8);
    cllm_forward(two, tokens, 8);
    CHECK(memcmp(one->logits, two->logits, 40 * sizeof(float)) == 0);
    CHECK(one->logits[0] != 0);
    free(state);
    cllm_inference_cleanup(one);
    cllm_inference_cleanup(two);
    cllm_free_model(model);
}

/* A fresh context, and one whose weights changed since: settings and generator without a cache. */
static void states_without_cache(void) {
    CLLMModel *model = made(24, 9);
    CLLMInference *one = context(model, 6), *two = context(model, 7);
    uint8_t *state;
    size_t size;
    CHECK(cllm_inference_get_state(one, &state, &size) == 0);
    CHECK(size < 600);
    CHECK(cllm_inference_set_state(two, state, size) == 0);
    static Text a, b;
    CHECK(cllm_continue_stream(two, collect, &a) == -1);
    cllm_generate_stream(one, "token_2", collect, &a);
    cllm_generate_stream(two, "token_2", collect, &b);
    CHECK(a.length > 0 && strcmp(a.bytes, b.bytes) == 0);
    free(state);

    for (size_t i = 0; i < model->num_weights; i++) model->weights[i] *= 1.01f;
    CHECK(cllm_inference_get_state(one, &state, &size) == 0);
    CHECK(size < 1000); /* the keys and values of the old weights stay out */
    CHECK(cllm_inference_set_state(two, state, size) == 0);
    free(state);
    cllm_inference_cleanup(one);
    cllm_inference_cleanup(two);
    cllm_free_model(model);
}

/* What does not fit, is damaged or cut short is refused, and nothing changes. */
static void refusals(void) {
    CLLMModel *model = made(24, 9), *other = made(24, 10), *smaller = made(24, 9);
    smaller->num_layers = 1;
    CLLMInference *one = context(model, 77), *two = context(model, 5), *three = context(model, 5);
    CLLMModel *one_head = made(24, 9);
    CLLMInference *foreign = context(other, 1), *shallow = context(smaller, 1);
    CLLMInference *one_headed = context(one_head, 1);
    static Text text, expected, found;
    cllm_generate_stream(one, "token_3", collect, &text);
    uint8_t *state = NULL;
    size_t size = 0;
    CHECK(cllm_inference_get_state(one, &state, &size) == 0);

    CHECK(cllm_inference_set_state(foreign, state, size) == -1);
    CHECK(strstr(cllm_last_error(), "other weights"));
    CHECK(cllm_inference_set_state(shallow, state, size) == -1);
    CHECK(strstr(cllm_last_error(), "number of layers"));
    /* Keys and values of two heads mean another thing to one. */
    for (uint32_t layer = 0; layer < 2; layer++) {
        one_head->attention_layers[layer].num_heads = 1;
        one_head->attention_layers[layer].head_dim = 16;
    }
    CHECK(cllm_inference_set_state(one_headed, state, size) == -1);
    CHECK(strstr(cllm_last_error(), "other heads"));
    for (size_t cut = 0; cut < size; cut += cut < 300 ? 1 : 97)
        CHECK(cllm_inference_set_state(two, state, cut) == -1);
    for (size_t i = 0; i < size; i += i < 300 ? 1 : 97) {
        state[i] ^= 0x40;
        CHECK(cllm_inference_set_state(two, state, size) == -1);
        state[i] ^= 0x40;
    }
    CHECK(cllm_inference_set_state(two, NULL, size) == -1);
    CHECK(cllm_inference_set_state(NULL, state, size) == -1);
    CHECK(cllm_inference_get_state(NULL, &state, &size) == -1);
    uint8_t *kept = state;
    CHECK(cllm_inference_get_state(one, NULL, &size) == -1);
    CHECK(cllm_inference_get_state(one, &state, NULL) == -1);
    CHECK(state == kept);
    CHECK(cllm_inference_save_state(one, NULL) == -1);
    CHECK(cllm_inference_save_state(one, in_scratch("no/folder")) == -1);
    CHECK(cllm_inference_load_state(one, in_scratch("missing")) == -1);
    CHECK(strstr(cllm_last_error(), "missing"));
    CHECK(cllm_inference_load_state(one, scratch) == -1);
    CHECK(cllm_inference_load_state(one, "/dev/zero") == -1);

    /* The context that refused all of it is as a fresh one. */
    cllm_generate_stream(three, "token_8", collect, &expected);
    cllm_generate_stream(two, "token_8", collect, &found);
    CHECK(expected.length > 0 && strcmp(expected.bytes, found.bytes) == 0);
    free(state);
    cllm_inference_cleanup(one);
    CHECK(cllm_inference_get_state(one, &state, &size) == -1); /* freed */
    cllm_inference_cleanup(two);
    cllm_inference_cleanup(three);
    cllm_inference_cleanup(foreign);
    cllm_inference_cleanup(shallow);
    cllm_inference_cleanup(one_headed);
    cllm_free_model(one_head);
    smaller->num_layers = 2;
    cllm_free_model(model);
    cllm_free_model(other);
    cllm_free_model(smaller);
}

int main(void) {
    cllm_set_log_silent();
    scratch_make();
    RUN(continuing);
    RUN(continuing_after_a_stop);
    RUN(nesting);
    RUN(nothing_to_continue);
    RUN(restoring);
    RUN(restoring_the_cache);
    RUN(states_without_cache);
    RUN(refusals);
    CHECK(scratch_remove() == 0);
    return harness_report();
}
