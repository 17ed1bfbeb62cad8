"""The structs of the package are those of the headers."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

from cllm import _structs as s

INCLUDE = Path(__file__).resolve().parents[2] / "include"
STRUCTS = {
    "CLLMConfig": s.Config, "CLLMHeader": s.Header, "Embeddings": s.Embeddings,
    "AttentionLayer": s.AttentionLayer, "FeedForwardLayer": s.FeedForwardLayer,
    "CLLMLayerNorm": s.LayerNorm, "PositionalEncoding": s.PositionalEncoding,
    "TrainingMetadata": s.TrainingMetadata, "CLLMModel": s.Model, "CLLMInference": s.Inference,
    "IndexProb": s.IndexProb, "CLLMScore": s.Score, "CLLMTrainingConfig": s.TrainingConfig,
    "CLLMTraining": s.Training, "CLLMRecipe": s.Recipe, "CLLMTrainingOptions": s.TrainingOptions}
BEGINNING = ["CLLMTraining"]  # of which the package knows the first fields


@pytest.mark.skipif(
    shutil.which("cc") is None or not INCLUDE.is_dir(), reason="needs a C compiler and the headers")
def test_layout(tmp_path: Path) -> None:
    lines = ['#include "cllm_ext.h"', "#include <stddef.h>"]
    for name, struct in STRUCTS.items():
        if name not in BEGINNING:
            lines.append(f'_Static_assert(sizeof({name}) == {ctypes.sizeof(struct)}, "{name}");')
        for field, *_ in struct._fields_:
            where = getattr(struct, field)
            lines.append(f"_Static_assert(offsetof({name}, {field}) == {where.offset} && "
                         f'sizeof((({name} *)0)->{field}) == {where.size}, "{name}.{field}");')
    source = tmp_path / "layout.c"
    source.write_text("\n".join(lines))
    subprocess.run(["cc", "-std=c11", f"-I{INCLUDE}", "-fsyntax-only", str(source)], check=True)
