/* A program whose functions have names of the library's: each calls its own, and the library works as
 * ever. With WITH_OTHER_RUST it has another static library written in Rust, too. */
#include "cllm_ext.h"
#include "cllm_format.h"
#include "cllm_inference.h"
#include "cllm_utils.h"
#include <stdio.h>
#include <string.h>

static int calls;
int save_checkpoint(const char *name);
float dot_product(float a, float b);
void clip_gradients(void);
double prime_exp(double x);

int save_checkpoint(const char *name) { return calls++, (int)strlen(name); }
float dot_product(float a, float b) { return calls++, a * b; }
void clip_gradients(void) { calls++; }
double prime_exp(double x) { return calls++, x; }

#ifdef WITH_OTHER_RUST
int other_rust(int x);
#else
static int other_rust(int x) { return x < 0 ? -7 : x + 1; }
#endif

int main(void) {
    cllm_set_log_silent();
    CLLMConfig config = {.vocab_size = 20, .embedding_dim = 8, .num_layers = 1, .num_heads = 2,
                         .ff_dim = 16, .max_seq_len = 16};
    CLLMModel *model = cllm_create_model(&config);
    CLLMInference *inference = cllm_inference_init(model);
    char text[256];
    int generated = cllm_generate(inference, "token_7 token_9", text, sizeof text);
    bool works = generated > 0 && calls == 0; /* none of ours was called */
    cllm_inference_cleanup(inference);
    cllm_free_model(model);
    works = works && save_checkpoint("four") == 4 && dot_product(2, 3) == 6 && prime_exp(1) == 1;
    clip_gradients();
    works = works && calls == 4 && other_rust(1) == 2 && other_rust(-1) == -7;
    works = works && cllm_read_model("/nonexistent") == NULL && *cllm_last_error();
    if (!works) {
        fprintf(stderr, "%d generated, %d calls\n", generated, calls);
    }
    return !works;
}
