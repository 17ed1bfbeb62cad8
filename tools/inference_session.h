/* cllm_inference's interactive mode. */
#ifndef CLLM_TOOLS_INFERENCE_SESSION_H
#define CLLM_TOOLS_INFERENCE_SESSION_H

#include "common.h"

#include "cllm_inference.h"

/* 0 (greedy), or what the library takes. */
bool temperature_is_valid(double temperature);

/* Names the first words of a prompt that the model does not know, if there are some. */
void warn_of_unknown_words(CLLMInference *inference, const char *prompt);

/* Continues each line that is typed, with all that was said before it, until /quit or the end of
 * the input. Generated text goes to stdout, everything else to stderr. */
void hold_session(CLLMInference *inference, double temperature, uint64_t seed);

#endif
