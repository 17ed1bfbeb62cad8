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
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "cllm_ext.h"
#include "cllm_simd_utils.h"
#include "terminal.h"

static const char *program = "cllm";
static const Failure *failure; /* NULL: exit() */
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

void rename_tool(const char *name) {
    program = name;
}

void fail_by(const Failure *way) {
    failure = way;
}

static void before_failure(void) {
    if (failure) {
        failure->before();
    }
}

__attribute__((noreturn)) static void leave(int status) {
    if (failure) {
        failure->leave(status);
    }
    exit(status);
}

void fail(const char *format, ...) {
    before_failure();
    va_list arguments;
    va_start(arguments, format);
    complain_list(format, arguments);
    va_end(arguments);
    leave(EXIT_FAILED);
}

void fail_usage(const char *format, ...) {
    before_failure();
    va_list arguments;
    va_start(arguments, format);
    complain_list(format, arguments);
    va_end(arguments);
    fprintf(stderr, "Try '%s --help'.\n", program);
    leave(EXIT_USAGE);
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

void text_reserve(Text *text, size_t more) {
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

/* ---- Time and memory ---- */

double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

void wait_a_tenth(void) {
    struct timespec tenth = {.tv_nsec = 100000000};
    nanosleep(&tenth, NULL);
}

double peak_memory_mib(void) {
    /* getrusage() counts what the program that started this one had before it did. */
    FILE *status = fopen("/proc/self/status", "r");
    char line[200];
    double kib = 0;
    while (status && kib <= 0 && fgets(line, sizeof line, status)) {
        if (sscanf(line, "VmHWM: %lf", &kib) != 1) {
            kib = 0;
        }
    }
    if (status) {
        fclose(status);
    }
    if (kib > 0) {
        return kib / 1024.0;
    }
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
