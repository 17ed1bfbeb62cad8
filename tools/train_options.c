#include "train_model.h"

#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "Usage: train_model DATA [options]\n"
    "Trains a language model on a text file, - for standard input, or on a folder of\n"
    "texts with its subfolders, without hidden ones and what training runs wrote.\n"
    "\n"
    "Model:\n"
    "  --vocab-size N        entries of the vocabulary, frequent words first (10000)\n"
    "  --min-freq N          leave out words that appear less often (1)\n"
    "  --vocab FILE          take the words of a vocab.txt (- is standard input)\n"
    "  --embed-dim N         width of the model (128)\n"
    "  --num-layers N        transformer layers (4)\n"
    "  --num-heads N         attention heads per layer; must divide the width (4)\n"
    "  --seq-len N           words that the model sees at once (64)\n"
    "Training:\n"
    "  --epochs N            passes over the text (5)\n"
    "  --batch-size N        sequences per step (16)\n"
    "  --learning-rate X     highest learning rate (0.001)\n"
    "  --warmup N            steps of linear warm-up (a tenth of all, at most 1000)\n"
    "  --schedule NAME       after it: none, cosine, linear or step (none)\n"
    "  --weight-decay X      AdamW's decay of the weight matrices (0.01)\n"
    "  --clip X              largest norm of the gradient, 0 = no limit (1.0)\n"
    "  --val-fraction X      last part of the words, held out to measure the loss (0)\n"
    "  --max-steps N         stop after step N; the schedule still spans all epochs\n"
    "  --threads N           0 = all processors; same result for any number (0)\n"
    "  --seed N              of the initial weights and of the samples (42)\n"
    "Files and output:\n"
    "  --checkpoint-dir DIR  where everything is written (checkpoints)\n"
    "  --save-every N        a checkpoint every N steps, 0 = only at the end (0)\n"
    "  --keep N              newest checkpoints to keep, 0 = while there is room (0)\n"
    "  --overwrite           remove the files of an earlier run in DIR; else they are\n"
    "                        moved to DIR/earlier-N\n"
    "  --resume FILE         go on from checkpoint_step_N.cllm, or the newest in a\n"
    "                        folder: same DATA and options, --epochs may grow\n"
    "  --sample PROMPT       generate from PROMPT at the end (words of the text)\n"
    "  --quiet               print errors and one final line only\n"
    "  -h, --help            this text\n"
    "\n"
    "Writes vocab.txt, dataset.bin, checkpoint_step_N.cllm, final_model.cllm and the\n"
    "record of the run: metrics.csv and its picture, loss.svg.\n"
    "Ctrl-C finishes the step and saves a checkpoint, and so do SIGTERM, SIGHUP and\n"
    "SIGXCPU; a second Ctrl-C stops at once. One run at a time writes into DIR.\n"
    "Exit status: 0 done, 1 something failed, 2 wrong options, 130 a signal.\n"
    "Examples:\n"
    "  train_model texts/ --epochs 3 --val-fraction 0.1 --save-every 500\n"
    "  train_model texts/ --epochs 3 --val-fraction 0.1 --save-every 500 \\\n"
    "      --resume checkpoints/checkpoint_step_500.cllm\n";

static const char *one_of(const char *option, const char *text, const char *const *choices) {
    for (size_t i = 0; choices[i]; i++) {
        if (strcmp(text, choices[i]) == 0) {
            return choices[i];
        }
    }
    fail_usage("%s: '%s' is not none, cosine, linear or step", option, text);
}

Options parse_options(int argc, char **argv) {
    enum { /* values that no short option has */
        VOCAB = 256, MIN_FREQ, WORDS, EMBED, LAYERS, HEADS, BATCH, SEQ, RATE, EPOCHS, THREADS, DIR, WARMUP,
        SCHEDULE, DECAY, CLIP, SEED, VALIDATION, RESUME, MAX_STEPS, SAVE_EVERY, KEEP, OVERWRITE,
        SAMPLE, QUIET
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
        {"quiet", no_argument, NULL, QUIET},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    static const char *const schedules[] = {"none", "cosine", "linear", "step", NULL};
    Options o = {
        .embed_dim = 128, .num_layers = 4, .num_heads = 4, .seq_len = 64,
        .epochs = 5, .batch_size = 16, .warmup = -1, .learning_rate = 0.001, .weight_decay = 0.01,
        .clip = 1.0, .seed = 42, .schedule = "none", .checkpoint_dir = "checkpoints",
    };
    const int most = INT_MAX;
    opterr = 0;
    for (int c; (c = getopt_long(argc, argv, ":h", known, NULL)) != -1;) {
        switch (c) {
        case VOCAB: o.vocab_size = (int)parse_integer("--vocab-size", optarg, 6, 1000000); break;
        case MIN_FREQ: o.min_freq = (int)parse_integer("--min-freq", optarg, 1, most); break;
        case WORDS: o.vocabulary = optarg; break;
        case EMBED: o.embed_dim = (int)parse_integer("--embed-dim", optarg, 1, 10000); break;
        case LAYERS: o.num_layers = (int)parse_integer("--num-layers", optarg, 1, 100); break;
        case HEADS: o.num_heads = (int)parse_integer("--num-heads", optarg, 1, 10000); break;
        case BATCH: o.batch_size = (int)parse_integer("--batch-size", optarg, 1, 1000000); break;
        case SEQ: o.seq_len = (int)parse_integer("--seq-len", optarg, 1, 1000000); break;
        case RATE: o.learning_rate = parse_number("--learning-rate", optarg, 0, 100); break;
        case EPOCHS: o.epochs = (int)parse_integer("--epochs", optarg, 1, 1000000); break;
        case THREADS: o.threads = (int)parse_integer("--threads", optarg, 0, 1024); break;
        case DIR: o.checkpoint_dir = optarg; break;
        case WARMUP: o.warmup = (int)parse_integer("--warmup", optarg, 0, most); break;
        case SCHEDULE: o.schedule = one_of("--schedule", optarg, schedules); break;
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
        case QUIET: o.quiet = true; break;
        case 'h':
            fputs(help, stdout);
            check_stdout();
            exit(EXIT_SUCCESS);
        default: fail_option(c, argv);
        }
    }
    if (optind >= argc) {
        fail_usage("no DATA: name a text file or a folder");
    }
    if (optind + 1 < argc) {
        fail_usage("one DATA only, but also '%s'", argv[optind + 1]);
    }
    o.data = argv[optind];
    if (o.vocabulary && (o.vocab_size > 0 || o.min_freq > 0)) {
        fail_usage("--vocab excludes --vocab-size and --min-freq: its file says which words there are");
    }
    o.vocab_size = o.vocab_size > 0 ? o.vocab_size : 10000;
    if (*o.checkpoint_dir == '\0') {
        fail_usage("--checkpoint-dir: the name is empty");
    }
    if (o.learning_rate <= 0) {
        fail_usage("--learning-rate: must be above 0");
    }
    if (o.embed_dim % o.num_heads != 0) {
        fail_usage("--num-heads: %d does not divide --embed-dim %d", o.num_heads, o.embed_dim);
    }
    return o;
}
