/* Texts of any length to files of ids: read in pieces, never held in memory. */
#include "train_model.h"

#include "read_texts.h"

#include <string.h>
#include <unistd.h>

static Phase begin(const Options *options, const char *name) {
    return begin_phase(name, progress_lines(!options->quiet), is_interrupted);
}

/* Leaves if it was a Ctrl-C that ended the phase. */
static void end(Phase *phase, const Preparation *preparation) {
    end_phase(phase);
    if (is_interrupted()) {
        leave_unprepared(preparation);
    }
}

/* ---- The texts ---- */

/* `left_out`: of a folder, what can't be read; NULL: it must be read. */
static void add(const Options *options, CLLMTexts *texts, const char *path, Phase *phase, LeftOut *left_out) {
    if (add_text(texts, path, phase)) {
        return;
    }
    end(phase, NULL);
    if (!left_out) {
        fail("can't read '%s': %s", shown_name(path), library_error());
    }
    leave_out(left_out, path, reason_of(path));
    uint64_t all = phase->all - bytes_of(path);
    *phase = begin(options, phase->name);
    phase->all = all;
}

CLLMTexts *open_texts(const Options *options, const Preparation *preparation, const char *path) {
    CLLMTexts *texts = create_texts(preparation->scratch);
    bool standard_input = strcmp(path, "-") == 0;
    Phase phase = begin(options, "reading");
    phase.all = standard_input || is_directory(path) ? 0 : bytes_of(path);
    if (!standard_input) {
        require_readable(path);
    }
    if (!standard_input && is_directory(path)) {
        Paths paths = {0};
        LeftOut left_out = {0};
        find_text_files(path, NULL, &paths, &left_out);
        for (size_t i = 0; i < paths.count; i++) {
            phase.all += bytes_of(paths.values[i]);
        }
        for (size_t i = 0; i < paths.count; i++) {
            add(options, texts, paths.values[i], &phase, &left_out);
        }
        end(&phase, NULL);
        finish_left_out(&left_out);
        if (cllm_texts_count(texts) == 0) {
            fail("no text files in '%s'", path);
        }
        free_paths(&paths);
    } else {
        add(options, texts, path, &phase, NULL);
        end(&phase, NULL);
    }
    return texts;
}

/* ---- The tokenizer ---- */

CLLMTokenizer *learn_tokens(const Options *options, const CLLMTexts *texts, uint64_t to) {
    Phase phase = begin(options, "counting words");
    if (options->threads > 0 && cllm_set_threads(options->threads) != 0) { /* the counting has no argument for them */
        fail("can't count with %d threads: %s", options->threads, library_error());
    }
    CLLMTokenizer *tokenizer = learn_from_texts(texts, 0, to, (uint32_t)options->vocab_size, &phase);
    end(&phase, NULL);
    if (!tokenizer) {
        fail("can't learn the tokens: %s", library_error());
    }
    return tokenizer;
}

/* ---- Words ---- */

uint64_t measure_words(const Options *options, const CLLMTexts *texts, const char *path, uint64_t from,
                       bool lowercase, uint64_t *characters, uint64_t bytes[256]) {
    Phase phase = begin(options, "measuring words");
    int64_t words = cllm_texts_words(texts, from, UINT64_MAX, options->threads, on_bytes, &phase,
                                     characters, bytes);
    end(&phase, NULL);
    if (words < 0) {
        fail("can't read '%s': %s", shown_name(path), library_error());
    }
    for (int letter = 'A'; lowercase && letter <= 'Z'; letter++) {
        bytes[letter - 'A' + 'a'] += bytes[letter];
        bytes[letter] = 0;
    }
    return (uint64_t)words;
}

uint64_t place_of_word(const Options *options, const CLLMTexts *texts, uint64_t number) {
    Phase phase = begin(options, "dividing");
    int64_t place = cllm_texts_word(texts, number, on_bytes, &phase);
    end(&phase, NULL);
    if (place < 0) {
        fail("can't read '%s': %s", shown_name(options->data), library_error());
    }
    return (uint64_t)place;
}

void learn_words(const Options *options, const CLLMTexts *texts, uint64_t to, CLLMTokenizer *tokenizer,
                 bool keep_case) {
    Phase phase = begin(options, "counting words");
    uint32_t least = options->min_freq > 0 ? (uint32_t)options->min_freq : 0;
    int counted = cllm_texts_count_words(texts, 0, to, tokenizer, least, keep_case, options->threads,
                                         on_bytes, &phase);
    end(&phase, NULL);
    if (counted != 0) {
        fail("can't count the words: %s", library_error());
    }
}

/* ---- The ids ---- */

CLLMTokenFile *open_token_file(const char *path) {
    CLLMTokenFile *file = cllm_token_file_open(path);
    if (!file) {
        fail("can't read '%s': %s", path, library_error());
    }
    return file;
}

static CLLMTokenFile *open_made(const NewFile *target) {
    return open_token_file(target->made);
}

CLLMTokenFile *encode_texts(const Options *options, const CLLMTexts *texts, const char *path, uint64_t from,
                            uint64_t to, const CLLMTokenizer *tokenizer, Preparation *preparation,
                            const NewFile *target) {
    if (link(target->place, target->made) != 0) {
        /* there is none, or a new one already: the library looks what it was made of */
    }
    Phase phase = begin(options, "making tokens");
    int there = cllm_texts_encode(texts, from, to, tokenizer, options->threads, target->made,
                                  on_bytes, &phase);
    double seconds = seconds_now() - phase.began;
    if (there >= 0) {
        progress_clear(&phase.bar);
    } else {
        end(&phase, preparation);
        fail("can't make tokens of '%s': %s", shown_name(path), library_error());
    }
    preparation->taken |= there == 1;
    preparation->bytes += there == 0 ? to - from : 0;
    preparation->seconds += there == 0 ? seconds : 0;
    return open_made(target);
}
