#include "train_model.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
    "Trains a language model on a text file, - for standard input, or on a folder of\n"
    "texts with its subfolders, without hidden ones and what training runs wrote.\n"
    "\n"
    "Tokens:\n"
    "  --tokens KIND         bpe: subwords learnt from the text, which comes back as\n"
    "                        it is; bytes; words; or a FILE with a tokenizer: a\n"
    "                        tokenizer.json, vocab.txt or model (bpe)\n"
    "  --vocab-size N        tokens of a BPE (by the length of the text), or words,\n"
    "                        frequent ones first (10000)\n"
    "  --min-freq N          words: leave out those that appear less often (1)\n"
    "  --vocab FILE          the words of a vocab.txt (- is standard input)\n"
    "Model:\n"
    "  --block NAME          modern or original: how its layers compute (modern; with\n"
    "                        words: original)\n"
    "  --embed-dim N         width of the model (128)\n"
    "  --num-layers N        transformer layers (4)\n"
    "  --num-heads N         attention heads per layer; must divide the width (4)\n"
    "  --seq-len N           tokens that the model sees at once (128; words: 64)\n"
    "  --from MODEL          go on teaching this model: its tokens and its shape\n"
    "  --mix DATA:SHARE      of what --from learns, this share is from DATA, which it\n"
    "                        is not to forget\n"
    "Training:\n"
    "  --minutes M           choose all that is not given so that training takes M\n"
    "                        minutes and the model gets as good as it can\n"
    "  --size NAME           small, medium or large: width 128, 256 or 384; the rest\n"
    "                        is chosen for it, without --minutes how long too\n"
    "  --epochs N            passes over the text (5)\n"
    "  --batch-size N        sequences per step (by the recipe; words: 16)\n"
    "  --accumulate N        an update for every N steps, by their mean gradient (1);\n"
    "                        train_model_mpi divides them among its ranks\n"
    "  --learning-rate X     highest learning rate (by the recipe: 0.003; words:\n"
    "                        0.001; --from: a third of it)\n"
    "  --warmup N            steps of linear warm-up (by the recipe; words: a tenth)\n"
    "  --schedule NAME       after it: none, cosine, linear or step (linear to zero;\n"
    "                        words: none)\n"
    "  --weight-decay X      AdamW's decay of the weight matrices (by the\n"
    "                        recipe: 0.1 to 1; words: 0.01)\n"
    "  --beta2 X             AdamW's memory of squared gradients (by the recipe)\n"
    "  --clip X              largest norm of the gradient, 0 = no limit (1.0)\n"
    "  --dropout X           share of values left out of each step (by the recipe)\n"
    "  --shuffle, --in-order windows of each epoch at random places, or one after the\n"
    "                        other (--shuffle; words: --in-order)\n"
    "  --short-windows N     windows of N tokens in the first half of the run, those\n"
    "                        of --seq-len later; 0 = throughout (by the recipe)\n"
    "  --val-fraction X      end of the text, held out and measured (0.1; words: 0)\n"
    "  --keep-weights WHICH  best: final_model.cllm has those of the lowest held-out\n"
    "                        loss; last: of the last step (best; words: last)\n"
    "  --exchange NAME       f32; bf16: gradients and their sums are rounded to it,\n"
    "                        which halves what ranks send of them (f32)\n"
    "  --whole-moments       each rank of train_model_mpi keeps the optimizer's whole\n"
    "                        memory, not a part; the result is the same\n"
    "  --max-steps N         stop after step N; the schedule still spans all epochs\n"
    "  --precision NAME      f32; bf16: matrix products of bfloat16; auto: what this\n"
    "                        processor multiplies faster (f32)\n"
    "  --threads N           0 = all processors if worth it; same result for any (0)\n"
    "  --seed N              of the initial weights and of the samples (42)\n"
    "Files and output:\n"
    "  --checkpoint-dir DIR  where everything is written (checkpoints)\n"
    "  --save-every N        a checkpoint every N steps, 0 = only at the end (0)\n"
    "  --keep N              newest checkpoints to keep, 0 = while there is room (0)\n"
    "  --overwrite           remove the files of an earlier run in DIR; else they are\n"
    "                        moved to DIR/earlier-N\n"
    "  --resume FILE         go on from checkpoint_step_N.cllm, or the newest in a\n"
    "                        folder: same DATA and options, --epochs may grow\n"
    "  --save-8bit           also final_model_8bit.cllm: 8-bit weights, to generate\n"
    "  --sample PROMPT       generate from PROMPT at the end (words of the text)\n"
    "  --quiet               print errors and one final line only\n"
    "  -h, --help            this text\n"
    "\n"
    "Writes vocab.txt, tokenizer.json (not of words), dataset.bin,\n"
    "checkpoint_step_N.cllm, final_model.cllm and the record of the run: metrics.csv\n"
    "and its picture, loss.svg.\n"
    "Ctrl-C finishes the step and saves a checkpoint, and so do SIGTERM, SIGHUP and\n"
    "SIGXCPU; a second Ctrl-C stops at once. One run at a time writes into DIR.\n"
    "Exit status: 0 done, 1 something failed, 2 wrong options, 130 a signal.\n"
    "Examples:\n"
    "  train_model texts/ --minutes 5\n"
    "  train_model texts/ --epochs 3 --save-every 500 --resume checkpoints\n"
    "  train_model today.log --from model.cllm --mix old_logs/:0.3\n";

/* What some options may be, in the order of their types. */
static const char *const blocks[] = {"modern", "original", NULL};
static const char *const weights[] = {"best", "last", NULL};
static const char *const precisions[] = {"f32", "bf16", "auto", NULL};

/* The place of a name in a list; fail_usage() where it is none of them. */
static int one_of(const char *option, const char *text, const char *const *choices) {
    Text names = {0};
    text_append_string(&names, "");
    for (int i = 0; choices[i]; i++) {
        if (strcmp(text, choices[i]) == 0) {
            text_free(&names);
            return i;
        }
        text_append_string(&names, i == 0 ? "" : choices[i + 1] ? ", " : " or ");
        text_append_string(&names, choices[i]);
    }
    fail_usage("%s: '%s' is not %s", option, text, names.bytes);
}

static void parse_tokens(Options *o, const char *text) {
    if (strcmp(text, "bpe") == 0) {
        o->tokens = TOKENS_BPE;
    } else if (strcmp(text, "bytes") == 0) {
        o->tokens = TOKENS_BYTES;
    } else if (strcmp(text, "words") == 0) {
        o->tokens = TOKENS_WORDS;
    } else {
        if (access(input_name(text), F_OK) != 0) {
            fail("--tokens: '%s' is neither bpe, bytes or words nor a file: %s", text, strerror(errno));
        }
        o->tokens = TOKENS_FILE;
        o->vocabulary = text;
    }
}

/* "DATA:SHARE"; the name may hold colons. */
static void parse_mix(Options *o, char *text) {
    char *colon = strrchr(text, ':');
    if (!colon || colon == text) {
        fail_usage("--mix: '%s' is not DATA:SHARE, such as old.txt:0.3", text);
    }
    *colon = '\0';
    o->mix = text;
    o->share = parse_number("--mix", colon + 1, 0, 0.95);
}

/* What excludes each other. */
static void check_options(Options *o, const char *vocab) {
    if (vocab && o->tokens != TOKENS_UNSET && o->tokens != TOKENS_WORDS) {
        fail_usage("--vocab is for --tokens words");
    }
    if (vocab) {
        o->tokens = TOKENS_FILE;
        o->vocabulary = vocab;
    }
    if (vocab && (o->vocab_size > 0 || o->min_freq > 0)) {
        fail_usage("--vocab excludes --vocab-size and --min-freq: its file says which words there are");
    }
    if (o->tokens == TOKENS_FILE && (o->vocab_size > 0 || o->min_freq > 0)) {
        fail_usage("--tokens FILE excludes --vocab-size and --min-freq: the file says which there are");
    }
    if (o->min_freq > 0 && o->tokens == TOKENS_UNSET) {
        o->tokens = TOKENS_WORDS; /* nothing else has them */
    }
    if (o->min_freq > 0 && (o->tokens != TOKENS_WORDS || o->from)) {
        fail_usage("--min-freq is for --tokens words");
    }
    if (o->tokens == TOKENS_BYTES && o->vocab_size > 0) {
        fail_usage("--tokens bytes excludes --vocab-size: there are 261");
    }
    if (o->from && o->resume) {
        fail_usage("--from and --resume exclude each other");
    }
    if (o->from && (o->tokens != TOKENS_UNSET || o->block != BLOCK_UNSET || o->embed_dim > 0 ||
                    o->num_layers > 0 || o->num_heads > 0)) {
        fail_usage("--from has the tokens and the shape of its model: without --tokens, --vocab, "
                   "--block, --embed-dim, --num-layers and --num-heads");
    }
    if (o->size > 0 && (o->embed_dim > 0 || o->from)) {
        fail_usage("--size excludes --embed-dim and --from: it is a width");
    }
    if (o->mix && !o->from) {
        fail_usage("--mix is for --from");
    }
    if (o->minutes > 0 && (o->epochs > 0 || o->max_steps > 0)) {
        fail_usage("--minutes excludes --epochs and --max-steps: it says how long");
    }
    if (o->minutes > 0 && o->resume) {
        fail_usage("--minutes and --resume exclude each other: without it, a run goes on to the step "
                   "that it was to end at");
    }
    if (o->precision == PRECISION_BF16 && cllm_precision_support(CLLM_PRECISION_BF16) == 0) {
        fail("--precision bf16: this processor has no AVX512_BF16, or CLLM_SIMD forbids it; "
             "--precision auto trains in f32 then");
    }
    if (*o->checkpoint_dir == '\0') {
        fail_usage("--checkpoint-dir: the name is empty");
    }
}

Options parse_options(int argc, char **argv) {
    enum { /* values that no short option has */
        VOCAB = 256, MIN_FREQ, WORDS, EMBED, LAYERS, HEADS, BATCH, SEQ, SHORT, RATE, EPOCHS, THREADS, DIR,
        WARMUP, SCHEDULE, DECAY, CLIP, SEED, VALIDATION, RESUME, MAX_STEPS, SAVE_EVERY, KEEP, OVERWRITE,
        SAMPLE, QUIET, EIGHT_BIT, TOKENS, BLOCK, FROM, MIX, MINUTES, BETA2, DROPOUT, SHUFFLE, IN_ORDER, WEIGHTS,
        SIZE, ACCUMULATE, PRECISION, EXCHANGE, WHOLE_MOMENTS
    };
    static const struct option known[] = {
        {"vocab-size", required_argument, NULL, VOCAB},
        {"min-freq", required_argument, NULL, MIN_FREQ},
        {"vocab", required_argument, NULL, WORDS},
        {"embed-dim", required_argument, NULL, EMBED},
        {"num-layers", required_argument, NULL, LAYERS},
        {"num-heads", required_argument, NULL, HEADS},
        {"batch-size", required_argument, NULL, BATCH},
        {"seq-len", required_argument, NULL, SEQ},
        {"short-windows", required_argument, NULL, SHORT},
        {"accumulate", required_argument, NULL, ACCUMULATE},
        {"learning-rate", required_argument, NULL, RATE},
        {"epochs", required_argument, NULL, EPOCHS},
        {"threads", required_argument, NULL, THREADS},
        {"checkpoint-dir", required_argument, NULL, DIR},
        {"warmup", required_argument, NULL, WARMUP},
        {"schedule", required_argument, NULL, SCHEDULE},
        {"weight-decay", required_argument, NULL, DECAY},
        {"clip", required_argument, NULL, CLIP},
        {"seed", required_argument, NULL, SEED},
        {"val-fraction", required_argument, NULL, VALIDATION},
        {"resume", required_argument, NULL, RESUME},
        {"max-steps", required_argument, NULL, MAX_STEPS},
        {"save-every", required_argument, NULL, SAVE_EVERY},
        {"keep", required_argument, NULL, KEEP},
        {"overwrite", no_argument, NULL, OVERWRITE},
        {"sample", required_argument, NULL, SAMPLE},
        {"save-8bit", no_argument, NULL, EIGHT_BIT},
        {"quiet", no_argument, NULL, QUIET},
        {"tokens", required_argument, NULL, TOKENS},
        {"block", required_argument, NULL, BLOCK},
        {"from", required_argument, NULL, FROM},
        {"mix", required_argument, NULL, MIX},
        {"minutes", required_argument, NULL, MINUTES},
        {"size", required_argument, NULL, SIZE},
        {"beta2", required_argument, NULL, BETA2},
        {"dropout", required_argument, NULL, DROPOUT},
        {"shuffle", no_argument, NULL, SHUFFLE},
        {"in-order", no_argument, NULL, IN_ORDER},
        {"keep-weights", required_argument, NULL, WEIGHTS},
        {"precision", required_argument, NULL, PRECISION},
        {"exchange", required_argument, NULL, EXCHANGE},
        {"whole-moments", no_argument, NULL, WHOLE_MOMENTS},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    static const char *const schedules[] = {"none", "cosine", "linear", "step", NULL};
    static const char *const sizes[] = {"small", "medium", "large", NULL};
    static const int widths[] = {128, 256, 384};
    static const char *const exchanges[] = {"f32", "bf16", NULL};
    Options o = {
        .warmup = -1, .shuffle = -1, .short_windows = -1, .weight_decay = -1, .clip = -1, .val_fraction = -1,
        .dropout = -1, .beta2 = -1, .seed = 42, .checkpoint_dir = "checkpoints",
    };
    const char *vocab = NULL;
    const int most = INT_MAX;
    opterr = 0;
    for (int c; (c = getopt_long(argc, argv, ":h", known, NULL)) != -1;) {
        switch (c) {
        case VOCAB: o.vocab_size = (int)parse_integer("--vocab-size", optarg, 6, 1000000); break;
        case MIN_FREQ: o.min_freq = (int)parse_integer("--min-freq", optarg, 1, most); break;
        case WORDS: vocab = optarg; break;
        case TOKENS: parse_tokens(&o, optarg); break;
        case BLOCK: o.block = BLOCK_MODERN + (Block)one_of("--block", optarg, blocks); break;
        case FROM: o.from = optarg; break;
        case MIX: parse_mix(&o, optarg); break;
        case SIZE: o.size = widths[one_of("--size", optarg, sizes)]; break;
        case MINUTES: o.minutes = parse_number("--minutes", optarg, 0.05, 1e6); break;
        case BETA2: o.beta2 = parse_number("--beta2", optarg, 0, 0.999999); break;
        case DROPOUT: o.dropout = parse_number("--dropout", optarg, 0, 0.9); break;
        case SHUFFLE: o.shuffle = 1; break;
        case IN_ORDER: o.shuffle = 0; break;
        case WEIGHTS: o.weights = WEIGHTS_BEST + (Weights)one_of("--keep-weights", optarg, weights); break;
        case PRECISION:
            o.precision = PRECISION_F32 + (Precision)one_of("--precision", optarg, precisions);
            break;
        case EXCHANGE: o.bfloat16_sums = one_of("--exchange", optarg, exchanges) == 1; break;
        case WHOLE_MOMENTS: o.whole_moments = true; break;
        case EMBED: o.embed_dim = (int)parse_integer("--embed-dim", optarg, 1, 10000); break;
        case LAYERS: o.num_layers = (int)parse_integer("--num-layers", optarg, 1, 100); break;
        case HEADS: o.num_heads = (int)parse_integer("--num-heads", optarg, 1, 10000); break;
        case BATCH: o.batch_size = (int)parse_integer("--batch-size", optarg, 1, 1000000); break;
        case ACCUMULATE: o.accumulate = (int)parse_integer("--accumulate", optarg, 1, 1000000); break;
        case SHORT: o.short_windows = (int)parse_integer("--short-windows", optarg, 0, 1000000); break;
        case SEQ: o.seq_len = (int)parse_integer("--seq-len", optarg, 1, 1000000); break;
        case RATE:
            o.learning_rate = parse_number("--learning-rate", optarg, 0, 100);
            if (o.learning_rate <= 0) {
                fail_usage("--learning-rate: must be above 0");
            }
            break;
        case EPOCHS: o.epochs = (int)parse_integer("--epochs", optarg, 1, 1000000); break;
        case THREADS: o.threads = (int)parse_integer("--threads", optarg, 0, 1024); break;
        case DIR: o.checkpoint_dir = optarg; break;
        case WARMUP: o.warmup = (int)parse_integer("--warmup", optarg, 0, most); break;
        case SCHEDULE: o.schedule = schedules[one_of("--schedule", optarg, schedules)]; break;
        case DECAY: o.weight_decay = parse_number("--weight-decay", optarg, 0, 100); break;
        case CLIP: o.clip = parse_number("--clip", optarg, 0, 1e9); break;
        case SEED: o.seed = (uint32_t)parse_integer("--seed", optarg, 0, UINT32_MAX); break;
        case VALIDATION: o.val_fraction = parse_number("--val-fraction", optarg, 0, 0.9); break;
        case RESUME: o.resume = optarg; break;
        case MAX_STEPS: o.max_steps = (int)parse_integer("--max-steps", optarg, 1, most); break;
        case SAVE_EVERY: o.save_every = (int)parse_integer("--save-every", optarg, 0, most); break;
        case KEEP: o.keep = (int)parse_integer("--keep", optarg, 0, most); break;
        case OVERWRITE: o.overwrite = true; break;
        case SAMPLE: o.sample = optarg; break;
        case EIGHT_BIT: o.save_8bit = true; break;
        case QUIET: o.quiet = true; break;
        case 'h':
            printf("Usage: %s DATA [options]\n%s", command, help);
            check_stdout();
            exit(EXIT_SUCCESS);
        default: fail_option(c, argv);
        }
    }
    if (optind >= argc) {
        fail_usage("no DATA: name a text file or a folder");
    }
    if (optind + 1 < argc) {
        fail_usage("one DATA only, but also '%s': a folder holds the texts of one run", argv[optind + 1]);
    }
    o.data = argv[optind];
    check_options(&o, vocab);
    return o;
}

static void compare_given(const char *option, bool given) {
    compare_with_first(option, given ? "given" : "not given");
}

/* What only one rank needs (--checkpoint-dir, --keep, --sample...) or may have for itself (--threads) may
 * differ, and so may the paths of files that are compared as they are read. */
void compare_options(const Options *o) {
    static const char *const tokens[] = {"not given", "bpe", "bytes", "words", "a file"};
    compare_with_first("--tokens", tokens[o->tokens]);
    compare_with_first("--block", o->block > 0 ? blocks[o->block - BLOCK_MODERN] : "not given");
    compare_with_first("--keep-weights", o->weights > 0 ? weights[o->weights - WEIGHTS_BEST] : "not given");
    compare_with_first("--precision",
                       o->precision > 0 ? precisions[o->precision - PRECISION_F32] : "not given");
    compare_with_first("--schedule", o->schedule ? o->schedule : "not given");
    const struct {
        const char *option;
        double value, unset;
    } numbers[] = {
        {"--vocab-size", o->vocab_size, 0}, {"--min-freq", o->min_freq, 0}, {"--embed-dim", o->embed_dim, 0},
        {"--num-layers", o->num_layers, 0}, {"--num-heads", o->num_heads, 0}, {"--seq-len", o->seq_len, 0},
        {"--size (its width)", o->size, 0}, {"--minutes", o->minutes, 0}, {"--epochs", o->epochs, 0},
        {"--max-steps", o->max_steps, 0}, {"--batch-size", o->batch_size, 0}, {"--accumulate", o->accumulate, 0},
        {"--learning-rate", o->learning_rate, 0}, {"--warmup", o->warmup, -1},
        {"--weight-decay", o->weight_decay, -1}, {"--clip", o->clip, -1}, {"--dropout", o->dropout, -1},
        {"--beta2", o->beta2, -1}, {"--shuffle or --in-order", o->shuffle, -1},
        {"--short-windows", o->short_windows, -1}, {"--val-fraction", o->val_fraction, -1},
        {"--save-every", o->save_every, 0}, {"--seed", o->seed, 42}, {"the share of --mix", o->share, 0},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        char text[40] = "not given";
        if (numbers[i].value < numbers[i].unset || numbers[i].value > numbers[i].unset) {
            snprintf(text, sizeof text, "%.15g", numbers[i].value);
        }
        compare_with_first(numbers[i].option, text);
    }
    compare_given("--from", o->from != NULL);
    compare_given("--resume", o->resume != NULL);
    compare_given("--mix", o->mix != NULL);
    compare_given("--exchange bf16", o->bfloat16_sums);
    compare_given("--whole-moments", o->whole_moments);
}
