"""From a folder to a model, in one line."""

import os
from typing import Iterable, List, Optional, Union

import numpy as np

from ._library import PathLike
from ._model import Model
from ._tokenizer import Tokenizer, read_text, text_files
from ._trainer import Trainer


def train(
    paths: Union[PathLike, Iterable[PathLike]],
    *,
    epochs: Optional[int] = None,
    minutes: Optional[float] = None,
    tokenizer: Union[Tokenizer, int] = 2048,
    width: int = 128,
    layers: int = 4,
    heads: int = 4,
    context: int = 128,
    batch_size: int = 16,
    learning_rate: float = 1e-3,
    seed: int = 0,
    threads: int = 0,
    progress: Optional[bool] = None,
) -> Model:
    """A model of files, and of the text files in folders.

    >>> model = train("texts", minutes=5)   # doctest: +SKIP

    Ctrl-C ends it with KeyboardInterrupt; use a :class:`Trainer` to keep what was trained until then.

    :param epochs: how often to go through the text; 1 where no minutes are given.
    :param minutes: for how long to train; what was given first is reached first. How far a run comes in
        some minutes depends on the machine: give epochs for one that is to be repeated bit for bit.
    :param tokenizer: that of the model; or how many subwords to learn, at most.
    :param batch_size: sequences of ``context`` tokens in a batch; fewer of a short text.
    :param seed: of the first weights.
    :param threads: 0: one for each processor. The result does not depend on it.
    :param progress: whether to show a bar; by default on a terminal and in a notebook.
    """
    listed = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    files = [file for path in listed for file in text_files(path)]
    texts = [read_text(file) for file in files]
    if not any(texts):
        raise ValueError(f"there is no text in {', '.join(str(path) for path in listed)}")
    if isinstance(tokenizer, int):
        tokenizer = Tokenizer.train(b"\n".join(texts), tokenizer)
    end = [] if tokenizer.end_token is None else [tokenizer.end_token]
    parts: List[np.ndarray] = []
    for text in texts:
        parts += [tokenizer.encode(text, threads=threads), np.array(end, np.uint32)]
    tokens = np.concatenate(parts)
    model = Model.new(
        tokenizer, width=width, layers=layers, heads=heads, context=context, seed=seed)
    # A short text has no room for a whole batch.
    length = max(1, min(context, len(tokens) - 1))
    batch_size = max(1, min(batch_size, (len(tokens) - 1) // length))
    per_step = batch_size * length
    # The rate grows over the first steps: the first gradients are the wildest.
    warmup = min(100, max(1, len(tokens) * (epochs or 1) // per_step // 10))
    with Trainer(
            model, tokens, learning_rate=learning_rate, batch_size=batch_size, sequence_length=length,
            warmup_steps=warmup, threads=threads) as trainer:
        trainer.train(epochs, minutes=minutes, progress=progress)
    return model
