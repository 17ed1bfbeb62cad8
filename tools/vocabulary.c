#include "vocabulary.h"

#include <stdlib.h>
#include <string.h>

#include "cllm_ext.h"

enum { MOST_WORDS = 1 << 26 }; /* a tokenizer takes no more */

/* One word; `id` is its place in the order of appearance. */
typedef struct Word {
    uint32_t id, count;
} Word;

static CLLMTokenizer *create_tokenizer(size_t entries) {
    CLLMTokenizer *tokenizer = cllm_create_tokenizer((uint32_t)entries);
    if (!tokenizer) {
        fail("can't create a vocabulary of %zu entries: %s", entries, library_error());
    }
    return tokenizer;
}

/* A tokenizer has its size from the beginning, and the number of different words is not known before
 * they are counted: counting begins with room for a million and, where that was not enough, again
 * with more. */
CLLMTokenizer *all_words(const char *text) {
    size_t most = FIRST_WORD + strlen(text) / 2 + 1, room = 1 << 20; /* one letter, one space each */
    for (;; room *= 4) {
        room = room < most ? room : most;
        room = room < MOST_WORDS ? room : MOST_WORDS;
        CLLMTokenizer *all = create_tokenizer(room);
        cllm_clear_error();
        cllm_build_vocab(all, text);
        if (*cllm_last_error()) {
            fail("can't count the words: %s", library_error());
        }
        if (all->vocab_size < room || room == most) {
            return all;
        }
        if (room == MOST_WORDS) {
            fail("the text has more than %d different words: --tokens bpe holds any text",
                 MOST_WORDS - FIRST_WORD);
        }
        cllm_free_tokenizer(all);
    }
}

static int by_frequency(const void *a, const void *b) {
    const Word *x = a, *y = b;
    if (x->count != y->count) {
        return x->count < y->count ? 1 : -1;
    }
    return x->id < y->id ? -1 : x->id > y->id;
}

static int by_id(const void *a, const void *b) {
    const Word *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

CLLMTokenizer *choose_words(const CLLMTokenizer *all, uint32_t max_size, uint32_t least,
                            uint32_t most) {
    Word *words = checked_alloc(all->vocab_size, sizeof *words);
    size_t count = 0;
    for (uint32_t id = FIRST_WORD; id < all->vocab_size; id++) {
        uint32_t frequency = all->token_counts[id];
        if (frequency >= least && frequency <= most) {
            words[count++] = (Word){id, frequency};
        }
    }
    if (count > max_size - FIRST_WORD) {
        qsort(words, count, sizeof *words, by_frequency);
        count = max_size - FIRST_WORD;
        qsort(words, count, sizeof *words, by_id);
    }
    CLLMTokenizer *chosen = create_tokenizer(count + FIRST_WORD);
    for (size_t i = 0; i < count; i++) { /* no word is there yet: cllm_add_token would look for each */
        const char *word = all->vocab[words[i].id];
        chosen->vocab[FIRST_WORD + i] = copy_text(word, strlen(word));
        chosen->token_counts[FIRST_WORD + i] = words[i].count;
    }
    chosen->vocab_size = (uint32_t)(FIRST_WORD + count);
    free(words);
    return chosen;
}
