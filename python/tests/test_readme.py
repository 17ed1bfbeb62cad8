"""The examples of the documents run, one after the other."""

import re
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, Dict, List

import pytest

import cllm


def test_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The package brings its README.md along, so this runs without the tree, too.
    readme = distribution("cllm").read_text("METADATA") or ""
    examples = re.findall(r"(?ms)^```python\n(.*?)^```", readme)
    assert len(examples) == 5
    monkeypatch.chdir(tmp_path)
    for folder, text in (("texts", "the cat sat on the mat. the dog ran.\n"), ("today", "the cow came.\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "old.txt").write_text(text * 60)
    names: Dict[str, Any] = {}
    for example in examples:
        exec(example, names)
    assert (tmp_path / "model.cllm").is_file() and (tmp_path / "run.cllm").is_file()


def examples_of_the_tree(name: str) -> List[str]:
    page = Path(__file__).resolve().parents[2] / name
    if not page.is_file():
        pytest.skip("the tree is not here")
    found: List[str] = re.findall(r"(?ms)^```python\n(.*?)^```", page.read_text())
    return found


@pytest.mark.parametrize("page, model", [("README.md", "model.cllm"), ("docs/GUIDE.md", "other.cllm")])
def test_examples_of_the_tree(
    page: str, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (example,) = examples_of_the_tree(page)
    assert "minutes=5" in example
    monkeypatch.chdir(tmp_path)
    for folder in ("texts", "run"):
        (tmp_path / folder).mkdir()
    (tmp_path / "texts" / "a.txt").write_text("once upon a time there was a king.\n" * 60)
    cllm.Model.new(cllm.Tokenizer.from_bytes(), width=8, layers=1, heads=2).save("run/final_model.cllm")
    exec(example.replace("minutes=5", "minutes=0.02"), {})
    assert (tmp_path / model).is_file()
