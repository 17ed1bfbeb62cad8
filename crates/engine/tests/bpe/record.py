#!/usr/bin/env python3
"""Records what the `tokenizers` package makes of a text with every kind of Unicode trouble.

    pip install tokenizers
    python3 record.py

It trains small tokenizers in the style of GPT-2, Llama 3 and Qwen 2 on the corpus below, writes each
as NAME.json here, and the corpus with the ids of each line as ids.json. The test
`tests/bpe.rs` compares. Nothing is downloaded.
"""

import json
import pathlib
import random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers
from tokenizers import pre_tokenizers, processors, trainers

HERE = pathlib.Path(__file__).parent
LLAMA = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN = LLAMA.replace(r"\p{N}{1,3}", r"\p{N}")
# The rule of CLLM's own vocabularies.
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)| ?[\p{L}\p{M}]+|\p{N}{1,3}| ?[^\s\p{L}\p{M}\p{N}]+"
    r"|[\r\n]+|[^\S\r\n]+(?!\S)|[^\S\r\n]+"
)

LINES = [
    "",
    " ",
    "The quick brown fox jumps over the lazy dog.",
    "  leading, trailing   and   inner    blanks   ",
    "tabs\tand\t\ttabs \t mixed\u00a0no-break\u2003em\u3000wide",
    "one\ntwo\r\nthree\n\n\nfour \n \n five\r\rsix\n",
    "words;\n\nthen!!\r\n more...\n",
    "I'm he's they're we've I'll you'd don't 'tis",
    "I'M HE'S THEY'RE WE'VE I'LL YOU'D DON'T it'\u017f",
    "''s 'sss 'lL 'Ve' 're",
    "0 12 123 1234 12345678 3.14159 1,000,000 v2 x86_64",
    "\u0663\u0664\u0665 \u0967\u0968\u0969\u096a \u2167 \u00bd \u00b2\u00b3 \uff11\uff12\uff13\uff14",
    "na\u00efve caf\u00e9 cafe\u0301 a\u0308\u0323 \u1e69 s\u0323\u0307 \u212b \ufb01 \u1100\u1161\u11a8",
    "\u4f60\u597d\uff0c\u4e16\u754c\u3002 \u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8 \ud55c\uad6d\uc5b4",
    "\u0440\u0443\u0441\u0441\u043a\u0438\u0439 \u0395\u03bb\u03bb\u03b7\u03bd\u03b9\u03ba\u03ac \u05e2\u05d1\u05e8\u05d9\u05ea \u0627\u0644\u0639\u064e\u0631\u064e\u0628\u0650\u064a\u064e\u0651\u0629",
    "\u0939\u093f\u0928\u094d\u0926\u0940 \u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22 \u0ba4\u0bae\u0bbf\u0bb4\u0bcd",
    "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea \U0001f44d\U0001f3fd \u2764\ufe0f",
    "\u200bzero\u200cwidth\u200djoin\u2060er \ufeffbom \u00adsoft \u202eright\u202c",
    "\u2028line\u2029paragraph\u0085next\x0bvertical\x0cform\x1cfile",
    "\x00\x01\x02 \x7f \x1b[31mred\x1b[0m",
    "\U00020000\U0002a6d6 \U0001d400\U0001d7ce \U0010ffff \ufffd \ue000",
    "for (int i = 0; i < n; ++i) { a[i] += b[i]*2; } // done",
    "https://example.org/a?b=c&d=%20#e <tag attr=\"x\"/> \\n {{}} $$ @@ __init__",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "e\u0301\u0301\u0301 \u0301start of marks 'mark\u0301 '\u0301s",
    "_under-score\u2014dash\u2026 \u00abquote\u00bb \u201ccurly\u201d \u2018single\u2019s",
    "<|end|>plain<|end|> <|pad|> tail",
    "x <|pad|>  y<|pad|>z",
    "tool call tool, tools footool [TOOL] [TOOL]x",
    "   <mask>   next <mask>\n\nend",
]


def fuzz(count):
    rng = random.Random(7)
    alphabet = list(" \t\r\n'sSdDlLrReEvVtTmM019.,!aZ_\u017f\u0301\u00e9\u4f60\u00a0\u2003\u0967\u00bd\U0001f600")
    for _ in range(count):
        yield "".join(rng.choice(alphabet) for _ in range(rng.randrange(1, 24)))


def split(pattern):
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])


def make(pre, normalizer=None, ignore_merges=False, post=None):
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    tokenizer.pre_tokenizer = pre
    tokenizer.decoder = decoders.ByteLevel()
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if post is not None:
        tokenizer.post_processor = post
    trainer = trainers.BpeTrainer(
        vocab_size=480,
        special_tokens=["<|end|>", "<|pad|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(LINES * 2, trainer)
    tokenizer.add_tokens([AddedToken("tool", single_word=True), AddedToken("[TOOL]")])
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, rstrip=True, special=True)])
    return tokenizer


def main():
    byte_level = pre_tokenizers.ByteLevel
    made = {
        "gpt2": make(byte_level(add_prefix_space=False), post=processors.ByteLevel(trim_offsets=False)),
        "gpt2_space": make(byte_level(add_prefix_space=True)),
        "llama3": make(split(LLAMA), ignore_merges=True),
        "qwen2": make(split(QWEN), normalizers.NFC()),
        "words": make(split(WORDS)),
    }
    lines = LINES + list(fuzz(150))
    ids = {}
    for name, tokenizer in made.items():
        if name == "llama3":
            tokenizer.post_processor = processors.Sequence([
                processors.ByteLevel(trim_offsets=False),
                processors.TemplateProcessing(
                    single="<|end|> $A", pair="<|end|> $A $B", special_tokens=[("<|end|>", 0)]
                ),
            ])
        (HERE / f"{name}.json").write_text(tokenizer.to_str(), encoding="utf-8")
        ids[name] = [tokenizer.encode(line, add_special_tokens=False).ids for line in lines]
    out = {"lines": lines, "ids": ids}
    (HERE / "ids.json").write_text(json.dumps(out, separators=(",", ":")), encoding="utf-8")


if __name__ == "__main__":
    main()
