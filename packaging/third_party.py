#!/usr/bin/env python3
"""The licences of everything that is linked into libcllm: packaging/third_party.py > THIRD-PARTY.txt

    packaging/third_party.py            prints the file
    packaging/third_party.py --check    says where the committed one differs

Fails where a crate has terms that are not in ALLOWED. Needs cargo, with the crates downloaded.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

TREE = Path(__file__).resolve().parent.parent
TARGETS = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"]

# Terms that ask a program for no more than that their text travels with it. Of a choice the first
# one here is taken.
ALLOWED = ["MIT", "Zlib", "BSD-2-Clause", "BSD-3-Clause", "Unicode-3.0", "Apache-2.0"]

# The file that holds the text of a licence, by what its name begins with, best first.
FILES = {
    "MIT": ["license-mit", "license.mit", "licence-mit", "license", "licence", "copying"],
    "Apache-2.0": ["license-apache", "license", "copying"],
    "Unicode-3.0": ["license-unicode", "license"],
}

HEAD = """Licences of what is linked into libcllm
======================================

Written by packaging/third_party.py; not edited. CLLM itself is under the licences in LICENSE.
The shared and the static library, and what is linked with the latter, hold code of these packages.
Their terms ask that these texts go with it. Where a package offers a choice, one licence is taken.

"""

STD_NAME = "Rust's standard library"
STD = f"""{STD_NAME}, with the crates inside of it
    https://www.rust-lang.org. MIT OR Apache-2.0; taken: MIT. Its tables of characters are made from
    those of Unicode: Unicode-3.0. Of compiler-rt, which is under Apache-2.0 WITH LLVM-exception, it has
    functions that compiled code calls; that exception frees compiled programs from all terms.
"""


class Refused(Exception):
    """Something that a person has to look at."""


def cargo(*arguments):
    """What cargo prints."""
    command = ["cargo", *arguments, "--locked", "--offline"]
    done = subprocess.run(command, cwd=TREE, capture_output=True, text=True)
    if done.returncode != 0:
        raise Refused(done.stderr.strip())
    return done.stdout


def linked():
    """(name, version) of the crates in the library that are not ours."""
    found = set()
    for target in TARGETS:
        tree = cargo("tree", "--package", "cllm", "--edges", "normal,no-proc-macro", "--prefix", "none",
                     "--target", target, "--format", "{p}")
        for line in tree.splitlines():
            name, version = line.split()[:2]
            if "(/" not in line:  # ours stand in a folder
                found.add((name, version.removeprefix("v")))
    return found


def terms(expression):
    """The licences that are taken of a SPDX expression: of each choice one, of a conjunction all."""
    taken = []
    # AND binds closer than OR, but for parentheses; the old "/" is an OR.
    expression = expression.replace("/", " OR ")
    for part in re.split(r"\s+AND\s+", expression) if "(" in expression else [expression]:
        choices = [re.split(r"\s+AND\s+", choice) for choice in
                   re.split(r"\s+OR\s+", part.strip().strip("()").strip())]
        good = [choice for choice in choices if all(name in ALLOWED for name in choice)]
        if not good:
            return None
        taken += min(good, key=lambda choice: (len(choice), [ALLOWED.index(name) for name in choice]))
    return sorted(set(taken), key=ALLOWED.index)


def text_of(folder, licence):
    """The text in the crate's folder."""
    files = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_file()}
    wanted = FILES.get(licence, []) + [f"license-{licence.lower()}", "license", "copying"]
    for start in wanted:
        for name, path in files.items():
            if name == start or name.startswith(start + "."):
                return path.read_text(errors="replace")
    return None


def tidy(text):
    """Without white space at the ends of lines and of the text."""
    return "\n".join(line.rstrip() for line in text.replace("\r", "").expandtabs().splitlines()).strip("\n")


def generate():
    """The content of the file."""
    packages = {}
    for target in TARGETS:
        metadata = json.loads(cargo("metadata", "--format-version", "1", "--filter-platform", target))
        packages |= {(package["name"], package["version"]): package for package in metadata["packages"]}
    entries, texts, problems = [], {}, []
    for key in sorted(linked()):
        package = packages[key]
        label = " ".join(key)
        taken = terms(package["license"] or "")
        if taken is None:
            problems.append(f"{label}: {package['license'] or 'no licence'} is not allowed")
            continue
        where = package["repository"] or f"https://crates.io/crates/{key[0]}"
        entries.append(f"{label}\n    {where}. {package['license']}; taken: {' and '.join(taken)}\n")
        for licence in taken:
            text = text_of(Path(package["manifest_path"]).parent, licence)
            if text is None:
                # Without a text of its own the terms are those that everybody knows.
                holder = ", ".join(package["authors"]) or f"the authors of {key[0]}"
                own = tidy((TREE / f"LICENSE-{licence.split('-')[0].upper()}").read_text()) \
                    if licence in ("MIT", "Apache-2.0") else None
                if own is None:
                    problems.append(f"{label}: there is no text of {licence}")
                    continue
                text = re.sub(r"(?m)^Copyright .*$", lambda _: f"Copyright (c) {holder}", own, count=1)
            texts.setdefault(tidy(text), []).append(label)
    if problems:
        raise Refused("\n".join(problems))
    own = re.sub(r"(?m)^Copyright .*$", "Copyright (c) The Rust Project Contributors",
                 tidy((TREE / "LICENSE-MIT").read_text()), count=1)
    texts.setdefault(own, []).insert(0, STD_NAME)
    for text, labels in texts.items():
        if text.startswith("UNICODE LICENSE V3"):
            labels.insert(0, STD_NAME)
            break
    else:
        raise Refused("no crate has the text of Unicode-3.0 any more, which Rust's tables need")
    parts = [HEAD, STD, *entries]
    for text, labels in texts.items():
        parts.append(f"\n{'-' * 79}\n{', '.join(labels)}:\n\n{text}\n")
    return "".join(parts)


def main():
    try:
        content = generate()
    except Refused as refused:
        sys.exit(str(refused))
    if sys.argv[1:] == ["--check"]:
        path = TREE / "THIRD-PARTY.txt"
        if not path.is_file() or path.read_text() != content:
            sys.exit("THIRD-PARTY.txt is stale: packaging/third_party.py > THIRD-PARTY.txt")
    elif sys.argv[1:]:
        sys.exit(f"usage: {sys.argv[0]} [--check]")
    else:
        sys.stdout.write(content)


if __name__ == "__main__":
    main()
