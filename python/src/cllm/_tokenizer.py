"""Text to tokens and back."""

import ctypes as c
import os
import tempfile
from pathlib import Path
from typing import Any, Callable, Iterable, List, Optional, Tuple, Union

import numpy.typing as npt

from . import _library as l
from ._library import Handle, PathLike, check, lib

_KINDS = {1: "words", 2: "subwords", 3: "bytes"}


class Tokenizer(l.Owning):
    """Whole words, subwords (byte-level byte-pair encoding) or bytes.

    Made by one of the class methods. Subwords and bytes give each text back byte for byte; words come
    back in lower case with single spaces. May be used by several threads at once.

    >>> tokenizer = Tokenizer.from_bytes()
    >>> tokenizer.decode(tokenizer.encode("día"))
    'día'
    """

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    @classmethod
    def _of(cls, pointer: Any) -> "Tokenizer":
        return cls(Handle(pointer, lib.cllm_free_tokenizer))

    @classmethod
    def train(cls, text: Union[str, bytes], vocab_size: int = 4096) -> "Tokenizer":
        """Learns subwords from a text.

        :param vocab_size: tokens to reach, 261 or more; fewer where the text has no more to merge.
        """
        data = l.bytes_of(text)
        return cls._of(lib.cllm_train_tokenizer(data, len(data), _id(vocab_size), None, None))

    @classmethod
    def train_files(cls, paths: Union[PathLike, Iterable[PathLike]], vocab_size: int = 4096) -> "Tokenizer":
        """Learns subwords from files, and from all text files of folders."""
        listed = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
        array = (c.c_char_p * len(listed))(*[l.path_bytes(path) for path in listed])
        return cls._of(lib.cllm_train_tokenizer_files(array, len(listed), _id(vocab_size), None, None))

    @classmethod
    def words(cls, text: Union[str, bytes], max_words: int = 10000) -> "Tokenizer":
        """The words of a text, in the order in which they come; of too many, the most frequent ones."""
        tokenizer = cls._of(lib.cllm_create_tokenizer(_id(max_words)))
        loader = Handle(lib.cllm_data_loader_create(tokenizer._pointer), lib.cllm_data_loader_free)
        check(lib.cllm_data_loader_add_document(loader.pointer, l.c_string(text)) - 1)
        lib.cllm_clear_error()
        lib.cllm_data_loader_build_vocab(loader.pointer)
        if lib.cllm_last_error():
            raise l.fail()
        return tokenizer

    @classmethod
    def from_bytes(cls) -> "Tokenizer":
        """The 256 bytes and the special tokens, 261 in all."""
        return cls._of(lib.cllm_byte_tokenizer())

    @classmethod
    def read(cls, path: PathLike) -> "Tokenizer":
        """That of a file: tokenizer.json, as of Hugging Face, or vocab.txt."""
        read = lib.cllm_read_tokenizer if os.fspath(path).endswith(".json") else lib.cllm_read_vocab
        return cls._of(read(l.path_bytes(path)))

    def write(self, path: PathLike) -> None:
        """Writes a tokenizer.json (of subwords or bytes) where the name ends in .json, else a vocab.txt.
        The file appears whole or not at all."""
        if os.fspath(path).endswith(".json"):
            check(lib.cllm_write_tokenizer(self._pointer, l.path_bytes(path)))
        elif lib.cllm_save_vocab(self._pointer, l.path_bytes(path)) != 1:
            raise l.fail()

    @property
    def _pointer(self) -> Any:
        return self._owner.pointer

    def __len__(self) -> int:
        return int(lib.cllm_get_vocab_size(self._pointer))

    def __repr__(self) -> str:
        if self._handle is None:
            return "<cllm.Tokenizer, closed>"
        return f"<cllm.Tokenizer of {len(self)} {self.kind}>"

    @property
    def kind(self) -> str:
        """"words", "subwords" or "bytes"."""
        return _KINDS[check(lib.cllm_tokenizer_kind(self._pointer))]

    @property
    def end_token(self) -> Optional[int]:
        """The token that ends a text."""
        token = lib.cllm_end_token(self._pointer)
        return None if token < 0 else int(token)

    def encode(self, text: Union[str, bytes], *, specials: bool = False, threads: int = 1) -> l.U32:
        """The tokens of a text.

        :param specials: what spells a special token (``<EOS>``) becomes it; for trusted texts only.
        :param threads: for long texts; 0: one for each processor.
        :return: ids, in the library's memory.
        """
        data, count = l.bytes_of(text), c.c_size_t()
        ids = lib.cllm_text_to_tokens(self._pointer, data, len(data), specials, threads, c.byref(count))
        return l.take_ids(check(ids), count.value)

    def decode_bytes(self, tokens: npt.ArrayLike, *, specials: bool = False) -> bytes:
        """The bytes of some tokens; special ones are left out unless they are asked for."""
        ids, length = l.ids_of(tokens), c.c_size_t()
        text = lib.cllm_tokens_to_text(
            self._pointer, l.ids_pointer(ids), len(ids), specials, c.byref(length))
        return l.take_bytes(check(text), length.value)

    def decode(self, tokens: npt.ArrayLike, *, specials: bool = False) -> str:
        """The text of some tokens; bytes that are no UTF-8 become U+FFFD."""
        return self.decode_bytes(tokens, specials=specials).decode(errors="replace")

    def token(self, token: int) -> bytes:
        """The bytes of one token, of a special one its name."""
        if not 0 <= token < len(self):
            raise IndexError(f"there is no token {token}: there are {len(self)}")
        length = c.c_size_t()
        text = lib.cllm_token_text(self._pointer, token, c.byref(length))
        return c.string_at(check(text), length.value)

    def is_special(self, token: int) -> bool:
        """Whether a token stands for no text."""
        return 0 <= token < len(self) and bool(lib.cllm_token_is_special(self._pointer, token))

    def __reduce__(self) -> Tuple[Callable[..., Any], Tuple[bytes, str]]:
        suffix = ".txt" if self.kind == "words" else ".json"
        return _unpickle, (through_file(self.write, suffix), suffix)


def _id(number: int) -> int:
    if not 0 <= number <= 0xFFFFFFFF:
        raise ValueError(f"{number} is no number of tokens")
    return number


def through_file(write: Callable[[Path], None], suffix: str) -> bytes:
    """The content of the file that `write` writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("object" + suffix)
        write(path)
        return path.read_bytes()


def from_file(read: Callable[[Path], Any], data: bytes, suffix: str) -> Any:
    """What `read` reads from a file with this content."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("object" + suffix)
        path.write_bytes(data)
        return read(path)


def _unpickle(data: bytes, suffix: str) -> Any:
    return from_file(Tokenizer.read, data, suffix)


def text_files(path: PathLike) -> List[Path]:
    """The files that a path stands for: itself, or the text files of a folder and below, in byte order."""
    if not Path(path).is_dir():
        return [Path(path)]
    found: List[Path] = []

    def take(name: bytes, left_out: Optional[bytes], _user_data: Optional[int]) -> bool:
        if left_out is None:
            found.append(Path(os.fsdecode(name)))
        return True

    with l.interrupts_later():
        check(lib.cllm_text_files(l.path_bytes(path), l.PATH_CALLBACK(take), None))
    return found


def read_text(path: PathLike) -> bytes:
    """The text of a file in UTF-8, whatever it was written in."""
    data = Path(path).read_bytes()
    address = check(lib.cllm_decode_text(data, len(data)))
    return l.take_bytes(address, len(c.string_at(address)))
