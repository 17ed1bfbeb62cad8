import pickle
import threading
import time
from typing import List

import numpy as np
import pytest

import cllm


def test_text(trained: cllm.Model) -> None:
    assert trained.generate("red orange", greedy=True, max_tokens=3) == " yellow green blue"
    assert list(trained.stream("red", greedy=True, max_tokens=2)) == [" orange", " yellow"]


def test_the_stream_goes_on() -> None:
    # Its first weights know no text, so that what is drawn depends on the seed.
    model = cllm.Model.new(cllm.Tokenizer.words("a b c d e f g h"), width=16, heads=2, context=16)

    def generator() -> cllm.Generator:
        return model.generator(seed=5, max_tokens=30)

    whole = generator().generate("a")
    parts = generator()
    begun = parts.stream("a")
    first = [next(begun) for _ in range(4)]
    assert "".join(first) + parts.generate(None, 26) == whole
    assert generator().generate("a") == whole
    assert model.generate("a", seed=6, max_tokens=30) != whole


def test_pieces_are_whole_characters() -> None:
    tokenizer = cllm.Tokenizer.from_bytes()
    model = cllm.Model.new(tokenizer, width=32, layers=1, heads=2, context=16, seed=1)
    with cllm.Trainer(model, "día año señor " * 40, batch_size=4, learning_rate=0.01) as trainer:
        trainer.train(40)
    pieces = list(model.stream("día a", greedy=True, max_tokens=20))
    assert "".join(pieces).startswith("ño señor") and "\ufffd" not in "".join(pieces)
    assert all(pieces)


def test_state_and_pickle(trained: cllm.Model) -> None:
    generator = trained.generator(seed=1, temperature=2, max_tokens=20)
    generator.generate("red", 5)
    other = pickle.loads(pickle.dumps(generator))
    assert other.generate(None) == generator.generate(None)
    with pytest.raises(cllm.Error):
        generator.set_state(b"nonsense")


def test_next(trained: cllm.Model) -> None:
    with trained.generator() as generator:
        ids, probabilities = generator.next_tokens("red orange", 3)
        assert trained.tokenizer.decode(ids[:1]) == "yellow"
        assert probabilities[0] > 0.5 and (np.diff(probabilities) <= 0).all()
        word, probability = generator.next_words("red orange", 2)[0]
        assert trained.next_words("red orange", 2)[0] == (word, probability)
        assert word == " yellow" and probability > 0.5
        assert int(generator.logits("red orange").argmax()) == ids[0]


def test_allowed_tokens(trained: cllm.Model) -> None:
    blue = trained.tokenizer.encode("blue")
    assert trained.generate("red", allowed_tokens=blue, max_tokens=2) == " blue blue"


def test_wrong_arguments(trained: cllm.Model) -> None:
    for settings in ({"max_tokens": 0}, {"temperature": -1}, {"top_p": 2}, {"temperature": float("nan")}):
        with pytest.raises(ValueError):
            trained.generator(**settings)
    with pytest.raises(cllm.Error):
        trained.generator(min_p=7)
    with trained.generator() as generator:
        with pytest.raises(ValueError):
            generator.generate("a\0b")
        with pytest.raises(cllm.Error, match="cllm_forward"):
            generator.logits([10**6])
    with pytest.raises(cllm.Error, match="closed"):
        generator.generate("red")


def test_the_model_lives_as_long_as_its_generators(trained: cllm.Model) -> None:
    model = pickle.loads(pickle.dumps(trained))
    generator = model.generator(greedy=True, max_tokens=1)
    logits = generator.logits("red")
    copy = logits.copy()
    model.close()
    del model
    assert generator.generate("red") == " orange"
    generator.close()
    del generator
    assert logits.shape == copy.shape and float(logits.sum()) is not None


def test_threads(trained: cllm.Model) -> None:
    want = trained.generate("red", seed=1, temperature=2)
    got: List[str] = []
    workers = [threading.Thread(
        target=lambda: got.append(trained.generate("red", seed=1, temperature=2))) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert got == 4 * [want]


def test_the_interpreter_runs_meanwhile() -> None:
    model = cllm.Model.new(2000, width=256, layers=4, context=256)
    done = threading.Event()

    def work() -> None:
        model.score(np.arange(1500) % 2000, threads=1)
        done.set()

    worker = threading.Thread(target=work)
    ticks = 0
    worker.start()
    while not done.is_set():
        time.sleep(0.001)
        ticks += 1
    worker.join()
    assert ticks > 10
