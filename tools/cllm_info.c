/* cllm_info: what is in a model file, and where it is damaged. Reads the file by itself, as
 * docs/FORMAT.md describes it, since the library refuses damaged ones. See --help. */
#include "common.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "cllm_format.h"

static const char help[] =
    "Usage: cllm_info MODEL [options]\n"
    "Shows what is in a model file: header, sections with their sizes and checksums,\n"
    "parameters, the first words, how it was trained. Of a damaged file it shows what\n"
    "can be read, and where the damage is.\n"
    "\n"
    "Output:\n"
    "  -w, --words N  words to show (12)\n"
    "  -j, --json     print JSON\n"
    "  -h, --help     this text\n"
    "\n"
    "Exit status: 0 the file is whole, 1 damaged or unreadable, 2 wrong options.\n"
    "Examples:\n"
    "  cllm_info checkpoints/final_model.cllm --words 100\n"
    "  cllm_info --json model.cllm | python3 -m json.tool\n";

enum { HEADER = 1576, SECTION = 24, MOST_SECTIONS = 64, MOST_WORDS = 1000000, SMALL = 1 << 20 };

typedef enum State { NOT_CHECKED, OK, DAMAGED, CUT_SHORT } State;
static const char *const state_names[] = {"none", "ok", "damaged", "cut short"};

static const char *const contents[][2] = {
    {"header", "sizes, name, times"}, {"body", "weight matrices"}, {"SHAP", "sizes of the layers"},
    {"NORM", "layer norms"}, {"POSN", "positions"}, {"TRFM", "lattice transforms"},
    {"WORD", "words"}, {"TSET", "how text is split"}, {"TOKN", "numbers of the words"},
    {"LATP", "lattice points"}, {"META", "training"},
};

typedef struct Part {
    char tag[16];
    uint64_t offset, size; /* of the payload, as the file says */
    State state;
} Part;

typedef struct Info {
    const char *path;
    FILE *file;
    uint64_t size; /* of the file */
    uint8_t header[HEADER];
    bool extended;
    Part parts[MOST_SECTIONS + 2];
    int num_parts;
    uint64_t odd_floats, first_odd; /* NaN and infinite ones in the body */
    char **words;
    uint64_t num_words; /* as the section says */
    int words_read;
    bool trained;
    uint64_t steps;
    float rate, loss;
    char optimizer[65];
    Text problems; /* NUL-separated */
    int num_problems;
} Info;

__attribute__((format(printf, 2, 3))) static void problem(Info *info, const char *format, ...) {
    char text[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    text_append(&info->problems, text, strlen(text) + 1);
    info->num_problems++;
}

static uint64_t number(const uint8_t *bytes, int size) {
    uint64_t value = 0;
    for (int i = size; i-- > 0;) value = value << 8 | bytes[i];
    return value;
}

static uint64_t field(const Info *info, size_t offset, int size) {
    return number(info->header + offset, size);
}

static float real(const uint8_t *bytes) {
    uint32_t bits = (uint32_t)number(bytes, 4);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* CRC-32 as in zlib; `crc` is that of what came before, 0 at first. */
static uint32_t checksum(uint32_t crc, const uint8_t *bytes, size_t size) {
    static uint32_t table[8][256]; /* eight bytes at a time */
    if (!table[0][1]) {
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t c = i;
            for (int bit = 0; bit < 8; bit++) c = c & 1 ? 0xEDB88320u ^ c >> 1 : c >> 1;
            table[0][i] = c;
        }
        for (int k = 1; k < 8; k++)
            for (int i = 0; i < 256; i++)
                table[k][i] = table[k - 1][i] >> 8 ^ table[0][table[k - 1][i] & 255];
    }
    crc = ~crc;
    for (; size >= 8; size -= 8, bytes += 8) {
        uint32_t low = crc ^ (uint32_t)number(bytes, 4);
        crc = table[3][bytes[4]] ^ table[2][bytes[5]] ^ table[1][bytes[6]] ^ table[0][bytes[7]];
        for (int k = 0; k < 4; k++) crc ^= table[7 - k][low >> 8 * k & 255];
    }
    while (size--) crc = table[0][(crc ^ *bytes++) & 255] ^ crc >> 8;
    return ~crc;
}

/* What the file has of [offset, offset + size); false if not all of it. */
static bool read_at(Info *info, uint64_t offset, void *bytes, size_t size) {
    return offset <= info->size && size <= info->size - offset &&
           fseeko(info->file, (off_t)offset, SEEK_SET) == 0 &&
           fread(bytes, 1, size, info->file) == size;
}

/* Reads a part through: its checksum, and in the body the numbers that are not finite. */
static State examine(Info *info, const Part *part, uint32_t wanted, bool floats) {
    if (part->offset > info->size || part->size > info->size - part->offset) return CUT_SHORT;
    static uint8_t buffer[SMALL];
    uint32_t crc = 0;
    for (uint64_t done = 0; done < part->size;) {
        uint64_t left = part->size - done;
        size_t n = left < SMALL ? (size_t)left : SMALL;
        if (!read_at(info, part->offset + done, buffer, n)) fail("%s: %s", info->path, strerror(errno));
        crc = checksum(crc, buffer, n);
        for (size_t i = 0; floats && i + 4 <= n; i += 4)
            if (!isfinite(real(buffer + i)) && info->odd_floats++ == 0)
                info->first_odd = part->offset + done + i;
        done += n;
    }
    return !info->extended ? NOT_CHECKED : crc == wanted ? OK : DAMAGED;
}

static Part *add_part(Info *info, const char *tag, uint64_t offset, uint64_t size) {
    Part *part = &info->parts[info->num_parts++];
    snprintf(part->tag, sizeof part->tag, "%s", tag);
    part->offset = offset;
    part->size = size;
    return part;
}

static void judge(Info *info, Part *part, State state) {
    part->state = state;
    if (state == DAMAGED)
        problem(info, "%s: damaged somewhere in bytes %" PRIu64 " to %" PRIu64
                      ": its checksum does not match",
                part->tag, part->offset, part->offset + part->size - 1);
    if (state == CUT_SHORT)
        problem(info, "%s: should have %" PRIu64 " bytes from %" PRIu64 " on, the file ends at %" PRIu64,
                part->tag, part->size, part->offset, info->size);
}

static const char *content_of(const char *tag) {
    for (size_t i = 0; i < sizeof contents / sizeof *contents; i++)
        if (strcmp(tag, contents[i][0]) == 0) return contents[i][1];
    return "unknown";
}

/* The words at the head of section WORD, as far as they are there. */
static void read_words(Info *info, const Part *part, int most) {
    uint8_t count[4], length[4];
    uint64_t at = part->offset, end = part->offset + part->size;
    if (info->words || !read_at(info, at, count, 4)) return; /* a second section counts for nothing */
    info->num_words = number(count, 4);
    info->words = checked_alloc((size_t)most + 1, sizeof *info->words);
    for (at += 4; info->words_read < most && (uint64_t)info->words_read < info->num_words;) {
        if (at + 4 > end || !read_at(info, at, length, 4)) return;
        uint64_t size = number(length, 4);
        if (size > end - at - 4 || size > SMALL) return;
        char *word = checked_alloc((size_t)size + 1, 1);
        if (!read_at(info, at + 4, word, (size_t)size)) {
            free(word);
            return;
        }
        info->words[info->words_read++] = word;
        at += 4 + size;
    }
}

static void read_training(Info *info, const Part *part) {
    uint8_t bytes[80];
    if (part->size < sizeof bytes || !read_at(info, part->offset, bytes, sizeof bytes)) return;
    static const uint8_t unknown[80];
    info->trained = memcmp(bytes, unknown, sizeof bytes) != 0;
    info->steps = number(bytes, 8);
    info->rate = real(bytes + 8);
    info->loss = real(bytes + 12);
    memcpy(info->optimizer, bytes + 16, 64);
}

static void read_sections(Info *info, uint64_t offset, uint64_t count, int most_words) {
    for (uint64_t i = 0; i < count; i++) {
        uint8_t head[SECTION];
        if (!read_at(info, offset, head, SECTION)) {
            problem(info, "section %" PRIu64 " of %" PRIu64 " should begin at byte %" PRIu64
                          ", the file ends at %" PRIu64, i + 1, count, offset, info->size);
            return;
        }
        if (checksum(0, head, 20) != number(head + 20, 4)) {
            problem(info, "the head of section %" PRIu64 " is damaged, in bytes %" PRIu64 " to %" PRIu64
                          ": what follows can't be found", i + 1, offset, offset + SECTION - 1);
            return;
        }
        if (info->num_parts == MOST_SECTIONS) {
            problem(info, "more than %d sections", MOST_SECTIONS - 2);
            return;
        }
        char tag[5] = "";
        for (int k = 0; k < 4; k++) tag[k] = head[k] > 32 && head[k] < 127 ? (char)head[k] : '?';
        Part *part = add_part(info, tag, offset + SECTION, number(head + 8, 8));
        judge(info, part, examine(info, part, (uint32_t)number(head + 16, 4), false));
        if (strcmp(tag, "WORD") == 0) read_words(info, part, most_words);
        if (strcmp(tag, "META") == 0 && part->state == OK) read_training(info, part);
        if (part->state == CUT_SHORT) return;
        offset = part->offset + part->size;
    }
    if (offset != info->size)
        problem(info, "the sections end at byte %" PRIu64 ", the file at %" PRIu64, offset, info->size);
}

static void read_file(Info *info, int most_words) {
    if (!read_at(info, 0, info->header, HEADER)) {
        size_t n = info->size < HEADER ? (size_t)info->size : 0;
        if (n < 4 || !read_at(info, 0, info->header, n) || memcmp(info->header, "CLLM", 4) != 0)
            fail("%s: not a model file", info->path);
        judge(info, add_part(info, "header", 0, HEADER), CUT_SHORT);
        return;
    }
    if (memcmp(info->header, "CLLM", 4) != 0) fail("%s: not a model file", info->path);
    static const uint8_t zeros[192];
    info->extended = memcmp(info->header + 1384, "CLLM-EXT", 8) == 0;
    Part *part = add_part(info, "header", 0, HEADER);
    if (!info->extended) {
        if (memcmp(info->header + 1384, zeros, sizeof zeros) != 0)
            problem(info, "header: bytes 1384 to 1575 are neither empty nor those of this library");
        part = add_part(info, "body", HEADER, info->size - HEADER);
        judge(info, part, examine(info, part, 0, true));
        return;
    }
    uint8_t copy[HEADER];
    memcpy(copy, info->header, HEADER);
    memset(copy + 1420, 0, 4);
    judge(info, part, checksum(0, copy, HEADER) == field(info, 1420, 4) ? OK : DAMAGED);
    uint64_t extension = field(info, 1400, 8);
    if (extension < HEADER || extension > INT64_MAX) {
        problem(info, "header: the sections can't begin at byte %" PRIu64, extension);
        return;
    }
    part = add_part(info, "body", HEADER, extension - HEADER);
    judge(info, part, examine(info, part, (uint32_t)field(info, 1416, 4), true));
    read_sections(info, extension, field(info, 1396, 4), most_words);
}

/* ---- Output ---- */

/* A text of the file: control characters and bytes that are not ASCII or UTF-8 leads as they are. */
static void print_text(const char *text, size_t most) {
    for (size_t i = 0; i < most && text[i]; i++)
        putchar((unsigned char)text[i] < 32 || text[i] == 127 ? '?' : text[i]);
}

static void print_field(const char *name, const char *text, size_t most) {
    if (*text == '\0') return;
    printf("%-12s ", name);
    print_text(text, most);
    putchar('\n');
}

static void print_time(const char *name, uint64_t seconds) {
    time_t when = (time_t)seconds;
    struct tm parts;
    char text[64];
    if (seconds == 0 || seconds > 253402300799u || !gmtime_r(&when, &parts)) return;
    strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &parts);
    printf("%-12s %s\n", name, text);
}

static void print_plain(const Info *info) {
    printf("%s: %" PRIu64 " bytes, %s\n\n", info->path, info->size,
           info->extended ? "written by this library" : "a file of the original library");
    if (info->size >= HEADER) {
        print_field("name", (const char *)info->header + 12, 256);
        print_field("description", (const char *)info->header + 268, 1024);
        printf("shape        %" PRIu64 " words, width %" PRIu64 ", %" PRIu64 " layers, %" PRIu64
               " heads, context %" PRIu64 "\nparameters   %" PRIu64 "\n",
               field(info, 1296, 8), field(info, 1312, 8), field(info, 1320, 8), field(info, 1352, 4),
               field(info, 1356, 4), field(info, 1376, 8));
        print_time("created", field(info, 1328, 8));
        print_time("modified", field(info, 1336, 8));
    }
    if (info->trained) {
        printf("training     %" PRIu64 " steps%s", info->steps, *info->optimizer ? " of " : "");
        print_text(info->optimizer, 64);
        printf("; the last: loss %.4f, learning rate %g\n", (double)info->loss, (double)info->rate);
    }
    printf("\n%-8s %14s %14s  %-10s content\n", "part", "offset", "bytes", "checksum");
    for (int i = 0; i < info->num_parts; i++) {
        const Part *part = &info->parts[i];
        printf("%-8s %14" PRIu64 " %14" PRIu64 "  %-10s %s\n", part->tag, part->offset, part->size,
               state_names[part->state], content_of(part->tag));
    }
    if (info->words_read) {
        printf("\nwords       ");
        for (int i = 0; i < info->words_read; i++) {
            putchar(' ');
            print_text(info->words[i], SIZE_MAX);
        }
        printf("%s\n", (uint64_t)info->words_read < info->num_words ? " ..." : "");
    }
    const char *text = info->problems.bytes;
    for (int i = 0; i < info->num_problems; i++, text += strlen(text) + 1)
        printf("%s%s\n", i == 0 ? "\n" : "", text);
}

static void json_text(const char *name, const char *text, size_t most) {
    Text out = {0};
    text_append_json(&out, text, strnlen(text, most));
    printf("  \"%s\": %s,\n", name, out.bytes);
    text_free(&out);
}

static void json_list(const char *name, char *const *texts, int count, const char *end) {
    printf("  \"%s\": [", name);
    for (int i = 0; i < count; i++) {
        Text out = {0};
        text_append_json(&out, texts[i], strlen(texts[i]));
        printf("%s%s", i ? ", " : "", out.bytes);
        text_free(&out);
    }
    printf("]%s\n", end);
}

/* JSON has no NaN. */
static void json_real(const char *name, double value) {
    if (isfinite(value)) printf("\"%s\": %.9g", name, value);
    else printf("\"%s\": null", name);
}

static void print_json(const Info *info) {
    printf("{\n");
    json_text("file", info->path, SIZE_MAX);
    printf("  \"bytes\": %" PRIu64 ",\n  \"whole\": %s,\n  \"extension\": %s,\n", info->size,
           info->num_problems ? "false" : "true", info->extended ? "true" : "false");
    if (info->size >= HEADER) {
        json_text("name", (const char *)info->header + 12, 256);
        json_text("description", (const char *)info->header + 268, 1024);
        static const struct {
            const char *name;
            int offset, size;
        } fields[] = {{"vocab_size", 1296, 8}, {"embedding_dim", 1312, 8}, {"num_layers", 1320, 8},
                      {"num_heads", 1352, 4}, {"context_length", 1356, 4}, {"parameters", 1376, 8},
                      {"created", 1328, 8}, {"modified", 1336, 8}};
        for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
            printf("  \"%s\": %" PRIu64 ",\n", fields[i].name,
                   field(info, (size_t)fields[i].offset, fields[i].size));
    }
    if (info->trained) {
        printf("  \"training\": {\"steps\": %" PRIu64 ", ", info->steps);
        json_real("learning_rate", info->rate);
        printf(", ");
        json_real("loss", info->loss);
        Text out = {0};
        text_append_json(&out, info->optimizer, strlen(info->optimizer));
        printf(", \"optimizer\": %s},\n", out.bytes);
        text_free(&out);
    }
    printf("  \"parts\": [");
    for (int i = 0; i < info->num_parts; i++) {
        const Part *part = &info->parts[i];
        Text tag = {0};
        text_append_json(&tag, part->tag, strlen(part->tag));
        printf("%s\n    {\"part\": %s, \"offset\": %" PRIu64 ", \"bytes\": %" PRIu64
               ", \"checksum\": \"%s\", \"content\": \"%s\"}",
               i ? "," : "", tag.bytes, part->offset, part->size, state_names[part->state],
               content_of(part->tag));
        text_free(&tag);
    }
    printf("\n  ],\n");
    json_list("words", info->words, info->words_read, ",");
    char **problems = checked_alloc((size_t)info->num_problems + 1, sizeof *problems);
    char *text = info->problems.bytes;
    for (int i = 0; i < info->num_problems; i++, text += strlen(text) + 1) problems[i] = text;
    json_list("problems", problems, info->num_problems, "");
    free(problems);
    printf("}\n");
}

int main(int argc, char **argv) {
    static const struct option known[] = {
        {"words", required_argument, NULL, 'w'},
        {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    start_tool(argv[0]);
    int words = 12;
    bool json = false;
    opterr = 0;
    for (int c; (c = getopt_long(argc, argv, ":w:jh", known, NULL)) != -1;) {
        switch (c) {
        case 'w': words = (int)parse_integer("--words", optarg, 0, MOST_WORDS); break;
        case 'j': json = true; break;
        case 'h': fputs(help, stdout); check_stdout(); return 0;
        default: fail_option(c, argv);
        }
    }
    if (optind + 1 != argc) fail_usage(optind == argc ? "MODEL is missing" : "more than one MODEL");

    Info info = {.path = argv[optind]};
    struct stat status;
    require_readable(info.path);
    info.file = fopen(info.path, "rb");
    if (!info.file || fstat(fileno(info.file), &status) != 0) fail("%s: %s", info.path, strerror(errno));
    if (!S_ISREG(status.st_mode)) fail("%s: not an ordinary file", info.path);
    info.size = (uint64_t)status.st_size;
    read_file(&info, words);
    if (info.num_problems == 0 && !info.odd_floats && !cllm_validate(info.path)) {
        /* "function: path: reason": what can't be seen part by part. */
        const char *reason = library_error(), *named = strstr(reason, info.path);
        problem(&info, "not a model%s%s", named ? "" : ": ", named ? named + strlen(info.path) : reason);
    }
    if (info.odd_floats)
        problem(&info, "body: %" PRIu64 " weights are NaN or infinite, the first at byte %" PRIu64,
                info.odd_floats, info.first_odd);
    (json ? print_json : print_plain)(&info);
    check_stdout();

    int problems = info.num_problems;
    for (int i = 0; i < info.words_read; i++) free(info.words[i]);
    free(info.words);
    text_free(&info.problems);
    fclose(info.file);
    return problems ? EXIT_FAILED : 0;
}
