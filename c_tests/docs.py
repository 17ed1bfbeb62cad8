#!/usr/bin/env python3
"""Tests of the documentation: python3 c_tests/docs.py, in a built tree.

The examples in the comments of cllm_ext.h compile; each function of it has one. Manual pages and
completion list the options that the tools' --help lists, which are those that the tools take. Links
between the *.md files lead somewhere. Doxygen, if installed, has nothing to say about include/. The
commands of docs/GUIDE.md work. The last line is "N passed, N failed"; reasons on stderr.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import checks

TREE = Path(__file__).resolve().parent.parent
os.chdir(TREE)
CC = os.environ.get("CC", "cc")


def check(name, problem):
    """`problem` is empty, or says what is wrong."""
    checks.check(name, not problem, problem)


# ---- Examples in cllm_ext.h ----

PRELUDE = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cllm_data_loader.h"
#include "cllm_ext.h"
#include "cllm_format.h"
#include "cllm_utils.h"
extern CLLMModel *model;
extern CLLMInference *inference, *other;
extern CLLMTraining *training;
extern CLLMTokenizer *tokenizer;
extern CLLMTexts *texts;
extern CLLMTokenFile *file, *added, *old;
extern uint32_t *ids, *held_out, id;
extern size_t count, num_held_out, count_of_text;
extern int last_step, done;
extern double seconds, elapsed;
extern const char *line, *text;
extern FILE *log_file;
"""
BLOB = "extern uint8_t *state;\nextern size_t size;\n"
SHOW = "bool show(const char *piece, size_t length, uint32_t token, void *user_data);\n"


def split(example):
    """Definitions of functions, and statements."""
    functions, statements, inside = [], [], False
    for line in example.splitlines():
        inside = inside or line.startswith("static ")
        (functions if inside else statements).append(line)
        inside = inside and line != "}"
    return "\n".join(functions), "\n".join(statements)


def ext_examples():
    header = Path("include/cllm_ext.h").read_text()
    comments = re.findall(r"/\*\*\n((?: \*.*\n)*?) \*/\n([a-zA-Z][^;{]*?\*?(cllm_\w+)\([^;{]*\);)", header)
    declared = set(re.findall(r"^[a-zA-Z][^;{}\n]*?\b(cllm_\w+)\(", header, re.M))
    check("functions of cllm_ext.h", "" if declared == {c[2] for c in comments} and len(declared) > 20
          else f"not all found: {declared ^ {c[2] for c in comments}}")
    for comment, _, function in comments:
        text = "\n".join(line[3:] for line in comment.splitlines())
        found = re.search(r"^```c\n(.*?)^```$", text, re.M | re.S)
        if not found:
            check(function, "has no example in cllm_ext.h")
            continue
        functions, statements = split(found.group(1))
        source = PRELUDE + ("" if "show(" in functions else SHOW)
        source += "" if re.search(r"^uint8_t \*state", statements, re.M) else BLOB
        source += f"{functions}\nvoid example(void);\nvoid example(void) {{\n{statements}\n}}\n"
        built = subprocess.run(
            [CC, "-std=c11", "-Wall", "-Wextra", "-Werror", "-Wno-unused-but-set-variable",
             "-Iinclude", "-xc", "-", "-fsyntax-only"], input=source, text=True, capture_output=True)
        check(f"example of {function}", built.stderr if built.returncode else "")
        check(f"example of {function}", "" if function in found.group(1) else "does not call it")


# ---- Manual pages ----

def options(text):
    return set(re.findall(r"(?<![\w-])(--?[a-z][\w-]*)", text))


def accepted(tool):
    """The options in the tables that getopt_long gets."""
    source = "tools/train_options.c" if tool == "train_model" else f"tools/{tool}.c"
    text = Path(source).read_text()
    long = {"--" + name for name in re.findall(r'\{"([a-z][\w-]*)", \w+_argument, NULL', text)}
    short = re.search(r'getopt_long\(argc, argv, ":([a-z:]*)"', text)[1]
    return long | {"-" + letter for letter in short if letter != ":"}


def differences(helped, others):
    """Of two sets of options, the first that of --help."""
    if helped == others and helped:
        return ""
    return f"differ: only in --help {helped - others}, not there {others - helped}"


def man_pages():
    tools = ["train_model", "cllm_inference", "cllm_tokenize", "cllm_vocab_build", "cllm_info"]
    for tool in tools:
        shown = subprocess.run([f"tools/{tool}", "--help"], capture_output=True, text=True).stdout
        # Lines of options only: their descriptions mention others.
        helped = set()
        for line in shown.splitlines():
            found = re.match(r" {2,6}(-.*?)(?:  +\S| [A-Z]+ \S|$| \S)", line)
            if found:
                helped |= options(re.split(r"  ", line.strip())[0])
        page = Path(f"man/{tool}.1").read_text().replace("\\-", "-")
        page = re.sub(r"\\f[BIR]", "", page)
        section = page.partition(".SH OPTIONS")[2].partition("\n.SH ")[0]
        listed = set()
        for line in re.findall(r"^\.TP\n(.*)$", section, re.M):
            listed |= options(line)
        check(f"options of man/{tool}.1", differences(helped, listed))
        check(f"options of {tool} --help", differences(helped, accepted(tool)))
        lines = shown.splitlines()
        most = 80 if tool == "train_model" else 50
        check(f"{tool} --help", "" if len(lines) <= most else f"has {len(lines)} lines")
        wide = [line for line in lines if len(line) > 80]
        check(f"{tool} --help", f"is too wide: {wide}" if wide else "")
        check(f"{tool} --help", "" if "\nExit status: 0 " in shown else "has no exit statuses")
        examples = re.findall(rf"^  {tool} ", shown.partition("\nExamples:\n")[2], re.M)
        check(f"{tool} --help", "" if 2 <= len(examples) <= 4 else f"has {len(examples)} examples")
        check(f"man/{tool}.1", "" if re.search(r"^\.SH EXIT STATUS\n\.TP\n\.B 0\n", page, re.M)
              else "has no exit statuses")
        # Bash completes exactly these.
        script = "source packaging/completion.bash; COMP_WORDS=($1 -) COMP_CWORD=1; _cllm_options; echo ${COMPREPLY[*]}"
        ran = subprocess.run(["bash", "-c", script, "-", f"tools/{tool}"], capture_output=True, text=True)
        check(f"completion of {tool}", differences(helped, set(ran.stdout.split())))
    every = {p.name for p in Path("man").iterdir()}
    wanted = {f"{t}.1" for t in tools + ["cllm_inference_fixed", "train_model_mpi"]}
    extra = {f"{p.stem}.1" for p in Path("tools").glob("cllm_*.c")} | wanted
    for name in sorted(every):  # troff leaves out what stands behind them
        lost = re.findall(r"^\.(?:PP|nf|fi) .*$", Path("man", name).read_text(), re.M)
        check(f"man/{name}", f"loses a text: {lost}" if lost else "")
    check("man/", "" if every == extra else f"{every ^ extra}")


# ---- Links ----

def anchors(path):
    """The names that headings get."""
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.M | re.S)
    heads = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", h.strip().lower()).replace(" ", "-") for h in heads}


def links():
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "*.md"],
                            capture_output=True, text=True)
    pages = listed.stdout.split() or [str(p) for p in [*Path(".").glob("*.md"), *Path("docs").glob("*.md")]]
    check("pages", "" if len(pages) > 3 else f"only {pages}")
    for page in map(Path, pages):
        if not page.exists():
            continue
        text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
        # Sources that the text names; the guide's are those of the reader's own project.
        sources = r"`((?:crates|src|tests|c_tests|benches|fuzz|packaging|tools)/[\w./-]+\.\w+)`"
        for source in re.findall(sources, text) if page.name != "GUIDE.md" else []:
            check(f"source named in {page}", "" if Path(source).exists() else f"not there: {source}")
        text = re.sub(r"`[^`\n]*`", "", text)
        for target in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", target):
                continue
            file, _, anchor = target.partition("#")
            path = (page.parent / file) if file else page
            problem = ""
            if not path.exists():
                problem = f"leads nowhere: {target}"
            elif anchor and path.suffix == ".md" and anchor not in anchors(path):
                problem = f"no such heading: {target}"
            check(f"link in {page}", problem)


# ---- Doxygen ----

def doxygen():
    if not shutil.which("doxygen"):
        print("docs: Doxygen left out: it is not installed", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as out:
        settings = Path("docs/Doxyfile").read_text() + f"\nOUTPUT_DIRECTORY = {out}\n"
        ran = subprocess.run(["doxygen", "-"], input=settings, text=True, capture_output=True)
        check("doxygen", ran.stderr[:2000] if ran.stderr.strip() or ran.returncode else "")
        check("doxygen", "" if (Path(out) / "html/index.html").exists() else "wrote no pages")


# ---- docs/GUIDE.md ----

def guide():
    """All commands of the page (blocks marked sh) as one script, C programs (blocks marked c) beside
    them under the names that the page gives."""
    page = Path("docs/GUIDE.md").read_text()
    commands = "\n".join(re.findall(r"^```sh\n(.*?)^```$", page, re.M | re.S))
    programs = re.findall(r"`(\w+\.c)`:\n\n```c\n(.*?)^```$", page, re.M | re.S)
    check("GUIDE.md", "" if commands and programs else "has no commands or no program")
    with tempfile.TemporaryDirectory() as home:
        (Path(home) / "cllm").symlink_to(TREE)
        for name, text in programs:
            (Path(home) / name).write_text(text)
        keep = {k: os.environ[k] for k in ("PATH", "LANG", "CARGO_HOME", "RUSTUP_HOME") if k in os.environ}
        keep.setdefault("CARGO_HOME", str(Path.home() / ".cargo"))
        keep.setdefault("RUSTUP_HOME", str(Path.home() / ".rustup"))
        script = "set -e\n" + commands
        ran = subprocess.run(["bash", "-c", script], cwd=home, env={**keep, "HOME": home},
                             text=True, capture_output=True, timeout=900)
        check("commands of GUIDE.md", "" if ran.returncode == 0
              else f"status {ran.returncode}\n{ran.stdout[-1500:]}\n{ran.stderr[-1500:]}")
        for line in re.findall(r"<!-- shows: (.*?) -->", page):
            check("GUIDE.md", "" if re.search(line, ran.stdout) else f"nothing like: {line}\n{ran.stdout[-3000:]}")


for test in sys.argv[1:] or ["ext_examples", "man_pages", "links", "doxygen", "guide"]:
    globals()[test]()
sys.exit(checks.finish())
