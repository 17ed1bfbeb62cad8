"""Text from a model, and what a model thinks of texts."""

import ctypes as c
import math
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple, Union

import numpy as np
import numpy.typing as npt

from . import _library as l
from . import _structs as s
from ._library import F32, U32, Handle, Text, check, lib
from ._model import Model

_POOLINGS = {"mean": 0, "last": 1}


@dataclass(frozen=True)
class Score:
    """How well a model predicts a text."""

    #: Tokens that were predicted.
    tokens: int
    #: Bytes of the text; 0 where they are not known.
    bytes: int
    #: −ln of the probability of all of them together.
    nats: float
    #: The mean loss.
    nats_per_token: float
    #: It compares models whatever their tokens are; NaN where the bytes are not known.
    bits_per_byte: float

    @property
    def perplexity(self) -> float:
        """e to the mean loss."""
        return math.exp(self.nats_per_token) if self.nats_per_token < 709 else math.inf

    @classmethod
    def _of(cls, score: Any) -> "Score":
        return cls(score.tokens, score.bytes, score.nats, score.nats_per_token, score.bits_per_byte)


class Generator(l.Owning):
    """Continues texts. Holds the keys and values of what it has seen, so that a prompt that begins as
    the one before costs only what is new. Threads that share one wait for each other.

    >>> with Generator(model, seed=1, max_tokens=20) as generator:   # doctest: +SKIP
    ...     for piece in generator.stream("once upon a"):
    ...         print(piece, end="", flush=True)
    """

    def __init__(
        self,
        model: Model,
        *,
        seed: Optional[int] = None,
        temperature: float = 1.0,
        top_k: int = 50,
        top_p: float = 0.9,
        min_p: float = 0.0,
        repetition_penalty: float = 0.0,
        greedy: bool = False,
        max_tokens: int = 50,
        allowed_tokens: Optional[npt.ArrayLike] = None,
        threads: int = 1,
    ) -> None:
        """
        :param seed: the same one gives the same text; None: another text each time.
        :param temperature: divides the logits, 0.1 to 2; 0: greedy.
        :param top_k: the k likeliest tokens only; 0: all.
        :param top_p: the likeliest tokens that together have this probability; 1: all.
        :param min_p: no token less than this times as likely as the likeliest; 0: all.
        :param repetition_penalty: above 1: what the text already holds becomes less likely.
        :param greedy: always the likeliest token.
        :param max_tokens: how many a text is continued by, at most.
        :param allowed_tokens: no others are drawn; None: all.
        :param threads: 0: one for each processor. No result depends on it.
        """
        if max_tokens < 1:
            raise ValueError("max_tokens is 1 or more")
        if not temperature >= 0 or not 0 <= top_p <= 1:
            raise ValueError("temperature is 0 or more, top_p from 0 to 1")
        owner = model._owner
        self._model, self._thread = model, threading.RLock()
        self._settings: Dict[str, Any] = {
            "seed": seed, "temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p,
            "repetition_penalty": repetition_penalty, "greedy": greedy, "max_tokens": max_tokens,
            "allowed_tokens": allowed_tokens, "threads": threads}
        self._max_tokens = max_tokens
        self._handle = Handle(
            lib.cllm_inference_init(owner.pointer), lib.cllm_inference_cleanup, owner)
        pointer = self._handle.pointer
        # One token a call: what a text is made of comes out one by one.
        lib.cllm_set_max_tokens(pointer, 1)
        lib.cllm_set_temperature(pointer, temperature)
        lib.cllm_set_top_k(pointer, top_k)
        lib.cllm_set_top_p(pointer, top_p)
        check(lib.cllm_set_min_p(pointer, min_p))
        check(lib.cllm_set_repetition_penalty(pointer, repetition_penalty))
        check(lib.cllm_set_greedy(pointer, greedy or temperature == 0))
        check(lib.cllm_inference_set_threads(pointer, threads))
        if seed is None:
            seed = int(np.random.SeedSequence().generate_state(1, np.uint64)[0])
        check(lib.cllm_set_seed(pointer, seed & 0xFFFFFFFFFFFFFFFF))
        if allowed_tokens is not None:
            ids = l.ids_of(allowed_tokens)
            check(lib.cllm_set_allowed_tokens(pointer, l.ids_pointer(ids), len(ids)))

    @property
    def model(self) -> Model:
        """What it generates with."""
        return self._model

    @contextmanager
    def _using(self) -> Iterator[Any]:
        """The context, for this thread alone, with a model that nobody changes."""
        with self._thread:
            handle = self._owner
            with self._model._lock.shared():
                yield handle.pointer

    def _one(self, prompt: Optional[bytes]) -> Tuple[List[bytes], bool]:
        """The next token's text, and whether there was a token."""
        pieces: List[bytes] = []

        def take(piece: Any, length: int, _token: int, _user_data: Optional[int]) -> bool:
            pieces.append(c.string_at(piece, length))
            return True

        callback = l.TOKEN_CALLBACK(take)
        with self._using() as pointer, l.interrupts_later():
            made = check(
                lib.cllm_continue_stream(pointer, callback, None) if prompt is None
                else lib.cllm_generate_stream(pointer, prompt, callback, None))
        return pieces, made > 0

    def stream(self, prompt: Union[str, bytes, None], max_tokens: Optional[int] = None) -> Iterator[str]:
        """The continuation piece by piece, each as soon as it is there. The loop may end before the
        text does; with None instead of a prompt the latest text goes on.

        :param max_tokens: another number than that of the generator.
        """
        text = None if prompt is None else l.c_string(prompt)
        for _ in range(self._max_tokens if max_tokens is None else max_tokens):
            pieces, more = self._one(text)
            text = None
            for piece in pieces:
                yield piece.decode(errors="replace")
            if not more:
                return

    def generate(self, prompt: Union[str, bytes, None], max_tokens: Optional[int] = None) -> str:
        """The continuation of a prompt, as one text."""
        return "".join(self.stream(prompt, max_tokens))

    def forget(self) -> None:
        """Forgets keys and values and begins with the seed again: after weights were changed by hand."""
        with self._using() as pointer:
            seed = self._settings["seed"]
            if seed is None:
                seed = int(np.random.SeedSequence().generate_state(1, np.uint64)[0])
            check(lib.cllm_set_seed(pointer, seed & 0xFFFFFFFFFFFFFFFF))

    def logits(self, text: Text) -> F32:
        """The logits ``[vocab_size]`` of the token that follows a text, in the library's memory: the next
        call for logits overwrites them; ``.copy()`` keeps them."""
        tokens = self._tokens(text)
        with self._using() as pointer:
            if len(tokens) > 0x7FFFFFFF:
                raise ValueError("too many tokens")
            lib.cllm_clear_error()
            lib.cllm_forward(pointer, l.ids_pointer(tokens), len(tokens))
            if lib.cllm_last_error():
                raise l.fail()
            return l.view(pointer.contents.logits, (self._model.vocab_size,), self._handle)

    def next_tokens(self, text: Text, count: int = 10) -> Tuple[U32, F32]:
        """The likeliest tokens after a text and their probabilities, likeliest first."""
        if count < 1:
            raise ValueError("count is 1 or more")
        tokens = self._tokens(text)
        count = min(count, self._model.vocab_size)
        found = (s.IndexProb * count)()
        with self._using() as pointer:
            made = check(lib.cllm_next_tokens(
                pointer, l.ids_pointer(tokens), len(tokens), found, count))
        pairs = np.frombuffer(memoryview(found).cast("B"), np.dtype([("idx", "<u4"), ("prob", "<f4")]))
        return pairs["idx"][:made], pairs["prob"][:made]

    def next_words(self, text: Union[str, bytes], count: int = 10) -> List[Tuple[str, float]]:
        """The likeliest words after a text (or endings of its last one), with the white space before
        them, and their probabilities, likeliest first. Behind a text that ends in white space they come
        without it."""
        words: List[Tuple[str, float]] = []

        def take(word: Any, length: int, probability: float, _user_data: Optional[int]) -> bool:
            words.append((c.string_at(word, length).decode(errors="replace"), probability))
            return True

        with self._using() as pointer, l.interrupts_later():
            check(lib.cllm_next_words(
                pointer, l.c_string(text), count, l.WORD_CALLBACK(take), None))
        return words

    def score(self, text: Text, *, stride: int = 0) -> Score:
        """How well the model predicts a text of any length: each token but the first, from those before
        it.

        :param stride: tokens from one window to the next, at most the model's positions; 0: half.
        """
        score = s.Score(struct_size=c.sizeof(s.Score))
        if isinstance(text, (str, bytes)):
            data = l.bytes_of(text)
            with self._using() as pointer:
                check(lib.cllm_score_text(pointer, data, len(data), stride, c.byref(score)))
        else:
            ids = l.ids_of(text)
            with self._using() as pointer:
                check(lib.cllm_score_tokens(
                    pointer, l.ids_pointer(ids), len(ids), stride, 0, None, None, c.byref(score)))
        return Score._of(score)

    def score_tokens(self, text: Text, *, stride: int = 0) -> Tuple[F32, U32]:
        """For each token the logarithm of its probability after those before it, and its rank among
        all tokens (1: the likeliest). Both are 0 for the first one."""
        ids = self._tokens(text)
        log_probs, ranks = np.empty(len(ids), np.float32), np.empty(len(ids), np.uint32)
        with self._using() as pointer:
            check(lib.cllm_score_tokens(
                pointer, l.ids_pointer(ids), len(ids), stride, 0,
                log_probs.ctypes.data_as(s.Floats), l.ids_pointer(ranks), None))
        return log_probs, ranks

    def hidden_states(self, text: Text) -> F32:
        """The final hidden vector of each token, ``[tokens, width]``; the library writes into the array."""
        ids = self._tokens(text)
        hidden = np.empty((len(ids), self._model.width), np.float32)
        with self._using() as pointer:
            check(lib.cllm_hidden_states(
                pointer, l.ids_pointer(ids), len(ids), hidden.ctypes.data_as(s.Floats)))
        return hidden

    def embed(self, text: Text, *, pooling: str = "mean") -> F32:
        """One vector ``[width]`` for a text: texts that go on alike have similar ones.

        :param pooling: "mean" of the vectors of all tokens, or that of the "last" one.
        """
        if pooling not in _POOLINGS:
            raise ValueError(f'pooling is "mean" or "last", not {pooling!r}')
        ids = self._tokens(text)
        embedding = np.empty(self._model.width, np.float32)
        with self._using() as pointer:
            check(lib.cllm_embed_tokens(
                pointer, l.ids_pointer(ids), len(ids), _POOLINGS[pooling],
                embedding.ctypes.data_as(s.Floats)))
        return embedding

    def _tokens(self, text: Text) -> U32:
        return self._model._tokens(text)

    def state(self) -> bytes:
        """Where it stands: settings, random numbers, the latest text, keys and values."""
        block, size = c.c_void_p(), c.c_size_t()
        with self._using() as pointer:
            check(lib.cllm_inference_get_state(pointer, c.byref(block), c.byref(size)))
            return l.take_bytes(block.value or 0, size.value)

    def set_state(self, state: bytes) -> None:
        """Goes on from such a state, of a generator with the same model."""
        with self._using() as pointer:
            check(lib.cllm_inference_set_state(pointer, state, len(state)))

    def __reduce__(self) -> Tuple[Callable[..., Any], Tuple[Any, ...]]:
        return _unpickle, (self._model, self._settings, self.state())


def _unpickle(model: Model, settings: Dict[str, Any], state: bytes) -> Generator:
    generator = Generator(model, **settings)
    generator.set_state(state)
    return generator
