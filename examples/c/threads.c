/* Many contexts over one model, each on a thread of its own. A context is used by one thread at a
 * time; the model is only read. Contexts with the same seed give the same text.
 *
 *     cc threads.c $(pkg-config --cflags --libs cllm) -lpthread -o threads
 *     ./threads model.cllm "once upon a"
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "cllm_ext.h"
#include "cllm_format.h"
#include "cllm_inference.h"

enum { THREADS = 8 };

typedef struct Job {
    CLLMModel *model;
    const char *prompt;
    uint64_t seed;
    char text[2048];
    int words;
} Job;

static void *generate(void *argument) {
    Job *job = argument;
    CLLMInference *inference = cllm_inference_init(job->model);
    cllm_set_seed(inference, job->seed);
    cllm_set_max_tokens(inference, 12);
    job->words = cllm_generate(inference, job->prompt, job->text, sizeof job->text);
    cllm_inference_cleanup(inference);
    return NULL;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: %s MODEL PROMPT\n", argv[0]);
        return 2;
    }
    CLLMModel *model = cllm_read_model(argv[1]);
    if (!model) return 1;
    static Job jobs[THREADS];
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        jobs[i] = (Job){.model = model, .prompt = argv[2], .seed = (uint64_t)i / 2};
        if (pthread_create(&threads[i], NULL, generate, &jobs[i]) != 0) return 1;
    }
    int failed = 0;
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        failed += jobs[i].words < 0;
        if (i % 2 == 1) failed += strcmp(jobs[i].text, jobs[i - 1].text) != 0; /* the same seed */
        printf("%d (seed %d): %s\n", i, i / 2, jobs[i].text);
    }
    cllm_free(model);
    return failed != 0;
}
