/* What the command-line tools share: messages and exit statuses, checked numbers, text buffers,
 * files that appear whole or not at all, a progress bar. Uses the public headers only. */
#ifndef CLLM_TOOLS_COMMON_H
#define CLLM_TOOLS_COMMON_H

#ifndef _XOPEN_SOURCE
#define _XOPEN_SOURCE 700 /* POSIX 2008 and nftw() */
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "cllm.h"
#include "cllm_tokenizer.h"

enum { EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* ---- Messages ---- */

/* Call first in main(): the name for messages, and where the library's own messages go. Errors of
 * the library are reported by the tool (see library_error()), its warnings as "name: warning:".
 * Standard streams that are closed stay unusable, but their numbers are taken, so that no file is
 * opened as one of them; a file that grows beyond `ulimit -f` is an error, not the end. */
void start_tool(const char *argv0);

/* From now on warnings are not shown. */
void silence_warnings(void);
/* complain(), unless they are silenced. */
__attribute__((format(printf, 1, 2))) void warn(const char *format, ...);

/* "name: message" on stderr. */
__attribute__((format(printf, 1, 2))) void complain(const char *format, ...);
/* complain(), then leave with EXIT_FAILED. */
__attribute__((format(printf, 1, 2), noreturn)) void fail(const char *format, ...);
/* complain(), point at --help, and leave with EXIT_USAGE. */
__attribute__((format(printf, 1, 2), noreturn)) void fail_usage(const char *format, ...);

/* Why the library's latest call failed. */
const char *library_error(void);

/* What getopt_long's ':' (`option` lacks its argument) and '?' (unknown option) mean, as fail_usage().
 * Needs opterr = 0 and an option string that begins with ':'. */
__attribute__((noreturn)) void fail_option(int result, char **argv);

/* Leaves with EXIT_FAILED if something that was printed did not arrive (a full disk). */
void check_stdout(void);
/* The same in a program whose result is not what it prints, with SIGPIPE ignored: a standard output
 * that was closed at the start, or whose reader left, is no error. */
void check_stdout_if_read(void);

/* ---- Numbers: the whole text must be one, written in decimal digits ---- */

bool read_integer(const char *text, long long *value); /* errno is ERANGE where it doesn't fit */
bool read_number(const char *text, double *value); /* likewise for a float */
/* On the command line, and within the limits, or else fail_usage(). */
long long parse_integer(const char *option, const char *text, long long least, long long most);
double parse_number(const char *option, const char *text, double least, double most);

/* ---- Memory and text ---- */

void *checked_alloc(size_t count, size_t size); /* zeroed; fails instead of returning NULL */
void *checked_resize(void *block, size_t count, size_t size);
char *copy_text(const char *text, size_t length); /* NUL-terminated */

/* A growing string, always NUL-terminated once something was appended. */
typedef struct Text {
    char *bytes;
    size_t length;
    size_t capacity;
} Text;

void text_append(Text *text, const char *bytes, size_t length);
void text_append_string(Text *text, const char *string);
void text_free(Text *text);

/* Everything in a stream, at most 1 GiB, as text in UTF-8 (cllm_decode_text). fail() with `name` on
 * errors. */
Text read_stream(FILE *stream, const char *name);
/* The same for a file, or stdin for "-". */
Text read_input(const char *path);
/* What the library's functions, which take names of files, are to open for `path`: stdin for "-". */
const char *input_name(const char *path);

/* The next whitespace-separated word from *cursor on: true and [*word, *word + *length), or false. */
bool next_word(const char **cursor, const char **word, size_t *length);

/* Appends a JSON string with its quotes; bytes that are not UTF-8 become U+FFFD. */
void text_append_json(Text *text, const char *string, size_t length);

/* ---- Files ---- */

bool is_directory(const char *path);
/* fail() unless the path names something that can be opened for reading. */
void require_readable(const char *path);
/* Creates a folder with its parents. */
void make_directories(const char *path);
char *join_path(const char *directory, const char *name);
/* Writes a file as a whole, as the library does: see cllm_write_file(). NULL or "-": stdout; a device
 * or a pipe is written to. */
void write_output(const char *path, const Text *text);

/* ---- Vocabulary ---- */

/* Loads a vocabulary file, or stdin for "-"; fail() if there is none or it has no entries beyond the
 * special tokens. */
CLLMTokenizer *load_vocabulary(const char *path);
/* True when the model carries token strings of its own, not only "token_<id>". */
bool has_token_strings(const CLLMModel *model);

/* ---- Time and memory ---- */

double seconds_now(void);
double peak_memory_mib(void);
int processors(void);

/* "1:02:03" or "2:03"; `buffer` holds at least 24 bytes and is returned. */
char *clock_text(double seconds, char *buffer, size_t size);

/* ---- Terminal ---- */

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
    bool shown; /* false: every call does nothing */
    double drawn_at;
    bool on_screen;
} ProgressBar;

/* Shown when wanted and stdout is a terminal that can draw over a line. */
ProgressBar progress_bar(bool wanted);
/* `fraction` of the bar filled, then the text. */
__attribute__((format(printf, 3, 4))) void progress_draw(ProgressBar *bar, double fraction,
                                                         const char *format, ...);
void progress_clear(ProgressBar *bar);

#endif
