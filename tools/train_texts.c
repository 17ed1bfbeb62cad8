/* Texts of any length to files of ids: read in pieces, never held in memory. */
#include "train_model.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cllm_ext.h"

/* What a phase shows while it goes on. */
typedef struct Phase {
    const char *name;
    double began;
    uint64_t before; /* bytes of the phase that came before this call of the library */
    uint64_t all; /* bytes; 0: not known */
    uint32_t first; /* of a phase of tokens: how many there were at its beginning; 0: of bytes */
    ProgressBar bar;
} Phase;

static Phase begin_phase(const Options *options, const char *name) {
    return (Phase){.name = name, .began = seconds_now(), .bar = progress_lines(!options->quiet)};
}

static void show_phase(Phase *phase, uint64_t bytes) {
    double seconds = seconds_now() - phase->began, mb = 1e-6 * (double)bytes;
    double speed = seconds > 0 ? mb / seconds : 0;
    if (phase->all == 0) {
        progress_draw(&phase->bar, 0, "%s  %.1f MB  %.0f MB/s", phase->name, mb, speed);
        return;
    }
    char left[24];
    double rest = 1e-6 * (double)phase->all - mb; /* of UTF-16 the file's bytes, not those of the text */
    clock_text(speed > 0 && rest > 0 ? rest / speed : 0, left, sizeof left);
    progress_draw(&phase->bar, (double)bytes / (double)phase->all,
                  "%s  %.1f of %.1f MB  %.0f MB/s  %s left", phase->name, mb,
                  1e-6 * (double)phase->all, speed, left);
}

static bool on_bytes(uint64_t bytes, uint64_t all, void *user_data) {
    Phase *phase = user_data;
    phase->all = phase->all > 0 ? phase->all : all;
    show_phase(phase, phase->before + bytes);
    return !is_interrupted();
}

/* How long the phase took, where it spoke in lines. */
static void say_duration(const Phase *phase) {
    if (phase->bar.lines && phase->bar.drawn_at > phase->began + LINE_SECONDS - 1 && !is_interrupted()) {
        printf("  %s: %.0f s\n", phase->name, seconds_now() - phase->began);
        fflush(stdout);
    }
}

/* Clears the bar; leaves if it was a Ctrl-C that ended the phase. */
static void end_phase(Phase *phase, const Preparation *preparation) {
    progress_clear(&phase->bar);
    say_duration(phase);
    if (is_interrupted()) {
        leave_unprepared(preparation);
    }
}

/* ---- The texts ---- */

/* 0 for a pipe or a device, and where that is not known. */
static uint64_t bytes_of(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 && S_ISREG(status.st_mode) ? (uint64_t)status.st_size : 0;
}

static void add_text(const Options *options, CLLMTexts *texts, const char *path, const char *name,
                     Phase *phase, LeftOut *left_out) {
    phase->before = cllm_texts_bytes(texts);
    if (cllm_texts_add(texts, path, on_bytes, phase) == 0) {
        return;
    }
    end_phase(phase, NULL);
    if (!left_out) {
        fail("can't read '%s': %s", name, library_error());
    }
    leave_out(left_out, path, reason_of(path));
    uint64_t all = phase->all - bytes_of(path);
    *phase = begin_phase(options, phase->name);
    phase->all = all;
}

CLLMTexts *open_texts(const Options *options, const Preparation *preparation, const char *path) {
    CLLMTexts *texts = cllm_texts_create(preparation->scratch);
    if (!texts) {
        fail("can't read texts: %s", library_error());
    }
    bool standard_input = strcmp(path, "-") == 0;
    Phase phase = begin_phase(options, "reading");
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
            add_text(options, texts, paths.values[i], paths.values[i], &phase, &left_out);
        }
        end_phase(&phase, NULL);
        finish_left_out(&left_out);
        if (cllm_texts_count(texts) == 0) {
            fail("no text files in '%s'", path);
        }
        free_paths(&paths);
    } else {
        add_text(options, texts, input_name(path), shown_name(path), &phase, NULL);
        end_phase(&phase, NULL);
    }
    return texts;
}

/* ---- The tokenizer ---- */

static bool on_tokens(uint64_t bytes, uint32_t tokens, uint32_t vocab_size, void *user_data) {
    Phase *phase = user_data;
    if (tokens == 0) {
        show_phase(phase, bytes);
    } else {
        if (phase->first == 0) {
            say_duration(phase);
            *phase = (Phase){"learning tokens", seconds_now(), .first = tokens, .bar = phase->bar};
        }
        char left[24];
        double seconds = seconds_now() - phase->began;
        double speed = seconds > 0 ? (tokens - phase->first) / seconds : 0;
        clock_text(speed > 0 ? (vocab_size - tokens) / speed : 0, left, sizeof left);
        progress_draw(&phase->bar, (double)tokens / vocab_size,
                      "%s  %u of %u  %.0f tokens/s  %s left", phase->name, tokens, vocab_size, speed, left);
    }
    return !is_interrupted();
}

CLLMTokenizer *learn_tokens(const Options *options, const CLLMTexts *texts, uint64_t to) {
    Phase phase = begin_phase(options, "counting words");
    phase.all = to;
    if (options->threads > 0 && cllm_set_threads(options->threads) != 0) { /* the counting has no argument for them */
        fail("can't count with %d threads: %s", options->threads, library_error());
    }
    CLLMTokenizer *tokenizer = cllm_texts_train_tokenizer(
        texts, 0, to, (uint32_t)options->vocab_size, on_tokens, &phase);
    end_phase(&phase, NULL);
    if (!tokenizer) {
        fail("can't learn the tokens: %s", library_error());
    }
    return tokenizer;
}

/* ---- Words ---- */

uint64_t measure_words(const Options *options, const CLLMTexts *texts, uint64_t from, bool lowercase,
                       uint64_t *characters, uint64_t bytes[256]) {
    Phase phase = begin_phase(options, "measuring words");
    int64_t words = cllm_texts_words(texts, from, UINT64_MAX, options->threads, on_bytes, &phase,
                                     characters, bytes);
    end_phase(&phase, NULL);
    if (words < 0) {
        fail("can't read '%s': %s", options->data, library_error());
    }
    for (int letter = 'A'; lowercase && letter <= 'Z'; letter++) {
        bytes[letter - 'A' + 'a'] += bytes[letter];
        bytes[letter] = 0;
    }
    return (uint64_t)words;
}

uint64_t place_of_word(const Options *options, const CLLMTexts *texts, uint64_t number) {
    Phase phase = begin_phase(options, "dividing");
    int64_t place = cllm_texts_word(texts, number, on_bytes, &phase);
    end_phase(&phase, NULL);
    if (place < 0) {
        fail("can't read '%s': %s", options->data, library_error());
    }
    return (uint64_t)place;
}

void learn_words(const Options *options, const CLLMTexts *texts, uint64_t to, CLLMTokenizer *tokenizer,
                 bool keep_case) {
    Phase phase = begin_phase(options, "counting words");
    uint32_t least = options->min_freq > 0 ? (uint32_t)options->min_freq : 0;
    int counted = cllm_texts_count_words(texts, 0, to, tokenizer, least, keep_case, options->threads,
                                         on_bytes, &phase);
    end_phase(&phase, NULL);
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

CLLMTokenFile *encode_texts(const Options *options, const CLLMTexts *texts, uint64_t from, uint64_t to,
                            const CLLMTokenizer *tokenizer, Preparation *preparation,
                            const NewFile *target) {
    if (link(target->place, target->made) != 0) {
        /* there is none, or a new one already: the library looks what it was made of */
    }
    Phase phase = begin_phase(options, "making tokens");
    int there = cllm_texts_encode(texts, from, to, tokenizer, options->threads, target->made,
                                  on_bytes, &phase);
    double seconds = seconds_now() - phase.began;
    if (there >= 0) {
        progress_clear(&phase.bar);
    } else {
        end_phase(&phase, preparation);
        fail("can't make tokens of '%s': %s", options->data, library_error());
    }
    preparation->taken |= there == 1;
    preparation->bytes += there == 0 ? to - from : 0;
    preparation->seconds += there == 0 ? seconds : 0;
    return open_made(target);
}
