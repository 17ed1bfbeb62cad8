"""The examples of the README run, one after the other."""

import re
from pathlib import Path
from typing import Any, Dict

import pytest


def test_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = Path(__file__).resolve().parents[1] / "README.md"
    examples = re.findall(r"(?ms)^```python\n(.*?)^```", readme.read_text())
    assert len(examples) == 4
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("the cat sat on the mat. the dog ran.\n" * 60)
    names: Dict[str, Any] = {}
    for example in examples:
        exec(example, names)
    assert (tmp_path / "model.cllm").is_file() and (tmp_path / "run.cllm").is_file()


def test_example_of_the_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = Path(__file__).resolve().parents[2] / "README.md"
    if not readme.is_file():
        pytest.skip("the tree is not here")
    (example,) = re.findall(r"(?ms)^```python\n(.*?)^```", readme.read_text())
    assert "minutes=5" in example
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("once upon a time there was a king.\n" * 60)
    exec(example.replace("minutes=5", "minutes=0.005"), {})
    assert (tmp_path / "model.cllm").is_file()
