/* What the command-line tools share: messages and exit statuses, checked numbers, text buffers,
 * files that appear whole or not at all. Uses the public headers only. */
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

/* Another name for messages; it is kept. */
void rename_tool(const char *name);

/* How fail() and fail_usage() leave where exit() would not do: what comes before the message, and what
 * after it. It is kept. */
typedef struct Failure {
    void (*before)(void);
    void (*leave)(int status);
} Failure;
void fail_by(const Failure *way);

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

/* Room for `more` bytes and a NUL. */
void text_reserve(Text *text, size_t more);
void text_append(Text *text, const char *bytes, size_t length);
void text_append_string(Text *text, const char *string);
void text_free(Text *text);

/* Everything in a file, or in stdin for "-", at most 1 GiB; fail() on errors. */
Text read_bytes(const char *path);
/* The same as text in UTF-8 (cllm_decode_text). */
Text read_input(const char *path);
/* What the library's functions, which take names of files, are to open for `path`: stdin for "-". */
const char *input_name(const char *path);
/* What messages call `path`: standard input for "-". */
const char *shown_name(const char *path);

/* The next whitespace-separated word from *cursor on: true and [*word, *word + *length), or false. */
bool next_word(const char **cursor, const char **word, size_t *length);

/* Appends a JSON string with its quotes; bytes that are not UTF-8 become U+FFFD. */
void text_append_json(Text *text, const char *string, size_t length);

/* ---- Files ---- */

bool is_directory(const char *path);
/* fail() unless the path names something that can be opened for reading. */
void require_readable(const char *path);
/* The same for what is to be a model, which no folder is. */
void require_model(const char *path);
/* Creates a folder with its parents. */
void make_directories(const char *path);
char *join_path(const char *directory, const char *name);
/* Writes a file as a whole, as the library does: see cllm_write_file(). NULL or "-": stdout; a device
 * or a pipe is written to. */
void write_output(const char *path, const Text *text);

/* ---- Time and memory ---- */

double seconds_now(void);

/* Sleeps for a tenth of a second, or less where a signal comes. */
void wait_a_tenth(void);
double peak_memory_mib(void);
int processors(void);

/* "1:02:03" or "2:03"; `buffer` holds at least 24 bytes and is returned. */
char *clock_text(double seconds, char *buffer, size_t size);

#endif
