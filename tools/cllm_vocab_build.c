/* cllm_vocab_build: a vocabulary file, or a tokenizer, from text files and folders. See --help. */
#include "read_texts.h"
#include "terminal.h"
#include "text_files.h"
#include "vocabulary.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cllm_ext.h"

enum { TOP_WORDS = 10 };

static const char help[] =
    "Usage: cllm_vocab_build [options] PATH...\n"
    "Makes a vocabulary of the words of text files, or with --tokens bpe a tokenizer\n"
    "of subwords learnt from them. A folder is read with its subfolders, without\n"
    "hidden folders and files, binary files, and what training runs have written;\n"
    "what is left out is said. - is standard input. Ids of words follow the order in\n"
    "which they appear. Texts may be of any size: they are read in pieces.\n"
    "\n"
    "Tokens:\n"
    "  -t, --tokens KIND   bpe: subwords (byte-level BPE), bytes, or words (words)\n"
    "      --size N        tokens of a BPE, the 256 bytes and five special ones\n"
    "                      included; at least 261 (by the length of the text)\n"
    "\n"
    "Files:\n"
    "  -o, --output FILE   file to write: a name that ends in .json becomes a\n"
    "                      tokenizer.json, which words have not, another a\n"
    "                      vocab.txt (vocab.txt; of subwords tokenizer.json)\n"
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
static uint64_t *ends; /* of what was found, in the bytes of all texts */
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

static bool has_suffix(const char *name, const char *suffix) {
    size_t length = strlen(name), end = strlen(suffix);
    return length > end && strcmp(name + length - end, suffix) == 0;
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
    if (options.kind == CLLM_TOKENS_WORDS && has_suffix(options.output, ".json")) {
        fail_usage("--output %s: words become a vocab.txt, of another name; a tokenizer.json is made by "
                   "--tokens bpe or --tokens bytes", options.output);
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

/* Where a pipe is kept while it is read again: beside the file that is written, where there is room for what
 * this program makes. The caller frees it. */
static char *scratch_folder(void) {
    const char *slash = strrchr(options.output, '/');
    char *folder = slash ? copy_text(options.output, (size_t)(slash - options.output) + 1) : copy_text(".", 1);
    if (strcmp(folder, "/dev/") == 0) {
        const char *temporary = getenv("TMPDIR");
        temporary = temporary && *temporary ? temporary : "/tmp";
        free(folder);
        folder = copy_text(temporary, strlen(temporary));
    }
    return folder;
}

static Phase begin(const char *name) {
    return begin_phase(name, progress_bar(true), NULL);
}

static CLLMTexts *open_files(void) {
    char *scratch = scratch_folder();
    CLLMTexts *texts = create_texts(scratch);
    Phase phase = begin("reading");
    for (size_t i = 0; i < found.count; i++) {
        phase.all += bytes_of(found.values[i]);
    }
    ends = checked_alloc(found.count, sizeof *ends);
    for (size_t i = 0; i < found.count; i++) {
        if (!add_text(texts, found.values[i], &phase)) {
            end_phase(&phase);
            fail("can't read '%s': %s", shown_name(found.values[i]), library_error());
        }
        ends[i] = cllm_texts_bytes(texts);
    }
    end_phase(&phase);
    free(scratch);
    return texts;
}

/* ---- Vocabularies ---- */

/* All words, or of texts with more than MOST different ones the more frequent of them. */
static CLLMTokenizer *count_words(const CLLMTexts *texts) {
    enum { MOST = 1 << 22 }; /* as cllm_texts_count_words() holds */
    uint64_t bytes = cllm_texts_bytes(texts), most = bytes / 2 + cllm_texts_count(texts); /* a letter, a space */
    uint32_t room = FIRST_WORD + (uint32_t)(most < MOST ? most : MOST);
    CLLMTokenizer *all = cllm_create_tokenizer(room);
    if (!all) {
        fail("can't create a vocabulary of %u entries: %s", room, library_error());
    }
    Phase phase = begin("counting words");
    bool counted = bytes == 0 ||
                   cllm_texts_count_words(texts, 0, bytes, all, 0, false, 0, on_bytes, &phase) == 0;
    end_phase(&phase);
    if (!counted) {
        fail("can't count the words: %s", library_error());
    }
    return all;
}

static CLLMTokenizer *choose_from(const CLLMTokenizer *all) {
    CLLMTokenizer *vocabulary =
        choose_words(all, options.max_size, options.min_frequency, options.max_frequency);
    if (cllm_get_vocab_size(vocabulary) == FIRST_WORD) {
        fail("no words left for a vocabulary");
    }
    return vocabulary;
}

static CLLMTokenizer *learn(const CLLMTexts *texts) {
    uint64_t bytes = cllm_texts_bytes(texts);
    if (bytes == 0) {
        fail("no text to learn from");
    }
    Phase phase = begin("counting words");
    CLLMTokenizer *tokenizer =
        learn_from_texts(texts, 0, bytes, options.size > 0 ? options.size : bpe_size(bytes), &phase);
    end_phase(&phase);
    if (!tokenizer) {
        fail("can't learn the tokens: %s", library_error());
    }
    return tokenizer;
}

/* How many texts begin behind others: a line end is learnt between them. */
static uint32_t borders(void) {
    uint32_t filled = 0;
    for (size_t i = 0; i < found.count; i++) {
        filled += ends[i] > (i > 0 ? ends[i - 1] : 0);
    }
    return filled > 0 ? filled - 1 : 0;
}

/* The 256 bytes in their order, with how often each is met: subwords without any merge. */
static CLLMTokenizer *count_bytes(const CLLMTexts *texts) {
    enum { BYTES = FIRST_WORD + 256 };
    uint64_t all = cllm_texts_bytes(texts);
    Phase phase = begin("counting bytes");
    CLLMTokenizer *bytes = all > 0 ? learn_from_texts(texts, 0, all, BYTES, &phase) : cllm_byte_tokenizer();
    end_phase(&phase);
    if (!bytes) {
        fail("can't count the bytes: %s", library_error());
    }
    uint32_t *line_ends = &bytes->token_counts[FIRST_WORD + '\n'], more = borders();
    if (*line_ends < UINT32_MAX) { /* or there are too many to say how many */
        *line_ends -= more < *line_ends ? more : *line_ends;
    }
    return bytes;
}

static void save(CLLMTokenizer *tokenizer) {
    if (has_suffix(options.output, ".json") ? cllm_write_tokenizer(tokenizer, options.output) != 0
             : !cllm_save_vocab(tokenizer, options.output)) {
        fail("can't write '%s': %s", options.output, library_error());
    }
}

static void print_word_statistics(const CLLMTexts *texts, const CLLMTokenizer *all,
                                  const CLLMTokenizer *vocabulary, unsigned long long covered) {
    uint64_t characters = 0, counted = 0;
    Phase phase = begin("measuring words");
    int64_t words = cllm_texts_words(texts, 0, UINT64_MAX, 0, on_bytes, &phase, &characters, NULL);
    end_phase(&phase);
    if (words < 0) {
        fail("can't read the texts: %s", library_error());
    }
    for (uint32_t id = FIRST_WORD; id < all->vocab_size; id++) {
        counted += all->token_counts[id];
    }
    bool whole = counted == (uint64_t)words; /* or there were too many to hold */
    printf("Characters:      %" PRIu64 "\n", characters);
    printf("Words:           %" PRId64 "\n", words);
    printf("Distinct words:  %s%u\n", whole ? "" : "more than ", all->vocab_size - FIRST_WORD);
    printf("Vocabulary size: %u\n", vocabulary->vocab_size);
    printf("Coverage:        %.2f%% of the words\n", 100.0 * (double)covered / (double)words);
}

/* `all`: of words, those that there are. */
static void print_statistics(const CLLMTexts *texts, const CLLMTokenizer *all,
                             const CLLMTokenizer *vocabulary) {
    unsigned long long covered = 0;
    uint32_t top[TOP_WORDS];
    for (uint32_t id = 0; id < vocabulary->vocab_size; id++) {
        covered += cllm_token_is_special(vocabulary, id) ? 0 : vocabulary->token_counts[id];
    }
    printf("Files:           %" PRIu64 "\n", cllm_texts_count(texts));
    if (all) {
        print_word_statistics(texts, all, vocabulary, covered);
    } else {
        uint64_t bytes = cllm_texts_bytes(texts);
        printf("Bytes:           %" PRIu64 "\n", bytes);
        printf("Tokens:          %llu\n", covered);
        printf("Bytes per token: %.2f\n", covered > 0 ? (double)bytes / (double)covered : 0.0);
        printf("Vocabulary size: %u\n", vocabulary->vocab_size);
    }
    printf("Most frequent %s:\n", all ? "words" : "tokens");
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
    CLLMTexts *texts = open_files();
    CLLMTokenizer *all = words ? count_words(texts) : NULL;
    CLLMTokenizer *made = words                                    ? choose_from(all)
                          : options.kind == CLLM_TOKENS_SUBWORDS ? learn(texts)
                                                                 : count_bytes(texts);
    save(made);
    if (options.statistics) {
        print_statistics(texts, all, made);
    }
    printf("Wrote %s: %u %s\n", visible(stdout, options.output), cllm_get_vocab_size(made),
           words ? "entries" : "tokens");
    check_stdout();

    cllm_free_tokenizer(made);
    cllm_free_tokenizer(all);
    cllm_texts_free(texts);
    free_paths(&found);
    free(ends);
    return EXIT_SUCCESS;
}
