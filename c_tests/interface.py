"""The interface as the headers state it: every function with its prototype, which of its pointers
may be NULL, and what it returns when it fails. What the tests do with it, they do with the
documentation itself.

`python3 c_tests/interface.py names` prints the names, one a line."""

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


if __name__ == "__main__" and sys.argv[1:] == ["names"]:
    print("\n".join(sorted(function.name for function in functions())))
