/* cllm_tokenize: text to ids, ids to text, statistics. See --help. */
#include "vocabulary.h"

#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "cllm_ext.h"

enum { TOP_WORDS = 10 };

static const char help[] =
    "Usage: cllm_tokenize [options] [TEXT...]\n"
    "Turns text into the ids of a tokenizer, or ids back into text. Reads TEXT, or\n"
    "the file of -f, or standard input. With subwords and bytes, -d gives back every\n"
    "byte of what was encoded; words come back with single spaces.\n"
    "\n"
    "Input and output:\n"
    "  -f, --file FILE    read FILE, - is standard input (standard input)\n"
    "  -o, --output FILE  write to FILE, - is standard output (standard output)\n"
    "  -v, --vocab VOCAB  a tokenizer.json, vocab.txt (- is standard input), folder\n"
    "                     with vocab.json and merges.txt, or model (words of the text\n"
    "                     itself)\n"
    "What to do:\n"
    "  -d, --decode       the input is ids, the output text; needs -v\n"
    "  -p, --pieces       print a line for each token: its id and what it spells\n"
    "  -c, --count        print how many tokens there are\n"
    "  -s, --statistics   print statistics of the text instead of its ids\n"
    "      --specials     what spells a special token (<EOS>) is that token, and is\n"
    "                     shown in decoded text\n"
    "  -j, --json         print JSON\n"
    "  -h, --help         this text\n"
    "\n"
    "Exit status: 0 done, 1 something failed, 2 wrong options.\n"
    "Examples:\n"
    "  cllm_tokenize -v checkpoints/tokenizer.json --pieces 'Is the day so young?'\n"
    "  cllm_tokenize -v model.cllm -f file -o ids\n"
    "  cllm_tokenize -v vocab.txt -d 17 4\n";

typedef struct Options {
    const char *input, *output, *vocabulary;
    bool decode, pieces, count, statistics, specials, json;
} Options;

typedef struct Ids {
    uint32_t *values;
    size_t count;
} Ids;

static Options parse_options(int argc, char **argv) {
    enum { SPECIALS = 256 };
    static const struct option known[] = {
        {"file", required_argument, NULL, 'f'},    {"output", required_argument, NULL, 'o'},
        {"decode", no_argument, NULL, 'd'},        {"statistics", no_argument, NULL, 's'},
        {"vocab", required_argument, NULL, 'v'},   {"json", no_argument, NULL, 'j'},
        {"pieces", no_argument, NULL, 'p'},        {"count", no_argument, NULL, 'c'},
        {"specials", no_argument, NULL, SPECIALS}, {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    Options o = {0};
    opterr = 0;
    for (int c; (c = getopt_long(argc, argv, ":f:o:dpcsv:jh", known, NULL)) != -1;) {
        switch (c) {
        case 'f': o.input = optarg; break;
        case 'o': o.output = optarg; break;
        case 'd': o.decode = true; break;
        case 'p': o.pieces = true; break;
        case 'c': o.count = true; break;
        case 's': o.statistics = true; break;
        case 'v': o.vocabulary = optarg; break;
        case 'j': o.json = true; break;
        case SPECIALS: o.specials = true; break;
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
    if (o.decode + o.pieces + o.count + o.statistics > 1) {
        fail_usage("-d, -p, -c and -s exclude each other");
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

/* `exact`: byte for byte, for subwords; else as text in UTF-8. */
static Text find_text(const Options *options, int argc, char **argv, bool exact) {
    if (options->input || optind >= argc) {
        const char *path = options->input ? options->input : "-";
        return exact ? read_bytes(path) : read_input(path);
    }
    Text text = {0};
    for (int i = optind; i < argc; i++) {
        text_append_string(&text, i > optind ? " " : "");
        text_append_string(&text, argv[i]);
    }
    return text;
}

static Ids encode(const Options *options, const CLLMTokenizer *tokenizer, const Text *text) {
    Ids ids = {0};
    ids.values = cllm_text_to_tokens(tokenizer, text->bytes ? text->bytes : "", text->length,
                                     options->specials, 0, &ids.count);
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
    for (size_t i = 0; i < ids->count; i++) {
        text_append_string(out, i > 0 ? separator : "");
        append_number(out, "%.0f", ids->values[i]);
    }
}

static void append_json_words(Text *out, CLLMTokenizer *tokenizer, const Ids *ids) {
    for (size_t i = 0; i < ids->count; i++) {
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
        append_number(out, "%.0f", (double)ids->count);
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

static void print_pieces(Text *out, const Options *options, CLLMTokenizer *tokenizer,
                         const Ids *ids) {
    text_append_string(out, options->json ? "[" : "");
    for (size_t i = 0; i < ids->count; i++) {
        const char *piece = cllm_get_token_string(tokenizer, ids->values[i]); /* readably */
        append_number(out, !options->json ? "%.0f\t" : i > 0 ? ", {\"id\": %.0f" : "{\"id\": %.0f",
                      ids->values[i]);
        if (options->json) {
            text_append_string(out, ", \"token\": ");
            text_append_json(out, piece, strlen(piece));
            text_append_string(out, "}");
        } else {
            text_append_string(out, piece);
            text_append_string(out, "\n");
        }
    }
    text_append_string(out, options->json ? "]\n" : "");
}

/* Of subwords the bytes as they are; of words a line. */
static void print_text(Text *out, const Options *options, CLLMTokenizer *tokenizer, const Ids *ids) {
    bool exact = has_subwords(tokenizer);
    size_t length = 0;
    char *text;
    if (exact || options->specials || ids->count == 0) {
        text = cllm_tokens_to_text(tokenizer, ids->values, ids->count, options->specials, &length);
    } else {
        text = ids->count > UINT32_MAX
                   ? NULL
                   : cllm_tokenizer_decode(tokenizer, ids->values, (uint32_t)ids->count);
        length = text ? strlen(text) : 0;
    }
    if (!text) {
        fail("can't decode the ids: %s", library_error());
    }
    if (options->json) {
        text_append_string(out, "{\"text\": ");
        text_append_json(out, text, length);
        text_append_string(out, "}\n");
    } else {
        text_append(out, text, length);
        text_append_string(out, exact ? "" : "\n");
    }
    free(text);
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
    for (size_t i = 0; i < ids->count; i++) {
        s.counts[ids->values[i]]++;
    }
    s.unknown = has_subwords(tokenizer) ? 0 : s.counts[UNKNOWN];
    for (uint32_t id = 0; id < tokenizer->vocab_size; id++) {
        s.distinct += s.counts[id] > 0 && !cllm_token_is_special(tokenizer, id);
    }
    s.num_top = top_tokens(tokenizer, s.counts, s.top, TOP_WORDS);
    return s;
}

static void print_statistics(Text *out, const Options *options, CLLMTokenizer *tokenizer,
                             const Statistics *s) {
    typedef struct Row {
        const char *key, *label;
        double value;
    } Row;
    const Row of_words[] = {
        {"characters", "Characters", (double)s->characters},
        {"lines", "Lines", (double)s->lines},
        {"words", "Words", (double)s->words},
        {"distinct", "Distinct known words", (double)s->distinct},
        {"unknown", "Unknown words", (double)s->unknown},
        {"vocab_size", "Vocabulary size", tokenizer->vocab_size},
    };
    const Row of_subwords[] = {
        {"bytes", "Bytes", (double)s->characters},
        {"lines", "Lines", (double)s->lines},
        {"tokens", "Tokens", (double)s->words},
        {"distinct", "Distinct tokens", (double)s->distinct},
        {"bytes_per_token", "Bytes per token",
         s->words > 0 ? (double)s->characters / (double)s->words : 0},
        {"vocab_size", "Vocabulary size", tokenizer->vocab_size},
    };
    bool exact = has_subwords(tokenizer);
    const Row *rows = exact ? of_subwords : of_words;
    text_append_string(out, options->json ? "{" : "");
    for (size_t i = 0; i < sizeof of_words / sizeof *of_words; i++) {
        char label[64];
        snprintf(label, sizeof label, options->json ? "\"%s\": " : "%-21s",
                 options->json ? rows[i].key : rows[i].label);
        text_append_string(out, label);
        append_number(out, rows[i].value == (double)(long long)rows[i].value ? "%.0f" : "%.3f",
                      rows[i].value);
        text_append_string(out, options->json ? ", " : "\n");
    }
    text_append_string(out, options->json ? "\"most_frequent\": ["
                            : exact ? "Most frequent tokens:\n" : "Most frequent words:\n");
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

static void print_encoded(Text *out, const Options *options, CLLMTokenizer *tokenizer,
                          const Text *text) {
    Ids ids = encode(options, tokenizer, text);
    if (options->statistics) {
        Statistics statistics = measure(tokenizer, text, &ids);
        print_statistics(out, options, tokenizer, &statistics);
        free(statistics.counts);
    } else if (options->count) {
        append_number(out, options->json ? "{\"count\": %.0f}\n" : "%.0f\n", (double)ids.count);
    } else if (options->pieces) {
        print_pieces(out, options, tokenizer, &ids);
    } else {
        print_ids(out, options, tokenizer, &ids);
    }
    free(ids.values);
}

int main(int argc, char **argv) {
    start_tool(argv[0]);
    Options options = parse_options(argc, argv);
    CLLMTokenizer *tokenizer = options.vocabulary ? load_tokenizer(options.vocabulary) : NULL;
    bool exact = tokenizer && has_subwords(tokenizer) && !options.decode;
    Text text = find_text(&options, argc, argv, exact);
    Text out = {0};
    text_append_string(&out, "");
    if (!tokenizer) {
        tokenizer = all_words(text.bytes);
    }
    if (options.decode) {
        Ids ids = parse_ids(&text, tokenizer);
        print_text(&out, &options, tokenizer, &ids);
        free(ids.values);
    } else {
        print_encoded(&out, &options, tokenizer, &text);
    }
    write_output(options.output, &out);
    check_stdout();
    text_free(&text);
    text_free(&out);
    cllm_free_tokenizer(tokenizer);
    return EXIT_SUCCESS;
}
