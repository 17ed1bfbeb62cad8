"""What many tests use: a small model that has learned six colours."""

import pytest

import cllm

TEXT = "red orange yellow green blue violet . " * 60


@pytest.fixture(scope="session")
def trained() -> cllm.Model:
    """Not to be changed by a test."""
    model = cllm.Model.new(cllm.Tokenizer.words(TEXT), width=32, layers=2, heads=2, context=16, seed=3)
    with cllm.Trainer(model, TEXT, batch_size=2, sequence_length=8, learning_rate=0.01) as trainer:
        assert trainer.train(10) < 0.5
    return model
