/* Vocabularies of the words of texts. */
#ifndef CLLM_TOOLS_VOCABULARY_H
#define CLLM_TOOLS_VOCABULARY_H

#include "tokens.h"

/* All words of a text with their counts, in order of appearance; fail() if there are more than
 * the library can count. */
CLLMTokenizer *all_words(const char *text);

/* Those words of `all` that appear `least` to `most` times, in the same order. Where there are more
 * than `max_size` allows (the five special ones included), the most frequent ones; of equally frequent
 * words those that come first. */
CLLMTokenizer *choose_words(const CLLMTokenizer *all, uint32_t max_size, uint32_t least,
                            uint32_t most);

#endif
