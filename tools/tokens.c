#include "tokens.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cllm_ext.h"
#include "cllm_format.h"
#include "cllm_utils.h"
#include "terminal.h"

/* What a file holds, as its beginning says. */
typedef enum Content { WORD_LIST, JSON, MODEL } Content;

static Content content_of(const char *path) {
    static const char magic[] = "CLLM";
    char head[256];
    struct stat status; /* what is read of a pipe is gone */
    bool ordinary = stat(path, &status) == 0 && S_ISREG(status.st_mode);
    FILE *file = ordinary ? fopen(path, "rb") : NULL;
    size_t length = file ? fread(head, 1, sizeof head - 1, file) : 0;
    if (file) {
        fclose(file);
    }
    head[length] = '\0';
    if (length >= sizeof magic - 1 + 4 && memcmp(head, magic, sizeof magic - 1) == 0 &&
        memcmp(head + sizeof magic, "\0\0\0", 3) == 0) {
        return MODEL;
    }
    /* The word "{" of a vocabulary has its count behind it, an object the name of a member. */
    const char *text = strncmp(head, "\xEF\xBB\xBF", 3) == 0 ? head + 3 : head;
    text += strspn(text, " \t\r\n");
    if (*text == '{' && !strchr("0123456789", text[1 + strspn(text + 1, " \t\r\n")])) {
        return JSON;
    }
    size_t end = strlen(path), suffix = sizeof ".json" - 1;
    return end > suffix && strcmp(path + end - suffix, ".json") == 0 ? JSON : WORD_LIST;
}

static CLLMTokenizer *tokenizer_of_model(const char *path) {
    CLLMModel *model = cllm_read_model_unchecked(path);
    if (!model) {
        fail("can't read the model '%s': %s", path, library_error());
    }
    CLLMTokenizer *tokenizer = has_token_strings(model) ? cllm_model_tokenizer(model, 0) : NULL;
    cllm_free_model(model);
    if (!tokenizer) {
        fail("'%s' carries no tokenizer", path);
    }
    return tokenizer;
}

static CLLMTokenizer *tokenizer_of_folder(const char *path) {
    char *vocabulary = join_path(path, "vocab.json"), *merges = join_path(path, "merges.txt");
    require_readable(vocabulary);
    require_readable(merges);
    CLLMTokenizer *tokenizer = cllm_read_tokenizer_gpt2(vocabulary, merges);
    if (!tokenizer) {
        fail("can't read the tokenizer in '%s': %s", path, library_error());
    }
    free(vocabulary);
    free(merges);
    return tokenizer;
}

CLLMTokenizer *load_tokenizer(const char *path) {
    const char *name = input_name(path);
    require_readable(name);
    if (is_directory(name)) {
        return tokenizer_of_folder(path);
    }
    Content content = strcmp(path, "-") == 0 ? WORD_LIST : content_of(name);
    if (content == MODEL) {
        return tokenizer_of_model(path);
    }
    CLLMTokenizer *tokenizer =
        content == JSON ? cllm_read_tokenizer(name) : cllm_read_vocab(name);
    if (!tokenizer) {
        fail("can't read the %s '%s': %s", content == JSON ? "tokenizer" : "vocabulary", path,
             library_error());
    }
    if (cllm_get_vocab_size(tokenizer) <= FIRST_WORD) {
        fail("'%s' is not a vocabulary: it has no words", path);
    }
    return tokenizer;
}

bool has_subwords(const CLLMTokenizer *tokenizer) {
    return cllm_tokenizer_kind(tokenizer) != CLLM_TOKENS_WORDS;
}

int kind_of_model(const CLLMModel *model) {
    CLLMTokenizer *tokenizer = has_token_strings(model) ? cllm_model_tokenizer(model, 0) : NULL;
    int kind = cllm_tokenizer_kind(tokenizer);
    cllm_free_tokenizer(tokenizer);
    return kind;
}

double bytes_per_token(const CLLMModel *model) {
    CLLMTokenizer *tokenizer = has_token_strings(model) ? cllm_model_tokenizer(model, 0) : NULL;
    double tokens = 0, bytes = 0;
    for (uint32_t id = 0; tokenizer && has_subwords(tokenizer) && id < tokenizer->vocab_size; id++) {
        size_t length = 0;
        if (!cllm_token_is_special(tokenizer, id) && cllm_token_text(tokenizer, id, &length)) {
            tokens += (double)model->tokens[id].frequency;
            bytes += (double)model->tokens[id].frequency * (double)length;
        }
    }
    cllm_free_tokenizer(tokenizer);
    return tokens > 0 ? bytes / tokens : 0;
}

const char *kind_name(int kind) {
    switch (kind) {
    case CLLM_TOKENS_WORDS: return "words";
    case CLLM_TOKENS_SUBWORDS: return "subwords (BPE)";
    case CLLM_TOKENS_BYTES: return "bytes";
    default: return "none";
    }
}

bool has_token_strings(const CLLMModel *model) {
    for (uint64_t i = 0; model->tokens && i < model->vocab_size; i++) {
        char made_up[32];
        snprintf(made_up, sizeof made_up, "token_%llu", (unsigned long long)i);
        const char *string = model->tokens[i].token_str;
        if (string[0] != '\0' && strcmp(string, made_up) != 0) {
            return true;
        }
    }
    return false;
}

uint32_t *encode_bytes(const CLLMTokenizer *tokenizer, const char *text, size_t length, int threads,
                       size_t *count) {
    uint32_t *ids = cllm_text_to_tokens(tokenizer, text, length, false, threads, count);
    if (!ids) {
        fail("can't encode the text: %s", library_error());
    }
    return ids;
}

uint32_t bpe_size(size_t bytes) {
    uint32_t size = 512;
    while (size < 32768 && size * (size_t)2828 < bytes) { /* up to the geometric middle of two */
        size *= 2;
    }
    return size;
}

int top_tokens(const CLLMTokenizer *tokenizer, const uint32_t *counts, uint32_t *ids, int most) {
    int found = 0;
    for (uint32_t id = 0; id < tokenizer->vocab_size; id++) {
        if (counts[id] == 0 || cllm_token_is_special(tokenizer, id)) {
            continue;
        }
        int place = found;
        while (place > 0 && counts[id] > counts[ids[place - 1]]) {
            place--;
        }
        if (place < most) {
            found += found < most;
            memmove(ids + place + 1, ids + place, sizeof *ids * (size_t)(found - place - 1));
            ids[place] = id;
        }
    }
    return found;
}
