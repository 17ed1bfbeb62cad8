"""From a folder to a model, in one line."""

import ctypes as c
import os
import time
from typing import Iterable, List, Optional, Tuple, Union

import numpy as np

from . import _structs as s
from ._library import U32, PathLike, check, lib
from ._model import Model
from ._tokenizer import Tokenizer, read_text, text_files
from ._trainer import Step, Trainer

_BYTES, _SUBWORDS = 3, 2


def train(
    paths: Union[PathLike, Iterable[PathLike]],
    *,
    epochs: Optional[int] = None,
    minutes: Optional[float] = None,
    tokenizer: Union[Tokenizer, int, None] = None,
    width: Optional[int] = None,
    layers: Optional[int] = None,
    heads: Optional[int] = None,
    context: Optional[int] = None,
    batch_size: Optional[int] = None,
    learning_rate: Optional[float] = None,
    held_out: float = 0.1,
    seed: int = 0,
    threads: int = 0,
    progress: Optional[bool] = None,
) -> Model:
    """A model of files, and of the text files in folders.

    >>> model = train("texts", minutes=5)   # doctest: +SKIP

    The library's recipe chooses what is not said, by the length of the text and, where minutes are given,
    by them and the speed of the machine. The rate falls to nothing by the end. The model has the weights
    that predicted the held-out text best.

    Ctrl-C ends it with KeyboardInterrupt; use a :class:`Trainer` to keep what was trained until then.

    :param epochs: how often to go through the text; 1 where no minutes are given.
    :param minutes: for how long, tokenizing included; what was given first is reached first. What comes of
        some minutes depends on the machine: give epochs for a run that is to be repeated bit for bit.
    :param tokenizer: that of the model; or how many subwords to learn, at most.
    :param width: of an embedding, a multiple of twice ``heads``.
    :param context: tokens of a sequence.
    :param batch_size: sequences in a batch; fewer of a short text.
    :param learning_rate: the highest one.
    :param held_out: the share at the end of each text that is not trained on, below 1; 0: none.
    :param seed: of the first weights and the order of the text.
    :param threads: 0: one for each processor. The result does not depend on it.
    :param progress: whether to show a bar; by default on a terminal and in a notebook.
    """
    begun = time.monotonic()
    for name, value in (("epochs", epochs), ("minutes", minutes)):
        if value is not None and not value > 0:
            raise ValueError(f"{name} is above 0")
    if not 0 <= held_out < 1:
        raise ValueError("held_out is from 0 to below 1")
    listed = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    files = [file for path in listed for file in text_files(path)]
    texts = [read_text(file) for file in files]
    size = sum(map(len, texts))
    if not size:
        raise ValueError(f"there is no text in {', '.join(str(path) for path in listed)}")

    recipe = s.Recipe(
        struct_size=c.sizeof(s.Recipe), embedding_dim=width or 0, num_layers=layers or 0,
        num_heads=heads or 0, sequence_length=context or 0, batch_size=batch_size or 0,
        learning_rate=learning_rate or 0.0)
    if minutes is None or epochs is not None:
        recipe.epochs = epochs or 1
    if isinstance(tokenizer, Tokenizer):
        recipe.tokenizer = _BYTES if tokenizer.kind == "bytes" else _SUBWORDS
        recipe.vocab_size = len(tokenizer)
    elif tokenizer is not None:
        recipe.tokenizer, recipe.vocab_size = _SUBWORDS, tokenizer
    speed = check(lib.cllm_measure_speed(threads)) if minutes is not None else 0.0

    def seconds_left() -> float:
        return 0.0 if minutes is None else max(0.1, 60 * minutes - (time.monotonic() - begun))

    def follow(recipe: s.Recipe) -> s.Recipe:
        copy = s.Recipe.from_buffer_copy(recipe)
        length = max(1, size - int(size * held_out))
        check(lib.cllm_recipe(length, seconds_left(), speed, c.byref(copy)))
        return copy

    if not isinstance(tokenizer, Tokenizer):
        choice = follow(recipe)
        if choice.tokenizer == _BYTES:
            tokenizer = Tokenizer.from_bytes()
        else:
            tokenizer = Tokenizer.train(b"\n".join(texts), choice.vocab_size)
        recipe.tokenizer, recipe.vocab_size = choice.tokenizer, len(tokenizer)
    training, test = _tokens(texts, tokenizer, held_out, threads)
    if len(training) < 2:
        raise ValueError("the text is too short to be trained on")
    # Of a short text not even one window, or a batch of them.
    recipe.training_tokens, recipe.held_out_tokens = len(training), len(test)
    choice = follow(recipe)
    length = min(choice.sequence_length, len(training) - 1)
    batch_size = max(1, min(choice.batch_size, (len(training) - 1) // length))

    model = Model.new(
        tokenizer, width=choice.embedding_dim, layers=choice.num_layers, heads=choice.num_heads,
        hidden=choice.ff_dim, context=choice.sequence_length, seed=seed, block="modern")
    steps = (epochs or 1) * max(1, (len(training) - 1) // (batch_size * length))
    if minutes is not None:
        steps = choice.steps if epochs is None else min(steps, choice.steps)
    with Trainer(
            model, training, learning_rate=choice.learning_rate, batch_size=batch_size,
            sequence_length=length, weight_decay=max(0.0, choice.weight_decay),
            gradient_clip=choice.gradient_clip, warmup_steps=min(max(0, choice.warmup_steps), steps // 2),
            schedule="linear", schedule_steps=steps, beta2=choice.beta2,
            dropout=max(0.0, choice.dropout), shuffle=True, seed=seed, threads=threads) as trainer:
        test = test[:choice.evaluate_tokens or None]
        every = choice.evaluate_every if len(test) > 1 else 0

        def evaluate(step: Step) -> None:
            if every and step.step % every == 0:
                trainer.evaluate(test)

        left = None
        if minutes is not None:
            # What tokenizing took is over, and a last evaluation comes: a third of the work of a step.
            last = len(test) / (3 * choice.tokens_per_second)
            left = max(0.001, seconds_left() - last) / 60
        trainer.train(epochs, minutes=left, progress=progress, callback=evaluate)
        if len(test) > 1:
            trainer.evaluate(test)
            trainer.use_best()
    return model


def _tokens(
    texts: List[bytes], tokenizer: Tokenizer, held_out: float, threads: int
) -> Tuple[U32, U32]:
    """The tokens to train on, and those of the end of each text to measure with."""
    end = [] if tokenizer.end_token is None else [tokenizer.end_token]
    parts: Tuple[List[U32], List[U32]] = ([], [])
    for text in texts:
        tokens = np.append(tokenizer.encode(text, threads=threads), np.array(end, np.uint32))
        cut = len(tokens) - int(len(tokens) * held_out)
        parts[0].append(tokens[:cut])
        parts[1].append(tokens[cut:])
    return np.concatenate(parts[0]), np.concatenate(parts[1])
