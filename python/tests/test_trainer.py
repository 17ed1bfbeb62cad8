import logging
import os
import re
import signal
import pickle
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, List

import numpy as np
import pytest

import cllm

from conftest import TEXT


def new(seed: int = 3) -> cllm.Model:
    return cllm.Model.new(cllm.Tokenizer.words(TEXT), width=32, layers=1, heads=2, context=16, seed=seed)


def test_the_loss_falls_and_threads_change_nothing() -> None:
    models = [new(), new()]
    losses = []
    for model, threads in zip(models, (1, 2)):
        with cllm.Trainer(model, TEXT, batch_size=2, threads=threads) as trainer:
            first = trainer.train(1)
            losses.append(trainer.train(4))
            assert trainer.epoch == 5 and losses[-1] < first
            assert trainer.steps == 5 * trainer.steps_per_epoch and trainer.skipped_updates == 0
    assert losses[0] == losses[1] and (models[0].weights == models[1].weights).all()


def test_a_run_goes_on(tmp_path: Path) -> None:
    whole, part = new(), new()
    cllm.Trainer(whole, TEXT, batch_size=2).train(steps=30)
    trainer = cllm.Trainer(part, TEXT, batch_size=2)
    trainer.train(steps=17)
    trainer.save(tmp_path / "run.cllm")
    resumed = cllm.Model(tmp_path / "run.cllm")
    with cllm.Trainer(resumed, TEXT, batch_size=2) as again:
        again.load(tmp_path / "run.cllm")
        assert again.steps == 17
        again.train(steps=13)
    assert (resumed.weights == whole.weights).all()
    with pytest.raises(TypeError, match="save"):
        pickle.dumps(trainer)


def test_callback() -> None:
    model, steps = new(), []

    def watch(step: cllm.Step) -> bool:
        steps.append(step)
        model.generate("red", max_tokens=1)  # in the thread that trains
        return step.step < 5

    with cllm.Trainer(model, TEXT, warmup_steps=4, batch_size=2) as trainer:
        trainer.train(3, callback=watch)
        assert [step.step for step in steps] == [1, 2, 3, 4, 5]
        assert steps[0].learning_rate < steps[3].learning_rate == pytest.approx(1e-3)
        with pytest.raises(ZeroDivisionError):
            trainer.train(callback=lambda step: bool(1 // 0))
        assert trainer.steps == 6


def test_ctrl_c_ends_it_after_a_step() -> None:
    model = new()
    with cllm.Trainer(model, np.tile(model._tokens(TEXT), 20000), batch_size=8) as trainer:
        timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        begun = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            trainer.train(1)
        assert time.monotonic() - begun < 60
        steps = trainer.steps
        assert steps > 0
        trainer.train(steps=1)
        assert trainer.steps == steps + 1


def test_minutes_and_the_bar(capsys: pytest.CaptureFixture[str]) -> None:
    begun = time.monotonic()
    with cllm.Trainer(new(), TEXT) as trainer:
        trainer.train(minutes=0.01, progress=True)
    assert 0.6 <= time.monotonic() - begun < 60
    assert "loss" in capsys.readouterr().err
    with cllm.Trainer(new(), TEXT) as trainer:
        trainer.train(1, progress=False)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("slow", range(0, 800, 40))
def test_the_schedule_ends_when_the_minutes_do(slow: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # By a clock of its own, so that no machine is too slow: two milliseconds a step, and at first eight.
    readings = iter(range(10**9))
    clock = SimpleNamespace(monotonic=lambda: 1e-3 * ((n := next(readings)) + 3 * min(n, slow)))
    monkeypatch.setattr("cllm._trainer.time", clock)
    # A thousand times the steps that there is time for: the rate falls to nothing all the same.
    rates: List[float] = []
    with cllm.Trainer(new(), TEXT, batch_size=2, schedule="linear", schedule_steps=10_000_000) as trainer:
        begun = clock.monotonic()
        trainer.train(minutes=0.03, callback=lambda step: rates.append(step.learning_rate))
        took = clock.monotonic() - begun
        assert trainer.steps == trainer.schedule_end == len(rates)
    assert took == pytest.approx(1.8, rel=0.05)
    assert rates[0] == pytest.approx(1e-3) and rates[-1] < 0.05 * rates[0]
    assert all(later <= earlier for earlier, later in zip(rates, rates[1:]))


def test_the_best_weights() -> None:
    model = new()
    with cllm.Trainer(model, TEXT, batch_size=2, learning_rate=0.01) as trainer:
        with pytest.raises(cllm.Error, match="cllm_training_use_best"):
            trainer.use_best()
        trainer.train(steps=20)
        best, weights = trainer.evaluate(TEXT), model.weights.copy()
        model.weights[:] *= -1
        assert trainer.evaluate(TEXT) > best
        assert trainer.use_best() == 20 and (model.weights == weights).all()


def test_dynamic_evaluation_learns_on_the_way() -> None:
    scores, weights = [], []
    for threads in (1, 2):
        model = new()
        plain = model.evaluate(TEXT)
        with cllm.Trainer(model, TEXT, weight_decay=0, threads=threads) as trainer:
            before = model.weights.copy()
            still = trainer.dynamic_evaluation(TEXT, learning_rate=0, stride=16)
            assert trainer.steps == 0 and (model.weights == before).all()
            assert still.nats == pytest.approx(plain.nats, rel=1e-4) and still.bytes == len(TEXT.encode())
            scores.append(trainer.dynamic_evaluation(TEXT, learning_rate=1e-2))
            assert trainer.steps > 0 and scores[-1].nats < still.nats
            with pytest.raises(cllm.Error, match="stride"):
                trainer.dynamic_evaluation(TEXT, stride=17)
            with pytest.raises(cllm.Error, match="learning rate"):
                trainer.dynamic_evaluation(TEXT, learning_rate=-1)
            with pytest.raises(ValueError):
                trainer.dynamic_evaluation([-1, 2])
        weights.append(model.weights.copy())
    assert scores[0] == scores[1] and (weights[0] == weights[1]).all()


def test_options_count() -> None:
    first = [new() for _ in range(4)]
    half: Dict[str, object] = {"short_windows": 4, "short_part": 0.5, "schedule_steps": 8}
    for model, options in zip(first, ({}, {"shuffle": True}, {"dropout": 0.3, "seed": 4}, half)):
        with cllm.Trainer(model, TEXT, batch_size=2, **options) as trainer:  # type: ignore[arg-type]
            trainer.train(steps=8)
    assert not (first[0].weights == first[1].weights).all()
    assert not (first[0].weights == first[2].weights).all()
    assert not (first[0].weights == first[3].weights).all()
    with pytest.raises(cllm.Error, match="dropout"):
        cllm.Trainer(first[0], TEXT, dropout=1.5)
    with pytest.raises(cllm.Error, match="short_part"):
        cllm.Trainer(first[0], TEXT, short_windows=4, short_part=2)
    with pytest.raises(ValueError, match="precisions"):
        cllm.Trainer(first[0], TEXT, precision="f64")


def test_generating_while_another_thread_trains() -> None:
    model = new()
    texts: List[str] = []
    trainer = cllm.Trainer(model, TEXT, batch_size=2)
    worker = threading.Thread(target=lambda: trainer.train(5))
    worker.start()
    while worker.is_alive():
        texts.append(model.generate("red", max_tokens=2, greedy=True))
    worker.join()
    alone = new()
    cllm.Trainer(alone, TEXT, batch_size=2).train(5)
    assert texts and (alone.weights == model.weights).all()


def test_a_model_is_not_trained_by_what_reads_it() -> None:
    model = new()
    trainer = cllm.Trainer(model, TEXT)
    with model._lock.shared(), pytest.raises(RuntimeError, match="read"):
        trainer.step()
    assert trainer.step() is not None


def test_wrong_arguments() -> None:
    model = new()
    for options in ({"batch_size": 0}, {"schedule": "sudden"}, {"learning_rate": 0}, {"sequence_length": -1}):
        with pytest.raises(ValueError):
            cllm.Trainer(model, TEXT, **options)
    with pytest.raises(ValueError):
        cllm.Trainer(model, "")
    with pytest.raises(ValueError):
        cllm.Trainer(model, TEXT).train(minutes=0)
    with pytest.raises(cllm.Error):
        cllm.Trainer(model, "red").train()


def test_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("the cat sat on the mat. " * 100)
    (tmp_path / "b.txt").write_text("the dog ran to the log. " * 100, encoding="utf-16")
    small = {"width": 32, "layers": 1, "heads": 2, "context": 16, "tokenizer": 290, "batch_size": 4}
    one, two = (cllm.train(tmp_path, epochs=2, **small) for _ in range(2))  # type: ignore[arg-type]
    assert (one.weights == two.weights).all()
    assert cllm.train([tmp_path / "b.txt"], minutes=0.001, **small).generate("the")  # type: ignore[arg-type]
    other = cllm.train(tmp_path, epochs=2, seed=1, **small)  # type: ignore[arg-type]
    assert not (one.weights == other.weights).all()
    assert one.evaluate("the cat sat on the mat. " * 20).nats_per_token < 4
    with pytest.raises(ValueError, match="held_out"):
        cllm.train(tmp_path, held_out=1)
    with pytest.raises(ValueError, match="no text"):
        (tmp_path / "empty").mkdir()
        cllm.train(tmp_path / "empty")
    with pytest.raises(OSError):
        cllm.train(tmp_path / "missing.txt")


def test_a_model_by_minutes(tmp_path: Path) -> None:
    words = np.random.default_rng(1).choice(["red", "green", "blue", "one", "two", "three"], 20000)
    (tmp_path / "a.txt").write_text(" ".join(words))
    begun = time.monotonic()
    model = cllm.train(tmp_path / "a.txt", minutes=0.1)
    # Half a second of them goes into measuring the machine. A busy machine may be late, not early.
    assert 4 < time.monotonic() - begun < 120
    # With the space before the first word, as everywhere in the text but at its beginning: the bytes of a word
    # without one have never been seen, and cost what they like.
    score = model.score(" " + " ".join(words[-200:]))
    assert score.bits_per_byte < 1  # six words, each as likely: 2.58 bits for 4.8 bytes on average


def the_plan(*arguments: Any, **options: Any) -> str:
    """What the recipe chose for a run, which does not begin."""

    class Stop(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            raise InterruptedError(record.getMessage())

    logger, stop = logging.getLogger("cllm"), Stop()
    before = logger.level
    logger.setLevel(logging.INFO)
    logger.addFilter(stop)
    try:
        with pytest.raises(InterruptedError) as stopped:
            cllm.train(*arguments, **options)
    finally:
        logger.removeFilter(stop)
        logger.setLevel(before)
    return str(stopped.value)


def test_sizes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.txt").write_text("the cat sat on the mat. " * 100)
    with caplog.at_level(logging.INFO, "cllm"):
        model = cllm.train(tmp_path, size="small", layers=1, context=16, epochs=1)
    assert (model.width, model.layers) == (128, 1)
    assert "width 128, 1 layer" in caplog.text and "0.9 epochs" in caplog.text
    assert "as asked for" not in caplog.text
    # Without epochs and minutes it is as long as the weights want: three tokens for each.
    plan = the_plan(tmp_path, size="large")
    epochs = re.search(r"([0-9.]+) epochs", plan)
    assert epochs is not None and float(epochs[1]) > 1000 and "width 384" in plan
    assert " 3.1 epochs" in the_plan(tmp_path, size="large", epochs=3)
    for wrong in ({"size": "huge"}, {"size": "small", "width": 64}):
        with pytest.raises(ValueError, match="small, medium, large"):
            cllm.train(tmp_path, **wrong)
    with pytest.raises(ValueError, match="whole"):
        cllm.train(tmp_path, epochs=1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no texts"):
        cllm.train([])


def test_a_model_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    old, new = "the cat sat on the mat. " * 100, "a bird flew over all the houses. " * 60
    (tmp_path / "old.txt").write_text(old)
    (tmp_path / "new.txt").write_text(new)

    def rate() -> float:
        rates = re.findall(r"rate ([0-9.]+)", caplog.text)
        caplog.clear()
        return float(rates[-1])

    with caplog.at_level(logging.INFO, "cllm"):
        model = cllm.train(tmp_path / "old.txt", epochs=4, width=32, layers=2, heads=2, context=16, batch_size=4)
        first, before = rate(), model.score(new).bits_per_byte
        same = cllm.train(tmp_path / "new.txt", epochs=4, model=model, batch_size=4)
        assert rate() == pytest.approx(first / 3, abs=1e-4)
    assert same is model and (model.width, model.layers, model.heads, model.context) == (32, 2, 2, 16)
    assert model.score(new).bits_per_byte < before
    with pytest.raises(ValueError, match="goes on"):
        cllm.train(tmp_path / "new.txt", model=model, size="small")
