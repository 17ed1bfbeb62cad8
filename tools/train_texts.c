/* Texts of any length to files of ids: read in pieces, never held in memory. */
#include "train_model.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cllm_ext.h"

/* What a phase shows while it goes on. */
typedef struct Phase {
    const char *name;
    double began;
    uint64_t before; /* bytes of the phase that came before this call of the library */
    uint64_t all; /* bytes; 0: not known */
    ProgressBar bar;
} Phase;

static Phase begin_phase(const Options *options, const char *name) {
    return (Phase){.name = name, .began = seconds_now(), .bar = progress_bar(!options->quiet)};
}

static void show_phase(Phase *phase, uint64_t bytes) {
    double seconds = seconds_now() - phase->began, mb = 1e-6 * (double)bytes;
    double speed = seconds > 0 ? mb / seconds : 0;
    if (phase->all == 0) {
        progress_draw(&phase->bar, 0, "%s  %.1f MB  %.0f MB/s", phase->name, mb, speed);
        return;
    }
    char left[24];
    double rest = 1e-6 * (double)phase->all - mb;
    clock_text(speed > 0 ? rest / speed : 0, left, sizeof left);
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

/* Clears the bar; leaves if it was a Ctrl-C that ended the phase. */
static void end_phase(Phase *phase, const Preparation *preparation) {
    progress_clear(&phase->bar);
    if (is_interrupted()) {
        leave_unprepared(preparation);
    }
}

/* ---- The texts ---- */

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
    *phase = begin_phase(options, phase->name);
}

CLLMTexts *open_texts(const Options *options, const Preparation *preparation, const char *path) {
    CLLMTexts *texts = cllm_texts_create(preparation->scratch);
    if (!texts) {
        fail("can't read texts: %s", library_error());
    }
    bool standard_input = strcmp(path, "-") == 0;
    Phase phase = begin_phase(options, "reading");
    if (!standard_input) {
        require_readable(path);
    }
    if (!standard_input && is_directory(path)) {
        Paths paths = {0};
        LeftOut left_out = {0};
        find_text_files(path, NULL, &paths, &left_out);
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
        add_text(options, texts, input_name(path), standard_input ? "standard input" : path, &phase,
                 NULL);
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
        progress_draw(&phase->bar, (double)tokens / vocab_size, "learning tokens  %u of %u", tokens,
                      vocab_size);
    }
    return !is_interrupted();
}

CLLMTokenizer *learn_tokens(const Options *options, const CLLMTexts *texts, uint64_t to) {
    Phase phase = begin_phase(options, "counting words");
    phase.all = to;
    CLLMTokenizer *tokenizer = cllm_texts_train_tokenizer(
        texts, 0, to, (uint32_t)options->vocab_size, on_tokens, &phase);
    end_phase(&phase, NULL);
    if (!tokenizer) {
        fail("can't learn the tokens: %s", library_error());
    }
    return tokenizer;
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

CLLMTokenFile *keep_ids(uint32_t *ids, size_t count, const NewFile *target) {
    TokenDataset dataset = {.tokens = ids, .num_tokens = count, .capacity = count};
    if (!cllm_token_dataset_save(&dataset, target->made)) {
        fail("can't write '%s': %s", target->place, library_error());
    }
    return open_made(target);
}
