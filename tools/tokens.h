/* Tokenizers of every kind, from whatever file has one. */
#ifndef CLLM_TOOLS_TOKENS_H
#define CLLM_TOOLS_TOKENS_H

#include "common.h"

enum { UNKNOWN = 1, FIRST_WORD = 5 }; /* ids of words: <UNK>, and the first that is no special word */

/* The tokenizer in a vocab.txt (stdin for "-"), a tokenizer.json, a folder with vocab.json and
 * merges.txt, or a model file; fail() if it has none. A file says by its content what it is. */
CLLMTokenizer *load_tokenizer(const char *path);
/* Those of words and of subwords differ in what their texts are: see cllm_tokenizer_kind(). */
bool has_subwords(const CLLMTokenizer *tokenizer);
/* What the tokens of a model are: CLLM_TOKENS_... */
int kind_of_model(const CLLMModel *model);
/* "words", "subwords (BPE)" or "bytes". */
const char *kind_name(int kind);
/* Bytes of text that a token of a model stands for, by how often each was met in the text it was made for; 0
 * where the model does not say, as of words: CLLMFileInfo has the same. */
double bytes_per_token(const CLLMModel *model);
/* True when the model carries token strings of its own, not only "token_<id>". */
bool has_token_strings(const CLLMModel *model);

/* The ids of a text, a block to be freed; fail() if there is no memory. */
uint32_t *encode_bytes(const CLLMTokenizer *tokenizer, const char *text, size_t length, int threads,
                       size_t *count);

/* How many tokens a BPE should have that is learnt from so much text: the power of two next to
 * a two-thousandth of its bytes, within 512 and 32,768. Each token is then seen often enough to be learnt, and
 * its row in the embedding costs no more than it brings. */
uint32_t bpe_size(size_t bytes);

/* The ids with the largest counts, largest first: at most `most` of them, their number returned.
 * `counts` is by id, special tokens are left out, and those without a count; of equal ones the first
 * comes first. */
int top_tokens(const CLLMTokenizer *tokenizer, const uint32_t *counts, uint32_t *ids, int most);

#endif
