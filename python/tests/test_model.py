import ctypes
import gc
import logging
import math
import pickle
from pathlib import Path

import numpy as np
import pytest

import cllm
from cllm import _library


def test_files(trained: cllm.Model, tmp_path: Path) -> None:
    trained.save(tmp_path / "model.cllm")
    with cllm.Model(tmp_path / "model.cllm") as model:
        assert (model.weights == trained.weights).all()
        assert model.generate("red", greedy=True) == trained.generate("red", greedy=True)
        assert model.tokenizer.decode(model.tokenizer.encode("red blue")) == "red blue"
    with pytest.raises(cllm.Error, match="closed"):
        model.save(tmp_path / "other.cllm")
    (tmp_path / "model.cllm").write_bytes((tmp_path / "model.cllm").read_bytes()[:-100])
    with pytest.raises(cllm.Error, match="^cllm_read_model: .*model.cllm"):
        cllm.Model(tmp_path / "model.cllm")
    with pytest.raises(ValueError):
        cllm.Model("a\0b")


def test_pickle(trained: cllm.Model) -> None:
    model = pickle.loads(pickle.dumps(trained))
    assert (model.weights == trained.weights).all()
    assert model.generate("red", greedy=True) == trained.generate("red", greedy=True)


def test_arrays_are_the_weights() -> None:
    model = cllm.Model.new(20, width=8, layers=2, heads=2, context=4, seed=1)
    named, weights = model.named_weights(), model.weights
    assert np.shares_memory(model.embeddings, weights) and model.embeddings.shape == (20, 8)
    assert sum(part.size for name, part in named.items() if name != "positions") == weights.size
    assert named["layers.1.w1"].shape == (32, 8) and named["layers.0.query"].shape == (8, 8)
    assert (named["layers.1.norm2.gamma"] == 1).all() and (named["layers.0.norm1.beta"] == 0).all()
    assert named["positions"].shape == (4, 8)
    with model.generator() as generator:
        before = generator.logits([1, 2]).copy()
        model.embeddings[3] = 2 * model.embeddings[3] + 1
        generator.forget()
        after = generator.logits([1, 2])
    assert before[3] != after[3] and before[4] == after[4]


def test_modern_models() -> None:
    model = cllm.Model.new(20, width=8, layers=2, heads=2, context=4, seed=1, block="modern")
    assert model.weights.size == model.num_weights and model.embeddings.shape == (20, 8)
    assert np.shares_memory(model.embeddings, model.weights)
    named = model.named_weights()
    assert sorted(name for name in named if name.startswith("layers.1")) == [
        f"layers.1.{part}" for part in ("key", "output", "query", "value", "w1", "w2")]
    assert sum(part.size for part in named.values()) == model.num_parameters < model.num_weights
    assert str(model.num_parameters) in repr(model)
    # The matrices after attention begin as zeros; nothing but the embeddings counts without them and w2.
    assert not named["layers.0.output"].any() and np.shares_memory(named["layers.0.output"], model.weights)
    with model.generator() as generator:
        before = generator.logits([1, 2]).copy()
        named["layers.1.output"][:] = np.eye(8)
        generator.forget()
        assert not (generator.logits([1, 2]) == before).all()
    with model.generator() as generator:
        assert np.isfinite(generator.logits([1, 2, 3, 4, 5, 6])).all()
    with pytest.raises(cllm.Error, match="cllm_create_modern_model"):
        cllm.Model.new(20, width=6, heads=2, block="modern")
    with pytest.raises(ValueError, match="original or modern"):
        cllm.Model.new(20, block="new")


def test_an_array_keeps_the_memory() -> None:
    model = cllm.Model.new(2000, width=64, seed=1)
    weights, copy = model.weights, model.weights.copy()
    model.close()
    del model
    gc.collect()
    others = [cllm.Model.new(2000, width=64, seed=i) for i in range(2, 5)]
    assert (weights == copy).all() and not (others[0].weights == copy).all()


def test_8_bit_weights(trained: cllm.Model, tmp_path: Path) -> None:
    assert not trained.is_quantized
    small = trained.quantize()
    assert small.is_quantized and "8-bit" in repr(small) and small.num_weights == 0
    small.save(tmp_path / "small.cllm")
    trained.save(tmp_path / "full.cllm")
    sizes = [(tmp_path / name).stat().st_size for name in ("small.cllm", "full.cllm")]
    assert sizes[0] < sizes[1]
    with cllm.Model(tmp_path / "small.cllm") as read:
        assert read.is_quantized and read.generate("red", greedy=True) == small.generate("red", greedy=True)
    text = "red orange yellow green blue violet"
    loss = trained.evaluate(text).nats_per_token
    assert math.isclose(small.evaluate(text).nats_per_token, loss, rel_tol=0.05, abs_tol=0.02)
    with pytest.raises(cllm.Error, match="cllm_expand_model"):
        cllm.Trainer(small, text)
    with pytest.raises(cllm.Error, match="no such weights"):
        small.weights
    full = small.expand()
    assert not full.is_quantized and full.weights.size == trained.weights.size
    assert np.abs(full.weights - trained.weights).max() < 0.02 * np.abs(trained.weights).max()
    with pytest.raises(cllm.Error, match="holds floats already"):
        full.expand()


def test_a_mapped_file(trained: cllm.Model, tmp_path: Path) -> None:
    path = tmp_path / "model.cllm"
    trained.save(path)
    with cllm.Model.map(path) as model:
        assert model.is_mapped and not trained.is_mapped and "mapped" in repr(model)
        model.verify()
        assert model.generate("red", greedy=True) == trained.generate("red", greedy=True)
        path.unlink()
        assert model.score("red orange") == trained.score("red orange")
        with pytest.raises(cllm.Error, match="cllm_read_model"):
            cllm.Trainer(model, "red orange yellow")
    with pytest.raises(cllm.Error, match="in memory"):
        trained.verify()
    with pytest.raises(cllm.Error, match="model.cllm"):
        cllm.Model.map(path)


def test_seeds_and_sizes() -> None:
    one, two, other = (cllm.Model.new(10, width=8, heads=2, seed=seed) for seed in (1, 1, 2))
    assert (one.weights == two.weights).all() and not (one.weights == other.weights).all()
    assert (one.vocab_size, one.width, one.layers, one.context) == (10, 8, 4, 128)
    with pytest.raises(cllm.Error, match="cllm_create_model_seeded"):
        cllm.Model.new(10, width=7, heads=2)
    with pytest.raises(ValueError):
        cllm.Model.new(-1)


def test_scores(trained: cllm.Model) -> None:
    good, bad = trained.score("red orange yellow green"), trained.score("green red green red")
    assert good.nats < bad.nats and good.tokens == 3 and good.bytes == 23
    assert math.isclose(good.bits_per_byte, good.nats / math.log(2) / 23)
    with trained.generator() as generator:
        log_probs, ranks = generator.score_tokens("red orange yellow green")
    assert list(ranks) == [0, 1, 1, 1] and math.isclose(-log_probs.sum(), good.nats, rel_tol=1e-5)
    assert trained.evaluate("red orange yellow green blue violet").perplexity < 3
    assert math.isnan(trained.evaluate([5, 6, 7]).bits_per_byte)


def test_embeddings_of_texts(trained: cllm.Model) -> None:
    with trained.generator() as generator:
        hidden = generator.hidden_states("red orange yellow")
        mean, last = generator.embed("red orange yellow"), generator.embed("red orange yellow", pooling="last")
        logits = generator.logits("red orange yellow")
    assert hidden.shape == (3, 32)
    np.testing.assert_allclose(mean, hidden.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(last, hidden[-1], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(trained.embeddings @ hidden[-1], logits, rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError):
        trained.embed("red", pooling="max")


def test_warnings_are_logged(caplog: pytest.LogCaptureFixture, trained: cllm.Model) -> None:
    with caplog.at_level(logging.WARNING, "cllm"):
        trained.evaluate([5, 6, 999])
    assert any(record.name == "cllm" for record in caplog.records)


def test_weights_that_are_not_there() -> None:
    with pytest.raises(cllm.Error, match="no such weights"):
        _library.view(ctypes.POINTER(ctypes.c_float)(), (1,), None)
