/* Text of others on a terminal: words of a model, names of files. What a terminal obeys instead of
 * showing it is replaced by '?': control characters (C0, C1), marks that turn the direction of
 * writing, characters that nobody sees, bytes that are not UTF-8. Files and pipes get it as it is. */
#ifndef CLLM_TOOLS_TERMINAL_H
#define CLLM_TOOLS_TERMINAL_H

#include "common.h"

/* The character at the start of `s`: its length; 0 where there is none; more than `left` where more
 * bytes could make one. */
size_t utf8_decode(const unsigned char *s, size_t left, uint32_t *code);
/* Whether a terminal shows the character, where it stands; `previous` is the one before it. */
bool may_be_shown(uint32_t code, uint32_t previous, bool lines);

/* A text that comes in pieces, which may end inside of a character. All zero at its beginning. */
typedef struct Cleaner {
    unsigned char pending[4];
    size_t length;
    uint32_t previous;
} Cleaner;

/* Appends what may be shown of a piece; line ends and tabs stay if `lines`. */
void clean_piece(Cleaner *cleaner, Text *out, const char *piece, size_t length, bool lines);
/* Appends what is left at the end of the text. */
void clean_end(Cleaner *cleaner, Text *out);
/* Appends what may be shown of a whole text in one line. */
void text_append_clean(Text *out, const char *text, size_t length);

/* `text` for printing it to `stream`, as a part of a line: cleaned for a terminal. Valid for the
 * next eight calls. */
const char *visible(FILE *stream, const char *text);

/* Whether to write colours: on a terminal, unless NO_COLOR is set. */
bool use_colours(int descriptor);

/* Standard output, piece by piece. With SIGPIPE ignored: a reader that left is not an error. */
typedef struct Output {
    bool broken;
    int reason; /* errno */
} Output;

/* Writes at once; false as soon as something did not arrive. */
bool output_write(Output *output, const char *bytes, size_t length);
/* fail() if something did not arrive though there is a reader. */
void output_check(const Output *output);

/* ---- Progress bar: one line on stdout that draws itself over, at most ten times a second ---- */

typedef struct ProgressBar {
    bool shown; /* without this and the next every call does nothing */
    bool lines;
    double drawn_at; /* the last line, or the beginning */
    bool on_screen;
} ProgressBar;

/* Shown when wanted and stdout is a terminal that can draw over a line. */
ProgressBar progress_bar(bool wanted);
/* The same for what may take hours; elsewhere than on such a terminal it says a line from time to time,
 * LINE_SECONDS apart. */
ProgressBar progress_lines(bool wanted);
enum { LINE_SECONDS = 30 };
/* `fraction` of the bar filled, then the text. */
__attribute__((format(printf, 3, 4))) void progress_draw(ProgressBar *bar, double fraction,
                                                         const char *format, ...);
void progress_clear(ProgressBar *bar);

/* Text that a model generates, piece by piece, to standard output; see Output. */
typedef struct Shown {
    Output *output;
    bool terminal;
    Cleaner cleaner;
} Shown;

Shown show_on(Output *output);
bool show_piece(Shown *shown, const char *piece, size_t length);
bool show_end(Shown *shown);

#endif
