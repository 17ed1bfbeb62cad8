"""Models: their weights, their files, and what is asked of them in one line."""

import ctypes as c
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Optional, Tuple, Union

import numpy.typing as npt

from . import _library as l
from . import _structs as s
from ._library import F32, Error, Handle, PathLike, Text, check, lib
from ._locks import SharedLock
from ._tokenizer import Tokenizer, from_file, through_file

if TYPE_CHECKING:
    from ._generator import Generator, Score


class Model(l.Owning):
    """A transformer, of a file or new.

    Any number of generators may share a model. Calls that read it may run in several threads; training
    waits for them, and they for a step of it. ``close()``, or the end of a ``with`` block, lets go of it;
    its memory goes back with the last array and generator that uses it.
    """

    def __init__(self, path: PathLike) -> None:
        """The model of a file.

        :raises Error: the file can't be read or is damaged; the reason says where.
        """
        self._take(Handle(lib.cllm_read_model(l.path_bytes(path)), lib.cllm_free_model))

    @classmethod
    def map(cls, path: PathLike) -> "Model":
        """The model of a file whose weights stay there: it is ready at once, and processes share one copy
        in memory. It generates, scores and evaluates, and has no arrays of weights. The file may be
        replaced meanwhile, but not written to or cut in its place.

        :raises Error: as of ``Model(path)``; checksums are looked at by :meth:`verify`.
        """
        return cls._of(lib.cllm_map_model(l.path_bytes(path)))

    def verify(self) -> None:
        """Looks at every byte of a mapped file.

        :raises Error: it is damaged; or the model is in memory, where it was checked.
        """
        owner = self._owner
        with self._lock.shared():
            check(lib.cllm_verify_model(owner.pointer))

    @property
    def is_mapped(self) -> bool:
        """Whether its weights stay in its file."""
        return bool(check(lib.cllm_model_is_mapped(self._owner.pointer)))

    @classmethod
    def new(
        cls,
        tokenizer: Union[Tokenizer, int],
        *,
        width: int = 128,
        layers: int = 4,
        heads: int = 4,
        hidden: Optional[int] = None,
        context: int = 128,
        seed: int = 0,
        block: str = "original",
    ) -> "Model":
        """A model with random weights, to be trained.

        :param tokenizer: its tokens; or how many there are, for a model that knows no text.
        :param width: components of an embedding, a multiple of ``heads``, and of twice that with the
            modern block.
        :param hidden: components in the middle of a feed-forward part; 4 times ``width`` by default.
        :param context: positions that it can tell apart.
        :param seed: the same seed gives the same weights.
        :param block: "modern" learns as much from a quarter of the tokens; "original" is what the files of
            the original library hold.
        """
        if block not in ("original", "modern"):
            raise ValueError("a block is original or modern")
        size = tokenizer if isinstance(tokenizer, int) else len(tokenizer)
        numbers = (size, width, layers, heads, 4 * width if hidden is None else hidden, context)
        if any(not 0 <= number <= 0xFFFFFFFF for number in numbers):
            raise ValueError("sizes of a model are from 0 to 2^32 - 1")
        config = s.Config(*numbers, 0.0)
        model = cls.__new__(cls)
        create = lib.cllm_create_modern_model if block == "modern" else lib.cllm_create_model_seeded
        pointer = create(c.byref(config), seed & 0xFFFFFFFFFFFFFFFF)
        model._take(Handle(pointer, lib.cllm_free_model))
        if isinstance(tokenizer, Tokenizer):
            model.set_tokenizer(tokenizer)
        return model

    def quantize(self, *, threads: int = 0) -> "Model":
        """The same model with 8-bit weights: a quarter of the memory and of the file. It generates, scores
        and evaluates, and has no arrays of weights; this one stays as it is.

        :param threads: 0: as many as it is worth. No result depends on it.
        """
        owner = self._owner
        with self._lock.shared():
            return self._of(lib.cllm_quantize_model(owner.pointer, threads))

    def expand(self) -> "Model":
        """A model of floats of one with 8-bit weights, for training and for looking at its weights. What
        was rounded away does not come back.

        :raises Error: it holds floats already.
        """
        owner = self._owner
        with self._lock.shared():
            return self._of(lib.cllm_expand_model(owner.pointer))

    @property
    def is_quantized(self) -> bool:
        """Whether it holds 8-bit weights."""
        return bool(check(lib.cllm_model_is_quantized(self._owner.pointer)))

    @classmethod
    def _of(cls, pointer: Any) -> "Model":
        model = cls.__new__(cls)
        model._take(Handle(pointer, lib.cllm_free_model))
        return model

    def _take(self, handle: Handle) -> None:
        self._handle = handle
        self._lock = SharedLock()

    @property
    def _struct(self) -> Any:
        return self._owner.pointer.contents

    def __repr__(self) -> str:
        if self._handle is None:
            return "<cllm.Model, closed>"
        kind = " with 8-bit weights" if self.is_quantized else " with mapped weights" if self.is_mapped else ""
        return (f"<cllm.Model of {self.num_parameters} parameters{kind}: {self.vocab_size} tokens, "
                f"{self.layers} layers of {self.width}, context of {self.context}>")

    def save(self, path: PathLike) -> None:
        """Writes the model, with its tokenizer. The file appears whole or not at all."""
        owner = self._owner
        with self._lock.shared():
            check(lib.cllm_write_model(owner.pointer, l.path_bytes(path)))

    def __reduce__(self) -> Tuple[Callable[..., Any], Tuple[bytes]]:
        return _unpickle, (through_file(self.save, ".cllm"),)

    @property
    def vocab_size(self) -> int:
        """Tokens that it knows, V."""
        return int(self._struct.vocab_size)

    @property
    def width(self) -> int:
        """Components of an embedding, d."""
        return int(self._struct.embedding_dim or self._struct.embeddings.embedding_dim)

    @property
    def layers(self) -> int:
        """Transformer layers, L."""
        return int(self._struct.num_layers)

    @property
    def heads(self) -> int:
        """Attention heads of a layer."""
        return int(self._struct.header.num_heads)

    @property
    def context(self) -> int:
        """Positions that it can tell apart; 0: none."""
        return int(self._struct.pos_encoding.max_length)

    @property
    def num_parameters(self) -> int:
        """Values that training changes, in floats, in 8 bits or in a mapped file."""
        return int(lib.cllm_model_parameters(self._owner.pointer))

    @property
    def num_weights(self) -> int:
        """Floats of :attr:`weights`: the parameters but those of positions, and the places of parts that a
        modern block does not have; 0 where the weights are in 8 bits or stay in a file."""
        return int(self._struct.num_weights)

    @property
    def weights(self) -> F32:
        """All weights but those of positions, in one array in the library's memory: what is written
        there is what the model computes with (a generator that has seen a text: ``forget()``)."""
        struct = self._struct
        return l.view(struct.weights, (struct.num_weights,), self._owner)

    @property
    def embeddings(self) -> F32:
        """The vectors of the tokens, ``[vocab_size, width]``, in the library's memory."""
        matrix = self._struct.embeddings
        return l.view(matrix.embeddings, (matrix.vocab_size, matrix.embedding_dim), self._owner)

    def named_weights(self) -> Dict[str, F32]:
        """Each matrix and vector by its name, in the library's memory; matrices are ``[out, in]``.
        Parts that a model does not have are left out. A file of the original library may have its queries,
        keys and values in blocks for each head: those are left out, too."""
        struct, d = self._struct, self.width
        named = {"embeddings": self.embeddings} if struct.embeddings.embeddings else {}

        def add(name: str, pointer: Any, *shape: int) -> None:
            if pointer:
                named[name] = l.view(pointer, shape, self._owner)

        norms, outputs = self._block(struct)
        for i in range(struct.num_layers):
            # Of files of the original library these are blocks for each head, one norm a layer, no outputs.
            if struct.attention_layers and (norms == 2 or outputs):
                layer = struct.attention_layers[i]
                for name in ("query", "key", "value"):
                    add(f"layers.{i}.{name}", getattr(layer, name + "_lattice"), d, d)
            if outputs:
                named[f"layers.{i}.output"] = self.weights[outputs + i * d * d:][:d * d].reshape(d, d)
            if struct.ff_layers:
                ff = struct.ff_layers[i]
                add(f"layers.{i}.w1", ff.w1_lattice, ff.hidden_dim, ff.input_dim)
                add(f"layers.{i}.b1", ff.bias1, ff.hidden_dim)
                add(f"layers.{i}.w2", ff.w2_lattice, ff.output_dim, ff.hidden_dim)
                add(f"layers.{i}.b2", ff.bias2, ff.output_dim)
            for j in range(norms if struct.layer_norms else 0):
                norm = struct.layer_norms[j * struct.num_layers + i]
                add(f"layers.{i}.norm{1 + j}.gamma", norm.gamma, norm.dim)
                add(f"layers.{i}.norm{1 + j}.beta", norm.beta, norm.dim)
        positions = struct.pos_encoding
        add("positions", positions.learned_positions, positions.max_length, positions.embedding_dim)
        return named

    @staticmethod
    def _block(struct: Any) -> Tuple[int, int]:
        """Norms of a layer, and where the matrices after attention begin among the weights, 0 without: the C
        structs have no place for these, they stand behind all others, and before an output matrix."""
        d, layers, vocab = struct.embeddings.embedding_dim, struct.num_layers, struct.embeddings.vocab_size
        hidden = struct.ff_layers[0].hidden_dim if struct.ff_layers and layers else 0
        layer = 3 * d * d + 2 * d * hidden + hidden + d
        outputs, head = layers * d * d, vocab * d
        for norms in (2, 1):
            before = vocab * d + layers * (layer + 2 * norms * d)
            rest = struct.num_weights - before
            if rest in (outputs, outputs + head):
                return norms, before
            if rest in (0, head):
                return norms, 0
        return 1, 0

    @property
    def tokenizer(self) -> Tokenizer:
        """Its tokenizer, as a copy.

        :raises Error: it has none.
        """
        owner = self._owner
        with self._lock.shared():
            return Tokenizer._of(lib.cllm_model_tokenizer(owner.pointer, 0))

    def set_tokenizer(self, tokenizer: Tokenizer) -> None:
        """Gives it the tokens of a tokenizer, which then travel with its file."""
        owner = self._owner
        with self._lock.exclusive():
            check(lib.cllm_model_set_vocab(owner.pointer, tokenizer._pointer))

    def generator(self, **settings: Any) -> "Generator":
        """A generator with settings, as of :class:`Generator`."""
        from ._generator import Generator

        return Generator(self, **settings)

    def generate(self, prompt: Union[str, bytes], **settings: Any) -> str:
        """The continuation of a prompt; settings as of :class:`Generator`."""
        with self.generator(**settings) as generator:
            return generator.generate(prompt)

    def stream(self, prompt: Union[str, bytes], **settings: Any) -> Iterator[str]:
        """The continuation piece by piece, each as soon as it is there."""
        with self.generator(**settings) as generator:
            yield from generator.stream(prompt)

    def next_words(self, text: Union[str, bytes], count: int = 10) -> List[Tuple[str, float]]:
        """The likeliest words after a text: see :meth:`Generator.next_words`."""
        with self.generator() as generator:
            return generator.next_words(text, count)

    def score(self, text: Text, *, threads: int = 0) -> "Score":
        """How well it predicts a text or tokens: see :meth:`Generator.score`."""
        with self.generator(threads=threads) as generator:
            return generator.score(text)

    def embed(self, text: Text, *, pooling: str = "mean", threads: int = 0) -> F32:
        """A vector ``[width]`` for a text or tokens: see :meth:`Generator.embed`."""
        with self.generator(threads=threads) as generator:
            return generator.embed(text, pooling=pooling)

    def evaluate(self, text: Text, *, window: Optional[int] = None, threads: int = 0) -> "Score":
        """Mean loss over held-out text, cut into windows that don't see each other.

        :param window: tokens of a window; the model's positions by default.
        """
        from ._generator import Score

        size = len(l.bytes_of(text)) if isinstance(text, (str, bytes)) else 0
        tokens = self._tokens(text)
        owner, score = self._owner, s.Score(struct_size=c.sizeof(s.Score))
        with self._lock.shared():
            check(lib.cllm_evaluate_bytes(
                owner.pointer, l.ids_pointer(tokens), len(tokens), size,
                window or self.context or 512, threads, c.byref(score)))
        return Score._of(score)

    def _tokens(self, text: Union[Text, npt.ArrayLike]) -> l.U32:
        """Tokens of a text, or those that were given."""
        if isinstance(text, (str, bytes)):
            with self.tokenizer as tokenizer:
                return tokenizer.encode(text)
        return l.ids_of(text)


def _unpickle(data: bytes) -> Any:
    def read(path: Path) -> Model:
        return Model(path)

    return from_file(read, data, ".cllm")
