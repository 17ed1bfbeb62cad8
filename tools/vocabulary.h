/* Vocabularies of the words of texts. */
#ifndef CLLM_TOOLS_VOCABULARY_H
#define CLLM_TOOLS_VOCABULARY_H

#include "common.h"

enum { UNKNOWN = 1, FIRST_WORD = 5 }; /* ids: <UNK>, and the first that is no special word */

/* All words of the texts with their counts, in order of appearance; fail() if there are more than
 * the library can count. */
CLLMTokenizer *all_words(char *const *texts, size_t count);

/* Those words of `all` that appear `least` to `most` times, in the same order. Where there are more
 * than `max_size` allows (the five special ones included), the most frequent ones; of equally frequent
 * words those that come first. */
CLLMTokenizer *choose_words(const CLLMTokenizer *all, uint32_t max_size, uint32_t least,
                            uint32_t most);

/* The ids with the largest counts, largest first: at most `most` of them, their number returned.
 * `counts` is by id; words without a count are left out, and of equal ones the first comes first. */
int top_words(const uint32_t *counts, uint32_t size, uint32_t *ids, int most);

#endif
