/* A text of so many megabytes that looks like one to a tokenizer: few words come again and again, and
 * there are always new ones; numbers, marks, lines, paragraphs, some letters that are not ASCII. The same
 * for every run. Usage: make_text MEGABYTES > FILE */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static uint64_t state = 88172645463325252u;

static uint64_t next(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static const char *const SYLLABLES[] = {
    "ba", "con", "de", "er", "fi", "ing", "the", "ra", "to", "is", "lo", "men", "na", "or", "pre", "s",
    "ter", "u", "ver", "wa", "\xC3\xA4n", "ly", "ed", "ci", "mo", "al", "st", "qu", "ho", "gra", "pe", "ti",
};

static double written; /* bytes */
static char buffer[1 << 16];
static size_t used;

static void flush(void) {
    if (fwrite(buffer, 1, used, stdout) != used) exit(1);
    used = 0;
}

static void put(const char *text) {
    for (; *text; text++, written++) {
        if (used == sizeof buffer) flush();
        buffer[used++] = *text;
    }
}

static void word(void) {
    double u = (double)(next() >> 11) * 0x1p-53 + 0x1p-54;
    uint64_t rank = (uint64_t)pow(u, -1.4);
    if (rank > 1000000) rank = next(); /* a word that nobody has read before */
    do {
        put(SYLLABLES[rank % 32]);
        rank /= 32;
    } while (rank > 0);
}

int main(int argc, char **argv) {
    double left = argc > 1 ? atof(argv[1]) * 1e6 : 1e6;
    for (uint64_t words = 0; written < left || words % 64 != 0; words++) {
        word();
        uint64_t end = next() % 64;
        unsigned some = (unsigned)(next() % 3000);
        if (end == 0) {
            char number[16];
            snprintf(number, sizeof number, " %u", some);
            put(number);
        }
        put(end < 3 ? ".\n" : end < 4 ? ".\n\n" : end < 7 ? ", " : end < 8 ? " \xE2\x80\x94 " : " ");
    }
    flush();
    return fflush(stdout) != 0;
}
