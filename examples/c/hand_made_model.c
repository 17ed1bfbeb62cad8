/* A model put together by the program itself, in its own memory, without any file: models are
 * plain structs. This one has no layers: with E as input and output matrix, the logit of word j
 * after word i is the normalised E_i times E_j. Each E_i lies between E_(i-1) and E_(i+1), and each
 * is longer than the one before: so each word is followed by the next.
 *
 *     cc hand_made_model.c $(pkg-config --cflags --libs cllm) -lm -o hand_made_model
 *     ./hand_made_model
 */
#include <stdio.h>
#include <string.h>

#include "cllm.h"
#include "cllm_ext.h"
#include "cllm_inference.h"

enum { V = 4, D = 4 };

int main(void) {
    static const char *const words[V] = {"spring", "summer", "autumn", "winter"};
    static float embeddings[V][D] = {
        {1, -1, 0, 0}, {2, -2, 2, -2}, {0, 0, 8, -8}, {-12, 12, 12, -12}};
    CLLMToken tokens[V] = {0};
    for (uint32_t i = 0; i < V; i++) {
        tokens[i].token_id = i;
        strcpy(tokens[i].token_str, words[i]);
    }

    CLLMModel model = {0}; /* what it does not have is NULL */
    model.vocab_size = V;
    model.embedding_dim = D;
    model.tokens = tokens;
    model.embeddings.vocab_size = V;
    model.embeddings.embedding_dim = D;
    model.embeddings.embeddings = &embeddings[0][0];

    CLLMInference *inference = cllm_inference_init(&model);
    if (!inference) return 1;
    for (uint32_t i = 0; i + 1 < V; i++) {
        cllm_forward(inference, &i, 1);
        uint32_t best = 0;
        for (uint32_t j = 1; j < V; j++)
            if (inference->logits[j] > inference->logits[best]) best = j;
        printf("%s -> %s (logits", words[i], words[best]);
        for (int j = 0; j < V; j++) printf(" %.1f", inference->logits[j]);
        puts(")");
    }

    char text[100];
    cllm_set_greedy(inference, true);
    cllm_set_max_tokens(inference, 3);
    int made = cllm_generate(inference, "spring", text, sizeof text);
    puts(text);
    cllm_inference_cleanup(inference); /* the model is ours: nothing of it is freed */
    return made != 3;
}
