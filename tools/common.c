#include "common.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cllm_ext.h"
#include "cllm_simd_utils.h"
#include "terminal.h"

static const char *program = "cllm";
static bool warnings = true;
static bool stdout_was_closed;

/* ---- Messages ---- */

static void complain_list(const char *format, va_list arguments) {
    fflush(stdout); /* keeps the order where both go to one terminal */
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    char *message = length < 0 ? NULL : malloc((size_t)length + 1);
    if (message) {
        vsnprintf(message, (size_t)length + 1, format, arguments);
    }
    fprintf(stderr, "%s: %s\n", program, visible(stderr, message ? message : format));
    free(message);
}

/* Errors are left to the tool, which knows what it was doing. */
static void on_library_message(int level, const char *message, void *user_data) {
    (void)user_data;
    if (level == 1 && warnings) {
        complain("warning: %s", message);
    }
}

/* A file that is opened while a standard stream is closed would become that stream, and what is
 * printed would land in it. In their place stands /dev/null, opened so that using it is an error. */
static void take_standard_streams(void) {
    for (int stream = STDIN_FILENO; stream <= STDERR_FILENO; stream++) {
        if (fcntl(stream, F_GETFD) < 0 && errno == EBADF) {
            int wrong_way = stream == STDIN_FILENO ? O_WRONLY : O_RDONLY;
            stdout_was_closed |= stream == STDOUT_FILENO;
            if (open("/dev/null", wrong_way) != stream) {
                _exit(EXIT_FAILED); /* no /dev/null, and nobody to tell */
            }
        }
    }
}

void start_tool(const char *argv0) {
    take_standard_streams();
    signal(SIGXFSZ, SIG_IGN);
    const char *slash = strrchr(argv0, '/');
    program = slash ? slash + 1 : argv0;
    cllm_set_log_callback(on_library_message, NULL);
    /* The first computation reads CLLM_SIMD: a value that is not known is said, --quiet or not. */
    float one = 1;
    dot_product(&one, &one, 1);
}

void silence_warnings(void) {
    warnings = false;
}

void warn(const char *format, ...) {
    if (warnings) {
        va_list arguments;
        va_start(arguments, format);
        complain_list(format, arguments);
        va_end(arguments);
    }
}

void complain(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    complain_list(format, arguments);
    va_end(arguments);
}

void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    complain_list(format, arguments);
    va_end(arguments);
    exit(EXIT_FAILED);
}

void fail_usage(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    complain_list(format, arguments);
    va_end(arguments);
    fprintf(stderr, "Try '%s --help'.\n", program);
    exit(EXIT_USAGE);
}

const char *library_error(void) {
    const char *message = cllm_last_error();
    return message && *message ? message : "unknown error";
}

void fail_option(int result, char **argv) {
    const char *given = argv[optind - 1];
    if (result == ':') {
        fail_usage("option '%s' needs a value", given);
    }
    /* A wrong letter inside "-xyz" is named by optopt, a wrong long option by the argument itself. */
    if (optopt && strncmp(given, "--", 2) != 0) {
        fail_usage("unknown option '-%c'", optopt);
    }
    fail_usage(optopt ? "option '%s' takes no value" : "unknown option '%s'", given);
}

void check_stdout(void) {
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fail("can't write to standard output: %s", strerror(errno));
    }
}

void check_stdout_if_read(void) {
    struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};
    bool reader_left = poll(&out, 1, 0) > 0 && (out.revents & (POLLERR | POLLHUP));
    if (!stdout_was_closed && !reader_left) {
        check_stdout();
    }
}

/* ---- Numbers ---- */

bool read_integer(const char *text, long long *value) {
    char *end = NULL;
    if (text[strspn(text, "+-0123456789")] != '\0') {
        return false; /* strtoll() would skip spaces */
    }
    errno = 0;
    *value = strtoll(text, &end, 10); /* the nearest one, where there is none so large */
    return end != text && *end == '\0';
}

long long parse_integer(const char *option, const char *text, long long least, long long most) {
    long long value;
    if (!read_integer(text, &value)) {
        fail_usage("%s: '%s' is not a whole number", option, text);
    }
    if (errno == ERANGE || value < least || value > most) {
        fail_usage("%s: %s is not between %lld and %lld", option, text, least, most);
    }
    return value;
}

bool read_number(const char *text, double *value) {
    char *end = NULL;
    if (text[strspn(text, "+-.eE0123456789")] != '\0') {
        return false; /* strtod() would take spaces, hexadecimal digits and names */
    }
    errno = 0;
    *value = strtod(text, &end);
    float narrow = (float)*value;
    if ((narrow == 0 && *value != 0) || isinf(narrow)) {
        errno = ERANGE;
    }
    return end != text && *end == '\0';
}

double parse_number(const char *option, const char *text, double least, double most) {
    double value;
    if (!read_number(text, &value)) {
        fail_usage("%s: '%s' is not a number", option, text);
    }
    if (value < least || value > most) {
        fail_usage("%s: %s is not between %g and %g", option, text, least, most);
    }
    if (errno == ERANGE) {
        fail_usage("%s: %s is too close to 0", option, text);
    }
    return value;
}

/* ---- Memory and text ---- */

void *checked_alloc(size_t count, size_t size) {
    void *block = calloc(count ? count : 1, size);
    if (!block) {
        fail("out of memory");
    }
    return block;
}

void *checked_resize(void *block, size_t count, size_t size) {
    void *resized = size && count > SIZE_MAX / size ? NULL : realloc(block, count * size);
    if (!resized) {
        fail("out of memory");
    }
    return resized;
}

char *copy_text(const char *text, size_t length) {
    char *copy = checked_alloc(length + 1, 1);
    memcpy(copy, text, length);
    return copy;
}

/* Room for `more` bytes and a NUL. */
static void text_reserve(Text *text, size_t more) {
    if (more >= SIZE_MAX / 2 - text->length) {
        fail("out of memory");
    }
    size_t needed = text->length + more + 1;
    if (needed > text->capacity) {
        size_t capacity = text->capacity * 2 > needed ? text->capacity * 2 : needed;
        text->bytes = checked_resize(text->bytes, capacity, 1);
        text->capacity = capacity;
    }
}

void text_append(Text *text, const char *bytes, size_t length) {
    text_reserve(text, length);
    if (length > 0) {
        memcpy(text->bytes + text->length, bytes, length);
    }
    text->length += length;
    text->bytes[text->length] = '\0';
}

void text_append_string(Text *text, const char *string) {
    text_append(text, string, strlen(string));
}

void text_free(Text *text) {
    free(text->bytes);
    *text = (Text){0};
}

/* A stream that never ends must not take all memory. */
enum { MOST_BYTES = 1 << 30 };

Text read_stream(FILE *stream, const char *name) {
    Text bytes = {0};
    for (size_t got = 1; got > 0;) {
        text_reserve(&bytes, 65536);
        got = fread(bytes.bytes + bytes.length, 1, 65536, stream);
        bytes.length += got;
        if (bytes.length > MOST_BYTES) {
            fail("can't read '%s': more than %d bytes", name, MOST_BYTES);
        }
    }
    if (ferror(stream)) {
        fail("can't read '%s': %s", name, strerror(errno));
    }
    Text text = {.bytes = cllm_decode_text(bytes.bytes, bytes.length)};
    if (!text.bytes) {
        fail("can't read '%s': %s", name, library_error());
    }
    text_free(&bytes);
    text.length = strlen(text.bytes);
    text.capacity = text.length + 1;
    return text;
}

Text read_input(const char *path) {
    if (strcmp(path, "-") == 0) {
        return read_stream(stdin, "standard input");
    }
    require_readable(path);
    FILE *file = fopen(path, "rb");
    if (!file) {
        fail("can't open '%s': %s", path, strerror(errno));
    }
    Text text = read_stream(file, path);
    fclose(file);
    return text;
}

const char *input_name(const char *path) {
    return strcmp(path, "-") == 0 ? "/dev/stdin" : path;
}

bool next_word(const char **cursor, const char **word, size_t *length) {
    static const char separators[] = " \t\n\v\f\r"; /* those of the library */
    *word = *cursor + strspn(*cursor, separators);
    *length = strcspn(*word, separators);
    *cursor = *word + *length;
    return *length > 0;
}

void text_append_json(Text *text, const char *string, size_t length) {
    const unsigned char *s = (const unsigned char *)string;
    text_append(text, "\"", 1);
    for (size_t i = 0; i < length;) {
        uint32_t code = 0;
        size_t n = utf8_decode(s + i, length - i, &code);
        char escape[16];
        if (n == 0 || n > length - i) {
            text_append_string(text, "\\ufffd");
            n = 1;
        } else if (code == '"' || code == '\\') {
            snprintf(escape, sizeof escape, "\\%c", s[i]);
            text_append_string(text, escape);
        } else if (may_be_shown(code, 0x300, false)) {
            text_append(text, string + i, n);
        } else if (code < 0x10000) {
            snprintf(escape, sizeof escape, "\\u%04x", (unsigned)code);
            text_append_string(text, escape);
        } else {
            snprintf(escape, sizeof escape, "\\u%04x\\u%04x", (unsigned)(0xD7C0 + (code >> 10)),
                     (unsigned)(0xDC00 + (code & 0x3FF)));
            text_append_string(text, escape);
        }
        i += n;
    }
    text_append(text, "\"", 1);
}

/* ---- Files ---- */

bool is_directory(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

void require_readable(const char *path) {
    if (access(path, R_OK) != 0) {
        fail("can't open '%s': %s", path, strerror(errno));
    }
}

void make_directories(const char *path) {
    char *partial = copy_text(path, strlen(path));
    for (char *p = partial + 1;; p++) {
        if (*p == '/' || *p == '\0') {
            char separator = *p;
            *p = '\0';
            if (mkdir(partial, 0777) != 0 && errno != EEXIST && !is_directory(partial)) {
                fail("can't create folder '%s': %s", partial, strerror(errno));
            }
            *p = separator;
            if (separator == '\0') {
                break;
            }
        }
    }
    free(partial);
    if (!is_directory(path)) {
        fail("'%s' is not a folder", path);
    }
}

char *join_path(const char *directory, const char *name) {
    Text path = {0};
    text_append_string(&path, directory);
    if (path.length > 0 && path.bytes[path.length - 1] != '/') {
        text_append(&path, "/", 1);
    }
    text_append_string(&path, name);
    return path.bytes;
}

/* A device or a pipe can't be replaced by a rename. */
static bool is_special(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 && !S_ISREG(status.st_mode);
}

static void write_stream(FILE *stream, const char *name, const Text *text) {
    if (fwrite(text->bytes, 1, text->length, stream) != text->length || fflush(stream) != 0) {
        fail("can't write '%s': %s", name, strerror(errno));
    }
}

void write_output(const char *path, const Text *text) {
    if (!path || strcmp(path, "-") == 0) {
        Text clean = {0};
        if (isatty(STDOUT_FILENO)) {
            Cleaner cleaner = {0};
            text_append(&clean, "", 0);
            clean_piece(&cleaner, &clean, text->bytes, text->length, true);
            clean_end(&cleaner, &clean);
        }
        write_stream(stdout, "standard output", clean.bytes ? &clean : text);
        text_free(&clean);
        return;
    }
    if (is_special(path)) {
        FILE *stream = fopen(path, "wb");
        if (!stream) {
            fail("can't write '%s': %s", path, strerror(errno));
        }
        write_stream(stream, path, text);
        fclose(stream);
        return;
    }
    if (cllm_write_file(path, text->bytes, text->length) != 0) {
        fail("can't write '%s': %s", path, library_error());
    }
}

/* ---- Vocabulary ---- */

CLLMTokenizer *load_vocabulary(const char *path) {
    const char *name = input_name(path);
    require_readable(name);
    CLLMTokenizer *tokenizer = cllm_read_vocab(name);
    if (!tokenizer) {
        fail("can't read the vocabulary '%s': %s", path, library_error());
    }
    if (cllm_get_vocab_size(tokenizer) <= 5) {
        fail("'%s' is not a vocabulary: it has no words", path);
    }
    return tokenizer;
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

/* ---- Time and memory ---- */

double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

double peak_memory_mib(void) {
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (double)usage.ru_maxrss / 1024.0 : 0.0;
}

int processors(void) {
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count > 0 && count < 4096 ? (int)count : 1;
}

char *clock_text(double seconds, char *buffer, size_t size) {
    unsigned long total = seconds > 0 && seconds < 1e9 ? (unsigned long)(seconds + 0.5) : 0;
    if (total >= 3600) {
        snprintf(buffer, size, "%lu:%02lu:%02lu", total / 3600, total / 60 % 60, total % 60);
    } else {
        snprintf(buffer, size, "%lu:%02lu", total / 60, total % 60);
    }
    return buffer;
}

/* ---- Terminal ---- */

/* A terminal that understands more than lines of text, as far as it says what it is. */
static bool is_capable_terminal(int descriptor) {
    const char *terminal = getenv("TERM");
    return isatty(descriptor) && terminal && *terminal && strcmp(terminal, "dumb") != 0;
}

bool use_colours(int descriptor) {
    const char *refused = getenv("NO_COLOR");
    return is_capable_terminal(descriptor) && !(refused && *refused);
}

bool output_write(Output *output, const char *bytes, size_t length) {
    if (!output->broken && (fwrite(bytes, 1, length, stdout) != length || fflush(stdout) != 0)) {
        output->broken = true;
        output->reason = errno;
    }
    return !output->broken;
}

void output_check(const Output *output) {
    if (output->broken && output->reason != EPIPE) {
        fail("can't write to standard output: %s", strerror(output->reason));
    }
}

ProgressBar progress_bar(bool wanted) {
    return (ProgressBar){.shown = wanted && is_capable_terminal(STDOUT_FILENO)};
}

static int terminal_columns(void) {
    struct winsize size;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

void progress_draw(ProgressBar *bar, double fraction, const char *format, ...) {
    double now = seconds_now();
    if (!bar->shown || (bar->on_screen && now - bar->drawn_at < 0.1)) {
        return;
    }
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    /* A line that wraps could not be drawn over. */
    int columns = terminal_columns() - 1, width = columns - (int)strlen(text) - 3;
    printf("\r\033[K");
    if (width >= 5) {
        static const char full[] = "========================";
        width = width < (int)sizeof full - 1 ? width : (int)sizeof full - 1;
        int filled = fraction <= 0 ? 0 : fraction >= 1 ? width : (int)(fraction * width);
        printf("[%.*s%*s] ", filled, full, width - filled, "");
    }
    printf("%.*s", columns, text);
    fflush(stdout);
    bar->drawn_at = now;
    bar->on_screen = true;
}

void progress_clear(ProgressBar *bar) {
    if (bar->on_screen) {
        printf("\r\033[K");
        bar->on_screen = false;
    }
}
