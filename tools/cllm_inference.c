/* cllm_inference: text out of a trained model. See --help. Also installed as cllm_inference_fixed,
 * its old name. */
#include "inference_session.h"

#include <getopt.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cllm_ext.h"
#include "cllm_format.h"
#include "cllm_inference.h"
#include "cllm_utils.h"
#include "terminal.h"
#include "tokens.h"

static const char help[] =
    "Usage: cllm_inference MODEL [VOCAB] [options]\n"
    "Continues a text with a trained model, as the text is: with its line breaks and\n"
    "capitals, where the model has subwords. Without a prompt, on a terminal, it\n"
    "continues each line that you type; /help lists the commands there.\n"
    "VOCAB (vocab.txt, - is standard input) gives the words to a MODEL file that\n"
    "carries none.\n"
    "\n"
    "Text:\n"
    "  -p, --prompt TEXT       text to continue, - reads it from standard input (what\n"
    "                          is piped in, else a line end, or the most frequent\n"
    "                          word)\n"
    "  -n, --tokens N          tokens to generate (200; of words 50)\n"
    "Choice of tokens:\n"
    "  -t, --temperature X     0.1 sober to 2 wild, 0 takes the likeliest (0.8)\n"
    "  -k, --top-k N           draw from the N likeliest tokens only, 0 = all (40)\n"
    "      --top-p X           draw from the likeliest tokens that together have\n"
    "                          probability X (0.9)\n"
    "      --repeat-penalty X  above 1 discourages tokens that were used before (1)\n"
    "      --greedy            always take the likeliest token, like -t 0\n"
    "  -s, --seed N            same seed, same text (drawn from the clock)\n"
    "Instead of a text:\n"
    "      --next N            the N likeliest tokens after the prompt\n"
    "      --next-words N      the N likeliest words after the prompt, or ends of its\n"
    "                          last word\n"
    "      --score FILE        how well the model predicts a text, - is standard\n"
    "                          input: a line that ends in its bits per byte\n"
    "      --dynamic           with --score: the model, not its file, learns each\n"
    "                          part of the text as soon as that has been scored,\n"
    "                          as a compressor does (dynamic evaluation)\n"
    "Running:\n"
    "      --map               leave the weights in the file, which processes share:\n"
    "                          they are read as they are needed, and not checked\n"
    "      --verify            map the file, and check all of it first\n"
    "      --threads N         0 = all processors, where they are worth it (0)\n"
    "  -v, --verbose           say what was loaded and how fast it ran\n"
    "  -h, --help              this text\n"
    "\n"
    "Exit status: 0 done, 1 something failed, 2 wrong options.\n"
    "Examples:\n"
    "  cllm_inference checkpoints/final_model.cllm\n"
    "  cllm_inference checkpoints/final_model.cllm -p 'ROMEO:' -n 100\n"
    "  cllm_inference checkpoints/final_model.cllm -p 'once upon a' --next-words 3\n"
    "  cllm_inference checkpoints/final_model.cllm --score new.txt\n";

typedef struct Options {
    const char *model, *vocabulary, *prompt, *score;
    int tokens, top_k, threads, next, next_words;
    double temperature, top_p, repeat_penalty;
    uint64_t seed;
    bool seeded, greedy, dynamic, map, verify, verbose;
} Options;

typedef struct Generation {
    Output output;
    Shown shown;
    double first_token_at;
    char last; /* byte of the text */
} Generation;

static Options parse_options(int argc, char **argv) {
    enum { TOP_P = 256, PENALTY, GREEDY, THREADS, NEXT, NEXT_WORDS, SCORE, DYNAMIC, MAP, VERIFY };
    static const struct option known[] = {
        {"prompt", required_argument, NULL, 'p'},
        {"tokens", required_argument, NULL, 'n'},
        {"temperature", required_argument, NULL, 't'},
        {"top-k", required_argument, NULL, 'k'},
        {"top-p", required_argument, NULL, TOP_P},
        {"repeat-penalty", required_argument, NULL, PENALTY},
        {"greedy", no_argument, NULL, GREEDY},
        {"seed", required_argument, NULL, 's'},
        {"threads", required_argument, NULL, THREADS},
        {"next", required_argument, NULL, NEXT},
        {"next-words", required_argument, NULL, NEXT_WORDS},
        {"score", required_argument, NULL, SCORE},
        {"dynamic", no_argument, NULL, DYNAMIC},
        {"map", no_argument, NULL, MAP},
        {"verify", no_argument, NULL, VERIFY},
        {"verbose", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    Options o = {.top_k = 40, .temperature = 0.8, .top_p = 0.9, .repeat_penalty = 1.0};
    opterr = 0;
    for (int c; (c = getopt_long(argc, argv, ":p:n:t:k:s:vh", known, NULL)) != -1;) {
        switch (c) {
        case 'p': o.prompt = optarg; break;
        case 'n': o.tokens = (int)parse_integer("--tokens", optarg, 1, INT_MAX); break;
        case 't': o.temperature = parse_number("--temperature", optarg, 0, 2); break;
        case 'k': o.top_k = (int)parse_integer("--top-k", optarg, 0, INT_MAX); break;
        case TOP_P: o.top_p = parse_number("--top-p", optarg, 0, 1); break;
        case PENALTY: o.repeat_penalty = parse_number("--repeat-penalty", optarg, 0, 100); break;
        case GREEDY: o.greedy = true; break;
        case 's':
            o.seed = (uint64_t)parse_integer("--seed", optarg, 0, LLONG_MAX);
            o.seeded = true;
            break;
        case THREADS: o.threads = (int)parse_integer("--threads", optarg, 0, 1024); break;
        case NEXT: o.next = (int)parse_integer("--next", optarg, 1, 1000000); break;
        case NEXT_WORDS: o.next_words = (int)parse_integer("--next-words", optarg, 1, 256); break;
        case SCORE: o.score = optarg; break;
        case DYNAMIC: o.dynamic = true; break;
        case VERIFY: o.verify = true; /* fall through */
        case MAP: o.map = true; break;
        case 'v': o.verbose = true; break;
        case 'h':
            fputs(help, stdout);
            check_stdout();
            exit(EXIT_SUCCESS);
        default: fail_option(c, argv);
        }
    }
    if (optind >= argc) {
        fail_usage("no MODEL: name a .cllm file");
    }
    o.model = argv[optind++];
    o.vocabulary = optind < argc ? argv[optind++] : NULL;
    if (optind < argc) {
        fail_usage("only MODEL and VOCAB, but also '%s'", argv[optind]);
    }
    if ((o.next > 0) + (o.next_words > 0) + (o.score != NULL) > 1) {
        fail_usage("--next, --next-words and --score exclude each other");
    }
    if (o.dynamic && !o.score) {
        fail_usage("--dynamic belongs to --score");
    }
    if (o.score && o.prompt) {
        fail_usage("--score takes no prompt");
    }
    const char *input = o.score ? o.score : o.prompt ? o.prompt : "-";
    if (o.vocabulary && strcmp(o.vocabulary, "-") == 0 && strcmp(input, "-") == 0) {
        fail_usage("standard input can't be both the vocabulary and the %s",
                   o.score ? "text" : "prompt");
    }
    if (!temperature_is_valid(o.temperature)) {
        fail_usage("--temperature: %g is not 0 or between 0.1 and 2", o.temperature);
    }
    o.greedy = o.greedy || o.temperature == 0;
    return o;
}

static CLLMModel *load_model(const Options *options) {
    require_model(options->model);
    if (options->vocabulary) {
        require_readable(input_name(options->vocabulary));
    }
    CLLMModel *model = options->map ? cllm_map_model(options->model) : cllm_read_model(options->model);
    /* A file that can't be mapped was read, and checked, instead. */
    bool mapped = model && cllm_model_is_mapped(model) == 1; /* a call would hide the reason */
    if (!model || (options->verify && mapped && cllm_verify_model(model) != 0)) {
        fail("can't read the model '%s': %s", options->model, library_error());
    }
    const char *words = "carried by the model";
    if (!has_token_strings(model)) {
        words = options->vocabulary;
        if (words && cllm_model_load_vocab(model, input_name(words)) != 0) {
            fail("can't use the vocabulary '%s': %s", words, library_error());
        }
        if (!words) {
            complain("warning: '%s' carries no words, name its vocab.txt after it", options->model);
        }
    }
    if (options->verbose) {
        fprintf(stderr, "Model: %s\n", visible(stderr, options->model));
        fprintf(stderr, "  %llu %s (%s), %u layers, %u heads, width %llu, context %u\n",
                (unsigned long long)model->vocab_size,
                kind_of_model(model) > CLLM_TOKENS_WORDS ? "tokens" : "words",
                visible(stderr, words ? words : "none"),
                model->num_layers,
                model->header.num_heads, (unsigned long long)model->embedding_dim,
                model->pos_encoding.max_length);
        fprintf(stderr, "  %llu parameters%s\n", (unsigned long long)cllm_model_parameters(model),
                mapped ? ", mapped" : "");
        if (model->training_meta.training_steps > 0) {
            double loss = model->training_meta.loss, bytes = bytes_per_token(model);
            fprintf(stderr, "  trained %llu steps, last loss %.4f",
                    (unsigned long long)model->training_meta.training_steps, loss);
            if (bytes > 0) {
                fprintf(stderr, ", %.4f bits per byte", loss / M_LN2 / bytes);
            }
            fputc('\n', stderr);
        }
    }
    return model;
}

/* A place to begin when the user gives none. */
static char *most_frequent_word(const CLLMModel *model) {
    if (!has_token_strings(model)) {
        fail_usage("no prompt: give one with --prompt");
    }
    uint64_t best = 0;
    for (uint64_t i = 1; i < model->vocab_size; i++) {
        bool special = model->tokens[i].token_str[0] == '<';
        if (!special && (best == 0 || model->tokens[i].frequency > model->tokens[best].frequency)) {
            best = i;
        }
    }
    return copy_text(model->tokens[best].token_str, strlen(model->tokens[best].token_str));
}

static bool something_is_piped_in(void) {
    struct stat status;
    return fstat(STDIN_FILENO, &status) == 0 && (S_ISFIFO(status.st_mode) || S_ISREG(status.st_mode));
}

/* Where no text is given: a line begins, or a frequent word stands. */
static char *no_prompt(const CLLMModel *model, bool subwords) {
    return subwords ? copy_text("\n", 1) : most_frequent_word(model);
}

static char *find_prompt(const Options *options, const CLLMModel *model, bool subwords) {
    if (options->prompt && strcmp(options->prompt, "-") != 0) {
        return copy_text(options->prompt, strlen(options->prompt));
    }
    if (!options->prompt && !something_is_piped_in()) {
        return no_prompt(model, subwords);
    }
    Text text = read_input("-");
    /* Of a line that a shell wrote, the end is no part of the prompt; between words no space is one. */
    const char *dropped = subwords ? "\r\n" : " \t\n\v\f\r";
    size_t most = subwords ? 2 : text.length;
    for (size_t i = 0; i < most && text.length > 0; i++) {
        char last = text.bytes[text.length - 1];
        if (!strchr(dropped, last)) {
            break;
        }
        text.bytes[--text.length] = '\0';
        if (subwords && last == '\n' && (text.length == 0 || text.bytes[text.length - 1] != '\r')) {
            break;
        }
    }
    if (text.length == 0 && !options->prompt) {
        text_free(&text);
        return no_prompt(model, subwords);
    }
    return text.bytes;
}

static CLLMInference *prepare(const Options *options, CLLMModel *model, uint64_t seed) {
    CLLMInference *inference = cllm_inference_init(model);
    if (!inference) {
        fail("can't use the model '%s': %s", options->model, library_error());
    }
    int tokens = kind_of_model(model) > CLLM_TOKENS_WORDS ? 200 : 50;
    cllm_set_max_tokens(inference, options->tokens > 0 ? options->tokens : tokens);
    cllm_set_top_k(inference, options->top_k);
    cllm_set_top_p(inference, (float)options->top_p);
    if (!options->greedy) {
        cllm_set_temperature(inference, (float)options->temperature);
    }
    if (cllm_set_seed(inference, seed) != 0 || cllm_set_greedy(inference, options->greedy) != 0 ||
        cllm_set_repetition_penalty(inference, (float)options->repeat_penalty) != 0 ||
        cllm_inference_set_threads(inference, options->threads) != 0) {
        fail("can't set the options: %s", library_error());
    }
    return inference;
}

static bool on_token(const char *piece, size_t length, uint32_t token, void *user_data) {
    (void)token;
    Generation *generation = user_data;
    if (generation->first_token_at == 0) {
        generation->first_token_at = seconds_now();
    }
    generation->last = length > 0 ? piece[length - 1] : generation->last;
    return show_piece(&generation->shown, piece, length);
}

static void report_speed(int generated, double began, double first, double ended) {
    double decoding = ended - first;
    fprintf(stderr, "Generated %d tokens in %.3f s", generated, ended - began);
    if (generated > 1 && decoding > 0) {
        fprintf(stderr, ": first after %.1f ms, then %.0f tokens/s", (first - began) * 1e3,
                (generated - 1) / decoding);
    }
    fprintf(stderr, "; peak memory %.1f MiB\n", peak_memory_mib());
}

/* A prompt that says something to the model. */
static char *usable_prompt(const Options *options, CLLMInference *inference) {
    bool subwords = kind_of_model(inference->model) > CLLM_TOKENS_WORDS;
    char *prompt = find_prompt(options, inference->model, subwords);
    const char *cursor = prompt, *word;
    size_t length;
    if (subwords ? *prompt == '\0' : !next_word(&cursor, &word, &length)) {
        fail(subwords ? "the prompt is empty" : "the prompt has no words");
    }
    if (!subwords) {
        warn_of_unknown_words(inference, prompt);
    }
    return prompt;
}

static void continue_prompt(const Options *options, CLLMInference *inference) {
    char *prompt = usable_prompt(options, inference);
    Generation generation = {.last = prompt[strlen(prompt) - 1]};
    generation.shown = show_on(&generation.output);
    int generated = 0;
    double began = seconds_now();
    if (show_piece(&generation.shown, prompt, strlen(prompt))) {
        generated = cllm_generate_stream(inference, prompt, on_token, &generation);
    }
    double ended = seconds_now();
    show_end(&generation.shown);
    if (generation.last != '\n') {
        output_write(&generation.output, "\n", 1);
    }
    if (generated < 0) {
        fail("can't generate: %s", library_error());
    }
    output_check(&generation.output);
    if (options->verbose) {
        report_speed(generated, began, generation.first_token_at, ended);
    }
    free(prompt);
}

/* ---- Instead of a text ---- */

static void print_next(const Options *options, CLLMInference *inference) {
    char *prompt = usable_prompt(options, inference);
    size_t length = strlen(prompt);
    int most = length < INT_MAX - 1 ? (int)length + 1 : INT_MAX; /* a token takes a byte at least */
    uint32_t *ids = checked_alloc((size_t)most, sizeof *ids);
    IndexProb *next = checked_alloc((size_t)options->next, sizeof *next);
    int count = cllm_tokenize(inference, prompt, ids, most);
    int found = count > 0 ? cllm_next_tokens(inference, ids, (size_t)count, next, options->next) : -1;
    if (found < 0) {
        fail("can't say what comes next: %s", library_error());
    }
    CLLMTokenizer *tokenizer = cllm_model_tokenizer(inference->model, 0);
    for (int i = 0; i < found; i++) {
        const char *token = tokenizer ? cllm_get_token_string(tokenizer, (uint32_t)next[i].idx) : "";
        printf("%.4f\t%d\t%s\n", (double)next[i].prob, next[i].idx, visible(stdout, token));
    }
    cllm_free_tokenizer(tokenizer);
    free(next);
    free(ids);
    free(prompt);
}

static bool print_next_word(const char *word, size_t length, float probability, void *user_data) {
    (void)user_data;
    Text text = {0};
    text_append(&text, word, length);
    printf("%.4f\t%s\n", (double)probability, visible(stdout, text.bytes));
    text_free(&text);
    return true;
}

static void print_next_words(const Options *options, CLLMInference *inference) {
    char *prompt = usable_prompt(options, inference);
    if (cllm_next_words(inference, prompt, options->next_words, print_next_word, NULL) < 0) {
        fail("can't say what comes next: %s", library_error());
    }
    free(prompt);
}

/* A tenth of the highest rate that train_model chooses for a small model: docs/LEARNING.md has trials. */
static const float DYNAMIC_RATE = 2e-4F;

static bool score_dynamically(const Options *options, CLLMModel *model, Text text, CLLMScore *score) {
    if (kind_of_model(model) <= CLLM_TOKENS_WORDS) {
        fail("--dynamic needs a model of subwords or bytes");
    }
    CLLMTrainingConfig config = {.batch_size = 1, .gradient_clip = 1, .optimizer = "adamw"};
    config.sequence_length = (int)model->pos_encoding.max_length;
    if (config.sequence_length <= 0) {
        config.sequence_length = 512; /* as cllm_score_text() does without positions */
    }
    CLLMTraining *training = cllm_training_init(model, &config);
    if (!training) {
        return false;
    }
    CLLMTokenizer *tokenizer = cllm_model_tokenizer(model, 0);
    if (!tokenizer) {
        fail("can't use the tokenizer of '%s': %s", options->model, library_error());
    }
    size_t count;
    uint32_t *ids = encode_bytes(tokenizer, text.bytes, text.length, options->threads, &count);
    bool scored = cllm_dynamic_evaluation(training, ids, count, text.length, 0, DYNAMIC_RATE,
                                          options->threads, NULL, score) == 0;
    free(ids);
    cllm_free_tokenizer(tokenizer);
    cllm_training_free(training);
    return scored;
}

static void print_score(const Options *options, CLLMInference *inference) {
    bool exact = kind_of_model(inference->model) > CLLM_TOKENS_WORDS;
    Text text = exact ? read_bytes(options->score) : read_input(options->score);
    CLLMScore score = {.struct_size = sizeof score};
    bool scored = options->dynamic
                      ? score_dynamically(options, inference->model, text, &score)
                      : cllm_score_text(inference, text.bytes, text.length, 0, &score) == 0;
    if (!scored) {
        fail("can't score '%s': %s", shown_name(options->score), library_error());
    }
    if (score.tokens == 0) {
        fail("can't score '%s': it is a single token, and nothing stands before it",
             shown_name(options->score));
    }
    printf("%s: %llu bytes, %llu tokens, %.4f nats per token, perplexity %.2f, %.4f bits per byte\n",
           visible(stdout, options->score), (unsigned long long)score.bytes,
           (unsigned long long)score.tokens, score.nats_per_token, exp(score.nats_per_token),
           score.bits_per_byte);
    text_free(&text);
}

int main(int argc, char **argv) {
    start_tool(argv[0]);
    Options options = parse_options(argc, argv);
    signal(SIGPIPE, SIG_IGN); /* `| head -1` is no error: seen in output_write() */
    CLLMModel *model = load_model(&options);
    uint64_t seed = options.seeded ? options.seed : (uint64_t)time(NULL) ^ (uint64_t)getpid() << 32;
    CLLMInference *inference = prepare(&options, model, seed);
    if (options.verbose) {
        fprintf(stderr, "Settings: temperature %g%s, top-k %d, top-p %g, repeat penalty %g\n",
                options.temperature, options.greedy ? " (greedy)" : "", options.top_k, options.top_p,
                options.repeat_penalty);
        fprintf(stderr, "  seed %llu\n", (unsigned long long)seed);
    }
    if (options.score) {
        print_score(&options, inference);
    } else if (options.next > 0) {
        print_next(&options, inference);
    } else if (options.next_words > 0) {
        print_next_words(&options, inference);
    } else if (!options.prompt && isatty(STDIN_FILENO)) {
        hold_session(inference, options.greedy ? 0 : options.temperature, seed);
    } else {
        continue_prompt(&options, inference);
    }
    cllm_inference_cleanup(inference);
    cllm_free_model(model);
    if (options.verbose) {
        fprintf(stderr, "Done.\n");
    }
    return EXIT_SUCCESS;
}
