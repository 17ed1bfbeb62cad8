"""The shared library: where it is, its functions, its errors, its messages, its memory."""

import atexit
import ctypes as c
import logging
import os
import signal
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Iterator, List, Optional, Tuple, TypeVar, Union

import numpy as np
import numpy.typing as npt

from . import _structs as s

PathLike = Union[str, "os.PathLike[str]"]
F32 = npt.NDArray[np.float32]
U32 = npt.NDArray[np.uint32]
#: A text, or the ids of its tokens.
Text = Union[str, bytes, npt.ArrayLike]


class Error(Exception):
    """A call failed; the text is the library's reason, "function: what is wrong"."""


def _load() -> c.CDLL:
    """The library that CLLM_LIBRARY names, the one in this package, that of the tree, the system's."""
    named = os.environ.get("CLLM_LIBRARY")
    if named:
        return c.CDLL(named)
    here = Path(__file__).resolve().parent
    for path in (here / "libcllm.so.1", here.parents[2] / "libcllm.so.1"):
        if path.is_file():
            return c.CDLL(str(path))
    return c.CDLL("libcllm.so.1")


# ctypes releases the interpreter's lock for the time of each call of a CDLL.
lib = _load()
_libc = c.CDLL(None)
_libc.free.restype, _libc.free.argtypes = None, [c.c_void_p]

TOKEN_CALLBACK = c.CFUNCTYPE(c.c_bool, c.POINTER(c.c_char), c.c_size_t, c.c_uint32, c.c_void_p)
WORD_CALLBACK = c.CFUNCTYPE(c.c_bool, c.POINTER(c.c_char), c.c_size_t, c.c_float, c.c_void_p)
PATH_CALLBACK = c.CFUNCTYPE(c.c_bool, c.c_char_p, c.c_char_p, c.c_void_p)
LOG_CALLBACK = c.CFUNCTYPE(None, c.c_int, c.c_char_p, c.c_void_p)

_P, _S, _I, _Z = c.c_void_p, c.c_char_p, c.c_int, c.c_size_t
_MODEL, _INFERENCE, _TRAINING = c.POINTER(s.Model), c.POINTER(s.Inference), c.POINTER(s.Training)
_SIZE, _DOUBLE, _SCORE = c.POINTER(c.c_size_t), c.POINTER(c.c_double), c.POINTER(s.Score)

_FUNCTIONS: List[Tuple[str, Any, List[Any]]] = [
    ("cllm_version", _S, []),
    ("cllm_last_error", _S, []),
    ("cllm_clear_error", None, []),
    ("cllm_set_log_silent", None, []),
    ("cllm_set_log_callback", None, [LOG_CALLBACK, _P]),
    ("cllm_read_model", _MODEL, [_S]),
    ("cllm_write_model", _I, [_MODEL, _S]),
    ("cllm_create_model_seeded", _MODEL, [c.POINTER(s.Config), c.c_uint64]),
    ("cllm_create_modern_model", _MODEL, [c.POINTER(s.Config), c.c_uint64]),
    ("cllm_free_model", None, [_MODEL]),
    ("cllm_map_model", _MODEL, [_S]),
    ("cllm_model_is_mapped", _I, [_MODEL]),
    ("cllm_verify_model", _I, [_MODEL]),
    ("cllm_quantize_model", _MODEL, [_MODEL, _I]),
    ("cllm_expand_model", _MODEL, [_MODEL]),
    ("cllm_model_is_quantized", _I, [_MODEL]),
    ("cllm_model_set_vocab", _I, [_MODEL, _P]),
    ("cllm_model_tokenizer", _P, [_MODEL, c.c_uint32]),
    ("cllm_evaluate_bytes", _I, [_MODEL, s.Ids, _Z, _Z, _I, _I, _SCORE]),
    ("cllm_create_tokenizer", _P, [c.c_uint32]),
    ("cllm_free_tokenizer", None, [_P]),
    ("cllm_byte_tokenizer", _P, []),
    ("cllm_train_tokenizer", _P, [_S, _Z, c.c_uint32, _P, _P]),
    ("cllm_train_tokenizer_files", _P, [c.POINTER(_S), _Z, c.c_uint32, _P, _P]),
    ("cllm_read_tokenizer", _P, [_S]),
    ("cllm_write_tokenizer", _I, [_P, _S]),
    ("cllm_read_vocab", _P, [_S]),
    ("cllm_save_vocab", _I, [_P, _S]),
    ("cllm_get_vocab_size", c.c_uint32, [_P]),
    ("cllm_tokenizer_kind", _I, [_P]),
    ("cllm_end_token", _I, [_P]),
    ("cllm_token_is_special", c.c_bool, [_P, c.c_uint32]),
    ("cllm_token_text", _P, [_P, c.c_uint32, _SIZE]),
    ("cllm_text_to_tokens", _P, [_P, _S, _Z, c.c_bool, _I, _SIZE]),
    ("cllm_tokens_to_text", _P, [_P, s.Ids, _Z, c.c_bool, _SIZE]),
    ("cllm_data_loader_create", _P, [_P]),
    ("cllm_data_loader_free", None, [_P]),
    ("cllm_data_loader_add_document", _I, [_P, _S]),
    ("cllm_data_loader_load_file", _I, [_P, _S]),
    ("cllm_data_loader_build_vocab", None, [_P]),
    ("cllm_text_files", _I, [_S, PATH_CALLBACK, _P]),
    ("cllm_decode_text", _P, [_S, _Z]),
    ("cllm_inference_init", _INFERENCE, [_MODEL]),
    ("cllm_inference_cleanup", None, [_INFERENCE]),
    ("cllm_inference_set_threads", _I, [_INFERENCE, _I]),
    ("cllm_inference_get_state", _I, [_INFERENCE, c.POINTER(_P), _SIZE]),
    ("cllm_inference_set_state", _I, [_INFERENCE, _S, _Z]),
    ("cllm_set_seed", _I, [_INFERENCE, c.c_uint64]),
    ("cllm_set_temperature", None, [_INFERENCE, c.c_float]),
    ("cllm_set_top_k", None, [_INFERENCE, _I]),
    ("cllm_set_top_p", None, [_INFERENCE, c.c_float]),
    ("cllm_set_min_p", _I, [_INFERENCE, c.c_float]),
    ("cllm_set_repetition_penalty", _I, [_INFERENCE, c.c_float]),
    ("cllm_set_greedy", _I, [_INFERENCE, c.c_bool]),
    ("cllm_set_max_tokens", None, [_INFERENCE, _I]),
    ("cllm_set_allowed_tokens", _I, [_INFERENCE, s.Ids, _Z]),
    ("cllm_generate_stream", _I, [_INFERENCE, _S, TOKEN_CALLBACK, _P]),
    ("cllm_continue_stream", _I, [_INFERENCE, TOKEN_CALLBACK, _P]),
    ("cllm_forward", None, [_INFERENCE, s.Ids, _I]),
    ("cllm_next_tokens", _I, [_INFERENCE, s.Ids, _Z, c.POINTER(s.IndexProb), _I]),
    ("cllm_next_words", _I, [_INFERENCE, _S, _I, WORD_CALLBACK, _P]),
    ("cllm_score_tokens", _I, [_INFERENCE, s.Ids, _Z, _I, _Z, s.Floats, s.Ids, _SCORE]),
    ("cllm_score_text", _I, [_INFERENCE, _S, _Z, _I, _SCORE]),
    ("cllm_hidden_states", _I, [_INFERENCE, s.Ids, _Z, s.Floats]),
    ("cllm_embed_tokens", _I, [_INFERENCE, s.Ids, _Z, _I, s.Floats]),
    ("cllm_training_init", _TRAINING, [_MODEL, c.POINTER(s.TrainingConfig)]),
    ("cllm_training_free", None, [_TRAINING]),
    ("cllm_train_steps", _I, [_TRAINING, _I, _I, c.POINTER(c.c_float)]),
    ("cllm_save_checkpoint", _I, [_TRAINING, _S]),
    ("cllm_load_checkpoint", _I, [_TRAINING, _S]),
    ("cllm_skipped_updates", c.c_int64, [_TRAINING]),
    ("cllm_training_set_options", _I, [_TRAINING, c.POINTER(s.TrainingOptions)]),
    ("cllm_training_set_end", _I, [_TRAINING, _I]),
    ("cllm_training_evaluate", _I, [_TRAINING, s.Ids, _Z, _I, _DOUBLE]),
    ("cllm_dynamic_evaluation", _I, [
        _TRAINING, s.Ids, _Z, _Z, _I, c.c_float, _I, s.Floats, _SCORE]),
    ("cllm_training_best", _I, [_TRAINING, c.POINTER(_I), _DOUBLE]),
    ("cllm_training_use_best", _I, [_TRAINING]),
    ("cllm_precision_support", _I, [_I]),
    ("cllm_model_parameters", c.c_uint64, [_MODEL]),
    ("cllm_recipe", _I, [c.c_uint64, c.c_double, c.c_double, c.POINTER(s.Recipe)]),
    ("cllm_measure_speed", c.c_double, [_I]),
    ("cllm_measure_speed_in", c.c_double, [_I, _I]),
    ("cllm_steps_left", _I, [_I, c.c_double, _I, c.c_double]),
]
for _name, _result, _arguments in _FUNCTIONS:
    _function = getattr(lib, _name)
    _function.restype, _function.argtypes = _result, _arguments


def fail(otherwise: str = "failed without a reason") -> Error:
    """The exception for the latest failure of this thread."""
    reason = lib.cllm_last_error().decode(errors="replace")
    return Error(reason or otherwise)


def check(result: Any) -> Any:
    """A pointer or a count, unless it says that the call failed: NULL, or a negative number."""
    if result is None or (result < 0 if isinstance(result, int) else not result):
        raise fail()
    return result


logger = logging.getLogger("cllm")
_LEVELS = {0: logging.DEBUG, 1: logging.WARNING, 2: logging.INFO}


def _log(level: int, message: bytes, _user_data: Optional[int]) -> None:
    # Errors are told by exceptions; here they are only for those who look for them.
    logger.log(_LEVELS.get(level, logging.INFO), "%s", message.decode(errors="replace"))


_log_callback = LOG_CALLBACK(_log)
lib.cllm_set_log_callback(_log_callback, None)
# The interpreter is gone before the library is.
atexit.register(lib.cllm_set_log_silent)


def version() -> str:
    """The version of the library, as in "1.0.0"."""
    text: str = lib.cllm_version().decode()
    return text


@contextmanager
def interrupts_later() -> Iterator[None]:
    """Has Ctrl-C wait for the end of a call that calls Python back: an exception that begins before
    the first statement of a callback would be lost."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Handle:
    """An object of the library, freed when nothing refers to it any more: neither the objects of this
    package that use it nor the arrays that show its memory. `held` is what it borrows."""

    def __init__(self, pointer: Any, free: Callable[[Any], None], *held: object) -> None:
        self.pointer = check(pointer)
        self._free = free
        self._held = held

    def __del__(self) -> None:
        pointer = getattr(self, "pointer", None)
        if pointer:
            self._free(pointer)


_O = TypeVar("_O", bound="Owning")


class Owning:
    """What holds an object of the library until it is closed, or to the end of a `with` block."""

    _handle: Optional[Handle]

    @property
    def _owner(self) -> Handle:
        if self._handle is None:
            raise Error(f"the {type(self).__name__.lower()} is closed")
        return self._handle

    def close(self) -> None:
        """Lets go of the library's object and its memory; this one can't be used any more."""
        self._handle = None

    def __enter__(self: _O) -> _O:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Memory:
    """Memory of the library, as NumPy asks for it."""

    def __init__(self, address: int, shape: Tuple[int, ...], kind: str, owner: object) -> None:
        self.__array_interface__ = {
            "version": 3, "data": (address, False), "shape": shape, "typestr": kind}
        self.owner = owner


def view(pointer: Any, shape: Tuple[int, ...], owner: object) -> F32:
    """Floats of the library as an array without a copy, which keeps `owner` alive."""
    address = c.cast(pointer, c.c_void_p).value
    if not address:
        raise Error("the model has no such weights as floats")
    return np.asarray(_Memory(address, shape, "<f4", owner))


class _Block:
    """A block of malloc's, freed with its last array."""

    def __init__(self, address: int) -> None:
        self._address = address

    def __del__(self) -> None:
        _libc.free(self._address)


def take_ids(address: int, count: int) -> U32:
    """The ids in a block that the library gave away, as an array that frees it."""
    block = _Block(address)
    if count == 0:
        return np.empty(0, np.uint32)
    return np.asarray(_Memory(address, (count,), "<u4", block))


def take_bytes(address: int, count: int) -> bytes:
    """The bytes in a block that the library gave away, which is freed."""
    block = _Block(address)
    data = c.string_at(address, count)
    del block
    return data


def ids_of(tokens: npt.ArrayLike) -> U32:
    """Ids as the library takes them. The array given, where it is such a one already."""
    ids = np.asarray(tokens)
    if ids.ndim != 1:
        raise ValueError("tokens are a sequence of ids")
    if ids.size and (ids.dtype.kind not in "iu" or ids.min() < 0 or ids.max() > 0xFFFFFFFF):
        raise ValueError("ids of tokens are whole numbers from 0 to 2^32 - 1")
    return np.ascontiguousarray(ids, np.uint32)


def ids_pointer(ids: U32) -> Any:
    """Where the ids begin."""
    return ids.ctypes.data_as(s.Ids)


def bytes_of(text: Union[str, bytes]) -> bytes:
    """UTF-8. What was decoded with "surrogateescape" becomes the bytes that it was."""
    if isinstance(text, bytes):
        return text
    if not isinstance(text, str):
        raise TypeError(f"a text is str or bytes, not {type(text).__name__}")
    return text.encode("utf-8", "surrogateescape")


def c_string(text: Union[str, bytes]) -> bytes:
    """The same for a function that takes a C string."""
    data = bytes_of(text)
    if b"\0" in data:
        raise ValueError("a NUL character ends a text")
    return data


def path_bytes(path: PathLike) -> bytes:
    """A path for the library."""
    return c_string(os.fsencode(path))
