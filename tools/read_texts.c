#include "read_texts.h"

#include <sys/stat.h>

Phase begin_phase(const char *name, ProgressBar bar, bool (*is_stopped)(void)) {
    return (Phase){.name = name, .began = seconds_now(), .bar = bar, .is_stopped = is_stopped};
}

static bool goes_on(const Phase *phase) {
    return !phase->is_stopped || !phase->is_stopped();
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

bool on_bytes(uint64_t bytes, uint64_t all, void *user_data) {
    Phase *phase = user_data;
    phase->all = phase->all > 0 ? phase->all : all;
    show_phase(phase, phase->before + bytes);
    return goes_on(phase);
}

static void say_duration(const Phase *phase) {
    if (phase->bar.lines && phase->bar.drawn_at > phase->began + LINE_SECONDS - 1 && goes_on(phase)) {
        printf("  %s: %.0f s\n", phase->name, seconds_now() - phase->began);
        fflush(stdout);
    }
}

void end_phase(Phase *phase) {
    progress_clear(&phase->bar);
    say_duration(phase);
}

CLLMTexts *create_texts(const char *scratch) {
    CLLMTexts *texts = cllm_texts_create(scratch);
    if (!texts) {
        fail("can't read texts: %s", library_error());
    }
    return texts;
}

uint64_t bytes_of(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 && S_ISREG(status.st_mode) ? (uint64_t)status.st_size : 0;
}

bool add_text(CLLMTexts *texts, const char *path, Phase *phase) {
    phase->before = cllm_texts_bytes(texts);
    return cllm_texts_add(texts, input_name(path), on_bytes, phase) == 0;
}

static bool on_tokens(uint64_t bytes, uint32_t tokens, uint32_t vocab_size, void *user_data) {
    Phase *phase = user_data;
    if (tokens == 0) {
        show_phase(phase, phase->before + bytes);
    } else {
        if (phase->first == 0) {
            say_duration(phase);
            phase->name = "learning tokens";
            phase->began = seconds_now();
            phase->first = tokens;
        }
        char left[24];
        double seconds = seconds_now() - phase->began;
        double speed = seconds > 0 ? (tokens - phase->first) / seconds : 0;
        clock_text(speed > 0 ? (vocab_size - tokens) / speed : 0, left, sizeof left);
        progress_draw(&phase->bar, (double)tokens / vocab_size,
                      "%s  %u of %u  %.0f tokens/s  %s left", phase->name, tokens, vocab_size, speed, left);
    }
    return goes_on(phase);
}

CLLMTokenizer *learn_from_texts(const CLLMTexts *texts, uint64_t from, uint64_t to, uint32_t size, Phase *phase) {
    phase->all = phase->all > 0 ? phase->all : to - from;
    return cllm_texts_train_tokenizer(texts, from, to, size, on_tokens, phase);
}
