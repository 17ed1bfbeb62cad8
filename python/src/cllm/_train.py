"""From a folder to a model, in one line."""

import ctypes as c
import os
import time
from typing import Iterable, List, Optional, Tuple, Union

import numpy as np

from . import _structs as s
from ._library import U32, PathLike, check, lib, logger
from ._model import Model
from ._tokenizer import Tokenizer, read_text, text_files
from ._trainer import Step, Trainer

_BYTES, _SUBWORDS = 3, 2
#: The sizes of `train_model --size`: widths, for which the recipe chooses the rest.
_WIDTHS = {"small": 128, "medium": 256, "large": 384}


def train(
    paths: Union[PathLike, Iterable[PathLike]],
    *,
    epochs: Optional[int] = None,
    minutes: Optional[float] = None,
    size: Optional[str] = None,
    model: Optional[Model] = None,
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
    by them and the speed of the machine; the logger "cllm" has what it chose and why at the level INFO. The
    rate falls to nothing by the end. The model has the weights that predicted the held-out text best.

    Ctrl-C ends it with KeyboardInterrupt; what was trained until then is kept by a ``model`` that was given,
    and by a :class:`Trainer`.

    :param epochs: how often to go through the text; 1 where neither minutes nor a size are given.
    :param minutes: for how long, tokenizing included; what was given first is reached first. What comes of
        some minutes depends on the machine: give epochs for a run that is to be repeated bit for bit.
    :param size: "small", "medium" or "large": a width of 128, 256 or 384. With neither epochs nor minutes the
        run is as many epochs as give each weight three tokens to see.
    :param model: goes on teaching this model, which is changed and returned: its tokens and its shape stay, and
        it is trained at a third of the rate that a new one gets, so that it forgets less. After Ctrl-C it is
        as far as it came.
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
    if epochs is not None and epochs != int(epochs):
        raise ValueError("epochs is a whole number")
    if size is not None and (size not in _WIDTHS or width is not None):
        raise ValueError(f"a size is one of {', '.join(_WIDTHS)}, and leaves no width to choose")
    if model is not None and any(x is not None for x in (size, tokenizer, width, layers, heads)):
        raise ValueError("a model that goes on has its size, its tokenizer, width, layers and heads")
    if not 0 <= held_out < 1:
        raise ValueError("held_out is from 0 to below 1")
    listed = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    files = [file for path in listed for file in text_files(path)]
    texts = [read_text(file) for file in files]
    written = sum(map(len, texts))
    if not written:
        places = ", ".join(str(path) for path in listed)
        raise ValueError(f"there is no text in {places}" if places else "there are no texts to train on")

    if model is not None:
        tokenizer, width, layers, heads = model.tokenizer, model.width, model.layers, model.heads
        context = context or model.context or None
    recipe = s.Recipe(
        struct_size=c.sizeof(s.Recipe), embedding_dim=_WIDTHS[size] if size else width or 0,
        num_layers=layers or 0, num_heads=heads or 0, sequence_length=context or 0,
        batch_size=batch_size or 0, learning_rate=learning_rate or 0.0)
    if epochs is not None:
        recipe.epochs = epochs
    elif minutes is None and size is None:
        recipe.epochs = 1
    if isinstance(tokenizer, Tokenizer):
        recipe.tokenizer = _BYTES if tokenizer.kind == "bytes" else _SUBWORDS
        recipe.vocab_size = len(tokenizer)
    elif tokenizer is not None:
        recipe.tokenizer, recipe.vocab_size = _SUBWORDS, tokenizer
    # Without minutes it changes nothing but what the recipe says about the time.
    speed = check(lib.cllm_measure_speed(threads)) if minutes is not None or size is not None else 0.0

    def seconds_left() -> float:
        return 0.0 if minutes is None else max(0.1, 60 * minutes - (time.monotonic() - begun))

    def follow(recipe: s.Recipe) -> s.Recipe:
        copy = s.Recipe.from_buffer_copy(recipe)
        length = max(1, written - int(written * held_out))
        # Of a short text not even one window, or a batch of them; 0 is for the recipe to choose.
        most = (copy.training_tokens or length) - 1
        copy.sequence_length = min(copy.sequence_length, most)
        copy.batch_size = min(copy.batch_size, most // (copy.sequence_length or 8))
        check(lib.cllm_recipe(length, seconds_left(), speed, c.byref(copy)))
        return copy

    tokens_why = None
    if not isinstance(tokenizer, Tokenizer):
        choice = follow(recipe)
        tokens_why = choice.text.splitlines()[0]  # before they are asked for
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
    if model is not None and learning_rate is None:
        # Asked again, for what the recipe says of itself.
        recipe.learning_rate = choice.learning_rate / 3
        choice = follow(recipe)
    first, *others = choice.text.splitlines()
    logger.info("%s", b"\n".join([tokens_why or first, *others]).decode())
    length = min(choice.sequence_length, len(training) - 1)
    batch_size = max(1, min(choice.batch_size, (len(training) - 1) // length))

    if model is None:
        model = Model.new(
            tokenizer, width=choice.embedding_dim, layers=choice.num_layers, heads=choice.num_heads,
            hidden=choice.ff_dim, context=context or choice.sequence_length, seed=seed, block="modern")
    if epochs is None and minutes is None:
        epochs = max(1, round(choice.epochs))
    steps = (epochs or 1) * max(1, (len(training) - 1) // (batch_size * length))
    if minutes is not None:
        steps = choice.steps if epochs is None else min(steps, choice.steps)
    with Trainer(
            model, training, learning_rate=choice.learning_rate, batch_size=batch_size,
            sequence_length=length, weight_decay=max(0.0, choice.weight_decay),
            gradient_clip=choice.gradient_clip, warmup_steps=min(max(0, choice.warmup_steps), steps // 2),
            schedule="linear", schedule_steps=steps, beta2=choice.beta2,
            dropout=max(0.0, choice.dropout), shuffle=True, short_windows=max(0, choice.short_windows),
            short_part=choice.short_part, seed=seed, threads=threads) as trainer:
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
