#!/usr/bin/env python3
"""Continues a text: python3 generate.py MODEL PROMPT"""

import sys

import cllm


def main() -> None:
    if len(sys.argv) != 3:
        print(f"usage: {sys.argv[0]} MODEL PROMPT", file=sys.stderr)
        sys.exit(2)
    path, prompt = sys.argv[1:]
    try:
        with cllm.Model(path) as model:
            print(prompt, end="")
            for piece in model.stream(prompt, seed=42, temperature=0.8, max_tokens=20):
                print(piece, end="", flush=True)
            print()
    except cllm.Error as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
