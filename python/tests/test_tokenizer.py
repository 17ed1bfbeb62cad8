import pickle
from pathlib import Path

import numpy as np
import pytest

import cllm

PLAY = "ROMEO:\nIs the day so young?\n\nBENVOLIO:\nBut new struck nine.\n" * 4


def test_subwords_give_back_every_text() -> None:
    tokenizer = cllm.Tokenizer.train(PLAY, 300)
    assert tokenizer.kind == "subwords" and 261 < len(tokenizer) <= 300
    for text in (PLAY, "", "día\n\tⅫ 🙂", "a\0b"):
        ids = tokenizer.encode(text)
        assert ids.dtype == np.uint32 and tokenizer.decode(ids) == text
    assert len(tokenizer.encode(PLAY)) < len(PLAY.encode()) / 2
    assert tokenizer.decode_bytes(tokenizer.encode(b"\xff\x00")) == b"\xff\x00"


def test_words() -> None:
    tokenizer = cllm.Tokenizer.words("The cat sat . The dog")
    assert tokenizer.kind == "words"
    assert tokenizer.decode(tokenizer.encode("the  CAT")) == "the cat"
    with pytest.raises(cllm.Error, match="words|subwords|vocab"):
        tokenizer.write("/nonexistent/tokenizer.json")


def test_special_tokens() -> None:
    tokenizer = cllm.Tokenizer.from_bytes()
    end = tokenizer.end_token
    assert len(tokenizer) == 261 and end is not None and tokenizer.is_special(end)
    name = tokenizer.token(end).decode()
    assert list(tokenizer.encode(name, specials=True)) == [end]
    assert end not in tokenizer.encode(name)
    assert tokenizer.decode([end]) == "" and tokenizer.decode([end], specials=True) == name
    assert not tokenizer.is_special(-1)
    with pytest.raises(IndexError):
        tokenizer.token(261)


@pytest.mark.parametrize("name", ["tokenizer.json", "vocab.txt"])
def test_files(tmp_path: Path, name: str) -> None:
    tokenizer = (cllm.Tokenizer.train(PLAY, 290) if name.endswith("json") else cllm.Tokenizer.words(PLAY))
    tokenizer.write(tmp_path / name)
    for other in (cllm.Tokenizer.read(tmp_path / name), pickle.loads(pickle.dumps(tokenizer))):
        assert list(other.encode(PLAY)) == list(tokenizer.encode(PLAY))
        assert other.kind == tokenizer.kind


def test_training_from_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(PLAY)
    assert list(cllm.Tokenizer.train_files(tmp_path, 300).encode(PLAY)) == list(
        cllm.Tokenizer.train(PLAY, 300).encode(PLAY))
    with pytest.raises(cllm.Error, match="missing"):
        cllm.Tokenizer.train_files([tmp_path / "missing"])


def test_the_array_outlives_the_tokenizer() -> None:
    with cllm.Tokenizer.from_bytes() as tokenizer:
        ids = tokenizer.encode("abc")
    assert len(ids) == 3 and len(set(ids)) == 3
    with pytest.raises(cllm.Error, match="closed"):
        tokenizer.encode("abc")


@pytest.mark.parametrize("ids", [[-1], [1.5], [[1]], [2**32]])
def test_ids_that_are_none(ids: object) -> None:
    with pytest.raises(ValueError):
        cllm.Tokenizer.from_bytes().decode(ids)  # type: ignore[arg-type]
