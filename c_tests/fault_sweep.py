#!/usr/bin/env python3
"""Writes fault_sweep.c: every exported function with good arguments, for fault_sweep.h to run while
points inside it fail. Usage: fault_sweep.py OUTPUT."""

import json
import sys
from pathlib import Path

import interface
from hostile import RESULTS, Writer, failure
from hostile_rules import BORROWED, PRINTS, RELEASES

# Without failure paths.
UNGUARDED = {"cllm_version", "cllm_last_error", "cllm_clear_error"}
# Models of up to 0.6 GB, benchmarks, whole trainings, files of a second's writing.
SLOW = {"cllm_create_medium_model", "cllm_create_large_model", "cllm_create_small_model",
        "cllm_run_benchmark_suite", "cllm_generate_performance_report", "cllm_measure_speed",
        "cllm_measure_speed_in", "train_quick"}
# What has to come before a call with good arguments.
GENERATED = 'cllm_generate_stream(a0, "one", on_token, NULL);'
KEPT = "cllm_training_evaluate(a0, ids(), 8, 1, NULL);"
# A tokenizer that is not of words, in the place of the world's.
SUBWORDS = ["static CLLMTokenizer *subwords;", "cllm_free_tokenizer(subwords);",
            "subwords = cllm_byte_tokenizer();"]
BEFORE = {
    "cllm_backward_training": ["cllm_forward_training(a0, ids());"],
    "cllm_continue_stream": [GENERATED],
    "cllm_inference_set_state": [
        GENERATED, "static uint8_t *state;", "free(state);",
        "cllm_inference_get_state(a0, &state, &a2), a1 = state;"],
    "cllm_inference_load_state": [
        GENERATED, 'cllm_inference_save_state(a0, "context.state");'],
    "cllm_expand_model": [
        "static CLLMModel *small;", "cllm_free_model(small);",
        "small = cllm_quantize_model(a0, 1), a0 = small;"],
    "cllm_texts_encode": SUBWORDS + [
        "a3 = subwords;", 'unlink("out.bin");'],
    "cllm_verify_model": [
        "static CLLMModel *mapped;", "cllm_free_model(mapped);",
        'mapped = cllm_map_model("model.cllm"), a0 = mapped;'],
    "cllm_write_tokenizer": SUBWORDS + ["a0 = subwords;"],
    "cllm_write_tokenizer_gpt2": [
        "static CLLMTokenizer *gpt2;", "cllm_free_tokenizer(gpt2);", "gpt2_files();",
        'gpt2 = cllm_read_tokenizer_gpt2("vocab.json", "merges.txt"), a0 = gpt2;'],
    "cllm_read_tokenizer_gpt2": ["gpt2_files();"],
    # The model's own words, and one more.
    "cllm_grow_vocab": [
        "static CLLMTokenizer *more;", "cllm_free_tokenizer(more);",
        "cllm_model_set_vocab(a0, a1);", "more = cllm_model_tokenizer(a0, 10000), a1 = more;",
        'if (more) cllm_add_token(more, "and");'],
    "model_manager_release_read": ["model_manager_acquire_read(a0);"],
    "model_manager_release_write": ["model_manager_acquire_write(a0);"],
    "model_manager_reload": ["model_manager_unload(a0);"],
    "cllm_training_use_best": [KEPT],
    "cllm_write_best_model": [KEPT],
    "train_complete": ["a1->use_lll = 0;"],  # warned about through the last error
    # So is a text for validation that is not there.
    "train_quick": [
        'mkdir("data", 0777), mkdir("data/training", 0777);',
        'cllm_write_file("data/training/validation.txt", "the cat sat on a mat ", 21);'],
}
# What failed calls return, where that is more than after other errors.
OUTCOMES = {
    "cllm_tokenizer_decode": "!r || r[0] == '\\0'",  # "" needs memory too
    "cllm_get_batch": "r <= 0",
    "create_default_complete_config": "r.num_epochs == 100",
    "optimizer_default_config": "r.learning_rate == 0.001f",
    "cllm_get_optimal_thread_count": "r == 1",
    "cllm_threads": "r == 1",
    # A training goes on without the validation that it has no memory for.
    "train_complete": "r == -1 || strstr(cllm_last_error(), \"no validation\")",
    "train_quick": "r == -1 || strstr(cllm_last_error(), \"no validation\")",
    # A file that can't be read is left out; a model that can't be written stays.
    "model_manager_init": "!r || !model_manager_exists(\"the cat sat\")",
    "model_manager_create": "!r || model_manager_exists(\"new\")",
    "cllm_get_version": "r && *r == '\\0'",
    "cllm_get_build_info": "r && strcmp(r, \"CLLM\") == 0",
}


def body(function):
    name = function.name
    writer = Writer()
    # A function that releases its argument, and fails, has not released it.
    released = RELEASES.get(name)
    before = BEFORE.get(name, []) + ["armed();"]
    writer.call(function, {}, "good arguments", before=before, release=False)
    lines = writer.lines
    lines.append('        disarmed("%s");' % name)
    if function.returns != "void":
        outcome = OUTCOMES.get(name) or failure(function)[-1]
        if name.startswith("prime_") and function.returns in ("float", "double"):
            outcome = "r != r"  # NaN
        lines.append("        if (reported_error) check(%s, \"an error value\");" % outcome)
    elif name not in PRINTS and not released:
        lines.append("        if (at_entry()) check(untouched(), \"nothing is written\");")
    if released:
        lines.append("        if (!reported_error) w.%s = NULL;" % released)
    if function.returns in RESULTS and name not in BORROWED:
        lines.append("        " + RESULTS[function.returns])
    writer.end()
    return lines


def gpt2_files():
    """A C function that writes the smallest vocab.json and merges.txt: the bytes, and one merge. GPT-2
    writes a byte that can't be seen as the next free character from U+0100 on."""
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = (byte for byte in range(256) if byte not in seen)
    symbols = [chr(byte) for byte in seen] + [chr(256 + i) for i, _ in enumerate(hidden)]
    vocab = json.dumps({token: i for i, token in enumerate(symbols + ["th"])})
    files = [("vocab.json", vocab), ("merges.txt", "#version: 0.2\nt h\n")]
    writes = ['    cllm_write_file("%s", %s, %d);' % (name, json.dumps(text), len(text))
              for name, text in files]
    return ["static void gpt2_files(void) {", *writes, "}", ""]


def main():
    functions = interface.functions()
    text = ["/* Written by c_tests/fault_sweep.py. */", '#include "fault_sweep.h"', ""]
    text += gpt2_files()
    for function in functions:
        text += ["static void run_%s(void) {" % function.name] + body(function) + ["}", ""]
    text.append("static const Function FUNCTIONS[] = {")
    for function in functions:
        name = function.name
        text.append('    {"%s", run_%s, %d, %d},' % (name, name, name in SLOW, name in UNGUARDED))
    text += ["};", "", "int main(int argc, char **argv) {",
             "    return sweep(FUNCTIONS, sizeof FUNCTIONS / sizeof *FUNCTIONS,",
             "                 argc > 1 ? argv[1] : NULL);", "}"]
    Path(sys.argv[1]).write_text("\n".join(text) + "\n")


main()
