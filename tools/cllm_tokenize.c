/* cllm_tokenize: words to ids, ids to words, statistics. See --help. */
#include "vocabulary.h"

#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "cllm_ext.h"

enum { TOP_WORDS = 10 };

static const char help[] =
    "Usage: cllm_tokenize [options] [TEXT...]\n"
    "Turns words into the ids of a vocabulary, or ids back into words. Reads TEXT, or\n"
    "the file of -f, or standard input.\n"
    "\n"
    "Input and output:\n"
    "  -f, --file FILE    read FILE, - is standard input (standard input)\n"
    "  -o, --output FILE  write to FILE, - is standard output (standard output)\n"
    "  -v, --vocab VOCAB  vocabulary file, - is standard input (made from the text\n"
    "                     itself)\n"
    "What to do:\n"
    "  -d, --decode       the input is ids, the output words; needs -v\n"
    "  -s, --statistics   print statistics of the text instead of its ids\n"
    "  -j, --json         print JSON\n"
    "  -h, --help         this text\n"
    "\n"
    "Exit status: 0 done, 1 something failed, 2 wrong options.\n"
    "Examples:\n"
    "  cllm_tokenize -v vocab.txt hello world\n"
    "  cllm_tokenize -v vocab.txt -d 17 4\n";

typedef struct Options {
    const char *input, *output, *vocabulary;
    bool decode, statistics, json;
} Options;

typedef struct Ids {
    uint32_t *values;
    uint32_t count;
} Ids;

static Options parse_options(int argc, char **argv) {
    static const struct option known[] = {
        {"file", required_argument, NULL, 'f'},    {"output", required_argument, NULL, 'o'},
        {"decode", no_argument, NULL, 'd'},        {"statistics", no_argument, NULL, 's'},
        {"vocab", required_argument, NULL, 'v'},   {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0},
    };
    Options o = {0};
    opterr = 0;
    for (int c; (c = getopt_long(argc, argv, ":f:o:dsv:jh", known, NULL)) != -1;) {
        switch (c) {
        case 'f': o.input = optarg; break;
        case 'o': o.output = optarg; break;
        case 'd': o.decode = true; break;
        case 's': o.statistics = true; break;
        case 'v': o.vocabulary = optarg; break;
        case 'j': o.json = true; break;
        case 'h':
            fputs(help, stdout);
            check_stdout();
            exit(EXIT_SUCCESS);
        default: fail_option(c, argv);
        }
    }
    if (o.decode && !o.vocabulary) {
        fail_usage("-d needs a vocabulary: -v VOCAB");
    }
    if (o.decode && o.statistics) {
        fail_usage("-d and -s exclude each other");
    }
    const char *input = o.input ? o.input : optind < argc ? "" : "-";
    if (o.vocabulary && strcmp(o.vocabulary, "-") == 0 && strcmp(input, "-") == 0) {
        fail_usage("standard input can't be both the vocabulary and the text");
    }
    if (o.input && optind < argc) {
        fail_usage("either -f or TEXT, but there is '%s'", argv[optind]);
    }
    return o;
}

static Text find_text(const Options *options, int argc, char **argv) {
    if (options->input || optind >= argc) {
        return read_input(options->input ? options->input : "-");
    }
    Text text = {0};
    for (int i = optind; i < argc; i++) {
        text_append_string(&text, i > optind ? " " : "");
        text_append_string(&text, argv[i]);
    }
    return text;
}

static Ids encode(CLLMTokenizer *tokenizer, const Text *text) {
    Ids ids = {0};
    ids.values = cllm_tokenizer_encode(tokenizer, text->bytes, &ids.count);
    if (!ids.values) {
        fail("can't encode the text: %s", library_error());
    }
    return ids;
}

/* Ids separated by spaces or commas; brackets are allowed, so a JSON array will do. */
static Ids parse_ids(const Text *text, const CLLMTokenizer *tokenizer) {
    Ids ids = {0};
    size_t capacity = 0;
    for (const char *p = text->bytes; *p;) {
        if (strchr(" \t\n\r,[]", *p)) {
            p++;
            continue;
        }
        char *end = NULL;
        unsigned long long id = strtoull(p, &end, 10);
        if (*p < '0' || *p > '9' || (*end && !strchr(" \t\n\r,[]", *end))) {
            fail("'%.*s' is not an id", (int)strcspn(p, " \t\n\r,"), p);
        }
        if (id >= tokenizer->vocab_size) {
            fail("there is no id %.*s in a vocabulary of %u entries", (int)(end - p), p,
                 tokenizer->vocab_size);
        }
        if (ids.count == capacity) {
            capacity = capacity ? capacity * 2 : 256;
            ids.values = checked_resize(ids.values, capacity, sizeof *ids.values);
        }
        if (ids.count == UINT32_MAX) {
            fail("too many ids");
        }
        ids.values[ids.count++] = (uint32_t)id;
        p = end;
    }
    return ids;
}

/* ---- What comes out ---- */

static void append_number(Text *out, const char *format, double value) {
    char number[64];
    snprintf(number, sizeof number, format, value);
    text_append_string(out, number);
}

static void append_id_list(Text *out, const Ids *ids, const char *separator) {
    for (uint32_t i = 0; i < ids->count; i++) {
        text_append_string(out, i > 0 ? separator : "");
        append_number(out, "%.0f", ids->values[i]);
    }
}

static void append_json_words(Text *out, CLLMTokenizer *tokenizer, const Ids *ids) {
    for (uint32_t i = 0; i < ids->count; i++) {
        const char *word = cllm_get_token_string(tokenizer, ids->values[i]);
        text_append_string(out, i > 0 ? ", " : "");
        text_append_json(out, word, strlen(word));
    }
}

static void print_ids(Text *out, const Options *options, CLLMTokenizer *tokenizer, const Ids *ids) {
    if (!options->json) {
        append_id_list(out, ids, " ");
    } else {
        text_append_string(out, "{\"count\": ");
        append_number(out, "%.0f", ids->count);
        text_append_string(out, ", \"vocab_size\": ");
        append_number(out, "%.0f", tokenizer->vocab_size);
        text_append_string(out, ", \"ids\": [");
        append_id_list(out, ids, ", ");
        text_append_string(out, "], \"tokens\": [");
        append_json_words(out, tokenizer, ids);
        text_append_string(out, "]}");
    }
    text_append_string(out, "\n");
}

static void print_words(Text *out, const Options *options, CLLMTokenizer *tokenizer, Ids *ids) {
    char *words = ids->count > 0 ? cllm_tokenizer_decode(tokenizer, ids->values, ids->count)
                                 : copy_text("", 0);
    if (!words) {
        fail("can't decode the ids: %s", library_error());
    }
    if (options->json) {
        text_append_string(out, "{\"text\": ");
        text_append_json(out, words, strlen(words));
        text_append_string(out, "}");
    } else {
        text_append_string(out, words);
    }
    text_append_string(out, "\n");
    free(words);
}

typedef struct Statistics {
    size_t characters, lines, words, unknown, distinct;
    uint32_t top[TOP_WORDS]; /* ids, most frequent first */
    uint32_t *counts; /* by id */
    int num_top;
} Statistics;

static Statistics measure(const CLLMTokenizer *tokenizer, const Text *text, const Ids *ids) {
    Statistics s = {.characters = text->length, .words = ids->count};
    for (size_t i = 0; i < text->length; i++) {
        s.lines += text->bytes[i] == '\n' || i + 1 == text->length;
    }
    s.counts = checked_alloc(tokenizer->vocab_size, sizeof *s.counts);
    for (uint32_t i = 0; i < ids->count; i++) {
        s.counts[ids->values[i]]++;
    }
    s.unknown = s.counts[UNKNOWN];
    for (uint32_t id = FIRST_WORD; id < tokenizer->vocab_size; id++) {
        s.distinct += s.counts[id] > 0;
    }
    s.num_top = top_words(s.counts, tokenizer->vocab_size, s.top, TOP_WORDS);
    return s;
}

static void print_statistics(Text *out, const Options *options, CLLMTokenizer *tokenizer,
                             const Statistics *s) {
    const struct {
        const char *key, *label;
        double value;
    } rows[] = {
        {"characters", "Characters", (double)s->characters},
        {"lines", "Lines", (double)s->lines},
        {"words", "Words", (double)s->words},
        {"distinct", "Distinct known words", (double)s->distinct},
        {"unknown", "Unknown words", (double)s->unknown},
        {"vocab_size", "Vocabulary size", tokenizer->vocab_size},
    };
    text_append_string(out, options->json ? "{" : "");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char label[64];
        snprintf(label, sizeof label, options->json ? "\"%s\": " : "%-21s",
                 options->json ? rows[i].key : rows[i].label);
        text_append_string(out, label);
        append_number(out, "%.0f", rows[i].value);
        text_append_string(out, options->json ? ", " : "\n");
    }
    text_append_string(out, options->json ? "\"most_frequent\": [" : "Most frequent words:\n");
    for (int i = 0; i < s->num_top; i++) {
        const char *word = cllm_get_token_string(tokenizer, s->top[i]);
        if (options->json) {
            text_append_string(out, i > 0 ? ", {\"token\": " : "{\"token\": ");
            text_append_json(out, word, strlen(word));
            append_number(out, ", \"id\": %.0f", s->top[i]);
            append_number(out, ", \"count\": %.0f}", s->counts[s->top[i]]);
        } else {
            append_number(out, "%10.0f  ", s->counts[s->top[i]]);
            text_append_string(out, word);
            text_append_string(out, "\n");
        }
    }
    text_append_string(out, options->json ? "]}\n" : "");
}

int main(int argc, char **argv) {
    start_tool(argv[0]);
    Options options = parse_options(argc, argv);
    CLLMTokenizer *tokenizer = options.vocabulary ? load_vocabulary(options.vocabulary) : NULL;
    Text text = find_text(&options, argc, argv);
    Text out = {0};
    Ids ids;
    if (!tokenizer) {
        tokenizer = all_words(&text.bytes, 1);
    }
    if (options.decode) {
        ids = parse_ids(&text, tokenizer);
        print_words(&out, &options, tokenizer, &ids);
    } else {
        ids = encode(tokenizer, &text);
        if (options.statistics) {
            Statistics statistics = measure(tokenizer, &text, &ids);
            print_statistics(&out, &options, tokenizer, &statistics);
            free(statistics.counts);
        } else {
            print_ids(&out, &options, tokenizer, &ids);
        }
    }
    write_output(options.output, &out);
    check_stdout();
    free(ids.values);
    text_free(&text);
    text_free(&out);
    cllm_free_tokenizer(tokenizer);
    return EXIT_SUCCESS;
}
