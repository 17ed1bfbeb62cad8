#!/usr/bin/env python3
"""How good a model the same minutes buy: README.md beside this file says what is measured.

    benches/learn/learn.py CORPUS... [--minutes M] [--budgets N] [--seeds 1,2,3] [--only PART,...]

CORPUS is a text file, or one of the texts that a machine has: `python` (the sources of Python's standard
library), `manuals` (the pages of section 1 of the manual), `packages` (the descriptions of Debian's
packages). Prints a table in Markdown, bits per byte of the last tenth of each text.
"""

import argparse
import csv
import glob
import gzip
import lzma
import os
import re
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOOL = os.environ.get("TRAIN_MODEL", os.path.join(ROOT, "tools", "train_model"))
SCORER = os.path.join(os.path.dirname(TOOL), "cllm_inference")
PARTS = ["default", "score", "dynamic", "auto", "old", "words", "nanogpt", "xz", "ppmd"]


# ---- Texts ----

def python_sources():
    folder = sysconfig.get_paths()["stdlib"]
    names = glob.glob(os.path.join(folder, "*.py"))
    return [open(name, "rb").read() for name in sorted(names)]


def manuals():
    names = sorted(glob.glob("/usr/share/man/man1/*.1.gz"))
    return [gzip.open(name).read() for name in names if not os.path.islink(name)]


def packages():
    text = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, check=True).stdout
    if not text.strip():
        text = open("/var/lib/dpkg/status", "rb").read()
    return re.findall(rb"^Description(?:-en)?: (.*\n(?: .*\n)*)", text, re.MULTILINE)


MADE = {"python": python_sources, "manuals": manuals, "packages": packages}


def corpus(name, most):
    """The bytes of a text, `most` of them; whole UTF-8 without NUL, for the tools read text."""
    if name in MADE:
        text = b"\n".join(MADE[name]())
    else:
        with open(name, "rb") as file:
            text = file.read()
    text = text.decode("utf-8", "replace").replace("\0", "").encode()
    return text[:most].decode("utf-8", "ignore").encode()


def cut(text):
    """Where the held-out tenth begins, which is no place inside of a character."""
    at = len(text) - len(text) // 10
    while at > 0 and text[at] & 0xC0 == 0x80:
        at -= 1
    return at


# ---- This library ----

def train(path, folder, *options):
    """What train_model prints of a run."""
    command = [TOOL, path, "--checkpoint-dir", folder, "--overwrite", *map(str, options)]
    printed = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    return printed.decode("utf-8", "replace")  # samples may end inside of a character


def speed(folder):
    """Tokens a second of the run in `folder`: the median step."""
    with open(os.path.join(folder, "metrics.csv"), newline="") as file:
        return statistics.median(float(row["tokens_per_second"]) for row in csv.DictReader(file))


def held_out(printed):
    """Bits per byte of the weights that were kept, or of the last evaluation."""
    best = re.findall(r"held-out loss [\d.]+, ([\d.]+) bits per byte", printed)
    last = re.findall(r"held out ([\d.]+)$|([\d.]+) held out", printed, re.MULTILINE)
    if best:
        return float(best[-1])
    return float("".join(last[-1]))


def shape_s(path, folder, threads):
    """Seconds of a budget: in which shape S trains 8 million tokens."""
    train(path, folder, "--tokens", "words", "--vocab-size", 1000, "--block", "original", "--embed-dim", 128,
          "--num-layers", 4, "--num-heads", 4, "--seq-len", 128, "--batch-size", 16, "--epochs", 20,
          "--max-steps", 60, "--threads", threads)
    return 8e6 / speed(folder)


def default(path, text, seconds, seed, threads, folder):
    """The held-out loss that train_model prints, of windows that don't see each other."""
    folder = f"{folder}-{seed}"
    return held_out(train(path, folder, "--minutes", seconds / 60, "--seed", seed, "--threads", threads))


def scored(path, text, seconds, seed, threads, folder, *options):
    """What cllm_inference --score says of the held-out part for the model of `default`, made if need be."""
    run = f"{folder}-{seed}"
    if not os.path.exists(run):
        default(path, text, seconds, seed, threads, folder)
    rest = os.path.join(run, "held_out.txt")
    with open(rest, "wb") as file:
        file.write(text[cut(text):])
    command = [SCORER, os.path.join(run, "final_model.cllm"), "--score", rest, "--threads", str(threads), *options]
    printed = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.decode()
    return float(re.findall(r"([\d.]+) bits per byte", printed)[-1])


def score(*of):
    """The model over the held-out part as one text: each token sees at least half a window before it."""
    return scored(*of)


def dynamic(*of):
    """The same, and each window is learnt after it was scored, as compressors learn what they read."""
    return scored(*of, "--dynamic")


def auto(path, text, seconds, seed, threads, folder):
    """The same time with products of bfloat16, where the processor multiplies them faster; else of f32."""
    return held_out(train(path, f"{folder}-{seed}-auto", "--minutes", seconds / 60, "--seed", seed, "--threads",
                          threads, "--precision", "auto"))


def fixed(path, seconds, seed, threads, folder, *options):
    """A run without a dial, for as many steps as the seconds hold."""
    options = [*options, "--val-fraction", 0.1, "--seed", seed, "--threads", threads]
    train(path, folder, *options, "--epochs", 1000, "--max-steps", 30)
    with open(os.path.join(folder, "metrics.csv"), newline="") as file:
        rows = list(csv.DictReader(file))
    batch = dict(zip(options[::2], options[1::2]))
    tokens = batch["--batch-size"] * batch["--seq-len"]
    steps = int(seconds * speed(folder) / tokens)
    assert len(rows) == 30
    return train(path, folder, *options, "--epochs", 1000, "--max-steps", max(steps, 1))


def old(path, text, seconds, seed, threads, folder):
    """The defaults of earlier releases on subwords: their block, a constant rate, batches in order, the
    last weights."""
    return held_out(fixed(path, seconds, seed, threads, folder, "--tokens", "bpe", "--block", "original",
                          "--schedule", "none", "--keep-weights", "last", "--dropout", 0,
                          "--learning-rate", 0.001, "--batch-size", 16, "--seq-len", 64))


def words(path, text, seconds, seed, threads, folder):
    """The same on words, as they were the only tokens: unknown ones cost 8 bits for each of their bytes and
    for one that ends them; blanks between words and capitals cost nothing."""
    printed = fixed(path, seconds, seed, threads, folder, "--tokens", "words", "--batch-size", 16,
                    "--seq-len", 64)
    with open(os.path.join(folder, "vocab.txt"), "rb") as file:
        known = {line.split(b"\t")[0] for line in file}
    blanks = b" \t\n\v\f\r"
    all_words = [word for word in re.split(rb"[%s]+" % blanks, lower(text)) if word]
    held = all_words[len(all_words) - len(all_words) // 10:]
    spelling = 8 * sum(len(word) + 1 for word in held if word not in known)
    normal = sum(len(word) + 1 for word in held)
    raw = normal * len(text) / sum(len(word) + 1 for word in all_words)
    return (held_out(printed) * normal + spelling) / raw


def lower(text):
    return bytes(byte + 32 if 65 <= byte <= 90 else byte for byte in text)


# ---- Others ----

def nanogpt(path, text, seconds, seed, threads, folder):
    from nanogpt import measure  # beside this file; needs PyTorch
    at = cut(text)
    return measure(text[:at], text[at:], seconds, seed, threads)


def compressed(*sizes):
    """A compressor's bits for a byte of the held-out part: what it adds to the rest, with those settings of
    several that do best."""
    def measure(path, text, seconds, seed, threads, folder):
        at = cut(text)
        return min(8 * (size(text) - size(text[:at])) / (len(text) - at) for size in sizes)
    return measure


def xz_size(text):
    return len(lzma.compress(text, preset=9 | lzma.PRESET_EXTREME))


def ppmd_size(order):
    def size(text):
        import pyppmd
        encoder = pyppmd.Ppmd7Encoder(order, 256 << 20)
        return len(encoder.encode(text)) + len(encoder.flush())
    return size


MEASURES = {"default": default, "score": score, "dynamic": dynamic, "auto": auto, "old": old, "words": words, "nanogpt": nanogpt,
            "xz": compressed(xz_size), "ppmd": compressed(ppmd_size(6), ppmd_size(16))}
NAMES = {"default": "train_model --minutes", "score": "the same model, cllm_inference --score",
         "dynamic": "the same model, --score --dynamic",
         "auto": "train_model --minutes --precision auto",
         "old": "original block, constant rate, subwords", "words": "original block, constant rate, words", "nanogpt": "nanoGPT's CPU recipe, PyTorch",
         "xz": "xz -9e", "ppmd": "PPMd, order 6 or 16"}
# What follows from no seed.
CERTAIN = {"xz", "ppmd"}


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("corpus", nargs="+")
    parser.add_argument("--minutes", type=float, help="time of each run; else --budgets of them")
    parser.add_argument("--budgets", type=float, default=1, help="time in budgets, measured first (1)")
    parser.add_argument("--seeds", default="1", help="one run for each (1)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", default=",".join(PARTS), help="some of: " + ", ".join(PARTS))
    parser.add_argument("--bytes", type=int, default=2_000_000, help="most of a text that is used (2,000,000)")
    return parser.parse_args()


def main():
    asked = options()
    seeds = [int(seed) for seed in asked.seeds.split(",")]
    parts = asked.only.split(",")
    wrong = set(parts) - set(PARTS)
    if wrong:
        sys.exit(f"--only: no such part: {', '.join(sorted(wrong))}")
    rows = {part: [] for part in parts}
    with tempfile.TemporaryDirectory() as folder:
        for number, name in enumerate(asked.corpus):
            text = corpus(name, asked.bytes)
            path = os.path.join(folder, "text.txt")
            with open(path, "wb") as file:
                file.write(text)
            run = os.path.join(folder, f"run{number}")
            seconds = 60 * asked.minutes if asked.minutes else asked.budgets * shape_s(path, run, asked.threads)
            print(f"{name}: {len(text)} bytes, {seconds:.0f} s, {os.cpu_count()} processors, load "
                  f"{os.getloadavg()[0]:.1f}, {time.strftime('%Y-%m-%d')}", flush=True)
            for part in parts:
                try:
                    figures = [MEASURES[part](path, text, seconds, seed, asked.threads, run)
                               for seed in (seeds[:1] if part in CERTAIN else seeds)]
                except ImportError as error:
                    print(f"  {NAMES[part]}: left out, {error}", flush=True)
                    rows[part].append("–")
                    continue
                shown = f"{statistics.mean(figures):.3f}"
                if len(figures) > 1:
                    shown += f" ± {statistics.stdev(figures):.3f}"
                print(f"  {NAMES[part]}: {' '.join(f'{x:.4f}' for x in figures)}", flush=True)
                rows[part].append(shown)
    print("\n| bits per byte | " + " | ".join(os.path.basename(name) for name in asked.corpus) + " |")
    print("|---" * (1 + len(asked.corpus)) + "|")
    for part in parts:
        print(f"| {NAMES[part]} | " + " | ".join(rows[part]) + " |")


if __name__ == "__main__":
    main()
