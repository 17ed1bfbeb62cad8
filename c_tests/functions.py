#!/usr/bin/env python3
"""Brings functions.json up to date with include/cllm.h and include/cllm_ext.h, after a function was
added to them. The prototypes of the other headers are recorded ones, and stay."""

import json
import re
from pathlib import Path

HERE = Path(__file__).parent
GROWING = ["cllm.h", "cllm_ext.h"]


def prototypes(header):
    text = (HERE.parent / "include" / header).read_text()
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    text = re.sub(r"//[^\n]*", "", text)
    text = re.sub(r"^#.*$", "", text[text.index('extern "C" {'):], flags=re.M)
    for statement in text.replace('extern "C" {', "").replace("struct ", "").split(";"):
        found = re.match(r"^(.*?)(\w+)\((.*)\)$", " ".join(statement.split()))
        if not found:
            continue
        returns, name, arguments = found.groups()
        params = []
        for argument in arguments.split(",") if arguments != "void" else []:
            kind, parameter = re.match(r"^(.*?)(\w+)$", argument.strip()).groups()
            params.append([kind.strip().replace(" *", "*"), parameter])
        yield {"header": header, "name": name, "returns": returns.strip().replace(" *", "*"),
               "params": params}


functions = json.loads((HERE / "functions.json").read_text())
functions = [f for f in functions if f["header"] not in GROWING]
for header in GROWING:
    functions += prototypes(header)
lines = ",\n".join(json.dumps(f) for f in functions)
(HERE / "functions.json").write_text("[\n%s\n]\n" % lines)
