#!/usr/bin/env python3
"""cllm from Python: ctypes and the standard library only.

    python3 cllm.py model.cllm "once upon a"

Import it as a module for more: Model, Inference, Tokenizer, train(). The library is looked for
in $CLLM_LIBRARY, then where the system looks (libcllm.so.1).
"""

import ctypes as c
import os
import sys
import time

lib = c.CDLL(os.environ.get("CLLM_LIBRARY", "libcllm.so.1"))

PIECE = c.CFUNCTYPE(c.c_bool, c.POINTER(c.c_char), c.c_size_t, c.c_uint32, c.c_void_p)


class Config(c.Structure):  # CLLMConfig
    _fields_ = [(name, c.c_uint32) for name in (
        "vocab_size", "embedding_dim", "num_layers", "num_heads", "ff_dim", "max_seq_len")]
    _fields_ += [("dropout", c.c_float)]


class TrainingConfig(c.Structure):  # CLLMTrainingConfig
    _fields_ = [
        ("learning_rate", c.c_float), ("batch_size", c.c_int), ("num_epochs", c.c_int),
        ("max_steps", c.c_int), ("weight_decay", c.c_float), ("gradient_clip", c.c_float),
        ("warmup_steps", c.c_int), ("save_interval", c.c_int), ("save_every", c.c_int),
        ("eval_interval", c.c_int), ("sequence_length", c.c_int), ("optimizer", c.c_char * 32),
        ("lr_scheduler", c.c_char * 32), ("lr_decay_factor", c.c_float),
        ("lr_decay_steps", c.c_int), ("min_lr", c.c_float), ("initial_learning_rate", c.c_float),
        ("gradient_accumulation_steps", c.c_int), ("use_mixed_precision", c.c_int),
        ("loss_scale", c.c_float), ("loss_scale_growth", c.c_float),
        ("loss_scale_backoff", c.c_float), ("loss_scale_window", c.c_int)]


class TrainingHead(c.Structure):  # the first fields of CLLMTraining
    _fields_ = [("model", c.c_void_p), ("config", TrainingConfig),
                ("tokens", c.POINTER(c.c_uint32)), ("num_tokens", c.c_size_t)]


def declare(name, result, *arguments):
    function = getattr(lib, name)
    function.restype, function.argtypes = result, arguments
    return function


P, S, I = c.c_void_p, c.c_char_p, c.c_int
declare("cllm_version", S)
declare("cllm_last_error", S)
declare("cllm_set_log_silent", None)
declare("cllm_read_model", P, S)
declare("cllm_write_model", I, P, S)
declare("cllm_create_model", P, c.POINTER(Config))
declare("cllm_free_model", None, P)
declare("cllm_model_set_vocab", I, P, P)
declare("cllm_inference_init", P, P)
declare("cllm_inference_cleanup", None, P)
declare("cllm_set_seed", I, P, c.c_uint64)
declare("cllm_set_temperature", None, P, c.c_float)
declare("cllm_set_max_tokens", None, P, I)
declare("cllm_set_greedy", I, P, c.c_bool)
declare("cllm_generate_stream", I, P, S, PIECE, P)
declare("cllm_create_tokenizer", P, c.c_uint32)
declare("cllm_train_tokenizer", P, S, c.c_size_t, c.c_uint32, P, P)
declare("cllm_free_tokenizer", None, P)
declare("cllm_build_vocab", None, P, S)
declare("cllm_get_vocab_size", c.c_uint32, P)
declare("cllm_tokenizer_encode", c.POINTER(c.c_uint32), P, S, c.POINTER(c.c_uint32))
declare("cllm_training_init", c.POINTER(TrainingHead), P, c.POINTER(TrainingConfig))
declare("cllm_training_free", None, c.POINTER(TrainingHead))
declare("cllm_train_steps", I, c.POINTER(TrainingHead), I, I, c.POINTER(c.c_float))
libc_free = c.CDLL(None).free
libc_free.restype, libc_free.argtypes = None, [P]


class Error(Exception):
    """A call failed; the text is the library's reason."""


def check(result):
    # NULL is None or a false pointer; a failed call that returns a number returns -1.
    if result is None or (result < 0 if isinstance(result, int) else not result):
        raise Error(lib.cllm_last_error().decode(errors="replace"))
    return result


class Tokenizer:
    """Tokenizer.subwords(text, size) learns subwords, which spell any text; Tokenizer(text) has the
    words of a text, in lower case."""

    @classmethod
    def subwords(cls, text, size):
        new, data = cls.__new__(cls), text.encode()
        new.pointer = check(lib.cllm_train_tokenizer(data, len(data), size, None, None))
        return new

    def __init__(self, text="", max_words=10000):
        self.pointer = check(lib.cllm_create_tokenizer(max_words))
        lib.cllm_build_vocab(self.pointer, text.encode())

    def __len__(self):
        return lib.cllm_get_vocab_size(self.pointer)

    def encode(self, text):
        count = c.c_uint32()
        ids = check(lib.cllm_tokenizer_encode(self.pointer, text.encode(), c.byref(count)))
        try:
            return ids[:count.value]
        finally:
            libc_free(ids)

    def __del__(self):
        lib.cllm_free_tokenizer(getattr(self, "pointer", None))


class Model:
    """The model of a file, or a new one of a Config with random weights.

    A new one speaks once it is given its tokens: Model(config=..., words=tokenizer). They travel
    with its file.
    """

    def __init__(self, path=None, config=None, words=None):
        pointer = lib.cllm_read_model(os.fsencode(path)) if path else lib.cllm_create_model(config)
        self.pointer = check(pointer)
        if words is not None:
            self.set_words(words)

    def set_words(self, tokenizer):
        check(lib.cllm_model_set_vocab(self.pointer, tokenizer.pointer))

    def write(self, path):
        check(lib.cllm_write_model(self.pointer, os.fsencode(path)))

    def __del__(self):
        lib.cllm_free_model(getattr(self, "pointer", None))


class Inference:
    def __init__(self, model, seed=None, temperature=None, max_tokens=50, greedy=False):
        self.model = model  # must outlive the context
        self.pointer = check(lib.cllm_inference_init(model.pointer))
        lib.cllm_set_max_tokens(self.pointer, max_tokens)
        check(lib.cllm_set_greedy(self.pointer, greedy))
        if seed is not None:
            check(lib.cllm_set_seed(self.pointer, seed))
        if temperature is not None:
            lib.cllm_set_temperature(self.pointer, temperature)

    def stream(self, prompt, show):
        """Hands each new piece to show(text), which may return False to stop."""
        thrown = []

        def piece(pointer, length, _token, _user_data):
            try:
                return show(c.string_at(pointer, length).decode(errors="replace")) is not False
            except BaseException as error:  # must not pass through C
                thrown.append(error)
                return False

        made = lib.cllm_generate_stream(self.pointer, prompt.encode(), PIECE(piece), None)
        if thrown:
            raise thrown[0]
        return check(made)

    def generate(self, prompt):
        pieces = []
        self.stream(prompt, pieces.append)
        return "".join(pieces)

    def __del__(self):
        lib.cllm_inference_cleanup(getattr(self, "pointer", None))


def train(model, ids, epochs, batch_size=2, sequence_length=8, learning_rate=0.01, threads=0):
    """Trains and returns the mean loss of the last epoch. Ctrl-C ends it after the current step
    or some that take a moment: KeyboardInterrupt, with a model that is as far as it came."""
    config = TrainingConfig(learning_rate=learning_rate, batch_size=batch_size, gradient_clip=1.0,
                            sequence_length=sequence_length, optimizer=b"adamw")
    training = check(lib.cllm_training_init(model.pointer, c.byref(config)))
    tokens = (c.c_uint32 * len(ids))(*ids)  # lent: must live as long as the training
    training.contents.tokens = tokens
    training.contents.num_tokens = len(ids)
    loss, mean, count = c.c_float(), 0.0, 1
    try:
        for _ in range(epochs):
            steps = total = 0
            while True:
                began = time.monotonic()
                # Python sees Ctrl-C between calls, so that they are kept short.
                ran = check(lib.cllm_train_steps(training, count, threads, c.byref(loss)))
                if ran == 0:  # no batch left: the epoch has ended
                    break
                steps, total = steps + ran, total + ran * loss.value
                count = 2 * count if time.monotonic() - began < 0.1 else max(1, count // 2)
            mean = total / steps if steps else 0.0
    finally:
        lib.cllm_training_free(training)
    return mean


def main():
    if len(sys.argv) != 3:
        sys.exit(f"usage: {sys.argv[0]} MODEL PROMPT")
    lib.cllm_set_log_silent()  # exceptions tell what failed
    try:
        inference = Inference(Model(sys.argv[1]), seed=42, temperature=0.8, max_tokens=20)
        print(sys.argv[2], end="")
        inference.stream(sys.argv[2], lambda piece: print(piece, end="", flush=True))
        print()
    except Error as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
