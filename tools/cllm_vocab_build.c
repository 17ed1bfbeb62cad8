/* cllm_vocab_build: a vocabulary file, or a tokenizer, from text files and folders. See --help. */
#include "terminal.h"
#include "text_files.h"
#include "vocabulary.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "cllm_data_loader.h"
#include "cllm_ext.h"

enum { TOP_WORDS = 10 };

static const char help[] =
    "Usage: cllm_vocab_build [options] PATH...\n"
    "Makes a vocabulary of the words of text files, or with --tokens bpe a tokenizer\n"
    "of subwords learnt from them. A folder is read with its subfolders, without\n"
    "hidden folders and files, binary files, and what training runs have written;\n"
    "what is left out is said. - is standard input. Ids of words follow the order in\n"
    "which they appear.\n"
    "\n"
    "Tokens:\n"
    "  -t, --tokens KIND   bpe: subwords (byte-level BPE), bytes, or words (words)\n"
    "      --size N        tokens of a BPE, the 256 bytes and five special ones\n"
    "                      included; at least 261 (by the length of the text)\n"
    "\n"
    "Files:\n"
    "  -o, --output FILE   file to write: a name that ends in .json becomes a\n"
    "                      tokenizer.json, another a vocab.txt (vocab.txt; of\n"
    "                      subwords tokenizer.json)\n"
    "  -e, --ext LIST      from folders, only files that end in these: txt,md,c (all)\n"
    "  -r, --recursive     read subfolders (the default)\n"
    "      --no-recursive  leave them out\n"
    "Words:\n"
    "  -n, --max-size N    most entries, the five special ones included; keeps the\n"
    "                      most frequent words (no limit)\n"
    "      --min-freq N    leave out words that appear less often (1)\n"
    "      --max-freq N    leave out words that appear more often (no limit)\n"
    "Output:\n"
    "  -s, --stats         print statistics\n"
    "  -h, --help          this text\n"
    "\n"
    "Exit status: 0 done, 1 something failed, 2 wrong options.\n"
    "Examples:\n"
    "  cllm_vocab_build --tokens bpe --size 4096 texts/ -o tokenizer.json\n"
    "  cllm_vocab_build texts/ -n 10000 -o vocab.txt\n"
    "  cllm_vocab_build src/ -e c,h --min-freq 2\n";

typedef struct Options {
    const char *output, *extensions;
    int kind; /* CLLM_TOKENS_... */
    uint32_t size, max_size, min_frequency, max_frequency;
    bool recursive, statistics;
} Options;

static Options options;
static Paths found;
static LeftOut left_out;

static int parse_kind(const char *name) {
    if (strcmp(name, "bpe") == 0) {
        return CLLM_TOKENS_SUBWORDS;
    }
    if (strcmp(name, "bytes") == 0) {
        return CLLM_TOKENS_BYTES;
    }
    if (strcmp(name, "words") != 0) {
        fail_usage("--tokens: '%s' is not bpe, bytes or words", name);
    }
    return CLLM_TOKENS_WORDS;
}

static void parse_options(int argc, char **argv) {
    enum { MIN_FREQ = 256, MAX_FREQ, NO_RECURSIVE, SIZE };
    bool words_only = false;
    static const struct option known[] = {
        {"output", required_argument, NULL, 'o'},
        {"ext", required_argument, NULL, 'e'},
        {"max-size", required_argument, NULL, 'n'},
        {"min-freq", required_argument, NULL, MIN_FREQ},
        {"max-freq", required_argument, NULL, MAX_FREQ},
        {"recursive", no_argument, NULL, 'r'},
        {"no-recursive", no_argument, NULL, NO_RECURSIVE},
        {"tokens", required_argument, NULL, 't'},
        {"size", required_argument, NULL, SIZE},
        {"stats", no_argument, NULL, 's'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    options = (Options){
        .kind = CLLM_TOKENS_WORDS, .max_size = UINT32_MAX, .min_frequency = 1,
        .max_frequency = UINT32_MAX, .recursive = true,
    };
    opterr = 0;
    for (int c; (c = getopt_long(argc, argv, ":o:e:n:t:rsh", known, NULL)) != -1;) {
        switch (c) {
        case 'o': options.output = optarg; break;
        case 'e': options.extensions = optarg; break;
        case 't': options.kind = parse_kind(optarg); break;
        case SIZE: options.size = (uint32_t)parse_integer("--size", optarg, 261, 1 << 24); break;
        case 'n':
            words_only = true;
            options.max_size =
                (uint32_t)parse_integer("--max-size", optarg, FIRST_WORD + 1, UINT32_MAX);
            break;
        case MIN_FREQ:
            words_only = true;
            options.min_frequency = (uint32_t)parse_integer("--min-freq", optarg, 1, UINT32_MAX);
            break;
        case MAX_FREQ:
            words_only = true;
            options.max_frequency = (uint32_t)parse_integer("--max-freq", optarg, 1, UINT32_MAX);
            break;
        case 'r': options.recursive = true; break;
        case NO_RECURSIVE: options.recursive = false; break;
        case 's': options.statistics = true; break;
        case 'h':
            fputs(help, stdout);
            check_stdout();
            exit(EXIT_SUCCESS);
        default: fail_option(c, argv);
        }
    }
    if (optind >= argc) {
        fail_usage("no PATH: name text files or folders");
    }
    if (options.size > 0 && options.kind != CLLM_TOKENS_SUBWORDS) {
        fail_usage("--size is for --tokens bpe; --max-size is for words");
    }
    if (words_only && options.kind != CLLM_TOKENS_WORDS) {
        fail_usage("--max-size, --min-freq and --max-freq are for words; --size is for --tokens bpe");
    }
    if (!options.output) {
        options.output = options.kind == CLLM_TOKENS_WORDS ? "vocab.txt" : "tokenizer.json";
    }
    if (options.min_frequency > options.max_frequency) {
        fail_usage("--min-freq %u is above --max-freq %u", options.min_frequency,
                   options.max_frequency);
    }
}

/* ---- Files ---- */

static bool has_wanted_extension(const char *name) {
    const char *dot = strrchr(name, '.');
    if (!options.extensions) {
        return true;
    }
    for (const char *p = options.extensions; dot && *p;) {
        size_t length = strcspn(p, ",");
        const char *wanted = *p == '.' ? p + 1 : p; /* "txt" and ".txt" are the same */
        size_t wanted_length = length - (size_t)(wanted - p);
        if (strlen(dot + 1) == wanted_length && strncmp(dot + 1, wanted, wanted_length) == 0) {
            return true;
        }
        p += length + (p[length] == ',');
    }
    return false;
}

/* What -e and --no-recursive let pass of a folder. */
static bool is_wanted(const char *folder, const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const char *rest = path + strlen(folder);
    bool below = strchr(rest + strspn(rest, "/"), '/') != NULL;
    return (options.recursive || !below) && has_wanted_extension(name);
}

static void find_files(const char *path) {
    if (strcmp(path, "-") == 0) {
        add_path(&found, path);
        return;
    }
    require_readable(path);
    if (!is_directory(path)) {
        add_path(&found, path);
        return;
    }
    size_t before = found.count;
    find_text_files(path, is_wanted, &found, &left_out);
    finish_left_out(&left_out);
    if (found.count == before) {
        complain("warning: no text files in '%s'", path);
    }
}

static CLLMDataLoader *load_files(CLLMTokenizer *tokenizer) {
    CLLMDataLoader *loader = cllm_data_loader_create(tokenizer);
    if (!loader) {
        fail("can't create a data loader: %s", library_error());
    }
    for (size_t i = 0; i < found.count; i++) {
        const char *path = found.values[i];
        if (strcmp(path, "-") == 0) {
            Text text = read_input(path);
            if (!cllm_data_loader_add_document(loader, text.bytes)) {
                fail("can't take standard input: %s", library_error());
            }
            text_free(&text);
        } else if (!cllm_data_loader_load_file(loader, path)) {
            fail("can't read '%s': %s", path, library_error());
        }
    }
    return loader;
}

/* ---- Vocabularies ---- */

static CLLMTokenizer *choose_from(const CLLMTokenizer *all) {
    CLLMTokenizer *vocabulary =
        choose_words(all, options.max_size, options.min_frequency, options.max_frequency);
    if (cllm_get_vocab_size(vocabulary) == FIRST_WORD) {
        fail("no words left for a vocabulary");
    }
    return vocabulary;
}

/* Line ends between the documents keep what is learnt from crossing them. */
static CLLMTokenizer *learn(const CLLMDataLoader *loader) {
    Text all = {0};
    text_append_string(&all, "");
    for (size_t i = 0; i < loader->num_documents; i++) {
        text_append_string(&all, loader->documents[i]);
        text_append_string(&all, i + 1 < loader->num_documents ? "\n" : "");
    }
    if (all.length == 0) {
        fail("no text to learn from");
    }
    CLLMTokenizer *tokenizer =
        train_bpe(all.bytes, all.length, options.size > 0 ? options.size : bpe_size(all.length), true);
    text_free(&all);
    return tokenizer;
}

static void save(CLLMTokenizer *tokenizer) {
    size_t length = strlen(options.output), suffix = sizeof ".json" - 1;
    bool json = has_subwords(tokenizer) && length > suffix &&
                strcmp(options.output + length - suffix, ".json") == 0;
    if (json ? cllm_write_tokenizer(tokenizer, options.output) != 0
             : !cllm_save_vocab(tokenizer, options.output)) {
        fail("can't write '%s': %s", options.output, library_error());
    }
}

static void print_statistics(const CLLMDataLoader *loader, const CLLMTokenizer *all,
                             const CLLMTokenizer *vocabulary) {
    unsigned long long total = 0, covered = 0;
    uint32_t top[TOP_WORDS];
    bool exact = has_subwords(vocabulary);
    for (uint32_t id = FIRST_WORD; all && id < all->vocab_size; id++) {
        total += all->token_counts[id];
    }
    for (uint32_t id = 0; id < vocabulary->vocab_size; id++) {
        covered += cllm_token_is_special(vocabulary, id) ? 0 : vocabulary->token_counts[id];
    }
    printf("Files:           %zu\n", loader->num_documents);
    printf("%s %zu\n", exact ? "Bytes:          " : "Characters:     ", loader->total_chars);
    if (exact) {
        printf("Tokens:          %llu\n", covered);
        printf("Bytes per token: %.2f\n",
               covered > 0 ? (double)loader->total_chars / (double)covered : 0.0);
    } else {
        printf("Words:           %llu\n", total);
        printf("Distinct words:  %u\n", all->vocab_size - FIRST_WORD);
    }
    printf("Vocabulary size: %u\n", vocabulary->vocab_size);
    if (!exact) {
        printf("Coverage:        %.2f%% of the words\n",
               total > 0 ? 100.0 * (double)covered / (double)total : 0.0);
    }
    printf("Most frequent %s:\n", exact ? "tokens" : "words");
    int count = top_tokens(vocabulary, vocabulary->token_counts, top, TOP_WORDS);
    for (int i = 0; i < count; i++) {
        printf("%10u  %s\n", vocabulary->token_counts[top[i]],
               visible(stdout, vocabulary->vocab[top[i]]));
    }
}

int main(int argc, char **argv) {
    start_tool(argv[0]);
    parse_options(argc, argv);
    for (int i = optind; i < argc; i++) {
        find_files(argv[i]);
    }
    bool words = options.kind == CLLM_TOKENS_WORDS;
    /* a loader wants one to exist; for bytes it keeps the texts as they are */
    CLLMTokenizer *unused = words ? cllm_create_tokenizer(FIRST_WORD) : cllm_byte_tokenizer();
    CLLMDataLoader *loader = load_files(unused);
    CLLMTokenizer *all = words ? all_words(loader->documents, loader->num_documents) : NULL;
    CLLMTokenizer *made = words                                    ? choose_from(all)
                          : options.kind == CLLM_TOKENS_SUBWORDS ? learn(loader)
                                                                 : unused;
    if (made == unused) {
        cllm_data_loader_build_vocab(loader); /* counts the bytes */
    }
    save(made);
    if (options.statistics) {
        print_statistics(loader, all, made);
    }
    printf("Wrote %s: %u %s\n", visible(stdout, options.output), cllm_get_vocab_size(made),
           words ? "entries" : "tokens");
    check_stdout();

    cllm_free_tokenizer(made == unused ? NULL : made);
    cllm_free_tokenizer(all);
    cllm_data_loader_free(loader);
    cllm_free_tokenizer(unused);
    free_paths(&found);
    return EXIT_SUCCESS;
}
