/* cllm_info: what is in a model file, and where it is damaged. See --help. */
#include "common.h"
#include "terminal.h"
#include "tokens.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "cllm_ext.h"

static const char help[] =
    "Usage: cllm_info MODEL [options]\n"
    "Shows what is in a model file: header, sections with their sizes and checksums,\n"
    "parameters, what holds them, what its tokens are and the first of them, how it\n"
    "was trained. Of a damaged file it shows what can be read, and where the damage\n"
    "is.\n"
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

enum { MOST_WORDS = 1000000 };

/* What to print, and how. */
typedef struct Info {
    const char *path;
    bool json;
    const CLLMFileInfo *file;
} Info;

static const char *state_name(int integrity) {
    switch (integrity) {
    case CLLM_FILE_WHOLE: return "ok";
    case CLLM_FILE_DAMAGED: return "damaged";
    case CLLM_FILE_CUT_SHORT: return "cut short";
    default: return "none";
    }
}

static bool has_part(const CLLMFileInfo *file, const char *name) {
    bool found = false;
    for (size_t i = 0; i < file->num_parts; i++) {
        found |= strcmp(file->parts[i].name, name) == 0;
    }
    return found;
}

/* Files of the original block have no such part. */
static bool is_modern(const CLLMFileInfo *file) { return has_part(file, "ARCH"); }

/* Of the matrices; everything else is floats. */
static const char *precision(const CLLMFileInfo *file) {
    return has_part(file, "INT8") ? "8 bits" : "floats";
}

/* Of the last loss, where the file says what its tokens stand for. */
static double bits_per_byte(const CLLMFileInfo *file) {
    return file->bytes_per_token > 0 ? (double)file->training->loss / M_LN2 / file->bytes_per_token : NAN;
}

/* ---- Output ---- */

/* A text of the file, without what a terminal would obey: a list is read by people, also from a
 * pipe. */
static void print_text(const char *text, size_t most) {
    Text clean = {0};
    text_append_clean(&clean, text, strnlen(text, most));
    fputs(clean.bytes, stdout);
    text_free(&clean);
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
    const CLLMFileInfo *file = info->file;
    printf("%s: %" PRIu64 " bytes, %s\n\n", visible(stdout, info->path), file->size,
           file->extended ? "written by this library" : "a file of the original library");
    const CLLMHeader *header = file->header;
    if (header) {
        print_field("name", header->model_name, sizeof header->model_name);
        print_field("description", header->description, sizeof header->description);
        printf("shape        %" PRIu64 " %s, width %" PRIu64 ", %" PRIu64 " layers, %" PRIu32
               " heads, context %" PRIu32 "\n",
               header->vocab_size, file->tokens > CLLM_TOKENS_WORDS ? "tokens" : "words",
               header->embedding_dim, header->num_layers, header->num_heads,
               header->context_length);
        if (file->parameters > 0) printf("parameters   %" PRIu64 "\n", file->parameters);
        printf("block        %s\n", is_modern(file) ? "modern" : "original");
        printf("weights      %s\n", precision(file));
        printf("tokens       %s\n", kind_name(file->tokens));
        print_time("created", header->created_timestamp);
        print_time("modified", header->modified_timestamp);
    }
    const TrainingMetadata *training = file->training;
    if (training) {
        printf("training     %" PRIu64 " steps%s", training->training_steps,
               *training->optimizer ? " of " : "");
        print_text(training->optimizer, sizeof training->optimizer);
        printf("; the last: loss %.4f, ", (double)training->loss);
        if (file->bytes_per_token > 0) printf("%.4f bits per byte, ", bits_per_byte(file));
        printf("learning rate %g\n", (double)training->learning_rate);
    }
    printf("\n%-8s %14s %14s  %-10s content\n", "part", "offset", "bytes", "checksum");
    for (size_t i = 0; i < file->num_parts; i++) {
        const CLLMFilePart *part = &file->parts[i];
        printf("%-8s %14" PRIu64 " %14" PRIu64 "  %-10s %s\n", part->name, part->offset, part->size,
               state_name(part->integrity), part->content);
    }
    if (file->words_read) {
        printf("\n%-12s", file->tokens > CLLM_TOKENS_WORDS ? "tokens" : "words");
        for (size_t i = 0; i < file->words_read; i++) {
            putchar(' ');
            print_text(file->words[i], SIZE_MAX);
        }
        printf("%s\n", file->words_read < file->num_words ? " ..." : "");
    }
    for (size_t i = 0; i < file->num_problems; i++)
        printf("%s%s\n", i == 0 ? "\n" : "", visible(stdout, file->problems[i]));
}

static void json_text(const char *name, const char *text, size_t most) {
    Text out = {0};
    text_append_json(&out, text, strnlen(text, most));
    printf("  \"%s\": %s,\n", name, out.bytes);
    text_free(&out);
}

static void json_list(const char *name, const char *const *texts, size_t count, const char *end) {
    printf("  \"%s\": [", name);
    for (size_t i = 0; i < count; i++) {
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
    const CLLMFileInfo *file = info->file;
    printf("{\n");
    json_text("file", info->path, SIZE_MAX);
    printf("  \"bytes\": %" PRIu64 ",\n  \"whole\": %s,\n  \"extension\": %s,\n", file->size,
           file->num_problems ? "false" : "true", file->extended ? "true" : "false");
    const CLLMHeader *header = file->header;
    if (header) {
        json_text("name", header->model_name, sizeof header->model_name);
        json_text("description", header->description, sizeof header->description);
        const struct {
            const char *name;
            uint64_t value;
        } fields[] = {{"vocab_size", header->vocab_size}, {"embedding_dim", header->embedding_dim},
                      {"num_layers", header->num_layers}, {"num_heads", header->num_heads},
                      {"context_length", header->context_length}, {"parameters", file->parameters},
                      {"created", header->created_timestamp}, {"modified", header->modified_timestamp}};
        for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
            printf("  \"%s\": %" PRIu64 ",\n", fields[i].name, fields[i].value);
    }
    printf("  \"block\": \"%s\",\n", is_modern(file) ? "modern" : "original");
    json_text("weights", precision(file), SIZE_MAX);
    json_text("tokens", kind_name(file->tokens), SIZE_MAX);
    const TrainingMetadata *training = file->training;
    if (training) {
        printf("  \"training\": {\"steps\": %" PRIu64 ", ", training->training_steps);
        json_real("learning_rate", training->learning_rate);
        printf(", ");
        json_real("loss", training->loss);
        printf(", ");
        json_real("bits_per_byte", bits_per_byte(file));
        Text out = {0};
        text_append_json(&out, training->optimizer,
                         strnlen(training->optimizer, sizeof training->optimizer));
        printf(", \"optimizer\": %s},\n", out.bytes);
        text_free(&out);
    }
    printf("  \"parts\": [");
    for (size_t i = 0; i < file->num_parts; i++) {
        const CLLMFilePart *part = &file->parts[i];
        Text tag = {0};
        text_append_json(&tag, part->name, strlen(part->name));
        printf("%s\n    {\"part\": %s, \"offset\": %" PRIu64 ", \"bytes\": %" PRIu64
               ", \"checksum\": \"%s\", \"content\": \"%s\"}",
               i ? "," : "", tag.bytes, part->offset, part->size, state_name(part->integrity),
               part->content);
        text_free(&tag);
    }
    printf("\n  ],\n");
    json_list("words", file->words, file->words_read, ",");
    json_list("problems", file->problems, file->num_problems, "");
    printf("}\n");
}

static void print(const CLLMFileInfo *file, void *user_data) {
    Info *info = user_data;
    info->file = file;
    (info->json ? print_json : print_plain)(info);
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

    Info info = {.path = argv[optind], .json = json};
    struct stat status;
    require_model(info.path);
    if (stat(info.path, &status) != 0) fail("%s: %s", info.path, strerror(errno));
    if (!S_ISREG(status.st_mode)) fail("%s: not an ordinary file", info.path);
    int damaged = cllm_describe_file(info.path, (size_t)words, print, &info);
    if (damaged < 0) {
        /* "function: path: reason" */
        const char *reason = library_error(), *named = strstr(reason, info.path);
        fail("%s", named ? named : reason);
    }
    check_stdout();
    return damaged ? EXIT_FAILED : 0;
}
