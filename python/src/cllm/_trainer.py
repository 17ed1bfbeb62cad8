"""Training runs."""

import ctypes as c
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Iterator, NoReturn, Optional

from . import _library as l
from . import _structs as s
from ._library import Error, Handle, PathLike, Text, check, lib
from ._model import Model
from ._progress import Bar

if TYPE_CHECKING:
    from ._generator import Score

_SCHEDULES = ("none", "linear", "cosine", "step")
_OPTIMIZERS = ("adamw", "sgd")
_PRECISIONS = ("f32", "bf16")


@dataclass(frozen=True)
class Step:
    """What a step of training did."""

    #: Steps of the run so far, this one included.
    step: int
    #: Epochs completed before it.
    epoch: int
    #: Loss of its batch before its update, in nats per token.
    loss: float
    #: Its learning rate.
    learning_rate: float


class Trainer(l.Owning):
    """A run of training over a model and a text.

    The same data, options and seed of the model give the same weights, bit for bit, for any number of
    threads; so does a run that goes on from a checkpoint. Threads that share a trainer wait for each
    other.

    >>> with Trainer(model, "a text") as trainer:   # doctest: +SKIP
    ...     trainer.train(epochs=3)
    """

    def __init__(
        self,
        model: Model,
        text: Text,
        *,
        learning_rate: float = 1e-3,
        batch_size: int = 16,
        sequence_length: Optional[int] = None,
        weight_decay: float = 0.01,
        gradient_clip: float = 1.0,
        warmup_steps: int = 0,
        schedule: str = "none",
        schedule_steps: int = 0,
        min_learning_rate: float = 0.0,
        accumulation: int = 1,
        optimizer: str = "adamw",
        beta2: float = 0.0,
        dropout: float = 0.0,
        shuffle: bool = False,
        precision: str = "f32",
        short_windows: int = 0,
        short_part: float = 0.0,
        seed: int = 0,
        threads: int = 0,
    ) -> None:
        """
        :param text: to be trained on, or its tokens; an array of uint32 is used without a copy and may
            not change meanwhile.
        :param batch_size: sequences in a batch.
        :param sequence_length: tokens of a sequence; the model's positions by default.
        :param weight_decay: decoupled, for matrices; 0: none.
        :param gradient_clip: largest norm of the gradient; 0: no limit.
        :param warmup_steps: in which the rate grows to ``learning_rate``.
        :param schedule: how the rate falls after that: "none", "linear", "cosine", "step".
        :param schedule_steps: the step at which "linear" and "cosine" reach ``min_learning_rate``; a training
            for some minutes moves it to where they are over.
        :param min_learning_rate: the rate at the end of the schedule.
        :param accumulation: batches whose mean gradient makes one update.
        :param optimizer: "adamw" or "sgd".
        :param beta2: how much of the mean square of the gradients an update keeps; 0: 0.999.
        :param dropout: the share of the values that a step leaves out.
        :param shuffle: windows in random order, others in each epoch; else in the order of the text.
        :param precision: of matrix products: "f32" or "bf16", where the processor has that.
        :param short_windows: tokens of the sequences in the first part of the schedule, a divisor of
            ``sequence_length``; a batch has as many tokens as later. 0: none.
        :param short_part: the part of ``schedule_steps`` that has them, 0 to 1.
        :param seed: of the order of the windows and of dropout.
        :param threads: 0: one for each processor.
        """
        if schedule not in _SCHEDULES or optimizer not in _OPTIMIZERS or precision not in _PRECISIONS:
            raise ValueError(
                f"schedules are {_SCHEDULES}, optimizers {_OPTIMIZERS}, precisions {_PRECISIONS}")
        if not learning_rate > 0:
            raise ValueError("learning_rate is above 0")
        length = model.context or 128 if sequence_length is None else sequence_length
        numbers = (batch_size, length, warmup_steps, schedule_steps, accumulation, short_windows)
        if any(not 0 <= n <= 0x7FFFFFFF for n in numbers) or 0 in (batch_size, length, accumulation):
            raise ValueError("sizes and steps are whole numbers from 1, or 0, to 2^31 - 1")
        tokens = model._tokens(text)
        if not len(tokens):
            raise ValueError("there is nothing to train on")
        config = s.TrainingConfig(
            learning_rate=learning_rate, batch_size=batch_size, sequence_length=length,
            weight_decay=weight_decay, gradient_clip=gradient_clip, warmup_steps=warmup_steps,
            lr_scheduler=schedule.encode(), max_steps=schedule_steps, min_lr=min_learning_rate,
            gradient_accumulation_steps=accumulation, optimizer=optimizer.encode())
        owner = model._owner
        self._model, self._threads, self._thread = model, threads, threading.RLock()
        self._tokens, self._falls = tokens, schedule in ("linear", "cosine")
        with model._lock.shared():
            pointer = lib.cllm_training_init(owner.pointer, c.byref(config))
        self._handle = Handle(pointer, lib.cllm_training_free, owner, tokens)
        check(lib.cllm_training_set_options(pointer, c.byref(s.TrainingOptions(
            struct_size=c.sizeof(s.TrainingOptions), seed=seed & 0xFFFFFFFFFFFFFFFF, beta2=beta2,
            dropout=dropout, shuffle=shuffle, decay_to_zero=min_learning_rate == 0,
            precision=_PRECISIONS.index(precision), short_windows=short_windows,
            short_part=short_part))))
        pointer.contents.tokens = l.ids_pointer(tokens)
        pointer.contents.num_tokens = len(tokens)

    @property
    def model(self) -> Model:
        """What it trains."""
        return self._model

    @contextmanager
    def _using(self) -> Iterator[Any]:
        with self._thread:
            handle = self._owner
            with self._model._lock.exclusive():
                yield handle.pointer

    @property
    def epoch(self) -> int:
        """Epochs completed."""
        with self._using() as pointer:
            return int(pointer.contents.current_epoch)

    @property
    def steps(self) -> int:
        """Steps done."""
        with self._using() as pointer:
            return int(pointer.contents.current_step)

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch, at most: ids that are no tokens of the model are left out."""
        config = self._struct().config
        batch = int(config.batch_size * config.sequence_length)
        return max(1, (len(self._tokens) - 1) // batch)

    def _struct(self) -> Any:
        return self._owner.pointer.contents

    @property
    def schedule_end(self) -> int:
        """The step at which the schedule ends; 0: none was said."""
        return int(self._struct().config.max_steps)

    @schedule_end.setter
    def schedule_end(self, steps: int) -> None:
        """A linear schedule goes on from the rate that it has in a straight line to its new end."""
        if not 0 <= steps <= 0x7FFFFFFF:
            raise ValueError("a schedule ends at a step from 0 to 2^31 - 1")
        with self._using() as pointer:
            check(lib.cllm_training_set_end(pointer, steps))

    @property
    def skipped_updates(self) -> int:
        """Updates that were left out because a gradient was not finite."""
        with self._using() as pointer:
            return int(check(lib.cllm_skipped_updates(pointer)))

    def step(self) -> Optional[Step]:
        """Trains one batch; None where the epoch had no more, and the next one begins."""
        loss = c.c_float()
        with self._using() as pointer:
            if check(lib.cllm_train_steps(pointer, 1, self._threads, c.byref(loss))) == 0:
                return None
            now = pointer.contents
            return Step(now.current_step, now.current_epoch, loss.value, now.config.learning_rate)

    def evaluate(self, text: Text) -> float:
        """The mean loss on a text that is not trained on, in nats per token. The weights with the lowest
        one so far are kept for :meth:`use_best`.

        :param text: or its tokens; the same one in each call.
        """
        tokens, loss = self._model._tokens(text), c.c_double()
        with self._using() as pointer:
            check(lib.cllm_training_evaluate(
                pointer, l.ids_pointer(tokens), len(tokens), self._threads, c.byref(loss)))
        return loss.value

    def dynamic_evaluation(
        self, text: Text, *, learning_rate: float = 2e-4, stride: int = 0,
    ) -> "Score":
        """Scores a text that the trainer need not have, and learns each window of it as soon as that has been
        scored. Make the trainer with ``weight_decay=0`` for it, or the model forgets. The model is what it has
        become afterwards.

        :param text: or its tokens.
        :param learning_rate: of each step; 0 learns nothing.
        :param stride: tokens from one window to the next, at most ``sequence_length`` of the trainer; 0: half.
        """
        from ._generator import Score

        tokens, score = self._model._tokens(text), s.Score(struct_size=c.sizeof(s.Score))
        length = len(l.bytes_of(text)) if isinstance(text, (str, bytes)) else 0
        with self._using() as pointer:
            check(lib.cllm_dynamic_evaluation(
                pointer, l.ids_pointer(tokens), len(tokens), length, stride, learning_rate,
                self._threads, None, c.byref(score)))
        return Score._of(score)

    def use_best(self) -> int:
        """Puts the weights of the best evaluation into the model, for use: what is to be trained on goes on
        from a checkpoint.

        :return: the step after which they were.
        :raises Error: nothing was evaluated.
        """
        step = c.c_int()
        with self._using() as pointer:
            check(lib.cllm_training_use_best(pointer))
            check(lib.cllm_training_best(pointer, c.byref(step), None))
        return step.value

    def train(
        self,
        epochs: Optional[int] = None,
        *,
        steps: Optional[int] = None,
        minutes: Optional[float] = None,
        progress: Optional[bool] = None,
        callback: Optional[Callable[[Step], Optional[bool]]] = None,
    ) -> float:
        """Trains until so many more epochs or steps are done or minutes over, whatever comes first; one
        epoch where nothing is said, and one step at least. Where a schedule has an end, some minutes move it
        to where they are over, so that the rate has fallen by then. Ctrl-C ends it after the step that runs,
        with KeyboardInterrupt: the model is as far as it came, and the trainer can go on.

        :param progress: whether to show a bar; by default on a terminal and in a notebook.
        :param callback: gets each step; returns False to end the training. It may use the model.
        :return: the mean loss of the last epoch, as far as it was trained, in nats per token.
        """
        if epochs is None and steps is None and minutes is None:
            epochs = 1
        for name, value in (("epochs", epochs), ("steps", steps), ("minutes", minutes)):
            if value is not None and not value > 0:
                raise ValueError(f"{name} is above 0")
        begun, last_epoch = time.monotonic(), None if epochs is None else self.epoch + epochs
        limits = [steps] if steps is not None else []
        if epochs is not None:
            limits.append(epochs * self.steps_per_epoch)
        bar = Bar(60 * minutes, "s", progress) if minutes is not None else Bar(
            min(limits), "step", progress)
        total, count, done, mean, shown = 0.0, 0, 0, 0.0, begun
        # Of a schedule that falls the end is moved, and reached; else the clock alone ends a training.
        by_schedule = minutes is not None and self._falls and self.schedule_end > 0
        most = self.steps + min(limits) if limits else 0x7FFFFFFF
        looked = begun
        try:
            while True:
                now = time.monotonic()
                if steps is not None and done >= steps:
                    return mean
                if minutes is not None and done and not by_schedule and now - begun >= 60 * minutes:
                    return mean
                if by_schedule and minutes is not None:
                    if done and self.steps >= self.schedule_end:
                        return mean  # a schedule that is over would begin to fall anew
                    if done and (done % 10 == 0 or now - looked > 0.6 * minutes):
                        self._end_on_time(done, now - begun, 60 * minutes, most)
                        looked = now
                    if self.steps >= self.schedule_end:
                        return mean
                step = self.step()
                if step is None:
                    if not count:
                        raise Error("the text is too short to be trained on")
                    total, count = 0.0, 0
                    if last_epoch is not None and self.epoch >= last_epoch:
                        return mean
                    continue
                total, count, done = total + step.loss, count + 1, done + 1
                mean = total / count
                now = time.monotonic()
                bar.advance(now - shown if minutes is not None else 1, f"loss {mean:.4f}")
                shown = now
                if callback is not None and callback(step) is False:
                    return mean
        finally:
            bar.close()

    def _end_on_time(self, done: int, elapsed: float, seconds: float, most: int) -> None:
        """Moves the end of the schedule to where the seconds are over, if that is no more than `most`."""
        step = self.steps
        planned = max(0, self.schedule_end - step)
        left = check(lib.cllm_steps_left(done, elapsed, planned, max(0.0, seconds - elapsed)))
        if left != planned:
            self.schedule_end = min(step + max(left, 1), most)

    def save(self, path: PathLike) -> None:
        """Writes a checkpoint: the model, and beside it all that the run needs to go on."""
        with self._using() as pointer:
            check(lib.cllm_save_checkpoint(pointer, l.path_bytes(path)))

    def load(self, path: PathLike) -> None:
        """Goes on from a checkpoint, of a run over the same text with the same options."""
        with self._using() as pointer:
            check(lib.cllm_load_checkpoint(pointer, l.path_bytes(path)))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a trainer is kept by save() and load(), not by pickle")
