/* cllm_ext.h: scores of texts, next tokens and words, allowed tokens, embeddings. */
#include "scratch.h"

#include "cllm_ext.h"
#include "cllm_format.h"
#include "cllm_inference.h"
#include "cllm_tokenizer.h"
#include "cllm_training.h"
#include "cllm_utils.h"
#include "harness.h"

enum { V = 40, D = 16, POSITIONS = 12, N = 31 };

static CLLMModel *made(unsigned seed) {
    srand(seed);
    CLLMConfig config = {.vocab_size = V, .embedding_dim = D, .num_layers = 2, .num_heads = 2,
                         .ff_dim = 32, .max_seq_len = POSITIONS};
    CLLMModel *model = cllm_create_model(&config);
    /* Weights as of a trained model: predictions that differ from each other. */
    for (uint64_t i = 0; i < model->num_weights; i++) model->weights[i] *= 12;
    return model;
}

static bool same_weights(const CLLMModel *a, const CLLMModel *b) {
    return memcmp(a->weights, b->weights, a->num_weights * sizeof *a->weights) == 0;
}

/* The same with words: the five special ones, a01, a02, ... */
static CLLMModel *with_words(unsigned seed) {
    char text[V * 5] = "";
    for (int i = 5; i < V; i++) sprintf(text + strlen(text), "a%02d ", i);
    CLLMTokenizer *tokenizer = cllm_create_tokenizer(V);
    cllm_build_vocab(tokenizer, text);
    CLLMModel *model = made(seed);
    CHECK(cllm_model_set_vocab(model, tokenizer) == 0);
    cllm_free_tokenizer(tokenizer);
    return model;
}

static void fill(uint32_t ids[N]) {
    for (uint32_t i = 0, x = 7; i < N; i++, x = x * 1664525u + 1013904223u) ids[i] = (x >> 16) % V;
}

/* ln softmax of cllm_forward's logits after tokens, in double. */
static void after(CLLMInference *inference, uint32_t *tokens, int n, double out[V]) {
    cllm_kv_cache_clear(inference);
    cllm_forward(inference, tokens, n);
    double sum = 0;
    for (int i = 0; i < V; i++) sum += exp(inference->logits[i]);
    for (int i = 0; i < V; i++) out[i] = inference->logits[i] - log(sum);
}

static void scores(void) {
    CLLMModel *model = made(3);
    CLLMInference *inference = cllm_inference_init(model), *other = cllm_inference_init(model);
    cllm_inference_set_threads(other, 2);
    uint32_t ids[N], ranks[N], two_ranks[N];
    float log_probs[N], two[N];
    fill(ids);
    static const int strides[] = {POSITIONS, 5, 1, 0};
    for (int s = 0; s < 4; s++) {
        int stride = strides[s] ? strides[s] : POSITIONS / 2;
        CLLMScore score = {.struct_size = sizeof score};
        CHECK(cllm_score_tokens(inference, ids, N, strides[s], 100, log_probs, ranks, &score) == 0);
        CHECK(log_probs[0] == 0 && ranks[0] == 0);
        double nats = 0;
        for (int i = 1; i < N; i++) {
            int start = 0;
            while (i - 1 >= start + POSITIONS) start += stride;
            double expected[V];
            after(inference, ids + start, i - start, expected);
            CHECK_NEAR(log_probs[i], expected[ids[i]], 1e-4);
            uint32_t rank = 1;
            for (int k = 0; k < V; k++) rank += expected[k] > expected[ids[i]];
            CHECK(ranks[i] == rank);
            nats -= log_probs[i];
        }
        CHECK(score.tokens == N - 1 && score.bytes == 100 && score.struct_size == sizeof score);
        CHECK_NEAR(score.nats, nats, 1e-6);
        CHECK_NEAR(score.nats_per_token, nats / (N - 1), 1e-6);
        CHECK_NEAR(score.bits_per_byte, nats / log(2) / 100, 1e-6);
        CLLMScore again = {.struct_size = sizeof again};
        CHECK(cllm_score_tokens(other, ids, N, strides[s], 100, two, two_ranks, &again) == 0);
        CHECK(memcmp(two, log_probs, sizeof two) == 0 && memcmp(two_ranks, ranks, sizeof ranks) == 0);
        CHECK(memcmp(&again, &score, sizeof score) == 0);
    }
    /* Each of the outputs is enough; in place; bytes that are not known. */
    CHECK(cllm_score_tokens(inference, ids, N, 0, 0, two, NULL, NULL) == 0);
    CHECK(memcmp(two, log_probs, sizeof two) == 0);
    CLLMScore score = {.struct_size = sizeof score + 8};
    CHECK(cllm_score_tokens(inference, ids, N, 0, 0, NULL, NULL, &score) == 0);
    CHECK(isnan(score.bits_per_byte) && score.struct_size == sizeof score);
    CHECK(cllm_score_tokens(inference, ids, 1, 0, 5, NULL, NULL, &score) == 0);
    CHECK(score.tokens == 0 && score.nats == 0 && score.nats_per_token == 0);
    memcpy(two_ranks, ids, sizeof ids);
    CHECK(cllm_score_tokens(inference, two_ranks, N, 0, 0, NULL, two_ranks, NULL) == 0);
    CHECK(memcmp(two_ranks, ranks, sizeof ranks) == 0);

    score.nats = -1;
    CHECK(cllm_score_tokens(inference, ids, 0, 0, 0, NULL, NULL, &score) == -1);
    CHECK(cllm_score_tokens(inference, ids, N, POSITIONS + 1, 0, NULL, NULL, &score) == -1);
    CHECK(cllm_score_tokens(inference, ids, N, -1, 0, NULL, NULL, &score) == -1);
    ids[7] = V;
    CHECK(cllm_score_tokens(inference, ids, N, 0, 0, two, NULL, &score) == -1);
    CHECK(strstr(cllm_last_error(), "a token id is 40") && memcmp(two, log_probs, sizeof two) == 0);
    score.struct_size = 8;
    CHECK(cllm_score_tokens(inference, ids, 5, 0, 0, NULL, NULL, &score) == -1);
    CHECK(score.nats == -1 && strstr(cllm_last_error(), "struct_size"));
    cllm_inference_cleanup(other);
    cllm_inference_cleanup(inference);
    cllm_free_model(model);
}

/* Each window is scored, and learnt then. */
static void learning_on_the_way(void) {
    enum { WINDOW = 8, STRIDE = 4 };
    CLLMTrainingConfig config = {.batch_size = 1, .sequence_length = WINDOW, .gradient_clip = 1};
    uint32_t ids[N];
    for (uint32_t i = 0; i < N; i++) ids[i] = i % 5 + 7;
    float log_probs[2][N], plain[N];
    CLLMScore score = {.struct_size = sizeof score}, again = score, without = score;
    CLLMModel *models[] = {made(3), made(3)}, *same = made(3);
    for (int i = 0; i < 2; i++) {
        CLLMTraining *training = cllm_training_init(models[i], &config);
        CHECK(cllm_dynamic_evaluation(training, ids, N, 100, STRIDE, 0, 1, plain, &without) == 0);
        CHECK(same_weights(models[i], same) && training->current_step == 0);
        CHECK(cllm_dynamic_evaluation(training, ids, N, 100, i ? 0 : STRIDE, 1e-2f, i + 1, log_probs[i],
                                      i ? &again : &score) == 0);
        /* A window of 8, then one every 4 tokens, the last of them shorter. */
        CHECK(training->current_step == 1 + (N - 1 - WINDOW + STRIDE - 1) / STRIDE);
        cllm_training_free(training);
    }
    /* Half of a window is the stride unless one is given, and threads change nothing. */
    CHECK(memcmp(log_probs[0], log_probs[1], sizeof plain) == 0);
    CHECK(memcmp(&score, &again, sizeof score) == 0 && same_weights(models[0], models[1]));
    CHECK(!same_weights(models[0], same) && models[0]->training_meta.training_steps > 0);
    CHECK(log_probs[0][0] == 0 && score.tokens == N - 1 && score.bytes == 100);
    double nats = 0;
    for (int i = 1; i < N; i++) nats -= log_probs[0][i];
    CHECK_NEAR(score.nats, nats, 1e-5);
    /* The first window is not learnt when it is scored; what comes again is known by then. */
    CHECK(memcmp(log_probs[0], plain, (WINDOW + 1) * sizeof *plain) == 0);
    CHECK(memcmp(log_probs[0] + WINDOW + 1, plain + WINDOW + 1, sizeof *plain) != 0);
    CHECK(score.nats < without.nats);

    CLLMTraining *training = cllm_training_init(same, &config);
    score.nats = -1;
    CHECK(cllm_dynamic_evaluation(NULL, ids, N, 0, 0, 1e-3f, 1, NULL, &score) == -1);
    CHECK(cllm_dynamic_evaluation(training, ids, 0, 0, 0, 1e-3f, 1, NULL, &score) == -1);
    CHECK(cllm_dynamic_evaluation(training, ids, N, 0, WINDOW + 1, 1e-3f, 1, NULL, &score) == -1);
    CHECK(cllm_dynamic_evaluation(training, ids, N, 0, -1, 1e-3f, 1, NULL, &score) == -1);
    CHECK(cllm_dynamic_evaluation(training, ids, N, 0, 0, -1e-3f, 1, NULL, &score) == -1);
    CHECK(strstr(cllm_last_error(), "learning rate"));
    CHECK(cllm_dynamic_evaluation(training, ids, N, 0, 0, NAN, 1, NULL, &score) == -1);
    ids[N - 1] = V;
    CHECK(cllm_dynamic_evaluation(training, ids, N, 0, 0, 1e-3f, 1, NULL, &score) == -1);
    CHECK(strstr(cllm_last_error(), "a token id is 40"));
    score.struct_size = 8;
    CHECK(cllm_dynamic_evaluation(training, ids, 5, 0, 0, 1e-3f, 1, NULL, &score) == -1);
    CHECK(score.nats == -1 && training->current_step == 0);
    CLLMModel *untouched = made(3);
    CHECK(same_weights(same, untouched));
    cllm_free_model(untouched);
    /* A gradient that is not finite costs its update, and is said. */
    fill(ids);
    same->weights[V * D] = NAN;
    double before = same->weights[0];
    CHECK(cllm_dynamic_evaluation(training, ids, N, 0, 0, 1e-3f, 1, NULL, NULL) == 0);
    CHECK(cllm_skipped_updates(training) == training->current_step && training->current_step > 0);
    CHECK(same->weights[0] == before && strstr(cllm_last_error(), "not finite"));
    cllm_training_free(training);
    cllm_free_model(models[0]);
    cllm_free_model(models[1]);
    cllm_free_model(same);
}

/* A text is its tokens, and its length is the text's. */
static void texts(void) {
    CLLMModel *model = with_words(4);
    CLLMInference *inference = cllm_inference_init(model);
    const char text[] = "a05  a17\n\na30 unknown a08";
    uint32_t ids[8];
    int n = cllm_tokenize(inference, text, ids, 8);
    CHECK(n == 5 && ids[3] == 1);
    CLLMScore by_text = {.struct_size = sizeof by_text}, by_ids = by_text;
    CHECK(cllm_score_text(inference, text, strlen(text), 0, &by_text) == 0);
    CHECK(cllm_score_tokens(inference, ids, 5, 0, strlen(text), NULL, NULL, &by_ids) == 0);
    CHECK(by_text.bytes == 25 && memcmp(&by_text, &by_ids, sizeof by_ids) == 0);
    CHECK(cllm_score_text(inference, text, 8, 0, &by_text) == 0);
    CHECK(by_text.tokens == 1 && by_text.bytes == 8);
    CHECK(cllm_score_text(inference, " \n", 2, 0, &by_text) == -1);
    CHECK(cllm_score_text(inference, text, 8, 0, NULL) == -1);

    CLLMScore whole = {.struct_size = sizeof whole};
    double loss;
    CHECK(cllm_evaluate(model, ids, 5, 3, 1, &loss, NULL) == 0);
    CHECK(cllm_evaluate_bytes(model, ids, 5, 25, 3, 1, &whole) == 0);
    CHECK(whole.nats_per_token == loss && whole.tokens == 4 && whole.bytes == 25);
    CHECK_NEAR(whole.bits_per_byte, 4 * loss / log(2) / 25, 1e-9);
    CHECK(cllm_evaluate_bytes(model, ids, 1, 25, 3, 1, &whole) == -1);

    float mean[D], last[D], hidden[5 * D], again[D];
    CHECK(cllm_hidden_states(inference, ids, 5, hidden) == 0);
    CHECK(cllm_embed_text(inference, text, strlen(text), CLLM_POOLING_MEAN, mean) == 0);
    CHECK(cllm_embed_text(inference, text, strlen(text), CLLM_POOLING_LAST, last) == 0);
    for (int c = 0; c < D; c++) {
        double sum = 0;
        for (int i = 0; i < 5; i++) sum += hidden[i * D + c];
        CHECK_NEAR(mean[c], sum / 5, 1e-6);
        CHECK_NEAR(last[c], hidden[4 * D + c], 1e-6);
    }
    CHECK(cllm_embed_tokens(inference, ids, 5, CLLM_POOLING_MEAN, again) == 0);
    CHECK(memcmp(again, mean, sizeof mean) == 0);
    cllm_forward(inference, ids, 5);
    for (int c = 0; c < D; c++) CHECK_NEAR(inference->hidden_states[c], last[c], 1e-5);
    CHECK(cllm_embed_tokens(inference, ids, 5, 7, again) == -1);
    CHECK(strstr(cllm_last_error(), "pooling") && memcmp(again, mean, sizeof mean) == 0);
    CHECK(cllm_embed_text(inference, "", 0, CLLM_POOLING_MEAN, again) == -1);
    cllm_inference_cleanup(inference);
    cllm_free_model(model);
}

typedef struct Words {
    char text[300];
    float probability[40];
    int count, limit;
} Words;

static bool keep(const char *word, size_t length, float probability, void *user_data) {
    Words *words = user_data;
    strncat(words->text, word, length);
    words->probability[words->count++] = probability;
    return words->count != words->limit;
}

static void what_comes_next(void) {
    CLLMModel *model = with_words(5);
    CLLMInference *inference = cllm_inference_init(model);
    uint32_t ids[] = {9, 21, 30};
    IndexProb next[V];
    double expected[V], total = 0;
    after(inference, ids, 3, expected);
    for (int i = 5; i < V; i++) total += exp(expected[i]);
    /* All but the special words; an <EOS> that training never met is one of them. */
    int found = cllm_next_tokens(inference, ids, 3, next, V);
    CHECK(found == V - 5);
    for (int i = 0; i < found; i++) {
        CHECK_NEAR(next[i].prob, exp(expected[next[i].idx]) / total, 1e-5);
        CHECK(next[i].idx >= 5 && (i == 0 || next[i].prob <= next[i - 1].prob));
    }
    Words words = {.limit = 3};
    CHECK(cllm_next_words(inference, "a09 a21 a30", 5, keep, &words) == 3);
    char best[64];
    sprintf(best, " a%02d a%02d a%02d", next[0].idx, next[1].idx, next[2].idx);
    CHECK(strcmp(words.text, best) == 0 && words.probability[2] == next[2].prob);

    uint32_t three[] = {11, 3, 12, 13};
    CHECK(cllm_set_allowed_tokens(inference, three, 4) == 0);
    CHECK(cllm_next_tokens(inference, ids, 3, next, 1) == 1);
    CHECK(cllm_next_tokens(inference, ids, 3, next, 10) == 3);
    CHECK_NEAR(next[0].prob + next[1].prob + next[2].prob, 1, 1e-6);
    cllm_set_allow_special(inference, true);
    CHECK(cllm_next_tokens(inference, ids, 3, next, 10) == 4);
    CHECK(cllm_next_tokens(inference, ids, 3, next, 0) == -1);
    CHECK(cllm_next_tokens(inference, ids, 0, next, 1) == -1);
    CHECK(cllm_next_words(inference, "a09", 257, keep, &words) == -1);
    CHECK(strstr(cllm_last_error(), "num_words is 257"));
    CHECK(cllm_next_words(inference, "", 3, keep, &words) == -1 && words.count == 3);
    CHECK(cllm_next_words(inference, "a09", 3, NULL, NULL) == -1);
    cllm_inference_cleanup(inference);
    cllm_free_model(model);
}

typedef struct Listed {
    struct { char text[16]; float probability; } words[256];
    int count;
} Listed;

static bool list(const char *word, size_t length, float probability, void *user_data) {
    Listed *listed = user_data;
    memcpy(listed->words[listed->count].text, word, length);
    listed->words[listed->count++].probability = probability;
    return true;
}

/* A space at the end of a prompt is the one that tokens such as " ab" begin with: what is found behind it is
 * what is found without it and begins with it, given that. A space as a token of its own was never met. */
static void a_space_was_typed(void) {
    char text[1000] = "ab ";
    while (strlen(text) < 900) strcat(text, "ba ab aab ");
    CLLMTokenizer *tokenizer = cllm_train_tokenizer(text, strlen(text), 265, NULL, NULL);
    size_t count;
    uint32_t *ids = cllm_text_to_tokens(tokenizer, text, strlen(text), false, 1, &count);
    CLLMConfig sizes = {.vocab_size = cllm_get_vocab_size(tokenizer), .embedding_dim = D, .num_layers = 1,
                        .num_heads = 2, .ff_dim = 32, .max_seq_len = POSITIONS};
    CLLMModel *model = cllm_create_modern_model(&sizes, 4);
    CHECK(cllm_model_set_vocab(model, tokenizer) == 0);
    CLLMTrainingConfig config = {.learning_rate = 0.02f, .batch_size = 4, .sequence_length = 10, .optimizer = "adamw"};
    CLLMTraining *training = cllm_training_init(model, &config);
    training->tokens = ids;
    training->num_tokens = count;
    for (int i = 0; i < 10; i++) CHECK(cllm_train_steps(training, 0, 1, NULL) >= 0);
    cllm_training_free(training);

    CLLMInference *inference = cllm_inference_init(model);
    IndexProb next[300];
    double space = 0;
    uint32_t *prompt = cllm_text_to_tokens(tokenizer, "aab ba", 6, false, 1, &count);
    int found = cllm_next_tokens(inference, prompt, count, next, 300);
    for (int i = 0; i < found; i++) {
        size_t length;
        space += cllm_token_text(tokenizer, (uint32_t)next[i].idx, &length)[0] == ' ' ? next[i].prob : 0;
    }
    CHECK(space > 0.5 && space < 1);

    static Listed before, behind, alone;
    CHECK(cllm_next_words(inference, "aab ba", 20, list, &before) == 20);
    CHECK(cllm_next_words(inference, "aab ba ", 20, list, &behind) == 20);
    CHECK(strcmp(before.words[0].text, " ab") == 0 && strcmp(behind.words[0].text, "ab") == 0);
    CHECK_NEAR(behind.words[0].probability, before.words[0].probability / space, 1e-3);
    CHECK(behind.words[0].probability > before.words[0].probability);
    /* A space alone has nothing before it. */
    CHECK(cllm_next_words(inference, " ", 3, list, &alone) == 3);
    free(prompt);
    free(ids);
    cllm_inference_cleanup(inference);
    cllm_free_model(model);
    cllm_free_tokenizer(tokenizer);
}

typedef struct Rule {
    CLLMInference *inference;
    int calls, end_after, modulus;
    bool intrudes;
} Rule;

static bool by_rule(const uint32_t *tokens, size_t num_tokens, unsigned char *allowed,
                    size_t vocab_size, void *user_data) {
    Rule *rule = user_data;
    CHECK(vocab_size == V && num_tokens >= 1 && tokens[0] == 9 && allowed[0] == 1);
    if (rule->intrudes) cllm_generate_stream(rule->inference, "a10", NULL, NULL);
    for (size_t i = 0; i < vocab_size; i++)
        allowed[i] = rule->modulus && i % (size_t)rule->modulus == num_tokens % 2 ? 255 : 0;
    return ++rule->calls != rule->end_after;
}

static bool count(const char *piece, size_t length, uint32_t token, void *user_data) {
    (void)piece, (void)length;
    ((uint32_t *)user_data)[++((uint32_t *)user_data)[0]] = token;
    return true;
}

static void allowed(void) {
    CLLMModel *model = with_words(6);
    CLLMInference *inference = cllm_inference_init(model);
    uint32_t got[64] = {0}, some[] = {20, 25, 0}, unknown[] = {20, V};
    cllm_set_max_tokens(inference, 30);
    CHECK(cllm_set_allowed_tokens(inference, some, 3) == 0);
    CHECK(cllm_set_allowed_tokens(inference, unknown, 2) == -1);
    CHECK(cllm_generate_stream(inference, "a09", count, got) == 30 && got[0] == 30);
    for (int i = 1; i <= 30; i++) CHECK(got[i] == 20 || got[i] == 25);
    char output[256];
    CHECK(cllm_set_allowed_tokens(inference, some, 0) == 0);
    CHECK(cllm_generate(inference, "a09", output, sizeof output) == -1);
    CHECK(strstr(cllm_last_error(), "not allowed"));
    CHECK(cllm_set_allowed_tokens(inference, NULL, 0) == 0);

    /* The callback sees the sequence, and narrows what is left. */
    Rule rule = {.inference = inference, .modulus = 5};
    CHECK(cllm_set_allowed_callback(inference, by_rule, &rule) == 0);
    got[0] = 0;
    CHECK(cllm_generate_stream(inference, "a09", count, got) == 30 && rule.calls == 30);
    for (uint32_t i = 1; i <= 30; i++) CHECK(got[i] % 5 == i % 2);
    rule = (Rule){.inference = inference, .modulus = 5, .end_after = 8};
    CHECK(cllm_generate(inference, "a09", output, sizeof output) == 7);
    rule = (Rule){.inference = inference};
    CHECK(cllm_generate(inference, "a09", output, sizeof output) == -1);
    CHECK(strstr(cllm_last_error(), "not allowed"));
    /* What it does to the context is noticed. */
    cllm_generate_stream(inference, "a09", NULL, NULL);
    rule = (Rule){.inference = inference, .modulus = 5, .intrudes = true};
    CHECK(cllm_generate_stream(inference, "a09", count, got) == -1);
    CHECK(cllm_set_allowed_callback(inference, NULL, NULL) == 0);
    CHECK(cllm_generate(inference, "a09", output, sizeof output) == 30);
    cllm_inference_cleanup(inference);
    cllm_free_model(model);
}

int main(void) {
    cllm_set_log_silent();
    RUN(scores);
    RUN(learning_on_the_way);
    RUN(texts);
    RUN(what_comes_next);
    RUN(a_space_was_typed);
    RUN(allowed);
    return harness_report();
}
