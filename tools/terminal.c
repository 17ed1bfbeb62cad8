#include "terminal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

size_t utf8_decode(const unsigned char *s, size_t left, uint32_t *code) {
    size_t length = s[0] < 0x80 ? 1 : s[0] < 0xC2 || s[0] > 0xF4 ? 0 : s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;
    static const unsigned char first_bits[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint32_t value = s[0] & first_bits[length];
    for (size_t i = 1; i < length && i < left; i++) {
        if ((s[i] & 0xC0) != 0x80) {
            return 0;
        }
        value = value << 6 | (s[i] & 0x3F);
    }
    if (length > left) {
        return length;
    }
    bool valid = value >= least[length] && value <= 0x10FFFF && (value < 0xD800 || value > 0xDFFF);
    *code = value;
    return valid ? length : 0;
}

bool may_be_shown(uint32_t code, uint32_t previous, bool lines) {
    if (code < 0x20 || (code >= 0x7F && code < 0xA0)) {
        return lines && (code == '\n' || code == '\t');
    }
    if (code == 0x200C || code == 0x200D) {
        return previous >= 0x300; /* joiners: Arabic, Indic and emoji are written with them */
    }
    static const uint32_t hidden[][2] = {
        {0x00AD, 0x00AD},   /* soft hyphen */
        {0x034F, 0x034F},   /* grapheme joiner */
        {0x061C, 0x061C},   /* Arabic letter mark */
        {0x115F, 0x1160},   /* fillers */
        {0x17B4, 0x17B5},
        {0x180E, 0x180E},
        {0x200B, 0x200F},   /* zero width, direction */
        {0x2028, 0x202E},   /* line and paragraph, direction */
        {0x2060, 0x206F},   /* word joiner, direction, deprecated ones */
        {0x3164, 0x3164},
        {0xFEFF, 0xFEFF},   /* byte order mark */
        {0xFFA0, 0xFFA0},
        {0xFFF0, 0xFFFB},   /* annotations */
        {0x1D173, 0x1D17A}, /* of music */
        {0xE0000, 0xE0FFF}, /* tags */
    };
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++) {
        if (code >= hidden[i][0] && code <= hidden[i][1]) {
            return false;
        }
    }
    return true;
}

void clean_piece(Cleaner *cleaner, Text *out, const char *piece, size_t length, bool lines) {
    Text text = {0};
    text_append(&text, (const char *)cleaner->pending, cleaner->length);
    text_append(&text, piece, length);
    cleaner->length = 0;
    const unsigned char *s = (const unsigned char *)text.bytes;
    for (size_t i = 0; i < text.length;) {
        uint32_t code = 0;
        size_t left = text.length - i, n = utf8_decode(s + i, left, &code);
        bool line_end = lines && s[i] == '\r'; /* CR LF; alone it would go back in the line */
        if (n > left || (line_end && left == 1)) {
            memcpy(cleaner->pending, s + i, left);
            cleaner->length = left;
            break;
        }
        if (n > 0 && (may_be_shown(code, cleaner->previous, lines) || (line_end && s[i + 1] == '\n'))) {
            text_append(out, text.bytes + i, n);
        } else {
            text_append(out, "?", 1);
        }
        cleaner->previous = code;
        i += n > 0 ? n : 1;
    }
    text_free(&text);
}

void clean_end(Cleaner *cleaner, Text *out) {
    if (cleaner->length > 0) {
        text_append(out, "?", 1);
    }
    *cleaner = (Cleaner){0};
}

void text_append_clean(Text *out, const char *text, size_t length) {
    Cleaner cleaner = {0};
    text_append(out, "", 0);
    clean_piece(&cleaner, out, text, length, false);
    clean_end(&cleaner, out);
}

const char *visible(FILE *stream, const char *text) {
    static Text kept[8];
    static size_t next;
    if (!isatty(fileno(stream))) {
        return text;
    }
    Text *clean = &kept[next++ % 8];
    text_free(clean);
    text_append_clean(clean, text, strlen(text));
    return clean->bytes;
}

Shown show_on(Output *output) {
    return (Shown){.output = output, .terminal = isatty(STDOUT_FILENO)};
}

static bool show_text(Shown *shown, Text *text) {
    bool arrived = text->length == 0 || output_write(shown->output, text->bytes, text->length);
    text_free(text);
    return arrived && !shown->output->broken;
}

bool show_piece(Shown *shown, const char *piece, size_t length) {
    if (!shown->terminal) {
        return output_write(shown->output, piece, length);
    }
    Text clean = {0};
    clean_piece(&shown->cleaner, &clean, piece, length, true);
    return show_text(shown, &clean);
}

bool show_end(Shown *shown) {
    Text clean = {0};
    clean_end(&shown->cleaner, &clean);
    return show_text(shown, &clean);
}

/* ---- What a terminal can do ---- */

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

ProgressBar progress_lines(bool wanted) {
    ProgressBar bar = progress_bar(wanted);
    bar.lines = wanted && !bar.shown;
    bar.drawn_at = seconds_now();
    return bar;
}

static int terminal_columns(void) {
    struct winsize size;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

void progress_draw(ProgressBar *bar, double fraction, const char *format, ...) {
    double now = seconds_now();
    bool early = bar->shown ? bar->on_screen && now - bar->drawn_at < 0.1
                            : now - bar->drawn_at < LINE_SECONDS;
    if (early || !(bar->shown || bar->lines)) {
        return;
    }
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (!bar->shown) {
        printf("  %s\n", text);
        fflush(stdout);
        bar->drawn_at = now;
        return;
    }
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
