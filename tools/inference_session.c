/* The interactive mode of cllm_inference. */
#include "inference_session.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "cllm_ext.h"
#include "terminal.h"
#include "tokens.h"

typedef struct Session {
    CLLMInference *inference;
    double temperature; /* 0: greedy */
    uint64_t seed;
    Text said; /* by both sides */
    Output output;
    Shown shown;
    bool at_line_start, colours;
    bool subwords; /* texts follow each other as they are, not as words with spaces */
} Session;

static const char commands[] =
    "  TEXT      continue the session with TEXT; an empty line goes on from where it stands\n"
    "  /seed N   draw from seed N from now on\n"
    "  /temp X   temperature: 0 takes the likeliest word, 0.1 is sober, 2 is wild\n"
    "  /reset    forget what was said\n"
    "  /help     this list\n"
    "  /quit     leave, like Ctrl-D; Ctrl-C stops a text\n";

static volatile sig_atomic_t stopped;

static void on_interrupt(int signal_number) {
    (void)signal_number;
    stopped = 1;
}

bool temperature_is_valid(double temperature) {
    return temperature == 0 || (temperature >= 0.1 && temperature <= 2);
}

/* ---- Words ---- */

/* Whether the id that the model gives a word spells it, in whatever letter case. */
static bool is_known(CLLMInference *inference, const char *word) {
    const CLLMModel *model = inference->model;
    uint32_t id;
    if (cllm_tokenize(inference, word, &id, 1) != 1 || !model->tokens || id >= model->vocab_size) {
        return false;
    }
    const char *string = model->tokens[id].token_str; /* longer words are cut there */
    size_t length = strlen(string);
    return strncasecmp(word, string, length) == 0 &&
           (word[length] == '\0' || length > sizeof model->tokens[id].token_str - 5);
}

void warn_of_unknown_words(CLLMInference *inference, const char *prompt) {
    enum { NAMED = 5 };
    if (!has_token_strings(inference->model)) {
        return;
    }
    Text names = {0};
    const char *cursor = prompt, *start;
    size_t length, words = 0, unknown = 0;
    while (next_word(&cursor, &start, &length)) {
        char *word = copy_text(start, length);
        words++;
        if (!is_known(inference, word) && ++unknown <= NAMED) {
            text_append_string(&names, unknown > 1 ? ", " : "");
            text_append(&names, word, length);
        }
        free(word);
    }
    if (unknown > 0) {
        complain("warning: the model does not know %zu of %zu words: %s%s", unknown, words,
                 names.bytes, unknown > NAMED ? ", ..." : "");
    }
    text_free(&names);
}

/* ---- Commands ---- */

static void set_seed(Session *session, const char *value) {
    long long seed;
    errno = 0;
    if (*value == '\0') {
        fprintf(stderr, "seed %llu\n", (unsigned long long)session->seed);
    } else if (!read_integer(value, &seed) || errno == ERANGE || seed < 0) {
        fprintf(stderr, "/seed: '%s' is not a whole number from 0 to %lld\n", visible(stderr, value), LLONG_MAX);
    } else if (cllm_set_seed(session->inference, (uint64_t)seed) != 0) {
        fail("can't set the seed: %s", library_error());
    } else {
        session->seed = (uint64_t)seed;
    }
}

static void set_temperature(Session *session, const char *value) {
    double temperature;
    if (*value == '\0') {
        fprintf(stderr, "temperature %g\n", session->temperature);
        return;
    }
    if (!read_number(value, &temperature) || !temperature_is_valid(temperature)) {
        fprintf(stderr, "/temp: '%s' is not 0 or a number between 0.1 and 2\n", visible(stderr, value));
        return;
    }
    session->temperature = temperature;
    if (cllm_set_greedy(session->inference, temperature == 0) != 0) {
        fail("can't set the temperature: %s", library_error());
    }
    if (temperature > 0) {
        cllm_set_temperature(session->inference, (float)temperature);
    }
}

/* False to leave. */
static bool obey(Session *session, char *line) {
    char *name = strtok(line, " \t"), *value = strtok(NULL, " \t");
    const char *more = strtok(NULL, "");
    value = value ? value : "";
    if (more) {
        fprintf(stderr, "%s: one value at most\n", visible(stderr, name));
    } else if (strcmp(name, "/seed") == 0) {
        set_seed(session, value);
    } else if (strcmp(name, "/temp") == 0 || strcmp(name, "/temperature") == 0) {
        set_temperature(session, value);
    } else if (*value) {
        fprintf(stderr, "%s takes no value, or is unknown; /help lists the commands\n",
                visible(stderr, name));
    } else if (strcmp(name, "/reset") == 0) {
        text_free(&session->said);
    } else if (strcmp(name, "/help") == 0) {
        fputs(commands, stderr);
    } else if (strcmp(name, "/quit") == 0) {
        return false;
    } else {
        fprintf(stderr, "unknown command '%s'; /help lists them\n", visible(stderr, name));
    }
    return true;
}

/* ---- Text ---- */

/* Drops words at the beginning until `most` are left. */
static void keep_last_words(Text *text, size_t most) {
    const char *cursor = text->bytes, *word;
    size_t length, count = 0;
    while (next_word(&cursor, &word, &length)) {
        count++;
    }
    cursor = text->bytes;
    for (; count > most; count--) {
        next_word(&cursor, &word, &length);
    }
    size_t dropped = (size_t)(cursor - text->bytes);
    memmove(text->bytes, cursor, text->length - dropped + 1);
    text->length -= dropped;
}

/* Words that a prompt may have: the model looks back no further than its positions. */
static size_t words_of_history(const CLLMInference *inference) {
    size_t positions = inference->model->pos_encoding.max_length;
    return positions > 0 ? positions : 512;
}

static bool on_token(const char *piece, size_t length, uint32_t token, void *user_data) {
    (void)token;
    Session *session = user_data;
    text_append(&session->said, piece, length);
    if (session->at_line_start && !session->subwords && length > 0 && *piece == ' ') {
        piece++;
        length--;
    }
    session->at_line_start = false;
    return show_piece(&session->shown, piece, length) && !stopped;
}

/* The same in bytes, for subwords: at the beginning of a line, if there is one. */
static void keep_last_bytes(Text *text, size_t most) {
    if (text->length <= most) {
        return;
    }
    const char *from = text->bytes + text->length - most, *line = strchr(from, '\n');
    from = line ? line + 1 : from;
    while (((unsigned char)*from & 0xC0) == 0x80) {
        from++;
    }
    size_t left = (size_t)(text->bytes + text->length - from);
    memmove(text->bytes, from, left + 1);
    text->length = left;
}

static void reply(Session *session) {
    static const char cyan[] = "\033[36m", plain[] = "\033[0m";
    if (session->subwords) { /* no token has more bytes on average */
        keep_last_bytes(&session->said, 16 * words_of_history(session->inference));
    } else {
        keep_last_words(&session->said, words_of_history(session->inference));
    }
    char *prompt = copy_text(session->said.bytes, session->said.length); /* `said` grows meanwhile */
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = SA_RESTART}, before;
    sigemptyset(&action.sa_mask);
    stopped = 0;
    sigaction(SIGINT, &action, &before);
    session->at_line_start = true;
    if (session->colours) {
        output_write(&session->output, cyan, sizeof cyan - 1);
    }
    session->shown = show_on(&session->output);
    int generated = cllm_generate_stream(session->inference, prompt, on_token, session);
    show_end(&session->shown);
    if (session->colours) {
        output_write(&session->output, plain, sizeof plain - 1);
    }
    output_write(&session->output, "\n", 1);
    sigaction(SIGINT, &before, NULL);
    free(prompt);
    if (generated < 0) {
        fail("can't generate: %s", library_error());
    }
}

/* ---- Session ---- */

/* Whether a line has what a terminal sends for an arrow key, Home, End or Delete: "ESC [ A", "ESC O H",
 * "ESC [ 3 ~". */
static bool has_editing_key(const char *line) {
    for (const char *at = strchr(line, '\033'); at; at = strchr(at + 1, '\033')) {
        if (at[1] != '[' && at[1] != 'O') {
            continue;
        }
        const char *last = at + 2 + strspn(at + 2, "0123456789;");
        if (*last && strchr("ABCDHF~", *last)) {
            return true;
        }
    }
    return false;
}

/* The next line without its end, or NULL. */
static char *read_line(char **line, size_t *capacity) {
    ssize_t length = getline(line, capacity, stdin);
    if (length < 0) {
        if (ferror(stdin)) {
            fail("can't read standard input: %s", strerror(errno));
        }
        return NULL;
    }
    for (ssize_t i = 0; i < length; i++) {
        if (strchr("\r\n", (*line)[i])) { /* a NUL too */
            (*line)[i] = ' ';
        }
    }
    while (length > 0 && (*line)[length - 1] == ' ') {
        (*line)[--length] = '\0';
    }
    return *line + strspn(*line, " \t");
}

void hold_session(CLLMInference *inference, double temperature, uint64_t seed) {
    Session session = {.inference = inference, .temperature = temperature, .seed = seed,
                       .colours = use_colours(STDOUT_FILENO),
                       .subwords = kind_of_model(inference->model) > CLLM_TOKENS_WORDS};
    const char *mark = use_colours(STDERR_FILENO) ? "\033[1m>\033[0m " : "> ";
    char *line = NULL;
    size_t capacity = 0;
    fprintf(stderr, "Type a text to be continued; /help lists the commands, /quit leaves.\n");
    while (!session.output.broken) {
        fputs(mark, stderr);
        char *text = read_line(&line, &capacity);
        if (!text) {
            fputc('\n', stderr);
            break;
        }
        if (has_editing_key(text)) {
            fputs("arrow keys are not for this line, which was left out; 'rlwrap cllm_inference ...' has them\n", stderr);
            continue;
        }
        if (*text == '/') {
            if (!obey(&session, text)) {
                break;
            }
            continue;
        }
        if (*text) {
            if (session.said.length > 0) {
                text_append(&session.said, session.subwords ? "\n" : " ", 1);
            }
            text_append_string(&session.said, text);
            if (!session.subwords) {
                warn_of_unknown_words(inference, text);
            }
        }
        const char *cursor = session.said.bytes, *word;
        size_t length;
        if (cursor && next_word(&cursor, &word, &length)) {
            reply(&session);
        }
    }
    output_check(&session.output);
    text_free(&session.said);
    free(line);
}
