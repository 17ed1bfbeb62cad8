#!/usr/bin/env python3
"""Writes hostile.c: every exported function called with NULL for each pointer in turn, with
hostile numbers for each number, with absurd strings and files, with objects whose fields are
NULL or hostile, and with handles that were freed.

Usage: hostile.py OUTPUT. The API is what the headers say (interface.py): prototypes, which pointers
may be NULL, what a failed call returns. hostile_rules.py has the rest."""

import sys
from pathlib import Path

import interface
from hostile_rules import (BORROWED, BYTES, EMPTY_IS_FINE, FILES, LONG_WORK, NOT_SIZES, NUMBERS, NUMBERS_OF,
                           PRINTS, QUIET, REFUSED, RELEASES, SHARED, SIZES)

OBJECTS = {
    "CLLMModel*": "model", "CLLMInference*": "inference", "CLLMTraining*": "training",
    "CLLMTokenizer*": "tokenizer", "CLLMDataLoader*": "loader", "TokenDataset*": "dataset",
    "CLLMBatch*": "batch", "CLLMBatchIterator*": "iterator",
    "ThreadedTrainingSystem*": "train_system", "ValidationSet*": "validation",
    "CLLMTexts*": "texts", "CLLMTokenFile*": "token_file",
    "EarlyStoppingState*": "stopping", "LRScheduler*": "scheduler",
    "TrainingMetrics*": "metrics", "CLLMConfig*": "config", "AttentionLayer*": "attention",
    "FeedForwardLayer*": "feedforward", "CLLMLayerNorm*": "norm",
    "PositionalEncoding*": "positions", "Embeddings*": "embeddings",
    "CLLMTrainingConfig*": "training_config", "CompleteTrainingConfig*": "complete_config",
    "CLLMMetrics*": "live_metrics", "HierarchicalTrainingSystem*": "hierarchy",
    "OptimizerState*": "optimizer", "OptimizerConfig*": "optimizer_config",
    "CLLMHeader*": "header", "CLLMToken*": "token", "CLLMLatticePoint*": "points",
}
INITS = {"cllm_attention_init": "raw_attention", "cllm_feedforward_init": "raw_feedforward",
         "cllm_layer_norm_init": "raw_norm"}
ARRAYS = {"float*": "floats", "double*": "doubles", "uint32_t*": "ids", "uint16_t*": "halves",
          "int*": "ints", "uint64_t*": "primes", "char*": "chars",
          "uint8_t**": "blocks", "uint8_t*": "bytes", "void*": "bytes", "size_t*": "sizes",
          "bool*": "bools", "ThreadMetrics**": "entries",
          "CLLMScore*": "score", "CLLMTrainingOptions*": "training_options",
          "CLLMCommunicator*": "communicator", "CLLMRecipe*": "recipe", "IndexProb*": "choices",
          "char*const*": "paths"}
CALLBACKS = {"CLLMTokenCallback": "on_token", "CLLMLogCallback": "on_log",
             "CLLMProgressCallback": "on_progress", "CLLMFileCallback": "on_file", "CLLMPathCallback": "on_path",
             "CLLMWordCallback": "on_word", "CLLMAllowedCallback": "on_allowed",
             "CLLMMetricsCallback": "on_metrics", "CLLMTokenizerCallback": "on_merge",
             "CLLMBytesCallback": "on_bytes"}
# How to release what a function returns.
RESULTS = {
    "CLLMModel*": "cllm_free_model(r);", "CLLMInference*": "cllm_inference_cleanup(r);",
    "CLLMTraining*": "cllm_training_free(r);", "CLLMTokenizer*": "cllm_free_tokenizer(r);",
    "CLLMDataLoader*": "cllm_data_loader_free(r);", "TokenDataset*": "cllm_token_dataset_free(r);",
    "CLLMBatch*": "cllm_batch_free(r);", "CLLMBatchIterator*": "cllm_batch_iterator_free(r);",
    "ThreadedTrainingSystem*": "threaded_training_free(r);", "CLLMTexts*": "cllm_texts_free(r);",
    "CLLMTokenFile*": "cllm_token_file_free(r);",
    "CLLMMetrics*": "cllm_metrics_free(r);",
    "HierarchicalTrainingSystem*": "hierarchical_training_free(r);",
    "ValidationSet*": "free_validation_set(r);", "TrainingMetrics*": "free_training_metrics(r);",
    "CLLMConfig*": "cllm_free_config(r);", "EarlyStoppingState*": "free(r);",
    "LRScheduler*": "free(r);", "OptimizerState*": "optimizer_free(r);", "uint32_t*": "free(r);", "char*": "free(r);",
}
HOSTILE = {
    "int": ["0", "-1", "INT_MIN", "INT_MAX"],
    "uint32_t": ["0", "1", "0x80000000u", "(uint32_t)INT_MAX", "UINT32_MAX"],
    "unsigned int": ["0", "0x80000000u", "UINT_MAX"],
    "uint64_t": ["0", "1", "INT_MAX", "(uint64_t)INT64_MAX", "UINT64_MAX"],
    "size_t": ["0", "INT_MAX", "SIZE_MAX / 4 + 1", "SIZE_MAX"],
    "float": ["0.0f", "-1.0f", "FLT_MAX", "-FLT_MAX", "NAN", "INFINITY", "-INFINITY"],
    "double": ["0.0", "-1.0", "DBL_MAX", "-DBL_MAX", "(double)NAN", "(double)INFINITY",
               "(double)-INFINITY"],
    "bool": ["true", "false"],
    "ThreadState": ["0", "5", "(ThreadState)UINT_MAX"],
    "OptimizerType": ["0", "6", "7", "(OptimizerType)-1"],
}
# Numbers above what any array of the test holds.
TOO_LARGE = {"INT_MAX", "0x80000000u", "(uint32_t)INT_MAX", "UINT32_MAX", "(uint64_t)INT64_MAX",
             "UINT64_MAX"}
NOT_POSITIVE = {"0", "-1", "INT_MIN"}
STRINGS = ['""', '" \\t\\n"', "LONG_STRING", '"\\xff\\xfe\\x80"', '"%s%n%d"']
PATHS = ['""', '"no/such/file"', "LONG_STRING", '"."', '"empty"', '"garbage"', '"/dev/null/x"']


def bare(kind):
    return kind.removeprefix("const ")


def is_number(kind):
    return kind in HOSTILE


def is_size(function, name, kind, has_array):
    if (function.name, name) in NOT_SIZES or kind not in HOSTILE or kind in ("float", "double"):
        return False
    return has_array and name in SIZES


def valid(function, kind, name):
    """A good argument."""
    if (function.name, name) in NUMBERS_OF or is_number(kind):
        if kind == "bool":
            return "true"
        default = NUMBERS.get(name, 0.5 if kind in ("float", "double") else 2)
        return str(NUMBERS_OF.get((function.name, name), default))
    if kind == "const char*":
        file = FILES.get(function.name, "the cat sat")
        return '"%s"' % FILES.get((function.name, name), file)
    if kind == "void*":
        return name + "()" if name in ("model", "training") else "NULL"
    kind = bare(kind)
    if kind in CALLBACKS:
        return CALLBACKS[kind]
    if kind in OBJECTS:
        maker = INITS.get(function.name, OBJECTS[kind])
        return maker + "()"
    return ARRAYS[kind] + "()"


class Writer:
    def __init__(self):
        self.lines = []
        self.skipped = []

    def skip(self, function, name, value, reason):
        self.skipped.append("%s(%s = %s): %s" % (function.name, name, value, reason))

    def call(self, function, changes, label, checks=(), before=(), stale=None, release=True):
        """One call: good arguments except for `changes`. `release`: what it returned is freed,
        what it freed is forgotten."""
        names = [name for _, name in function.params]
        out = self.lines.append
        out("    {")
        out('        start("%s(%s)");' % (function.name, label.replace('"', "'")))
        # Arguments first: an object that one of them needs may be another argument itself.
        for i, (kind, name) in enumerate(function.params):
            value = changes.get(name, valid(function, kind, name))
            declared = kind + ("" if kind.endswith("*") else " ")
            out("        %sa%d = %s;" % (declared, i, value))
            if bare(kind) == "uint64_t" and value.startswith('"'):
                raise ValueError(function)
        if function.header == "cllm_model_manager.h":
            out("        managed_file();" if function.name == "model_manager_init" else "        managed();")
        for line in before:
            out("        " + line)
        arguments = ", ".join("a%d" % i for i in range(len(names)))
        result = function.returns
        if result == "void":
            out("        %s(%s);" % (function.name, arguments))
        else:
            out("        %s r = %s(%s);" % (result, function.name, arguments))
            out("        (void)r;")
        for check in checks:
            out("        check(%s, \"%s\");" % (check, check.replace("\\", "\\\\").replace('"', "'")))
        if not release:
            return
        released = RELEASES.get(function.name)
        if released and (stale or names[0] not in changes):
            out("        w.%s = NULL;" % released)
        if result in RESULTS and function.name not in BORROWED:
            out("        " + RESULTS[result])

    def end(self):
        self.lines.append("        done();")
        self.lines.append("    }")


def failure(function, untouched=True):
    """What holds after a call that had to fail."""
    result = function.returns
    checks = ['reported("%s")' % function.name]
    if result == "void":
        if untouched:
            checks.append("untouched()")
    elif result == "BenchmarkResults":
        checks.append("zeroed(&r, sizeof r)")
    else:
        checks.append(function.failure())
    return checks


def pointer_cases(writer, function, has_array):
    sizes = {n: k for k, n in function.params if is_size(function, n, k, has_array)}
    for kind, name in function.params:
        if is_number(kind):
            continue
        key = (function.name, name)
        prints_or_frees = function.name in PRINTS or function.name in RELEASES
        checks = [] if name in function.optional() or prints_or_frees else failure(function)
        writer.call(function, {name: "NULL"}, name + " = NULL", checks)
        writer.end()
        # A NULL with absurd sizes: nothing of that size may be read first.
        for size, size_kind in sizes.items():
            if kind not in ("const char*",) and bare(kind) in ARRAYS and name not in function.optional():
                others = [n for k, n in function.params
                          if bare(k) in ARRAYS and n not in function.optional()]
                changes = {n: "NULL" for n in others}
                largest = {"int": "INT_MAX", "size_t": "SIZE_MAX"}.get(size_kind, "UINT32_MAX")
                changes[size] = largest
                if name == others[0]:
                    writer.call(function, changes, "NULL arrays, %s = %s" % (size, largest),
                                checks)
                    writer.end()
    everything = {n: "NULL" for k, n in function.params if not is_number(k)}
    if len(everything) > 1:
        writer.call(function, everything, "all NULL")
        writer.end()


def number_cases(writer, function, has_array):
    for kind, name in function.params:
        if not is_number(kind):
            continue
        key = (function.name, name)
        for value in HOSTILE[kind]:
            if LONG_WORK.get(key) and value not in NOT_POSITIVE:
                writer.skip(function, name, value, LONG_WORK[key])
                continue
            size = is_size(function, name, kind, has_array)
            if size and value in TOO_LARGE - ({"UINT64_MAX"} if kind == "size_t" else set()):
                writer.skip(function, name, value, "the program's array is not that long")
                continue
            checks = []
            refused = value in REFUSED.get(key, [])
            empty = size and value in NOT_POSITIVE and key not in EMPTY_IS_FINE
            if refused and name in QUIET:
                checks = failure(function)[1:]
            elif refused or (empty and value != "0"):
                checks = failure(function)
            elif empty:
                # Nothing to do may be an error or not; nothing is written either way.
                checks = failure(function)[1:]
            writer.call(function, {name: value}, "%s = %s" % (name, value), checks)
            writer.end()
    numbers = [(k, n) for k, n in function.params if is_number(k)]
    for which in ("0", "NAN", "largest"):
        changes = {}
        for kind, name in numbers:
            if which == "largest":
                if (is_size(function, name, kind, has_array)
                        or LONG_WORK.get((function.name, name))):
                    continue
                changes[name] = HOSTILE[kind][-1] if kind not in ("int",) else "INT_MAX"
            elif which == "NAN" and kind in ("float", "double"):
                changes[name] = "NAN"
            elif which == "0":
                changes[name] = "0"
        if len(changes) > 1:
            writer.call(function, changes, "all numbers " + which)
            writer.end()


def string_cases(writer, function):
    for kind, name in function.params:
        if kind != "const char*" or (function.name, name) in BYTES:
            continue
        path = function.name in FILES and name not in ("model_name", "description")
        for value in STRINGS + (PATHS if path else []):
            writer.call(function, {name: value}, "%s = %s" % (name, value.replace("\\", "\\\\")))
            writer.end()


def field_cases(writer, function):
    """Objects with NULL or hostile fields; put back before the object is freed."""
    if function.name in RELEASES or function.name in INITS:
        return
    if function.name == "cllm_create_config":
        return
    owners = {"CLLMInference": ["CLLMModel"], "CLLMTraining": ["CLLMModel"],
              "CLLMDataLoader": ["CLLMTokenizer"], "ThreadedTrainingSystem": ["CLLMTraining"],
              "HierarchicalTrainingSystem": ["CLLMTraining"]}
    for index, (kind, name) in enumerate(function.params):
        base = bare(kind).rstrip("*")
        if kind == "void*" and name == "model":
            base = "CLLMModel"
        for struct in [base] + owners.get(base, []):
            if struct not in SHARED or bare(kind) in ("float*",):
                continue
            access = "a%d->" % index
            if struct != base:
                access = {"CLLMModel": "w.model->", "CLLMTokenizer": "w.tokenizer->",
                          "CLLMTraining": "w.training->"}[struct]
            elif kind == "void*":
                access = "((CLLMModel *)a%d)->" % index
            one_field(writer, function, struct, access, kind.startswith("const "))


def one_field(writer, function, struct, access, const):
    def emit(field, value, pointer):
        target = access + field
        # The tables behind const structs are changed through the world's own pointer.
        if const:
            world = {"CLLMModel": "w.model->", "CLLMConfig": "w.config->",
                     "CLLMTokenizer": "w.tokenizer->", "OptimizerState": "w.optimizer->",
                     "OptimizerConfig": "w.optimizer_config->",
                     "CLLMMetrics": "w.live_metrics->"}.get(struct)
            if world is None:
                return
            target = world + field
        before = ["__typeof__(%s) kept = %s;" % (target, target), "%s = %s;" % (target, value)]
        writer.call(function, {}, "%s.%s = %s" % (struct, field, value), before=before)
        restore = "%s = kept;" % target
        if pointer:
            # A program's pointer that the library replaced is the object's now.
            replaced = "release(kept);"
            if (struct, field) == ("CLLMTraining", "tokens"):
                replaced = "release(%s); %s = kept;" % (target, target)
            restore = "if (!%s) %s = kept; else { %s }" % (target, target, replaced)
        writer.lines.append("        " + restore)
        writer.end()

    rules = SHARED[struct]
    for field in rules.get("pointers", []):
        emit(field, "NULL", True)
    for field in rules.get("sizes", []):
        emit(field, "0", False)
    for field in rules.get("ints", []):
        for value in ("0", "-1", "INT_MIN", "INT_MAX"):
            emit(field, value, False)
    for field in rules.get("huge", []):
        emit(field, "UINT32_MAX", False)
    for field in rules.get("floats", []):
        for value in ("NAN", "INFINITY", "-1.0f", "0.0f"):
            emit(field, value, False)


STALE = {"CLLMModel*": "cllm_free_model", "CLLMInference*": "cllm_inference_cleanup",
         "CLLMTraining*": "cllm_training_free", "CLLMTokenizer*": "cllm_free_tokenizer",
         "CLLMDataLoader*": "cllm_data_loader_free", "TokenDataset*": "cllm_token_dataset_free",
         "CLLMBatch*": "cllm_batch_free", "CLLMBatchIterator*": "cllm_batch_iterator_free",
         "ThreadedTrainingSystem*": "threaded_training_free", "CLLMTexts*": "cllm_texts_free",
         "CLLMTokenFile*": "cllm_token_file_free",
         "HierarchicalTrainingSystem*": "hierarchical_training_free",
         "ValidationSet*": "free_validation_set", "TrainingMetrics*": "free_training_metrics"}


def stale_cases(writer, function):
    """A handle that was freed: a message, not a crash."""
    for index, (kind, name) in enumerate(function.params):
        kind = bare(kind)
        if kind == "void*" and name == "model":
            kind = "CLLMModel*"
        if kind not in STALE:
            continue
        field = RELEASES[STALE[kind]]
        if kind == "CLLMModel*" and any(bare(k) in ("CLLMInference*", "CLLMTraining*")
                                        for k, _ in function.params):
            continue
        before = ["%s(w.%s);" % (STALE[kind], field), "w.%s = NULL;" % field]
        checks = [] if name in function.optional() else failure(function)
        writer.call(function, {}, name + " freed before", checks, before, stale=True)
        writer.end()
    # An object whose model was freed under it.
    for index, (kind, name) in enumerate(function.params):
        if bare(kind) in ("CLLMInference*", "CLLMTraining*"):
            writer.call(function, {}, "the model of %s freed before" % name,
                        before=["cllm_free_model(w.model);", "w.model = NULL;"])
            writer.end()


def main():
    functions = interface.functions()
    writer = Writer()
    text = ["/* Written by c_tests/hostile.py. */", '#include "hostile.h"', "",
            "static char LONG_STRING[70001];", "",
            "static void release(const void *p) { free((void *)(uintptr_t)p); }", ""]
    for function in functions:
        params = function.params
        # A model among the parameters may come from the same world as a context.
        has_array = any(bare(k) in ARRAYS or bare(k) == "CLLMLatticePoint*" for k, _ in params)
        writer.lines = ["static void test_%s(void) {" % function.name]
        writer.call(function, {}, "good arguments")
        writer.end()
        pointer_cases(writer, function, has_array)
        number_cases(writer, function, has_array)
        string_cases(writer, function)
        stale_cases(writer, function)
        writer.lines.append('    no_leaks("%s");' % function.name)
        field_cases(writer, function)
        writer.lines.append("}\n")
        text += writer.lines
    text.append("static const Function FUNCTIONS[] = {")
    for function in functions:
        name = function.name
        text.append('    {"%s", test_%s, %d},' % (name, name, name in PRINTS))
    text += ["};", "", "int main(int argc, char **argv) {",
             "    memset(LONG_STRING, 'a', sizeof LONG_STRING - 1);",
             "    return run_all(FUNCTIONS, sizeof FUNCTIONS / sizeof *FUNCTIONS,",
             "                   argc > 1 ? argv[1] : NULL);", "}", "",
             "/* Left out:"]
    text += [" * " + line for line in writer.skipped] + [" */"]
    Path(sys.argv[1]).write_text("\n".join(text) + "\n")
    print("%d calls left out, each with its reason at the end of the file" % len(writer.skipped))


if __name__ == "__main__":
    main()
