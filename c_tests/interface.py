"""The interface as the headers state it: every function with its prototype, which of its pointers
may be NULL, and what it returns when it fails. What the tests do with it, they do with the
documentation itself.

`python3 c_tests/interface.py names` prints the names, one a line.
`python3 c_tests/interface.py all` prints prototypes, structs, constants and types of callbacks;
`python3 c_tests/interface.py kept` compares them with c_tests/interface.txt, those of the last release: what
is there stays as it is, but for fields behind the last one of a struct that carries its `struct_size`."""

import re
import sys
from pathlib import Path

INCLUDE = Path(__file__).parent.parent / "include"
FUNCTION = re.compile(r"/\*\*(?P<doc>(?:(?!\*/).)*)\*/\s*(?!\s|typedef)(?P<declaration>[^;{}#/]*\)\s*;)", re.S)
DECLARATION = re.compile(r"^(?P<returns>.*?)(?P<name>\w+)\((?P<arguments>.*)\);$")
# How a parameter's text says that NULL is an argument like any other.
OPTIONAL = re.compile(r"may be NULL|NULL means|NULL stands for|or NULL to|NULL: (?!nothing (happens|is printed))")
# What a failed call returns, as @return says it, and as a C condition on r. Where it says nothing
# of failure, it is zero: NULL, false, 0.
FAILURES = [
    (r"(?<![\w+-])-1\b", "r == -1"),
    (r"; 1 \(`<UNK>`\) if", "r == 1"),
    (r"constant `<UNK>` if", 'strcmp(r, "<UNK>") == 0'),
    (r"string is empty if", "r && r[0] == '\\0'"),
    (r"; 0\.001 if", "r == 0.001f"),
    (r"; infinite on", "isinf(r)"),
]


class Function:
    """One exported function."""

    def __init__(self, header, declaration, doc):
        found = DECLARATION.match(" ".join(declaration.replace("struct ", "").split()))
        self.header = header
        self.name = found["name"]
        self.returns = tidy(found["returns"])
        arguments = found["arguments"].split(",") if found["arguments"] != "void" else []
        self.params = []
        for argument in arguments:
            kind, name, array = re.match(r"^(.*?)(\w+)(\[\d*\])?$", argument.strip()).groups()
            self.params.append((tidy(kind) + (array or ""), name))
        self.doc = re.sub(r"^\s*\* ?", "", doc, flags=re.M)

    def text_of(self, tag):
        """The text behind each `@tag`, as (what follows the tag, up to the next tag or blank line)."""
        return re.findall(r"@%s\s+(.*?)(?=\n@|\n\s*\n|\Z)" % tag, self.doc, re.S)

    def optional(self):
        """The pointers that may be NULL."""
        names = {name for _, name in self.params}
        found = {name for kind, name in self.params if (kind, name) == ("void*", "user_data")}
        for text in self.text_of("param"):
            # The names come first, and two spaces or a line break behind them.
            about = re.split(r" {2,}|\n", text)[0]
            if OPTIONAL.search(" ".join(text.split())):
                found |= names & set(re.findall(r"\w+", about))
        return found

    def failure(self):
        """What a failed call returns: a C condition on `r`."""
        text = " ".join(" ".join(self.text_of("return")).split())
        if same := re.match(r"as (\w+)\.?$", text):
            return next(f for f in functions() if f.name == same[1]).failure()
        return next((condition for said, condition in FAILURES if re.search(said, text)), "!r")


def tidy(kind):
    return kind.strip().replace(" *", "*")


def functions():
    """All of them, in the order of the headers."""
    found = []
    for path in sorted(INCLUDE.rglob("*.h")):
        text = path.read_text()
        for match in FUNCTION.finditer(text):
            found.append(Function(str(path.relative_to(INCLUDE)), match["declaration"], match["doc"]))
    return found


def declared():
    """name -> declaration, in one line, of all that a program can be compiled against."""
    found = {function.name: f"{function.returns} {function.name}"
             f"({', '.join(kind for kind, _ in function.params)})" for function in functions()}
    for path in sorted(INCLUDE.rglob("*.h")):
        text = re.sub(r"/\*.*?\*/|//[^\n]*", "", path.read_text(), flags=re.S)
        for kind, name, body in re.findall(r"typedef (struct|union|enum) (\w+) \{(.*?)\} \2;", text, re.S):
            found[name] = f"{kind} {name} {{ {' '.join(body.split())} }}"
        for line in re.findall(r"typedef [^;{}]*\(\*\w+\)\([^;]*\);", text):
            name = re.search(r"\(\*(\w+)\)", line)[1]
            found[name] = " ".join(line.split())
        for name, value in re.findall(r"^ *# *define +(\w+)[ \t]+(\S.*)$", text, re.M):
            found.setdefault(f"#define {name}", f"#define {name} {' '.join(value.split())}")
    return found


def lost(before, now):
    """What of the lines of a release is no longer so."""
    present = set(now)
    for line in before:
        if line in present:
            continue
        fields = line.removesuffix(" }")
        if "struct_size;" in line and any(other.startswith(fields + " ") for other in present):
            continue
        yield line


def main(command):
    now = sorted(declared().values())
    if command == "names":
        print("\n".join(sorted(function.name for function in functions())))
    elif command == "all":
        print("\n".join(now))
    elif command == "kept":
        before = (Path(__file__).parent / "interface.txt").read_text().splitlines()
        gone = list(lost(before, now))
        if gone or len(before) < 500:
            sys.exit("programs of the last release were compiled against this:\n" + "\n".join(gone))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) == 2 else "")
