#include "train_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cllm_ext.h"
#include "cllm_format.h"
#include "cllm_utils.h"
#include "terminal.h"

const char *reason_of(const char *path) {
    const char *error = library_error(), *found = strstr(error, path);
    return found && strncmp(found + strlen(path), ": ", 2) == 0 ? found + strlen(path) + 2 : error;
}

Data load_data(Options *options, CLLMTokenizer *given, Preparation *preparation) {
    Data data = {0};
    compare_with_first("DATA", options->data);
    if (first_rank()) {
        data = (options->words ? load_words : load_subwords)(options, given, preparation);
        if (options->mix && options->share > 0) {
            mix_in(options, &data, preparation);
        }
        data.num_training = cllm_token_file_count(data.training);
    }
    data = share_data(options, given, preparation, data);
    if (any_rank(is_interrupted())) {
        leave_unprepared(preparation);
    }
    return data;
}

void free_data(Data *data) {
    cllm_token_file_free(data->training);
    cllm_token_file_free(data->validation);
    cllm_free_tokenizer(data->tokenizer);
}

double bits_per_byte(double nats_per_token, size_t tokens, size_t bytes) {
    return bytes > 0 ? nats_per_token / M_LN2 * (double)tokens / (double)bytes : NAN;
}

double entropy(const size_t counts[256]) {
    double all = 0, bits = 0;
    for (int byte = 0; byte < 256; byte++) {
        all += (double)counts[byte];
    }
    for (int byte = 0; byte < 256; byte++) {
        double count = (double)counts[byte];
        bits += count > 0 ? count / all * log2(all / count) : 0;
    }
    return bits;
}

static double percent_unknown(const CLLMTokenFile *ids) {
    uint64_t unknown = cllm_token_file_occurrences(ids, UNKNOWN), count = cllm_token_file_count(ids);
    return 100.0 * (double)unknown / (double)(count ? count : 1);
}

static void describe_words(const Options *options, const Data *data) {
    const CLLMTokenizer *tokenizer = data->tokenizer;
    uint32_t once = 0;
    for (uint32_t id = FIRST_WORD; id < tokenizer->vocab_size; id++) {
        once += tokenizer->token_counts[id] == 1;
    }
    printf("  %u entries, five of them special; %.2f%% of the words are unknown to it",
           tokenizer->vocab_size,
           percent_unknown(data->training));
    if (data->validation) {
        printf(", of the held-out ones %.2f%%",
               percent_unknown(data->validation));
    }
    printf("\n");
    if (once > 0 && options->tokens == TOKENS_WORDS) {
        printf("  %u entries were seen once; --min-freq 2 leaves such words out\n", once);
    }
}

static void describe_subwords(const Options *options, const Data *data) {
    const CLLMTokenizer *tokenizer = data->tokenizer;
    bool bytes = cllm_tokenizer_kind(tokenizer) == CLLM_TOKENS_BYTES;
    printf("  %s: %u tokens, %.2f bytes of text in each", bytes ? "bytes" : "byte-level BPE",
           tokenizer->vocab_size,
           (double)data->training_bytes / (double)data->num_training);
    if (options->tokens == TOKENS_BPE && options->sized_by_text) {
        printf(" (size by the length of the text; --vocab-size sets it)");
    }
    printf("\n");
}

void describe_data(const Options *options, const Data *data, const Preparation *preparation) {
    const char *unit = options->words ? "words" : "tokens";
    printf("Step 1: Loading training data\n");
    printf("  %s: %zu document%s, %zu %s",
           visible(stdout, shown_name(options->data)),
           data->documents, data->documents == 1 ? "" : "s", data->characters,
           options->words ? "characters" : "bytes\n");
    if (options->words) {
        printf(", %zu words\n", data->words);
    }
    printf("Step 2: Building vocabulary\n");
    (options->words ? describe_words : describe_subwords)(options, data);
    printf("Step 3: Creating dataset\n");
    printf("  %zu %s to train on", data->num_training, unit);
    if (data->mixed > 0) {
        printf(" (%zu of them of the old text)", data->mixed);
    }
    printf(", %zu held out", data->num_validation);
    if (data->num_validation > options->evaluate_tokens) {
        printf(", of which %llu are measured", (unsigned long long)options->evaluate_tokens);
    }
    printf("\n");
    if (preparation->taken) {
        printf("  dataset.bin of this text was there already\n");
    } else if (preparation->seconds >= 1) {
        printf("  %.1f MB of text in %.1f s: %.1f MB/s\n", 1e-6 * (double)preparation->bytes,
               preparation->seconds, 1e-6 * (double)preparation->bytes / preparation->seconds);
    }
    fflush(stdout);
}

void write_data(const Folder *folder, const Data *data, Preparation *preparation) {
    end_preparation(preparation, folder);
    char *vocabulary = join_path(folder->path, "vocab.txt");
    char *tokenizer = join_path(folder->path, "tokenizer.json");
    if (!cllm_save_vocab(data->tokenizer, vocabulary)) {
        fail("can't write '%s': %s", vocabulary, library_error());
    }
    keep_owner(folder, vocabulary);
    if (has_subwords(data->tokenizer)) {
        if (cllm_write_tokenizer(data->tokenizer, tokenizer) != 0) {
            fail("can't write '%s': %s", tokenizer, library_error());
        }
        keep_owner(folder, tokenizer);
    }
    free(vocabulary);
    free(tokenizer);
}

/* Three neighbouring words that the vocabulary knows. */
static char *words_of_text(const Data *data, size_t start) {
    enum { WORDS = 3 };
    uint32_t ids[WORDS];
    int64_t count;
    while ((count = cllm_token_file_read(data->training, start, ids, WORDS)) > 0 &&
           ids[0] < FIRST_WORD) {
        start++;
    }
    uint32_t known = 0;
    while (known < count && ids[known] >= FIRST_WORD) {
        known++;
    }
    return known > 0 ? cllm_tokenizer_decode(data->tokenizer, ids, known) : NULL;
}

/* A line of text, or the first words of a longer one. */
static char *line_of_text(const Data *data, size_t start) {
    enum { LONG = 40, READ = 400 };
    uint32_t ids[READ];
    int64_t count = cllm_token_file_read(data->training, start, ids, READ);
    size_t length;
    char *text = count > 0 ? cllm_tokens_to_text(data->tokenizer, ids, (size_t)count, false, &length)
                           : NULL;
    if (!text) {
        return NULL;
    }
    const char *line = start > 0 && strchr(text, '\n') ? strchr(text, '\n') : text;
    line += strspn(line, "\n\r\t ");
    size_t most = strcspn(line, "\r\n");
    bool whole = line[most] != '\0' && most <= LONG;
    while (!whole && most > 0 && (most > LONG || line[most] != ' ')) {
        most--;
    }
    char *prompt = NULL;
    if (most > 0) {
        prompt = copy_text(line, most + whole); /* with its end, if it is a line */
    }
    free(text);
    return prompt;
}

char *prompt_of_text(const Data *data, size_t start) {
    return has_subwords(data->tokenizer) ? line_of_text(data, start) : words_of_text(data, start);
}

void compare_vocabulary(const char *checkpoint, const Data *data) {
    const CLLMTokenizer *tokenizer = data->tokenizer;
    CLLMModel *saved = cllm_read_model_unchecked(checkpoint);
    if (!saved) {
        return; /* the state file is what counts, cllm_load_checkpoint judges it */
    }
    bool same = !has_token_strings(saved) || saved->vocab_size == tokenizer->vocab_size;
    for (uint32_t i = 0; same && has_token_strings(saved) && i < tokenizer->vocab_size; i++) {
        const char *word = tokenizer->vocab[i];
        /* longer words are cut in the model */
        same = strlen(word) >= sizeof saved->tokens[i].token_str ||
               strcmp(word, saved->tokens[i].token_str) == 0;
    }
    cllm_free_model(saved);
    if (!same) {
        fail("'%s' was trained with another vocabulary: use the same DATA, --tokens, --vocab-size and "
             "--val-fraction",
             checkpoint);
    }
}
